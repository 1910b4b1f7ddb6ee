/* Right functions whose later branches depend on what earlier ones did: bits, counted steps, tries, pairs. */
#include "kernel.h"

#define FAILED ((status)0xC0000001)

u64 helper(void *given);
status ask(device *at);
void begin_work(device *at), end_work(device *at);

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
}

status fine_by_bits(device *at, irp *packet)
{
    status result = FAILED;
    u32 done_so_far = 0;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (helper(at)) {
        begin_work(at);
        done_so_far |= 1;
    }
    if (helper(packet)) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        done_so_far |= 2;
        result = ask(at);
    }
    if (helper(&packet->flags))
        done_so_far |= 4;
    helper(&at->flags);
    if (done_so_far & 4)
        helper(&at->size);
    if (done_so_far & 2)
        MmUnlockPages(m);
    if (done_so_far & 1)
        end_work(at);
    IoFreeMdl(m);
    return result;
}

status fine_by_steps(device *at, irp *packet)
{
    status result = FAILED;
    u32 steps = 0;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    steps++;
    if (ask(at) < 0)
        goto undo;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    steps++;
    if (ask(at) < 0)
        goto undo;
    begin_work(at);
    steps++;
    result = STATUS_SUCCESS;
undo:
    helper(&at->flags);
    if (steps > 2)
        end_work(at);
    if (steps > 1)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_at_the_third_time(device *at, irp *packet)
{
    mdl *m = 0;
    status result = FAILED;

    for (u32 tries = 0; tries < 3 && result < 0; tries++) {
        m = allocate(packet);
        if (!m)
            return STATUS_INSUFFICIENT_RESOURCES;
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        result = ask(at);
        if (result < 0) {
            MmUnlockPages(m);
            IoFreeMdl(m);
            m = 0;
        }
    }
    if (m) {
        MmUnlockPages(m);
        IoFreeMdl(m);
    }
    return result;
}

status fine_with_a_pair(device *at, irp *packet)
{
    mdl *both[2];
    status result = STATUS_INSUFFICIENT_RESOURCES;

    both[1] = 0;
    both[0] = allocate(packet);
    if (both[0]) {
        MmProbeAndLockPages(both[0], USER_MODE, 0);
        both[1] = allocate(packet);
        if (both[1]) {
            MmProbeAndLockPages(both[1], USER_MODE, LOCK_FOR_WRITE);
            result = ask(at);
        }
    }
    for (u32 i = 0; i < 2; i++) {
        if (both[i]) {
            MmUnlockPages(both[i]);
            IoFreeMdl(both[i]);
        }
    }
    return result;
}

status fine_by_success_alone(device *at, irp *packet)
{
    status result = ask(at);
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (result == STATUS_SUCCESS || result == STATUS_PENDING) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        helper(at);
    } else {
        helper(packet);
        if (result == FAILED)
            begin_work(at);
    }
    switch (result) {
    case STATUS_SUCCESS:
        helper(&at->flags);
        MmUnlockPages(m);
        break;
    case STATUS_PENDING:
        MmUnlockPages(m);
        break;
    }
    IoFreeMdl(m);
    return result;
}
