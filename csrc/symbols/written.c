/* The rows of ARM64 kernels, written by hand, each with its source.
 *
 * All from facts windows-internals B.7: type listings of the 19041 and 24H2 generations, and a real triage
 * dump (facts real-dumps 1). */
#include "symbols/written.h"

#include "symbols/tables.h"

#include <string.h>

typedef struct lhi_known {
    lhi_field field;
    uint16_t offset;
} lhi_known;

typedef struct lhi_written_row {
    uint32_t first, last; /* builds */
    lhi_layout_basis basis;
    const char *source;
    lhi_known known[12]; /* up to an offset of 0 */
} lhi_written_row;

static const lhi_written_row rows[] = {
    {19041,
     19569,
     LHI_LAYOUT_FACTS,
     "a public type listing of the 19041 generation (ARM64)",
     {{LHI_F_EPROCESS_UniqueProcessId, 0x3f8},
      {LHI_F_EPROCESS_ActiveProcessLinks, 0x400},
      {LHI_F_EPROCESS_Flags, 0x41c},
      {LHI_F_EPROCESS_NumberOfLockedPages, 0x4b8},
      {LHI_F_EPROCESS_InheritedFromUniqueProcessId, 0x4f8},
      {LHI_F_EPROCESS_ImageFileName, 0x560},
      {LHI_F_EPROCESS_ThreadListHead, 0x598},
      {LHI_F_EPROCESS_LockedPagesList, 0x5c0},
      {LHI_F_EPROCESS_ExitTime, 0x900}}},
    /* The name's place was seen in a real dump; the rest of the row above fits it, but nothing proves it. */
    {22000,
     22000,
     LHI_LAYOUT_STABLE,
     "a real dump (ARM64 22000), which shows the name's place only",
     {{LHI_F_EPROCESS_ImageFileName, 0x560}}},
    {26100,
     26100,
     LHI_LAYOUT_FACTS,
     "a public type listing of the 24H2 generation (ARM64)",
     {{LHI_F_EPROCESS_UniqueProcessId, 0x1c0},
      {LHI_F_EPROCESS_ActiveProcessLinks, 0x1c8},
      {LHI_F_EPROCESS_Flags, 0x1e4},
      {LHI_F_EPROCESS_NumberOfLockedPages, 0x280},
      {LHI_F_EPROCESS_InheritedFromUniqueProcessId, 0x2c0},
      {LHI_F_EPROCESS_ImageFileName, 0x328},
      {LHI_F_EPROCESS_ThreadListHead, 0x360},
      {LHI_F_EPROCESS_LockedPagesList, 0x388},
      {LHI_F_EPROCESS_ExitTime, 0x680}}},
};

/* Structures that the processor shapes. The dispatcher header and the place of a process's page directory are
 * alike on both (facts B.7, E.4). */
static void forget_processor(lhi_layout_row *out)
{
    for (int field = 0; field < LHI_F_MMPFN_PteAddress; field++)
        out->offsets[field] = LHI_NO_OFFSET;
    out->offsets[LHI_F_DISPATCHER_HEADER_Type] = 0;
    out->offsets[LHI_F_KPROCESS_DirectoryTableBase] = 0x28;
    out->sizes[LHI_SIZE_EPROCESS] = out->sizes[LHI_SIZE_KPROCESS] = out->sizes[LHI_SIZE_KTHREAD] = 0;
    out->sizes[LHI_SIZE_ETHREAD] = out->sizes[LHI_SIZE_KPCR] = out->sizes[LHI_SIZE_KPRCB] = 0;
}

void lhi_layout_arm64(uint32_t build, lhi_layout_row *out)
{
    const lhi_written_row *row = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (build >= rows[i].first && build <= rows[i].last)
            row = &rows[i];
    memset(out, 0, sizeof *out);
    memcpy(out->offsets, lhi_stable_row.offsets, sizeof out->offsets);
    memcpy(out->sizes, lhi_stable_row.sizes, sizeof out->sizes);
    forget_processor(out);
    out->confidence = LHI_SUPPOSED;
    out->counters_pointer = out->counters_first = LHI_NO_OFFSET;
    out->layout = (lhi_layout){.basis = LHI_LAYOUT_STABLE,
                               .source = "unknown build (ARM64): what does not depend on the processor",
                               .offsets = out->offsets,
                               .sizes = out->sizes};
    for (size_t i = 0; i < LHI_FIELD_COUNT; i++)
        if (out->offsets[i] != LHI_NO_OFFSET)
            out->states[i] = (lhi_field_state){.origin = LHI_FROM_TABLE, .confidence = LHI_SUPPOSED};
    if (!row)
        return;
    out->layout.build = row->basis == LHI_LAYOUT_FACTS ? build : 0;
    out->layout.basis = row->basis;
    out->layout.source = row->source;
    for (size_t i = 0; i < sizeof row->known / sizeof row->known[0] && row->known[i].offset; i++) {
        out->offsets[row->known[i].field] = row->known[i].offset;
        out->states[row->known[i].field] =
            (lhi_field_state){.origin = LHI_FROM_FACTS, .confidence = LHI_SUPPOSED, .source = row->source};
    }
}
