/* The bump allocator behind results that are built once and freed as a whole. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define BLOCK_SIZE 16384u

struct lhi_arena_block {
    lhi_arena_block *previous;
    size_t used, size;
    /* payload follows, aligned to 16 */
};
#define HEADER ((sizeof(lhi_arena_block) + 15u) & ~(size_t)15u)

void *lhi_arena_alloc(lhi_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) {
        arena->failed = true;
        return NULL;
    }
    size = (size + 15u) & ~(size_t)15u;
    lhi_arena_block *block = arena->last;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = lhi_malloc(HEADER + room);
        if (!block) {
            arena->failed = true;
            return NULL;
        }
        *block = (lhi_arena_block){.previous = arena->last, .size = room};
        arena->last = block;
    }
    void *out = (uint8_t *)block + HEADER + block->used;
    block->used += size;
    memset(out, 0, size);
    return out;
}

const char *lhi_arena_printf(lhi_arena *arena, const char *format, ...)
{
    va_list first, second;
    va_start(first, format);
    va_copy(second, first);
    int length = vsnprintf(NULL, 0, format, first);
    va_end(first);
    char *out = length < 0 ? NULL : lhi_arena_alloc(arena, (size_t)length + 1);
    if (out)
        vsnprintf(out, (size_t)length + 1, format, second);
    else
        arena->failed = true;
    va_end(second);
    return out ? out : "";
}

const char *lhi_arena_strdup(lhi_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *out = lhi_arena_alloc(arena, size);
    if (!out)
        return "";
    memcpy(out, text, size);
    return out;
}

void lhi_arena_free(lhi_arena *arena)
{
    while (arena->last) {
        lhi_arena_block *block = arena->last;
        arena->last = block->previous;
        lhi_free(block);
    }
}
