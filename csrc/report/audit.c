/* lh_audit: the public handle, and its result tree, schema lockhound.audit/1. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "case/audit.h"
#include "report/report.h"

struct lh_audit {
    lh_kernel *kernel;
    lhi_audit data;
    const lhi_node *root;
};

static const char *state_name(const lhi_audited *row)
{
    if (row->exited == LHI_UNKNOWN)
        return NULL;
    if (row->exited == LHI_NO)
        return "alive";
    return lhi_process_is_dead(&row->process) ? "dead" : "exiting";
}

static bool has_pages(const lhi_audited *row)
{
    return row->explained != 0 || (row->process.locked_pages_known && row->process.locked_pages != 0);
}

/* What a reader should make of the row. */
static const char *note_of(lhi_case *c, const lhi_audited *row)
{
    const lh_process *p = &row->process;
    if (row->named && !p->pid_known && !p->name_known && lhi_case_is_missing(p->absence))
        return lhi_arena_printf(
            &c->arena,
            "the process that the bug check names: analyze says who is at fault. Its object "
            "is not in this dump (%s at 0x%" PRIx64 ")",
            lh_absence_name(p->absence), p->absent_address);
    if (row->named)
        return "the process that the bug check names: analyze says who is at fault";
    if (row->exited == LHI_YES && has_pages(row))
        return lhi_arena_printf(&c->arena,
                                "%sit has exited with pages locked: when its last reference goes, the system "
                                "stops with bug check 0x76 or 0xCB",
                                row->listed ? "" : "not in the kernel's list of processes; ");
    if (!row->listed)
        return "not in the kernel's list of processes";
    if (row->exited == LHI_UNKNOWN)
        return "whether it has exited is not known";
    if (row->exited == LHI_NO && p->locked_pages_known && p->locked_pages != row->explained)
        return "requests that begin or end while the dump is written make the two counts differ";
    return NULL;
}

/* Records of one process together: indices by process and MDL. */
typedef struct lhi_share {
    uint64_t process;
    size_t record;
} lhi_share;

static int by_process(const void *a, const void *b)
{
    const lhi_share *x = a, *y = b;
    if (x->process != y->process)
        return x->process < y->process ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
}

static lhi_share *shares_of(const lhi_case *c, size_t *count)
{
    lhi_share *shares = lhi_calloc(c->record_count + 1, sizeof *shares);
    *count = 0;
    for (size_t i = 0; shares && i < c->record_count; i++)
        if (c->records[i].in_ledger)
            shares[(*count)++] = (lhi_share){c->records[i].process, i};
    if (shares && *count)
        qsort(shares, *count, sizeof *shares, by_process);
    return shares;
}

typedef struct lhi_holding {
    const char *driver; /* NULL: nobody known */
    uint64_t pages;
} lhi_holding;

static int by_driver(const void *a, const void *b)
{
    const lhi_holding *x = a, *y = b;
    if (!x->driver || !y->driver)
        return (x->driver == NULL) - (y->driver == NULL);
    return strcmp(x->driver, y->driver);
}

static int by_pages(const void *a, const void *b)
{
    const lhi_holding *x = a, *y = b;
    if (x->pages != y->pages)
        return x->pages > y->pages ? -1 : 1;
    return by_driver(a, b);
}

/* Pages by holder, most first; what has no holder that is known is in no row. */
static bool holders(lhi_case *c, lhi_node *object, const lhi_share *shares, size_t count)
{
    lhi_node *list = lhi_tree_list(&c->arena, object, "holders");
    lhi_holding *rows = lhi_calloc(count + 1, sizeof *rows);
    size_t used = 0;
    if (!rows)
        return false;
    for (size_t i = 0; i < count; i++) {
        const lhi_record *r = &c->records[shares[i].record];
        rows[i] = (lhi_holding){lhi_report_name(c, r->holder), r->mdl.pages};
    }
    if (count)
        qsort(rows, count, sizeof *rows, by_driver);
    for (size_t i = 0; i < count && rows[i].driver; i++) {
        if (used && strcmp(rows[used - 1].driver, rows[i].driver) == 0)
            rows[used - 1].pages += rows[i].pages;
        else
            rows[used++] = rows[i];
    }
    if (used)
        qsort(rows, used, sizeof *rows, by_pages);
    for (size_t i = 0; i < used; i++) {
        lhi_node *row = lhi_tree_object(&c->arena, list, NULL);
        lhi_tree_text(&c->arena, row, "driver", rows[i].driver);
        lhi_tree_count(&c->arena, row, "pages", rows[i].pages);
    }
    lhi_free(rows);
    return true;
}

static void mdls(lhi_case *c, lhi_node *object, const lhi_share *shares, size_t count)
{
    lhi_node *list = lhi_tree_list(&c->arena, object, "mdls");
    for (size_t i = 0; i < count; i++) {
        const lhi_record *r = &c->records[shares[i].record];
        lhi_node *row = lhi_tree_object(&c->arena, list, NULL);
        lhi_tree_address(&c->arena, row, "address", r->mdl.address);
        lhi_tree_count(&c->arena, row, "pages", r->mdl.pages);
        lhi_tree_text(&c->arena, row, "state", lhi_report_mdl_state(r->state));
        lhi_tree_text(&c->arena, row, "holder", lhi_report_name(c, r->holder));
    }
}

/* What the one count has more than the other; "": nothing. */
static const char *more(lhi_case *c, uint64_t count, uint64_t other, const char *what)
{
    if (count <= other)
        return "";
    const uint64_t pages = count - other;
    return lhi_arena_printf(&c->arena, "; %" PRIu64 " page%s %s", pages, pages == 1 ? " is" : "s are", what);
}

/* The kernel's own record of the locks, against its counter and against the MDLs that were found. */
static const char *compare(lhi_case *c, const lhi_audited *row)
{
    const lhi_trackers *trackers = &row->tracking.trackers;
    const lh_process *p = &row->process;
    const uint64_t charged = p->locked_pages_known ? p->locked_pages : trackers->sum;
    if (trackers->not_public)
        return "its locks are tracked; the layout of lock trackers is not public for this generation of "
               "Windows";
    return lhi_arena_printf(
        &c->arena, "%zu lock tracker%s with %" PRIu64 " page%s%s%s%s%s%s%s", trackers->count,
        trackers->count == 1 ? "" : "s", trackers->sum, trackers->sum == 1 ? "" : "s",
        trackers->complete  ? ""
        : trackers->damaged ? " (the list is damaged)"
                            : " (others are not in this dump)",
        trackers->valid_known && trackers->valid == 0 ? "; Windows gave up tracking this process" : "",
        more(c, charged, trackers->sum, "charged without a lock tracker"),
        more(c, trackers->sum, charged, "tracked and not charged"),
        more(c, trackers->sum, row->explained, "tracked and in no MDL that was found"),
        more(c, row->explained, trackers->sum, "in MDLs and not tracked"));
}

static void tracking_of(lhi_case *c, lhi_node *object, lhi_node *absent, const lhi_audited *row)
{
    if (!row->tracked) {
        lhi_tree_null(&c->arena, object, "trackers");
        return;
    }
    const char *path = lhi_arena_printf(&c->arena, "process 0x%" PRIx64 ".trackers", row->address);
    lhi_node *trackers = lhi_report_tracking(c, object, absent, path, &row->tracking);
    lhi_tree_text(&c->arena, trackers, "statement", compare(c, row));
}

static bool process_row(lhi_audit *audit, lhi_node *list, lhi_node *absent, size_t index,
                        const lhi_share *shares, size_t count)
{
    lhi_case *c = &audit->c;
    lhi_arena *arena = &c->arena;
    const lhi_audited *row = &audit->rows[index];
    const lh_process *p = &row->process;
    lhi_node *object = lhi_tree_object(arena, list, NULL);
    lhi_tree_address(arena, object, "address", row->address);
    lhi_node *name =
        lhi_tree_text(arena, object, "name", p->name_known ? lhi_arena_strdup(arena, p->name) : NULL);
    if (name)
        name->personal = true;
    lhi_tree_count_if(&c->arena, object, "pid", p->pid_known, p->pid);
    lhi_tree_text(arena, object, "state", state_name(row));
    if (row->named && !p->locked_pages_known)
        lhi_tree_count(arena, object, "charged", c->parameters[c->code == 0xcb ? 3 : 2]);
    else
        lhi_tree_count_if(&c->arena, object, "charged", p->locked_pages_known, p->locked_pages);
    lhi_tree_count(arena, object, "explained", row->explained);
    mdls(c, object, shares, count);
    bool whole = holders(c, object, shares, count);
    tracking_of(c, object, absent, row);
    lhi_tree_text(arena, object, "note", note_of(c, row));
    if (!p->name_known || !p->pid_known || !p->locked_pages_known || row->exited == LHI_UNKNOWN)
        lhi_report_absent(c, absent, lhi_arena_printf(arena, "process 0x%" PRIx64, row->address), p->absence,
                          p->absent_address);
    return whole;
}

static bool processes(lhi_audit *audit, lhi_node *root, lhi_node *absent)
{
    lhi_case *c = &audit->c;
    lhi_node *list = lhi_tree_list(&c->arena, root, "processes");
    size_t count = 0, at = 0, quiet = 0;
    lhi_share *shares = shares_of(c, &count);
    bool whole = shares != NULL;
    for (size_t i = 0; whole && i < audit->count; i++) {
        const lhi_audited *row = &audit->rows[i];
        size_t first = 0;
        while (at < count && shares[at].process < row->address)
            at++;
        for (first = at; at < count && shares[at].process == row->address; at++)
            ;
        if (at > first || row->tracking.count != 0 ||
            (row->process.locked_pages_known && row->process.locked_pages != 0) || row->named)
            whole = process_row(audit, list, absent, i, shares + first, at - first);
        else
            quiet += row->listed;
    }
    lhi_free(shares);
    lhi_tree_count(&c->arena, root, "quiet_processes", quiet);
    lhi_tree_bool(&c->arena, root, "processes_complete", audit->list_complete && !c->coverage.truncated);
    return whole;
}

static const lhi_node *tree(lhi_audit *audit, const char *path)
{
    lhi_case *c = &audit->c;
    lhi_arena *arena = &c->arena;
    lhi_node *absent = lhi_tree_object(arena, NULL, "absent");
    lhi_node *root = lhi_report_start(arena, "lockhound.audit/1");
    lhi_report_dump(c, root, absent, path);
    if (!processes(audit, root, absent))
        return NULL;
    lhi_report_coverage(c, root);
    lhi_report_finish(root, absent);
    return arena->failed ? NULL : root;
}

lh_status lh_audit_run(lh_kernel *kernel, const lh_investigate_options *options, lh_audit **out,
                       lh_error *err)
{
    lh_investigate_options copy = {0};
    if (!kernel || !out)
        return lhi_fail_argument(err, !kernel ? "kernel" : "out", "is NULL");
    lh_status status = lhi_report_options(options, &copy, err);
    if (status != LH_OK)
        return status;
    lh_audit *audit = lhi_calloc(1, sizeof *audit);
    if (!audit)
        return lhi_fail_memory(err);
    audit->kernel = lhi_kernel_retain(kernel);
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    status = lhi_audit_build(&audit->data, kernel, &copy, err);
    if (status == LH_OK) {
        audit->root = tree(&audit->data, copy.path);
        if (!audit->root)
            status = lhi_fail_memory(err);
    }
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    audit->data.c.options = (lh_investigate_options){0}; /* the caller's callbacks end with the call */
    if (status != LH_OK) {
        lh_audit_release(audit);
        return status;
    }
    *out = audit;
    return LH_OK;
}

void lh_audit_release(lh_audit *audit)
{
    if (!audit)
        return;
    lhi_audit_free(&audit->data);
    lh_kernel_release(audit->kernel);
    lhi_free(audit);
}

lh_status lh_audit_json(const lh_audit *audit, uint32_t flags, char **out, size_t *length, lh_error *err)
{
    if (!audit || !out)
        return lhi_fail_argument(err, !audit ? "audit" : "out", "is NULL");
    return lhi_report_view(audit->root, lhi_report_json, flags, out, length, err);
}

lh_status lh_audit_text(const lh_audit *audit, uint32_t flags, char **out, size_t *length, lh_error *err)
{
    if (!audit || !out)
        return lhi_fail_argument(err, !audit ? "audit" : "out", "is NULL");
    return lhi_report_view(audit->root, lhi_report_text, flags, out, length, err);
}
