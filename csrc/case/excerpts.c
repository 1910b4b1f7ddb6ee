/* Takes excerpts of drivers' code into the case: the calls that led to a wrong unlock, and what it is told
 * of.
 */
#include "case/excerpts.h"

#include "base/error.h"
#include "case/lock.h"
#include "case/unlocker.h"
#include "code/listing.h"

#define MOST_EXCERPTS 32u
#define MOST_LOCKS    8u /* of them when those of lock trackers are taken in */

const char *lhi_case_name_code(lhi_case *c, lhi_names *names, uint64_t address)
{
    char name[LHI_CODE_NAME] = "";

    if (lhi_names_find(names, address, name, NULL) != LH_OK)
        c->arena.failed = true;
    return lhi_arena_strdup(&c->arena, name);
}

bool lhi_case_quotes(const lhi_case *c, uint64_t address)
{
    for (size_t i = 0; i < c->excerpt_count; i++)
        if (c->excerpts[i].address == address)
            return true;
    return false;
}

/* With `returns` the call in front of that return address. */
static lh_status quote(lhi_case *c, lhi_names *names, lhi_excerpt excerpt, bool returns, lh_error *err)
{
    lhi_listing *listing = NULL;

    if (c->excerpt_count == MOST_EXCERPTS)
        return LH_OK;
    listing = lhi_arena_alloc(&c->arena, sizeof *listing);
    if (listing == NULL)
        return lhi_fail_memory(err);
    lh_status status = lhi_listing_read(names, excerpt.address, returns, listing, err);
    if (status != LH_OK)
        return status;
    excerpt.listing = listing;
    if (listing->marked < listing->count)
        excerpt.address = listing->lines[listing->marked].address;
    if (lhi_case_quotes(c, excerpt.address))
        return LH_OK;
    excerpt.at = lhi_case_name_code(c, names, excerpt.address);
    excerpt.function = listing->bounded ? lhi_case_name_code(c, names, listing->entry) : "";
    return lhi_case_add_excerpt(c, &excerpt) ? LH_OK : lhi_fail_memory(err);
}

lh_status lhi_case_quote(lhi_case *c, lhi_names *names, const char *kind, size_t party, uint64_t address,
                         const char *statement, lh_error *err)
{
    const lhi_excerpt excerpt = {.kind = kind, .statement = statement, .party = party, .address = address};

    return quote(c, names, excerpt, false, err);
}

/* ------------------------------------------------------------------ the crash */

static const char *what_frame_does(lhi_case *c, const lhi_unlocker *who)
{
    if (!who->stack.frames[who->frame].called)
        return "where the crashing thread was interrupted";
    if (who->way == LHI_UNLOCK_UNKNOWN)
        return "where the crashing thread's stack returns to; what was called is not known";
    return lhi_arena_printf(&c->arena, "the crashing thread's call of nt!%s", who->routine);
}

static lh_status quote_frame(lhi_case *c, lhi_names *names, size_t frame, size_t party, const char *kind,
                             const char *statement, lh_error *err)
{
    const lhi_call_frame *at = &c->unlocker->stack.frames[frame];
    const lhi_excerpt excerpt = {
        .kind = kind, .statement = statement, .party = party, .address = at->address};

    return quote(c, names, excerpt, at->called, err);
}

lh_status lhi_case_quote_crash(lhi_case *c, lhi_names *names, lh_error *err)
{
    const lhi_unlocker *who = c->unlocker;
    lh_status status = LH_OK;

    if (who == NULL || who->frame == LHI_NONE)
        return LH_OK;
    status = quote_frame(c, names, who->frame, who->party,
                         who->way == LHI_UNLOCK_DIRECT ? "unlock_site" : "stack_frame",
                         what_frame_does(c, who), err);
    if (status != LH_OK || who->client == LHI_NONE)
        return status;
    return quote_frame(
        c, names, who->client_frame, who->client, "stack_frame",
        lhi_arena_printf(&c->arena, "the crashing thread's call into %s", c->parties[who->party].driver.name),
        err);
}

/* ------------------------------------------------------------------ lock trackers */

/* Of an unlock, that of its MDL alone. */
static bool is_told(const lhi_case *c, const lhi_lock *lock)
{
    return (lock->by == LHI_LOCK_BY_DRIVER || lock->by == LHI_LOCK_BY_LIBRARY ||
            lock->by == LHI_LOCK_BY_NOBODY) &&
           (c->unlocker == NULL || lock->tracker.mdl == c->subject_mdl);
}

lh_status lhi_case_quote_locks(lhi_case *c, lhi_names *names, lh_error *err)
{
    lh_status status = LH_OK;

    for (size_t i = 0; i < c->lock_count && status == LH_OK && c->excerpt_count < MOST_LOCKS; i++) {
        const lhi_lock *lock = &c->locks[i];
        const lhi_entry_kind kind = lock->by == LHI_LOCK_BY_NOBODY ? LHI_ENTRY_NOWHERE : LHI_ENTRY_DRIVER;
        unsigned at = 0;
        if (!is_told(c, lock))
            continue;
        while (at < lock->tracker.trace_size &&
               (lock->frames[at].kind != kind || lock->frames[at].party != lock->locker))
            at++;
        if (at == lock->tracker.trace_size)
            continue;
        const lhi_excerpt excerpt = {.kind = "trace",
                                     .statement = lock->tracker.address != 0
                                                      ? "the call that locked, by the lock tracker's trace"
                                                      : "the call that locked, by the bug check",
                                     .party = lock->locker,
                                     .address = lock->frames[at].address};
        status = quote(c, names, excerpt, true, err);
    }
    return status;
}
