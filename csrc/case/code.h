/* Code as witness: what the images of the drivers in a case do with locked pages. */
#ifndef LHI_CASE_CODE_H
#define LHI_CASE_CODE_H

#include "case/case.h"

/* Adds what their code shows to the evidence of drivers that have some, and, where nobody is named, drivers
 * whose code loses a lock as leads. After the verdict and its explanation: code convicts nobody. */
lh_status lhi_case_code(lhi_case *c, lh_error *err);

/* pool_tags.c: where what leads to an MDL ends at a pool block that nobody keeps, drivers with a constant
 * that is the block's tag, as leads. Before lhi_case_code, which looks at them then. */
lh_status lhi_case_pool_tags(lhi_case *c, lh_error *err);

#endif
