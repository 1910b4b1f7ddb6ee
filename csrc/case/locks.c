/* The method for pages still locked when a process object is deleted (0x76, P1 = 0): by its MDLs. */
#include "base/error.h"
#include "case/explain.h"
#include "case/method.h"

static bool takes(const lhi_case *c)
{
    return c->code == 0x76 && c->parameters[0] == 0;
}

static bool is_object(uint64_t address)
{
    return lhi_is_kernel(address) && address % 8 == 0 && address <= UINT64_MAX - 0x1000;
}

static void subject(lhi_case *c)
{
    lhi_case_subject(c, is_object(c->parameters[1]) ? c->parameters[1] : 0, "parameter 2 of the bug check");
    c->charged = c->parameters[2];
    c->charged_known = true;
    c->unexplained = c->charged;
    /* What did not exit has not been deleted: parameter 2 names another than the one that left the pages. */
    c->lives = c->process_known && c->process.exit_time_known && lhi_process_exited(&c->process) == LHI_NO;
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    if (c->target == 0) {
        c->kind = LH_VERDICT_INSUFFICIENT;
        c->why = "parameter 2 of the bug check is not the address of a process";
        c->sentence = lhi_arena_printf(&c->arena, "Nothing can be told from this dump: %s.", c->why);
        c->advice = "Take another dump: the header of this one is damaged.";
        return lhi_case_skip_rule(c, "locks by MDL", "a process address in parameter 2")
                   ? LH_OK
                   : lhi_fail_memory(err);
    }
    lh_status status = lhi_case_search(c, err);
    if (status == LH_OK)
        status = lhi_case_verdict(c, err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    if (status == LH_OK && c->parameters[3] != 0 &&
        !lhi_case_skip_rule(c, "lock tracker",
                            "a version that walks the process's lock trackers and their stack traces"))
        status = lhi_fail_memory(err);
    if (status == LH_OK &&
        !lhi_case_skip_rule(c, "code as witness", "a version that decodes the drivers' code"))
        status = lhi_fail_memory(err);
    return status;
}

const lhi_method lhi_method_locks = {.takes = takes, .subject = subject, .decide = decide};
