/* Kernel.investigate, info_json and info_text: the case leaves as the texts that the library renders of it.
 */
#include "python/binding.h"

typedef lh_status (*renderer)(const lh_case *lhcase, uint32_t flags, char **out, size_t *length,
                              lh_error *err);

/* What a Case carries, in the order of the tuple that investigate returns. */
static const struct {
    renderer render;
    uint32_t flags;
} renderings[] = {
    {lh_case_json, 0},
    {lh_case_json, LH_RENDER_REDACT},
    {lh_case_text, 0},
    {lh_case_text, LH_RENDER_COLOR},
    {lh_case_text, LH_RENDER_REDACT},
    {lh_case_text, LH_RENDER_REDACT | LH_RENDER_COLOR},
    {lh_case_html, 0},
    {lh_case_html, LH_RENDER_FRAGMENT},
    {lh_case_html, LH_RENDER_REDACT},
    {lh_case_html, LH_RENDER_REDACT | LH_RENDER_FRAGMENT},
};
#define RENDERING_COUNT (sizeof renderings / sizeof *renderings)

typedef struct rendering {
    char *text;
    size_t length;
} rendering;

static lh_status render_all(const lh_case *lhcase, rendering *to, lh_error *err)
{
    for (size_t i = 0; i < RENDERING_COUNT; i++) {
        lh_status status = renderings[i].render(lhcase, renderings[i].flags, &to[i].text, &to[i].length, err);

        if (status != LH_OK)
            return status;
    }
    return LH_OK;
}

static PyObject *tuple_of(const rendering *from)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)RENDERING_COUNT);

    for (size_t i = 0; tuple && i < RENDERING_COUNT; i++) {
        PyObject *text = PyUnicode_DecodeUTF8(from[i].text, (Py_ssize_t)from[i].length, "replace");

        if (!text || PyTuple_SetItem(tuple, (Py_ssize_t)i, text) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *run(lhi_py_state *state, lhi_py_kernel *self, const lh_investigate_options *options,
                     lhi_py_call *call)
{
    rendering rendered[RENDERING_COUNT] = {0};
    PyObject *result = NULL;
    lh_case *lhcase = NULL;
    lh_error err = {0};
    lh_status status = LH_OK;

    lhi_py_call_begin(call, self->dump);
    status = lh_investigate(self->handle, options, &lhcase, &err);
    if (status == LH_OK)
        status = render_all(lhcase, rendered, &err);
    lh_case_release(lhcase);
    if (lhi_py_call_end(call))
        goto done;
    result = status == LH_OK ? tuple_of(rendered) : lhi_py_dump_raise(state, self->dump, status, &err);
done:
    for (size_t i = 0; i < RENDERING_COUNT; i++)
        lh_string_free(rendered[i].text);
    return result;
}

PyObject *lhi_py_investigate(lhi_py_kernel *self, PyObject *arguments)
{
    lhi_py_state *state = lhi_py_state_of(self);
    lh_investigate_options options = {.struct_size = sizeof options};
    PyObject *threads = NULL, *hits = NULL, *mdls = NULL, *chain = NULL, *levels = NULL, *timeout = NULL,
             *cancel = NULL, *progress = NULL, *result = NULL;
    lh_limits *limits = &options.limits;
    lhi_py_call call = {0};

    if (!PyArg_ParseTuple(arguments, "zOOOOOOOO:investigate", &options.path, &threads, &hits, &mdls, &chain,
                          &levels, &timeout, &cancel, &progress))
        return NULL;
    limits->struct_size = sizeof *limits;
    options.progress = lhi_py_progress;
    options.progress_user = &call;
    if (lhi_py_u32_or(threads, "threads", 0, &options.threads) < 0 ||
        lhi_py_u64_or(hits, "hits", 0, &limits->hits) < 0 ||
        lhi_py_u32_or(mdls, "mdls", 0, &limits->mdls) < 0 ||
        lhi_py_u32_or(chain, "chain_length", 0, &limits->chain_length) < 0 ||
        lhi_py_u32_or(levels, "levels", 0, &limits->levels) < 0 ||
        lhi_py_seconds(timeout, &limits->seconds) < 0 ||
        lhi_py_cancel_of(state, cancel, &options.cancel) < 0 || lhi_py_call_init(&call, progress) < 0 ||
        lhi_py_kernel_enter(state, self) < 0)
        return NULL;
    result = run(state, self, &options, &call);
    lhi_py_kernel_leave(self);
    return result;
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
