/* lh_kernel_disassemble: code as rows, with what each instruction leads to. */
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "code/decode.h"
#include "code/names.h"
#include "dump/header.h"

#define MOST_STRUCT 4096u

const char *lh_flow_name(lh_flow flow)
{
    switch (flow) {
    case LH_FLOW_NEXT:
        return "next";
    case LH_FLOW_CALL:
        return "call";
    case LH_FLOW_JUMP:
        return "jump";
    case LH_FLOW_BRANCH:
        return "branch";
    case LH_FLOW_RETURN:
        return "return";
    case LH_FLOW_STOP:
        return "stop";
    case LH_FLOW_INVALID:
        return "invalid";
    }
    return "unknown";
}

static lh_flow flow_of(lhi_code_kind kind)
{
    switch (kind) {
    case LHI_CODE_CALL:
        return LH_FLOW_CALL;
    case LHI_CODE_JUMP:
        return LH_FLOW_JUMP;
    case LHI_CODE_BRANCH:
        return LH_FLOW_BRANCH;
    case LHI_CODE_RETURN:
        return LH_FLOW_RETURN;
    case LHI_CODE_STOP:
        return LH_FLOW_STOP;
    case LHI_CODE_OTHER:
        break;
    }
    return LH_FLOW_NEXT;
}

/* Where it goes, or what it refers to. */
static void take_target(const lhi_space *space, const lhi_code *code, lh_instruction *row)
{
    if (code->targets == LHI_TARGET_DIRECT) {
        row->target = code->target;
    } else if (code->targets == LHI_TARGET_SLOT) {
        uint64_t through = 0;
        row->slot = code->target;
        if (lhi_space_u64(space, code->target, &through) == LH_PRESENT)
            row->target = through;
    } else if (code->has_place) {
        row->slot = code->place;
    }
}

/* `code` is NULL where no instruction begins. */
static lh_status fill(lhi_names *names, const uint8_t *bytes, size_t size, const lhi_code *code,
                      lh_instruction *row, lh_error *err)
{
    uint64_t named = 0;

    row->flow = LH_FLOW_INVALID;
    row->size = 1;
    if (code != NULL) {
        row->size = code->length;
        row->flow = flow_of(code->kind);
        lhi_code_text(bytes, size, row->address, row->text);
        take_target(&names->kernel->space, code, row);
        named = row->target != 0 ? row->target : row->slot;
    }
    memcpy(row->bytes, bytes, row->size);
    return named != 0 ? lhi_names_find(names, named, row->name, err) : LH_OK;
}

/* Bytes from `address` on that are there, up to the longest instruction. */
static size_t peek(const lhi_space *space, uint64_t address, uint8_t bytes[LHI_CODE_LONGEST], lh_error *err)
{
    size_t done = 0;

    (void)lhi_space_read(space, address, bytes, LHI_CODE_LONGEST, &done, err);
    return done;
}

static lh_status check(const lh_kernel *kernel, const lh_instruction *rows, size_t room, const size_t *count,
                       lh_error *err)
{
    if (kernel == NULL)
        return lhi_fail_argument(err, "kernel", "is NULL");
    if (count == NULL)
        return lhi_fail_argument(err, "count", "is NULL");
    if (rows == NULL || room == 0)
        return lhi_fail_argument(err, rows == NULL ? "rows" : "room", "gives no place for an answer");
    if (rows->struct_size < 2 * sizeof(uint64_t) || rows->struct_size > MOST_STRUCT ||
        rows->struct_size % sizeof(uint64_t) != 0)
        return lhi_fail_argument(err, "rows.struct_size", "%zu is no size of this struct", rows->struct_size);
    if (!lhi_code_available())
        return lhi_fail(err, LH_ERR_UNSUPPORTED, "this library was built without Zydis, which decodes code");
    if (lhi_dump_header(kernel->dump)->machine != LHI_MACHINE_X64)
        return lhi_fail(err, LH_ERR_UNSUPPORTED, "only x64 code is decoded by this version");
    return LH_OK;
}

lh_status lh_kernel_disassemble(const lh_kernel *kernel, uint64_t address, size_t size, lh_instruction *rows,
                                size_t room, size_t *count, lh_error *err)
{
    lh_status status = check(kernel, rows, room, count, err);
    size_t left = size;

    if (status != LH_OK)
        return status;
    const size_t stride = rows->struct_size;
    const size_t ours = stride < sizeof *rows ? stride : sizeof *rows;
    lhi_names names = {.kernel = kernel};
    size_t made = 0;
    while (status == LH_OK && made < room && left > 0) {
        uint8_t bytes[LHI_CODE_LONGEST] = {0};
        lh_instruction row = {.struct_size = stride, .address = address};
        lhi_code code = {0};
        lh_error absent = {0};
        size_t there = peek(&kernel->space, address, bytes, &absent);
        bool decoded = lhi_code_decode(bytes, there, address, &code);
        if (!decoded && there < sizeof bytes) {
            /* what could end the instruction is not there */
            status = absent.code;
            if (err != NULL)
                *err = absent;
            break;
        }
        status = fill(&names, bytes, there, decoded ? &code : NULL, &row, err);
        if (status == LH_OK) {
            uint8_t *place = (uint8_t *)rows + made * stride;
            memset(place, 0, stride);
            memcpy(place, &row, ours);
            made++;
            left = row.size < left ? left - row.size : 0;
            if (!lhi_add(address, row.size, &address))
                break; /* the end of memory */
        }
    }
    lhi_names_free(&names);
    *count = made;
    return status;
}
