/* Where the stack of a thread begins: in the context of the crash, in a processor's saved one, or in the
 * frame of a thread that was switched out. */
#include "base/bytes.h"
#include "base/error.h"
#include "dump/header.h"
#include "nt/process.h"
#include "nt/read.h"
#include "nt/unwind.h"

/* Offsets in an x64 CONTEXT (winnt.h, facts B.9): the general registers in the order of their encoding. */
enum { CONTEXT_RAX = 0x78, CONTEXT_RIP = 0xf8, CONTEXT_USED = 0x100 };
/* The frame on top of the stack of a thread that does not run, where KTHREAD.KernelStack points (public PDB
 * type _KSWITCH_FRAME): saved RBP and the return address into the routine that switches. */
enum { SWITCH_RBP = 0x30, SWITCH_RETURN = 0x38, SWITCH_SIZE = 0x40 };

static void from_context(const uint8_t *context, lhi_registers *out)
{
    for (unsigned i = 0; i < LHI_GENERAL; i++)
        out->general[i] = lhi_u64(context + CONTEXT_RAX + (size_t)8 * i);
    out->rip = lhi_u64(context + CONTEXT_RIP);
    out->known = (1u << LHI_GENERAL) - 1u;
}

static void nothing(lhi_call_stack *out, lh_absence absence, uint64_t at, const char *why)
{
    *out = (lhi_call_stack){.end = LHI_STACK_ABSENT, .why = why, .absence = absence, .absent_at = at};
}

lh_status lhi_call_stack_of_crash(const lh_kernel *kernel, lhi_call_stack *out, lh_error *err)
{
    lhi_registers start = {0};
    from_context(lhi_dump_header_bytes(kernel->dump) + LHI_HEADER_CONTEXT, &start);
    if (!lhi_is_kernel(start.general[LHI_STACK_REGISTER]) ||
        lhi_dump_header(kernel->dump)->machine == LHI_MACHINE_ARM64) {
        nothing(out, LH_ABSENT_LAYOUT, 0, "the dump's header has no x64 context of the kernel");
        return LH_OK;
    }
    return lhi_call_stack_walk(kernel, &start, out, err);
}

/* The registers of a thread that runs on a processor which did not stop the machine: as that one saved them
 * when it was told to stop. */
static lh_absence running(const lh_kernel *kernel, uint64_t prcb, lhi_registers *out, uint64_t *at)
{
    uint8_t context[CONTEXT_USED] = {0};
    uint64_t place = 0, state = 0, frame = 0;
    lh_absence absence =
        lhi_read_field(&kernel->space, kernel->layout, prcb, LHI_F_KPRCB_Context, 8, &place, at);
    if ((absence != LH_PRESENT || !lhi_is_object(place, 16)) &&
        lhi_layout_offset(kernel->layout, LHI_F_KPRCB_ProcessorState, &state) &&
        lhi_layout_offset(kernel->layout, LHI_F_KPROCESSOR_STATE_ContextFrame, &frame)) {
        place = prcb + state + frame;
        absence = LH_PRESENT;
    }
    if (absence == LH_PRESENT)
        absence = lhi_read(&kernel->space, place, context, sizeof context, at);
    if (absence == LH_PRESENT)
        from_context(context, out);
    return absence;
}

static bool on_processor(const lh_kernel *kernel, uint64_t thread, uint64_t *prcb)
{
    const uint32_t count = lhi_processor_count(kernel);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = 0, current = 0;
        if (lhi_processor(kernel, i, prcb, &at) == LH_PRESENT &&
            lhi_read_field(&kernel->space, kernel->layout, *prcb, LHI_F_KPRCB_CurrentThread, 8, &current,
                           &at) == LH_PRESENT &&
            current == thread)
            return true;
    }
    return false;
}

static lh_absence switched_out(const lh_kernel *kernel, uint64_t thread, lhi_registers *out, uint64_t *at)
{
    uint8_t frame[SWITCH_SIZE] = {0};
    uint64_t rsp = 0;
    lh_absence absence =
        lhi_read_field(&kernel->space, kernel->layout, thread, LHI_F_KTHREAD_KernelStack, 8, &rsp, at);
    if (absence == LH_PRESENT)
        absence = lhi_read(&kernel->space, rsp, frame, sizeof frame, at);
    if (absence != LH_PRESENT)
        return absence;
    *at = rsp;
    out->called = true;
    out->rip = lhi_u64(frame + SWITCH_RETURN);
    out->general[LHI_STACK_REGISTER] = rsp + SWITCH_SIZE;
    out->general[LHI_FRAME_REGISTER] = lhi_u64(frame + SWITCH_RBP);
    out->known = 1u << LHI_STACK_REGISTER | 1u << LHI_FRAME_REGISTER;
    /* Only nt switches threads: what does not lead there is another kind of frame. */
    return lhi_is_nt(kernel, lhi_module_at(&kernel->modules, out->rip)) ? LH_PRESENT : LH_ABSENT_LAYOUT;
}

lh_status lhi_call_stack_of_thread(const lh_kernel *kernel, uint64_t thread, lhi_call_stack *out,
                                   lh_error *err)
{
    lhi_registers start = {0};
    lhi_current current = {0};
    lhi_thread_info info = {0};
    uint64_t prcb = 0, at = 0;
    lhi_thread_read(kernel, thread, &info);
    if (info.absence != LH_PRESENT || !info.is_thread) {
        nothing(out, info.absence == LH_PRESENT ? LH_ABSENT_LAYOUT : info.absence,
                info.absence == LH_PRESENT ? thread : info.absent_at, "no thread object is there");
        return LH_OK;
    }
    lhi_current_read(kernel, &current);
    if (current.thread == thread)
        return lhi_call_stack_of_crash(kernel, out, err);
    const bool runs = on_processor(kernel, thread, &prcb);
    lh_absence absence =
        runs ? running(kernel, prcb, &start, &at) : switched_out(kernel, thread, &start, &at);
    if (absence != LH_PRESENT) {
        nothing(out, absence, at,
                runs ? "the context that its processor saved is not in this dump"
                     : "the frame in which it was switched out is not in this dump, or of a kind not known");
        return LH_OK;
    }
    return lhi_call_stack_walk(kernel, &start, out, err);
}
