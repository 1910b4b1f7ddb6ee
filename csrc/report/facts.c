/* The tree's plain facts: dump, bug check, processes, coverage, and why facts are missing. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "case/method.h"
#include "dump/header.h"
#include "dump/runs.h"
#include "report/report.h"

#define HEADER_BYTES 0x2000u /* of a 64-bit dump */

const char *lhi_report_name(const lhi_case *c, size_t party)
{
    if (party == LHI_NONE || c->parties[party].driver.absence != LH_PRESENT ||
        !c->parties[party].driver.name[0])
        return NULL;
    return c->parties[party].driver.name;
}

void lhi_report_place(lhi_case *c, lhi_node *object, uint64_t va)
{
    uint64_t physical = 0;
    const lhi_blocks *blocks = c->kernel->space.blocks;
    lhi_tree_address(&c->arena, object, "address", va);
    if (blocks && lhi_blocks_state(blocks, va) == LH_PRESENT) {
        lhi_tree_null(&c->arena, object, "physical");
        lhi_tree_count(&c->arena, object, "file_offset", lhi_blocks_offset(blocks, va));
    } else if (lhi_space_translate(&c->kernel->space, va, &physical) == LH_PRESENT) {
        uint64_t offset = lhi_dump_file_offset(c->kernel->dump, physical);
        lhi_tree_address(&c->arena, object, "physical", physical);
        lhi_tree_count_if(&c->arena, object, "file_offset", offset != UINT64_MAX, offset);
    } else {
        lhi_tree_null(&c->arena, object, "physical");
        lhi_tree_null(&c->arena, object, "file_offset");
    }
}

void lhi_report_absent(lhi_case *c, lhi_node *absent, const char *path, lh_absence kind, uint64_t address)
{
    static const char *const reasons[] = {
        "present",
        "the page is not in this dump",
        "the dump ends before the page",
        "the page lies outside the machine's memory",
        "nothing is mapped there",
        "the page was in the page file",
        "the page was never written",
        "the page stands behind a prototype entry that can't be followed",
        "a page table on the way is not in this dump",
        "no valid address",
        "no structure layout is known for this build, or what is there does not fit it",
    };
    if (kind == LH_PRESENT)
        kind = LH_ABSENT_LAYOUT;
    lhi_node *entry = lhi_tree_object(&c->arena, absent, path);
    lhi_tree_text(&c->arena, entry, "kind", lh_absence_name(kind));
    lhi_tree_address_if(&c->arena, entry, "address", address, address);
    lhi_tree_text(&c->arena, entry, "reason",
                  reasons[(size_t)kind < sizeof reasons / sizeof reasons[0] ? kind : 0]);
}

/* A fact that the dump's writer did not leave, for a reason of its own. */
static void untold(lhi_case *c, lhi_node *absent, const char *path, const char *reason)
{
    lhi_node *entry = lhi_tree_object(&c->arena, absent, path);
    lhi_tree_text(&c->arena, entry, "kind", lh_absence_name(LH_ABSENT_NOT_CAPTURED));
    lhi_tree_null(&c->arena, entry, "address");
    lhi_tree_text(&c->arena, entry, "reason", reason);
}

static const char *machine_name(uint32_t machine)
{
    return machine == LHI_MACHINE_ARM64 ? "arm64" : "x64";
}

/* A FILETIME as text, "2021-03-04T05:06:07Z"; NULL for 0 and for years beyond 9999. Days to a date: proleptic
 * Gregorian calendar in eras of 400 years, years beginning in March. */
static const char *time_text(lhi_arena *arena, uint64_t filetime)
{
    const uint64_t seconds = filetime / 10000000u;
    const uint64_t days = seconds / 86400u + 584694u; /* from 1601-01-01 to 0000-03-01 */
    const uint64_t era = days / 146097u, day = days % 146097u;
    const uint64_t year = (day - day / 1460u + day / 36524u - day / 146096u) / 365u;
    const uint64_t rest = day - (365u * year + year / 4u - year / 100u);
    const uint64_t month = (5u * rest + 2u) / 153u;
    const uint64_t date = rest - (153u * month + 2u) / 5u + 1u;
    const uint64_t whole = year + era * 400u + (month >= 10);
    if (filetime == 0 || whole > 9999)
        return NULL;
    return lhi_arena_printf(
        arena, "%04" PRIu64 "-%02" PRIu64 "-%02" PRIu64 "T%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "Z", whole,
        month < 10 ? month + 3 : month - 9, date, seconds / 3600u % 24u, seconds / 60u % 60u, seconds % 60u);
}

static void memory_runs(lhi_case *c, lhi_node *dump, lhi_node *absent)
{
    const lhi_runs *runs = lhi_dump_runs(c->kernel->dump);
    if (!runs) {
        lhi_tree_null(&c->arena, dump, "memory_runs");
        untold(c, absent, "dump.memory_runs", "the dump's header does not list the machine's memory");
        return;
    }
    lhi_node *list = lhi_tree_list(&c->arena, dump, "memory_runs");
    for (uint32_t i = 0; i < runs->count; i++) {
        lhi_node *run = lhi_tree_object(&c->arena, list, NULL);
        lhi_tree_address(&c->arena, run, "physical", runs->run[i].pfn << 12);
        lhi_tree_count(&c->arena, run, "pages", runs->run[i].count);
    }
}

static uint64_t header_hash(const lh_dump *dump) /* FNV-1a, 64 bits */
{
    const uint8_t *bytes = lhi_dump_header_bytes(dump);
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < HEADER_BYTES; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

/* When the system stopped, and how long it had run. */
static void times(lhi_case *c, lhi_node *dump, lhi_node *absent, const lh_dump_info *header)
{
    const char *time = time_text(&c->arena, header->system_time);
    lhi_tree_text(&c->arena, dump, "time", time);
    if (!time)
        untold(c, absent, "dump.time",
               header->system_time ? "the dump's header has no time that a calendar knows"
                                   : "the dump's header does not say");
    if (header->system_uptime) {
        lhi_tree_count(&c->arena, dump, "uptime_seconds", header->system_uptime / 10000000u);
        return;
    }
    lhi_tree_null(&c->arena, dump, "uptime_seconds");
    untold(c, absent, "dump.uptime_seconds", "the dump's header does not say");
}

void lhi_report_dump(lhi_case *c, lhi_node *root, lhi_node *absent, const char *path)
{
    lhi_arena *arena = &c->arena;
    const lh_dump_info *header = lhi_dump_header(c->kernel->dump);
    lhi_node *dump = lhi_tree_object(arena, root, "dump");
    lhi_node *node = lhi_tree_text(arena, dump, "path", path ? lhi_arena_strdup(arena, path) : NULL);
    if (node)
        node->personal = true;
    lhi_node *identity = lhi_tree_object(arena, dump, "identity");
    lhi_tree_text(arena, identity, "header_fnv1a64",
                  lhi_arena_printf(arena, "%016" PRIx64, header_hash(c->kernel->dump)));
    lhi_tree_count(arena, identity, "system_time", header->system_time);
    lhi_tree_count(arena, identity, "uptime", header->system_uptime);
    lhi_tree_count(arena, identity, "file_size", header->file_size);
    lhi_tree_address(arena, identity, "directory_table_base", header->directory_table_base);
    lhi_tree_text(arena, dump, "format", lh_format_name(header->format));
    lhi_tree_text(arena, dump, "machine", machine_name(header->machine));
    lhi_tree_count(arena, dump, "build", c->kernel->build);
    lhi_tree_text(arena, dump, "kernel_version", c->kernel->nt_version);
    if (!c->kernel->nt_version[0])
        untold(c, absent, "dump.kernel_version",
               "the version resource of the kernel's image is not in this dump");
    lhi_tree_count(arena, dump, "processors", header->processors);
    times(c, dump, absent, header);
    memory_runs(c, dump, absent);
    node = lhi_tree_object(arena, dump, "pages");
    lhi_tree_count(arena, node, "present", header->pages_present);
    lhi_tree_count(arena, node, "described", header->pages_described);
    lhi_tree_count(arena, node, "clipped", header->pages_clipped);
    if (header->pages_ram) {
        lhi_tree_count(arena, node, "ram", header->pages_ram);
    } else {
        lhi_tree_null(arena, node, "ram");
        untold(c, absent, "dump.pages.ram", "the dump's header does not list the machine's memory");
    }
    if (header->format == LH_FORMAT_TRIAGE) {
        node = lhi_tree_object(arena, dump, "blocks");
        lhi_tree_count(arena, node, "count", header->blocks);
        lhi_tree_count(arena, node, "bytes", header->block_bytes);
        lhi_tree_count(arena, node, "bytes_clipped", header->block_bytes_clipped);
    } else {
        lhi_tree_null(arena, dump, "blocks");
    }

    lhi_node *bugcheck = lhi_tree_object(arena, root, "bugcheck");
    lhi_tree_count(arena, bugcheck, "code", c->code);
    lhi_tree_text(arena, bugcheck, "name", lh_bugcheck_name(c->code));
    lhi_node *list = lhi_tree_list(arena, bugcheck, "parameters");
    for (unsigned i = 0; i < 4; i++)
        lhi_tree_address(arena, list, NULL, c->parameters[i]);
    list = lhi_tree_list(arena, bugcheck, "meanings");
    for (unsigned i = 0; i < 4; i++)
        lhi_tree_text(arena, list, NULL, lh_bugcheck_meaning(c->code, c->parameters, i));
    lhi_tree_text(arena, bugcheck, "subtype", lh_bugcheck_subtype(c->code, c->parameters));
    char blamed[128] = {0};
    uint64_t at = 0;
    bool known = lhi_blamed_driver(c->kernel, blamed, sizeof blamed, &at);
    lhi_tree_text(arena, bugcheck, "driver", known ? lhi_arena_strdup(arena, blamed) : NULL);
}

static void field(lhi_case *c, lhi_node *object, lhi_node *absent, const char *owner, const char *key,
                  bool known, uint64_t value, const lh_process *process)
{
    if (known) {
        lhi_tree_count(&c->arena, object, key, value);
        return;
    }
    lhi_tree_null(&c->arena, object, key);
    lhi_report_absent(c, absent, lhi_arena_printf(&c->arena, "%s.%s", owner, key), process->absence,
                      process->absent_address);
}

static void process_object(lhi_case *c, lhi_node *root, lhi_node *absent, const char *owner, uint64_t address,
                           bool known, const lh_process *read, const lh_error *error)
{
    lhi_arena *arena = &c->arena;
    lh_process process =
        known ? *read : (lh_process){.absence = error->absence, .absent_address = error->address};
    if (process.absence == LH_PRESENT)
        process.absence = LH_ABSENT_LAYOUT;
    lhi_node *object = lhi_tree_object(arena, root, owner);
    lhi_report_place(c, object, address);
    lhi_node *name = lhi_tree_text(arena, object, "name",
                                   process.name_known ? lhi_arena_strdup(arena, process.name) : NULL);
    if (name)
        name->personal = true;
    if (!process.name_known)
        lhi_report_absent(c, absent, lhi_arena_printf(arena, "%s.name", owner), process.absence,
                          process.absent_address);
    field(c, object, absent, owner, "pid", process.pid_known, process.pid, &process);
    field(c, object, absent, owner, "locked_pages", process.locked_pages_known, process.locked_pages,
          &process);
    field(c, object, absent, owner, "exit_time", process.exit_time_known, process.exit_time, &process);
}

void lhi_report_processes(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    if (c->target)
        process_object(c, root, absent, "process", c->target, c->process_known, &c->process,
                       &c->process_error);
    else
        lhi_tree_null(&c->arena, root, "process");
    if (c->current.process) {
        process_object(c, root, absent, "current_process", c->current.process, c->current_known,
                       &c->current_process, &c->current_error);
    } else {
        lhi_tree_null(&c->arena, root, "current_process");
        lhi_report_absent(c, absent, "current_process", c->current.absence, c->current.absent_at);
    }
}

static void region(lhi_case *c, lhi_node *parent, const char *name, const lhi_region *r, bool countable,
                   const char *holds)
{
    lhi_arena *arena = &c->arena;
    lhi_node *object = lhi_tree_object(arena, parent, name);
    const uint64_t missing = lhi_region_lacks(r);
    lhi_tree_count(arena, object, "present", r->present);
    lhi_tree_count(arena, object, "not_captured", r->not_captured);
    lhi_tree_count(arena, object, "clipped", r->clipped);
    lhi_tree_count(arena, object, "not_ram", r->not_ram);
    lhi_tree_count(arena, object, "device", r->device);
    if (countable && r->present + missing)
        lhi_tree_share(arena, object, "share", (double)r->present / (double)(r->present + missing));
    else
        lhi_tree_null(arena, object, "share");
    lhi_tree_text(arena, object, "holds", holds);
}

/* What is missing, and what that means for a verdict that rests on it (facts L.8; docs/how-it-decides.md). */
static const char *prospect(lhi_case *c)
{
    const lhi_coverage *coverage = &c->coverage;
    uint64_t pool = lhi_region_lacks(&coverage->pool), images = lhi_region_lacks(&coverage->images);
    if (coverage->pieces)
        return "A small memory dump has pieces of kernel memory only. A driver can be named when the whole "
               "chain to it lies in them and nothing outside could contradict it; in all other cases the "
               "verdict is insufficient.";
    if (coverage->tables_missing)
        return "Page tables are missing, so it can't be counted what else is: a driver can be named when "
               "the chain to it is whole; otherwise the verdict is insufficient.";
    if (pool)
        return lhi_arena_printf(&c->arena,
                                "%" PRIu64 " mapped page%s in which MDLs and packets could lie %s missing: a "
                                "driver can be named when the chain to it is whole; otherwise the verdict is "
                                "insufficient.",
                                pool, pool == 1 ? "" : "s", pool == 1 ? "is" : "are");
    if (images || lhi_region_lacks(&coverage->other) || lhi_region_lacks(&coverage->transition))
        return "Every page in which MDLs and packets usually lie is in this dump; others of the kernel are "
               "not. A driver can be named when the chain to it is whole; when no MDL or no packet is found, "
               "the verdict is insufficient.";
    return "Nothing is missing where the objects of a case could lie: no verdict has to be insufficient for "
           "lack of pages.";
}

static const char *outlook(lhi_case *c)
{
    const char *text = prospect(c);
    if (c->method != &lhi_method_none)
        return text;
    return lhi_arena_printf(&c->arena,
                            "This bug check is not about locked pages: a case on it is not_applicable. "
                            "For a case that is about them: %s",
                            text);
}

void lhi_report_coverage(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    const lhi_coverage *coverage = &c->coverage;
    lhi_node *object = lhi_tree_object(arena, root, "coverage");
    lhi_node *regions = lhi_tree_object(arena, object, "regions");
    region(c, regions, "pool", &coverage->pool, !coverage->pieces,
           "MDLs, packets, devices, processes: what a chain is made of");
    region(c, regions, "images", &coverage->images, true,
           "the drivers' names, versions and imports, and MDLs kept in their data");
    region(c, regions, "pfn_database", &coverage->pfn, !coverage->pieces,
           "reference counts, which can refute a lock and never prove one");
    region(c, regions, "transition", &coverage->transition, !coverage->pieces,
           "pages trimmed from working sets: paged pool and code for the most part");
    region(c, regions, "other", &coverage->other, !coverage->pieces,
           "stacks, mappings and tables of the kernel, where an MDL lies now and then");
    lhi_tree_text(arena, object, "statement", outlook(c));
    lhi_tree_count(arena, object, "page_tables_missing", coverage->tables_missing);
    lhi_report_layout(c, object);
    lhi_node *modules = lhi_tree_object(arena, object, "modules");
    lhi_tree_count(arena, modules, "loaded", c->kernel->modules.loaded);
    lhi_tree_count(arena, modules, "unloaded", c->kernel->modules.count - c->kernel->modules.loaded);
    lhi_tree_bool(arena, modules, "complete", c->kernel->modules.complete);
    lhi_node *notes = lhi_tree_list(arena, object, "notes");
    for (size_t i = 0; i < lhi_dump_note_count(c->kernel->dump); i++)
        lhi_tree_text(arena, notes, NULL, lhi_dump_note(c->kernel->dump, i));
    if (c->passes == 0)
        return;
    lhi_node *search = lhi_tree_object(arena, object, "search");
    lhi_tree_count(arena, search, "passes", c->passes);
    lhi_tree_count(arena, search, "bytes", c->bytes_scanned);
    lhi_tree_text(arena, search, "instruction_set", c->scan_kernel);
    lhi_tree_count(arena, search, "hits", c->hits);
    lhi_tree_count(arena, search, "not_mdls", c->not_mdls);
    lhi_tree_count(arena, search, "unplaced", coverage->hits_unplaced);
    lhi_tree_text(arena, search, "limit_met", coverage->truncated ? coverage->limit : NULL);
    lhi_tree_bool(arena, object, "free_lists_complete", c->freed.complete);
}
