/* What a block on the way from an MDL has in it, and says of whose the block is.
 *
 * A structure of a driver's has routines of its own, a table of them, its driver object or a device. One that
 * has another driver's and nothing of the one whose memory the way ends in was made by that other driver: who
 * keeps its address may have been given it as a handle. */
#include "case/holder_graph.h"
#include "nt/read.h"

#define WORD       8u
#define MOST_BYTES 0x1000u /* of a block that are looked at */
#define DEVICE     3u      /* DEVICE_OBJECT.Type, DRIVER_OBJECT.Type (WDK wdm.h; facts B.4) */
#define DRIVER     4u

/* The driver whose image, driver object or device a word points to; *device 0: no device. */
static bool driver_at(const lh_kernel *kernel, uint64_t word, lhi_driver *out, uint64_t *device)
{
    lhi_device read = {0};
    uint16_t type = 0;
    *device = 0;
    if (!lhi_is_kernel(word))
        return false;
    if (lhi_module_at(&kernel->modules, word)) {
        lhi_driver_from_code(kernel, word, out);
    } else if (!lhi_is_object(word, WORD) || lhi_space_u16(&kernel->space, word, &type) != LH_PRESENT) {
        return false;
    } else if (type == DRIVER) {
        lhi_driver_read(kernel, word, out);
    } else if (type == DEVICE) {
        lhi_device_driver(kernel, word, &read, out);
        *device = word;
    }
    return out->has_module; /* also of one whose name's page is missing: it is somebody's */
}

lh_status lhi_holder_content(lhi_holders *h, const lhi_site *site, size_t party, bool *other, lh_error *err)
{
    lhi_case *c = h->c;
    const uint64_t bytes = site->size < MOST_BYTES ? site->size : MOST_BYTES;
    lh_status status = LH_OK;
    *other = false;
    for (uint64_t at = 0; status == LH_OK && at + WORD <= bytes; at += WORD) {
        lhi_driver driver = {0};
        uint64_t word = 0, device = 0;
        bool one = false;
        if (lhi_space_u64(&c->kernel->space, site->base + at, &word) != LH_PRESENT ||
            !driver_at(c->kernel, word, &driver, &device))
            continue;
        const size_t of = lhi_case_party(c, &driver, err);
        if (of == LHI_NONE)
            return LH_ERR_NO_MEMORY;
        if (lhi_case_same_driver(c, of, party)) {
            *other = false;
            return LH_OK;
        }
        status = device ? lhi_holder_device_is_other(h, device, party, &one, err)
                        : lhi_holder_is_other(c, &driver, party, &one, err);
        *other = *other || one;
    }
    return status;
}
