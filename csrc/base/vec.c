/* A growable array of 64-bit words. */
#include "base/vec.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static bool grow(lhi_vec *vec, size_t more)
{
    if (more <= vec->capacity - vec->count)
        return true;
    if (more > SIZE_MAX - vec->count)
        return false;
    size_t needed = vec->count + more;
    size_t capacity = vec->capacity ? vec->capacity : 16;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    uint64_t *data = lhi_realloc_array(vec->data, capacity, sizeof *data);
    if (!data)
        return false;
    vec->data = data;
    vec->capacity = capacity;
    return true;
}

bool lhi_vec_push(lhi_vec *vec, uint64_t value)
{
    if (!grow(vec, 1))
        return false;
    vec->data[vec->count++] = value;
    return true;
}

bool lhi_vec_append(lhi_vec *vec, const uint64_t *values, size_t count)
{
    if (!count)
        return true;
    if (!grow(vec, count))
        return false;
    memcpy(vec->data + vec->count, values, count * sizeof *values);
    vec->count += count;
    return true;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

void lhi_vec_sort_unique(lhi_vec *vec)
{
    bool ascending = true; /* hits of a scan mostly are */
    for (size_t i = 1; i < vec->count && ascending; i++)
        ascending = vec->data[i - 1] < vec->data[i];
    if (ascending)
        return;
    qsort(vec->data, vec->count, sizeof *vec->data, compare);
    size_t kept = 1;
    for (size_t i = 1; i < vec->count; i++)
        if (vec->data[i] != vec->data[kept - 1])
            vec->data[kept++] = vec->data[i];
    vec->count = kept;
}

size_t lhi_lower_bound(const uint64_t *values, size_t count, uint64_t value)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (values[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t lhi_vec_find(const lhi_vec *vec, uint64_t value)
{
    size_t at = lhi_lower_bound(vec->data, vec->count, value);
    return at < vec->count && vec->data[at] == value ? at : SIZE_MAX;
}

void lhi_vec_free(lhi_vec *vec)
{
    lhi_free(vec->data);
    *vec = (lhi_vec){0};
}
