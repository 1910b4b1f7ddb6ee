/* Puts into words what was found: the evidence for each driver, and why drivers that look guilty are not. */
#include <inttypes.h>

#include "case/case.h"
#include "case/explain.h"
#include "case/lock.h"

#define MOST_EXPLAINED 256 /* MDLs whose evidence is spelt out */

static const char *name_of(const lhi_case *c, size_t party)
{
    if (party == LHI_NONE)
        return "an unknown driver";
    const lhi_driver *driver = &c->parties[party].driver;
    if (driver->absence == LH_PRESENT)
        return driver->name;
    return driver->object_name[0] ? driver->object_name : "a driver without a name";
}

static bool note_packet(lhi_case *c, size_t party, const lhi_packet *packet)
{
    const lhi_irp *irp = packet->irp;
    const char *text = lhi_arena_printf(&c->arena, "IRP %s, stack location %u of %u; %s",
                                        lhi_irp_state_name(irp->state), irp->current, irp->stack_count,
                                        irp->origin_reason ? irp->origin_reason : irp->reason);
    if (!lhi_case_note(c, "irp", party, irp->address, text))
        return false;
    if (irp->state == LHI_IRP_PENDING && packet->at != LHI_NONE) {
        text = lhi_arena_printf(&c->arena, "%s waits at device 0x%" PRIx64 " of %s",
                                lhi_irp_major_name(irp->slots[irp->current - 1].major),
                                packet->device.address, name_of(c, packet->at));
        if (!lhi_case_note(c, "stack_location", party, irp->current_slot, text))
            return false;
    }
    if (packet->maker != LHI_NONE) {
        text = lhi_arena_printf(&c->arena, "%s: %s", name_of(c, packet->maker), packet->maker_reason);
        if (!lhi_case_note(c, "maker", party, irp->address, text))
            return false;
    }
    return true;
}

static bool is_named(const lhi_case *c, size_t party)
{
    for (size_t i = 0; i < c->named_count; i++)
        if (lhi_case_same_driver(c, c->named[i].party, party))
            return true;
    return false;
}

static bool clear(lhi_case *c, size_t party, uint64_t address, const char *reason)
{
    return party == LHI_NONE || is_named(c, party) || lhi_case_clear(c, party, address, reason);
}

/* Drivers above the current location passed the request down. */
static lh_status clear_above(lhi_case *c, const lhi_packet *packet, lh_error *err)
{
    const lhi_irp *irp = packet->irp;
    for (size_t i = irp->current; i < irp->slot_count; i++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        if (irp->slots[i].device == 0)
            continue;
        lhi_device_driver(c->kernel, irp->slots[i].device, &device, &driver);
        if (!driver.object_known)
            continue;
        size_t party = lhi_case_party(c, &driver, err);
        if (party == LHI_NONE)
            return LH_ERR_NO_MEMORY;
        if (!lhi_case_same_driver(c, party, packet->at) && !lhi_case_same_driver(c, party, packet->maker) &&
            !clear(c, party, device.address,
                   "stands above: it passed the request down, and the request waits below it"))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

static lh_status explain_record(lhi_case *c, size_t index, lh_error *err)
{
    const lhi_record *r = &c->records[index];
    size_t party = r->holder;
    if (r->outcome == LHI_OUTCOME_NAMED && r->judged_packet != LHI_NONE && r->judged_packet != r->packet)
        party = c->packets[r->judged_packet].at;
    if (r->shared && r->lock != LHI_NONE) /* the driver that locked comes first */
        party = c->locks[r->lock].locker;
    const char *text = lhi_arena_printf(
        &c->arena, "MDL: %" PRIu64 " page%s at user address 0x%" PRIx64 ", flags 0x%04x: %s", r->mdl.pages,
        r->mdl.pages == 1 ? "" : "s", r->mdl.start_va + r->mdl.byte_offset, r->mdl.flags, r->mdl.reason);
    if (!lhi_case_note(c, "mdl", party, r->mdl.address, text))
        return lhi_fail_memory(err);
    if (r->frames_referenced && !r->frames_unknown &&
        !lhi_case_note(c, "pfn_references", party, r->mdl.address,
                       "every frame of the MDL still has a reference in the PFN database"))
        return lhi_fail_memory(err);
    for (unsigned i = 0; i < r->claimant_count; i++)
        if (r->claimants[i].trail &&
            !lhi_case_note(c, "holder", r->claimants[i].party, r->claimants[i].at, r->claimants[i].trail))
            return lhi_fail_memory(err);
    if (r->packet != LHI_NONE) {
        const lhi_packet *packet = &c->packets[r->packet];
        if (!note_packet(c, party, packet))
            return lhi_fail_memory(err);
        if (packet->irp->state == LHI_IRP_PENDING) {
            lh_status status = clear_above(c, packet, err);
            if (status != LH_OK)
                return status;
        }
        bool made = packet->irp->origin == LHI_ORIGIN_DRIVER;
        if (made && r->outcome == LHI_OUTCOME_NAMED && packet->irp->state == LHI_IRP_PENDING &&
            !clear(c, packet->at, packet->irp->address,
                   "another driver's own packet waits in it: the maker owes the unlock"))
            return lhi_fail_memory(err);
    }
    if (r->judged_packet != LHI_NONE && r->judged_packet != r->packet) {
        if (!note_packet(c, party, &c->packets[r->judged_packet]) ||
            (r->outcome == LHI_OUTCOME_NAMED &&
             !clear(c, c->packets[r->packet].at, c->packets[r->packet].irp->address,
                    "split the request, and waits for a piece that is pending in another driver")))
            return lhi_fail_memory(err);
    }
    if (r->why && !lhi_case_note(c, "judgement", party, r->mdl.address, r->why))
        return lhi_fail_memory(err);
    return LH_OK;
}

const char *lhi_case_rule_of(const lhi_case *c, const lhi_record *r)
{
    if (r->lock != LHI_NONE && c->locks[r->lock].rule)
        return c->locks[r->lock].rule;
    if (r->freed)
        return lhi_rule_name(LHI_RULE_FREED);
    if (r->by_holder)
        return lhi_rule_name(LHI_RULE_MEMORY);
    if (r->packet == LHI_NONE)
        return NULL;
    if (r->judged_packet != r->packet)
        return lhi_rule_name(LHI_RULE_PACKET_SPLIT);
    return lhi_rule_name(c->packets[r->packet].irp->origin == LHI_ORIGIN_DRIVER ? LHI_RULE_PACKET_MADE
                                                                                : LHI_RULE_PACKET_PENDING);
}

lh_status lhi_case_explain(lhi_case *c, lh_error *err)
{
    lh_status status = LH_OK;
    size_t told = 0;
    for (size_t i = 0; status == LH_OK && i < c->record_count && told < MOST_EXPLAINED; i++) {
        if (c->records[i].in_ledger) {
            status = explain_record(c, i, err);
            told++;
        }
    }
    /* Packets that name one of these MDLs and prove nothing. */
    told = 0;
    for (size_t i = 0; status == LH_OK && i < c->packet_count && told < MOST_EXPLAINED; i++) {
        const lhi_packet *packet = &c->packets[i];
        const char *reason = NULL;
        if (packet->irp->state == LHI_IRP_COMPLETED)
            reason = "a packet that went through it names the MDL, but is completed";
        else if (packet->irp->state == LHI_IRP_FREED)
            reason = "a packet that went through it names the MDL, but is freed memory";
        else if (packet->irp->state == LHI_IRP_RETURNED)
            reason = "a packet that was sent to it names the MDL, but is back with its maker";
        if (reason && packet->at != LHI_NONE) {
            told++;
            if (!clear(c, packet->at, packet->irp->address, reason))
                status = lhi_fail_memory(err);
        }
    }
    return status;
}
