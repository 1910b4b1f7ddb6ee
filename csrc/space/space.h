/* Address spaces: page-table walks, reads by virtual address, and the reverse map PFN -> VA. */
#ifndef LHI_SPACE_SPACE_H
#define LHI_SPACE_SPACE_H

#include "dump/blocks.h"
#include "scan/scan.h"

typedef struct lhi_space {
    const lhi_pages *pages;
    uint64_t dtb;
    /* Not NULL: the space is made of these pieces of virtual memory and has no page tables. Reads come from
     * them; a walk ends at LH_ABSENT_TABLE, so that no physical address is ever made up. */
    const lhi_blocks *blocks;
} lhi_space;

/* First address of the kernel half on x64 with four levels (Intel SDM, canonical addresses). */
#define LHI_KERNEL_HALF 0xffff800000000000ull
#define LHI_USER_END    0x0000800000000000ull

bool lhi_is_canonical(uint64_t va);
static inline bool lhi_is_kernel(uint64_t va)
{
    return va >= LHI_KERNEL_HALF;
}

void lhi_space_init(lhi_space *space, const lhi_pages *pages, uint64_t dtb);
/* An absence is a result. out->struct_size is set by this. For LH_ABSENT_TABLE entry_addresses[entry_count]
 * is the entry that could not be read: its page is the missing table. For LH_ABSENT_NONCANONICAL level is 0.
 * A prototype PTE is followed once; what is reached through one has `transition` set, as no hardware PTE maps
 * it. */
void lhi_space_walk(const lhi_space *space, uint64_t va, lh_walk *out);
/* Physical address of va when its page's bytes are there; else why not (walk tells more). */
lh_absence lhi_space_translate(const lhi_space *space, uint64_t va, uint64_t *physical);
/* What tells one place of memory from another, whatever alias it is met at: the physical address, or in a
 * space of blocks the virtual one. LH_PRESENT, or why the byte is not there. */
lh_absence lhi_space_identity(const lhi_space *space, uint64_t va, uint64_t *identity);
/* Across pages. *done (nullable) leading bytes read. LH_ERR_ABSENT names the first missing address. */
lh_status lhi_space_read(const lhi_space *space, uint64_t va, void *buffer, size_t size, size_t *done,
                         lh_error *err);
/* Typed reads for structure decoders. Return LH_PRESENT or the absence; nothing else can go wrong (an I/O
 * error counts as LH_ABSENT_CLIPPED). */
lh_absence lhi_space_get(const lhi_space *space, uint64_t va, void *buffer, size_t size);
lh_absence lhi_space_u64(const lhi_space *space, uint64_t va, uint64_t *out);
lh_absence lhi_space_u32(const lhi_space *space, uint64_t va, uint32_t *out);
lh_absence lhi_space_u16(const lhi_space *space, uint64_t va, uint16_t *out);

/* The reverse map of the frames asked for: one breadth-first sweep of the kernel half. Rows are what valid
 * and transition PTEs map; prototype PTEs are not followed, and self-map entries of the PML4 are left out.
 *
 * Bounds, whatever the tables say: each (table frame, level) is swept once, so that work is linear in the
 * page tables present and the frames asked for. A frame gets at most LHI_REVERSE_ROWS rows from the entries
 * of each level and as many more through tables that several entries refer to; of those further references at
 * most LHI_REVERSE_ALIASES + 2 for each table are kept. The lowest address of a frame is always there. What a
 * bound left out is counted in aliases_dropped. */
#define LHI_REVERSE_ROWS    16u
#define LHI_REVERSE_ALIASES 65536u

typedef struct lhi_reverse {
    uint64_t *frame; /* ascending; a frame with several mappings has several rows, ascending by va */
    uint64_t *va;    /* page-aligned address that maps the frame (4 KiB granular inside large pages) */
    size_t count;
    uint64_t tables_missing; /* page tables of the kernel half that are not in the dump */
    uint64_t
        aliases_dropped; /* mappings that a bound left out, each of a frame that has rows, or of a table */
    bool complete;       /* none missing, none dropped: a frame without a row has no kernel mapping */
} lhi_reverse;
/* frames: sorted ascending, unique. Tables that refer to themselves (the self-map) are walked once. */
lh_status lhi_reverse_map(const lhi_space *space, const uint64_t *frames, size_t count, lhi_reverse *out,
                          lh_error *err);
/* Rows of one frame: [*first, *first + n). */
size_t lhi_reverse_find(const lhi_reverse *map, uint64_t frame, size_t *first);
void lhi_reverse_free(lhi_reverse *map);

/* A scan of what the space lies in: the physical pages, or its blocks. What hits.physical has is an identity
 * as of lhi_space_identity. */
lh_status lhi_space_scan(const lhi_space *space, const lhi_scan_options *options, lhi_scan_result *out,
                         lh_error *err);
/* Where the hits of such a scan are mapped: lhi_reverse_map of their pages (frame: identity >> 12). In a
 * space of blocks each page is its own and only row. */
lh_status lhi_space_places(const lhi_space *space, const uint64_t *frames, size_t count, lhi_reverse *out,
                           lh_error *err);

/* Every range of the kernel half that valid or transition PTEs map, merged: for coverage. */
typedef struct lhi_mapping {
    uint64_t va;
    uint64_t pages;   /* 4 KiB pages, contiguous in va, one state */
    lh_absence state; /* LH_PRESENT, NOT_CAPTURED, CLIPPED, NOT_RAM, or TABLE: a whole table is missing (or
                         was listed eight times already) and `pages` is what it could map at most. Inside a
                         large page the first of several absent frames tells the state of all */
    bool
        uncached; /* of an absent range: the entry maps it uncached or write-combining, as device memory is */
    bool transition; /* mapped by a transition PTE: not valid for the processor, the frame has the content */
} lhi_mapping;
/* Calls visit for each; ascending va; the self-map region itself is left out. */
lh_status lhi_space_mappings(const lhi_space *space, void (*visit)(void *user, const lhi_mapping *mapping),
                             void *user, lh_error *err);

#endif
