/* The page tables that a sweep has met, each (frame, level) once, and their bytes. */
#ifndef LHI_SPACE_TABLES_H
#define LHI_SPACE_TABLES_H

#include "space/entry.h"

typedef struct lhi_tables {
    uint64_t *keys; /* in the order of adding */
    size_t count, capacity;
    uint32_t *slots; /* open addressing: index + 1 */
    unsigned bits;
} lhi_tables;

static inline uint64_t lhi_table_key(uint64_t frame, int level)
{
    return frame << 2 | (uint64_t)(level - 1);
}

/* Finds or adds a key. False: no memory, nothing lost. */
bool lhi_tables_add(lhi_tables *tables, uint64_t key, uint32_t *index, bool *added);
void lhi_tables_free(lhi_tables *tables);

/* The table's 4096 bytes, in place or read into buffer; *entries is NULL when its page is not in the dump.
 * Only LH_ERR_IO fails. */
lh_status lhi_table_read(const lhi_pages *pages, uint64_t frame, uint8_t *buffer, const uint8_t **entries,
                         lh_error *err);

#endif
