/* Replays the fuzz target of the dump reader over generated mutations of good dumps. */
#include "check.h"
#include "dump_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#include "fuzz_dump.c"

/* Offsets of the fields that decide where pages lie. */
static const uint32_t fields[] = {0x30, 0x88,  0x90,   0x98,   0xa0,   0xa8,   0xb0,  0xb8,
                                  0xc0, 0xf98, 0x1050, 0x2000, 0x2020, 0x2028, 0x2030};
static const uint64_t values[] = {0,
                                  1,
                                  2,
                                  7,
                                  63,
                                  64,
                                  4096,
                                  0x2038,
                                  0x3000,
                                  0x4000,
                                  0x7fffffff,
                                  0xffffffff,
                                  0x100000000,
                                  (uint64_t)1 << 39,
                                  ((uint64_t)1 << 40) - 1,
                                  (uint64_t)1 << 40,
                                  (uint64_t)1 << 52,
                                  INT64_MAX,
                                  (uint64_t)1 << 63,
                                  UINT64_MAX - 4095,
                                  UINT64_MAX,
                                  0x4547415045474150u};

static void mutate(made_dump *copy, const made_dump *good, uint64_t *random)
{
    memcpy(copy->data, good->data, good->size);
    copy->size = good->size;
    uint32_t changes = 1 + next_random(random) % 4;
    for (uint32_t i = 0; i < changes; i++)
        switch (next_random(random) % 5) {
        case 0:
            put64(copy->data, fields[next_random(random) % (sizeof fields / sizeof fields[0])],
                  values[next_random(random) % (sizeof values / sizeof values[0])]);
            break;
        case 1:
            put32(copy->data, fields[next_random(random) % (sizeof fields / sizeof fields[0])],
                  next_random(random));
            break;
        case 2:
            copy->data[next_random(random) % 0x2080] ^= (uint8_t)(1u << next_random(random) % 8);
            break;
        case 3:
            put64(copy->data, 0x88 + 8 * (next_random(random) % 16), next_random(random) % 64);
            break;
        default:
            copy->size = next_random(random) % 8 ? next_random(random) % (good->size + 1) : copy->size;
        }
}

int main(void)
{
    enum { BITS = 700, ROUNDS = 12000 };
    static const made_run runs[] = {{1, 3}, {8, 4}, {40, 2}, {60, 1}};
    bool present[BITS] = {0};
    for (int i = 0; i < BITS; i++)
        present[i] = i % 97 < 2 || i > 697;
    made_dump good[3] = {make_full(runs, 4), make_bitmap(5, present, BITS), make_bitmap(6, present, BITS)};
    static const made_run machine[] = {{0, 300}, {300, 400}};
    put_runs(good[1].data, machine, 2);
    uint64_t random = 2024;
    for (size_t kind = 0; kind < 3; kind++) {
        /* A buffer of its own size each time, so that a sanitizer sees a byte too many. */
        made_dump copy = {malloc(good[kind].size), 0};
        for (int round = 0; round < ROUNDS; round++) {
            mutate(&copy, &good[kind], &random);
            uint8_t *exact = malloc(copy.size ? copy.size : 1);
            memcpy(exact, copy.data, copy.size);
            CHECK_EQ(LLVMFuzzerTestOneInput(exact, copy.size), 0);
            free(exact);
        }
        free(copy.data);
        CHECK_EQ(LLVMFuzzerTestOneInput(good[kind].data, good[kind].size), 0);
        free(good[kind].data);
    }
    return CHECK_END();
}
