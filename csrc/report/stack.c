/* The crashing thread's stack in the tree, where a case rests on it. */
#include <inttypes.h>

#include "case/unlocker.h"
#include "report/report.h"

/* The module that a frame's code lies in, loaded or not any more; NULL: none. */
static const lhi_module *module_of(const lhi_case *c, const lhi_call_frame *frame)
{
    return frame->module ? frame->module : lhi_module_unloaded_at(&c->kernel->modules, frame->address);
}

static const char *symbol_of(const lhi_case *c, const lhi_call_frame *frame)
{
    return frame->function ? lhi_exports_name(&c->kernel->exports, frame->function) : NULL;
}

const char *lhi_report_code(lhi_case *c, const lhi_call_frame *frame)
{
    const lhi_module *module = module_of(c, frame);
    const char *symbol = symbol_of(c, frame);
    if (symbol)
        return lhi_arena_printf(&c->arena, "nt!%s+0x%" PRIx64, symbol, frame->address - frame->function);
    if (!module)
        return lhi_arena_printf(&c->arena, "0x%" PRIx64 ", in no module", frame->address);
    return lhi_arena_printf(&c->arena, "%s+0x%" PRIx64 "%s", module->name[0] ? module->name : "a module",
                            frame->address - module->base, module->unloaded ? " (unloaded)" : "");
}

static void frame_object(lhi_case *c, lhi_node *list, const lhi_call_frame *frame)
{
    lhi_arena *arena = &c->arena;
    const lhi_module *module = module_of(c, frame);
    lhi_node *row = lhi_tree_object(arena, list, NULL);
    lhi_report_place(c, row, frame->address);
    lhi_tree_address(arena, row, "stack_pointer", frame->stack_pointer);
    lhi_tree_bool(arena, row, "interrupted", !frame->called);
    lhi_tree_text(arena, row, "module", module ? module->name : NULL);
    if (module)
        lhi_tree_address(arena, row, "offset", frame->address - module->base);
    else
        lhi_tree_null(arena, row, "offset");
    lhi_tree_text(arena, row, "symbol", symbol_of(c, frame));
}

void lhi_report_stack(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    lhi_arena *arena = &c->arena;
    if (!c->unlocker) {
        lhi_tree_null(arena, root, "stack");
        return;
    }
    const lhi_call_stack *stack = &c->unlocker->stack;
    lhi_node *object = lhi_tree_object(arena, root, "stack");
    lhi_node *list = lhi_tree_list(arena, object, "frames");
    for (size_t i = 0; i < stack->count; i++)
        frame_object(c, list, &stack->frames[i]);
    lhi_tree_bool(arena, object, "complete", stack->end == LHI_STACK_USER || stack->end == LHI_STACK_BOTTOM);
    lhi_tree_text(arena, object, "reason", stack->why);
    if (stack->end == LHI_STACK_ABSENT)
        lhi_report_absent(c, absent, "stack", stack->absence, stack->absent_at);
}
