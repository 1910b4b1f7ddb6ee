/* The needles of one scan, compiled into filters that kernels run and an exact answer for what passes. */
#ifndef LHI_SCAN_PLAN_H
#define LHI_SCAN_PLAN_H

#include "base/vec.h"
#include "scan/scan.h"

enum {
    LHI_PLAN_DIRECT = 6,  /* so many different values are compared one by one */
    LHI_PLAN_WINDOWS = 4, /* else values and ranges are covered by so many windows */
    LHI_PLAN_WIDE = 2     /* long ranges that a bit set of granules can't hold */
};

/* Passes x when (x & mask) - begin <= last, unsigned. */
typedef struct lhi_window {
    uint64_t mask, begin, last;
} lhi_window;

/* A hashed bit set. Never says no to a member. */
typedef struct lhi_bitset {
    const uint32_t *words;
    unsigned shift; /* 64 - log2(bits) */
} lhi_bitset;

typedef struct lhi_plan {
    uint64_t mask; /* of the values; ranges are compared without */
    /* With direct_count != 0 the needles are these values and nothing else, and passing is matching. */
    uint32_t direct_count;
    uint64_t direct[LHI_PLAN_DIRECT];
    /* Else x must lie in a window first, then be in a bit set or a wide range. Both counts 0: no needle. */
    uint32_t window_count;
    lhi_window windows[LHI_PLAN_WINDOWS];
    lhi_bitset values; /* of x & mask */
    lhi_bitset ranges; /* of x >> granule */
    unsigned granule;
    bool has_ranges;
    lh_range wide[LHI_PLAN_WIDE];

    /* The exact part. Values ascending by (value & mask), then needle. */
    uint64_t *value;
    uint32_t *needle;
    size_t value_count;
    uint32_t *slots; /* open addressing, index + 1 of a value's first entry; slot_shift as in lhi_bitset */
    unsigned slot_shift;
    /* Ranges ascending by begin, then needle; reach = the greatest end in the implicit subtree. */
    lh_range *range;
    uint32_t *range_needle;
    uint64_t *reach;
    size_t range_count;
    uint32_t *value_words, *range_words;
} lhi_plan;

lh_status lhi_plan_init(lhi_plan *plan, const lhi_scan_options *options, lh_error *err);
void lhi_plan_free(lhi_plan *plan);
/* Every needle that x matches, ascending, into *needles (cleared first). False: no memory. */
bool lhi_plan_resolve(const lhi_plan *plan, uint64_t x, lhi_vec *needles);

/* Fibonacci hashing: the multiplier is 2^64 / golden ratio (Knuth, TAOCP 6.4); the high bits are the hash. */
static inline uint64_t lhi_plan_hash(uint64_t x, unsigned shift)
{
    return x * 0x9e3779b97f4a7c15ull >> shift;
}

static inline uint32_t lhi_bitset_test(lhi_bitset set, uint64_t x)
{
    uint64_t at = lhi_plan_hash(x, set.shift);
    return set.words[at >> 5] >> (at & 31) & 1u;
}

/* The second filter, without a branch: 1 when x, which lies in a window, may match. */
static inline uint32_t lhi_plan_second(const lhi_plan *plan, uint64_t x)
{
    uint32_t pass = lhi_bitset_test(plan->values, x & plan->mask);
    if (plan->has_ranges) {
        pass |= lhi_bitset_test(plan->ranges, x >> plan->granule);
        for (unsigned i = 0; i < LHI_PLAN_WIDE; i++)
            pass |= (uint32_t)(x - plan->wide[i].begin < plan->wide[i].end - plan->wide[i].begin);
    }
    return pass;
}

/* Both filters, for one value. */
static inline bool lhi_plan_candidate(const lhi_plan *plan, uint64_t x)
{
    bool inside = false;
    for (uint32_t i = 0; i < plan->direct_count; i++)
        inside |= (x & plan->mask) == plan->direct[i];
    if (plan->direct_count != 0)
        return inside;
    for (uint32_t i = 0; i < plan->window_count; i++)
        inside |= (x & plan->windows[i].mask) - plan->windows[i].begin <= plan->windows[i].last;
    return inside && lhi_plan_second(plan, x) != 0;
}

#endif
