/* Makers found by who keeps the pointer to a packet. */
#ifndef LHI_CASE_KEEPERS_H
#define LHI_CASE_KEEPERS_H

#include "case/case.h"

/* Fills in `maker` of a driver's packets that no completion routine tells the maker of. After gather. */
lh_status lhi_case_keepers(lhi_case *c, lh_error *err);

#endif
