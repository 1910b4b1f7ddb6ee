/* The memory manager's books: page frame entries, pool blocks before and on the segment heap, lookaside
 * lists. */
#include "base/alloc.h"
#include "made_machine.h"
#include "nt/identify.h"
#include "nt/memory.h"

/* ------------------------------------------------------------------ page frames */

#define DATABASE 0xffff880000000000ull
#define ENTRY    0x30ull /* sizeof(MMPFN); PteAddress 8, u3 20 on Windows 10 (facts B.8) */

static lhi_pfn_entry frame_of(lh_dump *dump, uint64_t pfn)
{
    lh_kernel *k = machine_kernel(dump);
    lhi_pfn_entry entry;
    lhi_pfn_read(k, pfn, &entry);
    lh_kernel_release(k);
    return entry;
}

static void test_frames(void)
{
    world w = machine_make();
    world_map(&w, DATABASE + 0x3000);
    const uint64_t pfn = 0x3000 / ENTRY + 2;
    const uint64_t at = DATABASE + pfn * ENTRY;
    /* Frames that are in use for sure: the page directory's, and the debugger block's. */
    const uint64_t used[] = {WORLD_FIRST, world_pfn(&w, KDBG)};
    world_set(&w, at + 0x20, 0xff46fffe, 4); /* 0xfffe references, location 6, other bits set */
    world_u64(&w, at + 0x8, 0xfffff68000001001ull);
    lhi_pfn_entry e = frame_of(world_open(&w), pfn);
    CHECK_EQ(e.absence, LH_ABSENT_LAYOUT); /* the variable is 0 and the header says nothing */
    /* By the kernel's variable. Blank entries say nothing of their frames; an array that calls the page
     * directory free is not believed. */
    world_u64(&w, PFN_GLOBAL, DATABASE);
    CHECK_EQ(frame_of(world_open(&w), pfn).absence, LH_PRESENT);
    for (size_t i = 0; i < 2; i++)
        world_set(&w, DATABASE + used[i] * ENTRY + 0x20, 0x10001, 4); /* referred to, and on the free list */
    CHECK_EQ(frame_of(world_open(&w), pfn).absence, LH_ABSENT_LAYOUT);
    for (size_t i = 0; i < 2; i++)
        world_set(&w, DATABASE + used[i] * ENTRY + 0x20, 0x60001, 4);
    e = frame_of(world_open(&w), pfn);
    CHECK_EQ(e.absence, LH_PRESENT);
    CHECK_EQ(e.references, 0xfffe);
    CHECK_EQ(e.location, 6);
    CHECK_EQ(e.pte_address, 0xfffff68000001001ull);
    CHECK_EQ(frame_of(world_open(&w), pfn + 1).references, 0);
    /* By the header, when the variable is lost; the header may also name the variable. */
    world_u64(&w, PFN_GLOBAL, 0);
    world_put(w.data + 0x18, DATABASE, 8);
    CHECK_EQ(frame_of(world_open(&w), pfn).references, 0xfffe);
    world_u64(&w, PFN_GLOBAL, DATABASE);
    world_put(w.data + 0x18, PFN_GLOBAL, 8);
    CHECK_EQ(frame_of(world_open(&w), pfn).references, 0xfffe);
    /* An array begins a page: this is no array, and nothing is read out of it. */
    world_u64(&w, PFN_GLOBAL, DATABASE + 0x10);
    CHECK_EQ(frame_of(world_open(&w), pfn).absence, LH_ABSENT_LAYOUT);
    world_u64(&w, PFN_GLOBAL, DATABASE);
    /* Absences. */
    e = frame_of(world_open(&w), 0);
    CHECK_EQ(e.absence, LH_ABSENT_NOT_MAPPED);
    CHECK_EQ(e.absent_at, DATABASE + 0x20);
    e = frame_of(world_open_without(&w, DATABASE + 0x3000), pfn);
    CHECK_EQ(e.absence, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(e.absent_at, at + 0x20);
    CHECK_EQ(frame_of(world_open(&w), UINT64_MAX).absence, LH_ABSENT_NONCANONICAL);
    CHECK(frame_of(world_open(&w), UINT64_MAX / ENTRY).absence != LH_PRESENT);
    world_free(&w);
}

/* ------------------------------------------------------------------ pool */

#define POOL 0xffffa70000000000ull

static void pool_header(world *w, uint64_t at, unsigned previous, unsigned size, unsigned type,
                        const char *tag)
{
    world_set(w, at, previous / 16, 1);
    world_set(w, at + 1, 0x55, 1); /* PoolIndex: anything */
    world_set(w, at + 2, size / 16, 1);
    world_set(w, at + 3, type, 1);
    world_write(w, at + 4, tag, 4);
}

static lhi_pool_block block_of(const lh_kernel *k, uint64_t va)
{
    lhi_pool_block block;
    lhi_pool_block_at(k, va, &block);
    return block;
}

#define CHECK_BLOCK(va, body_, size_, tag_, state_)                                                          \
    do {                                                                                                     \
        lhi_pool_block block = block_of(k, va);                                                              \
        if (CHECK(block.found)) {                                                                            \
            CHECK_EQ(block.body, body_);                                                                     \
            CHECK_EQ(block.size, size_);                                                                     \
            CHECK_TEXT(block.tag, tag_);                                                                     \
            CHECK_EQ(block.state, state_);                                                                   \
        }                                                                                                    \
    } while (0)
#define CHECK_NO_BLOCK(va) CHECK(!block_of(k, va).found)

static void test_chained_pool(void)
{
    world w = machine_make();
    world_put(w.data + 0xc, 17763, 4);
    world_map(&w, POOL);
    world_map(&w, POOL + 0x2000);
    pool_header(&w, POOL, 0, 0x100, 2, "Mdl ");
    pool_header(&w, POOL + 0x100, 0x100, 0x200, 0, "Irp ");   /* free */
    pool_header(&w, POOL + 0x300, 0x200, 0x40, 11, "Leak");   /* paged, with quota */
    pool_header(&w, POOL + 0x340, 0x40, 0xcc0, 2, "Big\xb2"); /* protected: not part of the tag */
    /* Inside the free block, a header of an earlier time that looks right. */
    pool_header(&w, POOL + 0x180, 0x80, 0x80, 2, "Old ");
    /* A page with one stray header that no chain leads to. */
    pool_header(&w, POOL + 0x2800, 0x40, 0x100, 2, "Lone");
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_BLOCK(POOL + 0x10, POOL + 0x10, 0xf0, "Mdl ", LHI_POOL_ALLOCATED);
    CHECK_BLOCK(POOL + 0xff, POOL + 0x10, 0xf0, "Mdl ", LHI_POOL_ALLOCATED);
    CHECK_BLOCK(POOL + 0x110, POOL + 0x110, 0x1f0, "Irp ", LHI_POOL_FREE);
    CHECK_BLOCK(POOL + 0x190, POOL + 0x110, 0x1f0, "Irp ", LHI_POOL_FREE); /* not "Old " */
    CHECK_BLOCK(POOL + 0x338, POOL + 0x310, 0x30, "Leak", LHI_POOL_ALLOCATED);
    CHECK_BLOCK(POOL + 0xfff, POOL + 0x350, 0xcb0, "Big2", LHI_POOL_ALLOCATED);
    CHECK_NO_BLOCK(POOL + 0x108); /* in a header */
    CHECK_BLOCK(POOL + 0x2810, POOL + 0x2810, 0xf0, "Lone", LHI_POOL_UNKNOWN);
    CHECK_BLOCK(POOL + 0x2888, POOL + 0x2810, 0xf0, "Lone", LHI_POOL_UNKNOWN);
    CHECK_NO_BLOCK(POOL + 0x2900); /* behind its end */
    CHECK_NO_BLOCK(POOL + 0x2700);
    CHECK_NO_BLOCK(POOL + 0x1000);
    CHECK_NO_BLOCK(0x1000);
    CHECK_NO_BLOCK(LHI_KERNEL_HALF);
    CHECK_NO_BLOCK(UINT64_MAX);
    lh_kernel_release(k);
    /* Neighbours that disagree about their sizes: no chain, so no word about live or free. */
    world_set(&w, POOL + 0x100, 0x20, 1);
    k = machine_kernel(world_open(&w));
    CHECK_BLOCK(POOL + 0x110, POOL + 0x110, 0x1f0, "Irp ", LHI_POOL_UNKNOWN);
    CHECK_BLOCK(POOL + 0x10, POOL + 0x10, 0xf0, "Mdl ", LHI_POOL_ALLOCATED);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_segment_heap(void)
{
    world w = machine_make(); /* 19041 */
    world_map(&w, POOL);
    world_map(&w, POOL + 0x1000);
    pool_header(&w, POOL + 0x200, 0, 0x100, 2, "Mdl ");
    pool_header(&w, POOL + 0x300, 0, 0x100, 0, "Free");
    pool_header(&w, POOL + 0x400, 0, 0x100, 0x64, "Text"); /* no pool type */
    pool_header(&w, POOL + 0x500, 0, 0x100, 2,
                "a\x01"
                "bc");
    pool_header(&w, POOL + 0x600, 0, 0x10, 2, "Void");  /* no room for a body */
    pool_header(&w, POOL + 0xf80, 0, 0x100, 3, "Span"); /* crosses into the next page */
    lh_kernel *k = machine_kernel(world_open(&w));
    /* A header can't tell whether a block of this heap is live. */
    CHECK_BLOCK(POOL + 0x210, POOL + 0x210, 0xf0, "Mdl ", LHI_POOL_UNKNOWN);
    CHECK_BLOCK(POOL + 0x2ff, POOL + 0x210, 0xf0, "Mdl ", LHI_POOL_UNKNOWN);
    CHECK_NO_BLOCK(POOL + 0x310);
    CHECK_NO_BLOCK(POOL + 0x410);
    CHECK_NO_BLOCK(POOL + 0x510);
    CHECK_NO_BLOCK(POOL + 0x610);
    CHECK_BLOCK(POOL + 0x1010, POOL + 0xf90, 0xf0, "Span", LHI_POOL_UNKNOWN);
    CHECK_NO_BLOCK(POOL + 0x1080);
    lh_kernel_release(k);
    k = machine_kernel(world_open_without(&w, POOL));
    CHECK_NO_BLOCK(POOL + 0x210);
    CHECK_NO_BLOCK(POOL + 0x1010);
    lh_kernel_release(k);
    world_free(&w);
}

/* ------------------------------------------------------------------ lookaside lists */

#define LISTS     0xffffa80000000000ull /* heads: processor i, pair n, own 0 or shared 1 */
#define ENTRIES   0xffffa90000000000ull
#define OWN(i, n) (LISTS + (i)*0x400ull + (n)*0x80ull)
#define SHARED(n) (LISTS + 0x800ull + (n)*0x80ull)

static void list_head(world *w, uint64_t at, const char *tag, uint32_t size)
{
    world_write(w, at + 0x28, tag, 4);
    world_set(w, at + 0x2c, size, 4);
    world_u64(w, at, 0x12340000); /* no depth; a sequence */
    world_u64(w, at + 8, 0);
}

static void list_fill(world *w, uint64_t at, const uint64_t *entries, size_t count)
{
    world_u64(w, at, 0x12340000 | count);
    world_u64(w, at + 8, (count ? entries[0] : 0) | 1); /* bit 0: HeaderType on Windows 7 */
    for (size_t i = 0; i < count; i++)
        world_u64(w, entries[i], i + 1 < count ? entries[i + 1] : 0);
}

static world make_lists(void)
{
    static const char *const tags[] = {"Irps", "Irpm", "Irpl", "Mdl "};
    static const uint32_t sizes[] = {0x118, 0x1f0, 0x4c0, 0xe8};
    world w = machine_make();
    world_map(&w, LISTS);
    world_map(&w, ENTRIES);
    world_map(&w, ENTRIES + 0x1000);
    for (unsigned n = 0; n < 4; n++) {
        list_head(&w, SHARED(n), tags[n], sizes[n]);
        for (unsigned i = 0; i < 2; i++) {
            list_head(&w, OWN(i, n), tags[n], sizes[n]);
            world_u64(&w, PRCB(i) + PRCB_LISTS + 16 * n, OWN(i, n));
            world_u64(&w, PRCB(i) + PRCB_LISTS + 16 * n + 8, SHARED(n));
        }
    }
    const uint64_t own[] = {ENTRIES + 0x300, ENTRIES + 0x100}, shared[] = {ENTRIES + 0x200};
    const uint64_t packets[] = {ENTRIES + 0x1000, ENTRIES + 0x1800}, large[] = {ENTRIES + 0x1400};
    list_fill(&w, OWN(1, 3), own, 2);
    list_fill(&w, SHARED(3), shared, 1);
    list_fill(&w, OWN(0, 0), packets, 2);
    list_fill(&w, SHARED(2), large, 1);
    return w;
}

static lhi_free_lists lists_of(lh_dump *dump)
{
    lh_kernel *k = machine_kernel(dump);
    lhi_free_lists lists;
    lh_error err = {0};
    CHECK_EQ(lhi_free_lists_read(k, &lists, &err), LH_OK);
    lh_kernel_release(k);
    return lists;
}

static void check_lists(lh_dump *dump, size_t mdls, size_t irps, lh_absence absence, uint64_t at)
{
    lhi_free_lists lists = lists_of(dump);
    CHECK_EQ(lists.mdls.count, mdls);
    CHECK_EQ(lists.irps.count, irps);
    CHECK_EQ(lists.absence, absence);
    CHECK_EQ(lists.absent_at, at);
    CHECK_EQ(lists.complete, absence == LH_PRESENT);
    lhi_free_lists_free(&lists);
}

static void test_lists(void)
{
    world w = make_lists();
    lhi_free_lists lists = lists_of(world_open(&w));
    CHECK(lists.complete);
    CHECK_EQ(lists.absence, LH_PRESENT);
    if (CHECK_EQ(lists.mdls.count, 3)) {
        CHECK_EQ(lists.mdls.data[0], ENTRIES + 0x100);
        CHECK_EQ(lists.mdls.data[1], ENTRIES + 0x200);
        CHECK_EQ(lists.mdls.data[2], ENTRIES + 0x300);
    }
    if (CHECK_EQ(lists.irps.count, 3)) {
        CHECK_EQ(lists.irps.data[0], ENTRIES + 0x1000);
        CHECK_EQ(lists.irps.data[1], ENTRIES + 0x1400);
        CHECK_EQ(lists.irps.data[2], ENTRIES + 0x1800);
    }
    lhi_free_lists_free(&lists);
    lhi_free_lists_free(&lists);
    world_free(&w);
}

static void test_damaged_lists(void)
{
    world w = make_lists();
    /* A loop: the depth in the head ends the walk. */
    world_u64(&w, ENTRIES + 0x100, ENTRIES + 0x300);
    check_lists(world_open(&w), 3, 3, LH_ABSENT_LAYOUT, ENTRIES + 0x100);
    world_set(&w, OWN(1, 3), 0xffff, 2); /* ... whatever it says */
    check_lists(world_open(&w), 3, 3, LH_ABSENT_LAYOUT, ENTRIES + 0x300);
    world_free(&w);

    /* Fewer entries than the head counts, a link out of the kernel, an odd one. */
    const uint64_t links[] = {0x1230, ENTRIES + 0x305, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        w = make_lists();
        world_u64(&w, ENTRIES + 0x300, links[i]);
        check_lists(world_open(&w), 2, 3, LH_ABSENT_LAYOUT, ENTRIES + 0x300);
        world_free(&w);
    }
    w = make_lists();
    world_u64(&w, ENTRIES + 0x300, 0);
    check_lists(world_open(&w), 2, 3, LH_ABSENT_LAYOUT, OWN(1, 3));
    world_free(&w);

    /* What the pairs lead to is no list of MDLs: nothing in it is called free. */
    w = make_lists();
    world_write(&w, OWN(1, 3) + 0x28, "Thre", 4);
    check_lists(world_open(&w), 1, 3, LH_ABSENT_LAYOUT, OWN(1, 3));
    world_free(&w);
    w = make_lists();
    world_set(&w, OWN(1, 3) + 0x2c, 0x20, 4); /* no MDL fits */
    check_lists(world_open(&w), 1, 3, LH_ABSENT_LAYOUT, OWN(1, 3));
    world_free(&w);
    w = make_lists();
    world_u64(&w, PRCB(1) + PRCB_LISTS + 16 * 3, 0);
    check_lists(world_open(&w), 1, 3, LH_ABSENT_LAYOUT, PRCB(1) + PRCB_LISTS + 16 * 3);
    world_free(&w);
}

static void test_missing_lists(void)
{
    world w = make_lists();
    /* An entry whose page is lost is known all the same; what follows it is not. */
    check_lists(world_open_without(&w, ENTRIES), 2, 3, LH_ABSENT_NOT_CAPTURED, ENTRIES + 0x300);
    check_lists(world_open_without(&w, LISTS), 0, 0, LH_ABSENT_NOT_CAPTURED, OWN(0, 0));
    check_lists(world_open_without(&w, PRCB(1)), 1, 3, LH_ABSENT_NOT_CAPTURED, PCR(1) + PCR_PRCB);
    /* A processor that the header counts and nobody knows. */
    world_put(w.data + 0x34, 3, 4);
    check_lists(world_open(&w), 3, 3, LH_ABSENT_LAYOUT, BLOCK + 16);
    /* A build of which nobody knows where the lists are: heads show themselves, all of them or none. */
    world_put(w.data + 0xc, 40000, 4);
    check_lists(world_open(&w), 3, 3, LH_ABSENT_LAYOUT, BLOCK + 16);
    world_write(&w, OWN(1, 3) + 0x28, "Thre", 4);
    check_lists(world_open(&w), 0, 0, LH_ABSENT_LAYOUT, 0);
    world_free(&w);
}

/* ------------------------------------------------------------------ big blocks */

#define BIG_TABLE   0xffffa60000000000ull /* of three pages; the second is not mapped */
#define BIG_ENTRIES 500u                  /* of 0x18 bytes: some lie across the pages' borders */
#define BIG_GLOBALS KDBG                  /* taken for the kernel's image */
#define BIG_PAGES   0x60u                 /* that blocks lie in */

/* An entry in four is free, and most blocks lie over others: a table so damaged has an answer too. */
static lh_kernel *big_kernel(world *w, uint32_t globals[LHI_GLOBAL_COUNT])
{
    uint32_t number = 1;
    world_map(w, BIG_TABLE);
    world_map(w, BIG_TABLE + 0x2000);
    for (uint64_t at = BIG_TABLE; at + 0x18 <= BIG_TABLE + BIG_ENTRIES * 0x18; at += 0x18) {
        if ((at & 0x3000) == 0x1000 || ((at + 0x17) & 0x3000) == 0x1000)
            continue;
        number = number * 1664525u + 1013904223u;
        world_u64(w, at, POOL + (number >> 8) % BIG_PAGES * 0x1000 + ((number >> 28) % 4 == 0));
        world_write(w, at + 8, "Lkyb", 4);
        world_u64(w, at + 0x10, 0xff0 + (number >> 20) % 5 * 0x1000);
    }
    world_u64(w, PFN_GLOBAL + 0x10, BIG_TABLE);
    world_u64(w, PFN_GLOBAL + 0x18, BIG_ENTRIES);
    globals[LHI_G_PoolBigPageTable] = (uint32_t)(PFN_GLOBAL + 0x10 - BIG_GLOBALS);
    globals[LHI_G_PoolBigPageTableSize] = (uint32_t)(PFN_GLOBAL + 0x18 - BIG_GLOBALS);
    lh_kernel *k = machine_kernel(world_open(w));
    k->nt_known = true;
    k->nt.base = BIG_GLOBALS;
    k->nt.size_of_image = 0x1000;
    k->row.layout.globals = globals;
    return k;
}

static void test_big_blocks(void)
{
    uint32_t globals[LHI_GLOBAL_COUNT] = {0};
    world w = machine_make();
    lh_kernel *k = big_kernel(&w, globals);
    lhi_big_blocks blocks = {0};
    size_t found = 0, missed = 0;
    CHECK_EQ(lhi_big_blocks_read(k, &blocks, NULL), LH_OK);
    CHECK(blocks.count > 200 && blocks.count < BIG_ENTRIES - 200);
    for (uint64_t va = POOL - 0x800; va < POOL + (BIG_PAGES + 8) * 0x1000; va += 0x3f8) {
        lhi_big_block one = {0}, other = {0};
        bool is = lhi_big_block_at(k, va, &one);
        CHECK_EQ(lhi_big_blocks_at(&blocks, va, &other), is);
        CHECK_EQ(other.va, one.va);
        CHECK_EQ(other.size, one.size);
        CHECK_TEXT(other.tag, one.tag);
        found += is;
        missed += !is;
    }
    CHECK(found > 300 && missed > 10);
    lhi_big_blocks_free(&blocks);
    CHECK(blocks.rows == NULL);
    globals[LHI_G_PoolBigPageTable] = 0; /* another kernel, whose table nobody knows */
    CHECK_EQ(lhi_big_blocks_read(k, &blocks, NULL), LH_OK);
    CHECK(blocks.count == 0 && !lhi_big_blocks_at(&blocks, POOL, &(lhi_big_block){0}));
    lh_kernel_release(k);
    world_free(&w);
}

static void test_no_memory_for_blocks(void)
{
    uint32_t globals[LHI_GLOBAL_COUNT] = {0};
    world w = machine_make();
    lh_kernel *k = big_kernel(&w, globals);
    lhi_big_blocks blocks = {0};
    lh_error err = {0};
    uint64_t n = 1;
    for (;; n++) {
        lhi_alloc_fail_at(n, 0);
        lh_status status = lhi_big_blocks_read(k, &blocks, &err);
        lhi_alloc_fail_at(0, 0);
        if (status == LH_OK)
            break;
        CHECK_EQ(status, LH_ERR_NO_MEMORY);
        CHECK(blocks.rows == NULL && blocks.count == 0);
    }
    CHECK(n > 1);
    lhi_big_blocks_free(&blocks);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_no_memory(void)
{
    world w = make_lists();
    lh_kernel *k = machine_kernel(world_open(&w));
    uint64_t n = 1;
    for (;; n++) {
        lhi_free_lists lists;
        lh_error err = {0};
        lhi_alloc_fail_at(n, 0);
        lh_status status = lhi_free_lists_read(k, &lists, &err);
        lhi_alloc_fail_at(0, 0);
        if (status == LH_OK) {
            CHECK_EQ(lists.mdls.count, 3);
            lhi_free_lists_free(&lists);
            break;
        }
        CHECK_EQ(status, LH_ERR_NO_MEMORY);
        CHECK(lists.mdls.data == NULL);
    }
    CHECK_EQ(n, 4); /* the heads, the MDLs, the packets */
    lh_kernel_release(k);
    world_free(&w);
}

int main(void)
{
    test_frames();
    test_chained_pool();
    test_segment_heap();
    test_lists();
    test_damaged_lists();
    test_missing_lists();
    test_no_memory();
    test_big_blocks();
    test_no_memory_for_blocks();
    return CHECK_END();
}
