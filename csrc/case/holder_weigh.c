/* How much it shows that a driver's memory leads to an MDL: by one pointer, which may be from before the
 * MDL's memory was used again, or by more than that; and whether a block has it as well that leads to nobody.
 */
#include <string.h>

#include "case/holder_climb.h"

#define REACH       0x80u /* around a pointer, in which one structure may tell of the same lock */
#define MOST_ROUNDS 16u   /* in which marks are passed on */
#define MOST_LISTS  16u

enum { BY_NOBODY = 0, BY_SOMEBODY, BY_DRIVER, MARKS };

/* Marks of other answers stay where they are, and count as none. */
static size_t mark_of(const lhi_holders *h, size_t thing)
{
    return h->led[thing] / MARKS == h->answer ? h->led[thing] % MARKS : BY_NOBODY;
}

static bool raise_mark(lhi_holders *h, size_t thing, size_t mark)
{
    if (mark <= mark_of(h, thing))
        return false;
    h->led[thing] = h->answer * MARKS + mark;
    return true;
}

static size_t mark_of_owner(const lhi_climb *climb, size_t thing, size_t party)
{
    const lhi_site *site = &climb->h->things[thing].site;
    const bool memory = site->kind == LHI_SITE_MODULE || site->kind == LHI_SITE_DEVICE ||
                        site->kind == LHI_SITE_EXTENSION || site->kind == LHI_SITE_QUEUED ||
                        (site->kind == LHI_SITE_STACK && !site->loose);
    const size_t owner = memory ? lhi_climb_owner(climb, thing) : LHI_NONE;
    return owner == LHI_NONE                                 ? BY_NOBODY
           : lhi_case_same_driver(climb->h->c, owner, party) ? BY_DRIVER
                                                             : BY_SOMEBODY;
}

/* What stands beside the pointer says that what it leads to is the driver's: then who has the pointer is its
 * own as well, such as a work item. */
static lh_status take_backing(const lhi_climb *climb, size_t grip, size_t party, lh_error *err)
{
    lhi_holders *h = climb->h;
    const lhi_grip *g = &h->grips[grip];
    const lhi_site *site = &h->things[g->holder].site;
    bool own = false;
    if (site->kind == LHI_SITE_BOOKS &&
        site->object != 0) /* an open file's, and no other driver's that could */
        raise_mark(h, g->held, BY_SOMEBODY);
    if (mark_of(h, g->held) == BY_DRIVER && mark_of(h, g->holder) == BY_DRIVER)
        return LH_OK;
    lh_status status = lhi_holder_backs(h, grip, party, &own, err);
    if (status == LH_OK && own) {
        raise_mark(h, g->held, g->idle ? BY_SOMEBODY : BY_DRIVER);
        raise_mark(h, g->holder, g->idle ? BY_SOMEBODY : BY_DRIVER);
    }
    return status;
}

/* Who leads to a thing leads to what it holds: from the memory of drivers down. Grips are in the order in
 * which they were met, from the MDL outward. */
static lh_status mark(const lhi_climb *climb, size_t party, lh_error *err)
{
    lhi_holders *h = climb->h;
    lh_status status = LH_OK;
    bool more = true;
    for (size_t i = 0; status == LH_OK && i < climb->grips.count; i++)
        status = take_backing(climb, climb->grips.data[i], party, err);
    for (unsigned round = 0; more && round < MOST_ROUNDS; round++) {
        more = false;
        for (size_t i = climb->grips.count; i-- > 0;) {
            const lhi_grip *grip = &h->grips[climb->grips.data[i]];
            if (h->reached[grip->holder] != h->answer || grip->idle)
                continue;
            raise_mark(h, grip->holder, mark_of_owner(climb, grip->holder, party));
            more = raise_mark(h, grip->held, mark_of(h, grip->holder)) || more;
        }
    }
    return status;
}

/* A block that only points on to the next one of a list which somebody has. */
static bool is_member(const lhi_climb *climb, const lhi_site *site)
{
    const lhi_holders *h = climb->h;
    unsigned lists = 0;
    for (size_t i = 0; i < climb->way.count && lists < MOST_LISTS; i++) {
        const lhi_thing *list = &h->things[climb->way.data[i]];
        if (list->site.kind != LHI_SITE_LIST || mark_of(h, climb->way.data[i]) == BY_NOBODY)
            continue;
        lists++;
        if (lhi_vec_find(&list->members, site->base) != SIZE_MAX)
            return true;
    }
    return false;
}

/* What only who knows of this lock has: the process, the buffer's address, where the pages are mapped. */
static bool tells_of(const lhi_mdl *mdl, uint64_t word)
{
    return word != 0 &&
           (word == mdl->process || word == mdl->start_va + mdl->byte_offset || word == mdl->start_va ||
            ((mdl->flags & LHI_MDL_MAPPED_TO_SYSTEM_VA) && word == mdl->mapped_va));
}

static bool has_beside(const lhi_climb *climb, const lhi_grip *grip, const lhi_mdl *mdl)
{
    uint64_t begin = grip->at - REACH, end = grip->at + REACH, word = 0;
    lhi_pool_block block = {0};
    lhi_pool_block_at(climb->h->c->kernel, grip->at, &block);
    if (block.found && begin < block.body)
        begin = block.body;
    if (block.found && end > block.body + block.size)
        end = block.body + block.size;
    for (uint64_t at = begin + ((grip->at - begin) & 7); at + 8 <= end; at += 8)
        if (at != grip->at && lhi_space_u64(&climb->h->c->kernel->space, at, &word) == LH_PRESENT &&
            tells_of(mdl, word))
            return true;
    return false;
}

/* The word itself is the MDL's address, or one of its mapping: words that lead somewhere into a structure are
 * often older than it. */
static bool names_it(const lhi_climb *climb, const lhi_grip *grip, const lhi_record *r)
{
    const lhi_mdl *mdl = &r->mdl;
    uint64_t word = 0;
    return grip->at == mdl->address ||
           (lhi_space_u64(&climb->h->c->kernel->space, grip->at, &word) == LH_PRESENT &&
            (lhi_vec_find(&r->addresses, word) != SIZE_MAX ||
             ((mdl->flags & LHI_MDL_MAPPED_TO_SYSTEM_VA) && word >> 12 >= mdl->mapped_va >> 12 &&
              (word >> 12) - (mdl->mapped_va >> 12) < mdl->pages)));
}

/* A tracker of the kernel's, of a build whose layout of them is not known: then the tag tells it. */
static bool is_tracker(const lhi_site *site)
{
    return strcmp(site->tag, "MmLk") == 0;
}

/* It can't be from before: the MDL is part of what leads to it, the pointer stands in a structure that agrees
 * with it by its numbers, in a register, or with a work item
 * that is queued. */
static bool is_current(const lhi_climb *climb, const lhi_grip *grip, const lhi_mdl *mdl)
{
    return grip->at == mdl->address || grip->field ||
           climb->h->things[grip->holder].site.kind == LHI_SITE_STACK ||
           climb->h->things[grip->holder].site.kind == LHI_SITE_QUEUED || has_beside(climb, grip, mdl);
}

lh_status lhi_climb_weigh(lhi_climb *climb, size_t record, size_t party, lh_error *err)
{
    const lhi_holders *h = climb->h;
    const lhi_record *r = &h->c->records[record];
    size_t pointers = 0;
    bool current = false;
    lh_status status = mark(climb, party, err);
    for (size_t i = 0; i < climb->grips.count; i++) {
        const lhi_grip *grip = &h->grips[climb->grips.data[i]];
        const lhi_site *site = &h->things[grip->holder].site;
        const size_t by = mark_of(h, grip->holder);
        if (grip->held != climb->start || !names_it(climb, grip, r))
            continue;
        if (by == BY_DRIVER) {
            pointers += !grip->idle;
            current = current || is_current(climb, grip, &r->mdl);
        } else if (by == BY_NOBODY && site->kind == LHI_SITE_POOL && !is_tracker(site) &&
                   !is_member(climb, site)) {
            climb->claims->beside = true;
        }
    }
    climb->claims->lone = pointers == 1 && !current;
    return status;
}
