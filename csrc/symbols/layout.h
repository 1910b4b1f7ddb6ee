/* Structure layouts of NT kernels: built-in tables, chosen by the kernel's PDB identity or its build number.
 */
#ifndef LHI_SYMBOLS_LAYOUT_H
#define LHI_SYMBOLS_LAYOUT_H

#include "lockhound.h"
#include "symbols/fields.h" /* generated: lhi_field, lhi_size_of, lhi_global */

#define LHI_NO_OFFSET 0xffffu

typedef enum lhi_layout_basis {
    LHI_LAYOUT_PDB = 1,    /* the very kernel, by PDB GUID and age */
    LHI_LAYOUT_BUILD = 2,  /* the build: every kernel of it in the table agrees on the fields given */
    LHI_LAYOUT_STABLE = 3, /* unknown build: only fields that all kernels of the table share are given */
    LHI_LAYOUT_FACTS =
        4, /* no symbols at hand: LHI_LAYOUT_STABLE and what published facts say of the build */
    LHI_LAYOUT_INFERRED = 5 /* unknown build: LHI_LAYOUT_STABLE and what the dump itself shows */
} lhi_layout_basis;

typedef enum lhi_confidence {
    LHI_VERIFIED = 1, /* from symbols, or read off by two independent sources */
    LHI_SUPPOSED = 2  /* concluded: the same on both sides of the build, or one source only */
} lhi_confidence;

typedef struct lhi_layout {
    uint32_t build; /* of the row; 0 for LHI_LAYOUT_STABLE */
    lhi_layout_basis basis;
    const char *source;      /* for people: which table row, and from where */
    const uint16_t *offsets; /* by lhi_field; LHI_NO_OFFSET: unknown here */
    const uint32_t *sizes;   /* by lhi_size_of; 0: unknown here */
    const uint32_t *globals; /* RVAs by lhi_global, 0: unknown; NULL unless the basis is LHI_LAYOUT_PDB */
} lhi_layout;

/* The generated row; never LHI_LAYOUT_FACTS. Never NULL. guid may be NULL. */
const lhi_layout *lhi_layout_find(uint32_t build, const uint8_t guid[16], uint32_t age);

/* Where an offset comes from. */
typedef enum lhi_origin {
    LHI_FROM_NOWHERE = 0, /* unknown */
    LHI_FROM_TABLE,       /* generated from symbols */
    LHI_FROM_FACTS,       /* a hand-written row */
    LHI_FROM_BLOCK,       /* the kernel's debugger block states it */
    LHI_FROM_DUMP         /* inferred from objects in the dump */
} lhi_origin;

typedef enum lhi_probe {
    LHI_NOT_PROBED = 0,
    LHI_PROBE_AGREED,
    LHI_PROBE_FAILED /* what the tables said was contradicted, and dropped; the origin tells what came instead
                      */
} lhi_probe;

typedef struct lhi_field_state {
    lhi_origin origin;
    lhi_confidence confidence;
    lhi_probe probe;
    const char *source; /* of a fact, or what an inference rests on; NULL for LHI_FROM_TABLE */
    uint16_t dropped;   /* with LHI_PROBE_FAILED: the offset that was given up */
} lhi_field_state;

/* A layout of one's own, that may be changed: probing drops fields, inference adds them. */
typedef struct lhi_layout_row {
    lhi_layout layout; /* its pointers lead into this struct: never copy one */
    uint16_t offsets[LHI_FIELD_COUNT];
    uint32_t sizes[LHI_SIZE_COUNT];
    lhi_field_state states[LHI_FIELD_COUNT];
    lhi_confidence confidence; /* of the row as it came */
    /* Where the count of locked pages is kept in four counters (facts A.5): offset in EPROCESS of the pointer
     * to the structure that holds them, and of the first in there; LHI_NO_OFFSET: unknown, or no such build
     */
    uint16_t counters_pointer, counters_first;
} lhi_layout_row;
/* As lhi_layout_find, with the hand-written rows for builds that have no symbols at hand. */
void lhi_layout_choose(uint32_t build, const uint8_t guid[16], uint32_t age, lhi_layout_row *out);

/* false, *out untouched: this layout does not know the field. */
static inline bool lhi_layout_offset(const lhi_layout *layout, lhi_field field, uint64_t *out)
{
    if (layout->offsets[field] == LHI_NO_OFFSET)
        return false;
    *out = layout->offsets[field];
    return true;
}

#endif
