/* Call stacks for users of the library: lh_stack. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "nt/answer.h"
#include "nt/process.h"
#include "nt/unwind.h"

struct lh_stack {
    lh_kernel *kernel; /* retained: frames point to its modules */
    lhi_call_stack stack;
};

/* A thread that was asked for must be one. */
static lh_status check_thread(const lh_kernel *kernel, uint64_t thread, lh_error *err)
{
    lhi_thread_info info = {0};
    lhi_thread_read(kernel, thread, &info);
    const bool unknown = info.absence == LH_ABSENT_LAYOUT && info.absent_at == 0; /* of this build */
    if ((info.absence == LH_ABSENT_LAYOUT && !unknown) || (info.absence == LH_PRESENT && !info.is_thread))
        return lhi_fail_argument(err, "thread", "no thread object lies at 0x%llx",
                                 (unsigned long long)thread);
    if (info.absence != LH_PRESENT)
        return lhi_fail_absent(err, info.absence, 0, info.absent_at, "thread");
    return LH_OK;
}

lh_status lh_kernel_stack(lh_kernel *kernel, uint64_t thread, lh_stack **out, lh_error *err)
{
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    lh_status status = thread ? check_thread(kernel, thread, err) : LH_OK;
    if (status != LH_OK)
        return status;
    lh_stack *stack = lhi_calloc(1, sizeof *stack);
    if (!stack)
        return lhi_fail_memory(err);
    stack->kernel = lhi_kernel_retain(kernel);
    status = thread ? lhi_call_stack_of_thread(kernel, thread, &stack->stack, err)
                    : lhi_call_stack_of_crash(kernel, &stack->stack, err);
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status != LH_OK) {
        lh_stack_release(stack);
        return status;
    }
    *out = stack;
    return LH_OK;
}

void lh_stack_release(lh_stack *stack)
{
    if (!stack)
        return;
    lhi_call_stack_free(&stack->stack);
    lh_kernel_release(stack->kernel);
    lhi_free(stack);
}

size_t lh_stack_count(const lh_stack *stack)
{
    return stack ? stack->stack.count : 0;
}

lh_status lh_stack_get_frame(const lh_stack *stack, size_t index, lh_frame *out, lh_error *err)
{
    lh_frame frame = {0};
    if (!stack)
        return lhi_fail_argument(err, "stack", "is NULL");
    lh_status status = lhi_answer_check(out, err);
    if (status != LH_OK)
        return status;
    if (index >= stack->stack.count)
        return lhi_fail_argument(err, "index", "%zu: there are %zu frames", index, stack->stack.count);
    const lhi_call_frame *row = &stack->stack.frames[index];
    const lhi_modules *modules = &stack->kernel->modules;
    const lhi_module *module = row->module ? row->module : lhi_module_unloaded_at(modules, row->address);
    frame.stack_pointer = row->stack_pointer;
    frame.address = row->address;
    frame.interrupted = !row->called;
    frame.function = row->function;
    if (module) {
        frame.unloaded = module->unloaded;
        frame.module_base = module->base;
        memcpy(frame.module, module->name, sizeof frame.module);
    }
    const char *name = row->function ? lhi_exports_name(&stack->kernel->exports, row->function) : NULL;
    if (name) {
        size_t length = strlen(name);
        memcpy(frame.symbol, name, length < sizeof frame.symbol ? length : sizeof frame.symbol - 1);
    }
    lhi_answer_give(out, &frame, sizeof frame);
    return LH_OK;
}

lh_status lh_stack_get_end(const lh_stack *stack, lh_stack_end *out, lh_error *err)
{
    lh_stack_end end = {0};
    if (!stack)
        return lhi_fail_argument(err, "stack", "is NULL");
    lh_status status = lhi_answer_check(out, err);
    if (status != LH_OK)
        return status;
    end.complete = stack->stack.end == LHI_STACK_USER || stack->stack.end == LHI_STACK_BOTTOM;
    end.reason = stack->stack.why;
    end.absence = stack->stack.absence;
    end.absent_address = stack->stack.absent_at;
    lhi_answer_give(out, &end, sizeof end);
    return LH_OK;
}
