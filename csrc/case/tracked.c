/* The method for a process whose locks were tracked (0xCB, and 0x76 with P1 = 0 and P4 != 0): its lock
 * trackers tell who locked. */
#include "base/alloc.h"
#include "base/error.h"
#include "case/explain.h"
#include "case/lock.h"
#include "case/method.h"
#include "nt/read.h"

bool lhi_case_names_trackers(const lhi_case *c)
{
    const uint64_t header = c->parameters[3];
    uint64_t word = 0, own = 0, at = 0;
    if (!lhi_is_object(header, 8))
        return false;
    if (lhi_space_u64(&c->kernel->space, header, &word) != LH_ABSENT_NOT_MAPPED)
        return true;
    /* Nothing is there: a word of whatever wrote the header, if the process itself has another. */
    return lhi_read_field(&c->kernel->space, c->kernel->layout, c->parameters[1],
                          LHI_F_EPROCESS_LockedPagesList, 8, &own, &at) != LH_PRESENT ||
           own == header;
}

static bool takes(const lhi_case *c)
{
    return c->code == 0xcb || (c->code == 0x76 && c->parameters[0] == 0 && lhi_case_names_trackers(c));
}

/* Up to Windows 7 the first two parameters of 0xCB are the callers of the routine that locked, later the
 * first is the tracker and the second 0 (facts C.4). */
static bool has_callers(const lhi_case *c)
{
    return c->code == 0xcb &&
           (c->parameters[1] != 0 || lhi_module_at(&c->kernel->modules, c->parameters[0]) != NULL ||
            lhi_module_unloaded_at(&c->kernel->modules, c->parameters[0]) != NULL);
}

static void subject_of_left_locked(lhi_case *c)
{
    lhi_tracker tracker = {0};
    lhi_tracker_form found = LHI_TRACKER_NONE;
    uint64_t at = 0;
    if (!has_callers(c) && lhi_trackers_public(c->kernel) &&
        lhi_tracker_read(c->kernel, c->parameters[0], LHI_TRACKER_NONE, &found, &tracker, &at) ==
            LH_PRESENT &&
        tracker.mdl == c->parameters[2])
        lhi_case_subject(c, tracker.process, "the process that the lock tracker names");
    else
        lhi_case_subject_of_mdl(c, c->parameters[2]);
    c->charged = c->parameters[3];
    c->charged_known = true;
    c->unexplained = c->charged;
    lhi_case_expect_deleted(c);
}

static void subject(lhi_case *c)
{
    if (c->code == 0xcb)
        subject_of_left_locked(c);
    else
        lhi_case_subject_of_deletion(c);
}

/* Where the process's LOCK_HEADER is; 0: not known, or there is none. */
static uint64_t find_header(const lhi_case *c)
{
    uint64_t header = 0, at = 0;
    if (c->code == 0x76 && c->parameters[0] == 0 && c->parameters[1] == c->target)
        return c->parameters[3];
    if (lhi_read_field(&c->kernel->space, c->kernel->layout, c->target, LHI_F_EPROCESS_LockedPagesList, 8,
                       &header, &at) != LH_PRESENT)
        return 0;
    return header;
}

/* The tracker that the bug check names; 0: none, or one of another process. */
static uint64_t find_one(const lhi_case *c)
{
    lhi_tracker tracker = {0};
    lhi_tracker_form found = LHI_TRACKER_NONE;
    uint64_t at = 0;
    if (c->code != 0xcb || has_callers(c))
        return 0;
    bool read =
        lhi_tracker_read(c->kernel, c->parameters[0], LHI_TRACKER_NONE, &found, &tracker, &at) == LH_PRESENT;
    return c->method == &lhi_method_tracked || (read && tracker.process == c->target) ? c->parameters[0] : 0;
}

/* The callers in the parameters stand for the tracker of the MDL in P3, where that was not found. */
static bool wants_callers(const lhi_case *c)
{
    for (size_t i = 0; i < c->trackers.count; i++)
        if (c->trackers.items[i].mdl == c->parameters[2])
            return false;
    return has_callers(c);
}

static lh_status read_locks(lhi_case *c, lh_error *err)
{
    lhi_tracking tracking = {0};
    lh_status status = lhi_case_tracking(c, c->target, find_header(c), find_one(c), &tracking, err);
    c->trackers = tracking.trackers;
    c->locks = tracking.locks;
    c->lock_count = tracking.count;
    if (status != LH_OK || !wants_callers(c))
        return status;
    lhi_tracker *callers = &c->locks[c->lock_count++].tracker;
    *callers = (lhi_tracker){.mdl = c->parameters[2], .process = c->target, .callers = true};
    for (; callers->trace_size < 2 && c->parameters[callers->trace_size] != 0; callers->trace_size++)
        callers->trace[callers->trace_size] = c->parameters[callers->trace_size];
    return lhi_case_read_lock(c, &c->locks[c->lock_count - 1], err);
}

lh_status lhi_case_track(lhi_case *c, lh_error *err)
{
    if (find_header(c) == 0 && find_one(c) == 0)
        return LH_OK;
    c->tracked = true;
    lh_status status = read_locks(c, err);
    return status == LH_OK ? lhi_case_judge_locks(c, err) : status;
}

static lh_status conclude_without_process(lhi_case *c, lh_error *err)
{
    lh_status status = c->code == 0xcb ? read_locks(c, err) : LH_OK;
    bool whole = c->code == 0x76
                     ? lhi_case_conclude_damaged_header(c)
                     : lhi_case_conclude_nothing(c, LHI_RULE_LOCK_TRACKER,
                                                 "neither the lock tracker nor the MDL that the bug check "
                                                 "names is in this dump");
    if (status == LH_OK && !whole)
        status = lhi_fail_memory(err);
    return status;
}

static bool skip_rules(lhi_case *c)
{
    const lhi_trackers *trackers = &c->trackers;
    bool whole = true;
    if (trackers->not_public)
        whole = whole && lhi_case_skip_rule(c, LHI_RULE_LOCK_TRACKER,
                                            "the layout of lock trackers, which is not public for this "
                                            "generation of Windows");
    else if (!trackers->complete)
        whole = whole && lhi_case_skip_rule(
                             c, LHI_RULE_LOCK_TRACKER,
                             trackers->damaged ? "the whole of the process's lock trackers: a link is damaged"
                                               : "the pages of the process's lock trackers");
    return whole;
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    c->tracked = true;
    if (c->target == 0) {
        lh_status status = conclude_without_process(c, err);
        return status == LH_OK ? lhi_case_explain_locks(c, err) : status;
    }
    lhi_case_find_copies(c); /* the MDL is a parameter of 0xCB */
    lh_status status = lhi_case_search(c, err);
    if (status == LH_OK)
        status = read_locks(c, err);
    if (status == LH_OK)
        status = lhi_case_judge_locks(c, err);
    if (status == LH_OK)
        status = lhi_case_verdict(c, err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    if (status == LH_OK)
        status = lhi_case_explain_locks(c, err);
    if (status == LH_OK && !skip_rules(c))
        status = lhi_fail_memory(err);
    return status;
}

const lhi_method lhi_method_tracked = {.takes = takes, .subject = subject, .decide = decide};
