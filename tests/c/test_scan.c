/* Tests of the scan: rows written by hand, then every kernel against brute force, then stops and faults. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "check.h"
#include "fake_pages.h"
#include "scan/kernel.h"
#include "source/os.h"

typedef struct expected_row {
    uint64_t physical, value;
    uint32_t needle;
} expected_row;

static const lhi_scan_kernel *kernels[2];
static size_t kernel_count;

static void put(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void check_rows(const lhi_pages *pages, const lhi_scan_options *options, const expected_row *rows,
                       size_t count, bool truncated)
{
    static const uint32_t threads[] = {1, 3, 0};
    for (size_t k = 0; k < kernel_count; k++)
        for (size_t t = 0; t < 3; t++) {
            lhi_scan_options o = *options;
            lhi_scan_result got = {0};
            lh_error err = {0};
            bool same = true;
            o.kernel = kernels[k];
            o.threads = threads[t];
            if (!CHECK_EQ(lhi_scan(pages, &o, &got, &err), LH_OK))
                fprintf(stderr, "    %s\n", err.message);
            same = got.count == count && got.truncated == truncated;
            for (size_t i = 0; same && i < count; i++)
                same = got.physical[i] == rows[i].physical && got.value[i] == rows[i].value &&
                       got.needle[i] == rows[i].needle;
            if (!CHECK(same)) {
                fprintf(stderr, "    %s, %u threads: %zu rows of %zu, truncated %d\n", o.kernel->name,
                        o.threads, got.count, count, got.truncated);
                for (size_t i = 0; i < got.count && i < 8; i++)
                    fprintf(stderr, "    0x%" PRIx64 " 0x%" PRIx64 " %u\n", got.physical[i], got.value[i],
                            got.needle[i]);
            }
            CHECK_TEXT(got.kernel, o.kernel->name);
            lhi_scan_result_free(&got);
        }
}

/* ------------------------------------------------------------------ by hand */

/* PFN 5 and 9 lie in the source, 6 and 8 in memory; 7 is absent. */
static uint8_t in_file[3 * LHI_PAGE_SIZE];
static uint8_t page6[LHI_PAGE_SIZE];
static uint8_t page8[LHI_PAGE_SIZE];
static const fake_page FOUR[] = {{5, LH_PRESENT, LHI_PAGE_SIZE, NULL},
                                 {6, LH_PRESENT, 0, page6},
                                 {7, LH_ABSENT_NOT_CAPTURED, 0, NULL},
                                 {8, LH_PRESENT, 0, page8},
                                 {9, LH_PRESENT, 0, NULL}};
#define A 0xffffe00012345080ull
#define B 0xffffe00012345081ull
#define C 0x1122334455667788ull

static void literal(void)
{
    lh_source *source = NULL;
    const uint64_t a[] = {A};
    const uint64_t ab[] = {A, B};
    const uint64_t bac[] = {B, A, C, A};
    const lh_range around[] = {{A - 0x80, B}, {0, 0}, {B, B + 1}, {A, A + 2}};
    CHECK_EQ(lh_source_open_memory(in_file, sizeof in_file, &source, NULL), LH_OK);
    fake_pages f = fake_open(source, FOUR, 5, LH_ABSENT_NOT_CAPTURED);

    memset(in_file, 0x11, LHI_PAGE_SIZE);
    memset(in_file + LHI_PAGE_SIZE, 0x22, 2 * LHI_PAGE_SIZE);
    memset(page6, 0x33, sizeof page6);
    memset(page8, 0x44, sizeof page8);
    put(in_file + LHI_PAGE_SIZE, A);         /* first place of page 5 */
    put(in_file + LHI_PAGE_SIZE + 0x120, B); /* one bit off */
    put(page6 + 0xff8, A);                   /* last place of page 6 */
    put(page8 + 0x7fd, A);                   /* not aligned */
    put(in_file + 0xff8, C);                 /* page 9, the last page */
    put(in_file + 2 * LHI_PAGE_SIZE + 8, A); /* in the file, but of no page */

    const expected_row one[] = {{0x5000, A, 0}, {0x6ff8, A, 0}};
    check_rows(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1}, one, 2, false);
    const expected_row two[] = {{0x5000, A, 0}, {0x5120, B, 1}, {0x6ff8, A, 0}};
    check_rows(&f.pages, &(lhi_scan_options){.values = ab, .value_count = 2}, two, 3, false);
    const expected_row bytewise[] = {{0x5000, A, 0}, {0x6ff8, A, 0}, {0x87fd, A, 0}};
    check_rows(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1, .align = 1}, bytewise, 3, false);
    check_rows(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1, .align = 4}, bytewise, 2, false);
    /* A needle given twice has its row twice. */
    const expected_row twice[] = {{0x5000, A, 1}, {0x5000, A, 3}, {0x5120, B, 0},
                                  {0x6ff8, A, 1}, {0x6ff8, A, 3}, {0x9ff8, C, 2}};
    check_rows(&f.pages, &(lhi_scan_options){.values = bac, .value_count = 4}, twice, 6, false);
    /* With the low bit masked both are the same, and the value found is told. */
    const expected_row masked[] = {{0x5000, A, 0}, {0x5000, A, 1}, {0x5120, B, 0},
                                   {0x5120, B, 1}, {0x6ff8, A, 0}, {0x6ff8, A, 1}};
    check_rows(&f.pages, &(lhi_scan_options){.values = ab, .value_count = 2, .mask = ~1ull}, masked, 6,
               false);
    /* Ranges: the end is outside, an empty one matches nothing, they come after the values, no mask. */
    const expected_row ranged[] = {{0x5000, A, 0}, {0x5000, A, 1}, {0x5000, A, 4},
                                   {0x5120, B, 0}, {0x5120, B, 3}, {0x5120, B, 4},
                                   {0x6ff8, A, 0}, {0x6ff8, A, 1}, {0x6ff8, A, 4}};
    check_rows(
        &f.pages,
        &(lhi_scan_options){.values = a, .value_count = 1, .ranges = around, .range_count = 4, .mask = ~1ull},
        ranged, 9, false);
    check_rows(
        &f.pages,
        &(lhi_scan_options){
            .values = a, .value_count = 1, .ranges = around, .range_count = 4, .mask = ~1ull, .limit = 4},
        ranged, 4, true);
    check_rows(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1, .limit = 1}, one, 1, true);
    check_rows(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1, .limit = 2}, one, 2, false);
    check_rows(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1, .limit = UINT64_MAX}, one, 2,
               false);
    check_rows(&f.pages, &(lhi_scan_options){0}, NULL, 0, false);
    check_rows(&f.pages, &(lhi_scan_options){.ranges = around + 1, .range_count = 1}, NULL, 0, false);

    lhi_scan_result got = {0};
    lh_error err = {0};
    CHECK_EQ(lhi_scan(&f.pages, &(lhi_scan_options){.values = a, .value_count = 1}, &got, &err), LH_OK);
    CHECK_EQ(got.bytes, 4 * LHI_PAGE_SIZE);
    lhi_scan_result_free(&got);
    CHECK_EQ(lhi_scan(&f.pages, &(lhi_scan_options){.align = 3}, &got, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "align");
    const lh_range backward = {2, 1};
    CHECK_EQ(lhi_scan(&f.pages, &(lhi_scan_options){.ranges = &backward, .range_count = 1}, &got, &err),
             LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "ranges");
    lh_source_release(source);
}

/* A value that begins in one page and ends in the next physical one, wherever that lies. */
static void crossing(void)
{
    lh_source *source = NULL;
    const uint64_t c[] = {C};
    uint8_t bytes[8];
    put(bytes, C);
    CHECK_EQ(lh_source_open_memory(in_file, sizeof in_file, &source, NULL), LH_OK);
    fake_pages f = fake_open(source, FOUR, 5, LH_ABSENT_NOT_CAPTURED);
    for (unsigned first = 1; first < 8; first++) { /* so many bytes in the first page */
        memset(in_file, 0, sizeof in_file);
        memset(page6, 0, sizeof page6);
        memset(page8, 0, sizeof page8);
        memcpy(in_file + 2 * LHI_PAGE_SIZE - first, bytes, first); /* 5 -> 6: crosses */
        memcpy(page6, bytes + first, 8 - first);
        memcpy(page6 + LHI_PAGE_SIZE - first, bytes, first); /* 6 -> 8: page 7 is absent, so not a value */
        memcpy(page8, bytes + first, 8 - first);
        memcpy(page8 + LHI_PAGE_SIZE - first, bytes, first); /* 8 -> 9: crosses back into the file */
        memcpy(in_file, bytes + first, 8 - first);
        memcpy(in_file + LHI_PAGE_SIZE - first, bytes, first); /* 9 -> nothing, though the file goes on */
        memcpy(in_file + LHI_PAGE_SIZE, bytes + first, 8 - first);
        const expected_row rows[] = {{0x6000 - first, C, 0}, {0x9000 - first, C, 0}};
        for (uint32_t align = 1; align <= 8; align *= 2)
            check_rows(&f.pages, &(lhi_scan_options){.values = c, .value_count = 1, .align = align}, rows,
                       (8 - first) % align == 0 ? 2 : 0, false);
    }
    lh_source_release(source);
}

static void extremes(void)
{
    static uint8_t page[LHI_PAGE_SIZE];
    const fake_page only = {0, LH_PRESENT, 0, page};
    fake_pages f = fake_open(NULL, &only, 1, LH_ABSENT_NOT_CAPTURED);
    const uint64_t most[] = {UINT64_MAX};
    const lh_range all = {0, UINT64_MAX};
    const lh_range top = {UINT64_MAX - 1, UINT64_MAX};
    const uint64_t five[] = {1, UINT64_MAX, 1ull << 63, (1ull << 63) - 1, 3};
    memset(page, 0xff, sizeof page);
    put(page + 8, UINT64_MAX - 1);
    put(page + 0x800, 1ull << 63);
    put(page + 0x808, (1ull << 63) - 1);
    put(page + 0x810, 0);
    const expected_row inside[] = {
        {0x8, UINT64_MAX - 1, 0}, {0x800, 1ull << 63, 0}, {0x808, (1ull << 63) - 1, 0}, {0x810, 0, 0}};
    check_rows(&f.pages, &(lhi_scan_options){.ranges = &all, .range_count = 1}, inside, 4, false);
    check_rows(&f.pages, &(lhi_scan_options){.ranges = &top, .range_count = 1}, inside, 1, false);
    const expected_row highest[] = {{0, UINT64_MAX, 0}, {0x10, UINT64_MAX, 0}};
    check_rows(&f.pages, &(lhi_scan_options){.values = most, .value_count = 1, .limit = 2}, highest, 2, true);
    const expected_row mixed[] = {{0, UINT64_MAX, 1}, {0x10, UINT64_MAX, 1}};
    check_rows(&f.pages, &(lhi_scan_options){.values = five, .value_count = 5, .limit = 2}, mixed, 2, true);
    const expected_row middle[] = {{0x800, 1ull << 63, 1}, {0x808, (1ull << 63) - 1, 2}};
    const uint64_t inner[] = {1, 1ull << 63, (1ull << 63) - 1, 3, 5};
    check_rows(&f.pages, &(lhi_scan_options){.values = inner, .value_count = 5}, middle, 2, false);
}

/* -------------------------------------------------------------- brute force */

#define MANY_PAGES 96

typedef struct random_memory {
    uint8_t file[MANY_PAGES * LHI_PAGE_SIZE];
    uint8_t overlay[MANY_PAGES * LHI_PAGE_SIZE];
    fake_page page[MANY_PAGES];
    size_t count;
} random_memory;

static const uint8_t *bytes_of(const random_memory *m, uint64_t pfn)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->page[i].pfn == pfn && m->page[i].state == LH_PRESENT)
            return m->page[i].memory != NULL ? m->page[i].memory : m->file + m->page[i].offset;
    return NULL;
}

static uint64_t random_value(uint64_t *seed, unsigned kind)
{
    uint64_t r = fake_random(seed);
    if (kind == 0) /* few different bytes: chance hits at any place */
        return (r & 0x0101010101010101ull) * 0xff;
    if (kind == 1) /* pool pointers */
        return 0xffffe00000000000ull | (r & 0x3ff0);
    return r % 5 == 0 ? 0xfffff80000000000ull | (r >> 40) : r % 3;
}

static void make_memory(random_memory *m, uint64_t *seed, unsigned kind)
{
    uint64_t pfn = fake_random(seed) % 3;
    uint64_t offset = 0;
    m->count = 0;
    for (size_t i = 0; i < sizeof m->file; i += 8) {
        put(m->file + i, random_value(seed, kind));
        put(m->overlay + i, random_value(seed, kind));
    }
    while (m->count < MANY_PAGES) {
        uint64_t run = 1 + fake_random(seed) % 40;
        uint64_t choice = fake_random(seed) % 8;
        for (; run != 0 && m->count < MANY_PAGES; run--, m->count++) {
            fake_page *p = &m->page[m->count];
            *p = (fake_page){pfn++, LH_PRESENT, m->count * LHI_PAGE_SIZE, NULL};
            if (choice == 0)
                p->state = LH_ABSENT_CLIPPED;
            else if (choice == 1)
                p->memory = m->overlay + offset;
            offset += LHI_PAGE_SIZE;
        }
        if (fake_random(seed) % 3 == 0)
            pfn += fake_random(seed) % 4 == 0 ? fake_random(seed) % 3000 : fake_random(seed) % 3;
    }
}

static bool matches(const lhi_scan_options *o, size_t needle, uint64_t x)
{
    uint64_t mask = o->mask != 0 ? o->mask : UINT64_MAX;
    if (needle < o->value_count)
        return ((x ^ o->values[needle]) & mask) == 0;
    needle -= o->value_count;
    return o->ranges[needle].begin <= x && x < o->ranges[needle].end;
}

/* Rows of every place in turn, by comparison with every needle; at most `most`. */
static size_t brute_force(const random_memory *m, const lhi_scan_options *o, expected_row *rows, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        const uint8_t *here = bytes_of(m, m->page[i].pfn);
        const uint8_t *next = bytes_of(m, m->page[i].pfn + 1);
        for (size_t at = 0; here != NULL && at < LHI_PAGE_SIZE; at += o->align) {
            uint8_t bytes[8];
            if (at + 8 > LHI_PAGE_SIZE && next == NULL)
                break;
            for (size_t b = 0; b < 8; b++)
                bytes[b] = at + b < LHI_PAGE_SIZE ? here[at + b] : next[at + b - LHI_PAGE_SIZE];
            for (size_t needle = 0; needle < o->value_count + o->range_count; needle++)
                if (matches(o, needle, lhi_u64(bytes))) {
                    if (n == most)
                        return n;
                    rows[n++] =
                        (expected_row){m->page[i].pfn * LHI_PAGE_SIZE + at, lhi_u64(bytes), (uint32_t)needle};
                }
        }
    }
    return n;
}

static int read_memory(void *user, uint64_t offset, void *buffer, size_t size)
{
    memcpy(buffer, (const uint8_t *)user + offset, size);
    return 0;
}

#define MOST_ROWS 200000

static void against_brute_force(unsigned rounds)
{
    random_memory *m = calloc(1, sizeof *m);
    expected_row *rows = calloc(MOST_ROWS, sizeof *rows);
    uint64_t values[64];
    lh_range ranges[64];
    uint64_t seed = 20240607;
    unsigned with_rows = 0;
    if (m == NULL || rows == NULL)
        abort();
    for (unsigned round = 0; round < rounds; round++) {
        static const uint64_t masks[] = {0, 0, ~0xfull, 0x00ffffffffffff00ull, 0xff};
        static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 9, 64};
        unsigned kind = (unsigned)(fake_random(&seed) % 3);
        lh_source *source = NULL;
        lhi_scan_options o = {.values = values, .ranges = ranges};
        lh_source_callbacks callbacks = {sizeof callbacks, read_memory, NULL, m->file, sizeof m->file};
        make_memory(m, &seed, kind);
        if (round % 2 == 0)
            CHECK_EQ(lh_source_open_memory(m->file, sizeof m->file, &source, NULL), LH_OK);
        else
            CHECK_EQ(lh_source_open_callbacks(&callbacks, &source, NULL), LH_OK);
        fake_pages f = fake_open(source, m->page, m->count, LH_ABSENT_NOT_CAPTURED);
        o.value_count = sizes[fake_random(&seed) % 8];
        o.range_count = fake_random(&seed) % 2 == 0 ? 0 : sizes[fake_random(&seed) % 8];
        o.mask = masks[fake_random(&seed) % 5];
        o.align = 1u << fake_random(&seed) % 4;
        for (size_t i = 0; i < o.value_count; i++) /* some that are there, some that are not */
            values[i] = fake_random(&seed) % 2 == 0 ? random_value(&seed, kind)
                                                    : lhi_u64(m->file + fake_random(&seed) % 4000);
        for (size_t i = 0; i < o.range_count; i++) {
            static const uint64_t lengths[] = {0, 1, 16, 0x100, 0x5000, 1ull << 24, 1ull << 40};
            uint64_t begin = random_value(&seed, kind) - fake_random(&seed) % 64;
            uint64_t length = lengths[fake_random(&seed) % (i < 3 ? 7 : 5)];
            ranges[i] = (lh_range){begin, begin > UINT64_MAX - length ? UINT64_MAX : begin + length};
        }
        size_t all = brute_force(m, &o, rows, MOST_ROWS);
        with_rows += all != 0;
        if (all == MOST_ROWS) {
            o.limit = MOST_ROWS / 2;
            check_rows(&f.pages, &o, rows, MOST_ROWS / 2, true);
        } else {
            check_rows(&f.pages, &o, rows, all, false);
            if (all > 1) {
                o.limit = 1 + fake_random(&seed) % all;
                check_rows(&f.pages, &o, rows, (size_t)o.limit, o.limit < all);
            }
        }
        lh_source_release(source);
    }
    CHECK(with_rows > rounds / 2);
    free(m);
    free(rows);
}

/* Thousands of values and ranges, some of them there. */
static void many_needles(void)
{
    enum { VALUES = 5000, RANGES = 1500 };
    random_memory *m = calloc(1, sizeof *m);
    expected_row *rows = calloc(MOST_ROWS, sizeof *rows);
    uint64_t *values = calloc(VALUES, sizeof *values);
    lh_range *ranges = calloc(RANGES, sizeof *ranges);
    uint64_t seed = 99;
    if (m == NULL || rows == NULL || values == NULL || ranges == NULL)
        abort();
    make_memory(m, &seed, 2);
    m->count = 24; /* brute force is slow */
    for (size_t i = 0; i < sizeof m->file; i += 8)
        put(m->file + i, fake_random(&seed) % 10 == 0
                             ? 0xffffe00000000000ull | (fake_random(&seed) & 0xffffff0)
                             : fake_random(&seed));
    for (size_t i = 0; i < VALUES; i++)
        values[i] = i % 10 == 0 ? lhi_u64(m->file + 8 * (fake_random(&seed) % 12000))
                                : 0xffffe00000000000ull | (fake_random(&seed) & 0xffffff0);
    for (size_t i = 0; i < RANGES; i++) {
        uint64_t begin = 0xffffe00000000000ull | (fake_random(&seed) & 0xffffff0);
        ranges[i] = (lh_range){begin, begin + (fake_random(&seed) & 0xff)};
    }
    fake_pages f = fake_open(NULL, m->page, m->count, LH_ABSENT_NOT_CAPTURED);
    for (size_t i = 0; i < m->count; i++)
        if (m->page[i].memory == NULL)
            m->page[i].memory = m->file + m->page[i].offset;
    for (uint32_t align = 4; align <= 8; align *= 2) {
        lhi_scan_options o = {.values = values, .value_count = VALUES, .align = align};
        size_t n = brute_force(m, &o, rows, MOST_ROWS);
        CHECK(n > 100 && n < MOST_ROWS);
        check_rows(&f.pages, &o, rows, n, false);
        o.ranges = ranges;
        o.range_count = RANGES;
        n = brute_force(m, &o, rows, MOST_ROWS);
        CHECK(n > 100 && n < MOST_ROWS);
        check_rows(&f.pages, &o, rows, n, false);
    }
    free(m);
    free(rows);
    free(values);
    free(ranges);
}

/* --------------------------------------------------------- stops and faults */

#define SLOW_PAGES 4096u

/* A source that answers with zeros and does as told on the way. */
typedef struct slow_source {
    atomic_uint reads;
    unsigned act_at;
    lh_cancel *cancel;     /* set at that read */
    atomic_uint *wait_for; /* from that read on, waits until this is not 0 */
    double wait_until;     /* or for this time */
    int error;             /* or fails */
} slow_source;

static int read_slowly(void *user, uint64_t offset, void *buffer, size_t size)
{
    slow_source *s = user;
    unsigned number = atomic_fetch_add(&s->reads, 1) + 1;
    (void)offset;
    memset(buffer, 0, size);
    if (number < s->act_at)
        return 0;
    if (s->cancel != NULL)
        lh_cancel_set(s->cancel);
    while (s->wait_for != NULL && atomic_load(s->wait_for) == 0)
        sched_yield();
    while (s->wait_until != 0 && lhi_os_now() < s->wait_until)
        sched_yield();
    return s->error;
}

typedef struct watcher {
    atomic_uint calls;
    unsigned stop_at; /* 0: never */
    uint64_t last_done, total;
    bool backwards;
} watcher;

static _Thread_local bool on_calling_thread;

static bool watch(void *user, uint64_t done, uint64_t total)
{
    watcher *w = user;
    CHECK(on_calling_thread);
    w->backwards |= done < w->last_done || done > total;
    w->last_done = done;
    w->total = total;
    return atomic_fetch_add(&w->calls, 1) + 1 != w->stop_at;
}

static lh_status scan_slowly(slow_source *slow, lhi_scan_options options, uint32_t threads, lh_error *err)
{
    const uint64_t value = 77; /* the source has zeros only */
    static fake_page page[SLOW_PAGES];
    lh_source *source = NULL;
    lhi_scan_result got = {0};
    lh_source_callbacks callbacks = {sizeof callbacks, read_slowly, NULL, slow, SLOW_PAGES * LHI_PAGE_SIZE};
    lh_status status = LH_OK;
    for (uint64_t i = 0; i < SLOW_PAGES; i++)
        page[i] = (fake_page){i, LH_PRESENT, i * LHI_PAGE_SIZE, NULL};
    CHECK_EQ(lh_source_open_callbacks(&callbacks, &source, NULL), LH_OK);
    fake_pages f = fake_open(source, page, SLOW_PAGES, LH_ABSENT_NOT_CAPTURED);
    options.values = &value;
    options.value_count = 1;
    options.threads = threads;
    status = lhi_scan(&f.pages, &options, &got, err);
    if (status == LH_OK)
        CHECK_EQ(got.bytes, SLOW_PAGES * LHI_PAGE_SIZE);
    else
        CHECK(got.physical == NULL && got.kernel == NULL);
    lhi_scan_result_free(&got);
    lh_source_release(source);
    return status;
}

static void stops(void)
{
    const unsigned all_reads = SLOW_PAGES / 32;
    on_calling_thread = true;
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        lh_error err = {0};
        lh_cancel *cancel = NULL;
        CHECK_EQ(lh_cancel_create(&cancel, NULL), LH_OK);

        slow_source plain = {0};
        watcher seen = {0};
        CHECK_EQ(
            scan_slowly(&plain, (lhi_scan_options){.progress = watch, .progress_user = &seen}, threads, &err),
            LH_OK);
        CHECK_EQ(atomic_load(&plain.reads), all_reads);
        CHECK(atomic_load(&seen.calls) >= 1 && !seen.backwards);
        CHECK_EQ(seen.last_done, SLOW_PAGES * LHI_PAGE_SIZE);
        CHECK_EQ(seen.total, SLOW_PAGES * LHI_PAGE_SIZE);

        /* Cancelled from inside a read: each thread ends its chunk, no more. */
        slow_source cancelling = {.act_at = 5, .cancel = cancel};
        CHECK_EQ(scan_slowly(&cancelling, (lhi_scan_options){.cancel = cancel}, threads, &err),
                 LH_ERR_CANCELLED);
        CHECK_EQ(err.code, LH_ERR_CANCELLED);
        CHECK(atomic_load(&cancelling.reads) <= 5 + threads);
        /* Cancelled before: nothing is read. */
        slow_source untouched = {0};
        CHECK_EQ(scan_slowly(&untouched, (lhi_scan_options){.cancel = cancel}, threads, &err),
                 LH_ERR_CANCELLED);
        CHECK_EQ(atomic_load(&untouched.reads), 0);

        /* Progress is reported while the scan is under way, and can stop it. */
        watcher stopping = {.stop_at = 1};
        slow_source waiting = {.act_at = 5, .wait_until = lhi_os_now() + 0.06};
        if (threads > 1) { /* all reads stand still until the report */
            waiting.wait_until = 0;
            waiting.wait_for = &stopping.calls;
        }
        CHECK_EQ(scan_slowly(&waiting, (lhi_scan_options){.progress = watch, .progress_user = &stopping},
                             threads, &err),
                 LH_ERR_CANCELLED);
        CHECK_EQ(atomic_load(&stopping.calls), 1);
        CHECK(stopping.last_done < SLOW_PAGES * LHI_PAGE_SIZE);
        CHECK(atomic_load(&waiting.reads) < all_reads);

        /* The deadline: passed before, and on the way. */
        slow_source late = {0};
        CHECK_EQ(scan_slowly(&late, (lhi_scan_options){.deadline = lhi_os_now() - 1}, threads, &err),
                 LH_ERR_TIMEOUT);
        CHECK_EQ(atomic_load(&late.reads), 0);
        double deadline = lhi_os_now() + 0.02;
        slow_source slow = {.act_at = 3, .wait_until = deadline + 0.08};
        CHECK_EQ(scan_slowly(&slow, (lhi_scan_options){.deadline = deadline}, threads, &err), LH_ERR_TIMEOUT);
        CHECK(atomic_load(&slow.reads) < all_reads);

        slow_source broken = {.act_at = 7, .error = EIO};
        CHECK_EQ(scan_slowly(&broken, (lhi_scan_options){0}, threads, &err), LH_ERR_IO);
        CHECK_EQ(err.os_error, EIO);
        CHECK_HAS(err.message, "scan: ");
        CHECK_EQ(scan_slowly(&broken, (lhi_scan_options){0}, threads, NULL), LH_ERR_IO);
        lh_cancel_destroy(cancel);
    }
}

/* Dense hits: a limit stops reading, not only the answer, and threads don't show. */
typedef struct zeros {
    atomic_uint reads;
    unsigned together; /* reads wait until so many have begun */
} zeros;

static int read_zeros(void *user, uint64_t offset, void *buffer, size_t size)
{
    zeros *z = user;
    (void)offset;
    memset(buffer, 0, size);
    atomic_fetch_add(&z->reads, 1);
    while (atomic_load(&z->reads) < z->together)
        sched_yield();
    return 0;
}

static void limits(void)
{
    static fake_page page[SLOW_PAGES];
    const uint64_t value = 0;
    for (uint64_t i = 0; i < SLOW_PAGES; i++)
        page[i] = (fake_page){i, LH_PRESENT, i * LHI_PAGE_SIZE, NULL};
    for (uint32_t threads = 1; threads <= 3; threads++) {
        zeros z = {.together = threads};
        lh_source *source = NULL;
        lhi_scan_result got = {0};
        bool ascending = true;
        uint64_t before = 0;
        lh_source_callbacks callbacks = {sizeof callbacks, read_zeros, NULL, &z, SLOW_PAGES * LHI_PAGE_SIZE};
        lhi_scan_options o = {.values = &value, .value_count = 1, .threads = threads};
        CHECK_EQ(lh_source_open_callbacks(&callbacks, &source, NULL), LH_OK);
        fake_pages f = fake_open(source, page, SLOW_PAGES, LH_ABSENT_NOT_CAPTURED);
        o.limit = 600;
        before = lhi_alloc_count();
        CHECK_EQ(lhi_scan(&f.pages, &o, &got, NULL), LH_OK);
        /* The rows of a thread don't grow beyond the limit. */
        if (!CHECK(lhi_alloc_count() - before <= 12 + 14 * threads))
            fprintf(stderr, "    %llu\n", (unsigned long long)(lhi_alloc_count() - before));
        CHECK_EQ(got.count, 600);
        CHECK(got.truncated);
        CHECK_EQ(got.bytes, 1024 * LHI_PAGE_SIZE);
        CHECK(atomic_load(&z.reads) <= threads * 32); /* a task of each thread, not the whole source */
        lhi_scan_result_free(&got);

        /* Everything, with at least one block of rows from each thread. */
        o.limit = 0;
        atomic_store(&z.reads, 0);
        CHECK_EQ(lhi_scan(&f.pages, &o, &got, NULL), LH_OK);
        CHECK_EQ(got.count, SLOW_PAGES * 512);
        CHECK_EQ(got.bytes, SLOW_PAGES * LHI_PAGE_SIZE);
        for (size_t i = 0; i < got.count; i++)
            ascending &= got.physical[i] == i * 8;
        CHECK(ascending);
        lhi_scan_result_free(&got);
        lh_source_release(source);
    }
}

/* The kernels by themselves: any size and start, the same candidates, and always some progress. */
static void kernel_contract(void)
{
    uint8_t bytes[400];
    uint32_t out[2][LHI_SCAN_BATCH];
    uint64_t values[12];
    uint64_t seed = 5;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(fake_random(&seed) % 2 * 0xff);
    for (unsigned i = 0; i < 12; i++)
        values[i] = lhi_u64(bytes + 13 * i);
    for (size_t count = 1; count <= 12; count += 11) {
        lhi_plan plan = {0};
        lhi_scan_options o = {.values = values, .value_count = count};
        CHECK_EQ(lhi_plan_init(&plan, &o, NULL), LH_OK);
        for (size_t size = 0; size <= sizeof bytes; size++)
            for (uint32_t align = 1; align <= 8; align *= 2) {
                uint32_t begin = (uint32_t)(size % 40) / align * align;
                size_t n[2] = {0};
                for (size_t k = 0; k < kernel_count; k++) {
                    size_t at = begin;
                    while (at + 8 <= size) {
                        size_t before = at;
                        n[k] += kernels[k]->find(&plan, bytes, size, align, &at, out[k] + n[k]);
                        if (!CHECK(at > before && at % align == 0))
                            return;
                    }
                    for (size_t i = 0; i < n[k]; i++)
                        CHECK(out[k][i] >= begin && out[k][i] % align == 0 && out[k][i] + 8 <= size &&
                              (i == 0 || out[k][i] > out[k][i - 1]));
                }
                for (uint32_t p = begin; p + 8 <= size; p += align)
                    for (size_t k = 0; k < kernel_count; k++) {
                        bool listed = false;
                        for (size_t i = 0; i < n[k]; i++)
                            listed |= out[k][i] == p;
                        for (size_t v = 0; v < count; v++)
                            CHECK(listed || lhi_u64(bytes + p) != values[v]);
                    }
            }
        lhi_plan_free(&plan);
    }
}

/* Values with a mask and ranges, each in more places far apart than there are windows. */
static void many_places(void)
{
    static uint8_t page[LHI_PAGE_SIZE];
    static uint64_t values[16];
    static lh_range ranges[8];
    static expected_row rows[24];
    const fake_page only = {0, LH_PRESENT, 0, page};
    fake_pages f = fake_open(NULL, &only, 1, LH_ABSENT_NOT_CAPTURED);
    memset(page, 0xee, sizeof page);
    for (uint32_t i = 0; i < 16; i++) {
        values[i] = ((uint64_t)i << 60) + 0x1230;
        put(page + 0x10 * i, values[i] + 5); /* the low bits are masked */
        rows[i] = (expected_row){0x10 * i, values[i] + 5, i};
    }
    for (uint32_t i = 0; i < 8; i++) {
        ranges[i] = (lh_range){((uint64_t)i << 61) + 0x5000, ((uint64_t)i << 61) + 0x5008};
        put(page + 0x800 + 0x20 * i, ranges[i].end - 1);
        put(page + 0x810 + 0x20 * i, ranges[i].end);
        rows[16 + i] = (expected_row){0x800 + 0x20 * i, ranges[i].end - 1, 16 + i};
    }
    lhi_scan_options o = {.values = values, .value_count = 16, .ranges = ranges, .mask = ~0xfull};
    o.range_count = 8;
    check_rows(&f.pages, &o, rows, 24, false);
    o.align = 1;
    check_rows(&f.pages, &o, rows, 24, false);
}

/* Each allocation fails in turn: out of memory, or the right answer with fewer threads. */
static void allocation_faults(void)
{
    enum { PAGES = 3000 };
    static fake_page page[PAGES];
    static uint8_t bytes[LHI_PAGE_SIZE];
    uint64_t values[20] = {0};
    const lh_range ranges[] = {{0x1000, 0x1003}, {0x1002, 0x1004}, {0x2000, 1ull << 40}};
    lh_source *source = NULL;
    lh_source_callbacks callbacks = {sizeof callbacks, read_memory, NULL, bytes, LHI_PAGE_SIZE};
    for (uint64_t i = 0; i < PAGES; i++) /* the same bytes in each page */
        page[i] = (fake_page){i, LH_PRESENT, 0, NULL};
    for (uint64_t i = 0; i < 20; i++)
        values[i] = 0x1000 + i / 2;
    put(bytes + 0x100, 0x1002);
    CHECK_EQ(lh_source_open_callbacks(&callbacks, &source, NULL), LH_OK);
    fake_pages f = fake_open(source, page, PAGES, LH_ABSENT_NOT_CAPTURED);
    for (uint32_t threads = 1; threads <= 3; threads += 2)
        for (int persistent = 0; persistent <= 1; persistent++) {
            bool failed = true;
            unsigned failures = 0;
            for (uint64_t n = 1; failed && n < 2000; n++) {
                lhi_scan_result got = {0};
                lh_error err = {0};
                lhi_scan_options o = {.values = values, .value_count = 20, .ranges = ranges};
                uint64_t before = lhi_alloc_count();
                o.range_count = 3;
                o.threads = threads;
                o.limit = 100;
                lhi_alloc_fail_at(n, persistent);
                lh_status status = lhi_scan(&f.pages, &o, &got, &err);
                failed = lhi_alloc_count() - before >= n;
                lhi_alloc_fail_at(0, 0);
                if (status == LH_OK) {
                    CHECK_EQ(got.count, 100);
                    CHECK(got.truncated);
                    for (size_t i = 0; i < got.count; i++)
                        CHECK_EQ(got.physical[i], i / 4 * LHI_PAGE_SIZE + 0x100);
                } else {
                    failures++;
                    CHECK_EQ(status, LH_ERR_NO_MEMORY);
                    CHECK_EQ(err.code, LH_ERR_NO_MEMORY);
                    CHECK(got.physical == NULL);
                }
                lhi_scan_result_free(&got);
            }
            CHECK(!failed);
            CHECK(failures > 5);
        }
    lh_source_release(source);
}

int main(void)
{
    kernels[kernel_count++] = &lhi_scan_serial;
    if (lhi_scan_avx2() != NULL)
        kernels[kernel_count++] = lhi_scan_avx2();
    else
        printf("test_scan.c: no AVX2 here, only the serial kernel is tested\n");
    literal();
    crossing();
    extremes();
    against_brute_force(120);
    many_needles();
    kernel_contract();
    many_places();
    limits();
    stops();
    allocation_faults();
    return CHECK_END();
}
