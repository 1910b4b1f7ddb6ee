/* Text out of a dump: literal expectations for every kind of hostile name. */
#include "check.h"

#include "made_kernel.h"
#include "nt/text.h"

/* Units as UTF-16LE bytes; returns their number. */
static size_t utf16(uint8_t *out, const uint16_t *units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = (uint8_t)units[i];
        out[2 * i + 1] = (uint8_t)(units[i] >> 8);
    }
    return count;
}

#define UNITS(...) (const uint16_t[]){__VA_ARGS__}, sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t)

static const char *convert(const uint16_t *units, size_t count, bool lower, size_t size)
{
    static char out[256];
    uint8_t bytes[128] = {0};
    memset(out, '#', sizeof out);
    lhi_text_utf16(bytes, utf16(bytes, units, count), lower, out, size);
    return out;
}

static void test_plain(void)
{
    CHECK_TEXT(convert(UNITS('N', 't', 'F', 's', '.', 'S', 'Y', 'S'), true, 64), "ntfs.sys");
    CHECK_TEXT(convert(UNITS('N', 't', 'F', 's'), false, 64), "NtFs");
    /* Only ASCII is folded: a capital sharp or accented letter keeps its identity. */
    CHECK_TEXT(convert(UNITS(0x00c4, 0x0416, 0x20ac), true, 64), "\xc3\x84\xd0\x96\xe2\x82\xac");
    CHECK_TEXT(convert(UNITS(0xd83d, 0xde00), false, 64), "\xf0\x9f\x98\x80");
    CHECK_TEXT(convert(UNITS('a', ' ', '=', '<', '&', '"'), false, 64), "a =<&\"");
    lhi_text_utf16(NULL, 0, false, (char[4]){0}, 4);
    CHECK_TEXT(convert(UNITS('a'), false, 1), "");
}

static void test_escapes(void)
{
    CHECK_TEXT(convert(UNITS('a', 0, 'b'), false, 64), "a\\u0000b");
    CHECK_TEXT(convert(UNITS(0x1b, '[', '3', '1', 'm'), false, 64), "\\u001b[31m");
    CHECK_TEXT(convert(UNITS('\r', '\n', '\t'), false, 64), "\\u000d\\u000a\\u0009");
    CHECK_TEXT(convert(UNITS(0x7f, 0x80, 0x9b, 0x9f), false, 64), "\\u007f\\u0080\\u009b\\u009f");
    CHECK_TEXT(convert(UNITS('a', '\\', 'b'), false, 64), "a\\\\b");
    /* Text that looks like an escape keeps its backslash apart from a real one. */
    CHECK_TEXT(convert(UNITS('\\', 'u', '0', '0', '1', 'b'), false, 64), "\\\\u001b");
    CHECK_TEXT(convert(UNITS(0x202e, 0x202a, 0x2066, 0x2069, 0x200f, 0x061c), false, 64),
               "\\u202e\\u202a\\u2066\\u2069\\u200f\\u061c");
    CHECK_TEXT(convert(UNITS(0x2028, 0x2029), false, 64), "\\u2028\\u2029");
    CHECK_TEXT(convert(UNITS(0x200b, 0xfeff, 0xad, 0xfffe, 0xffff), false, 64),
               "\\u200b\\ufeff\\u00ad\\ufffe\\uffff");
    /* U+E0041, an invisible tag. */
    CHECK_TEXT(convert(UNITS(0xdb40, 0xdc41), false, 64), "\\udb40\\udc41");
    /* Neighbours of the escaped ranges stay. */
    CHECK_TEXT(convert(UNITS(0x20, 0x7e, 0xa0, 0x2027, 0x202f, 0x2010), false, 64),
               " ~\xc2\xa0\xe2\x80\xa7\xe2\x80\xaf\xe2\x80\x90");
}

static void test_surrogates(void)
{
    CHECK_TEXT(convert(UNITS(0xd800), false, 64), "\\ud800");
    CHECK_TEXT(convert(UNITS(0xdc00), false, 64), "\\udc00");
    CHECK_TEXT(convert(UNITS(0xd800, 'x'), false, 64), "\\ud800x");
    CHECK_TEXT(convert(UNITS(0xdc00, 0xd800), false, 64), "\\udc00\\ud800");
    CHECK_TEXT(convert(UNITS(0xd800, 0xd800, 0xdc00), false, 64), "\\ud800\xf0\x90\x80\x80");
    CHECK_TEXT(convert(UNITS(0xdbff, 0xdffd), false, 64), "\xf4\x8f\xbf\xbd");
}

static void test_room(void)
{
    /* Never half a character, never half an escape, and nothing behind what did not fit. */
    CHECK_TEXT(convert(UNITS('a', 0x20ac, 'b'), false, 4), "a");
    CHECK_TEXT(convert(UNITS('a', 0x20ac, 'b'), false, 5), "a\xe2\x82\xac");
    CHECK_TEXT(convert(UNITS('a', 0x1b, 'b'), false, 7), "a");
    CHECK_TEXT(convert(UNITS('a', 0x1b, 'b'), false, 8), "a\\u001b");
    CHECK_TEXT(convert(UNITS('a', '\\', 'b'), false, 3), "a");
    CHECK_TEXT(convert(UNITS('a', 'b', 'c'), false, 3), "ab");
    const char *filled = convert(UNITS('a', 'b', 'c'), false, 3);
    CHECK_EQ(filled[3], '#');
    char none[2] = {'#', '#'};
    lhi_text_utf16((const uint8_t *)"a", 0, false, none, 0);
    lhi_text_bytes((const uint8_t *)"a", 1, none, 0);
    CHECK_EQ(none[0], '#');
}

static void test_bytes(void)
{
    char out[64];
    lhi_text_bytes((const uint8_t *)"cap\x1b[m\x80\xff\\", 9, out, sizeof out);
    CHECK_TEXT(out, "cap\\x1b[m\\x80\\xff\\\\");
    lhi_text_bytes((const uint8_t *)"ab\0cd", 5, out, sizeof out);
    CHECK_TEXT(out, "ab");
    lhi_text_bytes((const uint8_t *)"\x7f~ ", 3, out, sizeof out);
    CHECK_TEXT(out, "\\x7f~ ");
    lhi_text_bytes((const uint8_t *)"ab\x80", 3, out, 6);
    CHECK_TEXT(out, "ab");
}

static void test_parts(void)
{
    char out[8];
    CHECK_TEXT(lhi_text_base_name("\\\\systemroot\\\\drivers\\\\ntfs.sys"), "ntfs.sys");
    CHECK_TEXT(lhi_text_base_name("ntfs.sys"), "ntfs.sys");
    CHECK_TEXT(lhi_text_base_name("dir\\\\"), "");
    CHECK_TEXT(lhi_text_base_name(""), "");
    /* An escaped character is no separator, and "\u005c" from a hostile name can't come about. */
    CHECK_TEXT(lhi_text_base_name("a\\u202eb"), "a\\u202eb");
    CHECK_TEXT(lhi_text_base_name("x\\\\a\\u202e"), "a\\u202e");
    CHECK_TEXT(lhi_text_base_name("x\\\\\\u202e"), "\\u202e"); /* a separator, then an escape */
    CHECK_TEXT(lhi_text_base_name("x\\"), "x\\");
    lhi_text_copy("abc\\u202e", out, sizeof out);
    CHECK_TEXT(out, "abc");
    lhi_text_copy("a\\u202e", out, sizeof out);
    CHECK_TEXT(out, "a\\u202e");
    lhi_text_copy("abcdef\xc3\xa4", out, sizeof out);
    CHECK_TEXT(out, "abcdef");
    lhi_text_copy("abcde\\\\", out, sizeof out);
    CHECK_TEXT(out, "abcde\\\\");
    lhi_text_copy("abcdef\\\\", out, sizeof out);
    CHECK_TEXT(out, "abcdef");
}

#define STRINGS 0xffffa00000001000ull

static void test_unicode_string(void)
{
    world w = world_make();
    world_map(&w, STRINGS);
    world_map(&w, STRINGS + 0x1000);
    const uint64_t whole = STRINGS, crossing = STRINGS + 0x10, odd = STRINGS + 0x20, low = STRINGS + 0x30;
    const uint64_t empty = STRINGS + 0x40, user = STRINGS + 0x50, far = STRINGS + 0x60;
    world_string(&w, whole, STRINGS + 0x200, "Ntfs.sys");
    world_string(&w, crossing, STRINGS + 0xffa, "Leaky.sys");
    world_header(&w, odd, 3, 8, STRINGS + 0x200);
    world_header(&w, low, 8, 6, STRINGS + 0x200);
    world_header(&w, empty, 0, 0, 0);
    world_header(&w, user, 8, 8, 0x10000);
    world_header(&w, far, 8, 8, STRINGS + 0x5000);
    lh_dump *dump = world_open(&w);
    lhi_space space;
    char out[64];
    uint64_t at = 0;
    lhi_space_init(&space, lhi_dump_pages(dump), WORLD_DTB);
    CHECK_EQ(lhi_text_unicode_string(&space, whole, true, out, sizeof out, &at), LH_PRESENT);
    CHECK_TEXT(out, "ntfs.sys");
    CHECK_EQ(lhi_text_unicode_string(&space, crossing, false, out, sizeof out, NULL), LH_PRESENT);
    CHECK_TEXT(out, "Leaky.sys");
    CHECK_EQ(lhi_text_unicode_string(&space, whole, true, out, 4, &at), LH_PRESENT);
    CHECK_TEXT(out, "ntf");
    CHECK_EQ(lhi_text_unicode_string(&space, odd, true, out, sizeof out, &at), LH_ABSENT_LAYOUT);
    CHECK_EQ(at, odd);
    CHECK_TEXT(out, "");
    CHECK_EQ(lhi_text_unicode_string(&space, low, true, out, sizeof out, &at), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_text_unicode_string(&space, user, true, out, sizeof out, &at), LH_ABSENT_LAYOUT);
    CHECK_EQ(lhi_text_unicode_string(&space, empty, true, out, sizeof out, &at), LH_PRESENT);
    CHECK_TEXT(out, "");
    CHECK_EQ(lhi_text_unicode_string(&space, far, true, out, sizeof out, &at), LH_ABSENT_NOT_MAPPED);
    CHECK_EQ(at, STRINGS + 0x5000);
    CHECK_EQ(lhi_text_unicode_string(&space, STRINGS + 0x5000, true, out, sizeof out, &at),
             LH_ABSENT_NOT_MAPPED);
    CHECK_EQ(at, STRINGS + 0x5000);
    lh_dump_release(dump);

    /* The page of the string's second half is gone: the name is absent, with that page's address. */
    dump = world_open_without(&w, STRINGS + 0x1000);
    lhi_space_init(&space, lhi_dump_pages(dump), WORLD_DTB);
    CHECK_EQ(lhi_text_unicode_string(&space, crossing, false, out, sizeof out, &at), LH_ABSENT_NOT_CAPTURED);
    CHECK_EQ(at, STRINGS + 0x1000);
    CHECK_TEXT(out, "");
    CHECK_EQ(lhi_text_unicode_string(&space, whole, true, out, sizeof out, &at), LH_PRESENT);
    lh_dump_release(dump);
    world_free(&w);
}

int main(void)
{
    test_plain();
    test_escapes();
    test_surrogates();
    test_room();
    test_bytes();
    test_parts();
    test_unicode_string();
    return CHECK_END();
}
