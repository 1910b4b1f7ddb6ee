/* Tests of the overlay: pages removed and replaced, stacked in any order, against a plain list of frames. */
#include "base/alloc.h"
#include "dump_checks.h"

enum { FRAMES = 400 };

static lh_dump *make_bottom(made_dump *made, uint8_t *known)
{
    static const made_run machine[] = {{0, 150}, {200, FRAMES - 200}};
    bool present[FRAMES] = {0};
    for (int i = 0; i < FRAMES; i++) {
        bool ram = i < 150 || i >= 200;
        present[i] = ram && (i % 11 < 7 || (i > 230 && i < 300));
        known[i] = present[i] ? LH_PRESENT : ram ? LH_ABSENT_NOT_CAPTURED : LH_ABSENT_NOT_RAM;
    }
    *made = make_bitmap(6, present, FRAMES);
    put_runs(made->data, machine, 2);
    made->size -= 20 * MAKER_PAGE + 5; /* and clipped */
    int lost = 21;
    for (int i = FRAMES; i-- > 0 && lost;)
        if (known[i] == LH_PRESENT) {
            known[i] = LH_ABSENT_CLIPPED;
            lost--;
        }
    return open_dump(made->data, made->size, NULL);
}

static void stacks(void)
{
    uint64_t random = 7;
    for (int round = 0; round < 60; round++) {
        uint8_t known[FRAMES];
        uint64_t content[FRAMES];
        made_dump made = {0};
        lh_dump *dump = make_bottom(&made, known);
        lh_dump *kept[6] = {dump};
        int height = 1 + (int)(next_random(&random) % 5);
        for (uint64_t i = 0; i < FRAMES; i++)
            content[i] = i;
        if (!CHECK(dump != NULL))
            return;
        check_frames(dump, known, content, FRAMES);
        for (int level = 1; level <= height; level++) {
            uint64_t pfns[120];
            uint8_t *bytes = malloc(sizeof pfns / sizeof pfns[0] * MAKER_PAGE);
            size_t count = next_random(&random) % 120;
            bool with = next_random(&random) % 2;
            uint64_t at = next_random(&random) % FRAMES;
            for (size_t i = 0; i < count; i++) {
                at = next_random(&random) % 4 ? (at + 1) % FRAMES : next_random(&random) % FRAMES;
                pfns[i] = at; /* runs and single ones, in no order, some twice */
                make_page(bytes + i * MAKER_PAGE, 1000 * (uint64_t)level + i);
                if (with) {
                    known[at] = LH_PRESENT;
                    content[at] = 1000 * (uint64_t)level + i;
                } else if (known[at] != LH_ABSENT_NOT_RAM) {
                    known[at] = LH_ABSENT_NOT_CAPTURED;
                }
            }
            lh_status status = with ? lh_dump_with_pages(dump, pfns, bytes, count, &kept[level], NULL)
                                    : lh_dump_without_pages(dump, pfns, count, &kept[level], NULL);
            CHECK_EQ(status, LH_OK);
            memset(bytes, 0, sizeof pfns / sizeof pfns[0] * MAKER_PAGE); /* they were copied */
            free(bytes);
            dump = kept[level];
            check_frames(dump, known, content, FRAMES);
            CHECK(memcmp(lhi_dump_header_bytes(dump), made.data, MAKER_HEADER) == 0);
            for (int i = 0; i < FRAMES; i++)
                CHECK_EQ(lhi_dump_is_ram(dump, (uint64_t)i), i < 150 || i >= 200 || known[i] == LH_PRESENT);
        }
        CHECK_EQ(info_of(kept[0]).pages_ram, 350); /* the dumps below are as they were */
        for (int i = 0; i <= height; i++)          /* released from the bottom up, in one round of two */
            lh_dump_release(kept[round % 2 ? i : height - i]);
        free(made.data);
    }
}

/* The highest page goes, all pages go, the top is beyond the machine. */
static void ends(void)
{
    static const made_run runs[] = {{2, 3}, {10, 2}};
    uint8_t known[32];
    uint64_t content[32];
    uint64_t all[] = {11, 10, 4, 3, 2};
    uint8_t page[MAKER_PAGE];
    made_dump made = make_full(runs, 2);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    memset(known, LH_ABSENT_NOT_RAM, sizeof known);
    for (uint64_t i = 0; i < 32; i++)
        content[i] = i;
    known[2] = known[3] = known[4] = known[10] = known[11] = LH_PRESENT;
    for (size_t i = 0; i < 5; i++) {
        lh_dump *less = NULL;
        CHECK_EQ(lh_dump_without_pages(dump, &all[i], 1, &less, NULL), LH_OK);
        lh_dump_release(dump);
        dump = less;
        known[all[i]] = LH_ABSENT_NOT_CAPTURED;
        check_frames(dump, known, content, 32);
    }
    CHECK_EQ(info_of(dump).pages_present, 0);
    CHECK_EQ(info_of(dump).pages_described, 0);
    lh_dump *more = NULL;
    make_page(page, 77);
    uint64_t beyond = 31;
    CHECK_EQ(lh_dump_with_pages(dump, &beyond, page, 1, &more, NULL), LH_OK);
    known[31] = LH_PRESENT;
    content[31] = 77;
    check_frames(more, known, content, 32);
    lh_dump_release(dump);
    lh_dump_release(more);
    free(made.data);
}

static void high_stack(void)
{
    static const made_run runs[] = {{0, 1}};
    made_dump made = make_full(runs, 1);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    for (int i = 0; i < 2000 && dump; i++) {
        lh_dump *above = NULL;
        CHECK_EQ(lh_dump_without_pages(dump, NULL, 0, &above, NULL), LH_OK);
        lh_dump_release(dump);
        dump = above;
    }
    CHECK_EQ(info_of(dump).pages_present, 1);
    lh_dump_release(dump);
    free(made.data);
}

static void refused(void)
{
    static const made_run runs[] = {{0, 4}};
    uint8_t page[MAKER_PAGE] = {0};
    uint64_t pfn = 1;
    uint64_t impossible = (uint64_t)1 << 40;
    lh_dump *out = NULL;
    lh_error err = {0};
    made_dump made = make_full(runs, 1);
    lh_dump *dump = open_dump(made.data, made.size, NULL);
    CHECK_EQ(lh_dump_without_pages(NULL, &pfn, 1, &out, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_without_pages(dump, NULL, 1, &out, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "pfns");
    CHECK_EQ(lh_dump_without_pages(dump, &pfn, 1, NULL, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_without_pages(dump, &impossible, 1, &out, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lh_dump_with_pages(dump, &pfn, NULL, 1, &out, &err), LH_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err.field, "bytes");
    CHECK_EQ(lh_dump_with_pages(dump, NULL, NULL, 0, &out, &err), LH_OK);
    lh_dump_release(out);
    for (int with = 0; with < 2; with++) {
        lh_status status = LH_ERR_NO_MEMORY;
        uint64_t n = 0;
        while (status == LH_ERR_NO_MEMORY) {
            out = NULL;
            lhi_alloc_fail_at(++n, 0);
            status = with ? lh_dump_with_pages(dump, &pfn, page, 1, &out, &err)
                          : lh_dump_without_pages(dump, &pfn, 1, &out, &err);
            lhi_alloc_fail_at(0, 0);
            CHECK((out != NULL) == (status == LH_OK));
            lh_dump_release(out);
        }
        CHECK_EQ(status, LH_OK);
        CHECK_EQ(n, with ? 6 : 5);
    }
    lh_dump_release(dump);
    free(made.data);
}

int main(void)
{
    stacks();
    ends();
    high_stack();
    refused();
    return CHECK_END();
}
