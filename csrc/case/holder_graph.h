/* The graph of a search for holders: places in memory, and which of them points to which. */
#ifndef LHI_CASE_HOLDER_GRAPH_H
#define LHI_CASE_HOLDER_GRAPH_H

#include "base/map.h"
#include "case/holders.h"
#include "nt/framework.h"
#include "nt/identify.h"
#include "nt/stacks.h"
#include "nt/unwind.h"

typedef struct lhi_site {
    lhi_site_kind kind;
    uint64_t base, size; /* of blocks; of others the place itself */
    uint64_t object;  /* device, driver object, thread, packet, file, or the framework's; of a list its number
                         of blocks */
    size_t party;     /* whose it is, LHI_NONE */
    uint64_t outside; /* of a stack: code in no module */
    bool served;      /* of a stack: it lies in a frame of a library that the party called */
    size_t library;   /* which */
    bool loose;       /* of a stack: nothing shows that the word is in use */
    const char *name; /* of a device that is no row of c->owned, and of a work item; NULL */
    const char *why;  /* of a dead one, and of a stack without an owner */
    char tag[24];
    const char *what; /* of a block that is an object of KMDF, or a context of one: its kind; else NULL */
    uint64_t globals; /* and the framework's globals that it belongs to */
    size_t client;    /* whose they are, LHI_NONE */
} lhi_site;

typedef struct lhi_thing {
    lhi_site site;
    size_t record;   /* of LHI_SITE_MDL */
    size_t grips;    /* newest of those that hold it, LHI_NONE */
    lhi_vec members; /* of a list without a head: the blocks in it */
    bool searched;   /* who points to it was asked */
    bool listed;     /* its list entries were followed */
} lhi_thing;

typedef struct lhi_grip {
    size_t holder, held, next; /* next: another grip on the same thing */
    uint64_t at;               /* where the pointer stands */
    const char *how;           /* a clause */
    const char *field;         /* of a structure that is known, "URB.TransferBufferMDL"; NULL */
    bool log;                  /* it stands in a buffer that notes many */
    size_t routine_of;         /* it is the context of a routine of this driver's; LHI_NONE */
    bool queued;               /* a work item has it that is queued: there is a grip of that driver's too */
    bool idle;                 /* it was given to a work item, which is not queued: a use that is over */
} lhi_grip;

/* Blocks of one size and tag that point to each other: singly linked lists. */
#define LHI_MOST_SHAPES 8u
typedef struct lhi_shape {
    uint64_t link, target; /* offset of the pointer in its block, and of the place it points to */
} lhi_shape;
typedef struct lhi_kind {
    uint32_t tag; /* as it stands in the pool's header */
    uint64_t size;
    lhi_shape shapes[LHI_MOST_SHAPES];
    unsigned shape_count;
    lhi_vec things, places; /* blocks that were pointed to, and where the pointers stand */
    bool asked;             /* this level's needles ask for all blocks of the kind */
} lhi_kind;

struct lhi_holders {
    lhi_case *c;
    lhi_thing *things;
    size_t thing_count, thing_room;
    lhi_grip *grips;
    size_t grip_count, grip_room;
    lhi_map places;    /* thing by base */
    lhi_map of_record; /* thing by record */
    lhi_map entries;   /* list (a thing) by the address of a LIST_ENTRY in it */
    lhi_map clients;   /* party by the framework's globals; `nobody`: not known */
    size_t nobody;
    lhi_kind *kinds; /* of which singly linked lists were met, and not followed yet */
    size_t kind_count;
    size_t members;  /* blocks of those lists in all */
    uint64_t walked; /* list entries in all */
    uint64_t queued; /* and of work queues, that may still be walked */
    lhi_self_map tables;
    lhi_big_blocks big;
    uint64_t unwound; /* the thread of `walk`, 0: none yet */
    lhi_call_stack walk;
    bool stack_slot[512]; /* PML4 slots in which kernel stacks lie */
    bool pool_slot[512];  /* and those in which nothing but pool does */
    /* Scratch of the answers, by thing: the grip by which it was reached, and in which answer. */
    size_t *via, *reached;
    size_t *led; /* who leads there, as holder_weigh.c marks it */
    size_t answer;
    bool truncated;
};

/* holder_sites.c: what a place is. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_holder_site(lhi_holders *h, uint64_t va, lhi_site *out, lh_error *err);
/* "URB.TransferBufferMDL" and its kind, by the structure's own arithmetic; NULL. `site`: what the place is.
 */
const char *lhi_holder_typed(const lh_kernel *kernel, const lhi_site *site, uint64_t at, const lhi_mdl *mdl);

/* holder_log.c: a pointer to an MDL of `process` stands where somebody takes notes. */
bool lhi_holder_is_log(const lhi_holders *h, const lhi_site *site, uint64_t at, uint64_t process);

/* holder_stack.c: whose frame a word on a stack lies in. */
lh_status lhi_holder_frame(lhi_holders *h, const lhi_kernel_stack *stack, uint64_t va, lhi_site *out,
                           lh_error *err);

/* holder_lists.c: the lists that a block's LIST_ENTRYs are part of. */
lh_status lhi_holder_lists(lhi_holders *h, size_t thing, lh_error *err);

/* holder_chains.c: singly linked lists. A pointer to a block in one of its kind is noted; a needle for the
 * kind's pool tag finds its headers, and from those the lists are made. */
lh_status lhi_holder_note_link(lhi_holders *h, size_t held, const lhi_site *site, uint64_t at, uint64_t value,
                               lh_error *err);
/* false: a needle of another kind is the same. */
bool lhi_holder_kind_needle(lhi_holders *h, size_t kind, lh_range *out);
/* A hit of such a needle; false: no memory. */
bool lhi_holder_kind_block(const lhi_holders *h, uint64_t header, lhi_vec *blocks);
lh_status lhi_holder_chains(lhi_holders *h, const lhi_vec *blocks, lh_error *err);
void lhi_holder_kinds_free(lhi_holders *h);
/* The pointer to a block is the first of a lookaside list: the blocks on it are free. */
bool lhi_holder_is_lookaside(const lh_kernel *kernel, uint64_t at, const char *tag, uint64_t size);
/* The pointer is the first of an SLIST_HEADER whose count of entries is right: drivers keep free blocks on
 * such a list, and work that is still to be done. */
bool lhi_holder_is_stack_of_blocks(const lh_kernel *kernel, uint64_t at);

/* holder_callback.c: the pointer of a grip is the context that some routine is called with. Adds a grip of
 * the driver that it is queued for. */
lh_status lhi_holder_callback(lhi_holders *h, size_t grip, lh_error *err);
/* Likewise of a word in a thing that points to the thing: a work item in a block that is its own context. */
lh_status lhi_holder_own_callback(lhi_holders *h, size_t thing, uint64_t at, lh_error *err);

/* holder_beside.c: what a grip itself tells against a driver's owning what it leads to; *why NULL: nothing.
 */
lh_status lhi_holder_beside(lhi_holders *h, size_t grip, size_t party, const char **why, lh_error *err);
/* A routine of the driver's is to be called with what the grip leads to. */
lh_status lhi_holder_backs(lhi_holders *h, size_t grip, size_t party, bool *own, lh_error *err);

/* The driver could have locked, and is not the one that is asked about. */
lh_status lhi_holder_is_other(lhi_case *c, const lhi_driver *driver, size_t party, bool *other,
                              lh_error *err);
/* The device is of such a driver, and the party has none in its stack. */
lh_status lhi_holder_device_is_other(lhi_holders *h, uint64_t address, size_t party, bool *other,
                                     lh_error *err);

/* holder_content.c: a block has something of such a driver's in it, and nothing of the party's. */
lh_status lhi_holder_content(lhi_holders *h, const lhi_site *site, size_t party, bool *other, lh_error *err);

/* holder_framework.c: what a block is to KMDF; leaves any other alone. */
lh_status lhi_holder_framework(lhi_holders *h, lhi_site *site, lh_error *err);
/* The framework's object whose block an address lies in. */
bool lhi_holder_object_at(const lhi_holders *h, uint64_t va, lhi_fx_object *out);
/* What handles to a framework's object look like. */
lh_range lhi_holder_handles(const lhi_site *site);

/* holders.c. LHI_NONE: no memory, or too many (then truncated is set). */
size_t lhi_holder_thing(lhi_holders *h, const lhi_site *site, lh_error *err);
lh_status lhi_holder_grip(lhi_holders *h, size_t holder, size_t held, uint64_t at, const char *how,
                          lh_error *err);

#endif
