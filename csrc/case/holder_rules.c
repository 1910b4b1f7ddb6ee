/* The outcome of an MDL that no packet explains, from who keeps a pointer to it.
 *
 * A driver is named when its own memory leads to the MDL, it can lock pages, and nobody else could have. */
#include "case/holders.h"

static void settle(lhi_record *record, lhi_outcome outcome, const char *why)
{
    record->outcome = outcome;
    record->why = why;
}

/* What is missing makes a refusal weaker: something could have named somebody. */
static void refuse(const lhi_case *c, lhi_record *record, const char *why)
{
    settle(record, lhi_case_could_hide(c) ? LHI_OUTCOME_INSUFFICIENT : LHI_OUTCOME_UNATTRIBUTED, why);
}

/* Whoever alone leads to it has it; that is a fact, whether he owes or not. */
static size_t holder_of(const lhi_claims *claims)
{
    if (claims->several || claims->stranger)
        return LHI_NONE;
    return claims->can != LHI_NONE       ? claims->can
           : claims->unknown != LHI_NONE ? claims->unknown
           : claims->cannot != LHI_NONE  ? claims->cannot
                                         : claims->library;
}

/* One that has a block to itself may have been freed, and another driver's since; inside a larger structure
 * it is as alive as that. */
static bool may_be_old(const lhi_case *c, const lhi_record *r)
{
    lhi_pool_block block = {0};
    if (!r->lone || !r->block_unknown)
        return false;
    lhi_pool_block_at(c->kernel, r->mdl.address, &block);
    return block.found && block.body == r->mdl.address;
}

/* One pointer may be from before, and something says that it is, or that another has the MDL now; *why NULL:
 * nothing. A block that nobody keeps is no verdict; by its tag it may be another driver's. */
static lh_status doubt_lone(lhi_case *c, const lhi_claims *claims, const char **why, lh_error *err)
{
    bool another = false;
    lh_status status = LH_OK;
    *why = NULL;
    if (!claims->lone)
        return LH_OK;
    if (c->charged_known && c->charged < c->explained)
        *why = "a single pointer leads to it, which may be from before: more pages are described than are "
               "charged";
    else
        status = lhi_case_tags_of_another(c, claims, claims->can, &another, err);
    if (another)
        *why = "a single pointer leads to it, which may be from before, and a pool block with another "
               "driver's tag has it as well";
    return status;
}

static lh_status judge_named(lhi_case *c, lhi_record *r, const lhi_claims *claims, lh_error *err)
{
    const char *doubt = NULL;
    lh_status status = doubt_lone(c, claims, &doubt, err);
    if (status != LH_OK)
        return status;
    if (r->twin) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "another structure describes the same pages, and whose of the two is the lock can't be told");
    } else if (r->displaced) {
        settle(
            r, LHI_OUTCOME_INSUFFICIENT,
            "its flags say that it had memory to itself, and it lies inside another structure: it may be a "
            "copy of one that is gone");
    } else if (lhi_case_holder_could_hide(c)) {
        settle(
            r, LHI_OUTCOME_INSUFFICIENT,
            "one driver's own memory leads to it, and another's may lie in a page that is not in this dump");
    } else if (r->passed_on) {
        refuse(c, r,
               "the driver whose memory leads to it has passed on a request of the process that waits in "
               "another "
               "driver, and may have kept the request's MDL");
    } else if (doubt) {
        refuse(c, r, doubt);
    } else {
        settle(r, LHI_OUTCOME_NAMED,
               claims->framework
                   ? "its own memory leads to the MDL, no packet does, and the framework can lock for it"
                   : "its own memory leads to the MDL, no packet does, and it can lock pages");
        r->by_holder = true;
        r->by_framework = claims->framework;
        r->lone = claims->lone;
        r->beside = claims->beside_count != 0;
        r->shared = claims->cannot != LHI_NONE;
        r->may_be_old = may_be_old(c, r);
        r->blamed = claims->can;
        if (!lhi_case_name(c, claims->can, r->mdl.pages, 0) ||
            (claims->cannot != LHI_NONE &&
             !lhi_case_clear(c, claims->cannot, r->mdl.address,
                             "keeps the MDL too, and imports no routine that locks pages")) ||
            (claims->library != LHI_NONE &&
             !lhi_case_clear(c, claims->library, r->mdl.address,
                             "keeps the MDL too, for the driver that is its client")))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

/* A driver has it, and whether its code can lock is open. */
static lh_status judge_unknown(lhi_case *c, lhi_record *r, const lhi_claims *claims, lh_error *err)
{
    const lhi_party *party = &c->parties[claims->unknown];
    if (party->framework) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "the driver whose memory leads to it works through a framework, which may have locked for it");
        return lhi_case_skip_rule(c, LHI_RULE_FRAMEWORK, NULL) ? LH_OK : lhi_fail_memory(err);
    }
    if (party->driver.has_module && party->driver.module.unloaded)
        refuse(c, r,
               "the driver whose memory leads to it has been unloaded: whether it can lock pages is gone");
    else
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "whether the driver whose memory leads to it can lock pages is not in this dump");
    return LH_OK;
}

static lh_status judge_kernel(lhi_case *c, lhi_record *r, size_t party, lh_error *err)
{
    settle(r, LHI_OUTCOME_KERNEL, "only Windows' own data points to the MDL");
    r->blamed = party;
    return lhi_case_name(c, party, r->mdl.pages, 0) ? LH_OK : lhi_fail_memory(err);
}

/* No driver's own memory leads to it. */
static lh_status judge_unowned(lhi_case *c, lhi_record *r, const lhi_claims *claims, lh_error *err)
{
    if (claims->outside)
        refuse(c, r,
               lhi_arena_printf(&c->arena,
                                "code outside any module, at 0x%llx, works with it on a thread's stack",
                                (unsigned long long)claims->outside));
    else if (claims->stranger)
        settle(r, LHI_OUTCOME_INSUFFICIENT, claims->stranger);
    else if (claims->idle != LHI_NONE)
        refuse(c, r,
               "only a work item leads to it that is not queued: what it was given is from a use before");
    else if (claims->loose != LHI_NONE)
        refuse(
            c, r,
            "a word on a driver's stack points to it that may be left over: nothing shows that it is in use");
    else if (claims->library != LHI_NONE)
        refuse(c, r, "a library driver keeps it for one of its clients, and no client is found");
    else if (claims->cannot != LHI_NONE)
        refuse(c, r, "only drivers keep it that import no routine which locks pages");
    else if (claims->kernel != LHI_NONE && !lhi_case_holder_could_hide(c))
        return judge_kernel(c, r, claims->kernel, err);
    else if (claims->log)
        refuse(c, r, "only a buffer in which somebody notes what it saw points to it");
    else if (claims->unrooted)
        refuse(c, r, "what points to the MDL leads to no driver");
    else if (claims->dead)
        refuse(c, r, "only left-over memory points to the MDL");
    else
        refuse(c, r, "nothing in this dump points to the MDL any more");
    return LH_OK;
}

lh_status lhi_case_judge_holders(lhi_case *c, size_t record, lh_error *err)
{
    lhi_record *r = &c->records[record];
    lhi_claims claims = {0};
    lh_status status = lhi_case_claims(c, record, NULL, &claims, err);
    if (status != LH_OK)
        return status;
    r->holder = holder_of(&claims);
    if (claims.truncated) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "who keeps a pointer to it leads further than the limits of this case");
        return LH_OK;
    }
    bool anybody = claims.can != LHI_NONE || claims.unknown != LHI_NONE;
    if (r->state == LH_MDL_UNKNOWN || r->lists_unknown) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "no packet that still counts names it, and whether it was freed can't be told");
        return LH_OK;
    }
    if (!anybody)
        return judge_unowned(c, r, &claims, err);
    if (claims.stranger || claims.outside) {
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               claims.stranger ? claims.stranger
                               : "a driver keeps it, and code outside any module works with it as well");
        return LH_OK;
    }
    if (claims.several || (claims.can != LHI_NONE && claims.unknown != LHI_NONE &&
                           !lhi_case_same_driver(c, claims.can, claims.unknown))) {
        refuse(c, r, "the memory of several drivers leads to it");
        return LH_OK;
    }
    return claims.can != LHI_NONE ? judge_named(c, r, &claims, err) : judge_unknown(c, r, &claims, err);
}

lh_status lhi_case_ask_others(lhi_case *c, size_t record, const lhi_packet *packet, bool *own, lh_error *err)
{
    lhi_record *r = &c->records[record];
    lhi_claims claims = {0};
    lh_status status = lhi_case_claims(c, record, packet, &claims, err);
    *own = false;
    if (status != LH_OK)
        return status;
    const size_t other = claims.can != LHI_NONE       ? claims.can
                         : claims.unknown != LHI_NONE ? claims.unknown
                         : claims.idle != LHI_NONE    ? claims.idle
                                                      : claims.loose;
    if (claims.truncated)
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               "who keeps a pointer to it beside the packet leads further than the limits of this case");
    else if (claims.stranger || claims.outside)
        settle(r, LHI_OUTCOME_INSUFFICIENT,
               claims.stranger ? claims.stranger : "code outside any module works with it as well");
    else if (claims.several || claims.loose_several ||
             (other != LHI_NONE && !lhi_case_same_driver(c, other, packet->maker)))
        refuse(c, r, "the memory of another driver than the packet's maker leads to it as well");
    else if (claims.unrooted && other == LHI_NONE)
        refuse(c, r, "something beside the packet keeps a pointer to the MDL, and it leads to no driver");
    else if (claims.kernel != LHI_NONE)
        refuse(c, r, "Windows' own data points to the MDL as well");
    else
        *own = true;
    return LH_OK;
}
