/* Tests of opening triage dumps: parts at their places, damage by hand, every allocation failing, a failing
 * medium. */
#include "base/alloc.h"
#include "check.h"
#include "dump/triage.h"
#include "dump_checks.h"
#include "dump_maker.h"
#include "lockhound.h"

#include <errno.h>

#define K       0xffffe00000000000ull
#define PROCESS (K + 0x40080)
#define THREAD  (K + 0x50080)
#define KDBG    0xfffff80000001000ull
#define STACK   0xffffa00000002000ull
#define MODULE  0xfffff80010000000ull
#define SIZE    0x6000u

/* Where the parts lie in the file. */
enum {
    UNLOADED = 0x2100,
    PRCB = 0x2200,
    PROC = 0x2300,
    THR = 0x2600,
    CALLS = 0x2900,
    DRIVERS = 0x2a00,
    POOL = 0x2c00,
    DATA = 0x2e00,
    TABLE = 0x3200,
    BYTES = 0x3400,
    MARK = SIZE - 4
};

static uint8_t made[SIZE];

static void make(void)
{
    memset(made, 0, sizeof made);
    for (size_t i = 0; i < MAKER_HEADER; i += 4)
        memcpy(made + i, "PAGE", 4);
    memcpy(made + 4, "DU64", 4);
    put32(made, 0xc, 19041);
    put32(made, 0x30, 0x8664);
    put32(made, 0x34, 2);
    put32(made, 0x38, 0x76);
    put64(made, 0x40, 0);
    put64(made, 0x48, PROCESS);
    put64(made, 0x50, 3);
    put64(made, 0x58, 0);
    put64(made, 0x80, KDBG);
    put32(made, 0xf98, 4);
    const uint32_t words[][2] = {{0x04, SIZE},    {0x08, MARK},  {0x18, UNLOADED}, {0x1c, PRCB},
                                 {0x20, PROC},    {0x24, THR},   {0x28, CALLS},    {0x2c, 0x80},
                                 {0x30, DRIVERS}, {0x34, 2},     {0x38, POOL},     {0x3c, 0x80},
                                 {0x70, DATA},    {0x74, 0x380}, {0x78, TABLE},    {0x7c, 3}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        put32(made, 0x2000 + words[i][0], words[i][1]);
    put64(made, 0x2048, STACK);
    memcpy(made + MARK, "TRGD", 4);
    put64(made, PRCB + 8, THREAD);
    made[PROC] = 3;
    put64(made, PROC + 0x18, PROCESS + 0x18);
    put64(made, PROC + 0x20, PROCESS + 0x18);
    made[THR] = 6;
    put64(made, THR + 0xb8, PROCESS);
    memcpy(made + DATA + 0x10, "KDBG", 4);
    put32(made, DATA + 0x14, 0x380);
    made[DATA + 0x2a0] = 0xb8;
    put32(made, DATA + 0x2a8, 0x300);
    made[DATA + 0x2b4] = 8;
    put32(made, DATA + 0x2c0, 0x300);
    for (unsigned i = 0; i < 2; i++) {
        size_t row = DRIVERS + i * LHI_TRIAGE_DRIVER_SIZE;
        put32(made, row, POOL + i * 0x20);
        put64(made, row + 0x38, MODULE + i * 0x100000);
        put32(made, row + 0x48, 0x5000);
        put32(made, row + 0x88, 77 + i);
        put32(made, POOL + i * 0x20, 5);
        for (unsigned k = 0; k < 5; k++)
            made[POOL + i * 0x20 + 4 + 2 * k] = (uint8_t)((i ? "B.SYS" : "a.sys")[k]);
    }
    const uint64_t blocks[][3] = {
        {K + 0x100, BYTES, 0x40}, {K + 0x140, BYTES + 0x100, 8}, {0x7000, BYTES, 16}};
    for (unsigned i = 0; i < 3; i++) {
        put64(made, TABLE + i * 16, blocks[i][0]);
        put32(made, TABLE + i * 16 + 8, (uint32_t)blocks[i][1]);
        put32(made, TABLE + i * 16 + 12, (uint32_t)blocks[i][2]);
    }
    for (size_t i = BYTES; i < MARK; i++)
        made[i] = (uint8_t)(i * 7 + 1);
}

static lh_status open_with(size_t size, lh_dump **dump, lh_error *err)
{
    lh_source *source = NULL;
    lh_status status = lh_source_open_memory(made, size, &source, err);
    if (status == LH_OK)
        status = lh_dump_open(source, dump, err);
    lh_source_release(source);
    return status;
}

static void parts(void)
{
    lh_dump *dump = NULL;
    lh_kernel *kernel = NULL;
    lh_dump_info info = {.struct_size = sizeof info};
    lh_module module = {.struct_size = sizeof module};
    uint8_t bytes[0x48] = {0};
    uint64_t pfn = 0, count = 1;
    make();
    if (!CHECK_EQ(open_with(SIZE, &dump, NULL), LH_OK))
        return;
    CHECK_EQ(lhi_dump_note_count(dump), 0);
    CHECK_EQ(lh_dump_get_info(dump, &info, NULL), LH_OK);
    CHECK_EQ(info.format, LH_FORMAT_TRIAGE);
    CHECK_TEXT(lh_format_name(info.format), "triage");
    CHECK_EQ(info.pages_present, 0);
    CHECK_EQ(info.blocks,
             7); /* three of the table, the copies of process, thread and debugger data, the stack */
    CHECK_EQ(info.block_bytes, 0x58 + 0x300 + 0x300 + 0x380 + 0x80);
    CHECK_EQ(lh_dump_next_run(dump, &pfn, &count, NULL), LH_OK);
    CHECK_EQ(count, 0);
    const lhi_triage *triage = lhi_dump_triage(dump);
    CHECK_EQ(triage->process, PROCESS);
    CHECK_EQ(triage->thread, THREAD);
    CHECK_EQ(triage->top_of_stack, STACK);
    CHECK_EQ(lh_kernel_open(dump, &kernel, NULL), LH_OK);
    CHECK_EQ(lh_kernel_read(kernel, K + 0x100, bytes, 0x48, NULL, NULL), LH_OK);
    CHECK(memcmp(bytes, made + BYTES, 0x40) == 0 && memcmp(bytes + 0x40, made + BYTES + 0x100, 8) == 0);
    CHECK_EQ(lh_kernel_module_count(kernel), 2);
    CHECK_EQ(lh_kernel_get_module(kernel, 1, &module, NULL), LH_OK);
    CHECK_EQ(module.base, MODULE + 0x100000);
    CHECK_EQ(module.timestamp, 78);
    CHECK_TEXT(module.name, "b.sys");
    lh_kernel_release(kernel);
    /* An overlay has the same pieces. */
    lh_dump *over = NULL;
    CHECK_EQ(lh_dump_without_pages(dump, &pfn, 1, &over, NULL), LH_OK);
    lh_dump_release(dump);
    CHECK(lhi_dump_blocks(over) != NULL);
    CHECK_EQ(lh_kernel_open(over, &kernel, NULL), LH_OK);
    CHECK_EQ(lh_kernel_read(kernel, PROCESS, bytes, 1, NULL, NULL), LH_OK);
    CHECK_EQ(bytes[0], 3);
    lh_kernel_release(kernel);
    lh_dump_release(over);
}

static const lhi_triage *opened(lh_dump **dump)
{
    *dump = NULL;
    return CHECK_EQ(open_with(SIZE, dump, NULL), LH_OK) ? lhi_dump_triage(*dump) : NULL;
}

/* Copies are believed as far as they prove where they lay. */
static void addresses_of_copies(void)
{
    lh_dump *dump = NULL;
    const lhi_triage *triage = NULL;
    make();
    put64(made, PROC + 0x18, PROCESS + 0x1018); /* the two witnesses disagree */
    put64(made, PROC + 0x20, PROCESS + 0x1018);
    triage = opened(&dump);
    CHECK_EQ(triage->process, 0);
    CHECK_EQ(triage->thread, THREAD);
    CHECK_EQ(lhi_dump_note_count(dump), 1);
    lh_dump_release(dump);
    make();
    put64(made, PROC + 0x20, 0); /* the list is none: the thread's word alone */
    triage = opened(&dump);
    CHECK_EQ(triage->process, PROCESS);
    lh_dump_release(dump);
    make();
    memset(made + DATA + 0x10, 0, 4); /* no debugger data: no offsets in thread and processor block */
    triage = opened(&dump);
    CHECK_EQ(triage->thread, 0);
    CHECK_EQ(triage->process, PROCESS);
    lh_dump_release(dump);
    make();
    made[PROC] = 6; /* no process */
    triage = opened(&dump);
    CHECK_EQ(triage->process, 0);
    lh_dump_release(dump);
    make();
    made[THR] = 3;
    triage = opened(&dump);
    CHECK_EQ(triage->thread, 0);
    CHECK_EQ(triage->process, PROCESS);
    lh_dump_release(dump);
    make();
    put64(made, PRCB + 8, 0x7000); /* no kernel address */
    triage = opened(&dump);
    CHECK_EQ(triage->thread, 0);
    lh_dump_release(dump);
}

static void damage(void)
{
    lh_dump *dump = NULL;
    const lhi_triage *triage = NULL;
    lh_error err = {0};
    make();
    CHECK_EQ(open_with(0x207f, &dump, &err), LH_ERR_FORMAT);
    CHECK_TEXT(err.field, "TriageHeader");
    CHECK_EQ(err.offset, 0x2000);
    CHECK_EQ(open_with(0x2080, &dump, &err), LH_OK);
    CHECK(lhi_dump_note_count(dump) >= 2);
    lh_dump_release(dump);
    put64(made, TABLE, UINT64_MAX - 0x10);      /* would wrap */
    put64(made, TABLE + 16, 0x900000000000ull); /* no address */
    put32(made, TABLE + 32 + 12, 0);            /* no size */
    triage = opened(&dump);
    CHECK_EQ(triage->blocks.count, 4);
    CHECK_EQ(lhi_dump_note_count(dump), 1);
    CHECK_HAS(lhi_dump_note(dump, 0), "3 of 3 data blocks are left out");
    lh_dump_release(dump);
    make();
    put32(made, 0x207c, 0xffffffff); /* more blocks than the file has room for */
    triage = opened(&dump);
    CHECK(triage->blocks.bytes < 4 * SIZE);
    CHECK_HAS(lhi_dump_note(dump, lhi_dump_note_count(dump) - 1), "DataBlocks");
    lh_dump_release(dump);
    make();
    put32(made, 0x2034, 0xffffffff);
    put64(made, UNLOADED, UINT64_MAX);
    triage = opened(&dump);
    CHECK(triage->drivers.size <= SIZE && triage->unloaded.size <= SIZE);
    CHECK_HAS(lhi_dump_note(dump, lhi_dump_note_count(dump) - 1), "DriverList, UnloadedDrivers");
    lh_dump_release(dump);
    make();
    put32(made, MARK, 0);
    opened(&dump);
    CHECK_HAS(lhi_dump_note(dump, 0), "TRGD");
    lh_dump_release(dump);
    make();
    put32(made, 0x30, 0xaa64);
    opened(&dump);
    lh_dump_release(dump);
}

static int fail_far(void *user, uint64_t offset, void *buffer, size_t size)
{
    if (offset + size > *(uint64_t *)user)
        return EIO;
    memcpy(buffer, made + offset, size);
    return 0;
}

/* A medium that fails is not taken for a dump that lacks something. */
static void failing_medium(void)
{
    make();
    for (uint64_t end = 0x2000; end < MARK; end += 0x80) {
        lh_source *source = NULL;
        lh_dump *dump = NULL;
        lh_error err = {0};
        const lh_source_callbacks callbacks = {
            .struct_size = sizeof callbacks, .read = fail_far, .user = &end, .size = SIZE};
        CHECK_EQ(lh_source_open_callbacks(&callbacks, &source, NULL), LH_OK);
        CHECK_EQ(lh_dump_open(source, &dump, &err), LH_ERR_IO);
        lh_source_release(source);
    }
}

/* Whatever stands in the fields: an answer or a typed error, inside the buffer and within bounds. */
static void any_bytes(void)
{
    static const uint32_t values[] = {0,          1,          7,          0x2000,    0x2080,
                                      0x2081,     SIZE - 1,   SIZE,       SIZE + 1,  0x7fffffff,
                                      0x80000000, 0xfffffff8, 0xffffffff, 0x45474150};
    uint64_t random = 77;
    uint64_t answers = 0;
    for (int round = 0; round < 3000; round++) {
        make();
        size_t size = next_random(&random) % 8 ? SIZE : 0x2000 + next_random(&random) % (SIZE - 0x2000);
        uint32_t changes = 1 + next_random(&random) % 5;
        for (uint32_t i = 0; i < changes; i++) {
            uint32_t at = 0;
            uint32_t value = values[next_random(&random) % (sizeof values / sizeof values[0])];
            switch (next_random(&random) % 4) {
            case 0:
                put32(made, 0x2000 + next_random(&random) % 0x20 * 4, value);
                break;
            case 1:
                put32(made, 0x2000 + next_random(&random) % 0x20 * 4, next_random(&random) % (SIZE * 2));
                break;
            case 2:
                put32(made, UNLOADED + next_random(&random) % (BYTES - UNLOADED - 4), value);
                break;
            default:
                at = next_random(&random) % 2 ? 0x80 : 0x2000;
                at += next_random(&random) % (at == 0x80 ? 8 : SIZE - 0x2000);
                made[at] ^= (uint8_t)(1u << next_random(&random) % 8);
            }
        }
        uint8_t *exact = malloc(size); /* of its own size, so that a sanitizer sees a byte too many */
        lh_source *source = NULL;
        lh_dump *dump = NULL;
        lh_kernel *kernel = NULL;
        lh_case *lhcase = NULL;
        char *text = NULL;
        memcpy(exact, made, size);
        CHECK_EQ(lh_source_open_memory(exact, size, &source, NULL), LH_OK);
        lh_status status = lh_dump_open(source, &dump, NULL);
        CHECK(status == LH_OK || (status == LH_ERR_FORMAT && size < 0x2080));
        if (status == LH_OK) {
            lh_dump_info info = {.struct_size = sizeof info};
            CHECK_EQ(lh_dump_get_info(dump, &info, NULL), LH_OK);
            CHECK(info.block_bytes + info.block_bytes_clipped <= 6u * UINT32_MAX &&
                  info.block_bytes <= 6 * size);
            CHECK_EQ(lh_kernel_open(dump, &kernel, NULL), LH_OK);
            CHECK_EQ(lh_kernel_info_text(kernel, NULL, 0, &text, NULL, NULL), LH_OK);
            CHECK_EQ(lh_investigate(kernel, NULL, &lhcase, NULL), LH_OK);
            CHECK(lh_case_kind(lhcase) == LH_VERDICT_INSUFFICIENT);
            answers++;
        }
        lh_case_release(lhcase);
        lh_string_free(text);
        lh_kernel_release(kernel);
        lh_dump_release(dump);
        lh_source_release(source);
        free(exact);
    }
    CHECK(answers > 2500);
}

#ifdef LHI_TEST_HOOKS
static void without_memory(void)
{
    make();
    for (uint64_t n = 1; n < 500; n++) {
        lh_dump *dump = NULL;
        lh_kernel *kernel = NULL;
        char *text = NULL;
        lhi_alloc_fail_at(n, 0);
        lh_status status = open_with(SIZE, &dump, NULL);
        if (status == LH_OK)
            status = lh_kernel_open(dump, &kernel, NULL);
        if (status == LH_OK)
            status = lh_kernel_info_text(kernel, "a", 0, &text, NULL, NULL);
        lhi_alloc_fail_at(0, 0);
        CHECK(status == LH_OK || status == LH_ERR_NO_MEMORY);
        if (text)
            CHECK_HAS(text, "triage dump, x64, build 19041");
        lh_string_free(text);
        lh_kernel_release(kernel);
        lh_dump_release(dump);
        if (status == LH_OK)
            return;
    }
    CHECK_TEXT("it never came through", NULL);
}
#endif

int main(void)
{
    parts();
    addresses_of_copies();
    damage();
    failing_medium();
    any_bytes();
#ifdef LHI_TEST_HOOKS
    without_memory();
#endif
    return CHECK_END();
}
