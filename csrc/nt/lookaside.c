/* Lookaside lists: packets and MDLs that were freed and wait for their next use.
 *
 * Layouts: KPRCB.PPLookasideList, GENERAL_LOOKASIDE, SLIST_HEADER (public PDB types), facts B.9. */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "nt/memory.h"
#include "nt/process.h"
#include "nt/read.h"
#include "nt/text.h"

#include <string.h>

/* _PP_NPAGED_LOOKASIDE_NUMBER of the public PDBs: small, medium and large packets, then MDLs. */
#define IRP_LISTS 3u
#define MDL_LIST  3u
/* A pair of pointers: the processor's own list and the one that all share. */
#define PAIR_SIZE 16u
/* GENERAL_LOOKASIDE: fields that the layout table has no build for are the same everywhere (facts B.9). */
#define LOOKASIDE_FIRST 8u
#define LOOKASIDE_TAG   LHI_LIST_MARK
#define LOOKASIDE_SIZE  0x2cu
#define LOOKASIDE_READ  0x30u
/* Second qword of an x64 SLIST_HEADER: the low four bits are flags (HeaderType on Windows 7), the rest the
 * address of the first entry. */
#define SLIST_FLAGS 0xfull
/* An MDL for one page, and a packet with one stack location (facts B.1, B.2). */
#define MDL_LEAST   0x38u
#define IRP_LEAST   0x118u
#define SIZE_MOST   0x10000u
#define SLIST_ALIGN 16u /* of heads and entries on x64 */

static void note_gap(lhi_free_lists *out, lh_absence absence, uint64_t at)
{
    if (out->complete || out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_at = at;
    }
    out->complete = false;
}

static bool same_letters(const uint8_t *tag, const char *letters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t c = tag[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + ('a' - 'A'));
        if (c != (uint8_t)letters[i])
            return false;
    }
    return true;
}

/* A list's head shows that it is one: a tag of its kind and room for what it keeps. */
static bool is_head(const uint8_t *head, bool mdls)
{
    uint32_t size = lhi_u32(head + LOOKASIDE_SIZE);
    if (size > SIZE_MOST || size < (mdls ? MDL_LEAST : IRP_LEAST))
        return false;
    return mdls ? same_letters(head + LOOKASIDE_TAG, "mdl ", 4)
                : same_letters(head + LOOKASIDE_TAG, "irp", 3);
}

int lhi_is_list_head(const lh_kernel *kernel, uint64_t address, bool mdls)
{
    uint8_t head[LOOKASIDE_READ] = {0};
    uint64_t at = 0;
    if (!lhi_is_object(address, 16))
        return -1;
    if (lhi_read(&kernel->space, address, head, sizeof head, &at) != LH_PRESENT)
        return 0;
    return is_head(head, mdls) ? 1 : -1;
}

/* Entries of one list. The depth that the head counts bounds the walk, so a loop can't hold it. */
static lh_status read_list(const lh_kernel *kernel, uint64_t list, bool mdls, lhi_free_lists *out,
                           lh_error *err)
{
    lhi_vec *entries = mdls ? &out->mdls : &out->irps;
    uint8_t head[LOOKASIDE_READ] = {0};
    uint64_t at = list;
    lh_absence absence = LH_ABSENT_LAYOUT;
    if (lhi_is_object(list, 16))
        absence = lhi_read(&kernel->space, list, head, sizeof head, &at);
    if (absence == LH_PRESENT && !is_head(head, mdls)) {
        absence = LH_ABSENT_LAYOUT;
        at = list;
    }
    if (absence != LH_PRESENT) {
        note_gap(out, absence, at);
        return LH_OK;
    }
    uint32_t depth = lhi_u16(head);
    uint64_t entry = lhi_u64(head + 8) & ~SLIST_FLAGS;
    uint64_t from = list;
    uint32_t seen = 0;
    while (entry != 0) {
        if (!lhi_is_object(entry, 16) || seen == depth) {
            note_gap(out, LH_ABSENT_LAYOUT, from); /* a damaged link, a loop, or a wrong count */
            out->damaged = true;
            return LH_OK;
        }
        if (!lhi_vec_push(entries, entry))
            return lhi_fail_memory(err);
        seen++;
        from = entry;
        absence = lhi_read_u64(&kernel->space, entry, &entry, &at);
        if (absence != LH_PRESENT) {
            note_gap(out, absence, at);
            return LH_OK;
        }
    }
    if (seen != depth) {
        note_gap(out, LH_ABSENT_LAYOUT, list);
        out->damaged = true;
    }
    return LH_OK;
}

uint64_t lhi_free_list_mark(unsigned index)
{
    /* "Mdl ", and an MDL with room for so many pages. */
    return 0x206c644dull | (uint64_t)(MDL_LEAST + 8 * index) << 32;
}

lh_status lhi_free_lists_show(const lh_kernel *kernel, uint64_t head, lhi_free_lists *out, lh_error *err)
{
    lhi_free_lists own = {.complete = true};
    if (lhi_is_list_head(kernel, head, true) <= 0)
        return LH_OK;
    lh_status status = read_list(kernel, head, true, &own, err);
    if (status == LH_OK && own.complete) {
        out->shown = true;
        if (!lhi_vec_append(&out->mdls, own.mdls.data, own.mdls.count))
            status = lhi_fail_memory(err);
    }
    out->damaged = out->damaged || own.damaged;
    lhi_free_lists_free(&own);
    return status;
}

void lhi_free_lists_sort(lhi_free_lists *lists)
{
    lhi_vec_sort_unique(&lists->mdls);
    lhi_vec_sort_unique(&lists->irps);
}

lh_status lhi_free_lists_read(const lh_kernel *kernel, lhi_free_lists *out, lh_error *err)
{
    const uint32_t processors = lhi_processor_count(kernel);
    lhi_vec lists = {0}; /* shared lists come up once for each processor */
    uint64_t pairs = 0;
    lh_status status = LH_OK;
    memset(out, 0, sizeof *out);
    out->complete = true;
    if (!lhi_layout_offset(kernel->layout, LHI_F_KPRCB_PPLookasideList, &pairs)) {
        note_gap(out, LH_ABSENT_LAYOUT, 0);
        /* Where the tables have the field, what the processors' blocks had there is gone. */
        out->damaged = kernel->row.states[LHI_F_KPRCB_PPLookasideList].probe == LHI_PROBE_FAILED;
        return LH_OK;
    }
    for (uint32_t i = 0; i < processors && status == LH_OK; i++) {
        uint8_t bytes[(IRP_LISTS + 1) * PAIR_SIZE] = {0};
        uint64_t prcb = 0;
        uint64_t at = 0;
        lh_absence absence = lhi_processor(kernel, i, &prcb, &at);
        if (absence == LH_PRESENT)
            absence = lhi_read(&kernel->space, prcb + pairs, bytes, sizeof bytes, &at);
        if (absence != LH_PRESENT) {
            note_gap(out, absence, at);
            continue;
        }
        for (size_t word = 0; word < sizeof bytes / 8 && status == LH_OK; word++) {
            /* Bit 0 tells the kind: heads lie on multiples of 16. */
            uint64_t list = lhi_u64(bytes + 8 * word);
            bool mdls = word / 2 == MDL_LIST;
            if (!lhi_is_object(list, 16)) {
                note_gap(out, LH_ABSENT_LAYOUT, prcb + pairs + 8 * word);
                out->damaged = true; /* which lists the processor has can't be told */
            } else if (!lhi_vec_push(&lists, list | (mdls ? 1 : 0)))
                status = lhi_fail_memory(err);
        }
    }
    lhi_vec_sort_unique(&lists);
    for (size_t i = 0; i < lists.count && status == LH_OK; i++)
        status = read_list(kernel, lists.data[i] & ~(uint64_t)1, (lists.data[i] & 1) != 0, out, err);
    lhi_free_lists_sort(out);
    lhi_vec_free(&lists);
    if (status != LH_OK)
        lhi_free_lists_free(out);
    return status;
}

bool lhi_mdl_is_freed(const lh_kernel *kernel, const lhi_free_lists *lists, uint64_t mdl)
{
    lhi_pool_block block = {0};
    if (lhi_vec_find(&lists->mdls, mdl) != SIZE_MAX)
        return true;
    lhi_pool_block_at(kernel, mdl, &block);
    return (block.found && block.state == LHI_POOL_FREE) || lhi_pool_says_free(kernel, mdl, "Mdl ");
}

void lhi_free_lists_free(lhi_free_lists *lists)
{
    if (!lists)
        return;
    lhi_vec_free(&lists->mdls);
    lhi_vec_free(&lists->irps);
    memset(lists, 0, sizeof *lists);
}

bool lhi_is_lookaside(const lh_kernel *kernel, uint64_t at, const char *tag, uint64_t size)
{
    uint8_t head[LOOKASIDE_READ] = {0};
    char text[24] = "";
    uint64_t missing = 0;
    if (at % SLIST_ALIGN != LOOKASIDE_FIRST ||
        lhi_read(&kernel->space, at - LOOKASIDE_FIRST, head, sizeof head, &missing) != LH_PRESENT ||
        lhi_u16(head) == 0)
        return false;
    const uint32_t room = lhi_u32(head + LOOKASIDE_SIZE);
    lhi_text_bytes(head + LOOKASIDE_TAG, 4, text, sizeof text);
    return room <= size && size - room < (uint64_t)2 * SLIST_ALIGN && strcmp(text, tag) == 0;
}
