/* Errors: one way to fill a caller's lh_error, whose message grows outward by prefixes. */
#ifndef LHI_BASE_ERROR_H
#define LHI_BASE_ERROR_H

#include "lockhound.h"

#if defined(__GNUC__)
#define LHI_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define LHI_PRINTF(a, b)
#endif

/* Each fills *err when err is not NULL and returns `code`, so that `return lhi_fail(...)` reads well. */
lh_status lhi_fail(lh_error *err, lh_status code, const char *format, ...) LHI_PRINTF(3, 4);
/* LH_ERR_FORMAT or LH_ERR_UNSUPPORTED: names the damaged field and its file offset. */
lh_status lhi_fail_field(lh_error *err, lh_status code, const char *field, uint64_t offset,
                         const char *format, ...) LHI_PRINTF(5, 6);
/* LH_ERR_INVALID_ARGUMENT: names the argument. */
lh_status lhi_fail_argument(lh_error *err, const char *argument, const char *format, ...) LHI_PRINTF(3, 4);
/* LH_ERR_ABSENT: `level` is 0 where it does not apply. */
lh_status lhi_fail_absent(lh_error *err, lh_absence absence, int level, uint64_t address, const char *what);
lh_status lhi_fail_memory(lh_error *err);
/* Puts "context: " in front of the message. Returns err's code (LH_ERR_INTERNAL when err is NULL is never
 * needed: callers keep the status themselves). */
void lhi_prefix(lh_error *err, const char *format, ...) LHI_PRINTF(2, 3);

#endif
