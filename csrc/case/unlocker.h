/* Who had an MDL unlocked: the stack of the thread that raised the bug check, read from inside outwards. */
#ifndef LHI_CASE_UNLOCKER_H
#define LHI_CASE_UNLOCKER_H

#include "case/case.h"
#include "nt/unwind.h"

/* What the first driver on the stack asked nt for. */
typedef enum lhi_unlock_way {
    LHI_UNLOCK_UNKNOWN = 0, /* can't be told: `why` */
    LHI_UNLOCK_DIRECT,      /* it called MmUnlockPages */
    LHI_UNLOCK_COMPLETION,  /* it completed a packet, and the I/O manager unlocked the packet's MDLs */
    LHI_UNLOCK_OTHER        /* it called another routine of nt, which unlocked: `routine` */
} lhi_unlock_way;

struct lhi_unlocker {
    lhi_call_stack stack;
    size_t frame; /* the first one outside nt, hal and the verifier; LHI_NONE: the stack has none, or is not
                     there so far */
    size_t party; /* its driver; LHI_NONE: code outside any module, or of a module that is not known */
    lhi_unlock_way way;
    bool seen;           /* the call in its code says so; else the stack alone does */
    lhi_rule rule;       /* that applied */
    const char *routine; /* nt's name for what it called; NULL where that has none */
    const char *why;     /* of what is not known: a clause; NULL */
    lh_absence absence;  /* what is missing; LH_PRESENT: nothing, the dump itself can't tell */
    uint64_t absent_at;
    /* Where that driver is a library of Windows: the driver that called it, which it works for. */
    size_t client_frame, client; /* LHI_NONE: nt called it, or */
    lh_absence client_absence;   /* that can't be told, and why */
    uint64_t client_absent_at;
};

/* Fills *out; its stack is the caller's to free. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_case_unlocker(lhi_case *c, lhi_unlocker *out, lh_error *err);

#endif
