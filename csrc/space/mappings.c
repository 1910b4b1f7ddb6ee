/* Lists what the kernel half maps, in the order of addresses: the ground of the coverage figures. */
#include "space/space.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "space/tables.h"

/* Times that one table, met through several entries, is listed again. */
#define VISITS 8

/* PWT and PCD (Intel SDM volume 3, 4-level paging): how device memory is mapped, and RAM is not. */
#define UNCACHED 0x18u

typedef struct listing {
    const lhi_space *space;
    void (*visit)(void *user, const lhi_mapping *mapping);
    void *user;
    lhi_mapping open; /* grows while what follows continues it */
    lhi_tables tables;
    uint8_t *visits; /* parallel to tables.keys */
    size_t visit_capacity;
    uint64_t steps; /* left for looking into large pages */
    uint8_t buffers[4][LHI_PAGE_SIZE];
} listing;

static void flush(listing *l)
{
    if (l->open.pages != 0)
        l->visit(l->user, &l->open);
    l->open.pages = 0;
}

static void emit(listing *l, uint64_t va, uint64_t pages, lh_absence state, bool uncached, bool transition)
{
    uncached = uncached && state != LH_PRESENT;
    if (l->open.pages != 0 && l->open.state == state && l->open.uncached == uncached &&
        l->open.transition == transition && l->open.va + l->open.pages * LHI_PAGE_SIZE == va) {
        l->open.pages += pages;
        return;
    }
    flush(l);
    l->open = (lhi_mapping){va, pages, state, uncached, transition};
}

/* A page of `count` frames, cut where presence changes. The first frame of an absent stretch speaks for it.
 */
static void emit_page(listing *l, uint64_t va, uint64_t frame, uint64_t count, bool uncached, bool transition)
{
    while (count != 0) {
        lhi_run run = {0};
        uint64_t n = count;
        lh_absence state = LH_PRESENT;
        if (l->steps == 0) {
            emit(l, va, count, LH_ABSENT_TABLE, false, false);
            return;
        }
        l->steps--;
        if (count == 1) {
            state = lhi_pages_find(l->space->pages, frame, &run);
        } else {
            lhi_pages_next(l->space->pages, frame, &run);
            if (run.count != 0 && run.pfn == frame) {
                n = run.count < count ? run.count : count;
            } else {
                if (run.count != 0 && run.pfn - frame < count)
                    n = run.pfn - frame;
                state = lhi_pages_find(l->space->pages, frame, &run);
            }
        }
        emit(l, va, n, state, uncached, transition);
        va += n * LHI_PAGE_SIZE;
        frame += n;
        count -= n;
    }
}

/* Counts a visit of the table. *again: it may be listed (once more). */
static bool enter(listing *l, uint64_t frame, int level, bool *again)
{
    uint32_t index = 0;
    bool added = false;
    if (!lhi_tables_add(&l->tables, lhi_table_key(frame, level), &index, &added))
        return false;
    if (!lhi_grow(&l->visits, index, &l->visit_capacity, 1))
        return false;
    if (added)
        l->visits[index] = 0;
    *again = l->visits[index] < VISITS;
    if (*again)
        l->visits[index]++;
    return true;
}

/* Depth is at most four: each level down has a lower number. */
static lh_status list_table(listing *l, uint64_t frame, int level, uint64_t base, lh_error *err)
{
    const uint8_t *entries = NULL;
    bool again = false;
    uint32_t first = level == 4 ? LHI_ENTRY_COUNT / 2 : 0;
    uint64_t pages = lhi_entry_pages(level);
    lh_status status = LH_OK;
    if (!enter(l, frame, level, &again))
        return lhi_fail_memory(err);
    if (again)
        status = lhi_table_read(l->space->pages, frame, l->buffers[level - 1], &entries, err);
    if (status != LH_OK)
        return status;
    if (entries == NULL) {
        emit(l, base + ((uint64_t)first << lhi_entry_shift(level)), (LHI_ENTRY_COUNT - first) * pages,
             LH_ABSENT_TABLE, false, false);
        return LH_OK;
    }
    if (l->steps <= UINT64_MAX - LHI_ENTRY_COUNT)
        l->steps += LHI_ENTRY_COUNT;
    for (uint32_t slot = first; slot < LHI_ENTRY_COUNT; slot++) {
        uint64_t raw = lhi_u64(entries + 8 * (size_t)slot);
        uint64_t va = base + ((uint64_t)slot << lhi_entry_shift(level));
        lhi_entry entry = {0};
        if (raw == 0)
            continue;
        lhi_entry_decode(l->space->pages, raw, level, &entry);
        if (entry.kind == LHI_ENTRY_PAGE) {
            emit_page(l, va, entry.frame, pages, !entry.transition && (raw & UNCACHED) != 0,
                      entry.transition);
        } else if (entry.kind == LHI_ENTRY_TABLE &&
                   !(level == 4 && entry.frame == l->space->dtb / LHI_PAGE_SIZE)) {
            status = list_table(l, entry.frame, level - 1, va, err);
            if (status != LH_OK)
                return status;
        }
    }
    return LH_OK;
}

lh_status lhi_space_mappings(const lhi_space *space, void (*visit)(void *user, const lhi_mapping *mapping),
                             void *user, lh_error *err)
{
    listing *l = lhi_calloc(1, sizeof *l);
    lh_status status = LH_OK;
    if (l == NULL)
        return lhi_fail_memory(err);
    l->space = space;
    l->visit = visit;
    l->user = user;
    /* Enough for each present page to be a run of its own that eight large pages map. */
    l->steps = space->pages->present < UINT64_MAX / 32 ? space->pages->present * 16 + 4096 : UINT64_MAX;
    status = list_table(l, space->dtb / LHI_PAGE_SIZE, 4, 0xffffull << 48, err);
    if (status == LH_OK)
        flush(l);
    lhi_free(l->visits);
    lhi_tables_free(&l->tables);
    lhi_free(l);
    return status;
}
