/* The extension module lockhound._lockhound: its state, types and functions without a handle. */
#include "python/binding.h"
#include "python/docs.h"

static PyObject *module_bugcheck(PyObject *module, PyObject *arguments)
{
    unsigned long long numbers[4] = {0};
    uint64_t parameters[4] = {0};
    PyObject *code_object = NULL, *meanings = NULL, *name = NULL, *subtype = NULL, *result = NULL;
    uint32_t code = 0;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "O(KKKK):bugcheck", &code_object, &numbers[0], &numbers[1], &numbers[2],
                          &numbers[3]) ||
        lhi_py_u32(code_object, "code", &code) < 0)
        return NULL;
    for (size_t i = 0; i < 4; i++)
        parameters[i] = numbers[i];
    meanings = PyTuple_New(4);
    for (uint32_t i = 0; meanings && i < 4; i++) {
        PyObject *meaning = lhi_py_text(lh_bugcheck_meaning(code, parameters, i));

        if (!meaning || PyTuple_SetItem(meanings, (Py_ssize_t)i, meaning) < 0)
            Py_CLEAR(meanings);
    }
    name = lhi_py_text(lh_bugcheck_name(code));
    subtype = lhi_py_text(lh_bugcheck_subtype(code, parameters));
    if (meanings && name && subtype)
        result = PyTuple_Pack(3, name, subtype, meanings);
    Py_XDECREF(meanings);
    Py_XDECREF(name);
    Py_XDECREF(subtype);
    return result;
}

static PyObject *module_version(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return lhi_py_text(lh_version());
}

static PyObject *module_absence_name(PyObject *module, PyObject *number)
{
    uint32_t absence = 0;

    (void)module;
    if (lhi_py_u32(number, "absence", &absence) < 0)
        return NULL;
    return lhi_py_text(lh_absence_name((lh_absence)absence));
}

static PyMethodDef module_methods[] = {
    {"open_file", LHI_PY_METHOD(lhi_py_open_file), METH_VARARGS, LHI_PY_DOC_open_file},
    {"open_buffer", LHI_PY_METHOD(lhi_py_open_buffer), METH_VARARGS, LHI_PY_DOC_open_buffer},
    {"open_reader", LHI_PY_METHOD(lhi_py_open_reader), METH_VARARGS, LHI_PY_DOC_open_reader},
    {"bugcheck", LHI_PY_METHOD(module_bugcheck), METH_VARARGS, LHI_PY_DOC_bugcheck},
    {"arrow_schema", LHI_PY_METHOD(lhi_py_arrow_schema), METH_O, LHI_PY_DOC_arrow_schema},
    {"arrow_array", LHI_PY_METHOD(lhi_py_arrow_array), METH_O, LHI_PY_DOC_arrow_array},
    {"arrow_stream", LHI_PY_METHOD(lhi_py_arrow_stream), METH_O, LHI_PY_DOC_arrow_stream},
    {"version", LHI_PY_METHOD(module_version), METH_NOARGS, LHI_PY_DOC_version},
    {"absence_name", LHI_PY_METHOD(module_absence_name), METH_O, LHI_PY_DOC_absence_name},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **out)
{
    *out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *out ? PyModule_AddType(module, *out) : -1;
}

static int module_exec(PyObject *module)
{
    lhi_py_state *state = PyModule_GetState(module);

    if (lhi_py_errors_init(state) < 0 || add_type(module, &lhi_py_cancel_spec, &state->cancel_type) < 0 ||
        add_type(module, &lhi_py_column_spec, &state->column_type) < 0 ||
        add_type(module, &lhi_py_dump_spec, &state->dump_type) < 0 ||
        add_type(module, &lhi_py_kernel_spec, &state->kernel_type) < 0)
        return -1;
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    lhi_py_state *state = PyModule_GetState(module);

    Py_VISIT(state->cancel_type);
    Py_VISIT(state->column_type);
    Py_VISIT(state->dump_type);
    Py_VISIT(state->kernel_type);
    for (size_t i = 0; i < LHI_PY_STATUS_COUNT; i++)
        Py_VISIT(state->exceptions[i]);
    Py_VISIT(state->closed_error);
    return 0;
}

static int module_clear(PyObject *module)
{
    lhi_py_state *state = PyModule_GetState(module);

    Py_CLEAR(state->cancel_type);
    Py_CLEAR(state->column_type);
    Py_CLEAR(state->dump_type);
    Py_CLEAR(state->kernel_type);
    for (size_t i = 0; i < LHI_PY_STATUS_COUNT; i++)
        Py_CLEAR(state->exceptions[i]);
    Py_CLEAR(state->closed_error);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, LHI_PY_SLOT(module_exec)},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "lockhound._lockhound",
    .m_doc = "The binding of liblockhound; use the package lockhound.",
    .m_size = (Py_ssize_t)sizeof(lhi_py_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__lockhound(void);
PyMODINIT_FUNC PyInit__lockhound(void)
{
    return PyModuleDef_Init(&module_definition);
}
