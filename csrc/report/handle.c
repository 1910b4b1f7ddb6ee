/* lh_case: the public handle around a built case and its result tree. */
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "report/report.h"

struct lh_case {
    atomic_int references;
    lh_kernel *kernel;
    lhi_case data;
    const lhi_node *root;
    size_t mdl_count; /* ledger columns, in the arena */
    uint64_t *mdl_addresses, *mdl_pages;
    uint8_t *mdl_states;
    const char **mdl_holders;
};

const char *lh_verdict_kind_name(lh_verdict_kind kind)
{
    switch (kind) {
    case LH_VERDICT_DRIVER:
        return "driver";
    case LH_VERDICT_KERNEL:
        return "kernel";
    case LH_VERDICT_UNATTRIBUTED:
        return "unattributed";
    case LH_VERDICT_INSUFFICIENT:
        return "insufficient";
    case LH_VERDICT_NOT_APPLICABLE:
        return "not_applicable";
    }
    return "unknown";
}

static bool fill_columns(lh_case *handle)
{
    lhi_case *c = &handle->data;
    for (size_t i = 0; i < c->record_count; i++)
        handle->mdl_count += c->records[i].in_ledger;
    handle->mdl_addresses = lhi_arena_alloc(&c->arena, (handle->mdl_count + 1) * sizeof(uint64_t));
    handle->mdl_pages = lhi_arena_alloc(&c->arena, (handle->mdl_count + 1) * sizeof(uint64_t));
    handle->mdl_states = lhi_arena_alloc(&c->arena, handle->mdl_count + 1);
    handle->mdl_holders = lhi_arena_alloc(&c->arena, (handle->mdl_count + 1) * sizeof(char *));
    if (c->arena.failed)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (!r->in_ledger)
            continue;
        handle->mdl_addresses[at] = r->mdl.address;
        handle->mdl_pages[at] = r->mdl.pages;
        handle->mdl_states[at] = (uint8_t)r->state;
        handle->mdl_holders[at] = lhi_report_name(c, r->holder);
        at++;
    }
    return true;
}

lh_status lhi_report_options(const lh_investigate_options *options, lh_investigate_options *out,
                             lh_error *err)
{
    *out = (lh_investigate_options){.struct_size = sizeof *out};
    if (!options)
        return LH_OK;
    if (options->struct_size < sizeof options->struct_size || options->struct_size > 4096)
        return lhi_fail_argument(err, "options.struct_size", "is not the size of the struct");
    memcpy(out, options, options->struct_size < sizeof *out ? options->struct_size : sizeof *out);
    return LH_OK;
}

lh_status lh_investigate(lh_kernel *kernel, const lh_investigate_options *options, lh_case **out,
                         lh_error *err)
{
    lh_investigate_options copy = {0};
    if (!kernel || !out)
        return lhi_fail_argument(err, !kernel ? "kernel" : "out", "is NULL");
    lh_status status = lhi_report_options(options, &copy, err);
    if (status != LH_OK)
        return status;
    lh_case *handle = lhi_calloc(1, sizeof *handle);
    if (!handle)
        return lhi_fail_memory(err);
    atomic_init(&handle->references, 1);
    handle->kernel = lhi_kernel_retain(kernel);
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    status = lhi_case_build(&handle->data, kernel, &copy, err);
    if (status == LH_OK) {
        handle->root = lhi_report_tree(&handle->data, copy.path);
        if (!handle->root || !fill_columns(handle))
            status = lhi_fail_memory(err);
    }
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    /* The caller's callbacks and strings end with the call. */
    handle->data.options = (lh_investigate_options){0};
    if (status != LH_OK) {
        lh_case_release(handle);
        return status;
    }
    *out = handle;
    return LH_OK;
}

void lh_case_release(lh_case *lhcase)
{
    if (!lhcase || atomic_fetch_sub(&lhcase->references, 1) != 1)
        return;
    lhi_case_free(&lhcase->data);
    lh_kernel_release(lhcase->kernel);
    lhi_free(lhcase);
}

lh_verdict_kind lh_case_kind(const lh_case *lhcase)
{
    return lhcase->data.kind;
}

const char *lh_case_driver(const lh_case *lhcase)
{
    const lhi_case *c = &lhcase->data;
    return c->kind == LH_VERDICT_DRIVER && c->named_count ? c->parties[c->named[0].party].driver.name : NULL;
}

double lh_case_confidence(const lh_case *lhcase)
{
    return lhcase->data.score;
}

lh_status lh_case_get_ledger(const lh_case *lhcase, lh_ledger *out, lh_error *err)
{
    if (!lhcase || !out)
        return lhi_fail_argument(err, !lhcase ? "lhcase" : "out", "is NULL");
    size_t size = out->struct_size;
    if (size < sizeof out->struct_size || size > 4096)
        return lhi_fail_argument(err, "out.struct_size", "is not the size of the struct");
    const lhi_case *c = &lhcase->data;
    lh_ledger ledger = {
        .struct_size = size,
        .charged = c->charged,
        .charged_known = c->charged_known,
        .explained = c->explained,
        .unexplained = c->unexplained,
        .mdl_count = lhcase->mdl_count,
        .mdl_addresses = lhcase->mdl_addresses,
        .mdl_pages = lhcase->mdl_pages,
        .mdl_states = lhcase->mdl_states,
        .mdl_holders = lhcase->mdl_holders,
    };
    memcpy(out, &ledger, size < sizeof ledger ? size : sizeof ledger);
    return LH_OK;
}

lh_status lhi_report_view(const lhi_node *root, lhi_view *view, uint32_t flags, char **out, size_t *length,
                          lh_error *err)
{
    lhi_out text = {0};
    view(root, flags, &text);
    if (text.failed || !text.data) {
        lhi_free(text.data);
        return lhi_fail_memory(err);
    }
    *out = text.data;
    if (length)
        *length = text.length;
    return LH_OK;
}

lh_status lh_case_json(const lh_case *lhcase, uint32_t flags, char **out, size_t *length, lh_error *err)
{
    if (!lhcase || !out)
        return lhi_fail_argument(err, !lhcase ? "lhcase" : "out", "is NULL");
    return lhi_report_view(lhcase->root, lhi_report_json, flags, out, length, err);
}

lh_status lh_case_text(const lh_case *lhcase, uint32_t flags, char **out, size_t *length, lh_error *err)
{
    if (!lhcase || !out)
        return lhi_fail_argument(err, !lhcase ? "lhcase" : "out", "is NULL");
    return lhi_report_view(lhcase->root, lhi_report_text, flags, out, length, err);
}

lh_status lh_case_html(const lh_case *lhcase, uint32_t flags, char **out, size_t *length, lh_error *err)
{
    if (!lhcase || !out)
        return lhi_fail_argument(err, !lhcase ? "lhcase" : "out", "is NULL");
    return lhi_report_view(lhcase->root, lhi_report_html, flags, out, length, err);
}

static lh_status view_info(lh_kernel *kernel, const char *path, uint32_t flags, lhi_view *view, char **out,
                           size_t *length, lh_error *err)
{
    if (!kernel || !out)
        return lhi_fail_argument(err, !kernel ? "kernel" : "out", "is NULL");
    lhi_case *c = lhi_calloc(1, sizeof *c);
    if (!c)
        return lhi_fail_memory(err);
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    lh_status status = lhi_case_outline(c, kernel, err);
    const lhi_node *root = status == LH_OK ? lhi_report_info(c, path) : NULL;
    if (status == LH_OK && !root)
        status = lhi_fail_memory(err);
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK)
        status = lhi_report_view(root, view, flags, out, length, err);
    lhi_case_free(c);
    lhi_free(c);
    return status;
}

lh_status lh_kernel_info_json(lh_kernel *kernel, const char *path, uint32_t flags, char **out, size_t *length,
                              lh_error *err)
{
    return view_info(kernel, path, flags, lhi_report_json, out, length, err);
}

lh_status lh_kernel_info_text(lh_kernel *kernel, const char *path, uint32_t flags, char **out, size_t *length,
                              lh_error *err)
{
    return view_info(kernel, path, flags, lhi_report_text, out, length, err);
}

void lh_string_free(char *string)
{
    lhi_free(string);
}
