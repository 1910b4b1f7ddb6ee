/* The routines of the kernel and its helpers that play a part in locking pages, and where they are in this
 * dump. */
#ifndef LHI_CODE_ROUTINES_H
#define LHI_CODE_ROUTINES_H

#include "base/map.h"
#include "nt/kernel.h"

typedef enum lhi_role {
    LHI_ROLE_LOCK,     /* locks the pages of the MDL in its first argument */
    LHI_ROLE_UNLOCK,   /* unlocks them */
    LHI_ROLE_ALLOCATE, /* gives a new MDL that locks nothing yet; fifth argument: the packet it is put into */
    LHI_ROLE_FREE,     /* frees the MDL in its first argument */
    LHI_ROLE_BUILD,    /* fills an MDL without locking */
    LHI_ROLE_LOCK_FOR, /* has pages locked by somebody else: the I/O manager, the filter manager, KMDF */
    LHI_ROLE_LEND,     /* gives the MDL of a request, which stays the request's */
    LHI_ROLE_PAGES,    /* makes or frees an MDL with pages of its own */
    LHI_ROLE_SEND,     /* hands a packet to another driver */
    LHI_ROLE_COMPLETE, /* completes a packet, whose MDLs the I/O manager then unlocks */
    LHI_ROLE_LOOK_UP,  /* finds routines by their names */
    LHI_ROLE_MAP,      /* uses an MDL, and keeps and unlocks none */
    LHI_ROLE_COPY,     /* copies or fills memory, as much as its third argument says */
    LHI_ROLE_HARMLESS, /* calls nobody back and keeps nothing that it is given */
    LHI_ROLE_NO_RETURN
} lhi_role;

typedef struct lhi_routine {
    const char *name;
    lhi_role role;
    const char *module; /* NULL: the kernel */
    uint16_t entry;     /* of KMDF's table of routines; 0: it is found by its name */
    const char *source; /* of what locks: where that is written */
} lhi_routine;

/* "lock", "unlock" ...; NULL for roles that no list shows. */
const char *lhi_role_name(lhi_role role);

typedef struct lhi_routines {
    const lh_kernel *kernel;
    lhi_map by_address; /* address -> index in the table */
} lhi_routines;

/* Finds each by the exports of its module. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_routines_find(const lh_kernel *kernel, lhi_routines *out, lh_error *err);
/* NULL: none begins there. */
const lhi_routine *lhi_routines_at(const lhi_routines *routines, uint64_t address);
/* By the name in an import table; `dll` in any case. NULL: none. */
const lhi_routine *lhi_routine_named(const char *dll, const char *name);
/* By its place in KMDF's table. NULL: none that matters. */
const lhi_routine *lhi_routine_of_framework(uint64_t entry);
/* The names of the kernel's routines with a role, `most` of them at most; how many. */
size_t lhi_routine_names(lhi_role role, const char **out, size_t most);
/* For tables: a number for each, and back. */
size_t lhi_routine_index(const lhi_routine *routine);
const lhi_routine *lhi_routine_by_index(size_t index);
void lhi_routines_free(lhi_routines *routines);

#endif
