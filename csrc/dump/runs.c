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

/* Number of leading runs that stand without contradiction; *bad is the run that ended them. */
static uint32_t believable(const lhi_memory_run *run, uint32_t count, uint32_t *bad, const char **reason)
{
    for (uint32_t i = 0; i < count; i++) {
        *bad = i;
        if (run[i].pfn >= LHI_PFN_LIMIT || run[i].count > LHI_PFN_LIMIT - run[i].pfn) {
            *reason = "lies beyond the end of physical memory";
            return i;
        }
        /* Either of two runs that claim one page may be wrong, and with it the place of all pages behind
         * it: none of them is used. */
        for (uint32_t j = 0; j < i; j++)
            if (overlap(&run[j], &run[i])) {
                *reason = "claims pages of another run";
                return j;
            }
    }
    return count;
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

    lhi_memory_run run[LHI_MOST_RUNS] = {{0}};
    for (uint32_t i = 0; i < stated; i++) {
        const uint8_t *entry = header + FIRST_RUN + i * RUN_SIZE;
        run[i] = (lhi_memory_run){.pfn = lhi_u64(entry), .count = lhi_u64(entry + 8)};
    }
    uint32_t bad = 0;
    const char *reason = "";
    uint32_t kept = believable(run, stated, &bad, &reason);
    if (kept < stated)
        lhi_note(notes, "memory run %u %s: runs %u to %u of the header are not used", (unsigned)bad, reason,
                 (unsigned)kept, (unsigned)(stated - 1));

    runs.ascending = true;
    for (uint32_t i = 0; i < kept; i++) {
        run[i].first = runs.pages;
        runs.pages += run[i].count; /* 42 x 2^40 can't overflow */
        if (!run[i].count)
            continue;
        runs.ascending = runs.ascending && (!runs.count || runs.run[runs.count - 1].pfn < run[i].pfn);
        runs.run[runs.count++] = run[i];
    }
    if (!runs.count)
        return fail_run(err, bad, kept < stated ? reason : "has no pages");
    if (!runs.ascending) {
        lhi_note(notes, "the memory runs of the header are not in ascending order");
        sort(runs.run, runs.count);
    }
    uint64_t claimed = lhi_u64(header + NUMBER_OF_PAGES);
    runs.claimed = claimed == LHI_UNSET64 ? 0 : claimed;
    /* Runs left out behind a complete list (a damaged NumberOfRuns) are no loss. */
    runs.cut = kept < stated && runs.claimed != runs.pages;
    *out = runs;
    return LH_OK;
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
