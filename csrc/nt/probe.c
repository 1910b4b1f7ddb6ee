/* Probes the chosen layout on objects of the dump, structure by structure, and completes it. */
#include "nt/probe.h"

#include "nt/memory.h"
#include "nt/process_list.h"

#include <string.h>

/* ------------------------------------------------------------------ the state of a field */

void lhi_field_agreed(lhi_layout_row *row, lhi_field field)
{
    if (row->states[field].probe == LHI_NOT_PROBED)
        row->states[field].probe = LHI_PROBE_AGREED;
}

void lhi_field_drop(lhi_layout_row *row, lhi_field field)
{
    lhi_field_state *state = &row->states[field];
    if (row->offsets[field] == LHI_NO_OFFSET)
        return;
    *state = (lhi_field_state){.probe = LHI_PROBE_FAILED, .dropped = row->offsets[field]};
    row->offsets[field] = LHI_NO_OFFSET;
}

void lhi_field_take(lhi_layout_row *row, lhi_field field, uint64_t offset, lhi_origin origin,
                    const char *source)
{
    lhi_field_state *state = &row->states[field];
    if (offset >= LHI_NO_OFFSET)
        return;
    row->offsets[field] = (uint16_t)offset;
    state->origin = origin;
    state->confidence = origin == LHI_FROM_BLOCK ? LHI_VERIFIED : LHI_SUPPOSED;
    state->source = source;
}

static bool is_preferred(const uint16_t *preferred, uint64_t offset)
{
    for (; preferred && *preferred != LHI_NO_OFFSET; preferred++) {
        if (*preferred == offset)
            return true;
    }
    return false;
}

static void look(lhi_witness *w, const lhi_question *q)
{
    uint64_t found[2] = {0}; /* the last that agrees, and the last preferred one that does */
    unsigned count[2] = {0};
    for (uint64_t offset = q->first; q->step != 0 && offset <= q->last; offset += q->step) {
        if (q->ask(w, offset) < q->least)
            continue;
        for (size_t i = 0; i <= (is_preferred(q->preferred, offset) ? 1u : 0u); i++) {
            found[i] = offset;
            count[i]++;
        }
    }
    if (count[0] == 1)
        lhi_field_take(&w->kernel->row, q->field, found[0], LHI_FROM_DUMP, q->source);
    else if (count[1] == 1)
        lhi_field_take(&w->kernel->row, q->field, found[1], LHI_FROM_DUMP, q->source);
}

void lhi_settle(lhi_witness *w, const lhi_question *q)
{
    lhi_layout_row *row = &w->kernel->row;
    const lhi_field_state before = row->states[q->field];
    const uint16_t offset = row->offsets[q->field];
    bool open = false;
    if (offset != LHI_NO_OFFSET) {
        int says = q->ask(w, offset);
        if (says > 0)
            lhi_field_agreed(row, q->field);
        else if (says < 0)
            lhi_field_drop(row, q->field);
        else if (q->stated != 0 && q->stated != row->offsets[q->field] &&
                 (row->states[q->field].confidence != LHI_VERIFIED || w->kernel->probing.identity_failed))
            lhi_field_drop(row, q->field);
        else if (q->stated != 0 && q->stated == row->offsets[q->field])
            lhi_field_agreed(row, q->field);
        else
            open = q->overrule;
    }
    if (open)
        lhi_field_drop(row, q->field);
    if (row->offsets[q->field] != LHI_NO_OFFSET)
        return;
    if (q->stated != 0 && q->ask(w, q->stated) >= 0)
        lhi_field_take(row, q->field, q->stated, LHI_FROM_BLOCK, "the kernel's debugger block states it");
    else
        look(w, q);
    if (open && row->offsets[q->field] == LHI_NO_OFFSET) {
        row->offsets[q->field] = offset;
        row->states[q->field] = before;
    }
}

/* ------------------------------------------------------------------ the whole row */

/* What the block states about structures that need no other witness. */
static int ask_nobody(const lhi_witness *witness, uint64_t offset)
{
    (void)witness;
    (void)offset;
    return 0;
}

static void settle_processors(lhi_witness *w)
{
    const lhi_kdbg_offsets *stated = &w->kernel->kdbg.offsets;
    lhi_layout_row *row = &w->kernel->row;
    const struct {
        lhi_field field;
        uint32_t stated;
    } fields[] = {
        {LHI_F_KPCR_Self, stated->pcr_self},
        {LHI_F_KPCR_CurrentPrcb, stated->pcr_current_prcb},
        {LHI_F_KPCR_Prcb, stated->pcr_prcb},
        {LHI_F_KPRCB_CurrentThread, stated->prcb_current_thread},
        {LHI_F_KPRCB_IdleThread, stated->prcb_idle_thread},
        {LHI_F_KPRCB_Number, stated->prcb_number},
        {LHI_F_KPRCB_Context, stated->prcb_context},
        {LHI_F_KPRCB_ProcessorState, stated->prcb_state},
        {LHI_F_EPROCESS_InheritedFromUniqueProcessId, stated->process_parent},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const lhi_question question = {
            .field = fields[i].field, .ask = ask_nobody, .stated = fields[i].stated};
        lhi_settle(w, &question);
    }
    if (stated->prcb_context_frame > stated->prcb_state && stated->prcb_state != 0) {
        const lhi_question question = {.field = LHI_F_KPROCESSOR_STATE_ContextFrame,
                                       .ask = ask_nobody,
                                       .stated = stated->prcb_context_frame - stated->prcb_state};
        lhi_settle(w, &question);
    }
    const struct {
        lhi_size_of structure;
        uint32_t stated;
    } sizes[] = {
        {LHI_SIZE_EPROCESS, stated->process_size},
        {LHI_SIZE_ETHREAD, stated->thread_size},
        {LHI_SIZE_KPRCB, stated->prcb_size},
        {LHI_SIZE_KPCR, stated->pcr_size},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].stated != 0)
            row->sizes[sizes[i].structure] = sizes[i].stated;
    }
}

/* Processes are in use. Where their headers can't be read nothing contradicts. */
static bool marks_pool(const lhi_witness *w)
{
    bool against = false;
    for (size_t i = 0; i < w->process_count + 1; i++) {
        const lhi_answer marked =
            lhi_pool_marks(w->kernel, i ? w->processes[i - 1] : lhi_bugcheck_process(w->kernel), "Proc");
        if (marked == LHI_YES)
            return true;
        against = against || marked == LHI_NO;
    }
    return !against;
}

void lhi_layout_probe(lh_kernel *kernel)
{
    lhi_layout_row *row = &kernel->row;
    lhi_witness witness;
    kernel->probing = (lhi_probing){.pool_marks = true};
    lhi_witness_collect(kernel, &witness);
    lhi_settle_processes(&witness);
    settle_processors(&witness);
    lhi_settle_threads(&witness);
    lhi_settle_books(&witness);
    lhi_settle_counters(&witness);
    kernel->probing.processes = (uint32_t)witness.process_count;
    kernel->probing.system = witness.system;
    kernel->probing.pool_marks = marks_pool(&witness);
    for (size_t i = 0; i < LHI_FIELD_COUNT && row->layout.basis == LHI_LAYOUT_STABLE; i++) {
        if (row->states[i].origin == LHI_FROM_DUMP || row->states[i].origin == LHI_FROM_BLOCK) {
            row->layout.basis = LHI_LAYOUT_INFERRED;
            row->layout.source = "unknown build: what no known build moved, what the kernel's debugger block "
                                 "states, and what objects in the dump show";
        }
    }
}
