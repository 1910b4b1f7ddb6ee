/* Which of the locks found still stand, without a look at the count of the bug check; then the ledger. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "case/case.h"

#define MOST_ENTRIES (1u << 20) /* PFN entries looked up in one case */

/* The structure was given back while its flags still say locked. */
static void find_freed(const lhi_case *c, lhi_record *record)
{
    bool state_known = false;
    for (size_t i = 0; i < record->addresses.count && !record->freed; i++) {
        uint64_t va = record->addresses.data[i];
        lhi_pool_block block = {0};
        if (lhi_vec_find(&c->freed.mdls, va) != SIZE_MAX) {
            record->freed = true;
            record->freed_reason = "it lies on a lookaside list of freed MDLs";
            return;
        }
        lhi_pool_block_at(c->kernel, va, &block);
        state_known = state_known || (block.found && block.state != LHI_POOL_UNKNOWN);
        if ((block.found && block.state == LHI_POOL_FREE) || lhi_pool_says_free(c->kernel, va, "Mdl ")) {
            record->freed = true;
            record->freed_reason = "it lies in a free pool block";
        }
    }
    bool lists_matter = (record->mdl.flags & LHI_MDL_ALLOCATED_FIXED_SIZE) != 0;
    record->pool_unknown = !record->freed && !lists_matter && !state_known;
    record->block_unknown = !record->freed && !state_known;
    record->lists_unknown = !record->freed && lists_matter && !c->freed.complete;
    record->liveness_unknown = !record->freed && (!state_known || (lists_matter && !c->freed.complete));
}

/* References to a page that others may share prove no lock. */
static bool is_private(const lhi_pfn_entry *entry, const lhi_self_map *tables)
{
    return entry->counts_alone ||
           (tables->begin != 0 && entry->pte_address >= tables->begin && entry->pte_address <= tables->end);
}

/* The second book: a frame that nothing refers to is not locked. */
static void ask_frames(const lhi_case *c, const lhi_self_map *tables, lhi_record *record, uint64_t *budget)
{
    uint64_t frames[64];
    for (uint64_t first = 0; first < record->mdl.pages && *budget;) {
        size_t wanted = record->mdl.pages - first < 64 ? (size_t)(record->mdl.pages - first) : 64;
        size_t got = lhi_mdl_frames(c->kernel, &record->mdl, first, frames, wanted);
        for (size_t i = 0; i < got && *budget; i++, (*budget)--) {
            lhi_pfn_entry entry = {0};
            lhi_pfn_read(c->kernel, frames[i], &entry);
            if (entry.absence != LH_PRESENT)
                record->frames_unknown++;
            else if (entry.blank)
                record->frames_blank++;
            else if (entry.references == 0)
                record->frames_unreferenced++;
            else
                record->frames_referenced++;
            if (entry.absence == LH_PRESENT && entry.references > 0 && is_private(&entry, tables))
                record->frames_private++;
        }
        record->frames_unknown += wanted - got;
        first += wanted;
    }
}

/* A database in which no frame of any lock has a reference, and entries are zero throughout, was not kept for
 * such pages: it says nothing of them. Else a page without an entry is one that nobody refers to. */
static void settle_blanks(lhi_case *c)
{
    bool kept = false;
    for (size_t i = 0; i < c->record_count && !kept; i++)
        kept = c->records[i].frames_referenced != 0 || c->records[i].frames_unreferenced != 0;
    for (size_t i = 0; i < c->record_count; i++) {
        lhi_record *record = &c->records[i];
        *(kept ? &record->frames_unreferenced : &record->frames_unknown) += record->frames_blank;
    }
}

static bool has_pending_packet(const lhi_case *c, const lhi_record *record, unsigned depth)
{
    for (size_t i = 0; i < record->packets.count; i++)
        if (c->packets[record->packets.data[i]].irp->state == LHI_IRP_PENDING)
            return true;
    for (size_t i = 0; depth && i < record->predecessors.count && i < 16; i++)
        if (has_pending_packet(c, &c->records[record->predecessors.data[i]], depth - 1))
            return true;
    return false;
}

/* An MDL with the flag of the lists of MDLs has a pool block to itself (IoAllocateMdl sets it,
 * MmInitializeMdl clears it). Inside another structure, or in a module, it is likely a copy. */
static bool is_displaced(const lhi_case *c, const lhi_record *record)
{
    const uint64_t at = record->mdl.address;
    lhi_pool_block block = {0};
    if (!(record->mdl.flags & LHI_MDL_ALLOCATED_FIXED_SIZE))
        return false;
    lhi_pool_block_at(c->kernel, at, &block);
    return lhi_module_at(&c->kernel->modules, at) || (block.found && block.body != at);
}

typedef struct lhi_twin {
    uint64_t process, start, hash;
    uint32_t offset, count;
    size_t index;
    unsigned rank;
} lhi_twin;

static int by_content(const void *a, const void *b)
{
    const lhi_twin *x = a, *y = b;
    if (x->process != y->process)
        return x->process < y->process ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Lowest reference count of the frames; 0 where it proves nothing: not known, or of shared pages. */
static uint64_t least_references(const lhi_case *c, const lhi_record *record)
{
    uint64_t frames[64], least = UINT64_MAX;
    if (record->frames_unknown || record->frames_private != record->mdl.pages)
        return 0;
    for (uint64_t first = 0; first < record->mdl.pages; first += 64) {
        size_t wanted = record->mdl.pages - first < 64 ? (size_t)(record->mdl.pages - first) : 64;
        size_t got = lhi_mdl_frames(c->kernel, &record->mdl, first, frames, wanted);
        for (size_t i = 0; i < got; i++) {
            lhi_pfn_entry entry = {0};
            lhi_pfn_read(c->kernel, frames[i], &entry);
            if (entry.absence != LH_PRESENT)
                return 0;
            if (entry.references < least)
                least = entry.references;
        }
    }
    return least == UINT64_MAX ? 0 : least;
}

/* Which of several descriptions of the same pages is most likely the lock: one that a pending packet names,
 * then one that is a pool block of its own. */
static unsigned rank(const lhi_case *c, const lhi_record *record)
{
    lhi_pool_block block = {0};
    if (has_pending_packet(c, record, 8))
        return 2;
    lhi_pool_block_at(c->kernel, record->mdl.address, &block);
    return block.found && block.body == record->mdl.address;
}

/* One group of records that describe the same pages: `locks` of them stand, the rest are copies of the
 * structure. */
static void settle_group(lhi_case *c, lhi_twin *twins, size_t count)
{
    uint64_t locks = least_references(c, &c->records[twins[0].index]);
    bool counted = locks != 0;
    uint64_t standing = 0, named = 0;
    for (size_t i = 0; i < count; i++) {
        twins[i].rank = rank(c, &c->records[twins[i].index]);
        c->records[twins[i].index].twin = true;
        named += twins[i].rank == 2;
    }
    /* More pending packets than locks that are proven: one of the packets may name a copy, and which can't be
     * told. */
    for (size_t i = 0; i < count && named > 1 && locks < named; i++)
        c->records[twins[i].index].ambiguous = true;
    /* Where no count says how many stand, each that a packet names stays in the ledger. */
    if (!counted && locks < named)
        locks = named;
    if (locks == 0)
        locks = 1;
    for (int want = 2; want >= 0; want--) {
        for (size_t i = 0; i < count; i++) {
            lhi_record *record = &c->records[twins[i].index];
            if (twins[i].rank != (unsigned)want)
                continue;
            if (standing < locks) {
                standing++;
            } else {
                record->copy = true;
                record->in_ledger = false;
                if (!counted)
                    c->explained_most += record->mdl.pages;
            }
        }
    }
}

/* Blocks of one kind with an MDL at the same place each: a driver's own structures. */
static bool are_siblings(const lhi_case *c, const lhi_mdl *x, const lhi_mdl *y)
{
    lhi_pool_block a = {0}, b = {0};
    lhi_pool_block_at(c->kernel, x->address, &a);
    lhi_pool_block_at(c->kernel, y->address, &b);
    return a.found && b.found && a.size == b.size && strcmp(a.tag, b.tag) == 0 &&
           x->address - a.body == y->address - b.body;
}

/* Two with the same header, word for word, and other frames behind it. */
static bool same_header(const lhi_mdl *x, const lhi_mdl *y)
{
    return x->next == y->next && x->size == y->size && x->flags == y->flags && x->mapped_va == y->mapped_va;
}

/* A driver that notes an MDL may copy its header alone, and what follows there passes for frames. The one
 * that has a block to itself, or a packet, is the MDL; where none has, which of them is can't be told. */
static void settle_headers(lhi_case *c, lhi_twin *twins, size_t count)
{
    for (size_t i = 0; i < count; i++)
        twins[i].rank = rank(c, &c->records[twins[i].index]);
    for (size_t i = 0; i < count; i++) {
        lhi_record *record = &c->records[twins[i].index];
        for (size_t k = 0; k < count && k < 64 && twins[i].rank == 0; k++) {
            const lhi_record *other = &c->records[twins[k].index];
            if (twins[k].hash == twins[i].hash || !same_header(&record->mdl, &other->mdl) ||
                are_siblings(c, &record->mdl, &other->mdl))
                continue;
            record->twin = true;
            record->copied = record->copied || twins[k].rank != 0;
        }
        if (record->copied) {
            record->copy = true;
            record->in_ledger = false;
        }
    }
}

/* Same process and same bytes of it: one run of rows after sorting. */
static bool same_buffer(const lhi_twin *x, const lhi_twin *y)
{
    return x->process == y->process && x->start == y->start && x->offset == y->offset && x->count == y->count;
}

/* The same pages described twice: two locks, or a driver's copy of the structure. Only references tell. */
static lh_status find_copies(lhi_case *c, lh_error *err)
{
    lhi_twin *twins = lhi_realloc_array(NULL, c->record_count ? c->record_count : 1, sizeof *twins);
    size_t count = 0;
    if (!twins)
        return lhi_fail_memory(err);
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_mdl *mdl = &c->records[i].mdl;
        if (c->records[i].in_ledger && mdl->frames_checked)
            twins[count++] = (lhi_twin){c->records[i].process,
                                        mdl->start_va,
                                        mdl->frames_hash,
                                        mdl->byte_offset,
                                        mdl->byte_count,
                                        i,
                                        0};
    }
    if (count)
        qsort(twins, count, sizeof *twins, by_content);
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && same_buffer(&twins[end], &twins[i]) && twins[end].hash == twins[i].hash)
            end++;
        if (end - i > 1)
            settle_group(c, twins + i, end - i);
        i = end;
    }
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && same_buffer(&twins[end], &twins[i]))
            end++;
        if (end - i > 1)
            settle_headers(c, twins + i, end - i);
        i = end;
    }
    lhi_free(twins);
    return LH_OK;
}

lh_status lhi_case_liveness(lhi_case *c, lh_error *err)
{
    uint64_t budget = MOST_ENTRIES;
    const lhi_self_map tables = lhi_self_map_find(c->kernel);
    for (size_t i = 0; i < c->record_count; i++) {
        lhi_record *record = &c->records[i];
        lh_status polled = i % 256 == 0 ? lhi_case_poll(c, err) : LH_OK;
        if (polled != LH_OK)
            return polled;
        if (record->mdl.klass != LHI_MDL_CHARGED || !record->names_process)
            continue;
        find_freed(c, record);
        if (!(record->mdl.flags & LHI_MDL_IO_SPACE))
            ask_frames(c, &tables, record, &budget);
    }
    settle_blanks(c);
    for (size_t i = 0; i < c->record_count; i++) {
        lhi_record *record = &c->records[i];
        if (record->mdl.klass != LHI_MDL_CHARGED || !record->names_process)
            continue;
        record->refuted = record->frames_unreferenced > 0;
        record->displaced = is_displaced(c, record);
        record->in_ledger = !record->refuted;
        bool referenced = record->frames_private > 0 && record->frames_unknown == 0;
        if (record->freed)
            record->state = LH_MDL_FREED_LOCKED;
        else if (!record->liveness_unknown || referenced || has_pending_packet(c, record, 8))
            record->state = LH_MDL_LOCKED;
        else
            record->state = LH_MDL_UNKNOWN;
    }
    lh_status status = find_copies(c, err);
    for (size_t i = 0; i < c->record_count; i++)
        if (c->records[i].in_ledger)
            c->explained += c->records[i].mdl.pages;
    c->explained_most += c->explained;
    c->explained_least = c->explained;
    c->unexplained = c->charged_known && c->charged > c->explained ? c->charged - c->explained : 0;
    return status;
}
