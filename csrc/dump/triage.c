/* The triage header (TRIAGE_DUMP64): every offset is checked against the file before anything is read by it.
 *
 * Layout: WDK dump headers, facts dump-formats 1.7; sizes held against real triage dumps (facts real-dumps).
 */
#include "dump/triage.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "dump/formats.h"
#include "dump/header.h"
#include "dump/lookup.h"
#include "source/source.h"

#include <string.h>

#define BASE 0x2000u /* of the triage header, in the file */
#define SIZE 0x80u

enum { /* offsets in it */
       SIZE_OF_DUMP = 0x4,
       VALID = 0x8,
       UNLOADED_DRIVERS = 0x18,
       PRCB = 0x1c,
       PROCESS = 0x20,
       THREAD = 0x24,
       CALL_STACK = 0x28,
       CALL_STACK_SIZE = 0x2c,
       DRIVER_LIST = 0x30,
       DRIVER_COUNT = 0x34,
       STRING_POOL = 0x38,
       STRING_POOL_SIZE = 0x3c,
       TOP_OF_STACK = 0x48,
       DEBUGGER_DATA = 0x70,
       DEBUGGER_DATA_SIZE = 0x74,
       DATA_BLOCKS = 0x78,
       DATA_BLOCK_COUNT = 0x7c
};

#define BLOCK_ENTRY 16u /* u64 address, u32 file offset, u32 size */

/* KDDEBUGGER_DATA64 (facts windows-internals D.1): its tag, and 16-bit fields of other structures. */
enum {
    KDBG_TAG = 0x10,
    KDBG_THREAD_PROCESS = 0x2a0, /* OffsetKThreadApcProcess */
    KDBG_SIZE_PROCESS = 0x2a8,
    KDBG_CURRENT_THREAD = 0x2b4, /* OffsetPrcbCurrentThread */
    KDBG_SIZE_THREAD = 0x2c0,
    KDBG_LEAST = 0x2c2
};
/* DISPATCHER_HEADER.Type of a process and a thread; KPROCESS.ProfileListHead stands behind that header on all
 * 64-bit builds (public PDB type _KPROCESS). */
#define TYPE_PROCESS      3u
#define TYPE_THREAD       6u
#define PROFILE_LIST_HEAD 0x18u
/* No EPROCESS, ETHREAD or KPRCB comes near. */
#define OBJECT_MOST 0x40000u

typedef struct opening {
    lhi_triage *triage;
    lh_source *source;
    const lh_dump_info *info;
    lhi_notes *notes;
    uint8_t header[SIZE];
    uint8_t kdbg[KDBG_LEAST];
    bool kdbg_known;
    char outside[96]; /* names of parts that lie outside the file */
} opening;

static uint32_t field(const opening *o, uint32_t offset)
{
    uint32_t value = lhi_u32(o->header + offset);
    return value == LHI_UNSET32 ? 0 : value;
}

static bool canonical(uint64_t va)
{
    return va >> 47 == 0 || va >> 47 == 0x1ffff;
}

static void name_outside(opening *o, const char *name)
{
    size_t length = strlen(o->outside), more = strlen(name);
    if (length + more + 3 > sizeof o->outside)
        return;
    if (length) {
        memcpy(o->outside + length, ", ", 2);
        length += 2;
    }
    memcpy(o->outside + length, name, more + 1);
}

/* As much of [offset, offset + size) as the file has; none where the offset can't be one. */
static lhi_part part_of(opening *o, const char *name, uint64_t offset, uint64_t size)
{
    uint64_t end = lhi_source_size(o->source);
    lhi_part part = {0};
    if (offset == 0 || size == 0)
        return part;
    if (offset < BASE + SIZE || offset >= end) {
        name_outside(o, name);
        return part;
    }
    part.offset = offset;
    part.size = size < end - offset ? size : end - offset;
    if (part.size < size)
        name_outside(o, name);
    return part;
}

/* Parts whose size the header does not give end where the next one begins, at the latest. */
static uint64_t until_next(const opening *o, uint32_t from)
{
    static const uint32_t begins[] = {UNLOADED_DRIVERS, PRCB,        PROCESS,       THREAD,     CALL_STACK,
                                      DRIVER_LIST,      STRING_POOL, DEBUGGER_DATA, DATA_BLOCKS};
    uint64_t offset = field(o, from), least = OBJECT_MOST;
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        uint64_t other = field(o, begins[i]);
        if (other > offset && other - offset < least)
            least = other - offset;
    }
    return offset ? least : 0;
}

static bool read(const opening *o, uint64_t offset, void *buffer, size_t size)
{
    return lhi_span_inside(offset, size, lhi_source_size(o->source)) &&
           lhi_source_read(o->source, offset, buffer, size, NULL) == LH_OK;
}

static bool add_copy(opening *o, uint64_t va, lhi_part part)
{
    uint64_t end = 0;
    if (part.size == 0 || !canonical(va) || va >> 63 == 0 || !lhi_add(va, part.size, &end))
        return true;
    return lhi_blocks_add(&o->triage->blocks, va, part.offset, part.size);
}

/* ------------------------------------------------------------------ data blocks */

static bool add_blocks(opening *o)
{
    lhi_triage *t = o->triage;
    const uint64_t file = lhi_source_size(o->source);
    lhi_part table = {0};
    uint64_t wrong = 0, bytes = 0, over = 0;
    t->blocks_told = field(o, DATA_BLOCK_COUNT);
    table = part_of(o, "DataBlocks", field(o, DATA_BLOCKS), t->blocks_told * BLOCK_ENTRY);
    for (uint64_t at = 0; at + BLOCK_ENTRY <= table.size; at += BLOCK_ENTRY) {
        uint8_t entry[BLOCK_ENTRY] = {0};
        uint64_t end = 0;
        if (!read(o, table.offset + at, entry, sizeof entry)) {
            wrong++;
            continue;
        }
        uint64_t va = lhi_u64(entry), offset = lhi_u32(entry + 8), size = lhi_u32(entry + 12);
        if (size == 0 || offset < BASE + SIZE || !canonical(va) || !lhi_add(va, size, &end) ||
            !canonical(end - 1)) {
            wrong++;
            continue;
        }
        /* Real dumps give each byte to one block. Without a bound, many blocks of the same bytes would make
         * a small file a large memory. */
        if (size > file - bytes) {
            over++;
            continue;
        }
        bytes += size;
        if (!lhi_blocks_add(&t->blocks, va, offset, size))
            return false;
    }
    if (wrong)
        lhi_note(o->notes,
                 "%llu of %llu data blocks are left out: no address, no place in the file or no size",
                 (unsigned long long)wrong, (unsigned long long)t->blocks_told);
    if (over)
        lhi_note(o->notes,
                 "%llu of %llu data blocks are left out: together they claim more than the file holds",
                 (unsigned long long)over, (unsigned long long)t->blocks_told);
    return true;
}

/* ------------------------------------------------------------------ copies of objects */

static void read_debugger_data(opening *o)
{
    const lhi_part part = part_of(o, "DebuggerData", field(o, DEBUGGER_DATA), field(o, DEBUGGER_DATA_SIZE));
    uint8_t head[24] = {0};
    if (part.size < sizeof head || !read(o, part.offset, head, sizeof head) ||
        memcmp(head + KDBG_TAG, "KDBG", 4) != 0)
        return;
    o->kdbg_known = part.size >= sizeof o->kdbg && read(o, part.offset, o->kdbg, sizeof o->kdbg);
}

static uint64_t kdbg(const opening *o, uint32_t offset)
{
    return o->kdbg_known ? lhi_u16(o->kdbg + offset) : 0;
}

static bool quad_of(const opening *o, lhi_part part, uint64_t offset, uint64_t *out)
{
    uint8_t bytes[8] = {0};
    if (!lhi_span_inside(offset, sizeof bytes, part.size) ||
        !read(o, part.offset + offset, bytes, sizeof bytes))
        return false;
    *out = lhi_u64(bytes);
    return true;
}

static bool is_of_type(const opening *o, lhi_part part, uint8_t type)
{
    uint8_t byte = 0;
    return part.size > PROFILE_LIST_HEAD + 16 && read(o, part.offset, &byte, 1) && byte == type;
}

static bool is_object(uint64_t va)
{
    return va >> 63 != 0 && canonical(va) && va % 8 == 0 && va < UINT64_MAX - OBJECT_MOST;
}

/* The copies have no addresses of their own. A thread's is in the processor's block. */
static uint64_t thread_address(const opening *o, lhi_part prcb, lhi_part thread)
{
    uint64_t va = 0;
    bool found = kdbg(o, KDBG_CURRENT_THREAD) != 0 && quad_of(o, prcb, kdbg(o, KDBG_CURRENT_THREAD), &va);
    return found && is_object(va) && is_of_type(o, thread, TYPE_THREAD) ? va : 0;
}

/* A process's is in its thread, and in its own list of profiles, which is empty: a list head that points to
 * itself. Where both are known they have to agree. */
static uint64_t process_address(const opening *o, lhi_part thread, lhi_part process)
{
    uint64_t by_thread = 0, forward = 0, backward = 0, by_list = 0;
    if (!is_of_type(o, process, TYPE_PROCESS))
        return 0;
    if (kdbg(o, KDBG_THREAD_PROCESS) == 0 || !is_of_type(o, thread, TYPE_THREAD) ||
        !quad_of(o, thread, kdbg(o, KDBG_THREAD_PROCESS), &by_thread) || !is_object(by_thread))
        by_thread = 0;
    if (quad_of(o, process, PROFILE_LIST_HEAD, &forward) &&
        quad_of(o, process, PROFILE_LIST_HEAD + 8, &backward) && forward == backward &&
        is_object(forward - PROFILE_LIST_HEAD))
        by_list = forward - PROFILE_LIST_HEAD;
    if (by_thread && by_list && by_thread != by_list) {
        lhi_note(o->notes, "the copy of the process is of another one than the thread's");
        return 0;
    }
    return by_thread ? by_thread : by_list;
}

static uint64_t bounded(uint64_t size, uint64_t told)
{
    return told != 0 && told < size ? told : size;
}

static bool add_copies(opening *o)
{
    lhi_triage *t = o->triage;
    read_debugger_data(o);
    lhi_part prcb = part_of(o, "Prcb", field(o, PRCB), until_next(o, PRCB));
    lhi_part process =
        part_of(o, "Process", field(o, PROCESS), bounded(until_next(o, PROCESS), kdbg(o, KDBG_SIZE_PROCESS)));
    lhi_part thread =
        part_of(o, "Thread", field(o, THREAD), bounded(until_next(o, THREAD), kdbg(o, KDBG_SIZE_THREAD)));
    lhi_part block = part_of(o, "DebuggerData", field(o, DEBUGGER_DATA), field(o, DEBUGGER_DATA_SIZE));
    t->stack = part_of(o, "CallStack", field(o, CALL_STACK), field(o, CALL_STACK_SIZE));
    t->top_of_stack = lhi_u64(o->header + TOP_OF_STACK);
    t->thread = thread_address(o, prcb, thread);
    t->process = process_address(o, thread, process);
    return add_copy(o, t->thread, thread) && add_copy(o, t->process, process) &&
           add_copy(o, o->info->debugger_data_block, block) && add_copy(o, t->top_of_stack, t->stack);
}

/* ------------------------------------------------------------------ tables */

static void find_tables(opening *o)
{
    lhi_triage *t = o->triage;
    uint8_t count[8] = {0};
    uint64_t at = field(o, UNLOADED_DRIVERS);
    t->drivers_told = field(o, DRIVER_COUNT);
    t->drivers = part_of(o, "DriverList", field(o, DRIVER_LIST), t->drivers_told * LHI_TRIAGE_DRIVER_SIZE);
    t->drivers.size -= t->drivers.size % LHI_TRIAGE_DRIVER_SIZE;
    t->strings = part_of(o, "StringPool", field(o, STRING_POOL), field(o, STRING_POOL_SIZE));
    if (at == 0)
        return;
    if (at < BASE + SIZE || !read(o, at, count, sizeof count)) {
        name_outside(o, "UnloadedDrivers");
        return;
    }
    t->unloaded_told = lhi_u64(count);
    uint64_t size = 0;
    if (!lhi_mul(t->unloaded_told, LHI_TRIAGE_UNLOADED_SIZE, &size))
        size = UINT64_MAX;
    t->unloaded = part_of(o, "UnloadedDrivers", at + sizeof count, size);
    t->unloaded.size -= t->unloaded.size % LHI_TRIAGE_UNLOADED_SIZE;
}

static void check_mark(opening *o)
{
    uint8_t mark[4] = {0};
    uint64_t size = lhi_source_size(o->source);
    if (!read(o, field(o, VALID), mark, sizeof mark) || memcmp(mark, "TRGD", 4) != 0)
        lhi_note(o->notes, "the mark that a triage dump is complete (TRGD) is missing");
    if (field(o, SIZE_OF_DUMP) > size)
        lhi_note(o->notes, "the file has %llu bytes of %llu: it was cut", (unsigned long long)size,
                 (unsigned long long)field(o, SIZE_OF_DUMP));
}

/* ------------------------------------------------------------------ life */

void lhi_triage_destroy(lhi_triage *triage)
{
    if (!triage)
        return;
    lhi_blocks_free(&triage->blocks);
    lhi_free(triage);
}

/* Reads the triage header and what it points to. A file that ends inside the triage header fails with
 * LH_ERR_FORMAT; whatever else is missing or wrong is left out, and noted. */
static lh_status read_triage(lhi_opened *file, lh_error *err)
{
    lh_source *source = file->source;
    opening o = {.source = source, .info = &file->info, .notes = &file->notes};
    lh_status status = LH_OK;
    if (!lhi_span_inside(BASE, SIZE, lhi_source_size(source)))
        return lhi_fail_field(err, LH_ERR_FORMAT, "TriageHeader", BASE,
                              "the file ends inside the triage header, after 0x%llx of 0x%x bytes",
                              (unsigned long long)lhi_source_size(source), BASE + SIZE);
    status = lhi_source_read(source, BASE, o.header, sizeof o.header, err);
    if (status != LH_OK)
        return status;
    o.triage = lhi_calloc(1, sizeof *o.triage);
    if (!o.triage)
        return lhi_fail_memory(err);
    uint64_t failures = lhi_source_failures(source);
    o.triage->source = source;
    o.triage->blocks.source = source;
    check_mark(&o);
    find_tables(&o);
    if (!add_blocks(&o) || !add_copies(&o)) {
        lhi_triage_destroy(o.triage);
        return lhi_fail_memory(err);
    }
    if (lhi_source_failures(source) != failures) { /* a read that fails says nothing about the file */
        lhi_triage_destroy(o.triage);
        return lhi_fail(err, LH_ERR_IO, "triage header: reads failed");
    }
    lhi_blocks_settle(&o.triage->blocks);
    if (o.triage->blocks.lost_bytes)
        lhi_note(&file->notes, "%llu bytes of data blocks are lost: the file is shorter than they say",
                 (unsigned long long)o.triage->blocks.lost_bytes);
    if (o.outside[0])
        lhi_note(&file->notes, "parts of the triage header lie outside the file: %s", o.outside);
    file->triage = o.triage;
    return LH_OK;
}

static bool claims(const uint8_t *bytes, size_t size)
{
    return lhi_header_has_type(bytes, size, 4);
}

static lh_status open(lhi_opened *file, lh_error *err)
{
    lh_status status = lhi_header_read(file, err);
    if (status != LH_OK)
        return status;
    const lhi_runs *machine = lhi_runs_of_machine(file->header, &file->runs);
    status = lhi_no_pages_open(file->source, machine, &file->pages, err);
    return status == LH_OK ? read_triage(file, err) : status;
}

const lhi_format lhi_format_triage = {"triage", claims, open};
