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

static int ask_process(const lhi_witness *w, uint64_t offset)
{
    const uint64_t apc = w->kernel->row.offsets[LHI_F_KTHREAD_ApcState];
    int agree = 0;
    if (apc != LHI_NO_OFFSET && offset == apc + APC_PROCESS)
        return -1;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t value = 0;
        if (!word(w, w->threads[i].address + offset, &value))
            continue;
        if (value != w->threads[i].process)
            return -1;
        agree++;
    }
    return agree;
}

/* The process whose address space is in use: mostly the thread's own, in any case one. */
static int ask_apc(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t value = 0;
        if (!word(w, w->threads[i].address + offset + APC_PROCESS, &value))
            continue;
        int says = lhi_looks_like_process(w->kernel, value);
        if (says < 0)
            return -1;
        agree += says;
    }
    return agree;
}

static int ask_cid(const lhi_witness *w, uint64_t offset)
{
    uint64_t seen[LHI_WITNESSES] = {0};
    int count = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t process = 0;
        uint64_t thread = 0;
        if (w->threads[i].pid == 0 || !word(w, w->threads[i].address + offset, &process) ||
            !word(w, w->threads[i].address + offset + 8, &thread))
            continue;
        if (process != w->threads[i].pid || thread == 0 || thread % 4 != 0 || thread == process)
            return -1;
        for (int k = 0; k < count; k++) {
            if (seen[k] == thread)
                return -1;
        }
        seen[count++] = thread;
    }
    return count;
}

static int ask_list(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        int says = lhi_list_holds(w->kernel, w->threads[i].address + offset);
        if (says < 0)
            return -1;
        agree += says;
    }
    return agree;
}

static int ask_stack_base(const lhi_witness *w, uint64_t offset)
{
    int agree = 0;
    for (size_t i = 0; i < w->thread_count; i++) {
        uint64_t limit = 0;
        uint64_t base = 0;
        uint64_t at = 0;
        if (lhi_read_field(&w->kernel->space, w->kernel->layout, w->threads[i].address,
                           LHI_F_KTHREAD_StackLimit, 8, &limit, &at) != LH_PRESENT ||
            !word(w, w->threads[i].address + offset, &base))
            continue;
        if (!lhi_is_object(base, LHI_PAGE_SIZE) || base <= limit || base - limit > STACK_MOST)
            return -1;
        agree++;
    }
    return agree;
}

void lhi_settle_threads(lhi_witness *w)
{
    static const uint16_t process_places[] = {0x220, 0x210, LHI_NO_OFFSET}; /* 8.0 and later; 7 */
    const lhi_kdbg_offsets *stated = &w->kernel->kdbg.offsets;
    const uint64_t last = stated->thread_size >= 0x100 && stated->thread_size <= THREAD_MOST
                              ? stated->thread_size - 16
                              : THREAD_MOST;
    lhi_witness_threads(w);
    lhi_settle(w, &(lhi_question){
                      LHI_F_KTHREAD_ApcState, ask_apc,
                      stated->thread_apc_process > APC_PROCESS ? stated->thread_apc_process - APC_PROCESS : 0,
                      0, 0, 0, 2, NULL, NULL});
    lhi_settle(w, &(lhi_question){LHI_F_KTHREAD_Process, ask_process, 0, 0x100, 0x400, 8, 2, process_places,
                                  "leads each thread to the process whose list it is on"});
    lhi_settle(w,
               &(lhi_question){LHI_F_KTHREAD_StackBase, ask_stack_base, stated->thread_stack_base, 0x30,
                               0x300, 8, 2, NULL, "page aligned, a stack's length above the stack's limit"});
    lhi_settle(w, &(lhi_question){LHI_F_ETHREAD_Cid, ask_cid, 0, 0x300, last, 8, 2, NULL,
                                  "the process's identifier and one of its own in each thread"});
    lhi_settle(
        w, &(lhi_question){LHI_F_ETHREAD_IrpList, ask_list, stated->thread_irp_list, 0, 0, 0, 2, NULL, NULL});
}
