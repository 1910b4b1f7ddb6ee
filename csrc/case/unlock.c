/* The method for an MDL that was unlocked and was not locked so (0x76, P1 = 1, 5, 6, 7, 9). */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "case/method.h"
#include "case/unlock.h"

#define CERTAINTY 0.98 /* certainty is not to be had from a dump */

#define MOST_WORDS  16u     /* addresses of drivers shown where the stack could not be unwound */
#define STACK_BYTES 0x6000u /* of a kernel stack (WDK: 24 KiB on x64) */

static bool takes(const lhi_case *c)
{
    uint64_t kind = c->parameters[0];
    return c->code == 0x76 && (kind == 1 || kind == 5 || kind == 6 || kind == 7 || kind == 9);
}

static void subject(lhi_case *c)
{
    c->subject_mdl = c->parameters[1];
    lhi_case_subject_of_mdl(c, c->subject_mdl);
    lhi_case_charge_by_process(c);
}

static void read_mdl(lhi_unlock *u)
{
    uint64_t budget = 1u << 16;
    lhi_mdl_read(u->c->kernel, u->c->subject_mdl, 0, &budget, &u->mdl);
}

/* Not locked: by what is left of its tracker it was, or that is open. */
static const char *say_unlocked(const lhi_unlock *u)
{
    if (!u->over)
        return "its pages are not locked: they were unlocked before, or never locked";
    return lhi_arena_printf(
        &u->c->arena,
        "its pages are not locked: by a lock tracker that is no longer in use%s%s they "
        "were locked, and unlocked before",
        u->over->locker != LHI_NONE ? ", of a lock by " : "",
        u->over->locker != LHI_NONE
            ? lhi_arena_printf(&u->c->arena, "%s,", u->c->parties[u->over->locker].driver.name)
            : "");
}

static bool same_buffer(const lhi_mdl *mdl, const lhi_tracker *tracker)
{
    return mdl->start_va == tracker->start_va && mdl->byte_offset == tracker->offset &&
           mdl->byte_count == tracker->length;
}

/* Locked by its flags, and the system did not find its tracker. */
static const char *say_locked(const lhi_unlock *u)
{
    if (u->lock)
        return "by its own flags it is locked, and its lock tracker is in the process's list, where the "
               "unlock did not find it";
    if (u->other && same_buffer(&u->mdl, &u->other->tracker))
        return lhi_arena_printf(&u->c->arena,
                                "by its own flags it is locked, and the system's record of a lock of this "
                                "buffer is of another MDL, at 0x%" PRIx64,
                                u->other->tracker.mdl);
    return "by its own flags it is locked, and the system has no record of that lock";
}

/* Its present state: unlocking is what found it so, and had not begun (facts A.1, A.5). */
static void read_state(lhi_unlock *u)
{
    switch (u->mdl.klass) {
    case LHI_MDL_STALE:
        u->state = say_unlocked(u);
        u->violates = true;
        break;
    case LHI_MDL_IS_PARTIAL:
        u->state = "it is a partial MDL, whose pages another MDL has locked";
        u->violates = u->certain = true;
        break;
    case LHI_MDL_NONPAGED:
        u->state = "it describes non-paged pool, which is never locked";
        u->violates = u->certain = true;
        break;
    case LHI_MDL_CHARGED:
    case LHI_MDL_AWE:
    case LHI_MDL_KERNEL:
    case LHI_MDL_PAGING:
        u->state = u->c->parameters[0] == 1 ? say_locked(u) : "by its own flags it is locked";
        break;
    case LHI_MDL_UNREADABLE:
        u->state = "the MDL is not wholly in this dump";
        break;
    case LHI_MDL_NOT_ONE:
        u->state = "what lies at its address is no MDL any more";
        break;
    }
}

const char *lhi_unlock_place(lhi_case *c, uint64_t address)
{
    const lhi_module *module = lhi_module_at(&c->kernel->modules, address);
    if (!module)
        module = lhi_module_unloaded_at(&c->kernel->modules, address);
    if (!module)
        return lhi_arena_printf(&c->arena, "0x%" PRIx64, address);
    return lhi_arena_printf(&c->arena, "%s+0x%" PRIx64, module->name, address - module->base);
}

/* What the driver on the stack did: its evidence. */
static bool note_caller(lhi_unlock *u)
{
    lhi_case *c = u->c;
    const lhi_unlocker *who = u->who;
    const lhi_call_frame *frame = &who->stack.frames[who->frame];
    const char *did = who->way == LHI_UNLOCK_UNKNOWN
                          ? "; what was called there is not known"
                          : lhi_arena_printf(&c->arena, ", which called nt!%s%s", who->routine,
                                             who->seen ? ", as the call in front of it says" : "");
    const char *text = lhi_arena_printf(&c->arena, "frame %zu of the crashing thread: returns to %s%s",
                                        who->frame, lhi_unlock_place(c, frame->address), did);
    if (!lhi_case_note(c, who->way == LHI_UNLOCK_DIRECT ? "unlock_site" : "stack_frame", who->party,
                       frame->address, text))
        return false;
    if (who->client == LHI_NONE)
        return true;
    const lhi_call_frame *client = &who->stack.frames[who->client_frame];
    text = lhi_arena_printf(&c->arena, "frame %zu of the crashing thread: returns to %s, which called %s",
                            who->client_frame, lhi_unlock_place(c, client->address),
                            c->parties[who->party].driver.name);
    return lhi_case_note(c, "stack_frame", who->client, client->address, text);
}

/* Where the stack could not be unwound to a driver: words on it that look like return addresses. They may be
 * left over from calls long over, so they prove nothing. */
static lh_status note_words(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    const lhi_call_stack *stack = &u->who->stack;
    if (stack->count == 0)
        return LH_OK;
    const uint64_t begin = stack->frames[stack->count - 1].stack_pointer;
    size_t shown = 0;
    for (uint64_t at = 0; at < STACK_BYTES && shown < MOST_WORDS && begin <= UINT64_MAX - STACK_BYTES;
         at += 8) {
        uint64_t word = 0;
        lhi_call call = {0};
        lhi_driver driver = {0};
        if (lhi_space_u64(&c->kernel->space, begin + at, &word) != LH_PRESENT)
            continue;
        const lhi_module *module = lhi_is_kernel(word) ? lhi_module_at(&c->kernel->modules, word) : NULL;
        if (!module || lhi_call_target(c->kernel, word, &call) == LHI_NO)
            continue;
        lhi_driver_from_code(c->kernel, word, &driver);
        if (driver.absence != LH_PRESENT || driver.is_kernel)
            continue;
        size_t party = lhi_case_party(c, &driver, err);
        if (party == LHI_NONE)
            return LH_ERR_NO_MEMORY;
        const char *text =
            lhi_arena_printf(&c->arena, "a word of the stack is %s, and may be a return address left over",
                             lhi_unlock_place(c, word));
        if (!lhi_case_note(c, "stack_word", party, begin + at, text))
            return lhi_fail_memory(err);
        shown++;
    }
    return LH_OK;
}

void lhi_unlock_conclude(lhi_unlock *u, lh_verdict_kind kind, const char *why)
{
    lhi_case *c = u->c;
    c->kind = kind;
    c->why = why;
    c->sentence = lhi_arena_printf(&c->arena, "Which driver unlocked wrongly can't be told%s: %s.",
                                   kind == LH_VERDICT_INSUFFICIENT ? " from this dump" : "", why);
    c->advice = lhi_unlock_advice(u, kind);
}

void lhi_unlock_conclude_absent(lhi_unlock *u, const char *why, lh_absence absence, uint64_t at)
{
    if (absence != LH_PRESENT && at)
        why = lhi_arena_printf(&u->c->arena, "%s (%s at 0x%" PRIx64 ")", why, lh_absence_name(absence), at);
    lhi_unlock_conclude(u,
                        absence == LH_PRESENT || absence == LH_ABSENT_NOT_MAPPED ||
                                absence == LH_ABSENT_LAYOUT
                            ? LH_VERDICT_UNATTRIBUTED
                            : LH_VERDICT_INSUFFICIENT,
                        why);
}

bool lhi_unlock_weigh(lhi_case *c, double *score, bool applies, lhi_weight weight)
{
    if (!applies)
        return true;
    *score *= lhi_weight_value(weight);
    return lhi_case_factor(c, weight, NULL);
}

static bool score(lhi_unlock *u, size_t party, double *out)
{
    lhi_case *c = u->c;
    const lhi_unlocker *who = u->who;
    const bool unloaded = c->parties[party].driver.basis == LHI_NAME_UNLOADED;
    *out = CERTAINTY;
    return lhi_unlock_weigh(c, out, true, LHI_WEIGHT_STACK) &&
           lhi_unlock_weigh(c, out, who->seen, LHI_WEIGHT_UNLOCK_SITE) &&
           lhi_unlock_weigh(c, out, !who->seen, LHI_WEIGHT_UNLOCK_SITE_ALONE) &&
           lhi_unlock_weigh(c, out, u->certain, LHI_WEIGHT_STATE_NEVER) &&
           lhi_unlock_weigh(c, out, !u->certain, LHI_WEIGHT_STATE_OPEN) &&
           lhi_unlock_weigh(c, out, party != who->party, LHI_WEIGHT_CLIENT_UNLOCKED) &&
           lhi_unlock_weigh(c, out, unloaded, LHI_WEIGHT_UNLOADED);
}

bool lhi_unlock_name(lhi_unlock *u, size_t party, double points, const char *why, const char *sentence)
{
    lhi_case *c = u->c;
    const lhi_party *p = &c->parties[party];
    c->named_count = 0;
    if (!lhi_case_name(c, party, 0, points))
        return false;
    c->named[0].name = p->driver.name;
    c->score = points;
    c->kind = LH_VERDICT_DRIVER;
    c->why = why;
    const size_t frame = party == u->who->party ? u->who->frame : u->who->client_frame;
    const char *version = p->version_known ? lhi_arena_printf(&c->arena, " (version %s)", p->version) : "";
    c->sentence = lhi_arena_printf(&c->arena, "%s%s %s.", p->driver.name, version, sentence);
    c->advice = lhi_arena_printf(
        &c->arena,
        "Update or remove the product that %s belongs to. If it is current, send its vendor this report: the "
        "call returns to %s.",
        p->driver.name, lhi_unlock_place(c, u->who->stack.frames[frame].address));
    return true;
}

static lh_status name(lhi_unlock *u, size_t party, lh_error *err)
{
    lhi_case *c = u->c;
    double points = 0;
    const char *through = party == u->who->party ? ""
                                                 : lhi_arena_printf(&c->arena, " through %s",
                                                                    c->parties[u->who->party].driver.name);
    const char *why = lhi_arena_printf(&c->arena, "it unlocked an MDL that it must not unlock: %s", u->state);
    const char *sentence =
        lhi_arena_printf(&c->arena, "unlocked an MDL%s that it must not unlock: %s", through, u->state);
    return score(u, party, &points) && lhi_unlock_name(u, party, points, why, sentence)
               ? LH_OK
               : lhi_fail_memory(err);
}

/* The stack leads to a driver that called MmUnlockPages. */
static lh_status judge_direct(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    const lhi_unlocker *who = u->who;
    if (who->party == LHI_NONE) {
        lhi_unlock_conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            lhi_arena_printf(&c->arena,
                             "code outside any module unlocked it, at %s: no file is known that it "
                             "belongs to",
                             lhi_unlock_place(c, who->stack.frames[who->frame].address)));
        return LH_OK;
    }
    const size_t party = who->client == LHI_NONE ? who->party : who->client;
    const lhi_driver *driver = &c->parties[party].driver;
    lhi_sharers others = {.who = party};
    lh_status status = lhi_unlock_sharers(u, &others, err);
    if (status == LH_OK && u->violates && !u->certain && !others.count && !others.missing)
        status = lhi_unlock_keepers(u, &others, err);
    if (status != LH_OK)
        return status;
    if (driver->absence != LH_PRESENT)
        lhi_unlock_conclude_absent(
            u, driver->doubt ? driver->doubt : "the file name of the driver that unlocked is not known",
            driver->absence, driver->absent_at);
    else if (c->parties[party].library && who->client_absence != LH_PRESENT)
        lhi_unlock_conclude_absent(
            u,
            lhi_arena_printf(&c->arena,
                             "%s unlocked it, a library of Windows, and who called it is not in this dump",
                             driver->name),
            who->client_absence, who->client_absent_at);
    else if (c->parties[party].library)
        lhi_unlock_conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            lhi_arena_printf(&c->arena,
                             "%s unlocked it, a library of Windows, and for whom the stack does not show",
                             driver->name));
    else if (u->mdl.klass == LHI_MDL_UNREADABLE)
        lhi_unlock_conclude_absent(u, u->state, u->mdl.absence, u->mdl.absent_at);
    else if (!u->violates)
        lhi_unlock_conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            lhi_arena_printf(&c->arena, "%s unlocked the MDL, but %s", driver->name, u->state));
    else if (!u->certain && others.count)
        lhi_unlock_conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            lhi_arena_printf(&c->arena,
                             "%s unlocked the MDL, and another driver that has it may have done so before",
                             driver->name));
    else if (!u->certain && others.missing)
        lhi_unlock_conclude(
            u, LH_VERDICT_INSUFFICIENT,
            lhi_arena_printf(&c->arena,
                             "%s unlocked the MDL, and what another driver had it by may lie in a page "
                             "that is not in this dump",
                             driver->name));
    else
        return name(u, party, err);
    return LH_OK;
}

/* The I/O manager unlocked what a packet had: the driver on the stack only completed it. */
static lh_status judge_completion(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    lhi_sharers others = {.who = LHI_NONE};
    lh_status status = lhi_unlock_sharers(u, &others, err);
    if (status != LH_OK)
        return status;
    if (u->who->party != LHI_NONE &&
        !lhi_case_clear(c, u->who->party, u->who->stack.frames[u->who->frame].address,
                        "it only completed the packet: the I/O manager unlocked the packet's MDL"))
        return lhi_fail_memory(err);
    if (others.count)
        lhi_unlock_conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            "the I/O manager unlocked it when its packet was completed; drivers that had the packet can "
            "unlock pages, and which of them did before is not recorded");
    else if (others.missing)
        lhi_unlock_conclude(
            u, LH_VERDICT_INSUFFICIENT,
            "the I/O manager unlocked it when its packet was completed, and the packet may lie in a page "
            "that is not in this dump");
    else
        lhi_unlock_conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            "the I/O manager unlocked it when its packet was completed, and no driver that had the packet "
            "is known to unlock pages");
    return LH_OK;
}

static lhi_rule rule_of(const lhi_unlock *u)
{
    if (u->who->frame == LHI_NONE || u->who->way == LHI_UNLOCK_UNKNOWN)
        return LHI_RULE_UNLOCK_NOBODY;
    if (u->c->parameters[0] != 1)
        return LHI_RULE_UNLOCK_CHANGED;
    return u->who->way == LHI_UNLOCK_DIRECT       ? LHI_RULE_UNLOCK_DIRECT
           : u->who->way == LHI_UNLOCK_COMPLETION ? LHI_RULE_UNLOCK_COMPLETION
                                                  : LHI_RULE_UNLOCK_ROUTINE;
}

static lh_status judge(lhi_unlock *u, lh_error *err)
{
    const lhi_unlocker *who = u->who;
    if (who->frame != LHI_NONE && !note_caller(u))
        return lhi_fail_memory(err);
    if (who->frame == LHI_NONE || who->way == LHI_UNLOCK_UNKNOWN) {
        lh_status status = note_words(u, err);
        if (status == LH_OK)
            lhi_unlock_conclude_absent(
                u,
                who->frame == LHI_NONE && who->absence == LH_PRESENT
                    ? lhi_arena_printf(&u->c->arena, "the crashing thread's stack shows no driver: %s",
                                       who->why)
                    : who->why,
                who->absence, who->absent_at);
        return status;
    }
    if (u->c->parameters[0] != 1)
        return lhi_unlock_judge_changed(u, err);
    switch (who->way) {
    case LHI_UNLOCK_DIRECT:
        return judge_direct(u, err);
    case LHI_UNLOCK_COMPLETION:
        return judge_completion(u, err);
    case LHI_UNLOCK_OTHER:
    case LHI_UNLOCK_UNKNOWN:
        break;
    }
    lhi_unlock_conclude(u, LH_VERDICT_UNATTRIBUTED,
                        lhi_arena_printf(&u->c->arena, "%s called nt!%s, which unlocked on its behalf",
                                         who->party == LHI_NONE ? "code outside any module"
                                                                : u->c->parties[who->party].driver.name,
                                         who->routine));
    return LH_OK;
}

static bool note_state(lhi_unlock *u)
{
    lhi_case *c = u->c;
    if (u->mdl.klass == LHI_MDL_NOT_ONE || u->mdl.klass == LHI_MDL_UNREADABLE)
        return lhi_case_note(c, "mdl", LHI_NONE, c->subject_mdl, u->state);
    const char *text = lhi_arena_printf(
        &c->arena, "MDL: %" PRIu64 " page%s at 0x%" PRIx64 ", flags 0x%04x: %s", u->mdl.pages,
        u->mdl.pages == 1 ? "" : "s", u->mdl.start_va + u->mdl.byte_offset, u->mdl.flags, u->state);
    return lhi_case_note(c, "mdl", u->who->way == LHI_UNLOCK_DIRECT ? u->who->party : LHI_NONE,
                         c->subject_mdl, text);
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    lhi_unlock u = {.c = c, .record = LHI_NONE};
    u.who = lhi_arena_alloc(&c->arena, sizeof *u.who);
    if (!u.who)
        return lhi_fail_memory(err);
    lh_status status = lhi_case_unlocker(c, u.who, err);
    if (status != LH_OK)
        return status;
    c->unlocker = u.who; /* its stack is freed with the case */
    lhi_case_find_crash(c, u.who);
    status = lhi_case_search(c, err);
    c->named_count = 0; /* what drivers hold of a living process is ordinary */
    if (status != LH_OK)
        return status;
    u.record = lhi_case_record_at(c, c->subject_mdl);
    read_mdl(&u);
    status = lhi_unlock_track(&u, err);
    if (status != LH_OK)
        return status;
    read_state(&u);
    u.who->rule = rule_of(&u);
    if (!note_state(&u) || !lhi_unlock_note_trackers(&u))
        return lhi_fail_memory(err);
    return judge(&u, err);
}

const lhi_method lhi_method_unlock = {.takes = takes, .subject = subject, .decide = decide};
