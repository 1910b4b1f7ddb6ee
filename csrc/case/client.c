/* Finds the clients of libraries that made packets. */
#include "case/client.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "nt/framework.h"
#include "nt/library.h"

typedef struct lhi_client {
    lhi_driver driver;
    bool found;
    const char *reason;
    lh_absence absence; /* why none was found; LH_PRESENT: nothing is missing */
} lhi_client;

/* Whose the globals of the framework are: many packets have the same, and to find out all images are read. */
typedef struct lhi_bound {
    lhi_answer answer;
    const lhi_module *client;
    lh_absence why;
} lhi_bound;

typedef struct lhi_bounds {
    lhi_map by_globals;
    lhi_bound *rows;
    size_t count, room;
} lhi_bounds;

static lh_status find_bound(lhi_case *c, lhi_bounds *known, uint64_t globals, lhi_bound *out, lh_error *err)
{
    const size_t at = lhi_map_get(&known->by_globals, globals);
    if (at < known->count) {
        *out = known->rows[at];
        return LH_OK;
    }
    lh_status status = lhi_case_poll(c, err);
    if (status != LH_OK)
        return status;
    out->answer = lhi_fx_client(c->kernel, globals, &out->client, &out->why);
    if (!lhi_grow(&known->rows, known->count, &known->room, sizeof *known->rows) ||
        !lhi_map_put(&known->by_globals, globals, known->count))
        return lhi_fail_memory(err);
    known->rows[known->count++] = *out;
    return LH_OK;
}

static void miss(lhi_client *out, lh_absence absence)
{
    if (absence != LH_PRESENT && absence != LH_ABSENT_LAYOUT && out->absence == LH_PRESENT)
        out->absence = absence;
}

/* A port driver sends its packets from a miniport's device: that is the one attached above the device that
 * the packet was sent to, and its driver object has the port's dispatch routines. */
static void by_device(const lhi_case *c, const lhi_packet *packet, const lhi_module *library, lhi_client *out)
{
    const lhi_irp *irp = packet->irp;
    lhi_device below = {0}, own = {0};
    lh_absence why = LH_PRESENT;
    if (irp->slot_count == 0 || irp->slots[irp->slot_count - 1].device == 0)
        return;
    lhi_device_read(c->kernel, irp->slots[irp->slot_count - 1].device, &below);
    miss(out, below.absence);
    if (below.absence != LH_PRESENT || !lhi_is_kernel(below.attached))
        return;
    lhi_device_read(c->kernel, below.attached, &own);
    miss(out, own.absence);
    if (own.absence != LH_PRESENT)
        return;
    const lhi_answer serves = lhi_serves_device(c->kernel, library, own.driver, &why);
    if (serves != LHI_YES) {
        miss(out, why);
        return;
    }
    lhi_driver_read(c->kernel, own.driver, &out->driver);
    miss(out, out->driver.absence);
    out->found = out->driver.object_known && !lhi_is_library(out->driver.name);
    out->reason = "the library made the packet for the driver whose device it was sent from: that driver's "
                  "dispatch routines lie in the library";
}

/* The context of a framework's completion routine is its object for the request. */
static lh_status by_framework(lhi_case *c, lhi_bounds *known, const lhi_packet *packet, lhi_client *out,
                              lh_error *err)
{
    const lhi_irp *irp = packet->irp;
    lhi_bound bound = {0};
    lhi_fx_object object = {0};
    if (irp->slot_count == 0)
        return LH_OK;
    bound.answer =
        lhi_fx_object_read(c->kernel, irp->slots[irp->slot_count - 1].context, &object, &bound.why);
    lh_status status = bound.answer == LHI_YES ? find_bound(c, known, object.globals, &bound, err) : LH_OK;
    if (status != LH_OK)
        return status;
    if (bound.answer != LHI_YES) {
        miss(out, bound.why);
        return LH_OK;
    }
    lhi_driver_from_code(c->kernel, bound.client->base, &out->driver);
    out->found = out->driver.has_module && !lhi_is_library(out->driver.name);
    out->reason = "the framework made the packet for the driver whose data point to the globals of the "
                  "framework's object";
    return LH_OK;
}

static lh_status pass_on(lhi_case *c, lhi_bounds *known, lhi_packet *packet, lh_error *err)
{
    lh_status status = LH_OK;
    const lhi_driver *driver = &c->parties[packet->maker].driver;
    const lhi_library *row = lhi_library_find(driver->name);
    lhi_client client = {0};
    if (!row || !driver->has_module || driver->module.unloaded)
        return LH_OK;
    const lhi_module library = driver->module;
    if (row->clients & LHI_CLIENT_FRAMEWORK)
        status = by_framework(c, known, packet, &client, err);
    if (status != LH_OK)
        return status;
    if (!client.found && (row->clients & LHI_CLIENT_DEVICE))
        by_device(c, packet, &library, &client);
    packet->client_absence = client.found ? LH_PRESENT : client.absence;
    if (!client.found)
        return LH_OK;
    const size_t party = lhi_case_party(c, &client.driver, err);
    if (party == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    packet->library = packet->maker;
    packet->maker = party;
    packet->maker_reason = client.reason;
    return LH_OK;
}

lh_status lhi_case_clients(lhi_case *c, lh_error *err)
{
    lhi_bounds known = {0};
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < c->packet_count; i++) {
        lhi_packet *packet = &c->packets[i];
        if (packet->irp->origin == LHI_ORIGIN_DRIVER && packet->maker != LHI_NONE && !packet->kept &&
            c->parties[packet->maker].library)
            status = pass_on(c, &known, packet, err);
    }
    lhi_map_free(&known.by_globals);
    lhi_free(known.rows);
    return status == LH_OK ? lhi_case_clients_on_stacks(c, err) : status;
}
