/* Follows a request that a driver cut into pieces down to the piece that is still pending.
 *
 * A driver that has an I/O manager's packet may wait for packets of its own: associated ones (MasterIrp),
 * ones whose partial MDL repeats frames of the request, or ones that borrow its MDL. Then not that driver
 * owes, but the one in which a piece waits. If every piece is provably back, the driver that made them owes.
 * A piece that is merely not there decides nothing. */
#include <stdlib.h>

#include "base/alloc.h"
#include "case/case.h"

#define MOST_LEVELS 32

typedef struct lhi_span {
    uint64_t begin, end;
} lhi_span;

static lhi_span span_of(const lhi_mdl *mdl)
{
    uint64_t begin = mdl->start_va + mdl->byte_offset;
    return (lhi_span){begin, begin + mdl->byte_count};
}

/* `part` repeats frames of `whole`: its pages lie among those, and the frame of its first page is the same.
 * By pages, not by bytes: a driver may describe more of a page than it was given. */
static bool is_part(const lhi_case *c, const lhi_mdl *part, const lhi_mdl *whole)
{
    uint64_t frame = 0;
    if (part->klass != LHI_MDL_IS_PARTIAL || part->start_va < whole->start_va)
        return false;
    uint64_t page = (part->start_va - whole->start_va) >> 12;
    if (page >= whole->pages || part->pages > whole->pages - page)
        return false;
    if (part->first_frame == 0 || lhi_mdl_frames(c->kernel, whole, page, &frame, 1) == 0)
        return true; /* the frames can't be compared: the addresses fit */
    return frame == part->first_frame;
}

/* Does packet q carry a piece of what record `whole` describes, below packet `top`? */
static bool is_piece(const lhi_case *c, size_t q, size_t top, size_t whole)
{
    const lhi_packet *packet = &c->packets[q];
    if (q == top)
        return false;
    for (size_t m = packet->master, i = 0; m != LHI_NONE && i < MOST_LEVELS; m = c->packets[m].master, i++)
        if (m == top)
            return true;
    if (packet->mdl == LHI_NONE || packet->irp->origin == LHI_ORIGIN_MANAGER ||
        packet->irp->origin == LHI_ORIGIN_THREADED)
        return false;
    return packet->mdl == whole || is_part(c, &c->records[packet->mdl].mdl, &c->records[whole].mdl);
}

static int by_begin(const void *a, const void *b)
{
    uint64_t x = ((const lhi_span *)a)->begin, y = ((const lhi_span *)b)->begin;
    return x < y ? -1 : x > y;
}

/* Do the spans together cover the whole? Sorts them. */
static bool covers(lhi_span *spans, size_t count, lhi_span whole)
{
    uint64_t reached = whole.begin;
    if (count)
        qsort(spans, count, sizeof *spans, by_begin);
    for (size_t i = 0; i < count && reached < whole.end; i++) {
        if (spans[i].begin > reached)
            return false;
        if (spans[i].end > reached)
            reached = spans[i].end;
    }
    return reached >= whole.end;
}

typedef struct lhi_pieces {
    size_t *index; /* packets */
    size_t count;
    bool *visited;
} lhi_pieces;

static lh_status find_pieces(const lhi_case *c, size_t record, size_t packet, lhi_pieces *out, lh_error *err)
{
    out->index = lhi_realloc_array(NULL, c->packet_count + 1, sizeof *out->index);
    out->visited = lhi_calloc(c->packet_count + 1, sizeof *out->visited);
    if (!out->index || !out->visited)
        return lhi_fail_memory(err);
    for (size_t q = 0; q < c->packet_count; q++)
        if (is_piece(c, q, packet, record))
            out->index[out->count++] = q;
    return LH_OK;
}

/* Made by the driver that waits at `current`, or not known to be made by another. */
static bool is_child(const lhi_case *c, size_t q, size_t current, size_t holder)
{
    const lhi_packet *piece = &c->packets[q];
    if (piece->master != LHI_NONE)
        return piece->master == current;
    return piece->maker == LHI_NONE || lhi_case_same_driver(c, piece->maker, holder);
}

/* A driver that nothing names: not there, or nothing in the dump says. */
static void end_unknown(lhi_piece_end *out, lh_absence absence, const char *missing, const char *nothing)
{
    bool gone = absence != LH_ABSENT_LAYOUT && absence != LH_PRESENT;
    out->outcome = gone ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED;
    out->why = gone ? missing : nothing;
}

static void end_at(const lhi_case *c, lhi_piece_end *out, const char *why)
{
    out->outcome = c->parties[out->party].driver.is_kernel ? LHI_OUTCOME_KERNEL : LHI_OUTCOME_NAMED;
    out->why = why;
}

/* No piece of the current packet is pending: does its driver owe? */
static lh_status end_here(lhi_case *c, size_t record, lhi_pieces *pieces, lhi_piece_end *out, lh_error *err)
{
    const lhi_packet *current = &c->packets[out->packet];
    size_t range = current->mdl != LHI_NONE ? current->mdl : record;
    size_t back = 0, elsewhere = 0, lost = 0, associated = 0;
    lhi_span *spans = lhi_realloc_array(NULL, pieces->count + 1, sizeof *spans);
    if (!spans)
        return lhi_fail_memory(err);
    for (size_t i = 0; i < pieces->count; i++) {
        size_t q = pieces->index[i];
        const lhi_packet *piece = &c->packets[q];
        if (pieces->visited[q] || q == out->packet)
            continue;
        if (!is_child(c, q, out->packet, out->party)) {
            elsewhere += piece->irp->state == LHI_IRP_PENDING;
            continue;
        }
        if (piece->irp->state == LHI_IRP_UNREADABLE)
            lost++;
        else if (piece->irp->state != LHI_IRP_PENDING && piece->mdl != LHI_NONE)
            spans[back++] = span_of(&c->records[piece->mdl].mdl);
        associated += piece->master == out->packet;
    }
    /* Parts that were cut, and whose packets nothing shows. */
    size_t orphans = 0;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *part = &c->records[i];
        bool on_list = lhi_vec_find(&c->freed.mdls, part->mdl.address) != SIZE_MAX;
        if (i != range && !on_list && part->packets.count == 0 && part->predecessors.count == 0 &&
            is_part(c, &part->mdl, &c->records[range].mdl))
            orphans++;
    }
    bool hidden = lhi_case_pool_could_hide(c);
    bool complete = back && covers(spans, back, span_of(&c->records[range].mdl));
    lhi_free(spans);
    uint64_t count = current->irp->associated; /* IrpCount of a master: pieces outstanding */
    uint8_t major = current->irp->slots[current->irp->current - 1].major;
    bool transfer = major == 3 ||
                    major == 4; /* IRP_MJ_READ, IRP_MJ_WRITE: with direct I/O no buffer stands in the union */
    bool outstanding = transfer && count != 0 && count < 0x100;
    complete = complete || (transfer && associated && count == 0);
    if (lost) {
        out->outcome = LHI_OUTCOME_INSUFFICIENT;
        out->why = "a piece of the request is only partly in this dump";
    } else if (elsewhere) {
        out->outcome = hidden ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED;
        out->why = "a piece of the request is pending that was not made by the driver which has the request";
    } else if (outstanding) {
        out->outcome = LHI_OUTCOME_INSUFFICIENT;
        out->why = "the request counts pieces that are outstanding, and none of them was found";
    } else if (hidden && (back || orphans)) {
        /* Pieces seen back may be an earlier request's over the same buffer: with pool missing they prove
         * nothing. */
        out->outcome = LHI_OUTCOME_INSUFFICIENT;
        out->why = "the request was split, and a piece of it may lie in a page that is not in this dump";
    } else if (hidden && lhi_case_can_split(c, out->party) != LHI_NO) {
        out->outcome = LHI_OUTCOME_INSUFFICIENT;
        out->why = "the driver can split requests, and a piece may lie in a page that is not in this dump";
    } else if (complete) {
        end_at(c, out,
               "every piece of the request is back with the driver that made them, which keeps the request");
    } else {
        end_at(c, out,
               back || orphans ? "pieces of the request were made, and none is pending any more"
                               : "the request is pending in it");
    }
    return LH_OK;
}

lh_status lhi_case_follow_split(lhi_case *c, size_t record, size_t packet, lhi_piece_end *out, lh_error *err)
{
    lhi_pieces pieces = {0};
    lh_status status = find_pieces(c, record, packet, &pieces, err);
    *out = (lhi_piece_end){.packet = packet, .party = c->packets[packet].at};
    for (unsigned level = 0; status == LH_OK; level++) {
        const lhi_packet *current = &c->packets[out->packet];
        pieces.visited[out->packet] = true;
        if (out->party == LHI_NONE || current->at_absence != LH_PRESENT) {
            end_unknown(out, current->at_absence,
                        "what names the driver that has the request is not in this dump",
                        "the current location of the request leads to no driver");
            break;
        }
        size_t next = LHI_NONE;
        bool several = false;
        for (size_t i = 0; i < pieces.count; i++) {
            size_t q = pieces.index[i];
            if (pieces.visited[q] || c->packets[q].irp->state != LHI_IRP_PENDING ||
                !is_child(c, q, out->packet, out->party))
                continue;
            if (next == LHI_NONE)
                next = q;
            else
                several = several || !lhi_case_same_driver(c, c->packets[next].at, c->packets[q].at);
        }
        if (several) {
            out->outcome = LHI_OUTCOME_UNATTRIBUTED;
            out->why = "pieces of the request are pending in several drivers";
            break;
        }
        if (next == LHI_NONE) {
            status = end_here(c, record, &pieces, out, err);
            break;
        }
        if (level >= MOST_LEVELS) {
            out->outcome = LHI_OUTCOME_UNATTRIBUTED;
            out->why = "the pieces of the request nest deeper than is followed";
            break;
        }
        out->followed = true;
        out->packet = next;
        out->party = c->packets[next].at;
    }
    lhi_free(pieces.index);
    lhi_free(pieces.visited);
    return status;
}
