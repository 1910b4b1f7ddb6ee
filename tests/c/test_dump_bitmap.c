/* Tests of the PFN bitmap with its rank directory against a plain count, over long and short runs. */
#include "base/alloc.h"
#include "dump/bitmap.h"
#include "dump_checks.h"

static void compare(const uint8_t *bytes, uint64_t bits)
{
    lhi_bitmap map = {0};
    uint64_t rank = 0;
    uint64_t wrong = 0;
    if (!CHECK(lhi_bitmap_init(&map, bytes, bits)))
        return;
    uint64_t *clear = malloc((bits + 1) * sizeof *clear); /* next clear bit at or after */
    clear[bits] = bits;
    uint64_t *set_at = malloc((bits + 1) * sizeof *set_at); /* next set bit likewise */
    set_at[bits] = bits;
    for (uint64_t i = bits; i-- > 0;) {
        set_at[i] = bytes[i / 8] >> (i % 8) & 1 ? i : set_at[i + 1];
        clear[i] = bytes[i / 8] >> (i % 8) & 1 ? clear[i + 1] : i;
    }
    for (uint64_t i = 0; i < bits; i++) {
        bool set = bytes[i / 8] >> (i % 8) & 1;
        wrong += lhi_bitmap_test(&map, i) != set;
        wrong += lhi_bitmap_rank(&map, i) != rank;
        wrong += lhi_bitmap_next_set(&map, i) != set_at[i];
        wrong += lhi_bitmap_next_clear(&map, i) != clear[i];
        wrong += set && lhi_bitmap_select(&map, rank) != i;
        rank += set;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(map.set, rank);
    for (uint64_t i = bits; i < bits + 600; i += 67) {
        CHECK(!lhi_bitmap_test(&map, i));
        CHECK_EQ(lhi_bitmap_rank(&map, i), rank);
        CHECK_EQ(lhi_bitmap_next_set(&map, i), bits);
        CHECK_EQ(lhi_bitmap_next_clear(&map, i), bits);
    }
    CHECK_EQ(lhi_bitmap_rank(&map, UINT64_MAX), rank);
    lhi_bitmap_free(&map);
    CHECK(map.rank == NULL);
    free(clear);
    free(set_at);
}

int main(void)
{
    static const uint64_t sizes[] = {1, 8, 64, 65, 512, 513, 4096, 20000, 70001, 131072};
    uint64_t random = 3;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (uint32_t length = 1; length < 100000; length *= 7) {
            uint64_t bits = sizes[s];
            uint8_t *bytes = malloc((bits + 7) / 8);
            memset(bytes, 0xff, (bits + 7) / 8); /* bits behind the end too: they must not count */
            bool set = true;
            for (uint64_t i = 0; i < bits; i++) {
                if (next_random(&random) % length == 0)
                    set = !set;
                if (!set)
                    bytes[i / 8] &= (uint8_t) ~(1u << (i % 8));
            }
            compare(bytes, bits);
            memset(bytes, 0xff, (bits + 7) / 8);
            compare(bytes, bits);
            memset(bytes, 0, (bits + 7) / 8);
            compare(bytes, bits);
            free(bytes);
        }
    compare(NULL, 0);
    lhi_bitmap none = {0};
    uint8_t one = 1;
    for (uint64_t n = 1; n <= 2; n++) {
        lhi_alloc_fail_at(n, 0);
        CHECK(!lhi_bitmap_init(&none, &one, 8));
        lhi_alloc_fail_at(0, 0);
    }
    CHECK(none.rank == NULL);
    return CHECK_END();
}
