/* Allocation: the only door to the heap, with a fault hook for tests. */
#ifndef LHI_BASE_ALLOC_H
#define LHI_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *lhi_malloc(size_t size);               /* NULL on failure; size 0 gives a unique pointer */
void *lhi_calloc(size_t count, size_t size); /* zeroed; checks the product */
void *lhi_realloc_array(void *pointer, size_t count, size_t size); /* checks the product */
/* Room for one more in a growing array of `count` elements: the array itself, or a larger one in its place,
 * with *capacity changed. NULL: no memory, nothing lost. */
void *lhi_grow(void *array, size_t *capacity, size_t count, size_t size);
void lhi_free(void *pointer);
char *lhi_strdup(const char *text);

#ifdef LHI_TEST_HOOKS
/* The n-th allocation from now fails (1 = the next one); 0 switches the fault off. Every later one fails
 * too when `persistent`. Not thread safe. */
void lhi_alloc_fail_at(uint64_t n, int persistent);
uint64_t lhi_alloc_count(void);   /* allocations since the start */
uint64_t lhi_alloc_largest(void); /* bytes of the largest one asked for since the last call */
#endif

#endif
