/* Tests of image: headers, version, PDB identity and exports of small PE images, whole, with holes, and
 * hostile. */
#include "base/alloc.h"
#include "check.h"
#include "image/read.h"
#include "pe_writer.h"

/* ---------------------------------------------------------------- headers and sections */

static void headers(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);

    CHECK_EQ(image.base, BASE);
    CHECK_EQ(image.machine, 0x8664);
    CHECK_EQ(image.section_count, 4);
    CHECK_EQ(image.timestamp, 0x5d0a1b2c);
    CHECK_EQ(image.size_of_image, SIZE);
    CHECK_EQ(image.checksum, 0x12345);
    CHECK_EQ(image.entry, TEXT + 0x10);
    CHECK_EQ(image.directories[0].rva, EXPORT);
    CHECK_EQ(image.directories[6].size, 56);
    CHECK_EQ(image.span, SIZE);
    /* the smaller of what the module list and the header say bounds everything */
    CHECK_EQ(lhi_image_open(&m->space, BASE, 0x3000, &image), LH_PRESENT);
    CHECK_EQ(image.span, 0x3000);
    CHECK_EQ(lhi_image_open(&m->space, BASE, 0, &image), LH_PRESENT);
    CHECK_EQ(image.span, SIZE);
    CHECK_EQ(lhi_image_open(&m->space, BASE, UINT64_MAX, &image), LH_PRESENT);
    CHECK_EQ(image.span, SIZE);
    /* fewer directories than sixteen: the rest are empty; more than the header has room for likewise */
    put32(m, OPTIONAL + 108, 2);
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_PRESENT);
    CHECK_EQ(image.directories[1].rva, INIT);
    CHECK_EQ(image.directories[2].rva, 0);
    put32(m, OPTIONAL + 108, UINT32_MAX);
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_PRESENT);
    CHECK_EQ(image.directories[15].rva, 0);
    /* an optional header with room for hundreds, and one with room for two */
    put16(m, PE + 20, 0xd00);
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_PRESENT);
    CHECK_EQ(image.directories[6].rva, DEBUG);
    CHECK_EQ(image.sections, OPTIONAL + 0xd00);
    put16(m, PE + 20, 112 + 16);
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_PRESENT);
    CHECK_EQ(image.directories[1].rva, INIT);
    CHECK_EQ(image.directories[2].rva, 0);
    free(m);
}

static void bad_headers(void)
{
    static const struct {
        uint32_t at, bytes;
        uint64_t value;
    } harms[] = {
        {0, 1, 'X'},
        {0x3c, 4, SIZE}, /* headers outside the image */
        {0x3c, 4, UINT32_MAX},
        {0x3c, 4, SIZE - 4}, /* half outside */
        {PE, 1, 'p'},
        {PE + 20, 2, 111},         /* optional header too small */
        {OPTIONAL, 2, 0x10b},      /* PE32 */
        {OPTIONAL + 56, 4, 0},     /* no size */
        {OPTIONAL + 56, 4, 0x100}, /* section headers outside it */
        {PE + 6, 2, 0xffff},       /* section headers beyond the image */
    };

    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        lhi_image image = {0};
        lhi_image untouched = {0};
        machine *m = whole(&image);
        put(rva(m, harms[i].at), harms[i].value, (int)harms[i].bytes);
        if (!CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &untouched), LH_ABSENT_LAYOUT))
            fprintf(stderr, "    harm %zu\n", i);
        CHECK_EQ(untouched.base, 0);
        free(m);
    }
    lhi_image image = {0};
    machine *m = whole(&image);
    CHECK_EQ(lhi_image_open(&m->space, BASE + 8, SIZE, &image), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_image_open(&m->space, BASE, 0x80, &image), LH_ABSENT_LAYOUT);
    m->missing[TABLE_PAGES] = true;
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_ABSENT_NOT_CAPTURED);
    map_page(m, 0, false);
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_ABSENT_NOT_MAPPED);
    m->missing[3] = true;
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_ABSENT_TABLE);
    free(m);
    m = whole(&image);
    memcpy(rva(m, 8), "MZ", 2); /* everything in its place but eight bytes up */
    put32(m, 0x3c + 8, PE - 8);
    CHECK_EQ(lhi_image_open(&m->space, BASE + 8, SIZE - 8, &image), LH_ABSENT_LAYOUT);
    /* an image on the last page of the address space ends there: no RVA wraps round */
    put(&m->memory[0][8 * 511], 1u << 12 | PRESENT_WRITE, 8);
    put(&m->memory[1][8 * 511], 2u << 12 | PRESENT_WRITE, 8);
    put(&m->memory[2][8 * 511], 3u << 12 | PRESENT_WRITE, 8);
    put(&m->memory[3][8 * 511], TABLE_PAGES << 12 | PRESENT_WRITE, 8);
    CHECK_EQ(lhi_image_open(&m->space, 0xfffffffffffff000, UINT64_MAX, &image), LH_PRESENT);
    CHECK_EQ(image.span, 0x1000);
    CHECK_EQ(lhi_image_open(&m->space, 0xfffffffffffff000, SIZE, &image), LH_PRESENT);
    CHECK_EQ(image.span, 0x1000);
    free(m);
}

static void sections(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    lhi_section found = {.name = "before"};

    CHECK(lhi_image_section_of(&image, BASE + TEXT, &found));
    CHECK_TEXT(found.name, ".text");
    CHECK(lhi_image_section_of(&image, BASE + IAT + 0xfff, &found));
    CHECK_TEXT(found.name, ".rdata");
    CHECK(lhi_image_section_of(&image, BASE + INIT,
                               &found)); /* eight bytes without a NUL, and an escape sequence */
    CHECK_TEXT(found.name, "INIT\\x1b[2J");
    CHECK(!lhi_image_section_of(&image, BASE + 0x10, &found)); /* headers */
    CHECK_TEXT(found.name, "INIT\\x1b[2J");                    /* as it was */
    CHECK(!lhi_image_section_of(&image, BASE - 1, &found));
    CHECK(!lhi_image_section_of(&image, BASE + SIZE, &found));
    put32(m, SECTIONS + 40 * 3 + 8, UINT32_MAX); /* a section that claims more than the image */
    CHECK(lhi_image_section_of(&image, BASE + SIZE - 1, &found));
    CHECK(!lhi_image_section_of(&image, BASE + SIZE, &found));
    put32(m, SECTIONS + 8, 0); /* no virtual size: the raw one counts */
    put32(m, SECTIONS + 16, 0x200);
    CHECK(lhi_image_section_of(&image, BASE + TEXT + 0x1ff, &found));
    CHECK(!lhi_image_section_of(&image, BASE + TEXT + 0x200, &found));
    memset(rva(m, SECTIONS), 0x07, 8); /* every byte needs four characters: cut between them */
    CHECK(lhi_image_section_of(&image, BASE + TEXT, &found));
    CHECK_TEXT(found.name, "\\x07\\x07\\x07");
    m->missing[TABLE_PAGES] = true;
    CHECK(!lhi_image_section_of(&image, BASE + IAT, &found));
    free(m);
}

static void escapes(void)
{
    char out[8] = "";

    lhi_image_escape((const uint8_t *)"a\\b\x7f", 4, out, sizeof out);
    CHECK_TEXT(out, "a\\\\b"); /* the fourth needs four more */
    lhi_image_escape((const uint8_t *)"\xc3\xa4", 2, out, sizeof out);
    CHECK_TEXT(out, "\\xc3");
    lhi_image_escape((const uint8_t *)"x", 1, out, 1);
    CHECK_TEXT(out, "");
    lhi_image_escape((const uint8_t *)"1234567890", 10, out, sizeof out);
    CHECK_TEXT(out, "1234567");
    lhi_image_escape((const uint8_t *)"x", 1, NULL, 0);
}

static void strings(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    uint8_t text[16] = {0};
    size_t length = 99;

    put_text(m, 0x7ffa, "abcd");
    image.span = 0x7fff; /* the NUL is the last byte of the image, the buffer is larger than what is left */
    CHECK_EQ(lhi_rva_string(&image, 0x7ffa, text, sizeof text, &length), LH_PRESENT);
    CHECK_EQ(length, 4);
    CHECK_EQ(lhi_rva_string(&image, 0x7ffb, text, 3, &length), LH_PRESENT); /* no NUL among the three */
    CHECK_EQ(length, 3);
    image.span = 0x7ffe; /* now it is behind it */
    CHECK_EQ(lhi_rva_string(&image, 0x7ffa, text, sizeof text, &length), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_rva_string(&image, 0x7ffe, text, sizeof text, &length), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_rva_string(&image, UINT64_MAX / 2, text, sizeof text, &length), LH_ABSENT_LAYOUT);
    free(m);
}

/* ---------------------------------------------------------------- version and PDB */

static void version(void)
{
    static const struct {
        uint32_t at, bytes;
        uint64_t value;
        lh_absence expected;
    } harms[] = {
        {RSRC + 0x36 - 0x12, 4, 0x40, LH_ABSENT_LAYOUT},          /* a type that is data */
        {RSRC + 36, 4, 0x80000000 + RSRC_SIZE, LH_ABSENT_LAYOUT}, /* outside */
        {RSRC + 36, 4, 0xffffffff, LH_ABSENT_LAYOUT},
        {RSRC + 32, 4, 15, LH_ABSENT_NOT_MAPPED}, /* no version among the types */
        {RSRC + 0x40 + 14, 2, 0, LH_ABSENT_LAYOUT},
        {RSRC + 0x54, 4, 0x80000040, LH_ABSENT_LAYOUT}, /* a loop: too deep */
        {RSRC + 0x74, 4, 0x80000060, LH_ABSENT_LAYOUT},
        {RSRC + 0x60 + 12, 2, 0xffff, LH_ABSENT_LAYOUT}, /* absurd count */
        {RSRC + 0xc0, 4, SIZE - 8, LH_ABSENT_LAYOUT},
        {RSRC + 0xc4, 4, 91, LH_ABSENT_LAYOUT},
        {RSRC + 0x106, 2, 'v', LH_ABSENT_LAYOUT},
        {RSRC + 0x124, 2, 'x', LH_ABSENT_LAYOUT}, /* key without its end */
        {RSRC + 0x128, 4, 0, LH_ABSENT_LAYOUT},
        {RSRC + 0xc0, 4, 0x7000 - 0x20, LH_ABSENT_LAYOUT},
    };
    lhi_image image = {0};
    machine *m = whole(&image);
    char text[32] = "";

    CHECK_EQ(lhi_image_version(&image, text), LH_PRESENT);
    CHECK_TEXT(text, "10.0.19041.65535");
    m->missing[TABLE_PAGES + 6] = true;
    CHECK_EQ(lhi_image_version(&image, text), LH_ABSENT_NOT_CAPTURED);
    free(m);
    m = whole(&image);
    put32(m, RSRC + 0xc0, 0x7800); /* the data on a page of its own, which is not there */
    m->missing[TABLE_PAGES + 7] = true;
    CHECK_EQ(lhi_image_version(&image, text), LH_ABSENT_NOT_CAPTURED);
    image.directories[2].rva = 0;
    CHECK_EQ(lhi_image_version(&image, text), LH_ABSENT_NOT_MAPPED);
    image.directories[2].rva = SIZE;
    CHECK_EQ(lhi_image_version(&image, text), LH_ABSENT_LAYOUT);
    free(m);
    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        m = whole(&image);
        put(rva(m, harms[i].at), harms[i].value, (int)harms[i].bytes);
        strcpy(text, "kept");
        if (!CHECK_EQ(lhi_image_version(&image, text), harms[i].expected))
            fprintf(stderr, "    harm %zu\n", i);
        CHECK_TEXT(text, "kept");
        free(m);
    }
}

static void pdb(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    lhi_pdb_identity identity = {0};

    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_PRESENT);
    CHECK_EQ(identity.age, 7);
    CHECK_EQ(identity.guid[0], 0xa0);
    CHECK_EQ(identity.guid[15], 0xaf);
    CHECK_TEXT(identity.name, "le\\x1b[1maky.pdb");
    put32(m, DEBUG + 28 + 16, 24 + 10); /* the path does not end inside its record */
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_PRESENT);
    CHECK_TEXT(identity.name, "");
    put32(m, DEBUG + 28 + 16, 23);
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_LAYOUT);
    put32(m, DEBUG + 28 + 16, 0x60);
    put32(m, DEBUG + 28 + 20, 0x8ff0 - 24 + 16); /* record on one page, path on the next, which is missing */
    memcpy(rva(m, 0x8fe8), "RSDS", 4);
    m->missing[TABLE_PAGES + 9] = true;
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_PRESENT);
    CHECK_TEXT(identity.name, "");
    put32(m, DEBUG + 28 + 20, 0x8ff0);
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_NOT_CAPTURED);
    put32(m, DEBUG + 28 + 20, SIZE - 4);
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_LAYOUT);
    put32(m, DEBUG + 28 + 20, TEXT);
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_LAYOUT);
    put32(m, DEBUG + 28 + 12, 13);
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_NOT_MAPPED);
    image.directories[6].rva = 0;
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_NOT_MAPPED);
    image.directories[6] = (lhi_directory){SIZE - 4, UINT32_MAX};
    CHECK_EQ(lhi_image_pdb(&image, &identity), LH_ABSENT_LAYOUT);
    free(m);
}

/* ---------------------------------------------------------------- exports */

static void exports_whole(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    lhi_exports exports = {0};

    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK(exports.complete);
    CHECK_EQ(exports.count, EXPORTED - 1); /* the forwarder is left out */
    for (size_t i = 1; i < exports.count; i++) {
        CHECK(exports.items[i - 1].address <= exports.items[i].address);
        CHECK(strcmp(exports.names + exports.items[exports.by_name[i - 1]].name,
                     exports.names + exports.items[exports.by_name[i]].name) < 0);
    }
    CHECK_EQ(lhi_exports_address(&exports, "MmProbeAndLockPages"), BASE + TEXT + 0x300);
    CHECK_EQ(lhi_exports_address(&exports, "MmUnlockPages"), BASE + TEXT + 0x400);
    CHECK_EQ(lhi_exports_address(&exports, "IoFreeMdl"), BASE + TEXT + 0x200);
    CHECK_EQ(lhi_exports_address(&exports, "IoAlias"), BASE + TEXT + 0x200);
    CHECK_EQ(lhi_exports_address(&exports, "ExForward"), 0);
    CHECK_EQ(lhi_exports_address(&exports, "MmProbeAndLockPage"), 0);
    CHECK_EQ(lhi_exports_address(&exports, "Zz"), 0);
    CHECK_EQ(lhi_exports_address(&exports, ""), 0);
    CHECK_TEXT(lhi_exports_name(&exports, BASE + TEXT + 0x100), "Zw");
    CHECK_TEXT(lhi_exports_name(&exports, BASE + TEXT + 0x200), "IoAlias"); /* the first by name */
    CHECK_TEXT(lhi_exports_name(&exports, BASE + TEXT + 0x101), NULL);
    CHECK_TEXT(lhi_exports_name(&exports, UINT64_MAX), NULL);
    lhi_exports_free(&exports);
    CHECK_EQ(exports.count, 0);
    lhi_exports_free(&exports);
    image.directories[0].rva = 0;
    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK_EQ(exports.count, 0);
    CHECK(exports.complete);
    CHECK_EQ(lhi_exports_address(&exports, "x"), 0);
    CHECK_TEXT(lhi_exports_name(&exports, 1), NULL);
    free(m);
}

static void exports_with_holes(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    lhi_exports exports = {0};

    m->missing[TABLE_PAGES + 5] = true; /* the last names */
    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK(!exports.complete);
    CHECK_EQ(lhi_exports_address(&exports, "MmProbeAndLockPages"), BASE + TEXT + 0x300);
    CHECK_EQ(lhi_exports_address(&exports, "MmUnlockPages"), 0);
    lhi_exports_free(&exports);
    put32(m, EXPORT + 0x80, 0x4ffa); /* a name that goes on over the missing page is not the part before it */
    put_text(m, 0x4ffa, "MmProbeAndLockPages");
    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK_EQ(lhi_exports_address(&exports, "MmProb"), 0);
    CHECK(lhi_exports_name(&exports, BASE + TEXT + 0x300) == NULL);
    lhi_exports_free(&exports);
    m->missing[TABLE_PAGES + 5] = false;
    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK_EQ(lhi_exports_address(&exports, "MmProbeAndLockPages"), BASE + TEXT + 0x300);
    lhi_exports_free(&exports);
    m->missing[TABLE_PAGES + 5] = true;
    m->missing[TABLE_PAGES + 4] = true; /* the tables too */
    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK(!exports.complete);
    CHECK_EQ(exports.count, 0);
    lhi_exports_free(&exports);
    free(m);
}

static void exports_hostile(void)
{
    static const struct {
        uint32_t at, bytes;
        uint64_t value;
        uint64_t least; /* exports that must still be found */
    } harms[] = {
        {EXPORT + 24, 4, UINT32_MAX, 5}, /* absurd number of names */
        {EXPORT + 20, 4, 0, 0},          /* no functions */
        {EXPORT + 20, 4, UINT32_MAX, 5},
        {EXPORT + 28, 4, 0, 0},
        {EXPORT + 28, 4, UINT32_MAX, 0},
        {EXPORT + 32, 4, SIZE - 2, 0},
        {EXPORT + 36, 4, EXPORT + EXPORT_SIZE - 1, 0},
        {EXPORT + 0x80, 4, UINT32_MAX, 4}, /* one name outside */
        {EXPORT + 0x80, 4, 0, 4},
        {EXPORT + 0xc0, 2, EXPORTED, 4}, /* one ordinal too large */
        {EXPORT + 0x40, 4, SIZE, 4},     /* one function outside */
        {EXPORT + 0x100, 1, 0, 4},       /* an empty name */
        {EXPORT + 0x100, 1, 0x1b, 4},    /* a name that is no name */
    };
    lhi_image image = {0};
    lhi_exports exports = {0};

    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        machine *m = whole(&image);
        put(rva(m, harms[i].at), harms[i].value, (int)harms[i].bytes);
        CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
        bool counted = CHECK(exports.count >= harms[i].least) && CHECK(exports.count <= EXPORT_SIZE / 8);
        bool told =
            harms[i].at == EXPORT + 20 && harms[i].value == UINT32_MAX ? true : CHECK(!exports.complete);
        if (!counted || !told)
            fprintf(stderr, "    harm %zu\n", i);
        lhi_exports_free(&exports);
        free(m);
    }
    machine *m = whole(&image);
    memset(rva(m, EXPORT + 0x100), 'A', EXPORT_SIZE - 0x100); /* names without end */
    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    CHECK_EQ(exports.count, 0);
    CHECK(!exports.complete);
    lhi_exports_free(&exports);
    free(m);
    m = whole(&image);
    static const lhi_directory odd[] = {{SIZE, 8},    {SIZE - 8, 0x1000},   {EXPORT, 0},
                                        {EXPORT, 39}, {EXPORT, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        image.directories[0] = odd[i];
        CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
        CHECK(!exports.complete);
        lhi_exports_free(&exports);
    }
    free(m);
}

#ifdef LHI_TEST_HOOKS
static void exports_without_memory(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    lhi_exports exports = {0};
    uint64_t before = lhi_alloc_count();
    uint64_t failed = 0;

    CHECK_EQ(lhi_exports_read(&image, &exports, NULL), LH_OK);
    lhi_exports_free(&exports);
    uint64_t needed = lhi_alloc_count() - before;
    CHECK(needed > 0);
    for (uint64_t n = 1; n <= needed; n++) {
        lh_error err = {0};
        lhi_alloc_fail_at(n, 0);
        failed += lhi_exports_read(&image, &exports, &err) == LH_ERR_NO_MEMORY;
        lhi_alloc_fail_at(0, 0);
        CHECK_EQ(err.code, LH_ERR_NO_MEMORY);
        CHECK_EQ(exports.count, 0);
        CHECK(exports.names == NULL);
    }
    CHECK_EQ(failed, needed);
    free(m);
}
#endif

/* Every byte of what is read, changed: an answer, whatever it is, and no fault. */
static void any_byte(void)
{
    static const char *const unlocks[] = {"MmUnlockPages"};
    static const uint32_t spans[][2] = {
        {0, SECTIONS + 160},          {IAT, IAT + 40},          {DEBUG, DEBUG + 0xc0}, {INIT, INIT + 60},
        {INIT + 0x200, INIT + 0x220}, {EXPORT, EXPORT + 0x110}, {RSRC, RSRC + 0x138}};
    static const uint8_t values[] = {0x00, 0x7f, 0x80, 0xff};
    lhi_image image = {0};
    machine *m = whole(&image);
    unsigned long opened = 0;

    for (size_t s = 0; s < sizeof spans / sizeof spans[0]; s++) {
        for (uint32_t at = spans[s][0]; at < spans[s][1]; at++) {
            uint8_t kept = *rva(m, at);
            for (size_t v = 0; v < sizeof values; v++) {
                lhi_exports exports = {0};
                lhi_pdb_identity identity = {0};
                char text[32] = "";
                lhi_section section = {0};
                *rva(m, at) = values[v];
                if (lhi_image_open(&m->space, BASE, SIZE, &image) != LH_PRESENT)
                    continue;
                opened++;
                (void)lhi_image_version(&image, text);
                (void)lhi_image_pdb(&image, &identity);
                (void)lhi_image_section_of(&image, BASE + INIT, &section);
                CHECK(lhi_exports_read(&image, &exports, NULL) == LH_OK);
                (void)lhi_image_imports(&image, unlocks, 1, &exports, NULL);
                lhi_exports_free(&exports);
            }
            *rva(m, at) = kept;
        }
    }
    CHECK(opened > 1000);
    free(m);
}

int main(void)
{
    headers();
    bad_headers();
    sections();
    escapes();
    strings();
    version();
    pdb();
    exports_whole();
    exports_with_holes();
    exports_hostile();
#ifdef LHI_TEST_HOOKS
    exports_without_memory();
#endif
    any_byte();
    return CHECK_END();
}
