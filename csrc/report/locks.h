/* What a driver's code does with locked pages, as a result tree. */
#ifndef LHI_REPORT_LOCKS_H
#define LHI_REPORT_LOCKS_H

#include "code/names.h"
#include "code/profile.h"
#include "report/report.h"

/* One object of the list "modules" of schema lockhound.locks/1. NULL: no memory. */
lhi_node *lhi_report_profile(lhi_arena *arena, lhi_node *list, lhi_names *names, const lhi_module *module,
                             const lhi_profile *profile);

#endif
