/* Opening dumps: from a file, from an object with a buffer, from a Python reader. */
#include "python/binding.h"

#include <errno.h>
#include <string.h>

static const char buffer_name[] = "lockhound.buffer", reader_name[] = "lockhound.reader";

/* Opens the dump of a source whose reference it takes, without the GIL. */
static PyObject *open_source(lhi_py_state *state, lh_source *source, PyObject *keeper, PyObject *filename)
{
    lh_dump *dump = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    Py_BEGIN_ALLOW_THREADS
    status = lh_dump_open(source, &dump, &err);
    lh_source_release(source);
    Py_END_ALLOW_THREADS
    if (status != LH_OK)
        return lhi_py_reader_raise(keeper) ? NULL : lhi_py_raise(state, status, &err, filename);
    return lhi_py_dump_wrap(state, dump, keeper, filename);
}

PyObject *lhi_py_open_file(PyObject *module, PyObject *arguments)
{
    lhi_py_state *state = PyModule_GetState(module);
    PyObject *filename = NULL, *encoded = NULL, *dump = NULL;
    lh_source *source = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;
    const char *path = NULL;
    int positioned = 0;

    if (!PyArg_ParseTuple(arguments, "Up:open_file", &filename, &positioned))
        return NULL;
    if (!PyUnicode_FSConverter(filename, &encoded))
        return NULL;
    path = PyBytes_AsString(encoded);
    Py_BEGIN_ALLOW_THREADS
    status = lh_source_open_file(path, positioned ? LH_SOURCE_POSITIONED : LH_SOURCE_DEFAULT, &source, &err);
    Py_END_ALLOW_THREADS
    if (status != LH_OK)
        lhi_py_raise(state, status, &err, filename);
    else
        dump = open_source(state, source, NULL, filename);
    Py_DECREF(encoded);
    return dump;
}

/* ---- an object with a buffer */

static void buffer_destroy(PyObject *capsule)
{
    Py_buffer *view = PyCapsule_GetPointer(capsule, buffer_name);

    PyBuffer_Release(view);
    PyMem_Free(view);
}

static PyObject *buffer_keeper(PyObject *object)
{
    Py_buffer *view = PyMem_Calloc(1, sizeof *view);
    PyObject *keeper = NULL;

    if (!view)
        return PyErr_NoMemory();
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) {
        PyMem_Free(view);
        return NULL;
    }
    keeper = PyCapsule_New(view, buffer_name, buffer_destroy);
    if (!keeper) {
        PyBuffer_Release(view);
        PyMem_Free(view);
    }
    return keeper;
}

PyObject *lhi_py_open_buffer(PyObject *module, PyObject *arguments)
{
    lhi_py_state *state = PyModule_GetState(module);
    PyObject *object = NULL, *keeper = NULL, *dump = NULL;
    const Py_buffer *view = NULL;
    lh_source *source = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "O:open_buffer", &object))
        return NULL;
    keeper = buffer_keeper(object);
    if (!keeper)
        return NULL;
    view = PyCapsule_GetPointer(keeper, buffer_name);
    status = lh_source_open_memory(view->buf, (size_t)view->len, &source, &err);
    if (status != LH_OK)
        lhi_py_raise(state, status, &err, NULL);
    else
        dump = open_source(state, source, keeper, NULL);
    Py_DECREF(keeper);
    return dump;
}

/* ---- a Python callable read(offset, size) -> bytes */

typedef struct reader {
    PyObject *read;
    PyObject *raised; /* what the last failed call raised, until the question that met it picks it up */
} reader;

static void reader_destroy(PyObject *capsule)
{
    reader *self = PyCapsule_GetPointer(capsule, reader_name);

    Py_XDECREF(self->read);
    Py_XDECREF(self->raised);
    PyMem_Free(self);
}

/* Keeps the exception that is set now, and clears it. */
static void keep_raised(reader *self)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL, *old = self->raised;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback)
        PyException_SetTraceback(value, traceback);
    self->raised = value;
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    Py_XDECREF(old);
}

static int copy_answer(PyObject *answer, void *buffer, size_t size)
{
    if (!answer)
        return -1;
    if (!PyBytes_Check(answer)) {
        PyErr_SetString(PyExc_TypeError, "a reader must return bytes");
        return -1;
    }
    if ((size_t)PyBytes_Size(answer) != size) {
        PyErr_Format(PyExc_EOFError, "a reader returned %zd bytes where %zu were asked for",
                     PyBytes_Size(answer), size);
        return -1;
    }
    memcpy(buffer, PyBytes_AsString(answer), size);
    return 0;
}

/* Runs on any thread, of the library too. */
static int reader_read(void *user, uint64_t offset, void *buffer, size_t size)
{
    reader *self = user;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *answer =
        PyObject_CallFunction(self->read, "KK", (unsigned long long)offset, (unsigned long long)size);
    int result = 0;

    if (copy_answer(answer, buffer, size) < 0) {
        keep_raised(self);
        result = EIO;
    }
    Py_XDECREF(answer);
    PyGILState_Release(gil);
    return result;
}

bool lhi_py_reader_has_raised(PyObject *keeper)
{
    const reader *self = NULL;

    if (!keeper || !PyCapsule_IsValid(keeper, reader_name))
        return false;
    self = PyCapsule_GetPointer(keeper, reader_name);
    return self->raised != NULL;
}

bool lhi_py_reader_raise(PyObject *keeper)
{
    reader *self = NULL;
    PyObject *raised = NULL;

    if (!lhi_py_reader_has_raised(keeper))
        return false;
    self = PyCapsule_GetPointer(keeper, reader_name);
    raised = self->raised;
    self->raised = NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(raised), raised);
    Py_DECREF(raised);
    return true;
}

static PyObject *reader_keeper(PyObject *read)
{
    reader *self = PyMem_Calloc(1, sizeof *self);
    PyObject *keeper = NULL;

    if (!self)
        return PyErr_NoMemory();
    self->read = Py_NewRef(read);
    keeper = PyCapsule_New(self, reader_name, reader_destroy);
    if (!keeper) {
        Py_DECREF(self->read);
        PyMem_Free(self);
    }
    return keeper;
}

PyObject *lhi_py_open_reader(PyObject *module, PyObject *arguments)
{
    lhi_py_state *state = PyModule_GetState(module);
    lh_source_callbacks callbacks = {.struct_size = sizeof callbacks, .read = reader_read};
    PyObject *read = NULL, *size = NULL, *keeper = NULL, *dump = NULL;
    lh_source *source = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "OO:open_reader", &read, &size))
        return NULL;
    if (!PyCallable_Check(read)) {
        PyErr_SetString(PyExc_TypeError, "read must be a callable of (offset, size)");
        return NULL;
    }
    if (lhi_py_u64(size, "size", &callbacks.size) < 0)
        return NULL;
    keeper = reader_keeper(read);
    if (!keeper)
        return NULL;
    callbacks.user = PyCapsule_GetPointer(keeper, reader_name);
    status = lh_source_open_callbacks(&callbacks, &source, &err);
    if (status != LH_OK)
        lhi_py_raise(state, status, &err, NULL);
    else
        dump = open_source(state, source, keeper, NULL);
    Py_DECREF(keeper);
    return dump;
}
