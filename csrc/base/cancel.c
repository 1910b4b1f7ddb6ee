/* lh_cancel: a flag that any thread or signal handler may set to stop a call. */
#include "base/alloc.h"
#include "base/error.h"

#include <stdatomic.h>

struct lh_cancel {
    atomic_int set; /* lock-free, so that a signal handler may set it (C11 7.14.1.1) */
};

lh_status lh_cancel_create(lh_cancel **out, lh_error *err)
{
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    lh_cancel *cancel = lhi_malloc(sizeof *cancel);
    if (!cancel)
        return lhi_fail_memory(err);
    atomic_init(&cancel->set, 0);
    *out = cancel;
    return LH_OK;
}

void lh_cancel_set(lh_cancel *cancel)
{
    if (cancel)
        atomic_store_explicit(&cancel->set, 1, memory_order_release);
}

bool lh_cancel_is_set(const lh_cancel *cancel)
{
    return cancel && atomic_load_explicit(&cancel->set, memory_order_acquire) != 0;
}

void lh_cancel_destroy(lh_cancel *cancel)
{
    lhi_free(cancel);
}
