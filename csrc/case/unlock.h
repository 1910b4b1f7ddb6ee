/* An MDL that was unlocked and was not locked so: what the files of this method share. */
#ifndef LHI_CASE_UNLOCK_H
#define LHI_CASE_UNLOCK_H

#include "case/lock.h"
#include "case/unlocker.h"

typedef struct lhi_unlock {
    lhi_case *c;
    lhi_unlocker *who;
    lhi_mdl mdl; /* P2 */
    size_t record;
    const char *state;     /* what the MDL is, a clause */
    bool violates;         /* such an MDL must not be unlocked: whoever does is at fault */
    bool certain;          /* whatever happened before */
    const lhi_lock *lock;  /* its lock tracker, among those of the process; NULL: none was found */
    const lhi_lock *other; /* one of another MDL over the same pages; NULL: none was found */
    const lhi_lock *over;  /* one that is no longer in use, of the very lock that the MDL describes */
} lhi_unlock;

/* Drivers that had the MDL as well. */
typedef struct lhi_sharers {
    size_t who;   /* the one that is asked about, and is none of them; LHI_NONE */
    bool writers; /* all that had it; else those that can unlock pages themselves, and no library */
    size_t count;
    bool missing; /* there may be more: something of a packet or of a driver is not in the dump */
} lhi_sharers;

/* unlock.c */
void lhi_unlock_conclude(lhi_unlock *u, lh_verdict_kind kind, const char *why);
/* What is missing names its page. */
void lhi_unlock_conclude_absent(lhi_unlock *u, const char *why, lh_absence absence, uint64_t at);
bool lhi_unlock_weigh(lhi_case *c, double *score, bool applies, lhi_weight weight);
/* The one driver that is named, with `why` as the sentence from its verb on. */
bool lhi_unlock_name(lhi_unlock *u, size_t party, double score, const char *why, const char *sentence);
/* "leaky.sys+0x10f1". */
const char *lhi_unlock_place(lhi_case *c, uint64_t address);
/* unlock_advice.c: what to do where nobody is named. */
const char *lhi_unlock_advice(const lhi_unlock *u, lh_verdict_kind kind);
/* unlock_sharers.c: over all packets that name the MDL, those that are over too; notes each as evidence. */
lh_status lhi_unlock_sharers(lhi_unlock *u, lhi_sharers *out, lh_error *err);
/* Those whose own memory leads to it, in passes of its own: where no packet tells of one already. */
lh_status lhi_unlock_keepers(lhi_unlock *u, lhi_sharers *out, lh_error *err);
/* unlock_trackers.c: reads the lock trackers of the process; after the search. */
lh_status lhi_unlock_track(lhi_unlock *u, lh_error *err);
/* What they say of the MDL, as evidence. false: no memory. */
bool lhi_unlock_note_trackers(lhi_unlock *u);
/* unlock_changed.c: P1 = 5, 6, 7 and 9. */
lh_status lhi_unlock_judge_changed(lhi_unlock *u, lh_error *err);

#endif
