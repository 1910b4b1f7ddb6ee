/* Locked pages of a process where the kernel counts them in four counters (24H2 generation, facts A.5).
 *
 * EPROCESS.NumberOfLockedPages may stay 0 there; four 64-bit counters, 0x40 apart, stand in the structure
 * that Vm's working-set pointer leads to, from 0x200 or from 0x240 on. */
#include "base/checked.h"
#include "nt/probe.h"
#include "nt/process.h"
#include "nt/read.h"

#define COUNTERS 4u
#define APART    0x40u
static const uint16_t places[2] = {0x200, 0x240};

static lh_absence sum_at(const lh_kernel *kernel, uint64_t list, uint64_t first, uint64_t *sum, uint64_t *at)
{
    *sum = 0;
    for (uint64_t i = 0; i < COUNTERS; i++) {
        uint64_t value = 0;
        lh_absence absence = lhi_read_u64(&kernel->space, list + first + APART * i, &value, at);
        if (absence != LH_PRESENT)
            return absence;
        *sum += value; /* counters of several processors: single ones may be negative */
    }
    return LH_PRESENT;
}

static lh_absence find_list(const lh_kernel *kernel, uint64_t process, uint64_t *list, uint64_t *at)
{
    const uint64_t where = process + kernel->row.counters_pointer;
    lh_absence absence = lhi_read_u64(&kernel->space, where, list, at);
    if (absence == LH_PRESENT && (!lhi_is_object(*list, 8) || *list > UINT64_MAX - 0x1000)) {
        *at = where;
        return LH_ABSENT_LAYOUT;
    }
    return absence;
}

/* What the four counters say. */
static lh_absence ask_counters(const lh_kernel *kernel, uint64_t process, uint64_t *out, uint64_t *at)
{
    const uint64_t first = kernel->row.counters_first;
    uint64_t list = 0;
    uint64_t sums[2] = {0};
    lh_absence absence = find_list(kernel, process, &list, at);
    if (absence == LH_PRESENT && first != LHI_NO_OFFSET)
        return sum_at(kernel, list, first, out, at);
    for (size_t i = 0; i < 2 && absence == LH_PRESENT; i++)
        absence = sum_at(kernel, list, places[i], &sums[i], at);
    if (absence == LH_PRESENT && sums[0] != sums[1]) {
        *at = list;
        return LH_ABSENT_LAYOUT;
    }
    if (absence == LH_PRESENT)
        *out = sums[0];
    return absence;
}

lh_absence lhi_locked_pages(const lh_kernel *kernel, uint64_t process, uint64_t *out, uint64_t *at)
{
    uint64_t counted = 0;
    uint64_t missing = 0;
    lh_absence absence = lhi_read_field(&kernel->space, kernel->layout, process,
                                        LHI_F_EPROCESS_NumberOfLockedPages, 8, out, at);
    if (kernel->row.counters_pointer == LHI_NO_OFFSET || (absence == LH_PRESENT && *out != 0))
        return absence;
    lh_absence counters = ask_counters(kernel, process, &counted, &missing);
    if (counters == LH_PRESENT) {
        *out = counted;
        return LH_PRESENT;
    }
    /* Real kernels of 26100, the build with a place taken, still keep the field (facts real-dumps 1): where
     * the counters are not in the dump it is the answer, unless this very kernel was seen to count elsewhere.
     */
    if (absence == LH_PRESENT && counters != LH_ABSENT_LAYOUT &&
        kernel->row.counters_first != LHI_NO_OFFSET && !kernel->probing.counters_settled)
        return LH_PRESENT;
    *at = missing;
    return counters;
}

void lhi_settle_counters(lhi_witness *w)
{
    lh_kernel *kernel = w->kernel;
    uint64_t list = 0;
    uint64_t at = 0;
    uint64_t sums[2] = {0};
    bool fits[2] = {false};
    if (kernel->row.counters_pointer == LHI_NO_OFFSET)
        return;
    kernel->probing.counters_why = kernel->row.counters_first == LHI_NO_OFFSET
                                       ? "which of two places holds the counters is not known for this build"
                                       : "the place taken for this build; nothing in the dump confirms it";
    if (w->victim == 0 || w->victim_pages == 0 || find_list(kernel, w->victim, &list, &at) != LH_PRESENT)
        return;
    for (size_t i = 0; i < 2; i++)
        fits[i] = sum_at(kernel, list, places[i], &sums[i], &at) == LH_PRESENT && sums[i] == w->victim_pages;
    if (fits[0] == fits[1])
        return;
    kernel->row.counters_first = fits[0] ? places[0] : places[1];
    kernel->probing.counters_settled = true;
    kernel->probing.counters_why = fits[0] ? "the counters at 0x200 sum up to the bug check's count"
                                           : "the counters at 0x240 sum up to the bug check's count";
}
