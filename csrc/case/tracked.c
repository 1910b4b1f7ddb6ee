/* The method for a process whose locks were tracked (0xCB): its lock trackers tell who locked. */
#include "base/error.h"
#include "case/explain.h"
#include "case/method.h"

static bool takes(const lhi_case *c)
{
    return c->code == 0xcb;
}

static void subject(lhi_case *c)
{
    lhi_case_subject_of_mdl(c, c->parameters[2]);
    c->charged = c->parameters[3];
    c->charged_known = true;
    c->unexplained = c->charged;
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    lh_status status = c->target ? lhi_case_search(c, err) : LH_OK;
    if (status == LH_OK &&
        !lhi_case_conclude_nothing(c, "lock tracker",
                                   "a version that walks the process's lock trackers and their stack traces",
                                   "this version does not read lock trackers"))
        status = lhi_fail_memory(err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    return status;
}

const lhi_method lhi_method_tracked = {.takes = takes, .subject = subject, .decide = decide};
