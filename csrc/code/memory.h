/* Memory by the address as the code makes it, in the frame too where nothing is kept of it: what is asked of
 * it twice has the same answer, until it is written. */
#ifndef LHI_CODE_MEMORY_H
#define LHI_CODE_MEMORY_H

#include "code/question.h"

/* Key of what a memory operand holds, as long as nobody writes it; 0: none. */
uint64_t lhi_memory_key(const lhi_state *state, const lhi_code *code);
/* Something was written there that is not known: what is made of it is in doubt. */
bool lhi_memory_is_doubted(const lhi_state *state, const lhi_code *code);
/* An instruction is about to write: a value that was read there stays what it was. */
void lhi_memory_age(const lhi_state *state, const lhi_code *code, lhi_value *value);
/* It writes there; `value`: what it stores. NULL: something that is made of what stood there. */
void lhi_memory_write(lhi_state *state, const lhi_code *code, const lhi_value *value);

#endif
