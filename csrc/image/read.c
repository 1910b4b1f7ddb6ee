/* Reads inside one image: every RVA is checked against its span, every page may be missing. */
#include "image/read.h"

#include <string.h>

#include "base/checked.h"

lh_absence lhi_rva_get(const lhi_image *image, uint64_t rva, void *buffer, size_t size)
{
    if (!lhi_span_inside(rva, size, image->span))
        return LH_ABSENT_LAYOUT;
    /* lhi_image_open saw to it that base + span does not wrap */
    return lhi_space_get(image->space, image->base + rva, buffer, size);
}

lh_absence lhi_rva_string(const lhi_image *image, uint64_t rva, uint8_t *buffer, size_t size, size_t *length)
{
    size_t done = 0;

    while (done < size) {
        uint64_t at = rva + done; /* no RVA comes near the end of 64 bits */
        size_t part = LHI_PAGE_SIZE - (size_t)(at % LHI_PAGE_SIZE);
        if (part > size - done)
            part = size - done;
        if (at < image->span && part > image->span - at)
            part = (size_t)(image->span - at);
        lh_absence absence = lhi_rva_get(image, at, buffer + done, part);
        if (absence != LH_PRESENT)
            return absence;
        const uint8_t *end = memchr(buffer + done, 0, part);
        if (end != NULL) {
            *length = (size_t)(end - buffer);
            return LH_PRESENT;
        }
        done += part;
    }
    *length = size;
    return LH_PRESENT;
}

void lhi_image_escape(const uint8_t *bytes, size_t length, char *out, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < length && size > 0; i++) {
        uint8_t byte = bytes[i];
        char text[4] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
        size_t need = 4;
        if (byte == '\\') {
            text[1] = '\\';
            need = 2;
        } else if (byte >= 0x20 && byte <= 0x7e) {
            text[0] = (char)byte;
            need = 1;
        }
        if (need > size - 1 - at)
            break;
        memcpy(out + at, text, need);
        at += need;
    }
    if (size > 0)
        out[at] = 0;
}
