/* One lock as its tracker tells of it: who locked, by the trace; and what that means for the record. */
#ifndef LHI_CASE_LOCK_H
#define LHI_CASE_LOCK_H

#include "case/case.h"

typedef enum lhi_entry_kind {
    LHI_ENTRY_UNKNOWN = 0, /* what it lies in is not in the dump, or contradicts itself */
    LHI_ENTRY_KERNEL,      /* nt or hal */
    LHI_ENTRY_VERIFIER,    /* VerifierExt.sys: its thunks wrap the routines that lock */
    LHI_ENTRY_DRIVER,
    LHI_ENTRY_DEVICE, /* no code: a device object, the mark of a lock made by the I/O manager */
    LHI_ENTRY_NOWHERE /* in no module, loaded or unloaded */
} lhi_entry_kind;
const char *lhi_entry_kind_name(lhi_entry_kind kind);

typedef struct lhi_trace_entry {
    uint64_t address;
    lhi_entry_kind kind;
    size_t party; /* whose code, or whose device; LHI_NONE */
    lh_absence absence;
    uint64_t absent_at;
    const char *why; /* it is not known */
} lhi_trace_entry;

/* Who locked, by the trace. */
typedef enum lhi_lock_by {
    LHI_LOCK_BY_UNKNOWN = 0,
    LHI_LOCK_BY_DRIVER,
    LHI_LOCK_BY_LIBRARY, /* for a client */
    LHI_LOCK_BY_MANAGER, /* the I/O manager, for a request to `device`: its packet decides */
    LHI_LOCK_BY_KERNEL,  /* no frame outside nt */
    LHI_LOCK_BY_NOBODY   /* code that lies in no module */
} lhi_lock_by;
const char *lhi_lock_by_name(lhi_lock_by by);

struct lhi_lock {
    lhi_tracker tracker;
    lhi_trace_entry frames[LHI_TRACE];
    lhi_lock_by by;
    size_t locker; /* the party of the first frame outside nt, hal and the verifier; of nt for BY_KERNEL */
    size_t client; /* behind a library: the next frame that is another driver's; LHI_NONE */
    lhi_device device;
    size_t record;    /* of its MDL, LHI_NONE */
    bool agrees;      /* a packet says the same driver */
    bool borrowed;    /* a packet of another driver's making only has its MDL */
    const char *why;  /* the trace says so */
    const char *rule; /* that settled its record, as docs/how-it-decides.md names it; NULL: none did */
    lh_absence absence;
    uint64_t absent_at;
};

/* What the system noted of the locks of one process. */
typedef struct lhi_tracking {
    lhi_trackers trackers;
    lhi_lock *locks; /* one a tracker, and room for another */
    size_t count;
} lhi_tracking;
/* lock.c: all lock trackers of a process, from its LOCK_HEADER and from one of them (0: not known), and who
 * locked by each. Give it back with lhi_tracking_free, whatever it returned. */
lh_status lhi_case_tracking(lhi_case *c, uint64_t process, uint64_t header, uint64_t one, lhi_tracking *out,
                            lh_error *err);
void lhi_tracking_free(lhi_tracking *tracking);
/* lock.c: reads the trace of `lock->tracker`, fills in the rest but `record`. */
lh_status lhi_case_read_lock(lhi_case *c, lhi_lock *lock, lh_error *err);
/* lock_judge.c: ties locks and records together, settles anew the outcome of every record in the ledger, and
 * the ledger with it. After judge. */
lh_status lhi_case_judge_locks(lhi_case *c, lh_error *err);
/* lock_keepers.c: searches for what leads to the MDLs of drivers' locks, as far as that was not asked yet. */
lh_status lhi_case_find_keepers(lhi_case *c, lh_error *err);
/* What follows for the driver that locked from who has the MDL now. */
typedef struct lhi_custody {
    lhi_outcome outcome; /* LHI_OUTCOME_NAMED: the locker may be named */
    const char *why;     /* of any other */
    bool shared;         /* another driver has the MDL as well */
} lhi_custody;
/* `borrower`: the maker of a packet that has it, LHI_NONE; `own`: a packet of the locker's has it. */
lh_status lhi_case_ask_custody(lhi_case *c, const lhi_lock *lock, size_t borrower, bool own, lhi_custody *out,
                               lh_error *err);
/* lock_explain.c: evidence and who is cleared. After the verdict. */
lh_status lhi_case_explain_locks(lhi_case *c, lh_error *err);

#endif
