/* Fields of structures of public headers that name an MDL, each known by the structure's own arithmetic. */
#include "nt/typed.h"

#include "nt/irp.h"

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
const char *lhi_irp_field(uint64_t offset)
{
    if (offset >= 0x78 && offset < 0x98)
        return "IRP.Tail.Overlay.DriverContext";
    if (offset < LHI_IRP_SIZE)
        return NULL;
    const uint64_t place = (offset - LHI_IRP_SIZE) % LHI_SLOT_SIZE;
    return place >= 0x8 && place < 0x28 ? "IO_STACK_LOCATION.Parameters"
           : place >= 0x40              ? "IO_STACK_LOCATION.Context"
                                        : NULL;
}

const char *lhi_mdl_field(const lh_kernel *kernel, uint64_t at, const lhi_mdl *mdl)
{
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
