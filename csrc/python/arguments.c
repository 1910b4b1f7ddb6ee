/* Python arguments -> C values, with errors that name the argument. */
#include "python/binding.h"

#include <math.h>
#include <string.h>

/* A new int, or NULL with a TypeError that names the argument. */
static PyObject *index_of(PyObject *object, const char *name)
{
    PyObject *number = PyNumber_Index(object);

    if (!number && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyObject *type = PyType_GetName(Py_TYPE(object));

        PyErr_Clear();
        if (type)
            PyErr_Format(PyExc_TypeError, "%s must be an integer, not %U", name, type);
        Py_XDECREF(type);
    }
    return number;
}

int lhi_py_u64(PyObject *object, const char *name, uint64_t *out)
{
    PyObject *number = index_of(object, name);
    long long small = 0;
    int overflow = 0, result = -1;

    if (!number)
        return -1;
    small = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (small == -1 && !overflow && PyErr_Occurred())
        goto done;
    if (overflow < 0 || (!overflow && small < 0)) {
        PyErr_Format(PyExc_ValueError, "%s must not be negative", name);
        goto done;
    }
    if (overflow > 0) {
        unsigned long long large = PyLong_AsUnsignedLongLong(number);

        if (large == (unsigned long long)-1 && PyErr_Occurred()) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError))
                PyErr_Format(PyExc_OverflowError, "%s must fit 64 bits", name);
            goto done;
        }
        *out = large;
    } else {
        *out = (uint64_t)small;
    }
    result = 0;
done:
    Py_DECREF(number);
    return result;
}

int lhi_py_u32(PyObject *object, const char *name, uint32_t *out)
{
    uint64_t value = 0;

    if (lhi_py_u64(object, name, &value) < 0)
        return -1;
    if (value > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s must fit 32 bits", name);
        return -1;
    }
    *out = (uint32_t)value;
    return 0;
}

int lhi_py_u64_or(PyObject *object, const char *name, uint64_t fallback, uint64_t *out)
{
    if (Py_IsNone(object)) {
        *out = fallback;
        return 0;
    }
    return lhi_py_u64(object, name, out);
}

int lhi_py_u32_or(PyObject *object, const char *name, uint32_t fallback, uint32_t *out)
{
    if (Py_IsNone(object)) {
        *out = fallback;
        return 0;
    }
    return lhi_py_u32(object, name, out);
}

int lhi_py_size(PyObject *object, const char *name, size_t *out)
{
    uint64_t value = 0;

    if (lhi_py_u64(object, name, &value) < 0)
        return -1;
    if (value > (uint64_t)PY_SSIZE_T_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s is larger than any object can be", name);
        return -1;
    }
    *out = (size_t)value;
    return 0;
}

/* Unsigned 64-bit items in machine order: 'Q' of struct and ctypes, 'L' of numpy on this data model. */
static bool is_u64_format(const char *format)
{
    if (!format)
        return false;
    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    return (*format == 'Q' || *format == 'L') && !format[1];
}

/* 1 when it was such a buffer, 0 when not, -1 with an exception. */
static int from_buffer(PyObject *object, uint64_t **out, size_t *count)
{
    Py_buffer view = {0};
    int result = 0;

    if (!PyObject_CheckBuffer(object))
        return 0;
    if (PyObject_GetBuffer(object, &view, PyBUF_FORMAT | PyBUF_ND) < 0) {
        PyErr_Clear(); /* not contiguous: one by one */
        return 0;
    }
    if (view.ndim == 1 && view.itemsize == 8 && is_u64_format(view.format)) {
        *out = PyMem_Malloc(view.len ? (size_t)view.len : 1);
        if (!*out) {
            PyErr_NoMemory();
            result = -1;
        } else {
            if (view.len)
                memcpy(*out, view.buf, (size_t)view.len);
            *count = (size_t)view.len / 8;
            result = 1;
        }
    }
    PyBuffer_Release(&view);
    return result;
}

int lhi_py_u64_array(PyObject *object, const char *name, uint64_t **out, size_t *count)
{
    PyObject *list = NULL;
    uint64_t *values = NULL;
    Py_ssize_t size = 0;
    int found = 0;

    if (PyUnicode_Check(object) || PyBytes_Check(object) || PyByteArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be integers, not text or bytes", name);
        return -1;
    }
    found = from_buffer(object, out, count);
    if (found)
        return found < 0 ? -1 : 0;
    list = PySequence_List(object);
    if (!list)
        return -1;
    size = PyList_Size(list);
    values = PyMem_Calloc(size ? (size_t)size : 1, sizeof *values);
    if (!values) {
        PyErr_NoMemory();
        goto fail;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        if (lhi_py_u64(PyList_GetItem(list, i), name, &values[i]) < 0)
            goto fail;
    }
    Py_DECREF(list);
    *out = values;
    *count = (size_t)size;
    return 0;
fail:
    PyMem_Free(values);
    Py_DECREF(list);
    return -1;
}

int lhi_py_seconds(PyObject *object, double *out)
{
    double seconds = 0;

    if (Py_IsNone(object)) {
        *out = 0;
        return 0;
    }
    seconds = PyFloat_AsDouble(object);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds >= 0)) {
        PyErr_SetString(PyExc_ValueError, "timeout must be a number of seconds, 0 or more");
        return -1;
    }
    *out = isinf(seconds) ? 0 : seconds > 1e-9 ? seconds : 1e-9;
    return 0;
}

PyObject *lhi_py_new_bytes(size_t count, size_t size)
{
    if (size && count > (size_t)PY_SSIZE_T_MAX / size)
        return PyErr_NoMemory();
    return PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * size));
}
