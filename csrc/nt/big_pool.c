/* Allocations of whole pages: the kernel's table of them, PoolBigPageTable.
 *
 * Layout: public PDB type _POOL_TRACKER_BIG_PAGES, facts B.6. */
#include "base/bytes.h"
#include "base/checked.h"
#include "nt/identify.h"
#include "nt/read.h"
#include "nt/text.h"

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

bool lhi_big_block_at(const lh_kernel *kernel, uint64_t va, lhi_big_block *out)
{
    const uint64_t size = lhi_big_entry_size(kernel);
    uint64_t table = variable(kernel, LHI_G_PoolBigPageTable);
    uint64_t count = variable(kernel, LHI_G_PoolBigPageTableSize);
    if (!lhi_is_object(table, 8) || count > MOST_ENTRIES || count * size > UINT64_MAX - table)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = 0;
        uint64_t at = 0;
        lhi_big_block block = {0};
        if (lhi_read_u64(&kernel->space, table + i * size, &start, &at) != LH_PRESENT) {
            /* On with the first entry that begins in the next page of the table. */
            i += (LHI_PAGE_SIZE - 1 - (table + i * size) % LHI_PAGE_SIZE) / size;
            continue;
        }
        if (start > va || !lhi_big_entry(kernel, table + i * size, &block) || block.free ||
            va - block.va >= block.size)
            continue;
        *out = block;
        return true;
    }
    return false;
}
