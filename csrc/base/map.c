/* The hash map of 64-bit keys. */
#include "base/map.h"

#include "base/alloc.h"

/* Finalizer of MurmurHash3 (public domain): neighbouring addresses must not cluster. */
static uint64_t scramble(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdull;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53ull;
    return key ^ key >> 33;
}

static size_t place(const lhi_map *map, uint64_t key)
{
    size_t mask = map->capacity - 1;
    size_t at = (size_t)scramble(key) & mask;
    while (map->values[at] != SIZE_MAX && map->keys[at] != key)
        at = (at + 1) & mask;
    return at;
}

size_t lhi_map_get(const lhi_map *map, uint64_t key)
{
    return map->capacity ? map->values[place(map, key)] : SIZE_MAX;
}

static bool grow(lhi_map *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : 64;
    lhi_map larger = {.capacity = capacity, .count = map->count};
    larger.keys = lhi_realloc_array(NULL, capacity, sizeof *larger.keys);
    larger.values = lhi_realloc_array(NULL, capacity, sizeof *larger.values);
    if (!larger.keys || !larger.values) {
        lhi_map_free(&larger);
        return false;
    }
    for (size_t i = 0; i < capacity; i++)
        larger.values[i] = SIZE_MAX;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->values[i] == SIZE_MAX)
            continue;
        size_t at = place(&larger, map->keys[i]);
        larger.keys[at] = map->keys[i];
        larger.values[at] = map->values[i];
    }
    lhi_map_free(map);
    *map = larger;
    return true;
}

bool lhi_map_put(lhi_map *map, uint64_t key, size_t value)
{
    if (map->count * 2 >= map->capacity && !grow(map))
        return false;
    size_t at = place(map, key);
    map->count += map->values[at] == SIZE_MAX;
    map->keys[at] = key;
    map->values[at] = value;
    return true;
}

void lhi_map_free(lhi_map *map)
{
    lhi_free(map->keys);
    lhi_free(map->values);
    *map = (lhi_map){0};
}
