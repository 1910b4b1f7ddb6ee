/* The outcome of each lock: who owes the unlock, or why that can't be said. */
#include "case/case.h"
#include "case/holders.h"
#include "case/keepers.h"
#include "nt/library.h"

static const char freed_unknown[] =
    "whether the MDL was freed is told by lists of freed MDLs that are not wholly in this dump";

static void settle(lhi_record *record, lhi_outcome outcome, const char *why)
{
    record->outcome = outcome;
    record->why = why;
}

static bool is_managers(const lhi_packet *packet)
{
    return packet->irp->state == LHI_IRP_PENDING && !packet->contradiction &&
           lhi_irp_is_managers(packet->irp);
}

/* A driver's own packet that is neither completed nor freed. */
static bool is_made(const lhi_packet *packet)
{
    lhi_irp_state state = packet->irp->state;
    return packet->irp->origin == LHI_ORIGIN_DRIVER &&
           (state == LHI_IRP_PENDING || (state == LHI_IRP_RETURNED && packet->maker != LHI_NONE));
}

/* It could lie on a list of freed MDLs that this dump does not have whole. */
static bool may_be_freed(const lhi_case *c, const lhi_record *r)
{
    return !r->freed && !c->freed.complete && (r->mdl.flags & LHI_MDL_ALLOCATED_FIXED_SIZE) != 0 &&
           lhi_case_could_hide(c);
}

lh_status lhi_case_packets_of(lhi_case *c, size_t record, lhi_vec *out, lh_error *err)
{
    lhi_vec way = {0}; /* records: a breadth-first walk against the direction of Next */
    lh_status status = LH_OK;
    c->stamp++;
    if (!lhi_vec_push(&way, record))
        return lhi_fail_memory(err);
    for (size_t at = 0; status == LH_OK && at < way.count; at++) {
        const lhi_record *r = &c->records[way.data[at]];
        for (size_t i = 0; status == LH_OK && i < r->packets.count; i++) {
            size_t q = r->packets.data[i];
            const lhi_irp *irp = c->packets[q].irp;
            bool counts =
                irp->state == LHI_IRP_PENDING || irp->state == LHI_IRP_RETURNED || lhi_irp_is_lost(irp);
            if (!counts || c->stamps[q] == c->stamp)
                continue;
            c->stamps[q] = c->stamp;
            if (!lhi_vec_push(out, q))
                status = lhi_fail_memory(err);
        }
        for (size_t i = 0; status == LH_OK && i < r->predecessors.count; i++) {
            size_t before = r->predecessors.data[i];
            bool seen = c->records[before].freed || c->records[before].refuted;
            for (size_t k = 0; k < way.count && !seen; k++)
                seen = way.data[k] == before;
            if (seen)
                continue;
            if (way.count >= c->options.limits.chain_length) {
                lhi_case_limit(c, "chain_length");
                break;
            }
            c->records[record].front_unknown = c->records[record].front_unknown ||
                                               may_be_freed(c, &c->records[before]) ||
                                               c->records[before].frames_unknown != 0;
            if (!lhi_vec_push(&way, before))
                status = lhi_fail_memory(err);
        }
    }
    lhi_vec_free(&way);
    return status;
}

/* Other objects that agree with the packet: which of several to show. */
static unsigned credit(const lhi_packet *packet)
{
    unsigned points = packet->irp->origin == LHI_ORIGIN_MANAGER ? 4 : 0;
    points += packet->irp->links == LHI_LINKS_LINKED;
    points += packet->irp->thread != 0 && packet->thread.absence == LH_PRESENT &&
              packet->thread.process == packet->process;
    points += packet->irp->file != 0 && packet->file.absence == LH_PRESENT;
    points += packet->device.listed == LHI_YES;
    return points;
}

/* What would show that a request's pointer to an MDL is a leftover, and is not in this dump; NULL: nothing.
 */
static const char *lost_books(const lhi_case *c, size_t record, const lhi_packet *packet)
{
    const lhi_record *r = &c->records[record];
    if (may_be_freed(c, r))
        return freed_unknown;
    bool lost = lhi_case_could_hide(c) || lhi_region_lacks(&c->coverage.pfn) != 0;
    if (packet->mdl != record && r->front_unknown && lost)
        return "whether the MDLs in front of it still stand is told by lists or by reference counts that are "
               "not in this dump";
    return NULL;
}

static lh_status judge_managers(lhi_case *c, size_t record, const lhi_vec *packets, lh_error *err)
{
    lhi_record *r = &c->records[record];
    size_t best = LHI_NONE;
    bool several = false;
    for (size_t i = 0; i < packets->count; i++) {
        size_t q = packets->data[i];
        if (is_managers(&c->packets[q]) &&
            (best == LHI_NONE || credit(&c->packets[q]) > credit(&c->packets[best])))
            best = q;
    }
    /* A thread's request beside one of the I/O manager is a piece of it, and judged as such. */
    for (size_t i = 0; i < packets->count; i++) {
        const lhi_packet *other = &c->packets[packets->data[i]];
        several = several || (is_managers(other) && other->irp->origin == c->packets[best].irp->origin &&
                              !lhi_case_same_driver(c, other->at, c->packets[best].at));
    }
    r->packet = r->judged_packet = best;
    r->holder = c->packets[best].at;
    if (several || r->ambiguous) {
        settle(r,
               r->ambiguous && (r->frames_unknown || lhi_case_could_hide(c)) ? LHI_OUTCOME_INSUFFICIENT
                                                                             : LHI_OUTCOME_UNATTRIBUTED,
               several ? "pending packets in different drivers name this MDL"
                       : "more pending packets name descriptions of these pages than locks stand on them");
        r->holder = LHI_NONE;
        return LH_OK;
    }
    lhi_piece_end end = {0};
    lh_status status = lhi_case_follow_split(c, record, best, &end, err);
    if (status != LH_OK)
        return status;
    r->judged_packet = end.packet;
    const char *doubt =
        c->packets[best].doubt ? c->packets[best].doubt : lost_books(c, record, &c->packets[best]);
    if (end.outcome == LHI_OUTCOME_NAMED && doubt) {
        end.outcome = LHI_OUTCOME_INSUFFICIENT;
        end.why = doubt;
    }
    settle(r, end.outcome, end.why);
    if (end.outcome == LHI_OUTCOME_NAMED || end.outcome == LHI_OUTCOME_KERNEL)
        return lhi_case_name(c, end.party, r->mdl.pages, 0) ? LH_OK : lhi_fail_memory(err);
    return LH_OK;
}

/* The packet that the others of a list are passed on from: a packet made by the driver in which another one
 * waits has that one's MDL. LHI_NONE: none, or *several of different makers. */
static size_t find_root(const lhi_case *c, const lhi_vec *packets, bool *several)
{
    size_t root = LHI_NONE;
    for (size_t i = 0; i < packets->count; i++) {
        const lhi_packet *packet = &c->packets[packets->data[i]];
        bool passed_on = false;
        if (!is_made(packet))
            continue;
        for (size_t k = 0; k < packets->count && k < 256 && !passed_on; k++) {
            const lhi_packet *other = &c->packets[packets->data[k]];
            passed_on = k != i && other->irp->state == LHI_IRP_PENDING && packet->maker != LHI_NONE &&
                        !lhi_case_same_driver(c, other->maker, packet->maker) &&
                        lhi_case_same_driver(c, other->at, packet->maker);
        }
        if (passed_on)
            continue;
        if (root == LHI_NONE)
            root = packets->data[i];
        else if (!lhi_case_same_driver(c, c->packets[root].maker, packet->maker))
            *several = true;
        else if (packet->irp->state == LHI_IRP_PENDING && c->packets[root].irp->state != LHI_IRP_PENDING)
            root = packets->data[i];
    }
    return root;
}

/* Does a pointer to the MDL stand in the packet, in what its locations point to, or in its maker's own
 * memory? Then it is part of the same request. Anything else may be the true owner's. */
static lh_status is_own_pointer(lhi_case *c, const lhi_packet *packet, uint64_t va, bool *own, lh_error *err)
{
    size_t party = LHI_NONE;
    if (!lhi_case_owner(c, va, &party, err))
        return LH_ERR_NO_MEMORY;
    /* In somebody's own memory: then whose decides. */
    *own =
        party != LHI_NONE ? lhi_case_same_driver(c, party, packet->maker) : lhi_case_in_request(packet, va);
    return LH_OK;
}

static lh_status others_are_own(lhi_case *c, const lhi_record *r, const lhi_packet *packet, bool *own,
                                lh_error *err)
{
    const size_t kept = sizeof r->others / sizeof r->others[0];
    lh_status status = LH_OK;
    size_t place = LHI_NONE;
    if (!lhi_case_owner(c, r->mdl.address, &place, err))
        return LH_ERR_NO_MEMORY;
    /* An MDL that lies in another driver's own memory is that driver's. */
    *own = r->other_pointers <= kept && (place == LHI_NONE || lhi_case_same_driver(c, place, packet->maker));
    for (size_t i = 0; status == LH_OK && *own && i < r->other_pointers; i++)
        status = is_own_pointer(c, packet, r->others[i], own, err);
    return status;
}

/* Where it can't be told whether the MDL was freed, MdlAddress alone may be a leftover: a driver that uses
 * its packet again need not clear it. Then something else of the request must speak of the same MDL: another
 * pointer of the maker's, or the length that was asked for. */
static bool is_vouched(const lhi_record *r, const lhi_packet *packet)
{
    bool asked = false;
    if (packet->irp->state == LHI_IRP_PENDING) {
        for (size_t i = packet->irp->current - 1u; i < packet->irp->slot_count; i++)
            asked = asked || (uint32_t)packet->irp->slots[i].parameters[0] == r->mdl.byte_count ||
                    (uint32_t)packet->irp->slots[i].parameters[1] == r->mdl.byte_count;
    }
    return asked || r->other_pointers != 0 || r->predecessors.count != 0;
}

/* The library that made the packet locks for its clients. Of one that is found by a stack alone only some do:
 * others are given MDLs. */
static bool is_locked_for(const lhi_case *c, const lhi_packet *packet)
{
    return packet->library != LHI_NONE &&
           (!packet->by_stack || lhi_case_serves(c, packet->library, LHI_CLIENT_LOCKS));
}

/* A driver's own packet: its maker locked, its maker owes. One that is back may be a leftover of an earlier
 * use, where a packet waits with the MDL that is believed no more for a contradiction. */
static lh_status judge_made(lhi_case *c, size_t record, const lhi_vec *packets, const char *contradiction,
                            lh_error *err)
{
    lhi_record *r = &c->records[record];
    bool several = false, own = true;
    size_t root = find_root(c, packets, &several);
    bool hidden = lhi_case_pool_could_hide(c);
    if (root == LHI_NONE) {
        settle(r, hidden ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "the packets that name it pass it on in a circle");
        return LH_OK;
    }
    const lhi_packet *packet = &c->packets[root];
    bool pending = packet->irp->state == LHI_IRP_PENDING;
    r->packet = r->judged_packet = root;
    if (several) {
        /* Who passed it on to whom is told by drivers and devices, which lie where something is missing. */
        settle(r, hidden ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "packets of several drivers name this MDL");
        return LH_OK;
    }
    if (!pending && contradiction) {
        settle(r, LHI_OUTCOME_INSUFFICIENT, contradiction);
        return LH_OK;
    }
    if (packet->irp->flags & LHI_IRP_ASSOCIATED) {
        settle(r, packet->master == LHI_NONE && hidden ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "a piece of a request names it, and the request itself is not there");
        return LH_OK;
    }
    if (packet->maker == LHI_NONE) {
        bool missing = lhi_case_is_missing(packet->maker_absence) || lhi_case_could_hide(c);
        settle(r, missing ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED, packet->maker_reason);
        return LH_OK;
    }
    const lhi_party *maker = &c->parties[packet->maker];
    if (maker->driver.absence != LH_PRESENT) {
        settle(r,
               lhi_case_is_missing(maker->driver.absence) ? LHI_OUTCOME_INSUFFICIENT
                                                          : LHI_OUTCOME_UNATTRIBUTED,
               maker->driver.doubt ? maker->driver.doubt
                                   : "the file name of the driver that made the packet is not known");
        return LH_OK;
    }
    r->holder = packet->maker;
    if (hidden) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "a request whose MDL the packet only borrows may lie in a page that is not in this dump");
        return LH_OK;
    }
    if (r->ambiguous || (!pending && (r->lists_unknown || r->state == LH_MDL_UNKNOWN))) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               r->ambiguous
                   ? "more packets name descriptions of these pages than locks stand on them"
                   : "whether the MDL was freed can't be told, and then the packet's pointer is a leftover");
        return LH_OK;
    }
    if (may_be_freed(c, r)) {
        settle(r, LHI_OUTCOME_INSUFFICIENT, freed_unknown);
        return LH_OK;
    }
    lh_status status = others_are_own(c, r, packet, &own, err);
    if (status != LH_OK)
        return status;
    if (!own && !c->holders) {
        r->open = true;
        return LH_OK;
    }
    if (!own && (status = lhi_case_ask_others(c, record, packet, &own, err)) != LH_OK)
        return status;
    if (!own)
        return LH_OK;
    if ((r->pool_unknown || r->lists_unknown) && !is_vouched(r, packet)) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "whether the MDL was freed can't be told, and nothing but the packet's MdlAddress says that "
               "it is "
               "of this request");
        return LH_OK;
    }
    bool emptied = false;
    if ((status = lhi_case_serves_emptied(c, packet, r->process, &emptied, err)) != LH_OK)
        return status;
    maker = &c->parties[packet->maker]; /* there may be more of them by now */
    if (emptied) {
        settle(r, lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "the packet serves a request of the process that has lost its MDL, and may carry that one");
        return LH_OK;
    }
    if (c->parties[packet->maker].library) {
        const bool missing = packet->client_absence != LH_PRESENT || lhi_case_could_hide(c);
        settle(r, missing ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "a library driver made the packet for one of its clients");
        return LH_OK;
    }
    if (packet->by_stack && lhi_case_could_hide(c)) {
        settle(
            r, LHI_OUTCOME_INSUFFICIENT,
            "who called the library that made the packet is told by stacks, and another thread's may lie in "
            "a page that is not in this dump");
        return LH_OK;
    }
    bool kernel = c->parties[packet->maker].driver.is_kernel;
    lhi_answer can = kernel || is_locked_for(c, packet) ? LHI_YES : lhi_case_can_lock(c, packet->maker);
    if (can == LHI_UNKNOWN && maker->silent) /* no page would tell: the weight does */
        can = LHI_YES;
    if (can == LHI_UNKNOWN && c->parties[packet->maker].framework) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "the driver that made the packet works through a framework, which may have locked for it");
        return lhi_case_skip_rule(c, LHI_RULE_FRAMEWORK, NULL) ? LH_OK : lhi_fail_memory(err);
    }
    if (can == LHI_UNKNOWN && maker->driver.has_module && maker->driver.module.unloaded) {
        settle(r, lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "the driver that made the packet has been unloaded: whether it can lock pages is gone");
    } else if (can == LHI_UNKNOWN) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "whether the driver that made the packet can lock pages is not in this dump");
    } else if (can == LHI_NO) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED,
               "the driver that made the packet imports no routine that locks pages: it borrowed the MDL");
    } else {
        settle(
            r, kernel ? LHI_OUTCOME_KERNEL : LHI_OUTCOME_NAMED,
            packet->library != LHI_NONE
                ? "a library of Windows made the packet for it: it owes the unlock, wherever the packet waits"
            : pending ? "it made the packet, locked its pages and owes the unlock, wherever the packet waits"
                      : "its own packet is back with it, and the pages are still locked");
        if (!lhi_case_name(c, packet->maker, r->mdl.pages, 0))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

size_t lhi_case_blamed(const lhi_case *c, const lhi_record *r)
{
    if (r->blamed != LHI_NONE)
        return r->blamed;
    if (r->judged_packet == LHI_NONE)
        return LHI_NONE;
    const lhi_packet *packet = &c->packets[r->judged_packet];
    return packet->irp->origin == LHI_ORIGIN_DRIVER && r->judged_packet == r->packet ? packet->maker
                                                                                     : packet->at;
}

static lh_status judge_one(lhi_case *c, size_t record, lh_error *err)
{
    lhi_record *r = &c->records[record];
    lhi_vec packets = {0};
    if (r->freed) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED, "freed without being unlocked: pointers from before name nobody");
        return LH_OK;
    }
    lh_status status = lhi_case_packets_of(c, record, &packets, err);
    bool managers = false, made = false, unknown = false, unreadable = false, damaged = false;
    const char *contradiction = NULL;
    for (size_t i = 0; i < packets.count; i++) {
        const lhi_packet *packet = &c->packets[packets.data[i]];
        managers = managers || is_managers(packet);
        made = made || is_made(packet);
        unreadable = unreadable || packet->irp->state == LHI_IRP_UNREADABLE;
        damaged = damaged || packet->irp->state == LHI_IRP_DAMAGED;
        unknown =
            unknown || (packet->irp->state == LHI_IRP_PENDING && packet->irp->origin == LHI_ORIGIN_UNKNOWN);
        if (packet->contradiction && packet->irp->state == LHI_IRP_PENDING)
            contradiction = packet->contradiction;
    }
    if (status != LH_OK) {
        /* nothing to judge with */
    } else if (managers) {
        status = judge_managers(c, record, &packets, err);
    } else if (unreadable) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "what names it looks like a packet that is only partly in this dump");
    } else if (damaged) {
        settle(r, lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "a packet that names it is damaged: its numbers do not hold together");
    } else if (unknown) {
        settle(r, lhi_case_pool_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "who made the packet that names it can't be told");
    } else if (made) {
        status = judge_made(c, record, &packets, contradiction, err);
    } else if (contradiction) {
        settle(r, lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               contradiction);
    } else if (!c->holders) {
        r->open = true;
    } else {
        status = lhi_case_judge_holders(c, record, err);
    }
    lhi_vec_free(&packets);
    return status;
}

/* Nothing is left of an earlier judging, which asked for the holders of other records. The stacks stay: they
 * are the same, and whoever looked for clients has read them before the first judging. */
static void begin(lhi_case *c)
{
    lhi_holders_free(c->holders);
    c->holders = NULL;
    c->holders_missing = 0;
    c->named_count = 0;
    for (size_t i = 0; i < c->record_count; i++)
        c->records[i].open = false;
}

lh_status lhi_case_judge(lhi_case *c, lh_error *err)
{
    lh_status status = LH_OK;
    bool open = false;
    begin(c);
    for (size_t i = 0; status == LH_OK && i < c->record_count; i++) {
        if (i % 64 == 0)
            status = lhi_case_poll(c, err);
        if (status == LH_OK && c->records[i].in_ledger)
            status = judge_one(c, i, err);
        open = open || c->records[i].open;
    }
    /* Where packets do not decide, who else keeps a pointer does: asked for all of them at once. Packets that
     * a limit left out make that an idle question. */
    if (status == LH_OK && open && !c->coverage.truncated)
        status = lhi_case_find_holders(c, err);
    for (size_t i = 0; status == LH_OK && open && i < c->record_count; i++) {
        if (c->records[i].open && c->holders)
            status = judge_one(c, i, err);
        else if (c->records[i].open)
            settle(&c->records[i], LHI_OUTCOME_INSUFFICIENT,
                   "a limit of the search was met before it was asked who keeps it");
    }
    return status;
}
