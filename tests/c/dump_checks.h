/* Compares a dump with what each of its frames is known to be, through every way there is to ask for a page.
 */
#ifndef DUMP_CHECKS_H
#define DUMP_CHECKS_H

#include "check.h"
#include "dump/pages.h"
#include "dump_maker.h"

static inline lh_dump *open_dump(const void *data, size_t size, lh_error *err)
{
    lh_source *source = NULL;
    lh_dump *dump = NULL;
    if (lh_source_open_memory(data, size, &source, err) == LH_OK)
        lh_dump_open(source, &dump, err);
    lh_source_release(source);
    return dump;
}

static inline lh_dump_info info_of(const lh_dump *dump)
{
    lh_dump_info info = {.struct_size = sizeof info};
    CHECK_EQ(lh_dump_get_info(dump, &info, NULL), LH_OK);
    return info;
}

/* known[pfn] is the lh_absence of each frame below `count`; none above is present. replaced[pfn] (or NULL) is
 * the frame whose bytes stand in its place. */
static inline void check_frames(const lh_dump *dump, const uint8_t *known, const uint64_t *replaced,
                                uint64_t count)
{
    const lhi_pages *pages = lhi_dump_pages(dump);
    uint8_t *page = malloc(MAKER_PAGE);
    uint64_t present = 0;
    uint64_t clipped = 0;
    uint64_t highest = 0;
    uint64_t wrong = 0;
    for (uint64_t pfn = 0; pfn < count; pfn++) {
        uint64_t content = replaced ? replaced[pfn] : pfn;
        lhi_run place = {0};
        lh_absence absence = lhi_pages_find(pages, pfn, &place);
        size_t done = 7;
        lh_error err = {0};
        lh_status status = lh_dump_read_physical(dump, pfn * MAKER_PAGE, page, MAKER_PAGE, &done, &err);
        uint64_t offset = lhi_dump_file_offset(dump, pfn * MAKER_PAGE + 5);
        bool right = absence == known[pfn];
        if (known[pfn] == LH_PRESENT) {
            right = right && place.pfn == pfn && place.count == 1 && status == LH_OK && done == MAKER_PAGE &&
                    is_page(page, content) && (!place.memory || is_page(place.memory, content)) &&
                    (place.memory ? place.offset == UINT64_MAX && offset == UINT64_MAX
                                  : offset == place.offset + 5);
            present++;
            highest = pfn;
        } else {
            right = right && status == LH_ERR_ABSENT && err.absence == known[pfn] && done == 0 &&
                    err.address == pfn * MAKER_PAGE && offset == UINT64_MAX;
            clipped += known[pfn] == LH_ABSENT_CLIPPED;
        }
        if (!right && wrong++ < 3)
            fprintf(stderr, "frame 0x%" PRIx64 ": %s, not %s; read %s\n", pfn, lh_absence_name(absence),
                    lh_absence_name((lh_absence)known[pfn]), lh_status_name(status));
    }
    CHECK_EQ(wrong, 0);

    /* The runs from every frame on: the first present one at or after it, never longer than true, and of
     * bytes that lie one behind the other. */
    uint64_t next = UINT64_MAX;
    for (uint64_t pfn = count; pfn-- > 0;) {
        if (known[pfn] == LH_PRESENT)
            next = pfn;
        lhi_run run = {0};
        lhi_pages_next(pages, pfn, &run);
        bool right = next == UINT64_MAX ? run.count == 0 : run.count > 0 && run.pfn == next;
        uint64_t last = right && run.count ? run.pfn + run.count - 1 : 0;
        if (right && run.count) {
            lhi_run place = {0};
            right = last < count && lhi_pages_find(pages, last, &place) == LH_PRESENT &&
                    (run.memory ? place.memory == run.memory + (run.count - 1) * MAKER_PAGE
                                : place.offset == run.offset + (run.count - 1) * MAKER_PAGE);
            for (uint64_t i = run.pfn; i <= last && i < run.pfn + 70; i++)
                right = right && known[i] == LH_PRESENT;
        }
        if (!right && wrong++ < 3)
            fprintf(stderr, "run from frame 0x%" PRIx64 ": 0x%" PRIx64 " pages at 0x%" PRIx64 "\n", pfn,
                    run.count, run.pfn);
    }
    CHECK_EQ(wrong, 0);

    uint64_t listed = 0;
    uint64_t pfn = 0;
    uint64_t run = 0;
    while (lh_dump_next_run(dump, &pfn, &run, NULL) == LH_OK && run) {
        listed += run;
        pfn += run;
    }
    lh_dump_info info = info_of(dump);
    CHECK_EQ(listed, present);
    CHECK_EQ(info.pages_present, present);
    CHECK_EQ(info.pages_described, info.pages_present + info.pages_clipped);
    CHECK_EQ(info.pages_clipped, clipped);
    CHECK_EQ(info.highest_pfn, highest);
    static const uint64_t beyond[] = {0, 1, 511, (uint64_t)1 << 40, UINT64_MAX / MAKER_PAGE, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        lhi_run place = {0};
        uint64_t at = beyond[i] < count ? count + beyond[i] : beyond[i];
        CHECK(lhi_pages_find(pages, at, &place) != LH_PRESENT);
        lhi_pages_next(pages, at, &place);
        CHECK_EQ(place.count, 0);
    }
    free(page);
}

static inline bool has_note(const lh_dump *dump, const char *part)
{
    for (size_t i = 0; i < lhi_dump_note_count(dump); i++)
        if (strstr(lhi_dump_note(dump, i), part))
            return true;
    return false;
}

/* A generator of its own, so that runs repeat. */
static inline uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
