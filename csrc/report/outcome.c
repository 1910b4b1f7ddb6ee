/* The tree's conclusions: verdict, suspects, ledger, considered, cleared, unevaluated, signature. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "case/ledger.h"
#include "case/unlocker.h"
#include "report/report.h"

#define MOST_LISTED ((size_t)1000) /* rows of `considered`; their number is given in full */

/* The verdict's own driver comes first, then those that are named, then those with a packet. */
static int rank_of(const lhi_case *c, const lhi_record *r)
{
    const bool named = r->outcome == LHI_OUTCOME_NAMED;
    const bool first =
        named && c->named_count && lhi_case_same_driver(c, lhi_case_blamed(c, r), c->named[0].party);
    return 4 * first + 2 * named + (r->packet != LHI_NONE);
}

size_t lhi_report_main_record(const lhi_case *c)
{
    size_t best = LHI_NONE;
    if (c->unlocker) /* the case is about another MDL than those that stand */
        return LHI_NONE;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (!r->in_ledger)
            continue;
        const int rank = rank_of(c, r), most = best == LHI_NONE ? -1 : rank_of(c, &c->records[best]);
        if (rank > most || (rank == most && r->mdl.pages > c->records[best].mdl.pages))
            best = i;
    }
    return best;
}

static void driver_object(lhi_case *c, lhi_node *list, const lhi_named *named, lhi_node *absent, size_t index)
{
    lhi_arena *arena = &c->arena;
    const lhi_party *party = &c->parties[named->party];
    lhi_node *object = lhi_tree_object(arena, list, NULL);
    lhi_tree_text(arena, object, "name", party->driver.name);
    lhi_tree_text(arena, object, "version", party->version_known ? party->version : NULL);
    if (!party->version_known)
        lhi_report_absent(c, absent, lhi_arena_printf(arena, "verdict.drivers.%zu.version", index),
                          party->image_known ? LH_ABSENT_NOT_MAPPED : LH_ABSENT_NOT_CAPTURED,
                          party->driver.start);
    lhi_tree_count_if(arena, object, "timestamp", party->timestamp, party->timestamp);
    lhi_tree_count_if(arena, object, "size", party->image_size, party->image_size);
    lhi_tree_count(arena, object, "pages", named->pages);
    lhi_tree_share(arena, object, "score", named->score);
    lhi_tree_bool(arena, object, "unloaded", party->driver.has_module && party->driver.module.unloaded);
    lhi_tree_bool(arena, object, "library", party->library);
}

/* The sentence without the process's name, for redacted reports. */
static const char *without_name(lhi_case *c, const char *sentence)
{
    const char *name = c->process_known && c->process.name_known ? c->process.name : "";
    const char *at = name[0] ? strstr(sentence, name) : NULL;
    if (!at)
        return NULL;
    /* The name stands behind "process ": the first match of a short name could be inside another word. */
    const char *label = strstr(sentence, "process ");
    while (label && strncmp(label + 8, name, strlen(name)) != 0)
        label = strstr(label + 8, "process ");
    if (!label)
        return NULL;
    return lhi_arena_printf(&c->arena, "%.*s[redacted]%s", (int)(label + 8 - sentence), sentence,
                            label + 8 + strlen(name));
}

/* Of an unlock its own; else that of the lock which gave the verdict its reason. */
static const char *rule_of_verdict(const lhi_case *c)
{
    const lhi_record *best = NULL;
    if (c->unlocker)
        return lhi_rule_name(c->unlocker->rule);
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (r->in_ledger && r->why && r->why == c->why && (!best || r->mdl.pages > best->mdl.pages))
            best = r;
    }
    return best ? lhi_case_rule_of(c, best) : NULL;
}

static void verdict(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    lhi_arena *arena = &c->arena;
    bool named = c->kind == LH_VERDICT_DRIVER && c->named_count;
    lhi_node *object = lhi_tree_object(arena, root, "verdict");
    lhi_tree_text(arena, object, "kind", lh_verdict_kind_name(c->kind));
    lhi_tree_text(arena, object, "driver", named ? c->parties[c->named[0].party].driver.name : NULL);
    lhi_node *list = lhi_tree_list(arena, object, "drivers");
    for (size_t i = 0; named && i < c->named_count; i++)
        driver_object(c, list, &c->named[i], absent, i);
    lhi_node *confidence = lhi_tree_object(arena, object, "confidence");
    lhi_tree_share(arena, confidence, "score", c->score);
    lhi_tree_text(arena, confidence, "level", lhi_case_level(c->score));
    list = lhi_tree_list(arena, confidence, "factors");
    for (size_t i = 0; i < c->factor_count; i++) {
        lhi_node *factor = lhi_tree_object(arena, list, NULL);
        lhi_tree_text(arena, factor, "name", c->factors[i].name);
        lhi_tree_share(arena, factor, "value", c->factors[i].value);
        lhi_tree_text(arena, factor, "statement", c->factors[i].statement);
    }
    lhi_node *sentence = lhi_tree_text(arena, object, "sentence", c->sentence);
    if (sentence)
        sentence->redacted = without_name(c, c->sentence);
    lhi_tree_text(arena, object, "advice", c->advice);
    lhi_tree_text(arena, object, "reason", c->why);
    lhi_tree_text(arena, object, "rule", rule_of_verdict(c));
}

static void evidence_row(lhi_case *c, lhi_node *list, const lhi_evidence *row)
{
    lhi_node *object = lhi_tree_object(&c->arena, list, NULL);
    lhi_tree_text(&c->arena, object, "kind", row->kind);
    lhi_tree_text(&c->arena, object, "statement", row->statement);
    lhi_report_place(c, object, row->address);
}

/* A driver that only the name of its object is left of. */
static const char *any_name(const lhi_case *c, size_t party)
{
    const char *name = lhi_report_name(c, party);
    if (!name && c->parties[party].driver.object_name[0])
        name = c->parties[party].driver.object_name;
    return name;
}

static void suspects(lhi_case *c, lhi_node *root)
{
    lhi_node *list = lhi_tree_list(&c->arena, root, "suspects");
    bool *done = lhi_calloc(c->party_count + 1, sizeof *done);
    if (!done) {
        c->arena.failed = true;
        return;
    }
    /* Those named first, then in the order of the evidence. */
    for (size_t pass = 0; pass < 2; pass++) {
        size_t count = pass == 0 ? c->named_count : c->evidence_count;
        for (size_t i = 0; i < count; i++) {
            size_t party = pass == 0 ? c->named[i].party : c->evidence[i].party;
            if (party == LHI_NONE || done[party] || !any_name(c, party) ||
                (pass == 1 && lhi_case_is_cleared(c, party)))
                continue;
            lhi_node *object = lhi_tree_object(&c->arena, list, NULL);
            lhi_tree_text(&c->arena, object, "driver", any_name(c, party));
            lhi_node *rows = lhi_tree_list(&c->arena, object, "evidence");
            for (size_t k = 0; k < c->evidence_count; k++)
                if (c->evidence[k].party != LHI_NONE && lhi_case_same_driver(c, c->evidence[k].party, party))
                    evidence_row(c, rows, &c->evidence[k]);
            for (size_t k = 0; k < c->party_count; k++)
                done[k] = done[k] || lhi_case_same_driver(c, k, party);
        }
    }
    lhi_free(done);
}

const char *lhi_report_mdl_state(lh_mdl_state state)
{
    return state == LH_MDL_LOCKED ? "locked" : state == LH_MDL_FREED_LOCKED ? "freed_locked" : "unknown";
}

static void ledger(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    lhi_node *object = lhi_tree_object(arena, root, "ledger");
    lhi_tree_count_if(arena, object, "charged", c->charged_known, c->charged);
    lhi_tree_count(arena, object, "explained", c->explained);
    lhi_tree_count_if(arena, object, "unexplained", c->charged_known, c->unexplained);
    if (c->explained_least != c->explained_most) {
        lhi_node *range = lhi_tree_list(arena, object, "explained_range");
        lhi_tree_count(arena, range, NULL, c->explained_least);
        lhi_tree_count(arena, range, NULL, c->explained_most);
    }
    lhi_tree_text(arena, object, "statement", lhi_case_ledger_words(c));
    lhi_node *list = lhi_tree_list(arena, object, "mdls");
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (!r->in_ledger)
            continue;
        lhi_node *row = lhi_tree_object(arena, list, NULL);
        lhi_report_place(c, row, r->mdl.address);
        lhi_tree_count(arena, row, "pages", r->mdl.pages);
        lhi_tree_text(arena, row, "state", lhi_report_mdl_state(r->state));
        lhi_tree_text(arena, row, "holder", lhi_report_name(c, r->holder));
        lhi_tree_address(arena, row, "user_address", r->mdl.start_va + r->mdl.byte_offset);
        lhi_tree_count(arena, row, "bytes", r->mdl.byte_count);
        lhi_tree_address(arena, row, "flags", r->mdl.flags);
        if (r->packet != LHI_NONE)
            lhi_tree_address(arena, row, "irp", c->packets[r->packet].irp->address);
        else
            lhi_tree_null(arena, row, "irp");
        lhi_tree_text(arena, row, "judgement", r->why);
        lhi_tree_text(arena, row, "rule", lhi_case_rule_of(c, r));
        lhi_tree_text(arena, row, "trail", r->trail);
        lhi_tree_count(arena, row, "other_pointers", r->other_pointers);
        lhi_tree_count(arena, row, "frames_beyond", lhi_case_frames_beyond(c, r));
        if (r->freed)
            lhi_tree_text(arena, row, "freed", r->freed_reason);
    }
}

static const char *why_not_counted(lhi_case *c, const lhi_record *r, uint64_t beyond)
{
    if (r->untracked)
        return "no lock tracker of the process is for it, and they account for every page";
    if (r->copied)
        return "a copy of an MDL: another one has the same header, and memory to itself or a packet";
    if (r->copy)
        return "another MDL describes the same pages, and only so many locks stand on them";
    if (r->refuted)
        return "a frame of it has no reference left in the PFN database: the lock does not stand";
    if (beyond)
        return lhi_arena_printf(&c->arena,
                                "%s; its array has %" PRIu64
                                " more frame%s than its length says, with references: the length may have "
                                "been changed between lock and unlock",
                                r->mdl.reason, beyond, beyond == 1 ? "" : "s");
    return r->mdl.reason;
}

static void considered(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    lhi_node *list = lhi_tree_list(arena, root, "considered");
    size_t listed = 0, total = 0;
    for (size_t i = 0; i < c->record_count; i++) {
        const lhi_record *r = &c->records[i];
        if (r->in_ledger || !r->names_process || ++total > MOST_LISTED)
            continue;
        lhi_node *row = lhi_tree_object(arena, list, NULL);
        lhi_report_place(c, row, r->mdl.address);
        lhi_tree_text(arena, row, "kind", "mdl");
        const uint64_t beyond = lhi_case_frames_beyond(c, r);
        lhi_tree_text(arena, row, "class",
                      r->untracked ? "untracked"
                      : r->copy    ? "copy"
                      : r->refuted ? "refuted"
                      : beyond     ? "edited"
                                   : lhi_mdl_class_name(r->mdl.klass));
        lhi_tree_text(arena, row, "reason", why_not_counted(c, r, beyond));
        lhi_tree_count(arena, row, "pages", r->mdl.pages);
        listed++;
    }
    for (size_t i = 0; i < c->packet_count; i++) {
        const lhi_packet *packet = &c->packets[i];
        if (packet->irp->state == LHI_IRP_PENDING || ++total > 2 * MOST_LISTED)
            continue;
        lhi_node *row = lhi_tree_object(arena, list, NULL);
        lhi_report_place(c, row, packet->irp->address);
        lhi_tree_text(arena, row, "kind", "irp");
        lhi_tree_text(arena, row, "class", lhi_irp_state_name(packet->irp->state));
        lhi_tree_text(arena, row, "reason",
                      packet->irp->reason ? packet->irp->reason : lhi_irp_state_name(packet->irp->state));
        listed++;
    }
    lhi_tree_count(arena, root, "considered_total", total > listed ? total : listed);
}

static void cleared(lhi_case *c, lhi_node *root)
{
    lhi_node *list = lhi_tree_list(&c->arena, root, "cleared");
    for (size_t i = 0; i < c->cleared_count; i++) {
        if (!any_name(c, c->cleared[i].party))
            continue;
        lhi_node *row = lhi_tree_object(&c->arena, list, NULL);
        lhi_tree_text(&c->arena, row, "driver", any_name(c, c->cleared[i].party));
        lhi_tree_text(&c->arena, row, "reason", c->cleared[i].reason);
        lhi_report_place(c, row, c->cleared[i].address);
    }
}

static void signature(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    lhi_node *object = lhi_tree_object(arena, root, "signature");
    size_t main = lhi_report_main_record(c);
    const lhi_packet *packet = main != LHI_NONE && c->records[main].judged_packet != LHI_NONE
                                   ? &c->packets[c->records[main].judged_packet]
                                   : NULL;
    const char *driver = c->named_count ? c->parties[c->named[0].party].driver.name : "-";
    const char *version = c->named_count && c->parties[c->named[0].party].version_known
                              ? c->parties[c->named[0].party].version
                              : "-";
    const char *major = "-", *origin = "-", *state = "-";
    uint32_t code = 0;
    if (packet) {
        const lhi_irp *irp = packet->irp;
        origin = lhi_irp_origin_name(irp->origin);
        state = lhi_irp_state_name(irp->state);
        if (irp->state == LHI_IRP_PENDING) {
            const lhi_slot *slot = &irp->slots[irp->current - 1];
            major = lhi_irp_major_name(slot->major);
            (void)lhi_report_control_code(slot, &code);
        }
    }
    lhi_tree_text(arena, object, "family",
                  lhi_arena_printf(arena, "0x%" PRIx32 "|%s|%s|%s|%s", c->code, lh_verdict_kind_name(c->kind),
                                   driver, origin, state));
    lhi_tree_text(arena, object, "exact",
                  lhi_arena_printf(arena, "0x%" PRIx32 "|%s|%s|%s|%s|%s|%s|0x%" PRIx32 "|%" PRIu64, c->code,
                                   lh_verdict_kind_name(c->kind), driver, version, origin, state, major, code,
                                   c->charged));
}

void lhi_report_verdict(lhi_case *c, lhi_node *root, lhi_node *absent)
{
    lhi_arena *arena = &c->arena;
    verdict(c, root, absent);
    suspects(c, root);
    ledger(c, root);
    considered(c, root);
    cleared(c, root);
    lhi_node *list = lhi_tree_list(arena, root, "unevaluated");
    for (size_t i = 0; i < c->unevaluated_count; i++) {
        lhi_node *row = lhi_tree_object(arena, list, NULL);
        lhi_tree_text(arena, row, "rule", c->unevaluated[i].rule);
        lhi_tree_text(arena, row, "needs", c->unevaluated[i].needs);
    }
    signature(c, root);
}
