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

void lhi_case_charge_by_process(lhi_case *c)
{
    c->charged_known = c->process_known && c->process.locked_pages_known;
    c->charged = c->charged_known ? c->process.locked_pages : 0;
    c->unexplained = c->charged;
}
