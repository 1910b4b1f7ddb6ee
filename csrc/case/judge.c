/* The outcome of each lock: who owes the unlock, or why that can't be said. */
#include "case/case.h"

#define MOST_IN_CHAIN 64 /* packets considered for one MDL */
#define CHAIN_DEPTH   64

static const char holders_rule[] = "holders beyond packets";
static const char holders_needs[] =
    "a version that follows pointers from device extensions, driver data and pool blocks to an MDL";

/* Packets that lead to a record, directly or through the live MDLs in front of it. */
static size_t packets_of(const lhi_case *c, size_t record, size_t *out, size_t count, unsigned depth)
{
    const lhi_record *r = &c->records[record];
    for (size_t i = 0; i < r->packets.count && count < MOST_IN_CHAIN; i++) {
        size_t q = r->packets.data[i];
        bool known = false;
        for (size_t k = 0; k < count; k++)
            known = known || out[k] == q;
        if (!known)
            out[count++] = q;
    }
    for (size_t i = 0; depth && i < r->predecessors.count && i < 8 && count < MOST_IN_CHAIN; i++) {
        const lhi_record *before = &c->records[r->predecessors.data[i]];
        if (!before->freed && !before->refuted)
            count = packets_of(c, r->predecessors.data[i], out, count, depth - 1);
    }
    return count;
}

static bool is_managers(const lhi_packet *packet)
{
    return packet->irp->state == LHI_IRP_PENDING &&
           (packet->irp->origin == LHI_ORIGIN_MANAGER || packet->irp->origin == LHI_ORIGIN_THREADED);
}

/* Other objects that agree with the packet: more of them make it the more credible of two. */
static unsigned credit(const lhi_case *c, const lhi_packet *packet)
{
    unsigned points = 0;
    points += packet->irp->links == LHI_LINKS_LINKED;
    points += packet->irp->thread != 0 && packet->thread.absence == LH_PRESENT &&
              packet->thread.process == c->target;
    points += packet->irp->file != 0 && packet->file.absence == LH_PRESENT;
    points += packet->device.listed;
    return points;
}

static void settle(lhi_record *record, lhi_outcome outcome, const char *why)
{
    record->outcome = outcome;
    record->why = why;
}

static bool absent(lh_absence absence)
{
    return absence != LH_PRESENT && absence != LH_ABSENT_LAYOUT;
}

static lh_status judge_managers(lhi_case *c, size_t record, const size_t *packets, size_t count,
                                lh_error *err)
{
    lhi_record *r = &c->records[record];
    size_t best = LHI_NONE;
    bool tie = false;
    for (size_t i = 0; i < count; i++) {
        const lhi_packet *packet = &c->packets[packets[i]];
        if (!is_managers(packet))
            continue;
        if (best == LHI_NONE || credit(c, packet) > credit(c, &c->packets[best])) {
            best = packets[i];
            tie = false;
        } else if (credit(c, packet) == credit(c, &c->packets[best])) {
            tie = tie || !lhi_case_same_driver(c, packet->at, c->packets[best].at);
        }
    }
    r->packet = r->judged_packet = best;
    r->holder = c->packets[best].at;
    if (tie) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED,
               "two pending packets in different drivers name this MDL, and none is more credible");
        r->holder = LHI_NONE;
        return LH_OK;
    }
    lhi_piece_end end = {0};
    lh_status status = lhi_case_follow_split(c, record, best, &end, err);
    if (status != LH_OK)
        return status;
    r->judged_packet = end.packet;
    settle(r, end.outcome, end.why);
    if (end.outcome == LHI_OUTCOME_NAMED || end.outcome == LHI_OUTCOME_KERNEL)
        return lhi_case_name(c, end.party, r->mdl.pages, 0) ? LH_OK : lhi_fail_memory(err);
    return LH_OK;
}

/* A driver's own packet: its maker locked, its maker owes. */
static lh_status judge_made(lhi_case *c, size_t record, const size_t *packets, size_t count, lh_error *err)
{
    lhi_record *r = &c->records[record];
    size_t root = LHI_NONE;
    bool several = false;
    for (size_t i = 0; i < count; i++) {
        const lhi_packet *packet = &c->packets[packets[i]];
        lhi_irp_state state = packet->irp->state;
        if (state != LHI_IRP_PENDING && state != LHI_IRP_RETURNED)
            continue;
        /* A packet made by the driver in which another one waits passes that one's MDL on. */
        bool passed_on = false;
        for (size_t k = 0; k < count; k++) {
            const lhi_packet *other = &c->packets[packets[k]];
            passed_on =
                passed_on || (k != i && other->irp->state == LHI_IRP_PENDING && packet->maker != LHI_NONE &&
                              !lhi_case_same_driver(c, other->maker, packet->maker) &&
                              lhi_case_same_driver(c, other->at, packet->maker));
        }
        if (passed_on)
            continue;
        if (root == LHI_NONE)
            root = packets[i];
        else if (!lhi_case_same_driver(c, c->packets[root].maker, packet->maker))
            several = true;
        else if (state == LHI_IRP_PENDING && c->packets[root].irp->state != LHI_IRP_PENDING)
            root = packets[i];
    }
    if (root == LHI_NONE) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED, "the packets that name it pass it on in a circle");
        return LH_OK;
    }
    const lhi_packet *packet = &c->packets[root];
    r->packet = r->judged_packet = root;
    if (several) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED, "packets of several drivers name this MDL");
        return LH_OK;
    }
    if (packet->irp->flags & LHI_IRP_ASSOCIATED) {
        settle(r,
               packet->master == LHI_NONE && lhi_case_pool_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT
                                                                         : LHI_OUTCOME_UNATTRIBUTED,
               "a piece of a request names it, and the request itself is not there");
        return LH_OK;
    }
    if (packet->maker == LHI_NONE) {
        settle(r,
               absent(packet->maker_absence) || lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT
                                                                       : LHI_OUTCOME_UNATTRIBUTED,
               packet->maker_reason);
        return LH_OK;
    }
    r->holder = packet->maker;
    const lhi_party *maker = &c->parties[packet->maker];
    if (maker->driver.absence != LH_PRESENT) {
        settle(r, absent(maker->driver.absence) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "the file name of the driver that made the packet is not known");
        r->holder = LHI_NONE;
        return LH_OK;
    }
    if (lhi_case_pool_could_hide(c)) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "a request whose MDL the packet only borrows may lie in a page that is not in this dump");
        return LH_OK;
    }
    if (maker->library) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED, "a library driver made the packet for one of its clients");
        return LH_OK;
    }
    lhi_answer can = maker->driver.is_kernel ? LHI_YES : lhi_case_can_lock(c, packet->maker);
    if (can == LHI_UNKNOWN) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "whether the driver that made the packet can lock pages is not in this dump");
    } else if (can == LHI_NO) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED,
               "the driver that made the packet imports no routine that locks pages: it borrowed the MDL");
    } else {
        settle(r, maker->driver.is_kernel ? LHI_OUTCOME_KERNEL : LHI_OUTCOME_NAMED,
               packet->irp->state == LHI_IRP_PENDING
                   ? "it made the packet, locked its pages and owes the unlock, wherever the packet waits"
                   : "its own packet is back with it, and the pages are still locked");
        if (!lhi_case_name(c, packet->maker, r->mdl.pages, 0))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

/* Nothing anywhere points to it but packets that are over, and it is a block of its own, which no pointer to
 * a larger one could mean.
 */
static bool is_unowned(const lhi_case *c, const lhi_record *r)
{
    lhi_pool_block block = {0};
    lhi_pool_block_at(c->kernel, r->mdl.address, &block);
    return r->other_pointers == 0 && r->predecessors.count == 0 && block.found &&
           block.body == r->mdl.address;
}

/* No packet that counts names it. */
static bool judge_without_packet(lhi_case *c, lhi_record *r)
{
    if (lhi_case_could_hide(c)) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "no packet names it, and one may lie in a page that is not in this dump");
    } else if (r->state == LH_MDL_UNKNOWN) {
        settle(r, LHI_OUTCOME_INSUFFICIENT, "no packet names it, and whether it was freed can't be told");
    } else if (is_unowned(c, r)) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED, "nothing in this dump points to the MDL any more");
        return true;
    } else {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "no packet names it, and who else keeps a pointer to it is not asked by this version");
    }
    return lhi_case_skip_rule(c, holders_rule, holders_needs);
}

static lh_status judge_one(lhi_case *c, size_t record, lh_error *err)
{
    lhi_record *r = &c->records[record];
    size_t packets[MOST_IN_CHAIN];
    if (r->freed) {
        settle(r, LHI_OUTCOME_UNATTRIBUTED, "freed without being unlocked: pointers from before name nobody");
        return LH_OK;
    }
    size_t count = packets_of(c, record, packets, 0, CHAIN_DEPTH);
    bool managers = false, made = false, unknown = false, unreadable = false;
    for (size_t i = 0; i < count; i++) {
        const lhi_packet *packet = &c->packets[packets[i]];
        lhi_irp_state state = packet->irp->state;
        managers = managers || is_managers(packet);
        unreadable = unreadable || state == LHI_IRP_UNREADABLE;
        unknown = unknown || (state == LHI_IRP_PENDING && packet->irp->origin == LHI_ORIGIN_UNKNOWN);
        made =
            made || (packet->irp->origin == LHI_ORIGIN_DRIVER &&
                     (state == LHI_IRP_PENDING || (state == LHI_IRP_RETURNED && packet->maker != LHI_NONE)));
    }
    if (managers)
        return judge_managers(c, record, packets, count, err);
    if (unreadable) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "what names it looks like a packet that is only partly in this dump");
        return LH_OK;
    }
    if (unknown) {
        settle(r, lhi_case_pool_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
               "who made the packet that names it can't be told");
        return LH_OK;
    }
    if (made)
        return judge_made(c, record, packets, count, err);
    return judge_without_packet(c, r) ? LH_OK : lhi_fail_memory(err);
}

lh_status lhi_case_judge(lhi_case *c, lh_error *err)
{
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < c->record_count; i++)
        if (c->records[i].in_ledger)
            status = judge_one(c, i, err);
    return status;
}
