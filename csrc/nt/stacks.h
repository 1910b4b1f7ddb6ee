/* Kernel stacks: which thread's stack an address lies in, and which part of it is in use. */
#ifndef LHI_NT_STACKS_H
#define LHI_NT_STACKS_H

#include "nt/kernel.h"

typedef struct lhi_kernel_stack {
    uint64_t limit, base; /* bytes [limit, base) */
    uint64_t pointer;     /* words below it are dead; 0: not known */
    uint64_t thread, process;
} lhi_kernel_stack;

typedef struct lhi_stacks {
    lhi_kernel_stack *items; /* ascending by limit */
    size_t count, room;
    bool complete;      /* every list of threads was walked to its end, and every stack's bounds were read */
    lh_absence absence; /* where not: of the first gap */
    uint64_t absent_at;
} lhi_stacks;

/* The stacks of the threads of all processes, and of those that the processors run. Only LH_ERR_NO_MEMORY
 * fails. */
lh_status lhi_stacks_read(const lh_kernel *kernel, lhi_stacks *out, lh_error *err);
void lhi_stacks_free(lhi_stacks *stacks);
/* The stack that an address lies in; NULL. */
const lhi_kernel_stack *lhi_stack_at(const lhi_stacks *stacks, uint64_t va);

/* Limit and base of a thread's stack. LH_PRESENT, or why not; LH_ABSENT_LAYOUT: what is there bounds no
 * stack. */
lh_absence lhi_stack_bounds(const lh_kernel *kernel, uint64_t thread, lhi_kernel_stack *stack, uint64_t *at);

#endif
