/* Recognises the rest of an x64 epilogue and runs it.
 *
 * What an epilogue may consist of is fixed (Microsoft, "x64 prolog and epilog"): add rsp, constant or
 * lea rsp, [frame register + constant]; pops of registers; then ret, or a jump to another function. In
 * version 2 the unwind data tell where the pops begin; the add or lea in front of them is still undone like
 * the body. */
#include "nt/epilogue.h"

#include "base/bytes.h"
#include "image/read.h"
#include "nt/read.h"

#define MOST_CODE 64u /* add or lea, 8 pops of two bytes each and a return have less */

typedef struct lhi_code {
    const lhi_image *image;
    uint8_t bytes[MOST_CODE];
    size_t size; /* as far as it is there */
    size_t at;
    uint32_t rva;   /* of bytes[0] */
    lh_absence why; /* why there is no more; LH_PRESENT: there is */
} lhi_code;

/* As many bytes as are there: the page behind may be absent. */
static void load(lhi_code *code)
{
    for (; code->size < MOST_CODE; code->size++) {
        code->why = lhi_rva_get(code->image, (uint64_t)code->rva + code->size, code->bytes + code->size, 1);
        if (code->why != LH_PRESENT)
            return;
    }
}

static bool has(const lhi_code *code, size_t count)
{
    return code->size - code->at >= count;
}

static uint8_t byte(const lhi_code *code, size_t ahead)
{
    return has(code, ahead + 1) ? code->bytes[code->at + ahead] : 0;
}

static uint64_t signed_dword(const lhi_code *code, size_t ahead)
{
    return (uint64_t)(int64_t)(int32_t)lhi_u32(code->bytes + code->at + ahead);
}

/* add rsp, imm8 or imm32; lea rsp, [reg + disp8 or disp32]. */
static void undo_allocation(lhi_code *code, const lhi_unwind_info *info, lhi_registers *r)
{
    const uint8_t rex = byte(code, 0), op = byte(code, 1), modrm = byte(code, 2);
    if (rex == 0x48 && op == 0x83 && modrm == 0xc4 && has(code, 4)) {
        r->general[LHI_RSP] += (uint64_t)(int64_t)(int8_t)byte(code, 3);
        code->at += 4;
    } else if (rex == 0x48 && op == 0x81 && modrm == 0xc4 && has(code, 7)) {
        r->general[LHI_RSP] += signed_dword(code, 3);
        code->at += 7;
    } else if ((rex & 0xfe) == 0x48 && op == 0x8d && (modrm & 0x38) == 0x20 && info->frame_register &&
               ((modrm & 7) | (rex & 1) << 3) == info->frame_register && (modrm & 7) != 4) {
        const uint64_t base = r->general[info->frame_register];
        if (modrm >> 6 == 1 && has(code, 4)) {
            r->general[LHI_RSP] = base + (uint64_t)(int64_t)(int8_t)byte(code, 3);
            code->at += 4;
        } else if (modrm >> 6 == 2 && has(code, 7)) {
            r->general[LHI_RSP] = base + signed_dword(code, 3);
            code->at += 7;
        }
    }
}

static lh_absence undo_pops(lhi_code *code, lhi_registers *r, uint64_t *at)
{
    for (;;) {
        const bool high = byte(code, 0) == 0x41;
        const uint8_t op = byte(code, high);
        if ((op & 0xf8) != 0x58 || !has(code, 1u + high))
            return LH_PRESENT;
        const unsigned reg = (op & 7u) | (unsigned)high << 3;
        uint64_t value = 0;
        lh_absence absence = lhi_read_u64(code->image->space, r->general[LHI_RSP], &value, at);
        if (absence != LH_PRESENT)
            return absence;
        r->general[LHI_RSP] += 8;
        if (reg != LHI_RSP) {
            r->general[reg] = value;
            r->known |= 1u << reg;
        }
        code->at += 1u + high;
    }
}

/* A jump that leaves the function, its cold parts counted in. */
static bool leaves(const lhi_image *image, const lhi_function *function, uint64_t target)
{
    lhi_function here = {0}, there = {0}, primary = {0};
    lh_absence why = LH_PRESENT;
    uint64_t at = 0;
    if (target >= function->begin && target < function->end)
        return target == function->begin; /* a call of itself in the last place */
    if (target >= image->span || lhi_function_at(image, (uint32_t)target, &there, &why, &at) != LHI_YES)
        return true;
    return lhi_function_primary(image, function, &here, &at) != LH_PRESENT ||
           lhi_function_primary(image, &there, &primary, &at) != LH_PRESENT || here.begin != primary.begin;
}

/* ret, rep ret, ret imm16; jmp rel8 and rel32 out of the function; jmp through memory (an import) or, with a
 * REX prefix as the convention wants it, through a register. */
static bool ends(const lhi_code *code, const lhi_function *function)
{
    const uint8_t first = byte(code, 0), second = byte(code, 1), third = byte(code, 2);
    const uint64_t rva = (uint64_t)code->rva + code->at;
    if ((first == 0xc3 && has(code, 1)) || (first == 0xc2 && has(code, 3)) ||
        (first == 0xf3 && second == 0xc3 && has(code, 2)))
        return true;
    if (first == 0xeb && has(code, 2))
        return leaves(code->image, function, rva + 2 + (uint64_t)(int64_t)(int8_t)second);
    if (first == 0xe9 && has(code, 5))
        return leaves(code->image, function, rva + 5 + signed_dword(code, 1));
    if (first == 0xff && second == 0x25 && has(code, 6))
        return true;
    return (first & 0xf8) == 0x48 && second == 0xff && (third & 0x38) == 0x20 && has(code, 3);
}

/* Where version 2's data tell of epilogues, only there are some. */
static bool told(const lhi_function *function, const lhi_unwind_info *info, uint32_t rva)
{
    const uint32_t from_end = function->end - rva;
    for (size_t i = 0; i < info->epilogue_count; i++)
        if (from_end <= info->epilogues[i] && info->epilogues[i] - from_end < info->epilogue_size)
            return true;
    return false;
}

lhi_answer lhi_epilogue_undo(const lhi_image *image, const lhi_function *function,
                             const lhi_unwind_info *info, uint32_t rva, lhi_registers *registers,
                             lh_absence *why, uint64_t *at)
{
    const bool second = info->version == 2;
    lhi_registers r = *registers;
    lhi_code code = {.image = image, .rva = rva, .why = LH_PRESENT};
    if (second && !told(function, info, rva))
        return LHI_NO;
    load(&code);
    if (!second)
        undo_allocation(&code, info, &r);
    *why = undo_pops(&code, &r, at);
    if (*why != LH_PRESENT)
        return LHI_UNKNOWN;
    if (ends(&code, function)) {
        *registers = r;
        return LHI_YES;
    }
    if (code.size - code.at < 7 && code.why != LH_PRESENT) { /* it may go on in what is not there */
        *why = code.why;
        *at = image->base + code.rva + code.size;
        return LHI_UNKNOWN;
    }
    return LHI_NO;
}
