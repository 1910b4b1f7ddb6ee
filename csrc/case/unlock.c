/* The method for an MDL that was unlocked and was not locked so (0x76, P1 = 1, 5, 6, 7, 9). */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "case/method.h"
#include "case/unlocker.h"

#define CERTAINTY 0.98 /* certainty is not to be had from a dump */

#define MOST_WORDS  16u     /* addresses of drivers shown where the stack could not be unwound */
#define STACK_BYTES 0x6000u /* of a kernel stack (WDK: 24 KiB on x64) */

typedef struct lhi_unlock {
    lhi_case *c;
    lhi_unlocker *who;
    lhi_mdl mdl; /* P2 */
    size_t record;
    const char *state; /* what the MDL is, a clause */
    bool violates;     /* such an MDL must not be unlocked: whoever does is at fault */
    bool certain;      /* whatever happened before */
} lhi_unlock;

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

/* Its present state: unlocking is what found it so, and had not begun (facts A.1, A.5). */
static void read_state(lhi_unlock *u)
{
    uint64_t budget = 1u << 16;
    lhi_mdl_read(u->c->kernel, u->c->subject_mdl, 0, &budget, &u->mdl);
    switch (u->mdl.klass) {
    case LHI_MDL_STALE:
        u->state = "its pages are not locked: they were unlocked before, or never locked";
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
        u->state = "by its own flags it is locked, and the system has no record of that lock";
        break;
    case LHI_MDL_UNREADABLE:
        u->state = "the MDL is not wholly in this dump";
        break;
    case LHI_MDL_NOT_ONE:
        u->state = "what lies at its address is no MDL any more";
        break;
    }
}

/* What was changed between lock and unlock, by the parameters (facts A.1). */
static const char *changed(lhi_case *c)
{
    const uint32_t before = (uint32_t)(c->parameters[3] >> 32), now = (uint32_t)c->parameters[3];
    switch (c->parameters[0]) {
    case 5:
        return lhi_arena_printf(
            &c->arena, "its length was changed while it was locked: from %" PRIu32 " pages to %" PRIu32,
            before, now);
    case 6:
        return lhi_arena_printf(
            &c->arena, "its first frame was changed while it was locked: from 0x%" PRIx32 " to 0x%" PRIx32,
            before, now);
    case 7:
        return "its frames were changed while it was locked";
    default:
        return "it was given other frames, and the system has no record of its lock";
    }
}

/* Drivers that may have unlocked the MDL before. */
typedef struct lhi_sharers {
    size_t who;   /* the one that is asked about, and is none of them; LHI_NONE */
    size_t count; /* drivers that have the MDL in a packet and can unlock pages themselves */
    bool missing; /* there may be more: something of a packet or of a driver is not in the dump */
} lhi_sharers;

/* Libraries of Windows unlock what they locked. */
static bool take_sharer(lhi_unlock *u, const lhi_packet *packet, size_t party, lhi_sharers *out)
{
    lhi_case *c = u->c;
    const lhi_party *p = &c->parties[party];
    if (p->library || p->driver.is_kernel ||
        (out->who != LHI_NONE && lhi_case_same_driver(c, party, out->who)))
        return true;
    const lhi_answer can = lhi_case_can_unlock(c, party);
    const bool unloaded = p->driver.has_module && p->driver.module.unloaded;
    const bool unread = can == LHI_UNKNOWN && !p->framework && !unloaded;
    out->missing = out->missing || unread; /* its imports are not there */
    if (can == LHI_NO || unread)
        return true;
    out->count++;
    const char *text = lhi_arena_printf(
        &c->arena, "the packet at 0x%" PRIx64 " names the MDL and went through it, and it can unlock pages",
        packet->irp->address);
    return lhi_case_note(c, "unlock_import", party, packet->irp->address, text);
}

static lh_status ask_packet(lhi_unlock *u, const lhi_packet *packet, lhi_sharers *out, lh_error *err)
{
    lhi_case *c = u->c;
    for (size_t i = 0; i < packet->irp->slot_count; i++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        if (packet->irp->slots[i].device == 0)
            continue;
        lhi_device_driver(c->kernel, packet->irp->slots[i].device, &device, &driver);
        if (!driver.object_known) {
            out->missing = out->missing || driver.absence != LH_ABSENT_LAYOUT;
            continue;
        }
        size_t party = lhi_case_party(c, &driver, err);
        if (party == LHI_NONE)
            return LH_ERR_NO_MEMORY;
        if (!take_sharer(u, packet, party, out))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

/* Over all packets that name the MDL; completed ones too while the I/O manager is at it. */
static lh_status ask_sharers(lhi_unlock *u, bool completed, lhi_sharers *out, lh_error *err)
{
    const lhi_case *c = u->c;
    lh_status status = LH_OK;
    out->missing = lhi_case_pool_could_hide(c);
    if (u->record == LHI_NONE)
        return LH_OK;
    const lhi_vec *packets = &c->records[u->record].packets;
    for (size_t i = 0; status == LH_OK && i < packets->count; i++) {
        const lhi_packet *packet = &c->packets[packets->data[i]];
        const lhi_irp_state state = packet->irp->state;
        out->missing = out->missing || lhi_irp_is_lost(packet->irp);
        if (state == LHI_IRP_PENDING || state == LHI_IRP_RETURNED ||
            (completed && state == LHI_IRP_COMPLETED))
            status = ask_packet(u, packet, out, err);
    }
    return status;
}

static const char *place(lhi_case *c, uint64_t address)
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
                          ? "called a routine of nt that led to the unlock"
                          : lhi_arena_printf(&c->arena, "called nt!%s", who->routine);
    const char *text =
        lhi_arena_printf(&c->arena, "frame %zu of the crashing thread: returns to %s, which %s%s", who->frame,
                         place(c, frame->address), did, who->seen ? ", as the call in front of it says" : "");
    if (!lhi_case_note(c, who->way == LHI_UNLOCK_DIRECT ? "unlock_site" : "stack_frame", who->party,
                       frame->address, text))
        return false;
    if (who->client == LHI_NONE)
        return true;
    const lhi_call_frame *client = &who->stack.frames[who->client_frame];
    text = lhi_arena_printf(&c->arena, "frame %zu of the crashing thread: returns to %s, which called %s",
                            who->client_frame, place(c, client->address), c->parties[who->party].driver.name);
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
        const char *text = lhi_arena_printf(
            &c->arena, "a word of the stack is %s, and may be a return address left over", place(c, word));
        if (!lhi_case_note(c, "stack_word", party, begin + at, text))
            return lhi_fail_memory(err);
        shown++;
    }
    return LH_OK;
}

static void conclude(lhi_unlock *u, lh_verdict_kind kind, const char *why)
{
    lhi_case *c = u->c;
    c->kind = kind;
    c->why = why;
    c->sentence = lhi_arena_printf(&c->arena, "Which driver unlocked wrongly can't be told%s: %s.",
                                   kind == LH_VERDICT_INSUFFICIENT ? " from this dump" : "", why);
    c->advice =
        kind == LH_VERDICT_INSUFFICIENT
            ? "Set the machine to write a complete or kernel memory dump, and wait for the next crash."
            : "Turn on Driver Verifier with pool tracking for the suspects: it stops the system at the first "
              "wrong unlock, with that driver on the stack.";
}

/* What is missing names its page. */
static void conclude_absent(lhi_unlock *u, const char *why, lh_absence absence, uint64_t at)
{
    if (absence != LH_PRESENT && at)
        why = lhi_arena_printf(&u->c->arena, "%s (%s at 0x%" PRIx64 ")", why, lh_absence_name(absence), at);
    conclude(u,
             absence == LH_PRESENT || absence == LH_ABSENT_NOT_MAPPED || absence == LH_ABSENT_LAYOUT
                 ? LH_VERDICT_UNATTRIBUTED
                 : LH_VERDICT_INSUFFICIENT,
             why);
}

static bool weigh(lhi_case *c, double *score, bool applies, lhi_weight weight)
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
    return weigh(c, out, true, LHI_WEIGHT_STACK) && weigh(c, out, who->seen, LHI_WEIGHT_UNLOCK_SITE) &&
           weigh(c, out, !who->seen, LHI_WEIGHT_UNLOCK_SITE_ALONE) &&
           weigh(c, out, u->certain, LHI_WEIGHT_STATE_NEVER) &&
           weigh(c, out, !u->certain, LHI_WEIGHT_STATE_OPEN) &&
           weigh(c, out, party != who->party, LHI_WEIGHT_CLIENT_UNLOCKED) &&
           weigh(c, out, unloaded, LHI_WEIGHT_UNLOADED);
}

static lh_status name(lhi_unlock *u, size_t party, lh_error *err)
{
    lhi_case *c = u->c;
    const lhi_party *p = &c->parties[party];
    double points = 0;
    c->named_count = 0;
    if (!score(u, party, &points) || !lhi_case_name(c, party, 0, points))
        return lhi_fail_memory(err);
    c->named[0].name = p->driver.name;
    c->score = points;
    c->kind = LH_VERDICT_DRIVER;
    c->why = lhi_arena_printf(&c->arena, "it unlocked an MDL that it must not unlock: %s", u->state);
    const size_t frame = party == u->who->party ? u->who->frame : u->who->client_frame;
    const char *version = p->version_known ? lhi_arena_printf(&c->arena, " (version %s)", p->version) : "";
    const char *through = party == u->who->party ? ""
                                                 : lhi_arena_printf(&c->arena, " through %s",
                                                                    c->parties[u->who->party].driver.name);
    c->sentence = lhi_arena_printf(&c->arena, "%s%s unlocked an MDL%s that it must not unlock: %s.",
                                   p->driver.name, version, through, u->state);
    c->advice = lhi_arena_printf(
        &c->arena,
        "Update or remove the product that %s belongs to. If it is current, send its vendor this report: the "
        "call returns to %s.",
        p->driver.name, place(c, u->who->stack.frames[frame].address));
    return LH_OK;
}

/* The stack leads to a driver that called MmUnlockPages. */
static lh_status judge_direct(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    const lhi_unlocker *who = u->who;
    if (who->party == LHI_NONE) {
        conclude(u, LH_VERDICT_UNATTRIBUTED,
                 lhi_arena_printf(&c->arena,
                                  "code outside any module unlocked it, at %s: no file is known that it "
                                  "belongs to",
                                  place(c, who->stack.frames[who->frame].address)));
        return LH_OK;
    }
    const size_t party = who->client == LHI_NONE ? who->party : who->client;
    const lhi_driver *driver = &c->parties[party].driver;
    lhi_sharers others = {.who = party};
    lh_status status = ask_sharers(u, false, &others, err);
    if (status != LH_OK)
        return status;
    if (driver->absence != LH_PRESENT)
        conclude_absent(
            u, driver->doubt ? driver->doubt : "the file name of the driver that unlocked is not known",
            driver->absence, driver->absent_at);
    else if (c->parties[party].library && who->client_absence != LH_PRESENT)
        conclude_absent(
            u,
            lhi_arena_printf(&c->arena,
                             "%s unlocked it, a library of Windows, and who called it is not in this dump",
                             driver->name),
            who->client_absence, who->client_absent_at);
    else if (c->parties[party].library)
        conclude(u, LH_VERDICT_UNATTRIBUTED,
                 lhi_arena_printf(
                     &c->arena, "%s unlocked it, a library of Windows, and for whom the stack does not show",
                     driver->name));
    else if (u->mdl.klass == LHI_MDL_UNREADABLE)
        conclude_absent(u, u->state, u->mdl.absence, u->mdl.absent_at);
    else if (!u->violates)
        conclude(u, LH_VERDICT_UNATTRIBUTED,
                 lhi_arena_printf(&c->arena, "%s unlocked the MDL, but %s", driver->name, u->state));
    else if (!u->certain && others.count)
        conclude(u, LH_VERDICT_UNATTRIBUTED,
                 lhi_arena_printf(
                     &c->arena, "%s unlocked the MDL, and another driver that has it may have done so before",
                     driver->name));
    else if (!u->certain && others.missing)
        conclude(u, LH_VERDICT_INSUFFICIENT,
                 lhi_arena_printf(&c->arena,
                                  "%s unlocked the MDL, and a packet through which another driver had it may "
                                  "lie in a page that is not in this dump",
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
    lh_status status = ask_sharers(u, true, &others, err);
    if (status != LH_OK)
        return status;
    if (u->who->party != LHI_NONE &&
        !lhi_case_clear(c, u->who->party, u->who->stack.frames[u->who->frame].address,
                        "it only completed the packet: the I/O manager unlocked the packet's MDL"))
        return lhi_fail_memory(err);
    if (others.count)
        conclude(u, LH_VERDICT_UNATTRIBUTED,
                 "the I/O manager unlocked it when its packet was completed; drivers that had the packet can "
                 "unlock pages, and which of them did before is not recorded");
    else if (others.missing)
        conclude(
            u, LH_VERDICT_INSUFFICIENT,
            "the I/O manager unlocked it when its packet was completed, and the packet may lie in a page "
            "that is not in this dump");
    else
        conclude(
            u, LH_VERDICT_UNATTRIBUTED,
            "the I/O manager unlocked it when its packet was completed, and no driver that had the packet "
            "is known to unlock pages");
    return LH_OK;
}

/* P1 = 5, 6, 7 and 9: whoever unlocks finds what another one may have changed. */
static lh_status judge_changed(lhi_unlock *u, lh_error *err)
{
    lhi_case *c = u->c;
    u->state = changed(c);
    if (!lhi_case_note(c, "mdl_changed", u->who->way == LHI_UNLOCK_DIRECT ? u->who->party : LHI_NONE,
                       c->subject_mdl, u->state))
        return lhi_fail_memory(err);
    conclude(u, LH_VERDICT_UNATTRIBUTED,
             lhi_arena_printf(&c->arena,
                              "%s; who did that is not recorded, and the driver that unlocks only "
                              "finds it",
                              u->state));
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
            conclude_absent(u,
                            who->frame == LHI_NONE && who->absence == LH_PRESENT
                                ? lhi_arena_printf(&u->c->arena,
                                                   "the crashing thread's stack shows no driver: %s",
                                                   who->why)
                                : who->why,
                            who->absence, who->absent_at);
        return status;
    }
    if (u->c->parameters[0] != 1)
        return judge_changed(u, err);
    switch (who->way) {
    case LHI_UNLOCK_DIRECT:
        return judge_direct(u, err);
    case LHI_UNLOCK_COMPLETION:
        return judge_completion(u, err);
    case LHI_UNLOCK_OTHER:
    case LHI_UNLOCK_UNKNOWN:
        break;
    }
    conclude(u, LH_VERDICT_UNATTRIBUTED,
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
    lh_status status = lhi_case_search(c, err);
    c->named_count = 0; /* what drivers hold of a living process is ordinary */
    if (status == LH_OK)
        status = lhi_case_unlocker(c, u.who, err);
    if (status != LH_OK)
        return status;
    c->unlocker = u.who; /* its stack is freed with the case */
    read_state(&u);
    u.who->rule = rule_of(&u);
    u.record = lhi_case_record_at(c, c->subject_mdl);
    if (!note_state(&u))
        return lhi_fail_memory(err);
    return judge(&u, err);
}

const lhi_method lhi_method_unlock = {.takes = takes, .subject = subject, .decide = decide};
