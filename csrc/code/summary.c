/* Ways that end alike are one outcome. */
#include "code/summary.h"

#include <string.h>

/* Where it stands among those of an ending, or would. */
static size_t place_of(const lhi_ending *ending, const lhi_left *out, bool *found)
{
    size_t at = 0;

    for (; at < ending->left_count; at++) {
        const lhi_left *other = &ending->left[at];
        int order = other->which != out->which     ? (int)other->which - (int)out->which
                    : other->offset != out->offset ? (other->offset < out->offset ? -1 : 1)
                                                   : (int)other->width - (int)out->width;
        if (order >= 0) {
            *found = order == 0;
            return at;
        }
    }
    *found = false;
    return at;
}

bool lhi_ending_add_left(lhi_ending *ending, const lhi_left *out)
{
    bool found = false;
    size_t at = place_of(ending, out, &found);

    if (ending->left_count == LHI_LEFT)
        return false;
    memmove(&ending->left[at + 1], &ending->left[at], (ending->left_count - at) * sizeof *out);
    ending->left[at] = *out;
    ending->left_count++;
    return true;
}

static bool is_mdl(uint8_t gives)
{
    return gives >= LHI_GIVES_UNLOCKED;
}

/* Every MDL that one leaves behind a pointer the other leaves there too. */
static bool leaves_same(const lhi_ending *a, const lhi_ending *b)
{
    for (size_t i = 0; i < a->left_count; i++) {
        bool found = false;
        size_t at = place_of(b, &a->left[i], &found);
        uint8_t theirs = found ? b->left[at].gives : LHI_GIVES_ANYTHING;
        if ((is_mdl(a->left[i].gives) || is_mdl(theirs)) && a->left[i].gives != theirs)
            return false;
    }
    return true;
}

static bool is_alike(const lhi_ending *a, const lhi_ending *b)
{
    bool numbers = a->gives <= LHI_GIVES_NUMBER && b->gives <= LHI_GIVES_NUMBER;

    return memcmp(a->effects, b->effects, sizeof a->effects) == 0 &&
           memcmp(a->needs, b->needs, sizeof a->needs) == 0 && (numbers || a->gives == b->gives) &&
           leaves_same(a, b) && leaves_same(b, a);
}

static void make_unknown(lhi_left *out)
{
    out->gives = LHI_GIVES_ANYTHING;
    out->number = 0;
}

/* What only one of them leaves there, or differently. */
static void join_left(lhi_ending *mine, const lhi_ending *other)
{
    bool found = false;

    for (size_t i = 0; i < mine->left_count; i++) {
        size_t at = place_of(other, &mine->left[i], &found);
        if (!found || other->left[at].gives != mine->left[i].gives ||
            other->left[at].number != mine->left[i].number)
            make_unknown(&mine->left[i]);
    }
    for (size_t i = 0; i < other->left_count; i++) {
        lhi_left added = other->left[i];
        (void)place_of(mine, &added, &found);
        make_unknown(&added);
        if (!found && !lhi_ending_add_left(mine, &added))
            mine->reaches[added.which] |= LHI_REACH_WRITES;
    }
}

static void join_ending(lhi_ending *mine, const lhi_ending *other)
{
    if (mine->gives != other->gives || mine->number != other->number) {
        mine->gives = mine->gives <= LHI_GIVES_NUMBER ? LHI_GIVES_ANYTHING : mine->gives;
        mine->number = 0;
    }
    mine->tells &= other->tells;
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        mine->reaches[i] |= other->reaches[i];
    join_left(mine, other);
}

void lhi_summary_add(lhi_summary *summary, const lhi_ending *outcome)
{
    for (size_t i = 0; i < summary->count; i++) {
        if (is_alike(&summary->endings[i], outcome)) {
            join_ending(&summary->endings[i], outcome);
            return;
        }
    }
    if (summary->count < LHI_ENDINGS)
        summary->endings[summary->count++] = *outcome;
    else
        summary->known = false;
}

bool lhi_summary_matters(const lhi_summary *summary)
{
    for (size_t i = 0; summary->known && i < summary->count; i++) {
        const lhi_ending *one = &summary->endings[i];
        if (is_mdl(one->gives))
            return true;
        for (size_t k = 0; k < one->left_count; k++)
            if (is_mdl(one->left[k].gives))
                return true;
        for (size_t k = 0; k < LHI_EFFECTS; k++)
            if (one->effects[k] >= LHI_EFFECT_LOCKS)
                return true;
    }
    return false;
}
