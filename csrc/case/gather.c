/* The passes over physical memory: the process's address -> MDLs -> packets and chains -> pieces of packets.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "case/gather.h"
#include "case/pass.h"

#define MOST_PACKETS 65536u

bool lhi_gather_is_full(lhi_case *c)
{
    if (c->record_count < c->options.limits.mdls)
        return false;
    lhi_case_limit(c, "mdls");
    return true;
}

lhi_record *lhi_gather_record(lhi_gather *g, uint64_t physical, const lhi_mdl *mdl, uint64_t process)
{
    lhi_record *record = lhi_case_new_record(g->c);
    if (!record || !lhi_map_put(&g->records, physical, g->c->record_count - 1))
        return NULL;
    record->mdl = *mdl;
    record->physical = physical;
    record->process = process;
    return record;
}

/* The MDL around one hit of pass one: an alias at which it reads as one, else the best of what the aliases
 * gave. */
static lh_status take_candidate(lhi_gather *g, const lhi_pass *pass, size_t hit, lh_error *err)
{
    lhi_case *c = g->c;
    uint64_t physical = pass->hits.physical[hit], process = pass->hits.value[hit];
    size_t first = 0, rows = lhi_reverse_find(&pass->map, physical >> 12, &first);
    uint64_t offset = c->kernel->layout->offsets[LHI_F_MDL_Process];
    c->hits++;
    if (rows == 0) {
        /* With all tables there, a page without a kernel mapping is a user's or a free one: never an MDL. */
        c->coverage.hits_unplaced += pass->map.tables_missing != 0;
        c->not_mdls++;
        return LH_OK;
    }
    lhi_mdl best = {0};
    for (size_t i = first; i < first + rows; i++) {
        uint64_t va = pass->map.va[i] + (physical & 0xfff);
        lhi_mdl mdl = {0};
        lhi_mdl_read(c->kernel, va - offset, process, &c->frame_budget, &mdl);
        if (best.klass == LHI_MDL_NOT_ONE ||
            (best.klass == LHI_MDL_UNREADABLE && mdl.klass != LHI_MDL_NOT_ONE))
            best = mdl;
        if (best.klass != LHI_MDL_NOT_ONE && best.klass != LHI_MDL_UNREADABLE)
            break;
    }
    if (best.klass == LHI_MDL_NOT_ONE) {
        c->not_mdls++;
        return LH_OK;
    }
    if (lhi_gather_is_full(c))
        return LH_OK;
    lhi_record *record = lhi_gather_record(g, physical, &best, process);
    if (!record)
        return lhi_fail_memory(err);
    record->names_process = true;
    for (size_t i = first; i < first + rows; i++)
        if (!lhi_vec_push(&record->addresses, pass->map.va[i] + (physical & 0xfff) - offset))
            return lhi_fail_memory(err);
    return LH_OK;
}

lh_status lhi_gather_packet(lhi_gather *g, uint64_t physical, const lhi_irp *irp, uint64_t process,
                            size_t *index, lh_error *err)
{
    lhi_case *c = g->c;
    *index = lhi_map_get(&g->packets, physical);
    if (*index != SIZE_MAX)
        return LH_OK;
    if (c->packet_count >= MOST_PACKETS) {
        lhi_case_limit(c, "packets");
        return LH_OK;
    }
    /* Only the slots in use are kept: a row for 127 would take 11 KiB. */
    size_t size = offsetof(lhi_irp, slots) + irp->slot_count * sizeof irp->slots[0];
    lhi_irp *kept = lhi_arena_alloc(&c->arena, size);
    lhi_packet *packet = kept ? lhi_case_new_packet(c) : NULL;
    if (!packet || !lhi_map_put(&g->packets, physical, c->packet_count - 1))
        return lhi_fail_memory(err);
    memcpy(kept, irp, size);
    packet->irp = kept;
    packet->physical = physical;
    packet->process = process;
    *index = c->packet_count - 1;
    /* Resolving makes parties, not packets: the row stays where it is. */
    return lhi_case_resolve_packet(c, packet, err);
}

/* A place that holds the address of record `index`: a packet's MdlAddress, the Next of a live MDL, or
 * something else. */
static lh_status take_mdl_pointer(lhi_gather *g, size_t index, uint64_t va, uint64_t value, bool *known,
                                  lh_error *err)
{
    lhi_case *c = g->c;
    const lh_kernel *kernel = c->kernel;
    uint64_t physical = 0;
    lhi_irp irp;
    uint64_t start = va - kernel->layout->offsets[LHI_F_IRP_MdlAddress];
    lhi_irp_read(kernel, start, value, &c->freed, &irp);
    if (irp.state != LHI_IRP_NOT_ONE) {
        *known = !lhi_irp_is_lost(&irp); /* another alias may show more */
        size_t packet = LHI_NONE;
        if (lhi_space_identity(&kernel->space, start, &physical) != LH_PRESENT)
            physical = start; /* its first page is not there: its address is identity enough */
        lh_status status = lhi_gather_packet(g, physical, &irp, c->records[index].process, &packet, err);
        if (status != LH_OK || packet == LHI_NONE || c->packets[packet].mdl == index)
            return status;
        c->packets[packet].mdl = index;
        return lhi_vec_push(&c->records[index].packets, packet) ? LH_OK : lhi_fail_memory(err);
    }
    lhi_mdl mdl = {0};
    lhi_mdl_read(kernel, va, 0, &c->frame_budget, &mdl);
    bool live = mdl.klass == LHI_MDL_CHARGED || mdl.klass == LHI_MDL_IS_PARTIAL ||
                mdl.klass == LHI_MDL_NONPAGED || mdl.klass == LHI_MDL_KERNEL;
    /* One of another process leads out of that process's requests. */
    const uint64_t process = c->records[index].process;
    bool foreign = mdl.process != 0 && mdl.process != process;
    /* Next of a freed one is the link of its list. */
    if (live && !foreign && !lhi_mdl_is_freed(kernel, &c->freed, va)) {
        *known = true;
        uint64_t offset = kernel->layout->offsets[LHI_F_MDL_Process];
        if (lhi_space_identity(&kernel->space, va + offset, &physical) != LH_PRESENT)
            return LH_OK;
        size_t predecessor = lhi_map_get(&g->records, physical);
        if (predecessor == SIZE_MAX) {
            if (lhi_gather_is_full(c))
                return LH_OK;
            lhi_record *record = lhi_gather_record(g, physical, &mdl, process);
            if (!record || !lhi_vec_push(&record->addresses, va))
                return lhi_fail_memory(err);
            predecessor = c->record_count - 1;
        }
        lhi_vec *list = &c->records[index].predecessors;
        for (size_t i = 0; i < list->count; i++)
            if (list->data[i] == predecessor)
                return LH_OK;
        return lhi_vec_push(list, predecessor) ? LH_OK : lhi_fail_memory(err);
    }
    return LH_OK;
}

/* A place that holds the address of a packet: MasterIrp of a piece of it. */
static lh_status take_packet_pointer(lhi_gather *g, size_t master, uint64_t va, lh_error *err)
{
    lhi_case *c = g->c;
    lhi_irp irp;
    uint64_t start = va - c->kernel->layout->offsets[LHI_F_IRP_AssociatedIrp];
    lhi_irp_read(c->kernel, start, 0, &c->freed, &irp);
    if (irp.state == LHI_IRP_NOT_ONE || lhi_irp_is_lost(&irp))
        return LH_OK; /* an unreadable neighbourhood of any pointer to the packet proves no piece */
    if (!(irp.flags & LHI_IRP_ASSOCIATED))
        return LH_OK;
    uint64_t physical = 0;
    if (lhi_space_identity(&c->kernel->space, start, &physical) != LH_PRESENT)
        return LH_OK;
    size_t packet = LHI_NONE;
    lh_status status = lhi_gather_packet(g, physical, &irp, c->packets[master].process, &packet, err);
    if (status == LH_OK && packet != LHI_NONE && packet != master)
        c->packets[packet].master = master;
    return status;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = ((const lhi_needle *)a)->value, y = ((const lhi_needle *)b)->value;
    return x < y ? -1 : x > y;
}

bool lhi_gather_needle(lhi_gather *g, lhi_needle needle)
{
    if (!lhi_grow(&g->needles, g->needle_count, &g->needle_room, sizeof *g->needles))
        return false;
    g->needles[g->needle_count++] = needle;
    return true;
}

/* Everything found since the last pass that pointers may lead to. */
static bool collect_needles(lhi_gather *g)
{
    lhi_case *c = g->c;
    g->needle_count = 0;
    for (; g->records_done < c->record_count; g->records_done++) {
        const lhi_record *record = &c->records[g->records_done];
        if (record->mdl.klass == LHI_MDL_UNREADABLE || record->mdl.klass == LHI_MDL_PAGING)
            continue;
        for (size_t i = 0; i < record->addresses.count; i++)
            if (!lhi_gather_needle(
                    g, (lhi_needle){record->addresses.data[i], g->records_done, LHI_NEEDLE_MDL, 0}))
                return false;
    }
    for (; g->packets_done < c->packet_count; g->packets_done++) {
        const lhi_packet *packet = &c->packets[g->packets_done];
        if (packet->irp->state != LHI_IRP_PENDING)
            continue;
        /* Associated packets are made by the driver that has the request: one that can't needs no pass. */
        if (packet->at != LHI_NONE && lhi_case_can_split(c, packet->at) == LHI_NO)
            continue;
        if (!lhi_gather_needle(g, (lhi_needle){packet->irp->address, g->packets_done, LHI_NEEDLE_PACKET, 0}))
            return false;
    }
    if (!lhi_related_needles(g))
        return false;
    if (g->needle_count)
        qsort(g->needles, g->needle_count, sizeof *g->needles, by_value);
    return true;
}

static lh_status search_needles(lhi_gather *g, lh_error *err)
{
    lhi_pass pass = {0};
    lh_status status = LH_OK;
    uint64_t *values = lhi_realloc_array(NULL, g->needle_count, sizeof *values);
    if (!values)
        return lhi_fail_memory(err);
    for (size_t i = 0; i < g->needle_count; i++)
        values[i] = g->needles[i].value;
    status = lhi_case_pass(g->c, values, g->needle_count, 4, &pass, err);
    for (size_t i = 0; status == LH_OK && i < pass.hits.count; i++) {
        status = i % 256 == 0 ? lhi_case_poll(g->c, err) : LH_OK;
        if (status != LH_OK)
            break;
        const lhi_needle *needle = &g->needles[pass.hits.needle[i]];
        uint64_t physical = pass.hits.physical[i];
        size_t first = 0, rows = lhi_reverse_find(&pass.map, physical >> 12, &first);
        g->c->coverage.hits_unplaced += rows == 0 && pass.map.tables_missing != 0;
        bool known = false;
        for (size_t k = first; status == LH_OK && !known && k < first + rows; k++) {
            uint64_t va = pass.map.va[k] + (physical & 0xfff);
            if (needle->kind == LHI_NEEDLE_MDL) {
                status = take_mdl_pointer(g, needle->index, va, needle->value, &known, err);
                continue;
            }
            known = true;
            if (needle->kind == LHI_NEEDLE_PACKET)
                status = take_packet_pointer(g, needle->index, va, err);
            if (status == LH_OK && needle->kind == LHI_NEEDLE_FRAME)
                status = lhi_related_mdl(g, needle, va, err);
            else if (status == LH_OK)
                status = lhi_related_packet(g, needle->index, va, needle->value,
                                            needle->kind == LHI_NEEDLE_CONTEXT, err);
        }
        if (rows && !known) {
            lhi_record *record = &g->c->records[needle->index];
            if (record->other_pointers < sizeof record->others / sizeof record->others[0])
                record->others[record->other_pointers] = pass.map.va[first] + (physical & 0xfff);
            record->other_pointers++;
        }
    }
    lhi_case_pass_free(&pass);
    lhi_free(values);
    return status;
}

/* Associated packets that were found by their MDL before their master was. */
static lh_status link_masters(lhi_case *c, lh_error *err)
{
    lhi_map addresses = {0};
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < c->packet_count; i++)
        if (!lhi_map_put(&addresses, c->packets[i].irp->address, i))
            status = lhi_fail_memory(err);
    for (size_t i = 0; status == LH_OK && i < c->packet_count; i++) {
        lhi_packet *piece = &c->packets[i];
        size_t master = lhi_map_get(&addresses, piece->irp->associated);
        if (piece->master == LHI_NONE && (piece->irp->flags & LHI_IRP_ASSOCIATED) && master != i)
            piece->master = master == SIZE_MAX ? LHI_NONE : master;
    }
    lhi_map_free(&addresses);
    return status;
}

/* Of several addresses the one that a packet uses is the one to show. */
static void prefer_named_address(lhi_case *c)
{
    for (size_t i = 0; i < c->packet_count; i++) {
        const lhi_packet *packet = &c->packets[i];
        if (packet->mdl == LHI_NONE || packet->irp->state != LHI_IRP_PENDING)
            continue;
        lhi_record *record = &c->records[packet->mdl];
        if (lhi_vec_find(&record->addresses, packet->irp->mdl) != SIZE_MAX)
            record->mdl.address = packet->irp->mdl;
    }
}

static lh_status by_mdl_address(lhi_case *c, lh_error *err)
{
    /* Packets found as pieces of a master: the record that their MdlAddress names, if it is one of ours. */
    lhi_map addresses = {0};
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < c->record_count; i++)
        for (size_t k = 0; k < c->records[i].addresses.count; k++)
            if (!lhi_map_put(&addresses, c->records[i].addresses.data[k], i))
                status = lhi_fail_memory(err);
    for (size_t i = 0; status == LH_OK && i < c->packet_count; i++) {
        lhi_packet *packet = &c->packets[i];
        size_t record = packet->irp->mdl ? lhi_map_get(&addresses, packet->irp->mdl) : SIZE_MAX;
        if (packet->mdl != LHI_NONE || record == SIZE_MAX)
            continue;
        packet->mdl = record;
        if (!lhi_vec_push(&c->records[record].packets, i))
            status = lhi_fail_memory(err);
    }
    lhi_map_free(&addresses);
    return status;
}

/* The MDL that the bug check names is looked for even where its Process field leads nowhere. */
static lh_status take_subject(lhi_gather *g, lh_error *err)
{
    lhi_case *c = g->c;
    uint64_t identity = 0, budget = 0;
    lhi_mdl mdl = {0};
    lhi_mdl_read(c->kernel, c->subject_mdl, 0, &budget, &mdl);
    if (mdl.klass == LHI_MDL_NOT_ONE || mdl.klass == LHI_MDL_UNREADABLE ||
        lhi_space_identity(&c->kernel->space, c->subject_mdl + c->kernel->layout->offsets[LHI_F_MDL_Process],
                           &identity) != LH_PRESENT ||
        lhi_map_get(&g->records, identity) != SIZE_MAX)
        return LH_OK;
    lhi_record *record = lhi_gather_record(g, identity, &mdl, 0);
    if (!record || !lhi_vec_push(&record->addresses, c->subject_mdl))
        return lhi_fail_memory(err);
    record->names_process = true;
    return LH_OK;
}

/* A head of a list of freed MDLs, by what it says of itself. */
static lh_status take_list(lhi_case *c, const lhi_pass *pass, size_t hit, lh_error *err)
{
    size_t first = 0;
    if (lhi_reverse_find(&pass->map, pass->hits.physical[hit] >> 12, &first) == 0)
        return LH_OK;
    const uint64_t va = pass->map.va[first] + (pass->hits.physical[hit] & 0xfff);
    return lhi_free_lists_show(c->kernel, va - LHI_LIST_MARK, &c->freed, err);
}

/* The addresses of processes, and the marks of lists of freed MDLs: processors need not lead to all of them.
 */
static lh_status search_processes(lhi_gather *g, lh_error *err)
{
    lhi_case *c = g->c;
    lhi_pass pass = {0};
    lhi_vec values = {0};
    bool enough = c->targets.count ? lhi_vec_append(&values, c->targets.data, c->targets.count)
                                   : lhi_vec_push(&values, c->target);
    for (unsigned i = 0; enough && i < LHI_LIST_MARKS; i++)
        enough = lhi_vec_push(&values, lhi_free_list_mark(i));
    lh_status status =
        enough ? lhi_case_pass(c, values.data, values.count, 8, &pass, err) : lhi_fail_memory(err);
    for (size_t i = 0; status == LH_OK && i < pass.hits.count; i++) {
        if (i % 256 == 0)
            status = lhi_case_poll(c, err);
        if (status == LH_OK)
            status = lhi_is_kernel(pass.hits.value[i]) ? take_candidate(g, &pass, i, err)
                                                       : take_list(c, &pass, i, err);
    }
    lhi_free_lists_sort(&c->freed);
    lhi_case_pass_free(&pass);
    lhi_vec_free(&values);
    return status;
}

lh_status lhi_case_gather(lhi_case *c, lh_error *err)
{
    lhi_gather g = {.c = c};
    lh_status status = lhi_free_lists_read(c->kernel, &c->freed, err);
    if (status == LH_OK && (c->targets.count || c->target))
        status = search_processes(&g, err);
    if (status == LH_OK && c->subject_mdl)
        status = take_subject(&g, err);
    for (uint32_t level = 1; status == LH_OK; level++) {
        if (!collect_needles(&g)) {
            status = lhi_fail_memory(err);
            break;
        }
        if (g.needle_count == 0)
            break;
        if (level >= c->options.limits.levels) {
            lhi_case_limit(c, "levels");
            break;
        }
        status = search_needles(&g, err);
    }
    if (status == LH_OK) {
        status = link_masters(c, err);
    }
    if (status == LH_OK)
        status = by_mdl_address(c, err);
    if (status == LH_OK)
        prefer_named_address(c);
    lhi_free(g.needles);
    lhi_vec_free(&g.contexts);
    lhi_map_free(&g.records);
    lhi_map_free(&g.packets);
    return status;
}
