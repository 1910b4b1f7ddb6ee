/* Modules out of a triage dump's driver list, string pool and list of unloaded drivers. */
#include "nt/triage.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "nt/text.h"
#include "source/source.h"

#include <stdlib.h>
#include <string.h>

/* KLDR_DATA_TABLE_ENTRY64 behind the name's offset (WDK dump headers; facts windows-internals B.5). */
enum { DLL_BASE = 0x30, SIZE_OF_IMAGE = 0x40, TIME_STAMP = 0x80 };
/* DUMP_UNLOADED_DRIVERS64. */
enum { NAME_LENGTH = 0x0, NAME = 0x10, NAME_UNITS = 12, BEGIN = 0x28, END = 0x30 };
#define NAME_MOST       1024u /* characters of a name that are read */
#define IMAGE_SIZE_MOST ((uint64_t)1 << 30)
#define PAGE_MASK       ((uint64_t)LHI_PAGE_SIZE - 1)

static bool read(const lhi_triage *triage, uint64_t offset, void *buffer, size_t size)
{
    return lhi_source_read(triage->source, offset, buffer, size, NULL) == LH_OK;
}

static bool is_image_range(uint64_t base, uint64_t size)
{
    return lhi_is_kernel(base) && (base & PAGE_MASK) == 0 && size > 0 && size <= IMAGE_SIZE_MOST &&
           size <= UINT64_MAX - base;
}

/* A string of the pool: length in characters (u32), UTF-16. */
static lh_absence read_name(const lhi_triage *triage, uint64_t offset, char *out, size_t size)
{
    const lhi_part pool = triage->strings;
    uint8_t head[4] = {0};
    uint8_t text[NAME_MOST * 2] = {0};
    char path[1024] = {0};
    if (pool.size == 0)
        return LH_ABSENT_NOT_CAPTURED;
    if (offset < pool.offset || !lhi_span_inside(offset - pool.offset, sizeof head, pool.size))
        return LH_ABSENT_LAYOUT;
    if (!read(triage, offset, head, sizeof head))
        return LH_ABSENT_CLIPPED;
    uint64_t units = lhi_u32(head);
    if (units == 0 || units > NAME_MOST)
        return LH_ABSENT_LAYOUT;
    if (!lhi_span_inside(offset - pool.offset + sizeof head, units * 2, pool.size))
        return LH_ABSENT_CLIPPED;
    if (!read(triage, offset + sizeof head, text, (size_t)units * 2))
        return LH_ABSENT_CLIPPED;
    lhi_text_utf16(text, (size_t)units, true, path, sizeof path);
    lhi_text_copy(lhi_text_base_name(path), out, size);
    return out[0] ? LH_PRESENT : LH_ABSENT_LAYOUT;
}

static bool read_loaded(const lhi_triage *triage, uint64_t at, lhi_module *out)
{
    uint8_t bytes[LHI_TRIAGE_DRIVER_SIZE] = {0};
    *out = (lhi_module){0};
    if (!read(triage, at, bytes, sizeof bytes))
        return false;
    const uint8_t *entry = bytes + LHI_TRIAGE_DRIVER_ENTRY;
    out->base = lhi_u64(entry + DLL_BASE);
    out->size = lhi_u32(entry + SIZE_OF_IMAGE);
    out->timestamp = lhi_u32(entry + TIME_STAMP);
    if (!is_image_range(out->base, out->size))
        return false;
    out->name_absence = read_name(triage, lhi_u32(bytes), out->name, sizeof out->name);
    return true;
}

/* The table keeps twelve characters of a name. One that fills them and has no extension was cut: it is shown,
 * and names no file. */
static bool read_unloaded(const lhi_triage *triage, uint64_t at, lhi_module *out)
{
    uint8_t bytes[LHI_TRIAGE_UNLOADED_SIZE] = {0};
    *out = (lhi_module){.unloaded = true};
    if (!read(triage, at, bytes, sizeof bytes))
        return false;
    uint64_t begin = lhi_u64(bytes + BEGIN), end = lhi_u64(bytes + END);
    if (begin == 0 || end <= begin || !lhi_add(end - begin, PAGE_MASK, &out->size))
        return false;
    out->size &= ~PAGE_MASK;
    out->base = begin;
    if (!is_image_range(out->base, out->size))
        return false;
    size_t units = lhi_u16(bytes + NAME_LENGTH) / 2u;
    bool cut = units > NAME_UNITS;
    units = units < NAME_UNITS ? units : NAME_UNITS;
    for (size_t i = 0; i < units; i++) /* shorter than it says: a NUL ends it */
        units = lhi_u16(bytes + NAME + 2 * i) == 0 ? i : units;
    char path[128] = {0};
    lhi_text_utf16(bytes + NAME, units, true, path, sizeof path);
    lhi_text_copy(lhi_text_base_name(path), out->name, sizeof out->name);
    const char *dot = strrchr(out->name, '.');
    cut = cut || (units == NAME_UNITS && (!dot || strlen(dot) != 4));
    out->name_absence = cut ? LH_ABSENT_NOT_CAPTURED : out->name[0] ? LH_PRESENT : LH_ABSENT_LAYOUT;
    return true;
}

static int by_base(const void *left, const void *right)
{
    const lhi_module *a = left, *b = right;
    if (a->base != b->base)
        return a->base < b->base ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? 1 : -1;
    return a->entry < b->entry ? -1 : a->entry > b->entry;
}

/* The same module by list and by table is one: the list's row stays, which has an address. */
static size_t unique(lhi_module *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        lhi_module *last = kept ? &items[kept - 1] : NULL;
        if (!last || last->base != items[i].base || last->size != items[i].size) {
            items[kept++] = items[i];
            continue;
        }
        if (last->entry == 0 || last->name_absence != LH_PRESENT) {
            uint64_t entry = last->entry ? last->entry : items[i].entry;
            if (items[i].name_absence == LH_PRESENT || last->name_absence != LH_PRESENT)
                *last = items[i];
            last->entry = entry;
        }
    }
    return kept;
}

lh_status lhi_triage_modules(const lhi_triage *triage, lhi_modules *modules, lh_error *err)
{
    const size_t drivers = (size_t)(triage->drivers.size / LHI_TRIAGE_DRIVER_SIZE);
    const size_t gone = (size_t)(triage->unloaded.size / LHI_TRIAGE_UNLOADED_SIZE);
    const size_t old = modules->count - modules->loaded;
    lhi_module *items = lhi_calloc(modules->count + drivers + gone + 1, sizeof *items);
    if (!items) {
        lhi_modules_free(modules);
        return lhi_fail_memory(err);
    }
    size_t loaded = modules->loaded;
    bool whole = drivers == triage->drivers_told && drivers != 0;
    if (loaded)
        memcpy(items, modules->items, loaded * sizeof *items);
    for (size_t i = 0; i < drivers; i++) {
        if (read_loaded(triage, triage->drivers.offset + i * LHI_TRIAGE_DRIVER_SIZE, &items[loaded]))
            loaded++;
        else
            whole = false;
    }
    if (loaded)
        qsort(items, loaded, sizeof *items, by_base);
    loaded = unique(items, loaded);
    for (size_t i = 0; i < loaded; i++) {
        uint64_t end = items[i].base + items[i].size;
        items[i].reach = i && items[i - 1].reach > end ? items[i - 1].reach : end;
    }
    size_t count = loaded;
    if (old) { /* the array in memory has whole names */
        memcpy(items + count, modules->items + modules->loaded, old * sizeof *items);
        count += old;
    } else {
        for (size_t i = 0; i < gone; i++)
            count +=
                read_unloaded(triage, triage->unloaded.offset + i * LHI_TRIAGE_UNLOADED_SIZE, &items[count]);
        modules->unloaded_known = modules->unloaded_known || gone == triage->unloaded_told;
    }
    lhi_free(modules->items);
    modules->items = items;
    modules->loaded = loaded;
    modules->count = count;
    if (whole) {
        modules->complete = true;
        modules->absence = LH_PRESENT;
        modules->absent_at = 0;
    }
    return LH_OK;
}
