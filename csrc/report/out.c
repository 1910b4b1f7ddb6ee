/* The growing buffer, and escaping into it. */
#include "report/out.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"

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

#define REPLACEMENT "\xef\xbf\xbd"

/* A character that JSON allows raw, and that whoever prints the JSON had better not see raw. */
static void escaped(lhi_out *out, uint32_t code)
{
    if (code < 0x10000) {
        lhi_out_format(out, "\\u%04x", code);
        return;
    }
    code -= 0x10000;
    lhi_out_format(out, "\\u%04x\\u%04x", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
}

void lhi_out_json_string(lhi_out *out, const char *text)
{
    lhi_out_raw(out, "\"");
    while (*text) {
        size_t length = lhi_utf8_length(text);
        if (length == 0) {
            lhi_out_raw(out, REPLACEMENT);
            text++;
            continue;
        }
        uint32_t code = lhi_utf8_code(text, length);
        if (code == '"' || code == '\\')
            lhi_out_format(out, "\\%c", (char)code);
        else if (lhi_is_hidden(code))
            escaped(out, code);
        else
            lhi_out_bytes(out, text, length);
        text += length;
    }
    lhi_out_raw(out, "\"");
}

void lhi_out_safe(lhi_out *out, const char *text)
{
    char shown[LHI_SAFE_MOST];
    while (*text) {
        text += lhi_safe_character(text, shown);
        lhi_out_raw(out, shown);
    }
}

void lhi_out_html(lhi_out *out, const char *text)
{
    char shown[LHI_SAFE_MOST];
    while (*text) {
        if (*text == '&' || *text == '<' || *text == '>' || *text == '"' || *text == '\'') {
            lhi_out_format(out, "&#%d;", *text++);
            continue;
        }
        text += lhi_safe_character(text, shown);
        lhi_out_raw(out, shown);
    }
}
