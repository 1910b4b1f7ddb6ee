/* What a crash itself keeps: copies of the bug check's parameters and of the registers, and the frames of nt
 * that raised it. Whatever they point to, nobody holds it by them. */
#include "base/checked.h"
#include "case/unlocker.h"
#include "nt/read.h"

#define PARAMETERS      0x28u  /* KiBugCheckData: the code and four parameters (WDK) */
#define PROCESSOR_STATE 0x5c0u /* KPROCESSOR_STATE: ContextFrame at 0xf0 at most, and behind it a CONTEXT */
#define CONTEXT         0x4d0u /* (public PDB types _KPROCESSOR_STATE, _CONTEXT) */

static void add(lhi_case *c, uint64_t begin, uint64_t size)
{
    uint64_t end = 0;
    if (begin != 0 && size != 0 && lhi_add(begin, size, &end) &&
        c->crash_count < sizeof c->crash / sizeof c->crash[0])
        c->crash[c->crash_count++] = (lhi_crash_range){begin, end};
}

static void add_processor(lhi_case *c, uint64_t prcb)
{
    const lh_kernel *kernel = c->kernel;
    uint64_t offset = 0, context = 0, at = 0;
    if (lhi_layout_offset(kernel->layout, LHI_F_KPRCB_ProcessorState, &offset) &&
        lhi_add(prcb, offset, &offset))
        add(c, offset, PROCESSOR_STATE);
    if (lhi_read_field(&kernel->space, kernel->layout, prcb, LHI_F_KPRCB_Context, 8, &context, &at) ==
        LH_PRESENT)
        add(c, context, CONTEXT);
}

/* The processor that runs the crashing thread: another one's registers may be those of somebody at work. */
static void add_processors(lhi_case *c)
{
    const lh_kernel *kernel = c->kernel;
    const uint32_t count = lhi_processor_count(kernel);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t prcb = 0, thread = 0, at = 0;
        if (lhi_processor(kernel, i, &prcb, &at) == LH_PRESENT &&
            lhi_read_field(&kernel->space, kernel->layout, prcb, LHI_F_KPRCB_CurrentThread, 8, &thread,
                           &at) == LH_PRESENT &&
            thread == c->current.thread) {
            add_processor(c, prcb);
            return;
        }
    }
}

/* The whole stack is known, and one driver alone has frames on it: registers that a frame saved for its
 * callers are nobody else's. */
static bool is_alone(const lhi_case *c, const lhi_unlocker *u)
{
    const lhi_call_stack *stack = &u->stack;
    if (u->frame == LHI_NONE || u->frame + 1 >= stack->count ||
        (stack->end != LHI_STACK_USER && stack->end != LHI_STACK_BOTTOM))
        return false;
    const lhi_module *own = stack->frames[u->frame].module;
    for (size_t i = u->frame; i < stack->count; i++) {
        const lhi_module *module = stack->frames[i].module;
        if (!lhi_is_nt(c->kernel, module) && (!module || !own || module->base != own->base))
            return false;
    }
    return true;
}

void lhi_case_find_copies(lhi_case *c)
{
    add(c, c->kernel->kdbg.bugcheck_data, PARAMETERS);
    add_processors(c);
}

void lhi_case_find_crash(lhi_case *c, const lhi_unlocker *u)
{
    const lhi_call_frame *frames = u->stack.frames;
    lhi_case_find_copies(c);
    if (is_alone(c, u))
        add(c, frames[0].stack_pointer, frames[u->frame + 1].stack_pointer - frames[0].stack_pointer);
}

bool lhi_case_of_crash(const lhi_case *c, uint64_t va)
{
    for (size_t i = 0; i < c->crash_count; i++)
        if (va >= c->crash[i].begin && va < c->crash[i].end)
            return true;
    return false;
}
