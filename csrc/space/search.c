/* Scans of an address space and the places of their hits, whatever the space lies in. */
#include "base/alloc.h"
#include "base/error.h"
#include "space/space.h"

lh_status lhi_space_scan(const lhi_space *space, const lhi_scan_options *options, lhi_scan_result *out,
                         lh_error *err)
{
    return space->blocks ? lhi_scan_blocks(space->blocks, options, out, err)
                         : lhi_scan(space->pages, options, out, err);
}

lh_status lhi_space_places(const lhi_space *space, const uint64_t *frames, size_t count, lhi_reverse *out,
                           lh_error *err)
{
    lhi_reverse map = {.count = count, .complete = true};
    if (!space->blocks)
        return lhi_reverse_map(space, frames, count, out, err);
    map.frame = lhi_realloc_array(NULL, count ? count : 1, sizeof *map.frame);
    map.va = lhi_realloc_array(NULL, count ? count : 1, sizeof *map.va);
    if (!map.frame || !map.va) {
        lhi_reverse_free(&map);
        return lhi_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        map.frame[i] = frames[i];
        map.va[i] = frames[i] * LHI_PAGE_SIZE;
    }
    *out = map;
    return LH_OK;
}
