/* Functions of a driver's own that give an MDL back through a pointer, and those that call them: fine_, or
 * with one mistake. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))
#define FAILED     ((status)0xC0000001)

extern volatile u64 sink;
u64 helper(void *given);
status ask(device *at);
void begin_work(device *at);
void put_away(mdl *m);

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
}

/* ---- through a pointer to the pointer */

NOT_INLINE status lock_it(irp *packet, mdl **out);
NOT_INLINE status lock_it(irp *packet, mdl **out)
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

/* Says nothing where it fails. */
NOT_INLINE u8 lock_if_it_can(irp *packet, mdl **out);
NOT_INLINE u8 lock_if_it_can(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    if (!m)
        return 0;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    return 1;
}

NOT_INLINE status lock_for_somebody(irp *packet, u32 *length, mdl **out);
NOT_INLINE status lock_for_somebody(irp *packet, u32 *length, mdl **out)
{
    *length = (u32)packet->current->parameters[0];
    return lock_it(packet, out);
}

NOT_INLINE void make_it(irp *packet, mdl **out);
NOT_INLINE void make_it(irp *packet, mdl **out)
{
    *out = allocate(packet);
}

/* Gives it to its caller, and keeps it too. */
mdl *kept;
NOT_INLINE status lock_and_keep(irp *packet, mdl **out);
NOT_INLINE status lock_and_keep(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    kept = m;
    return STATUS_SUCCESS;
}

/* Keeps where its caller has the pointer. */
mdl **where;
NOT_INLINE status lock_and_remember(irp *packet, mdl **out);
NOT_INLINE status lock_and_remember(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    where = out;
    return STATUS_SUCCESS;
}

status fine_through_a_pointer(device *at, irp *packet)
{
    mdl *m = 0;
    status result = lock_it(packet, &m);
    if (result < 0)
        return result;
    result = ask(at);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_whether_there_is_one(device *at, irp *packet)
{
    mdl *m;
    (void)lock_it(packet, &m);
    begin_work(at);
    if (m) {
        MmUnlockPages(m);
        IoFreeMdl(m);
    }
    return STATUS_SUCCESS;
}

status lost_through_a_pointer(device *at, irp *packet)
{
    mdl *m = 0;
    status result = lock_it(packet, &m);
    if (result < 0)
        return result;
    result = ask(at);
    if (result < 0)
        return result;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status freed_through_a_pointer(device *at, irp *packet)
{
    mdl *m = 0;
    status result = lock_it(packet, &m);
    if (result < 0)
        return result;
    if (ask(at) >= 0)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_if_it_could(device *at, irp *packet)
{
    mdl *m = 0;
    if (!lock_if_it_can(packet, &m))
        return FAILED;
    begin_work(at);
    put_away(m);
    return STATUS_SUCCESS;
}

status fine_if_there_is_one(device *at, irp *packet)
{
    mdl *m = 0;
    (void)lock_if_it_can(packet, &m);
    begin_work(at);
    if (m)
        put_away(m);
    return STATUS_SUCCESS;
}

status lost_though_it_could(device *at, irp *packet)
{
    mdl *m = 0;
    if (!lock_if_it_can(packet, &m))
        return FAILED;
    if (ask(at) < 0)
        return FAILED;
    put_away(m);
    return STATUS_SUCCESS;
}

status fine_two_functions_deep(device *at, irp *packet)
{
    mdl *m = 0;
    u32 length = 0;
    status result = lock_for_somebody(packet, &length, &m);
    if (result < 0)
        return result;
    sink = length;
    result = ask(at);
    put_away(m);
    return result;
}

status lost_two_functions_deep(device *at, irp *packet)
{
    mdl *m = 0;
    u32 length = 0;
    status result = lock_for_somebody(packet, &length, &m);
    if (result < 0)
        return result;
    sink = length;
    if (ask(at) < 0)
        return FAILED;
    put_away(m);
    return STATUS_SUCCESS;
}

status fine_passed_on(device *at, irp *packet, mdl **out)
{
    status result = lock_it(packet, out);
    if (result >= 0)
        begin_work(at);
    return result;
}

status fine_kept_in_the_extension(device *at, irp *packet)
{
    status result = lock_it(packet, (mdl **)at->extension);
    begin_work(at);
    return result;
}

status fine_stored_afterwards(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_it(packet, &m) < 0)
        return FAILED;
    *(mdl **)at->extension = m;
    return STATUS_PENDING;
}

status fine_in_the_packet(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_it(packet, &m) < 0)
        return FAILED;
    packet->mdl = m;
    mark_pending(packet);
    return IofCallDriver(at->attached, packet);
}

status fine_given_to_somebody(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_it(packet, &m) < 0)
        return FAILED;
    helper(m);
    return ask(at);
}

status fine_pointer_given_to_somebody(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_it(packet, &m) < 0)
        return FAILED;
    helper(&m);
    return ask(at);
}

status fine_pointer_known_before(device *at, irp *packet)
{
    mdl *m = 0;
    helper(&m);
    if (lock_it(packet, &m) < 0)
        return FAILED;
    return ask(at);
}

status fine_kept_by_the_other(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_and_keep(packet, &m) < 0)
        return FAILED;
    begin_work(at);
    return STATUS_PENDING;
}

status fine_remembered_by_the_other(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_and_remember(packet, &m) < 0)
        return FAILED;
    begin_work(at);
    return STATUS_SUCCESS;
}

status fine_made_there(device *at, irp *packet)
{
    mdl *m = 0;
    make_it(packet, &m);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    put_away(m);
    return STATUS_SUCCESS;
}

status unlocked_though_only_made(device *at, irp *packet)
{
    mdl *m = 0;
    make_it(packet, &m);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* Two in one frame: each has its own end. */
status fine_two_of_them(device *at, irp *packet)
{
    mdl *first = 0, *second = 0;
    status result = lock_it(packet, &first);
    if (result < 0)
        return result;
    result = lock_it((irp *)at->extension, &second);
    if (result < 0)
        goto out;
    result = ask(at);
    put_away(second);
out:
    put_away(first);
    return result;
}

status lost_the_second_of_two(device *at, irp *packet)
{
    mdl *first = 0, *second = 0;
    status result = lock_it(packet, &first);
    if (result < 0)
        return result;
    result = lock_it((irp *)at->extension, &second);
    if (result >= 0)
        result = ask(at);
    put_away(first);
    return result;
}

status fine_one_after_the_other(device *at, irp *packet)
{
    for (u32 i = 0; i < 4; i++) {
        mdl *m = 0;
        if (lock_it(packet, &m) < 0)
            return FAILED;
        begin_work(at);
        put_away(m);
    }
    return STATUS_SUCCESS;
}

/* ---- in a structure */

typedef struct work {
    u32 steps;
    u8 locked;
    mdl *m;
    void *by;
} work;

NOT_INLINE status prepare_work(work *w, irp *packet);
NOT_INLINE status prepare_work(work *w, irp *packet)
{
    w->locked = 0;
    w->m = allocate(packet);
    if (!w->m)
        return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        MmProbeAndLockPages(w->m, USER_MODE, LOCK_FOR_WRITE);
    } __except (1) {
        IoFreeMdl(w->m);
        w->m = 0;
        return FAILED;
    }
    w->locked = 1;
    return STATUS_SUCCESS;
}

NOT_INLINE void end_work_of(work *w);
NOT_INLINE void end_work_of(work *w)
{
    if (w->locked)
        MmUnlockPages(w->m);
    if (w->m)
        IoFreeMdl(w->m);
    w->m = 0;
}

NOT_INLINE void count_steps(work *w);
NOT_INLINE void count_steps(work *w)
{
    w->steps++;
    sink = w->steps;
}

status fine_in_a_structure(device *at, irp *packet)
{
    work w = {.by = at};
    status result = prepare_work(&w, packet);
    if (result < 0)
        return result;
    result = ask(at);
    MmUnlockPages(w.m);
    IoFreeMdl(w.m);
    return result;
}

status fine_ended_elsewhere(device *at, irp *packet)
{
    work w = {.by = at};
    status result = prepare_work(&w, packet);
    if (result >= 0)
        result = ask(at);
    end_work_of(&w);
    return result;
}

status fine_by_its_flag(device *at, irp *packet)
{
    work w = {.by = at};
    (void)prepare_work(&w, packet);
    begin_work(at);
    if (w.locked) {
        MmUnlockPages(w.m);
        IoFreeMdl(w.m);
    }
    return STATUS_SUCCESS;
}

status fine_work_copied(device *at, irp *packet)
{
    work w = {.by = at};
    if (prepare_work(&w, packet) < 0)
        return FAILED;
    *(work *)at->extension = w;
    return STATUS_PENDING;
}

status fine_work_known(device *at, irp *packet)
{
    work w = {.by = at};
    count_steps(&w);
    if (prepare_work(&w, packet) < 0)
        return FAILED;
    helper(&w);
    return STATUS_SUCCESS;
}

status lost_in_a_structure(device *at, irp *packet)
{
    work w = {.by = at};
    status result = prepare_work(&w, packet);
    if (result < 0)
        return result;
    if (ask(at) < 0)
        return FAILED;
    MmUnlockPages(w.m);
    IoFreeMdl(w.m);
    return STATUS_SUCCESS;
}

/* The pointer to the pointer leads into the structure that is the other argument. */
NOT_INLINE status lock_and_look(work *w, mdl **out, irp *packet);
NOT_INLINE status lock_and_look(work *w, mdl **out, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    if (w->steps == 3) {
        MmUnlockPages(w->m);
        IoFreeMdl(w->m);
        w->m = 0;
    }
    return STATUS_SUCCESS;
}

status fine_same_memory(device *at, irp *packet)
{
    work w = {.by = at, .steps = 3};
    status result = lock_and_look(&w, &w.m, packet);
    if (result < 0)
        return result;
    return ask(at);
}

/* A large structure is copied by a routine. */
typedef struct large {
    u64 more[40];
    mdl *m;
} large;

status fine_large_one_copied(device *at, irp *packet)
{
    large l;
    l.m = allocate(packet);
    if (!l.m)
        return STATUS_INSUFFICIENT_RESOURCES;
    l.more[0] = helper(at);
    l.more[39] = helper(packet);
    MmProbeAndLockPages(l.m, USER_MODE, LOCK_FOR_WRITE);
    *(large *)at->extension = l;
    return STATUS_PENDING;
}

/* ---- flags outside the frame */

typedef struct state {
    u32 flags;
    u8 locked;
} state;

status fine_flag_stored_later(device *at, irp *packet)
{
    state *s = at->extension;
    mdl *m = allocate(packet);
    u8 locked = 0;

    s->locked = 0;
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        locked = (u8)helper(at) | 1;
    }
    s->locked = locked;
    begin_work(at);
    if (s->locked)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_bit_set_later(device *at, irp *packet)
{
    volatile state *s = at->extension;
    mdl *m = allocate(packet);

    s->flags = 0;
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    s->flags |= 2;
    if (s->flags & 2)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_old_value_of_a_flag(device *at, irp *packet)
{
    volatile state *s = at->extension;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    s->flags = 1;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    u32 old = s->flags;
    s->flags = 0;
    if (old)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}
