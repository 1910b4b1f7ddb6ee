/* The Kernel handle: virtual memory, walks, processes, modules and the reverse map. */
#include "python/binding.h"
#include "python/docs.h"

static const lhi_py_field walk_fields[] = {
    LHI_PY_FIELD(lh_walk, address, LHI_PY_U64),     LHI_PY_FIELD(lh_walk, page_size, LHI_PY_U64),
    LHI_PY_FIELD(lh_walk, absence, LHI_PY_ABSENCE), LHI_PY_FIELD(lh_walk, level, LHI_PY_I32),
    LHI_PY_FIELD(lh_walk, transition, LHI_PY_BOOL),
};
static const lhi_py_field process_fields[] = {
    LHI_PY_FIELD(lh_process, address, LHI_PY_U64),
    LHI_PY_FIELD_KNOWN(lh_process, name, LHI_PY_TEXT),
    LHI_PY_FIELD_KNOWN(lh_process, pid, LHI_PY_U64),
    LHI_PY_FIELD_KNOWN(lh_process, locked_pages, LHI_PY_U64),
    LHI_PY_FIELD_KNOWN(lh_process, directory_table_base, LHI_PY_U64),
    LHI_PY_FIELD_KNOWN(lh_process, flags, LHI_PY_U64),
    LHI_PY_FIELD_KNOWN(lh_process, exit_time, LHI_PY_U64),
    LHI_PY_FIELD(lh_process, absence, LHI_PY_ABSENCE),
    LHI_PY_FIELD(lh_process, absent_address, LHI_PY_U64),
};
static const lhi_py_field module_fields[] = {
    LHI_PY_FIELD(lh_module, name, LHI_PY_TEXT),     LHI_PY_FIELD(lh_module, base, LHI_PY_U64),
    LHI_PY_FIELD(lh_module, size, LHI_PY_U64),      LHI_PY_FIELD(lh_module, entry, LHI_PY_U64),
    LHI_PY_FIELD(lh_module, timestamp, LHI_PY_U32), LHI_PY_FIELD(lh_module, unloaded, LHI_PY_BOOL),
    LHI_PY_FIELD(lh_module, version, LHI_PY_TEXT),
};
static const lhi_py_field identity_fields[] = {
    LHI_PY_FIELD(lh_identity, address, LHI_PY_U64),     LHI_PY_FIELD(lh_identity, place, LHI_PY_PLACE),
    LHI_PY_FIELD(lh_identity, base, LHI_PY_U64),        LHI_PY_FIELD(lh_identity, size, LHI_PY_U64),
    LHI_PY_FIELD(lh_identity, offset, LHI_PY_U64),      LHI_PY_FIELD(lh_identity, owner, LHI_PY_U64),
    LHI_PY_FIELD(lh_identity, absence, LHI_PY_ABSENCE), LHI_PY_FIELD(lh_identity, level, LHI_PY_I32),
    LHI_PY_FIELD(lh_identity, state, LHI_PY_U32),       LHI_PY_FIELD(lh_identity, code, LHI_PY_BOOL),
    LHI_PY_FIELD(lh_identity, writable, LHI_PY_BOOL),   LHI_PY_FIELD_KNOWN(lh_identity, live, LHI_PY_BOOL),
    LHI_PY_FIELD(lh_identity, tag, LHI_PY_TEXT),        LHI_PY_FIELD(lh_identity, section, LHI_PY_TEXT),
    LHI_PY_FIELD(lh_identity, name, LHI_PY_TEXT),       LHI_PY_FIELD(lh_identity, owner_name, LHI_PY_TEXT),
    LHI_PY_FIELD(lh_identity, text, LHI_PY_TEXT),       LHI_PY_FIELD(lh_identity, detail, LHI_PY_TEXT),
};

/* ---- life */

static void unlink_kernel(lhi_py_kernel *self)
{
    if (!self->dump)
        return;
    if (self->previous)
        self->previous->next = self->next;
    else
        self->dump->kernels = self->next;
    if (self->next)
        self->next->previous = self->previous;
    self->previous = self->next = NULL;
}

/* Takes the handle, also on failure. */
static PyObject *wrap(lhi_py_state *state, lhi_py_dump *dump, lh_kernel *handle)
{
    PyTypeObject *type = state->kernel_type;
    lhi_py_kernel *self = (lhi_py_kernel *)PyType_GenericAlloc(type, 0);

    if (!self) {
        lh_kernel_release(handle);
        return NULL;
    }
    self->handle = handle;
    self->dump = (lhi_py_dump *)Py_NewRef((PyObject *)dump);
    self->next = dump->kernels;
    if (self->next)
        self->next->previous = self;
    dump->kernels = self;
    return (PyObject *)self;
}

PyObject *lhi_py_kernel_open(lhi_py_dump *self, PyObject *ignored)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *kernel = NULL;
    lh_kernel *handle = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    (void)ignored;
    if (lhi_py_dump_enter(state, self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = lh_kernel_open(self->handle, &handle, &err);
    Py_END_ALLOW_THREADS
    kernel = status == LH_OK ? wrap(state, self, handle) : lhi_py_dump_raise(state, self, status, &err);
    lhi_py_dump_leave(self);
    return kernel;
}

int lhi_py_kernel_enter(lhi_py_state *state, lhi_py_kernel *kernel)
{
    if (!kernel->dump || !kernel->handle) {
        lhi_py_raise_closed(state, "dump");
        return -1;
    }
    return lhi_py_dump_enter(state, kernel->dump);
}

void lhi_py_kernel_leave(lhi_py_kernel *kernel)
{
    lhi_py_dump_leave(kernel->dump);
}

static int kernel_traverse(lhi_py_kernel *self, visitproc visit, void *arg)
{
    Py_VISIT(self->dump);
    Py_VISIT(LHI_PY_TYPE(self));
    return 0;
}

static int kernel_clear(lhi_py_kernel *self)
{
    unlink_kernel(self);
    lh_kernel_release(self->handle);
    self->handle = NULL;
    Py_CLEAR(self->dump);
    return 0;
}

static void kernel_dealloc(lhi_py_kernel *self)
{
    PyTypeObject *type = LHI_PY_TYPE(self);

    PyObject_GC_UnTrack(self);
    kernel_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* ---- questions */

static PyObject *kernel_read(lhi_py_kernel *self, PyObject *arguments)
{
    return lhi_py_read(self->dump, self, "address", arguments);
}

static PyObject *kernel_read_many(lhi_py_kernel *self, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *addresses_object = NULL, *size_object = NULL, *data = NULL, *states = NULL, *result = NULL;
    uint64_t *addresses = NULL;
    size_t count = 0, size = 0;
    char *buffer = NULL;
    uint8_t *absences = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "OO:read_many", &addresses_object, &size_object))
        return NULL;
    if (lhi_py_size(size_object, "size", &size) < 0 ||
        lhi_py_u64_array(addresses_object, "addresses", &addresses, &count) < 0)
        return NULL;
    data = lhi_py_new_bytes(count, size);
    states = data ? lhi_py_new_bytes(count, 1) : NULL;
    if (!states || lhi_py_kernel_enter(state, self) < 0)
        goto done;
    buffer = PyBytes_AsString(data);
    absences = (uint8_t *)PyBytes_AsString(states);
    Py_BEGIN_ALLOW_THREADS
    status = lh_kernel_read_many(self->handle, addresses, count, size, buffer, absences, &err);
    Py_END_ALLOW_THREADS
    if (status != LH_OK) {
        lhi_py_dump_raise(state, self->dump, status, &err);
    } else {
        PyObject *column = lhi_py_column_of_bytes(state, Py_NewRef(states), 'B');

        result = column ? Py_BuildValue("ON", data, column) : NULL;
    }
    lhi_py_kernel_leave(self);
done:
    Py_XDECREF(data);
    Py_XDECREF(states);
    PyMem_Free(addresses);
    return result;
}

static PyObject *tuple_of(const uint64_t *values, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);

    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *item = PyLong_FromUnsignedLongLong(values[i]);

        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *walk_record(const void *answer)
{
    const lh_walk *walk = answer;
    bool reached = walk->absence == LH_PRESENT || walk->absence == LH_ABSENT_NOT_CAPTURED ||
                   walk->absence == LH_ABSENT_CLIPPED || walk->absence == LH_ABSENT_NOT_RAM;
    size_t entries = walk->entry_count <= 4 ? walk->entry_count : 4;
    PyObject *record = lhi_py_record(walk_fields, LHI_PY_COUNT_OF(walk_fields), walk);

    if (!record)
        return NULL;
    if (lhi_py_put(record, "physical",
                   reached ? PyLong_FromUnsignedLongLong(walk->physical) : Py_NewRef(Py_None)) < 0 ||
        lhi_py_put(record, "entries", tuple_of(walk->entries, entries)) < 0 ||
        lhi_py_put(record, "entry_addresses", tuple_of(walk->entry_addresses, entries)) < 0)
        Py_CLEAR(record);
    return record;
}

/* A question about an address whose answer is a struct of the library: `put` the question, `record` the
 * answer. */
typedef lh_status (*put_fn)(const lh_kernel *kernel, uint64_t address, void *answer, lh_error *err);
typedef PyObject *(*record_fn)(const void *answer);

static PyObject *ask(lhi_py_kernel *self, PyObject *address_object, put_fn put_question, void *answer,
                     record_fn record)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *result = NULL;
    uint64_t address = 0;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (lhi_py_u64(address_object, "address", &address) < 0 || lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = put_question(self->handle, address, answer, &err);
    Py_END_ALLOW_THREADS
    result = status == LH_OK ? record(answer) : lhi_py_dump_raise(state, self->dump, status, &err);
    lhi_py_kernel_leave(self);
    return result;
}

static lh_status put_walk(const lh_kernel *kernel, uint64_t address, void *answer, lh_error *err)
{
    return lh_kernel_walk(kernel, address, answer, err);
}

static PyObject *kernel_walk(lhi_py_kernel *self, PyObject *address)
{
    lh_walk walk = {.struct_size = sizeof walk};

    return ask(self, address, put_walk, &walk, walk_record);
}

static lh_status put_process(const lh_kernel *kernel, uint64_t address, void *answer, lh_error *err)
{
    return lh_kernel_get_process(kernel, address, answer, err);
}

static PyObject *process_record(const void *answer)
{
    return lhi_py_record(process_fields, LHI_PY_COUNT_OF(process_fields), answer);
}

static PyObject *kernel_process(lhi_py_kernel *self, PyObject *address)
{
    lh_process process = {.struct_size = sizeof process};

    return ask(self, address, put_process, &process, process_record);
}

static lh_status put_identify(const lh_kernel *kernel, uint64_t address, void *answer, lh_error *err)
{
    return lh_kernel_identify(kernel, address, answer, err);
}

static PyObject *identity_record(const void *answer)
{
    return lhi_py_record(identity_fields, LHI_PY_COUNT_OF(identity_fields), answer);
}

static PyObject *kernel_identify(lhi_py_kernel *self, PyObject *address)
{
    lh_identity identity = {.struct_size = sizeof identity};

    return ask(self, address, put_identify, &identity, identity_record);
}

static PyObject *kernel_processes(lhi_py_kernel *self, PyObject *ignored)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *result = NULL;
    uint64_t *addresses = NULL;
    size_t count = 0, room = 0;
    lh_error err = {0};
    lh_status status = LH_OK;

    (void)ignored;
    if (lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    /* The dump is immutable: the second round finds as many as the first. */
    for (int round = 0; round < 2 && status == LH_OK; round++) {
        Py_BEGIN_ALLOW_THREADS
        status = lh_kernel_list_processes(self->handle, addresses, room, &count, NULL, &err);
        Py_END_ALLOW_THREADS
        if (round == 0 && status == LH_OK) {
            room = count;
            addresses = PyMem_Calloc(room + 1, sizeof *addresses);
            if (!addresses)
                status = LH_ERR_NO_MEMORY;
        }
    }
    result =
        status == LH_OK ? tuple_of(addresses, count) : lhi_py_dump_raise(state, self->dump, status, &err);
    PyMem_Free(addresses);
    lhi_py_kernel_leave(self);
    return result;
}

static PyObject *module_at(lhi_py_state *state, lhi_py_kernel *self, size_t index)
{
    lh_module module = {.struct_size = sizeof module};
    lh_error err = {0};
    lh_status status = lh_kernel_get_module(self->handle, index, &module, &err);

    return status == LH_OK ? lhi_py_record(module_fields, LHI_PY_COUNT_OF(module_fields), &module)
                           : lhi_py_dump_raise(state, self->dump, status, &err);
}

/* The list is read when the kernel is opened, so that no dump is read here. */
static PyObject *kernel_modules(lhi_py_kernel *self, PyObject *ignored)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *list = NULL;
    size_t count = 0;

    (void)ignored;
    if (lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    list = PyList_New(0);
    count = lh_kernel_module_count(self->handle);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *record = module_at(state, self, i);

        if (!record || PyList_Append(list, record) < 0)
            Py_CLEAR(list);
        Py_XDECREF(record);
    }
    lhi_py_kernel_leave(self);
    return list;
}

static PyObject *kernel_map_physical(lhi_py_kernel *self, PyObject *addresses_object)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *states = NULL, *result = NULL;
    uint64_t *addresses = NULL, *virtuals = NULL;
    size_t count = 0;
    uint8_t *to_states = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (lhi_py_u64_array(addresses_object, "addresses", &addresses, &count) < 0)
        return NULL;
    virtuals = PyMem_Calloc(count ? count : 1, sizeof *virtuals);
    states = virtuals ? lhi_py_new_bytes(count, 1) : PyErr_NoMemory();
    if (!states || lhi_py_kernel_enter(state, self) < 0)
        goto done;
    to_states = (uint8_t *)PyBytes_AsString(states);
    Py_BEGIN_ALLOW_THREADS
    status = lh_kernel_map_physical(self->handle, addresses, count, virtuals, to_states, &err);
    Py_END_ALLOW_THREADS
    if (status == LH_OK)
        result = Py_BuildValue("(NN)", lhi_py_column_of_copy(state, virtuals, count),
                               lhi_py_column_of_bytes(state, Py_NewRef(states), 'B'));
    else
        lhi_py_dump_raise(state, self->dump, status, &err);
    lhi_py_kernel_leave(self);
done:
    PyMem_Free(virtuals);
    PyMem_Free(addresses);
    Py_XDECREF(states);
    return result;
}

static PyMethodDef kernel_methods[] = {
    {"read", LHI_PY_METHOD(kernel_read), METH_VARARGS, LHI_PY_DOC_Kernel_read},
    {"read_many", LHI_PY_METHOD(kernel_read_many), METH_VARARGS, LHI_PY_DOC_Kernel_read_many},
    {"walk", LHI_PY_METHOD(kernel_walk), METH_O, LHI_PY_DOC_Kernel_walk},
    {"process", LHI_PY_METHOD(kernel_process), METH_O, LHI_PY_DOC_Kernel_process},
    {"processes", LHI_PY_METHOD(kernel_processes), METH_NOARGS, LHI_PY_DOC_Kernel_processes},
    {"identify", LHI_PY_METHOD(kernel_identify), METH_O, LHI_PY_DOC_Kernel_identify},
    {"modules", LHI_PY_METHOD(kernel_modules), METH_NOARGS, LHI_PY_DOC_Kernel_modules},
    {"map_physical", LHI_PY_METHOD(kernel_map_physical), METH_O, LHI_PY_DOC_Kernel_map_physical},
    {"audit", LHI_PY_METHOD(lhi_py_audit), METH_VARARGS, LHI_PY_DOC_Kernel_audit},
    {"disassemble", LHI_PY_METHOD(lhi_py_disassemble), METH_VARARGS, LHI_PY_DOC_Kernel_disassemble},
    {"locks", LHI_PY_METHOD(lhi_py_locks), METH_VARARGS, LHI_PY_DOC_Kernel_locks},
    {"stack", LHI_PY_METHOD(lhi_py_kernel_stack), METH_O, LHI_PY_DOC_Kernel_stack},
    {"investigate", LHI_PY_METHOD(lhi_py_investigate), METH_VARARGS, LHI_PY_DOC_Kernel_investigate},
    {"info_json", LHI_PY_METHOD(lhi_py_info_json), METH_VARARGS, LHI_PY_DOC_Kernel_info_json},
    {"info_text", LHI_PY_METHOD(lhi_py_info_text), METH_VARARGS, LHI_PY_DOC_Kernel_info_text},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot kernel_slots[] = {
    {Py_tp_doc, LHI_PY_DOC_Kernel},
    {Py_tp_dealloc, LHI_PY_SLOT(kernel_dealloc)},
    {Py_tp_traverse, LHI_PY_SLOT(kernel_traverse)},
    {Py_tp_clear, LHI_PY_SLOT(kernel_clear)},
    {Py_tp_methods, kernel_methods},
    {0, NULL},
};

PyType_Spec lhi_py_kernel_spec = {
    .name = "lockhound._lockhound.Kernel",
    .basicsize = (int)sizeof(lhi_py_kernel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = kernel_slots,
};
