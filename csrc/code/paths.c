/* Every way through a function, as far as ways differ in what became of its MDLs: states go from block to
 * block, and those that agree go on as one. */
#include "code/paths.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "code/effects.h"
#include "code/step.h"
#include "code/tables.h"

#define STATES_OF_BLOCK 8u    /* that disagree; one more is not followed */
#define STATES_MOST     4096u /* of a function: 20 MiB */
#define STATES_FIRST    16u
#define STEPS_EACH      32u /* of an instruction, on the average */
#define STEPS_LEAST     65536u
#define MOST_TURNS      4u
#define NONE            UINT32_MAX

typedef struct node {
    lhi_state state;
    uint32_t leader; /* index of the block's first instruction */
    uint32_t parent; /* node it was reached from first */
    uint32_t next;   /* of the same block */
    bool waits;
} node;

typedef struct walk {
    const lhi_body *body;
    const lhi_callee *callees;
    lhi_paths *out;
    lhi_teller teller;
    lhi_summary *summary; /* NULL: it is looked for findings */
    uint64_t entry;
    node *nodes;
    uint32_t count, room;
    uint32_t *first; /* by instruction: the newest node of the block that begins there */
    uint32_t *queue; /* a ring of STATES_MOST nodes */
    uint32_t head, waiting;
    uint64_t steps;
    uint32_t now; /* the node that is followed */
    bool failed;
} walk;

static void leave_open(walk *w, const char *why, uint64_t at)
{
    if (w->out->open == NULL) {
        w->out->open = why;
        w->out->open_at = at;
    }
}

/* ------------------------------------------------------------------ findings */

static void take_blocks(const walk *w, lhi_finding *finding)
{
    uint32_t ways[LHI_FINDING_BLOCKS] = {0};
    uint32_t length = 0;

    for (uint32_t at = w->now; at != NONE; at = w->nodes[at].parent)
        length++;
    uint32_t kept = length < LHI_FINDING_BLOCKS ? length : LHI_FINDING_BLOCKS;
    uint32_t half = LHI_FINDING_BLOCKS / 2;
    uint32_t place = length; /* from the end */
    finding->cut = length > LHI_FINDING_BLOCKS;
    for (uint32_t at = w->now; at != NONE; at = w->nodes[at].parent) {
        place--;
        if (!finding->cut)
            ways[place] = at;
        else if (place < half)
            ways[place] = at;
        else if (length - place <= LHI_FINDING_BLOCKS - half)
            ways[LHI_FINDING_BLOCKS - (length - place)] = at;
    }
    finding->block_count = kept;
    for (uint32_t i = 0; i < kept; i++)
        finding->blocks[i] = w->body->codes[w->nodes[ways[i]].leader].address;
}

static void report(void *user, lhi_finding_kind kind, uint64_t first, uint64_t last)
{
    walk *w = user;
    lhi_paths *out = w->out;

    if (w->summary != NULL)
        return;
    for (size_t i = 0; i < out->count; i++)
        if (out->findings[i].kind == kind && out->findings[i].first == first && out->findings[i].last == last)
            return;
    if (out->count == LHI_FINDINGS_MOST) {
        leave_open(w, "it has more findings than are told", last);
        return;
    }
    lhi_finding *finding = &out->findings[out->count++];
    *finding = (lhi_finding){.kind = kind, .function = w->entry, .first = first, .last = last};
    take_blocks(w, finding);
}

/* ------------------------------------------------------------------ calls */

/* The call that makes a large frame keeps rax, which the next instruction takes off the stack pointer. */
static bool keeps_rax(const walk *w, size_t index)
{
    const lhi_code *next = index + 1 < w->body->count ? &w->body->codes[index + 1] : NULL;

    return next != NULL && next->does == LHI_DOES_SUBTRACT && next->destination == LHI_RSP &&
           next->source == LHI_RAX;
}

static bool call(walk *w, lhi_state *state, size_t index)
{
    const lhi_callee *callee = &w->callees[index];
    bool makes = callee->routine != NULL && callee->routine->role == LHI_ROLE_ALLOCATE &&
                 lhi_effect_has_no_packet(state);
    bool keeps = keeps_rax(w, index);
    uint64_t length = makes ? lhi_value_length(&state->registers[LHI_RDX]) : 0;

    if (!keeps &&
        !lhi_effect_of_call(&w->teller, state, w->callees[index].routine, w->body->codes[index].address))
        return false;
    lhi_value result = lhi_effect_of_return(state, index, keeps);
    lhi_object *made =
        makes ? lhi_state_add(state, &result, LHI_LOCK_NEVER, true, w->body->codes[index].address) : NULL;
    if (made != NULL)
        made->length = length;
    return true;
}

static void leave(walk *w, lhi_state *state, uint64_t at)
{
    if (w->summary != NULL) {
        lhi_effect_sum_up(state, w->summary);
        return;
    }
    for (size_t i = 0; i < state->object_count; i++) {
        const lhi_object *object = &state->objects[i];
        if (object->own && object->lock == LHI_LOCK_HELD &&
            object != lhi_state_object(state, &state->registers[LHI_RAX]))
            report(w, LHI_FINDING_LOCK_LOST, object->since, at);
    }
}

/* ------------------------------------------------------------------ from block to block */

static node *new_node(walk *w)
{
    if (w->count == w->room) {
        uint32_t room = w->room * 2;
        node *nodes = lhi_realloc_array(w->nodes, room, sizeof *nodes);
        if (nodes == NULL) {
            w->failed = true;
            return NULL;
        }
        w->nodes = nodes;
        w->room = room;
    }
    return &w->nodes[w->count++];
}

static void enqueue(walk *w, uint32_t which)
{
    if (w->nodes[which].waits)
        return;
    w->nodes[which].waits = true;
    w->queue[(w->head + w->waiting++) % STATES_MOST] = which;
}

static void submit(walk *w, const lhi_state *state, size_t leader)
{
    uint32_t disagreeing = 0;
    uint64_t place = w->body->codes[leader].address;

    if (state->lossy) {
        leave_open(w, "it asks for more than is kept in mind", place);
        return;
    }
    for (uint32_t at = w->first[leader]; at != NONE; at = w->nodes[at].next, disagreeing++) {
        if (lhi_state_agrees(&w->nodes[at].state, state)) {
            if (lhi_state_join(&w->nodes[at].state, state, place))
                enqueue(w, at);
            return;
        }
    }
    if (disagreeing >= STATES_OF_BLOCK || w->count == STATES_MOST) {
        leave_open(w, "it has too many ways", w->body->codes[leader].address);
        return;
    }
    node *made = new_node(w);
    if (made == NULL)
        return;
    *made = (node){.state = *state, .leader = (uint32_t)leader, .parent = w->now, .next = w->first[leader]};
    w->first[leader] = w->count - 1;
    enqueue(w, w->count - 1);
}

static bool has_no_frame(const lhi_state *state)
{
    return state->registers[LHI_RSP].kind == LHI_VALUE_FRAME && state->registers[LHI_RSP].n == 0;
}

/* One ending of a call of the driver's own function. false: it does not end like this here. */
static bool end_own(walk *w, lhi_state *state, const lhi_own_call *call, const lhi_ending *ending)
{
    if (!lhi_effect_of_ending(&w->teller, state, call, ending))
        return false;
    lhi_effect_of_result(state, call, ending);
    return true;
}

/* Whether its endings make a difference to an MDL that is followed here: then what it gives goes together
 * with that. */
static bool ends_differently(walk *w, const lhi_state *state, const lhi_own_call *call)
{
    lhi_state first = *state, other;
    bool any = false;

    for (size_t i = 0; i < call->summary->count; i++) {
        other = *state;
        if (!end_own(w, &other, call, &call->summary->endings[i]))
            continue;
        if (!any)
            first = other;
        else if (!lhi_state_agrees(&first, &other))
            return true;
        any = true;
    }
    return false;
}

/* Out of the function by a jump: a call that returns for it. Its frame is taken down, or it is none. */
static void tail(walk *w, lhi_state *state, size_t index)
{
    if (!has_no_frame(state)) {
        bool direct = w->body->codes[index].targets == LHI_TARGET_DIRECT;
        leave_open(w, direct ? "a part of it lies elsewhere" : "a table of jumps is not followed",
                   w->body->codes[index].address);
        return;
    }
    uint64_t at = w->body->codes[index].address;
    lhi_own_call call = {.index = index, .at = at, .summary = w->callees[index].summary};
    if (call.summary == NULL) {
        if (!lhi_effect_of_call(&w->teller, state, w->callees[index].routine, w->body->codes[index].address))
            return;
        state->registers[LHI_RAX] = (lhi_value){.kind = LHI_VALUE_UNKNOWN};
        leave(w, state, at);
        return;
    }
    call.doubted = ends_differently(w, state, &call);
    for (size_t i = 0; i < call.summary->count; i++) {
        lhi_state other = *state;
        if (end_own(w, &other, &call, &call.summary->endings[i]))
            leave(w, &other, at);
    }
}

/* A call of a function that was followed: on with each of the ways that it can end. */
static void call_own(walk *w, const lhi_state *state, size_t index)
{
    const lhi_code *code = &w->body->codes[index];
    lhi_own_call call = {.index = index, .at = code->address, .summary = w->callees[index].summary};

    if (index + 1 >= w->body->count || code[1].address != code->address + code->length) {
        leave_open(w, "code is missing", code->address + code->length);
        return;
    }
    call.doubted = ends_differently(w, state, &call);
    for (size_t i = 0; i < call.summary->count; i++) {
        lhi_state other = *state;
        if (end_own(w, &other, &call, &call.summary->endings[i]))
            submit(w, &other, index + 1);
    }
}

/* A lock that fails raises an exception: what guards it goes on with nothing locked. */
static void raise(walk *w, const lhi_state *state, size_t index)
{
    const lhi_routine *routine = w->callees[index].routine;
    const lhi_guard *inner = NULL;
    uint64_t at = w->body->codes[index].address;

    if (routine == NULL || routine->role != LHI_ROLE_LOCK)
        return;
    for (size_t i = 0; i < w->body->guard_count; i++) {
        const lhi_guard *guard = &w->body->guards[i];
        if (at >= guard->from && at < guard->to &&
            (inner == NULL || guard->to - guard->from < inner->to - inner->from))
            inner = guard;
    }
    if (inner == NULL)
        return;
    lhi_state other = *state;
    (void)lhi_effect_of_return(&other, index, false);
    submit(w, &other, inner->target);
}

/* To each target of a table, with what its cases tell of the selector. */
static void jump_by(walk *w, const lhi_state *state, const lhi_table *table, const lhi_value *selector)
{
    const lhi_table_entry *cases = &w->body->cases[table->first];
    uint64_t place = w->body->codes[table->jump].address;

    for (size_t i = 0, end = 0; i < table->count; i = end) {
        lhi_state other = *state;
        while (end < table->count && cases[end].target == cases[i].target)
            end++;
        lhi_way way = lhi_question_select(&other, selector, &cases[i], end - i, place);
        if (way == LHI_WAY_DOUBTFUL)
            leave_open(w, "its questions depend on each other", place);
        if (way == LHI_WAY_OPEN)
            submit(w, &other, cases[i].target);
    }
    w->steps += table->count;
}

static void jump(walk *w, lhi_state *state, const lhi_value *selector, size_t index)
{
    const lhi_code *code = &w->body->codes[index];
    const lhi_table *table = lhi_table_of(w->body, index);
    size_t target = code->targets == LHI_TARGET_DIRECT ? lhi_body_find(w->body, code->target) : SIZE_MAX;

    if (target != SIZE_MAX)
        submit(w, state, target);
    else if (table != NULL)
        jump_by(w, state, table, selector);
    else
        tail(w, state, index);
}

/* One outcome of a branch. false: it is not followed. */
static bool can_be(walk *w, lhi_state *state, const lhi_question *question, const lhi_code *code,
                   bool outcome)
{
    lhi_way way = lhi_question_assume(state, question, code->condition, outcome);

    if (way == LHI_WAY_DOUBTFUL)
        leave_open(w, "its questions depend on each other", code->address);
    return way == LHI_WAY_OPEN;
}

static void branch(walk *w, const lhi_state *state, const lhi_question *question, size_t index)
{
    const lhi_code *code = &w->body->codes[index];
    size_t target = code->targets == LHI_TARGET_DIRECT ? lhi_body_find(w->body, code->target) : SIZE_MAX;
    lhi_state other = *state;

    if (can_be(w, &other, question, code, true)) {
        if (target != SIZE_MAX)
            submit(w, &other, target);
        else
            tail(w, &other, index);
    }
    other = *state;
    if (!can_be(w, &other, question, code, false))
        return;
    if (index + 1 < w->body->count && code[1].address == code->address + code->length)
        submit(w, &other, index + 1);
    else
        leave_open(w, "code is missing", code->address + code->length);
}

/* Follows one state through its block. */
static void follow(walk *w, uint32_t which)
{
    lhi_state state = w->nodes[which].state;
    lhi_question question = {.asked = false};
    lhi_value selector = {.kind = LHI_VALUE_UNKNOWN};

    if (state.lossy) {
        leave_open(w, "it asks for more than is kept in mind",
                   w->body->codes[w->nodes[which].leader].address);
        return;
    }

    for (size_t i = w->nodes[which].leader;; i++) {
        const lhi_code *code = i < w->body->count ? &w->body->codes[i] : NULL;
        if (code == NULL ||
            (i > w->nodes[which].leader && code[-1].address + code[-1].length != code->address)) {
            leave_open(w, "code is missing", code != NULL ? code[-1].address : w->entry);
            return;
        }
        if (i > w->nodes[which].leader && w->body->leaders[i] != 0) {
            submit(w, &state, i);
            return;
        }
        w->steps++;
        switch (code->kind) {
        case LHI_CODE_CALL:
            question.asked = false;
            raise(w, &state, i);
            if (w->callees[i].summary != NULL) {
                call_own(w, &state, i);
                return;
            }
            if (!call(w, &state, i))
                return;
            break;
        case LHI_CODE_JUMP:
            jump(w, &state, &selector, i);
            return;
        case LHI_CODE_BRANCH:
            branch(w, &state, &question, i);
            return;
        case LHI_CODE_RETURN:
            if (has_no_frame(&state))
                leave(w, &state, code->address);
            else
                leave_open(w, "its frame is not of a kind that is followed", code->address);
            return;
        case LHI_CODE_STOP:
            return;
        case LHI_CODE_OTHER:
            if (code->selects != LHI_NO_REGISTER)
                selector = state.registers[code->selects];
            lhi_step(&state, code, i, &question);
            break;
        }
        if (state.registers[LHI_RSP].kind != LHI_VALUE_FRAME) {
            leave_open(w, "its frame is not of a kind that is followed", code->address);
            return;
        }
    }
}

static void walk_from(walk *w, const lhi_state *start, size_t begin)
{
    const lhi_body *body = w->body;
    uint64_t most = (uint64_t)body->count * STEPS_EACH + STEPS_LEAST;

    for (size_t i = 0; i < body->count; i++)
        w->first[i] = NONE;
    w->now = NONE;
    w->count = w->head = w->waiting = 0;
    w->steps = 0;
    submit(w, start, begin);
    while (!w->failed && w->waiting > 0) {
        w->now = w->queue[w->head];
        w->head = (w->head + 1) % STATES_MOST;
        w->waiting--;
        w->nodes[w->now].waits = false;
        if (w->steps >= most) {
            leave_open(w, "it has too many ways", body->codes[w->nodes[w->now].leader].address);
            break;
        }
        follow(w, w->now);
    }
    for (size_t i = 0; !w->failed && i < body->guard_count; i++)
        if (w->first[body->guards[i].target] == NONE)
            leave_open(w, "what follows an exception is not followed",
                       body->codes[body->guards[i].target].address);
}

/* Again, where a way relied on a place of the frame that turned out to vary. */
static void walk_until_sound(walk *w, lhi_state *start, size_t begin)
{
    bool known = w->summary != NULL && w->summary->known;

    for (unsigned turn = 0; turn < MOST_TURNS && !w->failed; turn++) {
        *w->out = (lhi_paths){.count = 0};
        if (w->summary != NULL)
            *w->summary = (lhi_summary){.known = known};
        start->stores->relied = start->stores->broken = false;
        walk_from(w, start, begin);
        if (!start->stores->broken)
            return;
    }
    *w->out = (lhi_paths){.count = 0};
    leave_open(w, "its questions depend on each other", w->entry);
}

static lh_status walk_all(walk *w, lhi_state *start, lh_error *err)
{
    const lhi_body *body = w->body;
    size_t begin = lhi_body_find(body, w->entry);

    if (begin == SIZE_MAX) {
        leave_open(w, "its first instruction is not there", w->entry);
        return LH_OK;
    }
    w->teller = (lhi_teller){report, w};
    w->first = lhi_realloc_array(NULL, body->count, sizeof *w->first);
    w->queue = lhi_realloc_array(NULL, STATES_MOST, sizeof *w->queue);
    w->nodes = lhi_realloc_array(NULL, STATES_FIRST, sizeof *w->nodes);
    w->room = STATES_FIRST;
    if (w->first == NULL || w->queue == NULL || w->nodes == NULL)
        w->failed = true;
    else
        walk_until_sound(w, start, begin);
    lhi_free(w->nodes);
    lhi_free(w->first);
    lhi_free(w->queue);
    return w->failed ? lhi_fail_memory(err) : LH_OK;
}

lh_status lhi_paths_follow(const lhi_body *body, const lhi_callee *callees, uint64_t entry, lhi_paths *out,
                           lh_error *err)
{
    walk w = {.body = body, .callees = callees, .out = out, .entry = entry};
    lhi_stores stores = {.count = 0};
    lhi_state start;

    *out = (lhi_paths){.count = 0};
    lhi_state_start(&start, &stores);
    return walk_all(&w, &start, err);
}

lh_status lhi_paths_summarise(const lhi_body *body, const lhi_callee *callees, uint64_t entry,
                              lhi_summary *out, lh_error *err)
{
    lhi_paths *paths = lhi_calloc(1, sizeof *paths);
    walk w = {.body = body, .callees = callees, .out = paths, .summary = out, .entry = entry};
    lhi_stores stores = {.count = 0};
    lhi_state start;

    *out = (lhi_summary){.known = true};
    if (paths == NULL)
        return lhi_fail_memory(err);
    lhi_state_start(&start, &stores);
    for (size_t i = 0; i < LHI_EFFECTS; i++)
        lhi_state_add(&start, &start.registers[lhi_state_arguments[i]], LHI_LOCK_GIVEN, true, 0);
    lh_status status = walk_all(&w, &start, err);
    out->known = out->known && paths->open == NULL && !body->strange_handler;
    lhi_free(paths);
    return status;
}
