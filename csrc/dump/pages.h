/* The page lookup: every dump format is one of these behind one small interface. */
#ifndef LHI_DUMP_PAGES_H
#define LHI_DUMP_PAGES_H

#include "lockhound.h"

#define LHI_PAGE_SIZE 4096u

typedef struct lhi_pages lhi_pages;

/* A run of present pages that also lie one behind the other in the file (or in memory, for replaced ones). */
typedef struct lhi_run {
    uint64_t pfn;
    uint64_t count;
    uint64_t offset;       /* file offset of the first page; UINT64_MAX when the bytes are not in the file */
    const uint8_t *memory; /* the bytes when they are not in the file, else NULL */
} lhi_run;

typedef struct lhi_pages_ops {
    /* LH_PRESENT and the place of one page, or why it is absent. O(1) or O(log runs). */
    lh_absence (*find)(const lhi_pages *pages, uint64_t pfn, lhi_run *out);
    /* The next run at or after pfn; count 0 at the end. Never longer than the format says. */
    void (*next)(const lhi_pages *pages, uint64_t pfn, lhi_run *out);
    void (*destroy)(lhi_pages *pages);
} lhi_pages_ops;

struct lhi_pages {
    const lhi_pages_ops *ops;
    lh_source *source; /* retained by whoever owns the lookup's bottom */
    uint64_t present, described, clipped, ram;
    uint64_t end_pfn; /* no page at or above it is present */
};

lh_absence lhi_pages_find(const lhi_pages *pages, uint64_t pfn, lhi_run *out);
void lhi_pages_next(const lhi_pages *pages, uint64_t pfn, lhi_run *out);
/* Reads inside one page. Fails with LH_ERR_ABSENT (address = physical address) or LH_ERR_IO. */
lh_status lhi_pages_read(const lhi_pages *pages, uint64_t physical, void *buffer, size_t size, lh_error *err);

/* The dump's lookup, its header facts, for the upper directories. */
const lhi_pages *lhi_dump_pages(const lh_dump *dump);
const lh_dump_info *lhi_dump_header(const lh_dump *dump);
lh_dump *lhi_dump_retain(lh_dump *dump);
/* The raw header bytes (0x2000), for identity and context. */
const uint8_t *lhi_dump_header_bytes(const lh_dump *dump);
const char *lhi_dump_name(const lh_dump *dump);
/* What the dump's own numbers contradict each other in, or lack: one clause each, for a case's coverage. */
size_t lhi_dump_note_count(const lh_dump *dump);
const char *lhi_dump_note(const lh_dump *dump, size_t index);
/* The machine's memory runs as the header has them (n may be 0); false: not RAM at all. Valid only when
 * header info pages_ram != 0. */
bool lhi_dump_is_ram(const lh_dump *dump, uint64_t pfn);
/* File offset of a physical address; UINT64_MAX where it has none. */
uint64_t lhi_dump_file_offset(const lh_dump *dump, uint64_t physical);

/* Calls that take single failed reads for absences tell at their end whether the medium failed under them:
 * LH_ERR_IO when reads failed since `before`. */
uint64_t lhi_dump_read_failures(const lh_dump *dump);
lh_status lhi_dump_check_reads(const lh_dump *dump, uint64_t before, lh_error *err);

#endif
