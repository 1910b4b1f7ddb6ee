/* lh_search: one scan of the memory in a dump, then the virtual addresses of the hits in one sweep. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "nt/kernel.h"
#include "scan/scan.h"
#include "source/os.h"

#include <string.h>

struct lh_hits {
    atomic_size_t references;
    lh_dump *dump;     /* retained */
    lh_kernel *kernel; /* retained, or NULL */
    lhi_scan_result scan;
    uint64_t *virtuals; /* with a kernel, and of a triage dump */
    uint8_t *states;
};

#define STRUCT_MOST 4096u

static lh_status check_needles(const lh_search_options *options, lh_error *err)
{
    if (options->value_count > 0 && !options->values)
        return lhi_fail_argument(err, "values", "is NULL");
    if (options->range_count > 0 && !options->ranges)
        return lhi_fail_argument(err, "ranges", "is NULL");
    if (options->value_count == 0 && options->range_count == 0)
        return lhi_fail_argument(err, "values", "nothing to search for: no value and no range");
    /* A hit names its needle by a 32-bit number. */
    if (options->value_count > UINT32_MAX || options->range_count > UINT32_MAX - options->value_count)
        return lhi_fail_argument(err, "values", "more than 2^32 needles");
    for (size_t i = 0; i < options->range_count; i++) {
        if (options->ranges[i].begin > options->ranges[i].end)
            return lhi_fail_argument(err, "ranges", "range %zu begins at 0x%llx, behind its end 0x%llx", i,
                                     (unsigned long long)options->ranges[i].begin,
                                     (unsigned long long)options->ranges[i].end);
    }
    return LH_OK;
}

/* Checks the caller's options and completes them to today's struct. */
static lh_status check_options(const lh_search_options *given, lh_search_options *options, lh_error *err)
{
    if (!given)
        return lhi_fail_argument(err, "options", "is NULL");
    if (given->struct_size < offsetof(lh_search_options, ranges) || given->struct_size > STRUCT_MOST)
        return lhi_fail_argument(err, "struct_size", "%zu is no size of lh_search_options",
                                 given->struct_size);
    memset(options, 0, sizeof *options);
    memcpy(options, given, given->struct_size < sizeof *options ? given->struct_size : sizeof *options);
    if (options->align != 0 && options->align != 1 && options->align != 2 && options->align != 4 &&
        options->align != 8)
        return lhi_fail_argument(err, "align", "%u is not 1, 2, 4 or 8", (unsigned)options->align);
    if (!(options->seconds >= 0)) /* also not a number */
        return lhi_fail_argument(err, "seconds", "is negative or not a number");
    return check_needles(options, err);
}

static lh_status map_hits(lh_hits *hits, lh_error *err)
{
    const size_t count = hits->scan.count;
    hits->virtuals = lhi_calloc(count, sizeof *hits->virtuals);
    hits->states = lhi_calloc(count, sizeof *hits->states);
    if (!hits->virtuals || !hits->states)
        return lhi_fail_memory(err);
    return lh_kernel_map_physical(hits->kernel, hits->scan.physical, count, hits->virtuals, hits->states,
                                  err);
}

/* A triage dump has virtual addresses and no others. */
static lh_status search_blocks(lh_hits *hits, const lhi_blocks *blocks, const lhi_scan_options *scan,
                               lh_error *err)
{
    lh_status status = lhi_scan_blocks(blocks, scan, &hits->scan, err);
    if (status != LH_OK)
        return status;
    const size_t count = hits->scan.count;
    hits->virtuals = lhi_calloc(count, sizeof *hits->virtuals);
    hits->states = lhi_calloc(count, sizeof *hits->states); /* 0: mapped */
    if (!hits->virtuals || !hits->states)
        return lhi_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        hits->virtuals[i] = hits->scan.physical[i];
        hits->scan.physical[i] = UINT64_MAX;
    }
    return LH_OK;
}

lh_status lh_search(lh_dump *dump, lh_kernel *kernel, const lh_search_options *options, lh_hits **out,
                    lh_error *err)
{
    lh_search_options wanted = {0};
    lh_hits *hits = NULL;
    lh_status status = LH_OK;
    if (!dump)
        return lhi_fail_argument(err, "dump", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    if (kernel && kernel->dump != dump)
        return lhi_fail_argument(err, "kernel", "belongs to another dump");
    status = check_options(options, &wanted, err);
    if (status != LH_OK)
        return status;
    hits = lhi_calloc(1, sizeof *hits);
    if (!hits)
        return lhi_fail_memory(err);
    atomic_init(&hits->references, 1);
    hits->dump = lhi_dump_retain(dump);
    hits->kernel = kernel ? lhi_kernel_retain(kernel) : NULL;
    const lhi_scan_options scan = {
        .values = wanted.values,
        .value_count = wanted.value_count,
        .ranges = wanted.ranges,
        .range_count = wanted.range_count,
        .mask = wanted.mask,
        .align = wanted.align,
        .threads = wanted.threads,
        .limit = wanted.limit,
        .deadline = wanted.seconds > 0 ? lhi_os_now() + wanted.seconds : 0,
        .cancel = wanted.cancel,
        .progress = wanted.progress,
        .progress_user = wanted.progress_user,
    };
    const lhi_blocks *blocks = lhi_dump_blocks(dump);
    if (blocks)
        status = search_blocks(hits, blocks, &scan, err);
    else
        status = lhi_scan(lhi_dump_pages(dump), &scan, &hits->scan, err);
    if (status == LH_OK && kernel && !blocks)
        status = map_hits(hits, err);
    if (status != LH_OK) {
        lh_hits_release(hits);
        return status;
    }
    *out = hits;
    return LH_OK;
}

void lh_hits_release(lh_hits *hits)
{
    if (!hits || atomic_fetch_sub_explicit(&hits->references, 1, memory_order_acq_rel) != 1)
        return;
    lhi_scan_result_free(&hits->scan);
    lhi_free(hits->virtuals);
    lhi_free(hits->states);
    lh_kernel_release(hits->kernel);
    lh_dump_release(hits->dump);
    lhi_free(hits);
}

size_t lh_hits_count(const lh_hits *hits)
{
    return hits ? hits->scan.count : 0;
}

bool lh_hits_truncated(const lh_hits *hits)
{
    return hits && hits->scan.truncated;
}

const uint64_t *lh_hits_physical(const lh_hits *hits)
{
    return hits ? hits->scan.physical : NULL;
}

const uint64_t *lh_hits_value(const lh_hits *hits)
{
    return hits ? hits->scan.value : NULL;
}

const uint32_t *lh_hits_needle(const lh_hits *hits)
{
    return hits ? hits->scan.needle : NULL;
}

const uint64_t *lh_hits_virtual(const lh_hits *hits)
{
    return hits ? hits->virtuals : NULL;
}

const uint8_t *lh_hits_virtual_state(const lh_hits *hits)
{
    return hits ? hits->states : NULL;
}
