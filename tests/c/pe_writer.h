/* Writes a small PE image into a fake physical memory with page tables, for the tests of image. */
#ifndef PE_WRITER_H
#define PE_WRITER_H

#include "check.h"
#include "image/image.h"

/* ---------------------------------------------------------------- a fake machine: 4 page tables, then the
 * image */

#define IMAGE_PAGES   16u
#define TABLE_PAGES   4u
#define BASE          0xfffff80212200000ull /* 2 MiB aligned, so that one page table maps the image */
#define SIZE          (IMAGE_PAGES * 4096u)
#define PRESENT_WRITE 3u

typedef struct machine {
    lhi_pages pages;
    bool missing[TABLE_PAGES + IMAGE_PAGES];
    uint8_t memory[TABLE_PAGES + IMAGE_PAGES][4096];
    lhi_space space;
} machine;

static inline lh_absence fake_find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const machine *m = (const machine *)(const void *)pages;

    if (pfn >= TABLE_PAGES + IMAGE_PAGES)
        return LH_ABSENT_NOT_RAM;
    if (m->missing[pfn])
        return LH_ABSENT_NOT_CAPTURED;
    *out = (lhi_run){.pfn = pfn, .count = 1, .offset = UINT64_MAX, .memory = m->memory[pfn]};
    return LH_PRESENT;
}

static inline void fake_next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    while (pfn < TABLE_PAGES + IMAGE_PAGES && fake_find(pages, pfn, out) != LH_PRESENT)
        pfn++;
    if (pfn >= TABLE_PAGES + IMAGE_PAGES)
        *out = (lhi_run){.pfn = pfn, .offset = UINT64_MAX};
}

static const lhi_pages_ops fake_ops = {fake_find, fake_next, NULL};

static inline void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline uint8_t *rva(machine *m, uint32_t at)
{
    return &m->memory[TABLE_PAGES][0] + at; /* the image's frames are contiguous */
}

static inline void put16(machine *m, uint32_t at, uint32_t value)
{
    put(rva(m, at), value, 2);
}

static inline void put32(machine *m, uint32_t at, uint64_t value)
{
    put(rva(m, at), value, 4);
}

static inline void put64(machine *m, uint32_t at, uint64_t value)
{
    put(rva(m, at), value, 8);
}

static inline void put_text(machine *m, uint32_t at, const char *text)
{
    memcpy(rva(m, at), text, strlen(text) + 1);
}

static inline void map_page(machine *m, uint32_t page, bool mapped)
{
    put(&m->memory[3][8 * page], mapped ? (uint64_t)(TABLE_PAGES + page) << 12 | PRESENT_WRITE : 0, 8);
}

static inline machine *new_machine(void)
{
    machine *m = calloc(1, sizeof *m);

    if (m == NULL)
        abort();
    m->pages = (lhi_pages){
        .ops = &fake_ops, .present = TABLE_PAGES + IMAGE_PAGES, .end_pfn = TABLE_PAGES + IMAGE_PAGES};
    put(&m->memory[0][8 * (BASE >> 39 & 511)], 1u << 12 | PRESENT_WRITE, 8);
    put(&m->memory[1][8 * (BASE >> 30 & 511)], 2u << 12 | PRESENT_WRITE, 8);
    put(&m->memory[2][8 * (BASE >> 21 & 511)], 3u << 12 | PRESENT_WRITE, 8);
    for (uint32_t page = 0; page < IMAGE_PAGES; page++)
        map_page(m, page, true);
    lhi_space_init(&m->space, &m->pages, 0);
    return m;
}

/* ---------------------------------------------------------------- the image: one thing on each page */

enum {
    PE = 0xf0,
    OPTIONAL = PE + 24,
    DIRECTORIES = OPTIONAL + 112,
    SECTIONS = DIRECTORIES + 16 * 8,
    TEXT = 0x1000,
    IAT = 0x2000,
    DEBUG = 0x2800,
    INIT = 0x3000,   /* import descriptors, names */
    EXPORT = 0x4e00, /* crosses into page 5 */
    EXPORT_SIZE = 0x600,
    RSRC = 0x6000,
    RSRC_SIZE = 0x400
};

static inline void directory(machine *m, uint32_t index, uint32_t at, uint32_t size)
{
    put32(m, DIRECTORIES + 8 * index, at);
    put32(m, DIRECTORIES + 8 * index + 4, size);
}

static inline void section(machine *m, uint32_t index, const char name[8], uint32_t at, uint32_t size)
{
    memcpy(rva(m, SECTIONS + 40 * index), name, 8);
    put32(m, SECTIONS + 40 * index + 8, size);
    put32(m, SECTIONS + 40 * index + 12, at);
}

static inline void write_headers(machine *m)
{
    memcpy(rva(m, 0), "MZ", 2);
    put32(m, 0x3c, PE);
    memcpy(rva(m, PE), "PE\0\0", 4);
    put16(m, PE + 4, 0x8664);
    put16(m, PE + 6, 4);
    put32(m, PE + 8, 0x5d0a1b2c);
    put16(m, PE + 20, 112 + 16 * 8);
    put16(m, OPTIONAL, 0x20b);
    put32(m, OPTIONAL + 16, TEXT + 0x10);
    put32(m, OPTIONAL + 56, SIZE);
    put32(m, OPTIONAL + 64, 0x12345);
    put32(m, OPTIONAL + 108, 16);
    section(m, 0, ".text\0\0\0", TEXT, 0x1000);
    section(m, 1, ".rdata\0\0", IAT, 0x1000);
    section(m, 2, "INIT\x1b[2J", INIT, 0x1000);
    section(m, 3, ".edata\0\0", 0x4000, 0x2000);
}

static inline void write_version(machine *m)
{
    static const char key[] = "VS_VERSION_INFO";

    directory(m, 2, RSRC, RSRC_SIZE);
    put16(m, RSRC + 12, 1); /* one name, two numbers; the name first */
    put16(m, RSRC + 14, 2);
    put32(m, RSRC + 16, 0x80000300);
    put32(m, RSRC + 20, 0x80000080);
    put32(m, RSRC + 24, 3); /* icons */
    put32(m, RSRC + 28, 0x80000080);
    put32(m, RSRC + 32, 16); /* version */
    put32(m, RSRC + 36, 0x80000040);
    put16(m, RSRC + 0x40 + 14, 1);
    put32(m, RSRC + 0x50, 1);
    put32(m, RSRC + 0x54, 0x80000060);
    put16(m, RSRC + 0x60 + 14, 1);
    put32(m, RSRC + 0x70, 0x409);
    put32(m, RSRC + 0x74, 0xc0);
    put32(m, RSRC + 0xc0, RSRC + 0x100);
    put32(m, RSRC + 0xc4, 0x200);
    put16(m, RSRC + 0x100, 0x200);
    put16(m, RSRC + 0x102, 52);
    for (uint32_t i = 0; i < sizeof key; i++)
        put16(m, RSRC + 0x106 + 2 * i, (uint8_t)key[i]);
    put32(m, RSRC + 0x128, 0xfeef04bd);
    put32(m, RSRC + 0x130, 10u << 16 | 0);
    put32(m, RSRC + 0x134, 19041u << 16 | 65535u);
}

static inline void write_debug(machine *m)
{
    directory(m, 6, DEBUG, 56);
    put32(m, DEBUG + 12, 13); /* POGO comes first here */
    put32(m, DEBUG + 28 + 12, 2);
    put32(m, DEBUG + 28 + 16, 0x60);
    put32(m, DEBUG + 28 + 20, DEBUG + 0x80);
    memcpy(rva(m, DEBUG + 0x80), "RSDS", 4);
    for (uint32_t i = 0; i < 16; i++)
        *rva(m, DEBUG + 0x84 + i) = (uint8_t)(0xa0 + i);
    put32(m, DEBUG + 0x94, 7);
    put_text(m, DEBUG + 0x98, "D:\\build/out\\le\x1b[1maky.pdb");
}

/* Six names over six functions. The order of names is not sorted, so that the reader has to. */
static const struct exported {
    const char *name;
    uint32_t target;
} exported[] = {
    {"MmProbeAndLockPages", TEXT + 0x300},
    {"IoFreeMdl", TEXT + 0x200},
    {"Zw", TEXT + 0x100},
    {"IoAlias", TEXT + 0x200},
    {"ExForward", EXPORT + 0x500},
    {"MmUnlockPages", TEXT + 0x400},
};
enum { EXPORTED = sizeof exported / sizeof exported[0] };

static inline void write_exports(machine *m)
{
    uint32_t text = EXPORT + 0x100;

    directory(m, 0, EXPORT, EXPORT_SIZE);
    put32(m, EXPORT + 20, EXPORTED);
    put32(m, EXPORT + 24, EXPORTED);
    put32(m, EXPORT + 28, EXPORT + 0x40);
    put32(m, EXPORT + 32, EXPORT + 0x80);
    put32(m, EXPORT + 36, EXPORT + 0xc0);
    for (uint32_t i = 0; i < EXPORTED; i++) {
        put32(m, EXPORT + 0x40 + 4 * (EXPORTED - 1 - i), exported[i].target);
        put32(m, EXPORT + 0x80 + 4 * i, text);
        put16(m, EXPORT + 0xc0 + 2 * i, EXPORTED - 1 - i);
        put_text(m, text, exported[i].name);
        text += 0x50; /* MmProbeAndLockPages first, MmUnlockPages at 4e00 + 100 + 190: on page 5 */
    }
    put_text(m, EXPORT + 0x500, "hal.HalForward");
}

/* Two DLLs: HAL with one import by ordinal, then the kernel with `count` names and bound slots. */
static inline void write_imports(machine *m, const char *dll, const char *const *names, const uint64_t *bound,
                                 uint32_t count)
{
    directory(m, 1, INIT, 60);
    directory(m, 12, IAT, 8 * (count + 3));
    put32(m, INIT, INIT + 0x100);
    put32(m, INIT + 12, INIT + 0x80);
    put32(m, INIT + 16, IAT);
    put_text(m, INIT + 0x80, "HAL.dll");
    put64(m, INIT + 0x100, 0x8000000000000005ull);
    put64(m, IAT, 0xfffff80300001230);
    put32(m, INIT + 20, INIT + 0x200);
    put32(m, INIT + 20 + 12, INIT + 0xa0);
    put32(m, INIT + 20 + 16, IAT + 16);
    put_text(m, INIT + 0xa0, dll);
    for (uint32_t i = 0; i < count; i++) {
        put64(m, INIT + 0x200 + 8 * i, INIT + 0x300 + 0x40 * i);
        put_text(m, INIT + 0x302 + 0x40 * i, names[i]);
        put64(m, IAT + 16 + 8 * i, bound[i]);
    }
}

static const char *const usual_names[] = {"ZwClose", "IoFreeMdl", "MmProbeAndLockPages"};
static const uint64_t usual_bound[] = {0xfffff80000009000, 0xfffff80000001000, 0xfffff80000002000};

static inline machine *whole(lhi_image *image)
{
    machine *m = new_machine();

    write_headers(m);
    write_version(m);
    write_debug(m);
    write_exports(m);
    write_imports(m, "NtosKrnl.exe", usual_names, usual_bound, 3);
    *image = (lhi_image){0};
    CHECK_EQ(lhi_image_open(&m->space, BASE, SIZE, image), LH_PRESENT);
    return m;
}

#endif
