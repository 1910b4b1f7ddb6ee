/* Where the calls of a function go, as far as they go to a routine that matters; in all the forms a call can
 * have. */
#ifndef LHI_CODE_CALLS_H
#define LHI_CODE_CALLS_H

#include "code/functions.h"
#include "code/kmdf.h"
#include "code/routines.h"
#include "code/summary.h"

typedef enum lhi_call_form {
    LHI_CALL_SLOT,       /* through the import address table or another pointer: call [slot] */
    LHI_CALL_LINKED,     /* straight to the routine: the loader linked the import */
    LHI_CALL_THUNK,      /* to a jump through the slot */
    LHI_CALL_DISPATCHED, /* through a guard or a retpoline, with the routine in a register */
    LHI_CALL_REGISTER    /* through a register that was loaded from the slot */
} lhi_call_form;
/* "slot", "linked", "thunk", "dispatched", "register". */
const char *lhi_call_form_name(lhi_call_form form);

typedef struct lhi_callee {
    const lhi_routine *routine; /* NULL: none of the table, or not known */
    lhi_call_form form;
    uint64_t slot;              /* 0: none */
    uint64_t inner;             /* address of a function of the same image; 0: none */
    const lhi_summary *summary; /* of that; NULL: not known */
} lhi_callee;

/* What is needed to tell, for one image. */
typedef struct lhi_calls {
    const lhi_code_image *code;
    const lhi_routines *routines;
    lhi_kmdf kmdf;
    lhi_map named;   /* slot -> index of its routine, by the import table's names */
    uint64_t unread; /* calls through a slot that is not in the dump and has no name */
    lh_absence absence;
    uint64_t absent_at; /* of the first */
    bool failed;        /* no memory */
} lhi_calls;

/* Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_calls_open(const lhi_code_image *code, const lhi_routines *routines, lhi_calls *out,
                         lh_error *err);
/* Fills callees[i] for each of body->count instructions. */
void lhi_calls_resolve(lhi_calls *calls, const lhi_body *body, lhi_callee *callees);
void lhi_calls_free(lhi_calls *calls);

#endif
