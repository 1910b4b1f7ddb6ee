/* Text out of a dump made harmless: UTF-16 and byte strings to escaped UTF-8, UNICODE_STRINGs, base names. */
#include "nt/text.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "nt/read.h"

#include <string.h>

/* No file or object name is longer than this many units in practice; more can't make a better answer. */
#define UNITS_MOST 2048u

/* Output that takes whole characters only; the NUL always fits. */
typedef struct writer {
    char *out;
    size_t size, used;
    bool full;
} writer;

static void put(writer *w, const char *bytes, size_t count)
{
    if (w->full || count >= w->size - w->used) {
        w->full = true; /* a shorter character behind a cut one would join what does not belong together */
        return;
    }
    memcpy(w->out + w->used, bytes, count);
    w->used += count;
}

static void put_escape(writer *w, char kind, uint32_t value, int digits)
{
    static const char digit[] = "0123456789abcdef";
    char text[8] = {'\\', kind};
    for (int i = 0; i < digits; i++)
        text[2 + i] = digit[value >> (4 * (digits - 1 - i)) & 15];
    put(w, text, 2 + (size_t)digits);
}

static void put_utf8(writer *w, uint32_t c)
{
    char text[4] = {0};
    size_t count = 0;
    if (c < 0x80) {
        text[count++] = (char)c;
    } else if (c < 0x800) {
        text[count++] = (char)(0xc0 | c >> 6);
        text[count++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        text[count++] = (char)(0xe0 | c >> 12);
        text[count++] = (char)(0x80 | (c >> 6 & 0x3f));
        text[count++] = (char)(0x80 | (c & 0x3f));
    } else {
        text[count++] = (char)(0xf0 | c >> 18);
        text[count++] = (char)(0x80 | (c >> 12 & 0x3f));
        text[count++] = (char)(0x80 | (c >> 6 & 0x3f));
        text[count++] = (char)(0x80 | (c & 0x3f));
    }
    put(w, text, count);
}

static bool is_high(uint32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(uint32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static void put_unit_escape(writer *w, uint32_t unit)
{
    put_escape(w, 'u', unit, 4);
}

void lhi_text_utf16(const uint8_t *data, size_t units, bool lower, char *out, size_t size)
{
    writer w = {out, size, 0, false};
    if (size == 0)
        return;
    for (size_t i = 0; i < units && !w.full; i++) {
        uint32_t unit = lhi_u16(data + 2 * i);
        uint32_t next = i + 1 < units ? lhi_u16(data + 2 * (i + 1)) : 0;
        if (is_high(unit) && is_low(next)) {
            uint32_t c = 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00);
            if (lhi_is_hidden(c)) {
                put_unit_escape(&w, unit);
                put_unit_escape(&w, next);
            } else {
                put_utf8(&w, c);
            }
            i++;
        } else if (is_high(unit) || is_low(unit) || lhi_is_hidden(unit)) {
            put_unit_escape(&w, unit);
        } else if (unit == '\\') {
            put(&w, "\\\\", 2);
        } else {
            put_utf8(&w, lower && unit >= 'A' && unit <= 'Z' ? unit + ('a' - 'A') : unit);
        }
    }
    out[w.used] = 0;
}

void lhi_text_bytes(const uint8_t *data, size_t length, char *out, size_t size)
{
    writer w = {out, size, 0, false};
    if (size == 0)
        return;
    for (size_t i = 0; i < length && data[i] && !w.full; i++) {
        if (data[i] == '\\') {
            put(&w, "\\\\", 2);
        } else if (data[i] < 0x20 || data[i] > 0x7e) {
            put_escape(&w, 'x', data[i], 2);
        } else {
            char c = (char)data[i];
            put(&w, &c, 1);
        }
    }
    out[w.used] = 0;
}

lh_absence lhi_text_unicode_string(const lhi_space *space, uint64_t va, bool lower, char *out, size_t size,
                                   uint64_t *at)
{
    uint8_t header[16] = {0};
    uint8_t data[2 * UNITS_MOST] = {0};
    uint64_t where = va;
    lh_absence absence = LH_PRESENT;
    if (size > 0)
        out[0] = 0;
    absence = lhi_read(space, va, header, sizeof header, &where);
    if (absence == LH_PRESENT) {
        uint32_t length = lhi_u16(header); /* UNICODE_STRING: facts B.4 */
        uint32_t maximum = lhi_u16(header + 2);
        uint64_t buffer = lhi_u64(header + 8);
        size_t units = length / 2;
        where = va;
        if (length % 2 != 0 || length > maximum || (length > 0 && !lhi_is_kernel(buffer))) {
            absence = LH_ABSENT_LAYOUT;
        } else if (units > 0 && size > 1) {
            /* A unit makes at least one byte, so more units than bytes can't show. */
            if (units > UNITS_MOST)
                units = UNITS_MOST;
            if (units > size)
                units = size;
            absence = lhi_read(space, buffer, data, 2 * units, &where);
            if (absence == LH_PRESENT)
                lhi_text_utf16(data, units, lower, out, size);
        }
    }
    if (absence != LH_PRESENT && at)
        *at = where;
    return absence;
}

const char *lhi_text_base_name(const char *path)
{
    const char *base = path;
    for (const char *p = path; *p; p++) {
        if (p[0] != '\\')
            continue;
        if (p[1] == '\\')
            base = p + 2; /* a real backslash; anything else begins an escaped character */
        if (p[1])
            p++;
    }
    return base;
}

/* Bytes of the character or escape that text begins with; never past the NUL. */
static size_t token(const char *text)
{
    size_t length = 1;
    uint8_t lead = (uint8_t)text[0];
    if (text[0] == '\\')
        length = text[1] == 'u' ? 6 : text[1] == 'x' ? 4 : 2;
    else if (lead >= 0xc0)
        length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < length; i++) {
        if (!text[i])
            return i;
    }
    return length;
}

void lhi_text_copy(const char *text, char *out, size_t size)
{
    size_t used = 0;
    if (size == 0)
        return;
    while (text[used]) {
        size_t length = token(text + used);
        if (length >= size - used)
            break;
        memcpy(out + used, text + used, length);
        used += length;
    }
    out[used] = 0;
}
