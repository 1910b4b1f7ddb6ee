/* Follows the ways through one function, and tells where a lock is lost on one of them. */
#ifndef LHI_CODE_PATHS_H
#define LHI_CODE_PATHS_H

#include "code/calls.h"
#include "code/finding.h"

#define LHI_FINDINGS_MOST 16u /* of one function */

typedef struct lhi_paths {
    lhi_finding findings[LHI_FINDINGS_MOST];
    size_t count;
    const char *open; /* why some way was not followed to its end; NULL: all were */
    uint64_t open_at;
} lhi_paths;

/* Only LH_ERR_NO_MEMORY fails. Work is bounded by the number of instructions. */
lh_status lhi_paths_follow(const lhi_body *body, const lhi_callee *callees, uint64_t entry, lhi_paths *out,
                           lh_error *err);
/* What the function does for those who call it. */
lh_status lhi_paths_summarise(const lhi_body *body, const lhi_callee *callees, uint64_t entry,
                              lhi_summary *out, lh_error *err);

#endif
