/* Pieces of virtual memory in a dump without physical pages: which addresses are there, and where in the
 * file. */
#ifndef LHI_DUMP_BLOCKS_H
#define LHI_DUMP_BLOCKS_H

#include "dump/pages.h"

typedef struct lhi_block {
    uint64_t va;
    uint64_t size;   /* not 0; va + size does not wrap */
    uint64_t offset; /* in the file; of a lost block nothing is there */
} lhi_block;

typedef struct lhi_blocks {
    const lh_source *source; /* borrowed */
    lhi_block *items;        /* once settled: ascending, disjoint */
    size_t count, capacity;
    lhi_block *lost; /* likewise: what the dump describes and the file does not hold */
    size_t lost_count, lost_capacity;
    uint64_t bytes, lost_bytes; /* of the settled blocks */
} lhi_blocks;

/* Adds what lies at [offset, offset + size) of the file; a part behind the file's end is lost. The caller has
 * checked that va + size does not wrap. False: no memory. */
bool lhi_blocks_add(lhi_blocks *blocks, uint64_t va, uint64_t offset, uint64_t size);
/* Sorts the blocks and cuts each where an earlier one (of a lower address, then added first) has its bytes.
 */
void lhi_blocks_settle(lhi_blocks *blocks);
void lhi_blocks_free(lhi_blocks *blocks);

/* The block that ends above va, or NULL: the one that holds va where one does, else the next. */
const lhi_block *lhi_blocks_at(const lhi_blocks *blocks, uint64_t va);
/* LH_PRESENT, LH_ABSENT_CLIPPED for what the file lost, else LH_ABSENT_NOT_CAPTURED. */
lh_absence lhi_blocks_state(const lhi_blocks *blocks, uint64_t va);
/* File offset of one address; UINT64_MAX where it has none. */
uint64_t lhi_blocks_offset(const lhi_blocks *blocks, uint64_t va);
/* Across blocks that touch. *done (nullable) leading bytes read. LH_ERR_ABSENT names the first missing
 * address; beyond the last address of all there is none. */
lh_status lhi_blocks_read(const lhi_blocks *blocks, uint64_t va, void *buffer, size_t size, size_t *done,
                          lh_error *err);

/* Those of a triage dump; NULL for every other one. */
const lhi_blocks *lhi_dump_blocks(const lh_dump *dump);

#endif
