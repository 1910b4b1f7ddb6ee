/* Reads scope tables: they lie behind the unwind codes of a function that has a handler. */
#include "code/guards.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "image/read.h"

/* After Microsoft's documentation of x64 exception handling, and winnt.h (SCOPE_TABLE_AMD64). */
enum {
    INFO_HEAD = 4,
    CODE_SIZE = 2,
    FLAG_HANDLER = 1, /* UNW_FLAG_EHANDLER */
    FLAG_CHAINED = 4,
    SCOPE_SIZE = 16,
    SCOPE_TARGET = 12 /* 0: of a __finally */
};
#define MOST_SCOPES 256u

static bool add_guard(lhi_body *body, const lhi_guard *guard)
{
    if (!lhi_grow(&body->guards, body->guard_count, &body->guard_room, sizeof *body->guards))
        return false;
    body->guards[body->guard_count++] = *guard;
    return true;
}

/* Where the handler's own data is. 0: no handler of exceptions, or it can't be told (*strange). */
static uint64_t data_of(const lhi_code_image *code, uint32_t unwind, bool *strange)
{
    uint8_t head[INFO_HEAD] = {0};

    if (unwind == 0)
        return 0;
    if ((unwind & 1) != 0 || lhi_rva_get(&code->image, unwind, head, sizeof head) != LH_PRESENT) {
        *strange = true;
        return 0;
    }
    if ((head[0] >> 3 & FLAG_CHAINED) != 0 || (head[0] >> 3 & FLAG_HANDLER) == 0)
        return 0;
    /* the codes are padded to an even count; in front of the data stands the handler */
    return (uint64_t)unwind + INFO_HEAD + (((uint64_t)head[2] + 1) & ~1ull) * CODE_SIZE + 4;
}

static bool take_scope(const lhi_code_image *code, lhi_body *body, const uint8_t *scope, bool *strange)
{
    uint64_t base = code->image.base;
    uint32_t target = lhi_u32(scope + SCOPE_TARGET);
    lhi_guard guard = {.from = base + lhi_u32(scope), .to = base + lhi_u32(scope + 4)};

    if (target == 0)
        return true;
    guard.target = lhi_body_find(body, base + target);
    if (guard.from >= guard.to || guard.target == SIZE_MAX) {
        *strange = true; /* of another kind of handler */
        return true;
    }
    body->leaders[guard.target] = 1;
    return add_guard(body, &guard);
}

static lh_status read_scopes(const lhi_code_image *code, lhi_body *body, uint64_t data, lh_error *err)
{
    uint8_t head[4] = {0};
    lh_absence absence = lhi_rva_get(&code->image, data, head, sizeof head);
    uint32_t count = lhi_u32(head);

    if (absence != LH_PRESENT || count > MOST_SCOPES) {
        body->strange_handler = true;
        return LH_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t scope[SCOPE_SIZE] = {0};
        if (lhi_rva_get(&code->image, data + 4 + (uint64_t)i * SCOPE_SIZE, scope, sizeof scope) != LH_PRESENT)
            body->strange_handler = true;
        else if (!take_scope(code, body, scope, &body->strange_handler))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

lh_status lhi_guards_find(const lhi_code_image *code, lhi_body *body, lh_error *err)
{
    lh_status status = LH_OK;

    for (size_t i = body->first; i < body->next && status == LH_OK; i++) {
        uint64_t data = data_of(code, code->stretches[i].unwind, &body->strange_handler);
        if (data != 0)
            status = read_scopes(code, body, data, err);
    }
    return status;
}
