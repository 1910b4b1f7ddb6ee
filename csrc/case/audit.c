/* Finds the processes, by the kernel's list and by their pool blocks, and searches for the locks of all of
 * them at once. */
#include "case/audit.h"

#include "base/alloc.h"
#include "base/error.h"
#include "case/method.h"
#include "case/pass.h"
#include "nt/process_list.h"
#include "nt/read.h"
#include "nt/witness.h"

/* POOL_HEADER.PoolTag of process objects, in the upper half of the header's first eight bytes; bit 31 says
 * "protected" and is no part of it (facts B.6). */
#define PROCESS_TAG      0x636f725000000000ull /* "Proc" */
#define PROCESS_TAG_MASK 0x7fffffff00000000ull
/* Behind the pool header come optional headers of 0x10 or 0x20 bytes, each there or not, and the object
 * header (facts B.6). */
#define POOL_HEADER   0x10u
#define OBJECT_HEADER 0x30u
#define OPTIONAL_MOST 0xa0u
#define OPTIONAL_STEP 0x10u

/* A process object that can be read whole enough to be one: freed memory of one looks the same, so that it
 * counts only with locks of its own. */
static bool is_process(const lh_kernel *kernel, uint64_t address)
{
    lh_process process = {.struct_size = sizeof process};
    return lhi_process_read(kernel, address, &process, NULL) == LH_OK && process.pid_known &&
           process.pid % 4 == 0 && process.name_known && process.name[0] != 0;
}

/* The object in the block whose header lies at `header`; 0: none. */
static uint64_t object_in(const lh_kernel *kernel, uint64_t header)
{
    const uint64_t first = header + POOL_HEADER + OBJECT_HEADER;
    lhi_pool_block block = {0};
    if (header > UINT64_MAX - 0x1000)
        return 0;
    lhi_pool_block_at(kernel, header + POOL_HEADER, &block);
    if (block.found && block.state == LHI_POOL_FREE)
        return 0;
    for (uint64_t optional = 0; optional <= OPTIONAL_MOST; optional += OPTIONAL_STEP)
        if (is_process(kernel, first + optional))
            return first + optional;
    return 0;
}

/* Processes that left the list, or were taken from it. */
static lh_status find_unlisted(lhi_case *c, lh_error *err)
{
    const uint64_t tag = PROCESS_TAG;
    lhi_pass pass = {0};
    lh_status status = lhi_case_masked_pass(c, &tag, 1, PROCESS_TAG_MASK, &pass, err);
    for (size_t i = 0; status == LH_OK && i < pass.hits.count; i++) {
        size_t first = 0;
        uint64_t physical = pass.hits.physical[i];
        if (i % 256 == 0)
            status = lhi_case_poll(c, err);
        if (physical % POOL_HEADER != 0 || lhi_reverse_find(&pass.map, physical >> 12, &first) == 0)
            continue;
        uint64_t object = object_in(c->kernel, pass.map.va[first] + (physical & 0xfff));
        if (status == LH_OK && object != 0 && !lhi_vec_push(&c->targets, object))
            status = lhi_fail_memory(err);
    }
    lhi_case_pass_free(&pass);
    lhi_vec_sort_unique(&c->targets);
    return status;
}

/* 0x76 has it in a parameter; 0xCB has its MDL. 0: none. */
static uint64_t named_process(const lhi_case *c)
{
    uint64_t process = 0, at = 0;
    if (c->code == 0x76 && c->parameters[0] == 0)
        process = c->parameters[1];
    else if (c->code == 0xcb)
        (void)lhi_read_field(&c->kernel->space, c->kernel->layout, c->parameters[2], LHI_F_MDL_Process, 8,
                             &process, &at);
    return lhi_is_object(process, 8) && process <= UINT64_MAX - 0x1000 ? process : 0;
}

/* It has left the list. Where its object is not in the dump, it is a process by the word of the bug check. */
static lh_status find_named(lhi_audit *audit, lh_error *err)
{
    lhi_case *c = &audit->c;
    audit->named = named_process(c);
    if (audit->named == 0 || lhi_looks_like_process(c->kernel, audit->named) < 0)
        return LH_OK;
    return lhi_vec_push(&c->targets, audit->named) ? LH_OK : lhi_fail_memory(err);
}

static void count_locks(lhi_audit *audit)
{
    const lhi_case *c = &audit->c;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *record = &c->records[i];
        size_t at = lhi_vec_find(&c->targets, record->process);
        if (!record->in_ledger || at == SIZE_MAX)
            continue;
        audit->rows[at].explained += record->mdl.pages;
    }
}

static lh_status describe(lhi_audit *audit, const lhi_vec *listed, lh_error *err)
{
    const lhi_case *c = &audit->c;
    audit->rows = lhi_calloc(c->targets.count + 1, sizeof *audit->rows);
    if (!audit->rows)
        return lhi_fail_memory(err);
    audit->count = c->targets.count;
    for (size_t i = 0; i < audit->count; i++) {
        lhi_audited *row = &audit->rows[i];
        row->address = c->targets.data[i];
        row->named = row->address == audit->named;
        row->listed = row->named || lhi_vec_find(listed, row->address) != SIZE_MAX;
        row->process.struct_size = sizeof row->process;
        lh_error why = {0};
        if (lhi_process_read(c->kernel, row->address, &row->process, &why) != LH_OK) {
            row->process.absence = why.absence;
            row->process.absent_address = why.address;
        }
        row->exited = lhi_process_exited(&row->process);
    }
    return LH_OK;
}

/* The lock trackers of each process that has a list of them. */
static lh_status track(lhi_audit *audit, lh_error *err)
{
    lhi_case *c = &audit->c;
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < audit->count; i++) {
        lhi_audited *row = &audit->rows[i];
        uint64_t header = 0, at = 0;
        if (lhi_read_field(&c->kernel->space, c->kernel->layout, row->address, LHI_F_EPROCESS_LockedPagesList,
                           8, &header, &at) != LH_PRESENT ||
            !lhi_is_object(header, 8))
            continue;
        row->tracked = true;
        status = lhi_case_tracking(c, row->address, header, 0, &row->tracking, err);
    }
    return status;
}

lh_status lhi_audit_build(lhi_audit *audit, lh_kernel *kernel, const lh_investigate_options *options,
                          lh_error *err)
{
    lhi_case *c = &audit->c;
    lhi_process_list list = {0};
    lhi_case_begin(c, kernel, options);
    c->options.process = 0;
    lh_status status = lhi_process_list_read(kernel, &list, err);
    if (status == LH_OK && !lhi_vec_append(&c->targets, list.addresses.data, list.addresses.count))
        status = lhi_fail_memory(err);
    if (status == LH_OK)
        status = find_named(audit, err);
    if (status == LH_OK)
        status = find_unlisted(c, err);
    if (status == LH_OK)
        status = describe(audit, &list.addresses, err);
    if (status == LH_OK)
        status = c->targets.count ? lhi_case_search(c, err) : lhi_case_cover(c, err);
    if (status == LH_OK)
        count_locks(audit);
    if (status == LH_OK)
        status = track(audit, err);
    audit->list_complete = list.complete;
    if (status == LH_OK && c->arena.failed)
        status = lhi_fail_memory(err);
    lhi_process_list_free(&list);
    return status;
}

void lhi_audit_free(lhi_audit *audit)
{
    for (size_t i = 0; i < audit->count; i++)
        lhi_tracking_free(&audit->rows[i].tracking);
    lhi_free(audit->rows);
    lhi_case_free(&audit->c);
}
