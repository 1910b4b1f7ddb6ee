/* The tree's `excerpts`: places in drivers' code with the instructions around them. */
#include <inttypes.h>

#include "code/listing.h"
#include "report/report.h"

static void bounds(lhi_case *c, lhi_node *row, const lhi_excerpt *excerpt)
{
    lhi_arena *arena = &c->arena;
    const lhi_listing *listing = excerpt->listing;
    if (!listing->bounded) {
        lhi_tree_null(arena, row, "function");
        return;
    }
    lhi_node *object = lhi_tree_object(arena, row, "function");
    lhi_tree_text(arena, object, "at", excerpt->function);
    lhi_tree_address(arena, object, "entry", listing->entry);
    lhi_tree_address(arena, object, "begin", listing->begin);
    lhi_tree_address(arena, object, "end", listing->end);
}

static void line(lhi_case *c, lhi_node *list, const lhi_line *from, bool marked)
{
    static const char digits[] = "0123456789abcdef";
    lhi_arena *arena = &c->arena;
    char bytes[2 * LHI_CODE_LONGEST + 1] = "";
    for (size_t i = 0; i < from->length; i++) {
        bytes[2 * i] = digits[from->bytes[i] >> 4];
        bytes[2 * i + 1] = digits[from->bytes[i] & 15];
    }
    lhi_node *row = lhi_tree_object(arena, list, NULL);
    lhi_tree_address(arena, row, "address", from->address);
    lhi_tree_text(arena, row, "bytes", lhi_arena_strdup(arena, bytes));
    lhi_tree_text(arena, row, "text", from->text);
    lhi_tree_text(arena, row, "name", from->name);
    lhi_tree_bool(arena, row, "marked", marked);
}

static const char *reason(lhi_case *c, const lhi_listing *listing)
{
    if (!listing->why || listing->absence == LH_PRESENT)
        return listing->why;
    return lhi_arena_printf(&c->arena, "%s: %s at 0x%" PRIx64, listing->why,
                            lh_absence_name(listing->absence), listing->absent_at);
}

static void excerpt_row(lhi_case *c, lhi_node *list, lhi_node *absent, const lhi_excerpt *excerpt,
                        size_t index)
{
    lhi_arena *arena = &c->arena;
    const lhi_listing *listing = excerpt->listing;
    lhi_node *row = lhi_tree_object(arena, list, NULL);
    lhi_tree_text(arena, row, "driver", lhi_report_name(c, excerpt->party));
    lhi_tree_text(arena, row, "kind", excerpt->kind);
    lhi_tree_text(arena, row, "statement", excerpt->statement);
    lhi_report_place(c, row, excerpt->address);
    lhi_tree_text(arena, row, "at", excerpt->at);
    bounds(c, row, excerpt);
    lhi_node *lines = lhi_tree_list(arena, row, "listing");
    for (size_t i = 0; i < listing->count; i++)
        line(c, lines, &listing->lines[i], i == listing->marked);
    lhi_tree_text(arena, row, "reason", reason(c, listing));
    if (listing->why && listing->absence != LH_PRESENT)
        lhi_report_absent(c, absent, lhi_arena_printf(arena, "excerpts.%zu.listing", index), listing->absence,
                          listing->absent_at);
}

void lhi_report_excerpts(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    lhi_node *list = lhi_tree_list(&c->arena, root, "excerpts");
    for (size_t i = 0; i < c->excerpt_count; i++)
        excerpt_row(c, list, absent, &c->excerpts[i], i);
}
