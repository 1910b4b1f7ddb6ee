/* What a triage dump says beside memory: its own tables of loaded modules and unloaded drivers. */
#ifndef LHI_NT_TRIAGE_H
#define LHI_NT_TRIAGE_H

#include "dump/triage.h"
#include "nt/module.h"

/* Puts the tables' rows to those that lists in memory gave, each base once. Only LH_ERR_NO_MEMORY fails;
 * *modules is then empty. */
lh_status lhi_triage_modules(const lhi_triage *triage, lhi_modules *modules, lh_error *err);

#endif
