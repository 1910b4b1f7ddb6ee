/* Decodes and classifies memory descriptor lists. */
#include "nt/mdl.h"

#include "base/bytes.h"

#define PAGE_MASK   0xfffull
#define FRAME_LIMIT (1ull << 40)  /* 52-bit physical addresses, Intel SDM volume 3 */
#define EMPTY_LIST  0xffffffffull /* MM_EMPTY_LIST and its wider forms end an array early: no frame has it */
#define LOWEST_USER                                                                                          \
    0x10000ull /* the first 64 KiB of a user space are never mapped (WDK, MM_LOWEST_USER_ADDRESS) */

const char *lhi_mdl_class_name(lhi_mdl_class klass)
{
    switch (klass) {
    case LHI_MDL_CHARGED:
        return "charged";
    case LHI_MDL_IS_PARTIAL:
        return "partial";
    case LHI_MDL_STALE:
        return "unlocked";
    case LHI_MDL_PAGING:
        return "paging_read";
    case LHI_MDL_NONPAGED:
        return "nonpaged_pool";
    case LHI_MDL_AWE:
        return "awe";
    case LHI_MDL_KERNEL:
        return "kernel_pages";
    case LHI_MDL_UNREADABLE:
        return "not_captured";
    case LHI_MDL_NOT_ONE:
        break;
    }
    return "not_an_mdl";
}

bool lhi_frame_plausible(const lh_kernel *kernel, uint64_t frame)
{
    if (frame == 0 || frame >= FRAME_LIMIT || frame == EMPTY_LIST)
        return false;
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    return header->pages_ram == 0 || lhi_dump_is_ram(kernel->dump, frame);
}

size_t lhi_mdl_frames(const lh_kernel *kernel, const lhi_mdl *mdl, uint64_t first, uint64_t *out,
                      size_t count)
{
    size_t done = 0;
    uint64_t at = mdl->address + LHI_MDL_HEADER + first * 8;
    while (done < count && lhi_space_u64(&kernel->space, at + done * 8, &out[done]) == LH_PRESENT)
        done++;
    return done;
}

static uint64_t mix(uint64_t hash, uint64_t value) /* FNV-1a over 64-bit words */
{
    return (hash ^ value) * 0x100000001b3ull;
}

/* Reads the array. False as soon as an entry can't be a frame. */
static bool check_frames(const lh_kernel *kernel, uint64_t *budget, lhi_mdl *mdl)
{
    uint8_t chunk[512];
    uint64_t at = mdl->address + LHI_MDL_HEADER;
    uint64_t hash = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i<mdl->pages && * budget> 0;) {
        uint64_t n = mdl->pages - i;
        if (n > sizeof chunk / 8)
            n = sizeof chunk / 8;
        size_t done = 0;
        lhi_space_read(&kernel->space, at + i * 8, chunk, (size_t)n * 8, &done, NULL);
        uint64_t entries = done / 8;
        for (uint64_t k = 0; k < entries; k++) {
            uint64_t frame = lhi_u64(chunk + k * 8);
            bool in_io_space = (mdl->flags & LHI_MDL_IO_SPACE) && frame != 0 && frame < FRAME_LIMIT;
            if (!in_io_space && !lhi_frame_plausible(kernel, frame))
                return false;
            if (i + k == 0)
                mdl->first_frame = frame;
            hash = mix(hash, frame);
        }
        mdl->frames_checked += entries;
        *budget -= entries < *budget ? entries : *budget;
        i += entries;
        if (entries < n) {
            /* An array may go on behind a missing page: skip to the next page boundary. */
            uint64_t gap = (at + i * 8) | PAGE_MASK;
            uint64_t next = (gap + 1 - at) / 8;
            if (next <= i)
                next = i + 1;
            if (next > mdl->pages)
                next = mdl->pages;
            mdl->frames_absent += next - i;
            *budget -= *budget > 0;
            i = next;
        }
    }
    mdl->frames_hash = hash;
    return true;
}

static void reject(lhi_mdl *mdl, const char *why)
{
    mdl->klass = LHI_MDL_NOT_ONE;
    mdl->reason = why;
}

/* What can be read of a header that is not wholly there contradicts an MDL. */
static bool part_contradicts(const lh_kernel *kernel, uint64_t address)
{
    const uint16_t *at = kernel->layout->offsets;
    const lhi_space *space = &kernel->space;
    uint64_t word = 0;
    uint32_t half = 0;
    if (lhi_space_u64(space, address + at[LHI_F_MDL_Next], &word) == LH_PRESENT && word != 0 &&
        (!lhi_is_kernel(word) || word % 8 != 0))
        return true;
    if (lhi_space_u64(space, address + at[LHI_F_MDL_StartVa], &word) == LH_PRESENT && (word & PAGE_MASK) != 0)
        return true;
    if (lhi_space_u32(space, address + at[LHI_F_MDL_ByteCount], &half) == LH_PRESENT && half == 0)
        return true;
    return lhi_space_u32(space, address + at[LHI_F_MDL_ByteOffset], &half) == LH_PRESENT && half > PAGE_MASK;
}

static bool decode(const lh_kernel *kernel, lhi_mdl *mdl)
{
    uint8_t raw[LHI_MDL_HEADER];
    lh_error err = {0};
    if (lhi_space_read(&kernel->space, mdl->address, raw, sizeof raw, NULL, &err) != LH_OK) {
        bool gone = err.absence == LH_ABSENT_NOT_MAPPED || part_contradicts(kernel, mdl->address);
        mdl->klass = gone ? LHI_MDL_NOT_ONE : LHI_MDL_UNREADABLE;
        mdl->reason = gone ? "what is left of it is no MDL" : "its header is not wholly in this dump";
        mdl->absence = err.absence;
        mdl->absent_at = err.address;
        return false;
    }
    const uint16_t *at = kernel->layout->offsets;
    lhi_bytes bytes = {raw, sizeof raw};
    bool whole = lhi_bytes_u64(bytes, at[LHI_F_MDL_Next], &mdl->next) &&
                 lhi_bytes_u16(bytes, at[LHI_F_MDL_Size], &mdl->size) &&
                 lhi_bytes_u16(bytes, at[LHI_F_MDL_MdlFlags], &mdl->flags) &&
                 lhi_bytes_u64(bytes, at[LHI_F_MDL_Process], &mdl->process) &&
                 lhi_bytes_u64(bytes, at[LHI_F_MDL_MappedSystemVa], &mdl->mapped_va) &&
                 lhi_bytes_u64(bytes, at[LHI_F_MDL_StartVa], &mdl->start_va) &&
                 lhi_bytes_u32(bytes, at[LHI_F_MDL_ByteCount], &mdl->byte_count) &&
                 lhi_bytes_u32(bytes, at[LHI_F_MDL_ByteOffset], &mdl->byte_offset);
    if (!whole)
        reject(mdl, "no layout of MDL");
    return whole;
}

/* MmInitializeMdl stores header + 8 * pages in 16 bits, which wraps at 8186 pages; a structure used again may
 * have more room. */
static bool size_fits(const lhi_mdl *mdl)
{
    uint64_t needed = LHI_MDL_HEADER + 8 * mdl->pages;
    return mdl->size == (uint16_t)needed || mdl->size >= needed;
}

void lhi_mdl_read(const lh_kernel *kernel, uint64_t address, uint64_t process, uint64_t *budget, lhi_mdl *out)
{
    lhi_mdl mdl = {.address = address, .klass = LHI_MDL_NOT_ONE};
    if (!lhi_is_kernel(address) || address % 8 != 0 || address > UINT64_MAX - LHI_MDL_HEADER) {
        reject(&mdl, "not a place for an MDL");
        goto done;
    }
    if (!decode(kernel, &mdl))
        goto done;
    if (process != 0 && mdl.process != process) {
        reject(&mdl, "names another process");
        goto done;
    }
    if (mdl.process != 0 && !lhi_is_kernel(mdl.process)) {
        reject(&mdl, "Process is no kernel address");
        goto done;
    }
    if ((mdl.next != 0 && (!lhi_is_kernel(mdl.next) || mdl.next % 8 != 0))) {
        reject(&mdl, "Next is no kernel address");
        goto done;
    }
    if ((mdl.start_va & PAGE_MASK) != 0 || mdl.byte_offset > PAGE_MASK) {
        reject(&mdl, "StartVa or ByteOffset has no MDL's form");
        goto done;
    }
    mdl.pages = ((uint64_t)mdl.byte_offset + mdl.byte_count + PAGE_MASK) >> 12;
    uint64_t begin = mdl.start_va + mdl.byte_offset;
    bool user = mdl.start_va >= LOWEST_USER && begin < LHI_USER_END && mdl.byte_count <= LHI_USER_END - begin;
    bool locked = mdl.flags & LHI_MDL_PAGES_LOCKED;
    if (mdl.byte_count == 0 || !size_fits(&mdl)) {
        reject(&mdl, mdl.byte_count == 0 ? "ByteCount is 0" : "Size does not fit the pages it spans");
        goto done;
    }
    if (locked && (mdl.flags & LHI_MDL_IO_PAGE_READ)) {
        /* Initialising an MDL writes neither Process nor MappedSystemVa: a structure used again for a paging
         * read still names its last process. */
        mdl.klass = LHI_MDL_PAGING;
        mdl.reason = "an in-page read of the memory manager in a structure used again";
        goto done;
    }
    if (mdl.flags & LHI_MDL_SOURCE_IS_NONPAGED_POOL) {
        mdl.klass = LHI_MDL_NONPAGED;
        mdl.reason = "describes non-paged pool, which is never charged";
        goto done;
    }
    if (!user && !(lhi_is_kernel(mdl.start_va) && begin <= UINT64_MAX - mdl.byte_count)) {
        reject(&mdl, "the span it describes is neither in user nor in kernel space");
        goto done;
    }
    if (locked && (mdl.flags & LHI_MDL_MAPPED_TO_SYSTEM_VA) && !lhi_is_kernel(mdl.mapped_va)) {
        reject(&mdl, "flagged as mapped, but MappedSystemVa is no kernel address");
        goto done;
    }
    /* The array of an MDL that is not locked is a leftover: it may hold anything. */
    if ((locked || (mdl.flags & LHI_MDL_PARTIAL)) && !check_frames(kernel, budget, &mdl)) {
        reject(&mdl, "its array holds a number that is no frame of this machine");
        goto done;
    }
    if (mdl.flags & LHI_MDL_PARTIAL) {
        mdl.klass = LHI_MDL_IS_PARTIAL;
        mdl.reason = "a partial MDL: it repeats frames of another MDL and is never charged";
    } else if (!locked) {
        mdl.klass = LHI_MDL_STALE;
        mdl.reason = "PAGES_LOCKED is clear: unlocked, or never locked";
    } else if (mdl.flags & LHI_MDL_DESCRIBES_AWE) {
        mdl.klass = LHI_MDL_AWE;
        mdl.reason = "a locked AWE or physical region, which is accounted for elsewhere";
    } else if (!user || mdl.process == 0) {
        mdl.klass = LHI_MDL_KERNEL;
        mdl.reason =
            user ? "locked, but charged to no process" : "locked kernel addresses, charged to no process";
    } else {
        mdl.klass = LHI_MDL_CHARGED;
        mdl.reason = "PAGES_LOCKED over user addresses, charged to the process it names";
    }
done:
    *out = mdl;
}
