/* The tree's plain facts: dump, bug check, processes, coverage, and why facts are missing. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
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
    lhi_tree_address(&c->arena, object, "address", va);
    if (lhi_space_translate(&c->kernel->space, va, &physical) == LH_PRESENT) {
        uint64_t offset = lhi_dump_file_offset(c->kernel->dump, physical);
        lhi_tree_address(&c->arena, object, "physical", physical);
        if (offset != UINT64_MAX)
            lhi_tree_count(&c->arena, object, "file_offset", offset);
        else
            lhi_tree_null(&c->arena, object, "file_offset");
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
    if (address)
        lhi_tree_address(&c->arena, entry, "address", address);
    else
        lhi_tree_null(&c->arena, entry, "address");
    lhi_tree_text(&c->arena, entry, "reason",
                  reasons[(size_t)kind < sizeof reasons / sizeof reasons[0] ? kind : 0]);
}

static uint64_t header_hash(const lh_dump *dump) /* FNV-1a, 64 bits */
{
    const uint8_t *bytes = lhi_dump_header_bytes(dump);
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < HEADER_BYTES; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

void lhi_report_dump(lhi_case *c, lhi_node *root, const char *path)
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
    lhi_tree_text(arena, dump, "machine", "x64");
    lhi_tree_count(arena, dump, "build", c->kernel->build);
    lhi_tree_text(arena, dump, "kernel_version", c->kernel->nt_version);
    lhi_tree_count(arena, dump, "processors", header->processors);
    node = lhi_tree_object(arena, dump, "pages");
    lhi_tree_count(arena, node, "present", header->pages_present);
    lhi_tree_count(arena, node, "described", header->pages_described);
    lhi_tree_count(arena, node, "clipped", header->pages_clipped);
    if (header->pages_ram)
        lhi_tree_count(arena, node, "ram", header->pages_ram);
    else
        lhi_tree_null(arena, node, "ram");

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
                       &c->current_process, &c->process_error);
    } else {
        lhi_tree_null(&c->arena, root, "current_process");
        lhi_report_absent(c, absent, "current_process", c->current.absence, c->current.absent_at);
    }
}

static void region(lhi_case *c, lhi_node *parent, const char *name, const lhi_region *r)
{
    lhi_arena *arena = &c->arena;
    lhi_node *object = lhi_tree_object(arena, parent, name);
    uint64_t missing = r->not_captured + r->clipped + r->not_ram;
    lhi_tree_count(arena, object, "present", r->present);
    lhi_tree_count(arena, object, "not_captured", r->not_captured);
    lhi_tree_count(arena, object, "clipped", r->clipped);
    lhi_tree_count(arena, object, "not_ram", r->not_ram);
    lhi_tree_count(arena, object, "device", r->device);
    if (r->present + missing)
        lhi_tree_share(arena, object, "share", (double)r->present / (double)(r->present + missing));
    else
        lhi_tree_null(arena, object, "share");
}

void lhi_report_coverage(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    const lhi_coverage *coverage = &c->coverage;
    lhi_node *object = lhi_tree_object(arena, root, "coverage");
    lhi_node *regions = lhi_tree_object(arena, object, "regions");
    region(c, regions, "pool", &coverage->pool);
    region(c, regions, "images", &coverage->images);
    region(c, regions, "pfn_database", &coverage->pfn);
    region(c, regions, "transition", &coverage->transition);
    region(c, regions, "other", &coverage->other);
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
