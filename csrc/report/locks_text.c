/* The tree of lockhound.locks/1 as text for people. */
#include <inttypes.h>
#include <string.h>

#include "report/locks_text.h"

static const char *text_of(const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);

    return node != NULL && node->kind == LHI_NODE_TEXT ? node->value.text : "";
}

static uint64_t number_of(const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);

    return node != NULL && node->kind != LHI_NODE_NULL && node->kind != LHI_NODE_TEXT ? node->value.number
                                                                                      : 0;
}

static const lhi_node *children_of(const lhi_node *object, const char *key)
{
    const lhi_node *node = lhi_tree_get(object, key);

    return node != NULL ? node->first : NULL;
}

static void say(lhi_out *out, const lhi_node *object, const char *key)
{
    lhi_out_safe(out, text_of(object, key));
}

static void what_is_missing(lhi_out *out, const lhi_node *module)
{
    const lhi_node *gap = lhi_tree_get(module, "gap"), *why = lhi_tree_get(module, "not_followed_why");

    lhi_out_format(out, "  %" PRIu64 " functions, %" PRIu64 " bytes of code; ",
                   number_of(module, "functions"), number_of(module, "code_bytes"));
    if (gap != NULL && gap->kind == LHI_NODE_OBJECT)
        lhi_out_format(
            out, "not all of it is there: %" PRIu64 " bytes missing, the first thing at 0x%" PRIx64 " (%s)\n",
            number_of(module, "missing_bytes"), number_of(gap, "address"), text_of(gap, "kind"));
    else
        lhi_out_raw(out, "all of it is there\n");
    if (why != NULL && why->kind == LHI_NODE_OBJECT)
        lhi_out_format(out,
                       "  %" PRIu64 " of %" PRIu64
                       " functions with such calls were not followed to every end: at 0x%" PRIx64 " %s\n",
                       number_of(module, "not_followed"), number_of(module, "followed"),
                       number_of(why, "address"), text_of(why, "reason"));
}

static void sites(lhi_out *out, const lhi_node *module)
{
    for (const lhi_node *row = children_of(module, "sites"); row != NULL; row = row->next) {
        lhi_out_format(out, "  0x%" PRIx64 "  %-8s  %-28s ", number_of(row, "address"), text_of(row, "role"),
                       text_of(row, "routine"));
        say(out, row, "at");
        lhi_out_raw(out, strcmp(text_of(row, "form"), "slot") == 0 ? "" : "  ");
        if (strcmp(text_of(row, "form"), "slot") != 0)
            say(out, row, "form");
        lhi_out_raw(out, number_of(row, "tail") != 0 ? "  tail\n" : "\n");
    }
    if (number_of(module, "sites_left_out") != 0)
        lhi_out_format(out, "  and %" PRIu64 " more\n", number_of(module, "sites_left_out"));
}

static void findings(lhi_out *out, const lhi_node *module)
{
    for (const lhi_node *row = children_of(module, "findings"); row != NULL; row = row->next) {
        lhi_out_format(out, "  %s: %s\n    in ", text_of(row, "kind"), text_of(row, "statement"));
        say(out, row, "function");
        lhi_out_raw(out, ", from ");
        say(out, row, "first_at");
        lhi_out_raw(out, " to ");
        say(out, row, "last_at");
        lhi_out_raw(out, "\n    blocks");
        for (const lhi_node *block = children_of(row, "blocks"); block != NULL; block = block->next)
            lhi_out_format(out, " %" PRIx64, block->value.number);
        lhi_out_raw(out, number_of(row, "blocks_cut") != 0 ? " (the middle is left out)\n" : "\n");
        for (const lhi_node *one = children_of(row, "listing"); one != NULL; one = one->next) {
            lhi_out_format(out, "      %" PRIx64 "  ", number_of(one, "address"));
            say(out, one, "text");
            if (text_of(one, "name")[0] != 0) {
                lhi_out_raw(out, "  ; ");
                say(out, one, "name");
            }
            lhi_out_raw(out, "\n");
        }
    }
}

void lhi_report_locks_text(const lhi_node *root, lhi_out *out)
{
    bool first = true;

    for (const lhi_node *module = children_of(root, "modules"); module != NULL; module = module->next) {
        lhi_out_raw(out, first ? "" : "\n");
        first = false;
        lhi_out_safe(out, text_of(module, "module")[0] != 0 ? text_of(module, "module") : "(no name)");
        lhi_out_format(out, " at 0x%" PRIx64 "\n", number_of(module, "base"));
        what_is_missing(out, module);
        sites(out, module);
        findings(out, module);
    }
    if (first)
        lhi_out_raw(out, "No driver here has code that locks pages.\n");
}
