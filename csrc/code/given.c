/* Follows what a function writes behind its arguments, as long as it keeps the pointers to itself. */
#include "code/given.h"

#include "code/step.h"

#define FIRST    (-(1ll << 40))
#define EACH     (1ll << 30)
#define FARTHEST (1 << 20) /* behind an argument; structures are smaller */
#define PLACES   8u        /* that are followed at a time */

static int64_t begin_of(size_t which)
{
    return FIRST + (int64_t)which * EACH;
}

/* A pointer to something whose only other owner is the caller. */
static bool is_followed(const lhi_object *object)
{
    return object != NULL && object->own && object->lock == LHI_LOCK_GIVEN &&
           object->needs == LHI_NEEDS_NOTHING;
}

bool lhi_given_argument(lhi_state *state, const lhi_value *value, size_t *which)
{
    if (!lhi_value_is_result(value) || value->n < LHI_ARGUMENT || value->n >= LHI_ARGUMENT + LHI_EFFECTS ||
        !is_followed(lhi_state_object(state, value)))
        return false;
    *which = (size_t)(value->n - LHI_ARGUMENT);
    return true;
}

bool lhi_given_place(lhi_state *state, const lhi_value *pointer, int64_t displacement, int64_t *place)
{
    size_t which = 0;
    int64_t delta = (int64_t)pointer->delta;

    if (!lhi_given_argument(state, pointer, &which) || pointer->part != 0 || delta < -FARTHEST ||
        delta > FARTHEST || displacement < -FARTHEST || displacement > FARTHEST || delta + displacement < 0 ||
        delta + displacement > FARTHEST)
        return false;
    *place = begin_of(which) + delta + displacement;
    return true;
}

bool lhi_given_is_place(int64_t place, size_t *which, int64_t *offset)
{
    if (place >= LHI_FRAME_LEAST)
        return false;
    *which = (size_t)((place - FIRST) / EACH);
    *offset = (place - FIRST) % EACH;
    return true;
}

/* ------------------------------------------------------------------ what the function does */

static bool is_behind(const lhi_local *local, size_t which)
{
    size_t whose = 0;
    int64_t offset = 0;

    return local->width != 0 && lhi_given_is_place(local->offset, &whose, &offset) && whose == which;
}

void lhi_given_drop(lhi_state *state, size_t which)
{
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        lhi_local *local = &state->locals[i];
        if (!is_behind(local, which))
            continue;
        local->width = 0;
        lhi_state_share(state, &local->value);
    }
}

void lhi_given_read(lhi_state *state, size_t which)
{
    state->reaches[which] |= LHI_REACH_READS;
}

void lhi_given_written(lhi_state *state, size_t which)
{
    state->reaches[which] |= LHI_REACH_WRITES;
    lhi_given_drop(state, which);
}

/* There is room for one more, and it covers what it lies on. */
static bool has_room(const lhi_state *state, int64_t place, uint8_t width)
{
    size_t which = 0, whose = 0, count = 0;
    int64_t offset = 0;

    (void)lhi_given_is_place(place, &which, &offset);
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *local = &state->locals[i];
        if (local->width == 0 || !lhi_given_is_place(local->offset, &whose, &offset))
            continue;
        bool covered = local->offset >= place && local->offset + local->width <= place + width;
        if (!covered && local->offset < place + width && place < local->offset + local->width)
            return false;
        count += covered ? 0 : 1;
    }
    return count < PLACES;
}

void lhi_given_store(lhi_state *state, int64_t place, uint8_t width, const lhi_value *value)
{
    const lhi_value something = {.kind = LHI_VALUE_RESULT, .n = LHI_PART};
    const lhi_object *object = lhi_state_object(state, value);
    size_t which = 0;
    int64_t offset = 0;

    (void)lhi_given_is_place(place, &which, &offset);
    if (lhi_value_leads_to_frame(value) || (object != NULL && lhi_state_is_given(object))) {
        lhi_state_share(state, value);
        value = &something;
    }
    if (!has_room(state, place, width)) {
        lhi_state_share(state, value);
        lhi_given_written(state, which);
        return;
    }
    lhi_state_store(state, place, width, value->kind != LHI_VALUE_UNKNOWN ? value : &something);
}

static bool is_store(const lhi_code *code)
{
    return (code->does == LHI_DOES_STORE || code->does == LHI_DOES_STORE_PART ||
            code->does == LHI_DOES_STORE_VALUE) &&
           !code->reads_memory;
}

static bool is_kept(const lhi_state *state, int64_t place, const lhi_code *code)
{
    return code->does == LHI_DOES_LOAD && lhi_state_load(state, place, code->width).kind != LHI_VALUE_UNKNOWN;
}

void lhi_given_touch(lhi_state *state, const lhi_code *code)
{
    const uint8_t registers[] = {code->base, code->index};

    for (size_t i = 0; code->has_memory && i < 2; i++) {
        size_t which = 0;
        int64_t place = 0;
        if (registers[i] >= 16 || !lhi_given_argument(state, &state->registers[registers[i]], &which))
            continue;
        bool exact = i == 0 && code->index == LHI_NO_REGISTER &&
                     lhi_given_place(state, &state->registers[code->base], code->displacement, &place);
        if (!exact)
            state->reaches[which] |= LHI_REACH_BELOW;
        if (code->reads_memory && !(exact && is_kept(state, place, code)))
            lhi_given_read(state, which);
        if (code->writes_memory && !(exact && is_store(code)))
            lhi_given_written(state, which);
    }
}

bool lhi_given_join(lhi_state *a, const lhi_state *b)
{
    bool less = false;

    for (size_t i = 0; i < LHI_EFFECTS; i++) {
        less = less || (b->reaches[i] & ~a->reaches[i]) != 0;
        a->reaches[i] |= b->reaches[i];
    }
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *theirs = &b->locals[i];
        size_t which = 0;
        int64_t offset = 0;
        if (theirs->width == 0 || !lhi_given_is_place(theirs->offset, &which, &offset) ||
            lhi_state_stored(a, theirs->offset, theirs->width).kind != LHI_VALUE_UNKNOWN)
            continue;
        less = less || (a->reaches[which] & LHI_REACH_WRITES) == 0;
        lhi_given_written(a, which);
    }
    return less;
}

/* ------------------------------------------------------------------ the end of a way */

static size_t places_with(lhi_state *state, const lhi_object *object)
{
    size_t count = 0;

    for (size_t i = 0; i < LHI_LOCALS; i++) {
        size_t which = 0;
        int64_t offset = 0;
        if (state->locals[i].width != 0 && lhi_given_is_place(state->locals[i].offset, &which, &offset) &&
            lhi_state_object(state, &state->locals[i].value) == object)
            count++;
    }
    return count;
}

bool lhi_given_holds(lhi_state *state, const lhi_object *object)
{
    return places_with(state, object) != 0;
}

static bool has_places(const lhi_state *state, size_t which)
{
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (is_behind(&state->locals[i], which))
            return true;
    return false;
}

static lhi_left left_of(lhi_state *state, const lhi_local *local, size_t which, int64_t offset)
{
    const lhi_object *object = lhi_state_object(state, &local->value);
    lhi_left out = {.which = (uint8_t)which, .width = local->width, .offset = (int32_t)offset};

    if (object == NULL && local->value.kind == LHI_VALUE_NUMBER) {
        out.gives = LHI_GIVES_NUMBER;
        out.number = lhi_value_cut(local->value.n, local->width);
    } else if (object != NULL && local->value.kind == LHI_VALUE_RESULT && local->width == 8 && object->own &&
               places_with(state, object) == 1 &&
               object != lhi_state_object(state, &state->registers[LHI_RAX])) {
        out.gives = object->lock == LHI_LOCK_HELD    ? LHI_GIVES_LOCKED
                    : object->lock == LHI_LOCK_NEVER ? LHI_GIVES_UNLOCKED
                                                     : LHI_GIVES_ANYTHING;
    }
    return out;
}

void lhi_given_sum_up(lhi_state *state, lhi_ending *ending)
{
    for (size_t which = 0; which < LHI_EFFECTS; which++) {
        ending->reaches[which] = state->reaches[which];
        if (ending->effects[which] != LHI_EFFECT_NONE || ending->needs[which] != LHI_NEEDS_NOTHING) {
            if (has_places(state, which))
                ending->reaches[which] |= LHI_REACH_WRITES;
            continue;
        }
        for (size_t i = 0; i < LHI_LOCALS; i++) {
            size_t whose = 0;
            int64_t offset = 0;
            if (!is_behind(&state->locals[i], which) ||
                !lhi_given_is_place(state->locals[i].offset, &whose, &offset))
                continue;
            lhi_left out = left_of(state, &state->locals[i], which, offset);
            if (!lhi_ending_add_left(ending, &out))
                ending->reaches[which] |= LHI_REACH_WRITES;
        }
    }
}

/* ------------------------------------------------------------------ what a call did for its caller */

/* Whoever has a pointer into the caller's frame may use the MDLs there; where he reads, also those whose
 * pointers lie there. */
static void share_from(lhi_state *state, int64_t from, bool reads)
{
    for (size_t i = 0; i < state->object_count; i++)
        if (state->objects[i].who.kind == LHI_VALUE_FRAME && (int64_t)state->objects[i].who.n >= from)
            state->objects[i].own = false;
    for (size_t i = 0; reads && i < LHI_LOCALS; i++)
        if (state->locals[i].width != 0 && state->locals[i].offset >= from)
            lhi_state_share(state, &state->locals[i].value);
}

bool lhi_given_reach(lhi_state *state, const lhi_value *pointer, uint8_t reaches)
{
    int64_t from = (int64_t)pointer->n;
    size_t which = 0;

    if (pointer->kind == LHI_VALUE_FRAME) {
        if ((reaches & LHI_REACH_BELOW) != 0)
            return false;
        share_from(state, from, (reaches & LHI_REACH_READS) != 0);
        if ((reaches & LHI_REACH_WRITES) != 0) {
            lhi_state_lose(state, from, INT64_MAX);
            lhi_state_doubt(state, from, INT64_MAX);
        }
        return true;
    }
    if (!lhi_given_argument(state, pointer, &which))
        return false;
    state->reaches[which] |= reaches;
    if ((reaches & LHI_REACH_WRITES) != 0 || (reaches != 0 && has_places(state, which)))
        lhi_given_written(state, which);
    return true;
}

/* Another argument leads to the same bytes of the frame, or may: what the function did through it is not told
 * of this one. */
static bool is_reached_by(const lhi_state *state, const lhi_ending *ending, size_t other, int64_t place,
                          int64_t end)
{
    const lhi_value *pointer = &state->registers[lhi_state_arguments[other]];

    if (pointer->kind != LHI_VALUE_FRAME || (int64_t)pointer->n >= end)
        return false;
    if (ending->reaches[other] != 0 || ending->effects[other] != LHI_EFFECT_NONE ||
        ending->needs[other] != LHI_NEEDS_NOTHING)
        return true;
    for (size_t i = 0; i < ending->left_count; i++) {
        int64_t from = (int64_t)pointer->n + ending->left[i].offset;
        if (ending->left[i].which == other && from < end && place < from + ending->left[i].width)
            return true;
    }
    return false;
}

static bool is_reached_otherwise(const lhi_state *state, const lhi_ending *ending, size_t which,
                                 int64_t place, int64_t end)
{
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        if (i != which && is_reached_by(state, ending, i, place, end))
            return true;
    return false;
}

/* Of something that a call left. */
typedef struct own_name {
    uint64_t n;   /* of the result */
    uint64_t at;  /* address of the call */
    bool doubted; /* what is not known can tell how the function ended */
} own_name;

/* What stands at a place now. */
static lhi_value value_of(lhi_state *state, const lhi_left *left, const own_name *name)
{
    if (left->gives == LHI_GIVES_NUMBER)
        return lhi_value_number(left->number);
    lhi_value made = lhi_step_result(state, name->n, 0);
    (void)lhi_state_add(state, &made, left->gives == LHI_GIVES_LOCKED ? LHI_LOCK_HELD : LHI_LOCK_NEVER, true,
                        name->at);
    return made;
}

/* It writes to the frame what is not told: there may be something that tells how it ended. */
static bool writes_frame(const lhi_state *state, const lhi_ending *ending)
{
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        if (state->registers[lhi_state_arguments[i]].kind == LHI_VALUE_FRAME &&
            (ending->reaches[i] & LHI_REACH_WRITES) != 0)
            return true;
    return false;
}

/* Something stands there that is not known; `doubted`: it may tell how the function ended. */
static void leave_something(lhi_state *state, int64_t place, const lhi_left *left, uint64_t at, bool doubted)
{
    const lhi_value something = {.kind = LHI_VALUE_RESULT,
                                 .n = LHI_PART,
                                 .about = lhi_key(at, (uint64_t)place),
                                 .join = LHI_JOIN_DOUBT};

    lhi_state_lose(state, place, place + left->width);
    lhi_state_spoil(state, place, place + left->width);
    if (doubted)
        lhi_state_store(state, place, left->width, &something);
}

static void apply_to_frame(lhi_state *state, const lhi_ending *ending, const lhi_left *left, int64_t place,
                           const own_name *name)
{
    if (state->exposed || is_reached_otherwise(state, ending, left->which, place, place + left->width) ||
        left->gives == LHI_GIVES_ANYTHING || (name->doubted && writes_frame(state, ending))) {
        leave_something(state, place, left, name->at, name->doubted);
        return;
    }
    lhi_value value = value_of(state, left, name);
    lhi_state_store(state, place, left->width, &value);
}

void lhi_given_apply(lhi_state *state, const lhi_ending *ending, size_t index, uint64_t at, bool doubted)
{
    const lhi_value something = {.kind = LHI_VALUE_UNKNOWN};

    for (size_t i = 0; i < ending->left_count; i++) {
        const lhi_left *left = &ending->left[i];
        const lhi_value pointer = state->registers[lhi_state_arguments[left->which]];
        const own_name name = {LHI_SEVERAL | (16 + i) << 16 | index, at, doubted};
        int64_t place = (int64_t)pointer.n + left->offset;
        if (pointer.kind == LHI_VALUE_FRAME) {
            apply_to_frame(state, ending, left, place, &name);
        } else if (lhi_given_place(state, &pointer, left->offset, &place)) {
            lhi_value value = left->gives == LHI_GIVES_ANYTHING ? something : value_of(state, left, &name);
            lhi_given_store(state, place, left->width, &value);
        }
    }
}
