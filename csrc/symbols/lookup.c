/* Chooses the layout of a kernel: the very PDB, else its build, else what every build shares. */
#include <string.h>

#include "symbols/tables.h"

/* Releases that are an earlier build with features switched on: their kernels are built from its branch and
 * their structures are the same (facts B.7). Headers of their dumps mostly carry the base number anyway. */
static uint32_t base_build(uint32_t build)
{
    if (build >= 19042 && build <= 19045)
        return 19041;
    if (build == 18363)
        return 18362;
    return build;
}

/* First build of Windows 7 (RTM). */
#define WINDOWS_7 7600u

const lhi_layout *lhi_layout_find(uint32_t build, const uint8_t guid[16], uint32_t age)
{
    uint32_t base = base_build(build);

    for (size_t i = 0; guid != NULL && i < lhi_kernel_row_count; i++) {
        const lhi_kernel_row *row = &lhi_kernel_rows[i];
        if (row->age == age && memcmp(row->guid, guid, sizeof row->guid) == 0)
            return &row->layout;
    }
    for (size_t i = 0; i < lhi_build_row_count; i++)
        if (lhi_build_rows[i].build == base)
            return &lhi_build_rows[i];
    return build < WINDOWS_7 ? &lhi_older_row : &lhi_stable_row;
}

/* ------------------------------------------------------------------ a row of one's own */

static void apply(lhi_layout_row *out, const lhi_facts_row *facts)
{
    out->layout.build = facts->first;
    out->layout.basis = LHI_LAYOUT_FACTS;
    out->layout.source = facts->source;
    out->confidence = facts->confidence;
    out->counters_pointer = facts->counters_pointer;
    out->counters_first = facts->counters_first;
    for (size_t g = 0; facts->groups[g] != NULL; g++) {
        for (const lhi_fact *fact = facts->groups[g]; fact->source != NULL; fact++) {
            out->offsets[fact->field] = fact->offset;
            out->states[fact->field] = (lhi_field_state){
                .origin = LHI_FROM_FACTS, .confidence = fact->confidence, .source = fact->source};
        }
    }
    for (const lhi_fact_size *size = facts->sizes; size != NULL && size->size != 0; size++)
        out->sizes[size->structure] = size->size;
}

void lhi_layout_choose(uint32_t build, const uint8_t guid[16], uint32_t age, lhi_layout_row *out)
{
    const lhi_layout *found = lhi_layout_find(build, guid, age);
    /* What all builds before and after share is a conclusion for a build that is not among them. */
    const bool symbols = found->basis == LHI_LAYOUT_PDB || found->basis == LHI_LAYOUT_BUILD;
    memset(out, 0, sizeof *out);
    out->layout = *found;
    out->confidence = symbols ? LHI_VERIFIED : LHI_SUPPOSED;
    out->counters_pointer = out->counters_first = LHI_NO_OFFSET;
    memcpy(out->offsets, found->offsets, sizeof out->offsets);
    memcpy(out->sizes, found->sizes, sizeof out->sizes);
    for (size_t i = 0; i < LHI_FIELD_COUNT; i++) {
        if (out->offsets[i] != LHI_NO_OFFSET)
            out->states[i] = (lhi_field_state){.origin = LHI_FROM_TABLE, .confidence = out->confidence};
    }
    for (size_t i = 0; i < lhi_facts_row_count && found->basis == LHI_LAYOUT_STABLE; i++) {
        if (build >= lhi_facts_rows[i].first && build <= lhi_facts_rows[i].last)
            apply(out, &lhi_facts_rows[i]);
    }
    out->layout.offsets = out->offsets;
    out->layout.sizes = out->sizes;
}
