/* The scan's inner loop for x86-64 with AVX2, chosen at run time. */
#include "scan/kernel.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "base/bytes.h"

#include <immintrin.h>

#define AVX2        __attribute__((target("avx2,popcnt,bmi")))
#define AVX2_INLINE __attribute__((target("avx2,popcnt,bmi"), always_inline)) static inline

/* Bytes that one round of the window kernel looks at; its survivors stay in the first-level cache. */
#define ROUND 4096u

/* For four lanes: the lanes set in a mask, moved to the front (byte shuffle of four 32-bit words). */
#define W(n) (4 * (n)), (4 * (n) + 1), (4 * (n) + 2), (4 * (n) + 3)
#define Z    0x80, 0x80, 0x80, 0x80
_Alignas(16) static const uint8_t COMPRESS[16][16] = {
    {Z, Z, Z, Z},       {W(0), Z, Z, Z},       {W(1), Z, Z, Z},       {W(0), W(1), Z, Z},
    {W(2), Z, Z, Z},    {W(0), W(2), Z, Z},    {W(1), W(2), Z, Z},    {W(0), W(1), W(2), Z},
    {W(3), Z, Z, Z},    {W(0), W(3), Z, Z},    {W(1), W(3), Z, Z},    {W(0), W(1), W(3), Z},
    {W(2), W(3), Z, Z}, {W(0), W(2), W(3), Z}, {W(1), W(2), W(3), Z}, {W(0), W(1), W(2), W(3)},
};
#undef W
#undef Z

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

/* First windows and compression, without a branch for each vector: offsets of what survives a round. */
AVX2_INLINE size_t survivors(const window_needles *w, const uint8_t *data, size_t p, size_t end,
                             uint32_t *kept, unsigned windows, bool masked)
{
    size_t n = 0;
    __m128i offsets = _mm_add_epi32(_mm_set1_epi32((int)(uint32_t)p), _mm_setr_epi32(0, 8, 16, 24));
    for (; p < end; p += 128) {
        __m256i miss[4];
        unsigned bits;
        for (unsigned i = 0; i < 4; i++)
            miss[i] = outside(w, load(data + p + 32 * i), windows, masked);
        bits = lanes(miss[0]) | lanes(miss[1]) << 4 | lanes(miss[2]) << 8 | lanes(miss[3]) << 12;
        bits ^= 0xffffu;
        if (bits != 0)
            for (unsigned i = 0; i < 4; i++) {
                unsigned hit = bits >> (4 * i) & 15u;
                __m128i at = _mm_add_epi32(offsets, _mm_set1_epi32((int)(32 * i)));
                __m128i order = _mm_load_si128((const __m128i *)(const void *)COMPRESS[hit]);
                _mm_storeu_si128((__m128i *)(void *)(kept + n), _mm_shuffle_epi8(at, order));
                n += (size_t)__builtin_popcount(hit);
            }
        offsets = _mm_add_epi32(offsets, _mm_set1_epi32(128));
    }
    return n;
}

AVX2_INLINE size_t find_windows(const lhi_plan *plan, const uint8_t *data, size_t size, size_t *at,
                                uint32_t *out, unsigned windows, bool masked)
{
    const window_needles w = load_windows(plan);
    uint32_t kept[ROUND / 8 + 4];
    size_t p = *at;
    size_t n = 0;
    while (p + 128 <= size && n + ROUND / 8 <= LHI_SCAN_BATCH) {
        size_t end = size - p >= ROUND ? p + ROUND : p + (size - p) / 128 * 128;
        size_t count = survivors(&w, data, p, end, kept, windows, masked);
        for (size_t i = 0; i < count; i++) {
            out[n] = kept[i];
            n += lhi_plan_second(plan, lhi_u64(data + kept[i]));
        }
        p = end;
    }
    *at = p;
    return n;
}

/* Any alignment below 8: blocks of 32 byte positions, one load for each position modulo 8. */
AVX2 static size_t find_unaligned(const lhi_plan *plan, const uint8_t *data, size_t size, uint32_t align,
                                  size_t *at, uint32_t *out)
{
    const direct_needles d = load_direct(plan);
    const window_needles w = load_windows(plan);
    size_t p = *at;
    size_t n = 0;
    while (p + 32 + 8 <= size && n + 32 <= LHI_SCAN_BATCH) {
        uint32_t bits = 0;
        for (uint32_t s = 0; s < 8; s += align) {
            __m256i x = load(data + p + s);
            unsigned hit = 0;
            if (plan->direct_count != 0)
                hit = lanes(equals(&d, x, LHI_PLAN_DIRECT));
            else
                hit = lanes(outside(&w, x, LHI_PLAN_WINDOWS, true)) ^ 15u;
            bits |= SPREAD[hit] << s;
        }
        for (; bits != 0; bits &= bits - 1) {
            uint32_t offset = (uint32_t)p + (uint32_t)__builtin_ctz(bits);
            out[n] = offset;
            n += plan->direct_count != 0 ? 1u : lhi_plan_second(plan, lhi_u64(data + offset));
        }
        p += 32;
    }
    *at = p;
    return n;
}

AVX2 static size_t find_aligned(const lhi_plan *plan, const uint8_t *data, size_t size, size_t *at,
                                uint32_t *out)
{
    bool masked = plan->mask != UINT64_MAX;
    switch (plan->direct_count) {
    case 1:
        return find_direct(plan, data, size, at, out, 1);
    case 2:
        return find_direct(plan, data, size, at, out, 2);
    case 3:
        return find_direct(plan, data, size, at, out, 3);
    case 4:
        return find_direct(plan, data, size, at, out, 4);
    default:
        break;
    }
    if (masked)
        return find_windows(plan, data, size, at, out, LHI_PLAN_WINDOWS, true);
    switch (plan->window_count) {
    case 1:
        return find_windows(plan, data, size, at, out, 1, false);
    case 2:
        return find_windows(plan, data, size, at, out, 2, false);
    default:
        return find_windows(plan, data, size, at, out, LHI_PLAN_WINDOWS, false);
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
    n = align == 8 ? find_aligned(plan, data, size, at, out)
                   : find_unaligned(plan, data, size, align, at, out);
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
