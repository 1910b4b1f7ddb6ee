/* The export table of an image: names to addresses and back. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/read.h"

/* After the PE format specification (export directory table). */
enum {
    DIRECTORY_EXPORT = 0,
    HEADER_SIZE = 40,
    HEADER_FUNCTION_COUNT = 20,
    HEADER_NAME_COUNT = 24,
    HEADER_FUNCTIONS = 28,
    HEADER_NAMES = 32,
    HEADER_ORDINALS = 36
};
/* Ordinals are 16 bits wide, so more functions can't be named. */
#define MOST_NAMES 0x10000u
/* nt's whole directory is about 0.1 MiB; a directory's tables and strings are read up to this. */
#define MOST_BYTES (8u << 20)
/* Decorated C++ names are long; the compiler itself stops at 4096. */
#define MOST_NAME 512u

/* The directory's bytes, as far as they are there. Tables and names outside it are not looked for: linkers
 * put them inside, which is how a loader tells a forwarder. */
typedef struct lhi_blob {
    uint32_t rva, size;
    char *bytes;    /* size + 1, zeros where absent */
    uint8_t *pages; /* 1: this page's part of the blob is there */
    bool whole;
} lhi_blob;

typedef struct lhi_named {
    uint64_t address;
    const char *name;
    uint32_t index;
} lhi_named;

static bool blob_read(const lhi_image *image, lhi_blob *blob)
{
    lhi_directory directory = image->directories[DIRECTORY_EXPORT];

    blob->rva = directory.rva;
    blob->size = directory.size < MOST_BYTES ? directory.size : MOST_BYTES;
    if (blob->rva >= image->span)
        blob->size = 0;
    else if (blob->size > image->span - blob->rva)
        blob->size = image->span - blob->rva;
    blob->whole = blob->size == directory.size;
    blob->bytes = lhi_calloc((size_t)blob->size + 1, 1);
    blob->pages = lhi_calloc(blob->size / LHI_PAGE_SIZE + 2, 1);
    if (blob->bytes == NULL || blob->pages == NULL)
        return false;
    for (uint32_t at = 0; at < blob->size;) {
        uint32_t part = LHI_PAGE_SIZE - (blob->rva + at) % LHI_PAGE_SIZE;
        if (part > blob->size - at)
            part = blob->size - at;
        bool there = lhi_rva_get(image, (uint64_t)blob->rva + at, blob->bytes + at, part) == LH_PRESENT;
        blob->pages[(blob->rva % LHI_PAGE_SIZE + at) / LHI_PAGE_SIZE] = there;
        blob->whole = blob->whole && there;
        at += part;
    }
    return true;
}

static bool blob_has(const lhi_blob *blob, uint64_t at, uint64_t size)
{
    if (!lhi_span_inside(at, size, blob->size) || size == 0)
        return false;
    uint64_t first = (blob->rva % LHI_PAGE_SIZE + at) / LHI_PAGE_SIZE;
    uint64_t last = (blob->rva % LHI_PAGE_SIZE + at + size - 1) / LHI_PAGE_SIZE;
    for (uint64_t page = first; page <= last; page++)
        if (blob->pages[page] == 0)
            return false;
    return true;
}

static const uint8_t *blob_at(const lhi_blob *blob, uint64_t at)
{
    return (const uint8_t *)blob->bytes + at;
}

/* A name that ends, inside present bytes, and is printable: others are left out rather than escaped, since
 * exports are matched by their true names. */
static bool name_is_sound(const lhi_blob *blob, uint64_t at)
{
    if (at >= blob->size)
        return false;
    for (uint64_t i = 0; i < MOST_NAME && at + i < blob->size; i++) {
        uint8_t byte = *blob_at(blob, at + i);
        if (byte == 0)
            return i > 0 && blob_has(blob, at, i + 1);
        if (byte < 0x21 || byte > 0x7e)
            return false;
    }
    return false;
}

/* Offset in the blob of element `index` of a table of `width` bytes at `rva`; false when it is not there. */
static bool element(const lhi_blob *blob, uint32_t rva, uint64_t index, uint32_t width, uint64_t *at)
{
    uint64_t place = (uint64_t)rva + index * width;

    if (place < blob->rva || !blob_has(blob, place - blob->rva, width))
        return false;
    *at = place - blob->rva;
    return true;
}

/* LHI_YES: *out is an export by name; LHI_NO: a forwarder or an empty slot; LHI_UNKNOWN: missing or damaged.
 */
static lhi_answer read_one(const lhi_image *image, const lhi_blob *blob, uint32_t index, lhi_export *out)
{
    const uint8_t *header = blob_at(blob, 0);
    uint64_t name = 0;
    uint64_t ordinal = 0;
    uint64_t function = 0;

    if (!element(blob, lhi_u32(header + HEADER_NAMES), index, 4, &name) ||
        !element(blob, lhi_u32(header + HEADER_ORDINALS), index, 2, &ordinal))
        return LHI_UNKNOWN;
    uint16_t slot = lhi_u16(blob_at(blob, ordinal));
    if (slot >= lhi_u32(header + HEADER_FUNCTION_COUNT) ||
        !element(blob, lhi_u32(header + HEADER_FUNCTIONS), slot, 4, &function))
        return LHI_UNKNOWN;
    uint32_t text = lhi_u32(blob_at(blob, name));
    uint32_t target = lhi_u32(blob_at(blob, function));
    if (text < blob->rva || !name_is_sound(blob, text - blob->rva) || target >= image->span)
        return LHI_UNKNOWN;
    if (target == 0 ||
        (target >= blob->rva && target - blob->rva < image->directories[DIRECTORY_EXPORT].size))
        return LHI_NO;
    out->address = image->base + target;
    out->name = text - blob->rva;
    return LHI_YES;
}

static int by_address(const void *left, const void *right)
{
    const lhi_named *a = left;
    const lhi_named *b = right;

    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_text(const void *left, const void *right)
{
    const lhi_named *a = left;
    const lhi_named *b = right;
    int order = strcmp(a->name, b->name);

    if (order != 0)
        return order;
    return a->index < b->index ? -1 : a->index > b->index;
}

static bool sort(lhi_exports *exports)
{
    lhi_named *rows = lhi_calloc(exports->count, sizeof *rows);

    exports->by_name = lhi_calloc(exports->count, sizeof *exports->by_name);
    if (rows == NULL || exports->by_name == NULL) {
        lhi_free(rows);
        return false;
    }
    for (size_t i = 0; i < exports->count; i++) {
        rows[i].address = exports->items[i].address;
        rows[i].name = exports->names + exports->items[i].name;
    }
    qsort(rows, exports->count, sizeof *rows, by_address);
    for (size_t i = 0; i < exports->count; i++) {
        exports->items[i].address = rows[i].address;
        exports->items[i].name = (uint32_t)(rows[i].name - exports->names);
        rows[i].index = (uint32_t)i;
    }
    qsort(rows, exports->count, sizeof *rows, by_text);
    for (size_t i = 0; i < exports->count; i++)
        exports->by_name[i] = rows[i].index;
    lhi_free(rows);
    return true;
}

lh_status lhi_exports_read(const lhi_image *image, lhi_exports *out, lh_error *err)
{
    lhi_blob blob = {0};
    lhi_exports exports = {.complete = true};
    lh_status status = LH_OK;
    uint64_t count = 0;

    if (image->directories[DIRECTORY_EXPORT].rva == 0) {
        *out = exports;
        return LH_OK;
    }
    if (!blob_read(image, &blob))
        goto memory;
    exports.complete = blob.whole;
    if (!blob_has(&blob, 0, HEADER_SIZE)) {
        exports.complete = false;
    } else {
        count = lhi_u32(blob_at(&blob, HEADER_NAME_COUNT));
        /* each name takes six bytes of tables and two of text at least */
        uint64_t most = blob.size / 8 < MOST_NAMES ? blob.size / 8 : MOST_NAMES;
        if (count > most) {
            count = most;
            exports.complete = false;
        }
    }
    exports.items = lhi_calloc(count, sizeof *exports.items);
    if (exports.items == NULL)
        goto memory;
    for (uint32_t i = 0; i < count; i++) {
        lhi_answer answer = read_one(image, &blob, i, &exports.items[exports.count]);
        exports.count += answer == LHI_YES;
        exports.complete = exports.complete && answer != LHI_UNKNOWN;
    }
    exports.names = blob.bytes;
    blob.bytes = NULL;
    if (!sort(&exports))
        goto memory;
    *out = exports;
    goto done;
memory:
    status = lhi_fail_memory(err);
    lhi_exports_free(&exports);
done:
    lhi_free(blob.bytes);
    lhi_free(blob.pages);
    return status;
}

const char *lhi_exports_name(const lhi_exports *exports, uint64_t address)
{
    size_t low = 0;
    size_t high = exports->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (exports->items[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == exports->count || exports->items[low].address != address)
        return NULL;
    return exports->names + exports->items[low].name;
}

uint64_t lhi_exports_address(const lhi_exports *exports, const char *name)
{
    size_t low = 0;
    size_t high = exports->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const lhi_export *item = &exports->items[exports->by_name[middle]];
        if (strcmp(exports->names + item->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == exports->count)
        return 0;
    const lhi_export *item = &exports->items[exports->by_name[low]];
    return strcmp(exports->names + item->name, name) == 0 ? item->address : 0;
}

void lhi_exports_free(lhi_exports *exports)
{
    lhi_free(exports->items);
    lhi_free(exports->names);
    lhi_free(exports->by_name);
    *exports = (lhi_exports){0};
}
