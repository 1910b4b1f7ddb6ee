/* The tree's subject: the MDL that a bug check about no leak leads to. */
#include "case/relative.h"
#include "report/report.h"

void lhi_report_subject(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    lhi_arena *arena = &c->arena;
    const lhi_subject *s = c->subject;
    if (!s) {
        lhi_tree_null(arena, root, "subject");
        return;
    }
    lhi_node *object = lhi_tree_object(arena, root, "subject");
    lhi_tree_address_if(arena, object, "mdl", s->mdl, s->mdl);
    lhi_tree_address_if(arena, object, "process", s->process, s->process);
    lhi_tree_text(arena, object, "state", s->state);
    lhi_tree_text(arena, object, "holder", s->holder);
    lhi_tree_text(arena, object, "statement", s->statement);
    lhi_tree_address_if(arena, object, "frame", s->by_frame, s->frame);
    if (s->absence != LH_PRESENT)
        lhi_report_absent(c, absent, s->mdl ? "subject.state" : "subject.mdl", s->absence, s->absent_at);
}
