/* KDDEBUGGER_DATA64: the kernel's table of addresses for debuggers.
 *
 * Offsets: public SDK definition in wdbgexts.h, collected in facts D.1. Crash dumps hold the block decoded
 * (facts D.2). */
#include "base/bytes.h"
#include "base/checked.h"
#include "nt/kernel.h"
#include "nt/read.h"

#include <string.h>

#define TAG_OFFSET  0x10u
#define SIZE_OFFSET 0x14u
/* The header's own size, and more than any block of any build has (facts D.1: up to 3a0). */
#define SIZE_LEAST 0x18u
#define SIZE_MOST  0x1000u

/* The kernel's statements about its own structures. They are sixteen bits wide, some of the later ones 32;
 * where the page is missing they count as not stated. */
static void read_offsets(const lhi_space *space, uint64_t address, uint32_t size, lhi_kdbg_offsets *out)
{
    const struct {
        uint16_t offset, width;
        uint32_t *field;
    } fields[] = {
        {0x29c, 2, &out->thread_kernel_stack},
        {0x2a0, 2, &out->thread_apc_process},
        {0x2a2, 2, &out->thread_state},
        {0x2a8, 2, &out->process_size},
        {0x2ac, 2, &out->process_parent},
        {0x2ae, 2, &out->process_directory},
        {0x2b0, 2, &out->prcb_size},
        {0x2b4, 2, &out->prcb_current_thread},
        {0x2bc, 2, &out->prcb_context_frame},
        {0x2be, 2, &out->prcb_number},
        {0x2c0, 2, &out->thread_size},
        {0x2e0, 2, &out->pcr_size},
        {0x2e2, 2, &out->pcr_self},
        {0x2e4, 2, &out->pcr_current_prcb},
        {0x2e6, 2, &out->pcr_prcb},
        {0x2f2, 2, &out->prcb_state},
        {0x338, 2, &out->prcb_context},
        {0x340, 4, &out->thread_stack_limit},
        {0x344, 4, &out->thread_stack_base},
        {0x34c, 4, &out->thread_irp_list},
        {0x350, 2, &out->prcb_idle_thread},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint8_t bytes[4] = {0};
        uint64_t at = 0;
        if (lhi_span_inside(fields[i].offset, fields[i].width, size) &&
            lhi_read(space, address + fields[i].offset, bytes, fields[i].width, &at) == LH_PRESENT &&
            lhi_u32(bytes) < LHI_NO_OFFSET)
            *fields[i].field = lhi_u32(bytes);
    }
}

void lhi_kdbg_read(const lhi_space *space, uint64_t address, lhi_kdbg *out)
{
    uint8_t header[SIZE_LEAST] = {0};
    uint64_t at = 0;
    uint32_t size = 0;
    memset(out, 0, sizeof *out);
    out->address = address;
    if (!lhi_is_kernel(address)) {
        out->absence = LH_ABSENT_LAYOUT;
        return;
    }
    out->absence = lhi_read(space, address, header, sizeof header, &at);
    if (out->absence != LH_PRESENT)
        return;
    size = lhi_u32(header + SIZE_OFFSET);
    if (memcmp(header + TAG_OFFSET, "KDBG", 4) != 0 || size < SIZE_LEAST || size > SIZE_MOST) {
        out->absence = LH_ABSENT_LAYOUT;
        return;
    }
    if (address > UINT64_MAX - SIZE_MOST) {
        out->absence = LH_ABSENT_LAYOUT;
        return;
    }
    const struct {
        uint32_t offset;
        uint64_t *field;
    } fields[] = {
        {0x18, &out->kernel_base},       {0x48, &out->loaded_module_list}, {0x50, &out->active_process_head},
        {0x88, &out->bugcheck_data},     {0xc0, &out->pfn_database},       {0x218, &out->processor_block},
        {0x220, &out->unloaded_drivers}, {0x228, &out->last_unloaded},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint64_t va = 0;
        uint64_t value = 0;
        /* The block may cross into a page that is not there: what stands before it still counts. */
        if (lhi_span_inside(fields[i].offset, 8, size) && lhi_add(address, fields[i].offset, &va) &&
            lhi_read_u64(space, va, &value, &at) == LH_PRESENT && lhi_is_kernel(value))
            *fields[i].field = value;
    }
    read_offsets(space, address, size, &out->offsets);
    out->known = true;
}
