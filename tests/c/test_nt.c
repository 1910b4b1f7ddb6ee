/* The kernel handle: which build, reads and walks, processes, threads, processors, search, bug check texts.
 */
#include "base/alloc.h"
#include "made_machine.h"
#include "nt/process.h"

#include <math.h>

static lh_status get(const lh_kernel *kernel, uint64_t address, lh_process *out, lh_error *err)
{
    memset(out, 0, sizeof *out);
    memset(err, 0, sizeof *err);
    out->struct_size = sizeof *out;
    return lh_kernel_get_process(kernel, address, out, err);
}

static void test_process(void)
{
    world w = machine_make();
    lh_kernel *k = machine_kernel(world_open(&w));
    lh_process p;
    lh_error err;
    CHECK_EQ(get(k, PROCESS(1), &p, &err), LH_OK);
    CHECK_TEXT(p.name, "capture.exe");
    CHECK_EQ(p.address, PROCESS(1));
    CHECK_EQ(p.pid, 4264);
    CHECK_EQ(p.locked_pages, 37);
    CHECK_EQ(p.directory_table_base, (WORLD_FIRST + 7) << 12);
    CHECK_EQ(p.flags, 0x144d000c);
    CHECK_EQ(p.exit_time, 0x01d7000000000000ull);
    CHECK(p.name_known && p.pid_known && p.locked_pages_known && p.directory_table_base_known &&
          p.flags_known && p.exit_time_known);
    CHECK_EQ(p.absence, LH_PRESENT);
    CHECK_EQ(get(k, 0x7ff000000000ull, &p, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "address");
    CHECK_EQ(get(k, PROCESS(1) + 4, &p, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(get(k, UINT64_MAX - 7, &p, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(get(k, PROCESS(5), &p, &err), LH_ERR_ABSENT);
    CHECK_EQ(err.absence, LH_ABSENT_NOT_MAPPED);
    CHECK_EQ(err.address, PROCESS(5));
    /* What is there is something else: a thread, a hole of zeros. */
    CHECK_EQ(get(k, THREAD(0), &p, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_HAS(err.message, "dispatcher type is 6");
    CHECK_EQ(get(k, STACK(3), &p, &err), LH_ERR_ABSENT);
    lh_kernel_release(k);
    world_free(&w);
}

static void test_not_a_process(void)
{
    /* Values in place of DirectoryTableBase, and whether they can be one. */
    static const struct {
        uint64_t dtb;
        lh_status status;
    } rows[] = {
        {(WORLD_FIRST + 7) << 12, LH_OK},
        {(WORLD_FIRST + 7) << 12 | 2, LH_OK}, /* with a process-context identifier */
        {(WORLD_FIRST + 7) << 12 | 0x800, LH_ERR_INVALID_ARGUMENT},
        {0, LH_ERR_INVALID_ARGUMENT},
        {2, LH_ERR_INVALID_ARGUMENT},
        {(WORLD_FIRST - 1) << 12, LH_ERR_INVALID_ARGUMENT}, /* not RAM of this machine */
        {0x00f0000000000000ull | WORLD_DTB, LH_ERR_INVALID_ARGUMENT},
        {0xffffe00000001000ull, LH_ERR_INVALID_ARGUMENT},
    };
    world w = machine_make();
    lh_process p;
    lh_error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world_u64(&w, PROCESS(1) + EP_DTB, rows[i].dtb);
        lh_kernel *k = machine_kernel(world_open(&w));
        CHECK_EQ(get(k, PROCESS(1), &p, &err), rows[i].status);
        if (rows[i].status != LH_OK) {
            CHECK_HAS(err.message, "DirectoryTableBase");
            CHECK_EQ(p.pid, 0); /* out stays as it was */
        }
        lh_kernel_release(k);
    }
    /* A hostile name is shown escaped, and takes nothing away from the rest. */
    world_u64(&w, PROCESS(1) + EP_DTB, (WORLD_FIRST + 7) << 12);
    world_write(&w, PROCESS(1) + EP_NAME, "\x1b[31m\\evil\xff.exe", 15);
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(get(k, PROCESS(1), &p, &err), LH_OK);
    CHECK_TEXT(p.name, "\\x1b[31m\\\\evil\\xff.exe");
    lh_kernel_release(k);
    world_free(&w);
}

/* The object crosses a page: what lies behind the border is lost, what lies before it is not. */
static void test_half_a_process(void)
{
    const uint64_t at =
        PROCESS(3) + 0xb80; /* pid, flags and below on the first page; the name on the second */
    world w = machine_make();
    lh_process p;
    lh_error err;
    machine_process(&w, at, "capture.exe", 4264);
    lh_kernel *k = machine_kernel(world_open_without(&w, PROCESS(3) + 0x1000));
    CHECK_EQ(get(k, at, &p, &err), LH_OK);
    CHECK(!p.name_known);
    CHECK_TEXT(p.name, "");
    CHECK(p.directory_table_base_known);
    CHECK(p.pid_known && p.flags_known);
    CHECK_EQ(p.pid, 4264);
    CHECK(!p.locked_pages_known && !p.exit_time_known);
    CHECK_EQ(p.absence, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(p.absent_address, at + EP_NAME);
    lh_kernel_release(k);
    world_free(&w);
}

/* No page tables at all: the kernel opens, and says for everything why not. */
static void test_no_tables(void)
{
    world w = machine_make();
    lh_dump *whole = world_open(&w);
    lh_dump *holed = NULL;
    lh_error err = {0};
    lh_process p;
    uint8_t byte = 0;
    const uint64_t pfn = WORLD_FIRST;
    CHECK_EQ(lh_dump_without_pages(whole, &pfn, 1, &holed, &err), LH_OK);
    lh_dump_release(whole);
    lh_kernel *k = machine_kernel(holed);
    CHECK_EQ(lh_kernel_read(k, KDBG, &byte, 1, NULL, &err), LH_ERR_ABSENT);
    CHECK_EQ(err.absence, LH_ABSENT_TABLE);
    CHECK_EQ(err.level, 4);
    CHECK_EQ(get(k, PROCESS(1), &p, &err), LH_ERR_ABSENT);
    CHECK_EQ(err.absence, LH_ABSENT_TABLE);
    CHECK_EQ(k->modules.count, 0);
    CHECK(!k->modules.complete);
    CHECK_EQ(k->modules.absence, LH_ABSENT_TABLE);
    CHECK(!k->nt_known);
    CHECK(!k->kdbg.known);
    CHECK_EQ(k->kdbg.absence, LH_ABSENT_TABLE);
    lhi_current current;
    lhi_current_read(k, &current);
    CHECK_EQ(current.thread, 0);
    CHECK_EQ(current.absence, LH_ABSENT_LAYOUT); /* where the processors stand is not known */
    lh_kernel_release(k);
    world_free(&w);
}

/* The debugger block is believed as far as it goes, and no further. */
static void test_debugger_block(void)
{
    world w = machine_make();
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK(k->kdbg.known);
    CHECK_EQ(k->kdbg.processor_block, BLOCK);
    CHECK_EQ(k->kdbg.pfn_database, PFN_GLOBAL);
    CHECK_EQ(k->kdbg.loaded_module_list, LIST_HEAD);
    lh_kernel_release(k);
    world_u64(&w, KDBG + 0xc0, 0x1234);   /* no kernel address */
    world_set(&w, KDBG + 0x14, 0x21f, 4); /* ends inside the field behind it */
    world_u64(&w, KDBG + 0x220, LIST_HEAD);
    k = machine_kernel(world_open(&w));
    CHECK(k->kdbg.known);
    CHECK_EQ(k->kdbg.processor_block, 0);
    CHECK_EQ(k->kdbg.unloaded_drivers, 0);
    CHECK_EQ(k->kdbg.pfn_database, 0);
    lh_kernel_release(k);
    const uint32_t sizes[] = {0, 0x17, 0x1001, 0xffffffff};
    for (size_t i = 0; i < 4; i++) {
        world_set(&w, KDBG + 0x14, sizes[i], 4);
        k = machine_kernel(world_open(&w));
        CHECK(!k->kdbg.known);
        CHECK_EQ(k->kdbg.absence, LH_ABSENT_LAYOUT);
        lh_kernel_release(k);
    }
    world_set(&w, KDBG + 0x14, 0x380, 4);
    world_write(&w, KDBG + 0x10, "KDBF", 4);
    k = machine_kernel(world_open(&w));
    CHECK(!k->kdbg.known);
    CHECK_EQ(k->kdbg.absence, LH_ABSENT_LAYOUT);
    CHECK_EQ(k->kdbg.loaded_module_list, 0);
    lh_kernel_release(k);
    world_put(w.data + 0x80, KDBG + 0x5000, 8);
    k = machine_kernel(world_open(&w));
    CHECK_EQ(k->kdbg.absence, LH_ABSENT_NOT_MAPPED);
    lh_kernel_release(k);
    world_free(&w);
}

/* A header without a usable list: the debugger block's list is walked. */
static void test_other_list(void)
{
    const uint64_t entry = KDBG + 0xd00;
    world w = machine_make();
    world_u64(&w, LIST_HEAD, entry);
    world_u64(&w, LIST_HEAD + 8, entry);
    world_u64(&w, entry, LIST_HEAD);
    world_u64(&w, entry + 8, LIST_HEAD);
    world_u64(&w, entry + 0x30, 0xfffff80700000000ull);
    world_set(&w, entry + 0x40, 0x5000, 4);
    world_string(&w, entry + 0x58, KDBG + 0xf00, "Leaky.sys");
    const uint64_t heads[] = {LIST_HEAD, 0, KDBG + 0x9000, PROCESS(1)};
    for (size_t i = 0; i < 4; i++) {
        world_put(w.data + 0x20, heads[i], 8);
        lh_kernel *k = machine_kernel(world_open(&w));
        lh_module m = {.struct_size = sizeof m};
        CHECK(k->modules.complete);
        CHECK(!k->nt_known); /* none of its names, and no KernBase */
        if (CHECK_EQ(lh_kernel_module_count(k), 1)) {
            CHECK_EQ(lh_kernel_get_module(k, 0, &m, NULL), LH_OK);
            CHECK_TEXT(m.name, "leaky.sys");
            CHECK_TEXT(m.version, ""); /* its image is not in the dump */
            CHECK_EQ(m.entry, entry);
        }
        lh_kernel_release(k);
    }
    world_free(&w);
}

#define KUSER 0xfffff78000000000ull

static void test_build(void)
{
    world w = machine_make();
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(k->build, 19041);
    CHECK_EQ(k->layout->build, 19041);
    lh_kernel_release(k);
    world_map(&w, KUSER);
    static const struct {
        uint32_t header, major, minor, shared, wanted;
    } rows[] = {
        {9200, 10, 0, 19041, 19041},  /* LiveKD */
        {19041, 10, 0, 19045, 19045}, /* a release on the same kernel */
        {19041, 10, 0, 0, 19041},     /* nothing there */
        {9200, 6, 1, 0, 7601},
        {7600, 6, 1, 0, 7600},
        {7601, 6, 3, 0, 9600},
        {7601, 6, 2, 0x12345, 9200}, /* no build number there before Windows 10 */
        {17763, 6, 7, 0, 17763},
        {17763, 77, 0, 9, 17763},
        {17763, 10, 0, 77, 17763}, /* no build of Windows 10 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world_put(w.data + 0xc, rows[i].header, 4);
        world_set(&w, KUSER + 0x260, rows[i].shared, 4);
        world_set(&w, KUSER + 0x26c, rows[i].major, 4);
        world_set(&w, KUSER + 0x270, rows[i].minor, 4);
        k = machine_kernel(world_open(&w));
        CHECK_EQ(k->build, rows[i].wanted);
        if (rows[i].wanted == 19045) {
            lh_process p;
            lh_error err;
            CHECK_EQ(get(k, PROCESS(1), &p, &err), LH_OK);
            CHECK_TEXT(p.name, "capture.exe"); /* the layout of 19041 */
        }
        lh_kernel_release(k);
    }
    world_free(&w);
}

/* A build nobody knows: the fields that never moved are read, the others say why not. */
static void test_unknown_build(void)
{
    world w = machine_make();
    lh_process p;
    lh_error err;
    world_put(w.data + 0xc, 40000, 4);
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(k->layout->basis, LHI_LAYOUT_STABLE);
    CHECK_EQ(get(k, PROCESS(1), &p, &err), LH_OK);
    CHECK(p.directory_table_base_known);
    CHECK(!p.name_known && !p.pid_known && !p.locked_pages_known);
    CHECK_EQ(p.absence, LH_ABSENT_LAYOUT);
    CHECK_EQ(p.absent_address, 0);
    CHECK_EQ(get(k, THREAD(1), &p, &err), LH_ERR_INVALID_ARGUMENT);
    lh_kernel_release(k);
    world_free(&w);
}

static lhi_current current_of(lh_dump *dump)
{
    lh_kernel *k = machine_kernel(dump);
    lhi_current current;
    lhi_current_read(k, &current);
    lh_kernel_release(k);
    return current;
}

static void test_current(void)
{
    world w = machine_make();
    lhi_current c = current_of(world_open(&w));
    CHECK_EQ(c.thread, THREAD(1));
    CHECK_EQ(c.process, PROCESS(1)); /* ApcState.Process, not KTHREAD.Process */
    CHECK_EQ(c.absence, LH_PRESENT);
    /* A stack of the processor's own: only the context tells. */
    world_put(w.data + 0x348 + 0x98, STACK(7), 8);
    world_u64(&w, CONTEXT(1) + 0x98, STACK(7));
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, THREAD(1));
    world_put(w.data + 0x348 + 0x98, STACK(1) + 0x1200, 8);
    /* No saved context: the processor's own state, then whose stack it is. */
    world_u64(&w, PRCB(1) + PRCB_CONTEXT, 0);
    world_u64(&w, PRCB(1) + PRCB_STATE_RSP, STACK(1) + 0x1200);
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, THREAD(1));
    world_u64(&w, PRCB(1) + PRCB_STATE_RSP, 0);
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, THREAD(1));
    /* Neither: two processors, no answer. */
    world_put(w.data + 0x348 + 0x98, STACK(7), 8);
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, 0);
    CHECK_EQ(c.process, 0);
    CHECK_EQ(c.absence, LH_ABSENT_LAYOUT);
    /* One processor needs no witness. */
    world_put(w.data + 0x34, 1, 4);
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, THREAD(0));
    CHECK_EQ(c.process, PROCESS(0));
    /* The table leads elsewhere. */
    world_u64(&w, PCR(0) + PCR_PRCB, PRCB(1));
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, 0);
    CHECK_EQ(c.absence, LH_ABSENT_LAYOUT);
    world_u64(&w, PCR(0) + PCR_PRCB, PRCB(0));
    /* The thread is none. */
    world_set(&w, THREAD(0), 5, 1);
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, 0);
    CHECK_EQ(c.absence, LH_ABSENT_LAYOUT);
    CHECK_EQ(c.absent_at, THREAD(0));
    world_set(&w, THREAD(0), 6, 1);
    c = current_of(world_open_without(&w, THREAD(0)));
    CHECK_EQ(c.absence, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(c.absent_at, THREAD(0));
    /* A wild count of processors. */
    world_put(w.data + 0x34, 0xffffffff, 4);
    world_put(w.data + 0x348 + 0x98, STACK(1) + 0x1200, 8);
    c = current_of(world_open(&w));
    CHECK_EQ(c.thread, THREAD(1));
    world_free(&w);
}

static void test_thread(void)
{
    world w = machine_make();
    lh_kernel *k = machine_kernel(world_open(&w));
    lhi_thread_info t;
    lhi_thread_read(k, THREAD(1), &t);
    CHECK_EQ(t.absence, LH_PRESENT);
    CHECK(t.is_thread);
    CHECK_EQ(t.process, PROCESS(0));
    CHECK_EQ(t.process_id, 104);
    CHECK_EQ(t.thread_id, 108);
    CHECK_EQ(t.irp_list, THREAD(1) + ET_IRPS);
    lhi_thread_read(k, PROCESS(1), &t);
    CHECK_EQ(t.absence, LH_PRESENT);
    CHECK(!t.is_thread);
    lhi_thread_read(k, THREAD(7), &t);
    CHECK_EQ(t.absence, LH_ABSENT_NOT_MAPPED);
    CHECK_EQ(t.absent_at, THREAD(7));
    lhi_thread_read(k, 0x1000, &t);
    CHECK_EQ(t.absence, LH_ABSENT_LAYOUT);
    lh_kernel_release(k);
    world_free(&w);
}

int main(void)
{
    test_process();
    test_not_a_process();
    test_half_a_process();
    test_no_tables();
    test_debugger_block();
    test_other_list();
    test_build();
    test_unknown_build();
    test_current();
    test_thread();
    return CHECK_END();
}
