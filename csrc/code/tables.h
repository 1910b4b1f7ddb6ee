/* Tables of jumps: where a jump through a register goes, read from the image as far as a comparison bounds
 * it. */
#ifndef LHI_CODE_TABLES_H
#define LHI_CODE_TABLES_H

#include "code/functions.h"

/* Finds the tables of a function whose instructions and leaders are known; each case becomes a leader. A jump
 * whose bound, whose table or one of whose targets can't be told gets no table. Only LH_ERR_NO_MEMORY fails.
 */
lh_status lhi_tables_find(const lhi_code_image *code, lhi_body *body, lh_error *err);
/* The table of the jump at this index; NULL: none. */
const lhi_table *lhi_table_of(const lhi_body *body, size_t jump);

#endif
