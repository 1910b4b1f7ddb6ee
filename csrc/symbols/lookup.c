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
