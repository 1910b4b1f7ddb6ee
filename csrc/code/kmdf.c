/* Finds the table by what the driver bound itself with: a structure in its data that names the library, the
 * number of entries and where they are.
 *
 * After Microsoft's open source of the framework (MIT): WDF_BIND_INFO in fxldr.h, whose later form only has
 * more behind it; and fxlibrarycommon.cpp, by which clients up to version 1.13 get a copy of the table, and
 * later ones a pointer to the framework's. A copy is a beginning of the same table: entries never move. */
#include "code/kmdf.h"

#include <string.h>

#include "base/bytes.h"
#include "image/read.h"
#include "nt/framework.h"

enum {
    INFO_SIZE = 0,
    INFO_COMPONENT = 8,
    INFO_MAJOR = 0x10,
    INFO_COUNT = 0x1c,
    INFO_TABLE = 0x20,
    INFO_LEAST = 0x30, /* the whole of the first form */
    INFO_MOST = 0x100
};
#define COUNT_V1_13 438u /* WdfFunctionTableNumEntries_V1_13 */
#define MOST_COUNT  2048u
#define MOST_IMAGE  0x800000u

static bool is_inside(const lhi_image *image, uint64_t va, uint64_t size)
{
    return va >= image->base && va - image->base < image->span && size <= image->span - (va - image->base);
}

static void note_gap(lhi_kmdf *out, lh_absence absence, uint64_t at)
{
    if (out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_at = at;
    }
}

static bool names_library(const lhi_image *image, uint64_t name, lhi_kmdf *out)
{
    static const char wanted[] = "KmdfLibrary";
    uint8_t text[sizeof wanted * 2] = {0};
    bool same = true;

    if (!is_inside(image, name, sizeof text))
        return false;
    lh_absence absence = lhi_rva_get(image, name - image->base, text, sizeof text);
    if (absence != LH_PRESENT) {
        note_gap(out, absence, name);
        return false;
    }
    for (size_t i = 0; i < sizeof wanted; i++)
        same = same && lhi_u16(text + 2 * i) == (uint8_t)wanted[i];
    return same;
}

/* The framework's table itself, or a copy of it in the driver. */
static void take_table(const lhi_code_image *code, uint64_t count, uint64_t at, lhi_kmdf *out)
{
    uint64_t table = 0;

    if (count <= COUNT_V1_13) {
        if (is_inside(&code->image, at, 8 * count))
            *out = (lhi_kmdf){.bound = true, .table = at, .count = count};
        return;
    }
    lh_absence absence = lhi_space_u64(&code->kernel->space, at, &table);
    const lhi_module *module = absence == LH_PRESENT ? lhi_module_at(&code->kernel->modules, table) : NULL;
    if (absence != LH_PRESENT)
        note_gap(out, absence, at);
    else if (module != NULL && strcmp(module->name, LHI_FRAMEWORK) == 0 && table % 8 == 0)
        *out = (lhi_kmdf){.bound = true, .table = table, .count = count, .pointer = at};
}

static void look_at(const lhi_code_image *code, const uint8_t *info, lhi_kmdf *out)
{
    uint32_t size = lhi_u32(info + INFO_SIZE), count = lhi_u32(info + INFO_COUNT);
    uint64_t table = lhi_u64(info + INFO_TABLE);

    if (size < INFO_LEAST || size > INFO_MOST || size % 8 != 0 || lhi_u32(info + INFO_MAJOR) != 1 ||
        count == 0 || count > MOST_COUNT || !is_inside(&code->image, table, 8) ||
        !names_library(&code->image, lhi_u64(info + INFO_COMPONENT), out))
        return;
    take_table(code, count, table, out);
}

/* Structures that cross into the next page are read with it. */
static void look_through(const lhi_code_image *code, lhi_kmdf *out)
{
    const lhi_image *image = &code->image;
    uint64_t size = image->span < MOST_IMAGE ? image->span : MOST_IMAGE;
    uint8_t bytes[INFO_LEAST + LHI_PAGE_SIZE] = {0}; /* the end of the page before, and a page */

    for (uint64_t page = 0; page < size && out->table == 0; page += LHI_PAGE_SIZE) {
        uint64_t part = size - page < LHI_PAGE_SIZE ? size - page : LHI_PAGE_SIZE;
        memmove(bytes, bytes + LHI_PAGE_SIZE, INFO_LEAST);
        memset(bytes + INFO_LEAST, 0, LHI_PAGE_SIZE);
        lh_absence absence = lhi_rva_get(image, page, bytes + INFO_LEAST, (size_t)part);
        if (absence != LH_PRESENT && absence != LH_ABSENT_NOT_MAPPED)
            note_gap(out, absence, image->base + page);
        for (size_t at = 0; at + INFO_LEAST <= sizeof bytes && out->table == 0; at += 8)
            look_at(code, bytes + at, out);
    }
}

void lhi_kmdf_find(const lhi_code_image *code, lhi_kmdf *out)
{
    *out = (lhi_kmdf){.bound = lhi_fx_is_bound(code->kernel, &code->image)};
    if (out->bound)
        look_through(code, out);
}

bool lhi_kmdf_entry(const lhi_kmdf *kmdf, uint64_t slot, uint64_t *entry)
{
    if (kmdf->table == 0 || slot < kmdf->table || (slot - kmdf->table) % 8 != 0 ||
        (slot - kmdf->table) / 8 >= kmdf->count)
        return false;
    *entry = (slot - kmdf->table) / 8;
    return true;
}
