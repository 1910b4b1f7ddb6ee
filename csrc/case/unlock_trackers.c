/* What lock trackers say of an MDL that was unlocked wrongly: whether it was locked, and by whom. */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/error.h"
#include "case/method.h"
#include "case/unlock.h"
#include "nt/read.h"

/* P3 is the tracker of the MDL for 5, 6 and 7; P4 the process's LOCK_HEADER for 1 and 9 (facts A.1). */
static bool has_tracker(const lhi_case *c)
{
    return c->parameters[0] >= 5 && c->parameters[0] <= 7;
}

static uint64_t find_header(const lhi_case *c)
{
    uint64_t header = 0, at = 0;
    if (!has_tracker(c))
        return c->parameters[3];
    return lhi_read_field(&c->kernel->space, c->kernel->layout, c->target, LHI_F_EPROCESS_LockedPagesList, 8,
                          &header, &at) == LH_PRESENT
               ? header
               : 0;
}

static bool is_subject(const lhi_unlock *u, uint64_t mdl)
{
    return mdl == u->c->subject_mdl ||
           (u->record != LHI_NONE && lhi_vec_find(&u->c->records[u->record].addresses, mdl) != SIZE_MAX);
}

static bool has_pages(const lhi_unlock *u)
{
    return u->mdl.klass != LHI_MDL_NOT_ONE && u->mdl.klass != LHI_MDL_UNREADABLE &&
           u->mdl.klass != LHI_MDL_NONPAGED && u->mdl.klass != LHI_MDL_KERNEL;
}

/* The two describe user pages in common. */
static bool overlaps(const lhi_mdl *mdl, const lhi_tracker *tracker)
{
    const uint64_t first = mdl->start_va >> 12, other = tracker->start_va >> 12;
    return first < other ? other - first < mdl->pages : first - other < tracker->pages;
}

static void choose(lhi_unlock *u)
{
    for (size_t i = 0; i < u->c->lock_count; i++) {
        const lhi_lock *lock = &u->c->locks[i];
        if (is_subject(u, lock->tracker.mdl))
            u->lock = lock;
        else if (!u->other && has_pages(u) && overlaps(&u->mdl, &lock->tracker))
            u->other = lock;
    }
}

/* A tracker goes when its MDL is unlocked, and its memory may still say what it was: it is one of the places
 * that point to the MDL. It counts where it tells of this very buffer: an MDL's address alone is used again
 * and again. */
static lh_status find_over(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    const lhi_record *r = u->record != LHI_NONE ? &c->records[u->record] : NULL;
    for (size_t i = 0; r && !u->over && i < r->other_pointers && i < sizeof r->others / sizeof r->others[0];
         i++) {
        lhi_tracker tracker = {0};
        if (!lhi_tracker_left(c->kernel, r->others[i], &tracker) || tracker.process != c->target ||
            tracker.start_va != u->mdl.start_va || tracker.offset != u->mdl.byte_offset ||
            tracker.length != u->mdl.byte_count)
            continue;
        lhi_lock *lock = lhi_arena_alloc(&c->arena, sizeof *lock);
        if (!lock)
            return lhi_fail_memory(err);
        *lock = (lhi_lock){.tracker = tracker};
        lh_status status = lhi_case_read_lock(c, lock, err);
        if (status != LH_OK)
            return status;
        u->over = lock;
    }
    return LH_OK;
}

lh_status lhi_unlock_track(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    lhi_tracking tracking = {0};
    const uint64_t header = find_header(c), one = has_tracker(c) ? c->parameters[2] : 0;
    if (c->target == 0 || (header == 0 && one == 0))
        return LH_OK;
    lh_status status = lhi_case_tracking(c, c->target, header, one, &tracking, err);
    c->tracked = true;
    c->trackers = tracking.trackers;
    c->locks = tracking.locks;
    c->lock_count = tracking.count;
    if (status != LH_OK)
        return status;
    choose(u);
    return u->lock ? LH_OK : find_over(u, err);
}

/* Who locked, by a tracker: "leaky.sys locked 3 pages at user address 0x...". */
static const char *says(lhi_case *c, const lhi_lock *lock)
{
    const lhi_tracker *t = &lock->tracker;
    const char *name = lock->locker != LHI_NONE ? c->parties[lock->locker].driver.name : NULL;
    return lhi_arena_printf(&c->arena, "%" PRIu64 " page%s at user address 0x%" PRIx64 ", locked by %s%s%s",
                            t->pages, t->pages == 1 ? "" : "s", t->start_va + t->offset,
                            lock->by == LHI_LOCK_BY_MANAGER  ? "the I/O manager for a request"
                            : lock->by == LHI_LOCK_BY_NOBODY ? "code outside any module"
                            : name                           ? name
                                                             : "somebody whom its trace does not show",
                            lock->client != LHI_NONE ? " for " : "",
                            lock->client != LHI_NONE ? c->parties[lock->client].driver.name : "");
}

static bool note(lhi_case *c, const lhi_lock *lock, const char *what)
{
    const size_t party = lock->client != LHI_NONE ? lock->client : lock->locker;
    return lhi_case_note(c, "tracker", party, lock->tracker.address,
                         lhi_arena_printf(&c->arena, "%s: %s", what, says(c, lock)));
}

/* That none of them has the MDL is what P1 = 1 and 9 say; here the list itself says so. */
static bool note_none(const lhi_unlock *u)
{
    lhi_case *c = u->c;
    const lhi_trackers *trackers = &c->trackers;
    if (!trackers->complete)
        return true;
    const char *text = trackers->count == 0
                           ? "the process has no lock tracker: no lock of its pages stands"
                           : lhi_arena_printf(&c->arena,
                                              "none of the process's %zu lock tracker%s, for %" PRIu64
                                              " page%s, is of this MDL",
                                              trackers->count, trackers->count == 1 ? "" : "s", trackers->sum,
                                              trackers->sum == 1 ? "" : "s");
    return lhi_case_note(c, "tracker", u->who->way == LHI_UNLOCK_DIRECT ? u->who->party : LHI_NONE,
                         trackers->header, text);
}

bool lhi_unlock_note_trackers(lhi_unlock *u)
{
    lhi_case *c = u->c;
    bool whole = true;
    if (!c->tracked)
        return true;
    if (u->lock)
        whole = note(c, u->lock, "the lock tracker of the MDL");
    else
        whole = note_none(u);
    if (u->other)
        whole = whole && note(c, u->other,
                              lhi_arena_printf(&c->arena,
                                               "the lock tracker of MDL 0x%" PRIx64
                                               ", which describes some of the same pages",
                                               u->other->tracker.mdl));
    if (u->over)
        whole = whole && note(c, u->over, "a lock tracker that is no longer in use, of this MDL and buffer");
    return whole;
}
