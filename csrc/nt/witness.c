/* Collects the objects of a dump that can be found without knowing the layouts of this very build.
 *
 * What no x64 build from Windows 7 to 24H2 moved: DISPATCHER_HEADER.Type and WaitListHead, KPROCESS
 * .DirectoryTableBase and .ThreadListHead (facts B.7). */
#include "nt/witness.h"

#include "base/bytes.h"
#include "nt/process.h"
#include "nt/read.h"

#include <string.h>

#define TYPE_PROCESS    3u
#define TYPE_THREAD     6u
#define WAIT_LIST       0x8u  /* DISPATCHER_HEADER.WaitListHead (public PDB type) */
#define PROCESS_THREADS 0x30u /* KPROCESS.ThreadListHead */
#define ADDRESS_TOP     (UINT64_MAX - 0x10000u)

int lhi_list_holds(const lh_kernel *kernel, uint64_t entry)
{
    const lhi_space *space = &kernel->space;
    uint8_t bytes[16] = {0};
    uint64_t back = 0;
    uint64_t at = 0;
    if (!lhi_is_object(entry, 8) || entry > ADDRESS_TOP)
        return -1;
    if (lhi_read(space, entry, bytes, sizeof bytes, &at) != LH_PRESENT)
        return 0;
    uint64_t next = lhi_u64(bytes);
    uint64_t before = lhi_u64(bytes + 8);
    if (!lhi_is_object(next, 8) || !lhi_is_object(before, 8) || next > ADDRESS_TOP || before > ADDRESS_TOP)
        return -1;
    bool whole = true;
    if (lhi_read_u64(space, next + 8, &back, &at) != LH_PRESENT)
        whole = false;
    else if (back != entry)
        return -1;
    if (lhi_read_u64(space, before, &back, &at) != LH_PRESENT)
        whole = false;
    else if (back != entry)
        return -1;
    return whole ? 1 : 0;
}

int lhi_looks_like_process(const lh_kernel *kernel, uint64_t address)
{
    uint64_t type = 0;
    uint64_t directory = 0;
    uint64_t at = 0;
    if (!lhi_is_object(address, 16) || address > ADDRESS_TOP)
        return -1;
    if (lhi_read_field(&kernel->space, kernel->layout, address, LHI_F_DISPATCHER_HEADER_Type, 1, &type,
                       &at) != LH_PRESENT ||
        lhi_read_field(&kernel->space, kernel->layout, address, LHI_F_KPROCESS_DirectoryTableBase, 8,
                       &directory, &at) != LH_PRESENT)
        return 0;
    if (type != TYPE_PROCESS || !lhi_is_directory(kernel, directory))
        return -1;
    return lhi_list_holds(kernel, address + WAIT_LIST) < 0 ? -1 : 1;
}

int lhi_looks_like_thread(const lh_kernel *kernel, uint64_t address)
{
    uint64_t type = 0;
    uint64_t at = 0;
    if (!lhi_is_object(address, 16) || address > ADDRESS_TOP)
        return -1;
    if (lhi_read_field(&kernel->space, kernel->layout, address, LHI_F_DISPATCHER_HEADER_Type, 1, &type,
                       &at) != LH_PRESENT)
        return 0;
    if (type != TYPE_THREAD)
        return -1;
    return lhi_list_holds(kernel, address + WAIT_LIST);
}

bool lhi_first_thread_entry(const lh_kernel *kernel, uint64_t process, uint64_t *out)
{
    const uint64_t head = process + PROCESS_THREADS;
    uint64_t at = 0;
    return lhi_list_holds(kernel, head) >= 0 && lhi_read_u64(&kernel->space, head, out, &at) == LH_PRESENT &&
           *out != head && lhi_list_holds(kernel, *out) >= 0;
}

bool lhi_process_has_threads(const lh_kernel *kernel, uint64_t address)
{
    uint64_t entry = 0;
    uint64_t link = 0;
    return lhi_is_object(address, 16) && address <= ADDRESS_TOP &&
           lhi_first_thread_entry(kernel, address, &entry) &&
           lhi_layout_offset(kernel->layout, LHI_F_KTHREAD_ThreadListEntry, &link) &&
           entry - LHI_KERNEL_HALF >= link && lhi_looks_like_thread(kernel, entry - link) > 0;
}

/* One way along the list, until it closes, breaks, or there are enough. */
static void follow(lhi_witness *w, uint64_t head, uint64_t link)
{
    uint64_t entry = head;
    uint64_t at = 0;
    while (w->link_count < LHI_WITNESSES) {
        uint64_t next = 0;
        if (lhi_read_u64(&w->kernel->space, entry + link, &next, &at) != LH_PRESENT ||
            !lhi_is_object(next, 8) || next > ADDRESS_TOP)
            return;
        if (next == head) {
            w->complete = true;
            return;
        }
        for (size_t i = 0; i < w->link_count; i++) {
            if (w->links[i] == next)
                return;
        }
        w->links[w->link_count++] = next;
        entry = next;
    }
}

void lhi_witness_collect(lh_kernel *kernel, lhi_witness *out)
{
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    const uint64_t heads[] = {kernel->kdbg.active_process_head, header->active_process_head};
    memset(out, 0, sizeof *out);
    out->kernel = kernel;
    for (size_t i = 0; i < 2 && out->link_count == 0; i++) {
        if (!lhi_is_object(heads[i], 8) || heads[i] > ADDRESS_TOP || lhi_list_holds(kernel, heads[i]) < 0)
            continue;
        follow(out, heads[i], 0);
        if (!out->complete)
            follow(out, heads[i], 8);
    }
    if (header->bugcheck_code == 0x76 && header->parameters[0] == 0 &&
        lhi_looks_like_process(kernel, header->parameters[1]) > 0) {
        out->victim = header->parameters[1];
        out->victim_pages = header->parameters[2];
        out->victim_trackers = header->parameters[3];
    }
}

void lhi_witness_processes(lhi_witness *w)
{
    uint64_t offset = 0;
    w->process_count = 0;
    if (!lhi_layout_offset(w->kernel->layout, LHI_F_EPROCESS_ActiveProcessLinks, &offset))
        return;
    for (size_t i = 0; i < w->link_count; i++) {
        if (w->links[i] - LHI_KERNEL_HALF >= offset &&
            lhi_looks_like_process(w->kernel, w->links[i] - offset) > 0)
            w->processes[w->process_count++] = w->links[i] - offset;
    }
}

void lhi_witness_threads(lhi_witness *w)
{
    const lh_kernel *kernel = w->kernel;
    uint64_t link = 0;
    uint64_t at = 0;
    w->thread_count = 0;
    if (!lhi_layout_offset(kernel->layout, LHI_F_KTHREAD_ThreadListEntry, &link))
        return;
    for (size_t i = 0; i < w->process_count; i++) {
        uint64_t entry = 0;
        uint64_t type = 0;
        if (!lhi_first_thread_entry(kernel, w->processes[i], &entry) || entry - LHI_KERNEL_HALF < link)
            continue;
        if (lhi_read_field(&kernel->space, kernel->layout, entry - link, LHI_F_DISPATCHER_HEADER_Type, 1,
                           &type, &at) == LH_PRESENT &&
            type == TYPE_THREAD)
            w->threads[w->thread_count++] = (lhi_seen_thread){entry - link, w->processes[i], w->pids[i]};
    }
}
