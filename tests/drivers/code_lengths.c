/* Functions that write into an MDL: fine_, or with its length changed between the lock and the unlock. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))

u64 helper(void *given);
status ask(device *at);
void begin_work(device *at);

static inline __attribute__((always_inline)) u32 length_of(irp *packet)
{
    return (u32)packet->current->parameters[0];
}

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, length_of(packet), 0, 0, 0);
}

static inline __attribute__((always_inline)) status put_both_away(mdl *m)
{
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status shortened(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    m->byte_count = 0x200;
    begin_work(at);
    return put_both_away((mdl *)m);
}

status shortened_to_what_was_done(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    u32 done = (u32)helper(at);
    if (done < 0x4000)
        m->byte_count = done;
    return put_both_away((mdl *)m);
}

status shortened_by_a_part(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    u32 less = (u32)helper(at);
    __asm__ volatile("subl %1, %0" : "+m"(m->byte_count) : "r"(less));
    return put_both_away((mdl *)m);
}

status fine_length_as_it_was(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    m->byte_count = length_of(packet);
    begin_work(at);
    return put_both_away((mdl *)m);
}

status fine_constant_length_as_it_was(device *at, irp *packet)
{
    volatile mdl *m = IoAllocateMdl(packet->user_buffer, 0x3000, 0, 0, 0);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    m->byte_count = 0x3000;
    begin_work(at);
    return put_both_away((mdl *)m);
}

status fine_length_before_the_lock(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    m->byte_count = 0x200;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    return put_both_away((mdl *)m);
}

status fine_length_given_back(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    u32 before = m->byte_count;
    m->byte_count = 0x200;
    begin_work(at);
    m->byte_count = before;
    return put_both_away((mdl *)m);
}

status fine_made_length_given_back(device *at, irp *packet)
{
    u32 length = length_of(packet);
    volatile mdl *m = IoAllocateMdl(packet->user_buffer, length, 0, 0, 0);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    m->byte_count = 0x200;
    begin_work(at);
    m->byte_count = length;
    return put_both_away((mdl *)m);
}

status fine_length_behind_the_unlock(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    MmUnlockPages((mdl *)m);
    m->byte_count = 0x200;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    return put_both_away((mdl *)m);
}

status fine_other_fields(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    m->next = 0;
    m->flags |= 0x2000; /* MDL_MAPPING_CAN_FAIL */
    begin_work(at);
    return put_both_away((mdl *)m);
}

status fine_length_known_to_others(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    m->byte_count = 0x200;
    helper((void *)m);
    begin_work(at);
    return put_both_away((mdl *)m);
}

NOT_INLINE void give_length_back(mdl *m, u32 length);
NOT_INLINE void give_length_back(mdl *m, u32 length)
{
    m->byte_count = length;
}

status fine_length_given_back_elsewhere(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    u32 before = m->byte_count;
    m->byte_count = 0x200;
    begin_work(at);
    give_length_back((mdl *)m, before);
    return put_both_away((mdl *)m);
}

NOT_INLINE void give_length_back_and_end(mdl *m, u32 length);
NOT_INLINE void give_length_back_and_end(mdl *m, u32 length)
{
    m->byte_count = length;
    MmUnlockPages(m);
    IoFreeMdl(m);
}

status fine_length_given_back_at_the_end(device *at, irp *packet)
{
    volatile mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages((mdl *)m, USER_MODE, LOCK_FOR_WRITE);
    u32 before = m->byte_count;
    m->byte_count = 0x200;
    begin_work(at);
    give_length_back_and_end((mdl *)m, before);
    return STATUS_SUCCESS;
}
