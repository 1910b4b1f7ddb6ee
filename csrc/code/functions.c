/* Cuts an image's code into functions: rows of .pdata, joined where their unwind data is chained, and the
 * gaps. */
#include "code/functions.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "code/guards.h"
#include "code/tables.h"
#include "image/functions.h"
#include "image/read.h"

/* After the PE format specification. */
enum {
    DIRECTORY_EXCEPTION = 3,
    ROW_SIZE = 12,
    SECTION_SIZE = 40,
    SECTION_VIRTUAL_SIZE = 8,
    SECTION_ADDRESS = 12,
    SECTION_RAW_SIZE = 16,
    SECTION_FLAGS = 36
};
#define SECTION_DISCARDABLE 0x02000000u
#define MOST_ROWS           0x100000u /* twenty times nt's; bounds a table that was made up */

static void read_sections(lhi_code_image *code)
{
    for (uint32_t i = 0; i < code->image.section_count && code->section_count < LHI_CODE_SECTIONS; i++) {
        uint8_t header[SECTION_SIZE] = {0};
        if (lhi_rva_get(&code->image, (uint64_t)code->image.sections + (uint64_t)i * SECTION_SIZE, header,
                        sizeof header) != LH_PRESENT)
            return;
        uint32_t flags = lhi_u32(header + SECTION_FLAGS);
        uint32_t size = lhi_u32(header + SECTION_VIRTUAL_SIZE);
        lhi_code_section section = {.begin = lhi_u32(header + SECTION_ADDRESS),
                                    .discardable = (flags & SECTION_DISCARDABLE) != 0};
        if (size == 0)
            size = lhi_u32(header + SECTION_RAW_SIZE);
        if ((flags & LHI_SECTION_EXECUTE) == 0 || section.begin >= code->image.span)
            continue;
        section.end = size > code->image.span - section.begin ? code->image.span : section.begin + size;
        code->sections[code->section_count++] = section;
    }
}

static void note_absence(lhi_code_image *code, lh_absence absence, uint64_t at)
{
    code->table_whole = false;
    if (code->absence == LH_PRESENT) {
        code->absence = absence;
        code->absent_at = at;
    }
}

/* The entry of the function that a row is a part of; its own begin where that can't be told. */
static uint32_t entry_of_row(lhi_code_image *code, lhi_function row)
{
    lhi_function whole = {0};
    lh_absence why = LH_PRESENT;
    uint64_t at = 0;

    if ((row.unwind & 1) != 0 && lhi_function_at(&code->image, row.begin, &row, &why, &at) != LHI_YES)
        return row.begin;
    if (lhi_function_primary(&code->image, &row, &whole, &at) != LH_PRESENT)
        return row.begin;
    return whole.begin;
}

static lh_status read_rows(lhi_code_image *code, lh_error *err)
{
    lhi_directory table = code->image.directories[DIRECTORY_EXCEPTION];
    uint32_t count = table.size / ROW_SIZE;

    code->table_whole = true;
    if (!lhi_span_inside(table.rva, table.size, code->image.span) || count > MOST_ROWS) {
        note_absence(code, LH_ABSENT_LAYOUT, code->image.base + table.rva);
        count = 0;
    }
    /* a gap behind each row and each section, at most */
    code->stretches = lhi_calloc(2 * (size_t)count + LHI_CODE_SECTIONS + 1, sizeof *code->stretches);
    if (code->stretches == NULL)
        return lhi_fail_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[ROW_SIZE] = {0};
        uint64_t rva = (uint64_t)table.rva + (uint64_t)i * ROW_SIZE;
        lh_absence absence = lhi_rva_get(&code->image, rva, bytes, sizeof bytes);
        lhi_function row = {lhi_u32(bytes), lhi_u32(bytes + 4), lhi_u32(bytes + 8)};
        if (absence != LH_PRESENT) {
            note_absence(code, absence, code->image.base + rva);
            continue;
        }
        /* rows ascend and do not overlap, or each byte of code could be read once for every row */
        if (row.begin >= row.end || row.end > code->image.span ||
            (code->count > 0 && row.begin < code->stretches[code->count - 1].end)) {
            note_absence(code, LH_ABSENT_LAYOUT, code->image.base + rva);
            continue;
        }
        code->stretches[code->count++] = (lhi_stretch){
            .entry = entry_of_row(code, row), .begin = row.begin, .end = row.end, .unwind = row.unwind};
    }
    return LH_OK;
}

static int by_begin(const void *left, const void *right)
{
    const lhi_stretch *a = left, *b = right;

    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static int by_entry(const void *left, const void *right)
{
    const lhi_stretch *a = left, *b = right;

    if (a->entry != b->entry)
        return a->entry < b->entry ? -1 : 1;
    return by_begin(left, right);
}

static void add_gap(lhi_code_image *code, uint32_t begin, uint32_t end)
{
    code->stretches[code->count++] = (lhi_stretch){.entry = begin, .begin = begin, .end = end, .leaf = true};
}

static int by_section(const void *left, const void *right)
{
    const lhi_code_section *a = left, *b = right;

    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* What lies between the rows in sections of code. */
static void add_gaps(lhi_code_image *code)
{
    size_t rows = code->count;
    size_t row = 0;
    uint32_t done = 0; /* everything below is covered: sections may overlap in a damaged image */

    qsort(code->sections, code->section_count, sizeof code->sections[0], by_section);
    for (size_t i = 0; i < code->section_count; i++) {
        uint32_t at = code->sections[i].begin > done ? code->sections[i].begin : done;
        uint32_t end = code->sections[i].end;
        while (row < rows && code->stretches[row].end <= at)
            row++;
        while (at < end) {
            const lhi_stretch *next = row < rows ? &code->stretches[row] : NULL;
            uint32_t stop = next != NULL && next->begin < end ? next->begin : end;
            if (stop > at)
                add_gap(code, at, stop);
            at = next != NULL && next->begin < end ? next->end : end;
            row += next != NULL && next->end <= end;
        }
        done = end > done ? end : done;
    }
}

lh_status lhi_code_image_open(const lh_kernel *kernel, const lhi_module *module, lhi_code_image *out,
                              lh_absence *absence, lh_error *err)
{
    *out = (lhi_code_image){.kernel = kernel};
    *absence = lhi_image_open(&kernel->space, module->base, module->size, &out->image);
    if (*absence != LH_PRESENT)
        return LH_OK;
    read_sections(out);
    lh_status status = read_rows(out, err);
    if (status != LH_OK)
        return status;
    qsort(out->stretches, out->count, sizeof out->stretches[0], by_begin);
    add_gaps(out);
    qsort(out->stretches, out->count, sizeof out->stretches[0], by_entry);
    return LH_OK;
}

void lhi_code_image_free(lhi_code_image *code)
{
    lhi_free(code->stretches);
    code->stretches = NULL;
    code->count = 0;
}

/* ------------------------------------------------------------------ one function */

/* Some bytes of a stretch, read at once. */
typedef struct window {
    uint8_t bytes[LHI_PAGE_SIZE];
    uint32_t begin, size;
} window;

/* Reads what is there from `at` on, to the end of the stretch or of the window. */
static void fill(const lhi_image *image, uint32_t at, uint32_t end, window *w, lh_absence *absence)
{
    uint32_t wanted = end - at < sizeof w->bytes ? end - at : (uint32_t)sizeof w->bytes;
    uint32_t first = LHI_PAGE_SIZE - at % LHI_PAGE_SIZE;

    if (first > wanted)
        first = wanted;
    w->begin = at;
    w->size = 0;
    *absence = lhi_rva_get(image, at, w->bytes, first);
    if (*absence != LH_PRESENT)
        return;
    w->size = first;
    if (wanted > first) {
        *absence = lhi_rva_get(image, (uint64_t)at + first, w->bytes + first, wanted - first);
        if (*absence == LH_PRESENT)
            w->size = wanted;
    }
}

static bool is_discardable(const lhi_code_image *code, uint32_t rva)
{
    for (size_t i = 0; i < code->section_count; i++)
        if (rva >= code->sections[i].begin && rva < code->sections[i].end)
            return code->sections[i].discardable;
    return false;
}

static void note_missing(const lhi_code_image *code, lhi_body *body, uint32_t at, uint32_t size,
                         lh_absence absence)
{
    if (body->missing == 0) {
        body->absence = absence;
        body->absent_at = code->image.base + at;
        body->discarded = absence == LH_ABSENT_NOT_MAPPED && is_discardable(code, at);
    }
    body->missing += size;
}

static bool add_code(lhi_body *body, const lhi_code *code)
{
    size_t codes = body->room, leaders = body->room;
    if (!lhi_grow(&body->codes, body->count, &codes, sizeof *body->codes) ||
        !lhi_grow(&body->leaders, body->count, &leaders, sizeof *body->leaders))
        return false;
    body->room = leaders;
    body->leaders[body->count] = 0;
    body->codes[body->count++] = *code;
    return true;
}

static lh_status read_stretch(const lhi_code_image *code, const lhi_stretch *stretch, lhi_body *body,
                              lh_error *err)
{
    window w = {.size = 0};
    size_t first = body->count;

    for (uint32_t at = stretch->begin; at < stretch->end;) {
        lhi_code one = {0};
        lh_absence absence = LH_PRESENT;
        uint32_t left = at >= w.begin && at - w.begin < w.size ? w.size - (at - w.begin) : 0;
        if (left < LHI_CODE_LONGEST) {
            fill(&code->image, at, stretch->end, &w, &absence);
            left = w.size;
        }
        if (left == 0 || !lhi_code_decode(w.bytes + (at - w.begin), left, code->image.base + at, &one)) {
            if (left < LHI_CODE_LONGEST && absence != LH_PRESENT) {
                /* on with the page behind the hole */
                uint32_t hole = at + left;
                uint32_t next = (hole & ~(uint32_t)(LHI_PAGE_SIZE - 1)) + LHI_PAGE_SIZE;
                if (next < hole || next > stretch->end)
                    next = stretch->end;
                note_missing(code, body, hole, next - hole, absence);
                at = next;
                continue;
            }
            body->garbled++;
            at++;
            continue;
        }
        if (body->count == LHI_BODY_MOST) {
            body->cut = true;
            break;
        }
        if (!add_code(body, &one))
            return lhi_fail_memory(err);
        at += one.length;
    }
    if (body->count > first)
        body->leaders[first] = 1;
    return LH_OK;
}

/* The first instruction at an address or behind it. */
static size_t first_from(const lhi_body *body, uint64_t address)
{
    size_t low = 0, high = body->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (body->codes[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t lhi_body_find(const lhi_body *body, uint64_t address)
{
    size_t at = first_from(body, address);

    return at < body->count && body->codes[at].address == address ? at : SIZE_MAX;
}

void lhi_body_take_data(const lhi_code_image *code, lhi_body *body, uint64_t from, uint64_t to)
{
    uint64_t bytes = 0;

    for (size_t i = body->first; i < body->next; i++) {
        uint64_t begin = code->image.base + code->stretches[i].begin;
        uint64_t end = code->image.base + code->stretches[i].end;
        begin = begin > from ? begin : from;
        end = end < to ? end : to;
        bytes += end > begin ? end - begin : 0;
    }
    for (size_t i = first_from(body, from); i < body->count && body->codes[i].address < to; i++) {
        lhi_code *one = &body->codes[i];
        bytes -= one->length < bytes ? one->length : bytes;
        one->kind = LHI_CODE_STOP;
        one->targets = LHI_TARGET_NONE;
        one->does = LHI_DOES_NOTHING;
    }
    body->garbled -= bytes < body->garbled ? bytes : body->garbled;
}

/* Blocks begin where something jumps to, and behind what may jump. */
static void find_leaders(lhi_body *body)
{
    for (size_t i = 0; i < body->count; i++) {
        const lhi_code *code = &body->codes[i];
        if (i > 0 && code[-1].address + code[-1].length != code->address)
            body->leaders[i] = 1;
        if (code->kind == LHI_CODE_OTHER || code->kind == LHI_CODE_CALL)
            continue;
        if (i + 1 < body->count)
            body->leaders[i + 1] = 1;
        size_t target = code->targets == LHI_TARGET_DIRECT ? lhi_body_find(body, code->target) : SIZE_MAX;
        if (target != SIZE_MAX)
            body->leaders[target] = 1;
    }
}

/* Behind the image the loader puts one way to jump through each register (facts F.2). */
enum { RETPOLINE_JUMPS = 0xa0, RETPOLINE_JUMP = 0x20 };

/* Jumps through a register, of tables, which the loader made jumps to a retpoline. */
static void undo_retpolines(const lhi_code_image *code, lhi_body *body)
{
    uint64_t end = code->image.base + code->image.size_of_image;
    uint64_t jumps = ((end + LHI_PAGE_SIZE - 1) & ~(uint64_t)(LHI_PAGE_SIZE - 1)) + RETPOLINE_JUMPS;

    for (size_t i = 0; i < body->count; i++) {
        lhi_code *one = &body->codes[i];
        if (one->kind != LHI_CODE_JUMP || one->targets != LHI_TARGET_DIRECT || one->target < jumps ||
            (one->target - jumps) % RETPOLINE_JUMP != 0 || (one->target - jumps) / RETPOLINE_JUMP >= 16)
            continue;
        one->source = (uint8_t)((one->target - jumps) / RETPOLINE_JUMP);
        one->targets = LHI_TARGET_REGISTER;
    }
}

#define EPILOGUE 24u /* instructions: restores of eight registers, pops, and the stack pointer */

static bool leads_to_return(const lhi_body *body, size_t index)
{
    for (size_t i = index; i < body->count && i - index < EPILOGUE; i++) {
        if (body->codes[i].kind == LHI_CODE_RETURN || body->codes[i].kind == LHI_CODE_JUMP)
            return true;
        if (body->codes[i].kind != LHI_CODE_OTHER)
            return false;
    }
    return false;
}

bool lhi_body_restores(const lhi_body *body, size_t index)
{
    const lhi_code *code = &body->codes[index];

    return code->does == LHI_DOES_POP ||
           (code->does == LHI_DOES_LOAD && !code->has_place && leads_to_return(body, index));
}

lh_status lhi_body_read(const lhi_code_image *code, size_t first, lhi_body *body, size_t *next, lh_error *err)
{
    const lhi_stretch *stretch = &code->stretches[first];
    lh_status status = LH_OK;
    size_t i = first;

    *body = (lhi_body){.entry = stretch->entry,
                       .leaf = stretch->leaf,
                       .first = first,
                       .codes = body->codes,
                       .leaders = body->leaders,
                       .room = body->room,
                       .tables = body->tables,
                       .table_room = body->table_room,
                       .cases = body->cases,
                       .case_room = body->case_room,
                       .guards = body->guards,
                       .guard_room = body->guard_room};
    for (; i < code->count && code->stretches[i].entry == stretch->entry && status == LH_OK; i++)
        status = read_stretch(code, &code->stretches[i], body, err);
    *next = body->next = i;
    if (status != LH_OK)
        return status;
    undo_retpolines(code, body);
    find_leaders(body);
    status = lhi_tables_find(code, body, err);
    return status == LH_OK ? lhi_guards_find(code, body, err) : status;
}

void lhi_body_free(lhi_body *body)
{
    lhi_free(body->codes);
    lhi_free(body->leaders);
    lhi_free(body->tables);
    lhi_free(body->cases);
    lhi_free(body->guards);
    *body = (lhi_body){0};
}
