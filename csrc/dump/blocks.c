/* Virtual memory in pieces: sorted once, found by binary search, read across pieces that touch. */
#include "dump/blocks.h"

#include "base/alloc.h"
#include "base/error.h"
#include "dump/lookup.h"
#include "source/source.h"

#include <stdlib.h>

static bool push(lhi_block **items, size_t *count, size_t *capacity, lhi_block block)
{
    if (!lhi_grow(items, *count, capacity, sizeof **items))
        return false;
    (*items)[(*count)++] = block;
    return true;
}

bool lhi_blocks_add(lhi_blocks *blocks, uint64_t va, uint64_t offset, uint64_t size)
{
    uint64_t end = lhi_source_size(blocks->source);
    uint64_t there = offset < end ? end - offset : 0;
    there = there < size ? there : size;
    if (there && !push(&blocks->items, &blocks->count, &blocks->capacity, (lhi_block){va, there, offset}))
        return false;
    return size == there || push(&blocks->lost, &blocks->lost_count, &blocks->lost_capacity,
                                 (lhi_block){va + there, size - there, LHI_NOT_IN_FILE});
}

/* The file offset keeps the order total: which of two that begin alike counts must not depend on qsort. */
static int by_address(const void *left, const void *right)
{
    const lhi_block *a = left, *b = right;
    if (a->va != b->va)
        return a->va < b->va ? -1 : 1;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->size > b->size ? -1 : a->size < b->size;
}

static uint64_t settle(lhi_block *items, size_t *count)
{
    uint64_t end = 0, bytes = 0;
    size_t kept = 0;
    if (*count)
        qsort(items, *count, sizeof *items, by_address);
    for (size_t i = 0; i < *count; i++) {
        lhi_block block = items[i];
        uint64_t covered = end > block.va ? end - block.va : 0;
        if (covered >= block.size)
            continue;
        block.va += covered;
        block.size -= covered;
        if (block.offset != LHI_NOT_IN_FILE)
            block.offset += covered;
        end = block.va + block.size;
        bytes += block.size;
        items[kept++] = block;
    }
    *count = kept;
    return bytes;
}

void lhi_blocks_settle(lhi_blocks *blocks)
{
    blocks->bytes = settle(blocks->items, &blocks->count);
    blocks->lost_bytes = settle(blocks->lost, &blocks->lost_count);
}

void lhi_blocks_free(lhi_blocks *blocks)
{
    lhi_free(blocks->items);
    lhi_free(blocks->lost);
    *blocks = (lhi_blocks){0};
}

static const lhi_block *first_above(const lhi_block *items, size_t count, uint64_t va)
{
    size_t low = 0, high = items ? count : 0;
    while (low < high) { /* to the first that ends above va; block ends ascend, and none wraps */
        size_t middle = low + (high - low) / 2;
        if (items[middle].va + items[middle].size <= va)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count ? &items[low] : NULL;
}

const lhi_block *lhi_blocks_at(const lhi_blocks *blocks, uint64_t va)
{
    return first_above(blocks->items, blocks->count, va);
}

lh_absence lhi_blocks_state(const lhi_blocks *blocks, uint64_t va)
{
    const lhi_block *block = lhi_blocks_at(blocks, va);
    if (block && block->va <= va)
        return LH_PRESENT;
    block = first_above(blocks->lost, blocks->lost_count, va);
    return block && block->va <= va ? LH_ABSENT_CLIPPED : LH_ABSENT_NOT_CAPTURED;
}

uint64_t lhi_blocks_offset(const lhi_blocks *blocks, uint64_t va)
{
    const lhi_block *block = lhi_blocks_at(blocks, va);
    return block && block->va <= va ? block->offset + (va - block->va) : LHI_NOT_IN_FILE;
}

lh_status lhi_blocks_read(const lhi_blocks *blocks, uint64_t va, void *buffer, size_t size, size_t *done,
                          lh_error *err)
{
    const lhi_block *end = blocks->items ? blocks->items + blocks->count : NULL;
    const lhi_block *block = lhi_blocks_at(blocks, va);
    lh_status status = LH_OK;
    uint8_t *to = buffer;
    size_t at = 0;
    while (at < size) {
        uint64_t here = va + at;
        if (here < va) {
            status = lhi_fail_absent(err, LH_ABSENT_NONCANONICAL, 0, here, "virtual address");
            break;
        }
        if (!block || block == end || block->va > here) {
            status = lhi_fail_absent(err, lhi_blocks_state(blocks, here), 0, here, "virtual address");
            break;
        }
        uint64_t left = block->size - (here - block->va);
        size_t part = left < size - at ? (size_t)left : size - at;
        status = lhi_source_read(blocks->source, block->offset + (here - block->va), to + at, part, err);
        if (status != LH_OK)
            break;
        at += part;
        block++;
    }
    if (done)
        *done = at;
    return status;
}
