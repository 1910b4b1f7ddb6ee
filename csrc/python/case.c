/* Kernel.investigate, audit, info_json and info_text: what was found leaves as the texts that the library
 * renders of it.
 */
#include "python/binding.h"

typedef enum view_kind { AS_JSON, AS_TEXT, AS_HTML } view_kind;

/* What a Case or an Audit carries, in the order of the tuple that is returned; an audit has no page. */
static const struct {
    view_kind view;
    uint32_t flags;
} renderings[] = {
    {AS_JSON, 0},
    {AS_JSON, LH_RENDER_REDACT},
    {AS_TEXT, 0},
    {AS_TEXT, LH_RENDER_COLOR},
    {AS_TEXT, LH_RENDER_REDACT},
    {AS_TEXT, LH_RENDER_REDACT | LH_RENDER_COLOR},
    {AS_HTML, 0},
    {AS_HTML, LH_RENDER_FRAGMENT},
    {AS_HTML, LH_RENDER_REDACT},
    {AS_HTML, LH_RENDER_REDACT | LH_RENDER_FRAGMENT},
};
#define RENDERING_COUNT LHI_PY_COUNT_OF(renderings)

typedef struct rendering {
    char *text;
    size_t length;
} rendering;

/* A case or an audit in one rendering; nothing where it has no such view. */
typedef lh_status (*render_fn)(const void *what, view_kind view, uint32_t flags, rendering *to,
                               lh_error *err);

static lh_status render_case(const void *what, view_kind view, uint32_t flags, rendering *to, lh_error *err)
{
    switch (view) {
    case AS_JSON:
        return lh_case_json(what, flags, &to->text, &to->length, err);
    case AS_TEXT:
        return lh_case_text(what, flags, &to->text, &to->length, err);
    case AS_HTML:
        return lh_case_html(what, flags, &to->text, &to->length, err);
    }
    return LH_OK;
}

static lh_status render_audit(const void *what, view_kind view, uint32_t flags, rendering *to, lh_error *err)
{
    switch (view) {
    case AS_JSON:
        return lh_audit_json(what, flags, &to->text, &to->length, err);
    case AS_TEXT:
        return lh_audit_text(what, flags, &to->text, &to->length, err);
    case AS_HTML:
        break;
    }
    return LH_OK;
}

static lh_status render_all(const void *what, render_fn render, rendering *to, lh_error *err)
{
    lh_status status = LH_OK;

    for (size_t i = 0; status == LH_OK && i < RENDERING_COUNT; i++)
        status = render(what, renderings[i].view, renderings[i].flags, &to[i], err);
    return status;
}

/* Makes one and renders it in every way; nothing of Python is touched. */
typedef lh_status (*make_fn)(lh_kernel *kernel, const lh_investigate_options *options, rendering *to,
                             lh_error *err);

static lh_status make_case(lh_kernel *kernel, const lh_investigate_options *options, rendering *to,
                           lh_error *err)
{
    lh_case *lhcase = NULL;
    lh_status status = lh_investigate(kernel, options, &lhcase, err);

    if (status == LH_OK)
        status = render_all(lhcase, render_case, to, err);
    lh_case_release(lhcase);
    return status;
}

static lh_status make_audit(lh_kernel *kernel, const lh_investigate_options *options, rendering *to,
                            lh_error *err)
{
    lh_audit *audit = NULL;
    lh_status status = lh_audit_run(kernel, options, &audit, err);

    if (status == LH_OK)
        status = render_all(audit, render_audit, to, err);
    lh_audit_release(audit);
    return status;
}

static PyObject *tuple_of(const rendering *from)
{
    PyObject *tuple = NULL;
    size_t count = 0;

    while (count < RENDERING_COUNT && from[count].text)
        count++;
    tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *text = PyUnicode_DecodeUTF8(from[i].text, (Py_ssize_t)from[i].length, "replace");

        if (!text || PyTuple_SetItem(tuple, (Py_ssize_t)i, text) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *run(lhi_py_state *state, lhi_py_kernel *self, const lh_investigate_options *options,
                     make_fn make, lhi_py_call *call)
{
    rendering rendered[RENDERING_COUNT] = {0};
    PyObject *result = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    lhi_py_call_begin(call, self->dump);
    status = make(self->handle, options, rendered, &err);
    if (lhi_py_call_end(call))
        goto done;
    result = status == LH_OK ? tuple_of(rendered) : lhi_py_dump_raise(state, self->dump, status, &err);
done:
    for (size_t i = 0; i < RENDERING_COUNT; i++)
        lh_string_free(rendered[i].text);
    return result;
}

static PyObject *investigate(lhi_py_kernel *self, PyObject *arguments, make_fn make)
{
    lhi_py_state *state = lhi_py_state_of(self);
    lh_investigate_options options = {.struct_size = sizeof options};
    PyObject *process = NULL, *threads = NULL, *hits = NULL, *mdls = NULL, *chain = NULL, *levels = NULL,
             *timeout = NULL, *cancel = NULL, *progress = NULL, *result = NULL;
    lh_limits *limits = &options.limits;
    lhi_py_call call = {0};

    if (!PyArg_ParseTuple(arguments, "zOOOOOOOOO", &options.path, &process, &threads, &hits, &mdls, &chain,
                          &levels, &timeout, &cancel, &progress))
        return NULL;
    limits->struct_size = sizeof *limits;
    options.progress = lhi_py_progress;
    options.progress_user = &call;
    if (lhi_py_u64_or(process, "process", 0, &options.process) < 0 ||
        lhi_py_u32_or(threads, "threads", 0, &options.threads) < 0 ||
        lhi_py_u64_or(hits, "hits", 0, &limits->hits) < 0 ||
        lhi_py_u32_or(mdls, "mdls", 0, &limits->mdls) < 0 ||
        lhi_py_u32_or(chain, "chain_length", 0, &limits->chain_length) < 0 ||
        lhi_py_u32_or(levels, "levels", 0, &limits->levels) < 0 ||
        lhi_py_seconds(timeout, &limits->seconds) < 0 ||
        lhi_py_cancel_of(state, cancel, &options.cancel) < 0 || lhi_py_call_init(&call, progress) < 0 ||
        lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    result = run(state, self, &options, make, &call);
    lhi_py_kernel_leave(self);
    return result;
}

PyObject *lhi_py_investigate(lhi_py_kernel *self, PyObject *arguments)
{
    return investigate(self, arguments, make_case);
}

PyObject *lhi_py_audit(lhi_py_kernel *self, PyObject *arguments)
{
    return investigate(self, arguments, make_audit);
}

/* What a kernel is asked for without a case. */
static PyObject *render_info(lhi_py_kernel *self, const char *path, bool json, uint32_t flags)
{
    lhi_py_state *state = lhi_py_state_of(self);
    char *text = NULL;
    size_t length = 0;
    PyObject *result = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    if (lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    if (json)
        status = lh_kernel_info_json(self->handle, path, flags, &text, &length, &err);
    else
        status = lh_kernel_info_text(self->handle, path, flags, &text, &length, &err);
    Py_END_ALLOW_THREADS
    result = status == LH_OK ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "replace")
                             : lhi_py_dump_raise(state, self->dump, status, &err);
    lh_string_free(text);
    lhi_py_kernel_leave(self);
    return result;
}

PyObject *lhi_py_info_json(lhi_py_kernel *self, PyObject *arguments)
{
    const char *path = NULL;
    int redact = 0;

    if (!PyArg_ParseTuple(arguments, "zp:info_json", &path, &redact))
        return NULL;
    return render_info(self, path, true, redact ? LH_RENDER_REDACT : 0);
}

PyObject *lhi_py_info_text(lhi_py_kernel *self, PyObject *arguments)
{
    const char *path = NULL;
    int redact = 0, color = 0;

    if (!PyArg_ParseTuple(arguments, "zpp:info_text", &path, &redact, &color))
        return NULL;
    return render_info(self, path, false,
                       (redact ? (uint32_t)LH_RENDER_REDACT : 0) | (color ? (uint32_t)LH_RENDER_COLOR : 0));
}
