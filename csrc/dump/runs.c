/* The physical memory descriptor: reads the machine's memory runs from a header and checks them. */
#include "dump/runs.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "dump/header.h"

#include <stdio.h>

#define NUMBER_OF_PAGES (LHI_HEADER_RUNS + 8u)
#define FIRST_RUN       (LHI_HEADER_RUNS + 16u)
#define RUN_SIZE        16u

static bool overlap(const lhi_memory_run *a, const lhi_memory_run *b)
{
    return a->pfn < b->pfn + b->count && b->pfn < a->pfn + a->count;
}

static lh_status fail_run(lh_error *err, uint32_t index, const char *reason)
{
    char field[48];
    snprintf(field, sizeof field, "PhysicalMemoryBlock.Run[%u]", (unsigned)index);
    return lhi_fail_field(err, LH_ERR_FORMAT, field, FIRST_RUN + (uint64_t)index * RUN_SIZE, "%s", reason);
}

/* What the header has, and which of it is believed. */
typedef struct lhi_candidates {
    lhi_memory_run run[LHI_MOST_RUNS]; /* in the header's order */
    bool refused[LHI_MOST_RUNS];
    uint32_t count;
    uint32_t bad; /* the first that shows a contradiction, and why */
    const char *reason;
} lhi_candidates;

static void refuse(lhi_candidates *all, uint32_t index, const char *reason)
{
    if (!all->reason) {
        all->bad = index;
        all->reason = reason;
    }
    all->refused[index] = true;
}

/* Refuses runs that can't lie where they claim. Of two that claim one page either may be wrong: both go. */
static void refuse_impossible(lhi_candidates *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const lhi_memory_run *run = &all->run[i];
        bool outside = run->pfn >= LHI_PFN_LIMIT || run->count > LHI_PFN_LIMIT - run->pfn;
        if (outside)
            refuse(all, i, "lies beyond the end of physical memory");
        for (uint32_t j = 0; j < i && !outside; j++) {
            const lhi_memory_run *other = &all->run[j];
            bool valid = other->pfn < LHI_PFN_LIMIT && other->count <= LHI_PFN_LIMIT - other->pfn;
            if (valid && overlap(other, run)) {
                refuse(all, i, "claims pages of another run");
                refuse(all, j, all->reason);
            }
        }
    }
}

/* Numbers the runs' first pages. The place of a page hangs on all counts before it, so behind a refused run
 * nothing is believed, unless NumberOfPages bears the counts out: then only the refused runs themselves lie.
 */
static void number(lhi_candidates *all, uint64_t claimed)
{
    uint64_t pages = 0;
    bool sane = true;
    for (uint32_t i = 0; i < all->count; i++) {
        all->run[i].first = pages;
        sane = sane && all->run[i].count <= LHI_PFN_LIMIT;
        pages += sane ? all->run[i].count : 0; /* 42 * 2^40 can't overflow */
    }
    bool confirmed = sane && pages == claimed;
    bool lost = false;
    for (uint32_t i = 0; i < all->count; i++) {
        lost = lost || (all->refused[i] && !confirmed);
        all->refused[i] = all->refused[i] || lost;
    }
}

static void sort(lhi_memory_run *run, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        lhi_memory_run moving = run[i];
        uint32_t at = i;
        for (; at && run[at - 1].pfn > moving.pfn; at--)
            run[at] = run[at - 1];
        run[at] = moving;
    }
}

lh_status lhi_runs_parse(const uint8_t *header, lhi_runs *out, lhi_notes *notes, lh_error *err)
{
    lhi_runs runs = {0};
    uint32_t stated =
        lhi_u32(header + LHI_HEADER_RUNS); /* 32 bits: the pad behind it holds PAGE (facts 1.4) */
    if (stated == LHI_UNSET32)
        return lhi_fail_field(err, LH_ERR_FORMAT, "PhysicalMemoryBlock.NumberOfRuns", LHI_HEADER_RUNS,
                              "was never set");
    if (!stated || stated > LHI_MOST_RUNS)
        return lhi_fail_field(err, LH_ERR_FORMAT, "PhysicalMemoryBlock.NumberOfRuns", LHI_HEADER_RUNS,
                              "%u runs; the header has room for 1 to %u", (unsigned)stated, LHI_MOST_RUNS);

    uint64_t claimed = lhi_u64(header + NUMBER_OF_PAGES);
    lhi_candidates all = {.count = stated};
    for (uint32_t i = 0; i < stated; i++) {
        const uint8_t *entry = header + FIRST_RUN + (size_t)i * RUN_SIZE;
        all.run[i] = (lhi_memory_run){.pfn = lhi_u64(entry), .count = lhi_u64(entry + 8)};
    }
    refuse_impossible(&all);
    number(&all, claimed);

    uint32_t refused = 0;
    runs.ascending = true;
    for (uint32_t i = 0; i < stated; i++) {
        refused += all.refused[i];
        if (all.refused[i] || !all.run[i].count)
            continue;
        runs.ascending = runs.ascending && (!runs.count || runs.run[runs.count - 1].pfn < all.run[i].pfn);
        runs.pages += all.run[i].count;
        runs.run[runs.count++] = all.run[i];
    }
    if (!runs.count)
        return fail_run(err, all.bad, all.reason ? all.reason : "has no pages");
    if (refused)
        lhi_note(notes, "memory run %u of the header %s: %u of %u runs are not used", (unsigned)all.bad,
                 all.reason, (unsigned)refused, (unsigned)stated);
    if (!runs.ascending) {
        lhi_note(notes, "the memory runs of the header are not in ascending order");
        sort(runs.run, runs.count);
    }
    runs.claimed = claimed == LHI_UNSET64 ? 0 : claimed;
    /* Runs refused behind a complete list (a damaged NumberOfRuns) are no loss. */
    runs.cut = refused && runs.claimed != runs.pages;
    *out = runs;
    return LH_OK;
}

const lhi_runs *lhi_runs_of_machine(const uint8_t *header, lhi_runs *out)
{
    lhi_notes ignored = {0};
    if (lhi_runs_parse(header, out, &ignored, NULL) != LH_OK)
        return NULL;
    return ignored.count == 0 && out->claimed == out->pages ? out : NULL;
}

const lhi_memory_run *lhi_runs_find(const lhi_runs *runs, uint64_t pfn)
{
    uint32_t low = 0;
    uint32_t high = runs->count;
    while (low < high) { /* first run above pfn */
        uint32_t middle = low + (high - low) / 2;
        if (runs->run[middle].pfn <= pfn)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low || pfn - runs->run[low - 1].pfn >= runs->run[low - 1].count)
        return NULL;
    return &runs->run[low - 1];
}
