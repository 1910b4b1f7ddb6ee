/* Who changed an MDL between its lock and its unlock (0x76, P1 = 5, 6, 7 and 9): nobody saw it done, so that
 * whoever had the MDL is asked for. */
#include <inttypes.h>

#include "base/error.h"
#include "case/unlock.h"

#define CERTAINTY 0.98 /* certainty is not to be had from a dump */

/* Parameter 4 has what the tracker says in its upper half, and what the MDL says now in the lower one. */
static bool fits(const lhi_unlock *u, const lhi_tracker *tracker)
{
    const uint32_t before = (uint32_t)(u->c->parameters[3] >> 32), now = (uint32_t)u->c->parameters[3];
    switch (u->c->parameters[0]) {
    case 5:
        return (uint32_t)tracker->pages == before && (uint32_t)u->mdl.pages == now;
    case 6:
        return (uint32_t)tracker->first_frame == before && (uint32_t)u->mdl.first_frame == now;
    default:
        return (uint32_t)tracker->first_frame == before;
    }
}

static const char *field(lhi_case *c, const char *name, uint64_t before, uint64_t now)
{
    if (before == now)
        return "";
    return lhi_arena_printf(&c->arena, ", %s 0x%" PRIx64 " to 0x%" PRIx64, name, before, now);
}

/* Its tracker has what the MDL said when it was locked. */
static const char *fields(const lhi_unlock *u)
{
    lhi_case *c = u->c;
    if (!u->lock || u->mdl.klass == LHI_MDL_NOT_ONE || u->mdl.klass == LHI_MDL_UNREADABLE)
        return "";
    const lhi_tracker *t = &u->lock->tracker;
    const char *list =
        lhi_arena_printf(&c->arena, "%s%s%s", field(c, "StartVa", t->start_va, u->mdl.start_va),
                         field(c, "ByteOffset", t->offset, u->mdl.byte_offset),
                         field(c, "ByteCount", t->length, u->mdl.byte_count));
    return list && list[0] ? lhi_arena_printf(&c->arena, " (%s)", list + 2) : "";
}

/* What was changed, by the parameters (facts A.1). */
static const char *changed(const lhi_unlock *u)
{
    lhi_case *c = u->c;
    const uint32_t before = (uint32_t)(c->parameters[3] >> 32), now = (uint32_t)c->parameters[3];
    switch (c->parameters[0]) {
    case 5:
        return lhi_arena_printf(&c->arena,
                                "the MDL's length was changed while it was locked: from %" PRIu32
                                " page%s to %" PRIu32 "%s",
                                before, before == 1 ? "" : "s", now, fields(u));
    case 6:
        return lhi_arena_printf(&c->arena,
                                "the MDL's first frame was changed while it was locked: from 0x%" PRIx32
                                " to 0x%" PRIx32 "%s",
                                before, now, fields(u));
    case 7:
        return "the MDL's frames were changed while it was locked, behind the first: a hash over them "
               "differs";
    default:
        return "the MDL was given other frames, and the system has no record of its lock";
    }
}

/* Why the driver that locked and unlocks is not named, where nobody else is known to have had the MDL; NULL:
 * nothing speaks for another one. `missing`: a better dump could tell. */
static const char *doubt(lhi_unlock *u, size_t party, const lhi_sharers *others, bool *missing)
{
    lhi_case *c = u->c;
    const lhi_record *r = u->record != LHI_NONE ? &c->records[u->record] : NULL;
    *missing = false;
    if (c->parameters[0] != 5)
        return "Windows itself may give a locked MDL other frames";
    if (others->count)
        return "a packet with it went through another driver";
    if (!r || r->outcome == LHI_OUTCOME_NONE)
        return "who has it is not known";
    *missing = r->outcome == LHI_OUTCOME_INSUFFICIENT;
    if (r->outcome != LHI_OUTCOME_NAMED && r->outcome != LHI_OUTCOME_KERNEL)
        return r->why;
    if (!r->by_holder || !lhi_case_same_driver(c, lhi_case_blamed(c, r), party))
        return "somebody else has it as well, or had it in a packet";
    *missing = others->missing;
    if (others->missing)
        return "a packet with which it was handed on may lie in a page that is not in this dump";
    const lhi_answer sends = lhi_case_can_send(c, party);
    *missing = sends == LHI_UNKNOWN && !c->parties[party].framework;
    return sends == LHI_NO ? NULL
           : *missing      ? "whether it can hand an MDL on to another driver is not in this dump"
                           : "it can hand an MDL on to another driver, in a packet that is over by now";
}

/* The tracker does not tell of a driver that locked for itself: what that is, or why it is not known. */
static bool conclude_without_locker(lhi_unlock *u, const char *state)
{
    lhi_case *c = u->c;
    const lhi_trackers *trackers = &c->trackers;
    const lhi_lock *lock = u->lock;
    if (!lock && c->parameters[0] == 5 && trackers->absence != LH_PRESENT) {
        lhi_unlock_conclude_absent(
            u,
            lhi_arena_printf(&c->arena, "%s; the lock tracker that tells who locked it is not in this dump",
                             state),
            trackers->absence, trackers->absent_at);
    } else if (lock && c->parameters[0] == 5 && lock->absence != LH_PRESENT) {
        lhi_unlock_conclude_absent(u, lhi_arena_printf(&c->arena, "%s; %s", state, lock->why), lock->absence,
                                   lock->absent_at);
    } else {
        return false;
    }
    return true;
}

static bool name_owner(lhi_unlock *u, size_t party, const char *state)
{
    lhi_case *c = u->c;
    const lhi_unlocker *who = u->who;
    double points = CERTAINTY;
    bool whole = lhi_unlock_weigh(c, &points, true, LHI_WEIGHT_STACK) &&
                 lhi_unlock_weigh(c, &points, who->seen, LHI_WEIGHT_UNLOCK_SITE) &&
                 lhi_unlock_weigh(c, &points, !who->seen, LHI_WEIGHT_UNLOCK_SITE_ALONE) &&
                 lhi_unlock_weigh(c, &points, true, LHI_WEIGHT_HOLDER) &&
                 lhi_unlock_weigh(c, &points, true, LHI_WEIGHT_CHANGED);
    u->who->rule = LHI_RULE_UNLOCK_LENGTH;
    return whole &&
           lhi_unlock_name(
               u, party, points,
               lhi_arena_printf(&c->arena, "it locked the MDL, alone has it and unlocks it, and %s", state),
               lhi_arena_printf(&c->arena,
                                "locked an MDL and unlocks it, nobody else is known to have had it, and %s",
                                state));
}

/* The driver that unlocks is the one that locked. */
static lh_status judge_owner(lhi_unlock *u, size_t party, const char *state, lh_error *err)
{
    lhi_case *c = u->c;
    lhi_sharers others = {.who = party, .writers = true};
    bool missing = false;
    lh_status status = lhi_unlock_sharers(u, &others, err);
    if (status != LH_OK)
        return status;
    const char *why = doubt(u, party, &others, &missing);
    if (why)
        lhi_unlock_conclude(u, missing ? LH_VERDICT_INSUFFICIENT : LH_VERDICT_UNATTRIBUTED,
                            lhi_arena_printf(&c->arena, "%s; %s locked and unlocks it, and %s", state,
                                             c->parties[party].driver.name, why));
    else if (!name_owner(u, party, state))
        return lhi_fail_memory(err);
    return LH_OK;
}

/* Whoever unlocks finds what another one may have changed: all that had the MDL are suspects. */
static lh_status judge_others(lhi_unlock *u, const char *state, lh_error *err)
{
    lhi_case *c = u->c;
    const lhi_lock *lock = u->lock;
    lhi_sharers others = {.who = LHI_NONE, .writers = true};
    lh_status status = lhi_unlock_sharers(u, &others, err);
    if (status != LH_OK || conclude_without_locker(u, state))
        return status;
    const char *locker = lock && lock->locker != LHI_NONE ? c->parties[lock->locker].driver.name : NULL;
    lhi_unlock_conclude(
        u, LH_VERDICT_UNATTRIBUTED,
        lhi_arena_printf(&c->arena,
                         "%s; who did that is not recorded%s%s, and the driver that unlocks only finds it",
                         state, locker ? ", nor whether it was " : "",
                         locker ? lhi_arena_printf(&c->arena, "%s, which locked it", locker) : ""));
    return LH_OK;
}

/* The driver that locked is one that is known, and no library. */
static bool is_owner(const lhi_unlock *u, const lhi_lock *lock)
{
    const lhi_case *c = u->c;
    const lhi_unlocker *who = u->who;
    return lock && lock->by == LHI_LOCK_BY_DRIVER && who->way == LHI_UNLOCK_DIRECT &&
           lhi_case_same_driver(c, lock->locker, who->party) &&
           !c->parties[who->party].driver.module.unloaded && u->mdl.klass == LHI_MDL_CHARGED &&
           fits(u, &lock->tracker);
}

lh_status lhi_unlock_judge_changed(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    const char *state = changed(u);
    if (!lhi_case_note(c, "mdl_changed", u->who->way == LHI_UNLOCK_DIRECT ? u->who->party : LHI_NONE,
                       c->subject_mdl, state))
        return lhi_fail_memory(err);
    if (u->mdl.klass == LHI_MDL_UNREADABLE && c->parameters[0] == 5) {
        lhi_unlock_conclude_absent(u, lhi_arena_printf(&c->arena, "%s; %s", state, u->state), u->mdl.absence,
                                   u->mdl.absent_at);
        return LH_OK;
    }
    return is_owner(u, u->lock) ? judge_owner(u, u->who->party, state, err) : judge_others(u, state, err);
}
