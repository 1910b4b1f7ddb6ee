/* The profile of a driver's code as a tree: counts, call sites, findings with a short listing. */
#include "report/locks.h"

#include <inttypes.h>

#include "code/listing.h"

#define LISTED 4u /* instructions in front of a call or return, with it */

static const char *name_of(lhi_arena *arena, lhi_names *names, uint64_t address)
{
    char name[LHI_CODE_NAME] = "";

    if (lhi_names_find(names, address, name, NULL) != LH_OK)
        arena->failed = true;
    return lhi_arena_strdup(arena, name);
}

static void gap(lhi_arena *arena, lhi_node *object, const char *key, lh_absence kind, uint64_t address)
{
    if (kind == LH_PRESENT) {
        lhi_tree_null(arena, object, key);
        return;
    }
    lhi_node *row = lhi_tree_object(arena, object, key);
    lhi_tree_text(arena, row, "kind", lh_absence_name(kind));
    lhi_tree_address(arena, row, "address", address);
}

static void counts(lhi_arena *arena, lhi_node *object, const lhi_profile *profile)
{
    lhi_node *row = lhi_tree_object(arena, object, "counts");

    for (int role = 0; role <= LHI_ROLE_NO_RETURN; role++)
        if (lhi_role_name((lhi_role)role) != NULL)
            lhi_tree_count(arena, row, lhi_role_name((lhi_role)role), profile->counts[role]);
}

static void site(lhi_arena *arena, lhi_node *list, lhi_names *names, const lhi_site *from)
{
    lhi_node *row = lhi_tree_object(arena, list, NULL);

    lhi_tree_text(arena, row, "role", lhi_role_name(from->routine->role));
    lhi_tree_text(arena, row, "routine", from->routine->name);
    lhi_tree_address(arena, row, "address", from->address);
    lhi_tree_text(arena, row, "at", name_of(arena, names, from->address));
    lhi_tree_text(arena, row, "function", name_of(arena, names, from->function));
    lhi_tree_text(arena, row, "form", lhi_call_form_name(from->form));
    lhi_tree_bool(arena, row, "tail", from->tail);
    lhi_tree_address_if(arena, row, "slot", from->slot != 0, from->slot);
}

/* ------------------------------------------------------------------ listings */

static void line(lhi_arena *arena, lhi_node *list, const lhi_line *from)
{
    lhi_node *row = lhi_tree_object(arena, list, NULL);

    lhi_tree_address(arena, row, "address", from->address);
    lhi_tree_text(arena, row, "text", lhi_arena_strdup(arena, from->text));
    lhi_tree_text(arena, row, "name", lhi_arena_strdup(arena, from->name));
}

static bool read_line(lhi_arena *arena, lhi_names *names, uint64_t address, lhi_line *out)
{
    bool read = false;

    if (lhi_line_read(names, address, out, &read, NULL) != LH_OK)
        arena->failed = true;
    return read;
}

/* The instruction at an address and the few in front of it, as far as its block is known. */
static void lines_to(lhi_arena *arena, lhi_node *list, lhi_names *names, const lhi_finding *finding,
                     uint64_t to)
{
    lhi_line last[LISTED] = {{0}};
    uint64_t at = 0;
    size_t seen = 0;

    for (size_t i = 0; i < finding->block_count; i++)
        if (finding->blocks[i] <= to && finding->blocks[i] > at)
            at = finding->blocks[i];
    for (size_t i = 0; at != 0 && at < to && i < LHI_BODY_MOST; i++) {
        lhi_line *one = &last[seen % LISTED];
        if (!read_line(arena, names, at, one))
            break;
        seen++;
        at += one->length;
    }
    if (at == to)
        for (size_t i = seen < LISTED - 1 ? 0 : seen - (LISTED - 1); i < seen; i++)
            line(arena, list, &last[i % LISTED]);
    if (read_line(arena, names, to, &last[0]))
        line(arena, list, &last[0]);
}

static void finding(lhi_arena *arena, lhi_node *list, lhi_names *names, const lhi_finding *from)
{
    lhi_node *row = lhi_tree_object(arena, list, NULL);

    lhi_tree_text(arena, row, "kind", lhi_finding_name(from->kind));
    lhi_tree_text(arena, row, "statement", lhi_finding_meaning(from->kind));
    lhi_tree_text(arena, row, "function", name_of(arena, names, from->function));
    lhi_tree_address(arena, row, "first", from->first);
    lhi_tree_text(arena, row, "first_at", name_of(arena, names, from->first));
    lhi_tree_address(arena, row, "last", from->last);
    lhi_tree_text(arena, row, "last_at", name_of(arena, names, from->last));
    lhi_node *blocks = lhi_tree_list(arena, row, "blocks");
    for (size_t i = 0; i < from->block_count; i++)
        lhi_tree_address(arena, blocks, NULL, from->blocks[i]);
    lhi_tree_bool(arena, row, "blocks_cut", from->cut);
    lhi_node *listing = lhi_tree_list(arena, row, "listing");
    lines_to(arena, listing, names, from, from->first);
    lines_to(arena, listing, names, from, from->last);
}

/* ------------------------------------------------------------------ a module */

static void why(lhi_arena *arena, lhi_node *row, const lhi_open_way *from)
{
    lhi_tree_address(arena, row, "address", from->at);
    lhi_tree_text(arena, row, "reason", from->why);
}

lhi_node *lhi_report_profile(lhi_arena *arena, lhi_node *list, lhi_names *names, const lhi_module *module,
                             const lhi_profile *profile)
{
    lhi_node *object = lhi_tree_object(arena, list, NULL);

    lhi_tree_text(arena, object, "module",
                  module->name_absence == LH_PRESENT ? lhi_arena_strdup(arena, module->name) : NULL);
    lhi_tree_address(arena, object, "base", module->base);
    lhi_tree_count(arena, object, "size", module->size);
    lhi_tree_bool(arena, object, "whole", lhi_profile_is_whole(profile));
    lhi_tree_count(arena, object, "functions", profile->functions);
    lhi_tree_count(arena, object, "code_bytes", profile->code_bytes);
    lhi_tree_count(arena, object, "missing_bytes", profile->missing_bytes);
    lhi_tree_count(arena, object, "discarded_bytes", profile->discarded_bytes);
    if (profile->absence != LH_PRESENT)
        gap(arena, object, "gap", profile->absence, module->base);
    else
        gap(arena, object, "gap", profile->gap, profile->gap_at);
    lhi_tree_count(arena, object, "unread_slots", profile->unread_slots);
    lhi_node *framework = lhi_tree_object(arena, object, "framework");
    lhi_tree_bool(arena, framework, "bound", profile->bound);
    lhi_tree_bool(arena, framework, "known", profile->bound_known);
    counts(arena, object, profile);
    lhi_node *sites = lhi_tree_list(arena, object, "sites");
    for (size_t i = 0; i < profile->site_count; i++)
        site(arena, sites, names, &profile->sites[i]);
    lhi_tree_count(arena, object, "sites_left_out", profile->sites_left_out);
    lhi_node *findings = lhi_tree_list(arena, object, "findings");
    for (size_t i = 0; i < profile->finding_count; i++)
        finding(arena, findings, names, &profile->findings[i]);
    lhi_tree_count(arena, object, "findings_left_out", profile->findings_left_out);
    lhi_tree_count(arena, object, "followed", profile->followed);
    lhi_tree_count(arena, object, "not_followed", profile->open);
    if (profile->open_count == 0)
        lhi_tree_null(arena, object, "not_followed_why");
    else
        why(arena, lhi_tree_object(arena, object, "not_followed_why"), &profile->open_ways[0]);
    lhi_node *open = lhi_tree_list(arena, object, "not_followed_functions");
    for (size_t i = 0; i < profile->open_count; i++) {
        lhi_node *row = lhi_tree_object(arena, open, NULL);
        lhi_tree_text(arena, row, "function", name_of(arena, names, profile->open_ways[i].function));
        why(arena, row, &profile->open_ways[i]);
    }
    return object;
}
