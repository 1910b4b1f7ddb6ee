/* Where the structure layouts come from, field by field: what was probed, dropped, stated or inferred. */
#include "nt/kernel.h"
#include "report/report.h"

/* The fields that differ between builds and that answers rest on. */
static const struct {
    lhi_field field;
    const char *name;
} fields[] = {
    {LHI_F_EPROCESS_UniqueProcessId, "EPROCESS.UniqueProcessId"},
    {LHI_F_EPROCESS_ActiveProcessLinks, "EPROCESS.ActiveProcessLinks"},
    {LHI_F_EPROCESS_ImageFileName, "EPROCESS.ImageFileName"},
    {LHI_F_EPROCESS_NumberOfLockedPages, "EPROCESS.NumberOfLockedPages"},
    {LHI_F_EPROCESS_Flags, "EPROCESS.Flags"},
    {LHI_F_EPROCESS_ExitTime, "EPROCESS.ExitTime"},
    {LHI_F_EPROCESS_LockedPagesList, "EPROCESS.LockedPagesList"},
    {LHI_F_KTHREAD_Process, "KTHREAD.Process"},
    {LHI_F_KTHREAD_ApcState, "KTHREAD.ApcState"},
    {LHI_F_KTHREAD_ThreadListEntry, "KTHREAD.ThreadListEntry"},
    {LHI_F_KTHREAD_StackLimit, "KTHREAD.StackLimit"},
    {LHI_F_KTHREAD_StackBase, "KTHREAD.StackBase"},
    {LHI_F_ETHREAD_Cid, "ETHREAD.Cid"},
    {LHI_F_ETHREAD_IrpList, "ETHREAD.IrpList"},
    {LHI_F_KPRCB_CurrentThread, "KPRCB.CurrentThread"},
    {LHI_F_KPRCB_Context, "KPRCB.Context"},
    {LHI_F_KPRCB_ProcessorState, "KPRCB.ProcessorState"},
    {LHI_F_KPRCB_PPLookasideList, "KPRCB.PPLookasideList"},
    {LHI_F_MMPFN_u3, "MMPFN.u3"},
    {LHI_F_KLDR_DATA_TABLE_ENTRY_TimeDateStamp, "KLDR_DATA_TABLE_ENTRY.TimeDateStamp"},
};

static const char *basis_name(lhi_layout_basis basis)
{
    static const char *const names[] = {"", "pdb", "build", "stable", "facts", "inferred"};
    return names[basis <= LHI_LAYOUT_INFERRED ? basis : 0];
}

static bool whole(const lhi_layout_row *row)
{
    bool verified = row->confidence == LHI_VERIFIED;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        verified = verified && row->states[fields[i].field].probe != LHI_PROBE_FAILED;
    return verified;
}

static const char *origin_name(lhi_origin origin)
{
    static const char *const names[] = {"unknown", "symbols", "published", "debugger_block", "inferred"};
    return names[origin <= LHI_FROM_DUMP ? origin : 0];
}

static const char *probe_name(const lhi_field_state *state)
{
    if (state->probe == LHI_PROBE_FAILED)
        return "contradicted";
    if (state->origin == LHI_FROM_NOWHERE)
        return NULL;
    /* An inference is its own probe. */
    return state->probe == LHI_PROBE_AGREED || state->origin == LHI_FROM_DUMP ? "agreed" : "not_probed";
}

/* What an offset rests on, where there is more to say than `from`; and why there is none. */
static const char *why(const lhi_field_state *state)
{
    if (state->origin != LHI_FROM_NOWHERE || state->probe == LHI_PROBE_FAILED)
        return state->source;
    return "this build has no such field, or no table has it; and nothing in this dump shows it";
}

void lhi_report_layout(lhi_case *c, lhi_node *coverage)
{
    lhi_arena *arena = &c->arena;
    const lhi_layout_row *row = &c->kernel->row;
    const lhi_probing *probing = &c->kernel->probing;
    lhi_node *layout = lhi_tree_object(arena, coverage, "layout");
    lhi_tree_text(arena, layout, "basis", basis_name(row->layout.basis));
    lhi_tree_text(arena, layout, "source", row->layout.source);
    lhi_tree_text(arena, layout, "confidence", whole(row) ? "verified" : "inferred");
    lhi_tree_count(arena, layout, "processes_seen", probing->processes);
    lhi_tree_bool(arena, layout, "system_found", probing->system != 0);
    lhi_tree_text(arena, layout, "counters", probing->counters_why);
    lhi_node *list = lhi_tree_list(arena, layout, "fields");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const lhi_field_state *state = &row->states[fields[i].field];
        const uint16_t offset = row->offsets[fields[i].field];
        lhi_node *field = lhi_tree_object(arena, list, NULL);
        lhi_tree_text(arena, field, "field", fields[i].name);
        lhi_tree_address_if(arena, field, "offset", offset != LHI_NO_OFFSET, offset);
        lhi_tree_text(arena, field, "from", origin_name(state->origin));
        lhi_tree_text(arena, field, "confidence",
                      state->origin == LHI_FROM_NOWHERE   ? NULL
                      : state->confidence == LHI_VERIFIED ? "verified"
                                                          : "inferred");
        lhi_tree_text(arena, field, "probe", probe_name(state));
        lhi_tree_text(arena, field, "why", why(state));
        lhi_tree_address_if(arena, field, "given_up", state->probe == LHI_PROBE_FAILED, state->dropped);
    }
}
