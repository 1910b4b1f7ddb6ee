/* The places in drivers' code on which a case rests, each with the instructions around it. */
#ifndef LHI_CASE_EXCERPTS_H
#define LHI_CASE_EXCERPTS_H

#include "case/case.h"
#include "code/names.h"

/* The calls of the crashing thread that led to a wrong unlock; none where that is not the question. Without a
 * decoder they tell that there is none. */
lh_status lhi_case_quote_crash(lhi_case *c, lhi_names *names, lh_error *err);
/* The calls that locked, by the lock trackers' traces. */
lh_status lhi_case_quote_locks(lhi_case *c, lhi_names *names, lh_error *err);
/* The instruction at an address, once. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_case_quote(lhi_case *c, lhi_names *names, const char *kind, size_t party, uint64_t address,
                         const char *statement, lh_error *err);
bool lhi_case_quotes(const lhi_case *c, uint64_t address);
/* "leaky.sys+0x1133", of the arena; "" where no module has it. */
const char *lhi_case_name_code(lhi_case *c, lhi_names *names, uint64_t address);

#endif
