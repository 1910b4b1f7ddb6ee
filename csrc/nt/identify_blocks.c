/* What a block of memory is that is no object of the I/O manager: a work item, a lock tracker, an object of
 * KMDF. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nt/callback.h"
#include "nt/framework.h"
#include "nt/identify.h"
#include "nt/read.h"
#include "nt/text.h"
#include "nt/tracker.h"
#include "nt/typed.h"

#define SLIST_FLAGS 0xfull /* low bits of an SLIST_HEADER's second word */

/* Which field of it the address is, and whose routine will be called. */
static void tell_callback(const lhi_callback *callback, uint64_t va, char *out, size_t size)
{
    char field[64] = "";
    if (va - callback->context_at < sizeof(uint64_t))
        (void)snprintf(field, sizeof field, "%s", callback->field);
    else
        (void)snprintf(field, sizeof field, "%s+0x%" PRIx64, callback->type, va - callback->address);
    (void)snprintf(out, size, "%s, routine %s+0x%" PRIx64, field, callback->driver.module.name,
                   callback->routine - callback->driver.module.base);
}

static bool is_callback(const lh_kernel *kernel, uint64_t lowest, lh_identity *out)
{
    lhi_callback callback = {0};
    if (!lhi_callback_around(kernel, out->address, lowest, &callback))
        return false;
    lhi_contain(out, callback.place, callback.address, callback.size);
    lhi_text_copy(callback.type, out->name, sizeof out->name);
    lhi_text_copy(callback.driver.module.name, out->owner_name, sizeof out->owner_name);
    if (callback.one_use && callback.queued != LHI_UNKNOWN)
        out->state = callback.queued == LHI_YES ? LHI_STATE_QUEUED : LHI_STATE_NOT_QUEUED;
    return true;
}

static bool is_tracker(const lh_kernel *kernel, const lhi_pool_block *block, lh_identity *out)
{
    lhi_tracker_form form = LHI_TRACKER_NONE;
    lhi_tracker tracker = {0};
    uint64_t missing = 0;
    if (strcmp(block->tag, "MmLk") != 0 || !lhi_trackers_public(kernel) ||
        lhi_tracker_read(kernel, block->body, LHI_TRACKER_NONE, &form, &tracker, &missing) != LH_PRESENT)
        return false;
    lhi_contain(out, LH_PLACE_LOCK_TRACKER, block->body, block->size);
    out->owner = tracker.process;
    return true;
}

static bool is_framework(const lh_kernel *kernel, const lhi_pool_block *block, lh_identity *out)
{
    lhi_fx_object object = {0};
    const lhi_module *client = NULL;
    lh_absence ignored = LH_PRESENT;
    if (!lhi_fx_object_in(kernel, block->body, block->size, &object))
        return false;
    lhi_contain(out, LH_PLACE_FRAMEWORK_OBJECT, block->body, block->size);
    lhi_text_copy(lhi_fx_type_name(object.type), out->name, sizeof out->name);
    if (lhi_fx_client(kernel, object.globals, &client, &ignored) == LHI_YES)
        lhi_text_copy(client->name, out->owner_name, sizeof out->owner_name);
    return true;
}

bool lhi_block_around(const lh_kernel *kernel, uint64_t va, lh_identity *out)
{
    lhi_pool_block block = {0};
    lhi_big_block big = {0};
    if (lhi_big_block_at(kernel, va, &big))
        block = (lhi_pool_block){.found = true, .body = big.va, .size = big.size};
    else
        lhi_pool_block_at(kernel, va, &block);
    if (!block.found || block.state == LHI_POOL_FREE)
        return false;
    const char *tag = big.va ? big.tag : block.tag;
    if (!is_tracker(kernel, &block, out) && !is_framework(kernel, &block, out) &&
        !is_callback(kernel, block.body, out))
        return false;
    lhi_text_copy(tag, out->tag, sizeof out->tag);
    return true;
}

/* The word points to an MDL: the field of a known structure that it is, or that it does. */
static const char *field_of_mdl(const lh_kernel *kernel, uint64_t va)
{
    for (uint64_t step = 8; step >= 4; step /= 2) {
        uint64_t at = va & ~(step - 1), value = 0, budget = LHI_PAGE_SIZE;
        lhi_mdl mdl = {0};
        if (lhi_space_u64(&kernel->space, at, &value) != LH_PRESENT || !lhi_is_object(value, 8))
            continue;
        lhi_mdl_read(kernel, value, 0, &budget, &mdl);
        if (mdl.klass == LHI_MDL_NOT_ONE || mdl.klass == LHI_MDL_UNREADABLE)
            continue;
        const char *field = lhi_mdl_field(kernel, at, &mdl);
        return field ? field : "a pointer to an MDL";
    }
    return NULL;
}

/* The word points to the first of the blocks that wait for their next use. */
static bool is_lookaside_head(const lh_kernel *kernel, uint64_t at, lhi_pool_block *first)
{
    uint64_t value = 0;
    if (lhi_space_u64(&kernel->space, at, &value) != LH_PRESENT)
        return false;
    value &= ~SLIST_FLAGS;
    if (!lhi_is_object(value, 16))
        return false;
    lhi_pool_block_at(kernel, value, first);
    return first->found && first->body == value && lhi_is_lookaside(kernel, at, first->tag, first->size);
}

/* Of a packet and of a lock tracker by the offset alone. */
static const char *field_at(const lh_kernel *kernel, const lh_identity *out)
{
    uint64_t mdl = 0;
    if (out->place == LH_PLACE_IRP)
        return out->offset - kernel->layout->offsets[LHI_F_IRP_MdlAddress] < sizeof(uint64_t)
                   ? "IRP.MdlAddress"
                   : lhi_irp_field(out->offset);
    if (out->place == LH_PLACE_LOCK_TRACKER)
        return lhi_layout_offset(kernel->layout, LHI_F_LOCK_TRACKER_Mdl, &mdl) &&
                       out->offset - mdl < sizeof(uint64_t)
                   ? "LOCK_TRACKER.Mdl"
                   : NULL;
    return field_of_mdl(kernel, out->address);
}

void lhi_detail_at(const lh_kernel *kernel, lh_identity *out)
{
    const uint64_t at = out->address & ~(uint64_t)7;
    const uint64_t lowest = out->base && out->place != LH_PLACE_MODULE ? out->base : at - LHI_PAGE_SIZE;
    lhi_callback callback = {0};
    lhi_pool_block first = {0};
    char text[sizeof out->text] = "";
    const char *field = NULL;
    if (lhi_callback_around(kernel, out->address, lowest, &callback))
        tell_callback(&callback, out->address, text, sizeof text);
    else if (is_lookaside_head(kernel, at, &first))
        (void)snprintf(text, sizeof text, "the head of a lookaside list of blocks '%s'", first.tag);
    else if ((field = field_at(kernel, out)) != NULL)
        (void)snprintf(text, sizeof text, "%s", field);
    lhi_text_copy(text, out->detail, sizeof out->detail);
}
