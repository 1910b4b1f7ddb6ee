/* Tests of walks and reads: hand-built tables, then random ones against the walker of the Intel SDM. */
#include "fake_machine.h"

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
    lh_source_release(m->source);
    free(m);
    return CHECK_END();
}
