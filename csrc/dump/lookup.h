/* The page lookups that are of no format: without any page, and the overlay over any other. */
#ifndef LHI_DUMP_LOOKUP_H
#define LHI_DUMP_LOOKUP_H

#include "dump/pages.h"
#include "dump/runs.h"

#define LHI_NOT_IN_FILE UINT64_MAX

/* A lookup without any page: what is not RAM by the header's runs (may be NULL) is told, all else is not
 * captured. Borrows source and runs. */
lh_status lhi_no_pages_open(lh_source *source, const lhi_runs *machine, lhi_pages **out, lh_error *err);
/* Removes the pages, or replaces them when bytes is not NULL (count * 4096 bytes, copied; of a PFN given
 * twice the later page counts). `below` is borrowed. */
lh_status lhi_overlay_open(const lhi_pages *below, const uint64_t *pfns, const void *bytes, size_t count,
                           lhi_pages **out, lh_error *err);
void lhi_pages_destroy(lhi_pages *pages);

#endif
