/* Right functions, and one wrong one, whose frame is used by others: through pointers into it, through
 * arrays, through structures of which only a part is given away. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))
#define FAILED     ((status)0xC0000001)

extern volatile u64 sink;
u64 helper(void *given);
void *memset(void *at, int value, u64 size);
status ask(device *at);
void begin_work(device *at);
void put_away(mdl *m);
status lock_it(irp *packet, mdl **out);

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
}

status fine_one_of_two(device *at, irp *packet)
{
    mdl *ms[6];
    u64 i = helper(at) & 1;
    ms[4] = allocate(packet);
    ms[5] = 0;
    if (!ms[4])
        return FAILED;
    MmProbeAndLockPages(ms[4], USER_MODE, LOCK_FOR_WRITE);
    helper(&ms[4 + i]);
    return 0;
}

status fine_last_first(device *at, irp *packet)
{
    mdl *ms[6];
    mdl **p = &ms[5];
    u64 i = helper(at) & 3;
    ms[4] = allocate(packet);
    if (!ms[4])
        return FAILED;
    MmProbeAndLockPages(ms[4], USER_MODE, LOCK_FOR_WRITE);
    helper(p - i);
    return 0;
}

NOT_INLINE void relock(irp *packet, mdl **slot);
NOT_INLINE void relock(irp *packet, mdl **slot)
{
    if (*slot) {
        MmUnlockPages(*slot);
        IoFreeMdl(*slot);
        *slot = 0;
    }
    mdl *m = allocate(packet);
    if (m) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        *slot = m;
    }
}

status fine_relocked(device *at, irp *packet)
{
    mdl *m = 0;
    relock(packet, &m);
    begin_work(at);
    relock(packet, &m);
    begin_work(at);
    if (m)
        put_away(m);
    return 0;
}

status fine_relocked_in_a_loop(device *at, irp *packet)
{
    mdl *m = 0;
    while (ask(at) >= 0)
        relock(packet, &m);
    if (m)
        put_away(m);
    return 0;
}

status fine_array(device *at, irp *packet)
{
    mdl *ms[2] = {0, 0};
    status r = lock_it(packet, &ms[0]);
    if (r < 0)
        return r;
    r = lock_it(packet, &ms[1]);
    if (r >= 0) {
        begin_work(at);
        put_away(ms[1]);
    }
    put_away(ms[0]);
    return r;
}

status fine_array_loop(device *at, irp *packet)
{
    mdl *ms[4] = {0, 0, 0, 0};
    status r = 0;
    u32 n = 0;
    for (; n < 4; n++) {
        r = lock_it(packet, &ms[n]);
        if (r < 0)
            break;
    }
    begin_work(at);
    while (n > 0)
        put_away(ms[--n]);
    return r;
}

NOT_INLINE void lock_and_tell(irp *packet, mdl **out, u8 *ok);
NOT_INLINE void lock_and_tell(irp *packet, mdl **out, u8 *ok)
{
    mdl *m = allocate(packet);
    *ok = 0;
    if (!m)
        return;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    *ok = 1;
}

status fine_told_by_a_flag(device *at, irp *packet)
{
    mdl *m;
    u8 ok;
    lock_and_tell(packet, &m, &ok);
    if (!ok)
        return FAILED;
    begin_work(at);
    put_away(m);
    return 0;
}

NOT_INLINE void lock_and_ask(irp *packet, mdl **out, u8 *ok);
NOT_INLINE void lock_and_ask(irp *packet, mdl **out, u8 *ok)
{
    mdl *m = allocate(packet);
    if (m) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        *out = m;
    }
    *ok = m != 0;
}

status fine_told_by_a_question(device *at, irp *packet)
{
    mdl *m;
    u8 ok;
    lock_and_ask(packet, &m, &ok);
    if (!ok)
        return FAILED;
    begin_work(at);
    put_away(m);
    return 0;
}

NOT_INLINE status lock_if_asked(irp *packet, mdl **out);
NOT_INLINE status lock_if_asked(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    status r = ask((device *)packet);
    *out = m;
    if (!m)
        return FAILED;
    if (r < 0 || helper(packet)) {
        IoFreeMdl(m);
        *out = 0;
        return r < 0 ? r : FAILED;
    }
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    return r;
}

status fine_with_a_result(device *at, irp *packet)
{
    mdl *m = 0;
    status r = lock_if_asked(packet, &m);
    if (r < 0)
        return r;
    begin_work(at);
    put_away(m);
    return r;
}

status fine_with_a_certain_result(device *at, irp *packet)
{
    mdl *m = 0;
    status r = lock_if_asked(packet, &m);
    if (r == FAILED || r == STATUS_INSUFFICIENT_RESOURCES || r < 0)
        return r;
    begin_work(at);
    put_away(m);
    return r;
}

NOT_INLINE mdl *lock_and_give_twice(irp *packet, mdl **out);
NOT_INLINE mdl *lock_and_give_twice(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    if (!m)
        return 0;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    return m;
}

status fine_given_twice(device *at, irp *packet)
{
    mdl *m = 0;
    if (!lock_and_give_twice(packet, &m))
        return FAILED;
    begin_work(at);
    put_away(m);
    return 0;
}

status fine_given_twice_other(device *at, irp *packet)
{
    mdl *m = 0;
    mdl *n = lock_and_give_twice(packet, &m);
    if (!n)
        return FAILED;
    begin_work(at);
    put_away(n);
    return 0;
}

status fine_moved(device *at, irp *packet)
{
    mdl *m = 0, *volatile n;
    if (lock_it(packet, &m) < 0)
        return FAILED;
    n = m;
    m = 0;
    begin_work(at);
    put_away(n);
    return 0;
}

NOT_INLINE void end_it(mdl **slot);
NOT_INLINE void end_it(mdl **slot)
{
    mdl *m = *slot;
    *slot = 0;
    if (m)
        put_away(m);
}

status fine_ended_by_its_place(device *at, irp *packet)
{
    mdl *m = 0;
    if (lock_it(packet, &m) < 0)
        return FAILED;
    begin_work(at);
    end_it(&m);
    return 0;
}

status fine_ended_by_its_place_at_last(device *at, irp *packet)
{
    mdl *m = 0;
    status r = lock_it(packet, &m);
    if (r >= 0)
        begin_work(at);
    end_it(&m);
    return r;
}

/* The pointer lies in front of the part that is given away. */
typedef struct around {
    mdl *m;
    u64 pad;
    u32 inner;
} around;
NOT_INLINE void end_by_inner(u32 *inner);
NOT_INLINE void end_by_inner(u32 *inner)
{
    around *a = (around *)((u8 *)inner - 16);
    MmUnlockPages(a->m);
    IoFreeMdl(a->m);
}

status fine_by_the_inside(device *at, irp *packet)
{
    around a;
    a.inner = 0;
    a.m = allocate(packet);
    if (!a.m)
        return FAILED;
    MmProbeAndLockPages(a.m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    end_by_inner(&a.inner);
    return 0;
}

/* A list on the stack. */
typedef struct entry {
    struct entry *next;
    mdl *m;
} entry;
NOT_INLINE status push_it(irp *packet, entry *list, entry *e);
NOT_INLINE status push_it(irp *packet, entry *list, entry *e)
{
    e->m = allocate(packet);
    if (!e->m)
        return FAILED;
    MmProbeAndLockPages(e->m, USER_MODE, LOCK_FOR_WRITE);
    e->next = list->next;
    list->next = e;
    return 0;
}

NOT_INLINE void end_all(entry *list);
NOT_INLINE void end_all(entry *list)
{
    for (entry *e = list->next; e; e = e->next) {
        MmUnlockPages(e->m);
        IoFreeMdl(e->m);
    }
}

status fine_on_a_list(device *at, irp *packet)
{
    entry list = {0, 0}, e = {0, 0};
    status r = push_it(packet, &list, &e);
    begin_work(at);
    end_all(&list);
    return r;
}

NOT_INLINE status lock_into(irp *packet, void **place, u32 which);
NOT_INLINE status lock_into(irp *packet, void **place, u32 which)
{
    mdl *m = allocate(packet);
    if (!m)
        return FAILED;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    place[which] = m;
    return 0;
}

status fine_by_index(device *at, irp *packet)
{
    void *p[3] = {0, 0, 0};
    if (lock_into(packet, p, 1) < 0)
        return FAILED;
    begin_work(at);
    put_away(p[1]);
    return 0;
}

NOT_INLINE status lock_or_count(irp *packet, mdl **out, u32 *count);
NOT_INLINE status lock_or_count(irp *packet, mdl **out, u32 *count)
{
    (*count)++;
    if (*count > 3)
        return STATUS_PENDING;
    mdl *m = allocate(packet);
    if (!m)
        return FAILED;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
    return STATUS_SUCCESS;
}

status fine_by_success_and_count(device *at, irp *packet)
{
    mdl *m = 0;
    u32 count = 0;
    status r = lock_or_count(packet, &m, &count);
    if (r == STATUS_SUCCESS) {
        begin_work(at);
        put_away(m);
    }
    return r;
}

status fine_by_count(device *at, irp *packet)
{
    mdl *m = 0;
    u32 count = 0;
    status r = lock_or_count(packet, &m, &count);
    if (r < 0)
        return r;
    begin_work(at);
    if (count <= 3)
        put_away(m);
    return r;
}

NOT_INLINE status fine_wrapped_inner(device *at, irp *packet, mdl **out);
NOT_INLINE status fine_wrapped_inner(device *at, irp *packet, mdl **out)
{
    mdl *m = 0;
    status r = lock_it(packet, &m);
    if (r < 0)
        return r;
    r = ask(at);
    if (r != 0) {
        put_away(m);
        return r;
    }
    *out = m;
    return 0;
}

status fine_wrapped(device *at, irp *packet)
{
    mdl *m = 0;
    status r = fine_wrapped_inner(at, packet, &m);
    if (r != 0)
        return r;
    put_away(m);
    return 0;
}

status fine_cleared_beside(device *at, irp *packet)
{
    u64 before[4];
    mdl *volatile m;
    m = allocate(packet);
    if (!m)
        return FAILED;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    u64 n = helper(at) & 0x18;
    memset(before, 1, n);
    sink = before[0];
    put_away(m);
    return 0;
}

typedef struct flagged {
    u64 event[3];
    u32 locked;
    u32 more;
} flagged;
status fine_flag_beside_an_event(device *at, irp *packet)
{
    flagged f;
    mdl *m = allocate(packet);
    f.locked = 0;
    if (!m)
        return FAILED;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        f.locked = 1;
    }
    helper(&f);
    if (f.locked)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return 0;
}

status fine_flag_in_front_of_an_event(device *at, irp *packet)
{
    struct {
        u32 locked;
        u32 more;
        u64 event[3];
    } f;
    mdl *m = allocate(packet);
    f.locked = 0;
    if (!m)
        return FAILED;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        f.locked = 1;
    }
    helper(&f.event);
    if (f.locked)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return 0;
}

status fine_bit_of_a_flag(device *at, irp *packet)
{
    struct {
        u32 flags;
        u32 more;
        u64 event[3];
    } f;
    mdl *m = allocate(packet);
    f.flags = 0x100;
    helper(&f);
    f.flags = 0x100;
    if (!m)
        return FAILED;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        f.flags = 0x101;
    }
    if (((volatile u8 *)&f.flags)[0] & 1)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return (status)f.flags;
}

status lost_with_an_event(device *at, irp *packet)
{
    u64 event[3];
    mdl *m = allocate(packet);
    if (!m)
        return FAILED;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    event[0] = 0;
    helper(event);
    if (ask(at) < 0)
        return FAILED;
    put_away(m);
    return 0;
}

status fine_zeroed(device *at, irp *packet)
{
    struct {
        u64 a[6];
        volatile u32 locked;
        u32 more;
    } f = {{0}, 0, 0};
    mdl *m = allocate(packet);
    if (!m)
        return FAILED;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        f.locked = 1;
    }
    begin_work(at);
    if (f.locked)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return (status)f.a[2];
}

status fine_bit_in_the_frame(device *at, irp *packet)
{
    volatile u32 flags = 0;
    mdl *m = allocate(packet);
    if (!m)
        return FAILED;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        __asm__ volatile("orl $2, %0" : "+m"(flags));
    }
    begin_work(at);
    if (flags & 2)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return 0;
}
