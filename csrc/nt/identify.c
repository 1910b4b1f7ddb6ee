/* What lies at an address: from what is sure by the address alone to what only memory can tell. */
#include "nt/identify.h"

#include "base/error.h"
#include "nt/memory.h"
#include "nt/process.h"
#include "nt/text.h"
#include "nt/unwind.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KUSER      0xfffff78000000000ull /* KUSER_SHARED_DATA, at this address on every x64 Windows */
#define SLOT_SHIFT 39                    /* of a PML4 entry: regions of the kernel have slots of their own */

static const char *const states[] = {
    "", ", allocated", ", free", ", freed: on a lookaside list of the kernel's", ", queued", ", not queued"};

void lhi_contain(lh_identity *out, lh_place place, uint64_t base, uint64_t size)
{
    out->place = place;
    out->base = base;
    out->size = size;
    out->offset = out->address - base;
}

static void say(lh_identity *out, const char *format, ...) LHI_PRINTF(2, 3);
static void say(lh_identity *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lhi_text_copy(text, out->text, sizeof out->text);
}

static bool in_module(const lh_kernel *kernel, lh_identity *out)
{
    const lhi_module *module = lhi_module_at(&kernel->modules, out->address);
    lhi_image image = {0};
    lhi_section section = {0};
    if (!module)
        return false;
    lhi_contain(out, LH_PLACE_MODULE, module->base, module->size);
    lhi_text_copy(module->name, out->name, sizeof out->name);
    if (lhi_image_open(&kernel->space, module->base, module->size, &image) == LH_PRESENT &&
        lhi_image_section_of(&image, out->address, &section)) {
        memcpy(out->section, section.name, sizeof out->section);
        out->code = (section.flags & LHI_SECTION_EXECUTE) != 0;
        out->writable = (section.flags & LHI_SECTION_WRITE) != 0;
    }
    say(out, "%s+0x%" PRIx64 "%s%s%s", module->name[0] ? module->name : "a module without a name",
        out->offset, out->section[0] ? ", section " : "", out->section,
        !out->section[0] ? ""
        : out->code      ? ", code"
        : out->writable  ? ", data"
                         : ", read-only data");
    return true;
}

static bool in_books(const lh_kernel *kernel, lh_identity *out)
{
    const lhi_self_map tables = lhi_self_map_find(kernel);
    uint64_t database = 0, ignored = 0, first = 0, end = 0;
    if (out->address - KUSER < LHI_PAGE_SIZE) {
        lhi_contain(out, LH_PLACE_SHARED_PAGE, KUSER, LHI_PAGE_SIZE);
        say(out, "KUSER_SHARED_DATA+0x%" PRIx64, out->offset);
        return true;
    }
    if (tables.begin != 0 && out->address >= tables.begin && out->address <= tables.end) {
        lhi_contain(out, LH_PLACE_PAGE_TABLES, tables.begin, tables.end - tables.begin + 1);
        say(out, "a page-table entry, by the tables' map of themselves");
        return true;
    }
    if (lhi_pfn_database(kernel, &database, &ignored) == LH_PRESENT && lhi_pfn_address(kernel, 0, &first) &&
        lhi_pfn_address(kernel, lhi_dump_header(kernel->dump)->highest_pfn + 1, &end) &&
        out->address >= first && out->address < end) {
        uint64_t size = (end - first) / (lhi_dump_header(kernel->dump)->highest_pfn + 1);
        lhi_contain(out, LH_PLACE_PFN_DATABASE, first, end - first);
        say(out, "the PFN entry of frame 0x%" PRIx64 ", +0x%" PRIx64, out->offset / size, out->offset % size);
        return true;
    }
    return false;
}

/* The frame that a word in use lies in. The outermost one has no end that is known. */
static lh_status in_frame(const lh_kernel *kernel, uint64_t thread, lh_identity *out, lh_error *err)
{
    lhi_call_stack walk = {0};
    char text[sizeof out->detail] = "";
    lh_status status = lhi_call_stack_of_thread(kernel, thread, &walk, err);
    for (size_t i = 0; status == LH_OK && i + 1 < walk.count; i++) {
        const lhi_call_frame *frame = &walk.frames[i];
        if (out->address < frame->stack_pointer || out->address >= walk.frames[i + 1].stack_pointer)
            continue;
        if (frame->module)
            (void)snprintf(text, sizeof text, "frame of %s+0x%" PRIx64, frame->module->name,
                           frame->address - frame->module->base);
        else
            (void)snprintf(text, sizeof text, "frame of code in no module, 0x%" PRIx64, frame->address);
    }
    lhi_call_stack_free(&walk);
    lhi_text_copy(text, out->detail, sizeof out->detail);
    return status;
}

static bool on_stack(const lh_kernel *kernel, const lhi_stacks *stacks, lh_identity *out)
{
    const lhi_kernel_stack *stack = lhi_stack_at(stacks, out->address);
    lh_process process = {0};
    lh_error ignored = {0};
    if (!stack)
        return false;
    lhi_contain(out, LH_PLACE_STACK, stack->limit, stack->base - stack->limit);
    out->owner = stack->thread;
    out->live_known = stack->pointer != 0;
    out->live = out->live_known && out->address >= stack->pointer;
    if (lhi_process_read(kernel, stack->process, &process, &ignored) == LH_OK)
        lhi_text_copy(process.name, out->owner_name, sizeof out->owner_name);
    say(out, "the kernel stack of thread 0x%" PRIx64 "%s%s, %s", stack->thread,
        out->owner_name[0] ? " of " : "", out->owner_name,
        !out->live_known ? "of which part is in use is not known"
        : out->live      ? "in use"
                         : "below its stack pointer: left over");
    return true;
}

static void say_object(lh_identity *out)
{
    static const char *const words[] = {
        [LH_PLACE_DEVICE] = "device",
        [LH_PLACE_DEVICE_EXTENSION] = "extension of device",
        [LH_PLACE_DRIVER] = "driver object",
        [LH_PLACE_DRIVER_EXTENSION] = "extension of driver object",
        [LH_PLACE_PROCESS] = "process",
        [LH_PLACE_THREAD] = "thread",
        [LH_PLACE_FILE] = "file object",
        [LH_PLACE_IRP] = "packet (IRP)",
        [LH_PLACE_MDL] = "MDL",
        [LH_PLACE_WORK_ITEM] = "work item",
        [LH_PLACE_DPC] = "DPC",
        [LH_PLACE_APC] = "APC",
        [LH_PLACE_TIMER] = "timer",
        [LH_PLACE_LOCK_TRACKER] = "lock tracker",
        [LH_PLACE_FRAMEWORK_OBJECT] = "KMDF object",
    };
    uint64_t shown = out->place == LH_PLACE_DRIVER_EXTENSION ? out->owner : out->base;
    say(out, "%s %s%s0x%" PRIx64 "%s%s, +0x%" PRIx64 "%s", words[out->place], out->name,
        out->name[0] ? " at " : "", shown, out->owner_name[0] ? " of " : "", out->owner_name, out->offset,
        states[out->state]);
}

/* What was freed and waits for its next use, by where it begins. */
static void ask_lists(const lhi_free_lists *freed, lh_identity *out)
{
    if (out->base && (lhi_vec_find(&freed->mdls, out->base) != SIZE_MAX ||
                      lhi_vec_find(&freed->irps, out->base) != SIZE_MAX))
        out->state = LHI_STATE_LOOKASIDE;
}

static bool in_pool(const lh_kernel *kernel, const lhi_free_lists *freed, lh_identity *out)
{
    lhi_pool_block block = {0};
    lhi_big_block big = {0};
    if (lhi_big_block_at(kernel, out->address, &big)) {
        lhi_contain(out, LH_PLACE_BIG_POOL, big.va, big.size);
        memcpy(out->tag, big.tag, sizeof out->tag);
        out->state = LHI_POOL_ALLOCATED;
    } else {
        lhi_pool_block_at(kernel, out->address, &block);
        if (!block.found)
            return false;
        lhi_contain(out, LH_PLACE_POOL, block.body, block.size);
        memcpy(out->tag, block.tag, sizeof out->tag);
        out->state = (uint32_t)block.state;
        ask_lists(freed, out);
    }
    say(out, "%s '%s' of 0x%" PRIx64 " bytes at 0x%" PRIx64 ", +0x%" PRIx64 "%s",
        out->place == LH_PLACE_POOL ? "pool block" : "big pool block", out->tag, out->size, out->base,
        out->offset, states[out->state]);
    return true;
}

static void absent(const lh_kernel *kernel, lh_identity *out)
{
    const lhi_module *module = lhi_module_unloaded_at(&kernel->modules, out->address);
    if (module && out->absence == LH_ABSENT_NOT_MAPPED) {
        lhi_contain(out, LH_PLACE_UNLOADED_MODULE, module->base, module->size);
        lhi_text_copy(module->name, out->name, sizeof out->name);
        say(out, "nothing is mapped there; %s was, at +0x%" PRIx64 ", until it was unloaded", module->name,
            out->offset);
        return;
    }
    out->place = LH_PLACE_ABSENT;
    say(out, "not readable: %s at 0x%" PRIx64, lh_absence_name(out->absence), out->address);
}

/* The region in which kernel stacks lie has the slots of the PML4 to itself. */
static bool beside_stacks(const lhi_stacks *stacks, uint64_t va)
{
    for (size_t i = 0; i < stacks->count; i++)
        if (stacks->items[i].limit >> SLOT_SHIFT == va >> SLOT_SHIFT)
            return true;
    return false;
}

static void tell_owner(const lh_kernel *kernel, lh_identity *out)
{
    lh_process process = {0};
    lh_error ignored = {0};
    if (out->place == LH_PLACE_LOCK_TRACKER &&
        lhi_process_read(kernel, out->owner, &process, &ignored) == LH_OK)
        lhi_text_copy(process.name, out->owner_name, sizeof out->owner_name);
}

/* Memory that only what is in it can tell. */
static void in_memory(const lhi_identify *known, lh_identity *out)
{
    const lh_kernel *kernel = known->kernel;
    uint64_t physical = 0;
    if (lhi_object_around(kernel, out->address, lhi_object_lowest(out->address), out) ||
        lhi_block_around(kernel, out->address, out)) {
        ask_lists(&known->freed, out);
        tell_owner(kernel, out);
        say_object(out);
    } else if (!in_pool(kernel, &known->freed, out)) {
        out->place = beside_stacks(&known->stacks, out->address) ? LH_PLACE_SYSTEM_PTES : LH_PLACE_UNKNOWN;
        say(out, out->place == LH_PLACE_UNKNOWN ? "memory of which nothing is known"
                                                : "mapped among the kernel stacks, by system PTEs");
        if (lhi_space_translate(&kernel->space, out->address, &physical) == LH_PRESENT)
            (void)snprintf(out->detail, sizeof out->detail, "frame 0x%" PRIx64, physical >> 12);
    }
}

/* What stands at the very address. */
static lh_status add_detail(const lhi_identify *known, lh_identity *out, lh_error *err)
{
    lh_status status = LH_OK;
    switch (out->place) {
    case LH_PLACE_STACK:
        if (out->live)
            status = in_frame(known->kernel, out->owner, out, err);
        break;
    case LH_PLACE_MODULE:
        if (out->writable)
            lhi_detail_at(known->kernel, out);
        break;
    case LH_PLACE_DEVICE:
    case LH_PLACE_DEVICE_EXTENSION:
    case LH_PLACE_DRIVER_EXTENSION:
    case LH_PLACE_IRP:
    case LH_PLACE_POOL:
    case LH_PLACE_BIG_POOL:
    case LH_PLACE_WORK_ITEM:
    case LH_PLACE_DPC:
    case LH_PLACE_APC:
    case LH_PLACE_TIMER:
    case LH_PLACE_LOCK_TRACKER:
    case LH_PLACE_FRAMEWORK_OBJECT:
        if (out->state != LHI_POOL_FREE)
            lhi_detail_at(known->kernel, out);
        break;
    default:
        break;
    }
    if (status == LH_OK && out->detail[0]) {
        char text[sizeof out->text] = "";
        lhi_text_copy(out->text, text, sizeof text);
        say(out, "%s; %s", text, out->detail);
    }
    return status;
}

lh_status lhi_identify_address(const lhi_identify *known, uint64_t va, lh_identity *out, lh_error *err)
{
    const lh_kernel *kernel = known->kernel;
    lh_walk walk = {0};
    uint64_t ignored = 0;
    memset(out, 0, sizeof *out);
    out->address = va;
    out->absence = lhi_space_identity(&kernel->space, va, &ignored);
    lhi_space_walk(&kernel->space, va, &walk);
    out->level = out->absence == LH_PRESENT ? 0 : walk.level;
    if (va < LHI_USER_END) {
        out->place = LH_PLACE_USER;
        say(out, "an address of user space");
    } else if (!lhi_is_kernel(va)) {
        out->place = LH_PLACE_ABSENT;
        out->absence = LH_ABSENT_NONCANONICAL;
        say(out, "no canonical address");
    } else if (in_module(kernel, out) || in_books(kernel, out) || on_stack(kernel, &known->stacks, out)) {
        /* told by the address, whether the byte is there or not */
    } else if (out->absence != LH_PRESENT) {
        absent(kernel, out);
    } else {
        in_memory(known, out);
    }
    return add_detail(known, out, err);
}

lh_status lhi_identify_open(const lh_kernel *kernel, lhi_identify *out, lh_error *err)
{
    *out = (lhi_identify){.kernel = kernel};
    lh_status status = lhi_stacks_read(kernel, &out->stacks, err);
    if (status == LH_OK)
        status = lhi_free_lists_read(kernel, &out->freed, err);
    if (status != LH_OK)
        lhi_identify_close(out);
    return status;
}

void lhi_identify_close(lhi_identify *known)
{
    lhi_stacks_free(&known->stacks);
    lhi_free_lists_free(&known->freed);
}

const char *lh_place_name(lh_place place)
{
    static const char *const names[] = {
        "unknown",
        "absent",
        "user",
        "module",
        "unloaded_module",
        "device",
        "device_extension",
        "driver",
        "driver_extension",
        "process",
        "thread",
        "file",
        "irp",
        "mdl",
        "stack",
        "pool",
        "big_pool",
        "pfn_database",
        "page_tables",
        "shared_page",
        "system_ptes",
        "work_item",
        "dpc",
        "apc",
        "timer",
        "lock_tracker",
        "framework_object",
    };
    return (unsigned)place < sizeof names / sizeof names[0] ? names[place] : "unknown";
}
