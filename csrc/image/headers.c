/* The headers of a mapped PE32+ image: where everything else lies, and the sections' names. */
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "image/read.h"

/* Offsets and values after the PE format specification (learn.microsoft.com, "PE Format"). */
enum {
    DOS_SIZE = 0x40,
    DOS_NEW_HEADER = 0x3c,
    FILE_HEADER = 4, /* behind the signature */
    FILE_SIZE = 20,
    FILE_MACHINE = 0,
    FILE_SECTION_COUNT = 2,
    FILE_TIMESTAMP = 4,
    FILE_OPTIONAL_SIZE = 16,
    OPTIONAL = FILE_HEADER + FILE_SIZE,
    OPTIONAL_MAGIC = 0, /* all behind OPTIONAL */
    OPTIONAL_ENTRY = 16,
    OPTIONAL_SIZE_OF_IMAGE = 56,
    OPTIONAL_CHECKSUM = 64,
    OPTIONAL_DIRECTORY_COUNT = 108,
    OPTIONAL_FIXED = 112, /* PE32+ without the directories */
    PE32_PLUS = 0x20b,
    SECTION_SIZE = 40,
    SECTION_VIRTUAL_SIZE = 8,
    SECTION_ADDRESS = 12,
    SECTION_RAW_SIZE = 16,
    SECTION_FLAGS = 36
};

/* An image may have 65535 sections; nt itself has about 30. More than this is damage, not a driver. */
#define MOST_SECTIONS 1024u

/* Behind a short optional header `bytes` holds zeros: directories that are not there are empty. */
static bool parse_optional(const uint8_t *bytes, lhi_image *image)
{
    uint32_t count = lhi_u32(bytes + OPTIONAL_DIRECTORY_COUNT);

    if (lhi_u16(bytes + OPTIONAL_MAGIC) != PE32_PLUS)
        return false;
    image->entry = lhi_u32(bytes + OPTIONAL_ENTRY);
    image->size_of_image = lhi_u32(bytes + OPTIONAL_SIZE_OF_IMAGE);
    image->checksum = lhi_u32(bytes + OPTIONAL_CHECKSUM);
    if (count > 16)
        count = 16;
    for (uint32_t i = 0; i < count; i++) {
        image->directories[i].rva = lhi_u32(bytes + OPTIONAL_FIXED + (size_t)8 * i);
        image->directories[i].size = lhi_u32(bytes + OPTIONAL_FIXED + (size_t)8 * i + 4);
    }
    return image->size_of_image != 0;
}

lh_absence lhi_image_open(const lhi_space *space, uint64_t base, uint64_t span, lhi_image *out)
{
    uint8_t dos[DOS_SIZE] = {0};
    uint8_t fixed[OPTIONAL] = {0};
    uint8_t optional[OPTIONAL_FIXED + 16 * 8] = {0};
    lhi_image image = {.space = space, .base = base};
    uint64_t end = 0;
    lh_absence absence = LH_PRESENT;

    if (base % LHI_PAGE_SIZE != 0)
        return LH_ABSENT_LAYOUT;
    /* RVAs are 32 bits wide, and an image does not wrap round the end of memory. */
    image.span = span == 0 || span > UINT32_MAX ? UINT32_MAX : (uint32_t)span;
    if (!lhi_add(base, image.span, &end))
        image.span = (uint32_t)(0 - base);
    absence = lhi_rva_get(&image, 0, dos, sizeof dos);
    if (absence != LH_PRESENT)
        return absence;
    uint32_t at = lhi_u32(dos + DOS_NEW_HEADER);
    if (dos[0] != 'M' || dos[1] != 'Z')
        return LH_ABSENT_LAYOUT;
    absence = lhi_rva_get(&image, at, fixed, sizeof fixed);
    if (absence != LH_PRESENT)
        return absence;
    uint16_t size = lhi_u16(fixed + FILE_HEADER + FILE_OPTIONAL_SIZE);
    if (memcmp(fixed, "PE\0\0", 4) != 0 || size < OPTIONAL_FIXED)
        return LH_ABSENT_LAYOUT;
    image.machine = lhi_u16(fixed + FILE_HEADER + FILE_MACHINE);
    image.section_count = lhi_u16(fixed + FILE_HEADER + FILE_SECTION_COUNT);
    image.timestamp = lhi_u32(fixed + FILE_HEADER + FILE_TIMESTAMP);
    absence = lhi_rva_get(&image, (uint64_t)at + OPTIONAL, optional,
                          size < sizeof optional ? size : sizeof optional);
    if (absence != LH_PRESENT)
        return absence;
    if (!parse_optional(optional, &image))
        return LH_ABSENT_LAYOUT;
    if (image.span > image.size_of_image)
        image.span = image.size_of_image;
    uint64_t sections = (uint64_t)at + OPTIONAL + size;
    if (!lhi_span_inside(sections, (uint64_t)image.section_count * SECTION_SIZE, image.span))
        return LH_ABSENT_LAYOUT;
    image.sections = (uint32_t)sections;
    *out = image;
    return LH_PRESENT;
}

lh_absence lhi_image_section(const lhi_image *image, uint32_t index, lhi_section *out)
{
    uint8_t header[SECTION_SIZE] = {0};
    if (index >= image->section_count || index >= MOST_SECTIONS)
        return LH_ABSENT_NOT_MAPPED;
    lh_absence absence =
        lhi_rva_get(image, (uint64_t)image->sections + (uint64_t)index * SECTION_SIZE, header, sizeof header);
    if (absence != LH_PRESENT)
        return absence;
    const uint8_t *end = memchr(header, 0, 8);
    lhi_image_escape(header, end != NULL ? (size_t)(end - header) : 8, out->name, sizeof out->name);
    out->rva = lhi_u32(header + SECTION_ADDRESS);
    out->size = lhi_u32(header + SECTION_VIRTUAL_SIZE);
    if (out->size == 0)
        out->size = lhi_u32(header + SECTION_RAW_SIZE);
    out->flags = lhi_u32(header + SECTION_FLAGS);
    return LH_PRESENT;
}

/* The section that an address lies in; LHI_UNKNOWN: a header is not there. */
static lhi_answer find_section(const lhi_image *image, uint64_t va, lhi_section *out)
{
    uint64_t rva = va - image->base;
    if (va < image->base || rva >= image->span)
        return LHI_NO;
    for (uint32_t i = 0; i < image->section_count && i < MOST_SECTIONS; i++) {
        lhi_section section = {0};
        if (lhi_image_section(image, i, &section) != LH_PRESENT)
            return LHI_UNKNOWN;
        if (rva >= section.rva && rva - section.rva < section.size) {
            *out = section;
            return LHI_YES;
        }
    }
    return LHI_NO;
}

bool lhi_image_section_of(const lhi_image *image, uint64_t va, lhi_section *out)
{
    return find_section(image, va, out) == LHI_YES;
}

lhi_answer lhi_image_is_code(const lhi_image *image, uint64_t va)
{
    lhi_section section = {0};
    lhi_answer found = find_section(image, va, &section);
    return found == LHI_YES && !(section.flags & LHI_SECTION_EXECUTE) ? LHI_NO : found;
}
