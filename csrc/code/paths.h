/* Follows the ways through one function, and tells where a lock is lost on one of them. */
#ifndef LHI_CODE_PATHS_H
#define LHI_CODE_PATHS_H

#include "code/calls.h"

typedef enum lhi_finding_kind {
    LHI_FINDING_LOCK_LOST, /* locked, and the function returns: nobody was given the MDL, and nobody unlocked
                              it */
    LHI_FINDING_UNLOCK_TWICE, /* unlocked, and unlocked again */
    LHI_FINDING_NEVER_LOCKED, /* made here, not locked, and unlocked */
    LHI_FINDING_FREED_LOCKED  /* locked, and freed */
} lhi_finding_kind;
/* "lock_lost", "unlocked_twice", "never_locked", "freed_locked". */
const char *lhi_finding_name(lhi_finding_kind kind);
/* One clause. Static. */
const char *lhi_finding_meaning(lhi_finding_kind kind);

#define LHI_FINDING_BLOCKS 24u

typedef struct lhi_finding {
    lhi_finding_kind kind;
    uint64_t function; /* address of its entry */
    uint64_t first;    /* address of the call that locked, unlocked first, or made the MDL */
    uint64_t last;     /* address of the return, or of the call that is wrong */
    size_t block_count;
    uint64_t blocks[LHI_FINDING_BLOCKS]; /* addresses of the blocks of the way, from the entry */
    bool cut;                            /* the way has more: the first and the last are here */
} lhi_finding;

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

#endif
