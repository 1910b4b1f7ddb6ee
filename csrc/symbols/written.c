/* The rows of layouts that were written by hand, each with its source.
 *
 * All from facts windows-internals B.7: type listings of ARM64 19041 and of both processors' 24H2 generation,
 * and real triage dumps (facts real-dumps 1). */
#include "symbols/written.h"

#include "symbols/tables.h"

#include <string.h>

#define MACHINE_X64   0x8664u /* IMAGE_FILE_MACHINE_* of the PE specification */
#define MACHINE_ARM64 0xaa64u

typedef struct lhi_known {
    lhi_field field;
    uint16_t offset;
} lhi_known;

typedef struct lhi_written_row {
    uint32_t machine, first, last; /* builds */
    lhi_layout_basis basis;
    const char *source;
    lhi_known known[12]; /* up to an offset of 0 */
} lhi_written_row;

static const lhi_written_row rows[] = {
    {MACHINE_X64,
     26019,
     28999,
     LHI_LAYOUT_BUILD,
     "a public type listing of the 24H2 generation (x64); no symbol table of it is public",
     {{LHI_F_EPROCESS_UniqueProcessId, 0x1d0},
      {LHI_F_EPROCESS_ActiveProcessLinks, 0x1d8},
      {LHI_F_EPROCESS_Flags, 0x1f4},
      {LHI_F_EPROCESS_CreateTime, 0x1f8},
      {LHI_F_EPROCESS_NumberOfLockedPages, 0x290},
      {LHI_F_EPROCESS_InheritedFromUniqueProcessId, 0x2d0},
      {LHI_F_EPROCESS_ImageFileName, 0x338},
      {LHI_F_EPROCESS_ThreadListHead, 0x370},
      {LHI_F_EPROCESS_LockedPagesList, 0x398},
      {LHI_F_EPROCESS_ExitTime, 0x5c0},
      {LHI_F_KTHREAD_Process, 0x220}}},
    {MACHINE_ARM64,
     19041,
     19569,
     LHI_LAYOUT_BUILD,
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
    {MACHINE_ARM64,
     22000,
     22000,
     LHI_LAYOUT_STABLE,
     "a real dump (ARM64 22000), which shows the name's place only",
     {{LHI_F_EPROCESS_ImageFileName, 0x560}}},
    {MACHINE_ARM64,
     26100,
     26100,
     LHI_LAYOUT_BUILD,
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
static void forget_processor(lhi_written_layout *out)
{
    for (int field = 0; field < LHI_F_MMPFN_PteAddress; field++)
        out->offsets[field] = LHI_NO_OFFSET;
    out->offsets[LHI_F_DISPATCHER_HEADER_Type] = 0;
    out->offsets[LHI_F_KPROCESS_DirectoryTableBase] = 0x28;
    out->sizes[LHI_SIZE_EPROCESS] = out->sizes[LHI_SIZE_KPROCESS] = out->sizes[LHI_SIZE_KTHREAD] = 0;
    out->sizes[LHI_SIZE_ETHREAD] = out->sizes[LHI_SIZE_KPCR] = out->sizes[LHI_SIZE_KPRCB] = 0;
}

bool lhi_layout_written(uint32_t machine, uint32_t build, lhi_written_layout *out)
{
    const lhi_written_row *row = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].machine == machine && build >= rows[i].first && build <= rows[i].last)
            row = &rows[i];
    }
    if (!row && machine != MACHINE_ARM64)
        return false;
    memcpy(out->offsets, lhi_stable_row.offsets, sizeof out->offsets);
    memcpy(out->sizes, lhi_stable_row.sizes, sizeof out->sizes);
    out->layout = (lhi_layout){0,
                               LHI_LAYOUT_STABLE,
                               "unknown build (ARM64): what does not depend on the processor",
                               out->offsets,
                               out->sizes,
                               NULL};
    if (machine == MACHINE_ARM64)
        forget_processor(out);
    if (row) {
        out->layout.build = row->basis == LHI_LAYOUT_BUILD ? build : 0;
        out->layout.basis = row->basis;
        out->layout.source = row->source;
        for (size_t i = 0; i < sizeof row->known / sizeof row->known[0] && row->known[i].offset; i++)
            out->offsets[row->known[i].field] = row->known[i].offset;
    }
    return true;
}
