/* Pieces of a request that carry no mark of one: MDLs over its frames that are not flagged PARTIAL, and
 * packets that know the request only by their parameters or context.
 *
 * A driver that has a request may describe its pages, or a buffer of its own, by any MDL it likes, and keep
 * the request in the context of its completion routine. Only what such packets and MDLs share with the
 * request leads to them: the frames, and its address. */
#include "case/gather.h"

#define MOST_FRAMES   65536u /* of one case that are searched */
#define MOST_CONTEXTS 64u    /* places that point to one packet */
#define REACH         0x200u /* bytes in front of a pointer that its structure may begin in */

static bool is_forwardable(lhi_case *c, const lhi_packet *packet)
{
    return packet->irp->state == LHI_IRP_PENDING && lhi_irp_is_managers(packet->irp) &&
           packet->at != LHI_NONE && lhi_case_can_split(c, packet->at) != LHI_NO;
}

/* A request of a driver that can send packets leads to it, directly or through the MDLs in front of it. */
static bool may_be_cut(lhi_case *c, const lhi_record *record, unsigned depth)
{
    for (size_t i = 0; i < record->packets.count; i++)
        if (is_forwardable(c, &c->packets[record->packets.data[i]]))
            return true;
    for (size_t i = 0; depth && i < record->predecessors.count && i < 16; i++)
        if (may_be_cut(c, &c->records[record->predecessors.data[i]], depth - 1))
            return true;
    return false;
}

static bool add_frames(lhi_gather *g, size_t index)
{
    lhi_case *c = g->c;
    uint64_t frames[64];
    for (uint64_t first = 0; first < c->records[index].mdl.pages; first += 64) {
        const lhi_mdl *mdl = &c->records[index].mdl;
        size_t wanted = mdl->pages - first < 64 ? (size_t)(mdl->pages - first) : 64;
        size_t got = lhi_mdl_frames(c->kernel, mdl, first, frames, wanted);
        if (g->frames + got > MOST_FRAMES) {
            lhi_case_limit(c, "pieces");
            return true;
        }
        g->frames += got;
        for (size_t i = 0; i < got; i++)
            if (!lhi_gather_needle(g,
                                   (lhi_needle){frames[i], index, LHI_NEEDLE_FRAME, (uint32_t)(first + i)}))
                return false;
    }
    return true;
}

bool lhi_related_needles(lhi_gather *g)
{
    lhi_case *c = g->c;
    for (size_t i = 0; i < c->record_count; i++) {
        if (c->records[i].mdl.klass != LHI_MDL_CHARGED || c->records[i].frames_searched ||
            !may_be_cut(c, &c->records[i], 8))
            continue;
        c->records[i].frames_searched = true;
        if (!add_frames(g, i))
            return false;
    }
    for (size_t i = 0; i < g->contexts.count; i += 2)
        if (!lhi_gather_needle(
                g, (lhi_needle){g->contexts.data[i], (size_t)g->contexts.data[i + 1], LHI_NEEDLE_CONTEXT, 0}))
            return false;
    g->contexts.count = 0;
    return true;
}

/* The addresses by which somebody may know the memory around a pointer: those of its pool block in front of
 * it, the block itself, and its page. */
static bool add_contexts(lhi_gather *g, size_t index, uint64_t va)
{
    lhi_pool_block block = {0};
    lhi_pool_block_at(g->c->kernel, va, &block);
    uint64_t begin = va - REACH;
    if (block.found && block.body > begin)
        begin = block.body;
    bool ok = lhi_vec_push(&g->contexts, block.found ? block.body : va & ~0xfffull) &&
              lhi_vec_push(&g->contexts, index);
    for (uint64_t at = (begin + 7) & ~7ull; ok && at <= va; at += 8)
        if (at != g->contexts.data[g->contexts.count - 2])
            ok = lhi_vec_push(&g->contexts, at) && lhi_vec_push(&g->contexts, index);
    return ok;
}

lh_status lhi_related_packet(lhi_gather *g, size_t index, uint64_t va, uint64_t value, bool remote,
                             lh_error *err)
{
    lhi_case *c = g->c;
    lhi_irp irp;
    uint64_t physical = 0;
    size_t found = LHI_NONE;
    if (!is_forwardable(c, &c->packets[index]))
        return LH_OK;
    if (!lhi_irp_around(c->kernel, va, value, &c->freed, &irp)) {
        if (remote || !lhi_is_kernel(va - REACH))
            return LH_OK;
        if (++c->packets[index].contexts > MOST_CONTEXTS) {
            lhi_case_limit(c, "pieces");
            return LH_OK;
        }
        return add_contexts(g, index, va) ? LH_OK : lhi_fail_memory(err);
    }
    if (irp.state != LHI_IRP_PENDING || irp.address == c->packets[index].irp->address ||
        lhi_space_identity(&c->kernel->space, irp.address, &physical) != LH_PRESENT)
        return LH_OK;
    lh_status status = lhi_gather_packet(g, physical, &irp, c->packets[index].process, &found, err);
    if (status != LH_OK || found == LHI_NONE)
        return status;
    lhi_packet *packet = &c->packets[found];
    if (packet->request == LHI_NONE || (packet->remote && !remote)) {
        packet->request = index;
        packet->remote = remote;
    }
    return LH_OK;
}

/* Its frames are those of the whole, from a page on. */
static bool repeats(const lhi_case *c, const lhi_mdl *part, const lhi_mdl *whole, uint64_t page)
{
    uint64_t ours[64], theirs[64];
    if (part->pages > whole->pages - page)
        return false;
    for (uint64_t first = 0; first < part->pages; first += 64) {
        size_t wanted = part->pages - first < 64 ? (size_t)(part->pages - first) : 64;
        size_t got = lhi_mdl_frames(c->kernel, part, first, ours, wanted);
        size_t known = lhi_mdl_frames(c->kernel, whole, page + first, theirs, wanted);
        for (size_t i = 0; i < got && i < known; i++)
            if (ours[i] != theirs[i])
                return false;
    }
    return true;
}

lh_status lhi_related_mdl(lhi_gather *g, const lhi_needle *needle, uint64_t va, lh_error *err)
{
    lhi_case *c = g->c;
    lhi_mdl mdl = {0};
    uint64_t physical = 0, address = va - LHI_MDL_HEADER;
    const lhi_record *whole = &c->records[needle->index];
    lhi_mdl_read(c->kernel, address, 0, &c->frame_budget, &mdl);
    bool uncharged = mdl.klass == LHI_MDL_IS_PARTIAL || mdl.klass == LHI_MDL_STALE ||
                     mdl.klass == LHI_MDL_NONPAGED || mdl.klass == LHI_MDL_KERNEL;
    if (!uncharged || !repeats(c, &mdl, &whole->mdl, needle->page) ||
        lhi_space_identity(&c->kernel->space, address + c->kernel->layout->offsets[LHI_F_MDL_Process],
                           &physical) != LH_PRESENT)
        return LH_OK;
    size_t index = lhi_map_get(&g->records, physical);
    if (index == SIZE_MAX) {
        if (lhi_gather_is_full(c))
            return LH_OK;
        lhi_record *record = lhi_gather_record(g, physical, &mdl, whole->process);
        if (!record || !lhi_vec_push(&record->addresses, address))
            return lhi_fail_memory(err);
        index = c->record_count - 1;
    }
    return lhi_vec_push(&c->records[needle->index].overlays, index) ? LH_OK : lhi_fail_memory(err);
}
