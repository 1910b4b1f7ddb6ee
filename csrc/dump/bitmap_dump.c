/* Bitmap dumps (types 5 and 6): one bit for each PFN, the pages of the set bits back to back. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "dump/bitmap.h"
#include "dump/formats.h"
#include "dump/header.h"
#include "source/source.h"

#include <string.h>

/* The bitmap header with 64-bit fields (facts 1.6), file offsets. */
enum {
    SIGNATURE = 0x2000,
    VALID_DUMP = 0x2004,
    FIRST_PAGE = 0x2020,
    TOTAL_PRESENT = 0x2028,
    PAGES = 0x2030,
    BITMAP = 0x2038
};
#define INNER_SIZE (BITMAP - SIGNATURE)

/* Writers round FirstPage up by less than this; more is damage. */
#define MOST_SLACK ((uint64_t)16 << 20)
/* A bitmap of all PFNs there can be, and slack. */
#define MOST_FIRST_PAGE (BITMAP + LHI_PFN_LIMIT / 8 + MOST_SLACK)

typedef struct lhi_bitmap_dump {
    lhi_pages pages;
    lhi_bitmap map;
    uint8_t *copy; /* the bitmap's bytes when the source can't show them in place */
    const lhi_runs *machine;
    uint64_t first_page;
    uint64_t stored;      /* pages that lie whole inside the file */
    uint64_t stated_bits; /* of the whole bitmap: more than map.bits when the file ends inside it */
} lhi_bitmap_dump;

static lh_absence find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const lhi_bitmap_dump *dump = (const lhi_bitmap_dump *)pages;
    if (!lhi_bitmap_test(&dump->map, pfn)) {
        if (dump->machine && !lhi_runs_find(dump->machine, pfn))
            return LH_ABSENT_NOT_RAM;
        return pfn >= dump->map.bits && pfn < dump->stated_bits ? LH_ABSENT_CLIPPED : LH_ABSENT_NOT_CAPTURED;
    }
    uint64_t number = lhi_bitmap_rank(&dump->map, pfn);
    if (number >= dump->stored)
        return LH_ABSENT_CLIPPED;
    *out = (lhi_run){.pfn = pfn, .count = 1, .offset = dump->first_page + number * LHI_PAGE_SIZE};
    return LH_PRESENT;
}

static void next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const lhi_bitmap_dump *dump = (const lhi_bitmap_dump *)pages;
    uint64_t start = lhi_bitmap_next_set(&dump->map, pfn);
    uint64_t number = lhi_bitmap_rank(&dump->map, start);
    if (start < pfn ||
        number >= dump->pages.present) /* below pfn: the file was changed since it was opened */
        return;
    uint64_t count = lhi_bitmap_next_clear(&dump->map, start) - start;
    uint64_t left = dump->pages.present - number;
    *out = (lhi_run){.pfn = start,
                     .count = count < left ? count : left,
                     .offset = dump->first_page + number * LHI_PAGE_SIZE};
}

static void destroy(lhi_pages *pages)
{
    lhi_bitmap_dump *dump = (lhi_bitmap_dump *)pages;
    lhi_bitmap_free(&dump->map);
    lhi_free(dump->copy);
    lhi_free(dump);
}

static const lhi_pages_ops bitmap_ops = {find, next, destroy};

typedef struct lhi_bitmap_header {
    uint64_t first_page;
    uint64_t total; /* TotalPresentPages; 0 where it was never set */
    uint64_t bits;  /* Pages */
} lhi_bitmap_header;

static lh_status read_inner(const lh_source *source, lhi_bitmap_header *out, lh_error *err)
{
    static const struct {
        uint32_t end;
        uint32_t offset;
        const char *name;
    } fields[] = {{SIGNATURE + 4, SIGNATURE, "BitmapHeader.Signature"},
                  {VALID_DUMP + 4, VALID_DUMP, "BitmapHeader.ValidDump"},
                  {FIRST_PAGE + 8, FIRST_PAGE, "BitmapHeader.FirstPage"},
                  {TOTAL_PRESENT + 8, TOTAL_PRESENT, "BitmapHeader.TotalPresentPages"},
                  {PAGES + 8, PAGES, "BitmapHeader.Pages"}};
    uint64_t size = lhi_source_size(source);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (size < fields[i].end)
            return lhi_fail_field(err, LH_ERR_FORMAT, fields[i].name, fields[i].offset,
                                  "the file ends inside the bitmap header, after 0x%llx bytes",
                                  (unsigned long long)size);
    uint8_t inner[INNER_SIZE] = {0};
    lh_status status = lhi_source_read(source, SIGNATURE, inner, sizeof inner, err);
    if (status != LH_OK)
        return status;
    if (memcmp(inner, "SDMP", 4) != 0 && memcmp(inner, "FDMP", 4) != 0)
        return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.Signature", SIGNATURE,
                              "neither SDMP nor FDMP stands there");
    if (memcmp(inner + 4, "DUMP", 4) != 0)
        return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.ValidDump", VALID_DUMP,
                              "DUMP does not stand there");
    *out = (lhi_bitmap_header){.first_page = lhi_u64(inner + (FIRST_PAGE - SIGNATURE)),
                               .total = lhi_u64(inner + (TOTAL_PRESENT - SIGNATURE)),
                               .bits = lhi_u64(inner + (PAGES - SIGNATURE))};
    if (out->total == LHI_UNSET64)
        out->total = 0;
    if (!out->bits || out->bits == LHI_UNSET64)
        return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.Pages", PAGES, "was never set");
    if (out->first_page < BITMAP || out->first_page > MOST_FIRST_PAGE)
        return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.FirstPage", FIRST_PAGE,
                              "0x%llx is no place behind the bitmap", (unsigned long long)out->first_page);
    return LH_OK;
}

static uint64_t bytes_of(uint64_t bits)
{
    return bits / 8 + (bits % 8 != 0);
}

/* Bytes of the bitmap, in place or copied, and the directory over `bits` of them. */
static lh_status load(lhi_bitmap_dump *dump, uint64_t bits, lh_error *err)
{
    uint64_t size = bytes_of(bits);
    const uint8_t *bytes = lhi_source_view(dump->pages.source, BITMAP, size);
    if (!bytes && size) {
        if (size > SIZE_MAX)
            return lhi_fail_memory(err);
        uint8_t *copy = lhi_realloc_array(dump->copy, (size_t)size, 1);
        if (!copy)
            return lhi_fail_memory(err);
        dump->copy = copy;
        lh_status status = lhi_source_read(dump->pages.source, BITMAP, copy, (size_t)size, err);
        if (status != LH_OK) {
            lhi_prefix(err, "bitmap");
            return status;
        }
        bytes = copy;
    }
    lhi_bitmap_free(&dump->map);
    return lhi_bitmap_init(&dump->map, bytes, bits) ? LH_OK : lhi_fail_memory(err);
}

/* The bitmap as far as the file and FirstPage leave room for it. A bitmap that claims more than that is
 * believed for the rest when its set bits are as many as the header says. */
static lh_status load_bitmap(lhi_bitmap_dump *dump, const lhi_bitmap_header *header, lhi_notes *notes,
                             lh_error *err)
{
    uint64_t size = lhi_source_size(dump->pages.source);
    uint64_t room = (header->first_page - BITMAP) * 8; /* first_page is below MOST_FIRST_PAGE */
    uint64_t in_file = size < header->first_page ? (size - BITMAP) * 8 : room;
    uint64_t bits = header->bits;
    bool too_many = bits > room;
    if (too_many)
        bits = room;
    dump->stated_bits = bits;
    bool cut = bits > in_file;
    if (cut)
        bits = in_file;
    lh_status status = load(dump, bits, err);
    if (status != LH_OK)
        return status;
    if (too_many) {
        if (cut || dump->map.set != header->total)
            return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.FirstPage", FIRST_PAGE,
                                  "0x%llx lies inside the bitmap of 0x%llx bits",
                                  (unsigned long long)header->first_page, (unsigned long long)header->bits);
        lhi_note(notes, "the bitmap header claims 0x%llx bits, more than lie before the first page",
                 (unsigned long long)header->bits);
    }
    if (cut) {
        lhi_note(notes, "the file ends inside the bitmap, after 0x%llx of 0x%llx bits",
                 (unsigned long long)bits, (unsigned long long)dump->stated_bits);
        return LH_OK;
    }
    /* Pages may be marked behind the stated end (Pages holding the last PFN and not their number). They count
     * when they make the total right. */
    if (in_file > bits && dump->map.set < header->total) {
        status = load(dump, in_file, err);
        if (status == LH_OK && dump->map.set == header->total) {
            lhi_note(notes, "the bitmap marks pages behind its stated end of 0x%llx bits",
                     (unsigned long long)bits);
            dump->stated_bits = in_file;
        } else if (status == LH_OK) {
            status = load(dump, bits, err);
        }
    }
    return status;
}

/* FirstPage decides where every page lies; it must not contradict the bitmap's size and the file's. Windows
 * begins a page with it. A writer that does not is believed when the pages from there on end with the file.
 */
static lh_status check_first_page(const lhi_bitmap_dump *dump, uint64_t size, lh_error *err)
{
    uint64_t end = BITMAP + bytes_of(dump->stated_bits);
    uint64_t usual = end + (LHI_PAGE_SIZE - end % LHI_PAGE_SIZE) % LHI_PAGE_SIZE;
    uint64_t data = dump->map.set * LHI_PAGE_SIZE; /* set < 2^40 */
    if (dump->first_page % LHI_PAGE_SIZE && (size < dump->first_page || size - dump->first_page != data))
        return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.FirstPage", FIRST_PAGE,
                              "0x%llx is no page boundary, and the pages from there on do not end with the "
                              "file",
                              (unsigned long long)dump->first_page);
    if (dump->first_page <= usual || lhi_span_inside(dump->first_page, data, size))
        return LH_OK;
    if (dump->first_page - usual <= MOST_SLACK && !lhi_span_inside(usual, data, size))
        return LH_OK; /* cut, or a generous writer: no contradiction */
    return lhi_fail_field(err, LH_ERR_FORMAT, "BitmapHeader.FirstPage", FIRST_PAGE,
                          "0x%llx leaves no room for the pages, which fit from 0x%llx on",
                          (unsigned long long)dump->first_page, (unsigned long long)usual);
}

/* Pages marked outside the machine's runs show that the runs do not tell the whole truth. */
static bool runs_hold_all(const lhi_runs *machine, const lhi_bitmap *map)
{
    uint64_t inside = 0;
    for (uint32_t i = 0; i < machine->count; i++)
        inside += lhi_bitmap_rank(map, machine->run[i].pfn + machine->run[i].count) -
                  lhi_bitmap_rank(map, machine->run[i].pfn);
    return inside == map->set;
}

static void count_pages(lhi_bitmap_dump *dump, uint64_t total, uint64_t size, lhi_notes *notes)
{
    lhi_pages *pages = &dump->pages;
    uint64_t set = dump->map.set;
    dump->stored = dump->first_page < size ? (size - dump->first_page) / LHI_PAGE_SIZE : 0;
    pages->described = set;
    if (total && total != set) {
        bool cut = dump->map.bits < dump->stated_bits;
        if (!cut)
            lhi_note(notes,
                     "the bitmap marks %llu pages, its header counts %llu, and the file has room for %llu",
                     (unsigned long long)set, (unsigned long long)total, (unsigned long long)dump->stored);
        else if (total > set && total - set <= dump->stated_bits - dump->map.bits)
            pages->described = total; /* the lost part of the bitmap had the rest */
    }
    pages->present = set < dump->stored ? set : dump->stored;
    pages->clipped = pages->described - pages->present;
    if (pages->present)
        pages->end_pfn = lhi_bitmap_select(&dump->map, pages->present - 1) + 1;
}

static lh_status open(lhi_opened *file, lh_error *err)
{
    lhi_bitmap_header header = {0};
    lhi_bitmap_dump *dump = NULL;
    uint64_t size = lhi_source_size(file->source);
    lh_status status = lhi_header_read(file, err);
    if (status == LH_OK)
        status = read_inner(file->source, &header, err);
    if (status != LH_OK)
        return status;
    const lhi_runs *machine = lhi_runs_of_machine(file->header, &file->runs);
    dump = lhi_calloc(1, sizeof *dump);
    if (!dump)
        return lhi_fail_memory(err);
    dump->pages.ops = &bitmap_ops;
    dump->pages.source = file->source;
    dump->first_page = header.first_page;
    status = load_bitmap(dump, &header, &file->notes, err);
    if (status == LH_OK)
        status = check_first_page(dump, size, err);
    if (status != LH_OK)
        goto done;
    count_pages(dump, header.total, size, &file->notes);
    if (machine && !runs_hold_all(machine, &dump->map)) {
        lhi_note(&file->notes,
                 "the bitmap marks pages outside the header's memory runs: the runs are not used");
        machine = NULL;
    }
    dump->machine = machine;
    dump->pages.ram = machine ? machine->pages : 0;
    file->pages = &dump->pages;
    dump = NULL;
done:
    if (dump)
        destroy(&dump->pages);
    return status;
}

static bool claims_full(const uint8_t *bytes, size_t size)
{
    return lhi_header_has_type(bytes, size, 5);
}

static bool claims_kernel(const uint8_t *bytes, size_t size)
{
    return lhi_header_has_type(bytes, size, 6);
}

const lhi_format lhi_format_full_bitmap = {"full-bitmap", claims_full, open};
const lhi_format lhi_format_kernel_bitmap = {"kernel-bitmap", claims_kernel, open};
