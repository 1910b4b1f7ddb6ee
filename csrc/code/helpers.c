/* Each function is summed up once, when somebody that is followed calls it; one that comes back to itself, or
 * lies too deep, stays unknown. */
#include "code/helpers.h"

#include "base/alloc.h"
#include "base/error.h"
#include "code/paths.h"

/* Functions without a row of .pdata lie between others, and are read with all of their gap. */
#define MOST_GAP 1024u /* bytes */

lh_status lhi_helpers_open(lhi_calls *calls, lhi_helpers *out, lh_error *err)
{
    *out = (lhi_helpers){.calls = calls};
    out->worth = lhi_calloc(calls->code->count + 1, 1);
    return out->worth != NULL ? LH_OK : lhi_fail_memory(err);
}

void lhi_helpers_free(lhi_helpers *helpers)
{
    for (size_t i = 0; i < helpers->count; i++)
        lhi_free(helpers->all[i].summary);
    lhi_free(helpers->all);
    lhi_free(helpers->inner);
    lhi_free(helpers->worth);
    lhi_map_free(&helpers->by_address);
}

/* The first stretch of the function that begins at an RVA, or of the gap that has it. SIZE_MAX: none. */
static size_t function_at(const lhi_code_image *code, uint32_t rva)
{
    size_t low = 0, high = code->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code->stretches[middle].entry <= rva)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return SIZE_MAX;
    low--;
    const lhi_stretch *found = &code->stretches[low];
    if (found->leaf)
        return rva < found->end && found->end - found->begin <= MOST_GAP ? low : SIZE_MAX;
    while (low > 0 && code->stretches[low - 1].entry == found->entry)
        low--;
    return found->entry == rva ? low : SIZE_MAX;
}

static bool plays_a_part(const lhi_routine *routine)
{
    return routine != NULL && (routine->role == LHI_ROLE_LOCK || routine->role == LHI_ROLE_UNLOCK ||
                               routine->role == LHI_ROLE_FREE || routine->role == LHI_ROLE_ALLOCATE);
}

lh_status lhi_helpers_note(lhi_helpers *helpers, size_t first, const lhi_body *body,
                           const lhi_callee *callees, lh_error *err)
{
    for (size_t i = 0; i < body->count; i++) {
        if (plays_a_part(callees[i].routine))
            helpers->worth[first] = 1;
        if (callees[i].inner == 0)
            continue;
        if (!lhi_grow(&helpers->inner, helpers->inner_count, &helpers->inner_room, sizeof *helpers->inner))
            return lhi_fail_memory(err);
        uint64_t rva = callees[i].inner - helpers->calls->code->image.base;
        helpers->inner[helpers->inner_count++] = (lhi_inner_call){(uint32_t)first, (uint32_t)rva};
    }
    return LH_OK;
}

void lhi_helpers_spread(lhi_helpers *helpers)
{
    bool more = true;

    for (unsigned deep = 0; more && deep < LHI_HELPERS_DEEP; deep++) {
        more = false;
        for (size_t i = 0; i < helpers->inner_count; i++) {
            const lhi_inner_call *call = &helpers->inner[i];
            size_t callee = function_at(helpers->calls->code, call->target);
            if (callee == SIZE_MAX || helpers->worth[callee] == 0 || helpers->worth[call->caller] != 0)
                continue;
            helpers->worth[call->caller] = 1;
            more = true;
        }
    }
}

static lh_status fill(lhi_helpers *helpers, lhi_body *body, lhi_callee *callees, unsigned deep,
                      lh_error *err);

static lh_status sum_up(lhi_helpers *helpers, uint64_t address, size_t first, unsigned deep, lhi_summary *out,
                        lh_error *err)
{
    lhi_body body = {0};
    size_t next = 0;
    lhi_callee *callees = NULL;
    lh_status status = lhi_body_read(helpers->calls->code, first, &body, &next, err);

    if (status != LH_OK)
        goto done;
    callees = lhi_calloc(body.count + 1, sizeof *callees);
    if (callees == NULL) {
        status = lhi_fail_memory(err);
        goto done;
    }
    lhi_calls_resolve(helpers->calls, &body, callees);
    status = fill(helpers, &body, callees, deep + 1, err);
    if (status == LH_OK)
        status = lhi_paths_summarise(&body, callees, address, out, err);
done:
    lhi_free(callees);
    lhi_body_free(&body);
    return status;
}

/* *out: NULL where it is not known. */
static lh_status summary_of(lhi_helpers *helpers, uint64_t address, unsigned deep, const lhi_summary **out,
                            lh_error *err)
{
    size_t known = lhi_map_get(&helpers->by_address, address);
    size_t first = function_at(helpers->calls->code, (uint32_t)(address - helpers->calls->code->image.base));

    *out = NULL;
    if (known != SIZE_MAX) {
        *out = helpers->all[known].summary;
        return LH_OK;
    }
    if (first == SIZE_MAX || helpers->worth[first] == 0 || deep >= LHI_HELPERS_DEEP)
        return LH_OK;
    if (!lhi_grow(&helpers->all, helpers->count, &helpers->room, sizeof *helpers->all))
        return lhi_fail_memory(err);
    size_t which = helpers->count++;
    helpers->all[which] = (lhi_helper){NULL};
    lhi_summary *made = lhi_calloc(1, sizeof *made);
    if (made == NULL || !lhi_map_put(&helpers->by_address, address, which)) {
        lhi_free(made);
        return lhi_fail_memory(err);
    }
    lh_status status = sum_up(helpers, address, first, deep, made, err);
    if (status != LH_OK) {
        lhi_free(made);
        return status;
    }
    *out = helpers->all[which].summary = made;
    return LH_OK;
}

static lh_status fill(lhi_helpers *helpers, lhi_body *body, lhi_callee *callees, unsigned deep, lh_error *err)
{
    lh_status status = LH_OK;

    for (size_t i = 0; i < body->count && status == LH_OK; i++) {
        const lhi_summary *summary = NULL;
        if (callees[i].inner == 0)
            continue;
        status = summary_of(helpers, callees[i].inner, deep, &summary, err);
        if (status != LH_OK || summary == NULL || !lhi_summary_matters(summary))
            continue;
        callees[i].summary = summary;
        if (i + 1 < body->count)
            body->leaders[i + 1] = 1;
    }
    return status;
}

lh_status lhi_helpers_fill(lhi_helpers *helpers, lhi_body *body, lhi_callee *callees, lh_error *err)
{
    return fill(helpers, body, callees, 0, err);
}
