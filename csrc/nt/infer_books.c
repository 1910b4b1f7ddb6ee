/* PFN entries, lookaside lists and module entries, probed on and inferred from what is known of them. */
#include "base/bytes.h"
#include "nt/memory.h"
#include "nt/probe.h"
#include "nt/process.h"
#include "nt/read.h"

#include <string.h>

/* u3: a reference count of 16 bits, then the location in the low three bits (facts B.8). */
#define LOCATION_ACTIVE 6u
#define FRAMES_MOST     24u
#define MODULES_MOST    16u
/* Two shapes of MMPFN in all x64 builds from 5.2 to 22000 (facts B.8): u3, PteAddress, OriginalPte. */
static const uint16_t frame_shapes[2][3] = {{0x20, 0x8, 0x10}, {0x18, 0x10, 0x20}};
/* KPRCB has been at most 0xbf00 bytes (facts B.9). */
#define PRCB_MOST        0x10000u
#define PROCESSORS_ASKED 4u

/* ------------------------------------------------------------------ PFN entries */

/* Frames that are in use whatever happened: the page directory, and pages of live objects. */
static size_t known_frames(const lhi_witness *w, uint64_t out[FRAMES_MOST])
{
    const lh_kernel *kernel = w->kernel;
    size_t count = 0;
    if (kernel->space.dtb != 0)
        out[count++] = kernel->space.dtb / LHI_PAGE_SIZE;
    for (size_t i = 0; i < w->process_count + w->thread_count + 1 && count < FRAMES_MOST; i++) {
        const uint64_t va = i == 0                  ? kernel->kdbg.address
                            : i <= w->process_count ? w->processes[i - 1]
                                                    : w->threads[i - 1 - w->process_count].address;
        lh_walk walk = {0};
        uint64_t frame = 0;
        bool known = false;
        if (!lhi_is_kernel(va) || lhi_space_translate(&kernel->space, va, &frame) != LH_PRESENT)
            continue;
        lhi_space_walk(&kernel->space, va, &walk);
        frame /= LHI_PAGE_SIZE;
        for (size_t k = 0; k < count; k++)
            known = known || out[k] == frame;
        if (!known && !walk.transition)
            out[count++] = frame;
    }
    return count;
}

static int ask_references(const lhi_witness *w, uint64_t offset)
{
    uint64_t frames[FRAMES_MOST] = {0};
    const size_t count = known_frames(w, frames);
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[4] = {0};
        uint64_t entry = 0;
        uint64_t at = 0;
        if (!lhi_pfn_address(w->kernel, frames[i], &entry) || entry > UINT64_MAX - 0x100 ||
            lhi_pfn_is_blank(w->kernel, entry) || /* not kept for such a page: no word about the offset */
            lhi_read(&w->kernel->space, entry + offset, bytes, sizeof bytes, &at) != LH_PRESENT)
            continue;
        if (lhi_u16(bytes) != 0 && (bytes[2] & 7) == LOCATION_ACTIVE)
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

static void settle_frames(lhi_witness *w)
{
    lhi_layout_row *row = &w->kernel->row;
    const uint64_t before = row->offsets[LHI_F_MMPFN_u3];
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_MMPFN_u3,
                      .ask = ask_references,
                      .first = frame_shapes[1][0],
                      .last = frame_shapes[0][0],
                      .step = 8,
                      .least = 3,
                      .source = "frames in use have a reference and are marked active",
                  });
    if (row->offsets[LHI_F_MMPFN_u3] == before)
        return;
    lhi_field_drop(row, LHI_F_MMPFN_PteAddress);
    lhi_field_drop(row, LHI_F_MMPFN_OriginalPte);
    for (size_t i = 0; i < 2; i++) {
        if (row->offsets[LHI_F_MMPFN_u3] != frame_shapes[i][0])
            continue;
        static const char source[] = "goes with the place of the reference count in every known build";
        lhi_field_take(row, LHI_F_MMPFN_PteAddress, frame_shapes[i][1], LHI_FROM_DUMP, source);
        lhi_field_take(row, LHI_F_MMPFN_OriginalPte, frame_shapes[i][2], LHI_FROM_DUMP, source);
    }
}

/* ------------------------------------------------------------------ lookaside lists */

/* Heads show themselves by tag and size (facts B.9). The pairs of the packets, then that of the MDLs. */
static void heads_at(const lhi_witness *w, uint64_t prcb, uint64_t offset, int *agree, int *against)
{
    uint8_t bytes[64] = {0};
    uint64_t at = 0;
    if (lhi_read(&w->kernel->space, prcb + offset, bytes, sizeof bytes, &at) != LH_PRESENT)
        return;
    for (size_t i = 0; i < sizeof bytes / 8; i++) {
        int says = lhi_is_list_head(w->kernel, lhi_u64(bytes + 8 * i), i >= 6);
        *agree += says > 0;
        *against += says < 0;
    }
}

static int ask_lists(const lhi_witness *w, uint64_t offset)
{
    uint32_t processors = lhi_processor_count(w->kernel);
    int agree = 0;
    int against = 0;
    if (processors > PROCESSORS_ASKED)
        processors = PROCESSORS_ASKED;
    for (uint32_t i = 0; i < processors; i++) {
        uint64_t prcb = 0;
        uint64_t at = 0;
        if (lhi_processor(w->kernel, i, &prcb, &at) == LH_PRESENT &&
            prcb <= UINT64_MAX - 2 * (uint64_t)PRCB_MOST)
            heads_at(w, prcb, offset, &agree, &against);
    }
    return lhi_weigh(agree, against);
}

/* ------------------------------------------------------------------ module entries */

static int ask_stamp(const lhi_witness *w, uint64_t offset)
{
    const lhi_modules *modules = &w->kernel->modules;
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < modules->loaded && i < MODULES_MOST; i++) {
        lhi_image image;
        uint8_t bytes[4] = {0};
        uint64_t at = 0;
        if (modules->items[i].entry > UINT64_MAX - 0x1000 ||
            lhi_image_open(&w->kernel->space, modules->items[i].base, modules->items[i].size, &image) !=
                LH_PRESENT ||
            lhi_read(&w->kernel->space, modules->items[i].entry + offset, bytes, sizeof bytes, &at) !=
                LH_PRESENT)
            continue;
        if (image.timestamp != 0 && lhi_u32(bytes) == image.timestamp)
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

/* A record's EntryPoint against the image's own: which of the two belong together, where no time stamp tells.
 */
static int ask_entry(const lhi_witness *w, uint64_t offset)
{
    const lhi_modules *modules = &w->kernel->modules;
    int agree = 0;
    int against = 0;
    for (size_t i = 0; i < modules->loaded && i < MODULES_MOST; i++) {
        lhi_image image;
        uint8_t bytes[8] = {0};
        uint64_t at = 0;
        if (modules->items[i].entry > UINT64_MAX - 0x1000 ||
            lhi_image_open(&w->kernel->space, modules->items[i].base, modules->items[i].size, &image) !=
                LH_PRESENT ||
            image.entry == 0 ||
            lhi_read(&w->kernel->space, modules->items[i].entry + offset, bytes, sizeof bytes, &at) !=
                LH_PRESENT ||
            lhi_u64(bytes) == 0)
            continue;
        if (lhi_u64(bytes) - modules->items[i].base == image.entry)
            agree++;
        else
            against++;
    }
    return lhi_weigh(agree, against);
}

void lhi_settle_books(lhi_witness *w)
{
    const uint64_t stated = w->kernel->kdbg.offsets.prcb_size;
    const uint64_t prcb = stated >= 0x100 && stated <= PRCB_MOST ? stated : PRCB_MOST;
    settle_frames(w);
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KPRCB_PPLookasideList,
                      .ask = ask_lists,
                      .first = 0x40,
                      .last = prcb - 64,
                      .step = 8,
                      .least = 5,
                      .source = "leads to heads with the tags and sizes of packets and MDLs",
                  });
    lhi_settle(w, &(lhi_question){
                      .field = LHI_F_KLDR_DATA_TABLE_ENTRY_TimeDateStamp,
                      .ask = ask_stamp,
                      .first = 0x6c,
                      .last = 0x100,
                      .step = 4,
                      .least = 2,
                      .source = "the time stamp of the image's own header in every module",
                  });
    /* Where no record at all has its image's, whoever wrote them meant something else by it. */
    lhi_settle(w, &(lhi_question){.field = LHI_F_KLDR_DATA_TABLE_ENTRY_EntryPoint, .ask = ask_entry});
}
