/* The dump handle: opens a source by its header, keeps lookup and facts together, answers the public API. */
#include "base/alloc.h"
#include "base/checked.h"
#include "dump/formats.h"
#include "dump/header.h"
#include "dump/lookup.h"
#include "source/source.h"

#include <stdatomic.h>
#include <string.h>

struct lh_dump {
    atomic_size_t references;
    lh_dump *below;  /* of an overlay: the dump it is laid over, which has header and triage */
    lhi_opened file; /* with the counts of pages in its info */
};

static void destroy(lh_dump *dump)
{
    lhi_pages_destroy(dump->file.pages);
    lhi_triage_destroy(dump->file.triage);
    lhi_free(dump->file.header);
    lh_source_release(dump->file.source);
    lhi_free(dump);
}

lh_dump *lhi_dump_retain(lh_dump *dump)
{
    atomic_fetch_add_explicit(&dump->references, 1, memory_order_relaxed);
    return dump;
}

void lh_dump_release(lh_dump *dump)
{
    /* A loop and no recursion: overlays may be stacked as high as a caller likes. */
    while (dump && atomic_fetch_sub_explicit(&dump->references, 1, memory_order_acq_rel) == 1) {
        lh_dump *below = dump->below;
        destroy(dump);
        dump = below;
    }
}

static void take_counts(lhi_opened *file)
{
    const lhi_pages *pages = file->pages;
    file->info.pages_present = pages->present;
    file->info.pages_described = pages->described;
    file->info.pages_clipped = pages->clipped;
    file->info.pages_ram = pages->ram;
    file->info.highest_pfn = pages->end_pfn ? pages->end_pfn - 1 : 0;
    if (file->triage) {
        file->info.blocks = file->triage->blocks.count;
        file->info.block_bytes = file->triage->blocks.bytes;
        file->info.block_bytes_clipped = file->triage->blocks.lost_bytes;
    }
}

static lh_status open_file(lhi_opened *file, lh_error *err)
{
    lh_status status = lhi_formats_open(file, err);
    if (status != LH_OK)
        return status;
    take_counts(file);
    if (file->info.pages_clipped)
        lhi_note(&file->notes, "%llu of %llu pages are lost: the file is shorter than its header says",
                 (unsigned long long)file->info.pages_clipped,
                 (unsigned long long)file->info.pages_described);
    return LH_OK;
}

lh_status lh_dump_open(lh_source *source, lh_dump **out, lh_error *err)
{
    lh_status status = LH_OK;
    if (!source)
        return lhi_fail_argument(err, "source", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    lh_dump *dump = lhi_calloc(1, sizeof *dump);
    if (!dump)
        return lhi_fail_memory(err);
    atomic_init(&dump->references, 1);
    dump->file.source = lhi_source_retain(source);
    dump->file.info.struct_size = sizeof dump->file.info;
    dump->file.header = lhi_malloc(LHI_HEADER_SIZE);
    if (!dump->file.header) {
        status = lhi_fail_memory(err);
        goto done;
    }
    status = open_file(&dump->file, err);
    if (status != LH_OK)
        goto done;
    *out = dump;
    dump = NULL;
done:
    if (status != LH_OK && *lhi_source_name(source))
        lhi_prefix(err, "%s", lhi_source_name(source));
    if (dump)
        destroy(dump);
    return status;
}

lh_status lh_dump_open_file(const char *path, lh_dump **out, lh_error *err)
{
    lh_source *source = NULL;
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    lh_status status = lh_source_open_file(path, LH_SOURCE_DEFAULT, &source, err);
    if (status == LH_OK)
        status = lh_dump_open(source, out, err);
    lh_source_release(source);
    return status;
}

lh_status lh_dump_get_info(const lh_dump *dump, lh_dump_info *out, lh_error *err)
{
    if (!dump)
        return lhi_fail_argument(err, "dump", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    /* An older caller's struct ends earlier, a newer one's later; 4096 tells an uninitialised one. */
    size_t size = out->struct_size;
    if (size < offsetof(lh_dump_info, build) || size > 4096)
        return lhi_fail_argument(err, "struct_size", "%zu is no size of lh_dump_info", size);
    memset(out, 0, size);
    memcpy(out, &dump->file.info, size < sizeof dump->file.info ? size : sizeof dump->file.info);
    out->struct_size = size;
    return LH_OK;
}

lh_status lh_dump_read_physical(const lh_dump *dump, uint64_t address, void *buffer, size_t size,
                                size_t *done, lh_error *err)
{
    uint8_t *to = buffer;
    size_t read = 0;
    uint64_t end = 0;
    lh_status status = LH_OK;
    if (done)
        *done = 0;
    if (!dump)
        return lhi_fail_argument(err, "dump", "is NULL");
    if (!buffer && size)
        return lhi_fail_argument(err, "buffer", "is NULL");
    if (!lhi_add(address, size, &end))
        return lhi_fail_argument(err, "address", "0x%llx and the size pass the end of the address space",
                                 (unsigned long long)address);
    while (read < size && status == LH_OK) {
        uint64_t at = address + read;
        size_t part = LHI_PAGE_SIZE - (size_t)(at % LHI_PAGE_SIZE);
        if (part > size - read)
            part = size - read;
        status = lhi_pages_read(dump->file.pages, at, to + read, part, err);
        if (status == LH_OK)
            read += part;
    }
    if (done)
        *done = read;
    return status;
}

lh_status lh_dump_next_run(const lh_dump *dump, uint64_t *pfn, uint64_t *count, lh_error *err)
{
    if (!dump)
        return lhi_fail_argument(err, "dump", "is NULL");
    if (!pfn)
        return lhi_fail_argument(err, "pfn", "is NULL");
    if (!count)
        return lhi_fail_argument(err, "count", "is NULL");
    lhi_run run = {0};
    lhi_pages_next(dump->file.pages, *pfn, &run);
    *pfn = run.pfn;
    *count = run.count;
    return LH_OK;
}

static lh_status overlay(lh_dump *dump, const uint64_t *pfns, const void *bytes, size_t count, lh_dump **out,
                         lh_error *err)
{
    if (!dump)
        return lhi_fail_argument(err, "dump", "is NULL");
    if (!pfns && count)
        return lhi_fail_argument(err, "pfns", "is NULL");
    if (!out)
        return lhi_fail_argument(err, "out", "is NULL");
    lh_dump *made = lhi_calloc(1, sizeof *made);
    if (!made)
        return lhi_fail_memory(err);
    lh_status status = lhi_overlay_open(dump->file.pages, pfns, bytes, count, &made->file.pages, err);
    if (status != LH_OK) {
        destroy(made);
        return status;
    }
    atomic_init(&made->references, 1);
    made->file.source = lhi_source_retain(dump->file.source);
    made->below = lhi_dump_retain(dump);
    made->file.info = dump->file.info;
    made->file.runs = dump->file.runs;
    made->file.notes = dump->file.notes;
    take_counts(&made->file);
    *out = made;
    return LH_OK;
}

lh_status lh_dump_without_pages(lh_dump *dump, const uint64_t *pfns, size_t count, lh_dump **out,
                                lh_error *err)
{
    return overlay(dump, pfns, NULL, count, out, err);
}

lh_status lh_dump_with_pages(lh_dump *dump, const uint64_t *pfns, const void *bytes, size_t count,
                             lh_dump **out, lh_error *err)
{
    if (!bytes && count)
        return lhi_fail_argument(err, "bytes", "is NULL");
    return overlay(dump, pfns, bytes, count, out, err);
}

/* ------------------------------------------------- for the upper directories */

const lhi_pages *lhi_dump_pages(const lh_dump *dump)
{
    return dump->file.pages;
}

const lh_dump_info *lhi_dump_header(const lh_dump *dump)
{
    return &dump->file.info;
}

const uint8_t *lhi_dump_header_bytes(const lh_dump *dump)
{
    while (!dump->file.header)
        dump = dump->below;
    return dump->file.header;
}

const lhi_triage *lhi_dump_triage(const lh_dump *dump)
{
    while (dump->below)
        dump = dump->below;
    return dump->file.triage;
}

const lhi_blocks *lhi_dump_blocks(const lh_dump *dump)
{
    const lhi_triage *triage = lhi_dump_triage(dump);
    return triage ? &triage->blocks : NULL;
}

const char *lhi_dump_name(const lh_dump *dump)
{
    return lhi_source_name(dump->file.source);
}

size_t lhi_dump_note_count(const lh_dump *dump)
{
    return dump->file.notes.count;
}

const char *lhi_dump_note(const lh_dump *dump, size_t index)
{
    return index < dump->file.notes.count ? dump->file.notes.text[index] : "";
}

const lhi_runs *lhi_dump_runs(const lh_dump *dump)
{
    return dump->file.info.pages_ram ? &dump->file.runs : NULL;
}

bool lhi_dump_is_ram(const lh_dump *dump, uint64_t pfn)
{
    lhi_run place = {0};
    return !dump->file.info.pages_ram || lhi_runs_find(&dump->file.runs, pfn) ||
           lhi_pages_find(dump->file.pages, pfn, &place) == LH_PRESENT;
}

uint64_t lhi_dump_file_offset(const lh_dump *dump, uint64_t physical)
{
    lhi_run place = {0};
    if (lhi_pages_find(dump->file.pages, physical / LHI_PAGE_SIZE, &place) != LH_PRESENT || place.memory)
        return LHI_NOT_IN_FILE;
    return place.offset + physical % LHI_PAGE_SIZE;
}

uint64_t lhi_dump_read_failures(const lh_dump *dump)
{
    return lhi_source_failures(dump->file.source);
}

lh_status lhi_dump_check_reads(const lh_dump *dump, uint64_t before, lh_error *err)
{
    if (lhi_source_failures(dump->file.source) == before)
        return LH_OK;
    lh_status status = lhi_fail(err, LH_ERR_IO, "reads failed during the call");
    lhi_prefix(err, "%s", lhi_dump_name(dump));
    return status;
}
