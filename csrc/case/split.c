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
#define MOST_PARTS  4096 /* partial MDLs and pieces looked at for one request: more is a limit met */

typedef struct lhi_span {
    uint64_t begin, end;
} lhi_span;

static lhi_span span_of(const lhi_mdl *mdl)
{
    uint64_t begin = mdl->start_va + mdl->byte_offset;
    return (lhi_span){begin, begin + mdl->byte_count};
}

/* The partial MDL `part`, which begins within `whole`, repeats frames of it: its pages lie among those, and
 * the frame of its first page is the same. By pages, not by bytes: a driver may describe more of a page than
 * it was given. */
static bool is_part(const lhi_case *c, const lhi_mdl *part, const lhi_mdl *whole)
{
    const uint64_t page = (part->start_va - whole->start_va) >> 12;
    uint64_t frame = 0;
    if (part->pages > whole->pages - page)
        return false;
    if (part->first_frame == 0 || lhi_mdl_frames(c->kernel, whole, page, &frame, 1) == 0)
        return true; /* the frames can't be compared: the addresses fit */
    return frame == part->first_frame;
}

/* A request of a user, seen by all its marks, is nobody's piece. */
static bool may_be_piece(const lhi_packet *packet)
{
    return !(packet->irp->origin == LHI_ORIGIN_MANAGER && packet->irp->user_mode && !packet->irp->odd &&
             packet->queued != LHI_NO);
}

typedef struct lhi_keyed {
    uint64_t key;
    size_t index;
} lhi_keyed;

static int by_key(const void *a, const void *b)
{
    const lhi_keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

lh_status lhi_case_index_pieces(lhi_case *c, lh_error *err)
{
    lhi_keyed *keyed = lhi_calloc(c->record_count + 1, sizeof *keyed);
    size_t count = 0;
    c->parts = lhi_calloc(c->record_count + 1, sizeof *c->parts);
    c->stamps = lhi_calloc(c->packet_count + 1, sizeof *c->stamps);
    c->first_child = lhi_calloc(c->packet_count + 1, sizeof *c->first_child);
    c->next_child = lhi_calloc(c->packet_count + 1, sizeof *c->next_child);
    if (!keyed || !c->parts || !c->stamps || !c->first_child || !c->next_child) {
        lhi_free(keyed);
        return lhi_fail_memory(err);
    }
    for (size_t i = 0; i < c->record_count; i++)
        if (c->records[i].mdl.klass == LHI_MDL_IS_PARTIAL)
            keyed[count++] = (lhi_keyed){c->records[i].mdl.start_va, i};
    if (count)
        qsort(keyed, count, sizeof *keyed, by_key);
    for (size_t i = 0; i < count; i++)
        c->parts[i] = keyed[i].index;
    c->part_count = count;
    lhi_free(keyed);
    for (size_t i = 0; i < c->record_count; i++)
        for (size_t k = 0; c->records[i].mdl.klass == LHI_MDL_CHARGED && k < c->records[i].addresses.count;
             k++)
            if (!lhi_map_put(&c->charged_at, c->records[i].addresses.data[k], i))
                return lhi_fail_memory(err);
    for (size_t i = 0; i < c->packet_count; i++)
        c->first_child[i] = c->next_child[i] = LHI_NONE;
    for (size_t i = c->packet_count; i-- > 0;) {
        const lhi_packet *packet = &c->packets[i];
        size_t master = packet->master;
        if (master == LHI_NONE && may_be_piece(packet))
            master = packet->request;
        if (master == LHI_NONE || master == i)
            continue;
        c->next_child[i] = c->first_child[master];
        c->first_child[master] = i;
    }
    return LH_OK;
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
    lhi_vec index;   /* packets that may carry a piece */
    lhi_vec orphans; /* partial MDLs of the request that no packet names */
    lhi_vec visited; /* packets followed, or waiting in the same driver as one that was */
    bool too_many;
} lhi_pieces;

static bool has(const lhi_vec *list, size_t value)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->data[i] == value)
            return true;
    return false;
}

static bool add_piece(lhi_case *c, lhi_pieces *pieces, size_t packet)
{
    if (c->stamps[packet] == c->stamp)
        return true;
    c->stamps[packet] = c->stamp;
    if (pieces->index.count >= MOST_PARTS) {
        pieces->too_many = true;
        return true;
    }
    return lhi_vec_push(&pieces->index, packet);
}

static bool add_record_packets(lhi_case *c, lhi_pieces *pieces, const lhi_record *record)
{
    for (size_t i = 0; i < record->packets.count && !pieces->too_many; i++)
        if (may_be_piece(&c->packets[record->packets.data[i]]) &&
            !add_piece(c, pieces, record->packets.data[i]))
            return false;
    return true;
}

/* Of an MDL that is no partial one, only a packet that waits says anything: its like is left over from every
 * earlier request with the buffer. */
static bool add_pending_packets(lhi_case *c, lhi_pieces *pieces, const lhi_record *record)
{
    for (size_t i = 0; i < record->packets.count && !pieces->too_many; i++) {
        const lhi_packet *packet = &c->packets[record->packets.data[i]];
        if (packet->irp->state == LHI_IRP_PENDING && may_be_piece(packet) &&
            !add_piece(c, pieces, record->packets.data[i]))
            return false;
    }
    return true;
}

/* All packets that may carry a piece of record `whole`, which packet `top` brought. */
static lh_status find_pieces(lhi_case *c, size_t whole, size_t top, lhi_pieces *out, lh_error *err)
{
    const lhi_mdl *mdl = &c->records[whole].mdl;
    c->stamp++;
    c->stamps[top] = c->stamp;
    bool ok = add_record_packets(c, out, &c->records[whole]);
    size_t low = 0, high = c->part_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->records[c->parts[middle]].mdl.start_va < mdl->start_va)
            low = middle + 1;
        else
            high = middle;
    }
    uint64_t end = mdl->start_va + (mdl->pages << 12);
    for (size_t seen = 0; ok && low < c->part_count && c->records[c->parts[low]].mdl.start_va < end; low++) {
        const lhi_record *part = &c->records[c->parts[low]];
        if (++seen > MOST_PARTS) {
            out->too_many = true;
            break;
        }
        if (c->parts[low] == whole || !is_part(c, &part->mdl, mdl))
            continue;
        bool on_list = lhi_vec_find(&c->freed.mdls, part->mdl.address) != SIZE_MAX;
        if (part->packets.count == 0 && part->predecessors.count == 0 && !on_list)
            ok = lhi_vec_push(&out->orphans, c->parts[low]);
        else
            ok = add_record_packets(c, out, part);
    }
    for (size_t i = 0; ok && i < c->records[whole].overlays.count; i++)
        ok = add_pending_packets(c, out, &c->records[c->records[whole].overlays.data[i]]);
    for (size_t child = c->first_child[top]; ok && child != LHI_NONE; child = c->next_child[child])
        ok = add_piece(c, out, child);
    /* Pieces of pieces, by MasterIrp. */
    for (size_t i = 0; ok && i < out->index.count; i++)
        for (size_t child = c->first_child[out->index.data[i]]; ok && child != LHI_NONE;
             child = c->next_child[child])
            ok = add_piece(c, out, child);
    return ok ? LH_OK : lhi_fail_memory(err);
}

/* By its MDL, its master or its parameters a packet is a piece of a request. An MDL that is not flagged
 * PARTIAL, or a context that keeps the request among other things, may be of another one. */
static bool is_proven(const lhi_case *c, const lhi_packet *piece)
{
    if (piece->master != LHI_NONE || (piece->request != LHI_NONE && !piece->remote))
        return true;
    if (piece->mdl == LHI_NONE)
        return false;
    lhi_mdl_class klass = c->records[piece->mdl].mdl.klass;
    return klass == LHI_MDL_IS_PARTIAL || klass == LHI_MDL_CHARGED;
}

/* Made by the driver that waits at `current`. */
static bool is_child(const lhi_case *c, size_t q, size_t current, size_t holder)
{
    const lhi_packet *piece = &c->packets[q];
    if (piece->master != LHI_NONE)
        return piece->master == current;
    return is_proven(c, piece) && piece->maker != LHI_NONE && lhi_case_same_driver(c, piece->maker, holder);
}

/* A driver that nothing names: not there, or nothing in the dump says. */
static void end_unknown(lhi_piece_end *out, lh_absence absence, const char *missing, const char *nothing)
{
    bool gone = lhi_case_is_missing(absence);
    out->outcome = gone ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED;
    out->why = gone ? missing : nothing;
}

static void end_at(const lhi_case *c, lhi_piece_end *out, const char *why)
{
    out->outcome = c->parties[out->party].driver.is_kernel ? LHI_OUTCOME_KERNEL : LHI_OUTCOME_NAMED;
    out->why = why;
}

static void end(lhi_piece_end *out, lhi_outcome outcome, const char *why)
{
    out->outcome = outcome;
    out->why = why;
}

/* A packet that this driver made could lie in a page that is not there. */
static bool could_hide_piece(lhi_case *c, size_t party)
{
    return lhi_case_pool_could_hide(c) || (lhi_case_places_packets(c, party) && lhi_case_could_hide(c));
}

/* The MDL of which the pieces of a packet are parts. */
static size_t range_of(const lhi_case *c, size_t packet, size_t record)
{
    return c->packets[packet].mdl != LHI_NONE ? c->packets[packet].mdl : record;
}

/* Do the pieces that are pending below the packet at `at` make up all that it asks for? */
static lh_status pending_cover(const lhi_case *c, size_t record, const lhi_pieces *pieces,
                               const lhi_piece_end *at, bool *whole, lh_error *err)
{
    lhi_span *spans = lhi_calloc(pieces->index.count + 1, sizeof *spans);
    size_t count = 0;
    if (!spans)
        return lhi_fail_memory(err);
    for (size_t i = 0; i < pieces->index.count; i++) {
        size_t q = pieces->index.data[i];
        const lhi_packet *piece = &c->packets[q];
        if (piece->irp->state == LHI_IRP_PENDING && piece->mdl != LHI_NONE &&
            is_child(c, q, at->packet, at->party))
            spans[count++] = span_of(&c->records[piece->mdl].mdl);
    }
    *whole = covers(spans, count, span_of(&c->records[range_of(c, at->packet, record)].mdl));
    lhi_free(spans);
    return LH_OK;
}

/* What is known of the pieces that are not pending at the end of the way. */
typedef struct lhi_rest {
    size_t back, elsewhere, unproven, lost, associated, unmade;
    bool complete, outstanding;
} lhi_rest;

static lh_status look_at_rest(const lhi_case *c, size_t range, const lhi_pieces *pieces,
                              const lhi_piece_end *at, lhi_rest *rest, lh_error *err)
{
    const lhi_packet *current = &c->packets[at->packet];
    lhi_span *spans = lhi_calloc(pieces->index.count + 1, sizeof *spans);
    if (!spans)
        return lhi_fail_memory(err);
    size_t tied = 0;
    for (size_t i = 0; i < pieces->index.count; i++) {
        size_t q = pieces->index.data[i];
        const lhi_packet *piece = &c->packets[q];
        if (q == at->packet || has(&pieces->visited, q))
            continue;
        if (piece->irp->state == LHI_IRP_PENDING) {
            /* Whoever made it: while it waits in another than the driver at the end, that one may owe. */
            bool proven = is_proven(c, piece), away = !lhi_case_same_driver(c, piece->at, at->party);
            bool made_here = piece->maker == LHI_NONE || lhi_case_same_driver(c, piece->maker, at->party);
            rest->elsewhere += away && proven;
            rest->unproven += away && !proven && made_here;
        } else if (lhi_irp_is_lost(piece->irp)) {
            rest->lost++;
        } else if (piece->maker == LHI_NONE && lhi_case_is_missing(piece->maker_absence)) {
            rest->unmade++;
        } else if (is_child(c, q, at->packet, at->party)) {
            /* One that does not name the request may be left over from an earlier one with the buffer. */
            bool names = piece->master == at->packet || lhi_irp_names(piece->irp, current->irp->address);
            if (piece->mdl != LHI_NONE && names)
                spans[tied++] = span_of(&c->records[piece->mdl].mdl);
            rest->back += piece->mdl != LHI_NONE;
            rest->associated += piece->master == at->packet;
        }
    }
    rest->complete = tied && covers(spans, tied, span_of(&c->records[range].mdl));
    lhi_free(spans);
    /* IrpCount of a master: pieces outstanding. With direct I/O no buffer stands in that union. */
    uint64_t count = current->irp->associated;
    uint8_t major = current->irp->slots[current->irp->current - 1].major;
    bool transfer = major == 3 || major == 4; /* IRP_MJ_READ, IRP_MJ_WRITE */
    rest->outstanding = transfer && count != 0 && count < 0x100;
    rest->complete = rest->complete || (transfer && rest->associated && count == 0);
    return LH_OK;
}

/* No piece of the current packet is pending: does its driver owe? */
static lh_status end_here(lhi_case *c, size_t record, const lhi_pieces *pieces, lhi_piece_end *out,
                          lh_error *err)
{
    lhi_rest rest = {0};
    lh_status status = look_at_rest(c, range_of(c, out->packet, record), pieces, out, &rest, err);
    if (status != LH_OK)
        return status;
    bool hidden = could_hide_piece(c, out->party);
    lhi_answer can_split = lhi_case_can_split(c, out->party);
    bool cut = rest.back || (pieces->orphans.count && can_split != LHI_NO);
    if (pieces->too_many) {
        end(out, LHI_OUTCOME_INSUFFICIENT, "more pieces of the request lie about than are looked at");
        lhi_case_limit(c, "pieces");
    } else if (rest.lost) {
        end(out, LHI_OUTCOME_INSUFFICIENT, "a piece of the request is only partly in this dump");
    } else if (rest.unmade) {
        end(out, LHI_OUTCOME_INSUFFICIENT,
            "who made a packet over the pages of the request is not in this dump");
    } else if (rest.elsewhere) {
        end(out, lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED,
            "a packet over the same pages is pending that was not made by the driver which has the request");
    } else if (rest.unproven) {
        end(out, LHI_OUTCOME_INSUFFICIENT,
            "a packet of the driver that has the request waits in another driver, and may be a piece of it");
    } else if (rest.outstanding) {
        end(out, LHI_OUTCOME_INSUFFICIENT,
            "the request counts pieces that are outstanding, and none of them was found");
    } else if (hidden && cut) {
        /* Pieces seen back may be an earlier request's over the same buffer: with pool missing they prove
         * nothing. */
        end(out, LHI_OUTCOME_INSUFFICIENT,
            "the request was split, and a piece of it may lie in a page that is not in this dump");
    } else if (hidden && can_split != LHI_NO) {
        end(out, LHI_OUTCOME_INSUFFICIENT,
            "the driver can split requests, and a piece may lie in a page that is not in this dump");
    } else if (rest.complete) {
        end_at(c, out,
               "every piece of the request is back with the driver that made them, which keeps the request");
    } else if (cut) {
        end(out, LHI_OUTCOME_INSUFFICIENT,
            "the request was split, and where a piece of it went nothing tells");
    } else {
        end_at(c, out, "the request is pending in it");
    }
    if (out->outcome == LHI_OUTCOME_INSUFFICIENT && !hidden && !lhi_case_skip_rule(c, LHI_RULE_PIECES, NULL))
        return lhi_fail_memory(err);
    return LH_OK;
}

lh_status lhi_case_follow_split(lhi_case *c, size_t record, size_t packet, lhi_piece_end *out, lh_error *err)
{
    lhi_pieces pieces = {0};
    lh_status status = find_pieces(c, record, packet, &pieces, err);
    *out = (lhi_piece_end){.packet = packet, .party = c->packets[packet].at};
    for (unsigned level = 0; status == LH_OK; level++) {
        const lhi_packet *current = &c->packets[out->packet];
        if (!lhi_vec_push(&pieces.visited, out->packet)) {
            status = lhi_fail_memory(err);
            break;
        }
        if (out->party == LHI_NONE || current->at_absence != LH_PRESENT) {
            end_unknown(out, current->at_absence,
                        "what names the driver that has the request is not in this dump",
                        "nothing that is believed names the driver which has the request");
            break;
        }
        size_t next = LHI_NONE;
        bool several = false;
        for (size_t i = 0; status == LH_OK && i < pieces.index.count; i++) {
            size_t q = pieces.index.data[i];
            if (c->packets[q].irp->state != LHI_IRP_PENDING || has(&pieces.visited, q) ||
                !is_child(c, q, out->packet, out->party))
                continue;
            if (next == LHI_NONE)
                next = q;
            else if (!lhi_case_same_driver(c, c->packets[next].at, c->packets[q].at))
                several = true;
            else if (!lhi_vec_push(&pieces.visited,
                                   q)) /* waits in the same driver: it need not be followed too */
                status = lhi_fail_memory(err);
        }
        if (status != LH_OK)
            break;
        if (several) {
            end(out, LHI_OUTCOME_UNATTRIBUTED, "pieces of the request are pending in several drivers");
            break;
        }
        if (next == LHI_NONE) {
            status = end_here(c, record, &pieces, out, err);
            break;
        }
        if (could_hide_piece(c, out->party)) {
            bool whole = false;
            status = pending_cover(c, record, &pieces, out, &whole, err);
            if (status != LH_OK)
                break;
            if (!whole) {
                end(out, LHI_OUTCOME_INSUFFICIENT,
                    "the pieces that are pending are not the whole request, and another may lie in a page "
                    "that "
                    "is not in this dump");
                break;
            }
        }
        if (level >= MOST_LEVELS) {
            end(out, LHI_OUTCOME_UNATTRIBUTED, "the pieces of the request nest deeper than is followed");
            break;
        }
        out->packet = next;
        out->party = c->packets[next].at;
    }
    lhi_vec_free(&pieces.index);
    lhi_vec_free(&pieces.orphans);
    lhi_vec_free(&pieces.visited);
    return status;
}
