/* Values through instructions, and what branches tell of them. */
#include "code/step.h"

#include "code/given.h"
#include "code/memory.h"

/* ------------------------------------------------------------------ values */

static lhi_value unknown(void)
{
    return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
}

lhi_value lhi_step_result(lhi_state *state, uint64_t index, uint64_t about)
{
    lhi_value result = {.kind = LHI_VALUE_RESULT, .n = index, .about = about};
    lhi_value inside = {.kind = LHI_VALUE_INSIDE, .n = index};
    lhi_value flags = {.kind = LHI_VALUE_FLAGS, .n = index};
    lhi_value around = {.kind = LHI_VALUE_AROUND, .n = index};
    lhi_value nothing = unknown();
    lhi_object *old = lhi_state_object(state, &result);

    /* in a loop: what it gave the last time round is not the same */
    if (old != NULL)
        lhi_state_forget(state, old);
    if (about == 0)
        lhi_facts_forget(&state->facts, lhi_value_key(&result));
    lhi_state_replace(state, &result, &nothing);
    lhi_state_replace(state, &inside, &nothing);
    lhi_state_replace(state, &flags, &nothing);
    lhi_state_replace(state, &around, &nothing);
    return result;
}

/* ------------------------------------------------------------------ memory operands */

/* A place in the frame: *offset. */
static bool in_frame(const lhi_state *state, const lhi_code *code, int64_t *offset)
{
    if (!code->has_memory || code->has_place || code->base == LHI_NO_REGISTER ||
        code->index != LHI_NO_REGISTER)
        return false;
    lhi_value at = lhi_value_moved(&state->registers[code->base], (uint64_t)code->displacement);
    if (at.kind != LHI_VALUE_FRAME)
        return false;
    *offset = (int64_t)at.n;
    return true;
}

/* A place that is followed behind a pointer that the function was given: *offset. */
static bool behind_argument(lhi_state *state, const lhi_code *code, int64_t *offset)
{
    return code->has_memory && !code->has_place && code->base != LHI_NO_REGISTER &&
           code->index == LHI_NO_REGISTER &&
           lhi_given_place(state, &state->registers[code->base], code->displacement, offset);
}

/* Somewhere in the frame, the code does not tell where. */
static bool about_frame(const lhi_state *state, const lhi_code *code)
{
    return code->has_memory && !code->has_place &&
           ((code->base != LHI_NO_REGISTER && lhi_value_leads_to_frame(&state->registers[code->base])) ||
            (code->index != LHI_NO_REGISTER && lhi_value_leads_to_frame(&state->registers[code->index])));
}

/* Flags of an MDL that is followed: offset of MdlFlags in it, and their size (_MDL, public). */
#define FLAGS_OFFSET 0x0a
#define FLAGS_SIZE   2

/* How far into an MDL an address lies. false: it does not point to that MDL. */
static bool inside_of(const lhi_object *object, const lhi_value *at, uint64_t *offset)
{
    if (object->who.kind == LHI_VALUE_FRAME && at->kind == LHI_VALUE_FRAME)
        *offset = at->n - object->who.n;
    else if (object->who.kind == LHI_VALUE_RESULT && lhi_value_is_result(at) && at->n == object->who.n)
        *offset = at->delta;
    else
        return false;
    return true;
}

static uint8_t locked_bit(const lhi_object *object)
{
    switch (object->lock) {
    case LHI_LOCK_HELD:
    case LHI_LOCK_GIVEN_LOCKED:
        return LHI_BIT_SET;
    case LHI_LOCK_GIVEN:
        return object->needs == LHI_NEEDS_NOTHING ? LHI_BIT_UNKNOWN : object->needs == LHI_NEEDS_LOCKED;
    default:
        return LHI_BIT_CLEAR;
    }
}

/* A memory operand that is the flags of an MDL whose history is known. Other reads of them are not followed,
 * and neither is that MDL from there on. */
static bool read_flags(lhi_state *state, const lhi_code *code, lhi_value *flags)
{
    if (!code->has_memory || code->has_place || code->base == LHI_NO_REGISTER ||
        code->index != LHI_NO_REGISTER)
        return false;
    lhi_value at = lhi_value_moved(&state->registers[code->base], (uint64_t)code->displacement);
    for (size_t i = 0; i < state->object_count; i++) {
        lhi_object *object = &state->objects[i];
        uint64_t offset = 0;
        if (!inside_of(object, &at, &offset) || offset >= FLAGS_OFFSET + FLAGS_SIZE ||
            offset + code->width <= FLAGS_OFFSET)
            continue;
        if (offset == FLAGS_OFFSET && !code->extends_sign) {
            *flags = (lhi_value){.kind = LHI_VALUE_FLAGS,
                                 .n = object->who.n,
                                 .how = (uint8_t)object->who.kind,
                                 .about = code->width == 1 ? 0xff : 0xffff,
                                 .condition = locked_bit(object)};
            return true;
        }
        lhi_state_forget(state, object);
        return false;
    }
    return false;
}

/* A place in the frame gets a value that is not followed: it may tell of the way. */
static void write_something(lhi_state *state, const lhi_code *code, int64_t offset)
{
    const lhi_value something = {.kind = LHI_VALUE_RESULT,
                                 .n = LHI_PART,
                                 .about = lhi_key(code->address, (uint64_t)offset),
                                 .join = LHI_JOIN_DOUBT};

    lhi_memory_write(state, code, NULL);
    lhi_state_store(state, offset, code->width, &something);
}

static void other_memory(lhi_state *state, const lhi_code *code)
{
    int64_t offset = 0;
    bool strings = (code->written & 1u << LHI_RDI) != 0 || (code->written & 1u << LHI_RSI) != 0;

    if (!code->has_memory)
        return;
    if (!strings && in_frame(state, code, &offset)) {
        if (code->reads_memory)
            lhi_state_lose(state, offset, offset + code->width);
        if (code->writes_memory)
            write_something(state, code, offset);
        return;
    }
    bool frame =
        about_frame(state, code) || (strings && (lhi_value_leads_to_frame(&state->registers[LHI_RDI]) ||
                                                 lhi_value_leads_to_frame(&state->registers[LHI_RSI])));
    if (code->writes_memory)
        lhi_memory_write(state, code, NULL);
    if (!frame)
        return;
    lhi_state_lose(state, LHI_FRAME_LEAST, INT64_MAX);
    if (code->writes_memory)
        lhi_state_spoil(state, LHI_FRAME_LEAST, INT64_MAX);
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
        if (object == NULL && (read >> i & 1) != 0)
            object = lhi_state_object_of_flags(state, &state->registers[i]);
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
        uint64_t read = lhi_value_key(&state->registers[i]);
        if (read == 0)
            return 0;
        key = lhi_key(key, read);
    }
    return key;
}

/* What comes of answers goes together with what they were. true: there are some. */
static bool open_answers(lhi_state *state, const lhi_code *code)
{
    bool any = false;

    for (unsigned i = 0; i < 16; i++) {
        if ((code->read >> i & 1) == 0 || state->registers[i].kind != LHI_VALUE_ANSWER)
            continue;
        lhi_fact fact = lhi_question_of_answer(&state->registers[i]);
        bool known = false;
        if (lhi_facts_recall(&state->facts, &fact, NULL, &known) == LHI_ANSWERED)
            continue;
        state->lossy = !lhi_facts_open(&state->facts, &fact, code->address) || state->lossy;
        any = true;
    }
    return any;
}

static bool reads_doubt(const lhi_state *state, const lhi_code *code)
{
    for (unsigned i = 0; i < 16; i++)
        if ((code->read >> i & 1) != 0 && state->registers[i].join == LHI_JOIN_DOUBT)
            return true;
    return false;
}

/* Reads an address in the frame as a value. */
static bool reads_frame(const lhi_state *state, const lhi_code *code)
{
    for (unsigned i = 0; i < 16; i++)
        if ((code->read >> i & 1) != 0 && !(code->has_memory && (i == code->base || i == code->index)) &&
            lhi_value_leads_to_frame(&state->registers[i]))
            return true;
    return false;
}

/* What it gives may still be an address there; a cookie is made of one by XOR, and is none. */
static bool keeps_address(const lhi_code *code)
{
    return code->does == LHI_DOES_SUM || code->does == LHI_DOES_INDEX || code->does == LHI_DOES_SUBTRACT ||
           code->does == LHI_DOES_MASK || code->does == LHI_DOES_BOTH || code->does == LHI_DOES_CHOOSE;
}

static void other(lhi_state *state, const lhi_code *code, uint64_t index)
{
    const lhi_value frame = {.kind = LHI_VALUE_FRAME};
    bool leads = reads_frame(state, code);
    bool one = (code->written & (code->written - 1)) == 0;
    uint64_t about = code->operation != 0 && one ? key_of_operation(state, code) : 0;

    bool decided = open_answers(state, code), doubted = reads_doubt(state, code);

    lose_read(state, code);
    if (leads && code->writes_memory)
        lhi_state_share(state, &frame);
    other_memory(state, code);
    for (uint64_t i = 0; i < 16; i++) {
        if ((code->written >> i & 1) == 0)
            continue;
        state->registers[i] = lhi_step_result(state, one ? index : LHI_SEVERAL | i << 16 | index, about);
        state->registers[i].join = doubted   ? LHI_JOIN_DOUBT
                                   : decided ? lhi_facts_join_number(code->address)
                                             : 0;
        if (leads && keeps_address(code))
            state->registers[i].kind = LHI_VALUE_AROUND;
    }
}

/* A part of memory in the frame, of which the whole value is known. */
static lhi_value extended(const lhi_code *code, lhi_value value)
{
    uint8_t width = code->width;

    switch (value.kind) {
    case LHI_VALUE_NUMBER: {
        uint64_t top = 1ull << (8 * width - 1), low = lhi_value_cut(value.n, width);
        return lhi_value_number(code->extends_sign && (low & top) != 0 ? low | ~(top | (top - 1)) : low);
    }
    case LHI_VALUE_LOW_BYTE:
        return width == 1 && (!code->extends_sign || value.n < 0x80) ? lhi_value_number(value.n) : unknown();
    case LHI_VALUE_ANSWER:
        return value; /* 0 or 1 */
    case LHI_VALUE_RANGE:
        return value.delta <= lhi_value_cut(UINT64_MAX, width) >> (code->extends_sign ? 1 : 0) ? value
                                                                                               : unknown();
    case LHI_VALUE_FLAGS:
        value.about = lhi_value_cut(value.about, width);
        return value;
    case LHI_VALUE_RESULT:
        if (code->extends_sign)
            return unknown();
        if (value.part == 0 || value.part > width)
            value.part = width;
        if (value.about == 0)
            value.about = value.n;
        return value;
    default:
        return unknown();
    }
}

/* A register with what is known of one of its parts, or of a part of something else. */
static lhi_value part_of(lhi_state *state, const lhi_code *code, uint64_t index, const lhi_value *from)
{
    lhi_code plain = *code;
    lhi_hull hull = {0};
    lhi_value whole = *from;

    whole.part = 0;
    if (from->kind == LHI_VALUE_RESULT && code->extends_sign && from->delta == 0 &&
        lhi_facts_hull(&state->facts, lhi_value_key(&whole), code->width, &hull) &&
        hull.high <= lhi_value_cut(UINT64_MAX, code->width) >> 1)
        plain.extends_sign = false; /* what has no sign is not changed by extending it */
    lhi_value part = extended(&plain, *from);

    if (part.kind != LHI_VALUE_RESULT)
        return part;
    lhi_value result = lhi_step_result(state, index, part.about);
    part.n = result.n;
    return part;
}

static void load(lhi_state *state, const lhi_code *code, uint64_t index)
{
    int64_t offset = 0;
    bool part = code->does == LHI_DOES_LOAD_PART, doubted = false;
    lhi_value value = unknown();

    if (read_flags(state, code, &value)) {
        state->registers[code->destination] = value;
        return;
    }
    if (in_frame(state, code, &offset)) {
        value = lhi_state_load(state, offset, code->width);
        if (value.kind == LHI_VALUE_UNKNOWN) {
            lhi_state_lose(state, offset, offset + code->width);
            doubted = lhi_state_overlaps(state, offset, offset + code->width);
        }
        if (part && lhi_state_object(state, &value) == NULL)
            value = part_of(state, code, index, &value);
        else if (part)
            value = unknown();
    } else if (behind_argument(state, code, &offset)) {
        if (!part)
            value = lhi_state_load(state, offset, code->width);
        if (value.kind == LHI_VALUE_UNKNOWN)
            lhi_state_lose(state, offset, offset + code->width);
    } else if (about_frame(state, code)) {
        lhi_state_lose(state, LHI_FRAME_LEAST, INT64_MAX);
    }
    if (value.kind == LHI_VALUE_UNKNOWN) {
        value = lhi_step_result(state, index, lhi_memory_key(state, code));
        if (part && !code->extends_sign)
            value.part = code->width;
        else if (part && value.about != 0)
            value.about = lhi_key(LHI_DOES_LOAD_PART, value.about);
        if (doubted || lhi_memory_is_doubted(state, code))
            value.join = LHI_JOIN_DOUBT;
    }
    state->registers[code->destination] = value;
}

/* ------------------------------------------------------------------ questions */

static void store(lhi_state *state, const lhi_code *code, const lhi_value *value)
{
    int64_t offset = 0;

    if (in_frame(state, code, &offset)) {
        lhi_memory_write(state, code, value);
        lhi_state_store(state, offset, code->width, value);
        return;
    }
    if (about_frame(state, code)) {
        lhi_state_lose(state, LHI_FRAME_LEAST, INT64_MAX);
        lhi_state_spoil(state, LHI_FRAME_LEAST, INT64_MAX);
    }
    if (behind_argument(state, code, &offset))
        lhi_given_store(state, offset, code->width, value);
    else
        lhi_state_share(state, value);
    lhi_memory_write(state, code, value);
}

/* The part of a value that is stored: what is asked about it later is asked about the value. */
static lhi_value part_to_store(lhi_value value, uint8_t width)
{
    switch (value.kind) {
    case LHI_VALUE_RESULT:
        if (value.about == 0)
            value.about = value.n;
        if (value.part == 0 || value.part > width)
            value.part = width;
        value.n = LHI_PART;
        return value;
    case LHI_VALUE_ANSWER:
    case LHI_VALUE_FLAGS:
    case LHI_VALUE_RANGE:
        return value;
    default:
        return lhi_value_is_number(&value, width) ? lhi_value_number(lhi_value_cut(value.n, width))
                                                  : unknown();
    }
}

static void store_part(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value value = state->registers[code->source];
    int64_t offset = 0;

    if (lhi_state_object(state, &value) != NULL) {
        if (behind_argument(state, code, &offset))
            lhi_given_store(state, offset, code->width, &(lhi_value){.kind = LHI_VALUE_UNKNOWN});
        other(state, code, index);
        return;
    }
    value = part_to_store(value, code->width);
    if (!in_frame(state, code, &offset))
        lose_read(state, code); /* flags of an MDL, for instance */
    store(state, code, &value);
}

static void push(lhi_state *state, const lhi_code *code)
{
    lhi_value *rsp = &state->registers[LHI_RSP];
    lhi_value pushed = code->source != LHI_NO_REGISTER ? state->registers[code->source] : unknown();

    other_memory(state, code); /* of a push from memory */
    *rsp = lhi_value_moved(rsp, 0 - 8ull);
    if (rsp->kind == LHI_VALUE_FRAME)
        lhi_state_store(state, (int64_t)rsp->n, 8, &pushed);
}

static void pop(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value *rsp = &state->registers[LHI_RSP];
    lhi_value popped = rsp->kind == LHI_VALUE_FRAME ? lhi_state_load(state, (int64_t)rsp->n, 8) : unknown();

    if (popped.kind == LHI_VALUE_UNKNOWN)
        popped = lhi_step_result(state, index, 0);
    *rsp = lhi_value_moved(rsp, 8);
    if (code->destination != LHI_NO_REGISTER)
        state->registers[code->destination] = popped;
    else
        other_memory(state, code);
}

/* What is asked about the copy is asked about the original. */
static void copy_part(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value from = state->registers[code->source];
    lhi_value part = unknown();

    if (lhi_state_object(state, &from) == NULL)
        part = part_of(state, code, index, &from);
    if (part.kind != LHI_VALUE_UNKNOWN)
        state->registers[code->destination] = part;
    else
        other(state, code, index);
}

/* destination = `from` + by, in its lowest `width` bytes. */
static void add(lhi_state *state, const lhi_code *code, uint64_t index, const lhi_value *from, uint64_t by)
{
    lhi_value value = unknown();

    if (code->width >= 8) {
        value = lhi_value_moved(from, by);
    } else if (from->kind == LHI_VALUE_NUMBER) {
        value = lhi_value_number(lhi_value_cut(from->n + by, code->width));
    } else if (from->kind == LHI_VALUE_RESULT && lhi_state_object(state, from) == NULL &&
               (from->part == 0 || from->part == code->width)) {
        value = *from;
        value.part = code->width;
        value.about = from->about != 0 ? from->about : from->n;
        value.delta = lhi_value_cut(from->delta + by, code->width);
        value.n = lhi_step_result(state, index, value.about).n;
    }
    if (value.kind == LHI_VALUE_UNKNOWN) {
        lose_read(state, code);
        value = lhi_step_result(state, index, 0);
    }
    state->registers[code->destination] = value;
}

static void constant(lhi_state *state, const lhi_code *code)
{
    lhi_value *to = &state->registers[code->destination];

    if (code->width != 1)
        *to = lhi_value_number(code->value);
    else if (to->kind == LHI_VALUE_NUMBER)
        *to = lhi_value_number((to->n & ~0xffull) | code->value);
    else
        *to = (lhi_value){.kind = LHI_VALUE_LOW_BYTE, .n = code->value};
}

/* What is asked of a place in the frame; a part of something known is in doubt. */
static lhi_value ask_of_frame(const lhi_state *state, int64_t offset, uint8_t width)
{
    lhi_value value = lhi_state_load(state, offset, width);

    if (value.kind == LHI_VALUE_UNKNOWN && lhi_state_overlaps(state, offset, offset + width))
        value = (lhi_value){.kind = LHI_VALUE_RESULT,
                            .n = LHI_PART,
                            .about = lhi_key(LHI_PART, (uint64_t)offset),
                            .join = LHI_JOIN_DOUBT};
    return value;
}

static void ask(lhi_state *state, const lhi_code *code, lhi_question *question)
{
    int64_t offset = 0;
    lhi_question asked = {.asked = true, .width = code->width, .masks = code->does == LHI_DOES_TEST};

    if (code->source != LHI_NO_REGISTER) {
        asked.left = state->registers[code->source];
    } else if (!read_flags(state, code, &asked.left)) {
        uint64_t key = lhi_memory_key(state, code);
        if (in_frame(state, code, &offset))
            asked.left = ask_of_frame(state, offset, code->width);
        else if (about_frame(state, code))
            lhi_state_lose(state, LHI_FRAME_LEAST, INT64_MAX);
        if (asked.left.kind == LHI_VALUE_UNKNOWN && key != 0)
            asked.left = (lhi_value){.kind = LHI_VALUE_RESULT,
                                     .n = UINT64_MAX,
                                     .about = key,
                                     .part = code->width < 8 ? code->width : 0};
    }
    asked.right =
        code->other != LHI_NO_REGISTER ? state->registers[code->other] : lhi_value_number(code->value);
    if (asked.masks && code->source != LHI_NO_REGISTER && code->source == code->other) {
        asked.masks = false; /* the same flags as a comparison with zero */
        asked.right = lhi_value_number(0);
    }
    *question = asked;
}

/* What the flags say of a sum, a difference or a mask. */
static void ask_of_result(lhi_state *state, const lhi_code *code, const lhi_value *before,
                          lhi_question *question)
{
    lhi_question asked = {
        .asked = true, .width = code->width, .left = *before, .right = lhi_value_number(code->value)};

    if (code->does == LHI_DOES_MASK) {
        asked.masks = true;
    } else if (code->does == LHI_DOES_ADD) {
        asked.left = state->registers[code->destination];
        asked.right = lhi_value_number(0);
        asked.partly = true;
    }
    *question = asked;
}

static void mask(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value *to = &state->registers[code->destination];

    uint64_t kept = code->width == 1 ? code->value | ~0xffull : code->value;

    if (to->kind == LHI_VALUE_FLAGS)
        to->about &= kept;
    else if (to->kind == LHI_VALUE_NUMBER || to->kind == LHI_VALUE_LOW_BYTE)
        to->n &= kept;
    else if (to->kind != LHI_VALUE_ANSWER || (code->value & 1) == 0)
        other(state, code, index);
}

/* MDLs that are asked about in a way that is not followed. */
static void lose_question(lhi_state *state, const lhi_question *question)
{
    const lhi_value *sides[] = {&question->left, &question->right};

    for (size_t i = 0; question->asked && i < 2; i++) {
        lhi_object *object = lhi_state_object(state, sides[i]);
        if (object == NULL)
            object = lhi_state_object_of_flags(state, sides[i]);
        if (object != NULL)
            lhi_state_forget(state, object);
    }
}

static bool is_bit(const lhi_value *value, uint8_t width, uint64_t bit)
{
    return lhi_value_is_number(value, width) && lhi_value_cut(value->n, width) == bit;
}

/* destination &= source: of conditions, as far as one of them is known. */
static void both(lhi_state *state, const lhi_code *code, uint64_t index)
{
    lhi_value *to = &state->registers[code->destination];
    const lhi_value by = state->registers[code->source];

    if (is_bit(to, code->width, 0) || is_bit(&by, code->width, 0))
        *to = code->width == 1 ? (lhi_value){.kind = LHI_VALUE_LOW_BYTE} : lhi_value_number(0);
    else if (is_bit(to, code->width, 1) && by.kind == LHI_VALUE_ANSWER)
        *to = by;
    else if (!(is_bit(&by, code->width, 1) && to->kind == LHI_VALUE_ANSWER))
        other(state, code, index);
}

/* The condition itself becomes a value. */
static void set(lhi_state *state, const lhi_code *code, uint64_t index, const lhi_question *question)
{
    lhi_value *to = &state->registers[code->destination];
    lhi_fact fact = {0};
    unsigned condition = code->condition >> 1;
    bool known = false;

    if (lhi_question_of_numbers(question, condition, &known)) {
        *to = (lhi_value){.kind = LHI_VALUE_LOW_BYTE, .n = known != (code->condition & 1)};
        return;
    }
    lose_question(state, question);
    if (!question->asked || !lhi_question_fact(question, condition, &fact)) {
        other(state, code, index);
        return;
    }
    if (lhi_facts_recall(&state->facts, &fact, NULL, &known) == LHI_ANSWERED) {
        *to = (lhi_value){.kind = LHI_VALUE_LOW_BYTE, .n = known != (code->condition & 1)};
        return;
    }
    *to = (lhi_value){.kind = LHI_VALUE_ANSWER,
                      .n = fact.left,
                      .about = fact.right,
                      .delta = fact.shift,
                      .part = fact.width,
                      .join = question->left.join,
                      .condition = fact.condition,
                      .how = (uint8_t)((fact.number ? LHI_HOW_NUMBER : 0) | (fact.masks ? LHI_HOW_MASKS : 0) |
                                       ((code->condition & 1) != 0 ? LHI_HOW_TURNED : 0))};
}

/* One of two, by an answer. */
static void choose(lhi_state *state, const lhi_code *code, uint64_t index, const lhi_question *question)
{
    lhi_value *to = &state->registers[code->destination];
    lhi_fact fact = {0};
    bool answer = false, known = false;
    unsigned condition = code->condition >> 1;

    if (lhi_question_of_numbers(question, condition, &answer))
        known = true;
    else if (question->asked && lhi_question_fact(question, condition, &fact))
        known = lhi_facts_recall(&state->facts, &fact, NULL, &answer) == LHI_ANSWERED;
    if (known && code->source != LHI_NO_REGISTER && code->width == 8) {
        if (answer != (code->condition & 1))
            *to = state->registers[code->source];
        return;
    }
    lose_question(state, question);
    other(state, code, index);
    if (fact.left == 0)
        return;
    state->lossy = !lhi_facts_open(&state->facts, &fact, code->address) || state->lossy;
    if (to->join != LHI_JOIN_DOUBT)
        to->join = lhi_facts_join_number(code->address);
}

/* What a store writes, as an MDL's length; 0: it is none, or not known. */
static uint64_t length_to_store(const lhi_state *state, const lhi_code *code)
{
    const lhi_value number = lhi_value_number(code->value);

    switch (code->does) {
    case LHI_DOES_OTHER:
        return code->reads_memory ? LHI_LENGTH_OTHER : 0; /* made of the old one */
    case LHI_DOES_STORE_PART:
        return lhi_value_length(&state->registers[code->source]);
    case LHI_DOES_STORE_VALUE:
        return lhi_value_length(&number);
    default:
        return 0;
    }
}

static void write_mdl(lhi_state *state, const lhi_code *code)
{
    uint64_t offset = 0;

    if (!code->writes_memory || code->has_place || code->base == LHI_NO_REGISTER)
        return;
    lhi_value at = lhi_value_moved(&state->registers[code->base], (uint64_t)code->displacement);
    for (size_t i = 0; i < state->object_count; i++)
        if (inside_of(&state->objects[i], &at, &offset)) {
            if (code->index == LHI_NO_REGISTER)
                lhi_object_write(&state->objects[i], offset, code->width, length_to_store(state, code),
                                 code->address);
            else
                state->objects[i].changed = LHI_CHANGED_AGAIN; /* somewhere in it */
        }
}

void lhi_step(lhi_state *state, const lhi_code *code, uint64_t index, lhi_question *question)
{
    const lhi_question asked = *question;
    lhi_value value = unknown();

    if (code->flags)
        question->asked = false;
    lhi_given_touch(state, code);
    write_mdl(state, code);
    if (question->asked) {
        lhi_memory_age(state, code, &question->left);
        lhi_memory_age(state, code, &question->right);
    }
    switch (code->does) {
    case LHI_DOES_NOTHING:
        other_memory(state, code);
        lose_read(state, code); /* into a vector register, for instance */
        if (reads_frame(state, code))
            lhi_state_share(state, &(lhi_value){.kind = LHI_VALUE_FRAME});
        break;
    case LHI_DOES_COPY:
        state->registers[code->destination] = state->registers[code->source];
        break;
    case LHI_DOES_COPY_PART:
        copy_part(state, code, index);
        break;
    case LHI_DOES_CONSTANT:
        constant(state, code);
        break;
    case LHI_DOES_ADDRESS:
        if (code->has_place)
            state->registers[code->destination] = lhi_value_number(code->place);
        else
            add(state, code, index, &state->registers[code->base], (uint64_t)code->displacement);
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
        value = lhi_value_number(code->value);
        store(state, code, &value);
        break;
    case LHI_DOES_ADD:
    case LHI_DOES_TAKE:
        value = state->registers[code->destination];
        add(state, code, index, &value, code->does == LHI_DOES_ADD ? code->value : 0 - code->value);
        ask_of_result(state, code, &value, question);
        break;
    case LHI_DOES_MASK:
        value = state->registers[code->destination];
        mask(state, code, index);
        ask_of_result(state, code, &value, question);
        break;
    case LHI_DOES_SUBTRACT:
        value = state->registers[code->source];
        if (value.kind == LHI_VALUE_NUMBER)
            state->registers[code->destination] =
                lhi_value_moved(&state->registers[code->destination], 0 - value.n);
        else
            other(state, code, index);
        break;
    case LHI_DOES_SET:
        set(state, code, index, &asked);
        break;
    case LHI_DOES_CHOOSE:
        choose(state, code, index, &asked);
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
    case LHI_DOES_SUM:
    case LHI_DOES_INDEX:
    case LHI_DOES_BOTH:
    case LHI_DOES_OTHER:
        if (code->does == LHI_DOES_BOTH)
            both(state, code, index);
        else
            other(state, code, index);
        if (code->tells)
            *question = (lhi_question){.asked = true,
                                       .width = code->width,
                                       .partly = true,
                                       .left = state->registers[code->destination],
                                       .right = lhi_value_number(0)};
        break;
    }
}
