/* Lock trackers: what the kernel notes about each lock of a process's pages while TrackLockedPages is on. */
#ifndef LHI_NT_TRACKER_H
#define LHI_NT_TRACKER_H

#include "nt/kernel.h"

#define LHI_TRACE 8u /* addresses of a tracker's StackTrace (public PDB type _LOCK_TRACKER) */

/* The known layouts of LOCK_TRACKER on x64, and which LOCK_HEADER goes with each (facts C.1). */
typedef enum lhi_tracker_form {
    LHI_TRACKER_NONE = 0,
    LHI_TRACKER_LIST,    /* NT 5.2: a circular list; two callers instead of a trace */
    LHI_TRACKER_TREE,    /* 8.1 to 15063: one tree */
    LHI_TRACKER_SWITCHED /* from 16299: one tree by MDL, one of switched MDLs by first frame */
} lhi_tracker_form;
/* For people: "8.1 to 10.0.15063". */
const char *lhi_tracker_form_name(lhi_tracker_form form);

typedef struct lhi_tracker {
    uint64_t address; /* 0: made of the parameters of a bug check, which have `trace` and `mdl` only */
    uint64_t mdl, start_va, pages, first_frame, process;
    uint32_t offset, length;
    uint32_t who;        /* the kernel's number for the path that locked (facts C.3) */
    bool switched;       /* from the second tree */
    bool callers;        /* `trace` is the caller of the routine that locked and its caller, and no stack */
    unsigned trace_size; /* addresses before the first 0 */
    uint64_t trace[LHI_TRACE];
    uint64_t left, right, parent; /* its links, 0: none; of a list: next in `right`, previous in `left` */
} lhi_tracker;

/* One tracker. LH_ABSENT_LAYOUT: what is there is none: a tracker's numbers agree with each other, and a
 * form that does not apply makes them disagree. `form` NONE takes whichever tree form fits, and *found tells.
 */
lh_absence lhi_tracker_read(const lh_kernel *kernel, uint64_t address, lhi_tracker_form form,
                            lhi_tracker_form *found, lhi_tracker *out, uint64_t *absent_at);

/* What is left of one that is no longer in use, whose Mdl field lies at `mdl_field`: its links may be
 * anything. false: it does not look like one. */
bool lhi_tracker_left(const lh_kernel *kernel, uint64_t mdl_field, lhi_tracker *out);

typedef struct lhi_trackers {
    lhi_tracker_form form; /* NONE: no tracker was there to show it, or none is known for the build */
    lhi_tracker *items;    /* ascending by MDL */
    size_t count, room;
    uint64_t header; /* LOCK_HEADER; 0: not known where */
    bool header_known;
    uint64_t header_count; /* pages, as the header counts them */
    bool valid_known;
    uint32_t valid;     /* 0: tracking was given up for this process */
    bool not_public;    /* Vista to 8.0: the layouts are not public */
    bool complete;      /* every tree the header has was walked to its end, and nothing in it was wrong */
    bool damaged;       /* a link that leads to no tracker of the process, twice to one, or the wrong way */
    uint64_t damage;    /* address of the first such thing */
    lh_absence absence; /* of the first thing that is not in the dump; LH_PRESENT: nothing was missed */
    uint64_t absent_at;
    uint64_t sum; /* pages of the items */
} lhi_trackers;

/* The layouts of trackers are public for this kernel's generation. */
bool lhi_trackers_public(const lh_kernel *kernel);
/* All trackers of a process, from its LOCK_HEADER (0: not known where), and from one of them (0: none known),
 * whose tree is climbed to its root where the header does not lead there. Bounded by `most` trackers. Only
 * LH_ERR_NO_MEMORY fails. */
lh_status lhi_trackers_read(const lh_kernel *kernel, uint64_t process, uint64_t header, uint64_t one,
                            size_t most, lhi_trackers *out, lh_error *err);
void lhi_trackers_free(lhi_trackers *trackers);

#endif
