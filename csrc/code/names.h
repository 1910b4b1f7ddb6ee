/* What stands at an address of code, as a debugger would write it: "nt!MmUnlockPages", "leaky.sys+0x1a2c". */
#ifndef LHI_CODE_NAMES_H
#define LHI_CODE_NAMES_H

#include "nt/kernel.h"

#define LHI_CODE_NAME   192u
#define LHI_CODE_TABLES 16u /* modules whose exports are kept; the others are named by their offset */

typedef struct lhi_names {
    const lh_kernel *kernel;
    struct {
        uint64_t base;
        lhi_exports exports;
    } tables[LHI_CODE_TABLES];
    size_t count;
} lhi_names;

/* The name of an address: an export of its module where it is exactly one, else the module and the offset in
 * it; an unloaded driver's in brackets. "" where no module has it. Only LH_ERR_NO_MEMORY fails. */
lh_status lhi_names_find(lhi_names *names, uint64_t address, char out[LHI_CODE_NAME], lh_error *err);
/* The export that begins exactly at an address of any module; NULL: none. Valid as long as `names`. */
lh_status lhi_names_export(lhi_names *names, uint64_t address, const char **out, lh_error *err);
void lhi_names_free(lhi_names *names);

#endif
