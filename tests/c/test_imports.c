/* Tests of image: whether a driver imports a kernel routine, by names, by bound slots, or honestly unknown.
 */
#include "check.h"
#include "image/image.h"
#include "pe_writer.h"

/* Kernel exports as the reader would have them, without an image behind: sorted by hand. */
static lhi_export kernel_items[] = {
    {0xfffff80000001000, 0}, {0xfffff80000002000, 20}, {0xfffff80000003000, 40}, {0xfffff80000009000, 60}};
static char kernel_names[80] =
    "IoFreeMdl\0\0\0\0\0\0\0\0\0\0\0MmProbeAndLockPages\0MmUnlockPages\0\0\0\0\0\0\0ZwClose";
static uint32_t kernel_by_name[] = {0, 1, 2, 3};
static const lhi_exports kernel = {kernel_items, 4, kernel_names, kernel_by_name, true};

enum { FREE = 0, LOCK = 1, UNLOCK = 2, CLOSE = 3 };

static const char *const locks[] = {"MmProbeAndLockProcessPages", "MmProbeAndLockPages"};
static const char *const unlocks[] = {"MmUnlockPages"};

static lhi_answer asks(const lhi_image *image, const char *const *names, size_t count,
                       const lhi_exports *exports, const char **which)
{
    static const char before[] = "before";

    *which = before;
    lhi_answer answer = lhi_image_imports(image, names, count, exports, which);
    if (answer != LHI_YES)
        CHECK(*which == before);
    return answer;
}

static void imports_by_name(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    const char *which = NULL;

    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_YES);
    CHECK(which == locks[1]);
    CHECK_EQ(lhi_image_imports(&image, locks, 2, NULL, NULL), LHI_YES);
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_NO);
    CHECK_EQ(asks(&image, unlocks, 0, NULL, &which), LHI_NO);
    /* the same name from another DLL is another routine */
    put_text(m, INIT + 0xa0, "wrap.sys");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    put_text(m, INIT + 0xa0, "hal.dll");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    put_text(m, INIT + 0xa0, "NTKRNLMP.EXE");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_YES);
    put_text(m, INIT + 0xa0, "ntoskrnl.exe1");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    put_text(m, INIT + 0xa0, "ntoskrnl.ex");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    /* a prefix is not the name */
    put_text(m, INIT + 0xa0, "ntoskrnl.exe");
    put_text(m, INIT + 0x302 + 0x80, "MmProbeAndLockPagesX");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    put_text(m, INIT + 0x302 + 0x80, "MmProbeAndLockPage");
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    /* no imports at all */
    image.directories[1] = image.directories[12] = (lhi_directory){0};
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_NO);
    free(m);
}

/* What makes the import table unable to say no. */
static void imports_damaged(void)
{
    static const struct {
        uint32_t at, bytes;
        uint64_t value;
    } harms[] = {
        {INIT + 20, 4, 0},                     /* no name table */
        {INIT + 20, 4, SIZE - 4},              /* outside */
        {INIT + 0x200, 8, 0},                  /* wiped name table */
        {INIT + 0x210, 8, 0x8000000000000123}, /* by ordinal: could be anything */
        {INIT + 0x210, 8, 0x7fffffffffffffff}, /* no RVA */
        {INIT + 0x210, 8, SIZE},               /* outside */
        {INIT + 0x302 + 0x80, 1, 0},           /* empty name */
        {INIT + 20 + 12, 4, SIZE},             /* DLL name outside */
        {INIT + 0xa0, 1, 0},                   /* empty DLL name */
        {INIT, 20, 0},                         /* wiped descriptors */
        {PE + 24 + 112 + 8, 4, SIZE - 10},     /* descriptors run off the image */
    };
    const char *which = NULL;

    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        lhi_image image = {0};
        machine *m = whole(&image);
        put_text(m, 0x5a4f, "IoFreeMdl"); /* "MZ" and zeros, taken for a name table, would name this */
        if (harms[i].bytes == 20)
            memset(rva(m, harms[i].at), 0, 20);
        else
            put(rva(m, harms[i].at), harms[i].value, (int)harms[i].bytes);
        CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, &image), LH_PRESENT);
        if (!CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_UNKNOWN))
            fprintf(stderr, "    harm %zu\n", i);
        /* the bound slots settle it either way */
        if (!CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_NO))
            fprintf(stderr, "    harm %zu\n", i);
        if (!CHECK_EQ(asks(&image, locks, 2, &kernel, &which), LHI_YES))
            fprintf(stderr, "    harm %zu\n", i);
        CHECK(which == locks[1]);
        free(m);
    }
}

/* INIT is gone: only the address table is left. */
static void imports_by_address(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    const char *which = NULL;

    map_page(m, 3, false);
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_UNKNOWN);
    CHECK_EQ(asks(&image, locks, 2, &kernel, &which), LHI_YES);
    CHECK(which == locks[1]);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_NO);
    /* exports that are not all known can say yes, but not no */
    lhi_exports partial = kernel;
    partial.complete = false;
    CHECK_EQ(asks(&image, locks, 2, &partial, &which), LHI_YES);
    CHECK_EQ(asks(&image, unlocks, 1, &partial, &which), LHI_UNKNOWN);
    partial = (lhi_exports){.complete = true};
    CHECK_EQ(asks(&image, unlocks, 1, &partial, &which), LHI_UNKNOWN);
    /* a slot of the kernel's run that is no export: a stand-in hides what was imported */
    put64(m, IAT + 16, 0xfffff80400000000);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_UNKNOWN);
    CHECK_EQ(asks(&image, locks, 2, &kernel, &which), LHI_YES);
    put64(m, IAT + 16, usual_bound[0]);
    put64(m, IAT, kernel_items[UNLOCK].address + 1); /* inside the kernel, in the other run */
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_UNKNOWN);
    put64(m, IAT, 0xfffff80300001230);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_NO);
    /* a missing page of the table: unknown, unless a yes was found on another one */
    m->missing[TABLE_PAGES + 2] = true;
    CHECK_EQ(asks(&image, locks, 2, &kernel, &which), LHI_UNKNOWN);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_UNKNOWN);
    m->missing[TABLE_PAGES + 2] = false;
    put64(m, 0x9ff8, kernel_items[LOCK].address);
    put64(m, 0xa000, kernel_items[CLOSE].address);
    image.directories[12] = (lhi_directory){0x9ff8, 24};
    m->missing[TABLE_PAGES + 10] = true;
    CHECK_EQ(asks(&image, locks, 2, &kernel, &which), LHI_YES);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_UNKNOWN);
    m->missing[TABLE_PAGES + 10] = false;
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_NO);
    /* a table that was never bound, or none, or an absurd one */
    put64(m, 0x9ff8, 0x3300);
    put64(m, 0xa000, 0x3310);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_UNKNOWN);
    static const lhi_directory odd[] = {{0, 0},         {IAT, 0},       {0x9004, 8}, {IAT, UINT32_MAX},
                                        {SIZE - 8, 16}, {UINT32_MAX, 8}};
    put64(m, 0x9004, kernel_items[CLOSE].address);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        image.directories[12] = odd[i];
        CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_UNKNOWN);
    }
    free(m);
}

/* Names on a page that is not there: the others still say yes; only the slots can say no. */
static void imports_with_holes(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    const char *which = NULL;

    put64(m, INIT + 0x208, 0xb000); /* the second name on page b */
    put_text(m, 0xb002, "IoFreeMdl");
    m->missing[TABLE_PAGES + 11] = true;
    CHECK_EQ(asks(&image, locks, 2, NULL, &which), LHI_YES);
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_UNKNOWN);
    CHECK_EQ(asks(&image, unlocks, 1, &kernel, &which), LHI_NO);
    m->missing[TABLE_PAGES + 11] = false;
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_NO);
    /* a name that ends at the last byte of a page needs nothing of the next one */
    put64(m, INIT + 0x208, 0xbff4);
    put_text(m, 0xbff6, "IoFreeMdl");
    m->missing[TABLE_PAGES + 12] = true;
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_NO);
    /* a descriptor on a missing page */
    image.directories[1] = (lhi_directory){0xbfec, 60};
    memcpy(rva(m, 0xbfec), rva(m, INIT), 20);
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_UNKNOWN);
    free(m);
}

/* Tables that overlap without an end: the work is bounded, the answer is unknown. */
static void imports_without_end(void)
{
    lhi_image image = {0};
    machine *m = whole(&image);
    const char *which = NULL;

    for (uint32_t at = 0x7000; at < SIZE; at += 8)
        put64(m, at, 0x2f00);
    for (uint32_t i = 0; i < 100; i++) {
        put32(m, INIT + 20 * i, 0x7000);
        put32(m, INIT + 20 * i + 12, 0x2f80);
        put32(m, INIT + 20 * i + 16, IAT);
    }
    put_text(m, 0x2f02, "IoFreeMdl");
    put_text(m, 0x2f80, "ntoskrnl.exe");
    put32(m, INIT + 20 * 99, INIT + 0xf00); /* behind what the bound allows there would be a yes */
    put64(m, INIT + 0xf00, INIT + 0xf80);
    put_text(m, INIT + 0xf82, "MmUnlockPages");
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_UNKNOWN);
    put32(m, INIT + 20 * 9, INIT + 0xf00);
    CHECK_EQ(asks(&image, unlocks, 1, NULL, &which), LHI_YES);
    free(m);
}

typedef struct visits {
    size_t count;
    char dll[300], name[600]; /* of the last */
    uint64_t slot;
} visits;

static void visit(void *user, const char *dll, const char *name, uint64_t slot)
{
    visits *seen = user;

    seen->count++;
    seen->slot = slot;
    snprintf(seen->dll, sizeof seen->dll, "%s", dll);
    snprintf(seen->name, sizeof seen->name, "%s", name);
}

/* Files and routines may have long names: none of their rows is lost. */
static void long_names(void)
{
    static const uint32_t files[] = {1, 15, 16, 17, 63, 255}, routines[] = {1, 127, 128, 129, 511};
    enum { TEXT_AT = 0x7000, NAME_AT = 0x8000 };

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        for (size_t k = 0; k < sizeof routines / sizeof routines[0]; k++) {
            lhi_image image = {0};
            machine *m = whole(&image);
            visits seen = {0};
            put32(m, INIT + 20 + 12, TEXT_AT);
            memset(rva(m, TEXT_AT), 'f', files[i]);
            put64(m, INIT + 0x200 + 16, NAME_AT);
            memset(rva(m, NAME_AT + 2), 'r', routines[k]);
            lhi_image_each_import(&image, visit, &seen);
            CHECK_EQ(seen.count, 3);
            CHECK_EQ(strlen(seen.dll), files[i]);
            CHECK_EQ(strlen(seen.name), routines[k]);
            CHECK_EQ(seen.slot, BASE + IAT + 16 + 16);
            /* one that no file can have */
            memset(rva(m, TEXT_AT), 'f', 256);
            seen.count = 0;
            lhi_image_each_import(&image, visit, &seen);
            CHECK_EQ(seen.count, 0);
            free(m);
        }
    }
}

int main(void)
{
    long_names();
    imports_by_name();
    imports_damaged();
    imports_by_address();
    imports_with_holes();
    imports_without_end();
    return CHECK_END();
}
