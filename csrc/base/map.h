/* A map from 64-bit keys to indices: open addressing, keys never removed. */
#ifndef LHI_BASE_MAP_H
#define LHI_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lhi_map {
    uint64_t *keys;
    size_t *values; /* SIZE_MAX: free cell */
    size_t count, capacity;
} lhi_map;

/* SIZE_MAX: not there. */
size_t lhi_map_get(const lhi_map *map, uint64_t key);
/* Sets or replaces; value is not SIZE_MAX. false: no memory, nothing lost. */
bool lhi_map_put(lhi_map *map, uint64_t key, size_t value);
void lhi_map_free(lhi_map *map);

#endif
