/* The table of dump formats: finds the one that a file is of, and tells their names. */
#include "dump/formats.h"

#include "dump/header.h"
#include "source/source.h"

#include <string.h>

static const struct {
    lh_format number;
    const lhi_format *format;
} table[] = {
#define FORMAT(number, name) {number, &lhi_format_##name},
#include "dump/formats.inc"
#undef FORMAT
};

#define COUNT (sizeof table / sizeof table[0])

const char *lh_format_name(lh_format format)
{
    for (size_t i = 0; i < COUNT; i++)
        if (table[i].number == format)
            return table[i].format->name;
    return "unknown";
}

lh_status lhi_formats_open(lhi_opened *file, lh_error *err)
{
    uint64_t whole = lhi_source_size(file->source);
    size_t size = whole < LHI_HEADER_SIZE ? (size_t)whole : LHI_HEADER_SIZE;
    memset(file->header, 0, LHI_HEADER_SIZE);
    lh_status status = lhi_source_read(file->source, 0, file->header, size, err);
    if (status != LH_OK)
        return status;
    for (size_t i = 0; i < COUNT; i++) {
        if (!table[i].format->claims(file->header, size))
            continue;
        file->info.format = table[i].number;
        return table[i].format->open(file, err);
    }
    return lhi_header_refuse(file->source, file->header, size, err);
}
