/* Reads one image function by function: sites, and where there are some, the ways through the function. */
#include "code/profile.h"

#include "base/alloc.h"
#include "base/error.h"
#include "code/helpers.h"
#include "dump/header.h"

#define MOST_BYTES (64u << 20) /* of code in one image; nt has about 6 MiB */

static void note_gap(lhi_profile *out, lh_absence absence, uint64_t at)
{
    if (out->gap == LH_PRESENT) {
        out->gap = absence;
        out->gap_at = at;
    }
}

static bool add_site(lhi_profile *out, const lhi_site *site)
{
    out->counts[site->routine->role]++;
    if (out->site_count == LHI_PROFILE_SITES) {
        out->sites_left_out++;
        return true;
    }
    if (!lhi_grow(&out->sites, out->site_count, &out->site_room, sizeof *out->sites))
        return false;
    out->sites[out->site_count++] = *site;
    return true;
}

static bool add_findings(lhi_profile *out, const lhi_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        if (out->finding_count == LHI_PROFILE_FINDINGS) {
            out->findings_left_out++;
            continue;
        }
        if (!lhi_grow(&out->findings, out->finding_count, &out->finding_room, sizeof *out->findings))
            return false;
        out->findings[out->finding_count++] = paths->findings[i];
    }
    return true;
}

static bool add_open(lhi_profile *out, const lhi_paths *paths, uint64_t function)
{
    if (paths->open == NULL)
        return true;
    out->open++;
    if (out->open_count == LHI_PROFILE_OPEN)
        return true;
    if (!lhi_grow(&out->open_ways, out->open_count, &out->open_room, sizeof *out->open_ways))
        return false;
    out->open_ways[out->open_count++] = (lhi_open_way){function, paths->open_at, paths->open};
    return true;
}

/* A gap between functions begins with padding; what has sites in it begins behind the last padding before
 * them. */
static uint64_t entry_of(const lhi_code_image *code, const lhi_body *body, size_t index)
{
    if (!body->leaf)
        return code->image.base + body->entry;
    while (index > 0 && body->codes[index - 1].kind != LHI_CODE_STOP &&
           body->codes[index - 1].kind != LHI_CODE_RETURN &&
           body->codes[index - 1].address + body->codes[index - 1].length == body->codes[index].address)
        index--;
    return body->codes[index].address;
}

/* Sites of one function. */
static bool add_sites(const lhi_code_image *code, const lhi_body *body, const lhi_callee *callees,
                      lhi_profile *out)
{
    for (size_t i = 0; i < body->count; i++) {
        const lhi_routine *routine = callees[i].routine;
        if (routine == NULL || lhi_role_name(routine->role) == NULL)
            continue;
        lhi_site site = {.address = body->codes[i].address,
                         .function = entry_of(code, body, i),
                         .routine = routine,
                         .form = callees[i].form,
                         .tail = body->codes[i].kind == LHI_CODE_JUMP,
                         .slot = callees[i].slot};
        if (body->leaf && site.tail && site.address == site.function)
            continue; /* a thunk: those who call it are the sites */
        if (!add_site(out, &site))
            return false;
    }
    return true;
}

static void count_body(const lhi_body *body, lhi_profile *out)
{
    for (size_t i = 0; i < body->count; i++)
        out->code_bytes += body->codes[i].length;
    if (!body->leaf)
        out->functions++;
    if (body->discarded) {
        out->discarded_bytes += body->missing;
    } else if (body->missing != 0) {
        out->missing_bytes += body->missing;
        note_gap(out, body->absence, body->absent_at);
    }
    if (body->cut || (body->garbled != 0 && !body->leaf))
        note_gap(out, LH_ABSENT_LAYOUT, body->count > 0 ? body->codes[0].address : 0);
}

#define WATCH_EACH 64u /* functions */

/* One image, and the function of it that is read. */
typedef struct reading {
    lhi_calls calls;
    lhi_helpers helpers;
    lhi_body body;
    lhi_callee *callees;
    size_t room; /* of callees */
    const lhi_watch *watch;
    uint64_t turn;
    lhi_profile *out;
} reading;

/* A function with the routines that it calls. *at: its first stretch, then that of the next one. */
static lh_status read_function(reading *r, size_t *at, lh_error *err)
{
    const lhi_watch *watch = r->watch;
    lh_status status = LH_OK;

    if (watch != NULL && watch->ask != NULL && r->turn++ % WATCH_EACH == 0)
        status = watch->ask(watch->user, err);
    if (status == LH_OK)
        status = lhi_body_read(r->calls.code, *at, &r->body, at, err);
    if (status == LH_OK && r->body.count > r->room) {
        lhi_callee *larger = lhi_realloc_array(r->callees, r->body.room, sizeof *larger);
        if (larger == NULL)
            return lhi_fail_memory(err);
        r->callees = larger;
        r->room = r->body.room;
    }
    if (status == LH_OK && r->body.count > 0)
        lhi_calls_resolve(&r->calls, &r->body, r->callees);
    return status;
}

/* The sites of all functions, and who calls whom. */
static lh_status look_at_all(reading *r, lh_error *err)
{
    const lhi_code_image *code = r->calls.code;
    lh_status status = LH_OK;

    for (size_t at = 0; status == LH_OK && at < code->count;) {
        const size_t first = at;
        if (r->out->code_bytes > MOST_BYTES) {
            note_gap(r->out, LH_ABSENT_LAYOUT, code->image.base + code->stretches[at].begin);
            break;
        }
        status = read_function(r, &at, err);
        if (status != LH_OK)
            break;
        count_body(&r->body, r->out);
        if (!add_sites(code, &r->body, r->callees, r->out))
            status = lhi_fail_memory(err);
        else
            status = lhi_helpers_note(&r->helpers, first, &r->body, r->callees, err);
    }
    return status;
}

/* A call that makes it worth to follow the ways of its function. */
static bool decides(const reading *r)
{
    for (size_t i = 0; i < r->body.count; i++) {
        const lhi_routine *routine = r->callees[i].routine;
        if (r->callees[i].summary != NULL ||
            (routine != NULL && (routine->role == LHI_ROLE_LOCK || routine->role == LHI_ROLE_UNLOCK ||
                                 routine->role == LHI_ROLE_FREE)))
            return true;
    }
    return false;
}

static lh_status follow(reading *r, lhi_paths *paths, lh_error *err)
{
    uint64_t entry = r->calls.code->image.base + r->body.entry;
    lh_status status = lhi_helpers_fill(&r->helpers, &r->body, r->callees, err);

    if (status != LH_OK || !decides(r))
        return status;
    status = lhi_paths_follow(&r->body, r->callees, entry, paths, err);
    if (status != LH_OK)
        return status;
    r->out->followed++;
    return add_open(r->out, paths, entry) && add_findings(r->out, paths) ? LH_OK : lhi_fail_memory(err);
}

static lh_status follow_all(reading *r, lh_error *err)
{
    const lhi_code_image *code = r->calls.code;
    lhi_paths *paths = lhi_calloc(1, sizeof *paths);
    lh_status status = LH_OK;

    if (paths == NULL)
        return lhi_fail_memory(err);
    lhi_helpers_spread(&r->helpers);
    for (size_t at = 0; status == LH_OK && at < code->count; at++) {
        size_t next = at;
        if (r->helpers.worth[at] == 0 || code->stretches[at].leaf)
            continue;
        status = read_function(r, &next, err);
        if (status == LH_OK)
            status = follow(r, paths, err);
    }
    lhi_free(paths);
    return status;
}

static lh_status read_all(const lhi_code_image *code, const lhi_routines *routines, const lhi_watch *watch,
                          lhi_profile *out, lh_error *err)
{
    reading r = {.watch = watch, .out = out};
    lh_status status = lhi_calls_open(code, routines, &r.calls, err);

    if (status == LH_OK)
        status = lhi_helpers_open(&r.calls, &r.helpers, err);
    if (status == LH_OK)
        status = look_at_all(&r, err);
    out->unread_slots = r.calls.unread; /* each once */
    out->bound = r.calls.kmdf.bound;
    out->bound_known = r.calls.kmdf.table != 0;
    if (r.calls.kmdf.bound && r.calls.kmdf.absence != LH_PRESENT)
        note_gap(out, r.calls.kmdf.absence, r.calls.kmdf.absent_at);
    if (r.calls.unread != 0)
        note_gap(out, r.calls.absence, r.calls.absent_at);
    if (status == LH_OK)
        status = follow_all(&r, err);
    lhi_free(r.callees);
    lhi_body_free(&r.body);
    lhi_helpers_free(&r.helpers);
    lhi_calls_free(&r.calls);
    return status;
}

lh_status lhi_profile_read(const lhi_routines *routines, const lhi_module *module, const lhi_watch *watch,
                           lhi_profile *out, lh_error *err)
{
    lhi_code_image *code = lhi_calloc(1, sizeof *code);

    *out = (lhi_profile){.absence = LH_PRESENT};
    if (code == NULL)
        return lhi_fail_memory(err);
    lh_status status = lhi_code_image_open(routines->kernel, module, code, &out->absence, err);
    if (status == LH_OK && out->absence == LH_PRESENT && code->image.machine != LHI_MACHINE_X64)
        out->absence = LH_ABSENT_LAYOUT;
    if (status == LH_OK && out->absence == LH_PRESENT) {
        out->table_whole = code->table_whole;
        if (!code->table_whole)
            note_gap(out, code->absence, code->absent_at);
        status = read_all(code, routines, watch, out, err);
    }
    lhi_code_image_free(code);
    lhi_free(code);
    if (status != LH_OK)
        lhi_profile_free(out);
    return status;
}

bool lhi_profile_is_whole(const lhi_profile *profile)
{
    return profile->absence == LH_PRESENT && profile->gap == LH_PRESENT && profile->code_bytes > 0;
}

void lhi_profile_free(lhi_profile *profile)
{
    lhi_free(profile->sites);
    lhi_free(profile->findings);
    lhi_free(profile->open_ways);
    *profile = (lhi_profile){0};
}
