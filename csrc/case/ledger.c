/* Puts the ledger into words: what the MDLs explain, what they don't and why, and counts that can't be. */
#include "case/ledger.h"

#include <inttypes.h>

#include "dump/header.h"

#define MOST_BEYOND 4096u /* array entries looked at behind the end of one MDL's */

uint64_t lhi_case_frames_beyond(const lhi_case *c, const lhi_record *r)
{
    /* Size has the room that was asked for (WDK, MmInitializeMdl). Where it wrapped nothing can be said. */
    const uint64_t room = r->mdl.size > LHI_MDL_HEADER ? (r->mdl.size - LHI_MDL_HEADER) / 8u : 0;
    uint64_t count = 0;
    if (r->mdl.klass != LHI_MDL_CHARGED && r->mdl.klass != LHI_MDL_STALE)
        return 0;
    for (uint64_t i = r->mdl.pages; i < room && count < MOST_BEYOND; i++, count++) {
        lhi_pfn_entry entry = {0};
        uint64_t frame = 0;
        if (lhi_mdl_frames(c->kernel, &r->mdl, i, &frame, 1) != 1 || !lhi_frame_plausible(c->kernel, frame))
            break;
        lhi_pfn_read(c->kernel, frame, &entry);
        if (entry.absence != LH_PRESENT || entry.references == 0)
            break;
    }
    return count;
}

const char *lhi_case_absurd_count(lhi_case *c)
{
    const uint64_t ram = lhi_dump_header(c->kernel->dump)->pages_ram;
    const uint64_t count = c->charged;
    static const char follows[] = "an MDL was unlocked twice, or unlocked though its lock had failed";
    if (!c->charged_known)
        return NULL;
    if (count >> 63)
        return lhi_arena_printf(&c->arena, "the count of locked pages is negative (-%" PRIu64 "): %s",
                                0 - count, follows);
    if (count <= UINT32_MAX && count >= UINT32_MAX - 0xffffu)
        return lhi_arena_printf(&c->arena, "the count of locked pages is negative (-%" PRIu32 "): %s",
                                (uint32_t)(0 - count), follows);
    if (count > UINT32_MAX || (ram != 0 && count > ram))
        return lhi_arena_printf(&c->arena,
                                "the count of locked pages (%" PRIu64
                                ") is more than the machine has memory: it was overwritten, or %s",
                                count, follows);
    return NULL;
}

/* How much of the memory in which a further MDL could lie is there. */
static const char *say_missing(lhi_case *c)
{
    const lhi_region *pool = &c->coverage.pool;
    const uint64_t missing = lhi_region_lacks(pool);
    const uint64_t all = missing + pool->present;
    if (c->coverage.pieces)
        return "a small memory dump has pieces of the pool only";
    if (c->coverage.truncated)
        return "a limit of the search was met";
    if (missing == 0)
        return lhi_case_could_hide(c) ? "nothing of the non-paged pool is missing, other kernel memory is"
                                      : "and nothing is missing where one could lie";
    const uint64_t percent = missing / (all / 100 ? all / 100 : 1);
    return percent == 0 || all < 100
               ? lhi_arena_printf(&c->arena,
                                  "%" PRIu64 " of %" PRIu64 " pages of the non-paged pool not captured",
                                  missing, all)
               : lhi_arena_printf(&c->arena, "%" PRIu64 " %% of the non-paged pool not captured", percent);
}

typedef struct lhi_tally {
    uint64_t mdls, partial, edited, freed;
} lhi_tally;

static lhi_tally tally(const lhi_case *c)
{
    lhi_tally sum = {0};
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        sum.mdls += r->in_ledger;
        sum.freed += r->in_ledger && r->state == LH_MDL_FREED_LOCKED;
        sum.partial += r->names_process && r->mdl.klass == LHI_MDL_IS_PARTIAL;
        sum.edited += (r->in_ledger || r->names_process) && lhi_case_frames_beyond(c, r) != 0;
    }
    return sum;
}

static const char *say_explained(lhi_case *c, const lhi_tally *sum)
{
    const char *by = sum->mdls == 0   ? ""
                     : sum->mdls == 1 ? " by one MDL"
                                      : lhi_arena_printf(&c->arena, " by %" PRIu64 " MDLs", sum->mdls);
    const char *range = "";
    if (c->explained_least != c->explained_most)
        range = lhi_arena_printf(&c->arena, " (%" PRIu64 " to %" PRIu64 ": copies can't be told from locks)",
                                 c->explained_least, c->explained_most);
    if (!c->charged_known)
        return lhi_arena_printf(&c->arena,
                                "%" PRIu64 " page%s explained%s%s; how many are charged is not known",
                                c->explained, c->explained == 1 ? " is" : "s are", by, range);
    if (c->charged == 0 && c->explained == 0)
        return "no pages are charged, and no MDL was found that locks some";
    const char *absurd = lhi_case_absurd_count(c);
    if (absurd)
        return lhi_arena_printf(&c->arena, "%s; %" PRIu64 " page%s explained%s%s", absurd, c->explained,
                                c->explained == 1 ? " is" : "s are", by, range);
    const char *of = lhi_arena_printf(&c->arena, "%" PRIu64 " of %" PRIu64 " page%s explained%s%s",
                                      c->explained, c->charged, c->charged == 1 ? " is" : "s are", by, range);
    if (c->explained > c->charged)
        return lhi_arena_printf(&c->arena, "%s, %" PRIu64 " more than are charged", of,
                                c->explained - c->charged);
    if (c->unexplained == 0)
        return of;
    return lhi_arena_printf(&c->arena, "%s; %" PRIu64 " %s not: no MDL found, %s", of, c->unexplained,
                            c->unexplained == 1 ? "is" : "are", say_missing(c));
}

const char *lhi_case_ledger_words(lhi_case *c)
{
    if (!c->searched && !c->charged_known)
        return NULL;
    const lhi_tally sum = tally(c);
    const char *words = say_explained(c, &sum);
    if (sum.freed)
        words = lhi_arena_printf(&c->arena, "%s; %" PRIu64 " MDL%s freed without being unlocked", words,
                                 sum.freed, sum.freed == 1 ? " was" : "s were");
    if (sum.partial)
        words = lhi_arena_printf(&c->arena, "%s; %" PRIu64 " partial MDL%s not counted", words, sum.partial,
                                 sum.partial == 1 ? " is" : "s are");
    if (sum.edited)
        words = lhi_arena_printf(&c->arena,
                                 "%s; of %" PRIu64 " MDL%s the length may have been changed after the lock",
                                 words, sum.edited, sum.edited == 1 ? "" : "s");
    return words;
}
