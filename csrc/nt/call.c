/* What the call in front of a return address goes to. */
#include "base/bytes.h"
#include "nt/read.h"
#include "nt/unwind.h"

/* Forms of a call that end at `return_address`, by their bytes (Intel SDM; facts F.2):
 *   FF 15 rel32                      through an import slot (with or without a REX prefix)
 *   4C 8B 15 rel32, E8 rel32         the same, made a retpoline: the slot stands in the first instruction
 *   E8 rel32                         direct, perhaps to an import thunk
 *   FF D0+r, FF 50+r d8, FF 90+r d32 through a register or a table: what it held is not known any more */
enum { LONGEST = 12 };

static uint64_t plus(uint64_t address, const uint8_t *displacement)
{
    return address + (uint64_t)(int64_t)(int32_t)lhi_u32(displacement);
}

static lhi_answer through_slot(const lh_kernel *kernel, uint64_t slot, lhi_call *out)
{
    out->slot = slot;
    out->why = lhi_read_u64(&kernel->space, slot, &out->target, &out->at);
    return out->why == LH_PRESENT ? LHI_YES : LHI_UNKNOWN;
}

/* A thunk is a jump through an import slot: FF 25 rel32, with or without a REX prefix. */
static lhi_answer follow_thunk(const lh_kernel *kernel, lhi_call *out)
{
    uint8_t code[7] = {0};
    out->why = lhi_read(&kernel->space, out->target, code, sizeof code, &out->at);
    if (out->why != LH_PRESENT)
        return LHI_UNKNOWN;
    const unsigned prefix = code[0] == 0x48;
    if (code[prefix] != 0xff || code[prefix + 1] != 0x25)
        return LHI_YES;
    return through_slot(kernel, plus(out->target + 6 + prefix, code + prefix + 2), out);
}

lhi_answer lhi_call_target(const lh_kernel *kernel, uint64_t return_address, lhi_call *out)
{
    uint8_t code[LONGEST] = {0};
    const uint8_t *end = code + LONGEST;
    *out = (lhi_call){.at = return_address};
    if (!lhi_is_kernel(return_address) || return_address < LHI_KERNEL_HALF + LONGEST)
        return LHI_NO;
    out->why = lhi_read(&kernel->space, return_address - LONGEST, code, sizeof code, &out->at);
    if (out->why != LH_PRESENT)
        return LHI_UNKNOWN;
    if (end[-6] == 0xff && end[-5] == 0x15)
        return through_slot(kernel, plus(return_address, end - 4), out);
    if (end[-5] == 0xe8 && end[-12] == 0x4c && end[-11] == 0x8b && end[-10] == 0x15)
        return through_slot(kernel, plus(return_address - 5, end - 9), out);
    if (end[-5] == 0xe8) {
        out->target = plus(return_address, end - 4);
        return follow_thunk(kernel, out);
    }
    const bool indirect = (end[-2] == 0xff && (end[-1] & 0xf8) == 0xd0) ||
                          (end[-3] == 0xff && (end[-2] & 0xf8) == 0x50) ||
                          (end[-6] == 0xff && (end[-5] & 0xf8) == 0x90);
    return indirect ? LHI_UNKNOWN : LHI_NO;
}
