/* The scan: many needles in one pass over the present physical pages. */
#ifndef LHI_SCAN_SCAN_H
#define LHI_SCAN_SCAN_H

#include "dump/blocks.h"

/* Between two calls of the progress function, and two looks at the deadline. */
#define LHI_SCAN_REPORT_SECONDS 0.05

typedef struct lhi_scan_options {
    const uint64_t *values;
    size_t value_count;
    const lh_range *ranges;
    size_t range_count;
    uint64_t mask;  /* 0: all bits */
    uint32_t align; /* 1, 2, 4, 8; 0: 8 */
    uint32_t threads;
    uint64_t limit;  /* 0: all */
    double deadline; /* lhi_os_now() value; 0: none */
    lh_cancel *cancel;
    lh_progress_fn progress;
    void *progress_user;
    const struct lhi_scan_kernel *kernel; /* NULL: the fastest one here; tests name one */
} lhi_scan_options;

/* Columns in ascending physical order. A place that matches several needles is one row for each. */
typedef struct lhi_scan_result {
    uint64_t *physical;
    uint64_t *value;
    uint32_t *needle;
    size_t count;
    bool truncated;     /* there are more hits than `limit` */
    uint64_t bytes;     /* present bytes searched; those up to the last row's page block when truncated */
    const char *kernel; /* name of the instruction set used: "serial", "avx2" */
} lhi_scan_result;

/* The answer depends on the pages and the options only, not on the threads. Fails with LH_ERR_NO_MEMORY,
 * _INVALID_ARGUMENT, _IO, _CANCELLED or _TIMEOUT; *out is then left alone. Beside the results and the needles
 * it needs about 32 KiB a thread, and 128 KiB more where the source has no view. */
lh_status lhi_scan(const lhi_pages *pages, const lhi_scan_options *options, lhi_scan_result *out,
                   lh_error *err);
/* The same over pieces of virtual memory: `physical` has the virtual addresses, at which `align` counts.
 * Values may cross from a block into one that touches it. On the calling thread alone. */
lh_status lhi_scan_blocks(const lhi_blocks *blocks, const lhi_scan_options *options, lhi_scan_result *out,
                          lh_error *err);
void lhi_scan_result_free(lhi_scan_result *result);

#endif
