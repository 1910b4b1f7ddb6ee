/* What can be wrong on a way through a function. */
#ifndef LHI_CODE_FINDING_H
#define LHI_CODE_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lhi_finding_kind {
    LHI_FINDING_LOCK_LOST, /* locked, and the function returns: nobody was given the MDL, and nobody unlocked
                              it */
    LHI_FINDING_UNLOCK_TWICE,  /* unlocked, and unlocked again */
    LHI_FINDING_NEVER_LOCKED,  /* made here, not locked, and unlocked */
    LHI_FINDING_FREED_LOCKED,  /* locked, and freed */
    LHI_FINDING_LENGTH_CHANGED /* its length is changed while it is locked, and it is unlocked by that */
} lhi_finding_kind;
/* "lock_lost", "unlocked_twice", "never_locked", "freed_locked", "length_changed". */
const char *lhi_finding_name(lhi_finding_kind kind);
/* One clause. Static. */
const char *lhi_finding_meaning(lhi_finding_kind kind);
/* What is done where it begins, and where it ends: a clause each. Static. */
const char *lhi_finding_begins(lhi_finding_kind kind);
const char *lhi_finding_ends(lhi_finding_kind kind);

#define LHI_FINDING_BLOCKS 24u

typedef struct lhi_finding {
    lhi_finding_kind kind;
    uint64_t function; /* address of its entry */
    uint64_t first;    /* address of the call that locked, unlocked first, or made the MDL; of the write */
    uint64_t last;     /* address of the return, or of the call that is wrong */
    size_t block_count;
    uint64_t blocks[LHI_FINDING_BLOCKS]; /* addresses of the blocks of the way, from the entry */
    bool cut;                            /* the way has more: the first and the last are here */
} lhi_finding;

#endif
