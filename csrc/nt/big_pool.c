/* Allocations of whole pages: the kernel's table of them, PoolBigPageTable.
 *
 * Layout: public PDB type _POOL_TRACKER_BIG_PAGES, facts B.6. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "nt/identify.h"
#include "nt/read.h"
#include "nt/text.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY_KEY        0x8u  /* the tag */
#define ENTRY_BYTES      0x10u /* NumberOfBytes */
#define ENTRY_READ       0x18u
#define ENTRY_SIZE       0x18u
#define LATER_ENTRY_SIZE 0x20u  /* with ProcessBilled */
#define LATER_ENTRIES    20348u /* first build that has it */
#define ENTRY_FREE       1u     /* lowest bit of Va */
#define TAG_PROTECTED    0x80u
#define BYTES_LEAST      0xff0u       /* what is smaller has a POOL_HEADER */
#define BYTES_MOST       (1ull << 40) /* more than any machine has for its pool */
#define MOST_ENTRIES     (1ull << 22) /* of the table looked at */

bool lhi_big_entry(const lh_kernel *kernel, uint64_t entry, lhi_big_block *out)
{
    uint8_t bytes[ENTRY_READ] = {0};
    uint8_t tag[4] = {0};
    uint64_t at = 0;
    if (lhi_read(&kernel->space, entry, bytes, sizeof bytes, &at) != LH_PRESENT)
        return false;
    uint64_t va = lhi_u64(bytes);
    uint64_t size = lhi_u64(bytes + ENTRY_BYTES);
    memcpy(tag, bytes + ENTRY_KEY, sizeof tag);
    tag[3] = (uint8_t)(tag[3] & ~TAG_PROTECTED);
    for (size_t i = 0; i < sizeof tag; i++) {
        if (tag[i] < 0x20 || tag[i] > 0x7e)
            return false;
    }
    if (!lhi_is_object(va & ~(uint64_t)ENTRY_FREE, LHI_PAGE_SIZE) || size < BYTES_LEAST ||
        size > BYTES_MOST || size > UINT64_MAX - va)
        return false;
    out->va = va & ~(uint64_t)ENTRY_FREE;
    out->size = size;
    out->free = (va & ENTRY_FREE) != 0;
    lhi_text_bytes(tag, sizeof tag, out->tag, sizeof out->tag);
    return true;
}

static uint64_t variable(const lh_kernel *kernel, lhi_global which)
{
    const uint64_t place = lhi_kernel_global(kernel, which);
    uint64_t value = 0;
    uint64_t at = 0;
    if (place == 0 || lhi_read_u64(&kernel->space, place, &value, &at) != LH_PRESENT)
        return 0;
    return value;
}

uint64_t lhi_big_entry_size(const lh_kernel *kernel)
{
    return kernel->build >= LATER_ENTRIES ? LATER_ENTRY_SIZE : ENTRY_SIZE;
}

/* The kernel's table, and the entry that is looked at next. */
typedef struct lhi_big_walk {
    const lh_kernel *kernel;
    uint64_t table, count, size, next;
    uint64_t entry; /* of the latest block */
} lhi_big_walk;

/* Where the table lies is not known: it has no entries. */
static lhi_big_walk begin(const lh_kernel *kernel)
{
    lhi_big_walk walk = {.kernel = kernel,
                         .table = variable(kernel, LHI_G_PoolBigPageTable),
                         .count = variable(kernel, LHI_G_PoolBigPageTableSize),
                         .size = lhi_big_entry_size(kernel)};
    if (!lhi_is_object(walk.table, 8) || walk.count > MOST_ENTRIES ||
        walk.count * walk.size > UINT64_MAX - walk.table)
        walk.count = 0;
    return walk;
}

/* The next block that is in use. */
static bool next_block(lhi_big_walk *walk, lhi_big_block *out)
{
    while (walk->next < walk->count) {
        uint64_t start = 0;
        uint64_t at = 0;
        walk->entry = walk->table + walk->next++ * walk->size;
        if (lhi_read_u64(&walk->kernel->space, walk->entry, &start, &at) != LH_PRESENT)
            /* On with the first entry that begins in the next page of the table. */
            walk->next += (LHI_PAGE_SIZE - 1 - walk->entry % LHI_PAGE_SIZE) / walk->size;
        else if (!(start & ENTRY_FREE) && lhi_big_entry(walk->kernel, walk->entry, out))
            return true;
    }
    return false;
}

bool lhi_big_block_at(const lh_kernel *kernel, uint64_t va, lhi_big_block *out)
{
    lhi_big_walk walk = begin(kernel);
    lhi_big_block block = {0};
    while (next_block(&walk, &block)) {
        if (va < block.va || va - block.va >= block.size)
            continue;
        *out = block;
        return true;
    }
    return false;
}

static int by_begin(const void *a, const void *b)
{
    const lhi_big_row *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

lh_status lhi_big_blocks_read(const lh_kernel *kernel, lhi_big_blocks *out, lh_error *err)
{
    lhi_big_walk walk = begin(kernel);
    lhi_big_block block = {0};
    uint64_t reach = 0;
    *out = (lhi_big_blocks){.kernel = kernel};
    while (next_block(&walk, &block)) {
        if (!lhi_grow(&out->rows, out->count, &out->room, sizeof *out->rows)) {
            lhi_big_blocks_free(out);
            return lhi_fail_memory(err);
        }
        out->rows[out->count++] =
            (lhi_big_row){.begin = block.va, .end = block.va + block.size, .entry = walk.entry};
    }
    if (out->count)
        qsort(out->rows, out->count, sizeof *out->rows, by_begin);
    for (size_t i = 0; i < out->count; i++) {
        reach = out->rows[i].end > reach ? out->rows[i].end : reach;
        out->rows[i].reach = reach;
    }
    return LH_OK;
}

bool lhi_big_blocks_at(const lhi_big_blocks *blocks, uint64_t va, lhi_big_block *out)
{
    const lhi_big_row *found = NULL;
    size_t low = 0, high = blocks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blocks->rows[middle].begin <= va)
            low = middle + 1;
        else
            high = middle;
    }
    /* Blocks lie apart, but of a damaged table that may not be true: then the first entry counts. */
    for (size_t i = low; i > 0 && blocks->rows[i - 1].reach > va; i--) {
        const lhi_big_row *row = &blocks->rows[i - 1];
        if (va < row->end && (!found || row->entry < found->entry))
            found = row;
    }
    return found && lhi_big_entry(blocks->kernel, found->entry, out);
}

void lhi_big_blocks_free(lhi_big_blocks *blocks)
{
    lhi_free(blocks->rows);
    *blocks = (lhi_big_blocks){0};
}
