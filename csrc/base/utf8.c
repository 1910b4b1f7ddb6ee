/* UTF-8 from elsewhere: its characters, those that are hidden, and how they are written out. */
#include "base/utf8.h"

#include <stdio.h>

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

uint32_t lhi_utf8_code(const char *text, size_t length)
{
    static const uint8_t lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (uint8_t)text[0] & lead[length];
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((uint8_t)text[i] & 0x3f);
    return code;
}

/* Ranges: Unicode general categories Cc, Cf, Zl, Zp and noncharacters, as far as they need no table of every
 * script. */
bool lhi_is_hidden(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return true;
    if (code == 0xad || code == 0x61c || code == 0x180e || code == 0xfeff)
        return true; /* soft hyphen, Arabic letter mark, Mongolian vowel separator, byte order mark */
    if ((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
        (code >= 0x2060 && code <= 0x206f))
        return true; /* zero widths, marks; separators and embeddings; isolates and invisible operators */
    if (code >= 0xfff9 && code <= 0xfffb)
        return true; /* interlinear annotation */
    if (code >= 0xfdd0 && code <= 0xfdef)
        return true; /* noncharacters */
    return (code & 0xfffe) == 0xfffe ||
           (code >= 0xe0000 && code <= 0xe0fff); /* noncharacters; tags, selectors */
}

size_t lhi_safe_character(const char *text, char out[LHI_SAFE_MOST])
{
    size_t length = lhi_utf8_length(text);
    uint32_t code = length ? lhi_utf8_code(text, length) : (uint8_t)text[0];
    if (length == 0 || (lhi_is_hidden(code) && code < 0x100))
        snprintf(out, LHI_SAFE_MOST, "\\x%02x", (unsigned)code & 0xff);
    else if (lhi_is_hidden(code))
        snprintf(out, LHI_SAFE_MOST, code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)code);
    else
        snprintf(out, LHI_SAFE_MOST, "%.*s", (int)length, text);
    return length ? length : 1;
}
