/* The Dump handle: physical memory, its runs and overlays, and the count of calls that defers its end. */
#include "python/binding.h"
#include "python/docs.h"

static const lhi_py_field info_fields[] = {
    LHI_PY_FIELD(lh_dump_info, format, LHI_PY_FORMAT),
    LHI_PY_FIELD(lh_dump_info, machine, LHI_PY_U32),
    LHI_PY_FIELD(lh_dump_info, build, LHI_PY_U32),
    LHI_PY_FIELD(lh_dump_info, major, LHI_PY_U32),
    LHI_PY_FIELD(lh_dump_info, processors, LHI_PY_U32),
    LHI_PY_FIELD(lh_dump_info, bugcheck_code, LHI_PY_U32),
    LHI_PY_FIELD(lh_dump_info, directory_table_base, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, pfn_database, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, loaded_module_list, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, active_process_head, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, debugger_data_block, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, system_time, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, system_uptime, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, file_size, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, pages_present, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, pages_described, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, pages_clipped, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, pages_ram, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, highest_pfn, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, blocks, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, block_bytes, LHI_PY_U64),
    LHI_PY_FIELD(lh_dump_info, block_bytes_clipped, LHI_PY_U64),
};

/* ---- life */

PyObject *lhi_py_dump_wrap(lhi_py_state *state, lh_dump *handle, PyObject *keeper, PyObject *filename)
{
    PyTypeObject *type = state->dump_type;
    lhi_py_dump *self = (lhi_py_dump *)PyType_GenericAlloc(type, 0);

    if (!self) {
        lh_dump_release(handle);
        return NULL;
    }
    self->handle = handle;
    self->keeper = Py_XNewRef(keeper);
    self->filename = Py_XNewRef(filename);
    return (PyObject *)self;
}

/* The kernels' handles go first: they hold the dump's. Freeing unmaps at most; no need to drop the GIL. */
static void free_handles(lhi_py_dump *self)
{
    for (lhi_py_kernel *kernel = self->kernels; kernel; kernel = kernel->next) {
        lh_kernel_release(kernel->handle);
        kernel->handle = NULL;
    }
    lh_dump_release(self->handle);
    self->handle = NULL;
    Py_CLEAR(self->keeper);
}

int lhi_py_dump_enter(lhi_py_state *state, lhi_py_dump *dump)
{
    if (dump->closed || !dump->handle) {
        lhi_py_raise_closed(state, "dump");
        return -1;
    }
    dump->in_flight++;
    return 0;
}

void lhi_py_dump_leave(lhi_py_dump *dump)
{
    dump->in_flight--;
    if (dump->closed && !dump->in_flight)
        free_handles(dump);
}

static PyObject *dump_close(lhi_py_dump *self, PyObject *ignored)
{
    (void)ignored;
    self->closed = true;
    if (!self->in_flight)
        free_handles(self);
    Py_RETURN_NONE;
}

static int dump_traverse(lhi_py_dump *self, visitproc visit, void *arg)
{
    Py_VISIT(self->keeper);
    Py_VISIT(self->filename);
    Py_VISIT(LHI_PY_TYPE(self));
    return 0;
}

static int dump_clear(lhi_py_dump *self)
{
    self->closed = true;
    if (!self->in_flight)
        free_handles(self);
    return 0;
}

static void dump_dealloc(lhi_py_dump *self)
{
    PyTypeObject *type = LHI_PY_TYPE(self);

    PyObject_GC_UnTrack(self);
    dump_clear(self);
    Py_CLEAR(self->filename);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

PyObject *lhi_py_dump_raise(lhi_py_state *state, const lhi_py_dump *dump, lh_status status,
                            const lh_error *err)
{
    if (lhi_py_reader_raise(dump->keeper))
        return NULL;
    return lhi_py_raise(state, status, err, dump->filename);
}

/* ---- questions */

static PyObject *dump_closed(lhi_py_dump *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(self->closed || !self->handle);
}

static PyObject *parameters_of(const lh_dump_info *info)
{
    const uint64_t *p = info->parameters;

    return Py_BuildValue("KKKK", (unsigned long long)p[0], (unsigned long long)p[1], (unsigned long long)p[2],
                         (unsigned long long)p[3]);
}

static PyObject *dump_info(lhi_py_dump *self, PyObject *ignored)
{
    lhi_py_state *state = lhi_py_state_of(self);
    lh_dump_info info = {.struct_size = sizeof info};
    PyObject *record = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    (void)ignored;
    if (lhi_py_dump_enter(state, self) < 0)
        return NULL;
    status = lh_dump_get_info(self->handle, &info, &err);
    lhi_py_dump_leave(self);
    if (status != LH_OK)
        return lhi_py_dump_raise(state, self, status, &err);
    record = lhi_py_record(info_fields, LHI_PY_COUNT_OF(info_fields), &info);
    if (record && lhi_py_put(record, "parameters", parameters_of(&info)) < 0)
        Py_CLEAR(record);
    return record;
}

PyObject *lhi_py_read(lhi_py_dump *dump, lhi_py_kernel *kernel, const char *name, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(kernel ? (PyObject *)kernel : (PyObject *)dump);
    PyObject *address_object = NULL, *size_object = NULL, *bytes = NULL;
    uint64_t address = 0;
    size_t size = 0, done = 0;
    char *buffer = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "OO:read", &address_object, &size_object))
        return NULL;
    if (lhi_py_u64(address_object, name, &address) < 0 || lhi_py_size(size_object, "size", &size) < 0)
        return NULL;
    bytes = lhi_py_new_bytes(size, 1);
    buffer = bytes ? PyBytes_AsString(bytes) : NULL;
    if (!buffer || (kernel ? lhi_py_kernel_enter(state, kernel) : lhi_py_dump_enter(state, dump)) < 0) {
        Py_XDECREF(bytes);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    if (kernel)
        status = lh_kernel_read(kernel->handle, address, buffer, size, &done, &err);
    else
        status = lh_dump_read_physical(dump->handle, address, buffer, size, &done, &err);
    Py_END_ALLOW_THREADS
    if (status != LH_OK) {
        if (!lhi_py_reader_raise(dump->keeper))
            lhi_py_raise_partial(state, status, &err, dump->filename, buffer, done);
        Py_CLEAR(bytes);
    }
    lhi_py_dump_leave(dump);
    return bytes;
}

static PyObject *dump_read(lhi_py_dump *self, PyObject *arguments)
{
    return lhi_py_read(self, NULL, "physical", arguments);
}

/* Goes through the runs of present pages: counts them, and writes as many as there is room for. */
static lh_status go_through_runs(const lh_dump *dump, uint64_t *pfns, uint64_t *counts, size_t room,
                                 size_t *found, lh_error *err)
{
    uint64_t pfn = 0, count = 0;

    for (*found = 0;; ++*found) {
        lh_status status = lh_dump_next_run(dump, &pfn, &count, err);

        if (status != LH_OK || !count)
            return status;
        if (*found < room) {
            pfns[*found] = pfn;
            counts[*found] = count;
        }
        pfn += count;
    }
}

static PyObject *dump_runs(lhi_py_dump *self, PyObject *ignored)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *result = NULL;
    uint64_t *pfns = NULL, *counts = NULL;
    size_t count = 0;
    lh_error err = {0};
    lh_status status = LH_OK;

    (void)ignored;
    if (lhi_py_dump_enter(state, self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = go_through_runs(self->handle, NULL, NULL, 0, &count, &err);
    Py_END_ALLOW_THREADS
    if (status == LH_OK) {
        pfns = PyMem_Calloc(count ? count : 1, sizeof *pfns);
        counts = PyMem_Calloc(count ? count : 1, sizeof *counts);
        if (!pfns || !counts) {
            PyErr_NoMemory();
            goto done;
        }
        Py_BEGIN_ALLOW_THREADS
        status = go_through_runs(self->handle, pfns, counts, count, &count, &err);
        Py_END_ALLOW_THREADS
    }
    if (status != LH_OK) {
        lhi_py_dump_raise(state, self, status, &err);
        goto done;
    }
    result = Py_BuildValue("(NN)", lhi_py_column_of_copy(state, pfns, count),
                           lhi_py_column_of_copy(state, counts, count));
done:
    lhi_py_dump_leave(self);
    PyMem_Free(pfns);
    PyMem_Free(counts);
    return result;
}

/* ---- overlays */

static PyObject *dump_without_pages(lhi_py_dump *self, PyObject *pfns_object)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *result = NULL;
    uint64_t *pfns = NULL;
    size_t count = 0;
    lh_dump *handle = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (lhi_py_u64_array(pfns_object, "pfns", &pfns, &count) < 0)
        return NULL;
    if (lhi_py_dump_enter(state, self) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    status = lh_dump_without_pages(self->handle, pfns, count, &handle, &err);
    Py_END_ALLOW_THREADS
    result = status == LH_OK ? lhi_py_dump_wrap(state, handle, self->keeper, self->filename)
                             : lhi_py_dump_raise(state, self, status, &err);
    lhi_py_dump_leave(self);
done:
    PyMem_Free(pfns);
    return result;
}

static PyObject *dump_with_pages(lhi_py_dump *self, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *pfns_object = NULL, *bytes = NULL, *result = NULL;
    uint64_t *pfns = NULL;
    const char *buffer = NULL;
    size_t count = 0;
    lh_dump *handle = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "OS:with_pages", &pfns_object, &bytes))
        return NULL;
    if (lhi_py_u64_array(pfns_object, "pfns", &pfns, &count) < 0)
        return NULL;
    if ((size_t)PyBytes_Size(bytes) / 4096 != count || PyBytes_Size(bytes) % 4096) {
        PyErr_SetString(PyExc_ValueError, "bytes must hold 4096 bytes for each page");
        goto done;
    }
    if (lhi_py_dump_enter(state, self) < 0)
        goto done;
    buffer = PyBytes_AsString(bytes);
    Py_BEGIN_ALLOW_THREADS
    status = lh_dump_with_pages(self->handle, pfns, buffer, count, &handle, &err);
    Py_END_ALLOW_THREADS
    result = status == LH_OK ? lhi_py_dump_wrap(state, handle, self->keeper, self->filename)
                             : lhi_py_dump_raise(state, self, status, &err);
    lhi_py_dump_leave(self);
done:
    PyMem_Free(pfns);
    return result;
}

static PyMethodDef dump_methods[] = {
    {"close", LHI_PY_METHOD(dump_close), METH_NOARGS, LHI_PY_DOC_Dump_close},
    {"info", LHI_PY_METHOD(dump_info), METH_NOARGS, LHI_PY_DOC_Dump_info},
    {"read", LHI_PY_METHOD(dump_read), METH_VARARGS, LHI_PY_DOC_Dump_read},
    {"runs", LHI_PY_METHOD(dump_runs), METH_NOARGS, LHI_PY_DOC_Dump_runs},
    {"without_pages", LHI_PY_METHOD(dump_without_pages), METH_O, LHI_PY_DOC_Dump_without_pages},
    {"with_pages", LHI_PY_METHOD(dump_with_pages), METH_VARARGS, LHI_PY_DOC_Dump_with_pages},
    {"search", LHI_PY_METHOD(lhi_py_search), METH_VARARGS, LHI_PY_DOC_Dump_search},
    {"kernel", LHI_PY_METHOD(lhi_py_kernel_open), METH_NOARGS, LHI_PY_DOC_Dump_kernel},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef dump_getset[] = {
    {"closed", (getter)dump_closed, NULL, LHI_PY_DOC_Dump_closed, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot dump_slots[] = {
    {Py_tp_doc, LHI_PY_DOC_Dump},
    {Py_tp_dealloc, LHI_PY_SLOT(dump_dealloc)},
    {Py_tp_traverse, LHI_PY_SLOT(dump_traverse)},
    {Py_tp_clear, LHI_PY_SLOT(dump_clear)},
    {Py_tp_methods, dump_methods},
    {Py_tp_getset, dump_getset},
    {0, NULL},
};

PyType_Spec lhi_py_dump_spec = {
    .name = "lockhound._lockhound.Dump",
    .basicsize = (int)sizeof(lhi_py_dump),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dump_slots,
};
