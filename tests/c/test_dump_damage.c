/* Tests of damaged and foreign files: a typed error that names the place, or an answer without a wrong page.
 */
#include "base/alloc.h"
#include "dump/header.h"
#include "dump_checks.h"

static const made_run runs[] = {{3, 4}, {20, 6}, {64, 5}, {100, 2}};
enum { RUNS = 4, END = 128, PAGES = 17 };

static void expect(const uint8_t *data, size_t size, lh_status code, const char *field, const char *says)
{
    lh_error err = {0};
    lh_dump *dump = open_dump(data, size, &err);
    CHECK(dump == NULL);
    CHECK_EQ(err.code, code);
    CHECK_TEXT(err.field, field);
    CHECK_HAS(err.message, says);
    lh_dump_release(dump);
}

static void foreign_files(void)
{
    static const struct {
        size_t size;
        const char *bytes;
        const char *says;
    } known[] = {{8, "PAGEDUMP", "32-bit Windows kernel dump"},
                 {4, "MDMP", "minidump"},
                 {12, "makedumpfile", "flattened"},
                 {8, "KDUMP   ", "kdump"},
                 {4, "EMiL", "LiME"},
                 {4, "\xd2\xbe\xd2\xbe", "VMware"},
                 {4, "\xd0\xbe\xd2\xbe", "VMware"},
                 {4, "\xd1\xba\xd1\xba", "VMware"},
                 {4, "\xd3\xbe\xd3\xbe", "VMware"},
                 {4, "HIBR", "hibernation"},
                 {4, "WAKE", "hibernation"},
                 {4, "\x14\x20\x28\x01", "Hyper-V"},
                 {16, "LibvirtQemudSave", "libvirt"},
                 {8, "EVF\x09\x0d\x0a\xff\x00", "EnCase"},
                 {4, "PK\x03\x04", "ZIP"},
                 {4, "MSCF", "cabinet"},
                 {3, "\x1f\x8b\x08", "gzip"},
                 {18,
                  "\x7f"
                  "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0",
                  "ELF core"},
                 {18,
                  "\x7f"
                  "ELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x04",
                  "ELF core"},
                 {18,
                  "\x7f"
                  "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0",
                  "not a memory core"}};
    uint8_t *data = calloc(1, 0x3000);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        memset(data, 0, 0x3000);
        memcpy(data, known[i].bytes, known[i].size);
        const char *field = i == 0 ? "ValidDump" : "Signature";
        expect(data, 0x3000, LH_ERR_UNSUPPORTED, field, known[i].says);
        expect(data, known[i].size, LH_ERR_UNSUPPORTED, field, known[i].says);
    }
    memset(data, 0, 0x3000);
    memcpy(data, "PAGEDUMP", 8);
    put32(data, 0xf88, 4);
    expect(data, 0x3000, LH_ERR_UNSUPPORTED, "ValidDump", "triage");
    memcpy(data, "PAGEXXXX", 8);
    expect(data, 0x3000, LH_ERR_FORMAT, "ValidDump", "DU64");
    memset(data, 0, 8);
    expect(data, 0x3000, LH_ERR_FORMAT, "Signature", "not a Windows crash dump");
    expect(data, 1, LH_ERR_FORMAT, "Signature", "not a Windows crash dump");
    expect(NULL, 0, LH_ERR_FORMAT, "Signature", "empty");
    free(data);
}

static void other_kinds(void)
{
    static const struct {
        uint32_t type;
        lh_status code;
        const char *says;
    } types[] = {{2, LH_ERR_UNSUPPORTED, "summary"},
                 {3, LH_ERR_UNSUPPORTED, "header only"},
                 {7, LH_ERR_UNSUPPORTED, "automatic"},
                 {8, LH_ERR_UNSUPPORTED, "range"},
                 {9, LH_ERR_UNSUPPORTED, "range"},
                 {10, LH_ERR_UNSUPPORTED, "range"},
                 {0, LH_ERR_UNSUPPORTED, "type 0 (unknown)"},
                 {11, LH_ERR_UNSUPPORTED, "type 11 "},
                 {0x45474150, LH_ERR_FORMAT, "never set"}};
    static const struct {
        uint32_t machine;
        const char *says;
    } machines[] = {
        {0xaa64, "ARM64"}, {0x14c, "x86"}, {0x200, "Itanium"}, {0x1c4, "ARM "}, {0x8665, "unknown"}};
    made_dump made = make_full(runs, RUNS);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        put32(made.data, 0xf98, types[i].type);
        expect(made.data, made.size, types[i].code, "DumpType", types[i].says);
    }
    put32(made.data, 0xf98, 1);
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        put32(made.data, 0x30, machines[i].machine);
        expect(made.data, made.size, LH_ERR_UNSUPPORTED, "MachineImageType", machines[i].says);
    }
    put32(made.data, 0x30, 0x8664);
    put32(made.data, 0x1050, 0x100);
    expect(made.data, made.size, LH_ERR_UNSUPPORTED, "Attributes", "encrypted");
    put32(made.data, 0x1050, 0x300); /* and decrypted since */
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    CHECK(dump != NULL);
    lh_dump_release(dump);
    put32(made.data, 0xf98, 5); /* a full dump's pages are no bitmap header */
    put32(made.data, 0x1050, 0);
    expect(made.data, made.size, LH_ERR_FORMAT, "BitmapHeader.Signature", "SDMP");
    free(made.data);
}

/* Every page that is read must be its frame's own; *present counts them. */
static bool pages_are_right(const lh_dump *dump, uint64_t *present)
{
    uint8_t page[MAKER_PAGE];
    uint64_t pfn = 0;
    uint64_t count = 0;
    bool right = true;
    *present = 0;
    while (lh_dump_next_run(dump, &pfn, &count, NULL) == LH_OK && count)
        for (uint64_t i = 0; i < count; i++, pfn++, ++*present)
            right = lh_dump_read_physical(dump, pfn * MAKER_PAGE, page, sizeof page, NULL, NULL) == LH_OK &&
                    is_page(page, pfn) && right;
    return right;
}

/* A full dump with one field set to a value: error (and which field), or so many pages present, with a note.
 */
static void full_with(uint32_t at, uint64_t value, const char *field, uint64_t pages, const char *note)
{
    made_dump made = make_full(runs, RUNS);
    if (at == 0x88)
        put32(made.data, at, (uint32_t)value);
    else
        put64(made.data, at, value);
    if (field) {
        expect(made.data, made.size, LH_ERR_FORMAT, field, "");
    } else {
        uint64_t present = 0;
        lh_dump *dump = open_dump(made.data, made.size, NULL);
        if (CHECK(dump != NULL)) {
            lhi_run place = {0};
            CHECK(pages_are_right(dump, &present));
            CHECK_EQ(present, pages);
            CHECK(!*note || has_note(dump, note));
            /* A run that was left out may have held any frame. */
            CHECK_EQ(lhi_pages_find(lhi_dump_pages(dump), 1000, &place),
                     pages == PAGES ? LH_ABSENT_NOT_RAM : LH_ABSENT_NOT_CAPTURED);
            CHECK_EQ(info_of(dump).pages_ram, pages == PAGES ? PAGES : 0);
            CHECK_EQ(info_of(dump).pages_described, PAGES);
            CHECK_EQ(info_of(dump).pages_clipped, PAGES - pages);
        }
        lh_dump_release(dump);
    }
    free(made.data);
}

static void damaged_runs(void)
{
    static const char *const count = "PhysicalMemoryBlock.NumberOfRuns";
    static const char *const total = "PhysicalMemoryBlock.NumberOfPages";
    full_with(0x88, 0, count, 0, "");
    full_with(0x88, 43, count, 0, "");
    full_with(0x88, UINT32_MAX, count, 0, "");
    full_with(0x88, 0x45474150, count, 0, "");
    full_with(0x88, 3, total, 0, "");                  /* one run forgotten */
    full_with(0x88, 5, NULL, PAGES, "1 of 5 runs");    /* the next holds PAGE */
    full_with(0x88, 42, NULL, PAGES, "38 of 42 runs"); /* so do all */
    full_with(0x90, PAGES + 1, NULL, PAGES, "counts 18 pages");
    full_with(0x90, 1, NULL, PAGES, "counts 1 pages");
    full_with(0x90, UINT64_MAX, NULL, PAGES, "counts 18446744073709551615 pages");
    full_with(0x90, 0, NULL, PAGES, "");                   /* not set */
    full_with(0x90, 0x4547415045474150u, NULL, PAGES, ""); /* not set */
    for (uint32_t i = 0; i < RUNS; i++) {
        char field[48];
        uint64_t kept = PAGES - runs[i].count;
        uint32_t base = 0x98 + 16 * i;
        snprintf(field, sizeof field, "PhysicalMemoryBlock.Run[%u]", i);
        /* The counts are borne out by the total: only the run itself is lost. */
        full_with(base, UINT64_MAX, NULL, kept, "beyond the end");
        full_with(base, (uint64_t)1 << 40, NULL, kept, "beyond the end");
        full_with(base, ((uint64_t)1 << 40) - 1, NULL, kept, "beyond the end");
        /* Two runs claim the same frames: neither is believed. */
        full_with(base, runs[(i + 1) % RUNS].base + 1, NULL, kept - runs[(i + 1) % RUNS].count,
                  "another run");
        /* A wrong count moves all pages behind it. */
        full_with(base + 8, 0, total, 0, "");
        full_with(base + 8, runs[i].count + 1, total, 0, "");
        full_with(base + 8, runs[i].count - 1, total, 0, "");
        uint64_t before = 0;
        for (uint32_t j = 0; j < i; j++)
            before += runs[j].count;
        full_with(base + 8, UINT64_MAX, before ? NULL : field, before, "beyond the end");
        full_with(base + 8, UINT64_MAX - 1000, before ? NULL : field, before, "beyond the end");
    }

    /* A count that reaches into the next run: what stands before both is all that is sure. */
    full_with(0xa0 + 16, 50, NULL, runs[0].count, "another run");
    full_with(0xa0 + 32, 37, NULL, runs[0].count + runs[1].count, "another run");

    /* The same with data behind the pages, into which the last run would then point. */
    made_dump tail = make_full(runs, RUNS);
    tail.data = realloc(tail.data, tail.size + 60 * MAKER_PAGE);
    memset(tail.data + tail.size, 0xcc, 60 * MAKER_PAGE);
    put64(tail.data, 0xa0 + 16, 50);
    uint64_t readable = 0;
    lh_dump *partial = open_dump(tail.data, tail.size + 60 * MAKER_PAGE, NULL);
    CHECK(partial && pages_are_right(partial, &readable));
    CHECK_EQ(readable, runs[0].count);
    lh_dump_release(partial);
    free(tail.data);

    /* Not ascending, but without contradiction: each frame's page is where its run's turn is. */
    static const made_run mixed[] = {{64, 5}, {3, 4}, {100, 2}, {20, 6}};
    uint8_t known[END];
    memset(known, LH_ABSENT_NOT_RAM, sizeof known);
    for (int i = 0; i < RUNS; i++)
        memset(known + mixed[i].base, LH_PRESENT, mixed[i].count);
    made_dump made = make_full(mixed, RUNS);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    if (CHECK(dump != NULL)) {
        check_frames(dump, known, NULL, END);
        CHECK(has_note(dump, "ascending"));
    }
    lh_dump_release(dump);
    for (size_t stored = 0; stored < PAGES; stored++) { /* and cut: pages are lost in file order */
        dump = open_dump(made.data, MAKER_HEADER + stored * MAKER_PAGE + 100, NULL);
        size_t left = stored;
        memset(known, LH_ABSENT_NOT_RAM, sizeof known);
        for (int i = 0; i < RUNS; i++)
            for (uint64_t j = 0; j < mixed[i].count; j++) {
                known[mixed[i].base + j] = left ? LH_PRESENT : LH_ABSENT_CLIPPED;
                left -= left != 0;
            }
        if (CHECK(dump != NULL))
            check_frames(dump, known, NULL, END);
        lh_dump_release(dump);
    }
    free(made.data);
}

enum { BITS = 500 };

static made_dump make_map(uint8_t *known)
{
    bool present[BITS] = {0};
    for (int i = 0; i < BITS; i++) {
        present[i] = i % 9 < 4 && i > 350;
        known[i] = present[i] ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED;
    }
    return make_bitmap(6, present, BITS);
}

static void damaged_bitmap_header(void)
{
    uint8_t known[BITS + 100];
    memset(known, LH_ABSENT_NOT_CAPTURED, sizeof known);
    made_dump made = make_map(known);
    uint64_t total = get64(made.data + 0x2028);
    uint64_t first = get64(made.data + 0x2020);
    static const char *const first_page = "BitmapHeader.FirstPage";
    static const uint64_t places[] = {0,
                                      1,
                                      0x1000,
                                      0x2000,
                                      0x2038,
                                      0x2fff,
                                      0x3001,
                                      0x4000,
                                      0x5000,
                                      0x83000,
                                      (uint64_t)1 << 62,
                                      UINT64_MAX,
                                      0x4547415045474150u};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        put64(made.data, 0x2020, places[i]);
        expect(made.data, made.size, LH_ERR_FORMAT, first_page, "");
    }
    put64(made.data, 0x2020, first);

    /* The number of bits: too many are cut where the pages start, a few too few are made up for by the total.
     */
    static const uint64_t many[] = {BITS + 1,          BITS + 64,  5000,          40000,
                                    (uint64_t)1 << 40, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        put64(made.data, 0x2030, many[i]);
        lh_dump *dump = open_dump(made.data, made.size, NULL);
        if (CHECK(dump != NULL)) {
            check_frames(dump, known, NULL, BITS);
            CHECK_EQ(has_note(dump, "more than lie before"), many[i] > (first - MAKER_BITMAP) * 8);
        }
        lh_dump_release(dump);
    }
    static const uint64_t few[] = {BITS - 1, BITS - 10, 64, 1};
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        put64(made.data, 0x2030, few[i]);
        lh_dump *dump = open_dump(made.data, made.size, NULL);
        if (CHECK(dump != NULL)) {
            check_frames(dump, known, NULL, BITS);
            CHECK_EQ(has_note(dump, "behind its stated end"), few[i] < BITS - 2); /* the last marked is 497 */
        }
        lh_dump_release(dump);
    }
    put64(made.data, 0x2030, 0);
    expect(made.data, made.size, LH_ERR_FORMAT, "BitmapHeader.Pages", "never set");
    put64(made.data, 0x2030, 0x4547415045474150u);
    expect(made.data, made.size, LH_ERR_FORMAT, "BitmapHeader.Pages", "never set");
    put64(made.data, 0x2030, BITS);

    /* Another total than the bitmap's: nothing is lost, and it is said. */
    static const uint64_t totals[] = {0, 1, 0x4547415045474150u, UINT64_MAX, 100000};
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        put64(made.data, 0x2028, totals[i]);
        lh_dump *dump = open_dump(made.data, made.size, NULL);
        check_frames(dump, known, NULL, BITS);
        CHECK_EQ(has_note(dump, "its header counts"), i != 0 && i != 2);
        lh_dump_release(dump);
    }
    put64(made.data, 0x2028, total);

    /* Marks in the padding of the last byte count when, and only when, the total says so. */
    made.data[MAKER_BITMAP + BITS / 8] |= 0x80; /* frame 503 */
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    check_frames(dump, known, NULL, BITS + 4);
    CHECK_EQ(lhi_dump_note_count(dump), 0);
    lh_dump_release(dump);
    put64(made.data, 0x2028, total + 1);
    made.data = realloc(made.data, made.size + MAKER_PAGE);
    make_page(made.data + made.size, 503);
    made.size += MAKER_PAGE;
    known[503] = LH_PRESENT;
    dump = open_dump(made.data, made.size, NULL);
    check_frames(dump, known, NULL, BITS + 4);
    CHECK(has_note(dump, "behind its stated end"));
    lh_dump_release(dump);

    memcpy(made.data + 0x2000, "XDMP", 4);
    expect(made.data, made.size, LH_ERR_FORMAT, "BitmapHeader.Signature", "SDMP");
    memcpy(made.data + 0x2000, "FDMPDUMX", 8);
    expect(made.data, made.size, LH_ERR_FORMAT, "BitmapHeader.ValidDump", "DUMP");
    free(made.data);
}

/* The pages right behind the bitmap, on no page boundary, up to the end of the file. */
static void unaligned_pages(void)
{
    uint8_t known[BITS];
    made_dump made = make_map(known);
    size_t first = (size_t)get64(made.data + 0x2020), place = MAKER_BITMAP + (BITS + 7) / 8 + 1;
    memmove(made.data + place, made.data + first, made.size - first);
    made.size -= first - place;
    put64(made.data, 0x2020, place);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    if (CHECK(dump != NULL))
        check_frames(dump, known, NULL, BITS);
    lh_dump_release(dump);
    expect(made.data, made.size - 1, LH_ERR_FORMAT, "BitmapHeader.FirstPage", "do not end with the file");
    put64(made.data, 0x2020, place - 1);
    expect(made.data, made.size, LH_ERR_FORMAT, "BitmapHeader.FirstPage", "do not end with the file");
    free(made.data);
}

/* A small file whose header claims the sky must not make us ask for memory by its word. */
static void absurd_claims(void)
{
    uint8_t known[BITS];
    made_dump map = make_map(known);
    made_dump full = make_full(runs, RUNS);
    static const uint64_t claims[] = {(uint64_t)1 << 20, (uint64_t)1 << 32, (uint64_t)1 << 39,
                                      (uint64_t)1 << 40};
    lhi_alloc_largest();
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        for (size_t j = 0; j < sizeof claims / sizeof claims[0]; j++) {
            put64(map.data, 0x2030, claims[i]);
            put64(map.data, 0x2020, claims[j] / 8 / MAKER_PAGE * MAKER_PAGE + 2 * (uint64_t)MAKER_HEADER);
            put64(map.data, 0x2028, claims[j]);
            lh_dump_release(open_dump(map.data, map.size, NULL));
            put64(full.data, 0xa0, claims[i]);
            put64(full.data, 0x90, claims[i] + PAGES - runs[0].count);
            lh_dump_release(open_dump(full.data, full.size, NULL));
        }
    CHECK(lhi_alloc_largest() <= map.size);
    free(map.data);
    free(full.data);
}

/* Every bit of the headers flipped: an error with a name, or a dump whose pages are right. */
static void flipped_bits(void)
{
    uint8_t known[BITS];
    for (int kind = 0; kind < 2; kind++) {
        made_dump made = kind ? make_map(known) : make_full(runs, RUNS);
        uint64_t opened = 0;
        uint64_t refused = 0;
        size_t end = kind ? MAKER_BITMAP : MAKER_HEADER;
        for (size_t at = 0; at < end; at++) {
            /* Bytes that nobody reads get fewer tries. */
            bool read =
                at < 0x140 || (at >= 0xf98 && at < 0xfb0) || (at >= 0x1030 && at < 0x1058) || at >= 0x2000;
            for (int bit = read ? 0 : (int)(at % 8); bit < (read ? 8 : (int)(at % 8) + (at % 16 == 3));
                 bit++) {
                lh_error err = {0};
                made.data[at] ^= (uint8_t)(1u << bit);
                lh_dump *dump = open_dump(made.data, made.size, &err);
                if (dump) {
                    uint64_t present = 0;
                    bool right = pages_are_right(dump, &present);
                    /* A run's base alone can't be checked: its pages would be found at other frames. */
                    bool base = !kind && at >= 0x98 && at < 0x98 + 16 * RUNS && (at - 0x98) % 16 < 8;
                    if (!CHECK(right || base))
                        fprintf(stderr, "    kind %d, byte 0x%zx, bit %d\n", kind, at, bit);
                    opened++;
                } else {
                    CHECK((err.code == LH_ERR_FORMAT || err.code == LH_ERR_UNSUPPORTED) && err.field[0]);
                    refused++;
                }
                lh_dump_release(dump);
                made.data[at] ^= (uint8_t)(1u << bit);
            }
        }
        CHECK(opened > 1000 && refused > 100);
        free(made.data);
    }
}

/* A flipped mark moves all pages behind it. That can't be undone, but it is said. */
static void flipped_marks(void)
{
    uint8_t known[BITS];
    made_dump made = make_map(known);
    for (size_t bit = 0; bit < BITS; bit++) {
        made.data[MAKER_BITMAP + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        lh_dump *dump = open_dump(made.data, made.size, NULL);
        uint64_t present = 0;
        if (CHECK(dump != NULL)) {
            pages_are_right(dump, &present);
            CHECK(has_note(dump, "its header counts"));
            CHECK_EQ(info_of(dump).pages_described, get64(made.data + 0x2028) + (known[bit] ? 1 : -1ull));
        }
        lh_dump_release(dump);
        made.data[MAKER_BITMAP + bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(made.data);
}

int main(void)
{
    foreign_files();
    other_kinds();
    damaged_runs();
    damaged_bitmap_header();
    unaligned_pages();
    absurd_claims();
    flipped_bits();
    flipped_marks();
    return CHECK_END();
}
