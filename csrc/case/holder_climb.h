/* The way up from one MDL through the graph of holders, shared by those who follow it, weigh it and tell it.
 */
#ifndef LHI_CASE_HOLDER_CLIMB_H
#define LHI_CASE_HOLDER_CLIMB_H

#include "case/holder_graph.h"

typedef struct lhi_climb {
    lhi_holders *h;
    const lhi_packet *packet;
    size_t asked; /* the driver that it is asked about, LHI_NONE: the one that claims it */
    lhi_claims *claims;
    lhi_vec way;     /* things reached, in order */
    lhi_vec packets; /* packets among them */
    lhi_vec owners;  /* drivers' memory among them */
    lhi_vec grips;   /* by which anything was reached, or could have been */
    lhi_vec idle;    /* and by which nothing was reached: what they have is from a use that is over */
    size_t best;     /* the thing that the trail is told to, LHI_NONE */
    unsigned rank;   /* of that: what claims most comes first */
    size_t start;    /* the record itself */
} lhi_climb;

/* Whose memory a thing is; LHI_NONE: not known. */
size_t lhi_climb_owner(const lhi_climb *climb, size_t thing);
/* holder_trail.c: the words for it, in the record. */
void lhi_climb_tell(lhi_climb *climb, lhi_record *record);
/* holder_weigh.c: how much the ways to one driver's memory show, in the claims. */
lh_status lhi_climb_weigh(lhi_climb *climb, size_t record, size_t party, lh_error *err);

#endif
