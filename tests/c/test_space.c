/* Tests of address spaces: hand-built tables, then random ones against a walker written from the Intel SDM.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "check.h"
#include "fake_pages.h"
#include "space/tables.h"

#define P      1ull
#define PS     (1ull << 7)
#define PROTO  (1ull << 10)
#define TRANS  (1ull << 11)
#define NX     (1ull << 63)
#define FRAMES 256

/* A machine of FRAMES pages at PFN 0 ..; a page may be taken away. */
typedef struct machine {
    uint8_t bytes[FRAMES][LHI_PAGE_SIZE];
    fake_page page[FRAMES];
    fake_pages fake;
    lh_source *source;
} machine;

static machine *m;

static void put(uint64_t physical, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        m->bytes[physical / LHI_PAGE_SIZE][physical % LHI_PAGE_SIZE + (unsigned)i] =
            (uint8_t)(value >> (8 * i));
}

static void set_entry(uint64_t table, unsigned slot, uint64_t raw)
{
    put(table * LHI_PAGE_SIZE + 8 * slot, raw);
}

static void reset(lh_absence otherwise)
{
    lh_source_release(m->source);
    memset(m->bytes, 0, sizeof m->bytes);
    for (uint64_t i = 0; i < FRAMES; i++)
        m->page[i] = (fake_page){i, LH_PRESENT, i * LHI_PAGE_SIZE, NULL};
    CHECK_EQ(lh_source_open_memory(m->bytes, sizeof m->bytes, &m->source, NULL), LH_OK);
    m->fake = fake_open(m->source, m->page, FRAMES, otherwise);
}

static void take_away(uint64_t frame, lh_absence why)
{
    m->page[frame].state = why;
    m->fake.pages.present--;
}

static lhi_space space_at(uint64_t dtb)
{
    lhi_space s;
    lhi_space_init(&s, &m->fake.pages, dtb);
    return s;
}

static uint64_t address(unsigned pml4, unsigned pdpt, unsigned pd, unsigned pt, unsigned offset)
{
    uint64_t va =
        (uint64_t)pml4 << 39 | (uint64_t)pdpt << 30 | (uint64_t)pd << 21 | (uint64_t)pt << 12 | offset;
    return pml4 >= 256 ? va | 0xffffull << 48 : va;
}

static lh_walk walk(uint64_t dtb, uint64_t va)
{
    lhi_space s = space_at(dtb);
    lh_walk w = {0};
    lhi_space_walk(&s, va, &w);
    CHECK_EQ(w.struct_size, sizeof w);
    CHECK_EQ(w.address, va);
    return w;
}

static void check_walk(uint64_t va, lh_absence absence, int level, uint64_t physical, uint64_t page_size)
{
    lh_walk w = walk(0x1000, va);
    CHECK_EQ(w.absence, absence);
    CHECK_EQ(w.level, level);
    CHECK_EQ(w.physical, physical);
    CHECK_EQ(w.page_size, page_size);
}

/* PML4 in frame 1, PDPT 2, PD 3, PT 4; slots 300, 3, 5. */
static void build_path(void)
{
    reset(LH_ABSENT_NOT_RAM);
    set_entry(1, 300, 2 << 12 | P | 2);
    set_entry(2, 3, 3 << 12 | P | 2);
    set_entry(3, 5, 4 << 12 | P | 2);
}

static uint64_t with_pte(unsigned slot, uint64_t raw)
{
    set_entry(4, slot, raw);
    return address(300, 3, 5, slot, 0x123);
}

static void literal_walks(void)
{
    lh_walk w = {0};
    build_path();
    /* 0xffff000000000000 + 300 << 39 + 3 << 30 + 5 << 21 + 7 << 12 + 0x123 */
    CHECK_EQ(address(300, 3, 5, 7, 0x123), 0xffff9600c0a07123);
    set_entry(4, 7, 0x10 << 12 | P | NX);
    w = walk(0x1000, 0xffff9600c0a07123);
    CHECK_EQ(w.absence, LH_PRESENT);
    CHECK_EQ(w.physical, 0x10123);
    CHECK_EQ(w.page_size, 0x1000);
    CHECK_EQ(w.level, 1);
    CHECK(!w.transition);
    CHECK_EQ(w.entry_count, 4);
    CHECK_EQ(w.entries[0], 0x2003);
    CHECK_EQ(w.entries[3], 0x8000000000010001);
    CHECK_EQ(w.entry_addresses[0], 0x1960);
    CHECK_EQ(w.entry_addresses[1], 0x2018);
    CHECK_EQ(w.entry_addresses[2], 0x3028);
    CHECK_EQ(w.entry_addresses[3], 0x4038);
    /* Low bits of CR3 are PCID, the high one a flag of its load. */
    CHECK_EQ(walk(0x8000000000001002, 0xffff9600c0a07123).physical, 0x10123);

    /* Large pages: PAT bit 12 is not a frame bit; only parts of them are RAM here. */
    set_entry(3, 6, 0x1000 | P | PS);
    check_walk(address(300, 3, 6, 0, 0) + 0x45678, LH_PRESENT, 2, 0x45678, 0x200000);
    check_walk(address(300, 3, 6, 0, 0) + FRAMES * 0x1000, LH_ABSENT_NOT_RAM, 2, FRAMES * 0x1000, 0x200000);
    set_entry(2, 4, 0x40001000 | P | PS);
    check_walk(address(300, 4, 0, 0, 0) + 0x12345678, LH_ABSENT_NOT_RAM, 3, 0x52345678, 0x40000000);
    set_entry(1, 301, P | PS); /* reserved */
    check_walk(address(301, 0, 0, 0, 0), LH_ABSENT_NOT_MAPPED, 4, 0, 0);
    /* Bits 52 to 62 of an entry are no address bits. */
    check_walk(with_pte(8, 0x7ff0000000011001), LH_PRESENT, 1, 0x11123, 0x1000);

    /* Nothing there, at each level. */
    check_walk(address(302, 0, 0, 0, 0), LH_ABSENT_NOT_MAPPED, 4, 0, 0);
    check_walk(address(300, 0, 0, 0, 0), LH_ABSENT_NOT_MAPPED, 3, 0, 0);
    check_walk(address(300, 3, 0, 0, 0), LH_ABSENT_NOT_MAPPED, 2, 0, 0);
    check_walk(address(300, 3, 5, 0, 0), LH_ABSENT_NOT_MAPPED, 1, 0, 0);

    CHECK(lhi_is_canonical(0x7fffffffffff) && lhi_is_canonical(0xffff800000000000));
    check_walk(0x800000000000, LH_ABSENT_NONCANONICAL, 0, 0, 0);
    check_walk(0xffff7fffffffffff, LH_ABSENT_NONCANONICAL, 0, 0, 0);

    /* The user half walks the same way. */
    set_entry(1, 0, 2 << 12 | P);
    check_walk(address(0, 3, 5, 7, 0x10), LH_PRESENT, 1, 0x10010, 0x1000);
}

static void software_entries(void)
{
    build_path();
    /* Protection 4 (bits 5-9) in all of them. */
    const uint64_t protection = 4 << 5;
    lh_walk w = {0};
    check_walk(with_pte(1, protection), LH_ABSENT_DEMAND_ZERO, 1, 0, 0);
    check_walk(with_pte(2, protection | 0x12345ull << 32), LH_ABSENT_PAGED_OUT, 1, 0, 0);
    check_walk(with_pte(2, protection | 2 << 12), LH_ABSENT_PAGED_OUT, 1, 0, 0);

    w = walk(0x1000, with_pte(3, protection | TRANS | 0x12 << 12));
    CHECK_EQ(w.absence, LH_PRESENT);
    CHECK(w.transition);
    CHECK_EQ(w.physical, 0x12123);
    /* The L1TF mitigation: bit 45 (and with a wider mask more) is not the frame's. */
    check_walk(with_pte(3, protection | TRANS | 1ull << 45 | 0x12 << 12), LH_PRESENT, 1, 0x12123, 0x1000);
    check_walk(with_pte(3, protection | TRANS | 7ull << 45 | 0x12 << 12), LH_PRESENT, 1, 0x12123, 0x1000);
    /* With SwizzleBit set the frame is as written, and not RAM. */
    check_walk(with_pte(3, protection | TRANS | 1ull << 4 | 1ull << 45 | 0x12 << 12), LH_ABSENT_NOT_RAM, 1,
               1ull << 45 | 0x12123, 0x1000);
    /* Nothing is left when the mask is gone: not frame 0. */
    check_walk(with_pte(3, protection | TRANS | 1ull << 45), LH_ABSENT_NOT_RAM, 1, 1ull << 45 | 0x123,
               0x1000);
    /* A page in RAM that was not captured is that, and no other frame is read for it. */
    take_away(0x12, LH_ABSENT_NOT_CAPTURED);
    check_walk(with_pte(3, protection | TRANS | 1ull << 45 | 0x12 << 12), LH_ABSENT_NOT_CAPTURED, 1, 0x12123,
               0x1000);
    /* A hole in memory below the last present page is not taken for a mask. */
    take_away(0x81, LH_ABSENT_NOT_RAM);
    check_walk(with_pte(3, protection | TRANS | 0x81 << 12), LH_ABSENT_NOT_RAM, 1, 0x81123, 0x1000);
    /* Bits that no frame number has: not a PTE of this kind, nothing is guessed. */
    check_walk(with_pte(3, protection | TRANS | 1ull << 60 | 1ull << 45 | 0x13 << 12), LH_ABSENT_NOT_RAM, 1,
               1ull << 45 | 0x13123, 0x1000);
    /* Without memory runs only bit 45 is taken away. */
    m->fake.pages.ram = 0;
    m->fake.otherwise = LH_ABSENT_NOT_CAPTURED;
    check_walk(with_pte(3, protection | TRANS | 1ull << 45 | 0x13 << 12), LH_PRESENT, 1, 0x13123, 0x1000);
    check_walk(with_pte(3, protection | TRANS | 1ull << 44 | 0x13 << 12), LH_ABSENT_NOT_CAPTURED, 1,
               1ull << 44 | 0x13123, 0x1000);
    m->fake.pages.end_pfn = 1ull << 40; /* a machine so large that bit 45 is an address bit */
    check_walk(with_pte(3, protection | TRANS | 1ull << 45 | 0x13 << 12), LH_ABSENT_NOT_CAPTURED, 1,
               1ull << 45 | 0x13123, 0x1000);

    /* File-backed entries of late builds look like pointers. */
    build_path();
    check_walk(with_pte(4, 0xffff900000013880), LH_ABSENT_PROTOTYPE, 1, 0, 0);

    /* Prototype PTEs: bits 16-63 are the address of the real one, here in frame 0x20. */
    const uint64_t where = address(300, 3, 5, 9, 0);
    with_pte(9, 0x20 << 12 | P);
    put(0x20000, 0x21 << 12 | P);
    put(0x20008, protection | TRANS | 0x22 << 12);
    put(0x20010, protection | 5ull << 32);
    put(0x20018, protection | PROTO | 0xabcdull << 32);
    put(0x20020, protection);
    check_walk(with_pte(10, where << 16 | PROTO), LH_PRESENT, 1, 0x21123, 0x1000);
    CHECK(walk(0x1000, address(300, 3, 5, 10, 0)).transition);
    check_walk(with_pte(10, (where + 8) << 16 | PROTO), LH_PRESENT, 1, 0x22123, 0x1000);
    check_walk(with_pte(10, (where + 0x10) << 16 | PROTO), LH_ABSENT_PAGED_OUT, 1, 0, 0);
    check_walk(with_pte(10, (where + 0x18) << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    check_walk(with_pte(10, (where + 0x20) << 16 | PROTO), LH_ABSENT_DEMAND_ZERO, 1, 0, 0);
    check_walk(with_pte(10, (where + 0x28) << 16 | PROTO), LH_ABSENT_NOT_MAPPED, 1, 0, 0);
    /* Not followed: combined (bit 11), VAD-described, not aligned, user address, unmapped, itself, absent. */
    check_walk(with_pte(10, (where + 1) << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    set_entry(1, 0, 2 << 12 | P);
    check_walk(with_pte(10, address(0, 3, 5, 9, 0) << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    check_walk(address(0, 3, 5, 9, 0), LH_PRESENT, 1, 0x20000, 0x1000);
    check_walk(with_pte(10, where << 16 | PROTO | TRANS), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    check_walk(with_pte(10, 0xffffffffffff0000 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    check_walk(with_pte(10, 0x10000000ull << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    check_walk(with_pte(10, address(300, 3, 5, 11, 0) << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    check_walk(with_pte(10, address(300, 3, 5, 10, 0) << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);
    take_away(0x20, LH_ABSENT_NOT_CAPTURED);
    check_walk(with_pte(10, where << 16 | PROTO), LH_ABSENT_PROTOTYPE, 1, 0, 0);

    /* Software forms further up: a table in transition is still there, others are not. */
    build_path();
    with_pte(7, 0x10 << 12 | P);
    set_entry(3, 5, 4 << 12 | TRANS | protection);
    w = walk(0x1000, address(300, 3, 5, 7, 0));
    CHECK_EQ(w.absence, LH_PRESENT);
    CHECK(w.transition);
    CHECK_EQ(w.physical, 0x10000);
    set_entry(3, 5, protection | 9ull << 32);
    check_walk(address(300, 3, 5, 7, 0), LH_ABSENT_PAGED_OUT, 2, 0, 0);
    set_entry(3, 5, protection);
    check_walk(address(300, 3, 5, 7, 0), LH_ABSENT_NOT_MAPPED, 2, 0, 0);
    set_entry(3, 5, protection | PROTO);
    check_walk(address(300, 3, 5, 7, 0), LH_ABSENT_PROTOTYPE, 2, 0, 0);
}

/* Each table missing in turn; then the data page, with its own kinds. */
static void absences(void)
{
    static const lh_absence kinds[] = {LH_ABSENT_NOT_CAPTURED, LH_ABSENT_CLIPPED, LH_ABSENT_NOT_RAM};
    uint64_t va = 0;
    for (unsigned k = 0; k < 3; k++)
        for (unsigned table = 1; table <= 4; table++) {
            lh_walk w = {0};
            build_path();
            va = with_pte(7, 0x10 << 12 | P);
            take_away(table, kinds[k]);
            w = walk(0x1000, va);
            CHECK_EQ(w.absence, LH_ABSENT_TABLE);
            CHECK_EQ(w.level, 5 - table);
            CHECK_EQ(w.entry_count, table - 1);
            CHECK_EQ(w.entry_addresses[w.entry_count] >> 12, table);
        }
    for (unsigned k = 0; k < 3; k++) {
        uint64_t physical = 0;
        build_path();
        va = with_pte(7, 0x10 << 12 | P);
        take_away(0x10, kinds[k]);
        check_walk(va, kinds[k], 1, 0x10123, 0x1000);
        lhi_space s = space_at(0x1000);
        CHECK_EQ(lhi_space_translate(&s, va, &physical), kinds[k]);
        CHECK_EQ(physical, 0);
    }
}

static int refuse(void *user, uint64_t offset, void *buffer, size_t size)
{
    (void)user;
    (void)offset;
    (void)buffer;
    (void)size;
    return 5;
}

static void reads(void)
{
    uint8_t buffer[3 * LHI_PAGE_SIZE];
    size_t done = 1;
    lh_error err = {0};
    uint64_t value = 0;
    uint32_t value32 = 0;
    uint16_t value16 = 0;
    build_path();
    with_pte(7, 0x30 << 12 | P);
    with_pte(8, 0x12 << 12 | P);
    with_pte(9, 0x50 << 12 | P);
    memset(m->bytes[0x30], 0xa1, LHI_PAGE_SIZE);
    memset(m->bytes[0x12], 0xb2, LHI_PAGE_SIZE);
    memset(m->bytes[0x50], 0xc3, LHI_PAGE_SIZE);
    lhi_space s = space_at(0x1000);
    uint64_t va = address(300, 3, 5, 7, 0xffe);

    CHECK_EQ(lhi_space_read(&s, va, buffer, LHI_PAGE_SIZE + 4, &done, &err), LH_OK);
    CHECK_EQ(done, LHI_PAGE_SIZE + 4);
    CHECK_EQ(lhi_u32(buffer), 0xb2b2a1a1);
    CHECK_EQ(lhi_u32(buffer + LHI_PAGE_SIZE), 0xc3c3b2b2);
    CHECK_EQ(lhi_space_u64(&s, va, &value), LH_PRESENT);
    CHECK_EQ(value, 0xb2b2b2b2b2b2a1a1);
    CHECK_EQ(lhi_space_u32(&s, va, &value32), LH_PRESENT);
    CHECK_EQ(value32, 0xb2b2a1a1);
    CHECK_EQ(lhi_space_u16(&s, va + 1, &value16), LH_PRESENT);
    CHECK_EQ(value16, 0xb2a1);
    CHECK_EQ(lhi_space_read(&s, 1, buffer, 0, &done, &err), LH_OK);
    CHECK_EQ(done, 0);

    /* Stops at the first missing address, and says how far it came. */
    CHECK_EQ(lhi_space_read(&s, va, buffer, sizeof buffer, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(done, 2 + 2 * LHI_PAGE_SIZE);
    CHECK_EQ(err.absence, LH_ABSENT_NOT_MAPPED);
    CHECK_EQ(err.level, 1);
    CHECK_EQ(err.address, address(300, 3, 5, 10, 0));
    take_away(0x12, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(lhi_space_read(&s, va, buffer, 8, NULL, &err), LH_ERR_ABSENT);
    CHECK_EQ(err.absence, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(err.address, address(300, 3, 5, 8, 0));
    value = 42;
    CHECK_EQ(lhi_space_u64(&s, va, &value), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(value, 42);
    take_away(4, LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(lhi_space_read(&s, va, buffer, 8, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(done, 0);
    CHECK_EQ(err.absence, LH_ABSENT_TABLE);
    CHECK_EQ(err.address, va);

    /* Over the end of an half, and of all addresses. */
    build_path();
    set_entry(1, 511, 2 << 12 | P);
    set_entry(1, 255, 2 << 12 | P);
    set_entry(2, 511, 3 << 12 | P);
    set_entry(3, 511, 4 << 12 | P);
    set_entry(4, 511, 0x30 << 12 | P);
    set_entry(1, 0, 2 << 12 | P);
    CHECK_EQ(lhi_space_read(&s, UINT64_MAX - 3, buffer, 8, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(done, 4);
    CHECK_EQ(err.absence, LH_ABSENT_NONCANONICAL);
    CHECK_EQ(lhi_space_read(&s, 0x7ffffffffffc, buffer, 8, &done, &err), LH_ERR_ABSENT);
    CHECK_EQ(done, 4);
    CHECK_EQ(err.absence, LH_ABSENT_NONCANONICAL);
    CHECK_EQ(err.address, 0x800000000000);

    /* An I/O error is an error, or counts as clipped where there is only an absence to say. */
    lh_source *broken = NULL;
    lh_source_callbacks callbacks = {sizeof callbacks, refuse, NULL, NULL, sizeof m->bytes};
    CHECK_EQ(lh_source_open_callbacks(&callbacks, &broken, NULL), LH_OK);
    for (unsigned i = 1; i <= 4; i++)
        m->page[i].memory = m->bytes[i];
    m->fake.pages.source = broken;
    CHECK_EQ(lhi_space_read(&s, UINT64_MAX - 3, buffer, 4, &done, &err), LH_ERR_IO);
    CHECK_EQ(lhi_space_u32(&s, UINT64_MAX - 3, &value32), LH_ABSENT_CLIPPED);
    lh_source_release(broken);
}

/* ---------------------------------------------------------------- the oracle */

typedef struct oracle_row {
    uint64_t frame, va;
} oracle_row;

/* Intel SDM volume 3, 4.5: 4-level paging, valid entries only. False: not translated. */
static bool sdm_translate(uint64_t cr3, uint64_t va, uint64_t *physical)
{
    uint64_t table = cr3 & 0x000ffffffffff000;
    for (unsigned bit = 39;; bit -= 9) {
        uint64_t at = table + (va >> bit & 511) * 8;
        uint64_t e = 0;
        if (at / LHI_PAGE_SIZE >= FRAMES || m->page[at / LHI_PAGE_SIZE].state != LH_PRESENT)
            return false;
        e = lhi_u64(m->bytes[at / LHI_PAGE_SIZE] + at % LHI_PAGE_SIZE);
        if ((e & 1) == 0 || (bit == 39 && (e & 0x80) != 0))
            return false;
        if (bit == 12 || (bit <= 30 && (e & 0x80) != 0)) {
            uint64_t offset = (1ull << bit) - 1;
            *physical = (e & 0x000ffffffffff000 & ~offset) | (va & offset);
            return true;
        }
        table = e & 0x000ffffffffff000;
    }
}

/* Random tables: frames 1 to TABLES - 1 hold tables that refer to each other at will, loops included. */
#define TABLES 24

static void random_tables(uint64_t *seed, bool wild)
{
    reset(LH_ABSENT_NOT_RAM);
    for (uint64_t frame = 1; frame < TABLES; frame++) {
        unsigned entries = 1 + (unsigned)(fake_random(seed) % 6);
        for (unsigned i = 0; i < entries; i++) {
            uint64_t r = fake_random(seed);
            unsigned slot = (unsigned)(r >> 8 & 511);
            uint64_t to = 0;
            if (wild)
                to = r >> 20 & 63 ? 1 + (r >> 32) % (FRAMES - 1) : r >> 24 & 0xffffffffff;
            else /* levels by frame number: 1 is the PML4, 2-5 PDPTs, 6-11 PDs, 12-23 PTs */
                to = frame == 1   ? 2 + (r >> 32) % 4
                     : frame < 6  ? 6 + (r >> 32) % 6
                     : frame < 12 ? 12 + (r >> 32) % 12
                                  : TABLES + (r >> 32) % (FRAMES - TABLES);
            if (frame == 1)
                slot |= 256;
            set_entry(frame, slot, to << 12 | P | (r % 11 == 0 ? PS : 0) | (r & 0x66) | (r & NX));
        }
    }
    if (fake_random(seed) % 2 == 0) /* a self-map */
        set_entry(1, 0x1ed, 1 << 12 | P);
    for (unsigned i = 0; i < 3; i++)
        if (fake_random(seed) % 2 == 0) {
            uint64_t frame = 2 + fake_random(seed) % (FRAMES - 2);
            if (m->page[frame].state == LH_PRESENT)
                take_away(frame, LH_ABSENT_NOT_CAPTURED);
        }
}

/* All mappings of frames below FRAMES in the kernel half, by recursion over every path. */
typedef struct oracle {
    oracle_row *row;
    size_t count, capacity;
    uint64_t missing; /* distinct (frame, level) */
    uint64_t missing_key[4096];
    unsigned visits[FRAMES][4]; /* of a table, by level */
    unsigned most_visits;
    uint64_t pages; /* mapped, RAM or not */
} oracle;

static void oracle_add(oracle *o, uint64_t frame, uint64_t va)
{
    if (o->count == o->capacity) {
        o->capacity = o->capacity * 2 + 64;
        o->row = realloc(o->row, o->capacity * sizeof *o->row);
        if (o->row == NULL)
            abort();
    }
    o->row[o->count++] = (oracle_row){frame, va};
}

static void oracle_table(oracle *o, uint64_t root, uint64_t table, unsigned bit, uint64_t base)
{
    if (table >= FRAMES || m->page[table].state != LH_PRESENT) {
        uint64_t key = table << 6 | bit;
        for (uint64_t i = 0; i < o->missing; i++)
            if (o->missing_key[i] == key)
                return;
        if (o->missing == 4096)
            abort();
        o->missing_key[o->missing++] = key;
        return;
    }
    unsigned visits = ++o->visits[table][(bit - 12) / 9];
    o->most_visits = visits > o->most_visits ? visits : o->most_visits;
    for (uint64_t slot = bit == 39 ? 256 : 0; slot < 512; slot++) {
        uint64_t e = lhi_u64(m->bytes[table] + slot * 8);
        uint64_t frame = e >> 12 & 0xffffffffff;
        uint64_t va = base + (slot << bit);
        if ((e & 1) == 0 || (bit == 39 && (e & PS) != 0))
            continue;
        if (bit == 12 || (bit < 39 && (e & PS) != 0)) {
            frame &= ~((1ull << (bit - 12)) - 1);
            o->pages += 1ull << (bit - 12);
            for (uint64_t i = 0; i < 1ull << (bit - 12) && frame + i < FRAMES; i++)
                oracle_add(o, frame + i, va + i * LHI_PAGE_SIZE);
        } else if (!(bit == 39 && frame == root)) {
            oracle_table(o, root, frame, bit - 9, va);
        }
    }
}

static void oracle_run(oracle *o)
{
    o->count = 0;
    o->missing = 0;
    o->most_visits = 0;
    o->pages = 0;
    memset(o->visits, 0, sizeof o->visits);
    oracle_table(o, 1, 1, 39, 0xffffull << 48);
}

static int compare_oracle(const void *left, const void *right)
{
    const oracle_row *a = left;
    const oracle_row *b = right;
    if (a->frame != b->frame)
        return a->frame < b->frame ? -1 : 1;
    return a->va < b->va ? -1 : a->va > b->va;
}

static void random_walks(unsigned rounds)
{
    uint64_t seed = 4711;
    unsigned translated = 0;
    for (unsigned round = 0; round < rounds; round++) {
        random_tables(&seed, round % 2 == 0);
        for (unsigned i = 0; i < 200; i++) {
            /* Choose slots that are in use, mostly. */
            uint64_t va = 0;
            uint64_t table = 1;
            uint64_t physical = 0;
            lh_walk w = {0};
            for (unsigned bit = 39; bit >= 12; bit -= 9) {
                uint64_t slot = fake_random(&seed) % 512;
                bool in_use = table < FRAMES && fake_random(&seed) % 16 != 0;
                for (unsigned tries = 0; in_use && tries < 512; tries++, slot = (slot + 1) % 512)
                    if ((m->bytes[table][slot * 8] & 1) != 0)
                        break;
                va |= slot << bit;
                table = table < FRAMES ? lhi_u64(m->bytes[table] + slot * 8) >> 12 & 0xffffffffff : table;
            }
            va |= fake_random(&seed) & 0xfff;
            if ((va >> 47 & 1) != 0)
                va |= 0xffffull << 48;
            w = walk(0x1000, va);
            if (sdm_translate(0x1000, va, &physical)) {
                translated++;
                CHECK_EQ(w.physical, physical);
                CHECK_EQ(w.absence, physical / LHI_PAGE_SIZE < FRAMES
                                        ? m->page[physical / LHI_PAGE_SIZE].state
                                        : LH_ABSENT_NOT_RAM);
            } else {
                CHECK_EQ(w.page_size, 0);
                CHECK(w.absence == LH_ABSENT_NOT_MAPPED || w.absence == LH_ABSENT_TABLE);
            }
        }
    }
    if (!CHECK(translated > rounds * 40))
        fprintf(stderr, "    %u\n", translated);
}

/* ------------------------------------------------------------ the reverse map */

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
        s->disorder |= mapping->va < end || (mapping->va == end && mapping->state == last->state);
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
    CHECK_EQ(s->count, 12);
    check_mapping(&s->row[0], base + 0x7000, 2, LH_PRESENT);
    check_mapping(&s->row[1], base + 0x9000, 1, LH_ABSENT_NOT_CAPTURED);
    check_mapping(&s->row[2], base + 0xa000, 1, LH_PRESENT);
    check_mapping(&s->row[3], base + 0xc000, 1, LH_ABSENT_NOT_RAM);
    check_mapping(&s->row[4], base + 0x200000, 0x31, LH_PRESENT);
    check_mapping(&s->row[5], base + 0x231000, 1, LH_ABSENT_NOT_CAPTURED);
    check_mapping(&s->row[6], base + 0x232000, 200 - 0x32, LH_PRESENT);
    check_mapping(&s->row[7], base + 0x200000 + 200 * 0x1000, 2, LH_ABSENT_NOT_CAPTURED);
    check_mapping(&s->row[8], base + 0x200000 + 202 * 0x1000, FRAMES - 202, LH_PRESENT);
    check_mapping(&s->row[9], base + 0x200000 + FRAMES * 0x1000, 512 - FRAMES, LH_ABSENT_NOT_RAM);
    check_mapping(&s->row[10], base + 0x400000, 512, LH_ABSENT_TABLE);
    check_mapping(&s->row[11], address(511, 0, 0, 0, 0), 1ull << 27, LH_ABSENT_TABLE);

    /* An absent stretch ends with the large page, wherever the next present page is. */
    m->page[FRAMES - 1].pfn = 600;
    m->fake.pages.end_pfn = 601;
    list(s);
    CHECK_EQ(s->count, 12);
    check_mapping(&s->row[9], base + 0x200000 + (FRAMES - 1) * 0x1000, 512 - FRAMES + 1, LH_ABSENT_NOT_RAM);

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
    literal_walks();
    software_entries();
    absences();
    reads();
    random_walks(60);
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
