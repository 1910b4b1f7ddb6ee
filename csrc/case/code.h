/* Code as witness: what the images of the drivers in a case do with locked pages. */
#ifndef LHI_CASE_CODE_H
#define LHI_CASE_CODE_H

#include "case/case.h"

/* Adds what their code shows to the evidence of drivers that have some, and, where nobody is named, drivers
 * whose code loses a lock as leads. After the verdict and its explanation: code convicts nobody. */
lh_status lhi_case_code(lhi_case *c, lh_error *err);

#endif
