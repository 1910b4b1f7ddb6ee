/* Full dumps (type 1): the header's memory runs, their pages back to back behind it. */
#include "base/alloc.h"
#include "base/checked.h"
#include "dump/formats.h"
#include "dump/header.h"
#include "source/source.h"

typedef struct lhi_full {
    lhi_pages pages;
    const lhi_runs *runs;
    uint64_t stored; /* pages that lie whole inside the file */
} lhi_full;

/* Page data start right behind the header (facts 1.4). */
static uint64_t place_of(uint64_t number)
{
    return LHI_HEADER_SIZE + number * LHI_PAGE_SIZE;
}

/* Pages of a run that are in the file. */
static uint64_t stored_of(const lhi_full *full, const lhi_memory_run *run)
{
    if (run->first >= full->stored)
        return 0;
    uint64_t rest = full->stored - run->first;
    return run->count < rest ? run->count : rest;
}

static lh_absence find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const lhi_full *full = (const lhi_full *)pages;
    const lhi_memory_run *run = lhi_runs_find(full->runs, pfn);
    if (!run)
        return full->runs->cut ? LH_ABSENT_NOT_CAPTURED : LH_ABSENT_NOT_RAM;
    uint64_t inside = pfn - run->pfn;
    if (inside >= stored_of(full, run))
        return LH_ABSENT_CLIPPED;
    *out = (lhi_run){.pfn = pfn, .count = 1, .offset = place_of(run->first + inside)};
    return LH_PRESENT;
}

static void next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const lhi_full *full = (const lhi_full *)pages;
    for (uint32_t i = 0; i < full->runs->count; i++) {
        const lhi_memory_run *run = &full->runs->run[i];
        uint64_t stored = stored_of(full, run);
        uint64_t skip = pfn > run->pfn ? pfn - run->pfn : 0;
        if (skip >= stored)
            continue;
        *out =
            (lhi_run){.pfn = run->pfn + skip, .count = stored - skip, .offset = place_of(run->first + skip)};
        return;
    }
}

static void destroy(lhi_pages *pages)
{
    lhi_free(pages);
}

static const lhi_pages_ops full_ops = {find, next, destroy};

/* The runs, NumberOfPages and the file's size say how many pages there are. Two of three must agree: with a
 * wrong count in one run all pages behind it would be read from the wrong place. */
static lh_status check_total(const lhi_runs *runs, uint64_t bytes, lhi_notes *notes, lh_error *err)
{
    uint64_t fit = bytes / LHI_PAGE_SIZE;
    bool exact = fit == runs->pages && bytes % LHI_PAGE_SIZE == 0;
    if (!runs->claimed || runs->claimed == runs->pages || runs->cut)
        return LH_OK;
    if (exact || (runs->pages <= fit && runs->claimed > fit)) {
        lhi_note(notes, "the header counts %llu pages; its runs and the file have %llu",
                 (unsigned long long)runs->claimed, (unsigned long long)runs->pages);
        return LH_OK;
    }
    return lhi_fail_field(err, LH_ERR_FORMAT, "PhysicalMemoryBlock.NumberOfPages", LHI_HEADER_RUNS + 8,
                          "%llu, but the runs have %llu pages and the file has room for %llu",
                          (unsigned long long)runs->claimed, (unsigned long long)runs->pages,
                          (unsigned long long)fit);
}

static lh_status open_pages(lhi_opened *file, lh_error *err)
{
    const lhi_runs *runs = &file->runs;
    uint64_t bytes = lhi_source_size(file->source) - LHI_HEADER_SIZE;
    lh_status status = check_total(runs, bytes, &file->notes, err);
    if (status != LH_OK)
        return status;
    lhi_full *full = lhi_calloc(1, sizeof *full);
    if (!full)
        return lhi_fail_memory(err);
    full->pages.ops = &full_ops;
    full->pages.source = file->source;
    full->runs = runs;
    full->stored = bytes / LHI_PAGE_SIZE;
    for (uint32_t i = 0; i < runs->count; i++) {
        uint64_t stored = stored_of(full, &runs->run[i]);
        full->pages.present += stored;
        if (stored)
            full->pages.end_pfn = runs->run[i].pfn + stored;
    }
    full->pages.described = runs->pages;
    if (runs->cut && runs->claimed > runs->pages && runs->claimed <= LHI_PFN_LIMIT)
        full->pages.described = runs->claimed;
    full->pages.clipped = full->pages.described - full->pages.present;
    full->pages.ram = runs->cut ? 0 : runs->pages;
    file->pages = &full->pages;
    return LH_OK;
}

static bool claims(const uint8_t *bytes, size_t size)
{
    return lhi_header_has_type(bytes, size, 1);
}

static lh_status open(lhi_opened *file, lh_error *err)
{
    lh_status status = lhi_header_read(file, err);
    if (status == LH_OK)
        status = lhi_runs_parse(file->header, &file->runs, &file->notes, err);
    return status == LH_OK ? open_pages(file, err) : status;
}

const lhi_format lhi_format_full = {"full", claims, open};
