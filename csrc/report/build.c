/* The whole tree in the order of the schema. */
#include "report/report.h"

lhi_node *lhi_report_start(lhi_arena *arena, const char *schema)
{
    lhi_node *root = lhi_tree_object(arena, NULL, NULL);
    lhi_tree_text(arena, root, "schema", schema);
    lhi_node *tool = lhi_tree_object(arena, root, "tool");
    lhi_tree_text(arena, tool, "name", "lockhound");
    lhi_tree_text(arena, tool, "version", lh_version());
    return root;
}

void lhi_report_finish(lhi_node *root, lhi_node *absent)
{
    /* `absent` was filled on the way; it is no child until now. */
    if (!root || !absent)
        return;
    if (root->last)
        root->last->next = absent;
    else
        root->first = absent;
    root->last = absent;
}

const lhi_node *lhi_report_tree(lhi_case *c, const char *path)
{
    lhi_node *absent = lhi_tree_object(&c->arena, NULL, "absent");
    lhi_node *root = lhi_report_start(&c->arena, "lockhound.case/1");
    lhi_report_dump(c, root, absent, path);
    lhi_report_processes(c, root, absent);
    lhi_report_verdict(c, root, absent);
    lhi_report_subject(c, root, absent);
    lhi_report_advice(c, root, absent);
    lhi_report_trackers(c, root, absent);
    lhi_report_chain(c, root);
    lhi_report_stack(c, root, absent);
    lhi_report_excerpts(c, root, absent);
    lhi_report_coverage(c, root);
    lhi_report_reproduce(c, root);
    lhi_report_finish(root, absent);
    return c->arena.failed ? NULL : root;
}

const lhi_node *lhi_report_info(lhi_case *c, const char *path)
{
    lhi_node *absent = lhi_tree_object(&c->arena, NULL, "absent");
    lhi_node *root = lhi_report_start(&c->arena, "lockhound.case/1");
    lhi_report_dump(c, root, absent, path);
    lhi_report_processes(c, root, absent);
    lhi_report_coverage(c, root);
    lhi_report_finish(root, absent);
    return c->arena.failed ? NULL : root;
}
