/* Puts into words what lock trackers tell: evidence against whoever locked, and why others are not guilty. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "case/lock.h"

#define MOST_EXPLAINED 256 /* locks whose evidence is spelt out */
#define MOST_DEVICES   32u /* of a stack */

static const char *name_of(const lhi_case *c, size_t party)
{
    const lhi_driver *driver = &c->parties[party].driver;
    return driver->absence == LH_PRESENT ? driver->name
           : driver->object_name[0]      ? driver->object_name
                                         : "a driver without a name";
}

static bool clear(lhi_case *c, size_t party, uint64_t address, const char *reason)
{
    for (size_t i = 0; i < c->named_count; i++)
        if (party == LHI_NONE || lhi_case_same_driver(c, c->named[i].party, party))
            return true;
    return party == LHI_NONE || c->parties[party].driver.is_kernel ||
           lhi_case_clear(c, party, address, reason);
}

static bool note_trace(lhi_case *c, const lhi_lock *lock, size_t party)
{
    for (unsigned i = 0; i < lock->tracker.trace_size; i++) {
        const lhi_trace_entry *frame = &lock->frames[i];
        const char *text = NULL;
        if (frame->kind == LHI_ENTRY_DEVICE)
            text = lhi_arena_printf(&c->arena, "entry %u of the trace: a device object%s%s", i,
                                    frame->party != LHI_NONE ? " of " : "",
                                    frame->party != LHI_NONE ? name_of(c, frame->party) : "");
        else if (frame->party != LHI_NONE && c->parties[frame->party].driver.has_module)
            text = lhi_arena_printf(&c->arena, "entry %u of the trace: %s+0x%" PRIx64 "%s", i,
                                    name_of(c, frame->party),
                                    frame->address - c->parties[frame->party].driver.module.base,
                                    c->parties[frame->party].driver.module.unloaded ? " (unloaded)" : "");
        if (text && !lhi_case_note(c, "trace", party, frame->address, text))
            return false;
    }
    return true;
}

static size_t party_of(const lhi_lock *lock)
{
    if (lock->by == LHI_LOCK_BY_LIBRARY && lock->client != LHI_NONE)
        return lock->client;
    if (lock->by == LHI_LOCK_BY_MANAGER)
        return lock->frames[1].party;
    return lock->locker;
}

/* A pointer that somebody keeps is no lock: the tracker says whose that was. */
static bool clear_keepers(lhi_case *c, const lhi_lock *lock, const lhi_record *r)
{
    const size_t party = party_of(lock);
    for (unsigned i = 0; i < r->claimant_count; i++)
        if (!lhi_case_same_driver(c, r->claimants[i].party, party) &&
            !clear(c, r->claimants[i].party, r->claimants[i].at,
                   r->outcome == LHI_OUTCOME_KERNEL
                       ? "keeps a pointer to the MDL: the lock tracker shows that Windows itself locked"
                   : lock->tracker.address == 0
                       ? "keeps a pointer to the MDL: the bug check's parameters name another caller of the "
                         "routine that locked"
                       : "keeps a pointer to the MDL: the lock tracker shows that another driver locked"))
            return false;
    return true;
}

/* The I/O manager's tracker has the top of a stack of devices; without the packet all below may have it. */
static lh_status note_stack(lhi_case *c, const lhi_lock *lock, lh_error *err)
{
    uint64_t address = lock->device.below;
    for (unsigned depth = 1; address != 0 && depth < MOST_DEVICES; depth++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        lhi_device_driver(c->kernel, address, &device, &driver);
        if (!driver.object_known)
            return LH_OK;
        const size_t party = lhi_case_party(c, &driver, err);
        if (party == LHI_NONE)
            return LH_ERR_NO_MEMORY;
        if (!lhi_case_note(c, "device_stack", party, address,
                           lhi_arena_printf(&c->arena,
                                            "its device stands %u below the one that the I/O manager locked "
                                            "for, and may have had the request",
                                            depth)))
            return lhi_fail_memory(err);
        address = device.below;
    }
    return LH_OK;
}

static bool explain_lock(lhi_case *c, const lhi_lock *lock)
{
    const lhi_tracker *tracker = &lock->tracker;
    const lhi_record *r = lock->record != LHI_NONE ? &c->records[lock->record] : NULL;
    size_t party = party_of(lock);
    size_t blamed = r && r->outcome == LHI_OUTCOME_NAMED ? lhi_case_blamed(c, r) : LHI_NONE;
    const char *text =
        tracker->address == 0
            ? lhi_arena_printf(&c->arena, "the bug check's parameters name two callers: %s", lock->why)
            : lhi_arena_printf(&c->arena,
                               "lock tracker: %" PRIu64 " page%s of MDL 0x%" PRIx64
                               " at user address 0x%" PRIx64 "; %s",
                               tracker->pages, tracker->pages == 1 ? "" : "s", tracker->mdl,
                               tracker->start_va + tracker->offset, lock->why);
    if (!lhi_case_note(c, "tracker", blamed != LHI_NONE ? blamed : party,
                       tracker->address ? tracker->address : tracker->trace[0], text) ||
        !note_trace(c, lock, blamed != LHI_NONE ? blamed : party))
        return false;
    if (r && (blamed != LHI_NONE || r->outcome == LHI_OUTCOME_KERNEL) && !clear_keepers(c, lock, r))
        return false;
    if (blamed == LHI_NONE)
        return true;
    uint64_t at = tracker->address ? tracker->address : tracker->trace[0];
    if (!clear(c, party, at,
               lock->by == LHI_LOCK_BY_MANAGER
                   ? "the lock tracker names its device only as the top of the stack that the request was "
                     "sent to"
                   : "locked the pages for a request, and passed it on to where it waits"))
        return false;
    /* What took a lock for a packet's maker's own only borrowed the MDL. */
    return !lock->borrowed || r->packet == LHI_NONE ||
           clear(c, c->packets[r->packet].maker, c->packets[r->packet].irp->address,
                 "its packet only has the MDL: the lock tracker shows that another driver locked");
}

/* Up to Windows 7 the kernel puts a driver on the blue screen of 0xCB, by the first parameter (facts A.6). */
static bool note_blamed(lhi_case *c)
{
    char name[128] = {0};
    uint64_t at = 0;
    if (c->code != 0xcb || !lhi_blamed_driver(c->kernel, name, sizeof name, &at))
        return true;
    for (size_t i = 0; i < c->party_count; i++)
        if (strcmp(c->parties[i].driver.name, name) == 0)
            return lhi_case_note(c, "bugcheck_driver", i, at,
                                 "the kernel itself put this driver on the blue screen (KiBugCheckDriver)");
    return true;
}

lh_status lhi_case_explain_locks(lhi_case *c, lh_error *err)
{
    for (size_t i = 0; i < c->lock_count && i < MOST_EXPLAINED; i++) {
        const lhi_lock *lock = &c->locks[i];
        if (!explain_lock(c, lock))
            return lhi_fail_memory(err);
        const bool open = lock->record == LHI_NONE || c->records[lock->record].outcome != LHI_OUTCOME_NAMED;
        lh_status status = lock->by == LHI_LOCK_BY_MANAGER && open ? note_stack(c, lock, err) : LH_OK;
        if (status != LH_OK)
            return status;
    }
    return note_blamed(c) ? LH_OK : lhi_fail_memory(err);
}
