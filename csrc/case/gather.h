/* The state of the passes, which gather.c and related.c share. */
#ifndef LHI_CASE_GATHER_H
#define LHI_CASE_GATHER_H

#include "base/map.h"
#include "case/case.h"

typedef enum lhi_needle_kind {
    LHI_NEEDLE_MDL,     /* address of record `index` */
    LHI_NEEDLE_PACKET,  /* of packet `index` */
    LHI_NEEDLE_CONTEXT, /* of memory that points to packet `index` */
    LHI_NEEDLE_FRAME    /* frame of page `page` of record `index` */
} lhi_needle_kind;

typedef struct lhi_needle {
    uint64_t value;
    size_t index;
    lhi_needle_kind kind;
    uint32_t page;
} lhi_needle;

typedef struct lhi_gather {
    lhi_case *c;
    lhi_map records, packets;          /* by physical address */
    size_t records_done, packets_done; /* rows that have been needles already */
    lhi_vec contexts; /* pairs: an address that memory may be known by, the packet it points to */
    size_t frames;    /* that have been needles */
    lhi_needle *needles;
    size_t needle_count, needle_room;
} lhi_gather;

/* The row of a packet just read, new or known. LHI_NONE in *index: too many. */
lh_status lhi_gather_packet(lhi_gather *g, uint64_t physical, const lhi_irp *irp, uint64_t process,
                            size_t *index, lh_error *err);
/* A case has as many MDLs as its limit lets it: no further row. */
bool lhi_gather_is_full(lhi_case *c);
/* A new row for an MDL, without addresses. NULL: no memory. */
lhi_record *lhi_gather_record(lhi_gather *g, uint64_t physical, const lhi_mdl *mdl, uint64_t process);
/* false: no memory. */
bool lhi_gather_needle(lhi_gather *g, lhi_needle needle);

/* related.c: pieces of a request that carry no mark of one. */
/* The needles by which they are found: frames of what is forwarded, addresses of contexts. false: no memory.
 */
bool lhi_related_needles(lhi_gather *g);
/* A place that has the address of packet `index`, or (remote) of memory that points to it. */
lh_status lhi_related_packet(lhi_gather *g, size_t index, uint64_t va, uint64_t value, bool remote,
                             lh_error *err);
/* A place that has the number of a record's frame. */
lh_status lhi_related_mdl(lhi_gather *g, const lhi_needle *needle, uint64_t va, lh_error *err);

#endif
