/* The x64 page walk with four levels, and reads by virtual address on top of it. */
#include "base/error.h"
#include "space/entry.h"

bool lhi_is_canonical(uint64_t va)
{
    return va < LHI_USER_END || va >= LHI_KERNEL_HALF;
}

void lhi_space_init(lhi_space *space, const lhi_pages *pages, uint64_t dtb)
{
    /* Low bits of CR3 are PCID or cache control, high ones flags. */
    *space = (lhi_space){.pages = pages, .dtb = dtb & LHI_ENTRY_FRAMES << 12};
}

static bool read_entry(const lhi_space *space, uint64_t physical, uint64_t *out)
{
    uint8_t bytes[8] = {0};
    if (lhi_pages_read(space->pages, physical, bytes, sizeof bytes, NULL) != LH_OK)
        return false;
    *out = lhi_u64(bytes);
    return true;
}

/* The page of `level` that begins at frame maps out->address. */
static void end_at_page(const lhi_space *space, uint64_t frame, int level, lh_walk *out)
{
    lhi_run place = {0};
    out->level = level;
    out->page_size = lhi_entry_pages(level) * LHI_PAGE_SIZE;
    out->physical = frame * LHI_PAGE_SIZE + (out->address & (out->page_size - 1));
    out->absence = lhi_pages_find(space->pages, out->physical / LHI_PAGE_SIZE, &place);
}

static void end_at_absence(lh_absence absence, int level, lh_walk *out)
{
    out->level = level;
    out->absence = absence;
}

static bool walk(const lhi_space *space, lh_walk *out);

/* A PTE that refers to a prototype PTE: its address is in bits 16 to 63. It is followed once, and only where
 * that is safe: bit 11 (Combined) says that the target is not a plain PTE, and a target that is not aligned
 * can't be one (all ones says that the page is described by the VAD). */
static void follow_prototype(const lhi_space *space, uint64_t raw, lh_walk *out)
{
    const uint64_t combined = 1ull << 11;
    uint64_t target = raw >> 16 | (raw >> 63 != 0 ? 0xffffull << 48 : 0);
    uint64_t prototype = 0;
    lh_walk inner = {.address = target};
    lhi_entry entry = {0};
    end_at_absence(LH_ABSENT_PROTOTYPE, 1, out);
    if ((raw & combined) != 0 || !lhi_is_kernel(target) || target % 8 != 0)
        return;
    walk(space, &inner);
    if (inner.absence != LH_PRESENT || !read_entry(space, inner.physical, &prototype))
        return;
    lhi_entry_decode(space->pages, prototype, 1, &entry);
    if (entry.kind == LHI_ENTRY_PAGE) {
        out->transition = true;
        end_at_page(space, entry.frame, 1, out);
    } else {
        end_at_absence(entry.absence, 1, out);
    }
}

/* Fills everything but a prototype PTE's target; true when the walk ended at a PTE of that kind. */
static bool walk(const lhi_space *space, lh_walk *out)
{
    uint64_t table = space->dtb / LHI_PAGE_SIZE;
    if (!lhi_is_canonical(out->address)) {
        end_at_absence(LH_ABSENT_NONCANONICAL, 0, out);
        return false;
    }
    for (int level = 4; level >= 1; level--) {
        uint32_t n = out->entry_count;
        uint64_t slot = out->address >> lhi_entry_shift(level) & (LHI_ENTRY_COUNT - 1);
        lhi_entry entry = {0};
        out->entry_addresses[n] = table * LHI_PAGE_SIZE + slot * 8;
        if (!read_entry(space, out->entry_addresses[n], &out->entries[n])) {
            end_at_absence(LH_ABSENT_TABLE, level, out);
            return false;
        }
        out->entry_count++;
        lhi_entry_decode(space->pages, out->entries[n], level, &entry);
        out->transition |= entry.transition;
        if (entry.kind == LHI_ENTRY_PAGE) {
            end_at_page(space, entry.frame, level, out);
            return false;
        }
        if (entry.kind == LHI_ENTRY_ABSENT) {
            end_at_absence(entry.absence, level, out);
            return level == 1 && entry.absence == LH_ABSENT_PROTOTYPE;
        }
        table = entry.frame;
    }
    return false;
}

void lhi_space_walk(const lhi_space *space, uint64_t va, lh_walk *out)
{
    *out = (lh_walk){.struct_size = sizeof *out, .address = va};
    if (walk(space, out))
        follow_prototype(space, out->entries[3], out);
}

lh_absence lhi_space_translate(const lhi_space *space, uint64_t va, uint64_t *physical)
{
    lh_walk found = {0};
    lhi_space_walk(space, va, &found);
    if (found.absence == LH_PRESENT)
        *physical = found.physical;
    return found.absence;
}

lh_absence lhi_space_identity(const lhi_space *space, uint64_t va, uint64_t *identity)
{
    if (!space->blocks)
        return lhi_space_translate(space, va, identity);
    *identity = va;
    return lhi_is_canonical(va) ? lhi_blocks_state(space->blocks, va) : LH_ABSENT_NONCANONICAL;
}

static lh_status read_blocks(const lhi_space *space, uint64_t va, void *buffer, size_t size, size_t *done,
                             lh_error *err)
{
    if (size == 0 || lhi_is_canonical(va))
        return lhi_blocks_read(space->blocks, va, buffer, size, done, err);
    if (done != NULL)
        *done = 0;
    return lhi_fail_absent(err, LH_ABSENT_NONCANONICAL, 0, va, "virtual address");
}

lh_status lhi_space_read(const lhi_space *space, uint64_t va, void *buffer, size_t size, size_t *done,
                         lh_error *err)
{
    if (space->blocks)
        return read_blocks(space, va, buffer, size, done, err);
    lh_status status = LH_OK;
    uint8_t *to = buffer;
    size_t at = 0;
    while (at < size) {
        uint64_t here = va + at;
        size_t n = LHI_PAGE_SIZE - (size_t)(here % LHI_PAGE_SIZE);
        lh_walk found = {0};
        n = n < size - at ? n : size - at;
        if (here < va) { /* beyond the last address there is none */
            status = lhi_fail_absent(err, LH_ABSENT_NONCANONICAL, 0, here, "virtual address");
            break;
        }
        lhi_space_walk(space, here, &found);
        if (found.absence != LH_PRESENT) {
            status = lhi_fail_absent(err, found.absence, found.level, here, "virtual address");
            break;
        }
        status = lhi_pages_read(space->pages, found.physical, to + at, n, err);
        if (status != LH_OK)
            break;
        at += n;
    }
    if (done != NULL)
        *done = at;
    return status;
}

lh_absence lhi_space_get(const lhi_space *space, uint64_t va, void *buffer, size_t size)
{
    lh_error error = {0};
    lh_status status = lhi_space_read(space, va, buffer, size, NULL, &error);
    if (status == LH_OK)
        return LH_PRESENT;
    return status == LH_ERR_ABSENT ? error.absence : LH_ABSENT_CLIPPED;
}

lh_absence lhi_space_u64(const lhi_space *space, uint64_t va, uint64_t *out)
{
    uint8_t bytes[8] = {0};
    lh_absence absence = lhi_space_get(space, va, bytes, sizeof bytes);
    if (absence == LH_PRESENT)
        *out = lhi_u64(bytes);
    return absence;
}

lh_absence lhi_space_u32(const lhi_space *space, uint64_t va, uint32_t *out)
{
    uint8_t bytes[4] = {0};
    lh_absence absence = lhi_space_get(space, va, bytes, sizeof bytes);
    if (absence == LH_PRESENT)
        *out = lhi_u32(bytes);
    return absence;
}

lh_absence lhi_space_u16(const lhi_space *space, uint64_t va, uint16_t *out)
{
    uint8_t bytes[2] = {0};
    lh_absence absence = lhi_space_get(space, va, bytes, sizeof bytes);
    if (absence == LH_PRESENT)
        *out = lhi_u16(bytes);
    return absence;
}
