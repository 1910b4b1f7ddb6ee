/* Unwinds x64 call stacks by the images' unwind data.
 *
 * Undoing a prologue follows Microsoft's "x64 exception handling": codes from the last to the first, of which
 * those that the code had not reached yet are left out; chained data are what came before. */
#include "nt/unwind.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "dump/header.h"
#include "image/functions.h"
#include "nt/epilogue.h"
#include "nt/read.h"

/* What the processor pushes on an exception or interrupt (Intel SDM, volume 3; MACHINE_FRAME, facts B.9). */
enum { MACHINE_RIP = 0, MACHINE_CS = 8, MACHINE_RSP = 0x18, MACHINE_SIZE = 0x28, RPL_MASK = 3, RPL_USER = 3 };

/* Stacks that one thread may stand on: its own, those of DPCs and interrupts, and expanded ones. */
#define MOST_SWITCHES 16u

typedef struct lhi_walker {
    const lh_kernel *kernel;
    lhi_registers r;
    lhi_call_stack *stack;
    size_t room;
    uint64_t highest;  /* where the latest frame's stack pointer was */
    unsigned switches; /* steps that did not go up */
    bool called;       /* rip is a return address */
    const lhi_module *module;
    lhi_image image; /* of `module` */
    bool image_known;
    lh_absence image_absence;
    lh_absence lost; /* why the latest register that is not known is not */
    uint64_t lost_at;
} lhi_walker;

static bool stop(lhi_walker *w, lhi_call_end end, const char *why)
{
    w->stack->end = end;
    w->stack->why = why;
    return false;
}

static bool stop_absent(lhi_walker *w, lh_absence absence, uint64_t at, const char *why)
{
    w->stack->absence = absence;
    w->stack->absent_at = at;
    return stop(w, LHI_STACK_ABSENT, why);
}

/* Unwind data that could not be read: missing, or against the rules. */
static bool stop_unwind_data(lhi_walker *w, lh_absence absence, uint64_t at)
{
    if (absence == LH_ABSENT_LAYOUT)
        return stop(w, LHI_STACK_DAMAGED, "the unwind data contradict themselves");
    return stop_absent(w, absence, at, "unwind data of an image are not in this dump");
}

static bool push_frame(lhi_walker *w, lh_error *err, lh_status *status)
{
    lhi_call_stack *stack = w->stack;
    if (stack->count >= LHI_STACK_MOST)
        return stop(w, LHI_STACK_LIMIT, "the stack has more frames than any real one");
    if (!lhi_grow(&stack->frames, stack->count, &w->room, sizeof *stack->frames)) {
        *status = lhi_fail_memory(err);
        return false;
    }
    stack->frames[stack->count++] = (lhi_call_frame){.stack_pointer = w->r.general[LHI_STACK_REGISTER],
                                                     .address = w->r.rip,
                                                     .called = w->called,
                                                     .module = w->module};
    return true;
}

/* The image that the code lies in; kept from frame to frame. */
static void enter_module(lhi_walker *w)
{
    const lhi_module *module = lhi_module_at(&w->kernel->modules, w->r.rip);
    if (module == w->module)
        return;
    w->module = module;
    w->image_known = false;
    if (!module)
        return;
    w->image_absence = lhi_image_open(&w->kernel->space, module->base, module->size, &w->image);
    w->image_known = w->image_absence == LH_PRESENT && w->image.machine == LHI_MACHINE_X64;
    if (w->image_absence == LH_PRESENT && !w->image_known)
        w->image_absence = LH_ABSENT_LAYOUT;
}

static void forget(lhi_walker *w, unsigned reg, lh_absence absence, uint64_t at)
{
    w->r.known &= ~(1u << reg);
    w->lost = absence;
    w->lost_at = at;
}

/* A saved register whose page is not there is not known; frames that do not need it are none the worse. */
static void restore(lhi_walker *w, unsigned reg, uint64_t place)
{
    uint64_t value = 0, at = 0;
    lh_absence absence = lhi_read_u64(&w->kernel->space, place, &value, &at);
    if (reg == LHI_STACK_REGISTER)
        return;
    w->stack->frames[w->stack->count - 1].saved_at[reg] = place;
    if (absence != LH_PRESENT) {
        forget(w, reg, absence, at);
        return;
    }
    w->r.general[reg] = value;
    w->r.known |= 1u << reg;
}

static bool take_machine_frame(lhi_walker *w, bool error_code)
{
    uint8_t bytes[MACHINE_SIZE] = {0};
    uint64_t at = 0;
    const uint64_t place = w->r.general[LHI_STACK_REGISTER] + (error_code ? 8u : 0u);
    lh_absence absence = lhi_read(&w->kernel->space, place, bytes, sizeof bytes, &at);
    if (absence != LH_PRESENT)
        return stop_absent(w, absence, at, "a page of the stack is not in this dump");
    w->r.rip = lhi_u64(bytes + MACHINE_RIP);
    w->r.general[LHI_STACK_REGISTER] = lhi_u64(bytes + MACHINE_RSP);
    w->called = false;
    const bool user = (lhi_u16(bytes + MACHINE_CS) & RPL_MASK) == RPL_USER;
    if (user == lhi_is_kernel(w->r.rip))
        return stop(w, LHI_STACK_DAMAGED, "the processor's frame of an interrupt contradicts itself");
    return !user || stop(w, LHI_STACK_USER, "reached user mode");
}

static bool take_return(lhi_walker *w)
{
    uint64_t at = 0;
    lh_absence absence = lhi_read_u64(&w->kernel->space, w->r.general[LHI_STACK_REGISTER], &w->r.rip, &at);
    if (absence != LH_PRESENT)
        return stop_absent(w, absence, at, "a page of the stack is not in this dump");
    w->r.general[LHI_STACK_REGISTER] += 8;
    w->called = true;
    /* A system thread begins in nt, with nobody to return to. */
    if (w->r.rip == 0 && lhi_is_nt(w->kernel, w->module))
        return stop(w, LHI_STACK_BOTTOM, "reached the first frame of the thread");
    return lhi_is_kernel(w->r.rip) || stop(w, LHI_STACK_DAMAGED, "a return address is none");
}

static bool know_frame_register(lhi_walker *w, unsigned reg)
{
    if (w->r.known & 1u << reg)
        return true;
    if (w->lost != LH_PRESENT)
        return stop_absent(w, w->lost, w->lost_at, "a page of the stack is not in this dump");
    return stop(w, LHI_STACK_DAMAGED, "the frame register of a function is not known");
}

/* Whether a step of a prologue was done when the code stood at `offset`. */
static bool is_done(const lhi_unwind_op *op, uint32_t offset)
{
    return op->kind == LHI_UNWIND_MACHINE_FRAME || op->at <= offset;
}

/* Undoes one block of unwind data. *machine: RIP and RSP came from a machine frame. */
static bool undo_block(lhi_walker *w, const lhi_unwind_info *info, uint32_t offset, uint64_t base,
                       bool *machine)
{
    for (size_t i = 0; i < info->op_count && !*machine; i++) {
        const lhi_unwind_op *op = &info->ops[i];
        if (!is_done(op, offset))
            continue;
        switch (op->kind) {
        case LHI_UNWIND_PUSH:
            restore(w, op->reg, w->r.general[LHI_STACK_REGISTER]);
            w->r.general[LHI_STACK_REGISTER] += 8;
            break;
        case LHI_UNWIND_ALLOC:
            w->r.general[LHI_STACK_REGISTER] += op->value;
            break;
        case LHI_UNWIND_SET_FRAME:
            if (!know_frame_register(w, op->reg))
                return false;
            w->r.general[LHI_STACK_REGISTER] = w->r.general[op->reg] - info->frame_offset;
            break;
        case LHI_UNWIND_SAVE:
            restore(w, op->reg, base + op->value);
            break;
        case LHI_UNWIND_SAVE_XMM: /* nothing here needs them */
            break;
        case LHI_UNWIND_MACHINE_FRAME:
            if (!take_machine_frame(w, op->error_code))
                return false;
            *machine = true;
            break;
        }
    }
    return true;
}

/* What the registers that a block saved are counted from: the frame register once it is set, else the stack
 * pointer. In a fragment it was set by what the fragment chains to. */
static bool frame_base(lhi_walker *w, const lhi_unwind_info *info, uint32_t offset, uint64_t *base)
{
    bool set = info->chained || offset >= info->prologue;
    *base = w->r.general[LHI_STACK_REGISTER];
    for (size_t i = 0; i < info->op_count; i++)
        set = set || (info->ops[i].kind == LHI_UNWIND_SET_FRAME && is_done(&info->ops[i], offset));
    if (info->frame_register == 0 || !set)
        return true;
    if (!know_frame_register(w, info->frame_register))
        return false;
    *base = w->r.general[info->frame_register] - info->frame_offset;
    return true;
}

static bool undo_prologues(lhi_walker *w, const lhi_function *function, const lhi_unwind_info *first,
                           uint32_t offset)
{
    lhi_unwind_info info = *first;
    lhi_function row = *function;
    uint64_t base = 0, at = 0;
    bool machine = false;
    for (unsigned hop = 0; hop < LHI_CHAIN_MOST; hop++) {
        if (!info.chained)
            w->stack->frames[w->stack->count - 1].function = w->image.base + row.begin;
        if (!frame_base(w, &info, offset, &base) || !undo_block(w, &info, offset, base, &machine))
            return false;
        if (machine)
            return true;
        if (!info.chained)
            return take_return(w);
        row = info.parent;
        offset = UINT32_MAX; /* all of what came before was done */
        lh_absence absence = lhi_unwind_read(&w->image, row.unwind, &info, &at);
        if (absence != LH_PRESENT)
            return stop_unwind_data(w, absence, at);
    }
    return stop(w, LHI_STACK_DAMAGED, "the unwind data chain to themselves");
}

/* One frame outwards, whose row is known. */
static bool step_function(lhi_walker *w, const lhi_function *function, uint32_t rva)
{
    lhi_unwind_info info;
    lhi_function primary = {0};
    uint64_t at = 0;
    lh_absence absence = lhi_unwind_read(&w->image, function->unwind, &info, &at);
    if (absence != LH_PRESENT)
        return stop_unwind_data(w, absence, at);
    /* A return address stands behind a call, where no epilogue has begun. */
    if (!w->called && rva - function->begin >= info.prologue) {
        switch (lhi_epilogue_undo(&w->image, function, &info, rva, &w->r, &absence, &at)) {
        case LHI_YES:
            if (lhi_function_primary(&w->image, function, &primary, &at) == LH_PRESENT)
                w->stack->frames[w->stack->count - 1].function = w->image.base + primary.begin;
            return take_return(w);
        case LHI_UNKNOWN:
            return stop_absent(w, absence, at, "the code at which a frame stands is not in this dump");
        case LHI_NO:
            break;
        }
    }
    return undo_prologues(w, function, &info, rva - function->begin);
}

static bool step(lhi_walker *w)
{
    lhi_function function = {0};
    lh_absence absence = LH_PRESENT;
    uint64_t at = 0;
    if (!w->module && !w->kernel->modules.complete)
        return stop_absent(w, w->kernel->modules.absence, w->kernel->modules.absent_at,
                           "the list of loaded modules is not wholly in this dump");
    if (!w->module)
        return stop(w, LHI_STACK_NO_MODULE, "the code lies in no loaded module");
    if (!w->image_known)
        return stop_unwind_data(w, w->image_absence, w->module->base);
    if (!lhi_image_lists_functions(&w->image)) /* then none of its code is known to be a leaf function */
        return stop(w, LHI_STACK_DAMAGED, "the code lies in an image that has no unwind data");
    const uint64_t distance = w->r.rip - w->image.base;
    if (distance >= w->image.span || (w->called && distance == 0))
        return stop(w, LHI_STACK_DAMAGED, "the code lies outside its image");
    const uint32_t rva = (uint32_t)distance;
    /* The call may be the last instruction of its function. */
    switch (lhi_function_at(&w->image, w->called ? rva - 1 : rva, &function, &absence, &at)) {
    case LHI_YES:
        return step_function(w, &function, rva);
    case LHI_UNKNOWN:
        return stop_unwind_data(w, absence, at);
    case LHI_NO:
        break;
    }
    if (w->called)
        return stop(w, LHI_STACK_DAMAGED, "code without unwind data made a call");
    return take_return(w); /* a leaf function: it moves neither the stack nor a register to keep */
}

/* Stacks grow downwards, so each frame lies above the one it called. Where that is not so the thread changed
 * its stack, or the data lead round in a circle. */
static bool progresses(lhi_walker *w)
{
    const uint64_t rsp = w->r.general[LHI_STACK_REGISTER];
    if (!lhi_is_kernel(rsp) || rsp % 8 != 0)
        return stop(w, LHI_STACK_DAMAGED, "a stack pointer is none");
    if (rsp <= w->highest && ++w->switches > MOST_SWITCHES)
        return stop(w, LHI_STACK_DAMAGED, "the frames do not go on upwards");
    w->highest = rsp;
    return true;
}

lh_status lhi_call_stack_walk(const lh_kernel *kernel, const lhi_registers *start, lhi_call_stack *out,
                              lh_error *err)
{
    lhi_call_stack stack = {0};
    lhi_walker w = {.kernel = kernel, .r = *start, .stack = &stack, .called = start->called};
    lh_status status = LH_OK;
    bool on = lhi_is_kernel(w.r.rip) || stop(&w, LHI_STACK_USER, "the thread runs in user mode");
    while (on) {
        on = progresses(&w);
        if (!on)
            break;
        enter_module(&w);
        on = push_frame(&w, err, &status) && step(&w);
    }
    if (status != LH_OK)
        lhi_call_stack_free(&stack);
    *out = stack;
    return status;
}

void lhi_call_stack_free(lhi_call_stack *stack)
{
    lhi_free(stack->frames);
    *stack = (lhi_call_stack){0};
}
