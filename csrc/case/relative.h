/* The MDL that a bug check is about which is not about a leak. */
#ifndef LHI_CASE_RELATIVE_H
#define LHI_CASE_RELATIVE_H

#include "case/case.h"

struct lhi_subject {
    uint64_t mdl;     /* 0: not known, `absence` tells why */
    uint64_t process; /* its Process field; 0: it names none */
    uint64_t frame;   /* by which it was found, where the parameter is a page */
    bool by_frame;
    const char *state;  /* "locked", "freed_locked", "unlocked", "partial", "unknown" */
    const char *holder; /* NULL: nobody, or not known */
    const char *statement;
    lh_absence absence;
    uint64_t absent_at;
};

#endif
