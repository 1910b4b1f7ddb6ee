/* What one instruction does to a state. */
#ifndef LHI_CODE_STEP_H
#define LHI_CODE_STEP_H

#include "code/calls.h"
#include "code/question.h"

/* Everything but calls, jumps, branches and returns. `index` is the instruction's number. */
void lhi_step(lhi_state *state, const lhi_code *code, uint64_t index, lhi_question *question);
/* Instruction `index` gave something new; `about`: see lhi_value. */
lhi_value lhi_step_result(lhi_state *state, uint64_t index, uint64_t about);
#endif
