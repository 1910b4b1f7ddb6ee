/* What follows from answers holds for every number that gives those answers: all of one byte are tried. */
#include "check.h"
#include "code/facts.h"

#define ROUNDS    4000u
#define QUESTIONS 24u

static uint64_t seed = 0x9e3779b9;

static uint32_t next(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 24) % below;
}

/* The processor's own answer (Intel SDM, Jcc). */
static bool truth(const lhi_fact *question, uint8_t value)
{
    uint8_t left = (uint8_t)(value + question->shift), right = (uint8_t)question->right;
    uint8_t result = (uint8_t)(left - right);
    bool overflow = (((left ^ right) & (left ^ result)) & 0x80) != 0;

    if (question->masks)
        return (left & right) == 0;
    switch (question->condition) {
    case LHI_IF_BELOW:
        return left < right;
    case LHI_IF_NOT_ABOVE:
        return left <= right;
    case LHI_IF_EQUAL:
        return left == right;
    case LHI_IF_SIGN:
        return (result & 0x80) != 0;
    case LHI_IF_LESS:
        return ((result & 0x80) != 0) != overflow;
    default:
        return ((result & 0x80) != 0) != overflow || result == 0;
    }
}

static lhi_fact any_question(void)
{
    static const uint8_t conditions[] = {LHI_IF_BELOW, LHI_IF_NOT_ABOVE, LHI_IF_EQUAL,
                                         LHI_IF_SIGN,  LHI_IF_LESS,      LHI_IF_NOT_GREATER};
    static const uint8_t numbers[] = {0, 1, 2, 3, 4, 5, 8, 0x10, 0x7f, 0x80, 0x81, 0xfe, 0xff};
    lhi_fact fact = {.left = 77, .width = 1, .number = true, .condition = conditions[next(6)]};

    fact.right = next(4) ? numbers[next(sizeof numbers)] : next(256);
    if (next(5) == 0) {
        fact.masks = true;
        fact.condition = LHI_IF_EQUAL;
    } else if (fact.condition != LHI_IF_EQUAL && next(3) == 0) {
        fact.shift = next(2) ? numbers[next(sizeof numbers)] : next(256);
    }
    return fact;
}

/* Facts, and the numbers for which they hold. */
typedef struct known {
    lhi_facts facts;
    bool possible[256];
} known;

static void learn(known *k)
{
    lhi_fact fact = any_question();
    uint32_t value = next(256);

    for (uint32_t i = 0; i < 256 && !k->possible[value]; i++)
        value = (value + 1) % 256;
    fact.answer = truth(&fact, (uint8_t)value);
    CHECK(lhi_facts_learn(&k->facts, &fact));
    for (uint32_t i = 0; i < 256; i++)
        k->possible[i] = k->possible[i] && truth(&fact, (uint8_t)i) == fact.answer;
}

static known some_facts(void)
{
    known k = {.facts = {.count = 0}};

    memset(k.possible, 1, sizeof k.possible);
    for (uint32_t i = next(6); i > 0; i--)
        learn(&k);
    return k;
}

static size_t check(const known *k)
{
    size_t answered = 0;

    for (uint32_t i = 0; i < QUESTIONS; i++) {
        lhi_fact question = any_question();
        bool answer = false;
        if (lhi_facts_recall(&k->facts, &question, NULL, &answer) != LHI_ANSWERED)
            continue;
        answered++;
        for (uint32_t value = 0; value < 256; value++)
            CHECK(!k->possible[value] || truth(&question, (uint8_t)value) == answer);
    }
    return answered;
}

static void test_answers_follow(void)
{
    size_t answered = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        known k = some_facts();
        answered += check(&k);
    }
    CHECK(answered > (size_t)2 * ROUNDS);
}

static void test_joined_ways(void)
{
    size_t answered = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        known a = some_facts(), b = some_facts();
        bool full = false;
        (void)lhi_facts_join(&a.facts, &b.facts, round, &full);
        CHECK(!full);
        for (uint32_t i = 0; i < 256; i++)
            a.possible[i] = a.possible[i] || b.possible[i];
        answered += check(&a);
        CHECK(!lhi_facts_join(&a.facts, &b.facts, round, &full)); /* nothing is left to be lost */
    }
    CHECK(answered > ROUNDS / 4);
}

/* Two values that differ where ways are joined: one answer may decide the other. */
static void test_doubt(void)
{
    const lhi_fact flag = {.left = 1, .width = 1, .condition = LHI_IF_EQUAL, .number = true};
    lhi_facts a = {.count = 0}, b = {.count = 0};
    lhi_fact one = flag, two = flag;
    bool answer = false, full = false;

    two.left = 2;
    one.answer = two.answer = true;
    CHECK(lhi_facts_learn(&a, &one));
    CHECK(lhi_facts_learn(&a, &two));
    one.answer = two.answer = false;
    CHECK(lhi_facts_learn(&b, &one));
    CHECK(lhi_facts_learn(&b, &two));
    CHECK_EQ(lhi_facts_recall(&a, &one, NULL, &answer), LHI_ANSWERED);
    CHECK(lhi_facts_join(&a, &b, 5, &full));
    CHECK_EQ(lhi_facts_recall(&a, &one, NULL, &answer), LHI_NEVER_ASKED);
    CHECK(lhi_facts_learn(&a, &one));
    CHECK_EQ(lhi_facts_recall(&a, &one, NULL, &answer), LHI_ANSWERED);
    CHECK_EQ(lhi_facts_recall(&a, &two, NULL, &answer), LHI_IN_DOUBT);
    /* behind the same place again they are as fresh as before */
    (void)lhi_facts_join(&a, &b, 5, &full);
    CHECK_EQ(lhi_facts_recall(&a, &two, NULL, &answer), LHI_NEVER_ASKED);
}

static void test_room(void)
{
    lhi_facts facts = {.count = 0};
    lhi_fact fact = {.width = 8, .condition = LHI_IF_EQUAL, .number = true, .answer = true};
    bool answer = false;

    for (fact.left = 1; fact.left <= LHI_FACTS; fact.left++)
        CHECK(lhi_facts_learn(&facts, &fact));
    CHECK(!lhi_facts_learn(&facts, &fact));
    fact.left = 1;
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_NEVER_ASKED);
    fact.left = 2;
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_ANSWERED);
}

/* What is in doubt by itself stays so, whatever is asked or joined; what has another key is found by that. */
static void test_kept_doubt(void)
{
    lhi_facts facts = {.count = 0}, other = {.count = 0};
    lhi_fact fact = {.left = 7, .width = 4, .condition = LHI_IF_EQUAL, .number = true};
    bool answer = false, full = false;

    CHECK(lhi_facts_doubt(&facts, &fact));
    CHECK(lhi_facts_is_doubted(&facts, 7));
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_IN_DOUBT);
    fact.right = 9;
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_IN_DOUBT);
    for (uint64_t place = 0; place < 0x1000; place += 8) {
        CHECK(lhi_facts_join_number(place) > 0 && lhi_facts_join_number(place) < LHI_JOIN_DOUBT);
        (void)lhi_facts_join(&facts, &other, place, &full);
    }
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_IN_DOUBT);
    lhi_facts_rename(&facts, 7, 8);
    CHECK(!lhi_facts_is_doubted(&facts, 7) && lhi_facts_is_doubted(&facts, 8));
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_NEVER_ASKED);
    fact.left = 8;
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_IN_DOUBT);
    lhi_facts_forget(&facts, 8);
    CHECK_EQ(lhi_facts_recall(&facts, &fact, NULL, &answer), LHI_NEVER_ASKED);
}

int main(void)
{
    test_kept_doubt();
    test_answers_follow();
    test_joined_ways();
    test_doubt();
    test_room();
    return CHECK_END();
}
