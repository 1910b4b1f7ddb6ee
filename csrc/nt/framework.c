/* KMDF's objects: a header that all of them have, and the globals that lead to the client.
 *
 * Facts L.5 (verified against Microsoft's open source of the framework, fxobject.hpp, fxhandle.h, fxtypes.h):
 * a table of routines in the framework, type, size, references and globals; contexts of the client lie behind
 * the object, further ones in blocks of their own that begin with a pointer back to it. With its verifier on,
 * the framework puts a header with a signature in front of objects. */
#include "nt/framework.h"

#include <string.h>

#include "base/bytes.h"
#include "nt/memory.h"
#include "nt/read.h"

enum { FX_TYPE = 8, FX_SIZE = 0xa, FX_REFERENCES = 0xc, FX_GLOBALS = 0x10, FX_HEAD = 0x18 };
enum { TYPE_FIRST = 0x1000, TYPE_LAST = 0x15ff };
/* FxObjectDebugExtension: "FxOD" right in front of the object. */
#define DEBUG_SIZE      0x20u
#define DEBUG_SIGNATURE 0x444f7846u
#define CONTEXT_HEAD    0x30u /* FxContextHeader: object, next, two callbacks, type; then the client's bytes */
#define CONTEXT_TYPE    0x20u
#define GLOBALS_MOST    0x1000u /* more than the client's globals have in any version */
#define OBJECT_LEAST    0x60u   /* links to parent and children, which every object has, end behind that */
#define MOST_IMAGE      0x800000u
#define MOST_SLOTS      4096u

/* A module whose name is not in the dump may be the framework: then the rest of the head decides. */
static bool in_framework(const lh_kernel *kernel, uint64_t va)
{
    const lhi_module *module = lhi_module_at(&kernel->modules, va);
    return module && (module->name_absence != LH_PRESENT || strcmp(module->name, LHI_FRAMEWORK) == 0);
}

lhi_answer lhi_fx_object_read(const lh_kernel *kernel, uint64_t address, lhi_fx_object *out, lh_absence *why)
{
    uint8_t head[FX_HEAD] = {0};
    uint64_t at = 0;
    *why = LH_PRESENT;
    if (!lhi_is_object(address, 8) || address > UINT64_MAX - LHI_PAGE_SIZE)
        return LHI_NO;
    *why = lhi_read(&kernel->space, address, head, sizeof head, &at);
    if (*why != LH_PRESENT)
        return LHI_UNKNOWN;
    *out = (lhi_fx_object){.address = address,
                           .type = lhi_u16(head + FX_TYPE),
                           .size = lhi_u16(head + FX_SIZE),
                           .references = (int32_t)lhi_u32(head + FX_REFERENCES),
                           .globals = lhi_u64(head + FX_GLOBALS)};
    return in_framework(kernel, lhi_u64(head)) && lhi_is_object(out->globals, 8) && out->type >= TYPE_FIRST &&
                   out->type <= TYPE_LAST && (out->size == 0 || out->size >= OBJECT_LEAST)
               ? LHI_YES
               : LHI_NO;
}

static bool read_object(const lh_kernel *kernel, uint64_t address, lhi_fx_object *out)
{
    lh_absence why = LH_PRESENT;
    return lhi_fx_object_read(kernel, address, out, &why) == LHI_YES;
}

/* A context of its own block: its header names the object, and the type in the client's image. */
static bool is_context(const lh_kernel *kernel, uint64_t body, lhi_fx_object *out)
{
    uint64_t object = 0, next = 0, type = 0;
    return lhi_space_u64(&kernel->space, body, &object) == LH_PRESENT && object != body &&
           lhi_space_u64(&kernel->space, body + 8, &next) == LH_PRESENT &&
           (next == 0 || lhi_is_object(next, 8)) &&
           lhi_space_u64(&kernel->space, body + CONTEXT_TYPE, &type) == LH_PRESENT &&
           lhi_module_at(&kernel->modules, type) && read_object(kernel, object, out);
}

bool lhi_fx_object_in(const lh_kernel *kernel, uint64_t body, uint64_t size, lhi_fx_object *out)
{
    uint32_t signature = 0;
    if (size < FX_HEAD || size > UINT64_MAX - body)
        return false;
    if (read_object(kernel, body, out))
        return out->size <= size;
    if (size > DEBUG_SIZE + FX_HEAD &&
        lhi_space_u32(&kernel->space, body + DEBUG_SIZE - 4, &signature) == LH_PRESENT &&
        signature == DEBUG_SIGNATURE && read_object(kernel, body + DEBUG_SIZE, out))
        return out->size <= size - DEBUG_SIZE;
    return size >= CONTEXT_HEAD && is_context(kernel, body, out);
}

const char *lhi_fx_type_name(uint16_t type)
{
    static const struct {
        uint16_t type;
        const char *name;
    } names[] = {
        {0x1001, "driver"},
        {0x1002, "device"},
        {0x1003, "queue"},
        {0x1008, "request"},
        {0x1009, "lookaside list"},
        {0x100a, "memory"},
        {0x100b, "IRP queue"},
        {0x100e, "collection"},
        {0x1015, "DPC"},
        {0x1018, "file"},
        {0x1022, "memory"},
        {0x1025, "work item"},
        {0x1027, "interrupt"},
        {0x1028, "timer"},
        {0x1032, "memory"},
        {0x1100, "I/O package"},
        {0x1200, "I/O target"},
        {0x1201, "I/O target"},
        {0x1202, "USB device"},
        {0x1203, "USB pipe"},
        {0x1205, "I/O target"},
        {0x1401, "DMA transaction"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].type == type)
            return names[i].name;
    return "object";
}

/* A client is bound through wdfldr.sys. */
bool lhi_fx_is_bound(const lh_kernel *kernel, const lhi_image *image)
{
    const lhi_directory table = image->directories[12]; /* IMAGE_DIRECTORY_ENTRY_IAT, PE format */
    const uint32_t slots = table.size / 8 < MOST_SLOTS ? table.size / 8 : MOST_SLOTS;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t target = 0;
        if (lhi_space_u64(&kernel->space, image->base + table.rva + 8ull * i, &target) != LH_PRESENT)
            continue;
        const lhi_module *module = target ? lhi_module_at(&kernel->modules, target) : NULL;
        if (module && strcmp(module->name, "wdfldr.sys") == 0)
            return true;
    }
    return false;
}

/* The globals have a block of their own; where its bounds are not known, what they are at most. */
static uint64_t globals_size(const lh_kernel *kernel, uint64_t globals)
{
    lhi_pool_block block = {0};
    lhi_pool_block_at(kernel, globals, &block);
    return block.found && block.body == globals && block.size < GLOBALS_MOST ? block.size : GLOBALS_MOST;
}

/* A word of the image that points into the globals. *why: a page of it was not there. */
static bool points_to(const lh_kernel *kernel, const lhi_module *module, uint64_t globals, uint64_t length,
                      lh_absence *why)
{
    const uint64_t size = module->size < MOST_IMAGE ? module->size : MOST_IMAGE;
    for (uint64_t page = 0; page < size; page += LHI_PAGE_SIZE) {
        uint8_t bytes[LHI_PAGE_SIZE] = {0};
        lh_absence absence = lhi_space_get(&kernel->space, module->base + page, bytes, sizeof bytes);
        if (absence != LH_PRESENT && absence != LH_ABSENT_NOT_MAPPED)
            *why = absence;
        for (size_t i = 0; absence == LH_PRESENT && i < LHI_PAGE_SIZE; i += 8) {
            const uint64_t word = lhi_u64(bytes + i);
            if (word >= globals && word - globals < length)
                return true;
        }
    }
    return false;
}

lhi_answer lhi_fx_client(const lh_kernel *kernel, uint64_t globals, const lhi_module **client,
                         lh_absence *why)
{
    const uint64_t length = globals_size(kernel, globals);
    *client = NULL;
    *why = LH_PRESENT;
    for (size_t i = 0; i < kernel->modules.loaded; i++) {
        const lhi_module *module = &kernel->modules.items[i];
        lhi_image image = {0};
        if (strcmp(module->name, LHI_FRAMEWORK) == 0)
            continue;
        lh_absence absence = lhi_image_open(&kernel->space, module->base, module->size, &image);
        if (absence != LH_PRESENT) {
            *why = absence; /* it could be the one */
            continue;
        }
        if (!lhi_fx_is_bound(kernel, &image) || !points_to(kernel, module, globals, length, why))
            continue;
        if (*client)
            return LHI_NO;
        *client = module;
    }
    if (*client)
        return LHI_YES;
    return *why == LH_PRESENT || *why == LH_ABSENT_LAYOUT ? LHI_NO : LHI_UNKNOWN;
}
