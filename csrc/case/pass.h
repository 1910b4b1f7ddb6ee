/* One pass over the memory of a dump: needles in, places with their kernel addresses out. */
#ifndef LHI_CASE_PASS_H
#define LHI_CASE_PASS_H

#include "case/case.h"
#include "scan/scan.h"

typedef struct lhi_pass {
    lhi_scan_result hits;
    lhi_reverse map; /* of the hits' frames */
} lhi_pass;

/* Searches the values at an alignment (8, or 4 to see packed structures), counts the pass, and notes a limit
 * that was met. Zero *out before; free it after, also on failure. */
lh_status lhi_case_pass(lhi_case *c, const uint64_t *values, size_t count, uint32_t align, lhi_pass *out,
                        lh_error *err);
/* The same for values of which only the bits of `mask` count, at 8 bytes. */
lh_status lhi_case_masked_pass(lhi_case *c, const uint64_t *values, size_t count, uint64_t mask,
                               lhi_pass *out, lh_error *err);
/* Values and ranges at 4 bytes; the needles of ranges are numbered behind those of values. */
lh_status lhi_case_range_pass(lhi_case *c, const uint64_t *values, size_t count, const lh_range *ranges,
                              size_t range_count, lhi_pass *out, lh_error *err);
void lhi_case_pass_free(lhi_pass *pass);

#endif
