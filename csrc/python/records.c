/* Result structs of the library -> dicts, by tables of fields. */
#include "python/binding.h"

#include <string.h>

PyObject *lhi_py_text(const char *utf8)
{
    if (!utf8)
        return Py_NewRef(Py_None);
    return PyUnicode_DecodeUTF8(utf8, (Py_ssize_t)strlen(utf8), "replace");
}

static PyObject *value_of(lhi_py_kind kind, const char *at)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    int32_t number = 0;
    lh_absence absence = LH_PRESENT;
    lh_format format = LH_FORMAT_FULL;
    lh_flow flow = LH_FLOW_NEXT;
    lh_place place = LH_PLACE_UNKNOWN;
    bool flag = false;

    switch (kind) {
    case LHI_PY_U64:
        memcpy(&wide, at, sizeof wide);
        return PyLong_FromUnsignedLongLong(wide);
    case LHI_PY_U32:
        memcpy(&narrow, at, sizeof narrow);
        return PyLong_FromUnsignedLong(narrow);
    case LHI_PY_I32:
        memcpy(&number, at, sizeof number);
        return PyLong_FromLong(number);
    case LHI_PY_BOOL:
        memcpy(&flag, at, sizeof flag);
        return PyBool_FromLong(flag);
    case LHI_PY_TEXT:
        return lhi_py_text(at);
    case LHI_PY_ABSENCE:
        memcpy(&absence, at, sizeof absence);
        return lhi_py_text(absence == LH_PRESENT ? NULL : lh_absence_name(absence));
    case LHI_PY_FORMAT:
        memcpy(&format, at, sizeof format);
        return lhi_py_text(lh_format_name(format));
    case LHI_PY_FLOW:
        memcpy(&flow, at, sizeof flow);
        return lhi_py_text(lh_flow_name(flow));
    case LHI_PY_PLACE:
        memcpy(&place, at, sizeof place);
        return lhi_py_text(lh_place_name(place));
    }
    return Py_NewRef(Py_None);
}

PyObject *lhi_py_record(const lhi_py_field *fields, size_t count, const void *from)
{
    const char *bytes = from;
    PyObject *record = PyDict_New();

    for (size_t i = 0; record && i < count; i++) {
        bool known = true;

        if (fields[i].known != LHI_PY_ALWAYS)
            memcpy(&known, bytes + fields[i].known, sizeof known);
        if (lhi_py_put(record, fields[i].name,
                       known ? value_of(fields[i].kind, bytes + fields[i].offset) : Py_NewRef(Py_None)) < 0)
            Py_CLEAR(record);
    }
    return record;
}

int lhi_py_put(PyObject *record, const char *name, PyObject *value)
{
    int result = value ? PyDict_SetItemString(record, name, value) : -1;

    Py_XDECREF(value);
    return result;
}
