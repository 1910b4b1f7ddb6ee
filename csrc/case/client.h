/* Suspicion passes from a library to the driver that it works for. */
#ifndef LHI_CASE_CLIENT_H
#define LHI_CASE_CLIENT_H

#include "case/case.h"

/* For each driver's packet that a library made: its client becomes the maker, where one is found. After the
 * makers are known, before judging. */
lh_status lhi_case_clients(lhi_case *c, lh_error *err);
/* client_stack.c: likewise by the stacks of threads, where that told none. */
lh_status lhi_case_clients_on_stacks(lhi_case *c, lh_error *err);

#endif
