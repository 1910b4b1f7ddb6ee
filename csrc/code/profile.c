/* Reads one image function by function: sites, and where there are some, the ways through the function. */
#include "code/profile.h"

#include "base/alloc.h"
#include "base/error.h"

#define MACHINE_X64 0x8664u
#define MOST_BYTES  (64u << 20) /* of code in one image; nt has about 6 MiB */

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

/* Sites of one function. *decides: one of them makes it worth to follow its ways. */
static bool add_sites(const lhi_code_image *code, const lhi_body *body, const lhi_callee *callees,
                      lhi_profile *out, bool *decides)
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
        *decides = *decides || routine->role == LHI_ROLE_LOCK || routine->role == LHI_ROLE_UNLOCK ||
                   routine->role == LHI_ROLE_FREE;
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

static lh_status look_at(lhi_calls *calls, const lhi_body *body, lhi_callee *callees, lhi_profile *out,
                         lh_error *err)
{
    const lhi_code_image *code = calls->code;
    bool decides = false;

    lhi_calls_resolve(calls, body, callees);
    if (!add_sites(code, body, callees, out, &decides))
        return lhi_fail_memory(err);
    if (!decides || body->leaf)
        return LH_OK;
    lhi_paths *paths = lhi_calloc(1, sizeof *paths);
    if (paths == NULL)
        return lhi_fail_memory(err);
    lh_status status = lhi_paths_follow(body, callees, code->image.base + body->entry, paths, err);
    if (status == LH_OK) {
        out->followed++;
        if (!add_open(out, paths, code->image.base + body->entry) || !add_findings(out, paths))
            status = lhi_fail_memory(err);
    }
    lhi_free(paths);
    return status;
}

#define WATCH_EACH 64u /* functions */

static lh_status ask(const lhi_watch *watch, uint64_t turn, lh_error *err)
{
    return watch == NULL || watch->ask == NULL || turn % WATCH_EACH != 0 ? LH_OK
                                                                         : watch->ask(watch->user, err);
}

static lh_status look_at_all(lhi_calls *calls, const lhi_watch *watch, lhi_profile *out, lh_error *err)
{
    const lhi_code_image *code = calls->code;
    lhi_body body = {0};
    lhi_callee *callees = NULL;
    size_t room = 0;
    lh_status status = LH_OK;

    for (size_t at = 0, turn = 0; status == LH_OK && at < code->count; turn++) {
        status = ask(watch, turn, err);
        if (status != LH_OK)
            break;
        if (out->code_bytes > MOST_BYTES) {
            note_gap(out, LH_ABSENT_LAYOUT, code->image.base + code->stretches[at].begin);
            break;
        }
        status = lhi_body_read(code, at, &body, &at, err);
        if (status == LH_OK && body.count > room) {
            lhi_callee *larger = lhi_realloc_array(callees, body.room, sizeof *callees);
            if (larger == NULL) {
                status = lhi_fail_memory(err);
                break;
            }
            callees = larger;
            room = body.room;
        }
        if (status == LH_OK) {
            count_body(&body, out);
            if (body.count > 0)
                status = look_at(calls, &body, callees, out, err);
        }
    }
    lhi_free(callees);
    lhi_body_free(&body);
    return status;
}

lh_status lhi_profile_read(const lhi_routines *routines, const lhi_module *module, const lhi_watch *watch,
                           lhi_profile *out, lh_error *err)
{
    lhi_code_image *code = lhi_calloc(1, sizeof *code);
    lhi_calls calls = {0};

    *out = (lhi_profile){.absence = LH_PRESENT};
    if (code == NULL)
        return lhi_fail_memory(err);
    lh_status status = lhi_code_image_open(routines->kernel, module, code, &out->absence, err);
    if (status == LH_OK && out->absence == LH_PRESENT && code->image.machine != MACHINE_X64)
        out->absence = LH_ABSENT_LAYOUT;
    if (status == LH_OK && out->absence == LH_PRESENT) {
        out->table_whole = code->table_whole;
        if (!code->table_whole)
            note_gap(out, code->absence, code->absent_at);
        status = lhi_calls_open(code, routines, &calls, err);
        if (status == LH_OK)
            status = look_at_all(&calls, watch, out, err);
        out->unread_slots = calls.unread;
        if (calls.unread != 0)
            note_gap(out, calls.absence, calls.absent_at);
    }
    lhi_calls_free(&calls);
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
