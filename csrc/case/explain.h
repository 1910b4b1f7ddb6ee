/* Words for what was found. */
#ifndef LHI_CASE_EXPLAIN_H
#define LHI_CASE_EXPLAIN_H

#include "case/case.h"

/* Fills evidence and cleared. After judge and verdict. */
lh_status lhi_case_explain(lhi_case *c, lh_error *err);

#endif
