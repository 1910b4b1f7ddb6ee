/* Functions of a driver's own that lock, unlock and free, and those that call them: fine_, or with one
 * mistake. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))
#define FAILED     ((status)0xC0000001)

extern volatile u64 sink;
u64 helper(void *given);
status ask(device *at);
void begin_work(device *at);

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
}

/* ---- functions of the driver's own that lock, unlock and free */

NOT_INLINE void put_away(mdl *m);
NOT_INLINE void put_away(mdl *m)
{
    MmUnlockPages(m);
    IoFreeMdl(m);
}

NOT_INLINE void put_away_if_any(mdl *m);
NOT_INLINE void put_away_if_any(mdl *m)
{
    if (!m)
        return;
    if (m->flags & 2)
        MmUnlockPages(m);
    IoFreeMdl(m);
    sink++;
}

NOT_INLINE void only_free(mdl *m);
NOT_INLINE void only_free(mdl *m)
{
    sink++;
    IoFreeMdl(m);
    sink++;
}

NOT_INLINE void only_measure(mdl *m);
NOT_INLINE void only_measure(mdl *m)
{
    sink = m->byte_count;
    sink += m->byte_offset;
}

NOT_INLINE mdl *lock_buffer(irp *packet);
NOT_INLINE mdl *lock_buffer(irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return 0;
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    } __except (1) {
        IoFreeMdl(m);
        return 0;
    }
    return m;
}

NOT_INLINE status lock_this(mdl *m);
NOT_INLINE status lock_this(mdl *m)
{
    status result = STATUS_SUCCESS;
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    } __except (1) {
        result = FAILED;
    }
    return result;
}

NOT_INLINE u8 put_away_sometimes(device *at, mdl *m);
NOT_INLINE u8 put_away_sometimes(device *at, mdl *m)
{
    if (ask(at) < 0)
        return 0;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return 1;
}

/* Comes back to itself. */
NOT_INLINE void put_away_all(mdl *m, u32 count);
NOT_INLINE void put_away_all(mdl *m, u32 count)
{
    mdl *next = m->next;
    MmUnlockPages(m);
    IoFreeMdl(m);
    if (next && count)
        put_away_all(next, count - 1);
    sink++;
}

status fine_by_helpers(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    status result = ask(at);
    only_measure(m);
    put_away(m);
    return result;
}

status lost_by_helpers(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    status result = ask(at);
    if (result < 0)
        return result;
    put_away(m);
    return result;
}

status lost_beside_a_helper(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    if (ask(at) < 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    put_away(m);
    return STATUS_SUCCESS;
}

status freed_by_a_helper(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    status result = ask(at);
    if (result >= 0)
        MmUnlockPages(m);
    only_free(m);
    return result;
}

status fine_freed_by_a_helper(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    status result = ask(at);
    MmUnlockPages(m);
    only_free(m);
    return result;
}

status twice_by_a_helper(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) < 0)
        MmUnlockPages(m);
    put_away(m);
    return STATUS_SUCCESS;
}

status fine_whatever_it_is(device *at, irp *packet)
{
    mdl *m = ask(at) < 0 ? 0 : allocate(packet);
    if (m && helper(at))
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    put_away_if_any(m);
    return STATUS_SUCCESS;
}

status fine_locked_by_a_helper(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    status result = lock_this(m);
    if (result < 0) {
        IoFreeMdl(m);
        return result;
    }
    result = ask(at);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status freed_locked_by_a_helper(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    status result = lock_this(m);
    if (result >= 0)
        result = ask(at);
    if (result >= 0)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_put_away_sometimes(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (!put_away_sometimes(at, m))
        put_away(m);
    return STATUS_SUCCESS;
}

status fine_and_unknown(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    put_away_all(m, at->flags);
    return STATUS_SUCCESS;
}

status fine_at_the_end_by_a_helper(device *at, irp *packet)
{
    mdl *m = lock_buffer(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    begin_work(at);
    return (status)(put_away(m), 0);
}

void fine_tail_of_a_helper(irp *packet)
{
    put_away_if_any(lock_buffer(packet));
}

NOT_INLINE status lock_for(irp *packet, mdl **out);
NOT_INLINE status lock_for(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    *out = 0;
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    } __except (1) {
        IoFreeMdl(m);
        return FAILED;
    }
    *out = m;
    return STATUS_SUCCESS;
}

status fine_given_through_a_pointer(device *at, irp *packet)
{
    mdl *m = 0;
    status result = lock_for(packet, &m);
    if (result < 0)
        return result;
    result = ask(at);
    put_away(m);
    return result;
}

typedef struct work {
    u32 steps;
    mdl *m;
    u8 locked;
} work;

NOT_INLINE status prepare(work *w, irp *packet);
NOT_INLINE status prepare(work *w, irp *packet)
{
    w->m = allocate(packet);
    if (!w->m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(w->m, USER_MODE, LOCK_FOR_WRITE);
    w->locked = 1;
    return STATUS_SUCCESS;
}

NOT_INLINE void clean_up(work *w);
NOT_INLINE void clean_up(work *w)
{
    if (w->m) {
        if (w->locked)
            MmUnlockPages(w->m);
        IoFreeMdl(w->m);
    }
}

status fine_with_a_structure(device *at, irp *packet)
{
    work w;
    w.steps = 0;
    w.m = 0;
    w.locked = 0;
    status result = prepare(&w, packet);
    if (result >= 0)
        result = ask(at);
    clean_up(&w);
    return result;
}

status fine_locked_here_and_cleaned_up_there(device *at, irp *packet)
{
    work w;
    w.locked = 0;
    w.m = allocate(packet);
    if (!w.m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(w.m, USER_MODE, LOCK_FOR_WRITE);
        w.locked = 1;
    }
    clean_up(&w);
    return STATUS_SUCCESS;
}
