/* Who keeps a pointer: makers of packets, and the owners of the memory that pointers to an MDL stand in. */
#ifndef LHI_CASE_KEEPERS_H
#define LHI_CASE_KEEPERS_H

#include "case/case.h"

/* Fills in `maker` of a driver's packets that no completion routine tells the maker of, and the table of
 * device memory, when the case needs either. After gather. */
lh_status lhi_case_keepers(lhi_case *c, lh_error *err);

/* The driver whose image or device an address lies in: a party, whose name may be absent; LHI_NONE where none
 * is known. false: no memory. */
bool lhi_case_owner(lhi_case *c, uint64_t va, size_t *party, lh_error *err);

/* The table of device memory, where lhi_case_keepers had no need of it: one pass. */
lh_status lhi_case_know_owners(lhi_case *c, lh_error *err);
/* The row of that table that an address lies in; NULL. */
const lhi_owned *lhi_case_owned_at(const lhi_case *c, uint64_t va);

#endif
