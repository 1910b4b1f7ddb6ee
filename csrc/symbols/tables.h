/* The generated and the hand-written rows that lookup.c chooses from. */
#ifndef LHI_SYMBOLS_TABLES_H
#define LHI_SYMBOLS_TABLES_H

#include "symbols/layout.h"

typedef struct lhi_kernel_row {
    uint8_t guid[16]; /* as the debug directory stores it */
    uint32_t age;
    lhi_layout layout;
} lhi_kernel_row;

extern const lhi_kernel_row lhi_kernel_rows[];
extern const size_t lhi_kernel_row_count;
extern const lhi_layout lhi_build_rows[];
extern const size_t lhi_build_row_count;
extern const lhi_layout lhi_stable_row; /* any build from Windows 7 on */
extern const lhi_layout lhi_older_row;  /* builds before it */

/* One offset (or size) of a hand-written row. */
typedef struct lhi_fact {
    lhi_field field;
    uint16_t offset;
    lhi_confidence confidence;
    const char *source;
} lhi_fact;

typedef struct lhi_fact_size {
    lhi_size_of structure;
    uint32_t size;
} lhi_fact_size;

typedef struct lhi_facts_row {
    uint32_t first, last; /* builds */
    const char *source;
    lhi_confidence confidence;
    const lhi_fact *const *groups; /* each ended by a NULL source; the last one by NULL */
    const lhi_fact_size *sizes;    /* ended by size 0; NULL: none */
    uint16_t counters_pointer, counters_first;
} lhi_facts_row;
extern const lhi_facts_row lhi_facts_rows[];
extern const size_t lhi_facts_row_count;

#endif
