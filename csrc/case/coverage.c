/* What of the kernel's memory the dump holds, by the regions in which a missing object could lie. */
#include "case/case.h"

typedef struct lhi_extent {
    uint64_t begin, end;
} lhi_extent;

typedef struct lhi_cover {
    lhi_case *c;
    bool pool_slot[512]; /* PML4 slots in which objects of this case lie */
    lhi_extent pfn;
} lhi_cover;

static unsigned slot_of(uint64_t va)
{
    return (unsigned)(va >> 39 & 511);
}

static void mark(lhi_cover *cover, uint64_t va)
{
    if (lhi_is_kernel(va) && !lhi_module_at(&cover->c->kernel->modules, va))
        cover->pool_slot[slot_of(va)] = true;
}

/* Windows gives non-paged pool its own PML4 slots: where objects of the case lie, others of their kind can.
 */
static void mark_objects(lhi_cover *cover)
{
    const lhi_case *c = cover->c;
    mark(cover, c->target);
    for (size_t i = 0; i < c->targets.count; i++)
        mark(cover, c->targets.data[i]);
    mark(cover, c->current.thread);
    mark(cover, c->current.process);
    for (size_t i = 0; i < c->record_count; i++)
        mark(cover, c->records[i].mdl.address);
    for (size_t i = 0; i < c->packet_count; i++) {
        mark(cover, c->packets[i].irp->address);
        mark(cover, c->packets[i].device.address);
    }
    for (size_t i = 0; i < c->party_count; i++)
        mark(cover, c->parties[i].driver.address);
    for (size_t i = 0; i < c->kernel->modules.loaded; i++)
        mark(cover, c->kernel->modules.items[i].entry);
}

static void count(lhi_region *region, const lhi_mapping *mapping, uint64_t pages)
{
    switch (mapping->state) {
    case LH_PRESENT:
        region->present += pages;
        break;
    case LH_ABSENT_CLIPPED:
        region->clipped += pages;
        break;
    case LH_ABSENT_NOT_RAM:
        if (mapping->uncached)
            region->device += pages;
        else
            region->not_ram += pages;
        break;
    default:
        region->not_captured += pages;
        break;
    }
}

/* The region of va, and where it ends at the latest. */
static lhi_region *region_of(lhi_cover *cover, uint64_t va, uint64_t *end)
{
    lhi_coverage *coverage = &cover->c->coverage;
    const lhi_modules *modules = &cover->c->kernel->modules;
    uint64_t slot_end = (va | ((1ull << 39) - 1)) + 1; /* 0 at the very top */
    *end = slot_end;
    if (va >= cover->pfn.begin && va < cover->pfn.end) {
        *end = cover->pfn.end;
        return &coverage->pfn;
    }
    if (cover->pfn.begin > va && cover->pfn.begin - va < *end - va)
        *end = cover->pfn.begin;
    const lhi_module *module = lhi_module_at(modules, va);
    if (module) {
        uint64_t module_end = module->base + ((module->size + 0xfff) & ~0xfffull);
        if (module_end > va && module_end - va < *end - va)
            *end = module_end;
        return &coverage->images;
    }
    /* The next module above va: loaded ones are sorted by base. */
    size_t low = 0, high = modules->loaded;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (modules->items[middle].base <= va)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < modules->loaded && modules->items[low].base - va < *end - va)
        *end = modules->items[low].base;
    return cover->pool_slot[slot_of(va)] ? &coverage->pool : &coverage->other;
}

static void visit(void *user, const lhi_mapping *mapping)
{
    lhi_cover *cover = user;
    if (mapping->state == LH_ABSENT_TABLE) {
        cover->c->coverage.tables_missing++;
        return;
    }
    if (mapping->transition) {
        count(&cover->c->coverage.transition, mapping, mapping->pages);
        return;
    }
    uint64_t va = mapping->va, left = mapping->pages;
    while (left) {
        uint64_t end = 0;
        lhi_region *region = region_of(cover, va, &end);
        uint64_t pages =
            (end - va) >> 12; /* end 0: the top of the address space, and the difference is right */
        if (pages == 0)
            pages = 1;
        if (pages > left)
            pages = left;
        count(region, mapping, pages);
        left -= pages;
        va += pages << 12;
    }
}

/* Pages of which the blocks hold something, and of the images those of which they hold nothing. */
static void cover_blocks(lhi_cover *cover, const lhi_blocks *blocks)
{
    const lhi_modules *modules = &cover->c->kernel->modules;
    lhi_coverage *coverage = &cover->c->coverage;
    uint64_t next = 0, image_pages = 0, end = 0;
    for (size_t i = 0; i < blocks->count; i++) {
        const lhi_block *block = &blocks->items[i];
        uint64_t page = block->va >> 12, last = (block->va + block->size - 1) >> 12;
        for (page = page > next ? page : next; page <= last; page++) {
            uint64_t ignored = 0;
            if (lhi_is_kernel(page << 12))
                region_of(cover, page << 12, &ignored)->present++;
        }
        next = last + 1;
    }
    for (size_t i = 0; i < modules->loaded; i++) { /* ascending; they may overlap */
        uint64_t begin = modules->items[i].base > end ? modules->items[i].base : end;
        uint64_t reach = modules->items[i].base + modules->items[i].size;
        if (reach > begin) {
            image_pages += (reach - begin + 0xfff) >> 12;
            end = reach;
        }
    }
    coverage->pieces = true;
    if (image_pages > coverage->images.present)
        coverage->images.not_captured = image_pages - coverage->images.present;
}

lh_status lhi_case_cover(lhi_case *c, lh_error *err)
{
    lhi_cover cover = {.c = c};
    uint64_t database = 0, ignored = 0;
    mark_objects(&cover);
    if (lhi_pfn_database(c->kernel, &database, &ignored) == LH_PRESENT) {
        uint64_t size = c->kernel->layout->sizes[LHI_SIZE_MMPFN];
        uint64_t frames = lhi_dump_header(c->kernel->dump)->highest_pfn + 1;
        if (size != 0 && frames < (UINT64_MAX - database) / size)
            cover.pfn = (lhi_extent){database & ~0xfffull, (database + frames * size + 0xfff) & ~0xfffull};
    }
    c->coverage.known = true;
    if (c->kernel->space.blocks) {
        cover_blocks(&cover, c->kernel->space.blocks);
        return LH_OK;
    }
    return lhi_space_mappings(&c->kernel->space, visit, &cover, err);
}

bool lhi_case_is_missing(lh_absence absence)
{
    switch (absence) {
    case LH_ABSENT_NOT_CAPTURED:
    case LH_ABSENT_CLIPPED:
    case LH_ABSENT_NOT_RAM:
    case LH_ABSENT_PAGED_OUT:
    case LH_ABSENT_PROTOTYPE:
    case LH_ABSENT_TABLE:
        return true;
    case LH_PRESENT:
    case LH_ABSENT_NOT_MAPPED:
    case LH_ABSENT_DEMAND_ZERO:
    case LH_ABSENT_NONCANONICAL:
    case LH_ABSENT_LAYOUT:
        break;
    }
    return false;
}

uint64_t lhi_region_lacks(const lhi_region *region)
{
    return region->not_captured + region->clipped + region->not_ram;
}

bool lhi_case_pool_could_hide(const lhi_case *c)
{
    const lhi_coverage *coverage = &c->coverage;
    return coverage->pieces || lhi_region_lacks(&coverage->pool) || lhi_region_lacks(&coverage->images) ||
           coverage->tables_missing || coverage->hits_unplaced || coverage->truncated;
}

bool lhi_case_could_hide(const lhi_case *c)
{
    return lhi_case_pool_could_hide(c) || lhi_region_lacks(&c->coverage.other) ||
           lhi_region_lacks(&c->coverage.transition);
}

/* ------------------------------------------------------------------ where holders could lie */

typedef struct lhi_kept {
    lhi_case *c;
    bool slot[512]; /* of stacks, and of the pool that may be paged out */
} lhi_kept;

static void visit_kept(void *user, const lhi_mapping *mapping)
{
    lhi_kept *kept = user;
    bool absent = mapping->state == LH_ABSENT_NOT_CAPTURED || mapping->state == LH_ABSENT_CLIPPED ||
                  (mapping->state == LH_ABSENT_NOT_RAM && !mapping->uncached);
    /* What was trimmed is as good as paged out, and nobody keeps the record of a lock in such memory who may
     * need it at raised IRQL. */
    if (absent && !mapping->transition && kept->slot[slot_of(mapping->va)])
        kept->c->holders_missing += mapping->pages;
}

lh_status lhi_case_cover_holders(lhi_case *c, lh_error *err)
{
    lhi_kept kept = {.c = c};
    const lhi_modules *modules = &c->kernel->modules;
    for (size_t i = 0; i < c->stacks.count; i++)
        kept.slot[slot_of(c->stacks.items[i].limit)] = true;
    /* The paths of modules lie in paged pool (UNICODE_STRING.Buffer at 8). */
    for (size_t i = 0; i < modules->loaded; i++) {
        uint64_t buffer = 0;
        uint64_t path =
            modules->items[i].entry + c->kernel->layout->offsets[LHI_F_KLDR_DATA_TABLE_ENTRY_FullDllName];
        if (lhi_space_u64(&c->kernel->space, path + 8, &buffer) == LH_PRESENT && lhi_is_kernel(buffer))
            kept.slot[slot_of(buffer)] = true;
    }
    return lhi_space_mappings(&c->kernel->space, visit_kept, &kept, err);
}

bool lhi_case_holder_could_hide(const lhi_case *c)
{
    /* Without the lists of threads the stacks are not known: they lie somewhere in the rest. Without that of
     * modules neither images are, nor whose routine stands beside a pointer. */
    return lhi_case_pool_could_hide(c) || c->holders_missing || !c->kernel->modules.complete ||
           (!c->stacks.complete && lhi_region_lacks(&c->coverage.other));
}
