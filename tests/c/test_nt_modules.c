/* The module list: both directions, gaps, loops, hostile entries, overlaps, and the array of unloaded
 * drivers. */
#include "base/alloc.h"
#include "made_kernel.h"
#include "nt/module.h"

/* KLDR_DATA_TABLE_ENTRY and UNLOADED_DRIVERS by hand (facts B.5), not from the tables. */
enum { BASE = 0x30, SIZE = 0x40, FULL = 0x48, NAME = 0x58, STAMP = 0x9c };

#define HEAD    0xfffff80000010000ull
#define ENTRIES 0xffffa00000000000ull /* each entry and its texts on a page of its own */
#define ARRAY   0xffffb00000000000ull
#define POINTER (HEAD + 0x100)
#define LAST    (HEAD + 0x108)
#define IMAGES  0xfffff80100000000ull

static uint64_t entry(unsigned i)
{
    return ENTRIES + i * 0x1000ull;
}

static void link_ring(world *w, const uint64_t *ring, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        world_u64(w, ring[i], ring[(i + 1) % count]);
        world_u64(w, ring[i] + 8, ring[(i + count - 1) % count]);
    }
}

static void make_entry(world *w, unsigned i, uint64_t base, uint32_t size, const char *name)
{
    char path[64] = "\\SystemRoot\\System32\\drivers\\";
    strncat(path, name, sizeof path - strlen(path) - 1);
    world_map(w, entry(i));
    world_u64(w, entry(i) + BASE, base);
    world_set(w, entry(i) + SIZE, size, 4);
    world_set(w, entry(i) + STAMP, 0x5f000000u + i, 4);
    world_string(w, entry(i) + NAME, entry(i) + 0x200, name);
    world_string(w, entry(i) + FULL, entry(i) + 0x400, path);
}

/* Five modules, listed in load order, not in the order of their addresses. */
static world make_list(void)
{
    world w = world_make();
    uint64_t ring[6] = {HEAD};
    world_map(&w, HEAD);
    make_entry(&w, 0, IMAGES + 0x500000, 0x20000, "ntoskrnl.exe");
    make_entry(&w, 1, IMAGES + 0x100000, 0x8000, "HAL.dll");
    make_entry(&w, 2, IMAGES + 0x300000, 0x9000, "Leaky.SYS");
    make_entry(&w, 3, IMAGES + 0x200000, 0x7000, "disk.sys");
    make_entry(&w, 4, IMAGES + 0x400000, 0x6000, "ntfs.sys");
    for (unsigned i = 0; i < 5; i++)
        ring[i + 1] = entry(i);
    link_ring(&w, ring, 6);
    return w;
}

static lhi_modules read_from(lh_dump *dump, uint64_t head, bool unloaded)
{
    lhi_space space;
    lhi_modules modules = {0};
    lh_error err = {0};
    lhi_space_init(&space, lhi_dump_pages(dump), WORLD_DTB);
    const lhi_module_sources sources = {&space, lhi_layout_find(19041, NULL, 0), head, unloaded ? POINTER : 0,
                                        unloaded ? LAST : 0};
    CHECK_EQ(lhi_modules_read(&sources, &modules, &err), LH_OK);
    lh_dump_release(dump);
    return modules;
}

static void test_whole(void)
{
    static const char *const wanted[] = {"hal.dll", "disk.sys", "leaky.sys", "ntfs.sys", "ntoskrnl.exe"};
    world w = make_list();
    lhi_modules m = read_from(world_open(&w), HEAD, false);
    if (CHECK_EQ(m.loaded, 5)) {
        for (size_t i = 0; i < 5; i++) {
            CHECK_TEXT(m.items[i].name, wanted[i]);
            CHECK_EQ(m.items[i].base, IMAGES + (i + 1) * 0x100000);
            CHECK(!m.items[i].unloaded);
        }
        CHECK_EQ(m.items[2].entry, entry(2));
        CHECK_EQ(m.items[2].size, 0x9000);
        CHECK_EQ(m.items[2].timestamp, 0x5f000002);
    }
    CHECK_EQ(m.count, 5);
    CHECK(m.complete);
    CHECK_EQ(m.absence, LH_PRESENT);
    CHECK(!m.unloaded_known);
    CHECK_EQ(m.list_head, HEAD);
    /* Borders of a range. */
    CHECK(lhi_module_at(&m, IMAGES + 0x300000) == &m.items[2]);
    CHECK(lhi_module_at(&m, IMAGES + 0x308fff) == &m.items[2]);
    CHECK(lhi_module_at(&m, IMAGES + 0x309000) == NULL);
    CHECK(lhi_module_at(&m, IMAGES + 0x2fffff) == NULL);
    CHECK(lhi_module_at(&m, 0) == NULL);
    CHECK(lhi_module_at(&m, UINT64_MAX) == NULL);
    lhi_modules_free(&m);
    lhi_modules_free(&m);
    world_free(&w);
}

static void test_empty_and_wrong_heads(void)
{
    world w = make_list();
    world_u64(&w, HEAD + 0x40, HEAD + 0x40);
    world_u64(&w, HEAD + 0x48, HEAD + 0x40);
    lhi_modules m = read_from(world_open(&w), HEAD + 0x40, false);
    CHECK_EQ(m.count, 0);
    CHECK(m.complete);
    CHECK(lhi_module_at(&m, HEAD) == NULL);
    lhi_modules_free(&m);
    const uint64_t heads[] = {0, 0x1000, HEAD + 4, UINT64_MAX, HEAD + 0x100000};
    for (size_t i = 0; i < 5; i++) {
        m = read_from(world_open(&w), heads[i], false);
        CHECK_EQ(m.count, 0);
        CHECK(!m.complete);
        CHECK(m.absence != LH_PRESENT);
        lhi_modules_free(&m);
    }
    world_free(&w);
}

static void test_gap(void)
{
    world w = make_list();
    /* The entry in the middle of the load order is gone: two before it, two behind it, by the other end. */
    lhi_modules m = read_from(world_open_without(&w, entry(2)), HEAD, false);
    CHECK_EQ(m.loaded, 4);
    CHECK(!m.complete);
    CHECK_EQ(m.absence, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(m.absent_at, entry(2));
    CHECK(lhi_module_at(&m, IMAGES + 0x300000) == NULL);
    CHECK(lhi_module_at(&m, IMAGES + 0x400000) != NULL);
    CHECK(lhi_module_at(&m, IMAGES + 0x100000) != NULL);
    lhi_modules_free(&m);
    /* The head itself. */
    m = read_from(world_open_without(&w, HEAD), HEAD, false);
    CHECK_EQ(m.loaded, 0);
    CHECK(!m.complete);
    CHECK_EQ(m.absence, LH_ABSENT_NOT_CAPTURED);
    lhi_modules_free(&m);
    world_free(&w);
}

static void test_loops(void)
{
    world w = make_list();
    /* Forward, entry 3 leads back to entry 1: the head is never reached. Backward the list is whole. */
    world_u64(&w, entry(3), entry(1));
    lhi_modules m = read_from(world_open(&w), HEAD, false);
    CHECK_EQ(m.loaded, 5);
    CHECK(m.complete);
    CHECK_EQ(m.absence, LH_ABSENT_LAYOUT);
    lhi_modules_free(&m);
    /* Both ways: an entry that is its own neighbour. */
    world_u64(&w, entry(1), entry(1));
    world_u64(&w, entry(3) + 8, entry(3));
    m = read_from(world_open(&w), HEAD, false);
    CHECK_EQ(m.loaded, 4); /* 0, 1 from the front; 4, 3 from the back */
    CHECK(!m.complete);
    CHECK(lhi_module_at(&m, IMAGES + 0x300000) == NULL);
    lhi_modules_free(&m);
    world_free(&w);
}

static void test_hostile_entries(void)
{
    world w = make_list();
    world_u64(&w, entry(0) + BASE, IMAGES + 0x500008); /* not a page */
    world_set(&w, entry(1) + SIZE, 0, 4);
    world_set(&w, entry(3) + SIZE, 0xffffffff, 4);
    world_u64(&w, entry(4) + BASE, 0x400000); /* a user address */
    lhi_modules m = read_from(world_open(&w), HEAD, false);
    CHECK_EQ(m.loaded, 1);
    CHECK_TEXT(m.items[0].name, "leaky.sys");
    CHECK(!m.complete); /* the walk came home, but members are lost */
    CHECK_EQ(m.absence, LH_ABSENT_LAYOUT);
    lhi_modules_free(&m);
    /* Links that lead out of the kernel, or to the last address there is. */
    const uint64_t links[] = {0, 8, entry(2) + 4, UINT64_MAX, UINT64_MAX - 7, 0x8000000000000000ull};
    for (size_t i = 0; i < 6; i++) {
        world_u64(&w, entry(2), links[i]);
        world_u64(&w, entry(3) + 8, links[i]);
        m = read_from(world_open(&w), HEAD, false);
        CHECK(!m.complete);
        CHECK_EQ(m.loaded, 1);
        lhi_modules_free(&m);
    }
    world_free(&w);
}

static void test_overlaps(void)
{
    world w = make_list();
    /* hal.dll claims everything up to and over ntfs.sys; the true owners are still found. */
    world_set(&w, entry(1) + SIZE, 0x303000, 4);
    lhi_modules m = read_from(world_open(&w), HEAD, false);
    CHECK_EQ(m.loaded, 5);
    CHECK_TEXT(lhi_module_at(&m, IMAGES + 0x300010)->name, "leaky.sys");
    CHECK_TEXT(lhi_module_at(&m, IMAGES + 0x309000)->name,
               "hal.dll"); /* behind leaky.sys, inside the claim */
    CHECK_TEXT(lhi_module_at(&m, IMAGES + 0x402000)->name, "ntfs.sys");
    CHECK_TEXT(lhi_module_at(&m, IMAGES + 0x405fff)->name, "ntfs.sys");
    CHECK(lhi_module_at(&m, IMAGES + 0x406000) == NULL);
    lhi_modules_free(&m);
    world_free(&w);
}

static void test_names(void)
{
    world w = make_list();
    const uint64_t lost = entry(9);
    world_header(&w, entry(0) + NAME, 8, 8, lost); /* BaseDllName's text is not there; FullDllName's is */
    world_header(&w, entry(1) + NAME, 8, 8, lost); /* neither is there */
    world_header(&w, entry(1) + FULL, 8, 8, lost + 0x10);
    world_header(&w, entry(3) + NAME, 0, 0, 0);    /* empty */
    world_header(&w, entry(3) + FULL, 7, 8, lost); /* damaged */
    world_string(&w, entry(4) + NAME, entry(4) + 0x600, "a\x1b[31mB.sys");
    char longest[200];
    memset(longest, 'x', sizeof longest);
    longest[126] = '\x1b'; /* its escape would not fit */
    longest[199] = 0;
    world_string(&w, entry(2) + NAME, entry(2) + 0x600, longest);
    lhi_modules m = read_from(world_open(&w), HEAD, false);
    if (CHECK_EQ(m.loaded, 5)) {
        CHECK_TEXT(m.items[4].name, "ntoskrnl.exe");
        CHECK_EQ(m.items[4].name_absence, LH_PRESENT);
        CHECK_EQ(m.items[0].name_absence, LH_ABSENT_NOT_MAPPED);
        CHECK_EQ(m.items[0].name_address, lost);
        CHECK_TEXT(m.items[0].name, "");
        CHECK_EQ(m.items[1].name_absence, LH_ABSENT_LAYOUT);
        CHECK_TEXT(m.items[3].name, "a\\u001b[31mb.sys");
        CHECK_EQ(strlen(m.items[2].name), 126);
    }
    CHECK(m.complete); /* a name that is lost does not lose the module */
    lhi_modules_free(&m);
    world_free(&w);
}

static void test_one_entry(void)
{
    world w = make_list();
    lh_dump *dump = world_open(&w);
    lhi_space space;
    lhi_module module;
    lhi_space_init(&space, lhi_dump_pages(dump), WORLD_DTB);
    const lhi_module_sources sources = {&space, lhi_layout_find(19041, NULL, 0), 0, 0, 0};
    CHECK_EQ(lhi_module_from_entry(&sources, entry(2), &module), LH_PRESENT);
    CHECK_TEXT(module.name, "leaky.sys");
    CHECK_EQ(lhi_module_from_entry(&sources, HEAD, &module), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_module_from_entry(&sources, 0, &module), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_module_from_entry(&sources, UINT64_MAX - 7, &module), LH_ABSENT_NONCANONICAL);
    CHECK_EQ(lhi_module_from_entry(&sources, entry(9), &module), LH_ABSENT_NOT_MAPPED);
    /* A kernel nobody knows: the first fields are the same everywhere, the time stamp is not. */
    const lhi_module_sources unknown = {&space, lhi_layout_find(0, NULL, 0), 0, 0, 0};
    CHECK_EQ(lhi_module_from_entry(&unknown, entry(2), &module), LH_PRESENT);
    CHECK_TEXT(module.name, "leaky.sys");
    lh_dump_release(dump);
    world_free(&w);
}

static void make_unloaded(world *w, unsigned i, uint64_t begin, uint64_t end, const char *name)
{
    uint64_t at = ARRAY + i * 0x28ull;
    world_string(w, at, ARRAY + 0x1000 + 0x40ull * i, name);
    world_u64(w, at + 0x10, begin);
    world_u64(w, at + 0x18, end);
}

static void test_unloaded(void)
{
    world w = make_list();
    world_map(&w, ARRAY);
    world_map(&w, ARRAY + 0x1000);
    lhi_modules m = read_from(world_open(&w), HEAD, true);
    CHECK(m.unloaded_known); /* the pointer is 0: none was ever unloaded */
    CHECK_EQ(m.count, 5);
    lhi_modules_free(&m);
    world_u64(&w, POINTER, ARRAY);
    /* The next one goes to element 2; 49 is the oldest kept. */
    world_set(&w, LAST, 2, 4);
    world_set(&w, LAST + 4, 0xdeadbeef, 4); /* the index has 32 bits */
    make_unloaded(&w, 49, IMAGES + 0x900000, IMAGES + 0x908000, "Oldest.sys");
    make_unloaded(&w, 0, IMAGES + 0x900000, IMAGES + 0x904fff, "middle.sys"); /* end of the last byte */
    make_unloaded(&w, 1, IMAGES + 0x980000, IMAGES + 0x984000, "newest.sys");
    make_unloaded(&w, 2, IMAGES + 0xa00000, IMAGES + 0xa00000, "nothing.sys"); /* empty range */
    make_unloaded(&w, 3, 0x1000, 0x2000, "user.sys");
    make_unloaded(&w, 4, UINT64_MAX - 0xfff, UINT64_MAX, "top.sys");
    m = read_from(world_open(&w), HEAD, true);
    CHECK(m.unloaded_known);
    CHECK_EQ(m.loaded, 5);
    if (CHECK_EQ(m.count, 8)) {
        CHECK_TEXT(m.items[5].name, "newest.sys");
        CHECK_TEXT(m.items[6].name, "middle.sys");
        CHECK_TEXT(m.items[7].name, "oldest.sys");
        CHECK(m.items[5].unloaded);
        CHECK_EQ(m.items[6].size, 0x5000);
        CHECK_EQ(m.items[5].entry, ARRAY + 0x28);
    }
    CHECK_TEXT(lhi_module_unloaded_at(&m, IMAGES + 0x904ffe)->name, "middle.sys"); /* the newer one */
    CHECK_TEXT(lhi_module_unloaded_at(&m, IMAGES + 0x905000)->name, "oldest.sys");
    CHECK(lhi_module_unloaded_at(&m, IMAGES + 0x908000) == NULL);
    CHECK(lhi_module_at(&m, IMAGES + 0x904000) == NULL); /* never taken for a loaded one */
    lhi_modules_free(&m);
    /* A full turn: the index stands at 50, or the variable is wild. */
    world_set(&w, LAST, 50, 4);
    m = read_from(world_open(&w), HEAD, true);
    CHECK_TEXT(m.items[5].name, "oldest.sys");
    lhi_modules_free(&m);
    world_set(&w, LAST, 0xffffffff, 4);
    m = read_from(world_open(&w), HEAD, true);
    CHECK_EQ(m.count, 8);
    lhi_modules_free(&m);
    world_u64(&w, POINTER, UINT64_MAX - 7);
    m = read_from(world_open(&w), HEAD, true);
    CHECK(!m.unloaded_known);
    CHECK_EQ(m.count, 5);
    lhi_modules_free(&m);
    /* Names lost: the range still says that something lay there. */
    world_u64(&w, POINTER, ARRAY);
    m = read_from(world_open_without(&w, ARRAY + 0x1000), HEAD, true);
    CHECK(m.unloaded_known);
    CHECK_EQ(m.count, 8);
    CHECK_EQ(m.items[5].name_absence, LH_ABSENT_NOT_CAPTURED);
    lhi_modules_free(&m);
    m = read_from(world_open_without(&w, ARRAY), HEAD, true);
    CHECK(!m.unloaded_known);
    CHECK_EQ(m.count, 5);
    lhi_modules_free(&m);
    world_free(&w);
}

static void test_no_memory(void)
{
    world w = make_list();
    lh_dump *dump = world_open(&w);
    lhi_space space;
    lhi_space_init(&space, lhi_dump_pages(dump), WORLD_DTB);
    const lhi_module_sources sources = {&space, lhi_layout_find(19041, NULL, 0), HEAD, POINTER, LAST};
    uint64_t n = 1;
    for (;; n++) {
        lhi_modules m = {0};
        lh_error err = {0};
        lhi_alloc_fail_at(n, 0);
        lh_status status = lhi_modules_read(&sources, &m, &err);
        lhi_alloc_fail_at(0, 0);
        if (status == LH_OK) {
            CHECK_EQ(m.loaded, 5);
            lhi_modules_free(&m);
            break;
        }
        CHECK_EQ(status, LH_ERR_NO_MEMORY);
        CHECK_EQ(err.code, LH_ERR_NO_MEMORY);
        CHECK(m.items == NULL);
    }
    CHECK(n > 1);
    lh_dump_release(dump);
    world_free(&w);
}

int main(void)
{
    test_whole();
    test_empty_and_wrong_heads();
    test_gap();
    test_loops();
    test_hostile_entries();
    test_overlaps();
    test_names();
    test_one_entry();
    test_unloaded();
    test_no_memory();
    return CHECK_END();
}
