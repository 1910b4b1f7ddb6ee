/* lh_status and lh_error -> the exceptions of lockhound.errors. */
#include "python/binding.h"

/* One row for each lh_status that is raised as a class of lockhound.errors. */
static const struct {
    lh_status status;
    const char *name;
} exception_table[] = {
    {LH_ERR_INVALID_ARGUMENT, "ArgumentError"},
    {LH_ERR_IO, "IOFailure"},
    {LH_ERR_FORMAT, "FormatError"},
    {LH_ERR_UNSUPPORTED, "UnsupportedError"},
    {LH_ERR_ABSENT, "AbsentError"},
    {LH_ERR_CANCELLED, "Cancelled"},
    {LH_ERR_TIMEOUT, "DeadlineExceeded"},
    {LH_ERR_LIMIT, "LimitError"},
    {LH_ERR_INTERNAL, "InternalError"},
};

int lhi_py_errors_init(lhi_py_state *state)
{
    PyObject *errors = PyImport_ImportModule("lockhound.errors");
    int result = -1;

    if (!errors)
        goto done;
    for (size_t i = 0; i < LHI_PY_COUNT_OF(exception_table); i++) {
        PyObject *class = PyObject_GetAttrString(errors, exception_table[i].name);

        if (!class)
            goto done;
        state->exceptions[exception_table[i].status] = class;
    }
    state->exceptions[LH_ERR_NO_MEMORY] = Py_NewRef(PyExc_MemoryError);
    state->closed_error = PyObject_GetAttrString(errors, "ClosedError");
    if (!state->closed_error)
        goto done;
    result = 0;
done:
    Py_XDECREF(errors);
    return result;
}

static PyObject *keywords_of(lh_status status, const lh_error *err, PyObject *filename, PyObject *partial)
{
    PyObject *keywords = PyDict_New();

    if (!keywords)
        return NULL;
    if (lhi_py_put(keywords, "code", lhi_py_text(lh_status_name(status))) < 0)
        goto fail;
    if (err->field[0] && lhi_py_put(keywords, "field", lhi_py_text(err->field)) < 0)
        goto fail;
    if (err->field[0] && (status == LH_ERR_FORMAT || status == LH_ERR_UNSUPPORTED) &&
        lhi_py_put(keywords, "offset", PyLong_FromUnsignedLongLong(err->offset)) < 0)
        goto fail;
    if (status == LH_ERR_ABSENT) {
        if (lhi_py_put(keywords, "address", PyLong_FromUnsignedLongLong(err->address)) < 0 ||
            lhi_py_put(keywords, "absence", lhi_py_text(lh_absence_name(err->absence))) < 0)
            goto fail;
        if (err->level && lhi_py_put(keywords, "level", PyLong_FromLong(err->level)) < 0)
            goto fail;
    }
    if (status == LH_ERR_IO && err->os_error &&
        lhi_py_put(keywords, "os_error", PyLong_FromLong(err->os_error)) < 0)
        goto fail;
    if (status == LH_ERR_IO && filename && lhi_py_put(keywords, "filename", Py_NewRef(filename)) < 0)
        goto fail;
    if (partial && lhi_py_put(keywords, "partial", Py_NewRef(partial)) < 0)
        goto fail;
    return keywords;
fail:
    Py_DECREF(keywords);
    return NULL;
}

static PyObject *raise_with(lhi_py_state *state, lh_status status, const lh_error *err, PyObject *filename,
                            PyObject *partial)
{
    PyObject *class = NULL, *message = NULL, *arguments = NULL, *keywords = NULL, *exception = NULL;

    if (status == LH_ERR_NO_MEMORY)
        return PyErr_NoMemory();
    if (status <= LH_OK || status >= LHI_PY_STATUS_COUNT)
        status = LH_ERR_INTERNAL; /* a status newer than this binding */
    class = state->exceptions[status];
    message = lhi_py_text(err->message[0] ? err->message : lh_status_name(status));
    if (!message)
        goto done;
    arguments = PyTuple_Pack(1, message);
    keywords = keywords_of(status, err, filename, partial);
    if (!arguments || !keywords)
        goto done;
    exception = PyObject_Call(class, arguments, keywords);
    if (exception)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
done:
    Py_XDECREF(message);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    Py_XDECREF(exception);
    return NULL;
}

PyObject *lhi_py_raise(lhi_py_state *state, lh_status status, const lh_error *err, PyObject *filename)
{
    return raise_with(state, status, err, filename, NULL);
}

PyObject *lhi_py_raise_partial(lhi_py_state *state, lh_status status, const lh_error *err, PyObject *filename,
                               const void *bytes, size_t size)
{
    PyObject *partial = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);

    if (!partial)
        return NULL;
    raise_with(state, status, err, filename, partial);
    Py_DECREF(partial);
    return NULL;
}

PyObject *lhi_py_raise_closed(lhi_py_state *state, const char *what)
{
    PyErr_Format(state->closed_error, "the %s is closed", what);
    return NULL;
}
