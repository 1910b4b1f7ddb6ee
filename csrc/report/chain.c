/* The way from the process to the driver, step by step. */
#include <inttypes.h>

#include "case/lock.h"
#include "case/method.h"
#include "case/relative.h"
#include "case/unlocker.h"
#include "report/report.h"

static lhi_node *step(lhi_case *c, lhi_node *list, const char *kind, uint64_t va, const char *statement)
{
    lhi_node *row = lhi_tree_object(&c->arena, list, NULL);
    lhi_tree_text(&c->arena, row, "kind", kind);
    lhi_tree_text(&c->arena, row, "statement", statement);
    lhi_report_place(c, row, va);
    return row;
}

/* IRP_MJ_DEVICE_CONTROL and IRP_MJ_INTERNAL_DEVICE_CONTROL of wdm.h; IoControlCode is the third parameter. */
bool lhi_report_control_code(const lhi_slot *slot, uint32_t *code)
{
    if (slot->major != 14 && slot->major != 15)
        return false;
    *code = (uint32_t)slot->parameters[2];
    return true;
}

static void packet_steps(lhi_case *c, lhi_node *list, const lhi_packet *packet)
{
    lhi_arena *arena = &c->arena;
    const lhi_irp *irp = packet->irp;
    lhi_node *row =
        step(c, list, "irp", irp->address,
             lhi_arena_printf(arena, "MdlAddress names the MDL; %s; %s", irp->reason ? irp->reason : "",
                              irp->origin_reason ? irp->origin_reason : ""));
    lhi_tree_text(arena, row, "state", lhi_irp_state_name(irp->state));
    lhi_tree_text(arena, row, "origin", lhi_irp_origin_name(irp->origin));
    lhi_tree_count(arena, row, "current_location", irp->current);
    lhi_tree_count(arena, row, "stack_count", irp->stack_count);
    if (irp->state != LHI_IRP_PENDING)
        return;
    const lhi_slot *slot = &irp->slots[irp->current - 1];
    row = step(c, list, "stack_location", irp->current_slot,
               lhi_arena_printf(arena, "location %u of %u: %s", irp->current, irp->stack_count,
                                lhi_irp_major_name(slot->major)));
    lhi_tree_text(arena, row, "major", lhi_irp_major_name(slot->major));
    uint32_t code = 0;
    if (lhi_report_control_code(slot, &code))
        lhi_tree_address(arena, row, "io_control_code", code);
    step(
        c, list, "device", slot->device,
        packet->device.absence == LH_PRESENT
            ? (packet->device.listed == LHI_YES ? "a device object, in its driver's list" : "a device object")
            : "what is there is not a device object that can be read");
}

static void driver_steps(lhi_case *c, lhi_node *list, size_t index)
{
    lhi_arena *arena = &c->arena;
    static const char *const bases[] = {
        "nothing names it",
        "the loaded module that its image is",
        "the module entry that DriverSection points to",
        "the kernel's record of unloaded drivers",
        "the driver object's name: no module is left",
    };
    const lhi_party *party = &c->parties[index];
    const lhi_driver *driver = &party->driver;
    lhi_node *row = NULL;
    if (driver->address) {
        row = step(c, list, "driver", driver->address,
                   driver->object_known ? "a driver object"
                                        : "what is there is not a driver object that can be read");
        lhi_tree_text(arena, row, "object_name", driver->object_name);
    }
    if (driver->has_module) {
        row = step(c, list, "module", driver->module.base,
                   lhi_arena_printf(arena, "named by %s", bases[driver->basis]));
        lhi_tree_text(arena, row, "name", lhi_report_name(c, index));
        lhi_tree_text(arena, row, "version", party->version_known ? party->version : NULL);
        lhi_tree_bool(arena, row, "unloaded", driver->module.unloaded);
    }
}

/* The tracker of the lock, and the address in its trace that tells. */
static void lock_steps(lhi_case *c, lhi_node *list, const lhi_lock *lock)
{
    lhi_arena *arena = &c->arena;
    if (lock->tracker.address) {
        lhi_node *row = step(c, list, "tracker", lock->tracker.address, lock->why);
        lhi_tree_count(arena, row, "pages", lock->tracker.pages);
    }
    for (unsigned i = 0; i < lock->tracker.trace_size; i++) {
        const lhi_trace_entry *frame = &lock->frames[i];
        if (frame->party == LHI_NONE || frame->party != lock->locker || lock->by == LHI_LOCK_BY_KERNEL)
            continue;
        const lhi_driver *driver = &c->parties[frame->party].driver;
        step(c, list, "frame", frame->address,
             lhi_arena_printf(arena, "entry %u of the trace: %s+0x%" PRIx64, i, driver->name,
                              frame->address - driver->module.base));
        return;
    }
}

/* From the MDL over the frames of the crashing thread to the driver that had it unlocked. */
static void unlock_steps(lhi_case *c, lhi_node *list)
{
    const lhi_unlocker *who = c->unlocker;
    step(c, list, "mdl", c->subject_mdl, "parameter 2 of the bug check: the MDL that was unlocked");
    for (size_t i = 0; i < c->lock_count; i++)
        if (c->locks[i].tracker.mdl == c->subject_mdl)
            lock_steps(c, list, &c->locks[i]);
    const size_t last = who->client_frame != LHI_NONE ? who->client_frame : who->frame;
    for (size_t i = 0; i < who->stack.count && (last == LHI_NONE || i <= last); i++)
        step(c, list, "stack_frame", who->stack.frames[i].address,
             lhi_arena_printf(&c->arena, "frame %zu: %s", i, lhi_report_code(c, &who->stack.frames[i])));
    const size_t party = who->client != LHI_NONE ? who->client : who->party;
    if (party != LHI_NONE)
        driver_steps(c, list, party);
}

void lhi_report_chain(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    lhi_node *list = lhi_tree_list(arena, root, "chain");
    if (c->target)
        step(c, list, "process", c->target, c->target_basis);
    if (c->unlocker) {
        unlock_steps(c, list);
        return;
    }
    size_t index = lhi_report_main_record(c);
    if (index == LHI_NONE)
        return;
    const lhi_record *r = &c->records[index];
    lhi_node *row = step(c, list, "mdl", r->mdl.address,
                         lhi_arena_printf(arena, "%s; Process names the process", r->mdl.reason));
    lhi_tree_count(arena, row, "pages", r->mdl.pages);
    if (r->lock != LHI_NONE)
        lock_steps(c, list, &c->locks[r->lock]);
    if (r->packet == LHI_NONE) {
        for (size_t i = 0; i < r->step_count; i++)
            step(c, list, "holder", r->steps[i].at, r->steps[i].statement);
        size_t last = r->blamed != LHI_NONE ? r->blamed : r->holder;
        if (last != LHI_NONE)
            driver_steps(c, list, last);
        return;
    }
    const lhi_packet *packet = &c->packets[r->packet];
    if (packet->mdl != index && packet->mdl != LHI_NONE)
        step(c, list, "mdl", c->records[packet->mdl].mdl.address,
             "the first MDL of the chain that leads to it");
    packet_steps(c, list, packet);
    if (r->judged_packet != r->packet) {
        packet = &c->packets[r->judged_packet];
        step(c, list, "split", packet->irp->address, "a piece of the request, which is pending");
        packet_steps(c, list, packet);
    }
    bool made = packet->irp->origin == LHI_ORIGIN_DRIVER && r->judged_packet == r->packet;
    size_t party = lhi_case_blamed(c, r);
    if (made)
        step(c, list, "maker", packet->irp->address,
             packet->maker_reason ? packet->maker_reason : "not known");
    if (party != LHI_NONE)
        driver_steps(c, list, party);
}
