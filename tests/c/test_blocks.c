/* Tests of virtual memory in pieces: what is kept of overlapping, lost and hostile blocks, reads, and their
 * scan. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "check.h"
#include "dump/blocks.h"
#include "dump/lookup.h"
#include "scan/kernel.h"
#include "space/space.h"

#define K 0xffffe00000000000ull

static uint8_t file[0x10000];
static lh_source *source;

static lhi_blocks start(void)
{
    return (lhi_blocks){.source = source};
}

static lh_absence get(const lhi_blocks *blocks, uint64_t va, uint8_t *buffer, size_t size, size_t *done,
                      uint64_t *at)
{
    lh_error err = {0};
    lh_status status = lhi_blocks_read(blocks, va, buffer, size, done, &err);
    *at = err.address;
    return status == LH_OK ? LH_PRESENT : status == LH_ERR_ABSENT ? err.absence : (lh_absence)99;
}

static void by_hand(void)
{
    uint8_t buffer[64] = {0};
    size_t done = 0;
    uint64_t at = 0;
    lhi_blocks b = start();
    CHECK(lhi_blocks_add(&b, K + 0x108, 0x500, 8)); /* touches the next, not the last */
    CHECK(lhi_blocks_add(&b, K + 0x200, 0x700, 16));
    CHECK(lhi_blocks_add(&b, K + 0x100, 0x200, 8));
    lhi_blocks_settle(&b);
    CHECK_EQ(b.count, 3);
    CHECK_EQ(b.bytes, 32);
    CHECK_EQ(get(&b, K + 0x100, buffer, 16, &done, &at), LH_PRESENT);
    CHECK(memcmp(buffer, file + 0x200, 8) == 0 && memcmp(buffer + 8, file + 0x500, 8) == 0);
    CHECK_EQ(get(&b, K + 0x103, buffer, 32, &done, &at), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(done, 13);
    CHECK_EQ(at, K + 0x110);
    CHECK_EQ(get(&b, K + 0xff, buffer, 1, &done, &at), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(get(&b, K + 0x20f, buffer, 1, &done, &at), LH_PRESENT);
    CHECK_EQ(buffer[0], file[0x70f]);
    CHECK_EQ(get(&b, K + 0x210, buffer, 1, &done, &at), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(get(&b, K + 0x210, buffer, 0, &done, &at), LH_PRESENT);
    CHECK_EQ(lhi_blocks_offset(&b, K + 0x10a), 0x502);
    CHECK_EQ(lhi_blocks_offset(&b, K + 0x110), UINT64_MAX);
    CHECK_EQ(lhi_blocks_state(&b, K + 0x107), LH_PRESENT);
    CHECK_EQ(lhi_blocks_state(&b, 0), LH_ABSENT_NOT_CAPTURED);
    CHECK(lhi_blocks_at(&b, K + 0x110) == &b.items[2] && lhi_blocks_at(&b, K + 0x210) == NULL);
    lhi_blocks_free(&b);
    CHECK_EQ(b.count, 0);
}

static void overlaps(void)
{
    lhi_blocks b = start();
    CHECK(lhi_blocks_add(&b, K + 8, 0x1000, 0x20)); /* cut in front by the next */
    CHECK(lhi_blocks_add(&b, K, 0x2000, 0x10));
    CHECK(lhi_blocks_add(&b, K + 0x10, 0x3000, 4)); /* inside */
    CHECK(lhi_blocks_add(&b, K, 0x100, 4));         /* inside, and its file offset is lower: it counts */
    CHECK(lhi_blocks_add(&b, K + 0x28, 0x4000, 1));
    lhi_blocks_settle(&b);
    CHECK_EQ(b.bytes, 0x29);
    uint8_t buffer[0x29] = {0};
    CHECK_EQ(lhi_blocks_read(&b, K, buffer, sizeof buffer, NULL, NULL), LH_OK);
    CHECK(memcmp(buffer, file + 0x100, 4) == 0);
    CHECK(memcmp(buffer + 4, file + 0x2004, 12) == 0);
    CHECK(memcmp(buffer + 0x10, file + 0x1008, 0x18) == 0);
    CHECK_EQ(buffer[0x28], file[0x4000]);
    lhi_blocks_free(&b);
}

static void lost(void)
{
    uint8_t buffer[32] = {0};
    size_t done = 0;
    uint64_t at = 0;
    lhi_blocks b = start();
    CHECK(lhi_blocks_add(&b, K, sizeof file - 8, 24));
    CHECK(lhi_blocks_add(&b, K + 0x100, sizeof file, 8));
    CHECK(lhi_blocks_add(&b, K + 0x200, UINT64_MAX - 3, 8));
    CHECK(lhi_blocks_add(&b, K + 0x10, 0, 4)); /* what one block lost another may have */
    lhi_blocks_settle(&b);
    CHECK_EQ(b.bytes, 12);
    CHECK_EQ(b.lost_bytes, 32);
    CHECK_EQ(get(&b, K, buffer, 16, &done, &at), LH_ABSENT_CLIPPED);
    CHECK_EQ(done, 8);
    CHECK_EQ(at, K + 8);
    CHECK_EQ(lhi_blocks_state(&b, K + 0x10), LH_PRESENT);
    CHECK_EQ(lhi_blocks_state(&b, K + 0x14), LH_ABSENT_CLIPPED);
    CHECK_EQ(lhi_blocks_state(&b, K + 0x18), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(lhi_blocks_state(&b, K + 0x107), LH_ABSENT_CLIPPED);
    CHECK_EQ(lhi_blocks_state(&b, K + 0x200), LH_ABSENT_CLIPPED);
    lhi_blocks_free(&b);
}

/* The last addresses of all: nothing wraps. */
static void top(void)
{
    uint8_t buffer[16] = {0};
    size_t done = 0;
    uint64_t at = 0;
    lhi_blocks b = start();
    CHECK(lhi_blocks_add(&b, UINT64_MAX - 8, 0x40, 8));
    CHECK(
        lhi_blocks_add(&b, UINT64_MAX - 3, 0x80, 2)); /* too short for a value, no multiple of eight in it */
    lhi_blocks_settle(&b);
    CHECK_EQ(get(&b, UINT64_MAX - 8, buffer, 16, &done, &at), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(done, 8);
    CHECK_EQ(at, UINT64_MAX);
    const uint64_t value[] = {lhi_u64(file + 0x40)};
    for (uint32_t align = 1; align <= 8; align *= 2) {
        const lhi_scan_options options = {.values = value, .value_count = 1, .align = align};
        lhi_scan_result got = {0};
        CHECK_EQ(lhi_scan_blocks(&b, &options, &got, NULL), LH_OK);
        CHECK_EQ(got.count, align == 1);
        lhi_scan_result_free(&got);
    }
    lhi_blocks_free(&b);
}

/* A space of blocks walks nowhere: no physical address can come out of it. */
static void space_of_blocks(void)
{
    lhi_blocks b = start();
    lh_walk walk = {0};
    uint64_t identity = 0, value = 0;
    CHECK(lhi_blocks_add(&b, K, 0x400, 0x40));
    lhi_blocks_settle(&b);
    lhi_pages *pages = NULL;
    lhi_space space = {0};
    lhi_run run = {0};
    CHECK_EQ(lhi_no_pages_open(source, NULL, &pages, NULL), LH_OK);
    lhi_space_init(&space, pages, 0x1000);
    space.blocks = &b;
    lhi_pages_next(pages, 0, &run);
    CHECK_EQ(run.count, 0);
    CHECK_EQ(lhi_pages_find(pages, 1, &run), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(lhi_space_u64(&space, K + 8, &value), LH_PRESENT);
    CHECK_EQ(value, lhi_u64(file + 0x408));
    CHECK_EQ(lhi_space_u64(&space, K + 0x39, &value), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(lhi_space_u64(&space, 0x1234567800000000ull, &value), LH_ABSENT_NONCANONICAL);
    CHECK_EQ(lhi_space_identity(&space, K + 5, &identity), LH_PRESENT);
    CHECK_EQ(identity, K + 5);
    CHECK_EQ(lhi_space_identity(&space, K + 0x40, &identity), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(lhi_space_identity(&space, 0x1234567800000000ull, &identity), LH_ABSENT_NONCANONICAL);
    lhi_space_walk(&space, K, &walk);
    CHECK_EQ(walk.absence, LH_ABSENT_TABLE);
    CHECK_EQ(walk.level, 4);
    CHECK_EQ(walk.physical, 0);
    lhi_pages_destroy(pages);
    lhi_blocks_free(&b);
}

static uint64_t state = 1;

static uint64_t any(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

#define WINDOW 0x800u

/* Random blocks over a small window of addresses against a map of its bytes. */
static void against_brute_force(void)
{
    static const lhi_scan_kernel *kernels[2];
    kernels[0] = &lhi_scan_serial;
    kernels[1] = lhi_scan_avx2() ? lhi_scan_avx2() : &lhi_scan_serial;
    for (unsigned round = 0; round < 300; round++) {
        lhi_blocks b = start();
        bool present[WINDOW] = {false};
        uint8_t bytes[WINDOW + 8] = {0};
        uint64_t count = any(20);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t va = any(WINDOW - 0x100), size = any(0x100) + 1, offset = any(0x8000);
            if (!CHECK(lhi_blocks_add(&b, K + va, offset, size)))
                return;
            memset(present + va, true, size);
        }
        lhi_blocks_settle(&b);
        uint64_t sum = 0;
        bool right = true;
        for (uint64_t i = 0; i < WINDOW; i++) {
            sum += present[i];
            right = right && (lhi_blocks_read(&b, K + i, bytes + i, 1, NULL, NULL) == LH_OK) == present[i];
        }
        CHECK(right);
        CHECK_EQ(b.bytes, sum);
        for (size_t i = 1; i < b.count; i++)
            right = right && b.items[i - 1].va + b.items[i - 1].size <= b.items[i].va;
        CHECK(right);
        uint64_t at = any(WINDOW), size = any(0x200) + 1, lead = 0;
        uint8_t buffer[0x200];
        size_t done = 0;
        while (lead < size && at + lead < WINDOW && present[at + lead])
            lead++;
        lhi_blocks_read(&b, K + at, buffer, size, &done, NULL);
        CHECK(done == lead && memcmp(buffer, bytes + at, lead) == 0);

        const uint64_t values[] = {lhi_u64(bytes + any(WINDOW - 8)), lhi_u64(bytes + any(WINDOW - 8)), 0};
        for (uint32_t align = 1; align <= 8; align *= 2) {
            lhi_scan_options options = {.values = values,
                                        .value_count = 3,
                                        .align = align,
                                        .limit = round % 3 == 0 ? 2 : 0,
                                        .kernel = kernels[round % 2]};
            lhi_scan_result got = {0};
            size_t wanted = 0;
            bool same = lhi_scan_blocks(&b, &options, &got, NULL) == LH_OK;
            for (uint64_t va = 0; same && va + 8 <= WINDOW; va += align) {
                bool whole = true;
                for (unsigned k = 0; k < 8; k++)
                    whole = whole && present[va + k];
                for (uint32_t n = 0; whole && n < 3; n++) {
                    if (lhi_u64(bytes + va) != values[n])
                        continue;
                    if (wanted < got.count)
                        same = same && got.physical[wanted] == K + va && got.needle[wanted] == n &&
                               got.value[wanted] == values[n];
                    wanted++;
                }
            }
            bool cut = options.limit != 0 && wanted > options.limit;
            CHECK(same && got.count == (cut ? options.limit : wanted) && got.truncated == cut);
            lhi_scan_result_free(&got);
        }
        lhi_blocks_free(&b);
    }
}

/* A run longer than the scan's buffer: values across its ends are found, once each. */
static void long_run(void)
{
    uint8_t *data = calloc(1, 0x30000);
    lh_source *longer = NULL;
    CHECK_EQ(lh_source_open_memory(data, 0x30000, &longer, NULL), LH_OK);
    lhi_blocks b = {.source = longer};
    const uint64_t value[] = {0x1122334455667788ull};
    uint64_t places[] = {0xfffa, 0x10001, 0x1fff3, 0x2fff8 - 3};
    for (size_t i = 0; i < 4; i++)
        for (unsigned k = 0; k < 8; k++)
            data[places[i] + k] = (uint8_t)(value[0] >> (8 * k));
    CHECK(lhi_blocks_add(&b, K + 3, 0, 0xffff) && lhi_blocks_add(&b, K + 3 + 0xffff, 0xffff, 0x20001));
    lhi_blocks_settle(&b);
    const lhi_scan_options options = {.values = value, .value_count = 1, .align = 1};
    lhi_scan_result got = {0};
    data[0x10001] = 0x88; /* the first two overlap: the second is written last, so only its bytes are sure */
    CHECK_EQ(lhi_scan_blocks(&b, &options, &got, NULL), LH_OK);
    CHECK_EQ(got.bytes, 0x30000);
    CHECK(got.count == 3 && got.physical[0] == K + 3 + 0x10001 && got.physical[1] == K + 3 + 0x1fff3 &&
          got.physical[2] == K + 3 + 0x2fff5);
    lhi_scan_result_free(&got);
    lhi_blocks_free(&b);
    lh_source_release(longer);
    free(data);
}

static bool refuse(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    (*(int *)user)++;
    return false;
}

static void stops(void)
{
    lhi_blocks b = start();
    const uint64_t value[] = {1};
    lhi_scan_result got = {0};
    lh_cancel *cancel = NULL;
    int calls = 0;
    CHECK(lhi_blocks_add(&b, K, 0, sizeof file));
    lhi_blocks_settle(&b);
    CHECK_EQ(lh_cancel_create(&cancel, NULL), LH_OK);
    lh_cancel_set(cancel);
    lhi_scan_options options = {.values = value, .value_count = 1, .cancel = cancel};
    CHECK_EQ(lhi_scan_blocks(&b, &options, &got, NULL), LH_ERR_CANCELLED);
    options = (lhi_scan_options){.values = value, .value_count = 1, .deadline = 1e-9};
    CHECK_EQ(lhi_scan_blocks(&b, &options, &got, NULL), LH_ERR_TIMEOUT);
    options =
        (lhi_scan_options){.values = value, .value_count = 1, .progress = refuse, .progress_user = &calls};
    CHECK_EQ(lhi_scan_blocks(&b, &options, &got, NULL), LH_ERR_CANCELLED);
    CHECK_EQ(calls, 1);
    options = (lhi_scan_options){.values = value, .value_count = 1, .align = 3};
    CHECK_EQ(lhi_scan_blocks(&b, &options, &got, NULL), LH_ERR_INVALID_ARGUMENT);
    CHECK(got.physical == NULL && got.count == 0);
    lh_cancel_destroy(cancel);
    lhi_blocks_free(&b);
}

#ifdef LHI_TEST_HOOKS
/* The n-th allocation fails, for every n: no memory is said, and nothing leaks. */
static void without_memory(void)
{
    const uint64_t value[] = {lhi_u64(file)};
    for (uint64_t n = 1; n < 100; n++) {
        lhi_blocks b = start();
        lhi_scan_result got = {0};
        lhi_alloc_fail_at(n, 0);
        bool added = lhi_blocks_add(&b, K, 0, 0x100) && lhi_blocks_add(&b, K + 0x1000, sizeof file, 4);
        lhi_blocks_settle(&b);
        const lhi_scan_options options = {.values = value, .value_count = 1};
        lh_status status = added ? lhi_scan_blocks(&b, &options, &got, NULL) : LH_ERR_NO_MEMORY;
        lhi_alloc_fail_at(0, 0);
        CHECK(status == LH_OK || status == LH_ERR_NO_MEMORY);
        lhi_scan_result_free(&got);
        lhi_blocks_free(&b);
        if (status == LH_OK)
            return;
    }
    CHECK_TEXT("it never came through", NULL);
}
#endif

int main(void)
{
    for (size_t i = 0; i < sizeof file; i++)
        file[i] = (uint8_t)(i * 131 + (i >> 8) * 17 + 1);
    CHECK_EQ(lh_source_open_memory(file, sizeof file, &source, NULL), LH_OK);
    by_hand();
    overlaps();
    lost();
    top();
    space_of_blocks();
    against_brute_force();
    long_run();
    stops();
#ifdef LHI_TEST_HOOKS
    without_memory();
#endif
    lh_source_release(source);
    return CHECK_END();
}
