/* Who keeps a pointer to an MDL: the memory that leads to it, level by level, out to the drivers it belongs
 * to. */
#ifndef LHI_CASE_HOLDERS_H
#define LHI_CASE_HOLDERS_H

#include "case/case.h"

/* Finds, for all open records at once, what leads to them. One pass over memory a level, whatever their
 * number. After liveness. */
lh_status lhi_case_find_holders(lhi_case *c, lh_error *err);
/* The same anew, after other records were opened. */
lh_status lhi_case_find_holders_again(lhi_case *c, lh_error *err);
void lhi_holders_free(lhi_holders *holders);

/* What leads to one record. Parties are those of the first of their kind found, LHI_NONE: none. */
typedef struct lhi_claims {
    size_t can;     /* a driver that can lock pages, and whose own memory leads to it */
    size_t unknown; /* one of which it is not known whether it can */
    size_t cannot;  /* one that can't */
    size_t library; /* a library of Windows */
    size_t kernel;  /* nt, where its own data points to the MDL itself */
    size_t idle; /* of the first two kinds one that has it only by a work item that is not queued, where there
                    is no other */
    bool framework;       /* a library of Windows may have locked for one of the first two kinds */
    bool several;         /* more than one driver of the first two kinds */
    const char *stranger; /* something alive points to it of which nobody knows whose it is: what; NULL */
    size_t loose;       /* a driver that may lock, in whose frame is a word that nothing shows to be in use */
    bool loose_several; /* and another one's has */
    bool log;           /* a buffer that notes many */
    bool unrooted;      /* memory that leads to no driver */
    bool dead;          /* what is left over: freed blocks, old stack words, packets that are over */
    uint64_t outside;   /* code outside any module that works with it; 0: none */
    bool truncated;     /* a limit was met on the way */
    /* Of the first two: */
    bool lone;   /* one pointer of the driver's leads to it, and nothing beside that knows of the lock */
    bool beside; /* a block that leads to no driver has it as well */
} lhi_claims;
/* `packet`: pointers in it, in what its locations point to, and in packets of its maker count as its maker's;
 * NULL: none. Fills in the record's trail and its claimants. */
lh_status lhi_case_claims(lhi_case *c, size_t record, const lhi_packet *packet, lhi_claims *out,
                          lh_error *err);

/* Who has an MDL that one driver is known to have locked. Libraries of Windows and nt keep things for others,
 * and packets are asked elsewhere. */
typedef struct lhi_keeping {
    bool own;             /* the driver's own memory leads to it */
    size_t other;         /* another driver whose memory does, and which may unlock pages; LHI_NONE */
    size_t unable;        /* and one that can't; LHI_NONE */
    const char *stranger; /* something alive points to it of which nobody knows whose it is; NULL */
    bool truncated;       /* a limit was met on the way, or before it was asked */
} lhi_keeping;
lh_status lhi_case_keeping(lhi_case *c, size_t record, size_t party, lhi_keeping *out, lh_error *err);

/* passed_on.c: fills in `passed_on` of the open records, in one pass where a driver that can lock keeps one.
 * After the levels. */
lh_status lhi_case_passed_on(lhi_case *c, lh_error *err);

/* holder_rules.c: the outcome of an open record. */
lh_status lhi_case_judge_holders(lhi_case *c, size_t record, lh_error *err);
/* Whether all that points to a record beside a driver's packet may be that driver's; where not, the record is
 * settled. */
lh_status lhi_case_ask_others(lhi_case *c, size_t record, const lhi_packet *packet, bool *own, lh_error *err);

#endif
