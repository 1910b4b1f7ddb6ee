/* Requests whose MDL was taken out of them: those that a driver which keeps an MDL has passed on, and those
 * that a driver's packet serves.
 *
 * A driver may take the MDL out of a request, put one of its own there or none, and mean to put the first one
 * back at completion: buffers are swapped so that data can be changed on the way. Then its memory alone leads
 * to the MDL, or its packet, and who keeps the request or the packet keeps the pages. Such a request is found
 * by the driver's devices, which stand in the locations that it has passed, or in which it waits, and by what
 * the packet's locations point to.
 */
#include "base/alloc.h"
#include "case/holders.h"
#include "case/keepers.h"
#include "case/pass.h"

#define MOST_DEVICES 4096u
#define MOST_SLOTS   32u   /* more than any stack of devices has */
#define DIRECT_IO    0x10u /* DEVICE_OBJECT.Flags: DO_DIRECT_IO, WDK wdm.h */
#define METHOD_MASK  3u    /* of a control code; 1 and 2 are the direct methods (WDK, devioctl.h) */

typedef struct lhi_passed {
    lhi_case *c;
    size_t *keepers;          /* per record: the driver that keeps it, LHI_NONE */
    lhi_vec devices, parties; /* needles, and whose each is */
    bool waiting; /* requests are asked for that wait in the devices; else those that have passed */
} lhi_passed;

/* Does the I/O manager lock the buffers of reads and writes for the device that the request was sent to? */
static bool is_direct(const lhi_case *c, const lhi_irp *irp)
{
    uint32_t flags = 0;
    uint64_t at =
        irp->slots[irp->slot_count - 1].device + c->kernel->layout->offsets[LHI_F_DEVICE_OBJECT_Flags];
    return lhi_space_u32(&c->kernel->space, at, &flags) != LH_PRESENT || (flags & DIRECT_IO) != 0;
}

/* Did the request have pages of its own once that no record explains? */
static bool lacks_its_mdl(const lhi_case *c, const lhi_irp *irp)
{
    const lhi_slot *slot = &irp->slots[irp->current - 1u];
    if (irp->mdl != 0)
        return lhi_map_get(&c->charged_at, irp->mdl) == SIZE_MAX;
    if ((uint32_t)slot->parameters[0] == 0) /* the length, of whichever kind: no bytes, no MDL */
        return false;
    if (slot->major == 14) /* IRP_MJ_DEVICE_CONTROL: its third parameter is the code */
        return (slot->parameters[2] & METHOD_MASK) == 1 || (slot->parameters[2] & METHOD_MASK) == 2;
    return (slot->major == 3 || slot->major == 4) && irp->associated == 0 &&
           is_direct(c, irp); /* reads, writes */
}

/* Of the process, as far as its thread tells. */
static bool may_be_of(const lhi_case *c, const lhi_irp *irp, uint64_t process)
{
    lhi_packet packet = {.irp = irp, .process = process};
    if (irp->thread == 0)
        return irp->origin == LHI_ORIGIN_MANAGER;
    lhi_thread_read(c->kernel, irp->thread, &packet.thread);
    return lhi_case_is_of_process(c, &packet) != LHI_NO;
}

/* A request that has left this driver's location and waits in another's. */
static lh_status take_request(lhi_passed *p, const lhi_irp *irp, size_t party, lh_error *err)
{
    lhi_case *c = p->c;
    lhi_device device = {0};
    lhi_driver driver = {0};
    lhi_device_read(c->kernel, irp->slots[irp->current - 1u].device, &device);
    if (device.absence == LH_PRESENT)
        lhi_driver_read(c->kernel, device.driver, &driver);
    if (!driver.object_known)
        return LH_OK;
    size_t at = lhi_case_party(c, &driver, err);
    if (at == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    if (lhi_case_same_driver(c, at, party) || !lacks_its_mdl(c, irp))
        return LH_OK;
    for (size_t i = 0; i < c->record_count; i++) {
        lhi_record *r = &c->records[i];
        if (p->keepers[i] == LHI_NONE || r->passed_on != 0 ||
            !lhi_case_same_driver(c, p->keepers[i], party) || !may_be_of(c, irp, r->process))
            continue;
        r->passed_on = irp->address;
        if (!lhi_case_note(c, "irp", at, irp->address,
                           "a request that the driver which keeps the MDL has passed on waits in it"))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

/* A request that waits in this driver. */
static bool take_waiting(lhi_passed *p, const lhi_irp *irp, size_t party)
{
    lhi_case *c = p->c;
    return !lacks_its_mdl(c, irp) ||
           (lhi_vec_push(&c->emptied, irp->address) && lhi_vec_push(&c->emptied_parties, party));
}

/* A place that has the address of a device: of a location that a pending request has passed, or waits in? */
static lh_status take_hit(lhi_passed *p, uint64_t va, uint64_t device, size_t party, lh_error *err)
{
    const lhi_case *c = p->c;
    const uint64_t field = LHI_IRP_SIZE + c->kernel->layout->offsets[LHI_F_IO_STACK_LOCATION_DeviceObject];
    for (unsigned slot = 0; slot < MOST_SLOTS; slot++) {
        uint64_t back = field + (uint64_t)LHI_SLOT_SIZE * slot;
        uint16_t type = 0;
        lhi_irp irp;
        if (va - LHI_KERNEL_HALF < back)
            return LH_OK;
        if (lhi_space_u16(&c->kernel->space, va - back, &type) != LH_PRESENT || type != LHI_IRP_TYPE)
            continue;
        lhi_irp_read(c->kernel, va - back, 0, &c->freed, &irp);
        if (irp.state != LHI_IRP_PENDING || irp.origin == LHI_ORIGIN_DRIVER || slot >= irp.slot_count ||
            irp.slots[slot].device != device)
            continue;
        if (p->waiting && slot + 1u == irp.current)
            return take_waiting(p, &irp, party) ? LH_OK : lhi_fail_memory(err);
        if (!p->waiting && slot >= irp.current)
            return take_request(p, &irp, party, err);
    }
    return LH_OK;
}

static lh_status search(lhi_passed *p, lh_error *err)
{
    lhi_pass pass = {0};
    lh_status status = lhi_case_pass(p->c, p->devices.data, p->devices.count, 8, &pass, err);
    for (size_t i = 0; status == LH_OK && i < pass.hits.count; i++) {
        size_t first = 0;
        if (i % 256 == 0 && (status = lhi_case_poll(p->c, err)) != LH_OK)
            break;
        if (lhi_reverse_find(&pass.map, pass.hits.physical[i] >> 12, &first) != 0)
            status = take_hit(p, pass.map.va[first] + (pass.hits.physical[i] & 0xfff), pass.hits.value[i],
                              p->parties.data[pass.hits.needle[i]], err);
    }
    lhi_case_pass_free(&pass);
    return status;
}

static bool add_devices(lhi_passed *p, size_t party)
{
    const lhi_case *c = p->c;
    for (size_t i = 0; i < p->parties.count; i++)
        if (lhi_case_same_driver(c, p->parties.data[i], party))
            return true;
    for (size_t i = 0; i < c->owned_count && p->devices.count < MOST_DEVICES; i++) {
        const lhi_owned *owned = &c->owned[i];
        if (owned->device && lhi_case_same_driver(c, owned->party, party) &&
            (!lhi_vec_push(&p->devices, owned->begin) || !lhi_vec_push(&p->parties, party)))
            return false;
    }
    return true;
}

lh_status lhi_case_passed_on(lhi_case *c, lh_error *err)
{
    lhi_passed p = {.c = c, .keepers = lhi_calloc(c->record_count + 1, sizeof *p.keepers)};
    lh_status status = LH_OK;
    if (!p.keepers)
        return lhi_fail_memory(err);
    for (size_t i = 0; status == LH_OK && i < c->record_count; i++) {
        lhi_claims claims = {.can = LHI_NONE};
        if (c->records[i].open)
            status = lhi_case_claims(c, i, NULL, &claims, err);
        p.keepers[i] = claims.can;
        if (status == LH_OK && claims.can != LHI_NONE && !add_devices(&p, claims.can))
            status = lhi_fail_memory(err);
    }
    if (status == LH_OK && p.devices.count)
        status = search(&p, err);
    lhi_vec_free(&p.devices);
    lhi_vec_free(&p.parties);
    lhi_free(p.keepers);
    return status;
}

/* A pending request of the process that has lost its MDL. */
static bool is_emptied(const lhi_case *c, uint64_t address, uint64_t process)
{
    uint16_t type = 0;
    lhi_irp irp;
    if (!lhi_is_kernel(address) || lhi_space_u16(&c->kernel->space, address, &type) != LH_PRESENT ||
        type != LHI_IRP_TYPE)
        return false;
    lhi_irp_read(c->kernel, address, 0, &c->freed, &irp);
    return irp.state == LHI_IRP_PENDING && irp.origin != LHI_ORIGIN_DRIVER && lacks_its_mdl(c, &irp) &&
           may_be_of(c, &irp, process);
}

/* A word leads to such a request: by its address, or as a link of the queue that it waits in. */
static bool leads_to_emptied(const lhi_case *c, uint64_t word, uint64_t process)
{
    const uint64_t link = c->kernel->layout->offsets[LHI_F_IRP_ListEntry];
    return is_emptied(c, word, process) || is_emptied(c, word - link, process);
}

/* Requests that have lost their MDLs and wait in the devices of any driver that made a packet: in one pass
 * for all of them. */
static lh_status find_emptied(lhi_case *c, lh_error *err)
{
    lhi_passed p = {.c = c, .waiting = true};
    lh_status status = c->owners_known ? LH_OK : lhi_case_know_owners(c, err);
    c->emptied_known = true;
    for (size_t i = 0; status == LH_OK && i < c->packet_count; i++)
        if (c->packets[i].irp->origin == LHI_ORIGIN_DRIVER && c->packets[i].maker != LHI_NONE &&
            !add_devices(&p, c->packets[i].maker))
            status = lhi_fail_memory(err);
    c->searched = false;
    if (status == LH_OK && p.devices.count)
        status = search(&p, err);
    c->searched = true;
    lhi_vec_free(&p.devices);
    lhi_vec_free(&p.parties);
    return status;
}

/* Does one of the process's wait in the driver that made the packet? */
static bool waits_in_maker(const lhi_case *c, const lhi_packet *packet, uint64_t process)
{
    for (size_t i = 0; i < c->emptied.count; i++)
        if (lhi_case_same_driver(c, (size_t)c->emptied_parties.data[i], packet->maker) &&
            is_emptied(c, c->emptied.data[i], process))
            return true;
    return false;
}

static bool leads_on(const lhi_case *c, const lhi_packet *packet, uint64_t process)
{
    for (size_t i = 0; i < packet->irp->slot_count; i++) {
        const lhi_slot *slot = &packet->irp->slots[i];
        const uint64_t places[] = {slot->parameters[0], slot->parameters[1], slot->parameters[2],
                                   slot->parameters[3], slot->context};
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
            if (leads_to_emptied(c, places[k], process))
                return true;
            for (uint64_t at = 0; lhi_is_kernel(places[k]) && at < LHI_PACKET_REACH; at += 8) {
                uint64_t word = 0;
                if (lhi_space_u64(&c->kernel->space, places[k] + at, &word) == LH_PRESENT &&
                    leads_to_emptied(c, word, process))
                    return true;
            }
        }
    }
    return false;
}

lh_status lhi_case_serves_emptied(lhi_case *c, const lhi_packet *packet, uint64_t process, bool *out,
                                  lh_error *err)
{
    lh_status status = c->emptied_known ? LH_OK : find_emptied(c, err);
    *out = status == LH_OK && (leads_on(c, packet, process) || waits_in_maker(c, packet, process));
    return status;
}
