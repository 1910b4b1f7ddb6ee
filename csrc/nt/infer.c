/* Fields of KTHREAD and ETHREAD, probed on and inferred from one thread of each process (facts B.7, D.1). */
#include "nt/probe.h"
#include "nt/process.h"
#include "nt/read.h"

#define THREAD_MOST 0x1000u
#define APC_PROCESS 0x20u /* KAPC_STATE.Process on every x64 build */
/* Kernel stacks have 24 KiB, large ones 72, those of deep chains some more (WDK, "Using the kernel stack").
 */
#define STACK_MOST 0x100000u

static bool word(const lhi_witness *w, uint64_t address, uint64_t *out)
{
    uint64_t at = 0;
    return lhi_read_u64(&w->kernel->space, address, out, &at) == LH_PRESENT;
}

/* The entry on a process's list, as its structure begins so far before it: a thread object, by its dispatcher
 * header. */
static int ask_thread_entry(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->process_count; i++) {
        uint64_t entry = 0;
        if (!lhi_first_thread_entry(w->kernel, w->processes[i], &entry))
            continue;
        int says = entry - LHI_KERNEL_HALF < offset ? -1 : lhi_looks_like_thread(w->kernel, entry - offset);
        agree += says > 0;
        against += says < 0;
    }
    return lhi_weigh(agree, against);
}

static int ask_process(const lhi_witness *w, uint64_t offset)
{
    const uint64_t apc = w->kernel->row.offsets[LHI_F_KTHREAD_ApcState];
    int agree = 0;
    int against = 0;
    if (apc != LHI_NO_OFFSET && offset == apc + APC_PROCESS)
        return -1;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t value = 0;
        if (!word(w, w->threads[i].address + offset, &value))
            continue;
        if (value == w->threads[i].process)
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

/* The process whose address space is in use: mostly the thread's own, in any case one. */
static int ask_apc(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t value = 0;
        if (!word(w, w->threads[i].address + offset + APC_PROCESS, &value))
            continue;
        int says = lhi_looks_like_process(w->kernel, value);
        agree += says > 0;
        against += says < 0;
    }
    return lhi_weigh(agree, against);
}

static int ask_cid(const lhi_witness *w, uint64_t offset)
{
    uint64_t seen[LHI_WITNESSES] = {0};
    int count = 0;
    int against = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t process = 0;
        uint64_t thread = 0;
        if (w->threads[i].pid == 0 || !word(w, w->threads[i].address + offset, &process) ||
            !word(w, w->threads[i].address + offset + 8, &thread))
            continue;
        bool fits = process == w->threads[i].pid && thread != 0 && thread % 4 == 0 && thread != process;
        for (int k = 0; k < count; k++)
            fits = fits && seen[k] != thread;
        if (fits)
            seen[count++] = thread;
        else
            against++;
    }
    return lhi_weigh(count, against);
}

static int ask_list(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        int says = lhi_list_holds(w->kernel, w->threads[i].address + offset);
        agree += says > 0;
        against += says < 0;
    }
    return lhi_weigh(agree, against);
}

static int ask_stack_limit(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t limit = 0;
        if (!word(w, w->threads[i].address + offset, &limit))
            continue;
        if (lhi_is_object(limit, LHI_PAGE_SIZE))
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

static int ask_stack_base(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t limit = 0;
        uint64_t base = 0;
        uint64_t at = 0;
        if (lhi_read_field(&w->kernel->space, w->kernel->layout, w->threads[i].address,
                           LHI_F_KTHREAD_StackLimit, 8, &limit, &at) != LH_PRESENT ||
            !word(w, w->threads[i].address + offset, &base))
            continue;
        if (lhi_is_object(base, LHI_PAGE_SIZE) && base > limit && base - limit <= STACK_MOST)
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

/* Where a thread that does not run has its stack pointer: on its own stack. */
static int ask_kernel_stack(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        const uint64_t thread = w->threads[i].address;
        uint64_t limit = 0;
        uint64_t base = 0;
        uint64_t pointer = 0;
        uint64_t at = 0;
        if (lhi_read_field(&w->kernel->space, w->kernel->layout, thread, LHI_F_KTHREAD_StackLimit, 8, &limit,
                           &at) != LH_PRESENT ||
            lhi_read_field(&w->kernel->space, w->kernel->layout, thread, LHI_F_KTHREAD_StackBase, 8, &base,
                           &at) != LH_PRESENT ||
            !word(w, thread + offset, &pointer))
            continue;
        if (lhi_is_object(pointer, 8) && pointer >= limit && pointer < base)
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

void lhi_settle_threads(lhi_witness *w)
{
    static const uint16_t process_places[] = {0x220, 0x210, LHI_NO_OFFSET}; /* 8.0 and later; 7 */
    const lhi_kdbg_offsets *stated = &w->kernel->kdbg.offsets;
    const uint64_t last = stated->thread_size >= 0x100 && stated->thread_size <= THREAD_MOST
                              ? stated->thread_size - 16
                              : THREAD_MOST;
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KTHREAD_ThreadListEntry,
                      .ask = ask_thread_entry,
                      .first = 0x100,
                      .last = 0x600,
                      .step = 8,
                      .least = 2,
                      .source = "so far before the entries of the processes' lists lie thread objects",
                  });
    lhi_witness_threads(w);
    lhi_settle(
        w,
        &(lhi_question){
            .field = LHI_F_KTHREAD_ApcState,
            .ask = ask_apc,
            .stated = stated->thread_apc_process > APC_PROCESS ? stated->thread_apc_process - APC_PROCESS : 0,
            .least = 2,
        });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KTHREAD_Process,
                      .ask = ask_process,
                      .first = 0x100,
                      .last = 0x400,
                      .step = 8,
                      .least = 2,
                      .preferred = process_places,
                      .source = "leads each thread to the process whose list it is on",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KTHREAD_StackLimit,
                      .ask = ask_stack_limit,
                      .stated = stated->thread_stack_limit,
                      .least = 2,
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KTHREAD_StackBase,
                      .ask = ask_stack_base,
                      .stated = stated->thread_stack_base,
                      .first = 0x30,
                      .last = 0x300,
                      .step = 8,
                      .least = 2,
                      .source = "page aligned, a stack's length above the stack's limit",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KTHREAD_KernelStack,
                      .ask = ask_kernel_stack,
                      .stated = stated->thread_kernel_stack,
                      .least = 2,
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_ETHREAD_Cid,
                      .ask = ask_cid,
                      .first = 0x300,
                      .last = last,
                      .step = 8,
                      .least = 2,
                      .source = "the process's identifier and one of its own in each thread",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_ETHREAD_IrpList,
                      .ask = ask_list,
                      .stated = stated->thread_irp_list,
                      .least = 2,
                  });
}
