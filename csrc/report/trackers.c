/* The tree's `trackers`: the lock trackers of the process, each with its trace and what it means. */
#include "case/lock.h"
#include "report/report.h"

#define MOST_LISTED ((size_t)1000) /* rows of `list`; their number is given in full */

static void frame_row(lhi_case *c, lhi_node *list, const lhi_trace_entry *frame)
{
    lhi_arena *arena = &c->arena;
    lhi_node *row = lhi_tree_object(arena, list, NULL);
    const lhi_driver *driver = frame->party != LHI_NONE ? &c->parties[frame->party].driver : NULL;
    bool code = driver && driver->has_module && frame->kind != LHI_ENTRY_DEVICE;
    lhi_tree_address(arena, row, "address", frame->address);
    lhi_tree_text(arena, row, "kind", lhi_entry_kind_name(frame->kind));
    lhi_tree_text(arena, row, "module", driver ? lhi_report_name(c, frame->party) : NULL);
    if (code)
        lhi_tree_address(arena, row, "offset", frame->address - driver->module.base);
    else
        lhi_tree_null(arena, row, "offset");
    lhi_tree_bool(arena, row, "unloaded", code && driver->module.unloaded);
}

static void lock_row(lhi_case *c, lhi_node *list, lhi_node *absent, const char *path, const lhi_lock *lock,
                     size_t index)
{
    lhi_arena *arena = &c->arena;
    const lhi_tracker *tracker = &lock->tracker;
    bool whole = tracker->address != 0;
    lhi_node *row = lhi_tree_object(arena, list, NULL);
    if (whole) {
        lhi_report_place(c, row, tracker->address);
        lhi_tree_count(arena, row, "pages", tracker->pages);
        lhi_tree_address(arena, row, "user_address", tracker->start_va + tracker->offset);
        lhi_tree_count(arena, row, "bytes", tracker->length);
        lhi_tree_count(arena, row, "who", tracker->who);
        lhi_tree_address(arena, row, "first_frame", tracker->first_frame);
    } else {
        static const char *const unknown[] = {"address",      "physical", "file_offset", "pages",
                                              "user_address", "bytes",    "who",         "first_frame"};
        for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
            lhi_tree_null(arena, row, unknown[i]);
    }
    lhi_tree_address(arena, row, "mdl", tracker->mdl);
    lhi_tree_bool(arena, row, "switched", tracker->switched);
    lhi_tree_text(arena, row, "locked_by", lhi_lock_by_name(lock->by));
    lhi_tree_text(arena, row, "driver", lhi_report_name(c, lock->locker));
    lhi_tree_text(arena, row, "client", lhi_report_name(c, lock->client));
    lhi_tree_text(arena, row, "statement", lock->why);
    lhi_tree_text(arena, row, "rule", lock->rule);
    lhi_node *trace = lhi_tree_list(arena, row, "trace");
    for (unsigned i = 0; i < tracker->trace_size; i++)
        frame_row(c, trace, &lock->frames[i]);
    if (lock->absence != LH_PRESENT)
        lhi_report_absent(c, absent, lhi_arena_printf(arena, "%s.list.%zu.driver", path, index),
                          lock->absence, lock->absent_at);
}

lhi_node *lhi_report_tracking(lhi_case *c, lhi_node *parent, lhi_node *absent, const char *path,
                              const lhi_tracking *tracking)
{
    lhi_arena *arena = &c->arena;
    const lhi_trackers *trackers = &tracking->trackers;
    lhi_node *object = lhi_tree_object(arena, parent, "trackers");
    lhi_tree_text(arena, object, "layout", lhi_tracker_form_name(trackers->form));
    lhi_tree_text(arena, object, "state",
                  trackers->not_public              ? "layout_not_public"
                  : trackers->complete              ? "complete"
                  : trackers->damaged               ? "damaged"
                  : trackers->absence != LH_PRESENT ? "not_captured"
                                                    : "header_unknown");
    lhi_tree_address_if(arena, object, "header", trackers->header, trackers->header);
    lhi_tree_count_if(&c->arena, object, "header_count", trackers->header_known, trackers->header_count);
    lhi_tree_count_if(&c->arena, object, "valid", trackers->valid_known, trackers->valid);
    lhi_tree_count(arena, object, "count", trackers->count);
    lhi_tree_count(arena, object, "pages", trackers->sum);
    lhi_node *list = lhi_tree_list(arena, object, "list");
    for (size_t i = 0; i < tracking->count && i < MOST_LISTED; i++)
        lock_row(c, list, absent, path, &tracking->locks[i], i);
    if (trackers->damaged)
        lhi_report_absent(c, absent, path, LH_ABSENT_LAYOUT, trackers->damage);
    else if (trackers->absence != LH_PRESENT)
        lhi_report_absent(c, absent, path, trackers->absence, trackers->absent_at);
    return object;
}

void lhi_report_trackers(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    const lhi_tracking tracking = {.trackers = c->trackers, .locks = c->locks, .count = c->lock_count};
    if (c->tracked)
        lhi_report_tracking(c, root, absent, "trackers", &tracking);
    else
        lhi_tree_null(&c->arena, root, "trackers");
}
