/* The search for holders: one pass over memory a level, outward from the MDLs that no packet explains.
 *
 * Needles of a level are the MDLs, their mapped addresses and the pool blocks that were found to point to
 * something at the level before; a hit is a place that holds what the needle stands for. Memory that is
 * somebody's ends the way; a block that may belong to anybody is asked for at the next level. */
#include "case/holders.h"

#include <string.h>

#include "base/alloc.h"
#include "case/holder_graph.h"
#include "case/keepers.h"
#include "case/pass.h"
#include "nt/callback.h"
#include "nt/read.h"

#define MOST_THINGS 65536u
#define MOST_GRIPS  262144u
#define MOST_QUEUED (1u << 20) /* entries of work queues in one case */
#define MOST_BACK   1024u      /* pages in front of one of a big block that may be its first: 4 MiB */
#define ROOM_STARTS 1048576u   /* of which many are the same */
#define MOST_BLOCKS 4096u      /* of the table of big blocks that matter here */
#define MOST_STARTS 65536u     /* pages asked for as first ones, of all blocks of a level */

/* What a needle stands for beside a thing: a page that may be a block's first, or the header of a block. */
#define FIRST_PAGE   LHI_NONE
#define BLOCK_HEADER (LHI_NONE - 1)

typedef struct lhi_level {
    lhi_holders *h;
    lhi_vec values, value_things; /* needles, and the thing that each stands for */
    lh_range *ranges;
    size_t range_count, range_room;
    lhi_vec range_things;
    lhi_vec starts;        /* pages that may be the first of a big block */
    lhi_big_block *blocks; /* that begin with one of them, by the kernel's table */
    size_t block_count, block_room;
    lhi_vec bodies; /* of blocks of the kinds of which singly linked lists are made */
} lhi_level;

/* ------------------------------------------------------------------ the graph */

size_t lhi_holder_thing(lhi_holders *h, const lhi_site *site, lh_error *err)
{
    size_t known = lhi_map_get(&h->places, site->base);
    if (known != SIZE_MAX)
        return known;
    if (h->thing_count >= MOST_THINGS) {
        h->truncated = true;
        return LHI_NONE;
    }
    if (!lhi_grow(&h->things, h->thing_count, &h->thing_room, sizeof *h->things) ||
        !lhi_map_put(&h->places, site->base, h->thing_count)) {
        lhi_fail_memory(err);
        return LHI_NONE;
    }
    h->things[h->thing_count] = (lhi_thing){.site = *site, .record = LHI_NONE, .grips = LHI_NONE};
    return h->thing_count++;
}

lh_status lhi_holder_grip(lhi_holders *h, size_t holder, size_t held, uint64_t at, const char *how,
                          lh_error *err)
{
    if (holder == held)
        return LH_OK;
    if (h->grip_count >= MOST_GRIPS) {
        h->truncated = true;
        return LH_OK;
    }
    if (!lhi_grow(&h->grips, h->grip_count, &h->grip_room, sizeof *h->grips))
        return lhi_fail_memory(err);
    h->grips[h->grip_count] = (lhi_grip){.holder = holder,
                                         .held = held,
                                         .next = h->things[held].grips,
                                         .at = at,
                                         .how = how,
                                         .routine_of = LHI_NONE};
    h->things[held].grips = h->grip_count++;
    return LH_OK;
}

/* ------------------------------------------------------------------ the start: the MDLs themselves */

/* A record lies in memory of its own, or in a larger structure: then who has that has the MDL. */
static lh_status enter_record(lhi_holders *h, size_t record, lh_error *err)
{
    const lhi_record *r = &h->c->records[record];
    const lhi_mdl *mdl = &r->mdl;
    uint64_t length = LHI_MDL_HEADER + 8 * mdl->pages;
    lhi_site inside = {0};
    lh_status status = lhi_holder_site(h, mdl->address, &inside, err);
    if (status != LH_OK)
        return status;
    bool own = (inside.kind == LHI_SITE_POOL && inside.base == mdl->address) ||
               (inside.kind == LHI_SITE_PAGES && inside.base == mdl->address);
    if (own && inside.kind == LHI_SITE_POOL && inside.size > length)
        length = inside.size;
    lhi_site site = {.kind = LHI_SITE_MDL, .base = mdl->address, .size = length, .party = LHI_NONE};
    if (!own) /* the place itself is a thing too */
        site.base = mdl->address | 2;
    size_t thing = lhi_holder_thing(h, &site, err);
    if (thing == LHI_NONE)
        return h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    h->things[thing].record = record;
    if (!lhi_map_put(&h->of_record, record, thing))
        return lhi_fail_memory(err);
    if (own || inside.kind == LHI_SITE_DEAD)
        return LH_OK;
    size_t container = lhi_holder_thing(h, &inside, err);
    if (container == LHI_NONE)
        return h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    return lhi_holder_grip(h, container, thing, mdl->address, "has the MDL inside", err);
}

/* ------------------------------------------------------------------ needles */

static bool add_value(lhi_level *level, uint64_t value, size_t thing)
{
    return lhi_vec_push(&level->values, value) && lhi_vec_push(&level->value_things, thing);
}

static bool add_range(lhi_level *level, uint64_t begin, uint64_t size, size_t thing)
{
    if (size == 0 || size > UINT64_MAX - begin)
        return true;
    if (!lhi_grow(&level->ranges, level->range_count, &level->range_room, sizeof *level->ranges))
        return false;
    level->ranges[level->range_count++] = (lh_range){begin, begin + size};
    return lhi_vec_push(&level->range_things, thing);
}

static bool add_record(lhi_level *level, size_t thing)
{
    const lhi_record *r = &level->h->c->records[level->h->things[thing].record];
    const lhi_site *site = &level->h->things[thing].site;
    const lhi_mdl *mdl = &r->mdl;
    uint64_t physical = 0;
    bool own = site->base == mdl->address;
    if (own && !add_range(level, site->base, site->size, thing))
        return false;
    for (size_t i = 0; i < r->addresses.count; i++)
        if ((!own || r->addresses.data[i] != mdl->address) && !add_value(level, r->addresses.data[i], thing))
            return false;
    /* Who keeps the mapped address keeps the MDL; the address is believed when it maps the MDL's frame. */
    if (!(mdl->flags & LHI_MDL_MAPPED_TO_SYSTEM_VA) || !lhi_is_kernel(mdl->mapped_va) ||
        lhi_space_translate(&level->h->c->kernel->space, mdl->mapped_va, &physical) != LH_PRESENT ||
        mdl->first_frame == 0 || physical >> 12 != mdl->first_frame)
        return true;
    return add_range(level, mdl->mapped_va & ~0xfffull, mdl->pages << 12, thing);
}

/* A page of a big block: which one, the kernel's table of such blocks tells. Its entry names the first page.
 */
static bool add_page(lhi_level *level, size_t thing)
{
    uint64_t page = level->h->things[thing].site.base;
    if (level->starts.count >= ROOM_STARTS)
        lhi_vec_sort_unique(&level->starts); /* neighbours have most of them in common */
    for (unsigned i = 0; i < MOST_BACK && lhi_is_kernel(page) && level->starts.count < ROOM_STARTS;
         i++, page -= LHI_PAGE_SIZE)
        if (!lhi_vec_push(&level->starts, page))
            return false;
    return true;
}

static bool add_starts(lhi_level *level)
{
    lhi_vec_sort_unique(&level->starts);
    if (level->starts.count > MOST_STARTS || level->starts.count >= ROOM_STARTS)
        level->h->truncated = true;
    for (size_t i = 0; i < level->starts.count && i < MOST_STARTS; i++)
        if (!add_value(level, level->starts.data[i], FIRST_PAGE))
            return false;
    return true;
}

/* Lists of blocks of a kind. */
static bool add_kinds(lhi_level *level)
{
    for (size_t i = 0; i < level->h->kind_count; i++) {
        lh_range tags = {0};
        if (lhi_holder_kind_needle(level->h, i, &tags) &&
            !add_range(level, tags.begin, tags.end - tags.begin, BLOCK_HEADER))
            return false;
    }
    return true;
}

/* A block, and if it is an object of the framework its handles. */
static bool add_block(lhi_level *level, const lhi_site *site, size_t thing)
{
    const lh_range handles = lhi_holder_handles(site);
    return add_range(level, site->base, site->size, thing) &&
           (!site->what || add_range(level, handles.begin, handles.end - handles.begin, thing));
}

static bool add_needles(lhi_level *level)
{
    lhi_holders *h = level->h;
    for (size_t i = 0; i < h->thing_count; i++) {
        lhi_thing *thing = &h->things[i];
        bool enough = true;
        if (thing->searched)
            continue;
        thing->searched = true;
        if (thing->site.kind == LHI_SITE_MDL)
            enough = add_record(level, i);
        else if (thing->site.kind == LHI_SITE_POOL)
            enough = add_block(level, &thing->site, i);
        else if (thing->site.kind == LHI_SITE_PAGES)
            enough = add_page(level, i);
        for (size_t k = 0; enough && k < thing->members.count; k++)
            enough = add_range(level, thing->members.data[k], thing->site.size, i);
        if (!enough)
            return false;
    }
    return add_starts(level) && add_kinds(level);
}

/* ------------------------------------------------------------------ hits */

static bool within(const lhi_site *site, uint64_t va)
{
    uint64_t base = site->kind == LHI_SITE_MDL ? site->base & ~7ull : site->base;
    return va >= base && va - base < site->size;
}

/* An entry of the kernel's table of big blocks, by itself and by a neighbour, which is another or empty. The
 * first and the last have one only. */
static bool is_big_entry(const lh_kernel *kernel, uint64_t va, uint64_t value, lhi_big_block *big)
{
    const uint64_t size = lhi_big_entry_size(kernel);
    if (!lhi_big_entry(kernel, va, big) || big->va != (value & ~1ull))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t neighbour = i ? va + size : va - size, start = 0;
        lhi_big_block ignored = {0};
        if (lhi_space_u64(&kernel->space, neighbour, &start) != LH_PRESENT || start <= 1 ||
            lhi_big_entry(kernel, neighbour, &ignored))
            return true;
    }
    return false;
}

/* A link between two entries of one list: the list itself was entered. */
static bool is_link(const lhi_holders *h, uint64_t va, uint64_t value)
{
    size_t list = lhi_map_get(&h->entries, value);
    return list != SIZE_MAX &&
           (lhi_map_get(&h->entries, va) == list || lhi_map_get(&h->entries, va - 8) == list);
}

static bool is_free_list(const lhi_holders *h, const lhi_site *held, uint64_t va)
{
    return (held->kind == LHI_SITE_POOL || held->kind == LHI_SITE_LIST) &&
           lhi_holder_is_lookaside(h->c->kernel, va, held->tag, held->size);
}

/* A known structure's field that names the MDL at that place; NULL. */
static const char *field_of(const lhi_holders *h, const lhi_thing *thing, const lhi_site *site, uint64_t va,
                            uint64_t value)
{
    if (thing->record == LHI_NONE || value != h->c->records[thing->record].mdl.address)
        return NULL;
    return lhi_holder_typed(h->c->kernel, site, va, &h->c->records[thing->record].mdl);
}

/* How a place refers to a thing. */
static const char *words_of_hit(const lhi_thing *thing, uint64_t value, const char *field)
{
    if (thing->record == LHI_NONE)
        return lhi_is_kernel(value) ? "points to it" : "has its handle";
    return field                         ? field
           : within(&thing->site, value) ? "points to the MDL"
                                         : "points to the address that the pages are mapped at";
}

/* An MDL that is asked for itself lies at that address. */
static bool is_of_record(const lhi_holders *h, uint64_t value)
{
    const size_t record = lhi_map_get(&h->c->charged_at, value);
    return record != SIZE_MAX && lhi_map_get(&h->of_record, record) != SIZE_MAX;
}

static lh_status take_hit(lhi_level *level, size_t held, uint64_t va, uint64_t value, lh_error *err)
{
    lhi_holders *h = level->h;
    const lhi_thing *thing = &h->things[held];
    lhi_site site = {0};
    if (thing->site.kind != LHI_SITE_LIST && within(&thing->site, va))
        return lhi_holder_own_callback(h, held, va, err); /* else it is what it says of itself */
    if (thing->record == LHI_NONE && is_of_record(h, value))
        return LH_OK; /* who points to an MDL in a structure has the MDL, by its own needle */
    lhi_big_block ignored = {0};
    if (is_link(h, va, value) || lhi_is_queue_link(h->c->kernel, va, value) ||
        (value % LHI_PAGE_SIZE == 0 && is_big_entry(h->c->kernel, va, value, &ignored)))
        return LH_OK;
    lh_status status = lhi_holder_site(h, va, &site, err);
    if (status == LH_OK && site.kind == LHI_SITE_POOL &&
        lhi_vec_find(&h->things[held].members, site.base) != SIZE_MAX)
        return LH_OK; /* from one block of a list to another */
    if (status == LH_OK)
        status = lhi_holder_note_link(h, held, &site, va, value, err);
    if (is_free_list(h, &h->things[held].site, va))
        site = (lhi_site){.kind = LHI_SITE_DEAD, .base = va, .why = "a lookaside list of freed blocks"};
    else if (h->things[held].site.kind != LHI_SITE_MDL && lhi_holder_is_stack_of_blocks(h->c->kernel, va))
        site = (lhi_site){.kind = LHI_SITE_NOWHERE,
                          .base = va,
                          .party = LHI_NONE,
                          .why = "what leads to it lies on an interlocked list, of work or of free blocks"};
    size_t holder = status == LH_OK ? lhi_holder_thing(h, &site, err) : LHI_NONE;
    if (status != LH_OK || holder == LHI_NONE)
        return status != LH_OK || h->truncated ? status : LH_ERR_NO_MEMORY;
    const char *field = field_of(h, &h->things[held], &site, va, value);
    const char *how = words_of_hit(&h->things[held], value, field);
    const bool whole = h->things[held].record != LHI_NONE;
    const size_t before = h->grip_count;
    status = lhi_holder_grip(h, holder, held, va, how, err);
    if (status == LH_OK && h->grip_count > before) {
        h->grips[before].field = field;
        h->grips[before].log =
            whole && lhi_holder_is_log(h, &site, va, h->c->records[h->things[held].record].process);
        status = lhi_holder_callback(h, before, err);
    }
    return status;
}

/* Which block a page is of, by those that were found. */
static lh_status settle_page(const lhi_level *level, lhi_thing *thing, lh_error *err)
{
    for (size_t i = 0; i < level->block_count; i++) {
        const lhi_big_block *big = &level->blocks[i];
        if (thing->site.base < big->va || thing->site.base - big->va >= big->size)
            continue;
        thing->site.kind = big->free ? LHI_SITE_DEAD : LHI_SITE_POOL;
        thing->site.why = "a free block of pages";
        thing->site.base = big->va;
        thing->site.size = big->size;
        memcpy(thing->site.tag, big->tag, sizeof thing->site.tag);
        thing->searched = big->free; /* who points to the block is asked next */
        return big->free ? LH_OK : lhi_holder_framework(level->h, &thing->site, err);
    }
    return LH_OK;
}

static lh_status settle_pages(const lhi_level *level, lh_error *err)
{
    lhi_holders *h = level->h;
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < h->thing_count && level->block_count; i++)
        if (h->things[i].site.kind == LHI_SITE_PAGES)
            status = settle_page(level, &h->things[i], err);
    return status;
}

/* What names a page that may be the first of a block: an entry of the kernel's table, or nothing of interest.
 */
static bool take_entry(lhi_level *level, uint64_t va, uint64_t value)
{
    lhi_big_block big = {0};
    if (!is_big_entry(level->h->c->kernel, va, value, &big))
        return true;
    if (level->block_count >= MOST_BLOCKS) {
        level->h->truncated = true;
        return true;
    }
    if (!lhi_grow(&level->blocks, level->block_count, &level->block_room, sizeof *level->blocks))
        return false;
    level->blocks[level->block_count++] = big;
    return true;
}

static lh_status read_hits(lhi_level *level, const lhi_pass *pass, lh_error *err)
{
    lhi_case *c = level->h->c;
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < pass->hits.count; i++) {
        if (i % 256 == 0 && (status = lhi_case_poll(c, err)) != LH_OK)
            break;
        size_t needle = pass->hits.needle[i], first = 0;
        bool value = needle < level->values.count;
        size_t held =
            value ? level->value_things.data[needle] : level->range_things.data[needle - level->values.count];
        size_t rows = lhi_reverse_find(&pass->map, pass->hits.physical[i] >> 12, &first);
        c->coverage.hits_unplaced += rows == 0 && pass->map.tables_missing != 0;
        if (rows == 0)
            continue;
        uint64_t va = pass->map.va[first] + (pass->hits.physical[i] & 0xfff);
        const bool enough = held == BLOCK_HEADER ? lhi_holder_kind_block(level->h, va, &level->bodies)
                            : held == FIRST_PAGE ? take_entry(level, va, pass->hits.value[i])
                                                 : true;
        if (!enough)
            status = lhi_fail_memory(err);
        else if (held != BLOCK_HEADER && held != FIRST_PAGE)
            status = take_hit(level, held, va, pass->hits.value[i], err);
    }
    if (status == LH_OK)
        status = settle_pages(level, err);
    return status == LH_OK ? lhi_holder_chains(level->h, &level->bodies, err) : status;
}

static void free_level(lhi_level *level)
{
    lhi_vec_free(&level->values);
    lhi_vec_free(&level->value_things);
    lhi_vec_free(&level->range_things);
    lhi_vec_free(&level->starts);
    lhi_free(level->blocks);
    lhi_vec_free(&level->bodies);
    lhi_free(level->ranges);
}

static lh_status follow_lists(lhi_holders *h, lh_error *err)
{
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < h->thing_count; i++) {
        if (h->things[i].site.kind != LHI_SITE_POOL || h->things[i].listed)
            continue;
        h->things[i].listed = true;
        status = lhi_holder_lists(h, i, err);
    }
    return status;
}

/* Is there anything that was not asked for yet? */
static bool is_open(const lhi_holders *h)
{
    for (size_t i = 0; i < h->thing_count; i++) {
        const lhi_thing *thing = &h->things[i];
        if (!thing->searched && (thing->site.kind == LHI_SITE_MDL || thing->site.kind == LHI_SITE_POOL ||
                                 thing->site.kind == LHI_SITE_PAGES || thing->members.count))
            return true;
    }
    return h->kind_count != 0;
}

static lh_status search_level(lhi_holders *h, lh_error *err)
{
    lhi_level level = {.h = h};
    lhi_pass pass = {0};
    lh_status status = LH_OK;
    if (!add_needles(&level))
        status = lhi_fail_memory(err);
    else if (level.values.count + level.range_count > 0)
        status = lhi_case_range_pass(h->c, level.values.data, level.values.count, level.ranges,
                                     level.range_count, &pass, err);
    if (status == LH_OK)
        status = read_hits(&level, &pass, err);
    lhi_case_pass_free(&pass);
    free_level(&level);
    return status == LH_OK ? follow_lists(h, err) : status;
}

/* Regions of the kernel have slots of their own: those of stacks, and those of objects that lie in pool. */
static void mark_slots(lhi_holders *h)
{
    const lhi_case *c = h->c;
    const lhi_modules *modules = &c->kernel->modules;
    for (size_t i = 0; i < c->stacks.count; i++)
        h->stack_slot[c->stacks.items[i].limit >> 39 & 511] = true;
    for (size_t i = 0; i < c->owned_count; i++)
        h->pool_slot[c->owned[i].begin >> 39 & 511] = true;
    for (size_t i = 0; i < modules->loaded; i++)
        h->pool_slot[modules->items[i].entry >> 39 & 511] = true;
    for (size_t i = 0; i < 512; i++)
        h->pool_slot[i] = h->pool_slot[i] && !h->stack_slot[i];
}

lh_status lhi_case_find_holders(lhi_case *c, lh_error *err)
{
    lhi_holders *h = lhi_calloc(1, sizeof *h);
    if (!h)
        return lhi_fail_memory(err);
    c->holders = h;
    h->c = c;
    h->nobody = SIZE_MAX - 1;
    h->queued = MOST_QUEUED;
    c->searched = false;
    h->tables = lhi_self_map_find(c->kernel);
    lh_status status = lhi_big_blocks_read(c->kernel, &h->big, err);
    if (status == LH_OK)
        status = lhi_case_know_stacks(c, err);
    if (status == LH_OK && !c->owners_known)
        status = lhi_case_know_owners(c, err);
    mark_slots(h);
    for (size_t i = 0; status == LH_OK && i < c->record_count; i++)
        if (c->records[i].open)
            status = enter_record(h, i, err);
    if (status == LH_OK)
        status = follow_lists(h, err);
    for (uint32_t level = 0; status == LH_OK && is_open(h); level++) {
        if (level >= c->options.limits.levels) {
            h->truncated = true;
            break;
        }
        status = search_level(h, err);
    }
    if (status == LH_OK && !h->truncated)
        status = lhi_case_passed_on(c, err);
    c->searched = true;
    if (h->truncated)
        lhi_case_limit(c, "levels");
    if (status == LH_OK)
        status = lhi_case_cover_holders(c, err);
    return status;
}

lh_status lhi_case_find_holders_again(lhi_case *c, lh_error *err)
{
    lhi_holders_free(c->holders);
    c->holders = NULL;
    c->holders_missing = 0;
    return lhi_case_find_holders(c, err);
}

void lhi_holders_free(lhi_holders *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->thing_count; i++)
        lhi_vec_free(&h->things[i].members);
    lhi_free(h->via);
    lhi_free(h->reached);
    lhi_free(h->led);
    lhi_free(h->things);
    lhi_free(h->grips);
    lhi_map_free(&h->places);
    lhi_map_free(&h->of_record);
    lhi_map_free(&h->entries);
    lhi_big_blocks_free(&h->big);
    lhi_call_stack_free(&h->walk);
    lhi_map_free(&h->clients);
    lhi_holder_kinds_free(h);
    lhi_free(h);
}
