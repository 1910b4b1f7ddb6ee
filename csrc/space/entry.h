/* One page-table entry of x64 Windows: the hardware form and the software forms behind a clear valid bit. */
#ifndef LHI_SPACE_ENTRY_H
#define LHI_SPACE_ENTRY_H

#include "base/bytes.h"
#include "space/space.h"

/* Bits 12 to 51 (Intel SDM volume 3, 4-level paging). MAXPHYADDR of the machine is not known here. */
#define LHI_ENTRY_FRAMES 0xffffffffffull
#define LHI_ENTRY_COUNT  512u

typedef enum lhi_entry_kind { LHI_ENTRY_ABSENT = 0, LHI_ENTRY_TABLE = 1, LHI_ENTRY_PAGE = 2 } lhi_entry_kind;

typedef struct lhi_entry {
    lhi_entry_kind kind;
    lh_absence absence; /* of LHI_ENTRY_ABSENT */
    bool transition;    /* not valid for the processor; the frame still has the content */
    uint64_t frame;     /* the next table, or the first frame of the page */
} lhi_entry;

/* level 4 = PML4E ... 1 = PTE. The lookup tells which frames are RAM. */
void lhi_entry_decode(const lhi_pages *pages, uint64_t raw, int level, lhi_entry *out);

/* Address bits below what one entry of this level maps: 12, 21, 30, 39. */
static inline unsigned lhi_entry_shift(int level)
{
    return 12u + 9u * (unsigned)(level - 1);
}

static inline uint64_t lhi_entry_pages(int level)
{
    return 1ull << (lhi_entry_shift(level) - 12u);
}

#endif
