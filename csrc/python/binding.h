/* The binding's shared declarations: module state, handle objects and the helpers between its files. */
#ifndef LHI_PYTHON_BINDING_H
#define LHI_PYTHON_BINDING_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "lockhound.h"

/* ISO C has no conversion from function to object pointer; the slot tables of CPython need one. */
#define LHI_PY_SLOT(function)   ((void *)(uintptr_t)(function))
#define LHI_PY_METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* In the limited API Py_TYPE is a function of PyObject *. */
#define LHI_PY_TYPE(object) Py_TYPE((PyObject *)(object))

#define LHI_PY_STATUS_COUNT 11 /* LH_OK to LH_ERR_INTERNAL */

typedef struct lhi_py_state {
    PyTypeObject *cancel_type, *column_type, *dump_type, *kernel_type;
    PyObject *exceptions[LHI_PY_STATUS_COUNT]; /* by lh_status; NULL for LH_OK */
    PyObject *closed_error;
} lhi_py_state;

/* The module state by an instance of one of its types, which are final. */
static inline lhi_py_state *lhi_py_state_of(void *object)
{
    return PyType_GetModuleState(LHI_PY_TYPE(object));
}

/* ---- errors.c: lh_error -> exception. All return NULL, so that `return lhi_py_raise(...)` reads well. */
int lhi_py_errors_init(lhi_py_state *state);
PyObject *lhi_py_raise(lhi_py_state *state, lh_status status, const lh_error *err, PyObject *filename);
/* The same with the bytes that could be read before the failure, as the attribute `partial`. */
PyObject *lhi_py_raise_partial(lhi_py_state *state, lh_status status, const lh_error *err, PyObject *filename,
                               const void *bytes, size_t size);
PyObject *lhi_py_raise_closed(lhi_py_state *state, const char *what);

/* ---- arguments.c: Python values -> C values. 0, or -1 with an exception that names the argument. */
int lhi_py_u64(PyObject *object, const char *name, uint64_t *out);
int lhi_py_u32(PyObject *object, const char *name, uint32_t *out);
/* None gives `fallback`. */
int lhi_py_u64_or(PyObject *object, const char *name, uint64_t fallback, uint64_t *out);
int lhi_py_u32_or(PyObject *object, const char *name, uint32_t fallback, uint32_t *out);
int lhi_py_size(PyObject *object, const char *name, size_t *out);
/* Any iterable of integers, or a buffer of unsigned 64-bit ones. Free *out with PyMem_Free. */
int lhi_py_u64_array(PyObject *object, const char *name, uint64_t **out, size_t *count);
/* None gives 0, which the library takes as "no deadline"; 0 gives the shortest deadline there is. */
int lhi_py_seconds(PyObject *object, double *out);
/* A bytes object for count * size bytes; MemoryError when the product has no size_t. */
PyObject *lhi_py_new_bytes(size_t count, size_t size);

/* ---- records.c: result structs -> dicts, by tables of fields. */
typedef enum lhi_py_kind {
    LHI_PY_U32,
    LHI_PY_U64,
    LHI_PY_I32,
    LHI_PY_BOOL,
    LHI_PY_TEXT,    /* char array, UTF-8 */
    LHI_PY_ABSENCE, /* lh_absence -> its name, or None for LH_PRESENT */
    LHI_PY_FORMAT,  /* lh_format -> its name */
    LHI_PY_FLOW,    /* lh_flow -> its name */
    LHI_PY_PLACE    /* lh_place -> its name */
} lhi_py_kind;
typedef struct lhi_py_field {
    const char *name;
    lhi_py_kind kind;
    size_t offset;
    size_t known; /* offset of the bool that tells whether the value is known, or LHI_PY_ALWAYS */
} lhi_py_field;
#define LHI_PY_ALWAYS          ((size_t)-1)
#define LHI_PY_COUNT_OF(array) (sizeof(array) / sizeof *(array))
/* A row of such a table: a field that is always known, or one with a flag `..._known` beside it. */
/* clang-format off */
#define LHI_PY_FIELD(type, name, kind)       {#name, kind, offsetof(type, name), LHI_PY_ALWAYS}
#define LHI_PY_FIELD_KNOWN(type, name, kind) {#name, kind, offsetof(type, name), offsetof(type, name##_known)}
/* clang-format on */
PyObject *lhi_py_record(const lhi_py_field *fields, size_t count, const void *from);
/* record[name] = value; steals value, and fails when it is NULL. */
int lhi_py_put(PyObject *record, const char *name, PyObject *value);
PyObject *lhi_py_text(const char *utf8); /* NULL gives None; bad UTF-8 becomes U+FFFD */

/* ---- cancel.c */
extern PyType_Spec lhi_py_cancel_spec;
/* None gives NULL. The object must be kept alive while the pointer is in use. */
int lhi_py_cancel_of(lhi_py_state *state, PyObject *object, lh_cancel **out);

/* ---- column.c: immutable arrays that export buffers. */
extern PyType_Spec lhi_py_column_spec;
/* `owner` is kept alive by the column and by every view of it. format is 'Q', 'I' or 'B'. */
PyObject *lhi_py_column(lhi_py_state *state, PyObject *owner, const void *data, size_t count, char format);
/* A column over a bytes object; steals the reference, also on failure. */
PyObject *lhi_py_column_of_bytes(lhi_py_state *state, PyObject *bytes, char format);
/* A column of a copy of 64-bit numbers. */
PyObject *lhi_py_column_of_copy(lhi_py_state *state, const uint64_t *values, size_t count);

/* ---- dump.c and kernel.c: the handles. */
typedef struct lhi_py_kernel lhi_py_kernel;
typedef struct lhi_py_dump {
    PyObject_HEAD
    lh_dump *handle;        /* NULL once freed */
    PyObject *keeper;       /* what the dump's bytes live in, or NULL */
    PyObject *filename;     /* for error messages; or NULL */
    size_t in_flight;       /* calls that run now */
    bool closed;            /* no new questions */
    lhi_py_kernel *kernels; /* those made from it, to free their handles with its own */
} lhi_py_dump;
struct lhi_py_kernel {
    PyObject_HEAD
    lh_kernel *handle;              /* NULL once freed */
    lhi_py_dump *dump;              /* strong */
    lhi_py_kernel *previous, *next; /* in dump->kernels */
};
extern PyType_Spec lhi_py_dump_spec, lhi_py_kernel_spec;
/* Every question stands between these two. enter: 0, or -1 with ClosedError. leave frees a closed handle
 * when it ends the last call. The GIL guards the counts. */
int lhi_py_dump_enter(lhi_py_state *state, lhi_py_dump *dump);
void lhi_py_dump_leave(lhi_py_dump *dump);
int lhi_py_kernel_enter(lhi_py_state *state, lhi_py_kernel *kernel);
void lhi_py_kernel_leave(lhi_py_kernel *kernel);
/* lhi_py_raise with what the dump knows: its file name, and what a Python reader below it raised. */
PyObject *lhi_py_dump_raise(lhi_py_state *state, const lhi_py_dump *dump, lh_status status,
                            const lh_error *err);
/* Takes the handle, also on failure. */
PyObject *lhi_py_dump_wrap(lhi_py_state *state, lh_dump *handle, PyObject *keeper, PyObject *filename);
PyObject *lhi_py_kernel_open(lhi_py_dump *self, PyObject *ignored);
/* read(address, size) of a dump's physical memory, or of the virtual memory of its kernel where one is given.
 * `name` is what the address is called. */
PyObject *lhi_py_read(lhi_py_dump *dump, lhi_py_kernel *kernel, const char *name, PyObject *arguments);

/* ---- stack.c: (frames, complete, reason, absence, absent address). */
PyObject *lhi_py_kernel_stack(lhi_py_kernel *self, PyObject *thread_object);

/* ---- call.c: long calls. */
typedef struct lhi_py_call {
    PyThreadState *thread; /* saved while the GIL is released */
    PyObject *progress;    /* borrowed callable, or NULL */
    PyObject *keeper;      /* borrowed, of the dump: its reader may have raised; or NULL */
    bool stopped;          /* the callback has said stop */
} lhi_py_call;
/* between begin and end the GIL is not held; `call` is the user pointer of lhi_py_progress. */
int lhi_py_call_init(lhi_py_call *call, PyObject *progress);
void lhi_py_call_begin(lhi_py_call *call, const lhi_py_dump *dump);
/* True when an exception is set that makes the call's answer void, whatever its status: of a signal's
 * handler, of the progress function or of a Python reader. */
bool lhi_py_call_end(lhi_py_call *call);
bool lhi_py_progress(void *user, uint64_t done, uint64_t total);

/* ---- search.c and case.c: the long questions. */
PyObject *lhi_py_search(lhi_py_dump *self, PyObject *arguments);
PyObject *lhi_py_investigate(lhi_py_kernel *self, PyObject *arguments);
PyObject *lhi_py_audit(lhi_py_kernel *self, PyObject *arguments);
PyObject *lhi_py_info_json(lhi_py_kernel *self, PyObject *arguments);
PyObject *lhi_py_info_text(lhi_py_kernel *self, PyObject *arguments);

/* ---- code.c: what drivers' code shows. */
PyObject *lhi_py_disassemble(lhi_py_kernel *self, PyObject *arguments);
PyObject *lhi_py_locks(lhi_py_kernel *self, PyObject *arguments);

/* ---- arrow.c: a node (lockhound.arrow says what that is) as capsules of the Arrow C data interface. */
PyObject *lhi_py_arrow_schema(PyObject *module, PyObject *node);
PyObject *lhi_py_arrow_array(PyObject *module, PyObject *node); /* (schema, array) */
PyObject *lhi_py_arrow_stream(PyObject *module, PyObject *node);

/* ---- open.c: sources. */
/* What a Python reader raised, when `keeper` is one: whether there is something; and raises it. */
bool lhi_py_reader_has_raised(PyObject *keeper);
bool lhi_py_reader_raise(PyObject *keeper);
PyObject *lhi_py_open_file(PyObject *module, PyObject *arguments);
PyObject *lhi_py_open_buffer(PyObject *module, PyObject *arguments);
PyObject *lhi_py_open_reader(PyObject *module, PyObject *arguments);

#endif
