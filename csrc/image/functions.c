/* Reads the exception directory and the unwind data it leads to. */
#include "image/functions.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "image/read.h"

/* After Microsoft's "x64 exception handling" and the PE format specification. */
enum {
    DIRECTORY_EXCEPTION = 3,
    ROW_SIZE = 12,
    INFO_HEAD = 4,
    CODE_SIZE = 2,
    FLAG_CHAINED = 4, /* UNW_FLAG_CHAININFO */
    REFERENCE = 1     /* of UnwindData: it names another row */
};

enum {
    OP_PUSH_NONVOL = 0,
    OP_ALLOC_LARGE = 1,
    OP_ALLOC_SMALL = 2,
    OP_SET_FPREG = 3,
    OP_SAVE_NONVOL = 4,
    OP_SAVE_NONVOL_FAR = 5,
    OP_EPILOG = 6, /* version 2; version 1 had SAVE_XMM here, which no compiler writes any more */
    OP_SPARE = 7,
    OP_SAVE_XMM128 = 8,
    OP_SAVE_XMM128_FAR = 9,
    OP_PUSH_MACHFRAME = 10
};

static lh_absence get(const lhi_image *image, uint64_t rva, void *buffer, size_t size, uint64_t *at)
{
    *at = image->base + rva;
    return lhi_rva_get(image, rva, buffer, size);
}

static lh_absence read_row(const lhi_image *image, uint64_t rva, lhi_function *out, uint64_t *at)
{
    uint8_t bytes[ROW_SIZE] = {0};
    lh_absence absence = get(image, rva, bytes, sizeof bytes, at);
    *out = (lhi_function){lhi_u32(bytes), lhi_u32(bytes + 4), lhi_u32(bytes + 8)};
    return absence;
}

static bool is_sound(const lhi_image *image, const lhi_function *row)
{
    return row->begin < row->end && row->end <= image->span;
}

/* A row may name another one, whose unwind data is its own. */
static lh_absence resolve(const lhi_image *image, lhi_function *row, uint64_t *at)
{
    for (unsigned hop = 0; row->unwind & REFERENCE; hop++) {
        lhi_function other = {0};
        lh_absence absence = hop < LHI_CHAIN_MOST
                                 ? read_row(image, row->unwind & ~(uint32_t)REFERENCE, &other, at)
                                 : LH_ABSENT_LAYOUT;
        if (absence != LH_PRESENT)
            return absence;
        row->unwind = other.unwind;
    }
    return LH_PRESENT;
}

/* The first row that lies wholly behind the page in which row `index` could not be read, and the last one
 * wholly in front of it plus one: the hole is [*low, *high). */
static void hole_around(uint64_t table, uint32_t index, uint32_t count, uint64_t missing, uint32_t *low,
                        uint32_t *high)
{
    uint64_t page = missing & ~((uint64_t)LHI_PAGE_SIZE - 1);
    *low = page > table ? (uint32_t)((page - table) / ROW_SIZE) : 0;
    uint64_t behind = (page + LHI_PAGE_SIZE - table + ROW_SIZE - 1) / ROW_SIZE;
    *high = behind < count ? (uint32_t)behind : count;
    if (*low > index)
        *low = index;
    if (*high <= index)
        *high = index + 1;
}

bool lhi_image_lists_functions(const lhi_image *image)
{
    return image->directories[DIRECTORY_EXCEPTION].size >= ROW_SIZE;
}

lhi_answer lhi_function_at(const lhi_image *image, uint32_t rva, lhi_function *out, lh_absence *why,
                           uint64_t *at)
{
    const lhi_directory table = image->directories[DIRECTORY_EXCEPTION];
    uint32_t low = 0, high = table.size / ROW_SIZE;
    const uint32_t count = high;
    *why = LH_ABSENT_LAYOUT;
    *at = image->base + table.rva;
    if (rva >= image->span || (high && !lhi_span_inside(table.rva, table.size, image->span)))
        return LHI_UNKNOWN;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        lhi_function row = {0};
        lh_absence absence = read_row(image, (uint64_t)table.rva + (uint64_t)middle * ROW_SIZE, &row, at);
        if (absence != LH_PRESENT) {
            /* Around a page that is not there: the rows on its two sides tell whether it matters. */
            uint32_t first = 0, last = 0;
            lhi_function side = {0};
            uint64_t ignored = 0;
            hole_around(image->base + table.rva, middle, count, *at, &first, &last);
            *why = absence;
            if (first > low &&
                read_row(image, (uint64_t)table.rva + (uint64_t)(first - 1) * ROW_SIZE, &side, &ignored) ==
                    LH_PRESENT &&
                rva < side.end) {
                high = first;
                continue;
            }
            if (last < high &&
                read_row(image, (uint64_t)table.rva + (uint64_t)last * ROW_SIZE, &side, &ignored) ==
                    LH_PRESENT &&
                rva >= side.begin) {
                low = last;
                continue;
            }
            return LHI_UNKNOWN;
        }
        if (!is_sound(image, &row)) {
            *why = LH_ABSENT_LAYOUT;
            return LHI_UNKNOWN;
        }
        if (rva < row.begin) {
            high = middle;
        } else if (rva >= row.end) {
            low = middle + 1;
        } else {
            *why = resolve(image, &row, at);
            if (*why != LH_PRESENT)
                return LHI_UNKNOWN;
            *out = row;
            return LHI_YES;
        }
    }
    *why = LH_PRESENT;
    return LHI_NO;
}

/* Slots that a code takes; 0: no such code. */
static unsigned slots_of(unsigned version, unsigned op, unsigned info)
{
    switch (op) {
    case OP_PUSH_NONVOL:
    case OP_ALLOC_SMALL:
    case OP_SET_FPREG:
        return 1;
    case OP_ALLOC_LARGE:
        return info == 0 ? 2 : info == 1 ? 3 : 0;
    case OP_SAVE_NONVOL:
    case OP_SAVE_XMM128:
        return 2;
    case OP_SAVE_NONVOL_FAR:
    case OP_SAVE_XMM128_FAR:
        return 3;
    case OP_EPILOG:
        return version == 2 ? 1 : 2;
    case OP_SPARE:
        return version == 2 ? 1 : 3;
    case OP_PUSH_MACHFRAME:
        return info <= 1 ? 1 : 0;
    default:
        return 0;
    }
}

static bool take_code(lhi_unwind_info *info, const uint8_t *code, unsigned op, unsigned operand)
{
    lhi_unwind_op *out = &info->ops[info->op_count];
    *out = (lhi_unwind_op){.at = code[0], .reg = (uint8_t)operand};
    switch (op) {
    case OP_PUSH_NONVOL:
        out->kind = LHI_UNWIND_PUSH;
        break;
    case OP_ALLOC_LARGE:
        out->kind = LHI_UNWIND_ALLOC;
        out->value = operand == 0 ? 8u * lhi_u16(code + CODE_SIZE) : lhi_u32(code + CODE_SIZE);
        break;
    case OP_ALLOC_SMALL:
        out->kind = LHI_UNWIND_ALLOC;
        out->value = 8u * operand + 8u;
        break;
    case OP_SET_FPREG:
        if (info->frame_register == 0)
            return false;
        out->kind = LHI_UNWIND_SET_FRAME;
        out->reg = info->frame_register;
        break;
    case OP_SAVE_NONVOL:
    case OP_SAVE_NONVOL_FAR:
        out->kind = LHI_UNWIND_SAVE;
        out->value = op == OP_SAVE_NONVOL ? 8u * lhi_u16(code + CODE_SIZE) : lhi_u32(code + CODE_SIZE);
        break;
    case OP_SAVE_XMM128:
    case OP_SAVE_XMM128_FAR:
        out->kind = LHI_UNWIND_SAVE_XMM;
        out->value = op == OP_SAVE_XMM128 ? 16u * lhi_u16(code + CODE_SIZE) : lhi_u32(code + CODE_SIZE);
        break;
    case OP_PUSH_MACHFRAME:
        out->kind = LHI_UNWIND_MACHINE_FRAME;
        out->error_code = operand == 1;
        break;
    default:
        return true; /* moves nothing: version 1's old codes and version 2's spare one */
    }
    info->op_count++;
    return true;
}

/* Version 2: the first such code has the size of all epilogues and tells whether one ends the function; each
 * further one has a distance from the end, 0 for padding. */
static void take_epilogue(lhi_unwind_info *info, const uint8_t *code, unsigned operand, bool first)
{
    uint32_t distance = first ? (operand & 1 ? code[0] : 0) : code[0] | (uint32_t)operand << 8;
    if (first)
        info->epilogue_size = code[0];
    if (distance)
        info->epilogues[info->epilogue_count++] = distance;
}

lh_absence lhi_unwind_read(const lhi_image *image, uint32_t rva, lhi_unwind_info *out, uint64_t *at)
{
    uint8_t head[INFO_HEAD] = {0};
    uint8_t codes[LHI_UNWIND_MOST * CODE_SIZE] = {0};
    lh_absence absence = get(image, rva, head, sizeof head, at);
    if (absence != LH_PRESENT)
        return absence;
    memset(out, 0, sizeof *out);
    out->version = head[0] & 7;
    out->prologue = head[1];
    out->frame_register = head[3] & 15;
    out->frame_offset = 16u * (head[3] >> 4);
    const unsigned count = head[2];
    if (out->version < 1 || out->version > 2)
        return LH_ABSENT_LAYOUT;
    absence =
        count ? get(image, (uint64_t)rva + INFO_HEAD, codes, (size_t)count * CODE_SIZE, at) : LH_PRESENT;
    if (absence != LH_PRESENT)
        return absence;
    bool first = true;
    for (unsigned i = 0; i < count;) {
        const uint8_t *code = codes + (size_t)i * CODE_SIZE;
        const unsigned op = code[1] & 15, operand = code[1] >> 4;
        const unsigned slots = slots_of(out->version, op, operand);
        if (slots == 0 || slots > count - i)
            return LH_ABSENT_LAYOUT;
        if (op == OP_EPILOG && out->version == 2) {
            take_epilogue(out, code, operand, first);
            first = false;
        } else if (!take_code(out, code, op, operand)) {
            return LH_ABSENT_LAYOUT;
        }
        i += slots;
    }
    out->chained = (head[0] >> 3 & FLAG_CHAINED) != 0;
    if (!out->chained)
        return LH_PRESENT;
    /* The array is padded to an even count. */
    const uint64_t behind = (uint64_t)rva + INFO_HEAD + (((uint64_t)count + 1) & ~1ull) * CODE_SIZE;
    absence = read_row(image, behind, &out->parent, at);
    if (absence == LH_PRESENT && !is_sound(image, &out->parent))
        return LH_ABSENT_LAYOUT;
    return absence == LH_PRESENT ? resolve(image, &out->parent, at) : absence;
}

lh_absence lhi_function_primary(const lhi_image *image, const lhi_function *part, lhi_function *out,
                                uint64_t *at)
{
    lhi_function row = *part;
    for (unsigned hop = 0; hop < LHI_CHAIN_MOST; hop++) {
        lhi_unwind_info info;
        lh_absence absence = lhi_unwind_read(image, row.unwind, &info, at);
        if (absence != LH_PRESENT)
            return absence;
        if (!info.chained) {
            *out = row;
            return LH_PRESENT;
        }
        row = info.parent;
    }
    return LH_ABSENT_LAYOUT;
}
