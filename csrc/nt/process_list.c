/* Walks the kernel's list of active processes. */
#include "nt/process_list.h"

#include "base/error.h"
#include "base/map.h"
#include "nt/process.h"
#include "nt/read.h"
#include "nt/witness.h"

#include <string.h>

#define MOST_PROCESSES (1u << 20) /* PIDs are multiples of 4 in 26 bits at most; a loop ends long before */
#define FORWARD        0u
#define BACKWARD       8u /* LIST_ENTRY.Blink */

typedef struct lhi_roll {
    const lh_kernel *kernel;
    lhi_process_list *list;
    uint64_t head, offset;
} lhi_roll;

static void gap(lhi_roll *roll, lh_absence absence, uint64_t at)
{
    if (roll->list->absence == LH_PRESENT) {
        roll->list->absence = absence;
        roll->list->absent_at = at;
    }
}

/* false: no memory. */
static bool enter(lhi_roll *roll, uint64_t process)
{
    if (!lhi_is_object(process, 8) || lhi_looks_like_process(roll->kernel, process) <= 0)
        return true;
    return lhi_vec_push(&roll->list->addresses, process);
}

/* One way along the list until it closes (*closed), breaks, or comes to where it was before. */
static bool follow(lhi_roll *roll, unsigned way, bool *closed)
{
    lhi_map links = {0};
    uint64_t entry = roll->head;
    bool enough = true;
    *closed = false;
    for (size_t i = 0; i < MOST_PROCESSES; i++) {
        uint64_t next = 0;
        uint64_t at = 0;
        lh_absence absence = lhi_read_u64(&roll->kernel->space, entry + way, &next, &at);
        if (absence != LH_PRESENT) {
            gap(roll, absence, at);
            break;
        }
        *closed = next == roll->head;
        if (*closed)
            break;
        if (!lhi_is_object(next, 8) || next > UINT64_MAX - 0x10000u ||
            next - LHI_KERNEL_HALF < roll->offset || lhi_map_get(&links, next) != SIZE_MAX) {
            gap(roll, LH_ABSENT_LAYOUT, entry + way); /* what is there is no link of this list */
            break;
        }
        enough = lhi_map_put(&links, next, 1) && enter(roll, next - roll->offset);
        if (!enough)
            break;
        entry = next;
    }
    lhi_map_free(&links);
    return enough;
}

static bool walk(lhi_roll *roll)
{
    const lh_dump_info *header = lhi_dump_header(roll->kernel->dump);
    const uint64_t heads[] = {roll->kernel->kdbg.active_process_head, header->active_process_head};
    bool closed = false;
    if (!lhi_layout_offset(roll->kernel->layout, LHI_F_EPROCESS_ActiveProcessLinks, &roll->offset)) {
        gap(roll, LH_ABSENT_LAYOUT, 0);
        return true;
    }
    for (size_t i = 0; i < 2 && !closed; i++) {
        if (!lhi_is_object(heads[i], 8) || heads[i] > UINT64_MAX - 0x10000u || (i && heads[1] == heads[0]))
            continue;
        roll->head = heads[i];
        if (!follow(roll, FORWARD, &closed))
            return false;
        bool back = false;
        if (!closed && !follow(roll, BACKWARD, &back))
            return false;
        closed = closed || back;
    }
    if (!closed)
        gap(roll, LH_ABSENT_LAYOUT, 0);
    roll->list->complete = closed;
    return true;
}

uint64_t lhi_bugcheck_process(const lh_kernel *kernel)
{
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    const bool of_process = header->bugcheck_code == 0x76 && header->parameters[0] == 0;
    const uint64_t mdl = header->parameters[header->bugcheck_code == 0xcb ? 2 : 1];
    uint64_t process = 0, at = 0;
    if (of_process)
        return header->parameters[1];
    if ((header->bugcheck_code != 0x76 && header->bugcheck_code != 0xcb) || !lhi_is_object(mdl, 8) ||
        mdl > UINT64_MAX - 0x1000 ||
        lhi_read_field(&kernel->space, kernel->layout, mdl, LHI_F_MDL_Process, 8, &process, &at) !=
            LH_PRESENT)
        return 0;
    return process;
}

/* A process that is charged has left the list long ago; one whose MDL was unlocked wrongly need not. */
static uint64_t charged_process(const lh_kernel *kernel)
{
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    const bool charged =
        header->bugcheck_code == 0xcb || (header->bugcheck_code == 0x76 && header->parameters[0] == 0);
    return charged ? lhi_bugcheck_process(kernel) : 0;
}

lh_status lhi_process_list_read(const lh_kernel *kernel, lhi_process_list *out, lh_error *err)
{
    lhi_roll roll = {.kernel = kernel, .list = out};
    lhi_current current = {0};
    memset(out, 0, sizeof *out);
    bool enough = walk(&roll);
    if (enough)
        enough = enter(&roll, charged_process(kernel));
    lhi_current_read(kernel, &current);
    if (enough && current.process)
        enough = enter(&roll, current.process);
    if (!enough) {
        lhi_process_list_free(out);
        return lhi_fail_memory(err);
    }
    lhi_vec_sort_unique(&out->addresses);
    return LH_OK;
}

void lhi_process_list_free(lhi_process_list *list)
{
    lhi_vec_free(&list->addresses);
}
