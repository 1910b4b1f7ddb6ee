/* Lock trackers: each layout shown by the trackers themselves, trees and lists walked through damage, gaps
 * and cycles. */
#include "base/alloc.h"
#include "made_machine.h"
#include "nt/tracker.h"

#define HEADER  0xffffa80000000100ull /* LOCK_HEADER */
#define NODE(i) (0xffffa80000002000ull + (i)*0x1000ull)
#define MDL(i)  (0xffffa80000100000ull + (i)*0x100ull)
#define USER    0x7df4faa21000ull
#define NT      0xfffff80000400000ull
#define NODES   8

/* Offsets by hand, of the public types (facts C.1): not out of the decoder under test. */
typedef struct form {
    unsigned mdl, start, count, offset, length, page, trace, who, process;
} form;

static const form list = {0x10, 0x18, 0x20, 0x28, 0x2c, 0x30, 0x38, 0x48, 0x50};
static const form tree = {0x18, 0x20, 0x28, 0x30, 0x34, 0x38, 0x40, 0x80, 0x88};
static const form later = {0x18, 0x20, 0x28, 0x30, 0x34, 0x40, 0x48, 0x38, 0x88};

static void put_tracker(world *w, const form *f, uint64_t at, unsigned number)
{
    world_u64(w, at + f->mdl, MDL(number));
    world_u64(w, at + f->start, USER);
    world_u64(w, at + f->count, 2);
    world_set(w, at + f->offset, 0x800, 4);
    world_set(w, at + f->length, 0x1000, 4);
    world_u64(w, at + f->page, 0x1c0ff + number);
    world_u64(w, at + f->trace, NT + 0x100 + number);
    world_u64(w, at + f->trace + 8, NT + 0x200 + number);
    world_set(w, at + f->who, 3, 4);
    world_u64(w, at + f->process, PROCESS(1));
}

static void link_node(world *w, unsigned i, uint64_t left, uint64_t right, uint64_t parent)
{
    world_u64(w, NODE(i), left);
    world_u64(w, NODE(i) + 8, right);
    world_u64(w, NODE(i) + 0x10, parent | (i & 3)); /* the balance */
}

/* A tree of five:     1
 *                   0   3
 *                      2  4 */
static void put_tree(world *w, const form *f)
{
    for (unsigned i = 0; i < 5; i++)
        put_tracker(w, f, NODE(i), i);
    link_node(w, 1, NODE(0), NODE(3), 0);
    link_node(w, 0, 0, 0, NODE(1));
    link_node(w, 3, NODE(2), NODE(4), NODE(1));
    link_node(w, 2, 0, 0, NODE(3));
    link_node(w, 4, 0, 0, NODE(3));
    world_u64(w, HEADER, NODE(1));
}

static world make(const form *f)
{
    world w = machine_make();
    world_map(&w, HEADER);
    for (unsigned i = 0; i < NODES; i++)
        world_map(&w, NODE(i));
    put_tree(&w, f);
    return w;
}

static lhi_trackers walk_from(lh_dump *dump, uint64_t header, uint64_t one, size_t most)
{
    lh_kernel *k = machine_kernel(dump);
    lhi_trackers found = {0};
    lh_error err = {0};
    CHECK_EQ(lhi_trackers_read(k, PROCESS(1), header, one, most, &found, &err), LH_OK);
    lh_kernel_release(k);
    return found;
}

static lhi_trackers walk(world *w)
{
    return walk_from(world_open(w), HEADER, 0, 100);
}

static bool has(const lhi_trackers *found, unsigned number)
{
    for (size_t i = 0; i < found->count; i++)
        if (found->items[i].mdl == MDL(number))
            return true;
    return false;
}

/* Which layout applies is what the trackers show, whatever the build: both are met on 19041 here. */
static void test_forms(void)
{
    for (int old = 0; old < 2; old++) {
        world w = make(old ? &tree : &later);
        if (old) {
            world_u64(&w, HEADER + 0x8, 10);
            world_set(&w, HEADER + 0x18, 1, 4);
        } else {
            world_u64(&w, HEADER + 0x10, 10);
            world_set(&w, HEADER + 0x20, 1, 4);
            world_set(&w, NODE(2) + 0x3c, 0x037a882f, 4); /* Hash */
        }
        lhi_trackers t = walk(&w);
        CHECK_EQ(t.form, old ? LHI_TRACKER_TREE : LHI_TRACKER_SWITCHED);
        CHECK(t.complete && !t.damaged && t.absence == LH_PRESENT);
        CHECK_EQ(t.count, 5);
        CHECK_EQ(t.sum, 10);
        CHECK_EQ(t.header_count, 10);
        CHECK(t.header_known && t.valid_known && t.valid == 1);
        for (unsigned i = 0; i < 5 && i < t.count; i++) {
            const lhi_tracker *one = &t.items[i];
            CHECK_EQ(one->mdl, MDL(i));
            CHECK_EQ(one->address, NODE(i));
            CHECK_EQ(one->start_va, USER);
            CHECK_EQ(one->pages, 2);
            CHECK_EQ(one->offset, 0x800);
            CHECK_EQ(one->length, 0x1000);
            CHECK_EQ(one->first_frame, 0x1c0ff + i);
            CHECK_EQ(one->who, 3);
            CHECK_EQ(one->process, PROCESS(1));
            CHECK_EQ(one->trace_size, 2);
            CHECK_EQ(one->trace[1], NT + 0x200 + i);
            CHECK(!one->switched);
        }
        lhi_trackers_free(&t);
        world_free(&w);
    }
}

static void test_whole_trace(void)
{
    world w = make(&later);
    for (unsigned i = 0; i < 8; i++)
        world_u64(&w, NODE(0) + 0x48 + 8 * i, NT + i);
    lhi_trackers t = walk(&w);
    CHECK_EQ(t.items[0].trace_size, 8);
    CHECK_EQ(t.items[0].trace[7], NT + 7);
    lhi_trackers_free(&t);
    world_free(&w);
}

static void test_second_tree(void)
{
    world w = make(&later);
    put_tracker(&w, &later, NODE(5), 5);
    link_node(&w, 5, 0, 0, 0);
    world_u64(&w, NODE(5) + 0x18, MDL(5) & ~(1ull << 63)); /* as the newest kernels mark it */
    world_u64(&w, HEADER + 0x8, NODE(5));
    world_u64(&w, HEADER + 0x10, 12);
    world_set(&w, HEADER + 0x1c, 7, 4); /* and have a shorter lock in front of Valid */
    lhi_trackers t = walk(&w);
    CHECK_EQ(t.count, 6);
    CHECK(t.complete);
    CHECK_EQ(t.items[5].mdl, MDL(5));
    CHECK(t.items[5].switched && !t.items[0].switched);
    CHECK_EQ(t.header_count, 12);
    CHECK_EQ(t.valid, 7);
    lhi_trackers_free(&t);
    /* The second alone. */
    world_u64(&w, HEADER, 0);
    t = walk(&w);
    CHECK_EQ(t.count, 1);
    CHECK(t.complete && t.items[0].switched);
    lhi_trackers_free(&t);
    /* A word that is no root where the second tree's would be. */
    world_u64(&w, HEADER, NODE(1));
    world_u64(&w, HEADER + 0x8, 17);
    t = walk(&w);
    CHECK(t.damaged && !t.complete);
    CHECK_EQ(t.count, 5);
    lhi_trackers_free(&t);
    world_free(&w);
}

static void test_no_trackers(void)
{
    world w = make(&later);
    world_u64(&w, HEADER, 0);
    lhi_trackers t = walk(&w);
    CHECK_EQ(t.count, 0);
    CHECK(t.complete && !t.header_known);
    CHECK_EQ(t.form, LHI_TRACKER_NONE);
    lhi_trackers_free(&t);
    t = walk_from(world_open(&w), 0, 0, 100);
    CHECK(!t.complete && !t.damaged && t.absence == LH_PRESENT);
    lhi_trackers_free(&t);
    world_free(&w);
}

static void test_end_of_page(void)
{
    world w = make(&tree);
    const uint64_t at = (HEADER & ~0xfffull) + 0xfe0; /* 20 bytes, and nothing mapped behind them */
    world_u64(&w, at, NODE(1));
    world_u64(&w, at + 8, 10);
    world_set(&w, at + 0x18, 1, 4);
    lhi_trackers t = walk_from(world_open(&w), at, 0, 100);
    CHECK(t.complete && t.count == 5 && t.header_count == 10 && t.valid_known && t.valid == 1);
    lhi_trackers_free(&t);
    put_tree(&w, &later);
    world_u64(&w, at + 8, 0);
    world_u64(&w, at + 0x10, 10);
    world_set(&w, at + 0x18, 0, 4);
    t = walk_from(world_open(&w), at, 0, 100);
    CHECK(t.complete && t.count == 5 && t.header_count == 10 && !t.valid_known);
    lhi_trackers_free(&t);
    world_free(&w);
}

/* Each kind of damage costs what hangs on it, and says so. */
static void test_damage(void)
{
    const struct {
        uint64_t at, value;
        unsigned count;
        unsigned lost; /* one that must not be there; 9: none */
        uint64_t damage;
    } cases[] = {
        {NODE(4) + 8, NODE(1), 5, 9, NODE(1)},                  /* a child that is the root */
        {NODE(4), NODE(4), 5, 9, NODE(4)},                      /* one that is itself */
        {NODE(2), NODE(0), 5, 9, NODE(0)},                      /* one that hangs elsewhere */
        {NODE(3) + 8, MDL(4), 4, 4, MDL(4)},                    /* no tracker there */
        {NODE(3), 0x1234567ull, 2, 3, NODE(3)},                 /* no pointer: then all of it is damaged */
        {NODE(3) + 0x10, NODE(0), 2, 3, NODE(3)},               /* the way back is another */
        {NODE(0) + 0x88, PROCESS(0), 4, 0, NODE(0)},            /* of another process */
        {NODE(0) + 0x28, 3, 4, 0, NODE(0)},                     /* Count is not that of the span */
        {NODE(0) + 0x20, USER + 1, 4, 0, NODE(0)},              /* StartVa does not begin a page */
        {NODE(0) + 0x20, 0xfffff80000000000ull, 4, 0, NODE(0)}, /* nor is it a user's */
        {NODE(0) + 0x40, 0, 4, 0, NODE(0)},                     /* no frame */
        {NODE(0) + 0x48, 0x41414141ull, 4, 0, NODE(0)},         /* no code */
        {NODE(0) + 0x18, 0xdeadbeefull, 4, 0, NODE(0)},         /* no MDL */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world w = make(&later);
        world_u64(&w, HEADER + 0x10, 10);
        world_u64(&w, cases[i].at, cases[i].value);
        lhi_trackers t = walk(&w);
        CHECK_EQ(t.count, cases[i].count);
        CHECK(t.damaged && !t.complete);
        CHECK_EQ(t.damage, cases[i].damage);
        CHECK(cases[i].lost == 9 || !has(&t, cases[i].lost));
        CHECK_EQ(t.header_count, 10);
        lhi_trackers_free(&t);
        world_free(&w);
    }
}

static void test_gaps(void)
{
    world w = make(&later);
    lhi_trackers t = walk_from(world_open_without(&w, NODE(3)), HEADER, 0, 100);
    CHECK_EQ(t.count, 2);
    CHECK(!t.complete && !t.damaged);
    CHECK_EQ(t.absence, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(t.absent_at, NODE(3));
    lhi_trackers_free(&t);
    t = walk_from(world_open_without(&w, HEADER), HEADER, 0, 100);
    CHECK_EQ(t.count, 0);
    CHECK_EQ(t.absent_at, HEADER);
    lhi_trackers_free(&t);
    /* What is no place for a header. */
    t = walk_from(world_open(&w), 0x7ffe0000, 0, 100);
    CHECK(t.damaged && t.count == 0);
    lhi_trackers_free(&t);
    t = walk_from(world_open(&w), UINT64_MAX - 7, 0, 100);
    CHECK(t.damaged && t.count == 0);
    lhi_trackers_free(&t);
    world_free(&w);
}

/* From one tracker: up to the root, by it to the header, and down again. */
static void test_climb(void)
{
    world w = make(&later);
    lhi_trackers t = walk_from(world_open(&w), 0, NODE(2), 100);
    CHECK_EQ(t.count, 5);
    CHECK(!t.complete && !t.damaged &&
          t.header == 0); /* the second tree hangs on a header that is not known */
    lhi_trackers_free(&t);
    world_u64(&w, PROCESS(1) + 0x3c8, HEADER);
    world_u64(&w, HEADER + 0x10, 10);
    t = walk_from(world_open(&w), 0, NODE(2), 100);
    CHECK_EQ(t.count, 5);
    CHECK(t.complete);
    CHECK_EQ(t.header, HEADER);
    CHECK_EQ(t.header_count, 10);
    lhi_trackers_free(&t);
    /* The root is lost: the one stays. */
    t = walk_from(world_open_without(&w, NODE(1)), 0, NODE(2), 100);
    CHECK_EQ(t.count, 1);
    CHECK(has(&t, 2) && !t.complete);
    CHECK_EQ(t.absent_at, NODE(1));
    lhi_trackers_free(&t);
    t = walk_from(world_open_without(&w, NODE(2)), 0, NODE(2), 100);
    CHECK_EQ(t.count, 0);
    CHECK_EQ(t.absent_at, NODE(2));
    lhi_trackers_free(&t);
    /* Parents in a circle. */
    link_node(&w, 1, NODE(0), NODE(3), NODE(3));
    t = walk_from(world_open(&w), 0, NODE(2), 100);
    CHECK(t.damaged && t.count == 1);
    lhi_trackers_free(&t);
    /* The header leads to another tree: the one and its own are found as well. */
    link_node(&w, 1, NODE(0), NODE(3), 0);
    put_tracker(&w, &later, NODE(5), 5);
    link_node(&w, 5, 0, 0, 0);
    world_u64(&w, HEADER, NODE(5));
    t = walk_from(world_open(&w), HEADER, NODE(2), 100);
    CHECK_EQ(t.count, 6);
    CHECK(!t.complete);
    lhi_trackers_free(&t);
    world_free(&w);
}

static void test_bound(void)
{
    world w = make(&later);
    lhi_trackers t = walk_from(world_open(&w), HEADER, 0, 3);
    CHECK_EQ(t.count, 3);
    CHECK(t.damaged && !t.complete);
    lhi_trackers_free(&t);
    world_free(&w);
}

static void put_list(world *w)
{
    for (unsigned i = 0; i < 3; i++) {
        put_tracker(w, &list, NODE(i), i);
        world_u64(w, NODE(i), i == 2 ? HEADER : NODE(i + 1));
        world_u64(w, NODE(i) + 8, i == 0 ? HEADER : NODE(i - 1));
    }
    world_u64(w, HEADER, NODE(0));
    world_u64(w, HEADER + 8, NODE(2));
    world_u64(w, HEADER + 0x10, 6);
    world_set(w, HEADER + 0x20, 1, 4);
    world_put(w->data + 0x0c, 3790, 4); /* NT 5.2 */
}

static void test_list(void)
{
    world w = make(&later);
    put_list(&w);
    lhi_trackers t = walk(&w);
    CHECK_EQ(t.form, LHI_TRACKER_LIST);
    CHECK_EQ(t.count, 3);
    CHECK(t.complete && t.header_count == 6 && t.valid == 1);
    CHECK_EQ(t.items[2].trace[0], NT + 0x102);
    CHECK_EQ(t.items[2].trace_size, 2);
    CHECK_EQ(t.items[2].first_frame, 0x1c101);
    lhi_trackers_free(&t);
    const struct {
        uint64_t at, value;
        unsigned count;
    } damage[] = {
        {NODE(1), NODE(0), 2},     /* a circle without the header */
        {NODE(1) + 8, NODE(2), 1}, /* the way back is another */
        {NODE(1) + 0x50, PROCESS(0), 1},
        {HEADER + 8, NODE(1), 3}, /* the end is not the last */
    };
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        put_list(&w);
        world_u64(&w, damage[i].at, damage[i].value);
        t = walk(&w);
        CHECK_EQ(t.count, damage[i].count);
        CHECK(t.damaged && !t.complete);
        lhi_trackers_free(&t);
    }
    put_list(&w);
    t = walk_from(world_open_without(&w, NODE(1)), HEADER, 0, 100);
    CHECK(t.count == 1 && !t.complete && t.absent_at == NODE(1));
    lhi_trackers_free(&t);
    t = walk_from(world_open(&w), HEADER, 0, 2);
    CHECK(t.count == 2 && !t.complete);
    lhi_trackers_free(&t);
    world_free(&w);
}

/* From Vista to 8.0 the layouts are not public, and nothing is made of what is there. */
static void test_not_public(void)
{
    const unsigned builds[] = {6000, 7601, 9200};
    for (size_t i = 0; i < 3; i++) {
        world w = make(&tree);
        world_put(w.data + 0x0c, builds[i], 4);
        lhi_trackers t = walk_from(world_open(&w), HEADER, NODE(0), 100);
        CHECK(t.not_public && t.count == 0 && !t.complete);
        lhi_trackers_free(&t);
        world_free(&w);
    }
}

static void test_no_memory(void)
{
    world w = make(&later);
    lh_kernel *k = machine_kernel(world_open(&w));
    unsigned n = 1;
    for (; n < 100; n++) {
        lhi_trackers t = {0};
        lh_error err = {0};
        lhi_alloc_fail_at(n, 0);
        lh_status status = lhi_trackers_read(k, PROCESS(1), HEADER, 0, 100, &t, &err);
        lhi_alloc_fail_at(0, 0);
        if (status == LH_OK) {
            CHECK_EQ(t.count, 5);
            lhi_trackers_free(&t);
            break;
        }
        CHECK_EQ(status, LH_ERR_NO_MEMORY);
        CHECK(t.items == NULL);
    }
    CHECK(n > 1 && n < 100);
    lh_kernel_release(k);
    world_free(&w);
}

int main(void)
{
    test_forms();
    test_whole_trace();
    test_second_tree();
    test_no_trackers();
    test_end_of_page();
    test_damage();
    test_gaps();
    test_climb();
    test_bound();
    test_list();
    test_not_public();
    test_no_memory();
    return CHECK_END();
}
