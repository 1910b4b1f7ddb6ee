/* Reads the code of a case's drivers, and puts into words what it shows. */
#include "case/code.h"

#include <inttypes.h>

#include "base/error.h"
#include "case/excerpts.h"
#include "code/profile.h"
#include "dump/header.h"

#define MOST_DRIVERS 16u         /* of those with evidence */
#define MOST_LEADS   64u         /* images looked at for leads */
#define MOST_BYTES   (32u << 20) /* of images, for leads */
#define MOST_TOLD    4u          /* of a kind, of one driver */
#define MOST_NAMES   16u         /* of routines that lock */

typedef struct lhi_reading {
    lhi_case *c;
    lhi_routines routines;
    lhi_names names;
    uint64_t done[MOST_DRIVERS]; /* bases of the images that were looked at */
    size_t done_count;
} lhi_reading;

static lh_status poll(void *user, lh_error *err)
{
    return lhi_case_poll(user, err);
}

/* ------------------------------------------------------------------ words */

static const char *name_of(lhi_reading *r, uint64_t address)
{
    return lhi_case_name_code(r->c, &r->names, address);
}

/* Who locks for it. */
static const char *locker_of(const lhi_routine *routine)
{
    return routine->module == NULL ? "the I/O manager"
           : routine->entry != 0   ? "the framework"
                                   : routine->module;
}

static bool tell_site(lhi_reading *r, size_t party, const lhi_site *site)
{
    lhi_case *c = r->c;
    const char *how =
        site->routine->role == LHI_ROLE_LOCK
            ? "its code locks pages"
            : lhi_arena_printf(&c->arena, "its code can have pages locked by %s", locker_of(site->routine));

    return how != NULL && lhi_case_note(c, "lock_site", party, site->address,
                                        lhi_arena_printf(&c->arena, "%s: %s, in the function at %s, calls %s",
                                                         how, name_of(r, site->address),
                                                         name_of(r, site->function), site->routine->name));
}

static bool tell_sites(lhi_reading *r, size_t party, lhi_role role, const lhi_profile *profile)
{
    size_t told = 0;

    for (size_t i = 0; i < profile->site_count && told < MOST_TOLD; i++) {
        if (profile->sites[i].routine->role != role)
            continue;
        told++;
        if (!tell_site(r, party, &profile->sites[i]))
            return false;
    }
    return true;
}

/* What the whole image does. Without a gap, "no place" is a fact; with one it is only what was seen. */
static bool tell_counts(lhi_reading *r, size_t party, uint64_t base, const lhi_profile *profile)
{
    lhi_case *c = r->c;
    uint64_t unlocks = profile->counts[LHI_ROLE_UNLOCK], locks = profile->counts[LHI_ROLE_LOCK];
    bool whole = lhi_profile_is_whole(profile);

    if (!whole && locks == 0 && unlocks == 0)
        return true;
    const char *text = lhi_arena_printf(
        &c->arena,
        "%s: calls that lock pages %" PRIu64 ", that unlock them %" PRIu64 ", that complete packets %" PRIu64,
        whole ? "its code is all in the dump" : "its code is not all in the dump; in what is there", locks,
        unlocks, profile->counts[LHI_ROLE_COMPLETE]);
    return lhi_case_note(c, "lock_site", party, base, text);
}

/* The crash says that the length of an MDL was changed between its lock and its unlock. */
static bool asks_for_length(const lhi_case *c)
{
    return c->code == 0x76 && c->parameters[0] == 5;
}

/* It can have done what the case is about. */
static bool fits(const lhi_case *c, lhi_finding_kind kind)
{
    if (asks_for_length(c))
        return kind == LHI_FINDING_LENGTH_CHANGED;
    return kind == LHI_FINDING_LOCK_LOST || kind == LHI_FINDING_FREED_LOCKED ||
           kind == LHI_FINDING_LENGTH_CHANGED;
}

static lh_status tell_finding(lhi_reading *r, size_t party, const lhi_finding *found, lh_error *err)
{
    lhi_case *c = r->c;
    const char *text = lhi_arena_printf(&c->arena, "%s: in the function at %s, from %s to %s",
                                        lhi_finding_meaning(found->kind), name_of(r, found->function),
                                        name_of(r, found->first), name_of(r, found->last));

    if (!lhi_case_note(c, "lock_path", party, found->last, text))
        return lhi_fail_memory(err);
    lh_status status =
        lhi_case_quote(c, &r->names, "lock_path", party, found->first, lhi_finding_begins(found->kind), err);
    return status != LH_OK ? status
                           : lhi_case_quote(c, &r->names, "lock_path", party, found->last,
                                            lhi_finding_ends(found->kind), err);
}

/* Those that the case may be about come first. */
static lh_status tell_findings(lhi_reading *r, size_t party, const lhi_profile *profile, lh_error *err)
{
    size_t told = 0;
    lh_status status = LH_OK;

    for (int others = 0; others < 2; others++) {
        for (size_t i = 0; i < profile->finding_count && told < MOST_TOLD && status == LH_OK; i++) {
            if (fits(r->c, profile->findings[i].kind) != (others == 0))
                continue;
            told++;
            status = tell_finding(r, party, &profile->findings[i], err);
        }
    }
    return status;
}

/* Where the question is who unlocked, those who had the MDL are asked where they can; the call on the
 * crashing thread's stack is told of already. */
static lh_status tell_unlocks(lhi_reading *r, size_t party, const lhi_profile *profile, lh_error *err)
{
    lhi_case *c = r->c;
    size_t told = 0;
    lh_status status = LH_OK;

    if (c->unlocker == NULL || lhi_case_is_cleared(c, party))
        return LH_OK;
    for (size_t i = 0; i < profile->site_count && told < MOST_TOLD && status == LH_OK; i++) {
        const lhi_site *site = &profile->sites[i];
        if (site->routine->role != LHI_ROLE_UNLOCK || lhi_case_quotes(c, site->address))
            continue;
        told++;
        const char *text =
            lhi_arena_printf(&c->arena, "its code unlocks pages: %s, in the function at %s, calls %s",
                             name_of(r, site->address), name_of(r, site->function), site->routine->name);
        if (!lhi_case_note(c, "unlock_site", party, site->address, text))
            return lhi_fail_memory(err);
        status = lhi_case_quote(c, &r->names, "unlock_site", party, site->address,
                                lhi_arena_printf(&c->arena, "a call of nt!%s", site->routine->name), err);
    }
    return status;
}

/* ------------------------------------------------------------------ doubt */

/* It is named for a lock of its own: the I/O manager's packets are locked by nobody's code but nt's. */
static bool owes_own_lock(const lhi_case *c, size_t party)
{
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        const lhi_packet *packet = r->judged_packet != LHI_NONE ? &c->packets[r->judged_packet] : NULL;
        if (r->outcome == LHI_OUTCOME_NAMED && lhi_case_same_driver(c, r->holder, party) &&
            (packet == NULL || packet->irp->origin == LHI_ORIGIN_DRIVER))
            return true;
    }
    return false;
}

/* What other modules do for it is known: it calls none, or KMDF alone, by the framework's table. */
static bool calls_are_known(lhi_case *c, size_t party, const lhi_profile *profile)
{
    return !c->parties[party].framework || (profile->bound_known && lhi_case_calls_framework_alone(c, party));
}

static bool cannot_lock(const lhi_profile *profile)
{
    return lhi_profile_is_whole(profile) && profile->counts[LHI_ROLE_LOCK] == 0 &&
           profile->counts[LHI_ROLE_LOCK_FOR] == 0 && profile->counts[LHI_ROLE_LOOK_UP] == 0;
}

/* It was given the MDL, or locks by means that are not seen: a reason to look twice, and none to acquit. */
static bool weigh(lhi_case *c, size_t party, const lhi_profile *profile)
{
    if (!cannot_lock(profile) || !calls_are_known(c, party, profile) || !owes_own_lock(c, party))
        return true;
    for (size_t n = 0; n < c->named_count; n++) {
        if (!lhi_case_same_driver(c, c->named[n].party, party))
            continue;
        c->named[n].score *= lhi_weight_value(LHI_WEIGHT_CODE);
        if (n > 0)
            return true;
        c->score = c->named[0].score;
        return lhi_case_factor(c, LHI_WEIGHT_CODE, NULL);
    }
    return true;
}

/* ------------------------------------------------------------------ drivers */

/* What could not be looked at, and the page that it needs. */
static bool tell_gap(lhi_reading *r, const lhi_module *module, const lhi_profile *profile)
{
    lhi_case *c = r->c;
    bool none = profile->absence != LH_PRESENT;
    lh_absence kind = none ? profile->absence : profile->gap;

    if (kind == LH_PRESENT || kind == LH_ABSENT_LAYOUT)
        return true;
    return lhi_case_skip_rule(
        c, LHI_RULE_WITNESS,
        lhi_arena_printf(&c->arena, "%s of %s, which is not in this dump: the page at 0x%" PRIx64 " (%s)",
                         none ? "the image" : "all of the code", module->name,
                         (none ? module->base : profile->gap_at) & ~((uint64_t)LHI_PAGE_SIZE - 1),
                         lh_absence_name(kind)));
}

static lh_status tell(lhi_reading *r, size_t party, uint64_t base, const lhi_profile *profile, lh_error *err)
{
    if (!tell_counts(r, party, base, profile) || !tell_sites(r, party, LHI_ROLE_LOCK, profile) ||
        !tell_sites(r, party, LHI_ROLE_LOCK_FOR, profile) || !weigh(r->c, party, profile))
        return lhi_fail_memory(err);
    lh_status status = tell_unlocks(r, party, profile, err);
    return status == LH_OK ? tell_findings(r, party, profile, err) : status;
}

static lh_status look_at(lhi_reading *r, size_t party, lh_error *err)
{
    const lhi_module module = r->c->parties[party].driver.module;
    const lhi_watch watch = {poll, r->c};
    lhi_profile profile = {0};
    lh_status status = lhi_profile_read(&r->routines, &module, &watch, &profile, err);

    if (status == LH_OK && !tell_gap(r, &module, &profile))
        status = lhi_fail_memory(err);
    if (status == LH_OK && profile.absence == LH_PRESENT)
        status = tell(r, party, module.base, &profile, err);
    lhi_profile_free(&profile);
    return status;
}

static bool has_code(const lhi_case *c, size_t party)
{
    const lhi_driver *driver = &c->parties[party].driver;

    return driver->has_module && !driver->module.unloaded && !driver->is_kernel;
}

static bool was_looked_at(const lhi_reading *r, uint64_t base)
{
    for (size_t i = 0; i < r->done_count; i++)
        if (r->done[i] == base)
            return true;
    return false;
}

/* Each driver with evidence once: those named come first. */
static lh_status look_at_suspects(lhi_reading *r, lh_error *err)
{
    lhi_case *c = r->c;
    const size_t told = c->evidence_count;
    lh_status status = LH_OK;

    for (size_t i = 0; status == LH_OK && i < c->named_count + told && r->done_count < MOST_DRIVERS; i++) {
        size_t party = i < c->named_count ? c->named[i].party : c->evidence[i - c->named_count].party;
        if (party == LHI_NONE || !has_code(c, party))
            continue;
        uint64_t base = c->parties[party].driver.module.base;
        if (was_looked_at(r, base))
            continue;
        r->done[r->done_count++] = base;
        status = look_at(r, party, err);
    }
    return status;
}

/* ------------------------------------------------------------------ leads */

static bool is_lead(const lhi_case *c, const lhi_profile *profile)
{
    for (size_t i = 0; i < profile->finding_count; i++)
        if (fits(c, profile->findings[i].kind))
            return true;
    return false;
}

/* Locks, or pages of which no MDL is left, and nobody is named for any of them. */
static bool wants_leads(const lhi_case *c)
{
    if (c->named_count > 0 || c->kind == LH_VERDICT_KERNEL)
        return false;
    if (asks_for_length(c))
        return true;
    for (size_t i = 0; i < c->record_count; i++)
        if (c->records[i].in_ledger)
            return true;
    return c->charged_known && c->charged > c->explained;
}

static lh_status look_for_lead(lhi_reading *r, const lhi_module *module, lh_error *err)
{
    const lhi_watch watch = {poll, r->c};
    lhi_profile profile = {0};
    lhi_driver driver = {0};
    lh_status status = lhi_profile_read(&r->routines, module, &watch, &profile, err);

    if (status == LH_OK && is_lead(r->c, &profile)) {
        lhi_driver_from_code(r->c->kernel, module->base, &driver);
        size_t party = lhi_case_party(r->c, &driver, err);
        if (party == LHI_NONE)
            status = LH_ERR_NO_MEMORY;
        else
            status = tell_findings(r, party, &profile, err);
    }
    lhi_profile_free(&profile);
    return status;
}

/* Of other makers than Microsoft as far as names tell: libraries lock for their clients on purpose. */
static lh_status look_for_leads(lhi_reading *r, lh_error *err)
{
    const char *locking[MOST_NAMES] = {NULL};
    const size_t count = lhi_routine_names(LHI_ROLE_LOCK, locking, MOST_NAMES);
    const lh_kernel *kernel = r->c->kernel;
    uint64_t bytes = 0;
    size_t looked = 0;
    lh_status status = LH_OK;

    for (size_t i = 0; status == LH_OK && i < kernel->modules.loaded && looked < MOST_LEADS; i++) {
        const lhi_module *module = &kernel->modules.items[i];
        lhi_image image = {0};
        if (was_looked_at(r, module->base) || lhi_is_nt(kernel, module) || lhi_is_library(module->name) ||
            bytes + module->size > MOST_BYTES ||
            lhi_image_open(&kernel->space, module->base, module->size, &image) != LH_PRESENT ||
            lhi_image_imports(&image, locking, count, &kernel->exports, NULL) != LHI_YES)
            continue;
        bytes += module->size;
        looked++;
        status = look_for_lead(r, module, err);
    }
    return status;
}

/* ------------------------------------------------------------------ the whole */

static lh_status witness(lhi_reading *r, lh_error *err)
{
    lh_status status = lhi_routines_find(r->c->kernel, &r->routines, err);

    if (status == LH_OK)
        status = look_at_suspects(r, err);
    if (status == LH_OK && wants_leads(r->c))
        status = look_for_leads(r, err);
    return status;
}

/* NULL: nothing but a decoder. */
static const char *needs_of_witness(void)
{
    return lhi_code_available() ? "a version that decodes this processor's code" : NULL;
}

static bool can_witness(const lhi_case *c)
{
    return lhi_code_available() && lhi_dump_header(c->kernel->dump)->machine == LHI_MACHINE_X64;
}

lh_status lhi_case_code(lhi_case *c, lh_error *err)
{
    lhi_reading r = {.c = c, .names = {.kernel = c->kernel}};
    lh_status status = lhi_case_quote_crash(c, &r.names, err);

    if (status == LH_OK)
        status = lhi_case_quote_locks(c, &r.names, err);
    if (status == LH_OK && !can_witness(c))
        status = lhi_case_skip_rule(c, LHI_RULE_WITNESS, needs_of_witness()) ? LH_OK : lhi_fail_memory(err);
    else if (status == LH_OK)
        status = witness(&r, err);
    lhi_routines_free(&r.routines);
    lhi_names_free(&r.names);
    return status;
}
