/* The rows of a case: arrays that grow, and what is asked of them. */
#include <string.h>

#include "base/alloc.h"
#include "case/case.h"

/* Room for one more zeroed row; NULL on failure, nothing lost. */
static void *add(void **rows, size_t *count, size_t *room, size_t size)
{
    if (!lhi_grow(rows, *count, room, size))
        return NULL;
    uint8_t *row = (uint8_t *)*rows + *count * size;
    for (size_t i = 0; i < size; i++)
        row[i] = 0;
    (*count)++;
    return row;
}

#define ADD(c, rows, name) add((void **)&(c)->rows, &(c)->name##_count, &(c)->name##_room, sizeof *(c)->rows)

bool lhi_case_note(lhi_case *c, const char *kind, size_t party, uint64_t address, const char *statement)
{
    lhi_evidence *row = ADD(c, evidence, evidence);
    if (row)
        *row = (lhi_evidence){.kind = kind, .statement = statement, .address = address, .party = party};
    return row != NULL;
}

bool lhi_case_clear(lhi_case *c, size_t party, uint64_t address, const char *reason)
{
    for (size_t i = 0; i < c->cleared_count; i++)
        if (c->cleared[i].party == party)
            return true; /* one reason each: the first is the strongest */
    lhi_cleared *row = ADD(c, cleared, cleared);
    if (row)
        *row = (lhi_cleared){.party = party, .reason = reason, .address = address};
    return row != NULL;
}

bool lhi_case_is_cleared(const lhi_case *c, size_t party)
{
    for (size_t i = 0; i < c->cleared_count; i++)
        if (lhi_case_same_driver(c, c->cleared[i].party, party))
            return true;
    return false;
}

bool lhi_case_add_excerpt(lhi_case *c, const lhi_excerpt *excerpt)
{
    lhi_excerpt *row = ADD(c, excerpts, excerpt);
    if (row)
        *row = *excerpt;
    return row != NULL;
}

bool lhi_case_skip_rule(lhi_case *c, lhi_rule rule, const char *needs)
{
    const char *name = lhi_rule_name(rule);
    for (size_t i = 0; i < c->unevaluated_count; i++)
        if (strcmp(c->unevaluated[i].rule, name) == 0)
            return true;
    lhi_unevaluated *row = ADD(c, unevaluated, unevaluated);
    if (row)
        *row = (lhi_unevaluated){.rule = name, .needs = needs ? needs : lhi_rule_needs(rule)};
    return row != NULL;
}

bool lhi_case_factor(lhi_case *c, lhi_weight weight, const char *statement)
{
    lhi_factor *row = ADD(c, factors, factor);
    if (row)
        *row = (lhi_factor){.name = lhi_rule_name(lhi_weight_rule(weight)),
                            .value = lhi_weight_value(weight),
                            .statement = statement ? statement : lhi_weight_statement(weight)};
    return row != NULL;
}

bool lhi_case_name(lhi_case *c, size_t party, uint64_t pages, double score)
{
    for (size_t i = 0; i < c->named_count; i++) {
        if (lhi_case_same_driver(c, c->named[i].party, party)) {
            c->named[i].pages += pages;
            if (score < c->named[i].score)
                c->named[i].score = score;
            return true;
        }
    }
    lhi_named *row = ADD(c, named, named);
    if (row)
        *row = (lhi_named){.party = party, .pages = pages, .score = score};
    return row != NULL;
}

lhi_record *lhi_case_new_record(lhi_case *c)
{
    lhi_record *row = ADD(c, records, record);
    if (row) {
        row->holder = LHI_NONE;
        row->packet = LHI_NONE;
        row->judged_packet = LHI_NONE;
        row->lock = LHI_NONE;
        row->blamed = LHI_NONE;
    }
    return row;
}

lhi_packet *lhi_case_new_packet(lhi_case *c)
{
    lhi_packet *row = ADD(c, packets, packet);
    if (row) {
        row->mdl = LHI_NONE;
        row->master = LHI_NONE;
        row->request = LHI_NONE;
        row->at = LHI_NONE;
        row->maker = LHI_NONE;
        row->queued = LHI_UNKNOWN;
        row->library = LHI_NONE;
    }
    return row;
}

lhi_party *lhi_case_new_party(lhi_case *c)
{
    return ADD(c, parties, party);
}

void lhi_case_limit(lhi_case *c, const char *which)
{
    c->coverage.truncated = true;
    c->coverage.limit = which;
}

size_t lhi_case_record_at(const lhi_case *c, uint64_t address)
{
    for (size_t i = 0; i < c->record_count; i++)
        if (c->records[i].mdl.address == address ||
            lhi_vec_find(&c->records[i].addresses, address) != SIZE_MAX)
            return i;
    return LHI_NONE;
}
