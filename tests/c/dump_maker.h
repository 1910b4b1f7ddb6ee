/* Dumps built in memory for the C tests: a header full of PAGE, memory runs or a bitmap, and pages that tell
 * their own frame number, so that a page read from the wrong place shows. */
#ifndef DUMP_MAKER_H
#define DUMP_MAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAKER_HEADER 0x2000u
#define MAKER_PAGE   0x1000u
#define MAKER_BITMAP 0x2038u

typedef struct made_dump {
    uint8_t *data;
    size_t size;
} made_dump;

typedef struct made_run {
    uint64_t base, count;
} made_run;

static inline void put32(uint8_t *data, size_t at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        data[at + i] = (uint8_t)(value >> (8 * i));
}

static inline void put64(uint8_t *data, size_t at, uint64_t value)
{
    put32(data, at, (uint32_t)value);
    put32(data, at + 4, (uint32_t)(value >> 32));
}

static inline uint64_t get64(const uint8_t *data)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value |= (uint64_t)data[i] << (8 * i);
    return value;
}

/* The 64-bit word `index` of the page of a frame. */
static inline uint64_t page_word(uint64_t pfn, size_t index)
{
    return (pfn + 1) * 0x9e3779b97f4a7c15u + index * 0x100000001b3u;
}

static inline void make_page(uint8_t *page, uint64_t pfn)
{
    for (size_t i = 0; i < MAKER_PAGE / 8; i++)
        put64(page, i * 8, page_word(pfn, i));
}

/* First, last and some between: every word tells its frame and its place. */
static inline bool is_page(const uint8_t *page, uint64_t pfn)
{
    for (size_t i = 0; i < MAKER_PAGE / 8; i += 73)
        if (get64(page + i * 8) != page_word(pfn, i))
            return false;
    return true;
}

static inline void make_header(uint8_t *data, uint32_t type)
{
    for (size_t i = 0; i < MAKER_HEADER; i += 4)
        memcpy(data + i, "PAGE", 4);
    memcpy(data, "PAGEDU64", 8);
    put32(data, 0x8, 15);
    put32(data, 0xc, 19041);
    put64(data, 0x10, 0x1aa002); /* with a PCID */
    put64(data, 0x18, 0xffffb80000000000u);
    put64(data, 0x20, 0xfffff8011a62a310u);
    put64(data, 0x28, 0xfffff8011a61e1f0u);
    put32(data, 0x30, 0x8664);
    put32(data, 0x34, 2);
    put32(data, 0x38, 0x76);
    for (size_t i = 0; i < 4; i++)
        put64(data, 0x40 + 8 * i, i + 0xffffe00000000000u);
    put64(data, 0x80, 0xfffff8011a600b20u);
    put32(data, 0xf98, type);
    put64(data, 0xfa8, 0x01d9000000000000u);
    put64(data, 0x1030, 0x123456789u);
    put32(data, 0x1050, 0);
}

static inline uint64_t put_runs(uint8_t *data, const made_run *runs, uint32_t count)
{
    uint64_t pages = 0;
    put32(data, 0x88, count);
    for (uint32_t i = 0; i < count; i++) {
        put64(data, 0x98 + 16 * (size_t)i, runs[i].base);
        put64(data, 0xa0 + 16 * (size_t)i, runs[i].count);
        pages += runs[i].count;
    }
    put64(data, 0x90, pages);
    return pages;
}

/* A type 1 dump of these runs, in this order. */
static inline made_dump make_full(const made_run *runs, uint32_t count)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < count; i++)
        pages += runs[i].count;
    made_dump made = {.size = MAKER_HEADER + (size_t)pages * MAKER_PAGE};
    made.data = malloc(made.size);
    if (!made.data)
        abort();
    make_header(made.data, 1);
    put_runs(made.data, runs, count);
    uint8_t *page = made.data + MAKER_HEADER;
    for (uint32_t i = 0; i < count; i++)
        for (uint64_t j = 0; j < runs[i].count; j++, page += MAKER_PAGE)
            make_page(page, runs[i].base + j);
    return made;
}

/* A dump of type 5 or 6: present[pfn] tells for each of `bits` frames whether it is stored. */
static inline made_dump make_bitmap(uint32_t type, const bool *present, uint64_t bits)
{
    uint64_t pages = 0;
    for (uint64_t i = 0; i < bits; i++)
        pages += present[i];
    size_t first = MAKER_BITMAP + (size_t)(bits + 7) / 8;
    first = (first + MAKER_PAGE - 1) / MAKER_PAGE * MAKER_PAGE;
    made_dump made = {.size = first + (size_t)pages * MAKER_PAGE};
    made.data = calloc(1, made.size);
    if (!made.data)
        abort();
    make_header(made.data, type);
    memcpy(made.data + 0x2000, type == 5 ? "FDMPDUMP" : "SDMPDUMP", 8);
    put64(made.data, 0x2020, first);
    put64(made.data, 0x2028, pages);
    put64(made.data, 0x2030, bits);
    uint8_t *page = made.data + first;
    for (uint64_t i = 0; i < bits; i++)
        if (present[i]) {
            made.data[MAKER_BITMAP + i / 8] |= (uint8_t)(1u << (i % 8));
            make_page(page, i);
            page += MAKER_PAGE;
        }
    return made;
}

#endif
