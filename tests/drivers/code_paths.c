/* One function for each thing that can happen to a lock; the tests know by the function's name what is to be
 * found. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))

IMPORT void *MmMapLockedPagesSpecifyCache(mdl *, char, int, void *, u32, u32);
IMPORT void ObfDereferenceObject(void *);
IMPORT void KeBugCheckEx(u32, u64, u64, u64, u64) __attribute__((noreturn));

extern volatile u64 sink;
volatile u64 sink;
mdl *kept_globally;

NOT_INLINE u64 helper(void *given)
{
    sink += (u64)given;
    return sink;
}

NOT_INLINE status ask(device *at)
{
    return (status)at->flags;
}

NOT_INLINE void get_parts(mdl **one, u32 *two)
{
    *one = kept_globally;
    *two = (u32)sink;
}

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
}

/* ---- a lock is lost */

status lost_on_error(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    status result = ask(at);
    if (result < 0)
        return result; /* forgets both */
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status lost_always(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    (void)at;
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    u8 *mapped = MmMapLockedPagesSpecifyCache(m, 0, 1, 0, 0, 16);
    return mapped ? (status)mapped[0] : STATUS_INSUFFICIENT_RESOURCES;
}

status lost_in_a_loop(device *at, irp *packet)
{
    for (u32 number = 0; number < 4; number++) {
        mdl *m = allocate(packet);
        if (!m)
            break;
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        if (ask(at) < 0)
            return STATUS_INSUFFICIENT_RESOURCES;
        MmUnlockPages(m);
        IoFreeMdl(m);
    }
    return STATUS_SUCCESS;
}

typedef struct on_stack {
    mdl head;
    u64 frames[17];
} on_stack;

status lost_on_the_stack(device *at, irp *packet)
{
    on_stack m;
    m.head.next = 0;
    m.head.size = sizeof m;
    m.head.flags = 0;
    m.head.start = (void *)((u64)packet->user_buffer & ~0xfffull);
    m.head.byte_offset = (u32)(u64)packet->user_buffer & 0xfff;
    m.head.byte_count = 0x1000;
    MmProbeAndLockPages(&m.head, USER_MODE, LOCK_FOR_WRITE);
    if (at->flags & 4)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmUnlockPages(&m.head);
    return STATUS_SUCCESS;
}

status lost_in_a_large_frame(device *at, irp *packet)
{
    u8 buffer[0x3000];
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    helper(buffer);
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    if (ask(at) < 0)
        return buffer[ask(at) & 0xff];
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* ---- freed, unlocked twice, never locked */

status freed_locked(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    if (ask(at) >= 0)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status unlocked_twice(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    if (ask(at) < 0)
        MmUnlockPages(m);
    sink++;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

void argument_unlocked_twice(mdl *m)
{
    MmUnlockPages(m);
    sink++;
    MmUnlockPages(m);
}

status never_locked(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* ---- nothing is wrong, or nothing can be told */

status fine(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    status result = ask(at);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_by_a_flag(device *at, irp *packet)
{
    u8 locked = 0;
    status result = STATUS_SUCCESS;
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) < 0) {
        result = STATUS_INSUFFICIENT_RESOURCES;
        goto done;
    }
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    locked = 1;
    result = (status)helper(at);
done:
    if (locked)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_by_the_same_question(device *at, irp *packet)
{
    u32 wanted = (u32)helper(at);
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (wanted & 8)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    helper(packet);
    if (wanted & 8)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_the_requestor(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (packet->requestor)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    helper(at);
    if (packet->requestor)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_null(device *at, irp *packet)
{
    mdl *m = 0;
    if (ask(at) >= 0) {
        m = allocate(packet);
        if (m)
            MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    }
    helper(at);
    if (m) {
        MmUnlockPages(m);
        IoFreeMdl(m);
    }
    return STATUS_SUCCESS;
}

status fine_in_a_loop(device *at, irp *packet)
{
    for (u32 number = 0; number < (u32)at->flags; number++) {
        mdl *m = allocate(packet);
        if (!m)
            break;
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        helper(at);
        MmUnlockPages(m);
        IoFreeMdl(m);
    }
    return STATUS_SUCCESS;
}

status stored_in_the_extension(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    ((mdl **)at->extension)[3] = m;
    return STATUS_PENDING;
}

status stored_globally(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    (void)at;
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    kept_globally = m;
    return STATUS_PENDING;
}

status handed_to_a_packet(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    irp *mine = IoAllocateIrp((char)at->stack_size, 0);
    if (!m || !mine)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    mine->mdl = m;
    return IofCallDriver(at->attached, mine);
}

status put_into_the_packet(device *at, irp *packet)
{
    mdl *m = IoAllocateMdl(packet->user_buffer, 0x1000, 0, 0, packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    return IofCallDriver(at->attached, packet);
}

status given_to_a_helper(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    (void)at;
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    return (status)helper(m);
}

mdl *given_back(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    (void)at;
    if (m)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    return m;
}

void stored_through_a_pointer(irp *packet, mdl **out)
{
    mdl *m = allocate(packet);
    if (m)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    *out = m;
}

status its_address_given_away(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    helper(&m);
    return ask(at);
}

void argument_locked(mdl *m)
{
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    sink++;
}

void argument_unlocked(mdl *m)
{
    MmUnlockPages(m);
    sink++;
}

status two_of_the_extension(device *at, irp *packet)
{
    mdl **extension = at->extension;
    (void)packet;
    MmUnlockPages(extension[1]);
    helper(extension);
    MmUnlockPages(extension[1]);
    return STATUS_SUCCESS;
}

status from_somewhere_else(device *at, irp *packet)
{
    mdl *m = 0;
    u32 length = 0;
    (void)packet;
    get_parts(&m, &length);
    MmUnlockPages(m);
    get_parts(&m, &length);
    MmUnlockPages(m);
    return ask(at);
}

status chosen_of_two(device *at, irp *packet)
{
    mdl *a = allocate(packet), *b = allocate(packet);
    if (!a || !b)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(a, USER_MODE, LOCK_FOR_WRITE);
    MmProbeAndLockPages(b, USER_MODE, LOCK_FOR_WRITE);
    mdl *first = ask(at) < 0 ? a : b;
    mdl *second = first == a ? b : a;
    MmUnlockPages(first);
    MmUnlockPages(second);
    IoFreeMdl(a);
    IoFreeMdl(b);
    return STATUS_SUCCESS;
}

/* Between the lock and the free somebody had the time to unlock it. */
status freed_after_others_had_it(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    ((mdl **)at->extension)[3] = m;
    helper(at);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

void arguments_that_may_be_one(mdl *a, mdl *b)
{
    MmUnlockPages(a);
    MmProbeAndLockPages(b, USER_MODE, LOCK_FOR_WRITE);
    MmUnlockPages(a);
    MmProbeAndLockPages(a, USER_MODE, LOCK_FOR_WRITE);
    MmUnlockPages(b);
    IoFreeMdl(a);
}

/* Each time round it is another one. */
status unlocked_one_by_one(device *at, irp *packet)
{
    mdl **all = at->extension;
    (void)packet;
    while (*all)
        MmUnlockPages(*all++);
    return STATUS_SUCCESS;
}

status never_null_once_locked(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (m)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    helper(at);
    if (m)
        MmUnlockPages(m);
    if (m)
        IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status by_a_number(device *at, irp *packet)
{
    u32 step = 0;
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        step = 2;
        if (helper(at))
            step = 3;
    }
    helper(packet);
    if (step >= 2)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* Each is unlocked once, when the next one is there. */
status unlocked_one_behind(device *at, irp *packet)
{
    mdl **all = at->extension, *before = 0;
    (void)packet;
    for (; *all; all++) {
        if (before)
            MmUnlockPages(before);
        before = *all;
    }
    if (before)
        MmUnlockPages(before);
    return STATUS_SUCCESS;
}

void part_and_pointer(u8 *structure, mdl *m)
{
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    MmUnlockPages((mdl *)(structure + 0x40));
    IoFreeMdl(m);
}

status locked_by_another_thread(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    ((mdl *volatile *)at->extension)[3] = m;
    MmUnlockPages(m);
    return STATUS_SUCCESS;
}

typedef struct counted {
    u64 count;
    on_stack m;
} counted;

/* Somebody has the address of what the MDL is a part of. */
status on_the_stack_and_known(device *at, irp *packet)
{
    counted c;
    (void)at;
    c.m.head.start = packet->user_buffer;
    MmProbeAndLockPages(&c.m.head, USER_MODE, LOCK_FOR_WRITE);
    return (status)helper(&c);
}

status on_the_stack_and_known_before(device *at, irp *packet)
{
    on_stack m;
    (void)at;
    m.head.start = packet->user_buffer;
    helper(&m);
    MmProbeAndLockPages(&m.head, USER_MODE, LOCK_FOR_WRITE);
    return STATUS_SUCCESS;
}

/* What is part of a structure has its own address. */
status two_in_one_structure(device *at, irp *packet)
{
    u8 *extension = at->extension;
    (void)packet;
    MmUnlockPages((mdl *)(extension + 0x40));
    MmUnlockPages((mdl *)(extension + 0x80));
    MmUnlockPages((mdl *)extension);
    return STATUS_SUCCESS;
}

status ends_the_system(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    if (ask(at) < 0)
        KeBugCheckEx(0xe2, 0, 0, 0, 0);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* The tail call makes it a function without a frame. */
void released_at_the_end(device *at)
{
    MmUnlockPages(((mdl **)at->extension)[2]);
}

int __C_specific_handler(void *record, void *frame, void *context, void *dispatcher);
int __C_specific_handler(void *record, void *frame, void *context, void *dispatcher)
{
    (void)record, (void)frame, (void)context, (void)dispatcher;
    return 1;
}

status fine_when_locking_fails(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    } __except (1) {
        IoFreeMdl(m);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status result = ask(at);
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status lost_behind_a_guard(device *at, irp *packet)
{
    mdl *m = allocate(packet);
    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    } __except (1) {
        IoFreeMdl(m);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (ask(at) < 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* A routine that is looked up at run time. */
void (*resolved)(mdl *); /* the test puts the routine's address here, as a driver does that looks it up */
void *guard = 0;         /* and here that of `dispatch` */

void unlock_resolved(mdl *m)
{
    resolved(m);
    sink++;
}

/* ---- what the compiler's driver template needs */

status DriverEntry(driver *self, text *path)
{
    (void)path;
    self->unload = 0;
    return STATUS_SUCCESS;
}
