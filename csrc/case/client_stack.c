/* Finds the client of a library's packet on the stacks of threads that wait with it: the driver that called
 * the library in whose frame the packet is. */
#include "base/alloc.h"
#include "base/error.h"
#include "case/client.h"
#include "case/holder_graph.h"
#include "case/pass.h"
#include "nt/library.h"

typedef struct lhi_waiter {
    size_t packet;
    size_t client; /* the only one so far, LHI_NONE */
    bool several;  /* or a frame of which it is not known whose it is */
} lhi_waiter;

static bool wants_client(const lhi_case *c, const lhi_packet *packet)
{
    if (packet->irp->origin != LHI_ORIGIN_DRIVER || packet->irp->state != LHI_IRP_PENDING ||
        packet->maker == LHI_NONE || packet->kept || packet->library != LHI_NONE)
        return false;
    return lhi_case_serves(c, packet->maker, LHI_CLIENT_STACK);
}

static lh_status take_hit(lhi_holders *h, lhi_waiter *waiter, uint64_t va, lh_error *err)
{
    lhi_case *c = h->c;
    const lhi_kernel_stack *stack = lhi_stack_at(&c->stacks, va);
    lhi_site site = {.party = LHI_NONE};
    if (!stack || (stack->pointer != 0 && va < stack->pointer))
        return LH_OK;
    if (stack->pointer == 0) {
        waiter->several = true;
        return LH_OK;
    }
    lh_status status = lhi_holder_frame(h, stack, va, &site, err);
    if (status != LH_OK || site.party == LHI_NONE) {
        waiter->several = true;
        return status;
    }
    const bool served =
        !site.loose && site.served && lhi_case_same_driver(c, site.library, c->packets[waiter->packet].maker);
    if (!served) { /* what is left over and the library's own say nothing; another driver's speaks against */
        waiter->several = waiter->several || !c->parties[site.party].library;
        return LH_OK;
    }
    waiter->several = waiter->several ||
                      (waiter->client != LHI_NONE && !lhi_case_same_driver(c, waiter->client, site.party));
    waiter->client = site.party;
    return LH_OK;
}

static lh_status search(lhi_case *c, const uint64_t *values, lhi_waiter *waiters, size_t count, lh_error *err)
{
    lhi_holders scratch = {.c = c}; /* keeps the stack that was unwound last */
    lhi_pass pass = {0};
    lh_status status = lhi_case_know_stacks(c, err);
    if (status == LH_OK)
        status = lhi_case_pass(c, values, count, 8, &pass, err);
    for (size_t i = 0; status == LH_OK && i < pass.hits.count; i++) {
        size_t first = 0;
        if (i % 256 == 0 && (status = lhi_case_poll(c, err)) != LH_OK)
            break;
        if (lhi_reverse_find(&pass.map, pass.hits.physical[i] >> 12, &first) != 0)
            status = take_hit(&scratch, &waiters[pass.hits.needle[i]],
                              pass.map.va[first] + (pass.hits.physical[i] & 0xfff), err);
    }
    lhi_case_pass_free(&pass);
    lhi_call_stack_free(&scratch.walk);
    return status;
}

static void pass_on(lhi_case *c, const lhi_waiter *waiter)
{
    lhi_packet *packet = &c->packets[waiter->packet];
    if (waiter->client == LHI_NONE || waiter->several)
        return;
    packet->library = packet->maker;
    packet->maker = waiter->client;
    packet->by_stack = true;
    packet->client_absence = LH_PRESENT;
    packet->maker_reason =
        "the library made the packet for the driver that called it, and whose thread waits "
        "in the library with the packet";
}

lh_status lhi_case_clients_on_stacks(lhi_case *c, lh_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < c->packet_count; i++)
        count += wants_client(c, &c->packets[i]);
    if (count == 0)
        return LH_OK;
    uint64_t *values = lhi_calloc(count, sizeof *values);
    lhi_waiter *waiters = lhi_calloc(count, sizeof *waiters);
    lh_status status = LH_OK;
    if (!values || !waiters) {
        status = lhi_fail_memory(err);
        goto done;
    }
    for (size_t i = 0, at = 0; i < c->packet_count; i++) {
        if (!wants_client(c, &c->packets[i]))
            continue;
        values[at] = c->packets[i].irp->address;
        waiters[at++] = (lhi_waiter){.packet = i, .client = LHI_NONE};
    }
    status = search(c, values, waiters, count, err);
    for (size_t i = 0; status == LH_OK && i < count; i++)
        pass_on(c, &waiters[i]);
done:
    lhi_free(values);
    lhi_free(waiters);
    return status;
}
