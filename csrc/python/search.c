/* Dump.search: one pass over physical memory; the hits leave as columns that share the library's memory. */
#include "python/binding.h"

static const char hits_name[] = "lockhound.hits";

/* The owner of the columns: a capsule with the hits, whose context is what the dump's bytes live in. */
static void hits_destroy(PyObject *capsule)
{
    PyObject *keeper = PyCapsule_GetContext(capsule);

    lh_hits_release(PyCapsule_GetPointer(capsule, hits_name));
    Py_XDECREF(keeper);
}

/* Takes the hits, also on failure. */
static PyObject *owner_of(lh_hits *hits, PyObject *keeper)
{
    PyObject *owner = PyCapsule_New(hits, hits_name, hits_destroy);

    if (!owner) {
        lh_hits_release(hits);
        return NULL;
    }
    PyCapsule_SetContext(owner, Py_XNewRef(keeper)); /* fails for a capsule that is none, only */
    return owner;
}

static PyObject *column_or_none(lhi_py_state *state, PyObject *owner, const void *data, size_t count,
                                bool has, char format)
{
    return has ? lhi_py_column(state, owner, data, count, format) : Py_NewRef(Py_None);
}

/* (physical, virtual or None, virtual state or None, value, needle, truncated) */
static PyObject *columns_of(lhi_py_state *state, lh_hits *hits, bool virtuals, PyObject *keeper)
{
    size_t count = lh_hits_count(hits);
    PyObject *owner = owner_of(hits, keeper), *result = NULL;

    if (!owner)
        return NULL;
    result = PyTuple_New(6);
    if (result) {
        PyObject *items[] = {
            lhi_py_column(state, owner, lh_hits_physical(hits), count, 'Q'),
            column_or_none(state, owner, lh_hits_virtual(hits), count, virtuals, 'Q'),
            column_or_none(state, owner, lh_hits_virtual_state(hits), count, virtuals, 'B'),
            lhi_py_column(state, owner, lh_hits_value(hits), count, 'Q'),
            lhi_py_column(state, owner, lh_hits_needle(hits), count, 'I'),
            PyBool_FromLong(lh_hits_truncated(hits)),
        };
        bool complete = true;

        for (Py_ssize_t i = 0; i < 6; i++) {
            complete = complete && items[i];
            PyTuple_SetItem(result, i, items[i]);
        }
        if (!complete)
            Py_CLEAR(result);
    }
    Py_DECREF(owner);
    return result;
}

static int parse(lhi_py_state *state, PyObject *arguments, lhi_py_kernel **kernel, uint64_t **values,
                 uint64_t **ranges, lh_search_options *options, lhi_py_call *call)
{
    PyObject *kernel_object = NULL, *values_object = NULL, *ranges_object = NULL, *mask = NULL, *align = NULL,
             *threads = NULL, *limit = NULL, *timeout = NULL, *cancel = NULL, *progress = NULL;
    size_t bounds = 0;

    if (!PyArg_ParseTuple(arguments, "OOOOOOOOOO:search", &kernel_object, &values_object, &ranges_object,
                          &mask, &align, &threads, &limit, &timeout, &cancel, &progress))
        return -1;
    if (Py_IS_TYPE(kernel_object, state->kernel_type)) {
        *kernel = (lhi_py_kernel *)kernel_object;
    } else if (!Py_IsNone(kernel_object)) {
        PyErr_SetString(PyExc_TypeError, "kernel must be a Kernel or None");
        return -1;
    }
    if (lhi_py_u64_array(values_object, "values", values, &options->value_count) < 0 ||
        lhi_py_u64_array(ranges_object, "ranges", ranges, &bounds) < 0 ||
        lhi_py_u64_or(mask, "mask", 0, &options->mask) < 0 ||
        lhi_py_u32(align, "align", &options->align) < 0 ||
        lhi_py_u32_or(threads, "threads", 0, &options->threads) < 0 ||
        lhi_py_u64_or(limit, "limit", 0, &options->limit) < 0 ||
        lhi_py_seconds(timeout, &options->seconds) < 0 ||
        lhi_py_cancel_of(state, cancel, &options->cancel) < 0 || lhi_py_call_init(call, progress) < 0)
        return -1;
    options->values = *values;
    options->ranges =
        (const lh_range *)(const void *)*ranges; /* lh_range is begin and end, one after the other */
    options->range_count = bounds / 2;
    options->progress = lhi_py_progress;
    options->progress_user = call;
    return 0;
}

static PyObject *run(lhi_py_state *state, lhi_py_dump *self, lh_kernel *kernel,
                     const lh_search_options *options, lhi_py_call *call)
{
    lh_hits *hits = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    lhi_py_call_begin(call, self);
    status = lh_search(self->handle, kernel, options, &hits, &err);
    if (lhi_py_call_end(call)) {
        lh_hits_release(hits);
        return NULL;
    }
    if (status != LH_OK)
        return lhi_py_dump_raise(state, self, status, &err);
    return columns_of(state, hits, lh_hits_virtual(hits) != NULL, self->keeper);
}

PyObject *lhi_py_search(lhi_py_dump *self, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(self);
    lh_search_options options = {.struct_size = sizeof options};
    lhi_py_call call = {0};
    lhi_py_kernel *kernel = NULL;
    uint64_t *values = NULL, *ranges = NULL;
    PyObject *result = NULL;

    if (parse(state, arguments, &kernel, &values, &ranges, &options, &call) < 0)
        goto done;
    if (kernel && kernel->dump != self) {
        PyErr_SetString(PyExc_ValueError, "kernel is of another dump");
        goto done;
    }
    if (lhi_py_dump_enter(state, self) < 0)
        goto done;
    if (kernel && !kernel->handle)
        lhi_py_raise_closed(state, "kernel");
    else
        result = run(state, self, kernel ? kernel->handle : NULL, &options, &call);
    lhi_py_dump_leave(self);
done:
    PyMem_Free(values);
    PyMem_Free(ranges);
    return result;
}
