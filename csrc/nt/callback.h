/* Objects that keep a routine together with what it will be called with: work items, DPCs, timers, APCs. */
#ifndef LHI_NT_CALLBACK_H
#define LHI_NT_CALLBACK_H

#include "nt/device.h"

typedef struct lhi_callback {
    lh_place place;    /* what identify calls it */
    const char *type;  /* "IO_WORKITEM" */
    const char *field; /* of the context, "IO_WORKITEM.Context" */
    uint64_t address, size;
    uint64_t routine, context_at;
    lhi_driver driver; /* that the routine is of; has_module is set */
    bool one_use;      /* the context is given with each use: of one that is not queued it is an old one */
    lhi_answer queued; /* it is in a queue of the kernel's own, which leads to it and back */
} lhi_callback;

/* The object whose context stands at an address. `budget`: entries of queues that may still be walked. false:
 * none that is sure. */
bool lhi_callback_of(const lh_kernel *kernel, uint64_t context_at, uint64_t *budget, lhi_callback *out);
/* The work item at an address. */
bool lhi_work_item_at(const lh_kernel *kernel, uint64_t address, uint64_t *budget, lhi_callback *out);
/* The object that contains an address, and begins at `lowest` or above. */
bool lhi_callback_around(const lh_kernel *kernel, uint64_t va, uint64_t lowest, lhi_callback *out);
/* The head of a list of the kernel's own queues of work items lies at an address. */
bool lhi_is_work_queue(const lh_kernel *kernel, uint64_t list);
/* The value at an address links one work item to another driver's, or a queue to one: it says nothing of
 * whose they are. */
bool lhi_is_queue_link(const lh_kernel *kernel, uint64_t va, uint64_t value);

#endif
