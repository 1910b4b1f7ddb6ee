/* The verdict over all locks: its kind, its drivers, a computed confidence, a sentence and an advice. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case/case.h"
#include "case/ledger.h"
#include "case/lock.h"
#include "case/method.h"

#define HIGH   0.85 /* levels of the score: see docs/how-it-decides.md */
#define MEDIUM 0.6

static const char *process_name(const lhi_case *c)
{
    if (!c->process_known || !c->process.name_known)
        return lhi_arena_printf((lhi_arena *)&c->arena, "the process at 0x%" PRIx64, c->target);
    if (!c->process.pid_known)
        return lhi_arena_printf((lhi_arena *)&c->arena, "process %s", c->process.name);
    return lhi_arena_printf((lhi_arena *)&c->arena, "process %s (PID %" PRIu64 ")", c->process.name,
                            c->process.pid);
}

/* nt is no driver: what it holds gives kind `kernel`, unless a driver is named too. */
static bool separate_kernel(lhi_case *c)
{
    size_t kept = 0;
    bool kernel = false;
    for (size_t i = 0; i < c->named_count; i++) {
        if (c->parties[c->named[i].party].driver.is_kernel)
            kernel = true;
        else
            c->named[kept++] = c->named[i];
    }
    c->named_count = kept;
    return kernel;
}

static int by_pages(const void *a, const void *b)
{
    const lhi_named *x = a, *y = b;
    if (x->pages != y->pages)
        return x->pages > y->pages ? -1 : 1;
    return strcmp(x->name, y->name);
}

typedef struct lhi_scoring {
    lhi_case *c;
    bool listed; /* factors are entered in the case */
    double score;
    bool failed;
} lhi_scoring;

static void weigh(lhi_scoring *s, bool applies, lhi_weight weight, const char *statement)
{
    if (!applies)
        return;
    s->score *= lhi_weight_value(weight);
    if (s->listed && !lhi_case_factor(s->c, weight, statement))
        s->failed = true;
}

/* What the lock tracker adds: it carries the naming by itself, or agrees with the packet. */
static void score_lock(lhi_scoring *s, const lhi_record *r)
{
    const lhi_lock *lock = r->lock != LHI_NONE ? &s->c->locks[r->lock] : NULL;
    if (!lock)
        return;
    weigh(s, r->blamed != LHI_NONE, LHI_WEIGHT_TRACKER, lock->why);
    weigh(s, r->blamed != LHI_NONE && s->c->parties[r->blamed].silent, LHI_WEIGHT_IMPORTS, NULL);
    weigh(s, r->blamed != LHI_NONE && lock->agrees, LHI_WEIGHT_PACKET_AGREES, NULL);
    weigh(s, r->blamed == LHI_NONE, LHI_WEIGHT_TRACKER_AGREES, NULL);
    weigh(s, lock->tracker.address == 0, LHI_WEIGHT_CALLERS, NULL);
    weigh(s, s->c->trackers.damaged, LHI_WEIGHT_TRACKERS, NULL);
}

/* What holds whether a packet decided or a lock tracker. */
static void score_pages(lhi_scoring *s, const lhi_record *r, const lhi_party *party)
{
    weigh(s, r->frames_referenced && !r->frames_unknown, LHI_WEIGHT_FRAMES, NULL);
    weigh(s, r->frames_unknown != 0, LHI_WEIGHT_FRAMES_UNKNOWN, NULL);
    weigh(s, r->state == LH_MDL_UNKNOWN || (r->may_be_old && r->lock == LHI_NONE), LHI_WEIGHT_LIVENESS, NULL);
    weigh(s, s->c->explained_least != s->c->explained_most, LHI_WEIGHT_COPY, NULL);
    weigh(s, party->driver.basis == LHI_NAME_UNLOADED, LHI_WEIGHT_UNLOADED, NULL);
    weigh(s, party->driver.basis == LHI_NAME_OBJECT, LHI_WEIGHT_NAME, NULL);
    weigh(s, party->library, LHI_WEIGHT_LIBRARY, NULL);
    weigh(s, r->shared, LHI_WEIGHT_SHARED, NULL);
}

/* Everything that weakens (or, at 1.0, carries) the naming of a driver for one lock by a packet. */
static void score_packet(lhi_scoring *s, const lhi_record *r, size_t party_index)
{
    lhi_case *c = s->c;
    const lhi_party *party = &c->parties[party_index];
    const lhi_packet *packet = &c->packets[r->judged_packet];
    const lhi_irp *irp = packet->irp;
    bool made = irp->origin == LHI_ORIGIN_DRIVER;
    weigh(s, true, LHI_WEIGHT_PACKET, NULL);
    weigh(s, irp->links == LHI_LINKS_BROKEN && !made, LHI_WEIGHT_LIST_BROKEN, NULL);
    weigh(s, irp->links == LHI_LINKS_UNKNOWN && !made, LHI_WEIGHT_LIST_UNKNOWN, NULL);
    weigh(s, irp->odd, LHI_WEIGHT_ORIGIN, NULL);
    weigh(s, irp->orphan, LHI_WEIGHT_ORPHAN, NULL);
    weigh(s, irp->file != 0 && packet->file.absence != LH_PRESENT && packet->file.absence != LH_ABSENT_LAYOUT,
          LHI_WEIGHT_FILE_ABSENT, NULL);
    weigh(s, irp->file != 0 && packet->file.absence == LH_ABSENT_LAYOUT, LHI_WEIGHT_FILE_NONE, NULL);
    weigh(s,
          packet->thread.absence == LH_PRESENT && packet->thread.address != 0 &&
              packet->thread.process == packet->process,
          LHI_WEIGHT_THREAD, NULL);
    weigh(s, !made && packet->device.listed != LHI_YES, LHI_WEIGHT_DEVICE, NULL);
    weigh(s, r->packet != r->judged_packet, LHI_WEIGHT_SPLIT, NULL);
    weigh(s, made, LHI_WEIGHT_MAKER, NULL);
    weigh(s, made && party->silent, LHI_WEIGHT_IMPORTS, NULL);
    weigh(s, made && packet->library != LHI_NONE, LHI_WEIGHT_CLIENT, NULL);
    weigh(s, made && packet->kept, LHI_WEIGHT_KEEPER, NULL);
    weigh(s,
          irp->cancel_routine != 0 && lhi_module_at(&c->kernel->modules, irp->cancel_routine) &&
              party->driver.has_module &&
              lhi_module_at(&c->kernel->modules, irp->cancel_routine)->base == party->driver.module.base,
          LHI_WEIGHT_CANCEL_ROUTINE, NULL);
    weigh(s, made && irp->state == LHI_IRP_RETURNED, LHI_WEIGHT_RETURNED, NULL);
}

static void score_holder(lhi_scoring *s, const lhi_record *r)
{
    weigh(s, true, LHI_WEIGHT_HOLDER, NULL);
    weigh(s, r->by_framework, LHI_WEIGHT_CLIENT_HOLDS, NULL);
    weigh(s, r->lone, LHI_WEIGHT_LONE, NULL);
    weigh(s, r->beside, LHI_WEIGHT_BESIDE, NULL);
}

static void score_case(lhi_scoring *s)
{
    const lhi_case *c = s->c;
    bool exact = c->charged_known && c->charged == c->explained;
    weigh(s, exact, LHI_WEIGHT_LEDGER_EXACT, NULL);
    const char *absurd = lhi_case_absurd_count(s->c);
    weigh(s, absurd != NULL, LHI_WEIGHT_COUNT, absurd);
    weigh(s, !absurd && c->charged_known && c->charged > c->explained, LHI_WEIGHT_LEDGER_SHORT, NULL);
    weigh(s, c->charged_known && c->charged < c->explained, LHI_WEIGHT_LEDGER_OVER, NULL);
    uint64_t held = 0;
    for (size_t i = 0; i < c->named_count; i++)
        held += c->named[i].pages;
    weigh(s, c->explained > held, LHI_WEIGHT_HOLDERS, NULL);
    weigh(s, c->process_known && c->process.exit_time_known && c->process.exit_time == 0, LHI_WEIGHT_LIVING,
          NULL);
    weigh(s, c->code == 0x76 && c->parameters[0] == 0 && c->parameters[3] != 0 && !c->tracked,
          LHI_WEIGHT_TRACKERS_NONE, NULL);
    weigh(s, lhi_case_could_hide(c), LHI_WEIGHT_COVERAGE, NULL);
    const lh_kernel *kernel = c->kernel;
    const lhi_layout_basis basis = kernel->layout->basis;
    weigh(s, basis == LHI_LAYOUT_STABLE, LHI_WEIGHT_LAYOUT_STABLE, NULL);
    weigh(s, basis == LHI_LAYOUT_INFERRED, LHI_WEIGHT_LAYOUT_INFERRED, NULL);
    weigh(s, basis == LHI_LAYOUT_FACTS && !kernel->probing.identity_failed, LHI_WEIGHT_LAYOUT_PUBLISHED,
          NULL);
    weigh(s, kernel->probing.identity_failed, LHI_WEIGHT_LAYOUT_CONTRADICTED, NULL);
}

static lh_status score_named(lhi_case *c, lh_error *err)
{
    bool failed = false;
    for (size_t n = 0; n < c->named_count; n++) {
        const lhi_record *best = NULL;
        for (size_t i = 0; i < c->record_count; i++) {
            const lhi_record *r = &c->records[i];
            if (r->outcome == LHI_OUTCOME_NAMED &&
                lhi_case_same_driver(c, lhi_case_blamed(c, r), c->named[n].party) &&
                (!best || r->mdl.pages > best->mdl.pages))
                best = r;
        }
        if (!best)
            continue;
        lhi_scoring s = {.c = c, .listed = n == 0, .score = 1.0};
        if (best->by_holder && best->lock == LHI_NONE)
            score_holder(&s, best);
        else if (best->blamed == LHI_NONE)
            score_packet(&s, best, c->named[n].party);
        score_lock(&s, best);
        score_pages(&s, best, &c->parties[c->named[n].party]);
        score_case(&s);
        /* Certainty is not to be had from a dump. */
        c->named[n].score = s.score * 0.98;
        failed = failed || s.failed;
    }
    if (c->named_count)
        c->score = c->named[0].score;
    return failed ? lhi_fail_memory(err) : LH_OK;
}

const char *lhi_case_level(double score)
{
    return score >= HIGH ? "high" : score >= MEDIUM ? "medium" : score > 0 ? "low" : "none";
}

static void say_driver(lhi_case *c)
{
    const lhi_party *first = &c->parties[c->named[0].party];
    const char *others = "";
    if (c->named_count > 1)
        others = lhi_arena_printf(&c->arena, " %zu more driver%s hold%s pages as well.", c->named_count - 1,
                                  c->named_count == 2 ? "" : "s", c->named_count == 2 ? "s" : "");
    const char *of = "";
    if (c->charged_known && c->charged >= c->named[0].pages && !lhi_case_absurd_count(c))
        of = lhi_arena_printf(&c->arena, " of the %" PRIu64, c->charged);
    const char *version =
        first->version_known ? lhi_arena_printf(&c->arena, " (version %s)", first->version) : "";
    c->sentence = lhi_arena_printf(&c->arena, "%s%s holds %" PRIu64 "%s page%s that %s left locked: %s.%s",
                                   first->driver.name, version, c->named[0].pages, of,
                                   (c->charged_known ? c->charged : c->named[0].pages) == 1 ? "" : "s",
                                   process_name(c), c->why, others);
    uint64_t held = 0;
    for (size_t i = 0; i < c->named_count; i++)
        held += c->named[i].pages;
    if (c->explained > held)
        c->sentence = lhi_arena_printf(&c->arena, "%s For %" PRIu64 " more page%s no driver can be named.",
                                       c->sentence, c->explained - held, c->explained - held == 1 ? "" : "s");
    if (first->library)
        c->advice = lhi_arena_printf(
            &c->arena,
            "%s belongs to Windows and works for other drivers. Update the driver or program that uses it; "
            "send this report to its vendor.",
            first->driver.name);
    else
        c->advice = lhi_arena_printf(
            &c->arena,
            "Update or remove the product that %s belongs to. If it is current, send its vendor this report: "
            "the commands under \"reproduce\" show every step in WinDbg.",
            first->driver.name);
}

static const char tracking_advice[] =
    "Set TrackLockedPages (REG_DWORD 1 under HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session "
    "Manager\\Memory Management), restart, "
    "and wait for the next crash: it will be 0xCB and tell who locked. Set the machine to write a complete "
    "or kernel dump.";

static const char count_advice[] =
    "Set TrackLockedPages and restart: then a wrong unlock stops the system at once (bug check 0x76, first "
    "parameter 1), with the driver on the stack.";

static const char tracked_advice[] =
    "The tracking of locked pages is on already: keep it, and set the machine to write a complete dump, so "
    "that the next crash shows every lock tracker, MDL and packet.";

static const char suspects_advice[] =
    "The tracking of locked pages is on already: keep it. Nothing is missing in this dump that could tell "
    "more; "
    "send the vendor of each suspect its text, and compare with the next crash.";

static const char by_hand_advice[] =
    "Look for software that puts code into the kernel without the loader (protection of programs, malicious "
    "software): the code that locked is in no list of modules. Scan the system from outside.";

static const char request_advice[] =
    "Install the current updates of Windows, and update the drivers that the chain shows: Windows made the "
    "request, and it has not come back.";

static const char kernel_advice[] =
    "Install the current updates of Windows. It locks pages for whoever asks, as when one process copies "
    "memory "
    "of another: look for software that works on this process from outside (protection, debugging, injected "
    "code), and update it.";

/* Where nothing is missing, a better dump would not help. */
static const char *advise_tracked(const lhi_case *c)
{
    bool by_hand = false;
    for (size_t i = 0; i < c->lock_count; i++)
        by_hand = by_hand || c->locks[i].by == LHI_LOCK_BY_NOBODY;
    return by_hand ? by_hand_advice : suspects_advice;
}

static const char *advise_kernel(const lhi_case *c)
{
    for (size_t i = 0; i < c->record_count; i++)
        if (c->records[i].outcome == LHI_OUTCOME_KERNEL && c->records[i].packet != LHI_NONE)
            return request_advice;
    return kernel_advice;
}

/* The reason that weighs most: that of the largest lock with the given outcome. */
static const char *main_reason(const lhi_case *c, lhi_outcome outcome)
{
    const lhi_record *best = NULL;
    for (size_t i = 0; i < c->record_count; i++)
        if (c->records[i].in_ledger && c->records[i].outcome == outcome &&
            (!best || c->records[i].mdl.pages > best->mdl.pages))
            best = &c->records[i];
    return best ? best->why : NULL;
}

static uint64_t missing_pages(const lhi_case *c)
{
    const lhi_region *regions[] = {&c->coverage.pool, &c->coverage.images, &c->coverage.other,
                                   &c->coverage.transition};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof regions / sizeof regions[0]; i++)
        sum += lhi_region_lacks(regions[i]);
    return sum;
}

static void decide_unnamed(lhi_case *c, bool kernel)
{
    bool any_ledger = false, unreadable = false;
    for (size_t i = 0; i < c->record_count; i++) {
        any_ledger = any_ledger || c->records[i].in_ledger;
        unreadable =
            unreadable || (c->records[i].mdl.klass == LHI_MDL_UNREADABLE && c->records[i].names_process);
    }
    bool open = !c->charged_known || c->unexplained > 0 || !any_ledger;
    const char *reason = main_reason(c, LHI_OUTCOME_INSUFFICIENT);
    if (kernel) {
        c->kind = LH_VERDICT_KERNEL;
        c->why = main_reason(c, LHI_OUTCOME_KERNEL);
        c->sentence =
            lhi_arena_printf(&c->arena, "Windows itself (ntoskrnl) holds the pages that %s left locked: %s.",
                             process_name(c), c->why);
        c->advice = advise_kernel(c);
        return;
    }
    if (!reason && open && unreadable)
        reason = "an MDL of the process may lie across a page that is not in this dump";
    if (!reason && open && lhi_case_could_hide(c))
        reason = any_ledger
                     ? "the MDLs found do not explain every page, and another may lie in a page that is not "
                       "in this dump"
                     : "no MDL of the process was found, and one may lie in a page that is not in this dump";
    if (reason) {
        c->kind = LH_VERDICT_INSUFFICIENT;
        c->why = reason;
        uint64_t missing = missing_pages(c);
        const char *count = "";
        if (c->coverage.pieces)
            count = " (a small memory dump has pieces of kernel memory only)";
        else if (missing || c->coverage.tables_missing)
            count =
                lhi_arena_printf(&c->arena, " (%" PRIu64 " page%s of kernel memory %s not in this dump%s)",
                                 missing, missing == 1 ? "" : "s", missing == 1 ? "is" : "are",
                                 c->coverage.tables_missing ? ", and page tables are missing" : "");
        c->sentence = lhi_arena_printf(
            &c->arena, "Which driver left the pages of %s locked can't be told from this dump: %s%s.",
            process_name(c), reason, count);
        c->advice = c->tracked ? tracked_advice : tracking_advice;
        return;
    }
    c->kind = LH_VERDICT_UNATTRIBUTED;
    reason = main_reason(c, LHI_OUTCOME_UNATTRIBUTED);
    const char *absurd = any_ledger ? NULL : lhi_case_absurd_count(c);
    if (absurd)
        reason = absurd;
    c->why = reason ? reason : "no MDL that stands for the locked pages exists any more";
    c->sentence = lhi_arena_printf(&c->arena, "No driver can be named for the pages that %s left locked: %s.",
                                   process_name(c), c->why);
    c->advice = c->tracked ? advise_tracked(c) : absurd ? count_advice : tracking_advice;
}

static const char *named_reason(const lhi_case *c)
{
    const lhi_record *best = NULL;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (r->outcome == LHI_OUTCOME_NAMED &&
            lhi_case_same_driver(c, lhi_case_blamed(c, r), c->named[0].party) &&
            (!best || r->mdl.pages > best->mdl.pages))
            best = r;
    }
    return best && best->why ? best->why : "it holds them";
}

/* A living process's requests would look like those that were left behind. */
static bool say_exit_missing(lhi_case *c)
{
    const char *why = "whether it has exited can't be read, because its process object is not in this dump";
    return lhi_case_conclude_exit_unknown(
        c, why,
        lhi_arena_printf(
            &c->arena,
            "Which driver left the pages of %s locked can't be told: %s. The ledger shows who holds them.",
            process_name(c), why));
}

lh_status lhi_case_verdict(lhi_case *c, lh_error *err)
{
    bool kernel = separate_kernel(c);
    if (c->lives) {
        c->named_count = 0;
        c->kind = LH_VERDICT_UNATTRIBUTED;
        c->why = "it has not exited, so it is not the process that was deleted";
        c->sentence = lhi_arena_printf(
            &c->arena,
            "No driver can be named for %s: %s. What drivers hold of a living process is ordinary.",
            process_name(c), c->why);
        c->advice = "The parameters of the bug check contradict the dump: compare them with another crash of "
                    "this machine.";
        return LH_OK;
    }
    if (c->exit_missing && (c->named_count || kernel))
        return say_exit_missing(c) ? LH_OK : lhi_fail_memory(err);
    if (c->named_count == 0) {
        decide_unnamed(c, kernel);
        return LH_OK;
    }
    for (size_t i = 0; i < c->named_count; i++)
        c->named[i].name = c->parties[c->named[i].party].driver.name;
    qsort(c->named, c->named_count, sizeof *c->named, by_pages);
    c->kind = LH_VERDICT_DRIVER;
    c->why = named_reason(c);
    say_driver(c);
    return score_named(c, err);
}
