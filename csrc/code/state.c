/* Values, frame and MDLs of one way through a function; whatever is doubtful is forgotten. */
#include "code/state.h"

#include <string.h>

void lhi_state_start(lhi_state *state)
{
    static const uint8_t arguments[] = {LHI_RCX, LHI_RDX, LHI_R8, LHI_R9}; /* x64 calling convention */

    memset(state, 0, sizeof *state);
    state->exposed = INT64_MAX;
    state->registers[LHI_RSP] = (lhi_value){.kind = LHI_VALUE_FRAME};
    for (uint64_t i = 0; i < sizeof arguments; i++)
        state->registers[arguments[i]] =
            (lhi_value){.kind = LHI_VALUE_RESULT, .n = LHI_ARGUMENT + i, .about = LHI_ARGUMENT + i};
}

bool lhi_value_same(const lhi_value *a, const lhi_value *b)
{
    return a->kind == b->kind && a->n == b->n && a->about == b->about;
}

/* ------------------------------------------------------------------ MDLs */

static bool is_who(const lhi_object *object, const lhi_value *value)
{
    lhi_value_kind kind = value->kind == LHI_VALUE_INSIDE ? LHI_VALUE_RESULT : value->kind;

    return object->who.kind == kind && object->who.n == value->n;
}

lhi_object *lhi_state_object(lhi_state *state, const lhi_value *value)
{
    for (size_t i = 0; i < state->object_count; i++)
        if (is_who(&state->objects[i], value))
            return &state->objects[i];
    return NULL;
}

lhi_object *lhi_state_add(lhi_state *state, const lhi_value *who, lhi_lock lock, bool own, uint64_t since)
{
    size_t at = 0;

    if (state->object_count == LHI_OBJECTS)
        return NULL;
    while (at < state->object_count &&
           (state->objects[at].who.kind < who->kind ||
            (state->objects[at].who.kind == who->kind && state->objects[at].who.n < who->n)))
        at++;
    memmove(&state->objects[at + 1], &state->objects[at],
            (state->object_count - at) * sizeof state->objects[0]);
    state->objects[at] = (lhi_object){.who = *who, .lock = lock, .own = own, .since = since};
    state->object_count++;
    return &state->objects[at];
}

void lhi_state_forget(lhi_state *state, lhi_object *object)
{
    size_t at = (size_t)(object - state->objects);

    state->object_count--;
    memmove(object, object + 1, (state->object_count - at) * sizeof *object);
}

void lhi_state_forget_shared(lhi_state *state)
{
    for (size_t i = state->object_count; i > 0; i--)
        if (!state->objects[i - 1].own)
            lhi_state_forget(state, &state->objects[i - 1]);
}

void lhi_state_forget_all(lhi_state *state)
{
    state->object_count = 0;
}

void lhi_state_share(lhi_state *state, const lhi_value *value)
{
    lhi_object *object = lhi_state_object(state, value);

    if (object != NULL)
        object->own = false;
    if (value->kind != LHI_VALUE_FRAME)
        return;
    /* whoever has an address in the frame may read and write what lies there and above */
    if ((int64_t)value->n < state->exposed)
        state->exposed = (int64_t)value->n;
    for (size_t i = 0; i < state->object_count; i++)
        if (state->objects[i].who.kind == LHI_VALUE_FRAME &&
            (int64_t)state->objects[i].who.n >= (int64_t)value->n)
            state->objects[i].own = false;
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *local = &state->locals[i];
        object = local->width != 0 && local->offset >= (int64_t)value->n
                     ? lhi_state_object(state, &local->value)
                     : NULL;
        if (object != NULL)
            object->own = false;
    }
}

/* ------------------------------------------------------------------ the frame */

/* No arithmetic on offsets overflows: those of the frame are kept within 2 GiB by whoever makes them. */
static bool overlaps(const lhi_local *local, int64_t from, int64_t to)
{
    return local->width != 0 && local->offset < to && from < local->offset + local->width;
}

lhi_value lhi_state_load(const lhi_state *state, int64_t offset, uint8_t width)
{
    for (size_t i = 0; width != 0 && i < LHI_LOCALS; i++)
        if (state->locals[i].width == width && state->locals[i].offset == offset)
            return state->locals[i].value;
    return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
}

void lhi_state_spoil(lhi_state *state, int64_t from, int64_t to)
{
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (overlaps(&state->locals[i], from, to))
            state->locals[i].width = 0;
}

void lhi_state_store(lhi_state *state, int64_t offset, uint8_t width, const lhi_value *value)
{
    lhi_local *place = NULL;

    lhi_state_spoil(state, offset, offset + width);
    if (value->kind == LHI_VALUE_UNKNOWN)
        return;
    if (offset + width > state->exposed)
        lhi_state_share(state, value);
    for (size_t i = 0; i < LHI_LOCALS && place == NULL; i++)
        if (state->locals[i].width == 0)
            place = &state->locals[i];
    for (size_t i = 0; i < LHI_LOCALS && place == NULL; i++)
        if (lhi_state_object(state, &state->locals[i].value) == NULL)
            place = &state->locals[i];
    if (place != NULL)
        *place = (lhi_local){.offset = offset, .width = width, .fresh = true, .value = *value};
    else
        lhi_state_share(state, value);
}

void lhi_state_replace(lhi_state *state, const lhi_value *old, const lhi_value *by)
{
    const lhi_value was = *old; /* may be one of those that change */

    for (size_t i = 0; i < 16; i++)
        if (state->registers[i].kind == was.kind && state->registers[i].n == was.n)
            state->registers[i] = *by;
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (state->locals[i].width != 0 && state->locals[i].value.kind == was.kind &&
            state->locals[i].value.n == was.n)
            state->locals[i].value = *by;
}

/* ------------------------------------------------------------------ questions */

bool lhi_state_recall(const lhi_state *state, uint64_t question, bool *answer)
{
    for (size_t i = 0; i < state->fact_count; i++) {
        if (state->facts[i].question == question) {
            *answer = state->facts[i].answer;
            return true;
        }
    }
    return false;
}

void lhi_state_learn(lhi_state *state, uint64_t question, bool answer)
{
    if (state->fact_count < LHI_FACTS)
        state->fact_count++;
    memmove(&state->facts[1], &state->facts[0], (state->fact_count - 1) * sizeof state->facts[0]);
    state->facts[0] = (lhi_fact){question, answer};
}

/* ------------------------------------------------------------------ joining */

bool lhi_state_agrees(const lhi_state *a, const lhi_state *b)
{
    if (a->object_count != b->object_count)
        return false;
    for (size_t i = 0; i < a->object_count; i++) {
        const lhi_object *x = &a->objects[i], *y = &b->objects[i];
        if (x->who.kind != y->who.kind || x->who.n != y->who.n || x->lock != y->lock || x->own != y->own ||
            x->since != y->since)
            return false;
    }
    return true;
}

/* An MDL whose pointer is lost in one place could come back under no name: then nothing is known of it. */
static void lose(lhi_state *state, const lhi_value *value)
{
    lhi_object *object = lhi_state_object(state, value);

    if (object != NULL)
        lhi_state_forget(state, object);
}

static bool join_registers(lhi_state *a, const lhi_state *b)
{
    bool less = false;

    for (size_t i = 0; i < 16; i++) {
        lhi_value *mine = &a->registers[i];
        if (lhi_value_same(mine, &b->registers[i]))
            continue;
        lose(a, mine);
        lose(a, &b->registers[i]);
        less = less || mine->kind != LHI_VALUE_UNKNOWN;
        *mine = (lhi_value){.kind = LHI_VALUE_UNKNOWN};
    }
    return less;
}

static bool freshen(lhi_state *a, const lhi_local *theirs)
{
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        lhi_local *mine = &a->locals[i];
        if (mine->width == theirs->width && mine->offset == theirs->offset && !mine->fresh) {
            mine->fresh = true;
            return true;
        }
    }
    return false;
}

static bool join_locals(lhi_state *a, const lhi_state *b)
{
    bool less = false;

    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *theirs = &b->locals[i];
        lhi_value mine = lhi_state_load(a, theirs->offset, theirs->width);
        if (theirs->width != 0 && !lhi_value_same(&theirs->value, &mine))
            lose(a, &theirs->value);
        less = (theirs->fresh && freshen(a, theirs)) || less;
    }
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        lhi_local *mine = &a->locals[i];
        lhi_value theirs = lhi_state_load(b, mine->offset, mine->width);
        if (mine->width == 0 || lhi_value_same(&mine->value, &theirs))
            continue;
        lose(a, &mine->value);
        mine->width = 0;
        less = true;
    }
    return less;
}

static bool join_facts(lhi_state *a, const lhi_state *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->fact_count; i++) {
        bool answer = false;
        if (lhi_state_recall(b, a->facts[i].question, &answer) && answer == a->facts[i].answer)
            a->facts[kept++] = a->facts[i];
    }
    bool less = kept < a->fact_count;
    a->fact_count = kept;
    return less;
}

bool lhi_state_join(lhi_state *a, const lhi_state *b)
{
    size_t before = a->object_count;
    bool less = join_registers(a, b);

    less = join_locals(a, b) || less;
    less = join_facts(a, b) || less;
    if (b->exposed < a->exposed) {
        a->exposed = b->exposed;
        less = true;
    }
    return less || a->object_count < before;
}
