/* Collects kernel stacks by the lists of threads and by what the processors run.
 *
 * Fields: public PDB types _KPROCESS, _KTHREAD, _KPRCB, facts B.7 and B.9. */
#include "nt/stacks.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "nt/process.h"
#include "nt/process_list.h"
#include "nt/read.h"

#include <stdlib.h>
#include <string.h>

#define PROCESS_THREADS 0x30u      /* KPROCESS.ThreadListHead, on every x64 build from Windows 7 on */
#define TYPE_THREAD     6u         /* DISPATCHER_HEADER.Type */
#define STACK_MOST      0x100000u  /* far above the largest kernel stack (WDK, "Using the kernel stack") */
#define MOST_THREADS    (1u << 20) /* of a machine: a list that goes on and on ends here */

typedef struct lhi_roll {
    const lh_kernel *kernel;
    lhi_stacks *out;
    lhi_map seen;   /* threads whose stacks were looked at */
    lhi_map listed; /* threads met on lists: one is on the list of one process, once */
} lhi_roll;

static void gap(lhi_stacks *out, lh_absence absence, uint64_t at)
{
    if (out->complete) {
        out->absence = absence;
        out->absent_at = at;
    }
    out->complete = false;
}

lh_absence lhi_stack_bounds(const lh_kernel *kernel, uint64_t thread, lhi_kernel_stack *stack, uint64_t *at)
{
    const lhi_space *space = &kernel->space;
    lh_absence absence =
        lhi_read_field(space, kernel->layout, thread, LHI_F_KTHREAD_StackLimit, 8, &stack->limit, at);
    if (absence == LH_PRESENT)
        absence = lhi_read_field(space, kernel->layout, thread, LHI_F_KTHREAD_StackBase, 8, &stack->base, at);
    if (absence != LH_PRESENT)
        return absence;
    *at = thread;
    bool fits = lhi_is_object(stack->limit, 8) && lhi_is_object(stack->base, 8) &&
                stack->limit < stack->base && stack->base - stack->limit <= STACK_MOST;
    return fits ? LH_PRESENT : LH_ABSENT_LAYOUT;
}

/* The stack of one thread. `pointer`: where the processor that runs it stands, 0 where that is not known;
 * `runs`: the pointer that the thread itself keeps is an old one. false: no memory. */
static bool enter(lhi_roll *roll, uint64_t thread, uint64_t process, bool runs, uint64_t pointer)
{
    lhi_stacks *out = roll->out;
    lhi_kernel_stack stack = {.thread = thread, .process = process};
    uint64_t kept = 0;
    uint64_t at = 0;
    if (lhi_map_get(&roll->seen, thread) != SIZE_MAX)
        return true;
    if (!lhi_map_put(&roll->seen, thread, out->count))
        return false;
    lh_absence absence = lhi_stack_bounds(roll->kernel, thread, &stack, &at);
    if (absence != LH_PRESENT) {
        gap(out, absence, at);
        return true;
    }
    if (!runs && lhi_read_field(&roll->kernel->space, roll->kernel->layout, thread, LHI_F_KTHREAD_KernelStack,
                                8, &kept, &at) == LH_PRESENT)
        pointer = kept;
    if (pointer >= stack.limit && pointer <= stack.base)
        stack.pointer = pointer;
    if (!lhi_grow(&out->items, out->count, &out->room, sizeof *out->items))
        return false;
    out->items[out->count++] = stack;
    return true;
}

static bool enter_running(lhi_roll *roll)
{
    const uint32_t count = lhi_processor_count(roll->kernel);
    for (uint32_t i = 0; i < count; i++) {
        static const lhi_field fields[] = {LHI_F_KPRCB_CurrentThread, LHI_F_KPRCB_IdleThread};
        uint64_t prcb = 0;
        uint64_t at = 0;
        lh_absence absence = lhi_processor(roll->kernel, i, &prcb, &at);
        if (absence != LH_PRESENT) {
            gap(roll->out, absence, at);
            continue;
        }
        for (size_t f = 0; f < 2; f++) {
            lhi_thread_info thread = {0};
            uint64_t address = 0;
            absence =
                lhi_read_field(&roll->kernel->space, roll->kernel->layout, prcb, fields[f], 8, &address, &at);
            if (absence == LH_PRESENT && address != 0)
                lhi_thread_read(roll->kernel, address, &thread);
            if (absence != LH_PRESENT || address == 0 || !thread.is_thread)
                continue;
            bool runs = f == 0;
            uint64_t pointer = runs ? lhi_processor_stack_pointer(roll->kernel, prcb) : 0;
            if (!enter(roll, address, thread.process, runs, pointer))
                return false;
        }
    }
    return true;
}

/* The threads of one process, by KPROCESS.ThreadListHead. */
static bool enter_threads(lhi_roll *roll, uint64_t process, uint64_t link)
{
    const lhi_space *space = &roll->kernel->space;
    const uint64_t head = process + PROCESS_THREADS;
    uint64_t entry = head;
    for (size_t i = 0; i < MOST_THREADS; i++) {
        uint64_t type = 0;
        uint64_t at = entry;
        lh_absence absence = lhi_read_u64(space, entry, &entry, &at);
        if (absence == LH_PRESENT && entry == head)
            return true;
        if (absence == LH_PRESENT && (!lhi_is_object(entry, 8) || entry - LHI_KERNEL_HALF < link))
            absence = LH_ABSENT_LAYOUT;
        if (absence == LH_PRESENT)
            absence = lhi_read_field(space, roll->kernel->layout, entry - link, LHI_F_DISPATCHER_HEADER_Type,
                                     1, &type, &at);
        if (absence == LH_PRESENT && type != TYPE_THREAD)
            absence = LH_ABSENT_LAYOUT;
        if (absence != LH_PRESENT) {
            gap(roll->out, absence, at);
            return true;
        }
        if (lhi_map_get(&roll->listed, entry - link) != SIZE_MAX) {
            gap(roll->out, LH_ABSENT_LAYOUT, entry); /* a loop that does not come back to the head */
            return true;
        }
        if (!lhi_map_put(&roll->listed, entry - link, i) || !enter(roll, entry - link, process, false, 0))
            return false;
    }
    gap(roll->out, LH_ABSENT_LAYOUT, head);
    return true;
}

static int by_limit(const void *a, const void *b)
{
    const lhi_kernel_stack *x = a, *y = b;
    if (x->limit != y->limit)
        return x->limit < y->limit ? -1 : 1;
    return x->thread < y->thread ? -1 : x->thread > y->thread;
}

lh_status lhi_stacks_read(const lh_kernel *kernel, lhi_stacks *out, lh_error *err)
{
    lhi_process_list processes = {0};
    lhi_roll roll = {.kernel = kernel, .out = out};
    uint64_t link = 0;
    memset(out, 0, sizeof *out);
    out->complete = true;
    lh_status status = lhi_process_list_read(kernel, &processes, err);
    if (status != LH_OK)
        return status;
    bool enough = enter_running(&roll);
    if (!lhi_layout_offset(kernel->layout, LHI_F_KTHREAD_ThreadListEntry, &link)) {
        gap(out, LH_ABSENT_LAYOUT, 0);
    } else {
        for (size_t i = 0; enough && i < processes.addresses.count; i++)
            enough = enter_threads(&roll, processes.addresses.data[i], link);
    }
    if (!processes.complete)
        gap(out, processes.absence, processes.absent_at);
    lhi_process_list_free(&processes);
    lhi_map_free(&roll.seen);
    lhi_map_free(&roll.listed);
    if (!enough) {
        lhi_stacks_free(out);
        return lhi_fail_memory(err);
    }
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, by_limit);
    return LH_OK;
}

void lhi_stacks_free(lhi_stacks *stacks)
{
    lhi_free(stacks->items);
    memset(stacks, 0, sizeof *stacks);
}

const lhi_kernel_stack *lhi_stack_at(const lhi_stacks *stacks, uint64_t va)
{
    size_t low = 0, high = stacks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stacks->items[middle].limit <= va)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && va < stacks->items[low - 1].base ? &stacks->items[low - 1] : NULL;
}
