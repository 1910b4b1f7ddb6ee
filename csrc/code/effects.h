/* What calls do to a state. */
#ifndef LHI_CODE_EFFECTS_H
#define LHI_CODE_EFFECTS_H

#include "code/finding.h"
#include "code/routines.h"
#include "code/state.h"

/* Whom to tell of what is wrong. */
typedef struct lhi_teller {
    void (*tell)(void *user, lhi_finding_kind kind, uint64_t first, uint64_t last);
    void *user;
} lhi_teller;

/* A call of a routine, or of somebody unknown (NULL), but for the registers it changes. false: it does not
 * come back. */
bool lhi_effect_of_call(const lhi_teller *to, lhi_state *state, const lhi_routine *routine, uint64_t at);
/* The fifth argument is no packet that an MDL is put into. */
bool lhi_effect_has_no_packet(const lhi_state *state);
/* What a call leaves behind: the callee's home area and its registers are gone, and rax is new. */
lhi_value lhi_effect_of_return(lhi_state *state, size_t index, bool keeps);
/* A call of a driver's own function. */
typedef struct lhi_own_call {
    size_t index; /* of the instruction */
    uint64_t at;  /* its address */
    const lhi_summary *summary;
    bool doubted; /* what it gives and is not known can tell how it ended */
} lhi_own_call;
/* It ends like this. false: it does not end like this here. */
bool lhi_effect_of_ending(const lhi_teller *to, lhi_state *state, const lhi_own_call *call,
                          const lhi_ending *ending);
/* Then it comes back, with what it gives. */
void lhi_effect_of_result(lhi_state *state, const lhi_own_call *call, const lhi_ending *ending);
/* The way ends here: adds how, for those who call the function. */
void lhi_effect_sum_up(lhi_state *state, lhi_summary *summary);

#endif
