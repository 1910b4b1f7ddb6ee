/* The PFN bitmap: test, rank, select and run ends in logarithmic time at worst. */
#include "dump/bitmap.h"

#include "base/alloc.h"
#include "base/bytes.h"

#define BLOCK_WORDS (LHI_BLOCK_BITS / 64)

/* Bits set in a word: sums of ever wider fields, because the instruction is not in every processor's base
 * set. */
static uint32_t ones(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (uint32_t)((word * 0x0101010101010101u) >> 56);
}

/* Place of the lowest set bit of a word that is not 0. */
static uint32_t lowest(uint64_t word)
{
    return ones((word & (~word + 1)) - 1);
}

/* 64 bits from bit 64 * index on; those beyond the end are 0. */
static uint64_t word_at(const lhi_bitmap *map, uint64_t index)
{
    uint64_t first = index * 64;
    if (first >= map->bits)
        return 0;
    uint64_t left = map->bits - first;
    if (left >= 64)
        return lhi_u64(map->bytes + index * 8);
    uint64_t word = 0;
    for (uint64_t i = 0; i * 8 < left; i++)
        word |= (uint64_t)map->bytes[index * 8 + i] << (8 * i);
    return word & (((uint64_t)1 << left) - 1);
}

static uint64_t block_count(const lhi_bitmap *map)
{
    return map->bits / LHI_BLOCK_BITS + (map->bits % LHI_BLOCK_BITS != 0);
}

bool lhi_bitmap_init(lhi_bitmap *map, const uint8_t *bytes, uint64_t bits)
{
    lhi_bitmap made = {.bytes = bytes, .bits = bits};
    uint64_t blocks = block_count(&made);
    if (blocks >= SIZE_MAX / sizeof *made.rank)
        return false;
    made.rank = lhi_realloc_array(NULL, (size_t)blocks + 1, sizeof *made.rank);
    made.inside = lhi_realloc_array(NULL, (size_t)blocks, sizeof *made.inside);
    if (!made.rank || !made.inside) {
        lhi_bitmap_free(&made);
        return false;
    }
    for (uint64_t block = 0; block < blocks; block++) {
        made.rank[block] = made.set;
        made.inside[block] = 0;
        for (uint64_t i = 0; i < BLOCK_WORDS; i++) {
            if (i)
                made.inside[block] |= (made.set - made.rank[block]) << (9 * (i - 1));
            made.set += ones(word_at(&made, block * BLOCK_WORDS + i));
        }
    }
    made.rank[blocks] = made.set;
    *map = made;
    return true;
}

void lhi_bitmap_free(lhi_bitmap *map)
{
    lhi_free(map->rank);
    lhi_free(map->inside);
    *map = (lhi_bitmap){0};
}

bool lhi_bitmap_test(const lhi_bitmap *map, uint64_t bit)
{
    return bit < map->bits && (map->bytes[bit / 8] >> (bit % 8) & 1);
}

uint64_t lhi_bitmap_rank(const lhi_bitmap *map, uint64_t bit)
{
    if (bit >= map->bits)
        return map->set;
    uint64_t block = bit / LHI_BLOCK_BITS;
    uint64_t word = bit / 64;
    uint64_t before = word % BLOCK_WORDS ? map->inside[block] >> (9 * (word % BLOCK_WORDS - 1)) & 0x1ff : 0;
    return map->rank[block] + before + ones(word_at(map, word) & (((uint64_t)1 << (bit % 64)) - 1));
}

uint64_t lhi_bitmap_select(const lhi_bitmap *map, uint64_t number)
{
    uint64_t low = 0;
    uint64_t high = block_count(map);
    while (high - low > 1) { /* last block with no more than `number` set bits before it */
        uint64_t middle = low + (high - low) / 2;
        if (map->rank[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    uint64_t left = number - map->rank[low];
    for (uint64_t i = low * BLOCK_WORDS; i * 64 < map->bits; i++) {
        uint64_t word = word_at(map, i);
        uint32_t here = ones(word);
        if (left >= here) {
            left -= here;
            continue;
        }
        for (; left; left--)
            word &= word - 1;
        return i * 64 + lowest(word);
    }
    return map->bits;
}

uint64_t lhi_bitmap_next_set(const lhi_bitmap *map, uint64_t bit)
{
    if (bit >= map->bits)
        return map->bits;
    uint64_t word = word_at(map, bit / 64) >> (bit % 64) << (bit % 64);
    if (word) /* mostly it is near */
        return bit / 64 * 64 + lowest(word);
    uint64_t rank = lhi_bitmap_rank(map, bit);
    return rank < map->set ? lhi_bitmap_select(map, rank) : map->bits;
}

uint64_t lhi_bitmap_next_clear(const lhi_bitmap *map, uint64_t bit)
{
    /* Up to the block's end word by word; then whole blocks: from a block's start on, set bits grow as fast
     * as the bits themselves just as long as there is no clear one, so the directory can be bisected. */
    uint64_t blocks = block_count(map);
    uint64_t i = bit / 64;
    uint64_t below = ((uint64_t)1 << (bit % 64)) - 1; /* bits before the start count as set */
    bool jumped = false;
    while (i * 64 < map->bits) {
        if (i % BLOCK_WORDS == 0 && below == 0 && !jumped) {
            uint64_t start = i / BLOCK_WORDS;
            uint64_t step = 1; /* galloping, so that short runs stay cheap */
            uint64_t good = start;
            while (good + step <= blocks &&
                   map->rank[good + step] - map->rank[start] == (good + step - start) * LHI_BLOCK_BITS) {
                good += step;
                step *= 2;
            }
            for (; step; step /= 2)
                if (good + step <= blocks &&
                    map->rank[good + step] - map->rank[start] == (good + step - start) * LHI_BLOCK_BITS)
                    good += step;
            i = good * BLOCK_WORDS;
            jumped = true;
            continue;
        }
        uint64_t word = ~(word_at(map, i) | below);
        if (word) {
            uint64_t clear = i * 64 + lowest(word);
            return clear < map->bits ? clear : map->bits;
        }
        below = 0;
        i++;
    }
    return map->bits;
}
