/* Column: an immutable array of unsigned integers that exports its memory and keeps its owner alive. */
#include "python/binding.h"
#include "python/docs.h"

#include <string.h>

typedef struct column_object {
    PyObject_HEAD
    PyObject *owner;
    const char *data; /* first item */
    Py_ssize_t count;
    Py_ssize_t stride; /* bytes from one item to the next; negative in a reversed slice */
    Py_ssize_t item;   /* bytes of an item */
    char format[2];
} column_object;

/* What an empty column points to: a buffer's address is not NULL. */
static const uint64_t nothing = 0;

static Py_ssize_t size_of_format(char format)
{
    switch (format) {
    case 'Q':
        return 8;
    case 'I':
        return 4;
    case 'B':
        return 1;
    default:
        return 0;
    }
}

static PyObject *make(PyTypeObject *type, PyObject *owner, const char *data, Py_ssize_t count,
                      Py_ssize_t stride, char format)
{
    column_object *self = (column_object *)PyType_GenericAlloc(type, 0);

    if (!self)
        return NULL;
    self->owner = Py_NewRef(owner);
    self->data = count ? data : (const char *)&nothing;
    self->count = count;
    self->item = size_of_format(format);
    self->stride = count > 1 ? stride : self->item; /* of one item every stride is contiguous */
    self->format[0] = format;
    return (PyObject *)self;
}

PyObject *lhi_py_column(lhi_py_state *state, PyObject *owner, const void *data, size_t count, char format)
{
    return make(state->column_type, owner, data, (Py_ssize_t)count, size_of_format(format), format);
}

PyObject *lhi_py_column_of_bytes(lhi_py_state *state, PyObject *bytes, char format)
{
    PyObject *column = NULL;
    const Py_ssize_t item = size_of_format(format);

    if (!bytes)
        return NULL;
    if (item == 0) {
        PyErr_SetString(PyExc_SystemError, "a column has no such format");
        Py_DECREF(bytes);
        return NULL;
    }
    column = lhi_py_column(state, bytes, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes) / (size_t)item,
                           format);
    Py_DECREF(bytes);
    return column;
}

PyObject *lhi_py_column_of_copy(lhi_py_state *state, const uint64_t *values, size_t count)
{
    PyObject *bytes = lhi_py_new_bytes(count, sizeof *values);

    if (bytes && count)
        memcpy(PyBytes_AsString(bytes), values, count * sizeof *values);
    return lhi_py_column_of_bytes(state, bytes, 'Q');
}

static PyObject *column_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"format", "data", NULL};
    PyObject *bytes = NULL;
    const char *format = NULL;
    Py_ssize_t length = 0, item = 0;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s#S:Column", names, &format, &length, &bytes))
        return NULL;
    item = length == 1 ? size_of_format(*format) : 0;
    if (!item) {
        PyErr_SetString(PyExc_ValueError, "format must be 'Q', 'I' or 'B'");
        return NULL;
    }
    if (PyBytes_Size(bytes) % item) {
        PyErr_SetString(PyExc_ValueError, "data must be a whole number of items");
        return NULL;
    }
    return make(type, bytes, PyBytes_AsString(bytes), PyBytes_Size(bytes) / item, item, *format);
}

static void column_dealloc(column_object *self)
{
    PyTypeObject *type = LHI_PY_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->owner);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* No tp_clear: an owner is a capsule or bytes, which refer to no column, and a view must stay valid. */
static int column_traverse(column_object *self, visitproc visit, void *arg)
{
    Py_VISIT(self->owner);
    Py_VISIT(LHI_PY_TYPE(self));
    return 0;
}

static Py_ssize_t column_length(column_object *self)
{
    return self->count;
}

static PyObject *item_at(const column_object *self, Py_ssize_t index)
{
    const char *at = self->data + index * self->stride;
    uint64_t wide = 0;
    uint32_t narrow = 0;

    if (self->item == 8) {
        memcpy(&wide, at, sizeof wide);
        return PyLong_FromUnsignedLongLong(wide);
    }
    if (self->item == 4) {
        memcpy(&narrow, at, sizeof narrow);
        return PyLong_FromUnsignedLong(narrow);
    }
    return PyLong_FromLong((unsigned char)*at);
}

static PyObject *column_item(column_object *self, Py_ssize_t index)
{
    if (index < 0 || index >= self->count) {
        PyErr_SetString(PyExc_IndexError, "column index out of range");
        return NULL;
    }
    return item_at(self, index);
}

static PyObject *column_subscript(column_object *self, PyObject *key)
{
    Py_ssize_t start = 0, stop = 0, step = 0, count = 0;

    if (PyIndex_Check(key)) {
        Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);

        if (index == -1 && PyErr_Occurred())
            return NULL;
        return column_item(self, index < 0 ? index + self->count : index);
    }
    if (!PyObject_TypeCheck(key, &PySlice_Type)) {
        PyErr_SetString(PyExc_TypeError, "column indices must be integers or slices");
        return NULL;
    }
    if (PySlice_Unpack(key, &start, &stop, &step) < 0)
        return NULL;
    count = PySlice_AdjustIndices(self->count, &start, &stop, step);
    if (count <= 1)
        step = 1; /* it may be so large that the product below overflows */
    return make(LHI_PY_TYPE(self), self->owner, count ? self->data + start * self->stride : NULL, count,
                self->stride * step, self->format[0]);
}

static PyObject *column_tolist(column_object *self, PyObject *ignored)
{
    PyObject *list = PyList_New(self->count);

    (void)ignored;
    for (Py_ssize_t i = 0; list && i < self->count; i++) {
        PyObject *item = item_at(self, i);

        if (!item || PyList_SetItem(list, i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *column_tobytes(column_object *self, PyObject *ignored)
{
    PyObject *bytes = lhi_py_new_bytes((size_t)self->count, (size_t)self->item);
    char *to = bytes ? PyBytes_AsString(bytes) : NULL;

    (void)ignored;
    if (!to)
        return NULL;
    if (self->stride == self->item) {
        memcpy(to, self->data, (size_t)(self->count * self->item));
        return bytes;
    }
    for (Py_ssize_t i = 0; i < self->count; i++)
        memcpy(to + i * self->item, self->data + i * self->stride, (size_t)self->item);
    return bytes;
}

static PyObject *column_reduce(column_object *self, PyObject *ignored)
{
    PyObject *bytes = column_tobytes(self, ignored);

    if (!bytes)
        return NULL;
    return Py_BuildValue("O(sN)", (PyObject *)LHI_PY_TYPE(self), self->format, bytes);
}

static PyObject *column_compare(PyObject *left, PyObject *right, int operation)
{
    const column_object *a = (const column_object *)left, *b = (const column_object *)right;
    bool equal = true;

    if (!Py_IS_TYPE(right, Py_TYPE(left)) || (operation != Py_EQ && operation != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    equal = a->count == b->count && a->item == b->item;
    for (Py_ssize_t i = 0; equal && i < a->count; i++)
        equal = !memcmp(a->data + i * a->stride, b->data + i * b->stride, (size_t)a->item);
    return PyBool_FromLong(equal == (operation == Py_EQ));
}

static Py_hash_t column_hash(column_object *self)
{
    PyObject *bytes = column_tobytes(self, NULL);
    Py_hash_t hash = bytes ? PyObject_Hash(bytes) : -1;

    Py_XDECREF(bytes);
    return hash;
}

static PyObject *column_repr(column_object *self)
{
    return PyUnicode_FromFormat("<lockhound.Column of %zd %s>", self->count,
                                self->item == 8   ? "u64"
                                : self->item == 4 ? "u32"
                                                  : "u8");
}

static int column_getbuffer(column_object *self, Py_buffer *view, int flags)
{
    if (flags & PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError, "a column is read-only");
        return -1;
    }
    if (self->stride != self->item && (flags & PyBUF_STRIDES) != PyBUF_STRIDES) {
        PyErr_SetString(PyExc_BufferError, "this slice of a column is not contiguous");
        return -1;
    }
    if (self->stride != self->item && ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS ||
                                       (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS ||
                                       (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS)) {
        PyErr_SetString(PyExc_BufferError, "this slice of a column is not contiguous");
        return -1;
    }
    *view = (Py_buffer){
        .buf = (void *)(uintptr_t)self->data, /* const is kept by .readonly */
        .obj = Py_NewRef((PyObject *)self),
        .len = self->count * self->item,
        .itemsize = self->item,
        .readonly = 1,
        .ndim = 1,
        .format = flags & PyBUF_FORMAT ? self->format : NULL,
        .shape = flags & PyBUF_ND ? &self->count : NULL,
        .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &self->stride : NULL,
    };
    return 0;
}

/* An iterator of the column's items. */
static PyObject *column_iter(PyObject *self)
{
    return PySeqIter_New(self);
}

/* The column as a node of Arrow, see arrow.c. */
static PyObject *column_node(column_object *self)
{
    const char *format = self->item == 8 ? "L" : self->item == 4 ? "I" : "C";
    PyObject *items = self->stride == self->item ? Py_NewRef((PyObject *)self) : column_tobytes(self, NULL);

    return items ? Py_BuildValue("(ssOnn(ON)()O)", "", format, Py_False, self->count, (Py_ssize_t)0, Py_None,
                                 items, Py_None)
                 : NULL;
}

static PyObject *column_arrow_schema(column_object *self, PyObject *ignored)
{
    PyObject *node = column_node(self), *schema = node ? lhi_py_arrow_schema(NULL, node) : NULL;

    (void)ignored;
    Py_XDECREF(node);
    return schema;
}

/* A wish for another type may be ignored: who made it compares what it got. */
static PyObject *column_arrow_array(column_object *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"requested_schema", NULL};
    PyObject *wish = NULL, *node = NULL, *pair = NULL;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:__arrow_c_array__", names, &wish))
        return NULL;
    node = column_node(self);
    pair = node ? lhi_py_arrow_array(NULL, node) : NULL;
    Py_XDECREF(node);
    return pair;
}

static PyMethodDef column_methods[] = {
    {"tolist", LHI_PY_METHOD(column_tolist), METH_NOARGS, LHI_PY_DOC_Column_tolist},
    {"tobytes", LHI_PY_METHOD(column_tobytes), METH_NOARGS, LHI_PY_DOC_Column_tobytes},
    {"__reduce__", LHI_PY_METHOD(column_reduce), METH_NOARGS, LHI_PY_DOC_Column___reduce__},
    {"__arrow_c_schema__", LHI_PY_METHOD(column_arrow_schema), METH_NOARGS,
     LHI_PY_DOC_Column___arrow_c_schema__},
    {"__arrow_c_array__", LHI_PY_METHOD(column_arrow_array), METH_VARARGS | METH_KEYWORDS,
     LHI_PY_DOC_Column___arrow_c_array__},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot column_slots[] = {
    {Py_tp_doc, LHI_PY_DOC_Column},
    {Py_tp_new, LHI_PY_SLOT(column_new)},
    {Py_tp_dealloc, LHI_PY_SLOT(column_dealloc)},
    {Py_tp_traverse, LHI_PY_SLOT(column_traverse)},
    {Py_tp_repr, LHI_PY_SLOT(column_repr)},
    {Py_tp_hash, LHI_PY_SLOT(column_hash)},
    {Py_tp_richcompare, LHI_PY_SLOT(column_compare)},
    {Py_tp_iter, LHI_PY_SLOT(column_iter)},
    {Py_tp_methods, column_methods},
    {Py_sq_length, LHI_PY_SLOT(column_length)},
    {Py_sq_item, LHI_PY_SLOT(column_item)},
    {Py_mp_length, LHI_PY_SLOT(column_length)},
    {Py_mp_subscript, LHI_PY_SLOT(column_subscript)},
    {Py_bf_getbuffer, LHI_PY_SLOT(column_getbuffer)},
    {0, NULL},
};

PyType_Spec lhi_py_column_spec = {
    .name = "lockhound.Column",
    .basicsize = (int)sizeof(column_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = column_slots,
};
