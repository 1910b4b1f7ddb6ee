/* The methods for bug checks that no rule decides: unknown kinds of 0x76, and those that are not about locks.
 */
#include <inttypes.h>

#include "base/error.h"
#include "case/explain.h"
#include "case/method.h"

bool lhi_case_conclude_nothing(lhi_case *c, lhi_rule rule, const char *why)
{
    c->kind = LH_VERDICT_INSUFFICIENT;
    c->named_count = 0;
    c->why = why;
    c->sentence = lhi_arena_printf(
        &c->arena, "Which driver is at fault can't be told yet: %s. The parameters are decoded.", c->why);
    c->advice = "Open the dump in WinDbg and follow the commands under \"reproduce\".";
    return lhi_case_skip_rule(c, rule, NULL);
}

static bool takes_unknown(const lhi_case *c)
{
    return c->code == 0x76;
}

static void subject_of_unknown(lhi_case *c)
{
    lhi_case_subject_of_mdl(c, c->parameters[1]);
    lhi_case_charge_by_process(c);
}

/* What an ordinary search finds stands in the ledger, and names nobody. */
static lh_status decide_unknown(lhi_case *c, lh_error *err)
{
    lh_status status = c->target ? lhi_case_search(c, err) : LH_OK;
    if (status == LH_OK &&
        !lhi_case_conclude_nothing(c, LHI_RULE_VIOLATION,
                                   "the first parameter of the bug check is not a known one"))
        status = lhi_fail_memory(err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    return status;
}

const lhi_method lhi_method_other = {
    .takes = takes_unknown, .subject = subject_of_unknown, .decide = decide_unknown};

static bool takes_all(const lhi_case *c)
{
    (void)c;
    return true;
}

static void subject_of_nothing(lhi_case *c)
{
    c->target = 0;
}

static lh_status decide_nothing(lhi_case *c, lh_error *err)
{
    (void)err;
    c->kind = LH_VERDICT_NOT_APPLICABLE;
    c->why = "the bug check is not about locked pages";
    c->sentence = lhi_arena_printf(
        &c->arena, "This crash is not about locked pages: the bug check is 0x%" PRIX32 ".", c->code);
    c->advice = "Use a general analysis (!analyze -v in WinDbg).";
    return LH_OK;
}

const lhi_method lhi_method_none = {
    .takes = takes_all, .subject = subject_of_nothing, .decide = decide_nothing};
