/* The public questions to a kernel: structs of other sizes, reads, the reverse map, searches, bug check
 * texts. */
#include "base/alloc.h"
#include "made_machine.h"

#include <math.h>

static void test_structs(void)
{
    world w = machine_make();
    lh_kernel *k = machine_kernel(world_open(&w));
    lh_error err = {0};
    struct {
        lh_process p;
        uint64_t behind;
    } small = {.p = {.struct_size = offsetof(lh_process, pid) + 8}, .behind = 7};
    small.p.locked_pages = 0xabcd;
    CHECK_EQ(lh_kernel_get_process(k, PROCESS(1), &small.p, &err), LH_OK);
    CHECK_EQ(small.p.pid, 4264);
    CHECK_EQ(small.p.locked_pages, 0xabcd); /* an older caller's struct ends before it */
    CHECK_EQ(small.p.struct_size, offsetof(lh_process, pid) + 8);
    union {
        lh_process p;
        uint8_t bytes[sizeof(lh_process) + 64];
    } large;
    memset(&large, 0xff, sizeof large);
    large.p.struct_size = sizeof large;
    CHECK_EQ(lh_kernel_get_process(k, PROCESS(1), &large.p, &err), LH_OK);
    CHECK_EQ(large.p.struct_size, sizeof large);
    CHECK_EQ(large.bytes[sizeof large - 1], 0); /* a newer caller's later fields are zero */
    lh_walk walk = {0};
    CHECK_EQ(lh_kernel_walk(k, KDBG, &walk, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "struct_size");
    CHECK_EQ(lh_kernel_walk(k, KDBG, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    walk.struct_size = sizeof walk;
    CHECK_EQ(lh_kernel_walk(k, KDBG + 5, &walk, NULL), LH_OK);
    CHECK_EQ(walk.absence, LH_PRESENT);
    CHECK_EQ(walk.physical, world_pfn(&w, KDBG) << 12 | 5);
    CHECK_EQ(walk.struct_size, sizeof walk);
    lh_module module = {.struct_size = sizeof module};
    CHECK_EQ(lh_kernel_get_module(k, 0, &module, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "index");
    CHECK_EQ(lh_kernel_module_count(k), 0);
    CHECK_EQ(lh_kernel_module_count(NULL), 0);
    CHECK_EQ(lh_kernel_get_process(NULL, 0, &small.p, &err), LH_ERR_INVALID_ARGUMENT);
    lh_kernel_release(NULL);
    CHECK_EQ(lh_kernel_open(NULL, &k, &err), LH_ERR_INVALID_ARGUMENT);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_reads(void)
{
    world w = machine_make();
    lh_kernel *k = machine_kernel(world_open_without(&w, PROCESS(0) + 0x1000 - 1));
    lh_error err = {0};
    uint8_t buffer[3 * 8];
    uint8_t absences[3] = {9, 9, 9};
    size_t done = 99;
    const uint64_t addresses[] = {KDBG + 0x10, PROCESS(0), KDBG + 0xffc};
    memset(buffer, 0xee, sizeof buffer);
    CHECK_EQ(lh_kernel_read_many(k, addresses, 3, 8, buffer, absences, &err), LH_OK);
    CHECK_EQ(absences[0], LH_PRESENT);
    CHECK(memcmp(buffer, "KDBG\x80\x03\0\0", 8) == 0);
    CHECK_EQ(absences[1], LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(absences[2], LH_ABSENT_NOT_MAPPED); /* its second half */
    for (size_t i = 8; i < sizeof buffer; i++)
        CHECK_EQ(buffer[i], 0);
    CHECK_EQ(lh_kernel_read_many(k, addresses, SIZE_MAX, 8, buffer, absences, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_kernel_read_many(k, NULL, 1, 8, buffer, absences, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_kernel_read_many(k, addresses, 0, 8, NULL, NULL, &err), LH_OK);
    CHECK_EQ(lh_kernel_read_many(k, addresses, 1, 0, NULL, absences, &err), LH_OK);
    CHECK_EQ(lh_kernel_read(k, KDBG + 0xffc, buffer, 8, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(done, 4);
    CHECK_EQ(err.address, KDBG + 0x1000);
    CHECK_EQ(lh_kernel_read(k, KDBG, NULL, 8, &done, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_kernel_read(NULL, KDBG, buffer, 8, &done, &err), LH_ERR_INVALID_ARGUMENT);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_map_physical(void)
{
    world w = machine_make();
    const uint64_t a = world_pfn(&w, KDBG) << 12 | 0x123;
    const uint64_t b = world_pfn(&w, THREAD(1)) << 12;
    /* A second, higher mapping of KDBG's page; a page table's own frame has no mapping. */
    world_put(world_entry(&w, KDBG + 0x7000), (a & ~0xfffull) | 3, 8);
    const uint64_t wanted[] = {b, a, WORLD_DTB, a, 0xffffffffff000ull};
    uint64_t va[5] = {0};
    uint8_t states[5] = {9, 9, 9, 9, 9};
    lh_error err = {0};
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(lh_kernel_map_physical(k, wanted, 5, va, states, &err), LH_OK);
    CHECK_EQ(va[0], THREAD(1));
    CHECK_EQ(va[1], KDBG + 0x123);
    CHECK_EQ(va[3], KDBG + 0x123);
    CHECK_EQ(states[0], 0);
    CHECK_EQ(states[1], 0);
    CHECK_EQ(states[3], 0);
    CHECK_EQ(states[2], 1);
    CHECK_EQ(va[2], 0);
    CHECK_EQ(states[4], 1);
    CHECK_EQ(lh_kernel_map_physical(k, NULL, 0, NULL, NULL, &err), LH_OK);
    CHECK_EQ(lh_kernel_map_physical(k, NULL, 1, va, states, &err), LH_ERR_INVALID_ARGUMENT);
    lh_kernel_release(k);
    /* A table missing somewhere: "no mapping" can't be said any more. */
    uint64_t pdpt = world_get(world_frame(&w, WORLD_FIRST) + 8 * (PROCESS(0) >> 39 & 0x1ff)) >> 12;
    lh_dump *whole = world_open(&w);
    lh_dump *holed = NULL;
    CHECK_EQ(lh_dump_without_pages(whole, &pdpt, 1, &holed, &err), LH_OK);
    lh_dump_release(whole);
    k = machine_kernel(holed);
    CHECK_EQ(lh_kernel_map_physical(k, wanted, 5, va, states, &err), LH_OK);
    CHECK_EQ(states[0], 0);
    CHECK_EQ(states[2], 2);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_search(void)
{
    world w = machine_make();
    const uint64_t needle = 0xffffe000deadbee8ull;
    const lh_range range = {needle - 8, needle};
    lh_error err = {0};
    lh_hits *hits = NULL;
    world_u64(&w, THREAD(0) + 0x800, needle);
    world_put(world_frame(&w, WORLD_FIRST + WORLD_FRAMES - 1) + 0x10, needle - 8,
              8); /* a frame that nothing maps */
    lh_dump *dump = world_open(&w);
    lh_dump *other = world_open(&w);
    lh_kernel *k = NULL;
    CHECK_EQ(lh_kernel_open(dump, &k, &err), LH_OK);
    lh_search_options o = {.struct_size = sizeof o,
                           .values = &needle,
                           .value_count = 1,
                           .ranges = &range,
                           .range_count = 1,
                           .align = 8,
                           .threads = 1};
    CHECK_EQ(lh_search(dump, k, &o, &hits, &err), LH_OK);
    if (CHECK_EQ(lh_hits_count(hits), 2)) {
        CHECK_EQ(lh_hits_physical(hits)[0], world_pfn(&w, THREAD(0)) << 12 | 0x800);
        CHECK_EQ(lh_hits_needle(hits)[0], 0);
        CHECK_EQ(lh_hits_virtual(hits)[0], THREAD(0) + 0x800);
        CHECK_EQ(lh_hits_virtual_state(hits)[0], 0);
        CHECK_EQ(lh_hits_needle(hits)[1], 1);
        CHECK_EQ(lh_hits_value(hits)[1], needle - 8);
        CHECK_EQ(lh_hits_virtual_state(hits)[1], 1);
    }
    CHECK(!lh_hits_truncated(hits));
    lh_hits_release(hits);
    CHECK_EQ(lh_search(dump, NULL, &o, &hits, &err), LH_OK);
    CHECK(lh_hits_virtual(hits) == NULL);
    CHECK(lh_hits_virtual_state(hits) == NULL);
    lh_hits_release(hits);
    o.limit = 1;
    CHECK_EQ(lh_search(dump, k, &o, &hits, &err), LH_OK);
    CHECK_EQ(lh_hits_count(hits), 1);
    CHECK(lh_hits_truncated(hits));
    lh_hits_release(hits);
    lh_hits_release(NULL);
    CHECK_EQ(lh_hits_count(NULL), 0);

    const lh_search_options good = o;
    const lh_range backwards = {8, 7};
#define REFUSED(change, name)                                                                                \
    do {                                                                                                     \
        o = good;                                                                                            \
        change;                                                                                              \
        memset(&err, 0, sizeof err);                                                                         \
        CHECK_EQ(lh_search(dump, k, &o, &hits, &err), LH_ERR_INVALID_ARGUMENT);                              \
        CHECK_TEXT(err.field, name);                                                                         \
    } while (0)
    REFUSED(o.struct_size = 0, "struct_size");
    REFUSED(o.struct_size = 1u << 20, "struct_size");
    REFUSED(o.value_count = o.range_count = 0, "values");
    REFUSED(o.values = NULL, "values");
    REFUSED(o.ranges = NULL, "ranges");
    REFUSED(o.ranges = &backwards, "ranges");
    REFUSED(o.align = 3, "align");
    REFUSED(o.align = 16, "align");
    REFUSED(o.seconds = -1, "seconds");
    REFUSED(o.seconds = NAN, "seconds");
    o = good;
    CHECK_EQ(lh_search(other, k, &o, &hits, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "kernel");
    CHECK_EQ(lh_search(NULL, k, &o, &hits, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_search(dump, k, NULL, &hits, &err), LH_ERR_INVALID_ARGUMENT);
    lh_cancel *cancel = NULL;
    CHECK_EQ(lh_cancel_create(&cancel, &err), LH_OK);
    lh_cancel_set(cancel);
    o.cancel = cancel;
    CHECK_EQ(lh_search(dump, k, &o, &hits, &err), LH_ERR_CANCELLED);
    lh_cancel_destroy(cancel);
    lh_kernel_release(k);
    lh_dump_release(other);
    lh_dump_release(dump);
    world_free(&w);
}

/* Handles in any order: hits keep their kernel, the kernel its dump. */
static void test_order(void)
{
    world w = machine_make();
    const uint64_t needle = PROCESS(1);
    lh_error err = {0};
    lh_hits *hits = NULL;
    lh_dump *dump = world_open(&w);
    lh_kernel *k = NULL;
    const lh_search_options o = {.struct_size = sizeof o, .values = &needle, .value_count = 1};
    CHECK_EQ(lh_kernel_open(dump, &k, &err), LH_OK);
    CHECK_EQ(lh_search(dump, k, &o, &hits, &err), LH_OK);
    lh_dump_release(dump);
    CHECK(lhi_kernel_retain(k) == k);
    lh_kernel_release(k);
    lh_kernel_release(k);
    CHECK(lh_hits_count(hits) > 0);
    lh_hits_release(hits);
    world_free(&w);
}

static void test_no_memory(void)
{
    world w = machine_make();
    const uint64_t needle = PROCESS(1);
    lh_dump *dump = world_open(&w);
    const lh_search_options o = {.struct_size = sizeof o, .values = &needle, .value_count = 1, .threads = 1};
    uint64_t n = 1;
    for (;; n++) {
        lh_kernel *k = NULL;
        lh_hits *hits = NULL;
        lh_error err = {0};
        lhi_alloc_fail_at(n, 0);
        lh_status status = lh_kernel_open(dump, &k, &err);
        if (status == LH_OK)
            status = lh_search(dump, k, &o, &hits, &err);
        lhi_alloc_fail_at(0, 0);
        lh_hits_release(hits);
        lh_kernel_release(k);
        if (status == LH_OK)
            break;
        CHECK_EQ(status, LH_ERR_NO_MEMORY);
    }
    CHECK(n > 3);
    lh_dump_release(dump);
    world_free(&w);
}

static void test_bugcheck(void)
{
    const uint64_t zero[4] = {0};
    const uint64_t one[4] = {1, 2, 3, 4};
    const uint64_t tracked[4] = {0xffffe00000001000ull, 0, 3, 4};
    const uint64_t strange[4] = {0x77777777, 2, 3, 4};
    CHECK_TEXT(lh_bugcheck_name(0x76), "PROCESS_HAS_LOCKED_PAGES");
    CHECK_TEXT(lh_bugcheck_name(0xcb), "DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS");
    CHECK_TEXT(lh_bugcheck_name(1), "APC_INDEX_MISMATCH");
    CHECK_TEXT(lh_bugcheck_name(0xdeaddead), "MANUALLY_INITIATED_CRASH1");
    CHECK(lh_bugcheck_name(0) == NULL);
    CHECK(lh_bugcheck_name(0xffffffff) == NULL);
    CHECK_TEXT(lh_bugcheck_subtype(0x76, zero), "pages still locked when the process object was deleted");
    CHECK_HAS(lh_bugcheck_meaning(0x76, zero, 1), "process object");
    CHECK_HAS(lh_bugcheck_meaning(0x76, zero, 2), "locked pages");
    CHECK_HAS(lh_bugcheck_meaning(0x76, one, 1), "MDL");
    CHECK(lh_bugcheck_subtype(0x76, strange) == NULL);
    CHECK(lh_bugcheck_meaning(0x76, strange, 1) == NULL);
    CHECK(lh_bugcheck_meaning(0x76, zero, 4) == NULL);
    CHECK(lh_bugcheck_meaning(0x76, NULL, 0) == NULL);
    CHECK_HAS(lh_bugcheck_meaning(0xcb, tracked, 0), "LOCK_TRACKER");
    CHECK_HAS(lh_bugcheck_meaning(0xcb, one, 0), "driver");
    CHECK_HAS(lh_bugcheck_meaning(0xcb, one, 2), "MDL");
    const uint64_t flawed[4] = {0x1236, 0, 0, 0};
    CHECK_HAS(lh_bugcheck_meaning(0x1a, flawed, 1), "MDL");
    const uint64_t bounds[4] = {0x1f, 3, 0, 0};
    CHECK_HAS(lh_bugcheck_meaning(0xe6, bounds, 2), "MDL");
    const uint64_t never_locked[4] = {0x7c, 0, 0, 0};
    CHECK_HAS(lh_bugcheck_subtype(0xc4, never_locked), "never locked");
    CHECK(lh_bugcheck_subtype(0x50, zero) == NULL);
    /* Every name is one that a person can look up: capitals, digits, underscores. Ascending order is what the
     * look-up needs: a name out of order would not be found by its own number. */
    unsigned found = 0;
    for (uint32_t code = 0; code < 0x400; code++) {
        const char *name = lh_bugcheck_name(code);
        if (!name)
            continue;
        found++;
        CHECK_EQ(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), strlen(name));
    }
    CHECK_EQ(found, 136);
}

int main(void)
{
    test_structs();
    test_reads();
    test_map_physical();
    test_search();
    test_order();
    test_no_memory();
    test_bugcheck();
    return CHECK_END();
}
