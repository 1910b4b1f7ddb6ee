/* Reads the instructions around a place in code: from where its function begins by .pdata, because x64 code
 * can't be read backwards. */
#include "code/listing.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "code/functions.h"
#include "dump/header.h"
#include "image/functions.h"
#include "nt/read.h"
#include "nt/unwind.h"

/* ------------------------------------------------------------------ one line */

static bool decode_at(const lhi_space *space, uint64_t address, lhi_code *code,
                      uint8_t bytes[LHI_CODE_LONGEST])
{
    size_t there = 0;

    (void)lhi_space_read(space, address, bytes, LHI_CODE_LONGEST, &there, NULL);
    return lhi_code_decode(bytes, there, address, code);
}

/* What the import table calls the routine of a slot that is not in the dump. */
static void name_by_import(const lhi_names *names, uint64_t slot, char out[LHI_CODE_NAME])
{
    const lhi_module *module = lhi_module_at(&names->kernel->modules, slot);
    char name[LHI_IMPORT_NAME] = "";
    lhi_image image = {0};

    if (module != NULL &&
        lhi_image_open(&names->kernel->space, module->base, module->size, &image) == LH_PRESENT &&
        lhi_image_import_name(&image, (uint32_t)(slot - module->base), name))
        snprintf(out, LHI_CODE_NAME, "nt!%s", name);
}

/* A slot whose routine is read, to be called through a register, has the routine's name; else its own. */
static lh_status name_place(lhi_names *names, const lhi_code *code, char out[LHI_CODE_NAME], lh_error *err)
{
    const char *export = NULL;
    uint64_t value = 0;

    if (code->does == LHI_DOES_LOAD &&
        lhi_space_u64(&names->kernel->space, code->place, &value) == LH_PRESENT) {
        lh_status status = lhi_names_export(names, value, &export, err);
        if (status != LH_OK || export != NULL)
            return status == LH_OK ? lhi_names_find(names, value, out, err) : status;
    }
    return lhi_names_find(names, code->place, out, err);
}

static lh_status name_of(lhi_names *names, const lhi_code *code, char out[LHI_CODE_NAME], lh_error *err)
{
    uint64_t target = code->target;

    if (code->targets == LHI_TARGET_DIRECT)
        return lhi_names_find(names, target, out, err);
    if (code->targets == LHI_TARGET_SLOT) {
        if (lhi_space_u64(&names->kernel->space, code->target, &target) == LH_PRESENT)
            return lhi_names_find(names, target, out, err);
        name_by_import(names, code->target, out);
        return LH_OK;
    }
    return code->has_place ? name_place(names, code, out, err) : LH_OK;
}

lh_status lhi_line_read(lhi_names *names, uint64_t address, lhi_line *out, bool *read, lh_error *err)
{
    uint8_t bytes[LHI_CODE_LONGEST] = {0};
    lhi_code code = {0};

    *out = (lhi_line){.address = address};
    *read = decode_at(&names->kernel->space, address, &code, bytes);
    if (!*read)
        return LH_OK;
    out->length = code.length;
    out->calls = code.kind == LHI_CODE_CALL;
    out->leaves = code.kind == LHI_CODE_JUMP || code.kind == LHI_CODE_RETURN || code.kind == LHI_CODE_STOP;
    memcpy(out->bytes, bytes, code.length);
    lhi_code_text(bytes, code.length, address, out->text);
    return name_of(names, &code, out->name, err);
}

/* ------------------------------------------------------------------ where lines begin */

/* Addresses of the last lines in front of a place, oldest first. */
typedef struct lhi_starts {
    uint64_t at[LHI_LISTING_BEFORE + 1];
    size_t count, room;
} lhi_starts;

static void add_start(lhi_starts *starts, uint64_t at)
{
    if (starts->count == starts->room) {
        for (size_t i = 1; i < starts->count; i++)
            starts->at[i - 1] = starts->at[i];
        starts->count--;
    }
    starts->at[starts->count++] = at;
}

/* The first reason stands. */
static void miss(lhi_listing *out, const char *why, lh_absence absence, uint64_t at)
{
    if (out->why != NULL)
        return;
    out->why = why;
    out->absence = absence;
    out->absent_at = at;
}

/* The first byte from an address on that is not there, where the longest instruction reaches it. */
static bool is_cut(const lhi_space *space, uint64_t at, lhi_listing *out)
{
    uint8_t bytes[LHI_CODE_LONGEST] = {0};
    uint64_t absent_at = 0;
    lh_absence absence = lhi_read(space, at, bytes, sizeof bytes, &absent_at);

    if (absence != LH_PRESENT)
        miss(out, "code of the function is not in this dump", absence, absent_at);
    return absence != LH_PRESENT;
}

/* From the begin of the function's part to `to`. Leaves no start where the instructions do not lead there. */
static void starts_to(const lhi_space *space, uint64_t to, lhi_starts *starts, lhi_listing *out)
{
    uint64_t at = out->begin;

    for (size_t i = 0; at < to && i < LHI_BODY_MOST; i++) {
        uint8_t bytes[LHI_CODE_LONGEST] = {0};
        lhi_code code = {0};
        if (!decode_at(space, at, &code, bytes))
            break;
        add_start(starts, at);
        at += code.length;
    }
    if (at == to)
        return;
    starts->count = 0;
    if (at > to || !is_cut(space, at, out))
        miss(out, "the instructions from the begin of the function on do not lead to this place", LH_PRESENT,
             0);
}

/* The one call that ends at an address, where no bounds are known. */
static void start_of_call(const lhi_space *space, uint64_t to, lhi_starts *starts)
{
    uint64_t found = 0;

    for (uint64_t length = 2; length < 8 && length <= to; length++) {
        uint8_t bytes[LHI_CODE_LONGEST] = {0};
        lhi_code code = {0};
        if (!decode_at(space, to - length, &code, bytes) || code.kind != LHI_CODE_CALL ||
            code.length != length)
            continue;
        if (found != 0)
            return; /* as well another one */
        found = to - length;
    }
    if (found != 0)
        add_start(starts, found);
}

/* ------------------------------------------------------------------ the listing */

static void find_bounds(const lhi_names *names, uint64_t inside, lhi_listing *out)
{
    const lhi_module *module = lhi_module_at(&names->kernel->modules, inside);
    lhi_image image = {0};
    lhi_function row = {0}, whole = {0};
    lh_absence why = LH_PRESENT;
    uint64_t at = 0;

    if (module == NULL) {
        if (lhi_module_unloaded_at(&names->kernel->modules, inside) != NULL)
            miss(out, "the driver has been unloaded", LH_PRESENT, 0);
        else
            miss(out, "the code lies in no module", LH_PRESENT, 0);
        return;
    }
    why = lhi_image_open(&names->kernel->space, module->base, module->size, &image);
    if (why != LH_PRESENT) {
        miss(out, "the headers of the driver are not in this dump", why, module->base);
        return;
    }
    switch (lhi_function_at(&image, (uint32_t)(inside - module->base), &row, &why, &at)) {
    case LHI_YES:
        break;
    case LHI_NO:
        miss(out, "no row of .pdata tells where the function begins", LH_PRESENT, 0);
        return;
    case LHI_UNKNOWN:
        miss(out, "the row of .pdata that tells where the function begins is not in this dump", why, at);
        return;
    }
    out->bounded = true;
    out->begin = module->base + row.begin;
    out->end = module->base + row.end;
    out->entry = lhi_function_primary(&image, &row, &whole, &at) == LH_PRESENT ? module->base + whole.begin
                                                                               : out->begin;
}

/* false: there is no decoder for this code. */
static bool can_decode(const lhi_names *names, lhi_listing *out)
{
    if (!lhi_code_available())
        out->why = "this library was built without Zydis, which decodes code";
    else if (lhi_dump_header(names->kernel->dump)->machine != LHI_MACHINE_X64)
        out->why = "only x64 code is decoded by this version";
    return out->why == NULL;
}

static lh_status add_line(lhi_names *names, uint64_t at, lhi_listing *out, bool *read, lh_error *err)
{
    lh_status status = lhi_line_read(names, at, &out->lines[out->count], read, err);

    if (status == LH_OK && *read)
        out->count++;
    return status;
}

/* From an address on, not beyond the function's part; where that is not known, not beyond what goes
 * elsewhere.
 */
static lh_status add_lines(lhi_names *names, uint64_t at, size_t most, lhi_listing *out, lh_error *err)
{
    lh_status status = LH_OK;

    for (size_t i = 0; i < most && status == LH_OK && !(out->bounded && at >= out->end); i++) {
        const lhi_line *line = &out->lines[out->count];
        bool read = false;
        status = add_line(names, at, out, &read, err);
        if (status != LH_OK || (read && !out->bounded && line->leaves))
            break;
        if (!read) {
            if (!is_cut(&names->kernel->space, at, out))
                miss(out, "the bytes there are no instruction", LH_PRESENT, 0);
            break;
        }
        at += line->length;
    }
    return status;
}

/* Driver Verifier's stand-ins and import thunks have no name of their own, and what a call leads to has. */
static lh_status name_call(lhi_names *names, uint64_t returns_to, lhi_line *line, lh_error *err)
{
    lhi_call call = {0};
    const char *export = NULL;
    lh_status status = LH_OK;

    if (lhi_call_target(names->kernel, returns_to, &call) != LHI_YES)
        return LH_OK;
    status = lhi_names_export(names, call.target, &export, err);
    return status == LH_OK && export != NULL ? lhi_names_find(names, call.target, line->name, err) : status;
}

/* The last line, if it calls. */
static lh_status mark_call(lhi_names *names, uint64_t returns_to, lhi_listing *out, lh_error *err)
{
    if (!out->lines[out->count - 1].calls) {
        miss(out, "no call stands in front of the return address", LH_PRESENT, 0);
        return LH_OK;
    }
    out->marked = out->count - 1;
    return name_call(names, returns_to, &out->lines[out->marked], err);
}

lh_status lhi_listing_read(lhi_names *names, uint64_t address, bool returns, lhi_listing *out, lh_error *err)
{
    const lhi_space *space = &names->kernel->space;
    lhi_starts starts = {.room = LHI_LISTING_BEFORE + returns};
    lh_status status = LH_OK;

    *out = (lhi_listing){.marked = SIZE_MAX};
    if (!can_decode(names, out))
        return LH_OK;
    find_bounds(names, returns ? address - 1 : address, out);
    if (out->bounded)
        starts_to(space, address, &starts, out);
    if (starts.count == 0 && returns)
        start_of_call(space, address, &starts);
    if (starts.count == 0 && returns && out->absence == LH_PRESENT) {
        miss(out, "no call stands in front of the return address", LH_PRESENT, 0);
        return LH_OK; /* nor may an instruction begin there */
    }
    for (size_t i = 0; i < starts.count && status == LH_OK; i++)
        status = add_line(names, starts.at[i], out, &(bool){false}, err);
    if (!returns)
        out->marked = out->count;
    else if (status == LH_OK && out->count > 0)
        status = mark_call(names, address, out, err);
    return status == LH_OK ? add_lines(names, address, LHI_LISTING_AFTER + !returns, out, err) : status;
}
