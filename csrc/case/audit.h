/* The audit: all processes of a dump at once, each with the pages it is charged with and who holds them. */
#ifndef LHI_CASE_AUDIT_H
#define LHI_CASE_AUDIT_H

#include "case/lock.h"

typedef struct lhi_audited {
    uint64_t address;
    lh_process process; /* zeros where it could not be read */
    bool named;         /* by the bug check, as the one that left pages locked */
    bool listed;        /* in the kernel's list, or named by the bug check, or the one that ran */
    lhi_answer exited;
    uint64_t explained; /* pages of its MDLs in the ledger, each lock once */
    bool tracked;       /* its locks are tracked */
    lhi_tracking tracking;
} lhi_audited;

typedef struct lhi_audit {
    lhi_case c;        /* the search for all of them; no verdict */
    lhi_audited *rows; /* by address */
    size_t count;
    uint64_t named; /* the process that the bug check is about; 0: none */
    bool list_complete;
} lhi_audit;

/* Searches for the locks of all processes. Only the call's own failures are errors. */
lh_status lhi_audit_build(lhi_audit *audit, lh_kernel *kernel, const lh_investigate_options *options,
                          lh_error *err);
void lhi_audit_free(lhi_audit *audit);

#endif
