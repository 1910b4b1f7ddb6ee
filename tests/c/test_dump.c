/* Tests of dump: full and bitmap dumps against their known frames, cut at every boundary, over every source.
 */
#define _DEFAULT_SOURCE /* mkstemp, P_tmpdir */
#include "base/alloc.h"
#include "dump_checks.h"
#include "source/os.h"

#include <errno.h>
#include <unistd.h>

static const made_run three_runs[] = {{1, 5}, {16, 3}, {100, 9}};
enum { THREE_END = 128 };

static void known_of_runs(uint8_t *known, uint64_t count, const made_run *runs, uint32_t run_count)
{
    memset(known, LH_ABSENT_NOT_RAM, count);
    for (uint32_t i = 0; i < run_count; i++)
        memset(known + runs[i].base, LH_PRESENT, runs[i].count);
}

static void header_facts(void)
{
    made_dump made = make_full(three_runs, 3);
    lh_error err = {0};
    lh_dump *dump = open_dump(made.data, made.size, &err);
    lh_dump_info info = info_of(dump);
    CHECK_EQ(info.format, LH_FORMAT_FULL);
    CHECK_EQ(info.machine, 0x8664);
    CHECK_EQ(info.build, 19041);
    CHECK_EQ(info.major, 15);
    CHECK_EQ(info.processors, 2);
    CHECK_EQ(info.bugcheck_code, 0x76);
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(info.parameters[i], i + 0xffffe00000000000u);
    CHECK_EQ(info.directory_table_base, 0x1aa000);
    CHECK_EQ(info.pfn_database, 0xffffb80000000000u);
    CHECK_EQ(info.loaded_module_list, 0xfffff8011a62a310u);
    CHECK_EQ(info.active_process_head, 0xfffff8011a61e1f0u);
    CHECK_EQ(info.debugger_data_block, 0xfffff8011a600b20u);
    CHECK_EQ(info.system_time, 0x01d9000000000000u);
    CHECK_EQ(info.system_uptime, 0x123456789u);
    CHECK_EQ(info.file_size, made.size);
    CHECK_EQ(info.pages_ram, 17);
    CHECK_EQ(lhi_dump_note_count(dump), 0);
    CHECK_TEXT(lhi_dump_note(dump, 0), "");
    CHECK(memcmp(lhi_dump_header_bytes(dump), made.data, MAKER_HEADER) == 0);
    CHECK_EQ(lhi_dump_header(dump)->build, 19041);
    CHECK(lhi_dump_is_ram(dump, 1) && lhi_dump_is_ram(dump, 108) && !lhi_dump_is_ram(dump, 0) &&
          !lhi_dump_is_ram(dump, 109));
    lh_dump_release(dump);

    /* What was never set is not a value. */
    static const uint32_t words[] = {0x8, 0xc, 0x34, 0x38};
    static const uint32_t quads[] = {0x10, 0x18, 0x20, 0x28, 0x40, 0x48, 0x50, 0x58, 0x80, 0xfa8, 0x1030};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        put32(made.data, words[i], 0x45474150);
    for (size_t i = 0; i < sizeof quads / sizeof quads[0]; i++)
        put64(made.data, quads[i], 0x4547415045474150u);
    put32(made.data, 0x1050, 0x45474150); /* would say encrypted, bit by bit */
    dump = open_dump(made.data, made.size, &err);
    info = info_of(dump);
    CHECK_EQ(info.build | info.major | info.processors | info.bugcheck_code, 0);
    CHECK_EQ(info.parameters[0] | info.parameters[3] | info.directory_table_base | info.pfn_database, 0);
    CHECK_EQ(info.loaded_module_list | info.active_process_head | info.debugger_data_block, 0);
    CHECK_EQ(info.system_time | info.system_uptime, 0);
    lh_dump_release(dump);
    put32(made.data, 0x1050, 4);
    dump = open_dump(made.data, made.size, &err);
    CHECK(has_note(dump, "no room"));
    lh_dump_release(dump);
    free(made.data);

    CHECK_TEXT(lh_format_name(LH_FORMAT_FULL), "full");
    CHECK_TEXT(lh_format_name(LH_FORMAT_KERNEL_BITMAP), "kernel-bitmap");
    CHECK_TEXT(lh_format_name(LH_FORMAT_FULL_BITMAP), "full-bitmap");
    CHECK_TEXT(lh_format_name((lh_format)99), "unknown");
}

static void full_dumps(void)
{
    uint8_t known[THREE_END];
    made_dump made = make_full(three_runs, 3);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    known_of_runs(known, THREE_END, three_runs, 3);
    check_frames(dump, known, NULL, THREE_END);
    lh_dump_release(dump);
    free(made.data);

    made_run many[42];
    for (uint32_t i = 0; i < 42; i++)
        many[i] = (made_run){i * 3, 1 + i % 3}; /* every third pair touches */
    uint8_t *wide = malloc(THREE_END);
    made = make_full(many, 42);
    dump = open_dump(made.data, made.size, NULL);
    known_of_runs(wide, THREE_END, many, 42);
    check_frames(dump, wide, NULL, THREE_END);
    lh_dump_release(dump);
    free(wide);
    free(made.data);
}

static void bitmap_dumps(void)
{
    static const uint64_t sizes[] = {1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1024, 2000, 5003};
    uint64_t random = 1;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int kind = 0; kind < 6; kind++) {
            uint64_t bits = sizes[s];
            bool *present = calloc(bits, sizeof *present);
            uint8_t *known = malloc(bits);
            bool state = false;
            for (uint64_t i = 0; i < bits; i++) {
                if (next_random(&random) % 40 == 0)
                    state = !state;
                present[i] = kind == 0   ? true
                             : kind == 1 ? false
                             : kind == 2 ? i % 2 == 1
                             : kind == 3 ? i == bits - 1
                             : kind == 4 ? next_random(&random) % 3 == 0
                                         : state;
                known[i] = present[i] ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED;
            }
            lh_error err = {0};
            made_dump made = make_bitmap(kind % 2 ? 5 : 6, present, bits);
            lh_dump *dump = open_dump(made.data, made.size, &err);
            if (CHECK(dump != NULL)) {
                lh_dump_info info = info_of(dump);
                check_frames(dump, known, NULL, bits);
                CHECK_EQ(info.format, kind % 2 ? LH_FORMAT_FULL_BITMAP : LH_FORMAT_KERNEL_BITMAP);
                CHECK_EQ(info.pages_ram, 0);
                CHECK(lhi_dump_is_ram(dump, 0) && lhi_dump_is_ram(dump, bits + 99));
                CHECK_EQ(lhi_dump_note_count(dump), 0);
            } else {
                fprintf(stderr, "    %s\n", err.message);
            }
            lh_dump_release(dump);
            free(made.data);
            free(known);
            free(present);
        }
}

/* With true runs in the header, a bitmap dump tells memory not captured from no memory. */
static void machine_runs(void)
{
    bool present[THREE_END] = {0};
    uint8_t known[THREE_END];
    present[2] = present[16] = present[18] = present[105] = true;
    known_of_runs(known, THREE_END, three_runs, 3);
    for (int i = 0; i < THREE_END; i++)
        if (known[i] == LH_PRESENT && !present[i])
            known[i] = LH_ABSENT_NOT_CAPTURED;
    made_dump made = make_bitmap(6, present, THREE_END);
    put_runs(made.data, three_runs, 3);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    check_frames(dump, known, NULL, THREE_END);
    CHECK_EQ(info_of(dump).pages_ram, 17);
    CHECK(lhi_dump_is_ram(dump, 3) && !lhi_dump_is_ram(dump, 0) && !lhi_dump_is_ram(dump, THREE_END));
    lh_dump_release(dump);

    /* Anything doubtful in them, and nothing is called no memory. */
    for (int kind = 0; kind < 8; kind++) {
        made_run runs[3] = {three_runs[0], three_runs[1], three_runs[2]};
        if (kind == 0)
            runs[1].base = 3; /* overlaps */
        else if (kind == 1)
            runs[2] = (made_run){0, 1}; /* not ascending; and pages are marked outside */
        else if (kind == 2)
            runs[2].count = UINT64_MAX - 50;
        put_runs(made.data, runs, 3);
        if (kind == 3)
            put64(made.data, 0x90, 18);
        else if (kind == 4)
            put32(made.data, 0x88, 0);
        else if (kind == 5)
            put32(made.data, 0x88, 0x45474150);
        else if (kind == 6)
            put64(made.data, 0x90, 0x4547415045474150u);
        else if (kind == 7)
            put_runs(made.data, runs, 2); /* frame 105 is marked, but outside */
        dump = open_dump(made.data, made.size, NULL);
        if (CHECK(dump != NULL)) {
            CHECK_EQ(info_of(dump).pages_ram, 0);
            for (int i = 0; i < THREE_END; i++)
                known[i] = present[i] ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED;
            check_frames(dump, known, NULL, THREE_END);
            CHECK(lhi_dump_is_ram(dump, 0));
            CHECK_EQ(has_note(dump, "outside"), kind == 7);
        }
        lh_dump_release(dump);
    }
    free(made.data);
}

static void cut_full(void)
{
    made_dump made = make_full(three_runs, 3);
    uint8_t known[THREE_END];
    static const struct {
        size_t size;
        const char *field;
    } missing[] = {{0, "Signature"},
                   {3, "Signature"},
                   {4, "ValidDump"},
                   {0x3b, "BugCheckCode"},
                   {0x5f, "BugCheckParameter"},
                   {0xf98, "DumpType"},
                   {0xf9b, "DumpType"}};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        lh_error err = {0};
        CHECK(!open_dump(made.data, missing[i].size, &err));
        CHECK_TEXT(err.field, missing[i].field);
    }
    for (size_t size = 0; size < MAKER_HEADER; size++) {
        lh_error err = {0};
        lh_dump *dump = open_dump(made.data, size, &err);
        CHECK(!dump && err.code == LH_ERR_FORMAT && err.field[0] && err.offset < MAKER_HEADER);
        lh_dump_release(dump);
    }
    for (size_t size = MAKER_HEADER; size < made.size; size += 512 + size % 3) {
        lh_dump *dump = open_dump(made.data, size, NULL);
        uint64_t stored = (size - MAKER_HEADER) / MAKER_PAGE;
        known_of_runs(known, THREE_END, three_runs, 3);
        for (size_t i = 0; i < THREE_END; i++)
            if (known[i] == LH_PRESENT && !(stored && stored--))
                known[i] = LH_ABSENT_CLIPPED;
        check_frames(dump, known, NULL, THREE_END);
        CHECK(has_note(dump, "lost"));
        CHECK_EQ(info_of(dump).pages_described, 17);
        CHECK_EQ(info_of(dump).pages_ram, 17);
        lh_dump_release(dump);
    }
    free(made.data);
}

static void cut_bitmap(void)
{
    enum { BITS = 600 };
    bool present[BITS] = {0};
    uint8_t known[BITS];
    uint64_t total = 0;
    for (int i = 0; i < BITS; i++)
        total += present[i] = i % 7 < 3 || i > 560;
    made_dump made = make_bitmap(6, present, BITS);
    size_t first = (size_t)get64(made.data + 0x2020);
    for (size_t size = 0; size < MAKER_BITMAP; size++) {
        lh_error err = {0};
        lh_dump *dump = open_dump(made.data, size, &err);
        CHECK(!dump && err.code == LH_ERR_FORMAT && err.field[0] && err.offset < MAKER_BITMAP);
        lh_dump_release(dump);
    }
    for (size_t size = MAKER_BITMAP; size < made.size; size += size < MAKER_BITMAP + BITS / 8 + 8 ? 1 : 997) {
        lh_dump *dump = open_dump(made.data, size, NULL);
        uint64_t readable = (size - MAKER_BITMAP) * 8;
        uint64_t stored = size > first ? (size - first) / MAKER_PAGE : 0;
        if (!CHECK(dump != NULL))
            continue;
        for (uint64_t i = 0; i < BITS; i++)
            known[i] = i >= readable          ? LH_ABSENT_CLIPPED
                       : !present[i]          ? LH_ABSENT_NOT_CAPTURED
                       : (stored && stored--) ? LH_PRESENT
                                              : LH_ABSENT_CLIPPED;
        if (readable >= BITS)
            check_frames(dump, known, NULL, BITS);
        for (uint64_t i = 0; i < BITS; i++) {
            lhi_run place = {0};
            CHECK_EQ(lhi_pages_find(lhi_dump_pages(dump), i, &place), known[i]);
        }
        CHECK_EQ(info_of(dump).pages_described, total);
        CHECK_EQ(info_of(dump).pages_present + info_of(dump).pages_clipped, total);
        CHECK(has_note(dump, "lost"));
        CHECK_EQ(has_note(dump, "inside the bitmap"), readable < BITS);
        lh_dump_release(dump);
    }
    free(made.data);
}

static void reads(void)
{
    made_dump made = make_full(three_runs, 3);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    uint8_t buffer[3 * MAKER_PAGE];
    size_t done = 0;
    lh_error err = {0};
    CHECK_EQ(lh_dump_read_physical(dump, 0x1ff8, buffer, 16, &done, &err), LH_OK); /* over a page's end */
    CHECK_EQ(get64(buffer), page_word(1, 511));
    CHECK_EQ(get64(buffer + 8), page_word(2, 0));
    CHECK_EQ(done, 16);
    memset(buffer, 0xaa, sizeof buffer);
    CHECK_EQ(lh_dump_read_physical(dump, 0x5010, buffer, 2 * MAKER_PAGE, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(done, MAKER_PAGE - 0x10);
    CHECK_EQ(err.address, 0x6000);
    CHECK_EQ(err.absence, LH_ABSENT_NOT_RAM);
    CHECK_EQ(get64(buffer), page_word(5, 2));
    CHECK_EQ(buffer[MAKER_PAGE - 0x10], 0xaa);
    CHECK_EQ(lh_dump_read_physical(dump, 0, buffer, 0, &done, &err), LH_OK);
    CHECK_EQ(lh_dump_read_physical(dump, 0, NULL, 0, NULL, &err), LH_OK);
    CHECK_EQ(lh_dump_read_physical(dump, UINT64_MAX, buffer, 1, &done, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "address");
    CHECK_EQ(lh_dump_read_physical(dump, UINT64_MAX - 8, buffer, 8, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(lh_dump_read_physical(dump, 0, NULL, 1, &done, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_read_physical(NULL, 0, buffer, 1, &done, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lhi_pages_read(lhi_dump_pages(dump), 0x1ff8, buffer, 16, &err), LH_ERR_INTERNAL);

    uint64_t pfn = 0;
    uint64_t count = 0;
    CHECK_EQ(lh_dump_next_run(NULL, &pfn, &count, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_next_run(dump, NULL, &count, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_next_run(dump, &pfn, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    lh_source *source = NULL;
    lh_dump *other = NULL;
    CHECK_EQ(lh_dump_open(NULL, &other, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_source_open_memory(made.data, made.size, &source, &err), LH_OK);
    CHECK_EQ(lh_dump_open(source, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_open_file(NULL, &other, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_open_file("/nonexistent", NULL, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_open_file("/nonexistent", &other, &err), LH_ERR_IO);
    CHECK(other == NULL);
    lh_source_release(source);

    /* Older and newer callers' structs. */
    union {
        lh_dump_info info;
        uint8_t bytes[sizeof(lh_dump_info) + 64];
    } out;
    static const size_t sizes[] = {offsetof(lh_dump_info, build), offsetof(lh_dump_info, pages_ram),
                                   sizeof(lh_dump_info), sizeof(lh_dump_info) + 40};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(&out, 0xaa, sizeof out);
        out.info.struct_size = sizes[i];
        CHECK_EQ(lh_dump_get_info(dump, &out.info, &err), LH_OK);
        CHECK_EQ(out.info.struct_size, sizes[i]);
        CHECK_EQ(out.info.machine, 0x8664);
        CHECK_EQ(out.bytes[sizes[i]], 0xaa);
        CHECK_EQ(out.info.pages_ram, sizes[i] < sizeof(lh_dump_info) ? 0xaaaaaaaaaaaaaaaau : 17);
        if (sizes[i] > sizeof(lh_dump_info))
            CHECK_EQ(out.bytes[sizes[i] - 1], 0);
    }
    static const size_t refused[] = {0, 8, offsetof(lh_dump_info, build) - 1, 5000, SIZE_MAX};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        out.info.struct_size = refused[i];
        CHECK_EQ(lh_dump_get_info(dump, &out.info, &err), LH_ERR_INVALID_ARGUMENT);
        CHECK_TEXT(err.field, "struct_size");
    }
    CHECK_EQ(lh_dump_get_info(NULL, &out.info, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_get_info(dump, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    lh_dump_release(dump);
    lh_dump_release(NULL);
    free(made.data);
}

typedef struct reader {
    const made_dump *made;
    uint64_t reads;
    uint64_t fails_at; /* number of the read that fails; 0: none */
    int destroyed;
} reader;

static int read_made(void *user, uint64_t offset, void *buffer, size_t size)
{
    reader *state = user;
    if (++state->reads == state->fails_at)
        return ENXIO;
    memcpy(buffer, state->made->data + offset, size);
    return 0;
}

static void destroy_reader(void *user)
{
    ((reader *)user)->destroyed++;
}

/* Callbacks instead of memory: the same answers without views, and each read may fail. */
static void other_sources(void)
{
    bool present[300] = {0};
    uint8_t known[300];
    for (int i = 0; i < 300; i++)
        known[i] = (present[i] = i % 5 != 0) ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED;
    made_dump made = make_bitmap(5, present, 300);
    lh_error err = {0};
    lh_status status = LH_ERR_IO;
    for (uint64_t n = 1; status == LH_ERR_IO; n++) {
        reader state = {.made = &made, .fails_at = n};
        lh_source_callbacks calls = {sizeof calls, read_made, destroy_reader, &state, made.size};
        lh_source *source = NULL;
        lh_dump *dump = NULL;
        err = (lh_error){0};
        CHECK_EQ(lh_source_open_callbacks(&calls, &source, &err), LH_OK);
        status = lh_dump_open(source, &dump, &err);
        lh_source_release(source); /* the dump keeps it */
        CHECK_EQ(status, n <= 3 ? LH_ERR_IO : LH_OK);
        CHECK_EQ(state.destroyed, status != LH_OK);
        if (status != LH_OK) {
            CHECK_EQ(err.os_error, ENXIO);
            CHECK(dump == NULL);
            continue;
        }
        uint8_t buffer[16];
        size_t done = 0;
        CHECK_EQ(lh_dump_read_physical(dump, 0x2ff8, buffer, 16, &done, &err), LH_ERR_IO);
        CHECK_EQ(done, 0);
        CHECK_EQ(err.os_error, ENXIO);
        CHECK_EQ(err.address, 0x2ff8);
        check_frames(dump, known, NULL, 300);
        lh_dump_release(dump);
        CHECK_EQ(state.destroyed, 1);
    }

    char path[4096];
    const char *directory = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/lockhound-dump-XXXXXX", directory ? directory : P_tmpdir);
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, made.data, made.size) == (ssize_t)made.size && close(file) == 0);
    for (uint32_t flags = 0; flags <= LH_SOURCE_POSITIONED; flags++) {
        lh_source *source = NULL;
        lh_dump *dump = NULL;
        CHECK_EQ(lh_source_open_file(path, flags, &source, &err), LH_OK);
        CHECK_EQ(lh_dump_open(source, &dump, &err), LH_OK);
        lh_source_release(source);
        CHECK_TEXT(lhi_dump_name(dump), path);
        check_frames(dump, known, NULL, 300);
        lh_dump_release(dump);
    }
    status = LH_ERR_NO_MEMORY; /* every allocation of the longest way fails once */
    uint64_t allocations = 0;
    while (status == LH_ERR_NO_MEMORY) {
        lh_dump *dump = NULL;
        err = (lh_error){0};
        lhi_alloc_fail_at(++allocations, 0);
        status = lh_dump_open_file(path, &dump, &err);
        lhi_alloc_fail_at(0, 0);
        CHECK_EQ(err.code, status);
        CHECK((dump != NULL) == (status == LH_OK));
        lh_dump_release(dump);
    }
    CHECK_EQ(status, LH_OK);
    CHECK(allocations > 5);
    CHECK_EQ(truncate(path, 100), 0);
    lh_dump *dump = NULL;
    CHECK_EQ(lh_dump_open_file(path, &dump, &err), LH_ERR_FORMAT);
    CHECK_EQ(strncmp(err.message, path, strlen(path)), 0); /* says which file */
    unlink(path);

    /* Without views the bitmap is copied: one allocation more. */
    status = LH_ERR_NO_MEMORY;
    for (allocations = 0; status == LH_ERR_NO_MEMORY;) {
        reader state = {.made = &made};
        lh_source_callbacks calls = {sizeof calls, read_made, destroy_reader, &state, made.size};
        lh_source *source = NULL;
        CHECK_EQ(lh_source_open_callbacks(&calls, &source, &err), LH_OK);
        lhi_alloc_fail_at(++allocations, 0);
        status = lh_dump_open(source, &dump, &err);
        lhi_alloc_fail_at(0, 0);
        lh_source_release(source);
        lh_dump_release(status == LH_OK ? dump : NULL);
        CHECK_EQ(state.destroyed, 1);
    }
    CHECK_EQ(status, LH_OK);
    CHECK(allocations > 4);
    free(made.data);
}

/* One dump, many threads: the sanitizer for threads looks on. */
typedef struct worker {
    lh_dump *dump;
    uint64_t right;
} worker;

static void read_all(void *argument)
{
    worker *self = argument;
    uint8_t page[MAKER_PAGE];
    uint64_t pfn = 0;
    uint64_t count = 0;
    while (lh_dump_next_run(self->dump, &pfn, &count, NULL) == LH_OK && count)
        for (uint64_t i = 0; i < count; i++, pfn++)
            if (lh_dump_read_physical(self->dump, pfn * MAKER_PAGE, page, sizeof page, NULL, NULL) == LH_OK)
                self->right += is_page(page, pfn);
    lh_dump_release(self->dump);
}

static void threads(void)
{
    enum { THREADS = 4 };
    made_dump made = make_full(three_runs, 3);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    lhi_thread *started[THREADS] = {0};
    worker workers[THREADS] = {{0}};
    for (int i = 0; i < THREADS; i++) {
        workers[i].dump = lhi_dump_retain(dump);
        CHECK_EQ(lhi_thread_start(&started[i], read_all, &workers[i]), 0);
    }
    lh_dump_release(dump); /* the last thread frees it */
    for (int i = 0; i < THREADS; i++) {
        lhi_thread_join(started[i]);
        CHECK_EQ(workers[i].right, 17);
    }
    free(made.data);
}

int main(void)
{
    header_facts();
    full_dumps();
    bitmap_dumps();
    machine_runs();
    cut_full();
    cut_bitmap();
    reads();
    other_sources();
    threads();
    return CHECK_END();
}
