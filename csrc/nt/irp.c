/* Decodes I/O request packets and tells their state and origin. */
#include "nt/irp.h"

#include "base/bytes.h"

#include <string.h>

/* Stack locations that a place may lie in, counted from the lowest: more than any stack of devices has. */
#define MOST_SLOTS_BACK 32u

const char *lhi_irp_state_name(lhi_irp_state state)
{
    switch (state) {
    case LHI_IRP_PENDING:
        return "pending";
    case LHI_IRP_RETURNED:
        return "returned";
    case LHI_IRP_COMPLETED:
        return "completed";
    case LHI_IRP_FREED:
        return "freed";
    case LHI_IRP_DAMAGED:
        return "damaged";
    case LHI_IRP_UNREADABLE:
        return "not_captured";
    case LHI_IRP_NOT_ONE:
        break;
    }
    return "not_a_packet";
}

bool lhi_irp_is_lost(const lhi_irp *irp)
{
    return irp->state == LHI_IRP_DAMAGED || irp->state == LHI_IRP_UNREADABLE;
}

const char *lhi_irp_origin_name(lhi_irp_origin origin)
{
    switch (origin) {
    case LHI_ORIGIN_MANAGER:
        return "io_manager";
    case LHI_ORIGIN_THREADED:
        return "thread_request";
    case LHI_ORIGIN_DRIVER:
        return "driver";
    case LHI_ORIGIN_UNKNOWN:
        break;
    }
    return "unknown";
}

bool lhi_irp_is_managers(const lhi_irp *irp)
{
    return irp->origin == LHI_ORIGIN_MANAGER || irp->origin == LHI_ORIGIN_THREADED;
}

const char *lhi_irp_major_name(uint8_t major)
{
    static const char *const names[] = {
        /* WDK wdm.h */
        "IRP_MJ_CREATE",
        "IRP_MJ_CREATE_NAMED_PIPE",
        "IRP_MJ_CLOSE",
        "IRP_MJ_READ",
        "IRP_MJ_WRITE",
        "IRP_MJ_QUERY_INFORMATION",
        "IRP_MJ_SET_INFORMATION",
        "IRP_MJ_QUERY_EA",
        "IRP_MJ_SET_EA",
        "IRP_MJ_FLUSH_BUFFERS",
        "IRP_MJ_QUERY_VOLUME_INFORMATION",
        "IRP_MJ_SET_VOLUME_INFORMATION",
        "IRP_MJ_DIRECTORY_CONTROL",
        "IRP_MJ_FILE_SYSTEM_CONTROL",
        "IRP_MJ_DEVICE_CONTROL",
        "IRP_MJ_INTERNAL_DEVICE_CONTROL",
        "IRP_MJ_SHUTDOWN",
        "IRP_MJ_LOCK_CONTROL",
        "IRP_MJ_CLEANUP",
        "IRP_MJ_CREATE_MAILSLOT",
        "IRP_MJ_QUERY_SECURITY",
        "IRP_MJ_SET_SECURITY",
        "IRP_MJ_POWER",
        "IRP_MJ_SYSTEM_CONTROL",
        "IRP_MJ_DEVICE_CHANGE",
        "IRP_MJ_QUERY_QUOTA",
        "IRP_MJ_SET_QUOTA",
        "IRP_MJ_PNP",
    };
    return major < sizeof names / sizeof names[0] ? names[major] : "IRP_MJ_?";
}

static uint64_t u64_at(const uint8_t *raw, size_t size, uint64_t offset)
{
    uint64_t value = 0;
    (void)lhi_bytes_u64((lhi_bytes){raw, size}, (size_t)offset, &value);
    return value;
}

static uint8_t u8_at(const uint8_t *raw, size_t size, uint64_t offset)
{
    return offset < size ? raw[offset] : 0;
}

static lhi_links read_links(const lh_kernel *kernel, uint64_t entry, uint64_t flink, uint64_t blink)
{
    if (flink == entry && blink == entry)
        return LHI_LINKS_SELF;
    if (!lhi_is_kernel(flink) || !lhi_is_kernel(blink))
        return LHI_LINKS_BROKEN;
    uint64_t back = 0, forth = 0;
    lh_absence a = lhi_space_u64(&kernel->space, flink + 8, &back);
    lh_absence b = lhi_space_u64(&kernel->space, blink, &forth);
    if ((a == LH_PRESENT && back != entry) || (b == LH_PRESENT && forth != entry))
        return LHI_LINKS_BROKEN;
    return a == LH_PRESENT && b == LH_PRESENT ? LHI_LINKS_LINKED : LHI_LINKS_UNKNOWN;
}

static void set_origin(lhi_irp *irp, lhi_irp_origin origin, const char *reason)
{
    irp->origin = origin;
    irp->origin_reason = reason;
}

static void tell_origin(lhi_irp *irp)
{
    bool user_iosb = irp->user_iosb >= 0x10000 && irp->user_iosb < LHI_USER_END;
    bool on_list = irp->links == LHI_LINKS_LINKED;
    bool self = irp->links == LHI_LINKS_SELF;
    /* The topmost location of a packet of the I/O manager has no completion routine: nobody stands above it.
     */
    bool routine_on_top = irp->slot_count != 0 && irp->slots[irp->slot_count - 1].completion != 0;
    bool cut_off = irp->thread == 0 && self && irp->cancel;
    if (irp->flags & LHI_IRP_ASSOCIATED) {
        set_origin(irp, LHI_ORIGIN_DRIVER,
                   "an associated packet: a piece of its master, made by the driver that has the master");
    } else if (irp->file != 0 && routine_on_top) {
        set_origin(irp, LHI_ORIGIN_UNKNOWN,
                   "OriginalFileObject, but a completion routine in its topmost location: the marks "
                   "contradict each other");
    } else if (irp->file != 0 && irp->user_mode) {
        /* No routine for drivers makes a user-mode packet. From 22000 on UserIosb is a union with
         * IoRingContext. */
        set_origin(
            irp, LHI_ORIGIN_MANAGER,
            user_iosb ? "OriginalFileObject, user-mode requestor and a user UserIosb: made by the I/O manager"
                      : "OriginalFileObject and a user-mode requestor, without a user UserIosb: made by the "
                        "I/O manager");
        irp->orphan = cut_off;
        irp->odd = !user_iosb || (self && !cut_off);
        bool top_unused = irp->slot_count != 0 && irp->slots[irp->slot_count - 1].device == 0;
        if (top_unused && self && !cut_off)
            set_origin(irp, LHI_ORIGIN_UNKNOWN,
                       "the marks of the I/O manager, but on no list and with an unused topmost location: a "
                       "copy of them");
        /* Only with a cancel is a request cut off from its thread. */
        if ((self || !user_iosb) && irp->thread == 0 && !irp->cancel)
            set_origin(irp, LHI_ORIGIN_UNKNOWN,
                       "OriginalFileObject and user mode, but no thread, and no list or no UserIosb: the "
                       "marks contradict each other");
        /* The topmost location has the file. Where it has none, a request that is still there may be told
         * from a copy by nothing else, and counts for less. */
        const uint64_t top_file = irp->slot_count ? irp->slots[irp->slot_count - 1].file : 0;
        const bool moved_on = irp->current < irp->slot_count;
        irp->odd = irp->odd || (irp->orphan && top_file == 0);
        if (irp->orphan && top_file != irp->file && (top_file != 0 || moved_on))
            set_origin(
                irp, LHI_ORIGIN_UNKNOWN,
                "the marks of a request that was cut off from its thread, but its topmost location does not "
                "have its file: a copy of them");
    } else if (irp->file != 0 && irp->thread != 0 && on_list) {
        set_origin(irp, LHI_ORIGIN_MANAGER,
                   "OriginalFileObject, and queued to its thread: made by the I/O manager");
    } else if (irp->file != 0 && irp->thread != 0 && irp->links == LHI_LINKS_UNKNOWN) {
        set_origin(irp, LHI_ORIGIN_UNKNOWN,
                   "OriginalFileObject, but its neighbours in the thread's list are not in this dump");
    } else if (irp->file != 0 && cut_off) {
        set_origin(irp, LHI_ORIGIN_MANAGER,
                   "OriginalFileObject, cancelled and cut off from its thread: made by the I/O manager");
        irp->orphan = true;
    } else if (irp->file == 0 && irp->thread != 0 && on_list) {
        set_origin(irp, LHI_ORIGIN_THREADED,
                   "no OriginalFileObject, but queued to a thread: IoBuildDeviceIoControlRequest or "
                   "IoBuildSynchronousFsdRequest, unlocked by the I/O manager at completion");
    } else if (irp->links == LHI_LINKS_UNKNOWN) {
        set_origin(irp, LHI_ORIGIN_UNKNOWN, "its neighbours in the thread's list are not in this dump");
    } else if (irp->thread != 0 && irp->links == LHI_LINKS_BROKEN) {
        /* What a driver makes is self-linked: this one was on a list that is gone, perhaps with its thread.
         */
        set_origin(irp, LHI_ORIGIN_UNKNOWN,
                   "a thread, and the list that it was queued to is not there any more: a request of the "
                   "thread, or a copy");
    } else if (cut_off && irp->user_iosb != 0) {
        /* IoAllocateIrp leaves UserIosb empty; the I/O manager's builders for a thread set it. */
        set_origin(
            irp, LHI_ORIGIN_UNKNOWN,
            "cancelled, on no list, and with a UserIosb: a request that was built for a thread and cut "
            "off from it, or one that a driver made and cancelled");
    } else if (irp->user_mode && user_iosb) {
        set_origin(
            irp, LHI_ORIGIN_UNKNOWN,
            "user mode and a user UserIosb, but no OriginalFileObject: the marks contradict each other");
    } else {
        set_origin(
            irp, LHI_ORIGIN_DRIVER,
            self ? "on no thread's list: made by a driver (IoAllocateIrp or IoBuildAsynchronousFsdRequest)"
                 : "on no list at all: made by a driver (IoAllocateIrp)");
    }
}

static void read_slots(const lh_kernel *kernel, lhi_irp *irp, const uint8_t *raw, size_t size)
{
    const uint16_t *at = kernel->layout->offsets;
    irp->slot_count = irp->stack_count;
    for (unsigned i = 0; i < irp->slot_count; i++) {
        uint64_t base = LHI_IRP_SIZE + (uint64_t)LHI_SLOT_SIZE * i;
        lhi_slot *slot = &irp->slots[i];
        slot->major = u8_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_MajorFunction]);
        slot->minor = u8_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_MinorFunction]);
        slot->flags = u8_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_Flags]);
        slot->control = u8_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_Control]);
        slot->device = u64_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_DeviceObject]);
        slot->file = u64_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_FileObject]);
        slot->completion = u64_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_CompletionRoutine]);
        slot->context = u64_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_Context]);
        for (unsigned k = 0; k < 4; k++)
            slot->parameters[k] = u64_at(raw, size, base + at[LHI_F_IO_STACK_LOCATION_Parameters] + 8ull * k);
    }
}

static void reject(lhi_irp *irp, const char *why)
{
    irp->state = LHI_IRP_NOT_ONE;
    irp->reason = why;
}

static bool is_freed(const lh_kernel *kernel, const lhi_free_lists *freed, lhi_irp *irp)
{
    if (freed && lhi_vec_find(&freed->irps, irp->address) != SIZE_MAX) {
        irp->reason = "it lies on a lookaside list of freed packets";
        return true;
    }
    lhi_pool_block block = {0};
    lhi_pool_block_at(kernel, irp->address, &block);
    if ((block.found && block.state == LHI_POOL_FREE) || lhi_pool_says_free(kernel, irp->address, "Irp ")) {
        irp->reason = "it lies in a free pool block";
        return true;
    }
    return false;
}

/* What is read beside the fields that lhi_irp keeps. */
typedef struct head {
    uint64_t first; /* the first qword: Type, Size, and what a list's link overwrites */
    uint16_t type;
    uint64_t links[2];
    bool booleans; /* RequestorMode and Cancel are 0 or 1 */
} head;

/* The fixed part; false when the verdict is already told. */
static bool decode(const lh_kernel *kernel, uint64_t mdl, lhi_irp *irp, head *out)
{
    uint8_t raw[LHI_IRP_SIZE];
    lh_error err = {0};
    if (lhi_space_read(&kernel->space, irp->address, raw, sizeof raw, NULL, &err) != LH_OK) {
        uint16_t seen = 0;
        bool other = lhi_space_u16(&kernel->space, irp->address, &seen) == LH_PRESENT && seen != LHI_IRP_TYPE;
        irp->state = other || err.absence == LH_ABSENT_NOT_MAPPED ? LHI_IRP_NOT_ONE : LHI_IRP_UNREADABLE;
        irp->reason = other ? "what is left of it is no packet" : "part of it is not in this dump";
        irp->absence = err.absence;
        irp->absent_at = err.address;
        return false;
    }
    const uint16_t *at = kernel->layout->offsets;
    size_t n = sizeof raw;
    out->first = lhi_u64(raw);
    out->type = lhi_u16(raw + at[LHI_F_IRP_Type]);
    irp->size = lhi_u16(raw + at[LHI_F_IRP_Size]);
    irp->mdl = u64_at(raw, n, at[LHI_F_IRP_MdlAddress]);
    irp->flags = (uint32_t)u64_at(raw, n, at[LHI_F_IRP_Flags]);
    irp->associated = u64_at(raw, n, at[LHI_F_IRP_AssociatedIrp]);
    out->links[0] = u64_at(raw, n, at[LHI_F_IRP_ThreadListEntry]);
    out->links[1] = u64_at(raw, n, at[LHI_F_IRP_ThreadListEntry] + 8u);
    irp->user_mode = u8_at(raw, n, at[LHI_F_IRP_RequestorMode]) == 1;
    irp->stack_count = u8_at(raw, n, at[LHI_F_IRP_StackCount]);
    irp->current = u8_at(raw, n, at[LHI_F_IRP_CurrentLocation]);
    irp->cancel = u8_at(raw, n, at[LHI_F_IRP_Cancel]) != 0;
    irp->user_iosb = u64_at(raw, n, at[LHI_F_IRP_UserIosb]);
    irp->cancel_routine = u64_at(raw, n, at[LHI_F_IRP_CancelRoutine]);
    irp->user_buffer = u64_at(raw, n, at[LHI_F_IRP_UserBuffer]);
    irp->thread = u64_at(raw, n, at[LHI_F_IRP_Thread]);
    irp->file = u64_at(raw, n, at[LHI_F_IRP_OriginalFileObject]);
    irp->current_slot = u64_at(raw, n, at[LHI_F_IRP_CurrentStackLocation]);
    if (mdl != 0 && irp->mdl != mdl) {
        reject(irp, "MdlAddress is another");
        return false;
    }
    out->booleans =
        u8_at(raw, n, at[LHI_F_IRP_RequestorMode]) <= 1 && u8_at(raw, n, at[LHI_F_IRP_Cancel]) <= 1;
    return true;
}

/* Whoever gives a packet back clears its Type, and whoever has the memory next writes over more than that:
 * where the rest of the first qword is a packet's still, Size and behind it a processor's number and zeros
 * (facts B.2), the Type alone was damaged. */
static bool is_overwritten(const lhi_irp *irp, const head *h)
{
    bool whole = irp->size >= LHI_IRP_SIZE + LHI_SLOT_SIZE && (irp->size - LHI_IRP_SIZE) % LHI_SLOT_SIZE == 0;
    return h->type == 0 || !whole || h->first >> 48 != 0;
}

/* The numbers of a packet hold together: NULL, else which do not. */
static const char *disagreement(const lhi_irp *irp, const head *h)
{
    if (!h->booleans)
        return "RequestorMode or Cancel is no BOOLEAN";
    if (irp->stack_count == 0 || irp->stack_count > LHI_IRP_MOST_STACKS || irp->current == 0 ||
        irp->current > irp->stack_count + 2u)
        return "CurrentLocation does not fit StackCount";
    if (irp->current_slot != irp->address + LHI_IRP_SIZE + (uint64_t)LHI_SLOT_SIZE * (irp->current - 1u))
        return "CurrentStackLocation does not fit CurrentLocation";
    if (h->type == LHI_IRP_TYPE && irp->size < LHI_IRP_SIZE + (uint64_t)LHI_SLOT_SIZE * irp->stack_count)
        return "Size is too small for its stack locations";
    if (h->type != LHI_IRP_TYPE && !is_overwritten(irp, h))
        return "its Type is none of a packet";
    return NULL;
}

/* Numbers that do not hold together are no packet, as a rule: any pointer may stand 8 bytes behind a 6. Where
 * it is a packet for all that, by its place in its own stack locations, or by Type and Size in a pool block
 * of packets that begins here, it is a witness whose words are lost. */
static bool is_damaged(const lh_kernel *kernel, const lhi_irp *irp, const head *h)
{
    uint64_t start = irp->current_slot - LHI_IRP_SIZE - (uint64_t)LHI_SLOT_SIZE * (irp->current - 1u);
    uint64_t here = 0;
    uint64_t there = 0;
    if (irp->stack_count != 0 && irp->stack_count <= LHI_IRP_MOST_STACKS && irp->current != 0 &&
        irp->current <= irp->stack_count + 2u && start == irp->address)
        return true;
    if (h->type != LHI_IRP_TYPE || irp->size < LHI_IRP_SIZE + LHI_SLOT_SIZE ||
        (irp->size - LHI_IRP_SIZE) % LHI_SLOT_SIZE != 0)
        return false;
    if (lhi_space_translate(&kernel->space, irp->address, &here) == LH_PRESENT &&
        lhi_space_translate(&kernel->space, start, &there) == LH_PRESENT && here == there)
        return false; /* a whole one, seen through another mapping of its page */
    lhi_pool_block block = {0};
    lhi_pool_block_at(kernel, irp->address, &block);
    return block.found && block.body == irp->address && strcmp(block.tag, "Irp ") == 0;
}

void lhi_irp_read(const lh_kernel *kernel, uint64_t address, uint64_t mdl, const lhi_free_lists *freed,
                  lhi_irp *out)
{
    lhi_irp *irp = out;
    *irp = (lhi_irp){.address = address};
    head h = {0};
    if (!lhi_is_kernel(address) || address % 8 != 0 || address > UINT64_MAX - 0x10000) {
        reject(irp, "not a place for a packet");
        return;
    }
    if (!decode(kernel, mdl, irp, &h))
        return;
    const char *why = disagreement(irp, &h);
    if (why) {
        reject(irp, why);
        if (is_damaged(kernel, irp, &h) && !is_freed(kernel, freed, irp))
            irp->state = LHI_IRP_DAMAGED;
        irp->reason = why;
        return;
    }
    uint64_t needed = LHI_IRP_SIZE + (uint64_t)LHI_SLOT_SIZE * irp->stack_count;
    if (h.type != LHI_IRP_TYPE) {
        /* The arithmetic still says what it was. */
        irp->state = LHI_IRP_FREED;
        irp->reason = "its Type is overwritten: freed";
    } else if (is_freed(kernel, freed, irp)) {
        irp->state = LHI_IRP_FREED;
    } else if (irp->current == irp->stack_count + 2u) {
        irp->state = LHI_IRP_COMPLETED;
        irp->reason = "CurrentLocation is StackCount + 2: completed";
    } else if (irp->current == irp->stack_count + 1u) {
        irp->state = LHI_IRP_RETURNED;
        irp->reason = "CurrentLocation is StackCount + 1: never sent, or back with its maker";
    } else {
        irp->state = LHI_IRP_PENDING;
        irp->reason = "CurrentLocation is a driver's";
    }
    uint8_t raw[LHI_IRP_SIZE + LHI_SLOT_SIZE * LHI_IRP_MOST_STACKS];
    lh_error err = {0};
    if (lhi_space_read(&kernel->space, address, raw, (size_t)needed, NULL, &err) != LH_OK) {
        irp->state = LHI_IRP_UNREADABLE;
        irp->reason = "its stack locations are not wholly in this dump";
        irp->absence = err.absence;
        irp->absent_at = err.address;
        return;
    }
    read_slots(kernel, irp, raw, (size_t)needed);
    irp->links = read_links(kernel, address + kernel->layout->offsets[LHI_F_IRP_ThreadListEntry], h.links[0],
                            h.links[1]);
    tell_origin(irp);
}

bool lhi_irp_names(const lhi_irp *irp, uint64_t value)
{
    for (size_t i = 0; i < irp->slot_count; i++) {
        const lhi_slot *slot = &irp->slots[i];
        bool named = slot->context == value;
        for (size_t k = 0; k < 4; k++)
            named = named || slot->parameters[k] == value;
        if (named)
            return true;
    }
    return false;
}

bool lhi_irp_around(const lh_kernel *kernel, uint64_t va, uint64_t value, const lhi_free_lists *freed,
                    lhi_irp *out)
{
    const uint16_t *at = kernel->layout->offsets;
    const uint64_t parameters = at[LHI_F_IO_STACK_LOCATION_Parameters];
    const uint64_t fields[] = {at[LHI_F_IO_STACK_LOCATION_Context], parameters, parameters + 8,
                               parameters + 16, parameters + 24};
    for (unsigned slot = 0; slot < MOST_SLOTS_BACK; slot++) {
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            uint64_t back = LHI_IRP_SIZE + (uint64_t)LHI_SLOT_SIZE * slot + fields[i];
            uint16_t type = 0;
            if (va - LHI_KERNEL_HALF < back ||
                lhi_space_u16(&kernel->space, va - back + at[LHI_F_IRP_Type], &type) != LH_PRESENT ||
                type != LHI_IRP_TYPE)
                continue;
            lhi_irp_read(kernel, va - back, 0, freed, out);
            if (out->state != LHI_IRP_NOT_ONE && slot < out->slot_count && lhi_irp_names(out, value))
                return true;
        }
    }
    return false;
}
