/* A page lookup for tests: a sorted list of pages, each in a source, in memory or absent with a kind. */
#ifndef FAKE_PAGES_H
#define FAKE_PAGES_H

#include "dump/pages.h"

typedef struct fake_page {
    uint64_t pfn;
    lh_absence state;
    uint64_t offset; /* in the source; not used with memory */
    const uint8_t *memory;
} fake_page;

typedef struct fake_pages {
    lhi_pages pages; /* first: the lookup's functions get a pointer to it */
    const fake_page *page;
    size_t count;
    lh_absence otherwise; /* of a PFN that is not listed */
} fake_pages;

static inline lhi_run fake_place(const fake_page *p)
{
    return (lhi_run){p->pfn, 1, p->memory != NULL ? UINT64_MAX : p->offset, p->memory};
}

static inline size_t fake_lower_bound(const fake_pages *f, uint64_t pfn)
{
    size_t low = 0;
    size_t high = f->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->page[middle].pfn < pfn)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline lh_absence fake_find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const fake_pages *f = (const fake_pages *)(const void *)pages;
    size_t at = fake_lower_bound(f, pfn);
    if (at == f->count || f->page[at].pfn != pfn)
        return f->otherwise;
    if (f->page[at].state == LH_PRESENT)
        *out = fake_place(&f->page[at]);
    return f->page[at].state;
}

static inline void fake_next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const fake_pages *f = (const fake_pages *)(const void *)pages;
    size_t at = fake_lower_bound(f, pfn);
    while (at < f->count && f->page[at].state != LH_PRESENT)
        at++;
    *out = (lhi_run){.pfn = pfn, .offset = UINT64_MAX};
    if (at == f->count)
        return;
    *out = fake_place(&f->page[at]);
    for (at++; at < f->count; at++) {
        const fake_page *p = &f->page[at];
        uint64_t bytes = out->count * LHI_PAGE_SIZE;
        if (p->state != LH_PRESENT || p->pfn != out->pfn + out->count)
            break;
        if (out->memory != NULL ? p->memory != out->memory + bytes
                                : p->memory != NULL || p->offset != out->offset + bytes)
            break;
        out->count++;
    }
}

static const lhi_pages_ops FAKE_OPS = {fake_find, fake_next, NULL};

static inline fake_pages fake_open(lh_source *source, const fake_page *page, size_t count,
                                   lh_absence otherwise)
{
    fake_pages f = {.pages = {.ops = &FAKE_OPS, .source = source}, .page = page, .count = count};
    f.otherwise = otherwise;
    for (size_t i = 0; i < count; i++)
        if (page[i].state == LH_PRESENT) {
            f.pages.present++;
            f.pages.end_pfn = page[i].pfn + 1;
        }
    f.pages.described = f.pages.present;
    f.pages.ram = otherwise == LH_ABSENT_NOT_RAM ? count : 0;
    return f;
}

/* xorshift64* (Vigna 2014): repeatable numbers from a seed that is not 0. */
static inline uint64_t fake_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

#endif
