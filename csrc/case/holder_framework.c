/* Blocks that are objects of KMDF, or contexts of such: whose client's they are, and how others refer to
 * them.
 *
 * A client has no pointer to an object but a handle: the object's address, plus 1 where it is one inside
 * another, with all bits but the low three inverted (facts L.5). */
#include "base/error.h"
#include "case/holder_graph.h"
#include "nt/identify.h"
#include "nt/memory.h"

#define HANDLE_BITS  7u
#define MOST_CLIENTS 512u /* of the framework in one system */

/* The party that the globals belong to; LHI_NONE: not known. */
static lh_status client_of(lhi_holders *h, uint64_t globals, size_t *party, lh_error *err)
{
    const lh_kernel *kernel = h->c->kernel;
    const lhi_module *client = NULL;
    lhi_driver driver = {0};
    lh_absence why = LH_PRESENT;
    size_t known = lhi_map_get(&h->clients, globals);
    *party = LHI_NONE;
    if (known != SIZE_MAX) {
        *party = known == h->nobody ? LHI_NONE : known;
        return LH_OK;
    }
    if (h->clients.count >= MOST_CLIENTS) {
        h->truncated = true;
        return LH_OK;
    }
    lh_status status = lhi_case_poll(h->c, err); /* all images are read */
    if (status != LH_OK)
        return status;
    if (lhi_fx_client(kernel, globals, &client, &why) == LHI_YES) {
        lhi_driver_from_code(kernel, client->base, &driver);
        if (driver.absence == LH_PRESENT && (*party = lhi_case_party(h->c, &driver, err)) == LHI_NONE)
            return LH_ERR_NO_MEMORY;
    }
    return lhi_map_put(&h->clients, globals, *party == LHI_NONE ? h->nobody : *party) ? LH_OK
                                                                                      : lhi_fail_memory(err);
}

lh_status lhi_holder_framework(lhi_holders *h, lhi_site *site, lh_error *err)
{
    lhi_fx_object object = {0};
    if (!lhi_fx_object_in(h->c->kernel, site->base, site->size, &object))
        return LH_OK;
    if (object.references <= 0) {
        site->kind = LHI_SITE_DEAD;
        site->why = "an object of the framework that was released";
        return LH_OK;
    }
    site->object = object.address;
    site->globals = object.globals;
    site->what = lhi_fx_type_name(object.type);
    return client_of(h, object.globals, &site->client, err);
}

bool lhi_holder_object_at(const lhi_holders *h, uint64_t va, lhi_fx_object *out)
{
    lhi_pool_block block = {0};
    lhi_big_block big = {0};
    if (lhi_big_blocks_at(&h->big, va, &big))
        return lhi_fx_object_in(h->c->kernel, big.va, big.size, out);
    lhi_pool_block_at(h->c->kernel, va, &block);
    return block.found && block.state != LHI_POOL_FREE &&
           lhi_fx_object_in(h->c->kernel, block.body, block.size, out);
}

lh_range lhi_holder_handles(const lhi_site *site)
{
    const uint64_t last = site->base + site->size - 1;
    return (lh_range){~last & ~(uint64_t)HANDLE_BITS, (~site->base | HANDLE_BITS) + 1};
}
