/* The method for pages still locked when a process object is deleted (0x76, P1 = 0): by its MDLs. */
#include "base/error.h"
#include "case/explain.h"
#include "case/method.h"

static bool takes(const lhi_case *c)
{
    return c->code == 0x76 && c->parameters[0] == 0 && !lhi_case_names_trackers(c);
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    if (c->target == 0)
        return lhi_case_conclude_damaged_header(c) ? LH_OK : lhi_fail_memory(err);
    lh_status status = lhi_case_search(c, err);
    if (status == LH_OK)
        status = lhi_case_verdict(c, err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    return status;
}

const lhi_method lhi_method_locks = {
    .takes = takes, .subject = lhi_case_subject_of_deletion, .decide = decide};
