/* Long calls: the GIL is released around them; signals and progress are looked after from their callback. */
#include "python/binding.h"

int lhi_py_call_init(lhi_py_call *call, PyObject *progress)
{
    *call = (lhi_py_call){0};
    if (Py_IsNone(progress))
        return 0;
    if (!PyCallable_Check(progress)) {
        PyErr_SetString(PyExc_TypeError, "progress must be a callable of (done, total), or None");
        return -1;
    }
    call->progress = progress;
    return 0;
}

void lhi_py_call_begin(lhi_py_call *call, const lhi_py_dump *dump)
{
    call->keeper = dump->keeper;
    call->thread = PyEval_SaveThread();
}

bool lhi_py_call_end(lhi_py_call *call)
{
    PyEval_RestoreThread(call->thread);
    call->thread = NULL;
    return PyErr_Occurred() || lhi_py_reader_raise(call->keeper);
}

/* False to stop. An exception stays set in this thread's state: whoever made the call finds it there. */
static bool look_after(const lhi_py_call *call, uint64_t done, uint64_t total)
{
    PyObject *answer = NULL;
    bool stop = false;

    if (PyErr_CheckSignals() < 0 || lhi_py_reader_has_raised(call->keeper))
        return false;
    if (!call->progress)
        return true;
    answer = PyObject_CallFunction(call->progress, "KK", (unsigned long long)done, (unsigned long long)total);
    stop = !answer || Py_IsFalse(answer);
    Py_XDECREF(answer);
    return !stop;
}

bool lhi_py_progress(void *user, uint64_t done, uint64_t total)
{
    lhi_py_call *call = user;

    if (call->stopped)
        return false;
    PyEval_RestoreThread(call->thread);
    call->stopped = !look_after(call, done, total);
    call->thread = PyEval_SaveThread();
    return !call->stopped;
}
