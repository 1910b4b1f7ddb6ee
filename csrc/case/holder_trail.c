/* The words for what leads to an MDL. */
#include <inttypes.h>

#include "case/holder_climb.h"
#include "nt/identify.h"

#define MOST_STEPS 16u /* of a trail that is told */

static const char *driver_of(const lhi_case *c, size_t party)
{
    if (party == LHI_NONE)
        return "a driver without a name";
    const lhi_driver *driver = &c->parties[party].driver;
    return driver->absence == LH_PRESENT ? driver->name : driver->object_name;
}

static const char *words_of_device(lhi_case *c, const lhi_site *site)
{
    char name[128] = "";
    if (site->name)
        return lhi_arena_printf(&c->arena, "extension of device %s", site->name);
    lhi_object_name(c->kernel, site->object, name, sizeof name);
    if (name[0])
        return lhi_arena_printf(&c->arena, "extension of device %s", name);
    return lhi_arena_printf(&c->arena, "extension of device 0x%" PRIx64, site->object);
}

static const char *words_of(lhi_holders *h, const lhi_site *site)
{
    lhi_arena *arena = &h->c->arena;
    switch (site->kind) {
    case LHI_SITE_MODULE:
        return "module data";
    case LHI_SITE_DEVICE:
        return words_of_device(h->c, site);
    case LHI_SITE_EXTENSION:
        return "extension of the driver object";
    case LHI_SITE_STACK:
        return site->served ? lhi_arena_printf(arena, "frame of %s on the stack of thread 0x%" PRIx64,
                                               driver_of(h->c, site->library), site->object)
                            : lhi_arena_printf(arena, "stack of thread 0x%" PRIx64, site->object);
    case LHI_SITE_QUEUED:
        return lhi_arena_printf(arena, "queued %s", site->name);
    case LHI_SITE_PACKET:
        return lhi_arena_printf(arena, "packet 0x%" PRIx64, site->object);
    case LHI_SITE_POOL:
        return site->what ? lhi_arena_printf(arena, "KMDF %s in pool block '%s'", site->what, site->tag)
                          : lhi_arena_printf(arena, "pool block '%s'", site->tag);
    case LHI_SITE_LIST:
        return lhi_arena_printf(arena, "list of %" PRIu64 " blocks '%s'", site->object, site->tag);
    case LHI_SITE_MDL:
        return lhi_arena_printf(arena, "MDL 0x%" PRIx64, site->base & ~(uint64_t)7);
    case LHI_SITE_DEAD:
        return site->why;
    case LHI_SITE_BOOKS:
        return site->object ? lhi_arena_printf(arena, "file object 0x%" PRIx64, site->object)
                            : "the kernel's own books";
    default:
        return "memory of which nothing is known";
    }
}

static bool has_tag(const lhi_site *site)
{
    return (site->kind == LHI_SITE_POOL || site->kind == LHI_SITE_LIST) && site->tag[0];
}

/* From the MDL outward: the way back from a thing that was reached, turned round. */
static const char *trail_to(lhi_climb *climb, size_t thing, const lhi_step **out, size_t *count)
{
    lhi_holders *h = climb->h;
    lhi_arena *arena = &h->c->arena;
    size_t things[MOST_STEPS] = {0};
    *count = 0;
    for (size_t at = thing; at != climb->start && *count < MOST_STEPS; at = h->grips[h->via[at]].held)
        things[(*count)++] = at;
    lhi_step *steps = *count ? lhi_arena_alloc(arena, *count * sizeof *steps) : NULL;
    if (!steps)
        return NULL;
    const char *trail = "MDL";
    for (size_t i = 0; i < *count; i++) {
        size_t at = things[*count - 1 - i];
        const lhi_grip *grip = &h->grips[h->via[at]];
        const lhi_site *site = &h->things[at].site;
        const char *words = words_of(h, site);
        steps[i] = (lhi_step){grip->at,     lhi_arena_printf(arena, "%s: %s", words, grip->how),
                              site->kind,   site->base,
                              site->object, has_tag(site) ? lhi_arena_strdup(arena, site->tag) : NULL};
        trail = grip->field ? lhi_arena_printf(arena, "%s <- %s <- %s", trail, grip->field, words)
                            : lhi_arena_printf(arena, "%s <- %s", trail, words);
    }
    size_t party = lhi_climb_owner(climb, thing);
    *out = steps;
    return party == LHI_NONE ? trail : lhi_arena_printf(arena, "%s <- %s", trail, driver_of(h->c, party));
}

static bool is_told(const lhi_case *c, const lhi_record *record, size_t party)
{
    for (unsigned i = 0; i < record->claimant_count; i++)
        if (lhi_case_same_driver(c, record->claimants[i].party, party))
            return true;
    return false;
}

/* Whose routine something on the way is to be called with, also where that leads no further. */
static void tell_routines(lhi_climb *climb, lhi_record *record)
{
    const lhi_holders *h = climb->h;
    for (size_t i = 0; i < climb->grips.count && record->claimant_count < LHI_MOST_CLAIMANTS; i++) {
        const size_t index = climb->grips.data[i];
        const lhi_grip *grip = &h->grips[index];
        const lhi_step *steps = NULL;
        size_t count = 0;
        if (grip->routine_of == LHI_NONE || h->reached[grip->holder] != h->answer ||
            h->via[grip->holder] != index || is_told(h->c, record, grip->routine_of))
            continue;
        const char *trail = trail_to(climb, grip->holder, &steps, &count);
        record->claimants[record->claimant_count++] = (lhi_claimant){grip->routine_of, grip->at, trail};
    }
}

void lhi_climb_tell(lhi_climb *climb, lhi_record *record)
{
    const lhi_holders *h = climb->h;
    if (climb->best != LHI_NONE)
        record->trail = trail_to(climb, climb->best, &record->steps, &record->step_count);
    record->claimant_count = 0;
    for (size_t i = 0; i < climb->owners.count && i < LHI_MOST_CLAIMANTS; i++) {
        size_t thing = climb->owners.data[i], count = 0;
        const lhi_step *steps = NULL;
        const char *trail = trail_to(climb, thing, &steps, &count);
        record->claimants[record->claimant_count++] =
            (lhi_claimant){lhi_climb_owner(climb, thing), h->grips[h->via[thing]].at, trail};
    }
    tell_routines(climb, record);
}
