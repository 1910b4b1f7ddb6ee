/* Tests of the reverse map and of the list of mappings: by hand, hostile, and against every path tried. */
#include "base/alloc.h"
#include "fake_machine.h"
#include "space/tables.h"

static lhi_reverse reverse(const uint64_t *frames, size_t count)
{
    lhi_space s = space_at(0x1000);
    lhi_reverse map = {0};
    lh_error err = {0};
    if (!CHECK_EQ(lhi_reverse_map(&s, frames, count, &map, &err), LH_OK))
        fprintf(stderr, "    %s\n", err.message);
    return map;
}

static void literal_reverse(void)
{
    const uint64_t asked[] = {0x10, 0x11, 0x12, 0x13, 0x40};
    size_t first = 9;
    lhi_reverse map = {0};
    build_path();
    with_pte(7, 0x10 << 12 | P);
    with_pte(500, 0x10 << 12 | P | NX);
    with_pte(8, 0x11 << 12 | TRANS | 4 << 5);
    with_pte(9, 0x12 << 12 | 4 << 5); /* neither valid nor in transition */
    set_entry(2, 8, P | PS);          /* a large page over the frames 0 to 0x3ffff */
    map = reverse(asked, 5);
    CHECK(map.complete);
    CHECK_EQ(map.tables_missing, 0);
    CHECK_EQ(map.count, 8);
    CHECK_EQ(lhi_reverse_find(&map, 0x10, &first), 3);
    CHECK_EQ(first, 0);
    CHECK_EQ(map.va[0], address(300, 3, 5, 7, 0));
    CHECK_EQ(map.va[1], address(300, 3, 5, 500, 0));
    CHECK_EQ(map.va[2], address(300, 8, 0, 0x10, 0));
    CHECK_EQ(lhi_reverse_find(&map, 0x11, &first), 2);
    CHECK_EQ(map.va[first], address(300, 3, 5, 8, 0));
    CHECK_EQ(lhi_reverse_find(&map, 0x12, &first), 1);
    CHECK_EQ(lhi_reverse_find(&map, 0x41, &first), 0);
    lhi_reverse_free(&map);

    /* Self-maps, two of them: the tables are not data. The user half is not swept. */
    set_entry(2, 8, 0);
    set_entry(1, 0x1ed, 1 << 12 | P);
    set_entry(1, 0x1ee, 1 << 12 | P);
    set_entry(1, 12, 2 << 12 | P);
    const uint64_t tables[] = {1, 2, 3, 4, 0x10};
    map = reverse(tables, 5);
    CHECK(map.complete);
    CHECK_EQ(map.count, 2);
    CHECK_EQ(map.frame[0], 0x10);
    lhi_reverse_free(&map);

    /* A missing table is counted once, however often it is referred to. */
    set_entry(3, 17, 4 << 12 | P);
    take_away(4, LH_ABSENT_NOT_CAPTURED);
    map = reverse(asked, 5);
    CHECK(!map.complete);
    CHECK_EQ(map.tables_missing, 1);
    CHECK_EQ(map.count, 0);
    lhi_reverse_free(&map);
    take_away(1, LH_ABSENT_CLIPPED);
    map = reverse(asked, 5);
    CHECK_EQ(map.tables_missing, 1);
    CHECK(!map.complete);
    lhi_reverse_free(&map);
    map = reverse(asked, 0);
    CHECK_EQ(map.count, 0);
    lhi_reverse_free(&map);
}

/* A table that several entries share: all addresses of its pages. */
static void shared_tables(void)
{
    const uint64_t asked[] = {0x10};
    lhi_reverse map = {0};
    build_path();
    with_pte(7, 0x10 << 12 | P);
    set_entry(3, 9, 4 << 12 | P);   /* the PT twice */
    set_entry(2, 1, 3 << 12 | P);   /* the PD twice, the second at a lower address */
    set_entry(1, 290, 2 << 12 | P); /* the PDPT twice */
    map = reverse(asked, 1);
    CHECK(map.complete);
    CHECK_EQ(map.count, 8);
    CHECK_EQ(map.va[0], address(290, 1, 5, 7, 0));
    CHECK_EQ(map.va[1], address(290, 1, 9, 7, 0));
    CHECK_EQ(map.va[2], address(290, 3, 5, 7, 0));
    CHECK_EQ(map.va[7], address(300, 3, 9, 7, 0));
    lhi_reverse_free(&map);
}

/* Every entry of every table refers to the next one: 2^34 addresses of one frame. Work stays small. */
static void hostile(void)
{
    uint64_t asked[FRAMES];
    lhi_reverse map = {0};
    size_t first = 0;
    reset(LH_ABSENT_NOT_RAM);
    for (unsigned table = 1; table <= 4; table++)
        for (unsigned slot = 0; slot < 512; slot++)
            set_entry(table, slot, (table + 1) << 12 | P);
    for (uint64_t i = 0; i < FRAMES; i++)
        asked[i] = i;
    map = reverse(asked, FRAMES);
    CHECK(!map.complete);
    CHECK(map.aliases_dropped != 0);
    CHECK_EQ(map.tables_missing, 0);
    CHECK(map.count <= 2 * LHI_REVERSE_ROWS && map.count != 0);
    CHECK_EQ(lhi_reverse_find(&map, 5, &first), map.count);
    CHECK_EQ(map.va[0], LHI_KERNEL_HALF);
    lhi_reverse_free(&map);

    /* One table that is its own child at each level below the PML4, full of large pages as well. */
    for (unsigned slot = 0; slot < 512; slot++) {
        set_entry(1, slot, 2 << 12 | P);
        set_entry(2, slot, slot % 2 == 0 ? 2 << 12 | P : P | PS);
    }
    map = reverse(asked, FRAMES);
    CHECK(!map.complete);
    CHECK_EQ(map.va[0], address(256, 0, 0, 1, 0)); /* as a PT: bit 7 is PAT there */
    CHECK(map.count <= 4 * LHI_REVERSE_ROWS * FRAMES);
    CHECK_EQ(map.frame[map.count - 1], FRAMES - 1);
    lhi_reverse_free(&map);
}

/* More tables than the first size of the set, with keys that collide. */
static void table_set(void)
{
    lhi_tables tables = {0};
    for (unsigned pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < 20000; i++) {
            uint32_t index = 0;
            bool added = false;
            CHECK(lhi_tables_add(&tables, lhi_table_key((uint64_t)i * i, 1 + (int)(i % 4)), &index, &added));
            CHECK(index == i && added == (pass == 0));
        }
    CHECK_EQ(tables.count, 20000);
    lhi_tables_free(&tables);
}

static void random_reverse(unsigned rounds)
{
    uint64_t seed = 815;
    unsigned whole = 0;
    oracle *o = calloc(1, sizeof *o);
    if (o == NULL)
        abort();
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t asked[FRAMES];
        size_t n = 0;
        lhi_reverse map = {0};
        size_t at = 0;
        random_tables(&seed, round % 2 == 0);
        for (uint64_t i = 0; i < FRAMES; i++)
            if (fake_random(&seed) % 3 == 0)
                asked[n++] = i;
        oracle_run(o);
        if (o->count != 0)
            qsort(o->row, o->count, sizeof *o->row, compare_oracle);
        map = reverse(asked, n);
        CHECK_EQ(map.tables_missing, o->missing);
        CHECK_EQ(map.complete, o->missing == 0 && map.aliases_dropped == 0);
        whole += map.aliases_dropped == 0;
        for (size_t i = 0; i < n; i++) {
            size_t first = 0;
            size_t rows = lhi_reverse_find(&map, asked[i], &first);
            size_t wanted = 0;
            bool same = true;
            while (at < o->count && o->row[at].frame < asked[i])
                at++;
            while (at + wanted < o->count && o->row[at + wanted].frame == asked[i])
                wanted++;
            if (map.aliases_dropped == 0) {
                CHECK_EQ(rows, wanted);
                for (size_t r = 0; r < rows && r < wanted; r++)
                    same &= map.va[first + r] == o->row[at + r].va;
            } else { /* the lowest, and only true ones */
                CHECK_EQ(rows != 0, wanted != 0);
                if (rows != 0 && wanted != 0)
                    CHECK_EQ(map.va[first], o->row[at].va);
                for (size_t r = 0; r < rows; r++) {
                    uint64_t physical = 0;
                    same &= sdm_translate(0x1000, map.va[first + r], &physical) &&
                            physical == asked[i] * LHI_PAGE_SIZE;
                    same &= r == 0 || map.va[first + r - 1] < map.va[first + r];
                }
            }
            CHECK(same);
        }
        lhi_reverse_free(&map);
    }
    CHECK(whole > rounds / 4);
    free(o->row);
    free(o);
}

/* ------------------------------------------------------------------ mappings */

typedef struct seen_mappings {
    lhi_mapping row[100000];
    size_t count;
    bool disorder;
} seen_mappings;

static void see(void *user, const lhi_mapping *mapping)
{
    seen_mappings *s = user;
    if (s->count != 0) {
        const lhi_mapping *last = &s->row[s->count - 1];
        uint64_t end = last->va + last->pages * LHI_PAGE_SIZE;
        s->disorder |= mapping->va < end || (mapping->va == end && mapping->state == last->state &&
                                             mapping->transition == last->transition);
    }
    s->disorder |= mapping->pages == 0;
    if (s->count < 100000)
        s->row[s->count++] = *mapping;
}

static void list(seen_mappings *s)
{
    lhi_space space = space_at(0x1000);
    s->count = 0;
    s->disorder = false;
    CHECK_EQ(lhi_space_mappings(&space, see, s, NULL), LH_OK);
    CHECK(!s->disorder);
}

static void check_mapping(const lhi_mapping *got, uint64_t va, uint64_t pages, lh_absence state)
{
    CHECK_EQ(got->va, va);
    CHECK_EQ(got->pages, pages);
    CHECK_EQ(got->state, state);
}

static void mappings(void)
{
    seen_mappings *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    build_path();
    with_pte(7, 0x10 << 12 | P);
    with_pte(8, 0x30 << 12 | P);
    with_pte(9, 0x31 << 12 | P);
    with_pte(10, 0x32 << 12 | P);
    with_pte(11, 0x33 << 12 | TRANS | 4 << 5);
    with_pte(12, 0x7777ull << 12 | P);
    set_entry(3, 6, P | PS);        /* FRAMES pages of RAM, then none */
    set_entry(3, 7, 200 << 12 | P); /* this table will be missing */
    set_entry(1, 0x1ed, 1 << 12 | P);
    set_entry(1, 511, 201 << 12 | P);
    take_away(0x31, LH_ABSENT_NOT_CAPTURED);
    take_away(200, LH_ABSENT_NOT_CAPTURED);
    take_away(201, LH_ABSENT_CLIPPED);
    list(s);
    uint64_t base = address(300, 3, 5, 0, 0);
    CHECK_EQ(s->count, 13);
    check_mapping(&s->row[0], base + 0x7000, 2, LH_PRESENT);
    check_mapping(&s->row[1], base + 0x9000, 1, LH_ABSENT_NOT_CAPTURED);
    check_mapping(&s->row[2], base + 0xa000, 1, LH_PRESENT);
    CHECK(!s->row[2].transition);
    check_mapping(&s->row[3], base + 0xb000, 1, LH_PRESENT);
    CHECK(s->row[3].transition);
    check_mapping(&s->row[4], base + 0xc000, 1, LH_ABSENT_NOT_RAM);
    check_mapping(&s->row[5], base + 0x200000, 0x31, LH_PRESENT);
    check_mapping(&s->row[6], base + 0x231000, 1, LH_ABSENT_NOT_CAPTURED);
    check_mapping(&s->row[7], base + 0x232000, 200 - 0x32, LH_PRESENT);
    check_mapping(&s->row[8], base + 0x200000 + 200 * 0x1000, 2, LH_ABSENT_NOT_CAPTURED);
    check_mapping(&s->row[9], base + 0x200000 + 202 * 0x1000, FRAMES - 202, LH_PRESENT);
    check_mapping(&s->row[10], base + 0x200000 + FRAMES * 0x1000, 512 - FRAMES, LH_ABSENT_NOT_RAM);
    check_mapping(&s->row[11], base + 0x400000, 512, LH_ABSENT_TABLE);
    check_mapping(&s->row[12], address(511, 0, 0, 0, 0), 1ull << 27, LH_ABSENT_TABLE);

    /* An absent stretch ends with the large page, wherever the next present page is. */
    m->page[FRAMES - 1].pfn = 600;
    m->fake.pages.end_pfn = 601;
    list(s);
    CHECK_EQ(s->count, 13);
    check_mapping(&s->row[10], base + 0x200000 + (FRAMES - 1) * 0x1000, 512 - FRAMES + 1, LH_ABSENT_NOT_RAM);

    take_away(1, LH_ABSENT_NOT_CAPTURED);
    list(s);
    CHECK_EQ(s->count, 1);
    check_mapping(&s->row[0], LHI_KERNEL_HALF, 1ull << 35, LH_ABSENT_TABLE);

    /* Hostile: 2^34 pages through four tables. Listed in part, and the rest is not claimed. */
    reset(LH_ABSENT_NOT_RAM);
    for (unsigned table = 1; table <= 4; table++)
        for (unsigned slot = 0; slot < 512; slot++)
            set_entry(table, slot, (table + 1) << 12 | P);
    list(s);
    CHECK(s->count < 100);
    check_mapping(&s->row[0], LHI_KERNEL_HALF, 8 * 512, LH_PRESENT);
    CHECK_EQ(s->row[s->count - 1].state, LH_ABSENT_TABLE);

    /* Hostile: every second page absent, and thousands of large pages over them. */
    reset(LH_ABSENT_NOT_RAM);
    for (unsigned i = 5; i < FRAMES; i += 2)
        take_away(i, LH_ABSENT_NOT_CAPTURED);
    for (unsigned slot = 0; slot < 512; slot++) {
        set_entry(1, slot, 2 << 12 | P);
        set_entry(2, slot, P | PS);
    }
    list(s);
    CHECK(s->count < 16 * FRAMES + 4096 + 3 * 9 * 512);
    CHECK_EQ(s->row[s->count - 1].state, LH_ABSENT_TABLE);
    free(s);
}

/* Page for page the listing and the walk must agree. */
static void mappings_agree(unsigned rounds)
{
    uint64_t seed = 31337;
    seen_mappings *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    oracle *o = calloc(1, sizeof *o);
    unsigned whole = 0;
    if (o == NULL)
        abort();
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t pages = 0;
        random_tables(&seed, false);
        oracle_run(o);
        list(s);
        for (size_t i = 0; i < s->count; i++) {
            const lhi_mapping *r = &s->row[i];
            uint64_t last = r->va + (r->pages - 1) * LHI_PAGE_SIZE;
            if (r->state == LH_ABSENT_TABLE && o->most_visits > 8) /* perhaps one listed often enough */
                continue;
            CHECK_EQ(walk(0x1000, r->va).absence, r->state);
            if (r->state == LH_PRESENT || r->state == LH_ABSENT_TABLE)
                CHECK_EQ(walk(0x1000, last).absence, r->state);
            pages += r->state != LH_ABSENT_TABLE ? r->pages : 0;
        }
        if (o->most_visits <= 8) {
            whole++;
            CHECK_EQ(pages, o->pages);
        }
    }
    CHECK(whole > rounds / 10 && whole < rounds);
    free(o->row);
    free(o);
    free(s);
}

static void allocation_faults(void)
{
    const uint64_t asked[] = {0x10, 0x20, 0x30};
    uint64_t seed = 77;
    random_tables(&seed, true);
    for (unsigned slot = 0; slot < 512; slot++)
        set_entry(3, slot, (slot % 40 + 4) << 12 | P);
    lhi_space s = space_at(0x1000);
    seen_mappings *seen = calloc(1, sizeof *seen);
    if (seen == NULL)
        abort();
    for (int which = 0; which < 2; which++) {
        unsigned failures = 0;
        bool failed = true;
        for (uint64_t n = 1; failed && n < 1000; n++) {
            lhi_reverse map = {0};
            lh_error err = {0};
            uint64_t before = lhi_alloc_count();
            lh_status status = LH_OK;
            seen->count = 0;
            lhi_alloc_fail_at(n, 0);
            status = which == 0 ? lhi_reverse_map(&s, asked, 3, &map, &err)
                                : lhi_space_mappings(&s, see, seen, &err);
            failed = lhi_alloc_count() - before >= n;
            lhi_alloc_fail_at(0, 0);
            CHECK_EQ(status, failed ? LH_ERR_NO_MEMORY : LH_OK);
            failures += failed;
            if (failed)
                CHECK(map.frame == NULL && map.count == 0);
            lhi_reverse_free(&map);
        }
        CHECK(!failed);
        CHECK(failures >= 3);
    }
    free(seen);
}

int main(void)
{
    m = calloc(1, sizeof *m);
    if (m == NULL)
        abort();
    literal_reverse();
    shared_tables();
    hostile();
    table_set();
    random_reverse(200);
    mappings();
    mappings_agree(100);
    allocation_faults();
    lh_source_release(m->source);
    free(m);
    return CHECK_END();
}
