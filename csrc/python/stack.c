/* Call stacks of threads for the Kernel handle. */
#include "python/binding.h"

static const lhi_py_field frame_fields[] = {
    LHI_PY_FIELD(lh_frame, stack_pointer, LHI_PY_U64), LHI_PY_FIELD(lh_frame, address, LHI_PY_U64),
    LHI_PY_FIELD(lh_frame, interrupted, LHI_PY_BOOL),  LHI_PY_FIELD(lh_frame, unloaded, LHI_PY_BOOL),
    LHI_PY_FIELD(lh_frame, module_base, LHI_PY_U64),   LHI_PY_FIELD(lh_frame, function, LHI_PY_U64),
    LHI_PY_FIELD(lh_frame, module, LHI_PY_TEXT),       LHI_PY_FIELD(lh_frame, symbol, LHI_PY_TEXT),
};

static PyObject *frames_of(lhi_py_state *state, lhi_py_kernel *self, const lh_stack *stack)
{
    const size_t count = lh_stack_count(stack);
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list && i < count; i++) {
        lh_frame frame = {.struct_size = sizeof frame};
        lh_error err = {0};
        lh_status status = lh_stack_get_frame(stack, i, &frame, &err);
        PyObject *record = status == LH_OK
                               ? lhi_py_record(frame_fields, LHI_PY_COUNT_OF(frame_fields), &frame)
                               : lhi_py_dump_raise(state, self->dump, status, &err);

        if (!record || PyList_Append(list, record) < 0)
            Py_CLEAR(list);
        Py_XDECREF(record);
    }
    return list;
}

static PyObject *answer(lhi_py_state *state, lhi_py_kernel *self, const lh_stack *stack)
{
    lh_stack_end end = {.struct_size = sizeof end};
    lh_error err = {0};
    lh_status status = lh_stack_get_end(stack, &end, &err);
    PyObject *frames = NULL;

    if (status != LH_OK)
        return lhi_py_dump_raise(state, self->dump, status, &err);
    frames = frames_of(state, self, stack);
    if (!frames)
        return NULL;
    return Py_BuildValue("(NNNNK)", frames, PyBool_FromLong(end.complete), lhi_py_text(end.reason),
                         lhi_py_text(end.absence == LH_PRESENT ? NULL : lh_absence_name(end.absence)),
                         (unsigned long long)end.absent_address);
}

PyObject *lhi_py_kernel_stack(lhi_py_kernel *self, PyObject *thread_object)
{
    lhi_py_state *state = lhi_py_state_of(self);
    PyObject *result = NULL;
    lh_stack *stack = NULL;
    uint64_t thread = 0;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (lhi_py_u64_or(thread_object, "thread", 0, &thread) < 0 || lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = lh_kernel_stack(self->handle, thread, &stack, &err);
    Py_END_ALLOW_THREADS
    result =
        status == LH_OK ? answer(state, self, stack) : lhi_py_dump_raise(state, self->dump, status, &err);
    lh_stack_release(stack);
    lhi_py_kernel_leave(self);
    return result;
}
