/* Calls, and what they do to the MDLs in their arguments; whatever is doubtful is shared or forgotten. */
#include "code/effects.h"

#include "code/given.h"
#include "code/step.h"

/* ------------------------------------------------------------------ calls */

#define VOLATILE                                                                                             \
    (1u << LHI_RAX | 1u << LHI_RCX | 1u << LHI_RDX | 1u << LHI_R8 | 1u << LHI_R9 | 1u << LHI_R10 | 1u << 11)
#define HOME   0x20 /* the callee's home area (x64 calling convention) */
#define PASSED 0x40 /* eight more arguments: as many as routines have */

static bool is_shared(const lhi_object *object)
{
    return object == NULL || !object->own;
}

/* Two pointers that others know of can be the same. */
static void forget_aliases(lhi_state *state, const lhi_value *but)
{
    for (size_t i = state->object_count; i > 0; i--) {
        lhi_object *object = &state->objects[i - 1];
        if (!object->own && object != lhi_state_object(state, but))
            lhi_state_forget(state, object);
    }
}

/* The MDL in the first argument, where it is one that can be followed. */
static bool mdl_of(lhi_state *state, lhi_value *mdl)
{
    *mdl = state->registers[LHI_RCX];
    if (mdl->kind != LHI_VALUE_RESULT && mdl->kind != LHI_VALUE_FRAME) {
        lhi_state_forget_all(state); /* it could be any */
        return false;
    }
    if (is_shared(lhi_state_object(state, mdl)))
        forget_aliases(state, mdl);
    return true;
}

/* One step in the history of an argument; more than unlock and free is not told to the caller. */
static void given_step(lhi_state *state, lhi_object *object, lhi_lock from, lhi_lock to)
{
    if (object->lock == from)
        object->lock = to;
    else
        lhi_state_forget(state, object);
}

static void lock_object(lhi_state *state, lhi_object *object, uint64_t at)
{
    if (lhi_state_is_given(object)) {
        given_step(state, object, LHI_LOCK_GIVEN, LHI_LOCK_GIVEN_LOCKED);
        return;
    }
    object->lock = LHI_LOCK_HELD;
    object->since = at;
    object->changed = 0;
}

static void unlock_object(const lhi_teller *to, lhi_state *state, lhi_object *object, uint64_t at)
{
    if (lhi_state_is_given(object)) {
        given_step(state, object, LHI_LOCK_GIVEN, LHI_LOCK_GIVEN_UNLOCKED);
        return;
    }
    if (object->lock == LHI_LOCK_HELD && object->changed != 0 && object->changed != LHI_CHANGED_AGAIN)
        to->tell(to->user, LHI_FINDING_LENGTH_CHANGED, object->changed, at);
    if (object->lock == LHI_LOCK_GIVEN_UP)
        to->tell(to->user, LHI_FINDING_UNLOCK_TWICE, object->since, at);
    else if (object->lock == LHI_LOCK_NEVER && object->own)
        to->tell(to->user, LHI_FINDING_NEVER_LOCKED, object->since, at);
    object->lock = LHI_LOCK_GIVEN_UP;
    object->since = at;
}

static void free_object(const lhi_teller *to, lhi_state *state, lhi_object *object, uint64_t at)
{
    if (lhi_state_is_given(object)) {
        if (object->lock == LHI_LOCK_GIVEN_UNLOCKED)
            object->lock = LHI_LOCK_GIVEN_RELEASED;
        else
            given_step(state, object, LHI_LOCK_GIVEN, LHI_LOCK_GIVEN_FREED);
        return;
    }
    if (object->lock == LHI_LOCK_HELD)
        to->tell(to->user, LHI_FINDING_FREED_LOCKED, object->since, at);
    lhi_state_forget(state, object);
}

static void lock(lhi_state *state, uint64_t at)
{
    lhi_value mdl = {.kind = LHI_VALUE_UNKNOWN};

    if (!mdl_of(state, &mdl))
        return;
    lhi_object *object = lhi_state_object(state, &mdl);
    bool own = mdl.kind == LHI_VALUE_FRAME && !state->exposed;
    if (object != NULL)
        lock_object(state, object, at);
    else
        lhi_state_add(state, &mdl, LHI_LOCK_HELD, own, at);
}

static void unlock(const lhi_teller *to, lhi_state *state, uint64_t at)
{
    lhi_value mdl = {.kind = LHI_VALUE_UNKNOWN};

    if (!mdl_of(state, &mdl))
        return;
    lhi_object *object = lhi_state_object(state, &mdl);
    if (object != NULL)
        unlock_object(to, state, object, at);
    else
        lhi_state_add(state, &mdl, LHI_LOCK_GIVEN_UP, false, at);
}

static void release(const lhi_teller *to, lhi_state *state, uint64_t at)
{
    lhi_value mdl = {.kind = LHI_VALUE_UNKNOWN};

    if (!mdl_of(state, &mdl))
        return;
    lhi_object *object = lhi_state_object(state, &mdl);
    if (object != NULL)
        free_object(to, state, object, at);
}

/* Those behind the fourth lie on the stack; and what others know of may change. */
static void share_the_rest(lhi_state *state)
{
    const lhi_value *rsp = &state->registers[LHI_RSP];

    for (size_t i = 0; rsp->kind == LHI_VALUE_FRAME && i < LHI_LOCALS; i++) {
        int64_t place = state->locals[i].offset - (int64_t)rsp->n;
        if (state->locals[i].width != 0 && state->locals[i].fresh && place >= HOME && place < HOME + PASSED)
            lhi_state_share(state, &state->locals[i].value);
    }
    lhi_state_forget_shared(state);
    if (state->exposed)
        lhi_state_doubt(state, LHI_FRAME_LEAST, INT64_MAX);
}

/* Somebody who may keep, unlock and hand on whatever is given to him. */
static void strange_call(lhi_state *state)
{
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        lhi_state_share(state, &state->registers[lhi_state_arguments[i]]);
    share_the_rest(state);
}

/* The frame from an address on is used by a routine that keeps no address: up to where the third argument
 * says, for those that have a size there. */
static void used_by_call(lhi_state *state, const lhi_value *from, bool sized)
{
    const lhi_value *size = &state->registers[LHI_R8];
    int64_t begin = from->kind == LHI_VALUE_FRAME ? (int64_t)from->n : LHI_FRAME_LEAST;
    bool known =
        sized && from->kind == LHI_VALUE_FRAME && size->kind == LHI_VALUE_NUMBER && size->n <= LHI_FRAME_MOST;
    int64_t end = known ? begin + (int64_t)size->n : INT64_MAX;

    lhi_state_lose(state, begin, end);
    lhi_state_doubt(state, begin, end);
}

/* One that reads and writes only where it is told to. */
static void plain_call(lhi_state *state, bool sized)
{
    for (size_t i = 0; i < LHI_EFFECTS; i++) {
        const lhi_value *argument = &state->registers[lhi_state_arguments[i]];
        if (lhi_value_leads_to_frame(argument))
            used_by_call(state, argument, sized);
        else
            (void)lhi_given_reach(state, argument, LHI_REACH_READS | LHI_REACH_WRITES);
    }
}

/* One that fills in an MDL, or what it says of its mapping. */
static void mapping_call(lhi_state *state)
{
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        (void)lhi_given_reach(state, &state->registers[lhi_state_arguments[i]],
                              LHI_REACH_READS | LHI_REACH_WRITES);
}

bool lhi_effect_has_no_packet(const lhi_state *state)
{
    const lhi_value *rsp = &state->registers[LHI_RSP];
    lhi_value packet = rsp->kind == LHI_VALUE_FRAME ? lhi_state_load(state, (int64_t)rsp->n + HOME, 8) : *rsp;

    return packet.kind == LHI_VALUE_NUMBER && packet.n == 0;
}

bool lhi_effect_of_call(const lhi_teller *to, lhi_state *state, const lhi_routine *routine, uint64_t at)
{
    if (routine == NULL) {
        strange_call(state);
        return true;
    }
    switch (routine->role) {
    case LHI_ROLE_LOCK:
        lock(state, at);
        break;
    case LHI_ROLE_UNLOCK:
        unlock(to, state, at);
        break;
    case LHI_ROLE_FREE:
        release(to, state, at);
        break;
    case LHI_ROLE_ALLOCATE:
        break;
    case LHI_ROLE_BUILD:
    case LHI_ROLE_MAP:
        mapping_call(state);
        break;
    case LHI_ROLE_HARMLESS:
        plain_call(state, false);
        break;
    case LHI_ROLE_COPY:
        plain_call(state, true);
        break;
    case LHI_ROLE_NO_RETURN:
        return false;
    case LHI_ROLE_LOCK_FOR:
    case LHI_ROLE_LEND:
    case LHI_ROLE_PAGES:
    case LHI_ROLE_SEND:
    case LHI_ROLE_COMPLETE:
    case LHI_ROLE_LOOK_UP:
        strange_call(state);
        break;
    }
    return true;
}

lhi_value lhi_effect_of_return(lhi_state *state, size_t index, bool keeps)
{
    const lhi_value *rsp = &state->registers[LHI_RSP];

    if (rsp->kind == LHI_VALUE_FRAME)
        lhi_state_spoil(state, (int64_t)rsp->n, (int64_t)rsp->n + HOME);
    for (size_t i = 0; i < LHI_LOCALS; i++)
        state->locals[i].fresh = false;
    for (unsigned i = 0; i < 16; i++)
        if ((VOLATILE >> i & 1) != 0 && !(keeps && i == LHI_RAX))
            state->registers[i] = (lhi_value){.kind = LHI_VALUE_UNKNOWN};
    if (!keeps)
        state->registers[LHI_RAX] = lhi_step_result(state, index, 0);
    return state->registers[LHI_RAX];
}

/* ------------------------------------------------------------------ calls of the driver's own functions */

/* An MDL that nobody else knows of, and that is one argument and no more. */
static lhi_object *only_argument(lhi_state *state, size_t which)
{
    const lhi_value *value = &state->registers[lhi_state_arguments[which]];
    lhi_object *object = value->kind == LHI_VALUE_RESULT ? lhi_state_object(state, value) : NULL;

    for (size_t i = 0; object != NULL && i < LHI_EFFECTS; i++)
        if (i != which && lhi_state_object(state, &state->registers[lhi_state_arguments[i]]) == object)
            object = NULL;
    return object != NULL && object->own ? object : NULL;
}

/* false: what the ending needs is not so. */
static bool meets(lhi_object *object, const lhi_ending *ending, size_t which)
{
    if (ending->effects[which] == LHI_EFFECT_IS_NULL)
        return object->lock == LHI_LOCK_NEVER || object->lock == LHI_LOCK_GIVEN ||
               object->lock == LHI_LOCK_GIVEN_NULL;
    if (object->lock == LHI_LOCK_GIVEN_NULL)
        return ending->effects[which] <= LHI_EFFECT_NONE;
    if (ending->needs[which] == LHI_NEEDS_NOTHING)
        return true;
    if (object->lock == LHI_LOCK_GIVEN && object->needs == LHI_NEEDS_NOTHING)
        object->needs = ending->needs[which];
    bool locked = object->lock == LHI_LOCK_HELD || object->lock == LHI_LOCK_GIVEN_LOCKED ||
                  (object->lock == LHI_LOCK_GIVEN && object->needs == LHI_NEEDS_LOCKED);
    return locked == (ending->needs[which] == LHI_NEEDS_LOCKED);
}

static void affect(const lhi_teller *to, lhi_state *state, size_t which, const lhi_ending *ending,
                   uint64_t at)
{
    const lhi_value *argument = &state->registers[lhi_state_arguments[which]];
    lhi_effect effect = (lhi_effect)ending->effects[which];
    lhi_object *object = only_argument(state, which);
    bool kept = effect == LHI_EFFECT_NONE && ending->needs[which] == LHI_NEEDS_NOTHING;

    if (object != NULL && (ending->reaches[which] & LHI_REACH_WRITES) != 0)
        object->changed = LHI_CHANGED_AGAIN;
    for (size_t i = 0; object != NULL && i < ending->left_count; i++)
        if (ending->left[i].which == which)
            lhi_object_write(object, (uint64_t)ending->left[i].offset, ending->left[i].width, 0, at);
    if (kept && lhi_given_reach(state, argument, ending->reaches[which]))
        return;
    if (object == NULL || effect == LHI_EFFECT_UNKNOWN) {
        lhi_state_share(state, argument);
        return;
    }
    switch (effect) {
    case LHI_EFFECT_UNKNOWN:
    case LHI_EFFECT_NONE:
        break;
    case LHI_EFFECT_IS_NULL:
        if (object->lock == LHI_LOCK_GIVEN)
            object->lock = LHI_LOCK_GIVEN_NULL;
        else if (object->lock != LHI_LOCK_GIVEN_NULL)
            lhi_state_forget(state, object);
        break;
    case LHI_EFFECT_LOCKS:
        lock_object(state, object, at);
        break;
    case LHI_EFFECT_UNLOCKS:
        unlock_object(to, state, object, at);
        break;
    case LHI_EFFECT_FREES:
        free_object(to, state, object, at);
        break;
    case LHI_EFFECT_RELEASES:
        unlock_object(to, state, object, at);
        object = only_argument(state, which);
        if (object != NULL)
            free_object(to, state, object, at);
        break;
    }
}

/* What is known of the number that is given. */
static void learn_number(lhi_state *state, const lhi_value *result, const lhi_ending *ending)
{
    static const struct {
        uint8_t tells, condition;
        bool outcome;
    } all[] = {{LHI_TELLS_NEGATIVE, LHI_IF_SIGN, true},
               {LHI_TELLS_POSITIVE, LHI_IF_SIGN, false},
               {LHI_TELLS_ZERO, LHI_IF_EQUAL, true},
               {LHI_TELLS_NOT_ZERO, LHI_IF_EQUAL, false}};
    const lhi_question question = {
        .asked = true, .width = 4, .left = *result, .right = {.kind = LHI_VALUE_NUMBER}};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if ((ending->tells & all[i].tells) != 0)
            (void)lhi_question_assume(state, &question, (uint8_t)(all[i].condition << 1), all[i].outcome);
}

bool lhi_effect_of_ending(const lhi_teller *to, lhi_state *state, const lhi_own_call *call,
                          const lhi_ending *ending)
{
    for (size_t i = 0; i < LHI_EFFECTS; i++) {
        lhi_object *object = only_argument(state, i);
        bool frame = state->registers[lhi_state_arguments[i]].kind == LHI_VALUE_FRAME;
        if ((object != NULL && !meets(object, ending, i)) ||
            (frame && ending->effects[i] == LHI_EFFECT_IS_NULL))
            return false;
    }
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        affect(to, state, i, ending, call->at);
    share_the_rest(state);
    lhi_given_apply(state, ending, call->index, call->at, call->doubted);
    return true;
}

void lhi_effect_of_result(lhi_state *state, const lhi_own_call *call, const lhi_ending *ending)
{
    lhi_value result = lhi_effect_of_return(state, call->index, false);

    switch ((lhi_gives)ending->gives) {
    case LHI_GIVES_ANYTHING:
        learn_number(state, &result, ending);
        if (call->doubted)
            state->registers[LHI_RAX].join = LHI_JOIN_DOUBT;
        break;
    case LHI_GIVES_NUMBER:
        state->registers[LHI_RAX] = lhi_value_number(ending->number);
        break;
    case LHI_GIVES_UNLOCKED:
        lhi_state_add(state, &result, LHI_LOCK_NEVER, true, call->at);
        break;
    case LHI_GIVES_LOCKED:
        lhi_state_add(state, &result, LHI_LOCK_HELD, true, call->at);
        break;
    }
}

/* ------------------------------------------------------------------ the end of a way */

static uint8_t effect_of(lhi_state *state, size_t which, uint8_t *needs)
{
    const lhi_value argument = {.kind = LHI_VALUE_RESULT, .n = LHI_ARGUMENT + which};
    const lhi_object *object = lhi_state_object(state, &argument);

    *needs = LHI_NEEDS_NOTHING;
    if (object == NULL || !object->own || object == lhi_state_object(state, &state->registers[LHI_RAX]))
        return LHI_EFFECT_UNKNOWN;
    *needs = object->needs;
    switch (object->lock) {
    case LHI_LOCK_GIVEN:
        return LHI_EFFECT_NONE;
    case LHI_LOCK_GIVEN_NULL:
        return LHI_EFFECT_IS_NULL;
    case LHI_LOCK_GIVEN_LOCKED:
        return LHI_EFFECT_LOCKS;
    case LHI_LOCK_GIVEN_UNLOCKED:
        return LHI_EFFECT_UNLOCKS;
    case LHI_LOCK_GIVEN_FREED:
        return LHI_EFFECT_FREES;
    case LHI_LOCK_GIVEN_RELEASED:
        return LHI_EFFECT_RELEASES;
    default:
        return LHI_EFFECT_UNKNOWN;
    }
}

static uint8_t tells_of(const lhi_state *state, const lhi_value *result)
{
    lhi_question question = {.asked = true, .width = 4, .left = *result, .right = {.kind = LHI_VALUE_NUMBER}};
    uint8_t tells = 0;
    lhi_state other = *state;

    if (lhi_question_assume(&other, &question, LHI_IF_SIGN << 1, true) == LHI_WAY_CLOSED)
        tells |= LHI_TELLS_POSITIVE;
    other = *state;
    if (lhi_question_assume(&other, &question, LHI_IF_SIGN << 1, false) == LHI_WAY_CLOSED)
        tells |= LHI_TELLS_NEGATIVE;
    other = *state;
    if (lhi_question_assume(&other, &question, LHI_IF_EQUAL << 1, true) == LHI_WAY_CLOSED)
        tells |= LHI_TELLS_NOT_ZERO;
    other = *state;
    if (lhi_question_assume(&other, &question, LHI_IF_EQUAL << 1, false) == LHI_WAY_CLOSED)
        tells |= LHI_TELLS_ZERO;
    return tells;
}

void lhi_effect_sum_up(lhi_state *state, lhi_summary *summary)
{
    const lhi_value *result = &state->registers[LHI_RAX];
    const lhi_object *object = lhi_state_object(state, result);
    lhi_ending ending = {.gives = LHI_GIVES_ANYTHING};

    for (size_t i = 0; i < LHI_EFFECTS; i++)
        ending.effects[i] = effect_of(state, i, &ending.needs[i]);
    lhi_given_sum_up(state, &ending);
    if (object != NULL && object->own && !lhi_state_is_given(object) && result->kind == LHI_VALUE_RESULT &&
        object->lock != LHI_LOCK_GIVEN_UP && !lhi_given_holds(state, object)) {
        ending.gives = object->lock == LHI_LOCK_HELD ? LHI_GIVES_LOCKED : LHI_GIVES_UNLOCKED;
    } else {
        if (result->kind == LHI_VALUE_NUMBER) {
            ending.gives = LHI_GIVES_NUMBER;
            ending.number = result->n;
        }
        ending.tells = tells_of(state, result);
    }
    lhi_summary_add(summary, &ending);
}
