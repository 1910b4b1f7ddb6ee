/* Fuzz target of the dump reader: opens any bytes as a dump and asks for everything (libFuzzer's entry). */
#include "lockhound.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort(); /* what a fuzzer notices */
}

static void read_runs(const lh_dump *dump, const lh_dump_info *info)
{
    uint64_t pfn = 0;
    uint64_t count = 0;
    uint64_t present = 0;
    uint64_t reads = 0;
    uint8_t bytes[32];
    while (lh_dump_next_run(dump, &pfn, &count, NULL) == LH_OK && count) {
        uint64_t ends[2] = {pfn, pfn + count - 1};
        for (size_t i = 0; i < 2 && reads < 4096; i++, reads++) {
            size_t done = 0;
            must(lh_dump_read_physical(dump, ends[i] * 4096 + 4096 - sizeof bytes, bytes, sizeof bytes, &done,
                                       NULL) == LH_OK);
            must(done == sizeof bytes);
        }
        must(pfn + count > pfn);
        present += count;
        pfn += count;
        must(pfn <= info->highest_pfn + 1);
    }
    must(present == info->pages_present);
    must(present == 0 || pfn == info->highest_pfn + 1);
    must(info->pages_present + info->pages_clipped == info->pages_described);
    must(info->pages_present <= info->file_size / 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lh_source *source = NULL;
    lh_dump *dump = NULL;
    lh_error err = {0};
    if (lh_source_open_memory(data, size, &source, &err) != LH_OK)
        return 0;
    lh_status status = lh_dump_open(source, &dump, &err);
    lh_source_release(source);
    if (status != LH_OK) {
        must(!dump && err.code == status && err.message[0] && err.field[0]);
        must(status == LH_ERR_FORMAT || status == LH_ERR_UNSUPPORTED);
        return 0;
    }
    lh_dump_info info = {.struct_size = sizeof info};
    must(lh_dump_get_info(dump, &info, NULL) == LH_OK);
    read_runs(dump, &info);

    uint64_t pfns[] = {info.highest_pfn, 0, info.highest_pfn / 2};
    lh_dump *less = NULL;
    must(lh_dump_without_pages(dump, pfns, 3, &less, &err) == LH_OK);
    lh_dump_release(dump);
    must(lh_dump_get_info(less, &info, NULL) == LH_OK);
    read_runs(less, &info);
    lh_dump_release(less);
    return 0;
}
