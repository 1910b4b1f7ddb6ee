/* The maker of a packet that no completion routine tells: the driver whose device extension or data keeps a
 * pointer to it.
 *
 * One pass finds the pointers and, by the bases of all images (DRIVER_OBJECT.DriverStart), every driver
 * object and through it every device. One level only: a pointer in a driver's own data or in a device's
 * memory is rooted. A driver that owns a device in one of the packet's locations received it and keeps it for
 * that reason: it is no maker. */
#include <stdlib.h>

#include "base/alloc.h"
#include "case/case.h"
#include "case/keepers.h"
#include "case/pass.h"
#include "nt/identify.h"

#define MOST_DEVICES    65536u /* of the whole system */
#define MOST_PER_DRIVER 4096u
#define DRIVER_SIZE     0x150u /* DRIVER_OBJECT on every x64 build (facts B.4) */

typedef struct lhi_keepers {
    lhi_case *c;
    uint64_t *values;
    size_t module_count, packet_count;
    size_t *packets; /* index of the packet of each value behind the modules */
    size_t *maker;   /* per packet: party, LHI_NONE none yet */
    bool *several;
} lhi_keepers;

static bool wants_keeper(const lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    return packet->maker == LHI_NONE && packet->mdl != LHI_NONE && irp->origin == LHI_ORIGIN_DRIVER &&
           !(irp->flags & LHI_IRP_ASSOCIATED) &&
           (irp->state == LHI_IRP_PENDING || irp->state == LHI_IRP_RETURNED);
}

/* A driver's packet names an MDL: whose memory that lies in, and who else points to it, decides. */
static bool wants_owners(const lhi_case *c)
{
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *record = &c->records[i];
        if (record->mdl.klass != LHI_MDL_CHARGED)
            continue;
        for (size_t k = 0; k < record->packets.count; k++)
            if (c->packets[record->packets.data[k]].irp->origin == LHI_ORIGIN_DRIVER)
                return true;
    }
    return false;
}

static bool own(lhi_keepers *k, uint64_t begin, uint64_t size, size_t party, bool device)
{
    lhi_case *c = k->c;
    if (size > UINT64_MAX - begin)
        return true;
    if (!lhi_grow(&c->owned, c->owned_count, &c->owned_room, sizeof *c->owned))
        return false;
    c->owned[c->owned_count++] = (lhi_owned){begin, begin + size, party, device};
    return true;
}

/* The driver object, and what its clients had allocated to it (IoAllocateDriverObjectExtension). */
static bool own_extensions(lhi_keepers *k, uint64_t driver, size_t party)
{
    const lh_kernel *kernel = k->c->kernel;
    uint64_t client = 0;
    if (!own(k, driver, DRIVER_SIZE, party, false))
        return false;
    if (!lhi_client_extensions(kernel, driver, &client))
        return true;
    for (unsigned i = 0; i < MOST_PER_DRIVER && lhi_is_kernel(client); i++) {
        lhi_pool_block block = {0};
        lhi_pool_block_at(kernel, client, &block);
        if (block.found && block.body == client && !own(k, client, block.size, party, false))
            return false;
        if (lhi_space_u64(&kernel->space, client, &client) != LH_PRESENT)
            break;
    }
    return true;
}

/* A hit of an image's base that is the DriverStart of a driver object: all its devices belong to it, also
 * when its file's name is not known. */
static bool take_driver(lhi_keepers *k, uint64_t va, uint64_t start, lh_error *err)
{
    lhi_case *c = k->c;
    const uint16_t *at = c->kernel->layout->offsets;
    lhi_driver driver = {0};
    lhi_driver_read(c->kernel, va - at[LHI_F_DRIVER_OBJECT_DriverStart], &driver);
    if (!driver.object_known || driver.start != start)
        return true;
    size_t party = lhi_case_party(c, &driver, err);
    if (party == LHI_NONE)
        return false;
    if (!own_extensions(k, driver.address, party))
        return false;
    uint64_t device = 0;
    (void)lhi_space_u64(&c->kernel->space, driver.address + at[LHI_F_DRIVER_OBJECT_DeviceObject], &device);
    for (unsigned i = 0; i < MOST_PER_DRIVER && device != 0 && k->c->owned_count < MOST_DEVICES; i++) {
        lhi_device read = {0};
        lhi_device_read(c->kernel, device, &read);
        /* Size counts the object and its extension (WDK, IoCreateDevice). */
        if (read.absence != LH_PRESENT || read.driver != driver.address ||
            !own(k, device, read.size, party, true))
            return read.absence != LH_PRESENT || read.driver != driver.address;
        if (lhi_space_u64(&c->kernel->space, device + at[LHI_F_DEVICE_OBJECT_NextDevice], &device) !=
            LH_PRESENT)
            break;
    }
    return true;
}

static int by_begin(const void *a, const void *b)
{
    uint64_t x = ((const lhi_owned *)a)->begin, y = ((const lhi_owned *)b)->begin;
    return x < y ? -1 : x > y;
}

const lhi_owned *lhi_case_owned_at(const lhi_case *c, uint64_t va)
{
    size_t low = 0, high = c->owned_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->owned[middle].begin <= va)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && va < c->owned[low - 1].end ? &c->owned[low - 1] : NULL;
}

/* The driver whose image or device an address lies in. false: no memory. */
bool lhi_case_owner(lhi_case *c, uint64_t va, size_t *party, lh_error *err)
{
    *party = LHI_NONE;
    if (lhi_module_at(&c->kernel->modules, va)) {
        lhi_driver driver = {0};
        lhi_driver_from_code(c->kernel, va, &driver);
        *party = lhi_case_party(c, &driver, err);
        return *party != LHI_NONE;
    }
    const lhi_owned *owned = lhi_case_owned_at(c, va);
    if (owned)
        *party = owned->party;
    return true;
}

/* A pointer to the packet within itself: its own list entries and location. */
static bool in_packet(const lhi_packet *packet, uint64_t va)
{
    return va >= packet->irp->address && va - packet->irp->address < packet->irp->size;
}

static lh_status read_hits(lhi_keepers *k, const lhi_scan_result *hits, const lhi_reverse *map, lh_error *err)
{
    lhi_case *c = k->c;
    for (unsigned round = 0; round < 2; round++) {
        /* Drivers first: their devices tell the owners in the second round. */
        for (size_t i = 0; i < hits->count; i++) {
            bool module = hits->needle[i] < k->module_count;
            size_t first = 0;
            if (module != (round == 0) || lhi_reverse_find(map, hits->physical[i] >> 12, &first) == 0)
                continue;
            uint64_t va = map->va[first] + (hits->physical[i] & 0xfff);
            if (module) {
                if (!take_driver(k, va, hits->value[i], err))
                    return lhi_fail_memory(err);
                continue;
            }
            size_t at = hits->needle[i] - k->module_count, party = LHI_NONE;
            if (!lhi_case_owner(c, va, &party, err))
                return LH_ERR_NO_MEMORY;
            if (party == LHI_NONE) {
                /* In memory of nobody known: a maker's context, or a table of whoever watches. */
                k->several[at] = k->several[at] || !in_packet(&c->packets[k->packets[at]], va);
                continue;
            }
            if (c->parties[party].driver.is_kernel ||
                lhi_case_was_sent(c, &c->packets[k->packets[at]], party, false))
                continue;
            if (k->maker[at] == LHI_NONE)
                k->maker[at] = party;
            else
                k->several[at] = k->several[at] || !lhi_case_same_driver(c, k->maker[at], party);
        }
        if (k->c->owned_count)
            qsort(k->c->owned, k->c->owned_count, sizeof *k->c->owned, by_begin);
    }
    return LH_OK;
}

static lh_status search(lhi_keepers *k, lh_error *err)
{
    lhi_pass pass = {0};
    lh_status status = lhi_case_pass(k->c, k->values, k->module_count + k->packet_count, 4, &pass, err);
    if (status == LH_OK)
        status = read_hits(k, &pass.hits, &pass.map, err);
    lhi_case_pass_free(&pass);
    return status;
}

/* One of its devices is there no more, or not in the dump: the driver of that was sent it. */
static bool went_through_unknown(const lhi_case *c, const lhi_packet *packet)
{
    for (size_t i = 0; i < packet->irp->slot_count; i++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        if (packet->irp->slots[i].device == 0)
            continue;
        lhi_device_driver(c->kernel, packet->irp->slots[i].device, &device, &driver);
        if (!driver.object_known)
            return true;
    }
    return false;
}

static lh_status find(lhi_case *c, bool owners, lh_error *err)
{
    lhi_keepers k = {.c = c};
    lh_status status = LH_OK;
    const lhi_modules *modules = &c->kernel->modules;
    for (size_t i = 0; i < c->packet_count; i++)
        k.packet_count += wants_keeper(&c->packets[i]);
    if (k.packet_count == 0 && !owners)
        return LH_OK;
    c->owners_known = true;
    k.values = lhi_calloc(modules->loaded + k.packet_count + 1, sizeof *k.values);
    k.packets = lhi_calloc(k.packet_count + 1, sizeof *k.packets);
    k.maker = lhi_calloc(k.packet_count + 1, sizeof *k.maker);
    k.several = lhi_calloc(k.packet_count + 1, sizeof *k.several);
    if (!k.values || !k.packets || !k.maker || !k.several) {
        status = lhi_fail_memory(err);
        goto done;
    }
    for (k.module_count = 0; k.module_count < modules->loaded; k.module_count++)
        k.values[k.module_count] = modules->items[k.module_count].base;
    size_t at = 0;
    for (size_t i = 0; i < c->packet_count; i++) {
        if (!wants_keeper(&c->packets[i]))
            continue;
        k.values[k.module_count + at] = c->packets[i].irp->address;
        k.packets[at] = i;
        k.maker[at++] = LHI_NONE;
    }
    status = search(&k, err);
    for (at = 0; status == LH_OK && at < k.packet_count; at++) {
        lhi_packet *packet = &c->packets[k.packets[at]];
        if (k.maker[at] == LHI_NONE || k.several[at]) {
            if (k.several[at])
                packet->maker_reason = "more than one place keeps a pointer to it";
            continue;
        }
        if (went_through_unknown(c, packet)) {
            packet->maker_reason =
                "the driver that keeps a pointer to it may have been sent it, by a device that is not known";
            continue;
        }
        /* Who can't make packets only watches them. */
        lhi_answer can = lhi_case_can_split(c, k.maker[at]);
        if (can != LHI_YES) {
            if (can == LHI_UNKNOWN)
                packet->maker_absence = LH_ABSENT_NOT_CAPTURED;
            packet->maker_reason =
                can == LHI_UNKNOWN
                    ? "whether the driver that keeps a pointer to it makes packets is not known"
                    : "a driver keeps a pointer to it that imports no routine which makes packets";
            continue;
        }
        packet->maker = k.maker[at];
        packet->kept = true;
        packet->maker_reason =
            "the only driver that keeps a pointer to it in its device extension or data, and was not sent it";
    }
done:
    lhi_free(k.values);
    lhi_free(k.packets);
    lhi_free(k.maker);
    lhi_free(k.several);
    return status;
}

lh_status lhi_case_keepers(lhi_case *c, lh_error *err)
{
    return find(c, wants_owners(c), err);
}

lh_status lhi_case_know_owners(lhi_case *c, lh_error *err)
{
    return find(c, true, err);
}
