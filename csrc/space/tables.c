/* A hash set of page tables, and their bytes. */
#include "space/tables.h"

#include "base/alloc.h"
#include "base/error.h"
#include "source/source.h"

static size_t place(const lhi_tables *tables, uint64_t key)
{
    /* Fibonacci hashing: the multiplier is 2^64 / golden ratio (Knuth, TAOCP 6.4). */
    return (size_t)(key * 0x9e3779b97f4a7c15ull >> (64 - tables->bits));
}

static size_t find_slot(const lhi_tables *tables, uint64_t key)
{
    size_t mask = ((size_t)1 << tables->bits) - 1;
    size_t at = place(tables, key);
    while (tables->slots[at] != 0 && tables->keys[tables->slots[at] - 1] != key)
        at = (at + 1) & mask;
    return at;
}

/* Doubles keys and slots; slots are twice the keys. */
static bool grow(lhi_tables *tables)
{
    lhi_tables grown = *tables;
    size_t capacity = tables->capacity != 0 ? tables->capacity * 2 : 1024;
    if (capacity > UINT32_MAX)
        return false;
    grown.bits = tables->capacity != 0 ? tables->bits + 1 : 11;
    grown.keys = lhi_realloc_array(tables->keys, capacity, sizeof *grown.keys);
    if (grown.keys == NULL)
        return false;
    tables->keys = grown.keys;
    grown.slots = lhi_calloc((size_t)1 << grown.bits, sizeof *grown.slots);
    if (grown.slots == NULL)
        return false;
    grown.capacity = capacity;
    for (size_t i = 0; i < grown.count; i++)
        grown.slots[find_slot(&grown, grown.keys[i])] = (uint32_t)(i + 1);
    lhi_free(tables->slots);
    *tables = grown;
    return true;
}

bool lhi_tables_add(lhi_tables *tables, uint64_t key, uint32_t *index, bool *added)
{
    size_t at = 0;
    if (tables->count == tables->capacity && !grow(tables))
        return false;
    at = find_slot(tables, key);
    *added = tables->slots[at] == 0;
    if (*added) {
        tables->keys[tables->count++] = key;
        tables->slots[at] = (uint32_t)tables->count;
    }
    *index = tables->slots[at] - 1;
    return true;
}

void lhi_tables_free(lhi_tables *tables)
{
    lhi_free(tables->keys);
    lhi_free(tables->slots);
    *tables = (lhi_tables){0};
}

lh_status lhi_table_read(const lhi_pages *pages, uint64_t frame, uint8_t *buffer, const uint8_t **entries,
                         lh_error *err)
{
    lhi_run run = {0};
    lh_status status = LH_OK;
    *entries = NULL;
    if (lhi_pages_find(pages, frame, &run) != LH_PRESENT)
        return LH_OK;
    *entries = run.memory != NULL ? run.memory : lhi_source_view(pages->source, run.offset, LHI_PAGE_SIZE);
    if (*entries != NULL)
        return LH_OK;
    status = lhi_pages_read(pages, frame * LHI_PAGE_SIZE, buffer, LHI_PAGE_SIZE, err);
    if (status == LH_OK)
        *entries = buffer;
    return status;
}
