/* Memory behind the pointers that a function was given, as far as its caller should know what became of it:
 * values that the function left there are kept with those of the frame, far below them. */
#ifndef LHI_CODE_GIVEN_H
#define LHI_CODE_GIVEN_H

#include "code/state.h"

/* The argument that a value is, or points behind. false: none whose pointer is followed. */
bool lhi_given_argument(lhi_state *state, const lhi_value *value, size_t *which);
/* The place of what lies `displacement` behind a pointer. false: it is not followed. */
bool lhi_given_place(lhi_state *state, const lhi_value *pointer, int64_t displacement, int64_t *place);
/* A place is one of these: whose, and how far behind the argument. */
bool lhi_given_is_place(int64_t place, size_t *which, int64_t *offset);
/* A value is stored there. */
void lhi_given_store(lhi_state *state, int64_t place, uint8_t width, const lhi_value *value);
/* Something is read, or written in a way that is not followed, behind an argument. */
void lhi_given_read(lhi_state *state, size_t which);
void lhi_given_written(lhi_state *state, size_t which);
/* Nothing more is followed there, and others know of what lies there. */
void lhi_given_drop(lhi_state *state, size_t which);
/* What memory operands do behind arguments, but for stores to a place that is followed. */
void lhi_given_touch(lhi_state *state, const lhi_code *code);
/* Keeps what both ways say; true: less than before. */
bool lhi_given_join(lhi_state *a, const lhi_state *b);
/* A pointer to the MDL lies there. */
bool lhi_given_holds(lhi_state *state, const lhi_object *object);
/* The way ends here: what it left behind the arguments. */
void lhi_given_sum_up(lhi_state *state, lhi_ending *ending);
/* A function that was called reaches behind a pointer like this, and keeps it nowhere. false: it is none that
 * is followed here. */
bool lhi_given_reach(lhi_state *state, const lhi_value *pointer, uint8_t reaches);
/* And what it left there; `index` of the call. `doubted`: what is not known can tell how it ended. */
void lhi_given_apply(lhi_state *state, const lhi_ending *ending, size_t index, uint64_t at, bool doubted);

#endif
