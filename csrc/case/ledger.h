/* The ledger in words, and what of it can't be taken at its word. */
#ifndef LHI_CASE_LEDGER_H
#define LHI_CASE_LEDGER_H

#include "case/case.h"

/* "29 of 37 pages are explained by 2 MDLs; 8 are not: ...". NULL: there is no ledger. */
const char *lhi_case_ledger_words(lhi_case *c);
/* Why the count of the bug check can't be a number of pages, a clause; NULL: it can. */
const char *lhi_case_absurd_count(lhi_case *c);
/* Frames in an MDL's array behind those that its length says, each with a reference: its length may have been
 * changed after the lock. 0: none, or that can't be told. */
uint64_t lhi_case_frames_beyond(const lhi_case *c, const lhi_record *record);

#endif
