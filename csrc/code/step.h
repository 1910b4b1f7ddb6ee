/* What one instruction does to a state. */
#ifndef LHI_CODE_STEP_H
#define LHI_CODE_STEP_H

#include "code/calls.h"
#include "code/state.h"

/* What the flags say: of left minus right. */
typedef struct lhi_question {
    bool asked; /* false: the flags tell nothing that is known */
    uint8_t width;
    bool masks; /* of left & right instead */
    lhi_value left, right;
} lhi_question;

/* Everything but calls, jumps, branches and returns. `index` is the instruction's number. */
void lhi_step(lhi_state *state, const lhi_code *code, uint64_t index, lhi_question *question);
/* Instruction `index` gave something new; `about`: see lhi_value. */
lhi_value lhi_step_result(lhi_state *state, uint64_t index, uint64_t about);
/* Follows one outcome of a branch. false: that can't be on this way. */
bool lhi_step_assume(lhi_state *state, const lhi_question *question, uint8_t condition, bool outcome);

#endif
