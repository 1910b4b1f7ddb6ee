/* The scan's inner loop for x86-64 with AVX2, chosen at run time.
 *
 * What measuring taught (1 GiB mapped and warm, a sixth of its qwords inside the needles' window; the
 * yardstick is one AVX2 sum over the same bytes, medians of interleaved runs on a busy machine):
 *
 * Up to 6 values cost 1.05 to 1.3 sums when each is compared in turn: the loop waits for memory.
 *
 * From there on windows and a bit set cost 2 sums for 300 needles, 2.5 for 5,000 and 3.4 for 50,000, whose
 * bit set leaves the near caches. The share of qwords inside a window decides more than the number of
 * needles. A branch for each vector would be mispredicted all the time; compressing the numbers of what
 * passes costs a table look-up for 8 values instead, and packing two vectors of misses before the mask is
 * taken saved a third of this stage.
 *
 * Rounds of a page did better than shorter ones, and asking early for the next round's bytes pays, since the
 * second filter asks for none. */
#include "scan/kernel.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "base/bytes.h"

#include <immintrin.h>

#define AVX2        __attribute__((target("avx2,popcnt,bmi")))
#define AVX2_INLINE __attribute__((target("avx2,popcnt,bmi"), always_inline)) static inline

/* Bytes that one round of the window kernel looks at; its survivors stay in the first-level cache. */
#define ROUND 4096u

/* For eight values: the numbers of those set in a mask, moved to the front, a byte each. Pairs of vectors are
 * packed before the mask is taken, which crosses their halves: bit PACKED(q) of the mask is value q. */
#define PACKED(q)     ((q) == 2 || (q) == 3 ? (q) + 2 : (q) == 4 || (q) == 5 ? (q)-2 : (q))
#define HAS(m, q)     ((unsigned)(m) >> PACKED(q) & 1u)
#define RANK1(m)      (HAS(m, 0))
#define RANK2(m)      (RANK1(m) + HAS(m, 1))
#define RANK3(m)      (RANK2(m) + HAS(m, 2))
#define RANK4(m)      (RANK3(m) + HAS(m, 3))
#define RANK5(m)      (RANK4(m) + HAS(m, 4))
#define RANK6(m)      (RANK5(m) + HAS(m, 5))
#define RANK7(m)      (RANK6(m) + HAS(m, 6))
#define PUT(m, q, at) ((uint64_t)(HAS(m, q) * (q)) << (8 * (HAS(m, q) * (at))))
#define ROW(m)                                                                                               \
    PUT(m, 1, RANK1(m)) | PUT(m, 2, RANK2(m)) | PUT(m, 3, RANK3(m)) | PUT(m, 4, RANK4(m)) |                  \
        PUT(m, 5, RANK5(m)) | PUT(m, 6, RANK6(m)) | PUT(m, 7, RANK7(m))
#define ROWS4(m)  ROW(m), ROW((m) + 1), ROW((m) + 2), ROW((m) + 3)
#define ROWS16(m) ROWS4(m), ROWS4((m) + 4), ROWS4((m) + 8), ROWS4((m) + 12)
#define ROWS64(m) ROWS16(m), ROWS16((m) + 16), ROWS16((m) + 32), ROWS16((m) + 48)
static const uint64_t FRONT[256] = {ROWS64(0), ROWS64(64), ROWS64(128), ROWS64(192)};

/* For four lanes: bit 8 * lane for each lane set in a mask. */
static const uint32_t SPREAD[16] = {
    0x00000000, 0x00000001, 0x00000100, 0x00000101, 0x00010000, 0x00010001, 0x00010100, 0x00010101,
    0x01000000, 0x01000001, 0x01000100, 0x01000101, 0x01010000, 0x01010001, 0x01010100, 0x01010101,
};

AVX2_INLINE __m256i load(const uint8_t *data)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)data);
}

AVX2_INLINE __m256i same(uint64_t x)
{
    return _mm256_set1_epi64x((long long)x);
}

AVX2_INLINE unsigned lanes(__m256i x)
{
    return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x));
}

typedef struct direct_needles {
    __m256i mask, value[LHI_PLAN_DIRECT];
} direct_needles;

AVX2_INLINE direct_needles load_direct(const lhi_plan *plan)
{
    direct_needles d;
    d.mask = same(plan->mask);
    for (unsigned i = 0; i < LHI_PLAN_DIRECT; i++)
        d.value[i] = same(plan->direct[i < plan->direct_count ? i : 0]);
    return d;
}

/* All ones in the lanes that equal one of the first n needles. */
AVX2_INLINE __m256i equals(const direct_needles *d, __m256i x, unsigned n)
{
    __m256i masked = _mm256_and_si256(x, d->mask);
    __m256i hit = _mm256_cmpeq_epi64(masked, d->value[0]);
    for (unsigned i = 1; i < n; i++)
        hit = _mm256_or_si256(hit, _mm256_cmpeq_epi64(masked, d->value[i]));
    return hit;
}

AVX2_INLINE size_t find_direct(const lhi_plan *plan, const uint8_t *data, size_t size, size_t *at,
                               uint32_t *out, unsigned needles)
{
    const direct_needles d = load_direct(plan);
    size_t p = *at;
    size_t n = 0;
    while (p + 128 <= size && n + 16 <= LHI_SCAN_BATCH) {
        __m256i a = equals(&d, load(data + p), needles);
        __m256i b = equals(&d, load(data + p + 32), needles);
        __m256i c = equals(&d, load(data + p + 64), needles);
        __m256i e = equals(&d, load(data + p + 96), needles);
        __m256i any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, e));
        if (!_mm256_testz_si256(any, any)) {
            unsigned bits = lanes(a) | lanes(b) << 4 | lanes(c) << 8 | lanes(e) << 12;
            for (; bits != 0; bits &= bits - 1)
                out[n++] = (uint32_t)(p + 8 * (size_t)__builtin_ctz(bits));
        }
        p += 128;
    }
    *at = p;
    return n;
}

typedef struct window_needles {
    __m256i mask[LHI_PLAN_WINDOWS], begin[LHI_PLAN_WINDOWS], last[LHI_PLAN_WINDOWS];
} window_needles;

/* AVX2 compares signed: begin and last are moved by 2^63, so that the order is the unsigned one. */
AVX2_INLINE window_needles load_windows(const lhi_plan *plan)
{
    const uint64_t sign = 1ull << 63;
    window_needles w;
    for (unsigned i = 0; i < LHI_PLAN_WINDOWS; i++) {
        const lhi_window *from = &plan->windows[i < plan->window_count ? i : 0];
        w.mask[i] = same(from->mask);
        w.begin[i] = same(from->begin - sign);
        w.last[i] = same(from->last ^ sign);
    }
    return w;
}

/* All ones in the lanes outside the first n windows. */
AVX2_INLINE __m256i outside(const window_needles *w, __m256i x, unsigned n, bool masked)
{
    __m256i miss = same(UINT64_MAX);
    for (unsigned i = 0; i < n; i++) {
        __m256i y = masked ? _mm256_and_si256(x, w->mask[i]) : x;
        miss = _mm256_and_si256(miss, _mm256_cmpgt_epi64(_mm256_sub_epi64(y, w->begin[i]), w->last[i]));
    }
    return miss;
}

/* The second filter of the plan, in locals: a store of a candidate can't change these. */
typedef struct second_filter {
    uint64_t mask;
    lhi_bitset values, ranges;
    unsigned granule;
    uint64_t wide_begin[LHI_PLAN_WIDE], wide_length[LHI_PLAN_WIDE];
} second_filter;

AVX2_INLINE second_filter load_second(const lhi_plan *plan)
{
    second_filter f = {plan->mask, plan->values, plan->ranges, plan->granule, {0}, {0}};
    for (unsigned i = 0; i < LHI_PLAN_WIDE; i++) {
        f.wide_begin[i] = plan->wide[i].begin;
        f.wide_length[i] = plan->wide[i].end - plan->wide[i].begin;
    }
    return f;
}

AVX2_INLINE uint32_t second(const second_filter *f, uint64_t x, bool ranges, bool wide)
{
    uint32_t pass = lhi_bitset_test(f->values, x & f->mask);
    if (ranges)
        pass |= lhi_bitset_test(f->ranges, x >> f->granule);
    for (unsigned i = 0; wide && i < LHI_PLAN_WIDE; i++)
        pass |= (uint32_t)(x - f->wide_begin[i] < f->wide_length[i]);
    return pass;
}

/* The first filter, without a branch for each vector: the numbers of the values of a round that pass. */
AVX2_INLINE size_t survivors(const window_needles *w, const uint8_t *data, size_t size, uint16_t *kept,
                             unsigned windows, bool masked)
{
    size_t n = 0;
    __m128i number = _mm_setzero_si128();
    for (size_t p = 0; p < size; p += 128) {
        __m256i miss[4];
        __m256i packed[2];
        /* While the second filter runs nothing else would ask for the next round's bytes. */
        _mm_prefetch((const char *)data + p + ROUND, _MM_HINT_T0);
        _mm_prefetch((const char *)data + p + ROUND + 64, _MM_HINT_T0);
        for (unsigned i = 0; i < 4; i++)
            miss[i] = outside(w, load(data + p + (size_t)32 * i), windows, masked);
        packed[0] = _mm256_packs_epi32(miss[0], miss[1]);
        packed[1] = _mm256_packs_epi32(miss[2], miss[3]);
        if (!_mm256_testc_si256(_mm256_and_si256(packed[0], packed[1]), same(UINT64_MAX)))
            for (unsigned i = 0; i < 2; i++) {
                unsigned hit = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(packed[i])) ^ 0xffu;
                __m128i front =
                    _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)&FRONT[hit]));
                __m128i at = _mm_add_epi16(number, _mm_set1_epi16((short)(8 * i)));
                _mm_storeu_si128((__m128i *)(void *)(kept + n), _mm_add_epi16(front, at));
                n += (size_t)__builtin_popcount(hit);
            }
        number = _mm_add_epi16(number, _mm_set1_epi16(16));
    }
    return n;
}

AVX2_INLINE size_t find_windows(const lhi_plan *plan, const uint8_t *data, size_t size, size_t *at,
                                uint32_t *out, unsigned windows, bool masked, bool ranges, bool wide)
{
    const window_needles w = load_windows(plan);
    const second_filter f = load_second(plan);
    uint16_t kept[ROUND / 8 + 8];
    size_t p = *at;
    size_t n = 0;
    while (p + 128 <= size && n + ROUND / 8 <= LHI_SCAN_BATCH) {
        size_t length = size - p >= ROUND ? ROUND : (size - p) / 128 * 128;
        size_t count = survivors(&w, data + p, length, kept, windows, masked);
        for (size_t i = 0; i < count; i++) {
            size_t offset = p + 8 * (size_t)kept[i];
            out[n] = (uint32_t)offset;
            n += second(&f, lhi_u64(data + offset), ranges, wide);
        }
        p += length;
    }
    *at = p;
    return n;
}

/* Any alignment below 8: blocks of 32 byte positions, one load for each position modulo 8. */
AVX2_INLINE size_t find_unaligned(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align,
                                  size_t *at, uint32_t *out, unsigned needles, unsigned windows)
{
    const direct_needles d = load_direct(plan);
    const window_needles w = load_windows(plan);
    size_t p = *at;
    size_t n = 0;
    while (p + 32 + 8 <= size && n + 32 <= LHI_SCAN_BATCH) {
        uint32_t bits = 0;
        for (uint32_t s = 0; s < 8; s += align) {
            __m256i x = load(data + p + s);
            unsigned hit =
                needles != 0 ? lanes(equals(&d, x, needles)) : lanes(outside(&w, x, windows, true)) ^ 15u;
            bits |= SPREAD[hit] << s;
        }
        for (; bits != 0; bits &= bits - 1) {
            uint32_t offset = (uint32_t)p + (uint32_t)__builtin_ctz(bits);
            out[n] = offset;
            n += needles != 0 ? 1u : lhi_plan_second(plan, lhi_u64(data + offset));
        }
        p += 32;
    }
    *at = p;
    return n;
}

/* One copy of the loop for each number of needles or windows, so that the compiler unrolls. */
#define DIRECT(n)                                                                                            \
    AVX2 static size_t direct##n(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align,     \
                                 size_t *at, uint32_t *out)                                                  \
    {                                                                                                        \
        return align == 8 ? find_direct(plan, data, size, at, out, n)                                        \
                          : find_unaligned(plan, data, size, align, at, out, n, 0);                          \
    }
#define WINDOWS(n)                                                                                           \
    AVX2 static size_t windows##n(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align,    \
                                  size_t *at, uint32_t *out)                                                 \
    {                                                                                                        \
        if (align != 8)                                                                                      \
            return find_unaligned(plan, data, size, align, at, out, 0, n);                                   \
        if (plan->wide[0].end != 0)                                                                          \
            return find_windows(plan, data, size, at, out, n, true, true, true);                             \
        if (plan->has_ranges)                                                                                \
            return find_windows(plan, data, size, at, out, n, true, true, false);                            \
        return plan->mask != UINT64_MAX ? find_windows(plan, data, size, at, out, n, true, false, false)     \
                                        : find_windows(plan, data, size, at, out, n, false, false, false);   \
    }
DIRECT(1)
DIRECT(2)
DIRECT(3)
DIRECT(4)
DIRECT(5)
DIRECT(6)
WINDOWS(1)
WINDOWS(2)
WINDOWS(4)

AVX2 static size_t find_vectors(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align,
                                size_t *at, uint32_t *out)
{
    switch (plan->direct_count) {
    case 0:
        break;
    case 1:
        return direct1(plan, data, size, align, at, out);
    case 2:
        return direct2(plan, data, size, align, at, out);
    case 3:
        return direct3(plan, data, size, align, at, out);
    case 4:
        return direct4(plan, data, size, align, at, out);
    case 5:
        return direct5(plan, data, size, align, at, out);
    default:
        return direct6(plan, data, size, align, at, out);
    }
    switch (plan->window_count) {
    case 1:
        return windows1(plan, data, size, align, at, out);
    case 2:
        return windows2(plan, data, size, align, at, out);
    default:
        return windows4(plan, data, size, align, at, out);
    }
}

AVX2 static size_t find(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align, size_t *at,
                        uint32_t *out)
{
    size_t n = 0;
    if (plan->direct_count == 0 && plan->window_count == 0) {
        *at = size;
        return 0;
    }
    n = find_vectors(plan, data, size, align, at, out);
    /* What is left is shorter than a vector, or out is nearly full. */
    if (size - *at < 128)
        for (; *at + 8 <= size && n < LHI_SCAN_BATCH; *at += align)
            if (lhi_plan_candidate(plan, lhi_u64(data + *at)))
                out[n++] = (uint32_t)*at;
    return n;
}

static const lhi_scan_kernel AVX2_KERNEL = {"avx2", find};

const lhi_scan_kernel *lhi_scan_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi")
               ? &AVX2_KERNEL
               : NULL;
}

#else

const lhi_scan_kernel *lhi_scan_avx2(void)
{
    return NULL;
}

#endif
