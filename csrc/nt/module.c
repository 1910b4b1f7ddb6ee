/* Loaded modules and unloaded drivers: the list walked from both ends, the array of the last 50 unloads.
 *
 * Layouts: KLDR_DATA_TABLE_ENTRY and UNLOADED_DRIVERS, facts B.5. */
#include "nt/module.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/vec.h"
#include "nt/read.h"
#include "nt/text.h"

#include <stdlib.h>
#include <string.h>

#define LOADED_MOST 65536u
/* MmUnloadedDrivers: so many elements of this size (facts B.5). */
#define UNLOADED_COUNT 50u
#define UNLOADED_SIZE  0x28u
/* No driver image comes near this; a size above it is not one. */
#define IMAGE_SIZE_MOST (1ull << 30)
#define PAGE_MASK       ((uint64_t)LHI_PAGE_SIZE - 1)

static bool is_image_range(uint64_t base, uint64_t size)
{
    uint64_t end = 0;
    return lhi_is_object(base, LHI_PAGE_SIZE) && size > 0 && size <= IMAGE_SIZE_MOST &&
           lhi_add(base, size, &end);
}

/* The name at a UNICODE_STRING field of the entry: LH_PRESENT only for a name with characters in it. */
static lh_absence read_name(const lhi_module_sources *sources, uint64_t entry, lhi_field field,
                            lhi_module *out)
{
    char path[1024] = {0};
    uint64_t offset = 0;
    uint64_t at = 0;
    lh_absence absence = LH_PRESENT;
    if (!lhi_layout_offset(sources->layout, field, &offset)) {
        out->name_address = 0;
        return LH_ABSENT_LAYOUT;
    }
    out->name_address = entry + offset;
    absence = lhi_text_unicode_string(sources->space, entry + offset, true, path, sizeof path, &at);
    if (absence != LH_PRESENT) {
        out->name_address = at;
        return absence;
    }
    lhi_text_copy(lhi_text_base_name(path), out->name, sizeof out->name);
    return out->name[0] ? LH_PRESENT : LH_ABSENT_LAYOUT;
}

lh_absence lhi_module_from_entry(const lhi_module_sources *sources, uint64_t entry, lhi_module *out)
{
    const lhi_space *space = sources->space;
    const lhi_layout *layout = sources->layout;
    uint64_t base = 0;
    uint64_t size = 0;
    uint64_t timestamp = 0;
    uint64_t at = 0;
    lh_absence absence = LH_PRESENT;
    memset(out, 0, sizeof *out);
    out->entry = entry;
    if (!lhi_is_object(entry, 8))
        return LH_ABSENT_LAYOUT;
    absence = lhi_read_field(space, layout, entry, LHI_F_KLDR_DATA_TABLE_ENTRY_DllBase, 8, &base, &at);
    if (absence == LH_PRESENT)
        absence =
            lhi_read_field(space, layout, entry, LHI_F_KLDR_DATA_TABLE_ENTRY_SizeOfImage, 4, &size, &at);
    if (absence != LH_PRESENT) {
        out->name_absence = absence;
        out->name_address = at;
        return absence;
    }
    if (!is_image_range(base, size)) {
        out->name_absence = LH_ABSENT_LAYOUT;
        return LH_ABSENT_LAYOUT;
    }
    out->base = base;
    out->size = size;
    if (lhi_read_field(space, layout, entry, LHI_F_KLDR_DATA_TABLE_ENTRY_TimeDateStamp, 4, &timestamp, &at) ==
        LH_PRESENT)
        out->timestamp = (uint32_t)timestamp;
    out->name_absence = read_name(sources, entry, LHI_F_KLDR_DATA_TABLE_ENTRY_BaseDllName, out);
    if (out->name_absence != LH_PRESENT) {
        lhi_module full = *out;
        if (read_name(sources, entry, LHI_F_KLDR_DATA_TABLE_ENTRY_FullDllName, &full) == LH_PRESENT) {
            full.name_absence = LH_PRESENT;
            *out = full;
        }
    }
    return LH_PRESENT;
}

/* ------------------------------------------------------------------ the walk */

typedef struct walker {
    const lhi_module_sources *sources;
    lhi_modules *out;
    lhi_vec entries;
} walker;

static void note_gap(lhi_modules *out, lh_absence absence, uint64_t at)
{
    if (out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_at = at;
    }
}

/* Follows one direction from the head and collects entries. *whole: came back to the head. */
static lh_status walk(walker *w, lhi_field direction, bool *whole, lh_error *err)
{
    const lhi_space *space = w->sources->space;
    const uint64_t head = w->sources->list_head;
    uint64_t link = 0;
    uint64_t current = 0;
    uint64_t at = 0;
    uint64_t mark = 0; /* an entry seen earlier; meeting it again means a loop without the head (R. Brent) */
    uint64_t next_mark = 1;
    lh_absence absence = LH_PRESENT;
    *whole = false;
    lhi_layout_offset(w->sources->layout, LHI_F_KLDR_DATA_TABLE_ENTRY_InLoadOrderLinks, &link);
    absence = lhi_read_field(space, w->sources->layout, head, direction, 8, &current, &at);
    for (uint64_t steps = 0; absence == LH_PRESENT; steps++) {
        if (current == head) {
            *whole = true;
            return LH_OK;
        }
        if (!lhi_is_object(current, 8) || current == mark || steps >= LOADED_MOST) {
            absence = LH_ABSENT_LAYOUT;
            at = current;
            break;
        }
        if (!lhi_vec_push(&w->entries, current - link))
            return lhi_fail_memory(err);
        if (steps == next_mark) {
            mark = current;
            next_mark *= 2;
        }
        absence = lhi_read_field(space, w->sources->layout, current, direction, 8, &current, &at);
    }
    note_gap(w->out, absence, at);
    return LH_OK;
}

static int by_base(const void *left, const void *right)
{
    const lhi_module *a = left;
    const lhi_module *b = right;
    if (a->base != b->base)
        return a->base < b->base ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? 1 : -1; /* the larger one first, so that the innermost is found first */
    return a->entry < b->entry ? -1 : a->entry > b->entry;
}

static lh_status read_loaded(const lhi_module_sources *sources, lhi_modules *out, lh_error *err)
{
    walker w = {sources, out, {0}};
    bool forward = false;
    bool backward = false;
    lh_status status = LH_OK;
    if (!lhi_is_object(sources->list_head, 8)) {
        note_gap(out, LH_ABSENT_LAYOUT, sources->list_head);
        return LH_OK;
    }
    status = walk(&w, LHI_F_LIST_ENTRY_Flink, &forward, err);
    if (status == LH_OK && !forward)
        status = walk(&w, LHI_F_LIST_ENTRY_Blink, &backward, err);
    if (status != LH_OK)
        goto done;
    out->complete = forward || backward;
    lhi_vec_sort_unique(&w.entries);
    out->items = lhi_calloc(w.entries.count + UNLOADED_COUNT, sizeof *out->items);
    if (!out->items) {
        status = lhi_fail_memory(err);
        goto done;
    }
    for (size_t i = 0; i < w.entries.count; i++) {
        lhi_module *item = &out->items[out->loaded];
        lh_absence absence = lhi_module_from_entry(sources, w.entries.data[i], item);
        if (absence == LH_PRESENT) {
            out->loaded++;
        } else {
            /* A member that can't be told is a hole in the list, although the walk went on. */
            note_gap(out, absence, item->name_address ? item->name_address : item->entry);
            out->complete = false;
        }
    }
    if (out->loaded > 0)
        qsort(out->items, out->loaded, sizeof *out->items, by_base);
    for (size_t i = 0; i < out->loaded; i++) {
        uint64_t end = out->items[i].base + out->items[i].size;
        out->items[i].reach = i > 0 && out->items[i - 1].reach > end ? out->items[i - 1].reach : end;
    }
    out->count = out->loaded;
done:
    lhi_vec_free(&w.entries);
    return status;
}

/* ------------------------------------------------------------------ unloaded drivers */

static bool read_unloaded_item(const lhi_module_sources *sources, uint64_t address, lhi_module *out,
                               bool *empty)
{
    uint8_t bytes[UNLOADED_SIZE] = {0};
    char path[1024] = {0};
    uint64_t at = 0;
    memset(out, 0, sizeof *out);
    *empty = true;
    if (lhi_read(sources->space, address, bytes, sizeof bytes, &at) != LH_PRESENT)
        return false;
    uint64_t begin = lhi_u64(bytes + 0x10);
    uint64_t end = lhi_u64(bytes + 0x18);
    if (begin == 0 || end <= begin)
        return true;
    uint64_t size = end - begin;
    if (!lhi_add(size, PAGE_MASK, &size)) /* the end may be the last byte or the byte behind it (facts F.2) */
        return true;
    size &= ~PAGE_MASK;
    if (!is_image_range(begin, size))
        return true;
    *empty = false;
    out->base = begin;
    out->size = size;
    out->entry = address;
    out->unloaded = true;
    out->name_absence =
        lhi_text_unicode_string(sources->space, address, true, path, sizeof path, &out->name_address);
    if (out->name_absence == LH_PRESENT) {
        lhi_text_copy(lhi_text_base_name(path), out->name, sizeof out->name);
        if (!out->name[0])
            out->name_absence = LH_ABSENT_LAYOUT;
        out->name_address = address;
    }
    return true;
}

static void read_unloaded(const lhi_module_sources *sources, lhi_modules *out)
{
    const lhi_space *space = sources->space;
    uint64_t array = 0;
    uint64_t at = 0;
    uint8_t last_bytes[4] = {0};
    if (!lhi_is_object(sources->unloaded_drivers, 8) || !lhi_is_kernel(sources->last_unloaded) ||
        lhi_read_u64(space, sources->unloaded_drivers, &array, &at) != LH_PRESENT ||
        lhi_read(space, sources->last_unloaded, last_bytes, sizeof last_bytes, &at) != LH_PRESENT)
        return;
    if (array == 0) {
        out->unloaded_known = true; /* no driver was ever unloaded */
        return;
    }
    if (!lhi_is_object(array, 8) || array > UINT64_MAX - (uint64_t)UNLOADED_COUNT * UNLOADED_SIZE)
        return;
    out->unloaded_known = true;
    /* The variable is the index of the element written next, so the newest is the one before it. */
    uint64_t last = lhi_u32(last_bytes);
    for (uint64_t back = 1; back <= UNLOADED_COUNT; back++) {
        uint64_t index = (last + UNLOADED_COUNT - back) % UNLOADED_COUNT;
        bool empty = false;
        if (!read_unloaded_item(sources, array + index * UNLOADED_SIZE, &out->items[out->count], &empty))
            out->unloaded_known = false;
        else if (!empty)
            out->count++;
    }
}

lh_status lhi_modules_read(const lhi_module_sources *sources, lhi_modules *out, lh_error *err)
{
    lhi_modules modules = {.list_head = sources->list_head};
    lh_status status = read_loaded(sources, &modules, err);
    if (status == LH_OK && !modules.items) {
        modules.items = lhi_calloc(UNLOADED_COUNT, sizeof *modules.items);
        if (!modules.items)
            status = lhi_fail_memory(err);
    }
    if (status == LH_OK && modules.items)
        read_unloaded(sources, &modules);
    else
        lhi_modules_free(&modules);
    *out = modules;
    return status;
}

void lhi_modules_free(lhi_modules *modules)
{
    if (!modules)
        return;
    lhi_free(modules->items);
    memset(modules, 0, sizeof *modules);
}

const lhi_module *lhi_module_at(const lhi_modules *modules, uint64_t va)
{
    size_t low = 0;
    size_t high = modules->loaded;
    while (low < high) { /* to the first base above va */
        size_t middle = low + (high - low) / 2;
        if (modules->items[middle].base <= va)
            low = middle + 1;
        else
            high = middle;
    }
    /* The nearest base below that still reaches va: with overlapping entries the innermost one. */
    for (size_t i = low; i > 0 && modules->items[i - 1].reach > va; i--) {
        const lhi_module *item = &modules->items[i - 1];
        if (va - item->base < item->size)
            return item;
    }
    return NULL;
}

const lhi_module *lhi_module_unloaded_at(const lhi_modules *modules, uint64_t va)
{
    for (size_t i = modules->loaded; i < modules->count; i++) {
        const lhi_module *item = &modules->items[i];
        if (va >= item->base && va - item->base < item->size)
            return item;
    }
    return NULL;
}

bool lhi_module_range_shared(const lhi_modules *modules, const lhi_module *unloaded)
{
    for (size_t i = 0; i < modules->count; i++) {
        const lhi_module *other = &modules->items[i];
        /* The same file may come and go at the same place. */
        bool same_file = other->unloaded && other->name[0] && strcmp(other->name, unloaded->name) == 0;
        if (!same_file && other->entry != unloaded->entry && other->base < unloaded->base + unloaded->size &&
            unloaded->base < other->base + other->size)
            return true;
    }
    return false;
}
