/* What branches ask, what the answer is where that is known, and what it tells where it is not. */
#include "code/question.h"

/* ------------------------------------------------------------------ as facts */

/* The condition for two numbers (Intel SDM, Jcc). false: one that is not computed. */
static bool compute(const lhi_question *question, unsigned condition, bool *holds)
{
    uint64_t top = 1ull << (8 * question->width - 1);
    uint64_t left = lhi_value_cut(question->left.n, question->width),
             right = lhi_value_cut(question->right.n, question->width);
    uint64_t result = lhi_value_cut(question->masks ? left & right : left - right, question->width);
    bool zero = result == 0, sign = (result & top) != 0;
    bool carry = !question->masks && left < right;
    bool overflow = !question->masks && ((left ^ right) & (left ^ result) & top) != 0;

    switch (condition) {
    case LHI_IF_OVERFLOW:
        *holds = overflow;
        return true;
    case LHI_IF_BELOW:
        *holds = carry;
        return true;
    case LHI_IF_EQUAL:
        *holds = zero;
        return true;
    case LHI_IF_NOT_ABOVE:
        *holds = carry || zero;
        return true;
    case LHI_IF_SIGN:
        *holds = sign;
        return true;
    case LHI_IF_LESS:
        *holds = sign != overflow;
        return true;
    case LHI_IF_NOT_GREATER:
        *holds = zero || sign != overflow;
        return true;
    default:
        return false; /* parity */
    }
}

bool lhi_question_of_numbers(const lhi_question *question, unsigned condition, bool *answer)
{
    bool told = !question->partly || condition == LHI_IF_EQUAL || condition == LHI_IF_SIGN;

    return question->asked && told && lhi_value_is_number(&question->left, question->width) &&
           lhi_value_is_number(&question->right, question->width) && compute(question, condition, answer);
}

bool lhi_question_fact(const lhi_question *question, unsigned condition, lhi_fact *fact)
{
    const lhi_value *left = &question->left, *right = &question->right;
    bool turned = !lhi_value_is_result(left) && lhi_value_is_result(right) && condition == LHI_IF_EQUAL;
    lhi_value subject = turned ? *right : *left;
    const lhi_value *object = turned ? left : right;
    bool plain = condition == LHI_IF_EQUAL || condition == LHI_IF_BELOW || condition == LHI_IF_NOT_ABOVE;

    *fact = (lhi_fact){.width = question->width,
                       .condition = (uint8_t)condition,
                       .masks = question->masks,
                       .number = lhi_value_is_number(object, question->width)};
    if (subject.kind == LHI_VALUE_ANSWER ||
        (question->partly && condition != LHI_IF_EQUAL && condition != LHI_IF_SIGN))
        return false;
    if (subject.part != 0 && (subject.part >= question->width || (plain && fact->number))) {
        if (subject.part < question->width)
            fact->width = subject.part;
        subject.part = 0;
    }
    fact->right = fact->number ? lhi_value_cut(object->n, fact->width) : lhi_value_key(object);
    if (fact->number && lhi_value_cut(object->n, question->width) != fact->right)
        return false; /* beyond all that the part can be */
    if (lhi_value_is_result(&subject) && fact->number && !fact->masks) {
        fact->shift = lhi_value_cut(subject.delta, fact->width);
        subject.delta = 0;
        subject.kind = LHI_VALUE_RESULT;
        if (condition == LHI_IF_EQUAL) {
            fact->right = lhi_value_cut(fact->right - fact->shift, fact->width);
            fact->shift = 0;
        }
    }
    fact->left = lhi_value_key(&subject);
    if (subject.join != 0)
        fact->joins = 1ull << (subject.join - 1);
    if (object->join == LHI_JOIN_DOUBT)
        fact->joins |= 1ull << (LHI_JOIN_DOUBT - 1);
    return fact->left != 0 && fact->right + fact->number != 0;
}

/* ------------------------------------------------------------------ branches */

/* A pointer against NULL: one that was locked is none. */
static bool pointer_answers(const lhi_object *object, const lhi_value *pointer, bool *null)
{
    *null = object != NULL && object->lock == LHI_LOCK_GIVEN_NULL;
    return pointer->kind == LHI_VALUE_FRAME ||
           (object != NULL && (pointer->kind == LHI_VALUE_INSIDE ||
                               (object->lock != LHI_LOCK_NEVER && object->lock != LHI_LOCK_GIVEN)));
}

/* Flags against a number, as far as MDL_PAGES_LOCKED decides. */
static bool flags_answer(const lhi_question *question, bool *zero)
{
    const lhi_value *flags = &question->left;
    uint64_t bits = question->masks ? flags->about & question->right.n : flags->about;
    uint64_t bit = flags->condition == LHI_BIT_SET ? LHI_FLAG_PAGES_LOCKED : 0;
    uint64_t wanted = question->masks ? 0 : question->right.n;

    if ((bits & LHI_FLAG_PAGES_LOCKED) == 0 || flags->condition == LHI_BIT_UNKNOWN)
        return false;
    *zero = bits == LHI_FLAG_PAGES_LOCKED && wanted == bit;
    return bits == LHI_FLAG_PAGES_LOCKED || (wanted & LHI_FLAG_PAGES_LOCKED) != bit;
}

/* Whether an argument is locked is its caller's to know: each answer is a way of its own. */
static bool learn_flags(lhi_object *object, const lhi_question *question, bool zero)
{
    const lhi_value *flags = &question->left;
    uint64_t bits = question->masks ? flags->about & question->right.n : flags->about;

    if (object->lock != LHI_LOCK_GIVEN || object->needs != LHI_NEEDS_NOTHING ||
        bits != LHI_FLAG_PAGES_LOCKED || (!question->masks && question->right.n != 0))
        return false;
    object->needs = zero ? LHI_NEEDS_UNLOCKED : LHI_NEEDS_LOCKED;
    return true;
}

lhi_fact lhi_question_of_answer(const lhi_value *answer)
{
    return (lhi_fact){.left = answer->n,
                      .right = answer->about,
                      .shift = answer->delta,
                      .joins = answer->join != 0 ? 1ull << (answer->join - 1) : 0,
                      .width = answer->part,
                      .condition = answer->condition,
                      .masks = (answer->how & LHI_HOW_MASKS) != 0,
                      .number = (answer->how & LHI_HOW_NUMBER) != 0};
}

/* What was asked when the answer was made. false: something else is asked of it. */
static bool question_of_answer(const lhi_question *question, unsigned condition, bool *holds, lhi_fact *fact)
{
    const lhi_value *answer = &question->left;
    bool zero = question->masks ? (question->right.n & 1) == 0 : question->right.n == 0;

    if (condition != LHI_IF_EQUAL || !lhi_value_is_number(&question->right, 1) ||
        (question->masks ? zero : question->right.n > 1))
        return false;
    *fact = lhi_question_of_answer(answer);
    /* equal to 1, or different from 0: the answer was yes */
    *holds = (*holds == (!question->masks && !zero)) != ((answer->how & LHI_HOW_TURNED) != 0);
    return true;
}

static lhi_way remember(lhi_state *state, const lhi_question *question, lhi_fact *fact, bool holds)
{
    bool known = false;
    lhi_hull hull = {question->left.about, question->left.delta};

    switch (lhi_facts_recall(&state->facts, fact, question->left.kind == LHI_VALUE_RANGE ? &hull : NULL,
                             &known)) {
    case LHI_ANSWERED:
        return known == holds ? LHI_WAY_OPEN : LHI_WAY_CLOSED;
    case LHI_IN_DOUBT:
        return LHI_WAY_DOUBTFUL;
    case LHI_NEVER_ASKED:
        break;
    }
    fact->answer = holds;
    state->lossy = !lhi_facts_learn(&state->facts, fact) || state->lossy;
    return LHI_WAY_OPEN;
}

lhi_way lhi_question_assume(lhi_state *state, const lhi_question *question, uint8_t condition, bool outcome)
{
    bool known = false;
    unsigned which = condition >> 1;
    bool holds = outcome != ((condition & 1) != 0); /* of the condition that is not turned round */
    lhi_fact fact = {0};
    lhi_object *object = question->asked ? lhi_state_object(state, &question->left) : NULL;

    if (!question->asked || condition == LHI_NO_CONDITION || question->width == 0 || question->width > 8)
        return LHI_WAY_OPEN;
    if (lhi_question_of_numbers(question, which, &known))
        return known == holds ? LHI_WAY_OPEN : LHI_WAY_CLOSED;
    bool null = which == LHI_IF_EQUAL && !question->masks && question->right.kind == LHI_VALUE_NUMBER &&
                question->right.n == 0 && question->width == 8;
    if (null && pointer_answers(object, &question->left, &known))
        return known == holds ? LHI_WAY_OPEN : LHI_WAY_CLOSED;
    if (question->left.kind == LHI_VALUE_FLAGS && question->right.kind == LHI_VALUE_NUMBER) {
        if (which == LHI_IF_EQUAL && flags_answer(question, &known))
            return known == holds ? LHI_WAY_OPEN : LHI_WAY_CLOSED;
        object = lhi_state_object_of_flags(state, &question->left);
        if (which == LHI_IF_EQUAL && object != NULL && learn_flags(object, question, holds))
            return LHI_WAY_OPEN;
        if (object != NULL && (question->left.about & LHI_FLAG_PAGES_LOCKED) != 0 &&
            (!question->masks || (question->right.n & LHI_FLAG_PAGES_LOCKED) != 0))
            lhi_state_forget(state, object);
        object = NULL;
    }
    bool made = question->left.kind == LHI_VALUE_ANSWER;
    if (made ? !question_of_answer(question, which, &holds, &fact)
             : !lhi_question_fact(question, which, &fact))
        return LHI_WAY_OPEN;
    lhi_way way = remember(state, question, &fact, holds);
    if (way == LHI_WAY_OPEN && null && holds && object != NULL) {
        if (object->lock == LHI_LOCK_GIVEN)
            object->lock = LHI_LOCK_GIVEN_NULL;
        else
            lhi_state_forget(state, object);
    }
    return way;
}

/* ------------------------------------------------------------------ tables of jumps */

#define GAPS_MOST 8u /* numbers between cases of one target that are kept in mind */

static lhi_way assume_number(lhi_state *state, const lhi_value *left, unsigned condition, uint64_t right,
                             bool outcome)
{
    lhi_question question = {.asked = true, .width = 8, .left = *left, .right = lhi_value_number(right)};

    return lhi_question_assume(state, &question, (uint8_t)(condition << 1), outcome);
}

static bool has_case(const lhi_table_entry *cases, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++)
        if (cases[i].value == value)
            return true;
    return false;
}

/* One of the cases is possible: those that lead elsewhere and lie between them are not. */
static lhi_way assume_gaps(lhi_state *state, const lhi_value *selector, const lhi_table_entry *cases,
                           size_t count)
{
    uint64_t gaps = cases[count - 1].value - cases[0].value + 1ull - count;
    lhi_way way = LHI_WAY_OPEN;

    if (gaps > GAPS_MOST)
        return way;
    for (size_t i = 1; i < count && way == LHI_WAY_OPEN; i++)
        for (uint64_t value = cases[i - 1].value + 1ull; value < cases[i].value && way == LHI_WAY_OPEN;
             value++)
            way = assume_number(state, selector, LHI_IF_EQUAL, value, false);
    return way;
}

lhi_way lhi_question_select(lhi_state *state, const lhi_value *selector, const lhi_table_entry *cases,
                            size_t count, uint64_t place)
{
    lhi_value above = *selector;

    if (selector->kind == LHI_VALUE_NUMBER)
        return has_case(cases, count, selector->n) ? LHI_WAY_OPEN : LHI_WAY_CLOSED;
    if (!lhi_value_is_result(selector))
        return LHI_WAY_OPEN;
    above.delta -= cases[0].value;
    if (above.part != 0)
        above.delta = lhi_value_cut(above.delta, above.part);
    lhi_way way =
        assume_number(state, &above, LHI_IF_NOT_ABOVE, cases[count - 1].value - cases[0].value, true);
    if (way == LHI_WAY_OPEN)
        way = assume_gaps(state, selector, cases, count);
    above.delta = 0;
    above.part = 0;
    lhi_facts_tie(&state->facts, lhi_value_key(&above), place);
    return way;
}
