/* A PFN bitmap with a rank directory: which pages a bitmap dump stores, and the how-manieth each is. */
#ifndef LHI_DUMP_BITMAP_H
#define LHI_DUMP_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Blocks of 512 bits with two words each: the bits set before the block, and packed sums inside it (Vigna's
 * rank9). A look-up counts one word of bits; the directory takes a quarter of the bitmap. */
#define LHI_BLOCK_BITS 512u

typedef struct lhi_bitmap {
    const uint8_t *bytes; /* (bits + 7) / 8 of them; bit n of byte n / 8 is PFN n, lowest first (facts 1.6) */
    uint64_t bits;
    uint64_t *rank;   /* bits set before each block, and in all */
    uint64_t *inside; /* 9 bits for each word of a block but the first: the bits set in the words before it */
    uint64_t set;
} lhi_bitmap;

/* Borrows bytes. False: no memory. */
bool lhi_bitmap_init(lhi_bitmap *map, const uint8_t *bytes, uint64_t bits);
void lhi_bitmap_free(lhi_bitmap *map);

bool lhi_bitmap_test(const lhi_bitmap *map, uint64_t bit);           /* false beyond the end */
uint64_t lhi_bitmap_rank(const lhi_bitmap *map, uint64_t bit);       /* bits set below `bit` */
uint64_t lhi_bitmap_select(const lhi_bitmap *map, uint64_t number);  /* place of set bit `number` < set */
uint64_t lhi_bitmap_next_set(const lhi_bitmap *map, uint64_t bit);   /* at or after; `bits` at the end */
uint64_t lhi_bitmap_next_clear(const lhi_bitmap *map, uint64_t bit); /* at or after; `bits` at the end */

#endif
