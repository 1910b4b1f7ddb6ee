/* The scan: many needles in one pass over the present physical pages. */
#ifndef LHI_SCAN_SCAN_H
#define LHI_SCAN_SCAN_H

#include "dump/pages.h"

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
} lhi_scan_options;

/* Columns in ascending physical order. A place that matches several needles is one row for each. */
typedef struct lhi_scan_result {
    uint64_t *physical;
    uint64_t *value;
    uint32_t *needle;
    size_t count;
    bool truncated;
    uint64_t bytes;     /* scanned */
    const char *kernel; /* name of the instruction set used: "serial", "avx2" */
} lhi_scan_result;

lh_status lhi_scan(const lhi_pages *pages, const lhi_scan_options *options, lhi_scan_result *out,
                   lh_error *err);
void lhi_scan_result_free(lhi_scan_result *result);

#endif
