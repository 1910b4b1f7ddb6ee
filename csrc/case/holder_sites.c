/* What a place in memory is to somebody who asks whose it is. */
#include <string.h>

#include "case/holder_graph.h"
#include "case/keepers.h"
#include "nt/read.h"

static void settle(lhi_site *site, lhi_site_kind kind, uint64_t base, uint64_t size)
{
    site->kind = kind;
    site->base = base;
    site->size = size;
}

static void dead(lhi_site *site, const char *why)
{
    site->kind = LHI_SITE_DEAD;
    site->why = why;
}

static lh_status in_module(lhi_holders *h, const lhi_module *module, uint64_t va, lhi_site *out,
                           lh_error *err)
{
    lhi_case *c = h->c;
    lhi_image image = {0};
    lhi_section section = {0};
    lhi_driver driver = {0};
    settle(out, LHI_SITE_MODULE, va, 8);
    if (lhi_image_open(&c->kernel->space, module->base, module->size, &image) == LH_PRESENT &&
        lhi_image_section_of(&image, va, &section) && !(section.flags & LHI_SECTION_WRITE)) {
        dead(out, "memory of an image that can't be written");
        return LH_OK;
    }
    lhi_driver_from_code(c->kernel, va, &driver);
    if (driver.absence != LH_PRESENT)
        return LH_OK; /* data of a module that is not believed: somebody's, nobody knows whose */
    out->party = lhi_case_party(c, &driver, err);
    return out->party == LHI_NONE ? LH_ERR_NO_MEMORY : LH_OK;
}

/* A packet: over, or on its way. */
static void in_packet(lhi_holders *h, uint64_t address, lhi_site *out)
{
    lhi_irp irp;
    lhi_irp_read(h->c->kernel, address, 0, &h->c->freed, &irp);
    out->object = address;
    settle(out, LHI_SITE_PACKET, address, irp.size);
    if (irp.state == LHI_IRP_COMPLETED || irp.state == LHI_IRP_FREED)
        dead(out, "a packet that is over");
}

static lh_status in_object(lhi_holders *h, const lh_identity *identity, uint64_t va, lhi_site *out,
                           lh_error *err)
{
    lhi_driver driver = {0};
    switch (identity->place) {
    case LH_PLACE_DEVICE:
    case LH_PLACE_DEVICE_EXTENSION:
    case LH_PLACE_DRIVER:
    case LH_PLACE_DRIVER_EXTENSION:
        settle(out,
               identity->place == LH_PLACE_DEVICE || identity->place == LH_PLACE_DEVICE_EXTENSION
                   ? LHI_SITE_DEVICE
                   : LHI_SITE_EXTENSION,
               va, 8);
        out->object = identity->owner;
        if (out->kind == LHI_SITE_DEVICE)
            out->name = lhi_arena_strdup(&h->c->arena, identity->name);
        lhi_driver_read(h->c->kernel, identity->owner, &driver);
        if (!driver.object_known || driver.absence != LH_PRESENT)
            return LH_OK;
        out->party = lhi_case_party(h->c, &driver, err);
        return out->party == LHI_NONE ? LH_ERR_NO_MEMORY : LH_OK;
    case LH_PLACE_IRP:
        in_packet(h, identity->base, out);
        return LH_OK;
    case LH_PLACE_PROCESS:
    case LH_PLACE_THREAD:
    case LH_PLACE_FILE:
        settle(out, LHI_SITE_BOOKS, identity->base, identity->size);
        out->object = identity->place == LH_PLACE_FILE ? identity->base : 0;
        return LH_OK;
    default: /* an MDL: a block like others */
        return LH_OK;
    }
}

/* The kernel's own note of the lock: a tracker, by its tag and the place of the pointer in it. */
static bool is_tracker(const lhi_holders *h, const lhi_pool_block *block, uint64_t va)
{
    uint64_t offset = 0;
    return strcmp(block->tag, "MmLk") == 0 &&
           lhi_layout_offset(h->c->kernel->layout, LHI_F_LOCK_TRACKER_Mdl, &offset) &&
           va == block->body + offset;
}

static lh_status in_pool(lhi_holders *h, const lhi_pool_block *block, uint64_t va, lhi_site *out,
                         lh_error *err)
{
    lh_identity identity = {.address = va};
    settle(out, LHI_SITE_POOL, block->body, block->size);
    memcpy(out->tag, block->tag, sizeof out->tag);
    if (block->state == LHI_POOL_FREE)
        dead(out, "a free pool block");
    else if (lhi_vec_find(&h->c->freed.mdls, block->body) != SIZE_MAX ||
             lhi_vec_find(&h->c->freed.irps, block->body) != SIZE_MAX)
        dead(out, "a block on a list of freed ones");
    else if (is_tracker(h, block, va))
        settle(out, LHI_SITE_BOOKS, block->body, block->size);
    else if (lhi_object_around(h->c->kernel, va, block->body, &identity))
        return in_object(h, &identity, va, out, err);
    return out->kind == LHI_SITE_POOL ? lhi_holder_framework(h, out, err) : LH_OK;
}

static lh_status on_stack(lhi_holders *h, const lhi_kernel_stack *stack, uint64_t va, lhi_site *out,
                          lh_error *err)
{
    settle(out, LHI_SITE_STACK, va, 8);
    out->object = stack->thread;
    if (stack->pointer == 0) {
        out->why = "which part of the stack is in use is not known";
        return LH_OK;
    }
    if (va < stack->pointer) {
        dead(out, "a stack below its pointer: left over");
        return LH_OK;
    }
    return lhi_holder_frame(h, stack, va, out, err);
}

static bool in_owned(const lhi_case *c, uint64_t va, lhi_site *out)
{
    const lhi_owned *owned = lhi_case_owned_at(c, va);
    if (!owned)
        return false;
    settle(out, owned->device ? LHI_SITE_DEVICE : LHI_SITE_EXTENSION, va, 8);
    out->object = owned->begin;
    if (c->parties[owned->party].driver.absence == LH_PRESENT)
        out->party = owned->party;
    return true;
}

lh_status lhi_holder_site(lhi_holders *h, uint64_t va, lhi_site *out, lh_error *err)
{
    lhi_case *c = h->c;
    const lhi_module *module = lhi_module_at(&c->kernel->modules, va);
    const lhi_kernel_stack *stack = lhi_stack_at(&c->stacks, va);
    const lhi_self_map tables = h->tables;
    lhi_pool_block block = {0};
    lhi_big_block big = {0};
    *out = (lhi_site){.kind = LHI_SITE_NOWHERE, .base = va, .size = 8, .party = LHI_NONE};
    if (lhi_case_of_crash(c, va)) {
        settle(out, LHI_SITE_BOOKS, va, 8);
        return LH_OK;
    }
    if (module)
        return in_module(h, module, va, out, err);
    if (in_owned(c, va, out))
        return LH_OK;
    if (stack)
        return on_stack(h, stack, va, out, err);
    if (tables.begin != 0 && va >= tables.begin && va <= tables.end) {
        settle(out, LHI_SITE_BOOKS, va, 8);
        return LH_OK;
    }
    if (lhi_big_blocks_at(&h->big, va, &big)) {
        settle(out, LHI_SITE_POOL, big.va, big.size);
        memcpy(out->tag, big.tag, sizeof out->tag);
        return lhi_holder_framework(h, out, err);
    }
    lhi_pool_block_at(c->kernel, va, &block);
    if (block.found)
        return in_pool(h, &block, va, out, err);
    if (!h->stack_slot[va >> 39 & 511])
        settle(out, LHI_SITE_PAGES, va & ~(uint64_t)(LHI_PAGE_SIZE - 1), LHI_PAGE_SIZE);
    return LH_OK;
}

/* ------------------------------------------------------------------ what stands around a pointer */

/* Public headers: usb.h (URB, TransferBufferMDL), ndis.h (NET_BUFFER), wsk.h (WSK_BUF), fltkernel.h
 * (FLT_PARAMETERS.Read and .Write). Offsets of x64. */
static bool is_urb(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl)
{
    uint16_t length = 0, function = 0;
    uint32_t bytes = 0;
    return lhi_space_u16(&kernel->space, at - 0x30, &length) == LH_PRESENT &&
           lhi_space_u16(&kernel->space, at - 0x2e, &function) == LH_PRESENT &&
           lhi_space_u32(&kernel->space, at - 0xc, &bytes) == LH_PRESENT && length >= 0x38 &&
           length <= 0x400 && function > 0 && function < 0x40 && bytes > 0 && bytes <= mdl->byte_count;
}

/* The first of the chain; the current one is that, or comes later. */
static bool is_chain(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl)
{
    uint64_t current = 0;
    uint32_t offset = 0, length = 0;
    return lhi_space_u64(&kernel->space, at - 0x18, &current) == LH_PRESENT &&
           (current == mdl->address || (mdl->next != 0 && current == mdl->next)) &&
           lhi_space_u32(&kernel->space, at + 0x8, &offset) == LH_PRESENT && offset <= mdl->byte_count &&
           lhi_space_u32(&kernel->space, at - 0x8, &length) == LH_PRESENT && length > 0;
}

static bool is_net_buffer(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl)
{
    uint64_t chain = 0;
    uint32_t offset = 0, length = 0;
    return lhi_space_u64(&kernel->space, at + 0x18, &chain) == LH_PRESENT && chain == mdl->address &&
           lhi_space_u32(&kernel->space, at + 0x8, &offset) == LH_PRESENT &&
           lhi_space_u32(&kernel->space, at + 0x10, &length) == LH_PRESENT && offset <= mdl->byte_count &&
           length > 0;
}

static bool is_wsk_buf(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl)
{
    uint32_t offset = 0;
    uint64_t length = 0;
    return lhi_space_u32(&kernel->space, at + 0x8, &offset) == LH_PRESENT &&
           lhi_space_u64(&kernel->space, at + 0x10, &length) == LH_PRESENT && offset < mdl->byte_count &&
           length > 0 && length <= mdl->byte_count - offset;
}

/* The buffer stands in front of its MDL, and its length further ahead: 0x20 for reads and writes, 0x28 for
 * control requests, directories and their kind, 0x10 for attributes and security. */
static bool is_filter_parameters(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl)
{
    static const uint8_t lengths[] = {0x20, 0x28, 0x10};
    uint64_t buffer = 0;
    if (lhi_space_u64(&kernel->space, at - 0x8, &buffer) != LH_PRESENT ||
        buffer != mdl->start_va + mdl->byte_offset)
        return false;
    for (size_t i = 0; i < sizeof lengths; i++) {
        uint32_t length = 0;
        if (lhi_space_u32(&kernel->space, at - lengths[i], &length) == LH_PRESENT && length > 0 &&
            length <= mdl->byte_count)
            return true;
    }
    return false;
}

/* wdm.h: IRP.Tail.Overlay.DriverContext, and in the stack locations behind the packet Parameters and Context.
 */
static const char *in_irp(uint64_t offset)
{
    if (offset >= 0x78 && offset < 0x98)
        return "IRP.Tail.Overlay.DriverContext";
    if (offset < 0xd0)
        return NULL;
    const uint64_t place = (offset - 0xd0) % 0x48;
    return place >= 0x8 && place < 0x28 ? "IO_STACK_LOCATION.Parameters"
           : place >= 0x40              ? "IO_STACK_LOCATION.Context"
                                        : NULL;
}

const char *lhi_holder_typed(const lh_kernel *kernel, const lhi_site *site, uint64_t at, const lhi_mdl *mdl)
{
    if (site->kind == LHI_SITE_PACKET)
        return in_irp(at - site->base);
    if (is_net_buffer(kernel, at, mdl))
        return "NET_BUFFER.CurrentMdl";
    if (is_chain(kernel, at, mdl))
        return "NET_BUFFER.MdlChain";
    if (is_filter_parameters(kernel, at, mdl))
        return "FLT_PARAMETERS.MdlAddress";
    if (is_urb(kernel, at, mdl))
        return "URB.TransferBufferMDL";
    return is_wsk_buf(kernel, at, mdl) ? "WSK_BUF.Mdl" : NULL;
}
