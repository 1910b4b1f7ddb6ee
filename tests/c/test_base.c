/* Tests of base: names of all codes, messages, allocation faults, checked sums, bounded bytes, vectors,
 * cancel. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/vec.h"
#include "check.h"

static void names(void)
{
    static const char *const statuses[] = {"ok",      "no_memory",   "invalid_argument", "io",
                                           "format",  "unsupported", "absent",           "cancelled",
                                           "timeout", "limit",       "internal"};
    static const char *const absences[] = {"present",    "not_captured", "clipped",     "not_ram",
                                           "not_mapped", "paged_out",    "demand_zero", "prototype",
                                           "table",      "noncanonical", "layout"};
    for (int i = 0; i <= LH_ERR_INTERNAL; i++)
        CHECK_TEXT(lh_status_name((lh_status)i), statuses[i]);
    for (int i = 0; i <= LH_ABSENT_LAYOUT; i++)
        CHECK_TEXT(lh_absence_name((lh_absence)i), absences[i]);
    CHECK_TEXT(lh_status_name((lh_status)(LH_ERR_INTERNAL + 1)), "unknown");
    CHECK_TEXT(lh_absence_name((lh_absence)(LH_ABSENT_LAYOUT + 1)), "unknown");
    CHECK_TEXT(lh_version(), "0.1.0");
}

static void messages(void)
{
    lh_error err = {0};
    CHECK_EQ(lhi_fail(NULL, LH_ERR_IO, "nobody hears"), LH_ERR_IO);
    CHECK_EQ(lhi_fail_memory(NULL), LH_ERR_NO_MEMORY);
    CHECK_EQ(lhi_fail_argument(NULL, "x", "y"), LH_ERR_INVALID_ARGUMENT);
    CHECK_EQ(lhi_fail_field(NULL, LH_ERR_FORMAT, "x", 1, "y"), LH_ERR_FORMAT);
    CHECK_EQ(lhi_fail_absent(NULL, LH_ABSENT_CLIPPED, 0, 1, "x"), LH_ERR_ABSENT);
    lhi_prefix(NULL, "nobody");

    CHECK_EQ(lhi_fail_field(&err, LH_ERR_FORMAT, "DumpType", 0xf98, "is %d", 7), LH_ERR_FORMAT);
    CHECK_EQ(err.code, LH_ERR_FORMAT);
    CHECK_EQ(err.offset, 0xf98);
    CHECK_TEXT(err.field, "DumpType");
    CHECK_TEXT(err.message, "DumpType at 0xf98: is 7");
    lhi_prefix(&err, "%s", "MEMORY.DMP");
    CHECK_TEXT(err.message, "MEMORY.DMP: DumpType at 0xf98: is 7");
    CHECK_EQ(err.offset, 0xf98);

    lhi_fail_absent(&err, LH_ABSENT_TABLE, 2, 0xfffff80000001000u, "virtual address");
    CHECK_EQ(err.code, LH_ERR_ABSENT);
    CHECK_EQ(err.absence, LH_ABSENT_TABLE);
    CHECK_EQ(err.level, 2);
    CHECK_EQ(err.address, 0xfffff80000001000u);
    CHECK_EQ(err.offset, 0); /* nothing of the error before */
    CHECK_TEXT(err.field, "");
    CHECK_HAS(err.message, "0xfffff80000001000");
    for (int i = 1; i <= LH_ABSENT_LAYOUT; i++) {
        lhi_fail_absent(&err, (lh_absence)i, 0, 0x1000, "at");
        CHECK(strstr(err.message, "at 0x1000: not there") == NULL);
    }
    lhi_fail_absent(&err, (lh_absence)99, 0, 0x1000, "at");
    CHECK_TEXT(err.message, "at 0x1000: not there");

    lhi_fail_argument(&err, "path", "is NULL");
    CHECK_TEXT(err.field, "path");
    CHECK_TEXT(err.message, "argument path: is NULL");
    CHECK_EQ(lhi_fail(&err, LH_ERR_INTERNAL, "again: %s", err.message), LH_ERR_INTERNAL); /* out of itself */
    CHECK_TEXT(err.message, "again: argument path: is NULL");
}

/* One line, valid UTF-8, nothing that a terminal obeys. */
static void clean_messages(void)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {{"a\nb\tc", "a\\x0ab\\x09c"},
                 {"\x1b[31mred", "\\x1b[31mred"},
                 {"\x7f", "\\x7f"},
                 {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
                 {"\xe2\x82\xac \xf0\x9f\x94\x92", "\xe2\x82\xac \xf0\x9f\x94\x92"},
                 {"\xc2\x9b"
                  "31m",
                  "\\x9b31m"},                                 /* C1 control sequence introducer */
                 {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
                 {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},          /* overlong */
                 {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
                 {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
                 {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"}, /* overlong */
                 {"\xe2\x82", "\\xe2\\x82"},                   /* cut */
                 {"\xff\xfe", "\\xff\\xfe"},
                 {"a\xe2\x80\xae"
                  "b",
                  "a\\u202eb"}, /* turns the reading direction */
                 {"\xf3\xa0\x80\x81", "\\U000e0001"} /* a tag: can't be seen */};
    lh_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lhi_fail(&err, LH_ERR_IO, "%s", cases[i].in);
        CHECK_TEXT(err.message, cases[i].out);
    }
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    lhi_fail(&err, LH_ERR_IO, "%s", text);
    CHECK_EQ(strlen(err.message), sizeof err.message - 1);
    memcpy(text + sizeof err.message - 2, "\xe2\x82\xac", 3); /* what does not fit is left off whole */
    lhi_fail(&err, LH_ERR_IO, "%s", text);
    CHECK_EQ(strlen(err.message), sizeof err.message - 2);
    CHECK_EQ(err.message[sizeof err.message - 3], 'x');
    memset(text, 'x', sizeof text - 1);
    lhi_fail_field(&err, LH_ERR_FORMAT, text, 0, "reason");
    CHECK_EQ(strlen(err.field), sizeof err.field - 1);
    lhi_fail(&err, LH_ERR_IO, "the reason");
    lhi_prefix(&err, "%s", text); /* a long path does not push the reason out */
    CHECK_HAS(err.message, ": the reason");
    CHECK_EQ(strncmp(err.message, "...xxx", 6), 0);
    for (int i = 0; i < 10; i++)
        lhi_prefix(&err, "a context of some length, number %d", i);
    CHECK(strlen(err.message) < sizeof err.message);
    CHECK_EQ(strncmp(err.message, "a context of some length, number 9: ", 36), 0);
}

static void allocation(void)
{
    uint64_t before = lhi_alloc_count();
    void *none = lhi_malloc(0);
    CHECK(none != NULL);
    lhi_free(none);
    none = lhi_calloc(0, 8);
    CHECK(none != NULL);
    lhi_free(none);
    none = lhi_realloc_array(NULL, 0, 8);
    CHECK(none != NULL);
    lhi_free(none);
    CHECK_EQ(lhi_alloc_count() - before, 3);
    volatile size_t huge = SIZE_MAX / 2 + 2; /* volatile: the compiler warns of what is meant here */
    CHECK(lhi_calloc(huge, 2) == NULL);
    CHECK(lhi_realloc_array(NULL, huge, 2) == NULL);
    uint64_t *zeros = lhi_calloc(4, sizeof *zeros);
    CHECK(zeros && zeros[0] == 0 && zeros[3] == 0);
    lhi_free(zeros);
    char *copy = lhi_strdup("text");
    CHECK_TEXT(copy, "text");
    lhi_free(copy);
    lhi_free(NULL);

    lhi_alloc_fail_at(2, 0);
    void *first = lhi_malloc(1);
    void *second = lhi_malloc(1);
    void *third = lhi_calloc(1, 1);
    CHECK(first && !second && third);
    lhi_free(first);
    lhi_free(third);
    lhi_alloc_fail_at(1, 1);
    CHECK(!lhi_malloc(1) && !lhi_calloc(1, 1) && !lhi_realloc_array(NULL, 1, 1) && !lhi_strdup(""));
    lhi_alloc_fail_at(0, 0);
    first = lhi_malloc(1);
    CHECK(first != NULL);
    lhi_free(first);
}

static void growth(void)
{
    uint32_t *rows = NULL;
    size_t room = 0;
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t before = lhi_alloc_count();
        bool full = i == room;
        CHECK(lhi_grow(&rows, i, &room, sizeof *rows));
        CHECK(room > i && (lhi_alloc_count() != before) == full);
        rows[i] = i;
    }
    const size_t before = room;
    lhi_alloc_fail_at(1, 0);
    CHECK(!lhi_grow(&rows, room, &room, sizeof *rows));
    lhi_alloc_fail_at(0, 0);
    CHECK(room == before && rows[0] == 0 && rows[99] == 99); /* nothing is lost */
    room = SIZE_MAX / 2 + 1;
    CHECK(!lhi_grow(&rows, room, &room, 1));
    CHECK_EQ(room, SIZE_MAX / 2 + 1);
    lhi_free(rows);
}

static void arithmetic(void)
{
    uint64_t out = 0;
    CHECK(lhi_add(1, 2, &out) && out == 3);
    CHECK(lhi_add(UINT64_MAX, 0, &out) && out == UINT64_MAX);
    CHECK(!lhi_add(UINT64_MAX, 1, &out));
    CHECK(lhi_mul(0, UINT64_MAX, &out) && out == 0);
    CHECK(lhi_mul(UINT64_MAX, 1, &out) && out == UINT64_MAX);
    CHECK(!lhi_mul((uint64_t)1 << 32, (uint64_t)1 << 32, &out));
    CHECK(lhi_span_inside(0, 0, 0));
    CHECK(lhi_span_inside(4, 4, 8));
    CHECK(!lhi_span_inside(4, 5, 8));
    CHECK(!lhi_span_inside(9, 0, 8));
    CHECK(!lhi_span_inside(UINT64_MAX, UINT64_MAX, 8));

    const uint8_t data[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0xf1, 0xff};
    lhi_bytes bytes = {data, 8};
    uint16_t two = 0;
    uint32_t four = 0;
    uint64_t eight = 0;
    CHECK(lhi_bytes_u16(bytes, 6, &two) && two == 0xf122);
    CHECK(lhi_bytes_u32(bytes, 4, &four) && four == 0xf1223344);
    CHECK(lhi_bytes_u64(bytes, 0, &eight) && eight == 0xf122334455667788);
    CHECK(!lhi_bytes_u16(bytes, 7, &two) && two == 0xf122);
    CHECK(!lhi_bytes_u32(bytes, 5, &four) && four == 0xf1223344);
    CHECK(!lhi_bytes_u64(bytes, 1, &eight) && eight == 0xf122334455667788);
    CHECK(!lhi_bytes_u64(bytes, SIZE_MAX, &eight));
    CHECK(!lhi_bytes_u16((lhi_bytes){NULL, 0}, 0, &two));
}

static void vectors(void)
{
    lhi_vec vec = {0};
    CHECK_EQ(lhi_vec_find(&vec, 1), SIZE_MAX);
    lhi_vec_sort_unique(&vec);
    CHECK_EQ(vec.count, 0);
    CHECK(lhi_vec_append(&vec, NULL, 0));
    uint64_t random = 1;
    for (int i = 0; i < 1000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        CHECK(lhi_vec_push(&vec, random >> 55)); /* 512 values: duplicates */
    }
    const uint64_t more[] = {UINT64_MAX, 0, 7, UINT64_MAX};
    CHECK(lhi_vec_append(&vec, more, 4));
    CHECK_EQ(vec.count, 1004);
    lhi_vec_sort_unique(&vec);
    for (size_t i = 1; i < vec.count; i++)
        CHECK(vec.data[i - 1] < vec.data[i]);
    CHECK_EQ(vec.data[0], 0);
    CHECK_EQ(lhi_vec_find(&vec, UINT64_MAX), vec.count - 1);
    CHECK_EQ(lhi_vec_find(&vec, UINT64_MAX - 1), SIZE_MAX);
    CHECK_EQ(lhi_lower_bound(vec.data, vec.count, UINT64_MAX - 1), vec.count - 1);
    CHECK_EQ(lhi_lower_bound(vec.data, vec.count - 1, UINT64_MAX), vec.count - 1);
    CHECK_EQ(lhi_lower_bound(NULL, 0, 7), 0);
    for (size_t i = 0; i < vec.count; i++)
        CHECK_EQ(lhi_vec_find(&vec, vec.data[i]), i);
    size_t count = vec.count;
    lhi_vec_sort_unique(&vec);
    CHECK_EQ(vec.count, count);
    while (vec.count < vec.capacity)
        CHECK(lhi_vec_push(&vec, 1));
    count = vec.count;
    lhi_alloc_fail_at(1, 1);
    CHECK(!lhi_vec_push(&vec, 1));
    CHECK(!lhi_vec_append(&vec, more, 4));
    CHECK(!lhi_vec_append(&vec, more, SIZE_MAX));
    lhi_alloc_fail_at(0, 0);
    CHECK_EQ(vec.count, count);
    CHECK_EQ(vec.data[0], 0);
    lhi_vec_free(&vec);
    CHECK(vec.data == NULL && vec.count == 0 && vec.capacity == 0);
}

static void cancelling(void)
{
    lh_cancel *cancel = NULL;
    lh_error err = {0};
    CHECK_EQ(lh_cancel_create(NULL, &err), LH_ERR_INVALID_ARGUMENT);
    lhi_alloc_fail_at(1, 0);
    CHECK_EQ(lh_cancel_create(&cancel, &err), LH_ERR_NO_MEMORY);
    CHECK(cancel == NULL);
    CHECK_EQ(lh_cancel_create(&cancel, &err), LH_OK);
    CHECK(!lh_cancel_is_set(cancel));
    lh_cancel_set(cancel);
    CHECK(lh_cancel_is_set(cancel));
    lh_cancel_destroy(cancel);
    CHECK(!lh_cancel_is_set(NULL));
    lh_cancel_set(NULL);
    lh_cancel_destroy(NULL);
}

int main(void)
{
    names();
    messages();
    clean_messages();
    allocation();
    growth();
    arithmetic();
    vectors();
    cancelling();
    return CHECK_END();
}
