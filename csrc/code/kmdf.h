/* The table of routines through which a driver calls KMDF. */
#ifndef LHI_CODE_KMDF_H
#define LHI_CODE_KMDF_H

#include "code/functions.h"

typedef struct lhi_kmdf {
    bool bound;         /* the driver is a client of the framework */
    uint64_t table;     /* address of the first entry; 0: not known */
    uint64_t count;     /* entries */
    uint64_t pointer;   /* address of the driver's pointer to the table; 0: the table is the driver's own */
    lh_absence absence; /* of the first thing that is missing, where the table is not known */
    uint64_t absent_at;
} lhi_kmdf;

void lhi_kmdf_find(const lhi_code_image *code, lhi_kmdf *out);
/* The address of an entry of the table: which. false: it is none. */
bool lhi_kmdf_entry(const lhi_kmdf *kmdf, uint64_t slot, uint64_t *entry);

#endif
