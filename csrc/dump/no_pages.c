/* The page lookup of a dump that holds no physical page. */
#include "base/alloc.h"
#include "base/error.h"
#include "dump/lookup.h"

typedef struct no_pages {
    lhi_pages base;
    const lhi_runs *machine;
} no_pages;

static lh_absence find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    const no_pages *self = (const no_pages *)pages;
    (void)out;
    return self->machine && !lhi_runs_find(self->machine, pfn) ? LH_ABSENT_NOT_RAM : LH_ABSENT_NOT_CAPTURED;
}

static void next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    (void)pages;
    *out = (lhi_run){.pfn = pfn, .offset = LHI_NOT_IN_FILE};
}

static void destroy(lhi_pages *pages)
{
    lhi_free(pages);
}

static const lhi_pages_ops no_pages_ops = {find, next, destroy};

lh_status lhi_no_pages_open(lh_source *source, const lhi_runs *machine, lhi_pages **out, lh_error *err)
{
    no_pages *self = lhi_calloc(1, sizeof *self);
    if (!self)
        return lhi_fail_memory(err);
    self->base = (lhi_pages){.ops = &no_pages_ops, .source = source, .ram = machine ? machine->pages : 0};
    self->machine = machine;
    *out = &self->base;
    return LH_OK;
}
