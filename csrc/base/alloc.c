/* Allocation: the only door to the heap; test builds can make the n-th allocation fail. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#ifdef LHI_TEST_HOOKS
#include <stdatomic.h>

static atomic_uint_fast64_t allocations;
static atomic_uint_fast64_t fail_at; /* value of `allocations` that fails; 0 = none */
static atomic_int fail_for_ever;
static atomic_uint_fast64_t largest;

void lhi_alloc_fail_at(uint64_t n, int persistent)
{
    atomic_store(&fail_for_ever, persistent);
    atomic_store(&fail_at, n ? atomic_load(&allocations) + n : 0);
}

uint64_t lhi_alloc_count(void)
{
    return atomic_load(&allocations);
}

uint64_t lhi_alloc_largest(void)
{
    return atomic_exchange(&largest, 0);
}

static int must_fail(uint64_t size)
{
    uint64_t before = atomic_load(&largest);
    while (before < size && !atomic_compare_exchange_weak(&largest, &before, size))
        continue;
    uint64_t number = atomic_fetch_add(&allocations, 1) + 1;
    uint64_t at = atomic_load(&fail_at);
    return at && (number == at || (number > at && atomic_load(&fail_for_ever)));
}
#else
static int must_fail(uint64_t size)
{
    (void)size;
    return 0;
}
#endif

void *lhi_malloc(size_t size)
{
    return must_fail(size) ? NULL : malloc(size ? size : 1);
}

void *lhi_calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) /* calloc checks too, but sanitizers stop at it */
        return NULL;
    if (must_fail(count * size))
        return NULL;
    return count && size ? calloc(count, size) : calloc(1, 1); /* ISO C leaves the size 0 open */
}

void *lhi_realloc_array(void *pointer, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    size_t bytes = count * size;
    if (must_fail(bytes))
        return NULL;
    return realloc(pointer, bytes ? bytes : 1);
}

void *lhi_grow(void *array, size_t *capacity, size_t count, size_t size)
{
    if (array && count < *capacity)
        return array;
    if (*capacity > SIZE_MAX / 2)
        return NULL;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *larger = lhi_realloc_array(array, wanted, size);
    if (larger)
        *capacity = wanted;
    return larger;
}

void lhi_free(void *pointer)
{
    free(pointer);
}

char *lhi_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = lhi_malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
