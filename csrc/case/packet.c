/* What a packet leads to: the driver at its current location, the driver that made it, its thread and file.
 */
#include "case/case.h"
#include "nt/read.h"

bool lhi_case_in_request(const lhi_packet *packet, uint64_t va)
{
    const lhi_irp *irp = packet->irp;
    if (va >= irp->address && va - irp->address < irp->size)
        return true;
    for (size_t i = 0; i < irp->slot_count; i++) {
        const lhi_slot *slot = &irp->slots[i];
        const uint64_t places[] = {slot->parameters[0], slot->parameters[1], slot->parameters[2],
                                   slot->parameters[3], slot->context};
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++)
            if (lhi_is_kernel(places[k]) && va >= places[k] && va - places[k] < LHI_PACKET_REACH)
                return true;
    }
    return false;
}

bool lhi_case_was_sent(const lhi_case *c, const lhi_packet *packet, size_t party, bool loaded)
{
    const lhi_driver *known = &c->parties[party].driver;
    for (size_t i = 0; i < packet->irp->slot_count; i++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        if (packet->irp->slots[i].device == 0)
            continue;
        lhi_device_driver(c->kernel, packet->irp->slots[i].device, &device, &driver);
        if ((driver.address != 0 && driver.address == known->address) ||
            (driver.has_module && known->has_module && !(loaded && driver.module.unloaded) &&
             driver.module.base == known->module.base))
            return true;
    }
    return false;
}

/* The party of the device that a packet is at; LHI_NONE with the reason. false: no memory. */
static bool find_at(lhi_case *c, lhi_packet *packet, uint64_t device, lh_error *err)
{
    lhi_driver driver = {0};
    lhi_device_driver(c->kernel, device, &packet->device, &driver);
    packet->at_absence = driver.absence;
    /* Without a file name the driver is still a party: its object's name makes it a suspect. */
    if (driver.object_known) {
        packet->at = lhi_case_party(c, &driver, err);
        return packet->at != LHI_NONE;
    }
    return true;
}

/* The maker of a driver's packet is the owner of the completion routine in the topmost used location: a
 * routine there was set by whoever sent the packet into that location (WDK, IoSetCompletionRoutine). */
static bool find_maker(lhi_case *c, lhi_packet *packet, lh_error *err)
{
    const lhi_irp *irp = packet->irp;
    size_t top = LHI_NONE, routine = LHI_NONE;
    packet->maker_absence = LH_ABSENT_LAYOUT;
    for (size_t i = irp->slot_count; i-- > 0;) {
        if (top == LHI_NONE && irp->slots[i].device != 0)
            top = i;
        if (top != LHI_NONE && irp->slots[i].completion != 0) {
            routine = i;
            break;
        }
    }
    if (top == LHI_NONE) {
        packet->maker_reason = "it was never sent: no location was ever used";
        return true;
    }
    if (routine == LHI_NONE) {
        packet->maker_reason = "no completion routine tells who made it";
        return true;
    }
    lhi_driver driver = {0};
    lhi_driver_from_routine(c->kernel, irp->slots[routine].completion, &driver);
    packet->maker_absence = driver.absence;
    if (!driver.has_module) {
        packet->maker_reason = driver.doubt ? "its completion routine lies in no code that is a driver's"
                                            : "its completion routine lies in no module that is known";
        return true;
    }
    if (routine == top) {
        size_t maker = lhi_case_party(c, &driver, err);
        if (maker == LHI_NONE)
            return false;
        packet->maker = maker;
        packet->maker_reason = "the completion routine in its topmost used location lies in that driver";
        return true;
    }
    /* A location above without a routine may be the maker's own or that of a driver which was sent the packet
     * and passed it on with a routine of its own: they look alike. */
    packet->maker_absence = LH_ABSENT_LAYOUT;
    packet->maker_reason = "its topmost location has no completion routine that would tell who made it";
    return true;
}

#define MOST_ATTACHED 64 /* devices of a stack */

/* Is `device` on the stack that `bottom` belongs to, at it or above? A device knows the one above it and, by
 * its extension, the one below: either link will do. */
static bool attached_above(const lhi_case *c, uint64_t bottom, uint64_t device)
{
    lhi_device read = {0};
    uint64_t at = bottom;
    for (unsigned i = 0; i < MOST_ATTACHED && at != 0; i++) {
        if (at == device)
            return true;
        lhi_device_read(c->kernel, at, &read);
        if (read.absence != LH_PRESENT)
            return true; /* not known: no contradiction */
        at = read.attached;
    }
    at = device;
    for (unsigned i = 0; i < MOST_ATTACHED && lhi_is_object(at, 8) && at != bottom; i++) {
        lhi_device_read(c->kernel, at, &read);
        at = read.absence == LH_PRESENT ? read.below : 0;
    }
    return at == bottom;
}

/* None of the devices that a request went through has to do with the one its file was opened on. A file on a
 * mounted volume is served by the file system's device, which hangs on the VPB and not on the stack. */
static bool other_stack(const lhi_case *c, const lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    uint64_t vpb = 0;
    uint64_t at = irp->file + c->kernel->layout->offsets[LHI_F_FILE_OBJECT_Vpb];
    if (packet->file.absence != LH_PRESENT || !lhi_is_kernel(packet->file.device) ||
        lhi_space_u64(&c->kernel->space, at, &vpb) != LH_PRESENT || vpb != 0)
        return false;
    for (size_t i = irp->current - 1u; i < irp->slot_count; i++) {
        uint64_t device = irp->slots[i].device;
        if (device != 0 && (attached_above(c, packet->file.device, device) ||
                            attached_above(c, device, packet->file.device)))
            return false;
    }
    return true;
}

#define THREAD_HEAD 0x300u /* has KTHREAD.ApcState and KTHREAD.Process on every build (facts B.7) */

/* Does a thread belong to the process that the packet was found by? Where no layout says where the thread
 * keeps its process, it does if it has the address of that one at all. */
lhi_answer lhi_case_is_of_process(const lhi_case *c, const lhi_packet *packet)
{
    const lhi_thread_info *thread = &packet->thread;
    lhi_answer answer = LHI_NO;
    if (thread->absence == LH_PRESENT) /* a dead thread's memory may be another's by now */
        return thread->process == packet->process          ? LHI_YES
               : thread->is_thread && thread->process != 0 ? LHI_NO
                                                           : LHI_UNKNOWN;
    if (thread->absence != LH_ABSENT_LAYOUT || !lhi_is_kernel(thread->address))
        return LHI_UNKNOWN;
    for (uint64_t at = 0; at < THREAD_HEAD && answer != LHI_YES; at += 8) {
        uint64_t word = 0;
        if (lhi_space_u64(&c->kernel->space, thread->address + at, &word) != LH_PRESENT)
            answer = LHI_UNKNOWN;
        else if (word == packet->process)
            answer = LHI_YES;
    }
    return answer;
}

#define MOST_MAJOR 27u /* IRP_MJ_MAXIMUM_FUNCTION, wdm.h */

/* The driver object that a pending packet waits at gives such requests to code that lies in no module, loaded
 * or unloaded: whoever put that routine there has the packet, and not the driver whose object it is. */
static lhi_answer is_diverted(const lhi_case *c, const lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    const lhi_modules *modules = &c->kernel->modules;
    uint64_t routine = 0;
    if (irp->state != LHI_IRP_PENDING || packet->at == LHI_NONE || !c->parties[packet->at].driver.has_module)
        return LHI_NO;
    const lhi_module *own = &c->parties[packet->at].driver.module; /* which need not be on the list */
    const uint8_t major = irp->slots[irp->current - 1].major;
    const uint64_t table =
        packet->device.driver + c->kernel->layout->offsets[LHI_F_DRIVER_OBJECT_MajorFunction];
    if (major > MOST_MAJOR)
        return LHI_NO;
    const lh_absence absence = lhi_space_u64(&c->kernel->space, table + 8ull * major, &routine);
    if (absence != LH_PRESENT)
        return lhi_case_is_missing(absence) ? LHI_UNKNOWN : LHI_NO;
    if (!lhi_is_kernel(routine) || routine - own->base < own->size || lhi_module_at(modules, routine) ||
        lhi_module_unloaded_at(modules, routine))
        return LHI_NO;
    return modules->complete && modules->unloaded_known ? LHI_YES : LHI_UNKNOWN;
}

/* Marks that contradict the packet, whatever its arithmetic says. */
static const char *contradiction(const lhi_case *c, const lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    if (!lhi_irp_is_managers(irp))
        return NULL;
    if (irp->file != 0 && packet->file.absence == LH_ABSENT_LAYOUT)
        return "what OriginalFileObject points to is no file object";
    if (irp->origin == LHI_ORIGIN_MANAGER && irp->state == LHI_IRP_PENDING && irp->file != 0 &&
        other_stack(c, packet))
        return "its file was opened on another stack of devices than it went through";
    if (irp->thread != 0 && lhi_case_is_of_process(c, packet) == LHI_NO)
        return "it belongs to a thread of another process";
    if (is_diverted(c, packet) == LHI_YES)
        return "its device's driver object gives such requests to code that lies in no module";
    return NULL;
}

/* A witness that is not in the dump could have contradicted. */
static const char *missing_witness(const lhi_case *c, const lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    lhi_device opened = {0};
    if (!lhi_irp_is_managers(irp))
        return NULL;
    if (irp->thread != 0 &&
        (lhi_case_is_missing(packet->thread.absence) ||
         (packet->thread.absence == LH_ABSENT_LAYOUT && lhi_case_is_of_process(c, packet) == LHI_UNKNOWN)))
        return "whose thread the request is of is not in this dump";
    if (irp->file != 0 && lhi_case_is_missing(packet->file.absence))
        return "the file of the request is not in this dump";
    if (is_diverted(c, packet) == LHI_UNKNOWN)
        return "whether a driver's code is given the requests of its device is not in this dump";
    if (lhi_case_is_missing(packet->device.listed_absence))
        return "whether its driver knows the device of the request is not in this dump";
    if (irp->file != 0 && packet->file.absence == LH_PRESENT) {
        lhi_device_read(c->kernel, packet->file.device, &opened);
        if (lhi_case_is_missing(opened.absence))
            return "the device that the file of the request was opened on is not in this dump";
    }
    return NULL;
}

lh_status lhi_case_resolve_packet(lhi_case *c, lhi_packet *packet, lh_error *err)
{
    const lhi_irp *irp = packet->irp;
    if (lhi_irp_is_lost(irp) || irp->slot_count == 0)
        return LH_OK;
    if (irp->state == LHI_IRP_PENDING) {
        if (!find_at(c, packet, irp->slots[irp->current - 1].device, err))
            return LH_ERR_NO_MEMORY;
    } else {
        /* Over, or never begun: whoever stands in its locations is only known for "why not". */
        for (size_t i = 0; i < irp->slot_count; i++) {
            if (irp->slots[i].device == 0)
                continue;
            if (!find_at(c, packet, irp->slots[i].device, err))
                return LH_ERR_NO_MEMORY;
            break;
        }
    }
    if (irp->origin == LHI_ORIGIN_DRIVER || irp->origin == LHI_ORIGIN_UNKNOWN)
        if (!find_maker(c, packet, err))
            return LH_ERR_NO_MEMORY;
    if (irp->thread != 0)
        lhi_thread_read(c->kernel, irp->thread, &packet->thread);
    if (irp->file != 0)
        lhi_file_read(c->kernel, irp->file, &packet->file);
    packet->contradiction = contradiction(c, packet);
    packet->doubt = missing_witness(c, packet);
    return LH_OK;
}
