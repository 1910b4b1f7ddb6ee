/* The scan's inner loop in portable C: the reference for the other instruction sets. */
#include "base/bytes.h"
#include "scan/kernel.h"

static size_t find(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align, size_t *at,
                   uint32_t *out)
{
    size_t n = 0;
    size_t p = *at;
    while (p + 8 <= size && n < LHI_SCAN_BATCH) {
        if (lhi_plan_candidate(plan, lhi_u64(data + p)))
            out[n++] = (uint32_t)p;
        p += align;
    }
    *at = p;
    return n;
}

const lhi_scan_kernel lhi_scan_serial = {"serial", find};
