/* The tree of lockhound.locks/1 as text for people. */
#include <inttypes.h>
#include <string.h>

#include "report/view.h"

#define MOST_NAMES 12u /* the JSON has all */

static const lhi_node *children_of(const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);

    return node != NULL ? node->first : NULL;
}

static bool has_text(const lhi_page *page, const lhi_node *object, const char *key, const char *text)
{
    const char *found = text_of(page, object, key);

    return found != NULL && strcmp(found, text) == 0;
}

static void say(const lhi_page *page, const lhi_node *object, const char *key)
{
    if (text_of(page, object, key) != NULL)
        lhi_out_safe(page->out, text_of(page, object, key));
}

static void what_is_missing(const lhi_page *page, const lhi_node *module)
{
    const lhi_node *gap = lhi_tree_get(module, "gap"), *why = lhi_tree_get(module, "not_followed_why");

    lhi_out_format(page->out, "  %" PRIu64 " functions, %" PRIu64 " bytes of code; ",
                   number_of(module, "functions"), number_of(module, "code_bytes"));
    if (gap != NULL && gap->kind == LHI_NODE_OBJECT && number_of(module, "missing_bytes") == 0)
        lhi_out_format(page->out,
                       "its headers and its table of functions are not all there or not sound, the first "
                       "thing at 0x%" PRIx64 " (%s)\n",
                       number_of(gap, "address"), text_of(page, gap, "kind"));
    else if (gap != NULL && gap->kind == LHI_NODE_OBJECT)
        lhi_out_format(
            page->out,
            "not all of it is there: %" PRIu64 " bytes missing, the first thing at 0x%" PRIx64 " (%s)\n",
            number_of(module, "missing_bytes"), number_of(gap, "address"), text_of(page, gap, "kind"));
    else
        lhi_out_raw(page->out, "all of it is there\n");
    if (why != NULL && why->kind == LHI_NODE_OBJECT)
        lhi_out_format(page->out,
                       "  %" PRIu64 " of %" PRIu64
                       " functions with such calls were not followed to every end: at 0x%" PRIx64 " %s\n",
                       number_of(module, "not_followed"), number_of(module, "followed"),
                       number_of(why, "address"), text_of(page, why, "reason"));
}

static void sites(const lhi_page *page, const lhi_node *module)
{
    for (const lhi_node *row = children_of(module, "sites"); row != NULL; row = row->next) {
        lhi_out_format(page->out, "  0x%" PRIx64 "  %-8s  %-28s ", number_of(row, "address"),
                       text_of(page, row, "role"), text_of(page, row, "routine"));
        say(page, row, "at");
        if (!has_text(page, row, "form", "slot")) {
            lhi_out_raw(page->out, "  ");
            say(page, row, "form");
        }
        lhi_out_raw(page->out, number_of(row, "tail") != 0 ? "  tail\n" : "\n");
    }
    if (number_of(module, "sites_left_out") != 0)
        lhi_out_format(page->out, "  and %" PRIu64 " more\n", number_of(module, "sites_left_out"));
}

static void findings(const lhi_page *page, const lhi_node *module)
{
    for (const lhi_node *row = children_of(module, "findings"); row != NULL; row = row->next) {
        lhi_out_format(page->out, "  %s: %s\n    in ", text_of(page, row, "kind"),
                       text_of(page, row, "statement"));
        say(page, row, "function");
        lhi_out_raw(page->out, ", from ");
        say(page, row, "first_at");
        lhi_out_raw(page->out, " to ");
        say(page, row, "last_at");
        lhi_out_raw(page->out, "\n    blocks");
        for (const lhi_node *block = children_of(row, "blocks"); block != NULL; block = block->next)
            lhi_out_format(page->out, " %" PRIx64, block->value.number);
        lhi_out_raw(page->out, number_of(row, "blocks_cut") != 0 ? " (the middle is left out)\n" : "\n");
        for (const lhi_node *one = children_of(row, "listing"); one != NULL; one = one->next) {
            lhi_out_format(page->out, "      %" PRIx64 "  ", number_of(one, "address"));
            say(page, one, "text");
            if (!is_null(one, "name")) {
                lhi_out_raw(page->out, "  ; ");
                say(page, one, "name");
            }
            lhi_out_raw(page->out, "\n");
        }
    }
}

/* What the list can't have. */
static void left_out(const lhi_page *page, const lhi_node *root)
{
    const lhi_node *list = lhi_tree_get(root, "left_out");
    const size_t count = lhi_tree_size(list);
    unsigned shown = 0;

    if (count != 0)
        lhi_out_format(page->out,
                       "Code of %zu more driver%s is not all in this dump, and none was seen that locks:",
                       count, count == 1 ? "" : "s");
    for (const lhi_node *row = list->first; row != NULL && shown < MOST_NAMES; row = row->next, shown++) {
        lhi_out_raw(page->out, shown == 0 ? " " : ", ");
        if (is_null(row, "module"))
            lhi_out_format(page->out, "0x%" PRIx64, number_of(row, "base"));
        say(page, row, "module");
    }
    if (count > MOST_NAMES)
        lhi_out_format(page->out, " and %zu more", count - MOST_NAMES);
    if (count != 0)
        lhi_out_raw(page->out, "\n");
    if (number_of(root, "modules_complete") == 0)
        lhi_out_raw(page->out,
                    "There may be other drivers: the list of modules is not wholly in this dump.\n");
}

void lhi_report_locks_text(const lhi_node *root, uint32_t flags, lhi_out *out)
{
    const lhi_page page = {.out = out, .redact = flags & LH_RENDER_REDACT};
    bool first = true;

    for (const lhi_node *module = children_of(root, "modules"); module != NULL; module = module->next) {
        lhi_out_raw(out, first ? "" : "\n");
        first = false;
        if (is_null(module, "module"))
            lhi_out_raw(out, "(no name)");
        say(&page, module, "module");
        lhi_out_format(out, " at 0x%" PRIx64 "\n", number_of(module, "base"));
        what_is_missing(&page, module);
        sites(&page, module);
        findings(&page, module);
    }
    if (first && number_of(root, "modules_complete") != 0 &&
        lhi_tree_size(lhi_tree_get(root, "left_out")) == 0)
        lhi_out_raw(out, "No driver here has code that locks pages.\n");
    else if (first)
        lhi_out_raw(out, "In what is in this dump, no driver has code that locks pages.\n");
    left_out(&page, root);
}
