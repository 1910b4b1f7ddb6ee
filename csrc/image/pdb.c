/* The PDB identity of an image: debug directory, CodeView entry, RSDS record. */
#include <string.h>

#include "base/bytes.h"
#include "image/read.h"

/* After the PE format specification (debug directory); the RSDS record as in facts H.1. */
enum {
    DIRECTORY_DEBUG = 6,
    ENTRY_SIZE = 28,
    ENTRY_TYPE = 12,
    ENTRY_DATA_SIZE = 16,
    ENTRY_DATA = 20,
    TYPE_CODEVIEW = 2,
    RECORD_GUID = 4,
    RECORD_AGE = 20,
    RECORD_SIZE = 24, /* the path follows */
    MOST_ENTRIES = 64,
    MOST_PATH = 1024
};

/* The name behind the last separator; "" when the path can't be read or does not end. */
static void read_name(const lhi_image *image, uint64_t rva, size_t most, char out[64])
{
    uint8_t path[MOST_PATH] = {0};
    size_t length = 0;

    out[0] = 0;
    if (most > sizeof path)
        most = sizeof path;
    if (lhi_rva_string(image, rva, path, most, &length) != LH_PRESENT || length == most)
        return;
    size_t begin = length;
    while (begin > 0 && path[begin - 1] != '\\' && path[begin - 1] != '/')
        begin--;
    lhi_image_escape(path + begin, length - begin, out, 64);
}

static lh_absence read_record(const lhi_image *image, uint32_t rva, uint32_t size, lhi_pdb_identity *out)
{
    uint8_t record[RECORD_SIZE] = {0};

    if (rva == 0 || size < sizeof record)
        return LH_ABSENT_LAYOUT;
    lh_absence absence = lhi_rva_get(image, rva, record, sizeof record);
    if (absence != LH_PRESENT)
        return absence;
    if (memcmp(record, "RSDS", 4) != 0)
        return LH_ABSENT_LAYOUT;
    memcpy(out->guid, record + RECORD_GUID, sizeof out->guid);
    out->age = lhi_u32(record + RECORD_AGE);
    read_name(image, (uint64_t)rva + RECORD_SIZE, size - RECORD_SIZE, out->name);
    return LH_PRESENT;
}

lh_absence lhi_image_pdb(const lhi_image *image, lhi_pdb_identity *out)
{
    lhi_directory directory = image->directories[DIRECTORY_DEBUG];
    uint32_t count = directory.size / ENTRY_SIZE;
    lh_absence worst = LH_ABSENT_NOT_MAPPED;

    if (directory.rva == 0)
        return LH_ABSENT_NOT_MAPPED;
    for (uint32_t i = 0; i < count && i < MOST_ENTRIES; i++) {
        uint8_t entry[ENTRY_SIZE] = {0};
        lhi_pdb_identity found = {0};
        lh_absence absence =
            lhi_rva_get(image, (uint64_t)directory.rva + (uint64_t)i * ENTRY_SIZE, entry, sizeof entry);
        if (absence != LH_PRESENT)
            return absence;
        if (lhi_u32(entry + ENTRY_TYPE) != TYPE_CODEVIEW)
            continue;
        worst = read_record(image, lhi_u32(entry + ENTRY_DATA), lhi_u32(entry + ENTRY_DATA_SIZE), &found);
        if (worst == LH_PRESENT) {
            *out = found;
            return LH_PRESENT;
        }
    }
    return worst;
}
