/* The growing buffer, and escaping into it. */
#include "report/out.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static bool reserve(lhi_out *out, size_t more)
{
    if (out->failed || more > SIZE_MAX / 4 - out->length) {
        out->failed = true;
        return false;
    }
    if (out->length + more + 1 <= out->capacity)
        return true;
    size_t capacity = out->capacity ? out->capacity : 4096;
    while (capacity < out->length + more + 1)
        capacity *= 2;
    char *larger = lhi_realloc_array(out->data, capacity, 1);
    if (!larger) {
        out->failed = true;
        return false;
    }
    out->data = larger;
    out->capacity = capacity;
    return true;
}

void lhi_out_bytes(lhi_out *out, const char *text, size_t length)
{
    if (!reserve(out, length))
        return;
    memcpy(out->data + out->length, text, length);
    out->length += length;
    out->data[out->length] = '\0';
}

void lhi_out_raw(lhi_out *out, const char *text)
{
    lhi_out_bytes(out, text, strlen(text));
}

void lhi_out_format(lhi_out *out, const char *format, ...)
{
    va_list first, second;
    va_start(first, format);
    va_copy(second, first);
    int length = vsnprintf(NULL, 0, format, first);
    va_end(first);
    if (length >= 0 && reserve(out, (size_t)length)) {
        vsnprintf(out->data + out->length, (size_t)length + 1, format, second);
        out->length += (size_t)length;
    }
    va_end(second);
}

size_t lhi_utf8_length(const char *text)
{
    /* Well-formed byte sequences: Unicode Standard, table 3-7. */
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                    : p[0] >= 0xe0 && p[0] <= 0xef ? 3
                    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                   : 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

#define REPLACEMENT "\xef\xbf\xbd"

void lhi_out_json_string(lhi_out *out, const char *text)
{
    lhi_out_raw(out, "\"");
    while (*text) {
        size_t length = lhi_utf8_length(text);
        uint8_t byte = (uint8_t)*text;
        if (length == 0) {
            lhi_out_raw(out, REPLACEMENT);
            text++;
            continue;
        }
        if (byte == '"' || byte == '\\')
            lhi_out_format(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && (uint8_t)text[1] < 0xa0))
            lhi_out_format(out, "\\u%04x", byte == 0xc2 ? (unsigned)(uint8_t)text[1] : byte);
        else
            lhi_out_bytes(out, text, length);
        text += length;
    }
    lhi_out_raw(out, "\"");
}

/* One character that no reader of ours may act on: controls. False: it is harmless. */
static bool escaped(lhi_out *out, const char *text)
{
    uint8_t byte = (uint8_t)*text;
    if (byte < 0x20 || byte == 0x7f)
        lhi_out_format(out, "\\x%02x", byte);
    else if (byte == 0xc2 && (uint8_t)text[1] < 0xa0)
        lhi_out_format(out, "\\x%02x", (uint8_t)text[1]);
    else
        return false;
    return true;
}

void lhi_out_safe(lhi_out *out, const char *text)
{
    while (*text) {
        size_t length = lhi_utf8_length(text);
        if (length == 0) {
            lhi_out_raw(out, REPLACEMENT);
            text++;
            continue;
        }
        if (!escaped(out, text))
            lhi_out_bytes(out, text, length);
        text += length;
    }
}

/* Bidirectional controls (Unicode Standard Annex 9, section 2), in UTF-8; 0: another character. */
static unsigned turns_direction(const char *text, size_t length)
{
    const uint8_t *p = (const uint8_t *)text;
    unsigned code = length == 2   ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu)
                    : length == 3 ? (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu)
                                  : 0;
    bool turns = code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                 (code >= 0x2066 && code <= 0x2069);
    return turns ? code : 0;
}

void lhi_out_html(lhi_out *out, const char *text)
{
    while (*text) {
        size_t length = lhi_utf8_length(text);
        unsigned turn = turns_direction(text, length);
        if (length == 0) {
            lhi_out_raw(out, REPLACEMENT);
            text++;
            continue;
        }
        if (*text == '&' || *text == '<' || *text == '>' || *text == '"' || *text == '\'')
            lhi_out_format(out, "&#%d;", *text);
        else if (turn)
            lhi_out_format(out, "\\u%04x", turn);
        else if (!escaped(out, text))
            lhi_out_bytes(out, text, length);
        text += length;
    }
}
