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

/* ---- forms of calls: the same leak in each would be too much; what counts is that the site is found */

void (*resolved)(mdl *); /* the test puts the routine's address here, as a driver does that looks it up */
void *guard = 0;         /* and here that of `dispatch` */

void unlock_resolved(mdl *m)
{
    resolved(m);
    sink++;
}

__asm__(".text\n"
        ".globl dispatch_rax\n"
        "dispatch_rax: jmpq *%rax\n"
        ".balign 16, 0xcc\n"
        ".globl dispatch_r10\n"
        "dispatch_r10: jmpq *%r10\n"
        ".balign 16, 0xcc\n"
        ".globl thunk\n"
        "thunk: jmpq *__imp_MmUnlockPages(%rip)\n"
        ".balign 16, 0xcc\n"
        ".globl __chkstk\n"
        "__chkstk: ret\n"
        ".balign 16, 0xcc\n");

#define FORM(name, body)                                                                                     \
    __asm__(".globl " #name "\n.balign 16, 0xcc\n.seh_proc " #name "\n" #name ":\n"                          \
            "subq $0x28, %rsp\n.seh_stackalloc 0x28\n.seh_endprologue\n" body                                \
            "addq $0x28, %rsp\nret\n.seh_endproc\n")

FORM(unlock_plain, "callq *__imp_MmUnlockPages(%rip)\n");
FORM(unlock_optimised, ".byte 0x48\ncallq *__imp_MmUnlockPages(%rip)\n.byte 0x0f, 0x1f, 0x44, 0, 0\n");
FORM(unlock_linked,
     ".byte 0x48\ncallq *__imp_MmUnlockPages(%rip)\n.byte 0x0f, 0x1f, 0x44, 0, 0\n"); /* the test links it */
FORM(unlock_retpoline, "movq __imp_MmUnlockPages(%rip), %r10\ncallq dispatch_r10\n");
FORM(unlock_guarded, "movq __imp_MmUnlockPages(%rip), %rax\ncallq *guard(%rip)\n");
FORM(unlock_by_thunk, "callq thunk\n");
FORM(unlock_register, "movq __imp_MmUnlockPages(%rip), %rax\nnop\ncallq *%rax\n");
FORM(not_an_unlock, "movq __imp_MmUnlockPages(%rip), %rax\nmovq %rax, sink(%rip)\ncallq helper\n");
FORM(unlock_saved_register,
     "movq __imp_MmUnlockPages(%rip), %rbx\ntestl %ecx, %ecx\nje 1f\ncallq *%rbx\n1: callq *%rbx\n");

/* Two parts, as a compiler lays out cold code: the second one's unwind data is chained to the row of the
 * first. */
__asm__(".globl lost_in_the_second_part\n"
        ".balign 16, 0xcc\n"
        ".seh_proc lost_in_the_second_part\n"
        "lost_in_the_second_part:\n"
        "subq $0x38, %rsp\n"
        ".seh_stackalloc 0x38\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rcx\n"
        "movq %rax, 0x28(%rsp)\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "jmp second_part\n"
        "first_end:\n"
        ".seh_endproc\n"
        ".balign 16, 0xcc\n"
        "second_part:\n"
        "callq ask\n"
        "testl %eax, %eax\n"
        "js 1f\n"
        "movq 0x28(%rsp), %rcx\n"
        "callq *__imp_MmUnlockPages(%rip)\n"
        "1: addq $0x38, %rsp\n"
        "ret\n"
        "second_end:\n"
        ".section .xdata,\"dr\"\n"
        ".balign 4\n"
        "first_info: .byte 1, 4, 1, 0, 4, 0x62, 0, 0\n" /* version 1; sub rsp, 38h */
        "second_info: .byte 0x21, 0, 0, 0\n"            /* chained */
        ".long lost_in_the_second_part@IMGREL, first_end@IMGREL, first_info@IMGREL\n"
        ".section .pdata,\"dr\"\n"
        ".balign 4\n"
        ".long second_part@IMGREL, second_end@IMGREL, second_info@IMGREL\n"
        ".text\n");

/* The same register has the MDL on one way, and another one on the other; what is behind does not know which.
 */
__asm__(".globl lost_sight_of\n"
        ".balign 16, 0xcc\n"
        ".seh_proc lost_sight_of\n"
        "lost_sight_of:\n"
        "pushq %rbx\n"
        ".seh_pushreg %rbx\n"
        "pushq %rsi\n"
        ".seh_pushreg %rsi\n"
        "subq $0x38, %rsp\n"
        ".seh_stackalloc 0x38\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rbx\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "movq %rbx, %rcx\n"
        "xorl %ebx, %ebx\n"
        "cmpl $7, sink(%rip)\n"
        "je 3f\n"
        "movq %rcx, %rsi\n"
        "movq %rcx, %rbx\n"
        "xorl %ecx, %ecx\n"
        "jmp 4f\n"
        "3: movq %rcx, %rsi\n"
        "xorl %ecx, %ecx\n"
        "4: movq %rbx, %rcx\n"
        "testq %rcx, %rcx\n"
        "jne 5f\n"
        "movq %rsi, %rcx\n"
        "5: callq *__imp_MmUnlockPages(%rip)\n"
        "addq $0x38, %rsp\n"
        "popq %rsi\n"
        "popq %rbx\n"
        "ret\n"
        ".seh_endproc\n");

/* The pointer goes by a vector register, which is not followed. */
__asm__(".globl by_a_vector_register\n"
        ".balign 16, 0xcc\n"
        ".seh_proc by_a_vector_register\n"
        "by_a_vector_register:\n"
        "subq $0x48, %rsp\n"
        ".seh_stackalloc 0x48\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, 0x30(%rsp)\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "movups 0x30(%rsp), %xmm0\n"
        "movups %xmm0, kept_globally(%rip)\n"
        "addq $0x48, %rsp\n"
        "ret\n"
        ".seh_endproc\n");

/* A fifth argument. */
__asm__(".globl given_on_the_stack\n"
        ".balign 16, 0xcc\n"
        ".seh_proc given_on_the_stack\n"
        "given_on_the_stack:\n"
        "pushq %rbx\n"
        ".seh_pushreg %rbx\n"
        "subq $0x30, %rsp\n"
        ".seh_stackalloc 0x30\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rbx\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "movq %rbx, 0x20(%rsp)\n"
        "callq helper\n"
        "addq $0x30, %rsp\n"
        "popq %rbx\n"
        "ret\n"
        ".seh_endproc\n");

/* The helper may write the variable that the flag is in. */
__asm__(".globl flag_given_away\n"
        ".balign 16, 0xcc\n"
        ".seh_proc flag_given_away\n"
        "flag_given_away:\n"
        "pushq %rbx\n"
        ".seh_pushreg %rbx\n"
        "subq $0x40, %rsp\n"
        ".seh_stackalloc 0x40\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rbx\n"
        "movl $1, 0x38(%rsp)\n"
        "leaq 0x38(%rsp), %rcx\n"
        "callq helper\n"
        "cmpl $1, 0x38(%rsp)\n"
        "je 1f\n"
        "movq %rbx, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "1: addq $0x40, %rsp\n"
        "popq %rbx\n"
        "ret\n"
        ".seh_endproc\n");

/* A way that ends at a table is not followed, and nothing is said about it. */
__asm__(".globl by_a_table\n"
        ".balign 16, 0xcc\n"
        ".seh_proc by_a_table\n"
        "by_a_table:\n"
        "subq $0x38, %rsp\n"
        ".seh_stackalloc 0x38\n"
        ".seh_endprologue\n"
        "movq $0, 0x20(%rsp)\n"
        "callq *__imp_IoAllocateMdl(%rip)\n"
        "movq %rax, %rcx\n"
        "callq *__imp_MmProbeAndLockPages(%rip)\n"
        "callq ask\n"
        "leaq 2f(%rip), %rcx\n"
        "addq %rcx, %rax\n"
        "jmpq *%rax\n"
        "2: addq $0x38, %rsp\n"
        "ret\n"
        ".seh_endproc\n");

/* ---- what the compiler's driver template needs */

status DriverEntry(driver *self, text *path)
{
    (void)path;
    self->unload = 0;
    return STATUS_SUCCESS;
}
