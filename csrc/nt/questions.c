/* The questions of the public header to an opened kernel: memory, walks, processes, modules, reverse map. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/vec.h"
#include "nt/answer.h"
#include "nt/identify.h"
#include "nt/kernel.h"
#include "nt/process.h"
#include "nt/process_list.h"

#include <string.h>

#define PAGE_MASK ((uint64_t)LHI_PAGE_SIZE - 1)

lh_status lh_kernel_read(const lh_kernel *kernel, uint64_t address, void *buffer, size_t size, size_t *done,
                         lh_error *err)
{
    size_t read = 0;
    lh_status status = LH_OK;
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    if (!buffer && size > 0)
        return lhi_fail_argument(err, "buffer", "is NULL");
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    status = lhi_space_read(&kernel->space, address, buffer, size, &read, err);
    if (status == LH_ERR_ABSENT && lhi_dump_check_reads(kernel->dump, before, err) != LH_OK)
        status = LH_ERR_IO; /* of a page table: what it says is not known */
    if (done)
        *done = read;
    return status;
}

lh_status lh_kernel_read_many(const lh_kernel *kernel, const uint64_t *addresses, size_t count, size_t size,
                              void *buffer, uint8_t *absences, lh_error *err)
{
    uint64_t total = 0;
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    if (!lhi_mul(count, size, &total) || total > SIZE_MAX / 2)
        return lhi_fail_argument(err, "size", "%zu items of %zu bytes are too many", count, size);
    if (count > 0 && (!addresses || !absences))
        return lhi_fail_argument(err, addresses ? "absences" : "addresses", "is NULL");
    if (total > 0 && !buffer)
        return lhi_fail_argument(err, "buffer", "is NULL");
    if (count > 0)
        memset(absences, LH_PRESENT, count);
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    for (size_t i = 0; i < count && size > 0; i++) {
        uint8_t *item = (uint8_t *)buffer + i * size;
        lh_error why = {0};
        lh_status status = lhi_space_read(&kernel->space, addresses[i], item, size, NULL, &why);
        if (status == LH_OK) {
            absences[i] = LH_PRESENT;
        } else if (status == LH_ERR_ABSENT) {
            memset(item, 0, size);
            absences[i] = (uint8_t)why.absence;
        } else {
            if (err)
                *err = why;
            return status;
        }
    }
    return lhi_dump_check_reads(kernel->dump, before, err);
}

lh_status lh_kernel_walk(const lh_kernel *kernel, uint64_t address, lh_walk *out, lh_error *err)
{
    lh_walk walk = {0};
    lh_status status = LH_OK;
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    status = lhi_answer_check(out, err);
    if (status != LH_OK)
        return status;
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    lhi_space_walk(&kernel->space, address, &walk);
    status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK)
        lhi_answer_give(out, &walk, sizeof walk);
    return status;
}

lh_status lh_kernel_map_physical(const lh_kernel *kernel, const uint64_t *addresses, size_t count,
                                 uint64_t *virtuals, uint8_t *states, lh_error *err)
{
    lhi_vec frames = {0};
    lhi_reverse map = {0};
    lh_status status = LH_OK;
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    if (count > 0 && (!addresses || !virtuals || !states))
        return lhi_fail_argument(err,
                                 !addresses  ? "addresses"
                                 : !virtuals ? "virtuals"
                                             : "states",
                                 "is NULL");
    if (count == 0)
        return LH_OK;
    for (size_t i = 0; i < count; i++) {
        if (!lhi_vec_push(&frames, addresses[i] / LHI_PAGE_SIZE)) {
            status = lhi_fail_memory(err);
            goto done;
        }
    }
    lhi_vec_sort_unique(&frames);
    status = lhi_reverse_map(&kernel->space, frames.data, frames.count, &map, err);
    if (status != LH_OK)
        goto done;
    for (size_t i = 0; i < count; i++) {
        size_t first = 0;
        if (lhi_reverse_find(&map, addresses[i] / LHI_PAGE_SIZE, &first) > 0) {
            virtuals[i] = map.va[first] + (addresses[i] & PAGE_MASK);
            states[i] = 0;
        } else {
            virtuals[i] = 0;
            states[i] = map.complete ? 1 : 2;
        }
    }
done:
    lhi_reverse_free(&map);
    lhi_vec_free(&frames);
    return status;
}

lh_status lh_kernel_get_process(const lh_kernel *kernel, uint64_t address, lh_process *out, lh_error *err)
{
    lh_process process = {0};
    lh_status status = LH_OK;
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    status = lhi_answer_check(out, err);
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    if (status == LH_OK)
        status = lhi_process_read(kernel, address, &process, err);
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK)
        lhi_answer_give(out, &process, sizeof process);
    return status;
}

size_t lh_kernel_module_count(const lh_kernel *kernel)
{
    return kernel ? kernel->modules.count : 0;
}

lh_status lh_kernel_get_module(const lh_kernel *kernel, size_t index, lh_module *out, lh_error *err)
{
    lh_module module = {0};
    lhi_image image = {0};
    lh_status status = LH_OK;
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    status = lhi_answer_check(out, err);
    if (status != LH_OK)
        return status;
    if (index >= kernel->modules.count)
        return lhi_fail_argument(err, "index", "%zu: there are %zu modules", index, kernel->modules.count);
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    const lhi_module *item = &kernel->modules.items[index];
    module.base = item->base;
    module.size = item->size;
    module.entry = item->unloaded ? 0 : item->entry;
    module.timestamp = item->timestamp;
    module.unloaded = item->unloaded;
    memcpy(module.name, item->name, sizeof module.name);
    if (!item->unloaded && lhi_image_open(&kernel->space, item->base, item->size, &image) == LH_PRESENT) {
        if (image.timestamp)
            module.timestamp = image.timestamp;
        if (lhi_image_version(&image, module.version) != LH_PRESENT)
            module.version[0] = 0;
    }
    status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK)
        lhi_answer_give(out, &module, sizeof module);
    return status;
}

lh_status lh_kernel_list_processes(const lh_kernel *kernel, uint64_t *addresses, size_t room, size_t *count,
                                   bool *complete, lh_error *err)
{
    lhi_process_list list = {0};
    if (!kernel || !count || (room > 0 && !addresses))
        return lhi_fail_argument(err, !kernel ? "kernel" : !count ? "count" : "addresses", "is NULL");
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    lh_status status = lhi_process_list_read(kernel, &list, err);
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK) {
        const size_t given = list.addresses.count < room ? list.addresses.count : room;
        if (given > 0)
            memcpy(addresses, list.addresses.data, given * sizeof *addresses);
        *count = list.addresses.count;
        if (complete)
            *complete = list.complete;
    }
    lhi_process_list_free(&list);
    return status;
}

lh_status lh_kernel_identify(const lh_kernel *kernel, uint64_t address, lh_identity *out, lh_error *err)
{
    lhi_identify known = {0};
    lh_identity identity = {0};
    if (!kernel)
        return lhi_fail_argument(err, "kernel", "is NULL");
    lh_status status = lhi_answer_check(out, err);
    if (status != LH_OK)
        return status;
    uint64_t before = lhi_dump_read_failures(kernel->dump);
    status = lhi_identify_open(kernel, &known, err);
    if (status == LH_OK)
        status = lhi_identify_address(&known, address, &identity, err);
    lhi_identify_close(&known);
    if (status == LH_OK)
        status = lhi_dump_check_reads(kernel->dump, before, err);
    if (status == LH_OK)
        lhi_answer_give(out, &identity, sizeof identity);
    return status;
}
