/* Reads for structure decoders that also tell which address was missing. */
#ifndef LHI_NT_READ_H
#define LHI_NT_READ_H

#include "space/space.h"
#include "symbols/layout.h"

/* LH_PRESENT, or why not and the first missing address in *at. An I/O error counts as LH_ABSENT_CLIPPED. */
lh_absence lhi_read(const lhi_space *space, uint64_t va, void *buffer, size_t size, uint64_t *at);
lh_absence lhi_read_u64(const lhi_space *space, uint64_t va, uint64_t *out, uint64_t *at);

/* A field of the structure at `base`, by the layout: `width` bytes (1, 2, 4 or 8), zero extended.
 * LH_ABSENT_LAYOUT with *at = 0 when this layout does not know the field. */
lh_absence lhi_read_field(const lhi_space *space, const lhi_layout *layout, uint64_t base, lhi_field field,
                          size_t width, uint64_t *out, uint64_t *at);

/* A kernel address on a multiple of `align` (a power of two): what a pointer to an object must be. */
static inline bool lhi_is_object(uint64_t va, uint64_t align)
{
    return lhi_is_kernel(va) && (va & (align - 1)) == 0;
}

#endif
