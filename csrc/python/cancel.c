/* lockhound.Cancel: an lh_cancel that any thread may set. */
#include "python/binding.h"
#include "python/docs.h"

typedef struct cancel_object {
    PyObject_HEAD
    lh_cancel *handle;
} cancel_object;

static PyObject *cancel_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {NULL};
    lhi_py_state *state = PyType_GetModuleState(type);
    cancel_object *self = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, ":Cancel", names))
        return NULL;
    self = (cancel_object *)PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    status = lh_cancel_create(&self->handle, &err);
    if (status != LH_OK) {
        lhi_py_raise(state, status, &err, NULL);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void cancel_dealloc(cancel_object *self)
{
    PyTypeObject *type = LHI_PY_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (self->handle)
        lh_cancel_destroy(self->handle);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int cancel_traverse(cancel_object *self, visitproc visit, void *arg)
{
    Py_VISIT(LHI_PY_TYPE(self));
    return 0;
}

static PyObject *cancel_set(cancel_object *self, PyObject *ignored)
{
    (void)ignored;
    lh_cancel_set(self->handle);
    Py_RETURN_NONE;
}

static PyObject *cancel_is_set(cancel_object *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(lh_cancel_is_set(self->handle));
}

static PyObject *cancel_repr(cancel_object *self)
{
    return PyUnicode_FromString(lh_cancel_is_set(self->handle) ? "<lockhound.Cancel: set>"
                                                               : "<lockhound.Cancel: not set>");
}

int lhi_py_cancel_of(lhi_py_state *state, PyObject *object, lh_cancel **out)
{
    if (Py_IsNone(object)) {
        *out = NULL;
        return 0;
    }
    if (!Py_IS_TYPE(object, state->cancel_type)) {
        PyErr_SetString(PyExc_TypeError, "cancel must be a lockhound.Cancel or None");
        return -1;
    }
    *out = ((cancel_object *)object)->handle;
    return 0;
}

static PyMethodDef cancel_methods[] = {
    {"set", LHI_PY_METHOD(cancel_set), METH_NOARGS, LHI_PY_DOC_Cancel_set},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cancel_getset[] = {
    {"is_set", (getter)cancel_is_set, NULL, LHI_PY_DOC_Cancel_is_set, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot cancel_slots[] = {
    {Py_tp_doc, LHI_PY_DOC_Cancel},
    {Py_tp_new, LHI_PY_SLOT(cancel_new)},
    {Py_tp_dealloc, LHI_PY_SLOT(cancel_dealloc)},
    {Py_tp_traverse, LHI_PY_SLOT(cancel_traverse)},
    {Py_tp_repr, LHI_PY_SLOT(cancel_repr)},
    {Py_tp_methods, cancel_methods},
    {Py_tp_getset, cancel_getset},
    {0, NULL},
};

PyType_Spec lhi_py_cancel_spec = {
    .name = "lockhound.Cancel",
    .basicsize = (int)sizeof(cancel_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = cancel_slots,
};
