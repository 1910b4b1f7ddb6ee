/* A growable array of 64-bit words: the one container that scan, space and case share. */
#ifndef LHI_BASE_VEC_H
#define LHI_BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lhi_vec {
    uint64_t *data;
    size_t count;
    size_t capacity;
} lhi_vec;

bool lhi_vec_push(lhi_vec *vec, uint64_t value); /* false: no memory, nothing lost */
bool lhi_vec_append(lhi_vec *vec, const uint64_t *values, size_t count);
void lhi_vec_sort_unique(lhi_vec *vec); /* ascending, duplicates removed */
/* How many of some ascending values are below `value`: the index of the first that is not. */
size_t lhi_lower_bound(const uint64_t *values, size_t count, uint64_t value);
/* Index of value in a sorted vec, or SIZE_MAX. */
size_t lhi_vec_find(const lhi_vec *vec, uint64_t value);
void lhi_vec_free(lhi_vec *vec);

#endif
