/* What the flags say behind an instruction, and what that tells of a state. */
#ifndef LHI_CODE_QUESTION_H
#define LHI_CODE_QUESTION_H

#include "code/functions.h"
#include "code/state.h"

/* What the flags say: of left minus right. */
typedef struct lhi_question {
    bool asked; /* false: the flags tell nothing that is known */
    uint8_t width;
    bool masks;  /* of left & right instead */
    bool partly; /* zero and sign alone */
    lhi_value left, right;
} lhi_question;

/* Of two numbers. false: it is another question, or one whose answer is not computed. */
bool lhi_question_of_numbers(const lhi_question *question, unsigned condition, bool *answer);
/* As one that can be asked again. false: it can't. `condition`: lhi_condition. */
bool lhi_question_fact(const lhi_question *question, unsigned condition, lhi_fact *fact);

/* The fact that an answer is of. */
lhi_fact lhi_question_of_answer(const lhi_value *answer);

typedef enum lhi_way {
    LHI_WAY_CLOSED, /* that can't be */
    LHI_WAY_OPEN,
    LHI_WAY_DOUBTFUL /* it could contradict what is known */
} lhi_way;

/* Follows one outcome of a branch. */
lhi_way lhi_question_assume(lhi_state *state, const lhi_question *question, uint8_t condition, bool outcome);
/* Follows a jump through a table to the target of these cases, ascending; `place`: of the jump. */
lhi_way lhi_question_select(lhi_state *state, const lhi_value *selector, const lhi_table_entry *cases,
                            size_t count, uint64_t place);

#endif
