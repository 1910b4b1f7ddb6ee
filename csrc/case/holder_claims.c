/* What leads to one MDL: the way up through the graph to the memory of drivers. */
#include <string.h>

#include "base/alloc.h"
#include "case/holder_climb.h"
#include "case/keepers.h"
#include "nt/identify.h"
#include "nt/library.h"

#define MOST_OWNERS 64u

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

/* An object of the framework is its client's, and what the framework itself keeps of it, it keeps for that
 * client. */
size_t lhi_climb_owner(const lhi_climb *climb, size_t thing)
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

/* A word that nothing shows to be in use makes nobody an owner; who could have locked may be one. */
static void add_loose(lhi_climb *climb, size_t thing, size_t party, lhi_answer can)
{
    lhi_claims *claims = climb->claims;
    prefer(climb, thing, 2);
    if (can == LHI_NO)
        return;
    claims->loose_several =
        claims->loose_several ||
        (claims->loose != LHI_NONE && !lhi_case_same_driver(climb->h->c, claims->loose, party));
    if (claims->loose == LHI_NONE)
        claims->loose = party;
}

static void add_owner(lhi_climb *climb, size_t thing, bool direct)
{
    lhi_case *c = climb->h->c;
    lhi_claims *claims = climb->claims;
    const lhi_site *site = &climb->h->things[thing].site;
    const lhi_clients clients = clients_on_way(climb, thing);
    size_t party = lhi_climb_owner(climb, thing);
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
        direct = direct && !site->loose;
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
    if (!site->loose)
        claims->framework = claims->framework || site->served || (can == LHI_UNKNOWN && locked_for);
    if (can == LHI_UNKNOWN && locked_for)
        can = LHI_YES;
    if (site->loose) {
        add_loose(climb, thing, party, can);
        return;
    }
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

/* The first place of each driver, of those that show something. */
static bool note_owner(lhi_climb *climb, size_t thing)
{
    const lhi_holders *h = climb->h;
    size_t party = lhi_climb_owner(climb, thing);
    if (party == LHI_NONE || climb->owners.count >= MOST_OWNERS)
        return true;
    for (size_t i = 0; i < climb->owners.count; i++) {
        if (!lhi_case_same_driver(h->c, lhi_climb_owner(climb, climb->owners.data[i]), party))
            continue;
        if (h->things[climb->owners.data[i]].site.loose)
            climb->owners.data[i] = thing;
        return true;
    }
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
        stranger(climb, thing,
                 site->why ? site->why : "memory of which nothing is known keeps a pointer to it");
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

static const lhi_claims no_claims = {.can = LHI_NONE,
                                     .unknown = LHI_NONE,
                                     .cannot = LHI_NONE,
                                     .library = LHI_NONE,
                                     .kernel = LHI_NONE,
                                     .idle = LHI_NONE,
                                     .loose = LHI_NONE};

/* Everything that leads to a record. LHI_NONE in `start`: a limit was met before it was entered. */
static lh_status climb_record(lhi_climb *climb, size_t record, lh_error *err)
{
    lhi_holders *h = climb->h;
    const size_t start = lhi_map_get(&h->of_record, record);
    climb->start = start == SIZE_MAX ? LHI_NONE : start;
    if (climb->start == LHI_NONE)
        return LH_OK;
    if (!h->via)
        h->via = lhi_calloc(h->thing_count + 1, sizeof *h->via);
    if (!h->reached)
        h->reached = lhi_calloc(h->thing_count + 1, sizeof *h->reached);
    if (!h->led)
        h->led = lhi_calloc(h->thing_count + 1, sizeof *h->led);
    return h->via && h->reached && h->led ? climb_from(climb, start, err) : lhi_fail_memory(err);
}

static void free_climb(lhi_climb *climb)
{
    lhi_vec_free(&climb->way);
    lhi_vec_free(&climb->packets);
    lhi_vec_free(&climb->owners);
    lhi_vec_free(&climb->grips);
    lhi_vec_free(&climb->idle);
}

lh_status lhi_case_claims(lhi_case *c, size_t record, const lhi_packet *packet, lhi_claims *out,
                          lh_error *err)
{
    lhi_climb climb = {.h = c->holders, .packet = packet, .asked = LHI_NONE, .claims = out, .best = LHI_NONE};
    *out = no_claims;
    out->truncated = c->holders->truncated;
    lh_status status = climb_record(&climb, record, err);
    const bool entered = climb.start != LHI_NONE;
    if (status == LH_OK && entered)
        status = ask_packets(&climb, climb.start, err);
    const size_t other = out->can != LHI_NONE ? out->can : out->unknown;
    const size_t any = other != LHI_NONE ? other : out->idle;
    out->several = out->several || (any != LHI_NONE && out->loose != LHI_NONE &&
                                    (out->loose_several || !lhi_case_same_driver(c, any, out->loose)));
    if (status == LH_OK && entered)
        status = ask_beside(&climb, err);
    if (status == LH_OK && entered && other != LHI_NONE)
        status = lhi_climb_weigh(&climb, record, other, err);
    if (status == LH_OK && entered)
        lhi_climb_tell(&climb, &c->records[record]);
    free_climb(&climb);
    return status;
}

/* ------------------------------------------------------------------ asked about one driver */

/* Is the way to this driver's memory its own all along? What merely keeps another's context has not got it.
 */
static lh_status is_own_way(lhi_climb *climb, size_t thing, bool *own, lh_error *err)
{
    lhi_holders *h = climb->h;
    lh_status status = LH_OK;
    /* Nothing leads to an object of the framework itself, or shows that a word is in use. */
    *own = h->things[thing].site.kind != LHI_SITE_POOL && !h->things[thing].site.loose;
    for (size_t at = thing; status == LH_OK && *own && at != climb->start; at = h->grips[h->via[at]].held) {
        const char *why = NULL;
        status = lhi_holder_beside(h, h->via[at], climb->asked, &why, err);
        *own = why == NULL && !h->grips[h->via[at]].idle;
    }
    return status;
}

static lh_status take_keeper(lhi_climb *climb, size_t thing, lhi_keeping *out, lh_error *err)
{
    lhi_case *c = climb->h->c;
    const size_t party = lhi_climb_owner(climb, thing);
    bool own = false;
    if (c->parties[party].driver.is_kernel || c->parties[party].library)
        return LH_OK;
    if (lhi_case_same_driver(c, party, climb->asked)) {
        lh_status status = is_own_way(climb, thing, &own, err);
        out->own = out->own || own;
        return status;
    }
    size_t *place = lhi_case_may_unlock(c, party) == LHI_NO ? &out->unable : &out->other;
    if (*place == LHI_NONE)
        *place = party;
    return LH_OK;
}

lh_status lhi_case_keeping(lhi_case *c, size_t record, size_t party, lhi_keeping *out, lh_error *err)
{
    lhi_claims claims = no_claims;
    lhi_climb climb = {.h = c->holders, .asked = party, .claims = &claims, .best = LHI_NONE};
    *out = (lhi_keeping){.other = LHI_NONE, .unable = LHI_NONE, .truncated = true};
    if (!c->holders)
        return LH_OK;
    lh_status status = climb_record(&climb, record, err);
    out->truncated = c->holders->truncated || climb.start == LHI_NONE;
    for (size_t i = 0; status == LH_OK && i < climb.owners.count; i++)
        status = take_keeper(&climb, climb.owners.data[i], out, err);
    out->stranger = claims.stranger  ? claims.stranger
                    : claims.outside ? "code outside any module works with it as well"
                                     : NULL;
    if (status == LH_OK && climb.start != LHI_NONE)
        lhi_climb_tell(&climb, &c->records[record]);
    free_climb(&climb);
    return status;
}
