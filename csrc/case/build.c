/* Builds a case from end to end. */
#include "base/alloc.h"
#include "base/error.h"
#include "case/code.h"
#include "case/holders.h"
#include "case/method.h"
#include "case/unlocker.h"
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

static void read_current(lhi_case *c)
{
    lhi_current_read(c->kernel, &c->current);
    c->current_process.struct_size = sizeof c->current_process;
    c->current_known =
        c->current.process != 0 &&
        lhi_process_read(c->kernel, c->current.process, &c->current_process, &c->current_error) == LH_OK;
}

/* In the order in which they are asked; the last takes everything. */
static const lhi_method *const methods[] = {&lhi_method_asked,  &lhi_method_locks, &lhi_method_tracked,
                                            &lhi_method_unlock, &lhi_method_other, &lhi_method_relative,
                                            &lhi_method_none};

void lhi_case_begin(lhi_case *c, lh_kernel *kernel, const lh_investigate_options *options)
{
    if (options)
        c->options = *options;
    set_limits(&c->options.limits);
    c->started = lhi_os_now();
    c->deadline = c->options.limits.seconds > 0 ? c->started + c->options.limits.seconds : 0;
    c->frame_budget = MOST_FRAMES;
    const lh_dump_info *header = lhi_dump_header(kernel->dump);
    c->kernel = kernel;
    c->code = header->bugcheck_code;
    for (unsigned i = 0; i < 4; i++)
        c->parameters[i] = header->parameters[i];
    c->scan_kernel = "";
    read_current(c);
}

static void choose_method(lhi_case *c)
{
    size_t index = 0;
    while (!methods[index]->takes(c))
        index++;
    c->method = methods[index];
    c->method->subject(c);
}

lh_status lhi_case_outline(lhi_case *c, lh_kernel *kernel, lh_error *err)
{
    lhi_case_begin(c, kernel, NULL);
    choose_method(c);
    return lhi_case_cover(c, err);
}

lh_status lhi_case_build(lhi_case *c, lh_kernel *kernel, const lh_investigate_options *options, lh_error *err)
{
    lhi_case_begin(c, kernel, options);
    choose_method(c);
    lh_status status = c->method->decide(c, err);
    const bool applies = c->kind != LH_VERDICT_NOT_APPLICABLE;
    if (status == LH_OK && applies)
        status = lhi_case_pool_tags(c, err);
    if (status == LH_OK && applies)
        status = lhi_case_code(c, err);
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
        lhi_vec_free(&c->records[i].overlays);
    }
    if (c->unlocker)
        lhi_call_stack_free(&c->unlocker->stack);
    lhi_holders_free(c->holders);
    lhi_stacks_free(&c->stacks);
    lhi_map_free(&c->charged_at);
    lhi_free_lists_free(&c->freed);
    lhi_trackers_free(&c->trackers);
    lhi_free(c->locks);
    lhi_vec_free(&c->targets);
    lhi_vec_free(&c->emptied);
    lhi_vec_free(&c->emptied_parties);
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
    lhi_free(c->excerpts);
    lhi_arena_free(&c->arena);
}
