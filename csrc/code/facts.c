/* What follows from answers: a value against numbers by the range that is left, masks by their bits. */
#include "code/facts.h"

#include <string.h>

uint8_t lhi_facts_join_number(uint64_t place)
{
    uint64_t hash = (place * 0x9e3779b97f4a7c15ull) >> 32; /* Fibonacci hashing (Knuth 6.4) */

    return (uint8_t)(1 + hash % (LHI_JOIN_DOUBT - 1));
}

uint64_t lhi_facts_join_bit(uint64_t place)
{
    return 1ull << (lhi_facts_join_number(place) - 1);
}

#define DOUBT (1ull << (LHI_JOIN_DOUBT - 1))

static bool same_question(const lhi_fact *a, const lhi_fact *b)
{
    return a->left == b->left && a->right == b->right && a->shift == b->shift && a->width == b->width &&
           a->condition == b->condition && a->masks == b->masks && a->number == b->number;
}

/* ------------------------------------------------------------------ ranges */

/* Numbers of one width that a value may still have. */
typedef struct range {
    uint64_t low, high; /* without a sign */
    int64_t least, most;
} range;

static int64_t extended(uint64_t value, uint8_t width)
{
    unsigned shift = 64 - 8 * width;

    return (int64_t)(value << shift) >> shift;
}

static range whole(uint8_t width)
{
    unsigned shift = 64 - 8 * width;

    return (range){0, UINT64_MAX >> shift, INT64_MIN >> shift, INT64_MAX >> shift};
}

/* The numbers for which left + shift is below a bound, or is it: *from to *to. false: none, or they go round.
 */
static bool below(const lhi_fact *fact, uint64_t *from, uint64_t *to)
{
    uint64_t mask = UINT64_MAX >> (64 - 8 * fact->width);
    bool with_it = fact->condition == LHI_IF_NOT_ABOVE;

    if (!with_it && fact->right == 0)
        return false;
    *from = (0 - fact->shift) & mask;
    *to = (fact->right - !with_it - fact->shift) & mask;
    return *from <= *to;
}

static void keep_below(range *r, const lhi_fact *fact)
{
    uint64_t mask = UINT64_MAX >> (64 - 8 * fact->width);
    uint64_t from = 0, to = 0;

    if (!below(fact, &from, &to))
        return;
    if (fact->answer) {
        r->low = from > r->low ? from : r->low;
        r->high = to < r->high ? to : r->high;
    } else if (from <= r->low && to < mask) {
        r->low = to + 1 > r->low ? to + 1 : r->low;
    } else if (to >= r->high && from > 0) {
        r->high = from - 1 < r->high ? from - 1 : r->high;
    }
}

/* Is its answer that of a range; a shifted one has no sign that tells. */
static bool has_range(const lhi_fact *fact)
{
    return fact->number && !fact->masks &&
           (fact->shift == 0 || fact->condition == LHI_IF_BELOW || fact->condition == LHI_IF_NOT_ABOVE);
}

/* A number, or a range of them, that lies where it is known not to be. */
static bool excluded(const lhi_fact *fact, const lhi_fact *question)
{
    uint64_t from = 0, to = 0, low = question->right, high = question->right;

    if (fact->answer || !has_range(fact) || !has_range(question))
        return false;
    if (fact->condition == LHI_IF_EQUAL)
        from = to = fact->right;
    else if ((fact->condition != LHI_IF_BELOW && fact->condition != LHI_IF_NOT_ABOVE) ||
             !below(fact, &from, &to))
        return false;
    if ((question->condition == LHI_IF_BELOW || question->condition == LHI_IF_NOT_ABOVE)
            ? !below(question, &low, &high)
            : question->condition != LHI_IF_EQUAL)
        return false;
    return low >= from && high <= to;
}

static bool below_answers(const range *r, const lhi_fact *question, bool *answer)
{
    uint64_t from = 0, to = 0;

    if (!below(question, &from, &to))
        return false;
    *answer = r->low >= from && r->high <= to;
    return *answer || r->high < from || r->low > to;
}

static void keep_less(range *r, int64_t bound, bool with_it, bool holds)
{
    if (holds && (with_it || bound > INT64_MIN)) {
        int64_t most = with_it ? bound : bound - 1;
        r->most = most < r->most ? most : r->most;
    } else if (!holds && (!with_it || bound < INT64_MAX)) {
        int64_t least = with_it ? bound + 1 : bound;
        r->least = least > r->least ? least : r->least;
    }
}

static void narrow(range *r, const lhi_fact *fact)
{
    int64_t with_sign = extended(fact->right, fact->width);

    switch (fact->condition) {
    case LHI_IF_EQUAL:
        if (fact->answer)
            *r = (range){fact->right, fact->right, with_sign, with_sign};
        break;
    case LHI_IF_BELOW:
    case LHI_IF_NOT_ABOVE:
        keep_below(r, fact);
        break;
    case LHI_IF_SIGN: /* of a difference: as a comparison where nothing is taken away */
        if (fact->right == 0)
            keep_less(r, 0, false, fact->answer);
        break;
    case LHI_IF_LESS:
        keep_less(r, with_sign, false, fact->answer);
        break;
    case LHI_IF_NOT_GREATER:
        keep_less(r, with_sign, true, fact->answer);
        break;
    default:
        break;
    }
}

/* One way of counting tells of the other while both have the same sign. */
static void agree(range *r, uint8_t width)
{
    uint64_t top = 1ull << (8 * width - 1);

    if (r->high < top || r->low >= top) {
        int64_t low = extended(r->low, width), high = extended(r->high, width);
        r->least = low > r->least ? low : r->least;
        r->most = high < r->most ? high : r->most;
    }
    if (r->least >= 0 || r->most < 0) {
        uint64_t mask = UINT64_MAX >> (64 - 8 * width);
        uint64_t low = (uint64_t)r->least & mask, high = (uint64_t)r->most & mask;
        r->low = low > r->low ? low : r->low;
        r->high = high < r->high ? high : r->high;
    }
}

static bool range_answers(const range *r, const lhi_fact *question, bool *answer)
{
    uint64_t n = question->right;
    int64_t with_sign = extended(n, question->width);
    bool yes = false, no = false;

    switch (question->condition) {
    case LHI_IF_EQUAL:
        yes = r->low == r->high && r->low == n;
        no = n < r->low || n > r->high || with_sign < r->least || with_sign > r->most;
        break;
    case LHI_IF_BELOW:
    case LHI_IF_NOT_ABOVE:
        return below_answers(r, question, answer);
    case LHI_IF_SIGN:
        yes = n == 0 && r->most < 0;
        no = n == 0 && r->least >= 0;
        break;
    case LHI_IF_LESS:
        yes = r->most < with_sign;
        no = r->least >= with_sign;
        break;
    case LHI_IF_NOT_GREATER:
        yes = r->most <= with_sign;
        no = r->least > with_sign;
        break;
    default:
        break;
    }
    *answer = yes;
    return yes || no;
}

/* ------------------------------------------------------------------ masks */

/* What one answer about bits says of others of the same value. */
static bool mask_answers(const lhi_fact *fact, const lhi_fact *question, bool *answer)
{
    if (!fact->masks || !question->masks || !fact->number || !question->number)
        return false;
    *answer = fact->answer;
    return fact->answer ? (question->right & ~fact->right) == 0 : (fact->right & ~question->right) == 0;
}

/* ------------------------------------------------------------------ asking */

static range range_of(const lhi_facts *facts, uint64_t left, uint8_t width, const lhi_hull *hull)
{
    range r = whole(width);

    if (hull != NULL && hull->high <= r.high) {
        r.low = hull->low;
        r.high = hull->high;
    }
    for (size_t i = 0; i < facts->count; i++) {
        const lhi_fact *fact = &facts->all[i];
        if (fact->left == left && fact->width == width && !fact->open && has_range(fact))
            narrow(&r, fact);
    }
    agree(&r, width);
    return r;
}

lhi_recall lhi_facts_recall(const lhi_facts *facts, const lhi_fact *question, const lhi_hull *hull,
                            bool *answer)
{
    uint64_t joins = question->joins;

    for (size_t i = 0; i < facts->count; i++) {
        const lhi_fact *fact = &facts->all[i];
        if (fact->left != question->left || fact->width != question->width)
            continue;
        *answer = fact->answer;
        if (fact->open)
            joins |= fact->joins;
        else if (same_question(fact, question) || mask_answers(fact, question, answer))
            return LHI_ANSWERED;
        else if (excluded(fact, question)) {
            *answer = false;
            return LHI_ANSWERED;
        }
    }
    if (has_range(question)) {
        range r = range_of(facts, question->left, question->width, hull);
        if (range_answers(&r, question, answer))
            return LHI_ANSWERED;
    }
    return (joins & (facts->asked | DOUBT)) != 0 ? LHI_IN_DOUBT : LHI_NEVER_ASKED;
}

bool lhi_facts_hull(const lhi_facts *facts, uint64_t left, uint8_t width, lhi_hull *hull)
{
    range r = range_of(facts, left, width, NULL), all = whole(width);

    *hull = (lhi_hull){r.low, r.high};
    return r.low > all.low || r.high < all.high;
}

static void remove_at(lhi_facts *facts, size_t at)
{
    facts->count--;
    memmove(&facts->all[at], &facts->all[at + 1], (facts->count - at) * sizeof facts->all[0]);
}

bool lhi_facts_learn(lhi_facts *facts, const lhi_fact *fact)
{
    uint64_t joins = fact->joins;
    bool room = true;

    for (size_t i = facts->count; i > 0; i--) {
        const lhi_fact *old = &facts->all[i - 1];
        if (old->left != fact->left || old->width != fact->width)
            continue;
        joins |= old->open ? old->joins : 0;
        if (same_question(old, fact))
            remove_at(facts, i - 1);
    }
    facts->asked |= joins;
    if (facts->count < LHI_FACTS)
        facts->count++;
    else
        room = false;
    memmove(&facts->all[1], &facts->all[0], (facts->count - 1) * sizeof facts->all[0]);
    facts->all[0] = *fact;
    facts->all[0].open = false;
    facts->all[0].joins = joins;
    return room;
}

bool lhi_facts_open(lhi_facts *facts, const lhi_fact *question, uint64_t join)
{
    lhi_fact open = *question;

    open.joins |= lhi_facts_join_bit(join);
    if (!lhi_facts_learn(facts, &open))
        return false;
    facts->all[0].open = true;
    facts->asked &= ~lhi_facts_join_bit(join);
    return true;
}

bool lhi_facts_doubt(lhi_facts *facts, const lhi_fact *question)
{
    lhi_fact open = *question;

    open.joins |= DOUBT;
    if (!lhi_facts_learn(facts, &open))
        return false;
    facts->all[0].open = true;
    return true;
}

bool lhi_facts_is_doubted(const lhi_facts *facts, uint64_t left)
{
    for (size_t i = 0; i < facts->count; i++)
        if (facts->all[i].left == left && facts->all[i].open && (facts->all[i].joins & DOUBT) != 0)
            return true;
    return false;
}

void lhi_facts_tie(lhi_facts *facts, uint64_t left, uint64_t place)
{
    uint64_t bit = lhi_facts_join_bit(place);

    for (size_t i = 0; i < facts->count; i++)
        if (facts->all[i].left == left)
            facts->all[i].joins |= bit;
    facts->asked |= bit;
}

void lhi_facts_forget(lhi_facts *facts, uint64_t left)
{
    for (size_t i = facts->count; i > 0; i--)
        if (facts->all[i - 1].left == left)
            remove_at(facts, i - 1);
}

void lhi_facts_rename(lhi_facts *facts, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < facts->count; i++) {
        lhi_fact *fact = &facts->all[i];
        if (fact->left == from)
            fact->left = to;
        if (!fact->number && fact->right == from)
            fact->right = to;
    }
}

bool lhi_facts_has(const lhi_facts *facts, uint64_t left)
{
    for (size_t i = 0; i < facts->count; i++)
        if (facts->all[i].left == left)
            return true;
    return false;
}

/* ------------------------------------------------------------------ joining */

static const lhi_fact *find(const lhi_facts *facts, const lhi_fact *question)
{
    for (size_t i = 0; i < facts->count; i++)
        if (same_question(&facts->all[i], question))
            return &facts->all[i];
    return NULL;
}

/* Knows it too, or something that it follows from. */
static bool agrees(const lhi_facts *facts, const lhi_fact *fact)
{
    bool answer = false;

    return !fact->open && lhi_facts_recall(facts, fact, NULL, &answer) == LHI_ANSWERED &&
           answer == fact->answer;
}

static bool open_one(lhi_fact *fact, uint64_t joins)
{
    if (fact->open && (joins & ~fact->joins) == 0)
        return false;
    fact->open = true;
    fact->joins |= joins;
    return true;
}

/* It is true already: where there is no room it is not missed. */
static void add_new(lhi_facts *facts, const lhi_fact *fact)
{
    bool ignored = false;

    if (facts->count < LHI_FACTS && lhi_facts_recall(facts, fact, NULL, &ignored) != LHI_ANSWERED)
        facts->all[facts->count++] = *fact;
}

/* What both have left of a value. */
static void keep_hull(lhi_facts *facts, const lhi_facts *mine, const lhi_facts *other, const lhi_fact *of)
{
    lhi_hull a = {0}, b = {0};
    lhi_fact fact = {.left = of->left, .width = of->width, .condition = LHI_IF_NOT_ABOVE, .number = true};

    if (!has_range(of) || !lhi_facts_hull(mine, of->left, of->width, &a) ||
        !lhi_facts_hull(other, of->left, of->width, &b))
        return;
    fact.answer = true;
    fact.right = a.high > b.high ? a.high : b.high;
    if (fact.right < whole(of->width).high)
        add_new(facts, &fact);
    fact.answer = false;
    fact.condition = LHI_IF_BELOW;
    fact.right = a.low < b.low ? a.low : b.low;
    if (fact.right > 0)
        add_new(facts, &fact);
}

bool lhi_facts_join(lhi_facts *facts, const lhi_facts *other, uint64_t join, bool *full)
{
    const lhi_facts mine = *facts;
    uint64_t bit = lhi_facts_join_bit(join);
    bool less = false;

    facts->asked = (facts->asked | other->asked) & ~bit;
    less = facts->asked != mine.asked;
    for (size_t i = 0; i < mine.count; i++) {
        const lhi_fact *theirs = find(other, &mine.all[i]);
        if (!agrees(other, &mine.all[i]))
            less = open_one(&facts->all[i], bit | (theirs != NULL ? theirs->joins : 0)) || less;
    }
    for (size_t i = 0; i < other->count; i++) {
        lhi_fact added = other->all[i];
        bool known = agrees(&mine, &added);
        if (find(&mine, &added) != NULL)
            continue;
        if (facts->count == LHI_FACTS) {
            *full = true;
            return less;
        }
        if (!known)
            (void)open_one(&added, bit);
        facts->all[facts->count++] = added;
        less = less || !known;
    }
    for (size_t i = 0; i < mine.count; i++)
        if (!mine.all[i].open && facts->all[i].open)
            keep_hull(facts, &mine, other, &mine.all[i]);
    return less;
}
