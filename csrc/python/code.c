/* Kernel.disassemble: instructions as dicts, in portions so that memory follows what is there; Kernel.locks.
 */
#include "python/binding.h"

#include <string.h>

#define PORTION 64u

static const lhi_py_field fields[] = {
    LHI_PY_FIELD(lh_instruction, address, LHI_PY_U64), LHI_PY_FIELD(lh_instruction, flow, LHI_PY_FLOW),
    LHI_PY_FIELD(lh_instruction, text, LHI_PY_TEXT),   LHI_PY_FIELD(lh_instruction, target, LHI_PY_U64),
    LHI_PY_FIELD(lh_instruction, slot, LHI_PY_U64),    LHI_PY_FIELD(lh_instruction, name, LHI_PY_TEXT),
};

static int append(PyObject *list, const lh_instruction *row)
{
    PyObject *record = lhi_py_record(fields, LHI_PY_COUNT_OF(fields), row);
    int result = -1;

    if (record &&
        lhi_py_put(record, "bytes", PyBytes_FromStringAndSize((const char *)row->bytes, row->size)) == 0)
        result = PyList_Append(list, record);
    Py_XDECREF(record);
    return result;
}

/* Ends at the first byte that is not there; an error only where that is the first of all. */
PyObject *lhi_py_disassemble(lhi_py_kernel *self, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *address_object = NULL, *size_object = NULL, *list = NULL;
    lh_instruction rows[PORTION];
    uint64_t address = 0;
    size_t size = 0, count = 0;
    bool more = true;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "OO:disassemble", &address_object, &size_object) ||
        lhi_py_u64(address_object, "address", &address) < 0 || lhi_py_size(size_object, "size", &size) < 0 ||
        lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    list = PyList_New(0);
    while (list && more && size > 0) {
        count = 0;
        rows[0].struct_size = sizeof rows[0];
        Py_BEGIN_ALLOW_THREADS
        status = lh_kernel_disassemble(self->handle, address, size, rows, PORTION, &count, &err);
        Py_END_ALLOW_THREADS
        if (status != LH_OK && (status != LH_ERR_ABSENT || (count == 0 && PyList_Size(list) == 0))) {
            lhi_py_dump_raise(state, self->dump, status, &err);
            Py_CLEAR(list);
        }
        for (size_t i = 0; list && i < count; i++) {
            if (append(list, &rows[i]) < 0)
                Py_CLEAR(list);
        }
        more = status == LH_OK && count == PORTION;
        if (more) {
            const lh_instruction *last = &rows[count - 1];
            uint64_t done = last->address + last->size - address;
            size = done < size ? size - (size_t)done : 0;
            address += done;
        }
        if (list && PyErr_CheckSignals() < 0)
            Py_CLEAR(list);
    }
    lhi_py_kernel_leave(self);
    return list;
}

PyObject *lhi_py_locks(lhi_py_kernel *self, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(self);
    const char *module = NULL;
    int json = 0, redact = 0;
    PyObject *timeout = NULL, *cancel = NULL, *progress = NULL, *result = NULL;
    lh_investigate_options options = {.struct_size = sizeof options};
    lhi_py_call call = {0};
    char *text = NULL;
    size_t length = 0;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (!PyArg_ParseTuple(arguments, "zzppOOO:locks", &module, &options.path, &json, &redact, &timeout,
                          &cancel, &progress))
        return NULL;
    options.limits.struct_size = sizeof options.limits;
    options.progress = lhi_py_progress;
    options.progress_user = &call;
    if (lhi_py_seconds(timeout, &options.limits.seconds) < 0 ||
        lhi_py_cancel_of(state, cancel, &options.cancel) < 0 || lhi_py_call_init(&call, progress) < 0 ||
        lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    lhi_py_call_begin(&call, self->dump);
    status = (json ? lh_kernel_locks_json : lh_kernel_locks_text)(
        self->handle, module, &options, redact ? LH_RENDER_REDACT : 0, &text, &length, &err);
    if (!lhi_py_call_end(&call))
        result = status == LH_OK ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "replace")
                                 : lhi_py_dump_raise(state, self->dump, status, &err);
    if (status == LH_OK)
        lh_string_free(text);
    lhi_py_kernel_leave(self);
    return result;
}
