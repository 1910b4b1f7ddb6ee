/* What the code of one driver does with locked pages: its call sites, and the ways on which a lock is lost.
 */
#ifndef LHI_CODE_PROFILE_H
#define LHI_CODE_PROFILE_H

#include "code/paths.h"

typedef struct lhi_site {
    uint64_t address;  /* of the call or jump */
    uint64_t function; /* address of the entry of its function */
    const lhi_routine *routine;
    lhi_call_form form;
    bool tail; /* a jump: the routine returns for the function */
    uint64_t slot;
} lhi_site;

/* A function of which some way was not followed to its end. */
typedef struct lhi_open_way {
    uint64_t function; /* address of its entry */
    uint64_t at;
    const char *why;
} lhi_open_way;

/* Asked now and then in long work: anything but LH_OK ends it. */
typedef struct lhi_watch {
    lh_status (*ask)(void *user, lh_error *err); /* NULL: nobody watches */
    void *user;
} lhi_watch;

/* Bounds of one image; what is over them is counted, and the profile says so. */
#define LHI_PROFILE_SITES    4096u
#define LHI_PROFILE_FINDINGS 256u
#define LHI_PROFILE_OPEN     256u

typedef struct lhi_profile {
    lh_absence
        absence; /* LH_PRESENT, or why nothing of the image could be read; LH_ABSENT_LAYOUT: no x64 image */
    lhi_site *sites; /* ascending by function, then address */
    size_t site_count, site_room;
    uint64_t sites_left_out;
    lhi_finding *findings;
    size_t finding_count, finding_room;
    uint64_t findings_left_out;
    uint64_t counts[LHI_ROLE_NO_RETURN + 1]; /* sites by lhi_role */
    uint64_t functions, code_bytes;
    uint64_t missing_bytes;   /* of code, that are not in the dump */
    uint64_t discarded_bytes; /* of sections that are given back after a driver has started */
    uint64_t followed,
        open; /* functions with such sites, and those of them that were not followed to every end */
    lhi_open_way *open_ways; /* the first of each, as many as fit */
    size_t open_count, open_room;
    uint64_t unread_slots; /* calls through pointers that are not in the dump */
    bool bound;            /* the driver calls KMDF, */
    bool bound_known;      /* and its calls through the framework's table are known by their places there */
    bool table_whole;      /* .pdata is all there and sound */
    lh_absence gap;        /* of the first thing that is missing; LH_PRESENT: nothing is */
    uint64_t gap_at;
} lhi_profile;

/* All of the code was there and was looked at. */
bool lhi_profile_is_whole(const lhi_profile *profile);
/* Only LH_ERR_NO_MEMORY and the watch's answers fail. Without a decoder the profile is empty: ask
 * lhi_code_available. */
lh_status lhi_profile_read(const lhi_routines *routines, const lhi_module *module, const lhi_watch *watch,
                           lhi_profile *out, lh_error *err);
void lhi_profile_free(lhi_profile *profile);

#endif
