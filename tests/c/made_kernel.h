/* Kernel address spaces built by hand for the C tests: page tables, pages and a type 1 dump around them. */
#ifndef MADE_KERNEL_H
#define MADE_KERNEL_H

#include "check.h"
#include "dump/pages.h"
#include "space/space.h"

#include <stdlib.h>
#include <string.h>

#define WORLD_HEADER 0x2000u
#define WORLD_FRAMES 256u
#define WORLD_FIRST  0x100ull /* PFN of the first frame; it holds the PML4 */
#define WORLD_DTB    (WORLD_FIRST << 12)

typedef struct world {
    uint8_t *data; /* the dump: header, then WORLD_FRAMES pages */
    uint32_t used;
} world;

static inline void world_put(uint8_t *at, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t world_get(const uint8_t *at)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static inline uint8_t *world_frame(world *w, uint64_t pfn)
{
    return w->data + WORLD_HEADER + (size_t)(pfn - WORLD_FIRST) * LHI_PAGE_SIZE;
}

static inline world world_make(void)
{
    world w = {calloc(1, WORLD_HEADER + (size_t)WORLD_FRAMES * LHI_PAGE_SIZE), 1};
    if (!w.data)
        abort();
    memcpy(w.data, "PAGEDU64", 8);
    world_put(w.data + 0x08, 15, 4);
    world_put(w.data + 0x0c, 19041, 4);
    world_put(w.data + 0x10, WORLD_DTB, 8);
    world_put(w.data + 0x30, 0x8664, 4);
    world_put(w.data + 0x34, 1, 4);
    world_put(w.data + 0x38, 0x76, 4);
    world_put(w.data + 0x88, 1, 4); /* one run */
    world_put(w.data + 0x90, WORLD_FRAMES, 8);
    world_put(w.data + 0x98, WORLD_FIRST, 8);
    world_put(w.data + 0xa0, WORLD_FRAMES, 8);
    world_put(w.data + 0xf98, 1, 4);
    return w;
}

static inline uint64_t world_take(world *w)
{
    if (w->used == WORLD_FRAMES)
        abort();
    return WORLD_FIRST + w->used++;
}

/* The entry for va in the last table, made on the way. */
static inline uint8_t *world_entry(world *w, uint64_t va)
{
    uint8_t *table = world_frame(w, WORLD_FIRST);
    for (unsigned shift = 39;; shift -= 9) {
        uint8_t *entry = table + 8 * (va >> shift & 0x1ff);
        if (shift == 12)
            return entry;
        if (world_get(entry) == 0)
            world_put(entry, world_take(w) << 12 | 3, 8);
        table = world_frame(w, world_get(entry) >> 12);
    }
}

static inline uint64_t world_pfn(world *w, uint64_t va)
{
    return world_get(world_entry(w, va)) >> 12;
}

/* Maps the page of va to a fresh frame. */
static inline void world_map(world *w, uint64_t va)
{
    uint8_t *entry = world_entry(w, va);
    if (world_get(entry) == 0)
        world_put(entry, world_take(w) << 12 | 3, 8);
}

/* Writes to mapped memory, a byte at a time: across pages too. */
static inline void world_write(world *w, uint64_t va, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (world_get(world_entry(w, va + i)) == 0)
            abort();
        world_frame(w, world_pfn(w, va + i))[(va + i) & 0xfff] = ((const uint8_t *)bytes)[i];
    }
}

static inline void world_set(world *w, uint64_t va, uint64_t value, size_t width)
{
    uint8_t bytes[8] = {0};
    world_put(bytes, value, width);
    world_write(w, va, bytes, width);
}

static inline void world_u64(world *w, uint64_t va, uint64_t value)
{
    world_set(w, va, value, 8);
}

/* A UNICODE_STRING's header, and one with its text. */
static inline void world_header(world *w, uint64_t va, uint16_t length, uint16_t maximum, uint64_t buffer)
{
    world_set(w, va, length, 2);
    world_set(w, va + 2, maximum, 2);
    world_u64(w, va + 8, buffer);
}

static inline void world_string(world *w, uint64_t va, uint64_t buffer, const char *text)
{
    uint16_t length = (uint16_t)(2 * strlen(text));
    world_header(w, va, length, length, buffer);
    for (size_t i = 0; text[i]; i++)
        world_set(w, buffer + 2 * i, (uint8_t)text[i], 2);
}

static inline lh_dump *world_open(const world *w)
{
    lh_source *source = NULL;
    lh_dump *dump = NULL;
    lh_error err = {0};
    size_t size = WORLD_HEADER + (size_t)WORLD_FRAMES * LHI_PAGE_SIZE;
    if (!CHECK_EQ(lh_source_open_memory(w->data, size, &source, &err), LH_OK) ||
        !CHECK_EQ(lh_dump_open(source, &dump, &err), LH_OK)) {
        fprintf(stderr, "    %s\n", err.message);
        abort();
    }
    lh_source_release(source);
    return dump;
}

/* The same dump, in which the page of va was not captured. */
static inline lh_dump *world_open_without(world *w, uint64_t va)
{
    lh_dump *whole = world_open(w);
    lh_dump *dump = NULL;
    lh_error err = {0};
    uint64_t pfn = world_pfn(w, va);
    if (!CHECK_EQ(lh_dump_without_pages(whole, &pfn, 1, &dump, &err), LH_OK))
        abort();
    lh_dump_release(whole);
    return dump;
}

static inline void world_free(world *w)
{
    free(w->data);
    w->data = NULL;
}

#endif
