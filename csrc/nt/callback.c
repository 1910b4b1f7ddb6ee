/* Recognises objects that keep a routine with its context, and tells which of them are queued.
 *
 * Each proves itself by more than the pair. Offsets: public PDB types of 7601, 19041 and 22000, and of
 * WORK_QUEUE_ITEM, KDPC and IO_WORKITEM's head the same in all of them; types of dispatcher objects:
 * _KOBJECTS, likewise. */
#include "nt/callback.h"

#include "base/bytes.h"
#include "nt/read.h"
#include "nt/witness.h"

#define STEP          8u
#define WORKER        0x10u /* WORK_QUEUE_ITEM.WorkerRoutine, behind its LIST_ENTRY */
#define PARAMETER     0x18u
#define TYPE_QUEUE    4u    /* QueueObject */
#define TYPE_APC      0x12u /* ApcObject */
#define TYPE_DPC      0x13u /* DpcObject */
#define TYPE_PRIORITY 0x15u /* PriQueueObject; before 8.1 another object has the number, which is smaller */
#define TYPE_IO_TIMER 9u    /* IO_TYPE_TIMER, WDK wdm.h */
#define THREADED_DPC  0x18u /* ThreadedDpcObject, to Windows 8; then: */
#define THREADED_LAST 0x1au
#define QUEUE_LISTS   0x18u /* KQUEUE.EntryListHead, KPRIQUEUE.EntryListHead[] */
#define QUEUE_SIZE    0x10u /* of KQUEUE, in units of 4 bytes as DISPATCHER_HEADER.Size has it */
#define PRIORITIES    32u
#define PRIORITY_SIZE 0xacu
#define APC_SIZE      0x58u
#define APC_THREAD    0x8u
#define APC_KERNEL    0x20u /* KAPC.KernelRoutine */
#define DPC_IMPORTANT 3u    /* the highest of KDPC.Importance */
#define DEVICE_TIMER  0x28u /* DEVICE_OBJECT.Timer, on every x64 build (facts B.4) */
#define TIMER_DEVICE  0x28u /* IO_TIMER.DeviceObject */

typedef struct lhi_callback_row {
    lh_place place;
    const char *type, *field;
    uint8_t routine, context, size;
    bool one_use; /* a work item: it is in a work queue, or was */
    bool (*is_one)(const lh_kernel *kernel, uint64_t address);
} lhi_callback_row;

static bool word(const lh_kernel *kernel, uint64_t va, uint64_t *out)
{
    return lhi_space_u64(&kernel->space, va, out) == LH_PRESENT;
}

static bool head(const lh_kernel *kernel, uint64_t address, uint8_t *out, size_t size)
{
    return lhi_space_get(&kernel->space, address, out, size) == LH_PRESENT;
}

/* ------------------------------------------------------------------ work items */

/* A list of the kernel's own queue: KPRIQUEUE, which drivers have no routine for, or a KQUEUE in nt's image.
 * `filled`: something is in the queue. */
static bool is_queue_list(const lh_kernel *kernel, uint64_t list, bool filled)
{
    const bool in_nt = lhi_is_nt(kernel, lhi_module_at(&kernel->modules, list));
    if (!lhi_is_object(list, 8) || list - LHI_KERNEL_HALF < LHI_PAGE_SIZE)
        return false;
    for (unsigned i = 0; i < PRIORITIES; i++) {
        uint8_t bytes[8] = {0};
        if (!head(kernel, list - QUEUE_LISTS - (uint64_t)i * 16, bytes, sizeof bytes))
            return false;
        if ((bytes[0] == TYPE_PRIORITY && bytes[2] == PRIORITY_SIZE) ||
            (i == 0 && in_nt && bytes[0] == TYPE_QUEUE && bytes[2] == QUEUE_SIZE))
            return !filled || (int32_t)lhi_u32(bytes + 4) > 0;
    }
    return false;
}

static bool begins_like_item(const lh_kernel *kernel, uint64_t entry)
{
    uint64_t routine = 0;
    return word(kernel, entry + WORKER, &routine) && lhi_module_at(&kernel->modules, routine) != NULL;
}

/* Once around: every entry is a work item, but for one, which is the queue. */
static lhi_answer in_work_queue(const lh_kernel *kernel, uint64_t item, uint64_t *budget)
{
    uint64_t at = item, from = 0;
    unsigned queues = 0;
    do {
        uint64_t next = 0, before = 0;
        if (*budget == 0 || !word(kernel, at, &next) || !word(kernel, at + 8, &before))
            return LHI_UNKNOWN;
        --*budget;
        if ((from != 0 && before != from) || !lhi_is_object(next, 8) || next > UINT64_MAX - LHI_PAGE_SIZE ||
            next - LHI_KERNEL_HALF < LHI_PAGE_SIZE)
            return LHI_NO;
        if (at != item && is_queue_list(kernel, at, true))
            queues++;
        else if (at != item && !begins_like_item(kernel, at))
            return LHI_NO;
        from = at;
        at = next;
    } while (at != item);
    uint64_t last = 0;
    if (!word(kernel, item + 8, &last))
        return LHI_UNKNOWN;
    return queues == 1 && last == from ? LHI_YES : LHI_NO;
}

/* The kernel's routine is called with the item itself, and calls the driver's. */
static bool is_io_item(const lh_kernel *kernel, uint64_t address)
{
    uint64_t routine = 0, parameter = 0;
    return word(kernel, address + PARAMETER, &parameter) && parameter == address &&
           word(kernel, address + WORKER, &routine) &&
           lhi_is_nt(kernel, lhi_module_at(&kernel->modules, routine));
}

/* It has no mark of its own, so it is one while it is queued, or where it was the first of a queue and was
 * taken out: the link to the next one is cleared then (bug check 0xE4 comes from one that is not), the one
 * back to the queue stays. */
static bool is_work_item(const lh_kernel *kernel, uint64_t address)
{
    uint64_t next = 0, before = 0;
    return lhi_list_holds(kernel, address) > 0 ||
           (word(kernel, address, &next) && next == 0 && word(kernel, address + 8, &before) &&
            is_queue_list(kernel, before, false));
}

/* ------------------------------------------------------------------ the others */

static bool is_dpc(const lh_kernel *kernel, uint64_t address)
{
    uint8_t bytes[4] = {0};
    return head(kernel, address, bytes, sizeof bytes) && bytes[1] <= DPC_IMPORTANT &&
           (bytes[0] == TYPE_DPC || bytes[0] == THREADED_DPC || bytes[0] == THREADED_LAST);
}

static bool is_apc(const lh_kernel *kernel, uint64_t address)
{
    uint8_t bytes[4] = {0};
    uint64_t thread = 0, routine = 0;
    return head(kernel, address, bytes, sizeof bytes) && bytes[0] == TYPE_APC && bytes[2] == APC_SIZE &&
           word(kernel, address + APC_THREAD, &thread) && lhi_looks_like_thread(kernel, thread) > 0 &&
           word(kernel, address + APC_KERNEL, &routine) && lhi_module_at(&kernel->modules, routine) != NULL;
}

static bool is_io_timer(const lh_kernel *kernel, uint64_t address)
{
    uint16_t type = 0;
    uint64_t device = 0, back = 0;
    return lhi_space_u16(&kernel->space, address, &type) == LH_PRESENT && type == TYPE_IO_TIMER &&
           word(kernel, address + TIMER_DEVICE, &device) && lhi_is_object(device, 8) &&
           device < UINT64_MAX - LHI_PAGE_SIZE && word(kernel, device + DEVICE_TIMER, &back) &&
           back == address;
}

/* The surest come first: WORK_QUEUE_ITEM has the least to show. */
static const lhi_callback_row rows[] = {
    {LH_PLACE_WORK_ITEM, "IO_WORKITEM", "IO_WORKITEM.Context", 0x20, 0x30, 0x40, true, is_io_item},
    {LH_PLACE_APC, "KAPC", "KAPC.NormalContext", 0x30, 0x38, APC_SIZE, false, is_apc},
    {LH_PLACE_TIMER, "IO_TIMER", "IO_TIMER.Context", 0x18, 0x20, 0x30, false, is_io_timer},
    {LH_PLACE_DPC, "KDPC", "KDPC.DeferredContext", 0x18, 0x20, 0x40, false, is_dpc},
    {LH_PLACE_WORK_ITEM, "WORK_QUEUE_ITEM", "WORK_QUEUE_ITEM.Parameter", WORKER, PARAMETER, 0x20, true,
     is_work_item},
};
#define ROWS (sizeof rows / sizeof rows[0])

/* A row's object lies at an address: the routine is some driver's, and the rest agrees. */
static bool matches(const lh_kernel *kernel, const lhi_callback_row *row, uint64_t address, uint64_t *budget,
                    lhi_callback *out)
{
    uint64_t routine = 0, link = 0;
    const lhi_module *module = NULL;
    if (!word(kernel, address + row->routine, &routine) ||
        !(module = lhi_module_at(&kernel->modules, routine)) || lhi_is_nt(kernel, module) ||
        !row->is_one(kernel, address))
        return false;
    *out = (lhi_callback){.place = row->place,
                          .type = row->type,
                          .field = row->field,
                          .address = address,
                          .size = row->size,
                          .routine = routine,
                          .context_at = address + row->context,
                          .one_use = row->one_use};
    lhi_driver_from_routine(kernel, routine, &out->driver);
    if (!out->driver.has_module)
        return false;
    if (!row->one_use)
        return true;
    out->queued = in_work_queue(kernel, address, budget);
    /* A list of somebody else's with records that begin alike. */
    return out->queued == LHI_YES || row->is_one == is_io_item || (word(kernel, address, &link) && link == 0);
}

bool lhi_callback_of(const lh_kernel *kernel, uint64_t context_at, uint64_t *budget, lhi_callback *out)
{
    if (context_at % STEP != 0 || context_at - LHI_KERNEL_HALF < LHI_PAGE_SIZE ||
        context_at > UINT64_MAX - LHI_PAGE_SIZE)
        return false;
    for (size_t i = 0; i < ROWS; i++)
        if (matches(kernel, &rows[i], context_at - rows[i].context, budget, out))
            return true;
    return false;
}

bool lhi_work_item_at(const lh_kernel *kernel, uint64_t address, uint64_t *budget, lhi_callback *out)
{
    if (!lhi_is_object(address, STEP) || address - LHI_KERNEL_HALF < LHI_PAGE_SIZE ||
        address > UINT64_MAX - LHI_PAGE_SIZE)
        return false;
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].one_use && matches(kernel, &rows[i], address, budget, out))
            return true;
    return false;
}

bool lhi_callback_around(const lh_kernel *kernel, uint64_t va, uint64_t lowest, lhi_callback *out)
{
    uint64_t budget = LHI_PAGE_SIZE;
    if (va - LHI_KERNEL_HALF < LHI_PAGE_SIZE || va > UINT64_MAX - LHI_PAGE_SIZE)
        return false;
    for (size_t i = 0; i < ROWS; i++)
        for (uint64_t at = va & ~(uint64_t)(STEP - 1); at >= lowest && va - at < rows[i].size; at -= STEP)
            if (matches(kernel, &rows[i], at, &budget, out))
                return true;
    return false;
}

bool lhi_is_work_queue(const lh_kernel *kernel, uint64_t list)
{
    return is_queue_list(kernel, list, false);
}

/* Both begin like work items, each has the other for its neighbour, and they are of different modules: no
 * list of a driver's own. */
static bool are_neighbours(const lh_kernel *kernel, uint64_t one, uint64_t other, bool forward)
{
    uint64_t back = 0, routines[2] = {0};
    return lhi_is_object(other, STEP) && other < UINT64_MAX - LHI_PAGE_SIZE &&
           word(kernel, other + (forward ? STEP : 0), &back) && back == one &&
           word(kernel, one + WORKER, &routines[0]) && word(kernel, other + WORKER, &routines[1]) &&
           begins_like_item(kernel, one) && begins_like_item(kernel, other) &&
           lhi_module_at(&kernel->modules, routines[0]) != lhi_module_at(&kernel->modules, routines[1]);
}

bool lhi_is_queue_link(const lh_kernel *kernel, uint64_t va, uint64_t value)
{
    if (va % STEP != 0 || va - LHI_KERNEL_HALF < LHI_PAGE_SIZE)
        return false;
    const bool io = is_io_item(kernel, value);
    for (unsigned back = 0; back <= STEP; back += STEP) /* of a LIST_ENTRY either word may be the link */
        if ((io && (is_io_item(kernel, va - back) || lhi_is_work_queue(kernel, va - back))) ||
            are_neighbours(kernel, va - back, value, back == 0))
            return true;
    return false;
}
