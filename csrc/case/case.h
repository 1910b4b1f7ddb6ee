/* The case: what was found, what it means for each lock, and the verdict. Filled by the files of this
 * directory in the order gather -> coverage -> liveness -> judge -> verdict; immutable afterwards. */
#ifndef LHI_CASE_CASE_H
#define LHI_CASE_CASE_H

#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"
#include "case/rules.h"
#include "nt/device.h"
#include "nt/irp.h"
#include "nt/kernel.h"
#include "nt/mdl.h"
#include "nt/memory.h"
#include "nt/process.h"
#include "nt/stacks.h"
#include "nt/tracker.h"

#define LHI_NONE SIZE_MAX /* no index */

/* What a driver may do, by its imports: lock pages, make pieces of a request, unlock pages, make packets
 * outside the pool, hand an MDL on to other drivers. */
typedef enum lhi_ability {
    LHI_CAN_LOCK,
    LHI_CAN_SPLIT,
    LHI_CAN_UNLOCK,
    LHI_CAN_PLACE,
    LHI_CAN_SEND,
    LHI_ABILITIES
} lhi_ability;

/* A driver that plays a part. */
typedef struct lhi_party {
    lhi_driver driver;
    lhi_answer can[LHI_ABILITIES]; /* computed when asked for */
    bool asked[LHI_ABILITIES];
    bool library;
    bool framework; /* imports routines of other modules than nt and hal, which may lock or split for it */
    bool bound;     /* it is a client of KMDF, by which every client can have pages locked */
    bool silent;    /* its image has no tables of imports, or is not mapped: what it can do shows nowhere */
    bool version_known, image_known;
    char version[32];
    uint32_t timestamp, image_size;
} lhi_party;

/* An observation: a fact with its address, never a conclusion. */
typedef struct lhi_evidence {
    const char *kind; /* "mdl", "irp", "stack_location" ... */
    const char *statement;
    uint64_t address; /* virtual */
    size_t party;     /* the driver it speaks of, LHI_NONE */
} lhi_evidence;

/* A place in a driver's code on which the case rests, with the instructions around it. */
typedef struct lhi_excerpt {
    const char *kind;          /* of the evidence that it goes with */
    const char *statement;     /* what is done there, a clause */
    size_t party;              /* LHI_NONE: code outside any module */
    uint64_t address;          /* of the instruction; where that begins is not known, of the one behind it */
    const char *at, *function; /* names; "": none */
    const struct lhi_listing *listing; /* code/listing.h */
} lhi_excerpt;

typedef struct lhi_packet {
    const lhi_irp *irp; /* in the arena, with its used slots only */
    uint64_t physical;
    uint64_t process;      /* whose lock it was found by */
    size_t mdl;            /* the record that MdlAddress names, LHI_NONE */
    size_t master;         /* for an associated packet: its master, LHI_NONE */
    size_t request;        /* a packet that its parameters or a context name, LHI_NONE */
    bool remote;           /* they name memory that names that packet */
    unsigned contexts;     /* places that point to it and are no packet's */
    lhi_device device;     /* at the current location of a pending packet */
    size_t at;             /* party at the current location, LHI_NONE */
    lh_absence at_absence; /* why `at` is LHI_NONE */
    size_t maker;          /* party that made a driver's packet, LHI_NONE */
    lh_absence maker_absence;
    const char *maker_reason;
    size_t library;            /* the library of Windows that made it for `maker`, its client; LHI_NONE */
    bool by_stack;             /* and it is told by a thread that waits in the library with the packet */
    lh_absence client_absence; /* of a library's packet without a client: what of the way to one is missing */
    bool kept;                 /* the maker is told by who keeps the pointer, not by a completion routine */
    lhi_thread_info thread;
    lhi_file file;
    lhi_answer queued; /* a pending one of the I/O manager stands on its thread's or its file's list */
    const char *doubt; /* a witness that could contradict it is not in the dump; NULL */
    const char *contradiction; /* why it convicts nobody though its arithmetic holds; NULL */
} lhi_packet;

typedef enum lhi_outcome {
    LHI_OUTCOME_NONE = 0,
    LHI_OUTCOME_NAMED,
    LHI_OUTCOME_KERNEL,
    LHI_OUTCOME_UNATTRIBUTED,
    LHI_OUTCOME_INSUFFICIENT
} lhi_outcome;

/* What a place in memory is to a search for holders. */
typedef enum lhi_site_kind {
    LHI_SITE_NOWHERE = 0, /* memory of which nothing is known */
    LHI_SITE_MDL,         /* an open record itself */
    LHI_SITE_MODULE,      /* data of a module */
    LHI_SITE_DEVICE,      /* a device object with its extension */
    LHI_SITE_EXTENSION,   /* a driver object, or an extension of one */
    LHI_SITE_STACK,       /* the part in use of a thread's stack */
    LHI_SITE_QUEUED,      /* a work item in a queue of the kernel's: its driver will be given what it has */
    LHI_SITE_PACKET,      /* a packet that is not over */
    LHI_SITE_POOL,        /* a block that may belong to anybody */
    LHI_SITE_PAGES,       /* a page without a pool header: which block it is of has to be found */
    LHI_SITE_LIST,        /* a doubly linked list of blocks of one kind */
    LHI_SITE_BOOKS,       /* the kernel's own books: processes, threads, files, trackers */
    LHI_SITE_DEAD         /* freed, left over, read-only: nobody's */
} lhi_site_kind;

/* One place on the way from an MDL to who holds it. */
typedef struct lhi_step {
    uint64_t at; /* where the pointer stands */
    const char *statement;
    lhi_site_kind kind; /* what it stands in */
    uint64_t base;      /* of a block */
    uint64_t object;    /* device, driver object, thread, work item or packet; 0: none */
    const char *tag;    /* of a pool block or a list of such, as the pool's header shows it; else NULL */
} lhi_step;

/* A driver whose own memory leads to an MDL. */
#define LHI_MOST_CLAIMANTS 4u
typedef struct lhi_claimant {
    size_t party;
    uint64_t at;       /* where its pointer stands */
    const char *trail; /* "MDL <- pool block 'Lky1' <- ... <- leaky.sys" */
} lhi_claimant;

typedef struct lhi_record { /* an MDL-shaped thing that names the process */
    lhi_mdl mdl;
    uint64_t physical;    /* of its Process field: its identity */
    lhi_vec addresses;    /* all virtual addresses, ascending */
    uint64_t process;     /* the one of the case's processes that it is about */
    bool names_process;   /* false: found as the predecessor of one that does */
    lhi_vec packets;      /* indices of packets whose MdlAddress names it */
    lhi_vec predecessors; /* indices of live MDLs whose Next names it */
    lhi_vec overlays;     /* indices of MDLs that are not charged and repeat its frames */
    bool frames_searched;
    uint64_t other_pointers; /* places that point to it and are neither packet nor MDL */
    uint64_t others[8];      /* addresses of the first of them */
    bool freed;
    const char *freed_reason;
    bool pool_unknown;     /* it is not of those lists, and whether its block is free can't be told */
    bool block_unknown;    /* nothing tells whether its block is free, but for those lists */
    bool lists_unknown;    /* it could lie on a list of freed MDLs that was not wholly read */
    bool liveness_unknown; /* lists of freed MDLs could not be read, or pool state can't be told */
    bool front_unknown;    /* likewise of an MDL in front of it, or its frames' references are not known */
    uint64_t frames_referenced, frames_unreferenced, frames_unknown; /* by the PFN database */
    uint64_t frames_blank;   /* their entries are zero throughout; counted as one of the above in the end */
    uint64_t frames_private; /* referenced ones of private pages: only those prove a lock */
    bool refuted;            /* a frame of it has no reference: the lock does not stand */
    bool in_ledger;
    bool twin;             /* another structure describes the same pages */
    bool open;             /* no packet decides it alone: who else keeps a pointer is asked */
    bool by_holder;        /* named by who keeps it, not by a packet */
    bool by_framework;     /* and a library of Windows may have locked for the driver */
    bool lone;             /* and one pointer leads to it, beside which nothing knows of the lock */
    bool may_be_old;       /* and whether its pool block is free can't be told */
    bool beside;           /* a block that leads to no driver has it as well */
    bool shared;           /* another driver has it as well as the one that is named, or that locked */
    uint64_t passed_on;    /* a request that who keeps it sent on, and that waits elsewhere; 0: none */
    const char *trail;     /* what leads to it, to the one that claims most; NULL */
    const lhi_step *steps; /* the same place by place, from the MDL outward */
    size_t step_count;
    lhi_claimant claimants[LHI_MOST_CLAIMANTS];
    unsigned claimant_count;
    bool ambiguous; /* more packets than locks name descriptions of the same pages */
    bool untracked; /* the process's lock trackers are all there, and it has none */
    bool copy;      /* same pages as an earlier one in the ledger, and no proof of a second lock */
    bool copied;    /* another one has the same header, and memory to itself or a packet */
    bool displaced; /* by its flags it had a block to itself, and it lies inside something else */
    lh_mdl_state state;
    size_t holder;        /* party, LHI_NONE */
    size_t packet;        /* the packet the judgement rests on, LHI_NONE */
    size_t judged_packet; /* where a split was followed to; equals packet otherwise */
    size_t lock;          /* what its lock tracker tells, in `locks`; LHI_NONE */
    size_t blamed;        /* the party that the outcome names where no packet decides, LHI_NONE */
    lhi_outcome outcome;
    const char *why;
} lhi_record;

typedef struct lhi_named {
    size_t party;
    const char *name; /* the party's; for sorting */
    uint64_t pages;
    double score;
} lhi_named;

typedef struct lhi_region {
    uint64_t present, not_captured, clipped, not_ram, device; /* pages; device: uncached, outside RAM */
} lhi_region;

typedef struct lhi_coverage {
    bool known;
    lhi_region pool; /* regions in which kernel objects of this case lie */
    lhi_region images;
    lhi_region pfn;
    lhi_region transition;   /* behind transition PTEs: trimmed, and not yet used for something else */
    lhi_region other;        /* stacks, system PTEs, caches, paged pool ... */
    uint64_t tables_missing; /* page tables of the kernel half that are not in the dump */
    /* Of a triage dump, which has pieces of virtual memory and no page tables: what a region lacks can't be
     * counted, but of the images. */
    bool pieces;
    uint64_t hits_unplaced; /* hits in physical pages of which it is unknown whether the kernel maps them */
    bool truncated;         /* a limit was met */
    const char *limit;      /* which */
} lhi_coverage;

typedef struct lhi_factor {
    const char *name, *statement;
    double value; /* multiplies the score */
} lhi_factor;

typedef struct lhi_unevaluated {
    const char *rule, *needs;
} lhi_unevaluated;

typedef struct lhi_cleared {
    size_t party;
    const char *reason;
    uint64_t address;
} lhi_cleared;

/* Memory that belongs to a driver. Its first byte is that of the object. */
typedef struct lhi_owned {
    uint64_t begin, end;
    size_t party;
    bool device; /* a device with its extension; else a driver object or an extension of one */
} lhi_owned;

typedef struct lhi_crash_range {
    uint64_t begin, end;
} lhi_crash_range;

typedef struct lhi_holders lhi_holders;   /* case/holder_graph.h */
typedef struct lhi_method lhi_method;     /* case/method.h */
typedef struct lhi_lock lhi_lock;         /* case/lock.h */
typedef struct lhi_unlocker lhi_unlocker; /* case/unlocker.h */
typedef struct lhi_subject lhi_subject;   /* case/relative.h */

typedef struct lhi_case {
    lh_kernel *kernel; /* retained by the owner */
    lhi_arena arena;
    lhi_free_lists freed;
    lh_investigate_options options;
    double started, deadline;

    uint32_t code;
    uint64_t parameters[4];
    const lhi_method *method; /* how this bug check is decided */
    uint64_t target;          /* the EPROCESS charged, 0 none */
    lhi_vec targets;          /* all processes that the search is for, ascending; empty: `target` alone */
    const char *target_basis; /* how it is known */
    uint64_t subject_mdl; /* the MDL that the bug check names, 0 none: looked for also where no process leads
                             to it */
    lhi_unlocker *unlocker;   /* who had it unlocked; NULL where that is not the question */
    lhi_crash_range crash[4]; /* crash.c: memory with which nobody holds anything */
    size_t crash_count;
    const lhi_subject *subject; /* what another bug check's parameter leads to; NULL where none does */
    bool process_known;
    lh_process process;
    lh_error process_error;
    lhi_current current;
    bool current_known;
    lh_process current_process;
    lh_error current_error;
    uint64_t charged;
    bool charged_known;

    lhi_record *records;
    size_t record_count, record_room;
    lhi_packet *packets;
    size_t packet_count, packet_room;
    lhi_party *parties;
    size_t party_count, party_room;
    uint64_t hits, not_mdls; /* places that hold the process's address; those that are no MDL */
    uint64_t frame_budget;
    uint64_t passes, bytes_scanned;
    const char *scan_kernel;
    lhi_owned *owned; /* by address; filled when the judging needs to know who keeps a pointer */
    size_t owned_count, owned_room;
    bool owners_known;
    lhi_vec emptied,
        emptied_parties; /* requests without their MDLs that wait in makers of packets, and where */
    bool emptied_known;
    lhi_holders *holders; /* NULL until somebody has to be asked for */
    lhi_stacks stacks;    /* filled when they are needed */
    bool stacks_known;
    uint64_t holders_missing; /* likewise: pages not there in which a further holder could lie */
    size_t *stamps;           /* scratch of the judging: one a packet, and a running number */
    size_t stamp;
    size_t *parts; /* partial MDLs by StartVa, for the judging of splits */
    size_t part_count;
    lhi_map charged_at;               /* charged MDLs by each of their addresses */
    size_t *first_child, *next_child; /* associated packets by master */
    double next_poll;
    uint64_t pass_bytes; /* of the latest pass */
    bool searched;       /* no pass follows */
    bool lives;          /* the process has not exited: it can't be the one that was deleted */
    bool exit_missing;   /* what would tell whether it has is not in this dump */

    bool tracked; /* its locks were tracked, and trackers were looked for */
    lhi_trackers trackers;
    lhi_lock *locks; /* one a tracker */
    size_t lock_count;

    lhi_coverage coverage;
    uint64_t explained, explained_least, explained_most, unexplained;

    lh_verdict_kind kind;
    const char *sentence, *advice, *why;
    lhi_named *named;
    size_t named_count, named_room;
    double score;
    lhi_factor *factors;
    size_t factor_count, factor_room;
    lhi_unevaluated *unevaluated;
    size_t unevaluated_count, unevaluated_room;
    lhi_evidence *evidence;
    size_t evidence_count, evidence_room;
    lhi_cleared *cleared;
    size_t cleared_count, cleared_room;
    lhi_excerpt *excerpts;
    size_t excerpt_count, excerpt_room;
} lhi_case;

/* Builds everything. Only the call's own failures are errors. `kernel` must outlive the case. */
lh_status lhi_case_build(lhi_case *c, lh_kernel *kernel, const lh_investigate_options *options,
                         lh_error *err);
/* What is known without a search: process, current process, coverage. Free with lhi_case_free. */
lh_status lhi_case_outline(lhi_case *c, lh_kernel *kernel, lh_error *err);
void lhi_case_free(lhi_case *c);

/* gather.c: the passes over physical memory. */
lh_status lhi_case_gather(lhi_case *c, lh_error *err);
/* crash.c: what the crash itself keeps of the MDL that it is about; before the search. */
void lhi_case_find_copies(lhi_case *c); /* of parameters and registers alone */
void lhi_case_find_crash(lhi_case *c, const lhi_unlocker *u);
bool lhi_case_of_crash(const lhi_case *c, uint64_t va);
/* parties.c */
size_t lhi_case_party(lhi_case *c, const lhi_driver *driver, lh_error *err); /* LHI_NONE: no memory */
lhi_answer lhi_case_can_lock(lhi_case *c, size_t party);
lhi_answer lhi_case_can_split(lhi_case *c, size_t party);
/* Its packets need not lie in the pool. */
bool lhi_case_places_packets(lhi_case *c, size_t party);
lhi_answer lhi_case_can_unlock(lhi_case *c, size_t party);
/* The same where its imports can't tell: a framework may for it, and of one that was unloaded, or whose image
 * is no image any more, they are gone. LHI_UNKNOWN: a page that would tell is missing. */
lhi_answer lhi_case_may_unlock(lhi_case *c, size_t party);
lhi_answer lhi_case_can_send(lhi_case *c, size_t party);
/* Of other modules than nt and hal it imports the routines that bind it to KMDF, and nothing else. */
bool lhi_case_calls_framework_alone(lhi_case *c, size_t party);
bool lhi_case_same_driver(const lhi_case *c, size_t a, size_t b);
/* holder_stack.c: a library that serves its clients in these ways (LHI_CLIENT_*, nt/library.h). */
bool lhi_case_serves(const lhi_case *c, size_t party, unsigned how);
/* The stacks of all threads. */
lh_status lhi_case_know_stacks(lhi_case *c, lh_error *err);
/* packet.c: device, driver, maker, thread and file of a packet just found. */
lh_status lhi_case_resolve_packet(lhi_case *c, lhi_packet *packet, lh_error *err);
/* Bytes behind an address in a packet's locations that belong to what it points to. */
#define LHI_PACKET_REACH 0x200u
/* An address in the packet, or in what its locations point to. */
bool lhi_case_in_request(const lhi_packet *packet, uint64_t va);
/* Does the driver own a device in one of the packet's locations? By its object, or by its image; `loaded`:
 * not by the image of one that was unloaded. */
bool lhi_case_was_sent(const lhi_case *c, const lhi_packet *packet, size_t party, bool loaded);
/* Is the packet's thread of the process that the packet was found by? */
lhi_answer lhi_case_is_of_process(const lhi_case *c, const lhi_packet *packet);
/* passed_on.c: does a request of the process that has lost its MDL wait in its maker, or do its locations
 * lead to one? */
lh_status lhi_case_serves_emptied(lhi_case *c, const lhi_packet *packet, uint64_t process, bool *out,
                                  lh_error *err);
/* coverage.c */
lh_status lhi_case_cover(lhi_case *c, lh_error *err);
/* Counts holders_missing. After c->stacks is filled. */
lh_status lhi_case_cover_holders(lhi_case *c, lh_error *err);
bool lhi_case_holder_could_hide(const lhi_case *c); /* a holder's memory could: pool, images, stacks */
/* The machine had something there, and this dump does not have it: a better dump could tell. */
bool lhi_case_is_missing(lh_absence absence);
uint64_t lhi_region_lacks(const lhi_region *region); /* pages */
bool lhi_case_could_hide(const lhi_case *c);      /* anything at all could lie in pages that are not there */
bool lhi_case_pool_could_hide(const lhi_case *c); /* a pool block could */
/* queues.c: fills in `queued`, and what follows from it. After gather. */
lh_status lhi_case_queues(lhi_case *c, lh_error *err);
/* liveness.c: which locks stand, and the ledger. */
lh_status lhi_case_liveness(lhi_case *c, lh_error *err);
/* split.c: follows an I/O manager's packet down to the piece that is still pending. */
typedef struct lhi_piece_end {
    lhi_outcome outcome;
    size_t packet; /* the one judged */
    size_t party;
    const char *why;
} lhi_piece_end;
lh_status lhi_case_follow_split(lhi_case *c, size_t record, size_t packet, lhi_piece_end *out, lh_error *err);
/* judge.c: the outcome of every record in the ledger. */
lh_status lhi_case_judge(lhi_case *c, lh_error *err);
/* Packets that lead to a record and are not over, directly or through the live MDLs in front of it. */
lh_status lhi_case_packets_of(lhi_case *c, size_t record, lhi_vec *out, lh_error *err);
/* The party that a record's outcome names, LHI_NONE. */
size_t lhi_case_blamed(const lhi_case *c, const lhi_record *record);
/* The rule that settled a record; NULL: none did. */
const char *lhi_case_rule_of(const lhi_case *c, const lhi_record *record);
/* verdict.c: kind, drivers, confidence, sentence, advice. */
/* "high", "medium", "low", "none". */
const char *lhi_case_level(double score);
lh_status lhi_case_verdict(lhi_case *c, lh_error *err);

/* pass.c: cancel, deadline and the progress callback, to be asked in long loops. */
lh_status lhi_case_poll(lhi_case *c, lh_error *err);
/* split.c: indices over all packets and records; once, before judging. */
lh_status lhi_case_index_pieces(lhi_case *c, lh_error *err);

/* rows.c: growing the arrays above. false: no memory. */
bool lhi_case_note(lhi_case *c, const char *kind, size_t party, uint64_t address, const char *statement);
bool lhi_case_clear(lhi_case *c, size_t party, uint64_t address, const char *reason);
/* `needs` NULL: as the table has it. */
bool lhi_case_skip_rule(lhi_case *c, lhi_rule rule, const char *needs);
/* `statement` NULL: as the table has it. */
bool lhi_case_factor(lhi_case *c, lhi_weight weight, const char *statement);
bool lhi_case_name(lhi_case *c, size_t party, uint64_t pages, double score);
bool lhi_case_is_cleared(const lhi_case *c, size_t party);
bool lhi_case_add_excerpt(lhi_case *c, const lhi_excerpt *excerpt);
lhi_record *lhi_case_new_record(lhi_case *c);
lhi_packet *lhi_case_new_packet(lhi_case *c);
lhi_party *lhi_case_new_party(lhi_case *c);
/* A limit of the search was met: which. */
void lhi_case_limit(lhi_case *c, const char *which);
/* The record of the MDL at an address; LHI_NONE. */
size_t lhi_case_record_at(const lhi_case *c, uint64_t address);

#endif
