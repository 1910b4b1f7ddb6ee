/* Pointers that are the context of a routine: of a work item, a DPC, a timer, an APC.
 *
 * What a work item has that stands in one of the kernel's queues will be given to its driver, whoever leads
 * to the item: it is that driver's. What one has that is not queued is from a use before, and proves nothing.
 * A DPC or a timer has its context as long as it lives: there the memory that it lies in tells. */
#include <inttypes.h>

#include "case/holder_graph.h"
#include "nt/callback.h"

#define QUEUED_BASE 3u /* added to the place of the context: no other thing begins there */

/* An object, and whose its routine is: LHI_NONE where that driver can't be named. */
typedef struct lhi_found {
    lhi_callback callback;
    size_t party;
    const char *field; /* "KDPC.DeferredContext (routine leaky.sys+0x1230)" */
} lhi_found;

/* A place whose memory is somebody's, or may be: not a packet, a stack or what is left over. */
static bool may_have_one(lhi_site_kind kind)
{
    return kind == LHI_SITE_POOL || kind == LHI_SITE_DEVICE || kind == LHI_SITE_EXTENSION ||
           kind == LHI_SITE_MODULE;
}

/* *field NULL: none. */
static lh_status find(lhi_holders *h, size_t place, uint64_t at, lhi_found *out, lh_error *err)
{
    const lhi_driver *driver = &out->callback.driver;
    *out = (lhi_found){.party = LHI_NONE};
    if (!may_have_one(h->things[place].site.kind) ||
        !lhi_callback_of(h->c->kernel, at, &h->queued, &out->callback))
        return LH_OK;
    h->truncated = h->truncated || h->queued == 0;
    if (driver->absence == LH_PRESENT && (out->party = lhi_case_party(h->c, driver, err)) == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    const bool idle = out->callback.one_use && out->callback.queued != LHI_YES;
    out->field = lhi_arena_printf(&h->c->arena, "%s (%sroutine %s+0x%" PRIx64 ")", out->callback.field,
                                  idle ? "not queued, " : "",
                                  driver->absence == LH_PRESENT ? driver->name : "of a driver",
                                  out->callback.routine - driver->module.base);
    return out->field ? LH_OK : lhi_fail_memory(err);
}

/* The item as a thing of its own, which is the driver's. */
static lh_status enter_queued(lhi_holders *h, const lhi_found *found, size_t held, lh_error *err)
{
    const lhi_callback *callback = &found->callback;
    const lhi_site site = {.kind = LHI_SITE_QUEUED,
                           .base = callback->context_at | QUEUED_BASE,
                           .size = 1,
                           .object = callback->address,
                           .party = found->party,
                           .name = callback->type,
                           .why = "a work item of a driver that can't be named has what leads to it"};
    const size_t thing = lhi_holder_thing(h, &site, err), before = h->grip_count;
    if (thing == LHI_NONE)
        return h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    lh_status status =
        lhi_holder_grip(h, thing, held, callback->context_at, "its routine will be called with it", err);
    if (status == LH_OK && h->grip_count > before)
        h->grips[before].field = found->field;
    return status;
}

lh_status lhi_holder_callback(lhi_holders *h, size_t grip, lh_error *err)
{
    lhi_grip *g = &h->grips[grip];
    lhi_found found = {0};
    lh_status status = g->log ? LH_OK : find(h, g->holder, g->at, &found, err);
    if (status != LH_OK || !found.field)
        return status;
    g->field = found.field;
    g->routine_of = found.party;
    g->queued = found.callback.queued == LHI_YES;
    g->idle = found.callback.one_use && !g->queued;
    return g->queued ? enter_queued(h, &found, g->held, err) : LH_OK;
}

lh_status lhi_holder_own_callback(lhi_holders *h, size_t thing, uint64_t at, lh_error *err)
{
    lhi_found found = {0};
    lh_status status = find(h, thing, at, &found, err);
    return status == LH_OK && found.field && found.callback.queued == LHI_YES
               ? enter_queued(h, &found, thing, err)
               : status;
}
