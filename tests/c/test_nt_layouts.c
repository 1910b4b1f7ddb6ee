/* Layouts that the dump itself confirms, refutes or gives: probing and inference on a hand-made machine. */
#include "made_machine.h"
#include "nt/process.h"

#define HEAD   (KDBG + 0x700) /* PsActiveProcessHead */
#define COUNT  5u
#define LIVE   4u /* the last one has ended and is off the list */
#define OBJ(i) (0xffffe10000000000ull + (i)*0x10000ull)
#define THR(i) (0xffffe20000000000ull + (i)*0x10000ull)
#define NOW    0x01d9000000000000ull
#define UPTIME 0x0000000900000000ull
#define VICTIM OBJ(4)
#define LOCKED 37u

/* Offsets of no build: every one may be moved. */
typedef struct places {
    uint64_t links, name, locked, flags, exit, thread_process, thread_entry, cid;
} places;
static const places strange = {0x328, 0x4d0, 0x428, 0x344, 0x7a0, 0x228, 0x318, 0x5e0};
/* 10.0.19041 (facts B.7). */
static const places known = {0x448, 0x5a8, 0x500, 0x464, 0x840, 0x220, 0x2f8, 0x478};
/* 24H2 (facts B.7). */
static const places newest = {0x1d8, 0x338, 0x290, 0x1f4, 0x5c0, 0x220, 0x2f8, 0x4a8};

static const char *const names[COUNT] = {"System", "smss.exe", "csrss.exe", "svchost.exe", "capture.exe"};

static void self_list(world *w, uint64_t at)
{
    world_u64(w, at, at);
    world_u64(w, at + 8, at);
}

static void make_process(world *w, unsigned i, const places *p)
{
    const uint64_t at = OBJ(i);
    world_map(w, at);
    world_map(w, at + 0x1000);
    world_set(w, at, 3, 1);
    self_list(w, at + 8);
    world_u64(w, at + 0x28, (WORLD_FIRST + 7 + i) << 12);
    world_u64(w, at + p->links - 8, i == 0 ? 4 : 400 + 4 * i);
    world_write(w, at + p->name, names[i], strlen(names[i]) + 1);
    world_u64(w, at + p->locked, i == LIVE ? LOCKED : 3 * i);
    world_set(w, at + p->flags, i == LIVE ? 0x0400000c : 0x04000000, 4);
    world_u64(w, at + p->exit, i == LIVE ? NOW - 1000 : 0);
    self_list(w, at + 0x30);
    if (i == LIVE)
        return;
    /* One thread, on the process's list. */
    world_map(w, THR(i));
    world_set(w, THR(i), 6, 1);
    self_list(w, THR(i) + 8);
    world_u64(w, THR(i) + 0x30, STACK(9));
    world_u64(w, THR(i) + 0x38, STACK(9) + 0x3000);
    world_u64(w, THR(i) + p->thread_process, at);
    world_u64(w, THR(i) + 0xb8, at);
    world_u64(w, THR(i) + p->cid, i == 0 ? 4 : 400 + 4 * i);
    world_u64(w, THR(i) + p->cid + 8, 2000 + 4 * i);
    world_u64(w, at + 0x30, THR(i) + p->thread_entry);
    world_u64(w, at + 0x38, THR(i) + p->thread_entry);
    world_u64(w, THR(i) + p->thread_entry, at + 0x30);
    world_u64(w, THR(i) + p->thread_entry + 8, at + 0x30);
}

static world make(const places *p, uint32_t build)
{
    world w = machine_make();
    world_put(w.data + 0xc, build, 4);
    world_put(w.data + 0x28, HEAD, 8);
    world_put(w.data + 0x40, 0, 8); /* 0x76 with P1 = 0 */
    world_put(w.data + 0x48, VICTIM, 8);
    world_put(w.data + 0x50, LOCKED, 8);
    world_put(w.data + 0xfa8, NOW, 8);
    world_put(w.data + 0x1030, UPTIME, 8);
    world_u64(&w, KDBG + 0x50, HEAD);
    world_set(&w, KDBG + 0x2a0, 0xb8, 2);
    for (unsigned i = 0; i < COUNT; i++)
        make_process(&w, i, p);
    for (unsigned i = 0; i <= LIVE; i++) {
        const uint64_t here = i == 0 ? HEAD : OBJ(i - 1) + p->links;
        const uint64_t next = i == LIVE ? HEAD : OBJ(i) + p->links;
        world_u64(&w, here, next);
        world_u64(&w, next + 8, here);
    }
    return w;
}

static uint64_t at(const lh_kernel *k, lhi_field field)
{
    return k->row.offsets[field];
}

static void check_offsets(const lh_kernel *k, const places *p)
{
    CHECK_EQ(at(k, LHI_F_EPROCESS_ActiveProcessLinks), p->links);
    CHECK_EQ(at(k, LHI_F_EPROCESS_UniqueProcessId), p->links - 8);
    CHECK_EQ(at(k, LHI_F_EPROCESS_ImageFileName), p->name);
    CHECK_EQ(at(k, LHI_F_EPROCESS_NumberOfLockedPages), p->locked);
    CHECK_EQ(at(k, LHI_F_EPROCESS_Flags), p->flags);
    CHECK_EQ(at(k, LHI_F_EPROCESS_ExitTime), p->exit);
    CHECK_EQ(at(k, LHI_F_KTHREAD_Process), p->thread_process);
    CHECK_EQ(at(k, LHI_F_KTHREAD_ThreadListEntry), p->thread_entry);
    CHECK_EQ(at(k, LHI_F_KTHREAD_ApcState), 0x98);
    CHECK_EQ(at(k, LHI_F_ETHREAD_Cid), p->cid);
}

static void check_victim(const lh_kernel *k)
{
    lh_process process = {.struct_size = sizeof process};
    CHECK_EQ(lh_kernel_get_process(k, VICTIM, &process, NULL), LH_OK);
    CHECK_TEXT(process.name, "capture.exe");
    CHECK_EQ(process.pid, 416);
    CHECK_EQ(process.locked_pages, LOCKED);
    CHECK_EQ(process.exit_time, NOW - 1000);
    CHECK(process.locked_pages_known && process.exit_time_known);
}

static void test_unknown_build(void)
{
    const places *const all[] = {&strange, &known, &newest};
    for (size_t i = 0; i < 3; i++) {
        world w = make(all[i], 40000);
        lh_kernel *k = machine_kernel(world_open(&w));
        CHECK_EQ(k->layout->basis, LHI_LAYOUT_INFERRED);
        CHECK_EQ(k->row.confidence, LHI_SUPPOSED);
        CHECK_EQ(k->probing.system, OBJ(0));
        check_offsets(k, all[i]);
        CHECK_EQ(k->row.states[LHI_F_EPROCESS_ImageFileName].origin, LHI_FROM_DUMP);
        CHECK_EQ(k->row.states[LHI_F_EPROCESS_ImageFileName].confidence, LHI_SUPPOSED);
        CHECK_EQ(k->row.states[LHI_F_KTHREAD_ApcState].origin, LHI_FROM_BLOCK);
        CHECK(!k->probing.identity_failed); /* nothing was claimed */
        check_victim(k);
        lh_kernel_release(k);
        world_free(&w);
    }
}

static void test_right_table(void)
{
    world w = make(&known, 19041);
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(k->layout->basis, LHI_LAYOUT_BUILD);
    check_offsets(k, &known);
    static const lhi_field fields[] = {LHI_F_EPROCESS_ActiveProcessLinks,
                                       LHI_F_EPROCESS_UniqueProcessId,
                                       LHI_F_EPROCESS_ImageFileName,
                                       LHI_F_EPROCESS_NumberOfLockedPages,
                                       LHI_F_EPROCESS_Flags,
                                       LHI_F_EPROCESS_ExitTime,
                                       LHI_F_KTHREAD_Process,
                                       LHI_F_ETHREAD_Cid};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        CHECK_EQ(k->row.states[fields[i]].probe, LHI_PROBE_AGREED);
        CHECK_EQ(k->row.states[fields[i]].origin, LHI_FROM_TABLE);
    }
    check_victim(k);
    lh_kernel_release(k);
    /* One damaged process does not outvote the others; nor does a count that changed since. */
    world_set(&w, OBJ(2), 0x55, 1);
    world_u64(&w, VICTIM + known.locked, LOCKED + 1);
    k = machine_kernel(world_open(&w));
    check_offsets(k, &known);
    CHECK_EQ(k->row.states[LHI_F_EPROCESS_NumberOfLockedPages].probe, LHI_NOT_PROBED);
    CHECK(!k->probing.identity_failed);
    lh_kernel_release(k);
    world_free(&w);
}

/* The number says one build, the objects another: the table is not believed. */
static void test_wrong_table(void)
{
    static const uint32_t builds[] = {19041, 17763, 22000, 26100, 22621, 9200};
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        world w = make(&strange, builds[i]);
        lh_kernel *k = machine_kernel(world_open(&w));
        CHECK(k->probing.identity_failed);
        check_offsets(k, &strange);
        CHECK_EQ(k->row.states[LHI_F_EPROCESS_ActiveProcessLinks].probe, LHI_PROBE_FAILED);
        CHECK(k->row.states[LHI_F_EPROCESS_ActiveProcessLinks].dropped != 0);
        CHECK_EQ(k->row.states[LHI_F_EPROCESS_ActiveProcessLinks].origin, LHI_FROM_DUMP);
        /* What nothing in the dump can tell is not taken from the table that failed. */
        CHECK_EQ(at(k, LHI_F_EPROCESS_LockedPagesList), LHI_NO_OFFSET);
        CHECK_EQ(k->row.counters_pointer, LHI_NO_OFFSET);
        check_victim(k);
        lh_kernel_release(k);
        world_free(&w);
    }
}

/* Pages that are missing contradict nothing, and what can't be seen is not guessed. */
static void test_missing_pages(void)
{
    world w = make(&known, 19041);
    const uint64_t places_of[] = {HEAD, OBJ(0), OBJ(1), VICTIM, THR(0), VICTIM + 0x1000};
    for (size_t i = 0; i < sizeof places_of / sizeof places_of[0]; i++) {
        lh_kernel *k = machine_kernel(world_open_without(&w, places_of[i]));
        CHECK(!k->probing.identity_failed);
        check_offsets(k, &known);
        lh_kernel_release(k);
    }
    world_free(&w);
    w = make(&strange, 40000);
    for (size_t i = 0; i < sizeof places_of / sizeof places_of[0]; i++) {
        const places *p = &strange;
        const struct {
            lhi_field field;
            uint64_t offset;
        } fields[] = {{LHI_F_EPROCESS_ActiveProcessLinks, p->links},
                      {LHI_F_EPROCESS_ImageFileName, p->name},
                      {LHI_F_EPROCESS_NumberOfLockedPages, p->locked},
                      {LHI_F_EPROCESS_ExitTime, p->exit},
                      {LHI_F_EPROCESS_Flags, p->flags},
                      {LHI_F_KTHREAD_Process, p->thread_process},
                      {LHI_F_ETHREAD_Cid, p->cid}};
        lh_kernel *k = machine_kernel(world_open_without(&w, places_of[i]));
        for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
            CHECK(at(k, fields[f].field) == fields[f].offset || at(k, fields[f].field) == LHI_NO_OFFSET);
        lh_kernel_release(k);
    }
    /* Without the System process nobody knows which process a name or a number is right for. */
    lh_kernel *k = machine_kernel(world_open_without(&w, OBJ(0)));
    CHECK_EQ(k->probing.system, 0);
    CHECK_EQ(at(k, LHI_F_EPROCESS_ImageFileName), LHI_NO_OFFSET);
    lh_kernel_release(k);
    world_free(&w);
}

/* Two places that fit are no answer. */
static void test_doubt(void)
{
    world w = make(&strange, 40000);
    for (unsigned i = 0; i < COUNT; i++)
        world_write(&w, OBJ(i) + 0x600, names[i], strlen(names[i]) + 1);
    world_u64(&w, VICTIM + 0x3f0, LOCKED); /* at none of the known distances from the name */
    lh_kernel *k = machine_kernel(world_open(&w));
    CHECK_EQ(at(k, LHI_F_EPROCESS_ImageFileName), LHI_NO_OFFSET);
    CHECK_EQ(at(k, LHI_F_EPROCESS_NumberOfLockedPages), LHI_NO_OFFSET);
    CHECK_EQ(at(k, LHI_F_EPROCESS_ActiveProcessLinks), strange.links);
    lh_process process = {.struct_size = sizeof process};
    CHECK_EQ(lh_kernel_get_process(k, VICTIM, &process, NULL), LH_OK);
    CHECK(!process.name_known && !process.locked_pages_known && process.pid_known);
    CHECK_EQ(process.absence, LH_ABSENT_LAYOUT);
    lh_kernel_release(k);
    world_free(&w);
    /* ... unless only one of them stands where it stands in every known build. */
    w = make(&strange, 40000);
    world_u64(&w, VICTIM + 0x3f0, LOCKED);
    k = machine_kernel(world_open(&w));
    CHECK_EQ(at(k, LHI_F_EPROCESS_NumberOfLockedPages), strange.locked);
    lh_kernel_release(k);
    world_free(&w);
}

/* Lists that loop, heads that point out of the kernel, a stated size of 65534. */
static void test_hostile(void)
{
    world w = make(&strange, 40000);
    const uint64_t links[] = {OBJ(1) + strange.links, 0,        0x1234,         UINT64_MAX,
                              UINT64_MAX - 7,         HEAD + 1, LHI_KERNEL_HALF};
    world_set(&w, KDBG + 0x2a8, 0xfffe, 2);
    world_set(&w, KDBG + 0x2b0, 0xfffe, 2);
    world_set(&w, KDBG + 0x2c0, 0xfffe, 2);
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        world_u64(&w, OBJ(2) + strange.links, links[i]);
        lh_kernel *k = machine_kernel(world_open(&w));
        CHECK(at(k, LHI_F_EPROCESS_ActiveProcessLinks) == strange.links ||
              at(k, LHI_F_EPROCESS_ActiveProcessLinks) == LHI_NO_OFFSET);
        if (i == 0) /* a loop: each process counts once, so that identifiers are still different */
            CHECK_EQ(at(k, LHI_F_EPROCESS_UniqueProcessId), strange.links - 8);
        lh_kernel_release(k);
        world_u64(&w, HEAD, links[i]);
        k = machine_kernel(world_open(&w));
        CHECK(k->layout != NULL);
        lh_kernel_release(k);
        world_u64(&w, HEAD, OBJ(0) + strange.links);
    }
    world_free(&w);
}

/* 24H2: four counters, 0x40 apart, whose sum is the bug check's count. */
static void test_counters(void)
{
    const uint64_t list = 0xffffe30000000000ull;
    for (unsigned which = 0; which < 2; which++) {
        world w = make(&newest, 26100);
        world_map(&w, list);
        world_u64(&w, VICTIM + newest.locked, 0);
        world_u64(&w, VICTIM + 0x410, list);
        const uint64_t counts[] = {11, 7, (uint64_t)-5, LOCKED - 13};
        for (unsigned i = 0; i < 4; i++)
            world_u64(&w, list + (which ? 0x240 : 0x200) + 0x40 * i, counts[i]);
        lh_kernel *k = machine_kernel(world_open(&w));
        lh_process process = {.struct_size = sizeof process};
        CHECK_EQ(k->layout->basis, LHI_LAYOUT_FACTS);
        CHECK(!k->probing.identity_failed);
        CHECK(k->probing.counters_settled);
        CHECK_EQ(k->row.counters_first, which ? 0x240 : 0x200);
        CHECK_HAS(k->probing.counters_why, which ? "0x240" : "0x200");
        CHECK_EQ(lh_kernel_get_process(k, VICTIM, &process, NULL), LH_OK);
        CHECK(process.locked_pages_known);
        CHECK_EQ(process.locked_pages, LOCKED);
        lh_kernel_release(k);
        /* Where the list can't be seen, the zero in the process is a count only of 26100, whose dumps show
         * that the field is in use. */
        k = machine_kernel(world_open_without(&w, list));
        process.struct_size = sizeof process;
        CHECK_EQ(lh_kernel_get_process(k, VICTIM, &process, NULL), LH_OK);
        CHECK(process.locked_pages_known);
        CHECK_EQ(process.locked_pages, 0);
        lh_kernel_release(k);
        world_put(w.data + 0xc, 26200, 4);
        k = machine_kernel(world_open_without(&w, list));
        process.struct_size = sizeof process;
        CHECK_EQ(lh_kernel_get_process(k, VICTIM, &process, NULL), LH_OK);
        CHECK(!process.locked_pages_known);
        CHECK_EQ(process.absence, LH_ABSENT_NOT_CAPTURED);
        lh_kernel_release(k);
        world_free(&w);
    }
    /* A build whose place nobody knows: sums that differ are no answer, equal ones are. */
    world w = make(&newest, 26200);
    world_map(&w, list);
    world_u64(&w, OBJ(1) + newest.locked, 0);
    world_u64(&w, OBJ(1) + 0x410, list);
    lh_kernel *k = machine_kernel(world_open(&w));
    uint64_t pages = 77;
    uint64_t missing = 0;
    CHECK_EQ(lhi_locked_pages(k, OBJ(1), &pages, &missing), LH_PRESENT);
    CHECK_EQ(pages, 0);
    CHECK(!k->probing.counters_settled);
    lh_kernel_release(k);
    world_u64(&w, list + 0x200, 9);
    k = machine_kernel(world_open(&w));
    CHECK_EQ(lhi_locked_pages(k, OBJ(1), &pages, &missing), LH_ABSENT_LAYOUT);
    /* A field that is not 0 is the count. */
    CHECK_EQ(lhi_locked_pages(k, VICTIM, &pages, &missing), LH_PRESENT);
    CHECK_EQ(pages, LOCKED);
    lh_kernel_release(k);
    world_free(&w);
}

int main(void)
{
    test_unknown_build();
    test_right_table();
    test_wrong_table();
    test_missing_pages();
    test_doubt();
    test_hostile();
    test_counters();
    return CHECK_END();
}
