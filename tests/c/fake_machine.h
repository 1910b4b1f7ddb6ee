/* A small machine for tests: pages, hand-built page tables, and a walker written from the Intel SDM. */
#ifndef FAKE_MACHINE_H
#define FAKE_MACHINE_H

#include "base/bytes.h"
#include "check.h"
#include "fake_pages.h"
#include "space/space.h"

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

static inline void put(uint64_t physical, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        m->bytes[physical / LHI_PAGE_SIZE][physical % LHI_PAGE_SIZE + (unsigned)i] =
            (uint8_t)(value >> (8 * i));
}

static inline void set_entry(uint64_t table, unsigned slot, uint64_t raw)
{
    put(table * LHI_PAGE_SIZE + 8 * slot, raw);
}

static inline void reset(lh_absence otherwise)
{
    lh_source_release(m->source);
    memset(m->bytes, 0, sizeof m->bytes);
    for (uint64_t i = 0; i < FRAMES; i++)
        m->page[i] = (fake_page){i, LH_PRESENT, i * LHI_PAGE_SIZE, NULL};
    CHECK_EQ(lh_source_open_memory(m->bytes, sizeof m->bytes, &m->source, NULL), LH_OK);
    m->fake = fake_open(m->source, m->page, FRAMES, otherwise);
}

static inline void take_away(uint64_t frame, lh_absence why)
{
    m->page[frame].state = why;
    m->fake.pages.present--;
}

static inline lhi_space space_at(uint64_t dtb)
{
    lhi_space s;
    lhi_space_init(&s, &m->fake.pages, dtb);
    return s;
}

static inline uint64_t address(unsigned pml4, unsigned pdpt, unsigned pd, unsigned pt, unsigned offset)
{
    uint64_t va =
        (uint64_t)pml4 << 39 | (uint64_t)pdpt << 30 | (uint64_t)pd << 21 | (uint64_t)pt << 12 | offset;
    return pml4 >= 256 ? va | 0xffffull << 48 : va;
}

static inline lh_walk walk(uint64_t dtb, uint64_t va)
{
    lhi_space s = space_at(dtb);
    lh_walk w = {0};
    lhi_space_walk(&s, va, &w);
    CHECK_EQ(w.struct_size, sizeof w);
    CHECK_EQ(w.address, va);
    return w;
}

static inline void check_walk(uint64_t va, lh_absence absence, int level, uint64_t physical,
                              uint64_t page_size)
{
    lh_walk w = walk(0x1000, va);
    CHECK_EQ(w.absence, absence);
    CHECK_EQ(w.level, level);
    CHECK_EQ(w.physical, physical);
    CHECK_EQ(w.page_size, page_size);
}

/* PML4 in frame 1, PDPT 2, PD 3, PT 4; slots 300, 3, 5. */
static inline void build_path(void)
{
    reset(LH_ABSENT_NOT_RAM);
    set_entry(1, 300, 2 << 12 | P | 2);
    set_entry(2, 3, 3 << 12 | P | 2);
    set_entry(3, 5, 4 << 12 | P | 2);
}

static inline uint64_t with_pte(unsigned slot, uint64_t raw)
{
    set_entry(4, slot, raw);
    return address(300, 3, 5, slot, 0x123);
}

typedef struct oracle_row {
    uint64_t frame, va;
} oracle_row;

/* Intel SDM volume 3, 4.5: 4-level paging, valid entries only. False: not translated. */
static inline bool sdm_translate(uint64_t cr3, uint64_t va, uint64_t *physical)
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

static inline void random_tables(uint64_t *seed, bool wild)
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

static inline void oracle_add(oracle *o, uint64_t frame, uint64_t va)
{
    if (o->count == o->capacity) {
        o->capacity = o->capacity * 2 + 64;
        o->row = realloc(o->row, o->capacity * sizeof *o->row);
        if (o->row == NULL)
            abort();
    }
    o->row[o->count++] = (oracle_row){frame, va};
}

static inline void oracle_table(oracle *o, uint64_t root, uint64_t table, unsigned bit, uint64_t base)
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

static inline void oracle_run(oracle *o)
{
    o->count = 0;
    o->missing = 0;
    o->most_visits = 0;
    o->pages = 0;
    memset(o->visits, 0, sizeof o->visits);
    oracle_table(o, 1, 1, 39, 0xffffull << 48);
}

static inline int compare_oracle(const void *left, const void *right)
{
    const oracle_row *a = left;
    const oracle_row *b = right;
    if (a->frame != b->frame)
        return a->frame < b->frame ? -1 : 1;
    return a->va < b->va ? -1 : a->va > b->va;
}

#endif
