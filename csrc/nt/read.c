/* Reads for structure decoders: by address, or by structure and field, with the missing address. */
#include "nt/read.h"

#include "base/bytes.h"
#include "base/checked.h"

lh_absence lhi_read(const lhi_space *space, uint64_t va, void *buffer, size_t size, uint64_t *at)
{
    lh_error error = {0};
    lh_status status = lhi_space_read(space, va, buffer, size, NULL, &error);
    if (status == LH_OK)
        return LH_PRESENT;
    if (status == LH_ERR_ABSENT && error.absence != LH_PRESENT) {
        *at = error.address;
        return error.absence;
    }
    *at = va;
    return LH_ABSENT_CLIPPED; /* the file can't be read here: as good as cut off */
}

lh_absence lhi_read_u64(const lhi_space *space, uint64_t va, uint64_t *out, uint64_t *at)
{
    uint8_t bytes[8] = {0};
    lh_absence absence = lhi_read(space, va, bytes, sizeof bytes, at);
    if (absence == LH_PRESENT)
        *out = lhi_u64(bytes);
    return absence;
}

lh_absence lhi_read_field(const lhi_space *space, const lhi_layout *layout, uint64_t base, lhi_field field,
                          size_t width, uint64_t *out, uint64_t *at)
{
    uint8_t bytes[8] = {0};
    uint64_t offset = 0;
    uint64_t va = 0;
    lh_absence absence = LH_PRESENT;
    if (!lhi_layout_offset(layout, field, &offset)) {
        *at = 0;
        return LH_ABSENT_LAYOUT;
    }
    if (!lhi_add(base, offset, &va)) {
        *at = base;
        return LH_ABSENT_NONCANONICAL;
    }
    absence = lhi_read(space, va, bytes, width <= sizeof bytes ? width : sizeof bytes, at);
    if (absence == LH_PRESENT)
        *out = lhi_u64(bytes);
    return absence;
}
