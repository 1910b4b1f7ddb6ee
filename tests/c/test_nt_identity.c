/* Which kernel it is: NT's image by name or by KernBase, its PDB identity, its version, and a header that
 * lies. */
#include "made_machine.h"

#define NT      0xfffff80700000000ull
#define NT_SIZE 0x1000000u /* covers the globals of the kernel whose identity it takes */
#define ENTRY   (KDBG + 0xd00)

enum { DEBUG = 0x1000, RSDS = 0x1040, RSRC = 0x2000 };

/* ntkrnlmp.pdb of 10.0.19041.804 as a debug directory stores the identity, and one RVA of it (public PDB, by
 * hand). */
static const uint8_t GUID_19041[16] = {0xf8, 0xaf, 0x78, 0x52, 0x34, 0x6c, 0x77, 0x16,
                                       0xd7, 0xd7, 0x83, 0x5c, 0x85, 0xb7, 0xb8, 0x44};
#define RVA_KDBG 0xc00b20u

static void make_version(world *w, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const uint64_t at = NT + RSRC;
    /* Type 16, name 1, language 0x409, then the data entry (PE format, ".rsrc"). */
    for (unsigned level = 0; level < 3; level++) {
        static const uint32_t ids[] = {16, 1, 0x409};
        world_set(w, at + 0x18 * level + 14, 1, 2);
        world_set(w, at + 0x18 * level + 16, ids[level], 4);
        world_set(w, at + 0x18 * level + 20, 0x18 * (level + 1) | (level < 2 ? 0x80000000u : 0), 4);
    }
    world_set(w, at + 0x48, RSRC + 0x80, 4);
    world_set(w, at + 0x4c, 0x5c, 4);
    world_set(w, at + 0x80, 0x5c, 2); /* VS_VERSIONINFO: length, length of the value, type, key */
    world_set(w, at + 0x82, 52, 2);
    for (size_t i = 0; i < 15; i++)
        world_set(w, at + 0x86 + 2 * i, (uint8_t) "VS_VERSION_INFO"[i], 2);
    world_set(w, at + 0xa8, 0xfeef04bd, 4); /* VS_FIXEDFILEINFO */
    world_set(w, at + 0xac, 0x10000, 4);
    world_set(w, at + 0xb0, a << 16 | b, 4);
    world_set(w, at + 0xb4, c << 16 | d, 4);
}

static world make_nt(const char *name)
{
    world w = machine_make();
    for (uint32_t rva = 0; rva < 0x3000; rva += 0x1000)
        world_map(&w, NT + rva);
    world_map(&w, NT + RVA_KDBG);
    world_write(&w, NT, "MZ", 2);
    world_set(&w, NT + 0x3c, 0x80, 4);
    world_write(&w, NT + 0x80, "PE\0\0", 4);
    world_set(&w, NT + 0x84, 0x8664, 2);
    world_set(&w, NT + 0x88, 0x12345678, 4);
    world_set(&w, NT + 0x94, 112 + 16 * 8, 2);
    world_set(&w, NT + 0x98, 0x20b, 2);
    world_set(&w, NT + 0x98 + 56, NT_SIZE, 4);
    world_set(&w, NT + 0x98 + 60, 0x400, 4);
    world_set(&w, NT + 0x98 + 108, 16, 4);
    world_set(&w, NT + 0x98 + 112 + 8 * 2, RSRC, 4); /* resources, debug */
    world_set(&w, NT + 0x98 + 112 + 8 * 2 + 4, 0x200, 4);
    world_set(&w, NT + 0x98 + 112 + 8 * 6, DEBUG, 4);
    world_set(&w, NT + 0x98 + 112 + 8 * 6 + 4, 28, 4);
    world_set(&w, NT + DEBUG + 12, 2, 4); /* CODEVIEW */
    world_set(&w, NT + DEBUG + 16, 24 + 13, 4);
    world_set(&w, NT + DEBUG + 20, RSDS, 4);
    world_set(&w, NT + DEBUG + 24, RSDS, 4);
    world_write(&w, NT + RSDS, "RSDS", 4);
    world_set(&w, NT + RSDS + 20, 1, 4);
    world_write(&w, NT + RSDS + 24, "ntkrnlmp.pdb", 13);
    make_version(&w, 10, 0, 19041, 804);
    world_u64(&w, LIST_HEAD, ENTRY);
    world_u64(&w, LIST_HEAD + 8, ENTRY);
    world_u64(&w, ENTRY, LIST_HEAD);
    world_u64(&w, ENTRY + 8, LIST_HEAD);
    world_u64(&w, ENTRY + 0x30, NT);
    world_set(&w, ENTRY + 0x40, NT_SIZE, 4);
    world_string(&w, ENTRY + 0x58, KDBG + 0xf00, name);
    return w;
}

static void test_found(void)
{
    world w = make_nt("NTOSKRNL.exe");
    lh_module m = {.struct_size = sizeof m};
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK(k->nt_known); /* by its name */
    CHECK_EQ(k->nt.base, NT);
    CHECK_TEXT(k->nt_version, "10.0.19041.804");
    CHECK_EQ(lh_kernel_get_module(k, 0, &m, NULL), LH_OK);
    CHECK_TEXT(m.name, "ntoskrnl.exe");
    CHECK_TEXT(m.version, "10.0.19041.804");
    CHECK_EQ(m.timestamp, 0x12345678); /* the image's own comes first */
    CHECK_EQ(m.size, NT_SIZE);
    lh_kernel_release(k);
    /* Another name: only KernBase tells. */
    world_string(&w, ENTRY + 0x58, KDBG + 0xf00, "renamed.bin");
    k = machine_kernel(world_open(&w));
    CHECK(!k->nt_known);
    lh_kernel_release(k);
    world_u64(&w, KDBG + 0x18, NT);
    k = machine_kernel(world_open(&w));
    CHECK(k->nt_known);
    lh_kernel_release(k);
    /* Nor a list: KernBase alone. */
    world_u64(&w, LIST_HEAD, 0);
    world_u64(&w, LIST_HEAD + 8, 0);
    k = machine_kernel(world_open(&w));
    CHECK(k->nt_known);
    CHECK_EQ(k->modules.loaded, 0);
    lh_kernel_release(k);
    world_u64(&w, KDBG + 0x18, NT + 0x1000); /* no image there */
    k = machine_kernel(world_open(&w));
    CHECK(!k->nt_known);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_build(void)
{
    world w = make_nt("ntoskrnl.exe");
    /* The header lies; the version of the image does not. */
    world_put(w.data + 0xc, 9200, 4);
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(k->build, 19041);
    CHECK_EQ(k->layout->build, 19041);
    CHECK_EQ(k->layout->basis, LHI_LAYOUT_BUILD);
    lh_kernel_release(k);
    k = machine_kernel(world_open_without(&w, NT + RSRC));
    CHECK_EQ(k->build, 9200); /* nobody else left to ask */
    lh_kernel_release(k);
    /* A version nobody knows, and a shared page that names a build: the build's layout. */
    make_version(&w, 10, 0, 40000, 1);
    k = machine_kernel(world_open(&w));
    CHECK_EQ(k->build, 40000);
    CHECK_EQ(k->layout->basis, LHI_LAYOUT_STABLE);
    lh_kernel_release(k);
    world_map(&w, 0xfffff78000000000ull);
    world_set(&w, 0xfffff78000000260ull, 19041, 4);
    world_set(&w, 0xfffff7800000026cull, 10, 4);
    k = machine_kernel(world_open(&w));
    CHECK_EQ(k->build, 19041);
    CHECK_EQ(k->layout->build, 19041);
    lh_kernel_release(k);
    world_free(&w);
}

/* With the very kernel known, its table of globals stands in for a header without a debugger block. */
static void test_identity(void)
{
    world w = make_nt("ntoskrnl.exe");
    world_write(&w, NT + RSDS + 4, GUID_19041, 16);
    world_put(w.data + 0x80, 0, 8);
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(k->layout->basis, LHI_LAYOUT_PDB);
    CHECK_EQ(k->layout->build, 19041);
    CHECK(!k->kdbg.known);
    CHECK_EQ(k->kdbg.kernel_base, NT);
    CHECK(k->kdbg.processor_block > NT && k->kdbg.processor_block < NT + NT_SIZE);
    CHECK(k->kdbg.pfn_database > NT && k->kdbg.unloaded_drivers > NT && k->kdbg.last_unloaded > NT);
    lh_kernel_release(k);
    /* The block itself lies where the table says. */
    world_write(&w, NT + RVA_KDBG + 0x10, "KDBG", 4);
    world_set(&w, NT + RVA_KDBG + 0x14, 0x380, 4);
    world_u64(&w, NT + RVA_KDBG + 0x218, BLOCK);
    k = machine_kernel(world_open(&w));
    CHECK(k->kdbg.known);
    CHECK_EQ(k->kdbg.address, NT + RVA_KDBG);
    CHECK_EQ(k->kdbg.processor_block, BLOCK);
    lh_kernel_release(k);
    /* Another age is another kernel. */
    world_set(&w, NT + RSDS + 20, 2, 4);
    k = machine_kernel(world_open(&w));
    CHECK_EQ(k->layout->basis, LHI_LAYOUT_BUILD);
    CHECK_EQ(k->kdbg.processor_block, 0);
    lh_kernel_release(k);
    world_free(&w);
}

int main(void)
{
    test_found();
    test_build();
    test_identity();
    return CHECK_END();
}
