/* Results for callers whose struct may be older (shorter) or newer (longer) than ours. */
#ifndef LHI_NT_ANSWER_H
#define LHI_NT_ANSWER_H

#include "lockhound.h"

/* `out` has a plausible struct_size; else LH_ERR_INVALID_ARGUMENT. */
lh_status lhi_answer_check(const void *out, lh_error *err);
/* Copies what both know and clears the rest; struct_size, the first field of each, stays the caller's. */
void lhi_answer_give(void *out, const void *result, size_t ours);

#endif
