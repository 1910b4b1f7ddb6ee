/* Who else had the MDL that was unlocked: the drivers that a packet with it went through, and those whose
 * memory leads to it. */
#include <inttypes.h>

#include "base/error.h"
#include "case/holders.h"
#include "case/unlock.h"

/* It can unlock pages; where its imports are gone, whether it could is open. */
static bool may_unlock(lhi_case *c, size_t party, lhi_sharers *out)
{
    const lhi_answer may = lhi_case_may_unlock(c, party);
    out->missing = out->missing || may == LHI_UNKNOWN;
    return may == LHI_YES;
}

/* Libraries of Windows unlock what they locked. */
static bool take_sharer(lhi_unlock *u, const lhi_packet *packet, size_t party, lhi_sharers *out)
{
    lhi_case *c = u->c;
    const lhi_party *p = &c->parties[party];
    if (p->driver.is_kernel || (out->who != LHI_NONE && lhi_case_same_driver(c, party, out->who)))
        return true;
    if (!out->writers && (p->library || !may_unlock(c, party, out)))
        return true;
    out->count++;
    const char *text = lhi_arena_printf(
        &c->arena, "the packet at 0x%" PRIx64 " names the MDL and went through it, and it %s",
        packet->irp->address, out->writers ? "could change the MDL" : "can unlock pages");
    return lhi_case_note(c, out->writers ? "packet" : "unlock_import", party, packet->irp->address, text);
}

/* Whom the packet went through is not known any more, nor what that driver did. */
static bool take_unknown(lhi_unlock *u, const lhi_packet *packet, const char *what, lhi_sharers *out)
{
    lhi_case *c = u->c;
    out->count++;
    return lhi_case_note(c, "packet", LHI_NONE, packet->irp->address,
                         lhi_arena_printf(&c->arena, "the packet at 0x%" PRIx64 " names the MDL and %s",
                                          packet->irp->address, what));
}

static lh_status ask_packet(lhi_unlock *u, const lhi_packet *packet, lhi_sharers *out, lh_error *err)
{
    lhi_case *c = u->c;
    for (size_t i = 0; i < packet->irp->slot_count; i++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        if (packet->irp->slots[i].device == 0)
            continue;
        lhi_device_driver(c->kernel, packet->irp->slots[i].device, &device, &driver);
        if (!driver.object_known) {
            out->missing = out->missing || lhi_case_is_missing(driver.absence);
            if (!lhi_case_is_missing(driver.absence) &&
                !take_unknown(u, packet, "went through a device that is there no more", out))
                return lhi_fail_memory(err);
            continue;
        }
        size_t party = lhi_case_party(c, &driver, err);
        if (party == LHI_NONE)
            return LH_ERR_NO_MEMORY;
        if (!take_sharer(u, packet, party, out))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

lh_status lhi_unlock_sharers(lhi_unlock *u, lhi_sharers *out, lh_error *err)
{
    const lhi_case *c = u->c;
    lh_status status = LH_OK;
    out->missing = lhi_case_pool_could_hide(c);
    if (u->record == LHI_NONE)
        return LH_OK;
    const lhi_vec *packets = &c->records[u->record].packets;
    for (size_t i = 0; status == LH_OK && i < packets->count; i++) {
        const lhi_packet *packet = &c->packets[packets->data[i]];
        const lhi_irp_state state = packet->irp->state;
        out->missing = out->missing || state == LHI_IRP_UNREADABLE;
        if (state == LHI_IRP_DAMAGED && !take_unknown(u, packet, "is damaged", out))
            status = lhi_fail_memory(err);
        if (state == LHI_IRP_PENDING || state == LHI_IRP_RETURNED || state == LHI_IRP_COMPLETED)
            status = ask_packet(u, packet, out, err);
    }
    return status;
}

/* Looks for what leads to this record alone. */
static lh_status find_memory(lhi_case *c, size_t record, lhi_claims *claims, lh_error *err)
{
    for (size_t i = 0; i < c->record_count; i++)
        c->records[i].open = i == record;
    lh_status status = lhi_case_find_holders_again(c, err);
    return status == LH_OK ? lhi_case_claims(c, record, NULL, claims, err) : status;
}

lh_status lhi_unlock_keepers(lhi_unlock *u, lhi_sharers *out, lh_error *err)
{
    lhi_case *c = u->c;
    lhi_claims claims = {0};
    if (u->record == LHI_NONE)
        return LH_OK;
    lh_status status = find_memory(c, u->record, &claims, err);
    if (status != LH_OK)
        return status;
    const lhi_record *r = &c->records[u->record];
    out->missing = out->missing || claims.truncated || lhi_case_holder_could_hide(c);
    for (unsigned i = 0; i < r->claimant_count; i++) {
        const lhi_claimant *one = &r->claimants[i];
        const lhi_party *p = &c->parties[one->party];
        if (p->driver.is_kernel || p->library || lhi_case_same_driver(c, one->party, out->who) ||
            !may_unlock(c, one->party, out))
            continue;
        out->count++;
        if (!lhi_case_note(c, "unlock_import", one->party, one->at,
                           lhi_arena_printf(&c->arena,
                                            "its memory leads to the MDL, and it can unlock pages: %s",
                                            one->trail)))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}
