/* Decodes page-table entries. Software forms: facts of the public PDB types MMPTE_*, the same at each level.
 */
#include "space/entry.h"

enum {
    VALID = 1u << 0,
    SWIZZLE = 1u << 4, /* MMPTE_*.SwizzleBit, builds with the L1TF mitigation */
    LARGE = 1u << 7,
    PROTOTYPE = 1u << 10,
    TRANSITION = 1u << 11
};

/* Builds from 22621 on mark file-backed entries by a pointer-like value: bits 47 to 63 set, low nibble 0. */
static bool is_file_backed(uint64_t raw)
{
    return raw >> 47 == 0x1ffff && (raw & 0xf) == 0;
}

/* With the L1TF mitigation a transition PTE whose SwizzleBit is clear has its PFN XORed with a mask that the
 * PTE doesn't tell: address bits above the machine's memory (in public readers just bit 45). A frame that is
 * RAM is taken as it stands. One that is not loses its highest bits one by one until it is RAM; only bits
 * above every present page can belong to the mask, so a hole in memory is not taken for one. Without the
 * machine's memory runs only bit 45 is tried. */
static uint64_t unswizzle(const lhi_pages *pages, uint64_t raw, uint64_t frame)
{
    lhi_run place = {0};
    lh_absence absence = lhi_pages_find(pages, frame, &place);
    uint64_t bare = frame;
    if ((raw & SWIZZLE) != 0 || raw >> 52 != 0 || absence == LH_PRESENT)
        return frame;
    if (pages->ram == 0) {
        bare = frame & ~(1ull << (45 - 12));
        return bare != frame && 1ull << (45 - 12) >= pages->end_pfn &&
                       lhi_pages_find(pages, bare, &place) == LH_PRESENT
                   ? bare
                   : frame;
    }
    while (absence == LH_ABSENT_NOT_RAM && bare != 0) {
        uint64_t top = 1;
        while (top <= bare / 2)
            top *= 2;
        if (top < pages->end_pfn)
            return frame;
        bare ^= top;
        absence = lhi_pages_find(pages, bare, &place);
    }
    /* Frame 0 is never on a list of pages in transition. */
    return bare != 0 && absence != LH_ABSENT_NOT_RAM ? bare : frame;
}

void lhi_entry_decode(const lhi_pages *pages, uint64_t raw, int level, lhi_entry *out)
{
    *out = (lhi_entry){.absence = LH_PRESENT, .frame = raw >> 12 & LHI_ENTRY_FRAMES};
    if ((raw & VALID) != 0) {
        out->kind = level == 1 ? LHI_ENTRY_PAGE : LHI_ENTRY_TABLE;
        if (level > 1 && (raw & LARGE) != 0) {
            out->kind = LHI_ENTRY_PAGE;
            /* Below the frame: the PAT bit (12) and reserved ones. */
            out->frame &= ~(lhi_entry_pages(level) - 1);
        }
        if (level == 4 && (raw & LARGE) != 0) { /* reserved in a PML4E: the processor faults */
            out->kind = LHI_ENTRY_ABSENT;
            out->absence = LH_ABSENT_NOT_MAPPED;
        }
    } else if (raw == 0) {
        out->absence = LH_ABSENT_NOT_MAPPED;
    } else if ((raw & PROTOTYPE) != 0 || is_file_backed(raw)) {
        out->absence = LH_ABSENT_PROTOTYPE;
    } else if ((raw & TRANSITION) != 0) {
        /* A table in transition was trimmed, but is still there and can be walked. */
        out->kind = level == 1 ? LHI_ENTRY_PAGE : LHI_ENTRY_TABLE;
        out->transition = true;
        out->frame = unswizzle(pages, raw, out->frame);
    } else if (raw >> 32 != 0 || (raw >> 12 & 0xf) != 0) {
        /* PageFileHigh or PageFileLow. On builds with the L1TF mitigation a demand-zero PTE has the mask in
         * PageFileHigh and can't be told from a page-file PTE without MiState: paged out is the answer that
         * claims less. */
        out->absence = LH_ABSENT_PAGED_OUT;
    } else {
        /* A table that was never written has no entries. */
        out->absence = level == 1 ? LH_ABSENT_DEMAND_ZERO : LH_ABSENT_NOT_MAPPED;
    }
}
