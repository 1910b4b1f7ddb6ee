/* Values through instructions, and what branches tell of them. */
#include "code/step.h"

/* Offsets in a frame beyond this are no frame's: kernel stacks have 24 KiB, or some more for graphics. */
#define MOST_FRAME (1 << 20)

/* ------------------------------------------------------------------ keys of questions */

enum { ZERO = 2, SIGN = 4, LESS = 6 }; /* conditions 4, 8 and 12, without the bit that turns them round */

/* Finalizer of MurmurHash3 (public domain). */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t key = a * 0x9e3779b97f4a7c15ull ^ b;

    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdull;
    key ^= key >> 33;
    return key | 1; /* 0: none */
}

/* Equal for values that are equal on every way; 0: none. */
static uint64_t key_of(const lhi_value *value)
{
    switch (value->kind) {
    case LHI_VALUE_NUMBER:
        return mix(LHI_VALUE_NUMBER, value->n);
    case LHI_VALUE_FRAME:
        return mix(LHI_VALUE_FRAME, value->n);
    case LHI_VALUE_RESULT:
        return mix(LHI_VALUE_RESULT, value->about != 0 ? value->about : value->n);
    default:
        return 0;
    }
}

/* ------------------------------------------------------------------ values */

static lhi_value number(uint64_t n)
{
    return (lhi_value){.kind = LHI_VALUE_NUMBER, .n = n};
}

static uint64_t cut(uint64_t value, uint8_t width)
{
    return width >= 8 ? value : value & ((1ull << (8 * width)) - 1);
}

static bool is_number(const lhi_value *value, uint8_t width)
{
    return value->kind == LHI_VALUE_NUMBER || (value->kind == LHI_VALUE_LOW_BYTE && width == 1);
}

static lhi_value unknown(void)
{
    return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
}

lhi_value lhi_step_result(lhi_state *state, uint64_t index, uint64_t about)
{
    lhi_value result = {.kind = LHI_VALUE_RESULT, .n = index, .about = about};
    lhi_value inside = {.kind = LHI_VALUE_INSIDE, .n = index};
    lhi_value nothing = unknown();
    lhi_object *old = lhi_state_object(state, &result);

    /* in a loop: what it gave the last time round is not the same */
    if (old != NULL)
        lhi_state_forget(state, old);
    lhi_state_replace(state, &result, &nothing);
    lhi_state_replace(state, &inside, &nothing);
    return result;
}

static lhi_value moved(const lhi_value *value, uint64_t by)
{
    switch (value->kind) {
    case LHI_VALUE_NUMBER:
        return number(value->n + by);
    case LHI_VALUE_FRAME: {
        int64_t offset = (int64_t)(value->n + by);
        if (offset > MOST_FRAME || offset < -MOST_FRAME)
            return unknown();
        return (lhi_value){.kind = LHI_VALUE_FRAME, .n = value->n + by};
    }
    case LHI_VALUE_RESULT:
    case LHI_VALUE_INSIDE:
        if (by == 0)
            return *value;
        return (lhi_value){.kind = LHI_VALUE_INSIDE, .n = value->n};
    default:
        return unknown();
    }
}

/* ------------------------------------------------------------------ memory operands */

/* A place in the frame: *offset. */
static bool in_frame(const lhi_state *state, const lhi_code *code, int64_t *offset)
{
    if (!code->has_memory || code->has_place || code->base == LHI_NO_REGISTER ||
        code->index != LHI_NO_REGISTER)
        return false;
    lhi_value at = moved(&state->registers[code->base], (uint64_t)code->displacement);
    if (at.kind != LHI_VALUE_FRAME)
        return false;
    *offset = (int64_t)at.n;
    return true;
}

/* Somewhere in the frame, the code does not tell where. */
static bool about_frame(const lhi_state *state, const lhi_code *code)
{
    return code->has_memory && !code->has_place &&
           ((code->base != LHI_NO_REGISTER && state->registers[code->base].kind == LHI_VALUE_FRAME) ||
            (code->index != LHI_NO_REGISTER && state->registers[code->index].kind == LHI_VALUE_FRAME));
}

/* Key of what a memory operand outside the frame holds, as long as nobody writes it; 0: none. */
static uint64_t key_of_memory(const lhi_state *state, const lhi_code *code)
{
    uint64_t where = 0;

    if (code->has_place)
        where = mix(1, code->place);
    else if (code->base != LHI_NO_REGISTER && code->index == LHI_NO_REGISTER)
        where = key_of(&state->registers[code->base]);
    if (where == 0)
        return 0;
    return mix(mix(where, code->has_place ? 0 : (uint64_t)code->displacement), code->width);
}

/* MDLs whose pointers are read in a way that is not followed. */
static void lose_locals(lhi_state *state, int64_t from, int64_t to)
{
    for (size_t i = 0; i < LHI_LOCALS; i++) {
        const lhi_local *local = &state->locals[i];
        lhi_object *object = local->width != 0 && local->offset < to && from < local->offset + local->width
                                 ? lhi_state_object(state, &local->value)
                                 : NULL;
        if (object != NULL)
            lhi_state_forget(state, object);
    }
}

static void other_memory(lhi_state *state, const lhi_code *code)
{
    int64_t offset = 0;
    bool strings = (code->written & 1u << LHI_RDI) != 0 || (code->written & 1u << LHI_RSI) != 0;

    if (!code->has_memory)
        return;
    if (!strings && in_frame(state, code, &offset)) {
        if (code->reads_memory)
            lose_locals(state, offset, offset + code->width);
        if (code->writes_memory)
            lhi_state_spoil(state, offset, offset + code->width);
        return;
    }
    bool frame = about_frame(state, code) || (strings && (state->registers[LHI_RDI].kind == LHI_VALUE_FRAME ||
                                                          state->registers[LHI_RSI].kind == LHI_VALUE_FRAME));
    if (!frame)
        return;
    lose_locals(state, INT64_MIN, INT64_MAX);
    if (code->writes_memory)
        lhi_state_spoil(state, INT64_MIN, INT64_MAX);
}

/* ------------------------------------------------------------------ instructions */

/* Registers that it reads as values, not as addresses. */
static void lose_read(lhi_state *state, const lhi_code *code)
{
    uint32_t read = code->read;

    if (code->base < 16)
        read &= ~(1u << code->base);
    if (code->index < 16)
        read &= ~(1u << code->index);
    for (unsigned i = 0; i < 16; i++) {
        lhi_object *object = (read >> i & 1) != 0 ? lhi_state_object(state, &state->registers[i]) : NULL;
        if (object != NULL)
            lhi_state_forget(state, object);
    }
}

/* 0: it depends on something that is not known. */
static uint64_t key_of_operation(const lhi_state *state, const lhi_code *code)
{
    uint64_t key = code->operation;

    for (unsigned i = 0; i < 16; i++) {
        if ((code->read >> i & 1) == 0)
            continue;
        uint64_t read = key_of(&state->registers[i]);
        if (read == 0)
            return 0;
        key = mix(key, read);
    }
    return key;
}

static void other(lhi_state *state, const lhi_code *code, uint64_t index)
{
    bool one = (code->written & (code->written - 1)) == 0;
    uint64_t about = code->operation != 0 && one ? key_of_operation(state, code) : 0;

    lose_read(state, code);
    other_memory(state, code);
    for (unsigned i = 0; i < 16; i++)
        if ((code->written >> i & 1) != 0)
            state->registers[i] = one ? lhi_step_result(state, index, about) : unknown();
}

static void load(lhi_state *state, const lhi_code *code, uint64_t index)
{
    int64_t offset = 0;
    uint64_t about = 0;
    lhi_value value = unknown();

    if (in_frame(state, code, &offset)) {
        value = lhi_state_load(state, offset, code->width);
        if (value.kind == LHI_VALUE_UNKNOWN)
            lose_locals(state, offset, offset + code->width);
        if (value.kind == LHI_VALUE_RESULT && code->does == LHI_DOES_LOAD_PART) {
            about = value.about;
            value = unknown();
        }
        if (code->does == LHI_DOES_LOAD_PART && (value.kind != LHI_VALUE_NUMBER || value.n >= 0x80))
            value = unknown(); /* with or without a sign: the same below this */
    } else {
        if (about_frame(state, code))
            lose_locals(state, INT64_MIN, INT64_MAX);
        about = key_of_memory(state, code);
    }
    if (value.kind == LHI_VALUE_UNKNOWN)
        value = lhi_step_result(state, index, about);
    state->registers[code->destination] = value;
}

/* The key of a question; 0: none that could be asked again. */
static uint64_t key_of_question(const lhi_value *left, const lhi_value *right, uint8_t width, bool masks,
                                unsigned condition)
{
    uint64_t a = key_of(left), b = key_of(right);

    return a == 0 || b == 0 ? 0 : mix(mix(a, b), (uint64_t)width << 8 | (masks ? 0x10u : 0u) | condition);
}

/* A number outside the frame: a flag that is asked for later. */
static void learn_stored(lhi_state *state, const lhi_code *code, const lhi_value *value)
{
    lhi_value cell = {.kind = LHI_VALUE_RESULT, .about = key_of_memory(state, code)};
    lhi_value zero = number(0);

    if (cell.about != 0 && value->kind == LHI_VALUE_NUMBER)
        lhi_state_learn(state, key_of_question(&cell, &zero, code->width, false, ZERO), value->n == 0);
}

static void store(lhi_state *state, const lhi_code *code, const lhi_value *value)
{
    int64_t offset = 0;

    if (in_frame(state, code, &offset)) {
        lhi_state_store(state, offset, code->width, value);
        return;
    }
    if (about_frame(state, code)) {
        lose_locals(state, INT64_MIN, INT64_MAX);
        lhi_state_spoil(state, INT64_MIN, INT64_MAX);
    }
    lhi_state_share(state, value);
    learn_stored(state, code, value);
}

/* Part of a register into the frame: what is asked about it later is asked about the register. */
static void store_part(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value value = state->registers[code->source];
    int64_t offset = 0;

    if (lhi_state_object(state, &value) != NULL || !in_frame(state, code, &offset)) {
        other(state, code, index);
        return;
    }
    if (is_number(&value, code->width))
        value = number(cut(value.n, code->width));
    else if (value.kind == LHI_VALUE_RESULT)
        value = (lhi_value){LHI_VALUE_RESULT, LHI_PART, value.about != 0 ? value.about : value.n};
    else
        value = unknown();
    lhi_state_store(state, offset, code->width, &value);
}

static void push(lhi_state *state, const lhi_code *code)
{
    lhi_value *rsp = &state->registers[LHI_RSP];
    lhi_value pushed = code->source != LHI_NO_REGISTER ? state->registers[code->source] : unknown();

    other_memory(state, code); /* of a push from memory */
    *rsp = moved(rsp, 0 - 8ull);
    if (rsp->kind == LHI_VALUE_FRAME)
        lhi_state_store(state, (int64_t)rsp->n, 8, &pushed);
}

static void pop(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value *rsp = &state->registers[LHI_RSP];
    lhi_value popped = rsp->kind == LHI_VALUE_FRAME ? lhi_state_load(state, (int64_t)rsp->n, 8) : unknown();

    if (popped.kind == LHI_VALUE_UNKNOWN)
        popped = lhi_step_result(state, index, 0);
    *rsp = moved(rsp, 8);
    if (code->destination != LHI_NO_REGISTER)
        state->registers[code->destination] = popped;
    else
        other_memory(state, code);
}

/* What is asked about the copy is asked about the original. */
static void copy_half(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value from = state->registers[code->source];

    if (from.kind == LHI_VALUE_NUMBER)
        state->registers[code->destination] = number(from.n & 0xffffffffu);
    else if (from.kind == LHI_VALUE_RESULT && lhi_state_object(state, &from) == NULL)
        state->registers[code->destination] =
            lhi_step_result(state, index, from.about != 0 ? from.about : from.n);
    else
        other(state, code, index);
}

static void constant(lhi_state *state, const lhi_code *code)
{
    lhi_value *to = &state->registers[code->destination];

    if (code->width != 1)
        *to = number(code->value);
    else if (to->kind == LHI_VALUE_NUMBER)
        *to = number((to->n & ~0xffull) | code->value);
    else
        *to = (lhi_value){.kind = LHI_VALUE_LOW_BYTE, .n = code->value};
}

static void ask(lhi_state *state, const lhi_code *code, lhi_question *question)
{
    int64_t offset = 0;
    lhi_question asked = {.asked = true, .width = code->width, .masks = code->does == LHI_DOES_TEST};

    if (code->source != LHI_NO_REGISTER) {
        asked.left = state->registers[code->source];
    } else if (in_frame(state, code, &offset)) {
        asked.left = lhi_state_load(state, offset, code->width);
    } else {
        uint64_t key = key_of_memory(state, code);
        if (key != 0)
            asked.left = (lhi_value){.kind = LHI_VALUE_RESULT, .n = UINT64_MAX, .about = key};
    }
    asked.right = code->other != LHI_NO_REGISTER ? state->registers[code->other] : number(code->value);
    if (asked.masks && code->source != LHI_NO_REGISTER && code->source == code->other) {
        asked.masks = false; /* the same flags as a comparison with zero */
        asked.right = number(0);
    }
    *question = asked;
}

void lhi_step(lhi_state *state, const lhi_code *code, uint64_t index, lhi_question *question)
{
    lhi_value value = unknown();

    if (code->flags)
        question->asked = false;
    switch (code->does) {
    case LHI_DOES_NOTHING:
        other_memory(state, code);
        lose_read(state, code); /* into a vector register, for instance */
        break;
    case LHI_DOES_COPY:
        state->registers[code->destination] = state->registers[code->source];
        break;
    case LHI_DOES_COPY_HALF:
        copy_half(state, code, index);
        break;
    case LHI_DOES_CONSTANT:
        constant(state, code);
        break;
    case LHI_DOES_ADDRESS:
        value = code->has_place ? number(code->place)
                                : moved(&state->registers[code->base], (uint64_t)code->displacement);
        state->registers[code->destination] =
            value.kind != LHI_VALUE_UNKNOWN ? value : lhi_step_result(state, index, 0);
        break;
    case LHI_DOES_LOAD:
    case LHI_DOES_LOAD_PART:
        load(state, code, index);
        break;
    case LHI_DOES_STORE:
        store(state, code, &state->registers[code->source]);
        break;
    case LHI_DOES_STORE_PART:
        store_part(state, code, index);
        break;
    case LHI_DOES_STORE_VALUE:
        value = number(code->value);
        store(state, code, &value);
        break;
    case LHI_DOES_ADD:
        value = moved(&state->registers[code->destination], code->value);
        state->registers[code->destination] =
            value.kind != LHI_VALUE_UNKNOWN ? value : lhi_step_result(state, index, 0);
        break;
    case LHI_DOES_SUBTRACT:
        value = state->registers[code->source];
        if (value.kind == LHI_VALUE_NUMBER)
            state->registers[code->destination] = moved(&state->registers[code->destination], 0 - value.n);
        else
            other(state, code, index);
        break;
    case LHI_DOES_PUSH:
        push(state, code);
        break;
    case LHI_DOES_POP:
        pop(state, code, index);
        break;
    case LHI_DOES_COMPARE:
    case LHI_DOES_TEST:
        ask(state, code, question);
        break;
    case LHI_DOES_OTHER:
        other(state, code, index);
        break;
    }
}

/* ------------------------------------------------------------------ branches */

/* The condition for two numbers (Intel SDM, Jcc). false: one that is not computed. */
static bool compute(const lhi_question *question, unsigned condition, bool *holds)
{
    uint64_t top = 1ull << (8 * question->width - 1);
    uint64_t left = cut(question->left.n, question->width), right = cut(question->right.n, question->width);
    uint64_t result = cut(question->masks ? left & right : left - right, question->width);
    bool zero = result == 0, sign = (result & top) != 0;
    bool carry = !question->masks && left < right;
    bool overflow = !question->masks && ((left ^ right) & (left ^ result) & top) != 0;

    switch (condition) {
    case 0:
        *holds = overflow;
        return true;
    case 1:
        *holds = carry;
        return true;
    case ZERO:
        *holds = zero;
        return true;
    case 3:
        *holds = carry || zero;
        return true;
    case SIGN:
        *holds = sign;
        return true;
    case LESS:
        *holds = sign != overflow;
        return true;
    case 7:
        *holds = zero || sign != overflow;
        return true;
    default:
        return false; /* parity */
    }
}

static bool is_zero(const lhi_value *value)
{
    return value->kind == LHI_VALUE_NUMBER && value->n == 0;
}

/* A pointer against NULL: one that was locked is none. false: nothing is known. */
static bool assume_pointer(lhi_state *state, const lhi_question *question, bool null, bool *possible)
{
    lhi_object *object = lhi_state_object(state, &question->left);
    lhi_value zero = number(0);

    if (question->left.kind == LHI_VALUE_FRAME || question->left.kind == LHI_VALUE_INSIDE) {
        *possible = !null;
        return true;
    }
    if (object == NULL)
        return false;
    *possible = !null || object->lock == LHI_LOCK_NEVER;
    if (null && *possible) {
        lhi_value was = question->left;
        lhi_state_forget(state, object);
        lhi_state_replace(state, &was, &zero);
    }
    return true;
}

bool lhi_step_assume(lhi_state *state, const lhi_question *question, uint8_t condition, bool outcome)
{
    bool known = false, possible = true;
    unsigned which = condition >> 1;
    bool holds = outcome != ((condition & 1) != 0); /* of the condition that is not turned round */

    if (!question->asked || condition == LHI_NO_CONDITION || question->width == 0 || question->width > 8)
        return true;
    if (is_number(&question->left, question->width) && is_number(&question->right, question->width))
        return !compute(question, which, &known) || known == holds;
    if (!question->masks && is_zero(&question->right)) {
        if (which == LESS)
            which = SIGN; /* nothing is lost in subtracting zero */
        if (which == ZERO && question->width == 8 && assume_pointer(state, question, holds, &possible))
            return possible;
    }
    uint64_t key =
        key_of_question(&question->left, &question->right, question->width, question->masks, which);
    if (key == 0)
        return true;
    if (lhi_state_recall(state, key, &known))
        return known == holds;
    lhi_state_learn(state, key, holds);
    if (which == ZERO && holds && !question->masks && question->width >= 4 &&
        question->left.kind == LHI_VALUE_RESULT && question->right.kind == LHI_VALUE_NUMBER &&
        lhi_state_object(state, &question->left) == NULL)
        lhi_state_replace(state, &question->left, &question->right);
    return true;
}
