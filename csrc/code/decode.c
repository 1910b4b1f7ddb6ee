/* The one file that knows Zydis: bytes of x64 code become lhi_code. */
#include "code/decode.h"

#if defined(LHI_ZYDIS)

#if !__has_include(<Zydis/Zydis.h>)
#error                                                                                                       \
    "Zydis/Zydis.h is not here: install libzydis-dev, or build without it: make ZYDIS=0, or LOCKHOUND_ZYDIS=0 for setup.py"
#endif
#include <Zydis/Zydis.h>

#define WIDE 64 /* bits */

typedef struct decoded {
    ZydisDecodedInstruction code;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
} decoded;

static bool decode(const uint8_t *bytes, size_t size, decoded *out)
{
    ZydisDecoder decoder;

    return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
           ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, size, &out->code, out->operands));
}

/* The number of a general register or of the one it is a part of. */
static uint8_t number(ZydisRegister name)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);

    if (whole < ZYDIS_REGISTER_RAX || whole > ZYDIS_REGISTER_R15)
        return LHI_NO_REGISTER;
    return (uint8_t)(whole - ZYDIS_REGISTER_RAX);
}

static uint32_t bit(ZydisRegister name)
{
    uint8_t which = number(name);

    return which == LHI_NO_REGISTER ? 0 : 1u << which;
}

static bool is_register(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && number(operand->reg.value) != LHI_NO_REGISTER;
}

static bool is_wide_register(const ZydisDecodedOperand *operand)
{
    return is_register(operand) && operand->size == WIDE;
}

static bool is_memory(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.type == ZYDIS_MEMOP_TYPE_MEM;
}

static bool is_immediate(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* Of `width` bytes. */
static uint64_t cut(uint64_t value, uint8_t width)
{
    return width >= 8 ? value : value & ((1ull << (8 * width)) - 1);
}

/* Where a memory operand lies, as far as the code says. */
static void take_memory(const decoded *d, const ZydisDecodedOperand *operand, uint64_t address, lhi_code *out)
{
    const ZydisDecodedOperandMem *mem = &operand->mem;
    bool plain = mem->segment != ZYDIS_REGISTER_FS && mem->segment != ZYDIS_REGISTER_GS;

    out->has_memory = true;
    out->base = number(mem->base);
    out->index = number(mem->index);
    out->scale = mem->scale;
    out->displacement = mem->disp.value;
    out->width = (uint8_t)(operand->size / 8);
    if (plain && mem->index == ZYDIS_REGISTER_NONE &&
        (mem->base == ZYDIS_REGISTER_NONE || mem->base == ZYDIS_REGISTER_RIP))
        out->has_place = ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&d->code, operand, address, &out->place));
    else if (!plain)
        out->base = LHI_NO_REGISTER; /* of a segment that the code does not tell */
}

static void take_operands(const decoded *d, uint64_t address, lhi_code *out)
{
    for (uint8_t i = 0; i < d->code.operand_count; i++) {
        const ZydisDecodedOperand *operand = &d->operands[i];
        bool reads = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
        bool writes = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            out->read |= reads ? bit(operand->reg.value) : 0;
            out->written |= writes ? bit(operand->reg.value) : 0;
        } else if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            out->read |= bit(operand->mem.base) | bit(operand->mem.index);
            /* the stack of push, pop and call is hidden; strings' memory is hidden too, and counts */
            bool stack = operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                         operand->mem.base == ZYDIS_REGISTER_RSP;
            if (stack || operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
                continue;
            if (!out->has_memory || operand->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
                take_memory(d, operand, address, out);
            out->reads_memory = out->reads_memory || reads;
            out->writes_memory = out->writes_memory || writes;
        }
    }
}

static lhi_code_kind kind_of(const decoded *d)
{
    switch (d->code.mnemonic) {
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_SYSRET:
        return LHI_CODE_STOP;
    case ZYDIS_MNEMONIC_INT: /* 29h: __fastfail, which does not come back (winnt.h) */
        return d->operands[0].imm.value.u == 0x29 ? LHI_CODE_STOP : LHI_CODE_OTHER;
    default:
        break;
    }
    switch (d->code.meta.category) {
    case ZYDIS_CATEGORY_CALL:
        return LHI_CODE_CALL;
    case ZYDIS_CATEGORY_UNCOND_BR:
        return LHI_CODE_JUMP;
    case ZYDIS_CATEGORY_COND_BR:
        return LHI_CODE_BRANCH;
    case ZYDIS_CATEGORY_RET:
        return LHI_CODE_RETURN;
    default:
        return LHI_CODE_OTHER;
    }
}

/* By the lowest four bits of the opcode (Intel SDM, appendix B): of a jump, of SETcc and of CMOVcc. */
static uint8_t condition_of(const decoded *d)
{
    switch (d->code.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_CMOV:
        break;
    default:
        return LHI_NO_CONDITION;
    }
    if (d->code.cpu_flags == NULL || d->code.cpu_flags->tested == 0)
        return LHI_NO_CONDITION; /* of a register: jrcxz, loop */
    return d->code.opcode & 0xf;
}

static void take_target(const decoded *d, uint64_t address, lhi_code *out)
{
    const ZydisDecodedOperand *operand = &d->operands[0];

    out->targets = LHI_TARGET_UNKNOWN;
    if (is_immediate(operand) && operand->imm.is_relative) {
        if (ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&d->code, operand, address, &out->target)))
            out->targets = LHI_TARGET_DIRECT;
    } else if (is_wide_register(operand)) {
        out->targets = LHI_TARGET_REGISTER;
        out->source = number(operand->reg.value);
    } else if (is_memory(operand) && out->has_place && operand->size == WIDE) {
        out->targets = LHI_TARGET_SLOT;
        out->target = out->place;
    }
}

static bool is_high_byte(ZydisRegister name)
{
    return name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH;
}

/* MOVZX, MOVSX, MOVSXD; also CDQE, whose operands are hidden. */
static lhi_code_does extension_of(const decoded *d, const ZydisDecodedOperand *to,
                                  const ZydisDecodedOperand *from, lhi_code *out)
{
    if (to->size < 32)
        return LHI_DOES_OTHER;
    out->extends_sign = d->code.mnemonic != ZYDIS_MNEMONIC_MOVZX;
    out->destination = number(to->reg.value);
    out->width = (uint8_t)(from->size / 8);
    if (is_memory(from))
        return LHI_DOES_LOAD_PART;
    if (!is_register(from) || is_high_byte(from->reg.value))
        return LHI_DOES_OTHER;
    out->source = number(from->reg.value);
    return LHI_DOES_COPY_PART;
}

static lhi_code_does to_register(const ZydisDecodedOperand *to, const ZydisDecodedOperand *from,
                                 lhi_code *out)
{
    out->destination = number(to->reg.value);
    if (is_immediate(from) && (to->size >= 32 || (to->size == 8 && !is_high_byte(to->reg.value)))) {
        out->width = (uint8_t)(to->size / 8);
        out->value = cut(from->imm.value.u, out->width);
        return LHI_DOES_CONSTANT;
    }
    if (to->size == WIDE && is_wide_register(from)) {
        out->source = number(from->reg.value);
        return LHI_DOES_COPY;
    }
    if (to->size == WIDE / 2 && is_register(from)) {
        out->source = number(from->reg.value);
        out->width = 4;
        return LHI_DOES_COPY_PART;
    }
    if (is_memory(from) && to->size >= 32)
        return to->size == WIDE && from->size == WIDE ? LHI_DOES_LOAD : LHI_DOES_LOAD_PART;
    return LHI_DOES_OTHER;
}

static lhi_code_does copy_of(const ZydisDecodedOperand *to, const ZydisDecodedOperand *from, lhi_code *out)
{
    if (is_register(to))
        return to_register(to, from, out);
    if (!is_memory(to))
        return LHI_DOES_OTHER;
    if (is_immediate(from)) {
        out->value = cut(from->imm.value.u, out->width);
        return LHI_DOES_STORE_VALUE;
    }
    if (is_wide_register(from)) {
        out->source = number(from->reg.value);
        return LHI_DOES_STORE;
    }
    if (is_register(from) && !is_high_byte(from->reg.value)) {
        out->source = number(from->reg.value);
        return LHI_DOES_STORE_PART;
    }
    return LHI_DOES_OTHER;
}

/* Arithmetic on registers and numbers, which no flag and no memory enters. */
static uint32_t operation_of(const decoded *d, const lhi_code *code)
{
    uint32_t result = (uint32_t)d->code.mnemonic << 16 ^ d->code.operand_width;

    if (code->has_memory || code->read == 0 || (d->code.cpu_flags != NULL && d->code.cpu_flags->tested != 0))
        return 0;
    for (uint8_t i = 0; i < d->code.operand_count_visible; i++)
        if (is_immediate(&d->operands[i]))
            result = (result ^ (uint32_t)d->operands[i].imm.value.u) * 0x01000193u; /* FNV-1a's prime */
    return result | 1;
}

static lhi_code_does sum_of(const decoded *d, lhi_code *out)
{
    const ZydisDecodedOperand *to = &d->operands[0], *by = &d->operands[1];
    bool minus = d->code.mnemonic == ZYDIS_MNEMONIC_SUB;

    if (!is_register(to))
        return LHI_DOES_OTHER;
    out->destination = number(to->reg.value);
    if (minus && is_register(by) && by->reg.value == to->reg.value && to->size >= 32) {
        out->width = 8;
        out->value = 0;
        return LHI_DOES_CONSTANT;
    }
    if (to->size >= 32 && is_immediate(by)) {
        out->width = (uint8_t)(to->size / 8);
        out->value = cut(by->imm.value.u, out->width);
        return minus ? LHI_DOES_TAKE : LHI_DOES_ADD;
    }
    if (to->size != WIDE)
        return LHI_DOES_OTHER;
    if (is_wide_register(by)) {
        out->source = number(by->reg.value);
        return minus ? LHI_DOES_SUBTRACT : LHI_DOES_SUM;
    }
    return LHI_DOES_OTHER;
}

/* Of whole registers, of their lowest parts, and of memory; with another register, or with a number. */
static lhi_code_does compare_of(const decoded *d, lhi_code *out)
{
    const ZydisDecodedOperand *a = &d->operands[0], *b = &d->operands[1];
    bool test = d->code.mnemonic == ZYDIS_MNEMONIC_TEST;

    if ((!is_register(a) && !is_memory(a)) || (is_register(a) && is_high_byte(a->reg.value)) ||
        (!is_immediate(b) && (!is_register(b) || is_high_byte(b->reg.value))))
        return LHI_DOES_NOTHING;
    out->width = (uint8_t)(a->size / 8);
    out->source = is_register(a) ? number(a->reg.value) : LHI_NO_REGISTER;
    out->other = is_register(b) ? number(b->reg.value) : LHI_NO_REGISTER;
    out->value = is_immediate(b) ? cut(b->imm.value.u, out->width) : 0;
    return test ? LHI_DOES_TEST : LHI_DOES_COMPARE;
}

static bool same_register(const ZydisDecodedOperand *a, const ZydisDecodedOperand *b)
{
    return is_register(a) && is_register(b) && a->reg.value == b->reg.value;
}

static lhi_code_does step_of(const decoded *d, lhi_code *out)
{
    const ZydisDecodedOperand *to = &d->operands[0];

    if (!is_register(to) || to->size < 32)
        return LHI_DOES_OTHER;
    out->destination = number(to->reg.value);
    out->width = (uint8_t)(to->size / 8);
    out->value = 1;
    return d->code.mnemonic == ZYDIS_MNEMONIC_DEC ? LHI_DOES_TAKE : LHI_DOES_ADD;
}

static lhi_code_does mask_of(const ZydisDecodedOperand *to, const ZydisDecodedOperand *by, lhi_code *out)
{
    if (is_register(to) && is_register(by) && to->size != 16 && !is_high_byte(to->reg.value) &&
        !is_high_byte(by->reg.value)) {
        out->source = number(by->reg.value);
        return LHI_DOES_BOTH;
    }
    if (!is_immediate(by))
        return LHI_DOES_OTHER;
    if (is_memory(to) && by->imm.value.u == 0) /* how a compiler that saves bytes stores zero */
        return LHI_DOES_STORE_VALUE;
    if (!is_register(to) || to->size == 16 || is_high_byte(to->reg.value))
        return LHI_DOES_OTHER;
    out->destination = number(to->reg.value);
    out->width = (uint8_t)(to->size / 8);
    out->value = cut(by->imm.value.u, out->width);
    return LHI_DOES_MASK;
}

/* SETcc and CMOVcc. */
static lhi_code_does by_condition(const decoded *d, lhi_code *out)
{
    const ZydisDecodedOperand *to = &d->operands[0], *from = &d->operands[1];
    bool sets = d->code.meta.category == ZYDIS_CATEGORY_SETCC;

    if (!is_register(to) || (sets ? is_high_byte(to->reg.value) : to->size < 32))
        return LHI_DOES_OTHER;
    out->destination = number(to->reg.value);
    out->source = !sets && is_register(from) ? number(from->reg.value) : LHI_NO_REGISTER;
    out->width = (uint8_t)(to->size / 8);
    return sets ? LHI_DOES_SET : LHI_DOES_CHOOSE;
}

/* Arithmetic whose flags are those of a register that it writes (Intel SDM, volume 1, appendix A). */
static bool tells(const decoded *d, lhi_code *out)
{
    const ZydisDecodedOperand *to = &d->operands[0];

    switch (d->code.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_NEG:
        break;
    default:
        return false;
    }
    if (!is_register(to) || is_high_byte(to->reg.value))
        return false;
    out->destination = number(to->reg.value);
    out->width = (uint8_t)(to->size / 8);
    return true;
}

static lhi_code_does does_of(const decoded *d, lhi_code *out)
{
    const ZydisDecodedOperand *first = &d->operands[0], *second = &d->operands[1];

    if (out->condition != LHI_NO_CONDITION)
        return by_condition(d, out);
    switch (d->code.mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
        return LHI_DOES_NOTHING;
    case ZYDIS_MNEMONIC_MOV:
        return copy_of(first, second, out);
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_CDQE:
        return extension_of(d, first, second, out);
    case ZYDIS_MNEMONIC_LEA:
        if (!is_register(first) || first->size < 32)
            return LHI_DOES_OTHER;
        if (second->mem.index != ZYDIS_REGISTER_NONE)
            return LHI_DOES_INDEX;
        out->width = (uint8_t)(first->size / 8);
        out->destination = number(first->reg.value);
        out->base = number(second->mem.base);
        out->displacement = second->mem.disp.value;
        out->has_place = second->mem.base == ZYDIS_REGISTER_RIP &&
                         ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&d->code, second, out->address, &out->place));
        return out->has_place || out->base != LHI_NO_REGISTER ? LHI_DOES_ADDRESS : LHI_DOES_OTHER;
    case ZYDIS_MNEMONIC_XOR:
        if (!same_register(first, second) || first->size < 32)
            return LHI_DOES_OTHER;
        out->destination = number(first->reg.value);
        out->width = 8;
        out->value = 0;
        return LHI_DOES_CONSTANT;
    case ZYDIS_MNEMONIC_AND:
        return mask_of(first, second, out);
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        return sum_of(d, out);
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        return step_of(d, out);
    case ZYDIS_MNEMONIC_PUSH:
        out->source = is_wide_register(first) ? number(first->reg.value) : LHI_NO_REGISTER;
        return LHI_DOES_PUSH;
    case ZYDIS_MNEMONIC_POP:
        out->destination = is_wide_register(first) ? number(first->reg.value) : LHI_NO_REGISTER;
        return LHI_DOES_POP;
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_CMP:
        return compare_of(d, out);
    default:
        return out->written == 0 && !out->writes_memory ? LHI_DOES_NOTHING : LHI_DOES_OTHER;
    }
}

bool lhi_code_available(void)
{
    return true;
}

bool lhi_code_decode(const uint8_t *bytes, size_t size, uint64_t address, lhi_code *out)
{
    decoded d;
    lhi_code code = {.address = address,
                     .base = LHI_NO_REGISTER,
                     .index = LHI_NO_REGISTER,
                     .destination = LHI_NO_REGISTER,
                     .source = LHI_NO_REGISTER,
                     .other = LHI_NO_REGISTER,
                     .selects = LHI_NO_REGISTER,
                     .condition = LHI_NO_CONDITION};

    if (!decode(bytes, size, &d))
        return false;
    code.length = d.code.length;
    code.kind = kind_of(&d);
    if (d.code.cpu_flags != NULL)
        code.flags = (d.code.cpu_flags->modified | d.code.cpu_flags->set_0 | d.code.cpu_flags->set_1 |
                      d.code.cpu_flags->undefined) != 0;
    take_operands(&d, address, &code);
    code.condition = condition_of(&d);
    if (code.kind == LHI_CODE_CALL || code.kind == LHI_CODE_JUMP || code.kind == LHI_CODE_BRANCH)
        take_target(&d, address, &code);
    else
        code.does = does_of(&d, &code);
    code.tells = (code.does == LHI_DOES_OTHER || code.does == LHI_DOES_BOTH) && tells(&d, &code);
    if (code.does == LHI_DOES_OTHER || code.does == LHI_DOES_MASK || code.does == LHI_DOES_BOTH ||
        code.does == LHI_DOES_SUM || code.does == LHI_DOES_INDEX || code.does == LHI_DOES_COPY_PART)
        code.operation = operation_of(&d, &code);
    *out = code;
    return true;
}

void lhi_code_text(const uint8_t *bytes, size_t size, uint64_t address, char out[LHI_CODE_TEXT])
{
    decoded d;
    ZydisFormatter formatter;

    out[0] = 0;
    if (!decode(bytes, size, &d) ||
        !ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
        !ZYAN_SUCCESS(
            ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE)) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &d.code, d.operands,
                                                      d.code.operand_count_visible, out, LHI_CODE_TEXT,
                                                      address, NULL)))
        out[0] = 0;
}

#else

bool lhi_code_available(void)
{
    return false;
}

bool lhi_code_decode(const uint8_t *bytes, size_t size, uint64_t address, lhi_code *out)
{
    (void)bytes, (void)size, (void)address, (void)out;
    return false;
}

void lhi_code_text(const uint8_t *bytes, size_t size, uint64_t address, char out[LHI_CODE_TEXT])
{
    (void)bytes, (void)size, (void)address;
    out[0] = 0;
}

#endif
