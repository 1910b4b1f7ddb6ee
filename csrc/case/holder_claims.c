/* What leads to one MDL: the way up through the graph to the memory of drivers, and the words for it. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "case/holder_graph.h"
#include "case/keepers.h"
#include "nt/identify.h"
#include "nt/library.h"

#define MOST_STEPS 16u /* of a trail that is told */

typedef struct lhi_climb {
    lhi_holders *h;
    const lhi_packet *packet;
    lhi_claims *claims;
    lhi_vec way;     /* things reached, in order */
    lhi_vec packets; /* packets among them */
    lhi_vec owners;  /* drivers' memory among them */
    lhi_vec grips;   /* by which anything was reached, or could have been */
    lhi_vec idle;    /* and by which nothing was reached: what they have is from a use that is over */
    size_t best;     /* the thing that the trail is told to, LHI_NONE */
    unsigned rank;   /* of that: what claims most comes first */
    size_t start;    /* the record itself */
} lhi_climb;

/* ------------------------------------------------------------------ packets on the way */

static lh_status packet_driver(lhi_case *c, const lhi_driver *driver, size_t party, bool *all, lh_error *err)
{
    if (driver->absence != LH_PRESENT) {
        *all = false;
        return LH_OK;
    }
    size_t other = lhi_case_party(c, driver, err);
    if (other == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    *all = *all && (driver->is_kernel || c->parties[other].library || lhi_case_same_driver(c, other, party));
    return LH_OK;
}

/* Nobody has to do with the packet but this driver, and Windows' own. One that has the MDL itself must be a
 * driver's: out of the I/O manager's the MDL was taken, and the I/O manager locked. */
static lh_status is_of(lhi_case *c, uint64_t address, bool direct, size_t party, bool *out, lh_error *err)
{
    lhi_irp irp;
    bool all = true, any = false;
    lhi_irp_read(c->kernel, address, 0, &c->freed, &irp);
    *out = false;
    if (direct && irp.origin != LHI_ORIGIN_DRIVER)
        return LH_OK;
    for (unsigned i = 0; i < irp.slot_count; i++) {
        lhi_device device = {0};
        lhi_driver driver = {0};
        lh_status status = LH_OK;
        if (irp.slots[i].device) {
            lhi_device_driver(c->kernel, irp.slots[i].device, &device, &driver);
            any = true;
            status = packet_driver(c, &driver, party, &all, err);
        }
        if (status == LH_OK && irp.slots[i].completion) {
            lhi_driver_from_code(c->kernel, irp.slots[i].completion, &driver);
            status = packet_driver(c, &driver, party, &all, err);
        }
        if (status != LH_OK)
            return status;
    }
    *out = all && any;
    return LH_OK;
}

/* ------------------------------------------------------------------ the way up */

static void prefer(lhi_climb *climb, size_t thing, unsigned rank)
{
    if (rank > climb->rank) {
        climb->rank = rank;
        climb->best = thing;
    }
}

static void stranger(lhi_climb *climb, size_t thing, const char *words)
{
    if (!climb->claims->stranger)
        climb->claims->stranger = words;
    prefer(climb, thing, 4);
}

/* Whose objects of the framework lie on the way from a thing back to the MDL. */
typedef struct lhi_clients {
    size_t client; /* LHI_NONE: there are none, or nobody's alone */
    bool several, unknown;
} lhi_clients;

static lhi_clients clients_on_way(const lhi_climb *climb, size_t thing)
{
    const lhi_holders *h = climb->h;
    lhi_clients out = {.client = LHI_NONE};
    for (size_t at = thing; at != climb->start; at = h->grips[h->via[at]].held) {
        const lhi_site *site = &h->things[at].site;
        if (!site->what)
            continue;
        out.unknown = out.unknown || site->client == LHI_NONE;
        out.several = out.several || (out.client != LHI_NONE && site->client != LHI_NONE &&
                                      !lhi_case_same_driver(h->c, out.client, site->client));
        if (out.client == LHI_NONE)
            out.client = site->client;
    }
    if (out.several || out.unknown)
        out.client = LHI_NONE;
    return out;
}

/* Whose memory a thing is. An object of the framework is its client's, and what the framework itself keeps of
 * it, it keeps for that client. */
static size_t owner_of(const lhi_climb *climb, size_t thing)
{
    const lhi_case *c = climb->h->c;
    const lhi_site *site = &climb->h->things[thing].site;
    const size_t party = site->party;
    if (site->what)
        return site->client;
    if (party == LHI_NONE || strcmp(c->parties[party].driver.name, LHI_FRAMEWORK) != 0)
        return party;
    const size_t client = clients_on_way(climb, thing).client;
    return client == LHI_NONE ? party : client;
}

static void add_owner(lhi_climb *climb, size_t thing, bool direct)
{
    lhi_case *c = climb->h->c;
    lhi_claims *claims = climb->claims;
    const lhi_site *site = &climb->h->things[thing].site;
    const lhi_clients clients = clients_on_way(climb, thing);
    size_t party = owner_of(climb, thing);
    if (clients.unknown) {
        stranger(climb, thing,
                 "an object of the framework leads to it, and for which driver it was made is not known");
        return;
    }
    if (party == LHI_NONE) {
        stranger(climb, thing,
                 site->why ? site->why : "memory of a driver that can't be named keeps a pointer to it");
        return;
    }
    if (c->parties[party].driver.is_kernel) {
        /* nt has lists of everything: only what points to the MDL itself is a claim. */
        if (direct && claims->kernel == LHI_NONE)
            claims->kernel = party;
        prefer(climb, thing, direct ? 3 : 1);
        return;
    }
    if (c->parties[party].library) {
        if (claims->library == LHI_NONE)
            claims->library = party;
        prefer(climb, thing, 5);
        return;
    }
    lhi_answer can = lhi_case_can_lock(c, party);
    const bool locked_for =
        c->parties[party].bound || (site->served && lhi_case_serves(c, site->library, LHI_CLIENT_LOCKS));
    claims->framework = claims->framework || site->served || (can == LHI_UNKNOWN && locked_for);
    if (can == LHI_UNKNOWN && locked_for)
        can = LHI_YES;
    claims->several = claims->several || clients.several || /* another's object */
                      (clients.client != LHI_NONE && !lhi_case_same_driver(c, clients.client, party));
    size_t *place = can == LHI_YES ? &claims->can : can == LHI_UNKNOWN ? &claims->unknown : &claims->cannot;
    if (can != LHI_NO) {
        size_t other = claims->can != LHI_NONE ? claims->can : claims->unknown;
        claims->several = claims->several || (other != LHI_NONE && !lhi_case_same_driver(c, other, party));
    }
    if (*place == LHI_NONE)
        *place = party;
    prefer(climb, thing, can == LHI_YES ? 9 : can == LHI_UNKNOWN ? 8 : 7);
}

/* The first place of each driver. */
static bool note_owner(lhi_climb *climb, size_t thing)
{
    const lhi_holders *h = climb->h;
    size_t party = owner_of(climb, thing);
    if (party == LHI_NONE || climb->owners.count >= LHI_MOST_CLAIMANTS)
        return true;
    for (size_t i = 0; i < climb->owners.count; i++)
        if (lhi_case_same_driver(h->c, owner_of(climb, climb->owners.data[i]), party))
            return true;
    return lhi_vec_push(&climb->owners, thing);
}

static bool reach(lhi_climb *climb, size_t grip, bool direct)
{
    lhi_holders *h = climb->h;
    const size_t thing = h->grips[grip].holder;
    const lhi_site *site = &h->things[thing].site;
    h->via[thing] = grip;
    h->reached[thing] = h->answer;
    switch (site->kind) {
    case LHI_SITE_MODULE:
    case LHI_SITE_DEVICE:
    case LHI_SITE_EXTENSION:
    case LHI_SITE_QUEUED:
        add_owner(climb, thing, direct);
        return note_owner(climb, thing);
    case LHI_SITE_STACK:
        if (site->outside) {
            climb->claims->outside = site->outside;
            prefer(climb, thing, 6);
        } else {
            add_owner(climb, thing, direct);
        }
        return note_owner(climb, thing);
    case LHI_SITE_PACKET:
        prefer(climb, thing, 2);
        return lhi_vec_push(&climb->packets, thing);
    case LHI_SITE_NOWHERE:
        stranger(climb, thing, "memory of which nothing is known keeps a pointer to it");
        return true;
    case LHI_SITE_PAGES:
        /* In the pool's own slots of the address space everything that is allocated has a header, or an entry
         * in the table of big blocks. */
        if (!h->pool_slot[site->base >> 39 & 511]) {
            stranger(climb, thing, "memory whose bounds are not known keeps a pointer to it");
            return true;
        }
        climb->claims->dead = true;
        return true;
    case LHI_SITE_DEAD:
        climb->claims->dead = true;
        prefer(climb, thing, 1);
        return true;
    case LHI_SITE_BOOKS:
        return true;
    case LHI_SITE_MDL:
    case LHI_SITE_POOL:
    case LHI_SITE_LIST:
        climb->claims->unrooted = true;
        prefer(climb, thing, h->grips[grip].routine_of == LHI_NONE ? 2 : 3);
        return note_owner(climb, thing) && lhi_vec_push(&climb->way, thing);
    }
    return true;
}

/* One grip: what it leads to is reached, unless there is a reason against it. */
static bool take_grip(lhi_climb *climb, size_t index, bool direct)
{
    lhi_holders *h = climb->h;
    const lhi_grip *grip = &h->grips[index];
    if (h->reached[grip->holder] == h->answer ||
        (direct && climb->packet && lhi_case_in_request(climb->packet, grip->at)))
        return true;
    if (grip->log) {
        climb->claims->log = true;
        return true;
    }
    return reach(climb, index, direct && !grip->idle);
}

/* From the things of the way that were not looked at yet. */
static lh_status climb_on(lhi_climb *climb, size_t *at, lh_error *err)
{
    const lhi_holders *h = climb->h;
    for (; *at < climb->way.count; ++*at) {
        const size_t thing = climb->way.data[*at];
        for (size_t g = h->things[thing].grips; g != LHI_NONE; g = h->grips[g].next) {
            const lhi_grip *grip = &h->grips[g];
            if (grip->holder == climb->start)
                continue;
            if (!grip->log && !lhi_vec_push(&climb->grips, g))
                return lhi_fail_memory(err);
            if (grip->idle ? !lhi_vec_push(&climb->idle, g) : !take_grip(climb, g, thing == climb->start))
                return lhi_fail_memory(err);
        }
    }
    return LH_OK;
}

/* What leads to it only over work items that are not queued. It can speak against whoever else has it; for
 * itself it proves nothing. */
static lh_status climb_idle(lhi_climb *climb, size_t *at, lh_error *err)
{
    lhi_claims *claims = climb->claims;
    const lhi_claims before = *claims;
    for (size_t i = 0; i < climb->idle.count; i++) { /* it grows while it is gone through */
        const size_t grip = climb->idle.data[i];
        lh_status status = take_grip(climb, grip, climb->h->grips[grip].held == climb->start)
                               ? climb_on(climb, at, err)
                               : lhi_fail_memory(err);
        if (status != LH_OK)
            return status;
    }
    if (before.can != LHI_NONE || before.unknown != LHI_NONE)
        return LH_OK;
    claims->idle = claims->can != LHI_NONE ? claims->can : claims->unknown;
    claims->can = claims->unknown = LHI_NONE;
    return LH_OK;
}

static lh_status climb_from(lhi_climb *climb, size_t start, lh_error *err)
{
    size_t at = 0;
    climb->h->answer++;
    climb->start = start;
    if (!lhi_vec_push(&climb->way, start))
        return lhi_fail_memory(err);
    lh_status status = climb_on(climb, &at, err);
    return status == LH_OK ? climb_idle(climb, &at, err) : status;
}

/* The driver that would have the MDL. */
static size_t claimer(const lhi_climb *climb)
{
    const lhi_claims *claims = climb->claims;
    return climb->packet                 ? climb->packet->maker
           : claims->can != LHI_NONE     ? claims->can
           : claims->unknown != LHI_NONE ? claims->unknown
           : claims->idle != LHI_NONE    ? claims->idle
                                         : claims->cannot;
}

/* Nothing on the way says that it is another driver's. */
static lh_status ask_beside(lhi_climb *climb, lh_error *err)
{
    const size_t party = claimer(climb);
    lh_status status = LH_OK;
    for (size_t i = 0;
         status == LH_OK && party != LHI_NONE && !climb->claims->stranger && i < climb->grips.count; i++) {
        const char *why = NULL;
        status = lhi_holder_beside(climb->h, climb->grips.data[i], party, &why, err);
        if (status == LH_OK && why)
            stranger(climb, climb->h->grips[climb->grips.data[i]].holder, why);
    }
    return status;
}

/* Packets that carry it are no strangers where the only driver that claims it is the only one in them. */
static lh_status ask_packets(lhi_climb *climb, size_t start, lh_error *err)
{
    const size_t party = claimer(climb);
    for (size_t i = 0; i < climb->packets.count; i++) {
        const lhi_holders *h = climb->h;
        const lhi_site *site = &h->things[climb->packets.data[i]].site;
        bool own = false, direct = h->grips[h->via[climb->packets.data[i]]].held == start;
        lh_status status = party == LHI_NONE ? LH_OK : is_of(h->c, site->object, direct, party, &own, err);
        if (status != LH_OK)
            return status;
        if (!own)
            stranger(climb, climb->packets.data[i], "a packet that other drivers have to do with carries it");
    }
    return LH_OK;
}

/* ------------------------------------------------------------------ words */

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
static const char *trail_to(lhi_climb *climb, size_t start, size_t thing, const lhi_step **out, size_t *count)
{
    lhi_holders *h = climb->h;
    lhi_arena *arena = &h->c->arena;
    size_t things[MOST_STEPS] = {0};
    *count = 0;
    for (size_t at = thing; at != start && *count < MOST_STEPS; at = h->grips[h->via[at]].held)
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
    size_t party = owner_of(climb, thing);
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
static void tell_routines(lhi_climb *climb, size_t start, lhi_record *record)
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
        const char *trail = trail_to(climb, start, grip->holder, &steps, &count);
        record->claimants[record->claimant_count++] = (lhi_claimant){grip->routine_of, grip->at, trail};
    }
}

static void tell(lhi_climb *climb, size_t start, lhi_record *record)
{
    const lhi_holders *h = climb->h;
    if (climb->best != LHI_NONE)
        record->trail = trail_to(climb, start, climb->best, &record->steps, &record->step_count);
    record->claimant_count = 0;
    for (size_t i = 0; i < climb->owners.count; i++) {
        size_t thing = climb->owners.data[i], count = 0;
        const lhi_step *steps = NULL;
        const char *trail = trail_to(climb, start, thing, &steps, &count);
        record->claimants[record->claimant_count++] =
            (lhi_claimant){owner_of(climb, thing), h->grips[h->via[thing]].at, trail};
    }
    tell_routines(climb, start, record);
}

lh_status lhi_case_claims(lhi_case *c, size_t record, const lhi_packet *packet, lhi_claims *out,
                          lh_error *err)
{
    lhi_holders *h = c->holders;
    lhi_climb climb = {.h = h, .packet = packet, .claims = out, .best = LHI_NONE};
    size_t start = lhi_map_get(&h->of_record, record);
    *out = (lhi_claims){.can = LHI_NONE,
                        .unknown = LHI_NONE,
                        .cannot = LHI_NONE,
                        .library = LHI_NONE,
                        .kernel = LHI_NONE,
                        .idle = LHI_NONE,
                        .truncated = h->truncated};
    if (start == SIZE_MAX)
        return LH_OK; /* a limit was met before it was entered */
    if (!h->via)
        h->via = lhi_calloc(h->thing_count + 1, sizeof *h->via);
    if (!h->reached)
        h->reached = lhi_calloc(h->thing_count + 1, sizeof *h->reached);
    lh_status status = h->via && h->reached ? climb_from(&climb, start, err) : lhi_fail_memory(err);
    if (status == LH_OK)
        status = ask_packets(&climb, start, err);
    if (status == LH_OK)
        status = ask_beside(&climb, err);
    if (status == LH_OK)
        tell(&climb, start, &c->records[record]);
    lhi_vec_free(&climb.way);
    lhi_vec_free(&climb.packets);
    lhi_vec_free(&climb.owners);
    lhi_vec_free(&climb.grips);
    lhi_vec_free(&climb.idle);
    return status;
}
