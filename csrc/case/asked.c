/* The method for a process that somebody asked about, in a dump of any kind: by its MDLs. */
#include <inttypes.h>

#include "base/error.h"
#include "case/explain.h"
#include "case/lock.h"
#include "case/method.h"

static bool takes(const lhi_case *c)
{
    return c->options.process != 0;
}

/* The bug check itself says that this process was deleted, and with how many pages. */
static bool says_deleted(const lhi_case *c)
{
    return c->code == 0x76 && c->parameters[0] == 0 && c->parameters[1] == c->options.process;
}

static void subject(lhi_case *c)
{
    lhi_case_subject(c, c->options.process, "the process that was asked about");
    lhi_case_charge_by_process(c);
    if (says_deleted(c)) { /* whatever the counter's field holds by then */
        c->charged = c->unexplained = c->parameters[2];
        c->charged_known = true;
    }
}

/* Requests in flight lock pages of every living process. */
static void say_ordinary(lhi_case *c)
{
    c->kind = LH_VERDICT_NOT_APPLICABLE;
    c->named_count = 0;
    c->why = "the process lives, and what drivers hold of a living process is ordinary";
    c->sentence = c->record_count == 0 || c->explained == 0
                      ? "No driver holds pages of this process, which lives."
                      : lhi_arena_printf(&c->arena,
                                         "The ledger shows who holds %" PRIu64
                                         " page%s of this process; it lives, so that "
                                         "nobody is at fault.",
                                         c->explained, c->explained == 1 ? "" : "s");
    c->advice = "Nothing has to be done. A holder that grows over time deserves a look: compare two dumps.";
}

/* Then every request in flight would look like one that was left behind. */
static bool say_unknown(lhi_case *c)
{
    const char *why = "whether the process has exited can't be read";
    return lhi_case_conclude_exit_unknown(
        c, why,
        lhi_arena_printf(
            &c->arena,
            "Whether a driver left pages locked can't be told: %s. The ledger shows who holds them.", why));
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    if (!c->process_known && c->process_error.code == LH_ERR_INVALID_ARGUMENT) {
        if (err)
            *err = c->process_error;
        return c->process_error.code;
    }
    lh_status status = lhi_case_search(c, err);
    const lhi_answer exited = c->process_known ? lhi_process_exited(&c->process) : LHI_UNKNOWN;
    if (status == LH_OK)
        status = lhi_case_track(c, err);
    if (status == LH_OK && exited == LHI_NO)
        say_ordinary(c);
    else if (status == LH_OK && exited == LHI_UNKNOWN && !says_deleted(c))
        status = say_unknown(c) ? LH_OK : lhi_fail_memory(err);
    else if (status == LH_OK)
        status = lhi_case_verdict(c, err);
    if (status == LH_OK)
        status = lhi_case_explain(c, err);
    if (status == LH_OK)
        status = lhi_case_explain_locks(c, err);
    return status;
}

const lhi_method lhi_method_asked = {.takes = takes, .subject = subject, .decide = decide};
