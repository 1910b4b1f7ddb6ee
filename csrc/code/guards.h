/* Stretches of a function that are guarded: where it goes on when something in them raises an exception. */
#ifndef LHI_CODE_GUARDS_H
#define LHI_CODE_GUARDS_H

#include "code/functions.h"

/* Reads the scope tables of __C_specific_handler; each block of an __except becomes a leader. Only
 * LH_ERR_NO_MEMORY fails. */
lh_status lhi_guards_find(const lhi_code_image *code, lhi_body *body, lh_error *err);

#endif
