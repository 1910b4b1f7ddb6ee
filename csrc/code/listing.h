/* A few instructions around a place in code, with the bounds of its function. */
#ifndef LHI_CODE_LISTING_H
#define LHI_CODE_LISTING_H

#include "code/decode.h"
#include "code/names.h"

typedef struct lhi_line {
    uint64_t address;
    uint8_t length;
    bool calls;
    bool leaves; /* what stands behind it does not follow it */
    uint8_t bytes[LHI_CODE_LONGEST];
    char text[LHI_CODE_TEXT];
    char name[LHI_CODE_NAME]; /* of what it goes to, or of the routine whose address it reads; "": none */
} lhi_line;
/* The instruction at an address. *read: false where none begins there, or not all of it is in the dump. Only
 * LH_ERR_NO_MEMORY fails. */
lh_status lhi_line_read(lhi_names *names, uint64_t address, lhi_line *out, bool *read, lh_error *err);

#define LHI_LISTING_BEFORE 5u
#define LHI_LISTING_AFTER  3u
#define LHI_LISTING_MOST   (LHI_LISTING_BEFORE + 1u + LHI_LISTING_AFTER)

typedef struct lhi_listing {
    bool bounded; /* by .pdata: the function's entry, and the part of it that the place lies in */
    uint64_t entry, begin, end;
    size_t count;  /* 0: `why` */
    size_t marked; /* the line that is asked about; no smaller than `count`: it is not there */
    lhi_line lines[LHI_LISTING_MOST];
    const char *why;    /* a line that should be there is not: a clause; NULL */
    lh_absence absence; /* what is not in the dump; LH_PRESENT: nothing, it is something else */
    uint64_t absent_at;
} lhi_listing;

/* Around the instruction at an address, or with `returns` around the call in front of that return address.
 * Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_listing_read(lhi_names *names, uint64_t address, bool returns, lhi_listing *out, lh_error *err);

#endif
