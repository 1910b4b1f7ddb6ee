/* What lock trackers mean for the locks found: who is named by his own lock, and where a packet decides. */
#include "base/error.h"
#include "base/map.h"
#include "case/lock.h"
#include "nt/process.h"

/* What the packets that name one MDL say about a driver. */
typedef struct lhi_hearing {
    bool agrees;     /* one waits in it, or is its own */
    bool passed_on;  /* one that the I/O manager unlocks waits elsewhere, and the driver was sent it first */
    bool against;    /* one that the I/O manager unlocks waits elsewhere, and the driver never had it */
    bool borrowed;   /* one of another driver's making */
    size_t borrower; /* which, LHI_NONE: not known */
} lhi_hearing;

static const char hidden_packet[] =
    "a packet that waits with the MDL in another driver may lie in a page that is not in this dump";

static void settle(lhi_record *r, lhi_outcome outcome, size_t blamed, const char *why)
{
    r->outcome = outcome;
    r->blamed = blamed;
    r->why = why;
}

/* Nobody: for lack of a page where one could tell more, else because nothing does. */
static void settle_nobody(const lhi_case *c, lhi_record *r, const char *why)
{
    settle(r, lhi_case_pool_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED, LHI_NONE,
           lhi_case_pool_could_hide(c) ? hidden_packet : why);
}

/* A piece of it waits elsewhere: following that is the packet's rule. */
static bool is_split(const lhi_record *r, size_t packet)
{
    return r->packet == packet && r->judged_packet != packet && r->judged_packet != LHI_NONE;
}

static lh_status hear(lhi_case *c, size_t record, size_t party, lhi_hearing *out, lh_error *err)
{
    lhi_vec packets = {0};
    lh_status status = lhi_case_packets_of(c, record, &packets, err);
    for (size_t i = 0; status == LH_OK && i < packets.count; i++) {
        const lhi_packet *packet = &c->packets[packets.data[i]];
        if (packet->contradiction) { /* not believed, and still it may have been passed on */
            out->against =
                out->against ||
                (packet->irp->state == LHI_IRP_PENDING && packet->irp->origin != LHI_ORIGIN_DRIVER &&
                 !lhi_case_same_driver(c, packet->at, party) && lhi_case_was_sent(c, packet, party, true));
            continue;
        }
        if (packet->irp->origin == LHI_ORIGIN_DRIVER) {
            bool own = lhi_case_same_driver(c, packet->maker, party);
            out->agrees = out->agrees || own;
            out->borrowed = out->borrowed || !own;
            out->borrower = own ? out->borrower : packet->maker;
        } else if (packet->irp->state != LHI_IRP_PENDING) {
            continue;
        } else if (is_split(&c->records[record], packets.data[i])) {
            out->passed_on = true;
        } else if (lhi_case_same_driver(c, packet->at, party)) {
            out->agrees = true;
        } else if (packet->irp->origin == LHI_ORIGIN_THREADED || lhi_case_was_sent(c, packet, party, true)) {
            out->passed_on = true;
        } else {
            out->against = true;
        }
    }
    lhi_vec_free(&packets);
    return status;
}

/* Can it have locked? Its own imports decide: in the trace it called the kernel, not a framework. */
static lhi_outcome may_lock(lhi_case *c, size_t party, const char **why)
{
    const lhi_party *p = &c->parties[party];
    lhi_answer can = lhi_case_can_lock(c, party);
    bool unloaded = p->driver.has_module && p->driver.module.unloaded;
    if (can == LHI_YES || unloaded || p->silent)
        return LHI_OUTCOME_NAMED;
    if (can == LHI_NO || p->framework) {
        *why = "the driver that the lock tracker's trace shows imports no routine that locks: the kernel "
               "locked on its behalf";
        return LHI_OUTCOME_UNATTRIBUTED;
    }
    *why = "whether the driver that the lock tracker's trace shows can lock pages is not in this dump";
    return LHI_OUTCOME_INSUFFICIENT;
}

static lh_status judge_driver(lhi_case *c, lhi_lock *lock, size_t record, lh_error *err)
{
    lhi_record *r = &c->records[record];
    lhi_hearing hearing = {.borrower = LHI_NONE};
    lhi_custody custody = {0};
    lh_status status = hear(c, record, lock->locker, &hearing, err);
    if (status != LH_OK)
        return status;
    lock->agrees = hearing.agrees;
    lock->borrowed = hearing.borrowed;
    lock->rule = hearing.passed_on && !hearing.against ? lhi_rule_name(LHI_RULE_TRACKER_PASSED_ON)
                 : hearing.borrowed && !hearing.agrees ? lhi_rule_name(LHI_RULE_TRACKER_BORROWED)
                                                       : lhi_rule_name(LHI_RULE_TRACKER_DRIVER);
    if (hearing.against) {
        settle_nobody(c, r,
                      "the lock tracker shows another driver than the one in which a packet with the MDL "
                      "waits, and the former was never sent that packet");
        r->holder = LHI_NONE;
        return LH_OK;
    }
    if (hearing.passed_on) /* on completion the I/O manager unlocks what the packet has: its rule decides */
        return LH_OK;
    if (lhi_case_pool_could_hide(c)) {
        settle(r, LHI_OUTCOME_INSUFFICIENT, LHI_NONE, hidden_packet);
        return LH_OK;
    }
    const char *why =
        lock->tracker.address == 0
            ? "by the callers that the bug check names it locked the pages, and never unlocked them"
        : hearing.agrees
            ? "by the kernel's lock tracker it locked the pages, and the packet with them is its own"
            : "by the kernel's lock tracker it locked the pages, and never unlocked them";
    lhi_outcome outcome = may_lock(c, lock->locker, &why);
    if (outcome == LHI_OUTCOME_NAMED) {
        status = lhi_case_ask_custody(c, lock, hearing.borrower, hearing.agrees, &custody, err);
        if (status != LH_OK)
            return status;
        outcome = custody.outcome;
        why = custody.why ? custody.why : why;
        r->shared = custody.shared;
    }
    if (outcome == LHI_OUTCOME_NAMED)
        r->holder = lock->locker;
    settle(r, outcome, outcome == LHI_OUTCOME_NAMED ? lock->locker : LHI_NONE, why);
    return LH_OK;
}

/* A library locked: a packet tells for whom, unless its maker is none that the trace shows. */
static void judge_library(lhi_case *c, const lhi_lock *lock, lhi_record *r)
{
    const lhi_packet *packet = r->judged_packet != LHI_NONE ? &c->packets[r->judged_packet] : NULL;
    bool made = packet && packet->irp->origin == LHI_ORIGIN_DRIVER;
    if (r->outcome == LHI_OUTCOME_NAMED && (!made || lhi_case_same_driver(c, packet->maker, lock->client)))
        return;
    if (r->outcome == LHI_OUTCOME_INSUFFICIENT && packet)
        return;
    settle_nobody(
        c, r,
        lock->client != LHI_NONE
            ? "a library of Windows locked for a client: the driver behind it in the lock tracker's "
              "trace is the first suspect, and no packet says so"
            : "a library of Windows locked for a client, and the lock tracker's trace does not show "
              "which");
}

static bool sent_to(const lhi_packet *packet, uint64_t device)
{
    for (size_t i = 0; i < packet->irp->slot_count; i++)
        if (packet->irp->slots[i].device == device)
            return true;
    return false;
}

/* The I/O manager locked for a request to a device: that request's packet decides, and no other. */
static void judge_manager(lhi_case *c, const lhi_lock *lock, lhi_record *r)
{
    const lhi_packet *packet = r->packet != LHI_NONE ? &c->packets[r->packet] : NULL;
    bool managers = packet && packet->irp->origin != LHI_ORIGIN_DRIVER;
    if (managers && sent_to(packet, lock->device.address))
        return;
    settle_nobody(
        c, r,
        managers ? "the packet that names the MDL was not sent to the device that the I/O manager locked for"
                 : "the I/O manager locked for a request to a device, and its packet is not there any more");
    r->holder = LHI_NONE;
}

/* Nothing but nt in the trace. */
static void judge_kernel(lhi_case *c, const lhi_lock *lock, lhi_record *r)
{
    bool managers = r->packet != LHI_NONE && c->packets[r->packet].irp->origin != LHI_ORIGIN_DRIVER;
    bool whole = lock->tracker.trace_size >= 3 && lock->tracker.trace_size < LHI_TRACE;
    if (managers)
        return;
    if (!whole || r->packet != LHI_NONE || lhi_case_pool_could_hide(c)) {
        settle_nobody(c, r, lock->why);
        return;
    }
    settle(r, LHI_OUTCOME_KERNEL, lock->locker,
           "by its own lock tracker the kernel locked the pages, and no driver called for it");
    r->holder = LHI_NONE; /* whoever keeps a pointer watches */
}

static lh_status judge_lock(lhi_case *c, lhi_lock *lock, lh_error *err)
{
    lhi_record *r = &c->records[lock->record];
    switch (lock->by) {
    case LHI_LOCK_BY_DRIVER:
        return judge_driver(c, lock, lock->record, err);
    case LHI_LOCK_BY_LIBRARY:
        lock->rule = lhi_rule_name(LHI_RULE_TRACKER_LIBRARY);
        judge_library(c, lock, r);
        return LH_OK;
    case LHI_LOCK_BY_MANAGER:
        lock->rule = lhi_rule_name(LHI_RULE_TRACKER_MANAGER);
        judge_manager(c, lock, r);
        return LH_OK;
    case LHI_LOCK_BY_KERNEL:
        lock->rule = lhi_rule_name(LHI_RULE_TRACKER_KERNEL);
        judge_kernel(c, lock, r);
        return LH_OK;
    case LHI_LOCK_BY_NOBODY:
        lock->rule = lhi_rule_name(LHI_RULE_TRACKER_NO_MODULE);
        settle_nobody(c, r, lock->why);
        return LH_OK;
    case LHI_LOCK_BY_UNKNOWN:
        break;
    }
    if (lock->absence != LH_PRESENT)
        settle(r, LHI_OUTCOME_INSUFFICIENT, LHI_NONE, lock->why);
    else
        settle_nobody(c, r, lock->why);
    return LH_OK;
}

/* ------------------------------------------------------------------ ledger */

/* A lock whose MDL is no longer there as one, or not in the dump: the tracker describes it. */
static lhi_record *stand_in(lhi_case *c, const lhi_tracker *tracker)
{
    lhi_record *r = lhi_case_new_record(c);
    if (!r)
        return NULL;
    r->mdl = (lhi_mdl){
        .address = tracker->mdl,
        .klass = LHI_MDL_CHARGED,
        .reason = "a lock tracker tells of it; what lies there now describes no such pages",
        .process = tracker->process,
        .start_va = tracker->start_va,
        .byte_offset = tracker->offset,
        .byte_count = tracker->length,
        .pages = tracker->pages,
    };
    r->process = tracker->process;
    r->state = LH_MDL_UNKNOWN;
    return r;
}

/* The lock stands: the kernel drops the tracker when it unlocks. */
static void stand(lhi_record *r, const lhi_tracker *tracker)
{
    bool described = r->mdl.klass == LHI_MDL_CHARGED && r->addresses.count; /* not a stand-in */
    r->in_ledger = true;
    r->copy = false;
    r->state = r->freed ? LH_MDL_FREED_LOCKED : described ? LH_MDL_LOCKED : LH_MDL_UNKNOWN;
    if (tracker->address != 0)
        r->mdl.pages = tracker->pages; /* what was charged, whatever was edited since */
}

/* 0x76 has a header where Windows gave the tracking up (facts A.2): from then on an unlock leaves its
 * tracker, and an MDL may be locked anew without one. */
static bool is_given_up(const lhi_case *c)
{
    return c->code == 0x76;
}

/* The MDL still is the lock that the tracker tells of. */
static bool is_lock_of(const lhi_record *r, const lhi_tracker *tracker)
{
    const lhi_mdl *mdl = &r->mdl;
    return mdl->klass == LHI_MDL_CHARGED && mdl->start_va == tracker->start_va &&
           mdl->byte_offset == tracker->offset && mdl->byte_count == tracker->length &&
           (tracker->switched || mdl->first_frame == 0 || mdl->first_frame == tracker->first_frame);
}

static lh_status tie(lhi_case *c, lh_error *err)
{
    lhi_map addresses = {0};
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < c->record_count; i++)
        for (size_t k = 0; status == LH_OK && k < c->records[i].addresses.count; k++)
            if (!lhi_map_put(&addresses, c->records[i].addresses.data[k], i))
                status = lhi_fail_memory(err);
    for (size_t i = 0; status == LH_OK && i < c->lock_count; i++) {
        lhi_lock *lock = &c->locks[i];
        size_t record = lhi_map_get(&addresses, lock->tracker.mdl);
        bool taken = record != SIZE_MAX && c->records[record].lock != LHI_NONE;
        if (taken || (record != SIZE_MAX && c->records[record].refuted))
            continue; /* no MDL is locked twice, and no lock stands on a page without a reference */
        if (record == SIZE_MAX && lock->tracker.address == 0)
            continue; /* the parameters do not say what it described */
        if (is_given_up(c) && (record == SIZE_MAX || !is_lock_of(&c->records[record], &lock->tracker))) {
            lock->why =
                "Windows gave up tracking this process, and since then an unlock leaves its tracker: the "
                "MDL is no longer the lock that this one tells of";
            continue;
        }
        if (record == SIZE_MAX) {
            if (!stand_in(c, &lock->tracker)) {
                status = lhi_fail_memory(err);
                break;
            }
            record = c->record_count - 1;
        }
        lock->record = record;
        c->records[record].lock = i;
        stand(&c->records[record], &lock->tracker);
    }
    lhi_map_free(&addresses);
    return status;
}

/* The trackers account for every page, so that there are no others. */
static bool account_for_all(const lhi_case *c)
{
    const lhi_trackers *trackers = &c->trackers;
    return trackers->count && !is_given_up(c) && !trackers->damaged && trackers->absence == LH_PRESENT &&
           trackers->sum == c->charged;
}

/* Locks of which no tracker was found. */
static void judge_untracked(lhi_case *c)
{
    const lhi_trackers *trackers = &c->trackers;
    bool all = account_for_all(c);
    bool unread = !trackers->not_public && !trackers->complete;
    for (size_t i = 0; i < c->record_count; i++) {
        lhi_record *r = &c->records[i];
        if (!(r->in_ledger || r->copy) || r->lock != LHI_NONE)
            continue;
        if (all) {
            r->in_ledger = false;
            r->untracked = true;
        } else if (unread && r->in_ledger) {
            settle(r, LHI_OUTCOME_INSUFFICIENT, LHI_NONE,
                   trackers->damaged ? "the lock trackers of the process are damaged, and one of them would "
                                       "tell who locked"
                                     : "the lock tracker that would tell who locked is not in this dump");
        }
    }
}

/* The drivers that the outcomes name, and the ledger, anew. */
static bool sum_up(lhi_case *c)
{
    uint64_t before = c->explained;
    bool whole = true;
    c->named_count = 0;
    c->explained = 0;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        size_t blamed = lhi_case_blamed(c, r);
        if (!r->in_ledger)
            continue;
        c->explained += r->mdl.pages;
        if ((r->outcome == LHI_OUTCOME_NAMED || r->outcome == LHI_OUTCOME_KERNEL) && blamed != LHI_NONE)
            whole = whole && lhi_case_name(c, blamed, r->mdl.pages, 0);
    }
    /* Where the trackers account for all pages, no copy is in doubt. */
    c->explained_most = account_for_all(c) ? c->explained : c->explained_most - before + c->explained;
    c->explained_least = c->explained;
    c->unexplained = c->charged_known && c->charged > c->explained ? c->charged - c->explained : 0;
    return whole;
}

lh_status lhi_case_judge_locks(lhi_case *c, lh_error *err)
{
    lh_status status = tie(c, err);
    if (status == LH_OK)
        status = lhi_case_find_keepers(c, err);
    for (size_t i = 0; status == LH_OK && i < c->lock_count; i++) {
        if (i % 64 == 0)
            status = lhi_case_poll(c, err);
        if (status == LH_OK && c->locks[i].record != LHI_NONE)
            status = judge_lock(c, &c->locks[i], err);
    }
    if (status == LH_OK)
        judge_untracked(c);
    if (status == LH_OK && !sum_up(c))
        status = lhi_fail_memory(err);
    return status;
}
