/* The method for bug checks about an MDL or a page that are not about a leak (0x1A, 0x4E, 0xC4, 0xD9, 0xE6):
 * which MDL it is, its state, and who holds it. */
#include "case/relative.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/error.h"
#include "case/method.h"
#include "case/pass.h"
#include "nt/bugcheck.h"

#define MOST_STEPS (1u << 22) /* array entries walked back over, for one page */
#define MOST_SHOWN 4u
#define SURE       5u /* the rank of an MDL that is locked and not freed */

static bool takes(const lhi_case *c)
{
    return lhi_bugcheck_mdl(c->code, c->parameters) >= 0 || lhi_bugcheck_frame(c->code, c->parameters) >= 0 ||
           lhi_bugcheck_about_mdl(c->code, c->parameters);
}

static void subject(lhi_case *c)
{
    c->target = 0; /* nobody is charged */
}

/* ------------------------------------------------------------------ the MDL by one of its pages */

typedef struct lhi_owner_search {
    const lhi_case *c;
    lhi_free_lists freed;
    uint64_t steps, budget; /* used of MOST_STEPS; array entries that may still be read */
    unsigned rank;          /* of those found: how sure it is that the page is theirs */
    uint64_t found[MOST_SHOWN], identity[MOST_SHOWN];
    size_t count;
} lhi_owner_search;

/* That it was not freed is known: whole lists tell it of those that come from lists, the pool of others. */
static bool is_live(const lhi_owner_search *s, const lhi_mdl *mdl)
{
    lhi_pool_block block = {0};
    if (mdl->flags & LHI_MDL_ALLOCATED_FIXED_SIZE)
        return s->freed.complete;
    lhi_pool_block_at(s->c->kernel, mdl->address, &block);
    return block.found && block.state == LHI_POOL_ALLOCATED;
}

/* An array of an MDL that is not locked is a leftover; one that was freed may be. */
static unsigned rank_of(const lhi_owner_search *s, const lhi_mdl *mdl)
{
    const bool freed = lhi_mdl_is_freed(s->c->kernel, &s->freed, mdl->address);
    switch (mdl->klass) {
    case LHI_MDL_CHARGED:
    case LHI_MDL_AWE:
    case LHI_MDL_KERNEL:
    case LHI_MDL_PAGING:
        return freed ? SURE - 2 : is_live(s, mdl) ? SURE : SURE - 1;
    case LHI_MDL_IS_PARTIAL:
    case LHI_MDL_NONPAGED:
        return freed ? 1 : 2;
    case LHI_MDL_STALE:
        return 1;
    case LHI_MDL_NOT_ONE:
    case LHI_MDL_UNREADABLE:
        break;
    }
    return 0;
}

/* Back from an entry to the header in front of its array: one that has room for the entry. */
static bool find_header(lhi_owner_search *s, uint64_t entry, lhi_mdl *out)
{
    const lh_kernel *kernel = s->c->kernel;
    for (uint64_t index = 0; s->steps < MOST_STEPS && entry > 8 * index + LHI_MDL_HEADER; index++) {
        const uint64_t array = entry - 8 * index;
        uint64_t word = 0; /* ByteCount, and ByteOffset in the upper half */
        s->steps++;
        if (lhi_space_u64(&kernel->space, array - 8, &word) != LH_PRESENT)
            return false;
        const uint64_t span = (word >> 32) + (uint32_t)word;
        if (word >> 32 < 0x1000 && (uint32_t)word != 0 && (span + 0xfff) >> 12 > index) {
            lhi_mdl_read(kernel, array - LHI_MDL_HEADER, 0, &s->budget, out);
            if (rank_of(s, out) != 0)
                return true;
        }
        if (!lhi_frame_plausible(kernel, word))
            return false;
    }
    return false;
}

static void take_owner(lhi_owner_search *s, const lhi_mdl *mdl)
{
    const unsigned rank = rank_of(s, mdl);
    uint64_t identity = mdl->address;
    (void)lhi_space_identity(&s->c->kernel->space, mdl->address, &identity);
    if (rank < s->rank)
        return;
    if (rank > s->rank)
        s->count = 0;
    s->rank = rank;
    for (size_t i = 0; i < s->count && i < MOST_SHOWN; i++)
        if (s->identity[i] == identity)
            return;
    if (s->count < MOST_SHOWN) {
        s->found[s->count] = mdl->address;
        s->identity[s->count] = identity;
    }
    s->count++;
}

static lh_status search_frame(lhi_case *search, uint64_t frame, lhi_owner_search *s, lh_error *err)
{
    lhi_pass pass = {0};
    lh_status status = lhi_free_lists_read(search->kernel, &s->freed, err);
    if (status == LH_OK)
        status = lhi_case_pass(search, &frame, 1, 8, &pass, err);
    for (size_t i = 0; status == LH_OK && i < pass.hits.count; i++) {
        size_t first = 0;
        const uint64_t physical = pass.hits.physical[i];
        const size_t rows = lhi_reverse_find(&pass.map, physical >> 12, &first);
        bool found = false;
        status = i % 256 == 0 ? lhi_case_poll(search, err) : LH_OK;
        search->coverage.hits_unplaced += rows == 0 && pass.map.tables_missing != 0;
        for (size_t k = first; status == LH_OK && !found && k < first + rows; k++) {
            lhi_mdl mdl = {0};
            found = find_header(s, pass.map.va[k] + (physical & 0xfff), &mdl);
            if (found)
                take_owner(s, &mdl);
        }
    }
    if (s->steps >= MOST_STEPS)
        lhi_case_limit(search, "steps");
    lhi_case_pass_free(&pass);
    lhi_free_lists_free(&s->freed);
    return status;
}

/* ------------------------------------------------------------------ its state and its holder */

static const char *state_of(const lhi_record *r)
{
    switch (r->mdl.klass) {
    case LHI_MDL_CHARGED:
        if (!r->in_ledger)
            return r->refuted ? "unlocked" : "unknown";
        return r->state == LH_MDL_LOCKED         ? "locked"
               : r->state == LH_MDL_FREED_LOCKED ? "freed_locked"
                                                 : "unknown";
    case LHI_MDL_AWE:
    case LHI_MDL_KERNEL:
    case LHI_MDL_PAGING:
        return r->freed ? "freed_locked" : "locked";
    case LHI_MDL_IS_PARTIAL:
        return "partial";
    case LHI_MDL_STALE:
    case LHI_MDL_NONPAGED:
        return "unlocked";
    case LHI_MDL_NOT_ONE:
    case LHI_MDL_UNREADABLE:
        break;
    }
    return "unknown";
}

static const char *why_so(const lhi_record *r)
{
    if (r->refuted)
        return "its flags say locked, and a frame of it has no reference left: the lock does not stand";
    if (r->copy)
        return "another MDL describes the same pages, and only so many locks stand on them";
    if (r->freed)
        return "the structure itself was freed";
    return r->mdl.reason;
}

/* Who holds one that does not count as a lock is asked in the same way. */
static lh_status judge_subject(lhi_case *search, lhi_record *r, lh_error *err)
{
    if (r->in_ledger)
        return LH_OK;
    r->freed = lhi_mdl_is_freed(search->kernel, &search->freed, r->mdl.address);
    r->in_ledger = true;
    return lhi_case_judge(search, err);
}

static const char *name_of(const lhi_case *search, size_t party)
{
    return party != LHI_NONE && search->parties[party].driver.absence == LH_PRESENT
               ? search->parties[party].driver.name
               : NULL;
}

/* The ordinary search, with the process that the MDL names. */
static lh_status ask_holder(lhi_case *c, lhi_case *search, lhi_subject *s, lh_error *err)
{
    search->subject_mdl = s->mdl;
    lhi_case_subject(search, s->process, "the process that the MDL names");
    lh_status status = lhi_case_search(search, err);
    const size_t index = status == LH_OK ? lhi_case_record_at(search, s->mdl) : LHI_NONE;
    if (index == LHI_NONE)
        return status;
    lhi_record *r = &search->records[index];
    s->state = state_of(r);
    const char *why = why_so(r);
    status = judge_subject(search, r, err);
    const lhi_mdl *mdl = &r->mdl;
    const char *holder = name_of(search, r->holder);
    if (r->lists_unknown && r->packet == LHI_NONE) { /* then a pointer may be from before it was freed */
        s->state = "unknown";
        why = "a list of freed MDLs, on which it could lie, is not wholly in this dump";
        holder = NULL;
    }
    s->holder = holder ? lhi_arena_strdup(&c->arena, holder) : NULL;
    s->statement = lhi_arena_printf(
        &c->arena,
        "the MDL at 0x%" PRIx64 " describes %" PRIu64 " page%s at 0x%" PRIx64 ", flags 0x%04x: %s; %s%s%s",
        s->mdl, mdl->pages, mdl->pages == 1 ? "" : "s", mdl->start_va + mdl->byte_offset, mdl->flags, why,
        holder ? holder : "no holder is known",
        holder   ? " holds it: "
        : r->why ? ": "
                 : "",
        r->why ? r->why : "");
    return status;
}

/* ------------------------------------------------------------------ which MDL */

static void read_mdl(const lhi_case *c, lhi_subject *s, uint64_t address)
{
    uint64_t budget = 1u << 16;
    lhi_mdl mdl = {0};
    lhi_mdl_read(c->kernel, address, 0, &budget, &mdl);
    s->mdl = address;
    s->absence = mdl.klass == LHI_MDL_UNREADABLE ? mdl.absence
                 : mdl.klass == LHI_MDL_NOT_ONE  ? LH_ABSENT_LAYOUT
                                                 : LH_PRESENT;
    s->absent_at = mdl.klass == LHI_MDL_UNREADABLE ? mdl.absent_at : address;
    s->process = s->absence == LH_PRESENT ? mdl.process : 0;
    if (mdl.klass == LHI_MDL_UNREADABLE)
        s->statement = "the MDL that the bug check names is not wholly in this dump";
    else if (mdl.klass == LHI_MDL_NOT_ONE)
        s->statement = "what lies at the address that the bug check names is no MDL any more";
}

/* Where no source says which parameter is the MDL, one that reads as an MDL is it. */
static void try_parameters(const lhi_case *c, lhi_subject *s)
{
    for (unsigned i = 1; i < 4; i++) {
        lhi_subject tried = {.state = s->state};
        read_mdl(c, &tried, c->parameters[i]);
        if (tried.absence == LH_PRESENT) {
            *s = tried;
            return;
        }
    }
    s->absence = LH_ABSENT_LAYOUT;
    s->statement = "no parameter of the bug check leads to an MDL that can be read";
}

static lh_status find_by_frame(lhi_case *c, lhi_case *search, lhi_subject *s, lh_error *err)
{
    lhi_owner_search owners = {.c = search, .budget = search->frame_budget};
    lh_status status = search_frame(search, s->frame, &owners, err);
    if (status != LH_OK)
        return status;
    const lhi_coverage uncovered = search->coverage;
    status = lhi_case_cover(search, err);
    const bool hidden = lhi_case_could_hide(search);
    if (owners.count == 1 && (owners.rank == SURE || !hidden)) {
        read_mdl(c, s, owners.found[0]);
        search->coverage = uncovered; /* the search of the holder counts anew */
        return status;
    }
    s->absence = hidden ? LH_ABSENT_NOT_CAPTURED : LH_ABSENT_LAYOUT;
    if (owners.count <= 1) {
        s->statement = lhi_arena_printf(&c->arena, "no MDL %s page 0x%" PRIx64 "%s",
                                        owners.count ? "that is locked and live has" : "has", s->frame,
                                        hidden ? ", and one may lie in a page that is not in this dump" : "");
        return status;
    }
    s->statement = lhi_arena_printf(&c->arena, "%zu MDLs have page 0x%" PRIx64 ":", owners.count, s->frame);
    for (size_t i = 0; i < owners.count && i < MOST_SHOWN; i++)
        s->statement =
            lhi_arena_printf(&c->arena, "%s%s 0x%" PRIx64, s->statement, i ? "," : "", owners.found[i]);
    return status;
}

static lh_status find_mdl(lhi_case *c, lhi_case *search, lhi_subject *s, lh_error *err)
{
    const int mdl = lhi_bugcheck_mdl(c->code, c->parameters);
    const int frame = lhi_bugcheck_frame(c->code, c->parameters);
    if (mdl >= 0) {
        read_mdl(c, s, c->parameters[mdl]);
        return LH_OK;
    }
    if (frame < 0) {
        try_parameters(c, s);
        return LH_OK;
    }
    s->by_frame = true;
    s->frame = c->parameters[frame];
    if (lhi_frame_plausible(c->kernel, s->frame))
        return find_by_frame(c, search, s, err);
    s->absence = LH_ABSENT_LAYOUT;
    s->statement = "the page that the bug check names is none of this machine's memory";
    return LH_OK;
}

static void conclude(lhi_case *c, const lhi_subject *s)
{
    const char *subtype = lh_bugcheck_subtype(c->code, c->parameters);
    c->kind = LH_VERDICT_NOT_APPLICABLE;
    c->why = "the bug check is about an MDL, and not about pages that were left locked";
    c->sentence = lhi_arena_printf(&c->arena,
                                   "This crash is not about pages left locked: the bug check is 0x%" PRIX32
                                   ", %s. What it is about: %s.",
                                   c->code, subtype ? subtype : "a relative", s->statement);
    c->advice =
        c->code == 0xc4 || c->code == 0xe6
            ? "Driver Verifier stopped the system at the call that broke its rule: the driver is on the "
              "stack, "
              "which !analyze -v in WinDbg shows."
            : "Who did it stood on the stack, or did it before: !analyze -v in WinDbg shows the stack. With "
              "TrackLockedPages set, the next wrong unlock stops the system at once (0x76, first parameter "
              "1).";
}

static lh_status decide(lhi_case *c, lh_error *err)
{
    lhi_subject *s = lhi_arena_alloc(&c->arena, sizeof *s);
    lhi_case *search =
        lhi_calloc(1, sizeof *search); /* its ledger is not this case's, which charges nobody */
    if (!s || !search) {
        lhi_free(search);
        return lhi_fail_memory(err);
    }
    *s = (lhi_subject){.state = "unknown"};
    lhi_case_begin(search, c->kernel, &c->options);
    search->deadline = c->deadline;
    lh_status status = find_mdl(c, search, s, err);
    if (status == LH_OK && s->mdl && s->absence == LH_PRESENT)
        status = ask_holder(c, search, s, err);
    if (status == LH_OK && search->arena.failed)
        status = lhi_fail_memory(err);
    if (status == LH_OK) {
        c->coverage = search->coverage;
        c->hits = search->hits;
        c->not_mdls = search->not_mdls;
        c->passes = search->passes;
        c->bytes_scanned = search->bytes_scanned;
        c->scan_kernel = search->scan_kernel;
        c->subject = s;
        conclude(c, s);
    }
    lhi_case_free(search);
    lhi_free(search);
    return status;
}

const lhi_method lhi_method_relative = {.takes = takes, .subject = subject, .decide = decide};
