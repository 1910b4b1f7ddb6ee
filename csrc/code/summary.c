/* Ways that end alike are one outcome. */
#include "code/summary.h"

#include <string.h>

static bool is_alike(const lhi_ending *a, const lhi_ending *b)
{
    bool numbers = a->gives <= LHI_GIVES_NUMBER && b->gives <= LHI_GIVES_NUMBER;

    return memcmp(a->effects, b->effects, sizeof a->effects) == 0 &&
           memcmp(a->needs, b->needs, sizeof a->needs) == 0 && (numbers || a->gives == b->gives);
}

void lhi_summary_add(lhi_summary *summary, const lhi_ending *outcome)
{
    for (size_t i = 0; i < summary->count; i++) {
        lhi_ending *mine = &summary->endings[i];
        if (!is_alike(mine, outcome))
            continue;
        if (mine->gives != outcome->gives || mine->number != outcome->number) {
            mine->gives = mine->gives <= LHI_GIVES_NUMBER ? LHI_GIVES_ANYTHING : mine->gives;
            mine->number = 0;
        }
        mine->tells &= outcome->tells;
        return;
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
        if (one->gives >= LHI_GIVES_UNLOCKED)
            return true;
        for (size_t k = 0; k < LHI_EFFECTS; k++)
            if (one->effects[k] >= LHI_EFFECT_LOCKS)
                return true;
    }
    return false;
}
