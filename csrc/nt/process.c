/* Process and thread objects, and which of them ran on the processor that crashed.
 *
 * Layouts: public PDB types by the layout tables; meanings of fields: facts A.2, B.7, B.9. */
#include "nt/process.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "dump/header.h"
#include "dump/triage.h"
#include "nt/read.h"
#include "nt/text.h"

#include <string.h>

/* DISPATCHER_HEADER.Type (facts B.7). */
#define TYPE_PROCESS 3u
#define TYPE_THREAD  6u
/* EPROCESS.ImageFileName: 15 bytes (public PDB type). */
#define NAME_LENGTH 15u
/* Windows Server supports 2048 logical processors at most; KiProcessorBlock has no more elements. */
#define PROCESSORS_MOST 2048u
/* Offset of Rsp in every x64 CONTEXT (winnt.h). */
#define CONTEXT_RSP 0x98u

/* Windows puts its process-context identifiers, small numbers, into the low bits of the page directory's
 * address (facts E.1); above bit 51 there are none (Intel SDM, physical addresses). */
#define DTB_IDENTIFIER 0xfull
#define DTB_FRAME      0x000ffffffffff000ull

bool lhi_is_directory(const lh_kernel *kernel, uint64_t dtb)
{
    if (lhi_dump_header(kernel->dump)->machine == LHI_MACHINE_ARM64)
        dtb &=
            UINT64_MAX >> 16; /* above stands the identifier of the address space (TTBR0_EL1.ASID, Arm ARM) */
    if ((dtb & ~(DTB_FRAME | DTB_IDENTIFIER)) != 0 || (dtb & DTB_FRAME) == 0)
        return false;
    return lhi_dump_header(kernel->dump)->pages_ram == 0 || lhi_dump_is_ram(kernel->dump, dtb >> 12);
}

/* A file's name has no control characters; beyond ASCII, bytes depend on the machine's code page. */
bool lhi_is_file_name(const uint8_t name[15])
{
    size_t i = 0;
    for (; i < NAME_LENGTH && name[i]; i++) {
        if (name[i] < 0x20 || name[i] == 0x7f)
            return false;
    }
    return i > 0;
}

/* Reads one field into *value and keeps the first absence. */
static bool known(const lh_kernel *kernel, uint64_t address, lhi_field field, size_t width, uint64_t *value,
                  lh_process *out)
{
    uint64_t at = 0;
    lh_absence absence = lhi_read_field(&kernel->space, kernel->layout, address, field, width, value, &at);
    if (absence != LH_PRESENT && out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_address = at;
    }
    return absence == LH_PRESENT;
}

static bool locked_pages(const lh_kernel *kernel, uint64_t address, lh_process *out)
{
    uint64_t at = 0;
    lh_absence absence = lhi_locked_pages(kernel, address, &out->locked_pages, &at);
    if (absence == LH_PRESENT)
        return true;
    out->locked_pages = 0;
    if (out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_address = at;
    }
    return false;
}

static bool read_name(const lh_kernel *kernel, uint64_t address, uint8_t name[NAME_LENGTH], lh_process *out)
{
    uint64_t offset = 0;
    uint64_t at = 0;
    lh_absence absence = LH_ABSENT_LAYOUT;
    if (lhi_layout_offset(kernel->layout, LHI_F_EPROCESS_ImageFileName, &offset))
        absence = lhi_read(&kernel->space, address + offset, name, NAME_LENGTH, &at);
    if (absence != LH_PRESENT && out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_address = at;
    }
    return absence == LH_PRESENT;
}

lh_status lhi_process_read(const lh_kernel *kernel, uint64_t address, lh_process *out, lh_error *err)
{
    lh_process process = {0};
    uint8_t name[NAME_LENGTH] = {0};
    uint64_t type = 0;
    lh_process ignored = {0}; /* the type is no field of the result: its absence is not reported there */
    bool type_known = false;
    if (!lhi_is_object(address, 8) || address > UINT64_MAX - UINT16_MAX)
        return lhi_fail_argument(err, "address", "0x%llx is no address of a kernel object",
                                 (unsigned long long)address);
    process.struct_size = sizeof process;
    process.address = address;
    type_known = known(kernel, address, LHI_F_DISPATCHER_HEADER_Type, 1, &type, &ignored);
    process.name_known = read_name(kernel, address, name, &process);
    process.pid_known = known(kernel, address, LHI_F_EPROCESS_UniqueProcessId, 8, &process.pid, &process);
    process.locked_pages_known = locked_pages(kernel, address, &process);
    process.directory_table_base_known =
        known(kernel, address, LHI_F_KPROCESS_DirectoryTableBase, 8, &process.directory_table_base, &process);
    process.flags_known = known(kernel, address, LHI_F_EPROCESS_Flags, 4, &process.flags, &process);
    process.exit_time_known =
        known(kernel, address, LHI_F_EPROCESS_ExitTime, 8, &process.exit_time, &process);
    if (!type_known && !process.name_known && !process.pid_known && !process.locked_pages_known &&
        !process.directory_table_base_known && !process.flags_known && !process.exit_time_known)
        return lhi_fail_absent(err, ignored.absence, 0, ignored.absent_address, "the process object");

    /* What can be seen must fit a process. The type alone is one byte that any memory may hold, so a second
     * witness is asked for: the page directory, or, where its page is missing, the name. */
    if (type_known && type != TYPE_PROCESS)
        return lhi_fail_argument(err, "address",
                                 "no process object at 0x%llx: its dispatcher type is %llu, a process has 3",
                                 (unsigned long long)address, (unsigned long long)type);
    if (process.directory_table_base_known && !lhi_is_directory(kernel, process.directory_table_base))
        return lhi_fail_argument(
            err, "address",
            "no process object at 0x%llx: 0x%llx in place of DirectoryTableBase is no page of this machine",
            (unsigned long long)address, (unsigned long long)process.directory_table_base);
    if (!process.directory_table_base_known && process.name_known && !lhi_is_file_name(name))
        return lhi_fail_argument(err, "address",
                                 "no process object at 0x%llx: no file name in place of ImageFileName",
                                 (unsigned long long)address);
    if (process.name_known)
        lhi_text_bytes(name, sizeof name, process.name, sizeof process.name);
    *out = process;
    return LH_OK;
}

/* EPROCESS.Flags (facts B.7). */
#define PROCESS_EXITING 4u
#define PROCESS_DELETE  8u

lhi_answer lhi_process_exited(const lh_process *process)
{
    if ((process->exit_time_known && process->exit_time != 0) ||
        (process->flags_known && (process->flags & (PROCESS_EXITING | PROCESS_DELETE)) != 0))
        return LHI_YES;
    return process->flags_known ? LHI_NO : LHI_UNKNOWN;
}

bool lhi_process_is_dead(const lh_process *process)
{
    return (process->exit_time_known && process->exit_time != 0) ||
           (process->flags_known && (process->flags & PROCESS_DELETE) != 0);
}

/* ------------------------------------------------------------------ threads */

void lhi_thread_read(const lh_kernel *kernel, uint64_t address, lhi_thread_info *out)
{
    const lhi_space *space = &kernel->space;
    uint64_t type = 0;
    uint64_t offset = 0;
    uint8_t cid[16] = {0};
    uint64_t at = 0;
    memset(out, 0, sizeof *out);
    out->address = address;
    if (!lhi_is_object(address, 8) || address > UINT64_MAX - UINT16_MAX) {
        out->absence = LH_ABSENT_LAYOUT;
        out->absent_at = address;
        return;
    }
    out->absence = lhi_read_field(space, kernel->layout, address, LHI_F_DISPATCHER_HEADER_Type, 1, &type,
                                  &out->absent_at);
    if (out->absence == LH_PRESENT)
        out->absence = lhi_read_field(space, kernel->layout, address, LHI_F_KTHREAD_Process, 8, &out->process,
                                      &out->absent_at);
    if (out->absence != LH_PRESENT)
        return;
    out->absent_at = 0;
    out->is_thread = type == TYPE_THREAD;
    if (lhi_layout_offset(kernel->layout, LHI_F_ETHREAD_IrpList, &offset))
        out->irp_list = address + offset;
    if (lhi_layout_offset(kernel->layout, LHI_F_ETHREAD_Cid, &offset) &&
        lhi_read(space, address + offset, cid, sizeof cid, &at) == LH_PRESENT) {
        out->process_id = lhi_u64(cid); /* CLIENT_ID: UniqueProcess, UniqueThread */
        out->thread_id = lhi_u64(cid + 8);
    }
}

/* ------------------------------------------------------------------ processors */

uint32_t lhi_processor_count(const lh_kernel *kernel)
{
    uint32_t count = lhi_dump_header(kernel->dump)->processors;
    return count == 0 ? 1 : count > PROCESSORS_MOST ? PROCESSORS_MOST : count;
}

lh_absence lhi_processor(const lh_kernel *kernel, uint32_t index, uint64_t *prcb, uint64_t *at)
{
    const lhi_layout *layout = kernel->layout;
    uint64_t block = kernel->kdbg.processor_block;
    uint64_t value = 0;
    uint64_t inside = 0;
    uint64_t self = 0;
    lh_absence absence = LH_PRESENT;
    *at = 0;
    if (!lhi_is_object(block, 8) || index >= PROCESSORS_MOST ||
        !lhi_add(block, (uint64_t)index * 8, &block) || !lhi_layout_offset(layout, LHI_F_KPCR_Prcb, &inside))
        return LH_ABSENT_LAYOUT;
    absence = lhi_read_u64(&kernel->space, block, &value, at);
    if (absence != LH_PRESENT)
        return absence;
    if (!lhi_is_object(value, 16) || value - LHI_KERNEL_HALF < inside) {
        *at = block;
        return LH_ABSENT_LAYOUT;
    }
    absence = lhi_read_field(&kernel->space, layout, value - inside, LHI_F_KPCR_CurrentPrcb, 8, &self, at);
    if (absence != LH_PRESENT)
        return absence;
    if (self != value) {
        *at = value - inside;
        return LH_ABSENT_LAYOUT;
    }
    *prcb = value;
    return LH_PRESENT;
}

uint64_t lhi_processor_stack_pointer(const lh_kernel *kernel, uint64_t prcb)
{
    uint64_t context = 0;
    uint64_t rsp = 0;
    uint64_t at = 0;
    uint64_t state = 0;
    uint64_t frame = 0;
    if (lhi_read_field(&kernel->space, kernel->layout, prcb, LHI_F_KPRCB_Context, 8, &context, &at) ==
            LH_PRESENT &&
        lhi_is_object(context, 16) && context < UINT64_MAX - CONTEXT_RSP &&
        lhi_read_u64(&kernel->space, context + CONTEXT_RSP, &rsp, &at) == LH_PRESENT && lhi_is_kernel(rsp))
        return rsp;
    if (lhi_layout_offset(kernel->layout, LHI_F_KPRCB_ProcessorState, &state) &&
        lhi_layout_offset(kernel->layout, LHI_F_KPROCESSOR_STATE_ContextFrame, &frame) &&
        lhi_read_u64(&kernel->space, prcb + state + frame + CONTEXT_RSP, &rsp, &at) == LH_PRESENT)
        return rsp;
    return 0;
}

/* The header's stack pointer lies on this thread's kernel stack. */
static bool on_stack(const lh_kernel *kernel, uint64_t thread, uint64_t rsp)
{
    uint64_t limit = 0;
    uint64_t base = 0;
    uint64_t at = 0;
    return lhi_read_field(&kernel->space, kernel->layout, thread, LHI_F_KTHREAD_StackLimit, 8, &limit, &at) ==
               LH_PRESENT &&
           lhi_read_field(&kernel->space, kernel->layout, thread, LHI_F_KTHREAD_StackBase, 8, &base, &at) ==
               LH_PRESENT &&
           rsp >= limit && rsp <= base;
}

static void set_thread(const lh_kernel *kernel, uint64_t thread, lhi_current *out)
{
    uint64_t apc = 0;
    lhi_thread_info info;
    lhi_thread_read(kernel, thread, &info);
    out->absence = info.absence;
    out->absent_at = info.absent_at;
    if (info.absence != LH_PRESENT)
        return;
    if (!info.is_thread) {
        out->absence = LH_ABSENT_LAYOUT;
        out->absent_at = thread;
        return;
    }
    out->thread = thread;
    if (!lhi_layout_offset(kernel->layout, LHI_F_KTHREAD_ApcState, &apc)) {
        out->absence = LH_ABSENT_LAYOUT;
        return;
    }
    out->absence = lhi_read_field(&kernel->space, kernel->layout, thread + apc, LHI_F_KAPC_STATE_Process, 8,
                                  &out->process, &out->absent_at);
    if (out->absence == LH_PRESENT && !lhi_is_object(out->process, 8)) {
        out->process = 0;
        out->absence = LH_ABSENT_LAYOUT;
        out->absent_at = thread + apc;
    }
}

void lhi_current_read(const lh_kernel *kernel, lhi_current *out)
{
    const uint64_t rsp = lhi_u64(lhi_dump_header_bytes(kernel->dump) + LHI_HEADER_CONTEXT + CONTEXT_RSP);
    const uint32_t count = lhi_processor_count(kernel);
    const lhi_triage *triage = lhi_dump_triage(kernel->dump);
    uint64_t by_context = 0;
    uint64_t by_stack = 0;
    uint64_t only = 0;
    uint32_t contexts = 0;
    uint32_t stacks = 0;
    memset(out, 0, sizeof *out);
    if (triage) { /* its writer kept the thread and the process that ran */
        out->thread = triage->thread;
        out->process = triage->process;
        out->absence = triage->process ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t prcb = 0;
        uint64_t thread = 0;
        uint64_t at = 0;
        lh_absence absence = lhi_processor(kernel, i, &prcb, &at);
        if (absence == LH_PRESENT)
            absence = lhi_read_field(&kernel->space, kernel->layout, prcb, LHI_F_KPRCB_CurrentThread, 8,
                                     &thread, &at);
        if (absence != LH_PRESENT) {
            if (out->absence == LH_PRESENT) {
                out->absence = absence;
                out->absent_at = at;
            }
            continue;
        }
        only = thread;
        if (!lhi_is_kernel(rsp))
            continue;
        if (lhi_processor_stack_pointer(kernel, prcb) == rsp) {
            by_context = thread;
            contexts++;
        }
        if (on_stack(kernel, thread, rsp)) {
            by_stack = thread;
            stacks++;
        }
    }
    /* The saved context is what the dump's writer copied from. A stack belongs to one thread, but the crash
     * may have switched to a stack of the processor's own. With several processors nothing else can tell. */
    if (contexts == 1)
        set_thread(kernel, by_context, out);
    else if (stacks == 1)
        set_thread(kernel, by_stack, out);
    else if (count == 1 && only != 0)
        set_thread(kernel, only, out);
    else if (out->absence == LH_PRESENT)
        out->absence = LH_ABSENT_LAYOUT;
}
