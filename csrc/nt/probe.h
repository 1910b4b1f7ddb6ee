/* Probing: a layout is believed field by field, on objects of the dump itself; what fails is dropped. */
#ifndef LHI_NT_PROBE_H
#define LHI_NT_PROBE_H

#include "nt/kernel.h"
#include "nt/witness.h"

/* Probes kernel->row, drops what is contradicted, takes what the debugger block states and infers the rest
 * where the dump shows it. Never fails; bounded work. */
void lhi_layout_probe(lh_kernel *kernel);

/* Does a field lie at `offset`? The number of objects that say so; 0: nothing can be said (pages missing, no
 * such object); below 0: objects contradict. */
typedef int (*lhi_ask)(const lhi_witness *witness, uint64_t offset);

typedef struct lhi_question {
    lhi_field field;
    lhi_ask ask;
    uint64_t stated;            /* by the debugger block; 0: not */
    uint64_t first, last, step; /* where to look when nobody knows; step 0: nowhere */
    int least;                  /* objects that have to agree on an inferred offset */
    const uint16_t *preferred;  /* among several that agree: the only one of these; ended by LHI_NO_OFFSET */
    bool overrule;              /* an inferred offset also replaces one that nothing speaks for or against */
    const char *source;         /* what an inferred offset rests on */
} lhi_question;
/* The answer from objects for and against. At a wrong offset hardly any object agrees, while a single one may
 * be damaged: where most agree the offset is right, but that is not enough to infer it. */
static inline int lhi_weigh(int agree, int against)
{
    return against == 0 ? agree : agree > against ? 1 : agree == 0 ? -1 : 0;
}

/* Probes what the row says, then takes what the block states, then looks. */
void lhi_settle(lhi_witness *witness, const lhi_question *question);

void lhi_field_agreed(lhi_layout_row *row, lhi_field field);
/* The row's offset is given up. */
void lhi_field_drop(lhi_layout_row *row, lhi_field field);
void lhi_field_take(lhi_layout_row *row, lhi_field field, uint64_t offset, lhi_origin origin,
                    const char *source);

/* infer_process.c, infer.c (threads), infer_books.c (PFN entries, lookaside lists, modules), counters.c */
void lhi_settle_processes(lhi_witness *witness);
void lhi_settle_threads(lhi_witness *witness);
void lhi_settle_books(lhi_witness *witness);
void lhi_settle_counters(lhi_witness *witness);

#endif
