/* Pool blocks: the POOL_HEADER whose block an address lies in.
 *
 * Layout and meanings: public PDB type _POOL_HEADER, facts B.6. */
#include "base/bytes.h"
#include "nt/memory.h"
#include "nt/read.h"
#include "nt/text.h"

#include <string.h>

#define HEADER_SIZE 16u
#define UNIT        16u    /* of BlockSize and PreviousSize */
#define BLOCK_MOST  0xff0u /* 255 units: the field has 8 bits */
/* PoolType of a block in use has this bit; a free one has 0 there. Beside it stand the paged bit, the quota
 * and the session bit, nothing else (kernel triage dumps of 19041 show 2, 3, 10 and 11 only). */
#define IN_USE    2u
#define TYPE_BITS 0x2bu
/* The pool header, the object header and all optional ones (facts B.6). */
#define OBJECT_HEADERS 0x100u
/* "Protected": not part of the tag. */
#define TAG_PROTECTED 0x80u
/* First build whose kernel pool is a segment heap: BlockSize and PreviousSize no longer form a chain, and
 * nothing in the header tells a free block. */
#define SEGMENT_HEAP_BUILD 18362u

typedef struct header {
    uint32_t previous, size; /* bytes */
    uint8_t type;
    uint8_t tag[4];
} header;

static bool decode(const uint8_t *bytes, header *out)
{
    out->previous = bytes[0] * UNIT;
    out->size = bytes[2] * UNIT;
    out->type = bytes[3];
    memcpy(out->tag, bytes + 4, 4);
    out->tag[3] = (uint8_t)(out->tag[3] & ~TAG_PROTECTED);
    for (size_t i = 0; i < 4; i++) {
        if (out->tag[i] < 0x20 || out->tag[i] > 0x7e)
            return false;
    }
    return out->size >= HEADER_SIZE + UNIT;
}

static bool decode_marked(const lh_kernel *kernel, const uint8_t *bytes, header *out)
{
    return decode(bytes, out) && (!kernel->probing.pool_marks || out->type == 0 ||
                                  ((out->type & ~TYPE_BITS) == 0 && (out->type & IN_USE) != 0));
}

/* sure: the header is one of the page's chain. A header of an earlier time may stand inside a block of today.
 */
static void answer(const lh_kernel *kernel, uint64_t at, const header *h, bool sure, lhi_pool_block *out)
{
    out->found = true;
    out->body = at + HEADER_SIZE;
    out->size = h->size - HEADER_SIZE;
    lhi_text_bytes(h->tag, sizeof h->tag, out->tag, sizeof out->tag);
    if (!sure || !kernel->probing.pool_marks)
        out->state = LHI_POOL_UNKNOWN;
    else if ((h->type & IN_USE) != 0)
        out->state = LHI_POOL_ALLOCATED;
    else
        out->state = LHI_POOL_FREE;
}

/* Follows the blocks of a page from its first one: true when every header up to the one that spans `offset`
 * agrees with its neighbour about sizes. */
static bool by_chain(const lh_kernel *kernel, const uint8_t *page, uint32_t offset, uint32_t *at, header *h)
{
    uint32_t previous = 0;
    for (uint32_t here = 0; here + HEADER_SIZE <= LHI_PAGE_SIZE;) {
        if (!decode_marked(kernel, page + here, h) || h->previous != previous ||
            h->size > LHI_PAGE_SIZE - here)
            return false;
        if (offset - here < h->size) {
            *at = here;
            return true;
        }
        previous = h->size;
        here += h->size;
    }
    return false;
}

void lhi_pool_block_at(const lh_kernel *kernel, uint64_t va, lhi_pool_block *out)
{
    const bool chained = kernel->build != 0 && kernel->build < SEGMENT_HEAP_BUILD;
    const bool any = chained || !kernel->probing.pool_marks;
    const uint64_t page_mask = LHI_PAGE_SIZE - 1;
    uint8_t bytes[LHI_PAGE_SIZE] = {0};
    uint64_t at = 0;
    header h = {0};
    memset(out, 0, sizeof *out);
    if (!lhi_is_kernel(va) || va - LHI_KERNEL_HALF < LHI_PAGE_SIZE)
        return;
    if (chained) {
        uint64_t page = va & ~page_mask;
        uint32_t here = 0;
        if (lhi_read(&kernel->space, page, bytes, sizeof bytes, &at) == LH_PRESENT &&
            by_chain(kernel, bytes, (uint32_t)(va & page_mask), &here, &h)) {
            if (va - page >= here + HEADER_SIZE)
                answer(kernel, page + here, &h, true, out);
            return;
        }
    }
    /* The nearest header above the address whose block spans it. A block of the segment heap may cross into
     * the next page; before that heap a block never does. */
    uint64_t lowest = va - BLOCK_MOST + 1;
    if (chained && lowest < (va & ~page_mask))
        lowest = va & ~page_mask;
    lowest = (lowest + UNIT - 1) & ~(uint64_t)(UNIT - 1);
    for (uint64_t end = va & ~(uint64_t)(UNIT - 1); end > lowest;) {
        /* A page at a time, upwards, as far as the pages are there. */
        uint64_t begin = ((end - 1) & ~page_mask) > lowest ? ((end - 1) & ~page_mask) : lowest;
        size_t length = (size_t)(end - begin);
        if (lhi_read(&kernel->space, begin, bytes, length, &at) != LH_PRESENT)
            return;
        for (size_t back = HEADER_SIZE; back <= length; back += UNIT) {
            uint64_t here = end - back;
            /* On a segment heap only blocks in use have this header. */
            if (decode_marked(kernel, bytes + (here - begin), &h) && va - here < h.size &&
                (any || h.type != 0)) {
                answer(kernel, here, &h, false, out);
                return;
            }
        }
        end = begin;
    }
}

lhi_answer lhi_pool_marks(const lh_kernel *kernel, uint64_t object, const char *tag)
{
    if (!lhi_is_object(object, UNIT) || object - LHI_KERNEL_HALF < LHI_PAGE_SIZE)
        return LHI_UNKNOWN;
    for (uint64_t back = HEADER_SIZE; back <= OBJECT_HEADERS; back += UNIT) {
        uint8_t bytes[HEADER_SIZE] = {0};
        uint64_t at = 0;
        header h = {0};
        if (lhi_read(&kernel->space, object - back, bytes, sizeof bytes, &at) != LH_PRESENT)
            return LHI_UNKNOWN;
        if (decode(bytes, &h) && h.size > back && memcmp(h.tag, tag, sizeof h.tag) == 0)
            return (h.type & IN_USE) != 0 ? LHI_YES : LHI_NO;
    }
    return LHI_UNKNOWN;
}

bool lhi_pool_says_free(const lh_kernel *kernel, uint64_t body, const char *tag)
{
    uint8_t bytes[HEADER_SIZE] = {0};
    uint64_t at = 0;
    header h = {0};
    lhi_pool_block block = {0};
    lhi_pool_block_at(kernel, body, &block);
    if (!kernel->probing.pool_marks || block.state != LHI_POOL_UNKNOWN ||
        (block.found && block.body != body) || body - LHI_KERNEL_HALF < LHI_PAGE_SIZE ||
        lhi_read(&kernel->space, body - HEADER_SIZE, bytes, sizeof bytes, &at) != LH_PRESENT)
        return false;
    return decode(bytes, &h) && h.type == 0 &&
           (kernel->build < SEGMENT_HEAP_BUILD || memcmp(h.tag, tag, sizeof h.tag) == 0);
}
