/* The verdict over all locks: its kind, its drivers, a computed confidence, a sentence and an advice. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case/case.h"
#include "case/lock.h"

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

static void weigh(lhi_scoring *s, bool applies, double value, const char *name, const char *statement)
{
    if (!applies)
        return;
    s->score *= value;
    if (s->listed && !lhi_case_factor(s->c, name, value, statement))
        s->failed = true;
}

/* What the lock tracker adds: it carries the naming by itself, or agrees with the packet. */
static void score_lock(lhi_scoring *s, const lhi_record *r)
{
    const lhi_lock *lock = r->lock != LHI_NONE ? &s->c->locks[r->lock] : NULL;
    if (!lock)
        return;
    weigh(s, r->blamed != LHI_NONE, 1.0, "tracker", lock->why);
    weigh(s, r->blamed != LHI_NONE && lock->agrees, 1.0, "packet",
          "a packet of the same driver names the MDL");
    weigh(s, r->blamed == LHI_NONE, 1.0, "tracker", "the lock tracker agrees with the packet");
    weigh(s, lock->tracker.address == 0, 0.95, "callers",
          "the bug check tells two callers of the routine that locked, and no more");
    weigh(s, s->c->trackers.damaged, 0.9, "trackers", "other lock trackers of the process are damaged");
}

/* What holds whether a packet decided or a lock tracker. */
static void score_pages(lhi_scoring *s, const lhi_record *r, const lhi_party *party)
{
    weigh(s, r->frames_referenced && !r->frames_unknown, 1.0, "frames",
          "reference counts agree that the pages are locked");
    weigh(s, r->frames_unknown != 0, 0.97, "frames", "reference counts of its frames are not in this dump");
    weigh(s, r->state == LH_MDL_UNKNOWN, 0.9, "liveness", "whether the MDL was freed can't be told");
    weigh(s, s->c->explained_least != s->c->explained_most, 0.9, "copy",
          "another structure describes the same pages, and reference counts do not tell a copy from a lock");
    weigh(s, party->driver.basis == LHI_NAME_UNLOADED, 0.85, "unloaded",
          "the driver has been unloaded; its name is from the kernel's record");
    weigh(s, party->driver.basis == LHI_NAME_OBJECT, 0.7, "name", "only the driver object's name is left");
    weigh(s, party->library, 0.5, "library",
          "a library of Windows that works for other drivers: its client may be the one");
}

/* Everything that weakens (or, at 1.0, carries) the naming of a driver for one lock by a packet. */
static void score_packet(lhi_scoring *s, const lhi_record *r, size_t party_index)
{
    lhi_case *c = s->c;
    const lhi_party *party = &c->parties[party_index];
    const lhi_packet *packet = &c->packets[r->judged_packet];
    const lhi_irp *irp = packet->irp;
    bool made = irp->origin == LHI_ORIGIN_DRIVER;
    weigh(s, true, 1.0, "packet", "a valid packet that names the MDL");
    weigh(s, irp->links == LHI_LINKS_BROKEN && !made, 0.9, "list",
          "its neighbours in the thread's list contradict it");
    weigh(s, irp->links == LHI_LINKS_UNKNOWN && !made, 0.95, "list",
          "its neighbours in the thread's list are not in this dump");
    weigh(s, irp->odd, 0.85, "origin", "one of the usual marks of the I/O manager's packets is missing");
    weigh(s, irp->orphan, 0.97, "orphan",
          "the I/O manager cut it off from its thread after a cancel without effect");
    weigh(s, irp->file != 0 && packet->file.absence != LH_PRESENT && packet->file.absence != LH_ABSENT_LAYOUT,
          0.97, "file", "its file object is not in this dump");
    weigh(s, irp->file != 0 && packet->file.absence == LH_ABSENT_LAYOUT, 0.7, "file",
          "what OriginalFileObject points to is no file object");
    weigh(s,
          packet->thread.absence == LH_PRESENT && packet->thread.address != 0 &&
              packet->thread.process == packet->process,
          1.0, "thread", "its thread names the process");
    weigh(s, !made && packet->device.listed != LHI_YES, 0.85, "device",
          "its device is not found in the driver's list of devices");
    weigh(s, r->packet != r->judged_packet, 0.92, "split",
          "the request was split: judged at the piece that is pending");
    weigh(s, made, 0.92, "maker", "judged by who made the packet");
    weigh(s, made && packet->library != LHI_NONE, 0.7, "client",
          "a library of Windows made the packet; the driver named is the one that it works for");
    weigh(s, made && packet->kept, 0.8, "keeper", "the maker is told by who keeps the pointer to the packet");
    weigh(s,
          irp->cancel_routine != 0 && lhi_module_at(&c->kernel->modules, irp->cancel_routine) &&
              party->driver.has_module &&
              lhi_module_at(&c->kernel->modules, irp->cancel_routine)->base == party->driver.module.base,
          1.0, "cancel_routine", "its cancel routine lies in that driver");
    weigh(s, made && irp->state == LHI_IRP_RETURNED, 0.85, "returned", "the packet is back with its maker");
}

static void score_case(lhi_scoring *s)
{
    const lhi_case *c = s->c;
    bool exact = c->charged_known && c->charged == c->explained;
    weigh(s, exact, 1.0, "ledger", "the MDLs explain exactly the pages that are charged");
    weigh(s, c->charged_known && c->charged > c->explained, 0.85, "ledger",
          "the MDLs explain fewer pages than are charged");
    weigh(s, c->charged_known && c->charged < c->explained, 0.8, "ledger",
          "the MDLs explain more pages than are charged");
    uint64_t held = 0;
    for (size_t i = 0; i < c->named_count; i++)
        held += c->named[i].pages;
    weigh(s, c->explained > held, 0.85, "holders", "other MDLs of the process have no driver that is named");
    weigh(s, c->process_known && c->process.exit_time_known && c->process.exit_time == 0, 0.7, "living",
          "the process has not exited by its own record");
    weigh(s, lhi_case_could_hide(c), 0.95, "coverage", "some kernel memory is not in this dump");
    const lh_kernel *kernel = c->kernel;
    const lhi_layout_basis basis = kernel->layout->basis;
    weigh(s, basis == LHI_LAYOUT_STABLE, 0.9, "layout",
          "the build is unknown: only structures that no known build changed are used");
    weigh(s, basis == LHI_LAYOUT_INFERRED, 0.9, "layout",
          "the build is unknown: offsets were inferred from the dump itself");
    weigh(s, basis == LHI_LAYOUT_FACTS && !kernel->probing.identity_failed, 0.95, "layout",
          "no symbols of this build are at hand: offsets are from published tables");
    weigh(s, kernel->probing.identity_failed, 0.9, "layout",
          "the layout of this build did not fit the dump: fields of processes were inferred anew");
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
            weigh(&s, true, 0.9, "holder", "told by whose memory leads to the MDL, without a packet");
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
    if (c->charged_known && c->charged >= c->named[0].pages)
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

static const char tracked_advice[] =
    "The tracking of locked pages is on already: keep it, and set the machine to write a complete dump, so "
    "that the next crash shows every lock tracker, MDL and packet.";

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
        sum += regions[i]->not_captured + regions[i]->clipped + regions[i]->not_ram;
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
        c->advice = "Install the current updates of Windows, and update the drivers that the chain shows: "
                    "Windows made the request, and it has not come back.";
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
    c->why = reason ? reason : "no MDL that stands for the locked pages exists any more";
    c->sentence = lhi_arena_printf(&c->arena, "No driver can be named for the pages that %s left locked: %s.",
                                   process_name(c), c->why);
    c->advice = c->tracked ? tracked_advice : tracking_advice;
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

/* Requests in flight lock pages of every living process. */
static void say_exit_missing(lhi_case *c)
{
    c->kind = LH_VERDICT_INSUFFICIENT;
    c->why = "whether it has exited can't be read, because its process object is not in this dump";
    c->sentence = lhi_arena_printf(
        &c->arena,
        "Which driver left the pages of %s locked can't be told: %s. The ledger shows who holds them.",
        process_name(c), c->why);
    c->advice = "Take a dump that holds the process object.";
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
    if (c->exit_missing && (c->named_count || kernel)) {
        c->named_count = 0;
        say_exit_missing(c);
        return LH_OK;
    }
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
