/* Where the bytes of a dump come from: a mapped file, positioned reads, memory or callbacks. */
#ifndef LHI_SOURCE_SOURCE_H
#define LHI_SOURCE_SOURCE_H

#include "lockhound.h"

lh_source *lhi_source_retain(lh_source *source);
uint64_t lhi_source_size(const lh_source *source);
/* Whole size or an error that names the offset. */
lh_status lhi_source_read(const lh_source *source, uint64_t offset, void *buffer, size_t size, lh_error *err);
/* How many reads of this source have failed so far: a call that shrugs single absences off can still tell
 * that the medium failed under it. */
uint64_t lhi_source_failures(const lh_source *source);
/* Bytes in place for random look-ups, or for a sequential scan; NULL when this source can't give them or
 * the span is not inside it. */
const uint8_t *lhi_source_view(const lh_source *source, uint64_t offset, uint64_t size);
const uint8_t *lhi_source_view_sequential(const lh_source *source, uint64_t offset, uint64_t size);
/* The path it was opened by, or "" ; for messages. */
const char *lhi_source_name(const lh_source *source);

#endif
