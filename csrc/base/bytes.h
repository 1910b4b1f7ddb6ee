/* Bytes become integers here and nowhere else: little-endian loads, bounded where the size is not known. */
#ifndef LHI_BASE_BYTES_H
#define LHI_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t lhi_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint32_t)p[1] << 8);
}

static inline uint32_t lhi_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t lhi_u64(const uint8_t *p)
{
    return (uint64_t)lhi_u32(p) | (uint64_t)lhi_u32(p + 4) << 32;
}

typedef struct lhi_bytes {
    const uint8_t *data;
    size_t size;
} lhi_bytes;

/* False, and *out untouched, when the field does not lie inside. */
static inline bool lhi_bytes_u16(lhi_bytes b, size_t at, uint16_t *out)
{
    if (at > b.size || b.size - at < 2)
        return false;
    *out = lhi_u16(b.data + at);
    return true;
}

static inline bool lhi_bytes_u32(lhi_bytes b, size_t at, uint32_t *out)
{
    if (at > b.size || b.size - at < 4)
        return false;
    *out = lhi_u32(b.data + at);
    return true;
}

static inline bool lhi_bytes_u64(lhi_bytes b, size_t at, uint64_t *out)
{
    if (at > b.size || b.size - at < 8)
        return false;
    *out = lhi_u64(b.data + at);
    return true;
}

#endif
