/* The inner loop of the scan behind one table of functions, one file for each instruction set. */
#ifndef LHI_SCAN_KERNEL_H
#define LHI_SCAN_KERNEL_H

#include "scan/plan.h"

/* Candidates that one call can give. Room for every byte position of a page, twice. */
#define LHI_SCAN_BATCH 8192u

typedef struct lhi_scan_kernel {
    const char *name;
    /* Looks at the positions *at, *at + align ... whose 8 bytes end inside data[0, size), writes the
     * offsets of candidates to out in ascending order and returns how many. *at becomes the first position
     * not looked at: past size - 8, or earlier when out (LHI_SCAN_BATCH entries) may not hold the next
     * ones. Nothing that matches is left out; what doesn't match may be among the candidates. *at is a
     * multiple of align; size is less than 4 GiB. */
    size_t (*find)(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align, size_t *at,
                   uint32_t *out);
} lhi_scan_kernel;

extern const lhi_scan_kernel lhi_scan_serial;
/* NULL where this processor or this build has none. */
const lhi_scan_kernel *lhi_scan_avx2(void);

/* The kernel that the options ask for, else the fastest one here. */
const lhi_scan_kernel *lhi_scan_choose_kernel(const lhi_scan_options *options);
/* The alignment that they ask for. LH_ERR_INVALID_ARGUMENT: there is no such. */
lh_status lhi_scan_choose_align(const lhi_scan_options *options, uint32_t *align, lh_error *err);

#endif
