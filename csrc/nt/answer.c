/* Checks callers' structs and fills them in. */
#include "nt/answer.h"

#include "base/error.h"

#include <string.h>

/* More than any version of these structs will hold: tells a struct_size that was never set. */
#define STRUCT_MOST 4096u

lh_status lhi_answer_check(const void *out, lh_error *err)
{
    size_t size = 0;
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    memcpy(&size, out, sizeof size);
    if (size < 2 * sizeof(uint64_t) || size > STRUCT_MOST)
        return lhi_fail_argument(err, "struct_size", "%zu is no size of this struct", size);
    return LH_OK;
}

void lhi_answer_give(void *out, const void *result, size_t ours)
{
    size_t caller = 0;
    memcpy(&caller, out, sizeof caller);
    memset(out, 0, caller);
    memcpy(out, result, caller < ours ? caller : ours);
    memcpy(out, &caller, sizeof caller);
}
