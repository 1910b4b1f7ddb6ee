/* The overlay: another lookup seen without some pages, or with some replaced. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/vec.h"
#include "dump/lookup.h"

#include <stdlib.h>
#include <string.h>

typedef struct lhi_overlay {
    lhi_pages pages;
    const lhi_pages *below;
    uint64_t *pfns; /* ascending, unique */
    size_t count;
    uint8_t *bytes; /* a page for each PFN, in that order; NULL when they are removed */
} lhi_overlay;

/* How many PFNs follow one another without a gap from index on. */
static size_t consecutive(const lhi_overlay *overlay, size_t index)
{
    size_t count = 1;
    while (index + count < overlay->count && overlay->pfns[index + count] == overlay->pfns[index] + count)
        count++;
    return count;
}

static lh_absence find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const lhi_overlay *overlay = (const lhi_overlay *)pages;
    size_t index = lhi_lower_bound(overlay->pfns, overlay->count, pfn);
    if (index == overlay->count || overlay->pfns[index] != pfn)
        return lhi_pages_find(overlay->below, pfn, out);
    if (overlay->bytes) {
        *out = (lhi_run){.pfn = pfn,
                         .count = 1,
                         .offset = LHI_NOT_IN_FILE,
                         .memory = overlay->bytes + index * LHI_PAGE_SIZE};
        return LH_PRESENT;
    }
    lhi_run removed = {0};
    lh_absence below = lhi_pages_find(overlay->below, pfn, &removed);
    return below == LH_ABSENT_NOT_RAM ? below : LH_ABSENT_NOT_CAPTURED;
}

/* Drops the first `skip` pages of a run. */
static void advance(lhi_run *run, uint64_t skip)
{
    run->pfn += skip;
    run->count -= skip;
    if (run->memory)
        run->memory += skip * LHI_PAGE_SIZE;
    else
        run->offset += skip * LHI_PAGE_SIZE;
}

static void next_without(const lhi_overlay *overlay, uint64_t pfn, lhi_run *out)
{
    lhi_run run = {0};
    for (lhi_pages_next(overlay->below, pfn, &run); run.count; lhi_pages_next(overlay->below, pfn, &run)) {
        size_t index = lhi_lower_bound(overlay->pfns, overlay->count, run.pfn);
        if (index < overlay->count && overlay->pfns[index] == run.pfn) {
            size_t gone = consecutive(overlay, index);
            pfn = run.pfn + gone;
            if (gone >= run.count)
                continue;
            advance(&run, gone);
            index += gone;
        }
        if (index < overlay->count && overlay->pfns[index] - run.pfn < run.count)
            run.count = overlay->pfns[index] - run.pfn;
        *out = run;
        return;
    }
}

static void next_with(const lhi_overlay *overlay, uint64_t pfn, lhi_run *out)
{
    lhi_run run = {0};
    lhi_pages_next(overlay->below, pfn, &run);
    size_t index = lhi_lower_bound(overlay->pfns, overlay->count, pfn);
    if (index < overlay->count && (!run.count || overlay->pfns[index] <= run.pfn)) {
        *out = (lhi_run){.pfn = overlay->pfns[index],
                         .count = consecutive(overlay, index),
                         .offset = LHI_NOT_IN_FILE,
                         .memory = overlay->bytes + index * LHI_PAGE_SIZE};
        return;
    }
    if (!run.count)
        return;
    if (index < overlay->count && overlay->pfns[index] - run.pfn < run.count)
        run.count = overlay->pfns[index] - run.pfn;
    *out = run;
}

static void next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const lhi_overlay *overlay = (const lhi_overlay *)pages;
    if (overlay->bytes)
        next_with(overlay, pfn, out);
    else
        next_without(overlay, pfn, out);
}

static void destroy(lhi_pages *pages)
{
    lhi_overlay *overlay = (lhi_overlay *)pages;
    lhi_free(overlay->pfns);
    lhi_free(overlay->bytes);
    lhi_free(overlay);
}

static const lhi_pages_ops overlay_ops = {find, next, destroy};

typedef struct lhi_wish {
    uint64_t pfn;
    size_t index; /* in the caller's order */
} lhi_wish;

static int compare(const void *left, const void *right)
{
    const lhi_wish *a = left;
    const lhi_wish *b = right;
    if (a->pfn != b->pfn)
        return a->pfn < b->pfn ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* The overlay's own PFNs, ascending, and their bytes; of equal ones the last given. */
static lh_status fill(lhi_overlay *overlay, const uint64_t *pfns, const uint8_t *bytes, size_t count,
                      lh_error *err)
{
    lh_status status = LH_OK;
    lhi_wish *wishes = lhi_realloc_array(NULL, count, sizeof *wishes);
    overlay->pfns = lhi_realloc_array(NULL, count, sizeof *overlay->pfns);
    if (bytes)
        overlay->bytes = lhi_realloc_array(NULL, count, LHI_PAGE_SIZE);
    if (!wishes || !overlay->pfns || (bytes && !overlay->bytes)) {
        status = lhi_fail_memory(err);
        goto done;
    }
    for (size_t i = 0; i < count; i++)
        wishes[i] = (lhi_wish){.pfn = pfns[i], .index = i};
    if (count)
        qsort(wishes, count, sizeof *wishes, compare);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && wishes[i + 1].pfn == wishes[i].pfn)
            continue;
        overlay->pfns[overlay->count] = wishes[i].pfn;
        if (bytes)
            memcpy(overlay->bytes + overlay->count * LHI_PAGE_SIZE, bytes + wishes[i].index * LHI_PAGE_SIZE,
                   LHI_PAGE_SIZE);
        overlay->count++;
    }
done:
    lhi_free(wishes);
    return status;
}

/* The numbers of the lookup below, corrected page by page. */
static void count_pages(lhi_overlay *overlay)
{
    lhi_pages *pages = &overlay->pages;
    for (size_t i = 0; i < overlay->count; i++) {
        lhi_run place = {0};
        lh_absence below = lhi_pages_find(overlay->below, overlay->pfns[i], &place);
        bool described = below == LH_PRESENT || below == LH_ABSENT_CLIPPED;
        if (below == LH_PRESENT)
            pages->present--;
        if (below == LH_ABSENT_CLIPPED && pages->clipped)
            pages->clipped--;
        if (described && pages->described)
            pages->described--;
        if (overlay->bytes) {
            pages->present++;
            pages->described++;
        }
    }
    if (overlay->bytes) {
        uint64_t end = overlay->count ? overlay->pfns[overlay->count - 1] + 1 : 0;
        if (end > pages->end_pfn)
            pages->end_pfn = end;
        return;
    }
    size_t last = lhi_lower_bound(overlay->pfns, overlay->count, pages->end_pfn);
    if (!last || overlay->pfns[last - 1] != pages->end_pfn - 1)
        return;
    /* The highest page is gone. Lookups go upward only, so the new highest one is found by going through. */
    uint64_t end = 0;
    lhi_run run = {0};
    for (lhi_pages_next(pages, 0, &run); run.count; lhi_pages_next(pages, end, &run))
        end = run.pfn + run.count;
    pages->end_pfn = end;
}

lh_status lhi_overlay_open(const lhi_pages *below, const uint64_t *pfns, const void *bytes, size_t count,
                           lhi_pages **out, lh_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (pfns[i] >= LHI_PFN_LIMIT)
            return lhi_fail_argument(err, "pfns", "0x%llx is beyond physical memory",
                                     (unsigned long long)pfns[i]);
    lhi_overlay *overlay = lhi_calloc(1, sizeof *overlay);
    if (!overlay)
        return lhi_fail_memory(err);
    overlay->pages = *below;
    overlay->pages.ops = &overlay_ops;
    overlay->below = below;
    lh_status status = fill(overlay, pfns, bytes, count, err);
    if (status != LH_OK) {
        destroy(&overlay->pages);
        return status;
    }
    count_pages(overlay);
    *out = &overlay->pages;
    return LH_OK;
}
