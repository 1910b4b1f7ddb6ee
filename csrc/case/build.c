/* Builds a case from end to end. */
#include <inttypes.h>

#include "base/alloc.h"
#include "case/case.h"
#include "case/explain.h"
#include "case/keepers.h"
#include "source/os.h"

/* Defaults of lh_limits, as the public header states them. */
#define DEFAULT_HITS   4194304u
#define DEFAULT_MDLS   65536u
#define DEFAULT_CHAIN  4096u
#define DEFAULT_LEVELS 6u

#define MOST_FRAMES (1u << 24) /* array entries checked in one case */

static void set_limits(lh_limits *limits)
{
    if (limits->hits == 0)
        limits->hits = DEFAULT_HITS;
    if (limits->mdls == 0)
        limits->mdls = DEFAULT_MDLS;
    if (limits->chain_length == 0)
        limits->chain_length = DEFAULT_CHAIN;
    if (limits->levels == 0)
        limits->levels = DEFAULT_LEVELS;
}

static void read_process(lhi_case *c)
{
    c->process.struct_size = sizeof c->process;
    c->process_known =
        c->target != 0 && lhi_process_read(c->kernel, c->target, &c->process, &c->process_error) == LH_OK;
}

/* A process that did not exit has not been deleted: then parameter 2 names another than the one that left
 * pages locked. Flags: bit 2 ProcessExiting, bit 3 ProcessDelete (facts B.7). */
static bool has_not_exited(const lhi_case *c)
{
    const lh_process *p = &c->process;
    return c->process_known && p->exit_time_known && p->exit_time == 0 && p->flags_known &&
           (p->flags & 0xc) == 0;
}

static void read_current(lhi_case *c)
{
    lh_error ignored = {0};
    lhi_current_read(c->kernel, &c->current);
    c->current_process.struct_size = sizeof c->current_process;
    c->current_known = c->current.process != 0 && lhi_process_read(c->kernel, c->current.process,
                                                                   &c->current_process, &ignored) == LH_OK;
}

/* Bug checks of the family whose rule this version does not have: who is charged is known, who holds is not.
 */
static void without_method(lhi_case *c)
{
    bool tracked = c->code == 0xcb;
    uint64_t mdl_address = tracked ? c->parameters[2] : c->parameters[1];
    uint64_t budget = 0;
    lhi_mdl mdl = {0};
    lhi_mdl_read(c->kernel, mdl_address, 0, &budget, &mdl);
    if (mdl.klass != LHI_MDL_NOT_ONE && mdl.klass != LHI_MDL_UNREADABLE && lhi_is_kernel(mdl.process))
        c->target = mdl.process;
    read_process(c);
    if (tracked) {
        c->charged = c->parameters[3];
        c->charged_known = true;
    } else if (c->process_known && c->process.locked_pages_known) {
        c->charged = c->process.locked_pages;
        c->charged_known = true;
    }
    c->unexplained = c->charged;
}

/* The verdict of those: what an ordinary search finds stands in the ledger, and names nobody. */
static bool conclude_without_method(lhi_case *c)
{
    bool tracked = c->code == 0xcb;
    c->kind = LH_VERDICT_INSUFFICIENT;
    c->named_count = 0;
    bool unlock = !tracked && c->parameters[0] == 1;
    bool changed = !tracked && c->parameters[0] >= 5 && c->parameters[0] <= 9 && c->parameters[0] != 8;
    const char *rule = tracked || changed ? "lock tracker"
                       : unlock           ? "unlock without a lock"
                                          : "this kind of violation";
    const char *needs = tracked || changed
                            ? "a version that walks the process's lock trackers and their stack traces"
                        : unlock ? "a version that unwinds the crashing thread to the driver that unlocks"
                                 : "facts about this first parameter of the bug check: none are known";
    c->why = tracked || changed ? "this version does not read lock trackers"
             : unlock           ? "this version does not follow the unlocking thread"
                                : "the first parameter of the bug check is not a known one";
    c->sentence = lhi_arena_printf(
        &c->arena, "Which driver is at fault can't be told yet: %s. The parameters are decoded.", c->why);
    c->advice = "Open the dump in WinDbg and follow the commands under \"reproduce\".";
    return lhi_case_skip_rule(c, rule, needs);
}

/* The locks that stand, and who holds them. */
static lh_status search(lhi_case *c, lh_error *err)
{
    lh_status status = lhi_case_gather(c, err);
    if (status == LH_OK)
        status = lhi_case_keepers(c, err);
    c->searched = true;
    c->next_poll = 0; /* the end of the search is worth a word */
    if (status == LH_OK)
        status = lhi_case_cover(c, err);
    if (status == LH_OK)
        status = lhi_case_liveness(c, err);
    if (status == LH_OK)
        status = lhi_case_index_pieces(c, err);
    if (status == LH_OK)
        status = lhi_case_judge(c, err);
    return status;
}

static lh_status full_method(lhi_case *c, lh_error *err)
{
    c->target = c->parameters[1];
    c->charged = c->parameters[2];
    c->charged_known = true;
    c->unexplained = c->charged;
    if (!lhi_is_kernel(c->target) || c->target % 8 != 0 || c->target > UINT64_MAX - 0x1000) {
        c->kind = LH_VERDICT_INSUFFICIENT;
        c->why = "parameter 2 of the bug check is not the address of a process";
        c->sentence = lhi_arena_printf(&c->arena, "Nothing can be told from this dump: %s.", c->why);
        c->advice = "Take another dump: the header of this one is damaged.";
        c->target = 0;
        return lhi_case_skip_rule(c, "locks by MDL", "a process address in parameter 2")
                   ? LH_OK
                   : lhi_fail_memory(err);
    }
    read_process(c);
    c->lives = has_not_exited(c);
    lh_status status = search(c, err);
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

static void start(lhi_case *c, lh_kernel *kernel)
{
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    c->kernel = kernel;
    c->code = header->bugcheck_code;
    for (unsigned i = 0; i < 4; i++)
        c->parameters[i] = header->parameters[i];
    c->applicable = c->code == 0x76 || c->code == 0xcb;
    c->full_method = c->code == 0x76 && c->parameters[0] == 0;
    c->scan_kernel = "";
    read_current(c);
}

lh_status lhi_case_outline(lhi_case *c, lh_kernel *kernel, lh_error *err)
{
    start(c, kernel);
    if (c->full_method) {
        c->target = lhi_is_kernel(c->parameters[1]) && c->parameters[1] % 8 == 0 ? c->parameters[1] : 0;
        read_process(c);
    } else if (c->applicable) {
        without_method(c);
    }
    return lhi_case_cover(c, err);
}

lh_status lhi_case_build(lhi_case *c, lh_kernel *kernel, const lh_investigate_options *options, lh_error *err)
{
    lh_status status = LH_OK;
    if (options)
        c->options = *options;
    start(c, kernel);
    set_limits(&c->options.limits);
    c->started = lhi_os_now();
    c->deadline = c->options.limits.seconds > 0 ? c->started + c->options.limits.seconds : 0;
    c->frame_budget = MOST_FRAMES;
    if (c->full_method) {
        status = full_method(c, err);
    } else if (c->applicable) {
        without_method(c);
        if (c->target)
            status = search(c, err);
        if (status == LH_OK && !conclude_without_method(c))
            status = lhi_fail_memory(err);
        if (status == LH_OK)
            status = lhi_case_explain(c, err);
    } else {
        c->kind = LH_VERDICT_NOT_APPLICABLE;
        c->why = "the bug check is not about locked pages";
        c->sentence = lhi_arena_printf(
            &c->arena, "This crash is not about locked pages: the bug check is 0x%" PRIX32 ".", c->code);
        c->advice = "Use a general analysis (!analyze -v in WinDbg).";
    }
    if (status == LH_OK && !c->coverage.known)
        status = lhi_case_cover(c, err);
    if (status == LH_OK && c->arena.failed)
        status = lhi_fail_memory(err);
    return status;
}

void lhi_case_free(lhi_case *c)
{
    for (size_t i = 0; i < c->record_count; i++) {
        lhi_vec_free(&c->records[i].addresses);
        lhi_vec_free(&c->records[i].packets);
        lhi_vec_free(&c->records[i].predecessors);
    }
    lhi_free_lists_free(&c->freed);
    lhi_free(c->stamps);
    lhi_free(c->owned);
    lhi_free(c->parts);
    lhi_free(c->first_child);
    lhi_free(c->next_child);
    lhi_free(c->records);
    lhi_free(c->packets);
    lhi_free(c->parties);
    lhi_free(c->named);
    lhi_free(c->factors);
    lhi_free(c->unevaluated);
    lhi_free(c->evidence);
    lhi_free(c->cleared);
    lhi_arena_free(&c->arena);
}
