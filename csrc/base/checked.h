/* Checked arithmetic: sums and products of numbers that come from a dump. False means overflow. */
#ifndef LHI_BASE_CHECKED_H
#define LHI_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool lhi_add(uint64_t a, uint64_t b, uint64_t *sum)
{
    *sum = a + b;
    return *sum >= a;
}

static inline bool lhi_mul(uint64_t a, uint64_t b, uint64_t *product)
{
    *product = a * b;
    return a == 0 || *product / a == b;
}

/* [begin, begin + size) lies inside [0, limit). */
static inline bool lhi_span_inside(uint64_t begin, uint64_t size, uint64_t limit)
{
    return begin <= limit && size <= limit - begin;
}

#endif
