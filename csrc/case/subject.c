/* Whom a case is about: the process that is charged, and the pages it is charged with. */
#include "case/method.h"

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

/* Flags: bit 2 ProcessExiting, bit 3 ProcessDelete (facts B.7). */
lhi_answer lhi_case_subject_lives(const lhi_case *c)
{
    const lh_process *p = &c->process;
    bool time_known = c->process_known && p->exit_time_known,
         flags_known = c->process_known && p->flags_known;
    if ((time_known && p->exit_time != 0) || (flags_known && (p->flags & 0xc) != 0))
        return LHI_NO;
    return time_known && flags_known ? LHI_YES : LHI_UNKNOWN;
}

void lhi_case_charge_by_process(lhi_case *c)
{
    c->charged_known = c->process_known && c->process.locked_pages_known;
    c->charged = c->charged_known ? c->process.locked_pages : 0;
    c->unexplained = c->charged;
}
