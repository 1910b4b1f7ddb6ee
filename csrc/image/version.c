/* The file version of an image: resource tree, type 16, first name, first language, VS_FIXEDFILEINFO. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "image/read.h"

/* After the PE format specification (.rsrc section) and VS_VERSIONINFO in the Win32 documentation. */
enum {
    DIRECTORY_RESOURCE = 2,
    NODE_SIZE = 16,
    NODE_NAMED = 12,
    NODE_IDS = 14,
    ENTRY_SIZE = 8,
    TYPE_VERSION = 16,
    DATA_SIZE = 16,
    INFO_KEY = 6,
    INFO_FIXED = 40, /* 6 bytes of header, 32 of key, 2 to align */
    FIXED_SIZE = 52,
    FIXED_FILE_MS = 8,
    FIXED_FILE_LS = 12
};
#define SUBDIRECTORY    0x80000000u
#define FIXED_SIGNATURE 0xfeef04bdu
/* Entries of one node: icons and strings of a large program are a few hundred. */
#define MOST_ENTRIES 4096u

/* Finds an entry of the node at `node` (from the directory's start): the type `wanted`, or the first one when
 * it is 0. *next gets its second word; *found tells whether there is one. */
static lh_absence find_entry(const lhi_image *image, uint32_t node, uint32_t wanted, uint32_t *next,
                             bool *found)
{
    lhi_directory directory = image->directories[DIRECTORY_RESOURCE];
    uint8_t header[NODE_SIZE] = {0};

    *found = false;
    if (!lhi_span_inside(node, sizeof header, directory.size))
        return LH_ABSENT_LAYOUT;
    lh_absence absence = lhi_rva_get(image, (uint64_t)directory.rva + node, header, sizeof header);
    if (absence != LH_PRESENT)
        return absence;
    uint32_t count = (uint32_t)lhi_u16(header + NODE_NAMED) + lhi_u16(header + NODE_IDS);
    if (count > MOST_ENTRIES)
        return LH_ABSENT_LAYOUT;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t entry[ENTRY_SIZE] = {0};
        uint64_t at = (uint64_t)node + NODE_SIZE + (uint64_t)i * ENTRY_SIZE;
        if (!lhi_span_inside(at, sizeof entry, directory.size))
            return LH_ABSENT_LAYOUT;
        absence = lhi_rva_get(image, directory.rva + at, entry, sizeof entry);
        if (absence != LH_PRESENT)
            return absence;
        if (wanted == 0 || lhi_u32(entry) == wanted) {
            *next = lhi_u32(entry + 4);
            *found = true;
            break;
        }
    }
    return LH_PRESENT;
}

static lh_absence read_version(const lhi_image *image, uint32_t data, char out[32])
{
    static const char key[] = "VS_VERSION_INFO";
    lhi_directory directory = image->directories[DIRECTORY_RESOURCE];
    uint8_t entry[DATA_SIZE] = {0};
    uint8_t info[INFO_FIXED + FIXED_SIZE] = {0};

    if (!lhi_span_inside(data, sizeof entry, directory.size))
        return LH_ABSENT_LAYOUT;
    lh_absence absence = lhi_rva_get(image, (uint64_t)directory.rva + data, entry, sizeof entry);
    if (absence != LH_PRESENT)
        return absence;
    if (lhi_u32(entry + 4) < sizeof info)
        return LH_ABSENT_LAYOUT;
    absence = lhi_rva_get(image, lhi_u32(entry), info, sizeof info);
    if (absence != LH_PRESENT)
        return absence;
    for (size_t i = 0; i < sizeof key; i++)
        if (lhi_u16(info + INFO_KEY + 2 * i) != (uint8_t)key[i])
            return LH_ABSENT_LAYOUT;
    if (lhi_u32(info + INFO_FIXED) != FIXED_SIGNATURE)
        return LH_ABSENT_LAYOUT;
    uint32_t high = lhi_u32(info + INFO_FIXED + FIXED_FILE_MS);
    uint32_t low = lhi_u32(info + INFO_FIXED + FIXED_FILE_LS);
    /* four numbers below 65536: 23 characters at most */
    (void)snprintf(out, 32, "%u.%u.%u.%u", high >> 16, high & 0xffffu, low >> 16, low & 0xffffu);
    return LH_PRESENT;
}

lh_absence lhi_image_version(const lhi_image *image, char out[32])
{
    static const uint32_t wanted[3] = {TYPE_VERSION, 0, 0};
    uint32_t next = SUBDIRECTORY;
    bool found = false;

    if (image->directories[DIRECTORY_RESOURCE].rva == 0)
        return LH_ABSENT_NOT_MAPPED;
    for (int level = 0; level < 3; level++) {
        if ((next & SUBDIRECTORY) == 0)
            return LH_ABSENT_LAYOUT;
        lh_absence absence = find_entry(image, next & ~SUBDIRECTORY, wanted[level], &next, &found);
        if (absence != LH_PRESENT)
            return absence;
        if (!found) /* below the type, emptiness is damage: a type without names, a name without languages */
            return level == 0 ? LH_ABSENT_NOT_MAPPED : LH_ABSENT_LAYOUT;
    }
    return read_version(image, next, out);
}
