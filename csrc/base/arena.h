/* Strings and rows that live as long as their owner: a bump allocator freed in one go. */
#ifndef LHI_BASE_ARENA_H
#define LHI_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct lhi_arena_block lhi_arena_block;
typedef struct lhi_arena {
    lhi_arena_block *last;
    bool failed; /* an allocation failed since the start: check once at the end */
} lhi_arena;

/* Zeroed, aligned to 16; NULL on failure (and `failed` set). */
void *lhi_arena_alloc(lhi_arena *arena, size_t size);
/* Never NULL: on failure "" and `failed` set. */
const char *lhi_arena_printf(lhi_arena *arena, const char *format, ...) LHI_PRINTF(2, 3);
const char *lhi_arena_strdup(lhi_arena *arena, const char *text);
void lhi_arena_free(lhi_arena *arena);

#endif
