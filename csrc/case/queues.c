/* Whether the I/O manager's packets stand on the list of their thread or of their file.
 *
 * The I/O manager puts each request on one of those lists and takes it off at completion. A driver may copy
 * every field of a request into a packet of its own; it can't put that one on the list. */
#include "base/map.h"
#include "case/case.h"

#define MOST_QUEUED (1u << 20) /* entries followed in one case */
#define THREAD_SPAN 0x900u     /* more than any ETHREAD has (facts B.7) */

/* How far a list could be followed. */
enum { WHOLE = 1, CUT, BROKEN };

typedef struct lhi_queues {
    lhi_case *c;
    lhi_map heads;   /* address of a head -> WHOLE, CUT or BROKEN */
    lhi_map entries; /* entry -> 1, each on a list that leads back to its head */
    lhi_map blind;   /* head -> 1: the MDL of a request on its list is not there */
    lhi_map threads; /* thread -> its head, where no layout says where that lies */
    size_t left;
    bool failed; /* no memory */
} lhi_queues;

/* The neighbour of an entry, which must lead back to it. 0: there is none, and *state says why. */
static uint64_t neighbour(lhi_queues *q, uint64_t at, bool forward, size_t *state)
{
    const lhi_space *space = &q->c->kernel->space;
    uint64_t next = 0, back = 0;
    lh_absence absence = lhi_space_u64(space, at + (forward ? 0 : 8), &next);
    if (absence == LH_PRESENT && (!lhi_is_kernel(next) || next % 8 != 0)) {
        *state = BROKEN;
        return 0;
    }
    if (absence == LH_PRESENT)
        absence = lhi_space_u64(space, next + (forward ? 8 : 0), &back);
    if (absence == LH_PRESENT && back == at && q->left > 0) {
        q->left--;
        return next;
    }
    *state = lhi_case_is_missing(absence) || q->left == 0 ? CUT : BROKEN;
    return 0;
}

/* The MDL of a request is not in the dump: it may describe pages that another one describes too. */
static bool lacks_mdl(const lhi_queues *q, uint64_t entry)
{
    const lhi_layout *layout = q->c->kernel->layout;
    const lhi_space *space = &q->c->kernel->space;
    uint64_t irp = entry - layout->offsets[LHI_F_IRP_ThreadListEntry], mdl = 0;
    uint8_t header[LHI_MDL_HEADER];
    return lhi_space_u64(space, irp + layout->offsets[LHI_F_IRP_MdlAddress], &mdl) == LH_PRESENT &&
           lhi_is_kernel(mdl) && lhi_case_is_missing(lhi_space_get(space, mdl, header, sizeof header));
}

static size_t walk(lhi_queues *q, uint64_t head, bool forward)
{
    size_t state = WHOLE;
    for (uint64_t at = head; !q->failed;) {
        at = neighbour(q, at, forward, &state);
        if (at == 0 || at == head)
            break;
        q->failed =
            !lhi_map_put(&q->entries, at, 1) || (lacks_mdl(q, at) && !lhi_map_put(&q->blind, head, 1));
    }
    return state;
}

/* Enters what stands on a list, from both ends where the way is cut. */
static size_t follow(lhi_queues *q, uint64_t head)
{
    size_t state = lhi_map_get(&q->heads, head);
    if (state != SIZE_MAX)
        return state;
    state = walk(q, head, true);
    if (state != WHOLE && walk(q, head, false) == CUT)
        state = CUT;
    q->failed = q->failed || !lhi_map_put(&q->heads, head, state);
    return state;
}

/* The member of an entry's list that lies in its thread is the head. */
static uint64_t head_in_thread(lhi_queues *q, uint64_t entry, uint64_t thread, size_t *state)
{
    size_t known = lhi_map_get(&q->threads, thread);
    if (known != SIZE_MAX)
        return known;
    *state = BROKEN;
    for (uint64_t at = neighbour(q, entry, true, state); at != 0 && at != entry;
         at = neighbour(q, at, true, state)) {
        if (at < thread || at - thread >= THREAD_SPAN)
            continue;
        q->failed = !lhi_map_put(&q->threads, thread, at);
        return at;
    }
    return 0;
}

/* Is the entry on the list of a head? LHI_UNKNOWN also where there is no such list, and where it is damaged:
 * a dead thread's memory proves nothing. */
static lhi_answer ask(lhi_queues *q, uint64_t entry, uint64_t head, bool *cut)
{
    if (head == 0)
        return LHI_UNKNOWN;
    size_t state = follow(q, head);
    *cut = *cut || state == CUT;
    if (lhi_map_get(&q->entries, entry) != SIZE_MAX)
        return LHI_YES;
    return state == WHOLE ? LHI_NO : LHI_UNKNOWN;
}

/* Is the memory of the packet's thread still that thread's, so that its list can speak against the packet? Of
 * a process that has ended it may be free, overwritten, or another thread's (facts live-memory 12). */
static bool thread_speaks(const lhi_case *c, const lhi_packet *packet, uint64_t head)
{
    const lhi_irp *irp = packet->irp;
    const lhi_space *space = &c->kernel->space;
    uint64_t first = 0;
    if (irp->thread == 0 || packet->thread.absence == LH_ABSENT_LAYOUT)
        return true; /* whose thread it is of is asked elsewhere */
    if (packet->thread.absence != LH_PRESENT)
        return lhi_case_is_missing(packet->thread.absence);
    if (head == 0 &&
        lhi_space_u64(space, irp->address + c->kernel->layout->offsets[LHI_F_IRP_ThreadListEntry], &head) !=
            LH_PRESENT)
        return true;
    return packet->thread.process == packet->process && lhi_space_u64(space, head, &first) == LH_PRESENT &&
           lhi_is_kernel(first) && first % 8 == 0;
}

/* A packet that nobody below the I/O manager would get back: the marks of a user's request down to the file
 * in its topmost location, and no completion routine. A driver that copies the marks has to set one. That it
 * is pending, and has a file and the mode of a user, is known: one of the I/O manager on no list has. */
static bool returns_to_manager(const lhi_irp *irp)
{
    bool user_iosb = irp->user_iosb >= 0x10000 && irp->user_iosb < LHI_USER_END;
    if (!user_iosb || irp->thread == 0)
        return false;
    for (size_t i = 0; i < irp->slot_count; i++)
        if (irp->slots[i].completion != 0)
            return false;
    const lhi_slot *top = &irp->slots[irp->slot_count - 1];
    return top->device != 0 && top->file == irp->file;
}

/* Its list entry was never on a list, or leads to memory that is there no more. */
static bool leads_nowhere(const lhi_case *c, const lhi_irp *irp, uint64_t entry)
{
    uint64_t next = 0, back = 0;
    if (irp->links == LHI_LINKS_SELF || irp->links == LHI_LINKS_UNKNOWN)
        return true;
    return lhi_space_u64(&c->kernel->space, entry, &next) == LH_PRESENT && next == 0 &&
           lhi_space_u64(&c->kernel->space, entry + 8, &back) == LH_PRESENT && back == 0;
}

/* Nothing can be told from the lists: not from a thread's that is gone, nor of a request that was never put
 * on one and is one by all else. */
static bool lists_are_silent(const lhi_case *c, const lhi_packet *packet, uint64_t entry, uint64_t head)
{
    const lhi_irp *irp = packet->irp;
    if (irp->links == LHI_LINKS_LINKED)
        return false;
    return (irp->links != LHI_LINKS_SELF && !thread_speaks(c, packet, head)) ||
           (leads_nowhere(c, irp, entry) && returns_to_manager(irp));
}

static void look_up(lhi_queues *q, lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    const lhi_layout *layout = q->c->kernel->layout;
    uint64_t entry = irp->address + layout->offsets[LHI_F_IRP_ThreadListEntry];
    uint64_t by_thread = packet->thread.irp_list, by_file = 0, offset = 0;
    bool cut = lhi_case_is_missing(packet->thread.absence) || lhi_case_is_missing(packet->file.absence);
    bool self = irp->links == LHI_LINKS_SELF, broken = irp->links == LHI_LINKS_BROKEN;
    size_t state = WHOLE;
    if (by_thread == 0 && lhi_is_kernel(irp->thread) && irp->thread <= UINT64_MAX - THREAD_SPAN)
        by_thread = head_in_thread(q, entry, irp->thread, &state);
    if (irp->file != 0 && packet->file.absence == LH_PRESENT &&
        lhi_layout_offset(layout, LHI_F_FILE_OBJECT_IrpList, &offset))
        by_file = irp->file + offset;
    cut = cut || state == CUT;
    lhi_answer thread = ask(q, entry, by_thread, &cut), file = ask(q, entry, by_file, &cut);
    bool silent = lists_are_silent(q->c, packet, entry, by_thread);
    if (thread == LHI_YES || file == LHI_YES)
        packet->queued = LHI_YES;
    else if ((thread == LHI_NO || file == LHI_NO) && !silent && (self || broken || !cut))
        packet->queued = LHI_NO;
    if (packet->queued == LHI_NO && !packet->contradiction)
        packet->contradiction =
            "it stands neither on the list of its thread nor on that of its file: a copy or a leftover";
    if (packet->queued != LHI_NO && cut && !packet->doubt)
        packet->doubt = "a request on the same list is not in this dump, and may have the MDL as well";
    if (packet->queued != LHI_NO && !packet->doubt &&
        lhi_map_get(&q->blind, thread == LHI_YES ? by_thread : by_file) != SIZE_MAX)
        packet->doubt =
            "the MDL of a request on the same list is not in this dump, and may be of the same pages";
}

lh_status lhi_case_queues(lhi_case *c, lh_error *err)
{
    lhi_queues q = {.c = c, .left = MOST_QUEUED};
    for (size_t i = 0; i < c->packet_count && !q.failed; i++) {
        const lhi_irp *irp = c->packets[i].irp;
        if (lhi_irp_is_managers(irp) && irp->state == LHI_IRP_PENDING && !irp->orphan)
            look_up(&q, &c->packets[i]);
    }
    lhi_map_free(&q.heads);
    lhi_map_free(&q.entries);
    lhi_map_free(&q.blind);
    lhi_map_free(&q.threads);
    return q.failed ? lhi_fail_memory(err) : LH_OK;
}
