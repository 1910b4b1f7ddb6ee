/* The page lookup's common part: dispatch to the format, and reads inside one page. */
#include "dump/pages.h"

#include "base/error.h"
#include "dump/lookup.h"
#include "source/source.h"

#include <string.h>

lh_absence lhi_pages_find(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    return pages->ops->find(pages, pfn, out);
}

void lhi_pages_next(const lhi_pages *pages, uint64_t pfn, lhi_run *out)
{
    *out = (lhi_run){.pfn = pfn, .offset = LHI_NOT_IN_FILE};
    if (pfn < pages->end_pfn)
        pages->ops->next(pages, pfn, out);
}

void lhi_pages_destroy(lhi_pages *pages)
{
    if (pages)
        pages->ops->destroy(pages);
}

lh_status lhi_pages_read(const lhi_pages *pages, uint64_t physical, void *buffer, size_t size, lh_error *err)
{
    uint64_t inside = physical % LHI_PAGE_SIZE;
    if (size > LHI_PAGE_SIZE - inside)
        return lhi_fail(err, LH_ERR_INTERNAL, "a read of %zu bytes at 0x%llx leaves its page", size,
                        (unsigned long long)physical);
    lhi_run place = {0};
    lh_absence absence = lhi_pages_find(pages, physical / LHI_PAGE_SIZE, &place);
    if (absence != LH_PRESENT)
        return lhi_fail_absent(err, absence, 0, physical, "physical memory at");
    if (place.memory) {
        memcpy(buffer, place.memory + inside, size);
        return LH_OK;
    }
    lh_status status = lhi_source_read(pages->source, place.offset + inside, buffer, size, err);
    if (status != LH_OK) {
        lhi_prefix(err, "physical memory at 0x%llx", (unsigned long long)physical);
        if (err)
            err->address = physical;
    }
    return status;
}
