/* Call stacks of threads: x64 frames, unwound by the unwind data of the images they lie in. */
#ifndef LHI_NT_UNWIND_H
#define LHI_NT_UNWIND_H

#include "nt/kernel.h"

/* General registers by their encoding; [LHI_STACK_REGISTER] is the stack pointer. */
enum { LHI_STACK_REGISTER = 4, LHI_FRAME_REGISTER = 5, LHI_GENERAL = 16 };
typedef struct lhi_registers {
    uint64_t rip;
    uint64_t general[LHI_GENERAL];
    uint32_t known; /* bit i: general[i] is known */
    bool called;    /* rip is a return address: no epilogue has begun there */
} lhi_registers;

typedef struct lhi_call_frame {
    uint64_t stack_pointer;   /* RSP in this frame */
    uint64_t address;         /* where its code stands */
    bool called;              /* the address is a return address; else the frame was interrupted there */
    const lhi_module *module; /* loaded; NULL: none contains the address */
    uint64_t saved_at[LHI_GENERAL]; /* where its function saved a register for its callers, 0: it did not */
    uint64_t function; /* begin of its function, fragments folded; 0: not known, or a leaf function */
} lhi_call_frame;

typedef enum lhi_call_end {
    LHI_STACK_USER = 1,  /* reached user mode */
    LHI_STACK_BOTTOM,    /* a return address of 0: the first frame of a system thread */
    LHI_STACK_ABSENT,    /* something is not in the dump: `absence` and `absent_at` */
    LHI_STACK_NO_MODULE, /* the last frame lies in no loaded module */
    LHI_STACK_DAMAGED,   /* contradicts itself: `why` */
    LHI_STACK_LIMIT      /* longer than any real one */
} lhi_call_end;
typedef struct lhi_call_stack {
    lhi_call_frame *frames; /* innermost first */
    size_t count;
    lhi_call_end end;
    const char *why; /* for people */
    lh_absence absence;
    uint64_t absent_at;
} lhi_call_stack;

#define LHI_STACK_MOST 1024u /* frames; a kernel stack has room for about 72 KiB */

/* From the registers of a thread outwards. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_call_stack_walk(const lh_kernel *kernel, const lhi_registers *start, lhi_call_stack *out,
                              lh_error *err);
/* Of the thread that raised the bug check, from the context in the dump's header. */
lh_status lhi_call_stack_of_crash(const lh_kernel *kernel, lhi_call_stack *out, lh_error *err);
/* Of any thread: one that runs from its processor's saved context, another one from where it was switched
 * out. */
lh_status lhi_call_stack_of_thread(const lh_kernel *kernel, uint64_t thread, lhi_call_stack *out,
                                   lh_error *err);
void lhi_call_stack_free(lhi_call_stack *stack);

typedef struct lhi_call {
    uint64_t target; /* where it goes */
    uint64_t slot;   /* the import slot that it goes through, 0: none */
    lh_absence why;  /* of LHI_UNKNOWN */
    uint64_t at;
} lhi_call;
/* What the call in front of a return address goes to, through import slots, retpolines and import thunks.
 * LHI_UNKNOWN: the code is not in the dump (`why`, `at`), or another kind of call (`why` is LH_PRESENT).
 * LHI_NO: no call stands there. */
lhi_answer lhi_call_target(const lh_kernel *kernel, uint64_t return_address, lhi_call *out);

#endif
