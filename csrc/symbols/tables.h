/* The generated rows that lookup.c chooses from. */
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

#endif
