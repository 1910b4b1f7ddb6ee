/* Writes to memory: what was known of the memory is known of its old content from then on. */
#include "code/memory.h"

#define WIDEST 8 /* bytes of what is asked about */

static uint64_t key_at(const lhi_value *at, uint8_t width)
{
    uint64_t where = at->kind != LHI_VALUE_AROUND ? lhi_value_key(at) : 0;

    return where != 0 ? lhi_key(where, width) : 0;
}

static lhi_value address_of(const lhi_state *state, const lhi_code *code)
{
    if (code->has_place)
        return lhi_value_number(code->place);
    if (code->base == LHI_NO_REGISTER || code->index != LHI_NO_REGISTER)
        return (lhi_value){.kind = LHI_VALUE_UNKNOWN};
    return lhi_value_moved(&state->registers[code->base], (uint64_t)code->displacement);
}

uint64_t lhi_memory_key(const lhi_state *state, const lhi_code *code)
{
    const lhi_value at = address_of(state, code);

    return key_at(&at, code->width);
}

/* ------------------------------------------------------------------ the old content */

/* The keys that a state has, roughly: a bit for each. */
typedef struct sieve {
    uint64_t bits[4];
} sieve;

static void sieve_add(sieve *s, uint64_t key)
{
    s->bits[key >> 62] |= 1ull << (key >> 56 & 63);
}

static bool sieve_may_have(const sieve *s, uint64_t key)
{
    return (s->bits[key >> 62] >> (key >> 56 & 63) & 1) != 0;
}

static uint64_t left_of(uint64_t about)
{
    return lhi_value_key(&(lhi_value){.kind = LHI_VALUE_RESULT, .about = about});
}

static void sieve_add_value(sieve *s, const lhi_value *value)
{
    if (value->kind == LHI_VALUE_ANSWER) {
        sieve_add(s, value->n);
        sieve_add(s, value->about);
    } else if (lhi_value_is_result(value) && value->about != 0) {
        sieve_add(s, left_of(value->about));
    }
}

static sieve sieve_of(const lhi_state *state)
{
    sieve s = {{0}};

    for (size_t i = 0; i < state->facts.count; i++) {
        sieve_add(&s, state->facts.all[i].left);
        sieve_add(&s, state->facts.all[i].right);
    }
    for (size_t i = 0; i < 16; i++)
        sieve_add_value(&s, &state->registers[i]);
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (state->locals[i].width != 0)
            sieve_add_value(&s, &state->locals[i].value);
    return s;
}

/* A value that is, or is made of, what has a key. `to`: its new one; 0: it is not followed any more. */
static void rename_value(lhi_value *value, uint64_t from, uint64_t to)
{
    uint64_t left = left_of(from);

    if (lhi_value_is_result(value) && value->about == from) {
        value->about = to;
    } else if (value->kind == LHI_VALUE_ANSWER && (value->n == left || value->about == left)) {
        if (to == 0)
            *value = (lhi_value){.kind = LHI_VALUE_RESULT, .n = LHI_PART, .join = LHI_JOIN_DOUBT};
        else if (value->n == left)
            value->n = left_of(to);
        else
            value->about = left_of(to);
    }
}

static void rename_values(lhi_state *state, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < 16; i++)
        rename_value(&state->registers[i], from, to);
    for (size_t i = 0; i < LHI_LOCALS; i++)
        if (state->locals[i].width != 0)
            rename_value(&state->locals[i].value, from, to);
}

/* What was known of it is known of whoever has it from an earlier read. */
static void make_old(lhi_state *state, uint64_t about, uint64_t place)
{
    uint64_t old = lhi_key(about, place);

    /* in a loop: the last time round it was another one */
    rename_values(state, old, 0);
    lhi_facts_forget(&state->facts, left_of(old));
    rename_values(state, about, old);
    lhi_facts_rename(&state->facts, left_of(about), left_of(old));
}

/* Calls for the key of each part of memory that a write to `at` changes. */
typedef void visit_key(void *user, uint64_t about, uint64_t place);

static void each_written(const lhi_code *code, const lhi_value *at, visit_key *visit, void *user)
{
    for (int from = 1 - WIDEST; from < code->width; from++) {
        const lhi_value there = lhi_value_moved(at, (uint64_t)(int64_t)from);
        for (uint8_t width = 1; width <= WIDEST; width *= 2) {
            uint64_t about = from + width > 0 ? key_at(&there, width) : 0;
            if (about != 0)
                visit(user, about, code->address);
        }
    }
}

typedef struct ageing {
    lhi_state *state;
    sieve has;
} ageing;

static void age_all(void *user, uint64_t about, uint64_t place)
{
    ageing *a = user;

    if (sieve_may_have(&a->has, left_of(about)) || sieve_may_have(&a->has, left_of(lhi_key(about, place))))
        make_old(a->state, about, place);
}

static void age_one(void *user, uint64_t about, uint64_t place)
{
    rename_value(user, about, lhi_key(about, place));
}

void lhi_memory_age(const lhi_state *state, const lhi_code *code, lhi_value *value)
{
    const lhi_value at = address_of(state, code);

    if (code->writes_memory && key_at(&at, 1) != 0)
        each_written(code, &at, age_one, value);
}

/* ------------------------------------------------------------------ the new one */

/* Nothing was asked of it yet, nor of what it was made of. */
static bool is_fresh(const lhi_state *state, const lhi_value *value)
{
    return value->kind == LHI_VALUE_RESULT && value->about == 0 && value->join == 0 &&
           !lhi_facts_has(&state->facts,
                          lhi_value_key(&(lhi_value){.kind = LHI_VALUE_RESULT, .n = value->n}));
}

bool lhi_memory_is_doubted(const lhi_state *state, const lhi_code *code)
{
    uint64_t about = lhi_memory_key(state, code);

    return about != 0 && lhi_facts_is_doubted(&state->facts, left_of(about));
}

void lhi_memory_write(lhi_state *state, const lhi_code *code, const lhi_value *value)
{
    const lhi_value at = address_of(state, code);
    lhi_question asked = {.asked = true, .width = code->width};
    lhi_fact fact = {0};

    if (key_at(&at, 1) == 0)
        return;
    ageing a = {state, sieve_of(state)};
    each_written(code, &at, age_all, &a);
    if (at.kind == LHI_VALUE_FRAME)
        return; /* what stands there now is kept */
    bool number = value != NULL && lhi_value_is_number(value, code->width);
    if (code->width > WIDEST || (!number && value != NULL && is_fresh(state, value)))
        return;
    asked.left = (lhi_value){.kind = LHI_VALUE_RESULT, .about = key_at(&at, code->width)};
    asked.right = lhi_value_number(number ? lhi_value_cut(value->n, code->width) : 0);
    if (!lhi_question_fact(&asked, LHI_IF_EQUAL, &fact))
        return;
    lhi_facts_forget(&state->facts, fact.left);
    fact.answer = true;
    bool kept = number ? lhi_facts_learn(&state->facts, &fact) : lhi_facts_doubt(&state->facts, &fact);
    state->lossy = !kept || state->lossy;
}
