/* Structure layouts of NT kernels: built-in tables, chosen by the kernel's PDB identity or its build number.
 */
#ifndef LHI_SYMBOLS_LAYOUT_H
#define LHI_SYMBOLS_LAYOUT_H

#include "lockhound.h"
#include "symbols/fields.h" /* generated: lhi_field, lhi_size_of, lhi_global */

#define LHI_NO_OFFSET 0xffffu

typedef enum lhi_layout_basis {
    LHI_LAYOUT_PDB = 1,   /* the very kernel, by PDB GUID and age */
    LHI_LAYOUT_BUILD = 2, /* the build: every kernel of it in the table agrees on the fields given */
    LHI_LAYOUT_STABLE = 3 /* unknown build: only fields that all kernels of the table share are given */
} lhi_layout_basis;

typedef struct lhi_layout {
    uint32_t build; /* of the row; 0 for LHI_LAYOUT_STABLE */
    lhi_layout_basis basis;
    const char *source;      /* for people: which table row, and from where */
    const uint16_t *offsets; /* by lhi_field; LHI_NO_OFFSET: unknown here */
    const uint32_t *sizes;   /* by lhi_size_of; 0: unknown here */
    const uint32_t *globals; /* RVAs by lhi_global, 0: unknown; NULL unless the basis is LHI_LAYOUT_PDB */
} lhi_layout;

/* Never NULL. guid may be NULL. */
const lhi_layout *lhi_layout_find(uint32_t build, const uint8_t guid[16], uint32_t age);

/* false, *out untouched: this layout does not know the field. */
static inline bool lhi_layout_offset(const lhi_layout *layout, lhi_field field, uint64_t *out)
{
    if (layout->offsets[field] == LHI_NO_OFFSET)
        return false;
    *out = layout->offsets[field];
    return true;
}

#endif
