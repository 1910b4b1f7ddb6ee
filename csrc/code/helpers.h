/* The functions of a driver by what they do for each other: which are worth it, and their summaries, from
 * those that call none up. */
#ifndef LHI_CODE_HELPERS_H
#define LHI_CODE_HELPERS_H

#include "code/calls.h"

#define LHI_HELPERS_DEEP 4u /* calls of calls that are followed */

/* A call from one function into another. */
typedef struct lhi_inner_call {
    uint32_t caller; /* index of its first stretch */
    uint32_t target; /* RVA */
} lhi_inner_call;

typedef struct lhi_helper {
    lhi_summary *summary; /* NULL: in the making */
} lhi_helper;

typedef struct lhi_helpers {
    lhi_calls *calls;
    uint8_t *worth; /* by a function's first stretch: 1: has to do with MDLs, itself or by those it calls */
    lhi_inner_call *inner;
    size_t inner_count, inner_room;
    lhi_map by_address; /* of the entry -> index in `all` */
    lhi_helper *all;
    size_t count, room;
} lhi_helpers;

/* Only LH_ERR_NO_MEMORY fails, here and below. */
lh_status lhi_helpers_open(lhi_calls *calls, lhi_helpers *out, lh_error *err);
/* One function, by its first stretch, whose calls are resolved. */
lh_status lhi_helpers_note(lhi_helpers *helpers, size_t first, const lhi_body *body,
                           const lhi_callee *callees, lh_error *err);
/* When all are noted: who calls one that is worth it is worth it. */
void lhi_helpers_spread(lhi_helpers *helpers);
/* Gives the calls of a function the summaries that matter, and those calls a block's end. */
lh_status lhi_helpers_fill(lhi_helpers *helpers, lhi_body *body, lhi_callee *callees, lh_error *err);
void lhi_helpers_free(lhi_helpers *helpers);

#endif
