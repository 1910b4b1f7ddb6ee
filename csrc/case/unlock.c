/* The method for an MDL that was unlocked and was not locked so (0x76, P1 = 1, 5, 6, 7, 9). */
#include "base/error.h"
#include "case/explain.h"
#include "case/method.h"

static bool takes(const lhi_case *c)
{
    uint64_t kind = c->parameters[0];
    return c->code == 0x76 && (kind == 1 || kind == 5 || kind == 6 || kind == 7 || kind == 9);
}

static void subject(lhi_case *c)
{
    lhi_case_subject_of_mdl(c, c->parameters[1]);
    lhi_case_charge_by_process(c);
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    bool plain = c->parameters[0] == 1;
    lh_status status = c->target ? lhi_case_search(c, err) : LH_OK;
    if (status == LH_OK &&
        !lhi_case_conclude_nothing(
            c, plain ? "unlock without a lock" : "lock tracker",
            plain ? "a version that unwinds the crashing thread to the driver that unlocks"
                  : "a version that walks the process's lock trackers and their stack traces",
            plain ? "this version does not follow the unlocking thread"
                  : "this version does not read lock trackers"))
        status = lhi_fail_memory(err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    return status;
}

const lhi_method lhi_method_unlock = {.takes = takes, .subject = subject, .decide = decide};
