/* Values, frame and MDLs of one way through a function; whatever is doubtful is forgotten. */
#include "code/state.h"

#include <string.h>

#include "code/given.h"

const uint8_t lhi_state_arguments[LHI_EFFECTS] = {LHI_RCX, LHI_RDX, LHI_R8, LHI_R9};

void lhi_state_start(lhi_state *state, lhi_stores *stores)
{
    memset(state, 0, sizeof *state);
    state->stores = stores;
    state->registers[LHI_RSP] = (lhi_value){.kind = LHI_VALUE_FRAME};
    for (uint64_t i = 0; i < LHI_EFFECTS; i++)
        state->registers[lhi_state_arguments[i]] =
            (lhi_value){.kind = LHI_VALUE_RESULT, .n = LHI_ARGUMENT + i, .about = LHI_ARGUMENT + i};
}

bool lhi_value_same(const lhi_value *a, const lhi_value *b)
{
    return a->kind == b->kind && a->n == b->n && a->about == b->about && a->delta == b->delta &&
           a->part == b->part && a->join == b->join && a->condition == b->condition && a->how == b->how;
}

lhi_value lhi_value_number(uint64_t n)
{
    return (lhi_value){.kind = LHI_VALUE_NUMBER, .n = n};
}

uint64_t lhi_value_cut(uint64_t value, uint8_t width)
{
    return width >= 8 ? value : value & ((1ull << (8 * width)) - 1);
}

bool lhi_value_is_number(const lhi_value *value, uint8_t width)
{
    return value->kind == LHI_VALUE_NUMBER || (value->kind == LHI_VALUE_LOW_BYTE && width == 1);
}

bool lhi_value_is_result(const lhi_value *value)
{
    return value->kind == LHI_VALUE_RESULT || value->kind == LHI_VALUE_INSIDE;
}

bool lhi_value_leads_to_frame(const lhi_value *value)
{
    return value->kind == LHI_VALUE_FRAME || value->kind == LHI_VALUE_AROUND;
}

lhi_value lhi_value_moved(const lhi_value *value, uint64_t by)
{
    switch (value->kind) {
    case LHI_VALUE_NUMBER:
        return lhi_value_number(value->n + by);
    case LHI_VALUE_FRAME: {
        int64_t offset = (int64_t)(value->n + by);
        if (offset > LHI_FRAME_MOST || offset < -LHI_FRAME_MOST)
            return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
        return (lhi_value){.kind = LHI_VALUE_FRAME, .n = value->n + by};
    }
    case LHI_VALUE_AROUND:
        return (lhi_value){.kind = LHI_VALUE_AROUND, .n = lhi_key(value->n, by), .join = value->join};
    case LHI_VALUE_RESULT:
    case LHI_VALUE_INSIDE:
        if (by == 0)
            return *value;
        return (lhi_value){.kind = LHI_VALUE_INSIDE,
                           .n = value->n,
                           .about = value->about,
                           .delta = value->delta + by,
                           .join = value->join,
                           .part = value->part};
    default:
        return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
    }
}

/* Finalizer of MurmurHash3 (public domain). */
uint64_t lhi_key(uint64_t a, uint64_t b)
{
    uint64_t key = a * 0x9e3779b97f4a7c15ull ^ b;

    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdull;
    key ^= key >> 33;
    return key | 1; /* 0: none */
}

uint64_t lhi_value_key(const lhi_value *value)
{
    uint64_t key = lhi_key(LHI_VALUE_RESULT, value->about != 0 ? value->about : value->n);

    switch (value->kind) {
    case LHI_VALUE_NUMBER:
    case LHI_VALUE_FRAME:
    case LHI_VALUE_AROUND:
        return lhi_key(value->kind, value->n);
    case LHI_VALUE_RESULT:
    case LHI_VALUE_INSIDE:
        key = value->delta != 0 ? lhi_key(key, value->delta) : key;
        return value->part != 0 ? lhi_key(key, value->part) : key;
    case LHI_VALUE_RANGE:
        return lhi_key(LHI_VALUE_RESULT, value->n);
    case LHI_VALUE_FLAGS:
        return lhi_key(lhi_key(LHI_VALUE_FLAGS, value->n), value->about);
    default:
        return 0;
    }
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

lhi_object *lhi_state_object_of_flags(lhi_state *state, const lhi_value *flags)
{
    lhi_value who = {.kind = (lhi_value_kind)flags->how, .n = flags->n};

    return flags->kind == LHI_VALUE_FLAGS ? lhi_state_object(state, &who) : NULL;
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

uint64_t lhi_value_length(const lhi_value *value)
{
    lhi_value length = *value;

    if (lhi_value_is_number(value, 4))
        length = lhi_value_number(lhi_value_cut(value->n, 4));
    if (length.part == 4)
        length.part = 0;
    return lhi_value_key(&length);
}

/* Of _MDL, public: ByteCount and ByteOffset, by which an unlock counts the pages. */
#define LENGTH_OFFSET 0x28
#define LENGTH_END    0x30

void lhi_object_write(lhi_object *object, uint64_t offset, uint8_t width, uint64_t length, uint64_t at)
{
    if (object->lock != LHI_LOCK_HELD || offset >= LENGTH_END || offset + width <= LENGTH_OFFSET)
        return;
    bool whole = offset == LENGTH_OFFSET && width == 4 && length != 0 && object->length != 0;
    if (whole && length == object->length)
        object->changed = 0; /* it is what it was */
    else
        object->changed = whole && object->changed == 0 ? at : LHI_CHANGED_AGAIN;
}

bool lhi_state_is_given(const lhi_object *object)
{
    return object->lock >= LHI_LOCK_GIVEN;
}

/* A pointer that was given: it is followed no more. */
static void drop(lhi_state *state, const lhi_object *object)
{
    if (lhi_state_is_given(object) && object->who.n - LHI_ARGUMENT < LHI_EFFECTS)
        lhi_given_drop(state, (size_t)(object->who.n - LHI_ARGUMENT));
}

void lhi_state_forget(lhi_state *state, lhi_object *object)
{
    size_t at = (size_t)(object - state->objects);

    drop(state, object);
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
    while (state->object_count > 0)
        lhi_state_forget(state, &state->objects[state->object_count - 1]);
}

void lhi_state_share(lhi_state *state, const lhi_value *value)
{
    lhi_object *object = lhi_state_object(state, value);

    if (object != NULL) {
        object->own = false;
        drop(state, object);
    }
    if (!lhi_value_leads_to_frame(value))
        return;
    /* whoever has an address in the frame may read and write all of the structure that it lies in: what of
     * the frame that is the code does not tell */
    state->exposed = true;
    for (size_t i = 0; i < state->object_count; i++)
        if (state->objects[i].who.kind == LHI_VALUE_FRAME)
            state->objects[i].own = false;
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *local = &state->locals[i];
        object = local->width != 0 && local->offset >= LHI_FRAME_LEAST
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

void lhi_state_lose(lhi_state *state, int64_t from, int64_t to)
{
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        lhi_object *object =
            overlaps(&state->locals[i], from, to) ? lhi_state_object(state, &state->locals[i].value) : NULL;
        if (object != NULL)
            lhi_state_forget(state, object);
    }
}

/* One that a branch may have been decided by. */
static bool is_telling(const lhi_value *value)
{
    return value->kind == LHI_VALUE_NUMBER || value->kind == LHI_VALUE_LOW_BYTE ||
           value->kind == LHI_VALUE_ANSWER || value->kind == LHI_VALUE_RANGE || value->join == LHI_JOIN_DOUBT;
}

lhi_value lhi_state_stored(const lhi_state *state, int64_t offset, uint8_t width)
{
    for (size_t i = 0; width != 0 && i < LHI_LOCALS; i++)
        if (state->locals[i].width == width && state->locals[i].offset == offset)
            return state->locals[i].value;
    return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
}

lhi_value lhi_state_load(const lhi_state *state, int64_t offset, uint8_t width)
{
    for (size_t i = 0; width != 0 && i < LHI_LOCALS; i++) {
        const lhi_local *local = &state->locals[i];
        if (local->value.kind == LHI_VALUE_NUMBER && local->width > width && local->width <= 8 &&
            local->offset <= offset && offset + width <= local->offset + local->width)
            return lhi_value_number(lhi_value_cut(local->value.n >> (8 * (offset - local->offset)), width));
    }
    return lhi_state_stored(state, offset, width);
}

bool lhi_state_overlaps(const lhi_state *state, int64_t from, int64_t to)
{
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (overlaps(&state->locals[i], from, to))
            return true;
    return false;
}

void lhi_state_spoil(lhi_state *state, int64_t from, int64_t to)
{
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (overlaps(&state->locals[i], from, to))
            state->locals[i].width = 0;
}

/* A branch may have been decided by it, or may be. */
static bool is_told(const lhi_state *state, const lhi_value *value)
{
    lhi_value whole = *value;

    whole.part = 0;
    whole.delta = 0;
    return is_telling(value) || value->join != 0 || lhi_facts_has(&state->facts, lhi_value_key(&whole));
}

static struct lhi_stored *stored_at(lhi_stores *stores, int64_t offset)
{
    for (size_t i = 0; i < stores->count; i++)
        if (stores->all[i].offset == offset)
            return &stores->all[i];
    return NULL;
}

static void note_store(lhi_stores *stores, int64_t offset, uint8_t width, const lhi_value *value)
{
    uint64_t key = value->kind == LHI_VALUE_NUMBER ? lhi_key(lhi_value_key(value), width) : 0;
    struct lhi_stored *place = stored_at(stores, offset);

    if (place == NULL) {
        stores->broken = stores->broken || (stores->relied && stores->count == LHI_STORES);
        stores->full = stores->full || stores->count == LHI_STORES;
        if (stores->count < LHI_STORES)
            stores->all[stores->count++] = (struct lhi_stored){offset, key};
    } else if (place->key != key && place->key != 0) {
        place->key = 0;
        stores->broken = stores->broken || stores->relied;
    }
}

/* Nothing else is ever stored there. */
static bool is_always_so(lhi_stores *stores, const lhi_local *local)
{
    const struct lhi_stored *place = stored_at(stores, local->offset);

    stores->relied = true;
    return !stores->full && place != NULL && place->key != 0;
}

void lhi_state_doubt(lhi_state *state, int64_t from, int64_t to)
{
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        lhi_local *local = &state->locals[i];
        if (!overlaps(local, from, to))
            continue;
        if (lhi_state_object(state, &local->value) == NULL && is_told(state, &local->value) &&
            !is_always_so(state->stores, local))
            local->value = (lhi_value){.kind = LHI_VALUE_RESULT,
                                       .n = LHI_PART,
                                       .about = lhi_key(LHI_PART, (uint64_t)local->offset),
                                       .join = LHI_JOIN_DOUBT};
        else
            local->width = 0;
    }
}

void lhi_state_store(lhi_state *state, int64_t offset, uint8_t width, const lhi_value *value)
{
    lhi_local *place = NULL;

    lhi_state_spoil(state, offset, offset + width);
    note_store(state->stores, offset, width, value);
    if (value->kind == LHI_VALUE_UNKNOWN)
        return;
    if (state->exposed && offset >= LHI_FRAME_LEAST)
        lhi_state_share(state, value);
    for (size_t i = 0; i < LHI_LOCALS && place == NULL; i++)
        if (state->locals[i].width == 0)
            place = &state->locals[i];
    for (size_t i = 0; i < LHI_LOCALS && place == NULL; i++)
        if (lhi_state_object(state, &state->locals[i].value) == NULL &&
            !is_telling(&state->locals[i].value) && state->locals[i].offset >= LHI_FRAME_LEAST)
            place = &state->locals[i];
    for (size_t i = 0; i < LHI_LOCALS && place == NULL; i++) {
        if (lhi_state_object(state, &state->locals[i].value) == NULL) {
            place = &state->locals[i];
            state->lossy = true;
        }
    }
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

/* ------------------------------------------------------------------ joining */

bool lhi_state_agrees(const lhi_state *a, const lhi_state *b)
{
    if (a->object_count != b->object_count)
        return false;
    for (size_t i = 0; i < a->object_count; i++) {
        const lhi_object *x = &a->objects[i], *y = &b->objects[i];
        if (x->who.kind != y->who.kind || x->who.n != y->who.n || x->lock != y->lock || x->own != y->own ||
            x->needs != y->needs || x->since != y->since || x->length != y->length ||
            x->changed != y->changed)
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

/* Where a value lies, as 32 bits. false: anywhere. */
static bool hull_of(const lhi_state *state, const lhi_value *value, lhi_hull *hull)
{
    lhi_value whole = *value;

    switch (value->kind) {
    case LHI_VALUE_NUMBER:
        *hull = (lhi_hull){value->n, value->n};
        return value->n <= UINT32_MAX;
    case LHI_VALUE_RANGE:
        *hull = (lhi_hull){value->about, value->delta};
        return true;
    case LHI_VALUE_ANSWER:
        *hull = (lhi_hull){0, 1};
        return true;
    case LHI_VALUE_RESULT:
        whole.part = 0;
        return value->part == 4 && value->delta == 0 &&
               lhi_facts_hull(&state->facts, lhi_value_key(&whole), 4, hull);
    default:
        return false;
    }
}

/* What stands at a place where two ways are joined that have different values there. */
static lhi_value joined(const lhi_state *a, const lhi_state *b, const lhi_value *mine,
                        const lhi_value *theirs, uint64_t join, uint64_t place)
{
    bool told = is_telling(mine) || is_telling(theirs) || lhi_facts_has(&a->facts, lhi_value_key(mine)) ||
                lhi_facts_has(&b->facts, lhi_value_key(theirs));
    lhi_hull x = {0}, y = {0};
    lhi_value both = {.kind = LHI_VALUE_RESULT, .n = lhi_key(join + 1, place) | 1ull << 63};

    both.join = told ? lhi_facts_join_number(join) : 0;
    if (mine->join == LHI_JOIN_DOUBT || theirs->join == LHI_JOIN_DOUBT)
        both.join = LHI_JOIN_DOUBT;
    if (lhi_value_leads_to_frame(mine) || lhi_value_leads_to_frame(theirs)) {
        both.kind = LHI_VALUE_AROUND;
        return both;
    }
    if (!hull_of(a, mine, &x) || !hull_of(b, theirs, &y))
        return both;
    both.kind = LHI_VALUE_RANGE;
    both.about = x.low < y.low ? x.low : y.low;
    both.delta = x.high > y.high ? x.high : y.high;
    return both;
}

/* true: `mine` has become less. */
static bool join_value(lhi_state *a, const lhi_state *b, lhi_value *mine, const lhi_value *theirs,
                       uint64_t join, uint64_t place)
{
    const lhi_value was = *mine;

    if (lhi_value_same(mine, theirs))
        return false;
    *mine = joined(a, b, &was, theirs, join, place);
    if (was.n == mine->n && was.join != 0 && mine->join != LHI_JOIN_DOUBT)
        mine->join = was.join;
    if (lhi_value_same(&was, mine))
        return false;
    lose(a, &was);
    lose(a, theirs);
    return true;
}

static bool join_registers(lhi_state *a, const lhi_state *b, uint64_t join)
{
    bool less = false;

    for (size_t i = 0; i < 16; i++)
        less = join_value(a, b, &a->registers[i], &b->registers[i], join, i) || less;
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

static bool join_locals(lhi_state *a, const lhi_state *b, uint64_t join)
{
    bool less = false;

    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *theirs = &b->locals[i];
        lhi_value mine = lhi_state_stored(a, theirs->offset, theirs->width);
        if (theirs->width != 0 && !lhi_value_same(&theirs->value, &mine))
            lose(a, &theirs->value);
        less = (theirs->fresh && freshen(a, theirs)) || less;
    }
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        lhi_local *mine = &a->locals[i];
        lhi_value theirs = lhi_state_stored(b, mine->offset, mine->width);
        if (mine->width != 0)
            less = join_value(a, b, &mine->value, &theirs, join, lhi_key(16, (uint64_t)mine->offset)) || less;
    }
    return less;
}

bool lhi_state_join(lhi_state *a, const lhi_state *b, uint64_t place)
{
    size_t before = a->object_count;
    bool full = false;
    bool less = join_registers(a, b, place);

    less = lhi_given_join(a, b) || less;
    less = join_locals(a, b, place) || less;
    less = lhi_facts_join(&a->facts, &b->facts, place, &full) || less;
    if ((b->lossy || full) && !a->lossy)
        less = a->lossy = true;
    if (b->exposed && !a->exposed) {
        const lhi_value frame = {.kind = LHI_VALUE_FRAME};
        lhi_state_share(a, &frame);
        less = true;
    }
    return less || a->object_count < before;
}
