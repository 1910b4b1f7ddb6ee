/* Whether the driver that locked still has the MDL. One that gave it to another driver may have left the
 * unlocking to that one, and which of the two broke what they had agreed no dump tells. */
#include "case/holders.h"
#include "case/lock.h"

/* Memory is asked of an MDL that is still there: of a freed one pointers mean nothing, and one that only its
 * tracker describes has none. */
static bool has_keepers(const lhi_record *r)
{
    return !r->freed && r->addresses.count != 0;
}

/* A request of the I/O manager's decides by itself. */
static bool is_decided(const lhi_case *c, const lhi_record *r)
{
    return r->packet != LHI_NONE && c->packets[r->packet].irp->origin != LHI_ORIGIN_DRIVER;
}

lh_status lhi_case_find_keepers(lhi_case *c, lh_error *err)
{
    bool wanted = false;
    for (size_t i = 0; i < c->lock_count; i++) {
        const lhi_lock *lock = &c->locks[i];
        lhi_record *r = lock->record != LHI_NONE ? &c->records[lock->record] : NULL;
        if (!r || lock->by != LHI_LOCK_BY_DRIVER || r->open || !has_keepers(r) || is_decided(c, r))
            continue;
        r->open = wanted = true;
    }
    return wanted && !c->coverage.truncated ? lhi_case_find_holders_again(c, err) : LH_OK;
}

static void take_borrower(lhi_case *c, size_t borrower, lhi_keeping *keeping)
{
    if (borrower == LHI_NONE || c->parties[borrower].driver.is_kernel || c->parties[borrower].library)
        return;
    *(lhi_case_may_unlock(c, borrower) == LHI_NO ? &keeping->unable : &keeping->other) = borrower;
}

/* Nobody: for lack of something that could tell more, else because nothing does. */
static void refuse(lhi_custody *out, bool missing, const char *why)
{
    out->outcome = missing ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED;
    out->why = why;
}

lh_status lhi_case_ask_custody(lhi_case *c, const lhi_lock *lock, size_t borrower, bool own, lhi_custody *out,
                               lh_error *err)
{
    const lhi_record *r = &c->records[lock->record];
    lhi_keeping keeping = {.other = LHI_NONE, .unable = LHI_NONE};
    *out = (lhi_custody){.outcome = LHI_OUTCOME_NAMED};
    if (!has_keepers(r))
        return LH_OK;
    lh_status status = lhi_case_keeping(c, lock->record, lock->locker, &keeping, err);
    if (status != LH_OK)
        return status;
    take_borrower(c, borrower, &keeping);
    out->shared = keeping.other != LHI_NONE || keeping.unable != LHI_NONE;
    if (own || keeping.own)
        return LH_OK;
    if (keeping.other != LHI_NONE)
        refuse(out, lhi_case_holder_could_hide(c) || lhi_case_may_unlock(c, keeping.other) == LHI_UNKNOWN,
               "the driver that locked the pages has not got the MDL any more, and another one has: which of "
               "the two was to unlock it can't be told");
    else if (keeping.truncated)
        refuse(out, true, "who keeps a pointer to it leads further than the limits of this case");
    else if (keeping.stranger)
        refuse(out, true, keeping.stranger);
    else if (lhi_case_holder_could_hide(c))
        refuse(out, true,
               "the driver that locked the pages may have given the MDL to another one, whose memory may lie "
               "in a page that is not in this dump");
    return LH_OK;
}
