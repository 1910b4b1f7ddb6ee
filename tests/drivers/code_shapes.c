/* The shapes that drivers of the field are written in, each right, and with one mistake: fine_ and lost_,
 * freed_ or twice_. */
#include "kernel.h"

#define NOT_INLINE __attribute__((noinline))
#define FAILED     ((status)0xC0000001)

IMPORT void *MmMapLockedPagesSpecifyCache(mdl *, char, int, void *, u32, u32);

extern volatile u64 sink;
u64 helper(void *given);
status ask(device *at);
void get_parts(mdl **one, u32 *two);
void begin_work(device *at), end_work(device *at);

NOT_INLINE void begin_work(device *at)
{
    at->flags |= 0x40;
}

NOT_INLINE void end_work(device *at)
{
    at->flags &= ~0x40u;
}

static inline __attribute__((always_inline)) mdl *allocate(irp *packet)
{
    return IoAllocateMdl(packet->user_buffer, (u32)packet->current->parameters[0], 0, 0, 0);
}

static inline __attribute__((always_inline)) u32 code_of(const irp *packet)
{
    return (u32)packet->current->parameters[2];
}

static inline __attribute__((always_inline)) void *system_address(mdl *m)
{
    return m->flags & 5 ? m->mapped : MmMapLockedPagesSpecifyCache(m, 0, 1, 0, 0, 16);
}

/* ---- tables of jumps: a dispatch by the code of the request */

#define OTHER_CASES                                                                                          \
    case 0x222000:                                                                                           \
        result = ask(at) + 1;                                                                                \
        break;                                                                                               \
    case 0x222001:                                                                                           \
        result = ask(at) ^ 5;                                                                                \
        break;                                                                                               \
    case 0x222002:                                                                                           \
        result = ask(at) - 9;                                                                                \
        break;                                                                                               \
    case 0x222003:                                                                                           \
        result = (status)helper(at);                                                                         \
        break;                                                                                               \
    case 0x222006:                                                                                           \
        result = (status)helper(packet);                                                                     \
        break;                                                                                               \
    case 0x222007:                                                                                           \
        begin_work(at);                                                                                      \
        break;                                                                                               \
    case 0x222008:                                                                                           \
        end_work(at);                                                                                        \
        break;

status fine_by_code(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    mdl *m = 0;

    switch (code_of(packet)) {
        OTHER_CASES
    case 0x222004:
        m = allocate(packet);
        if (!m)
            return STATUS_INSUFFICIENT_RESOURCES;
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        result = ask(at);
        MmUnlockPages(m);
        IoFreeMdl(m);
        break;
    default:
        result = FAILED;
    }
    return result;
}

status lost_by_code(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    mdl *m = 0;

    switch (code_of(packet)) {
        OTHER_CASES
    case 0x222004:
        m = allocate(packet);
        if (!m)
            return STATUS_INSUFFICIENT_RESOURCES;
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        result = ask(at);
        if (result < 0)
            break;
        MmUnlockPages(m);
        IoFreeMdl(m);
        break;
    default:
        result = FAILED;
    }
    return result;
}

status fine_locked_before_the_table(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    switch (code_of(packet)) {
        OTHER_CASES
    case 0x222004:
        result = (status)helper(0);
        break;
    default:
        result = FAILED;
    }
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status lost_in_one_case(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    switch (code_of(packet)) {
        OTHER_CASES
    case 0x222004:
        return FAILED;
    default:
        result = 0;
    }
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

/* What is locked for some codes is unlocked for the same. */
status fine_by_two_tables(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    u32 code = code_of(packet);
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    switch (code) {
        OTHER_CASES
    case 0x222004:
    case 0x222009:
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        break;
    default:
        result = 0;
    }
    begin_work(at);
    switch (code) {
        OTHER_CASES
    case 0x222004:
    case 0x222009:
        MmUnlockPages(m);
        break;
    default:
        result = 0;
    }
    IoFreeMdl(m);
    return result;
}

status fine_by_a_table_and_a_number(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    u32 code = code_of(packet);
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    switch (code) {
        OTHER_CASES
    case 0x222004:
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        break;
    default:
        result = 0;
    }
    begin_work(at);
    if (code == 0x222004)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

/* ---- questions that depend on each other */

status fine_by_a_range(device *at, irp *packet)
{
    u32 length = (u32)packet->current->parameters[1];
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (length > 0x1000)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if (length == 0x800)
        helper(at);
    if (length >= 0x1001)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_a_narrower_range(device *at, irp *packet)
{
    u32 length = (u32)helper(at);
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (length >= 0x1000)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if (length == 0x2000)
        begin_work(at);
    if (length < 0x1000)
        helper(at);
    else
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_signs(device *at, irp *packet)
{
    status result = ask(at);
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (result >= 0)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if (result == STATUS_PENDING || result == STATUS_SUCCESS)
        end_work(at);
    if (result == FAILED)
        helper(at);
    if (result > -1)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_by_an_answer(device *at, irp *packet)
{
    u8 large = (u32)packet->current->parameters[1] > 0x1000;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if ((u32)packet->current->parameters[1] > 0x1000)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if (large)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_a_chosen_number(device *at, irp *packet)
{
    u32 wanted = (u32)helper(at);
    u32 steps = wanted == 7 ? 3 : 0;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (wanted == 7)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    sink += steps;
    begin_work(at);
    if (steps)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* More questions lie between than anybody keeps in mind. */
status fine_after_many_questions(device *at, irp *packet)
{
    status result = FAILED;
    u32 user = (u32)helper(at);
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (user & 1)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    if (!helper(&at->flags))
        goto done;
    if (!helper(&at->vpb))
        goto done;
    if (!helper(&at->kind))
        goto done;
    if (!helper(&at->next))
        goto done;
    if (!helper(&at->driver))
        goto done;
    if (!helper(&at->timer))
        goto done;
    if (!helper(&at->size))
        goto done;
    if (!helper(&at->type))
        goto done;
    if (!helper(&at->attached))
        goto done;
    if (!helper(&at->current))
        goto done;
    if (!helper(&at->extension))
        goto done;
    if (!helper(&at->stack_size))
        goto done;
    if (!helper(&at->characteristics))
        goto done;
    if (!helper(&at->reference_count))
        goto done;
    if (!helper(&packet->type))
        goto done;
    if (!helper(&packet->size))
        goto done;
    if (!helper(&packet->flags))
        goto done;
    if (!helper(&packet->thread))
        goto done;
    if (!helper(&packet->cancel))
        goto done;
    if (!helper(&packet->list))
        goto done;
    if (!helper(&packet->stack_count))
        goto done;
    if (!helper(&packet->information))
        goto done;
    if (!helper(&packet->user_event))
        goto done;
    if (!helper(&packet->user_iosb))
        goto done;
    if (!helper(&packet->io_status))
        goto done;
    if (!helper(&packet->apc))
        goto done;
    result = STATUS_SUCCESS;
done:
    if (user & 1)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_by_what_was_filled_in(device *at, irp *packet)
{
    mdl *other = 0;
    u32 length = 0;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    get_parts(&other, &length);
    if (length)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    helper(other);
    if (length)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

/* ---- the MDL itself says whether it is locked */

status fine_by_the_flags(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if (m->flags & 2)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_several_flags(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if ((m->flags & 0x12) == 2)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_by_flags_read_early(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0)
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    u16 flags = m->flags;
    begin_work(at);
    sink += flags & 0x80;
    if ((flags >> 1) & 1)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status lost_by_the_flags(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if (m->flags & 2)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status lost_by_several_flags(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    begin_work(at);
    if ((m->flags & 0x12) != 0x10)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status lost_though_mapped(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    u8 *mapped = system_address(m);
    if (!mapped || ask(at) < 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmUnlockPages(m);
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_and_mapped(device *at, irp *packet)
{
    status result = STATUS_INSUFFICIENT_RESOURCES;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    u8 *mapped = system_address(m);
    if (mapped)
        result = ask(at) + mapped[0];
    MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

/* ---- one exit that puts everything away */

status fine_by_one_exit(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    u8 locked = 0, begun = 0;
    mdl *m = 0;

    begin_work(at);
    begun = 1;
    m = allocate(packet);
    if (!m) {
        result = STATUS_INSUFFICIENT_RESOURCES;
        goto done;
    }
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        locked = 1;
    } __except (1) {
        result = FAILED;
        goto done;
    }
    result = ask(at);
    if (result < 0)
        goto done;
    result = (status)helper(packet);
done:
    if (m) {
        if (locked)
            MmUnlockPages(m);
        IoFreeMdl(m);
    }
    if (begun)
        end_work(at);
    return result;
}

status freed_by_one_exit(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    u8 locked = 0;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    result = ask(at);
    if (result < 0)
        goto done; /* too early */
    locked = 1;
    result = (status)helper(packet);
done:
    if (locked)
        MmUnlockPages(m);
    IoFreeMdl(m);
    return result;
}

status fine_with_a_guard_around(device *at, irp *packet)
{
    status result = STATUS_SUCCESS;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        result = ask(at);
        MmUnlockPages(m);
    } __except (1) {
        result = FAILED;
    }
    IoFreeMdl(m);
    return result;
}

status fine_in_the_end(device *at, irp *packet)
{
    status result = FAILED;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    __try {
        result = ask(at);
    } __finally {
        MmUnlockPages(m);
        IoFreeMdl(m);
    }
    return result;
}

/* ---- several at once */

status fine_one_lock_for_each_round(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    for (u32 number = 0; number < at->flags; number++) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        helper(at);
        MmUnlockPages(m);
    }
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status freed_after_a_break(device *at, irp *packet)
{
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    for (u32 number = 0; number < at->flags; number++) {
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        if (ask(at) < 0)
            break;
        MmUnlockPages(m);
    }
    IoFreeMdl(m);
    return STATUS_SUCCESS;
}

status fine_all_of_an_array(device *at, irp *packet)
{
    mdl *all[8];
    u32 count = 0;
    status result = STATUS_SUCCESS;

    for (; count < 8; count++) {
        mdl *m = allocate(packet);
        if (!m) {
            result = STATUS_INSUFFICIENT_RESOURCES;
            break;
        }
        MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
        all[count] = m;
    }
    if (result >= 0)
        result = ask(at);
    while (count > 0) {
        count--;
        MmUnlockPages(all[count]);
        IoFreeMdl(all[count]);
    }
    return result;
}

status fine_two_in_a_row(device *at, irp *packet)
{
    status result = STATUS_INSUFFICIENT_RESOURCES;
    mdl *in = allocate(packet), *out = 0;

    if (!in)
        return result;
    MmProbeAndLockPages(in, USER_MODE, 0);
    out = allocate(packet);
    if (out) {
        MmProbeAndLockPages(out, USER_MODE, LOCK_FOR_WRITE);
        result = ask(at);
        MmUnlockPages(out);
        IoFreeMdl(out);
    }
    MmUnlockPages(in);
    IoFreeMdl(in);
    return result;
}

status lost_the_first_of_two(device *at, irp *packet)
{
    status result = STATUS_INSUFFICIENT_RESOURCES;
    mdl *in = allocate(packet), *out = 0;

    if (!in)
        return result;
    MmProbeAndLockPages(in, USER_MODE, 0);
    out = allocate(packet);
    if (!out)
        return result;
    MmProbeAndLockPages(out, USER_MODE, LOCK_FOR_WRITE);
    result = ask(at);
    MmUnlockPages(out);
    IoFreeMdl(out);
    MmUnlockPages(in);
    IoFreeMdl(in);
    return result;
}

/* ---- kept, and put away by another function */

typedef struct context {
    u32 locked;
    mdl *m;
} context;

status fine_kept_in_a_context(device *at, irp *packet)
{
    context *c = at->extension;
    mdl *m = allocate(packet);

    if (!m)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(m, USER_MODE, LOCK_FOR_WRITE);
    c->m = m;
    c->locked = 1;
    return STATUS_SUCCESS;
}

status fine_taken_from_a_context(device *at, irp *packet)
{
    context *c = at->extension;
    (void)packet;
    if (c->m) {
        if (c->locked)
            MmUnlockPages(c->m);
        c->locked = 0;
        IoFreeMdl(c->m);
        c->m = 0;
    }
    return STATUS_SUCCESS;
}

status fine_in_a_context_of_the_frame(device *at, irp *packet)
{
    context c;

    c.locked = 0;
    c.m = allocate(packet);
    if (!c.m)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (ask(at) >= 0) {
        MmProbeAndLockPages(c.m, USER_MODE, LOCK_FOR_WRITE);
        c.locked = 1;
    }
    helper(&c);
    begin_work(at);
    if (c.locked)
        MmUnlockPages(c.m);
    IoFreeMdl(c.m);
    return STATUS_SUCCESS;
}
