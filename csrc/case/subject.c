/* Whom a case is about: the process that is charged, and the pages it is charged with. */
#include "case/method.h"
#include "nt/read.h"

void lhi_case_subject(lhi_case *c, uint64_t process, const char *basis)
{
    c->target = process;
    c->target_basis = basis;
    c->process.struct_size = sizeof c->process;
    c->process_known =
        process != 0 && lhi_process_read(c->kernel, process, &c->process, &c->process_error) == LH_OK;
}

void lhi_case_subject_of_mdl(lhi_case *c, uint64_t address)
{
    uint64_t budget = 0;
    lhi_mdl mdl = {0};
    lhi_mdl_read(c->kernel, address, 0, &budget, &mdl);
    bool names =
        mdl.klass != LHI_MDL_NOT_ONE && mdl.klass != LHI_MDL_UNREADABLE && lhi_is_kernel(mdl.process);
    lhi_case_subject(c, names ? mdl.process : 0, "the process that the MDL names");
}

void lhi_case_charge_by_process(lhi_case *c)
{
    c->charged_known = c->process_known && c->process.locked_pages_known;
    c->charged = c->charged_known ? c->process.locked_pages : 0;
    c->unexplained = c->charged;
}

/* A process that did not exit has not been deleted. A thread on its list says so too, where its own record
 * does not tell, or was read at offsets that were inferred from this very process. */
void lhi_case_expect_deleted(lhi_case *c)
{
    const lhi_answer exited = c->process_known ? lhi_process_exited(&c->process) : LHI_UNKNOWN;
    c->exit_missing = exited == LHI_UNKNOWN &&
                      lhi_case_is_missing(c->process_known ? c->process.absence : c->process_error.absence);
    if (!c->process_known)
        return;
    const bool inferred =
        c->kernel->layout->basis == LHI_LAYOUT_INFERRED || c->kernel->layout->basis == LHI_LAYOUT_STABLE;
    c->lives = (exited == LHI_NO && c->process.exit_time_known) ||
               ((exited != LHI_YES || inferred) && lhi_process_has_threads(c->kernel, c->target));
}

void lhi_case_subject_of_deletion(lhi_case *c)
{
    bool object = lhi_is_object(c->parameters[1], 8) && c->parameters[1] <= UINT64_MAX - 0x1000;
    lhi_case_subject(c, object ? c->parameters[1] : 0, "parameter 2 of the bug check");
    c->charged = c->parameters[2];
    c->charged_known = true;
    c->unexplained = c->charged;
    lhi_case_expect_deleted(c);
}

bool lhi_case_conclude_damaged_header(lhi_case *c)
{
    c->kind = LH_VERDICT_INSUFFICIENT;
    c->why = "parameter 2 of the bug check is not the address of a process";
    c->sentence = lhi_arena_printf(&c->arena, "Nothing can be told from this dump: %s.", c->why);
    c->advice = "Take another dump: the header of this one is damaged.";
    return lhi_case_skip_rule(c, LHI_RULE_LOCKS, NULL);
}

bool lhi_case_conclude_exit_unknown(lhi_case *c, const char *why, const char *sentence)
{
    c->kind = LH_VERDICT_INSUFFICIENT;
    c->named_count = 0;
    c->why = why;
    c->sentence = sentence;
    c->advice = "Take a dump that holds the process object.";
    return lhi_case_skip_rule(c, LHI_RULE_EXIT, NULL);
}
