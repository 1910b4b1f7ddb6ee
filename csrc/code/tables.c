/* Walks back from a jump to the load of its entry, to what selects the entry, and to the comparison that
 * bounds that. */
#include "code/tables.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "image/read.h"

#define MOST_CASES 2048u /* of one table */
#define MOST_BACK  64u   /* instructions from a load back to the comparison */
#define NONE       UINT32_MAX
#define MANY       (UINT32_MAX - 1)

#define VOLATILE                                                                                             \
    (1u << LHI_RAX | 1u << LHI_RCX | 1u << LHI_RDX | 1u << LHI_R8 | 1u << LHI_R9 | 1u << LHI_R10 | 1u << 11)

/* One function, and what is needed to walk back in it. */
typedef struct search {
    const lhi_code_image *code;
    lhi_body *body;
    uint32_t *sources;   /* by instruction: the one that jumps there; NONE, MANY */
    uint64_t always[16]; /* the one address that a register is ever set to; 0: none, or several */
} search;

/* A table as it is found. */
typedef struct shape {
    size_t jump;
    size_t load;      /* of the entry, or of its number where there is a table of those */
    uint8_t selector; /* register that holds the case in front of `load` */
    uint64_t entries; /* address */
    bool signs;       /* entries have a sign */
    uint64_t base;    /* what they are added to */
    uint64_t numbers; /* address of the table that gives the number of an entry; 0: none */
    uint8_t size;     /* bytes of such a number */
    uint32_t count;   /* cases */
    uint32_t most;    /* the highest number of an entry */
} shape;

/* ------------------------------------------------------------------ the function */

static void note_source(search *s, size_t target, size_t from)
{
    s->sources[target] = s->sources[target] == NONE ? (uint32_t)from : MANY;
}

static void find_sources(search *s)
{
    const lhi_body *body = s->body;

    for (size_t i = 0; i < body->count; i++)
        s->sources[i] = NONE;
    for (size_t i = 0; i < body->count; i++) {
        const lhi_code *code = &body->codes[i];
        if ((code->kind != LHI_CODE_JUMP && code->kind != LHI_CODE_BRANCH) ||
            code->targets != LHI_TARGET_DIRECT)
            continue;
        size_t target = lhi_body_find(body, code->target);
        if (target != SIZE_MAX)
            note_source(s, target, i);
    }
}

/* Compilers keep the image's base in a register of which the caller's value was saved. */
static void find_always(search *s)
{
    uint32_t other = VOLATILE | 1u << LHI_RSP;

    for (size_t i = 0; i < s->body->count; i++) {
        const lhi_code *code = &s->body->codes[i];
        if (lhi_body_restores(s->body, i))
            continue;
        if (code->does == LHI_DOES_ADDRESS && code->has_place &&
            (s->always[code->destination] == 0 || s->always[code->destination] == code->place))
            s->always[code->destination] = code->place;
        else
            other |= code->written;
    }
    for (unsigned i = 0; i < 16; i++)
        if ((other >> i & 1) != 0)
            s->always[i] = 0;
}

/* ------------------------------------------------------------------ inside a block */

/* The last instruction in front of one, in its block, that writes a register. SIZE_MAX: none. */
static size_t writer_of(const lhi_body *body, size_t at, uint8_t reg)
{
    while (reg < 16 && body->leaders[at] == 0) {
        const lhi_code *code = &body->codes[--at];
        if ((code->written >> reg & 1) != 0)
            return at;
        if (code->kind == LHI_CODE_CALL && (VOLATILE >> reg & 1) != 0)
            return SIZE_MAX;
    }
    return SIZE_MAX;
}

/* The address that a register holds in front of an instruction; 0: not known. */
static uint64_t address_in(const search *s, size_t at, uint8_t reg)
{
    size_t writer = writer_of(s->body, at, reg);

    if (reg >= 16)
        return 0;
    if (writer == SIZE_MAX)
        return s->always[reg];
    const lhi_code *code = &s->body->codes[writer];
    return code->does == LHI_DOES_ADDRESS && code->has_place ? code->place : 0;
}

/* A load of table[index]. *index: the register that selects it. */
static bool is_entry(const search *s, size_t at, uint8_t size, uint64_t *table, uint8_t *index)
{
    const lhi_code *code = at != SIZE_MAX ? &s->body->codes[at] : NULL;

    if (code == NULL || code->does != LHI_DOES_LOAD_PART || code->width != size || code->has_place ||
        code->index == LHI_NO_REGISTER || code->scale != size)
        return false;
    uint64_t base = address_in(s, at, code->base);
    *index = code->index;
    if (base == 0 && size == 1) { /* base and index look alike */
        base = address_in(s, at, code->index);
        *index = code->base;
    }
    *table = base + (uint64_t)code->displacement;
    return base != 0 && *index < 16;
}

/* A sum of an entry and what entries are counted from. */
static bool find_entry(const search *s, size_t jump, shape *out)
{
    size_t sum = writer_of(s->body, jump, s->body->codes[jump].source);
    uint8_t index = 0;

    if (sum == SIZE_MAX || s->body->codes[sum].does != LHI_DOES_SUM)
        return false;
    const uint8_t sides[] = {s->body->codes[sum].destination, s->body->codes[sum].source};
    for (size_t i = 0; i < 2; i++) {
        size_t load = writer_of(s->body, sum, sides[i]);
        if (!is_entry(s, load, 4, &out->entries, &index))
            continue;
        *out = (shape){.jump = jump,
                       .load = load,
                       .selector = index,
                       .entries = out->entries,
                       .signs = s->body->codes[load].extends_sign,
                       .base = address_in(s, sum, sides[1 - i])};
        return out->base != 0;
    }
    return false;
}

/* In front of it may be a table that gives the entry's number. */
static void find_number(const search *s, shape *out)
{
    size_t load = writer_of(s->body, out->load, out->selector);
    uint8_t index = 0;
    uint64_t table = 0;

    for (uint8_t size = 1; size <= 2; size++) {
        if (!is_entry(s, load, size, &table, &index) || s->body->codes[load].extends_sign)
            continue;
        out->numbers = table;
        out->size = size;
        out->load = load;
        out->selector = index;
        return;
    }
}

/* ------------------------------------------------------------------ the bound */

/* Where an instruction is reached from, if that is one place. *taken: by that one's jump. */
static size_t from_where(const search *s, size_t at, bool *taken)
{
    const lhi_code *codes = s->body->codes;
    bool falls = at > 0 && codes[at - 1].address + codes[at - 1].length == codes[at].address &&
                 codes[at - 1].kind != LHI_CODE_JUMP && codes[at - 1].kind != LHI_CODE_RETURN &&
                 codes[at - 1].kind != LHI_CODE_STOP;

    *taken = !falls;
    if (falls)
        return s->sources[at] == NONE ? at - 1 : SIZE_MAX;
    return s->sources[at] < MANY ? s->sources[at] : SIZE_MAX;
}

/* What is copied into a register comes from another one, of which the same holds. false: it comes from
 * elsewhere. */
static bool trace(const lhi_code *code, uint8_t *reg, uint8_t *width)
{
    if ((code->written >> *reg & 1) == 0)
        return code->kind != LHI_CODE_CALL || (VOLATILE >> *reg & 1) == 0;
    if (code->does == LHI_DOES_COPY_PART) {
        if (code->width < *width)
            *width = code->width;
    } else if (code->does != LHI_DOES_COPY) {
        return false;
    }
    *reg = code->source;
    return true;
}

/* The comparison that decides a branch: the last instruction in front of it that sets flags. */
static bool compares(const search *s, size_t branch, uint8_t reg, uint8_t width, uint64_t *number)
{
    size_t at = branch;

    while (s->body->leaders[at] == 0) {
        const lhi_code *code = &s->body->codes[--at];
        if (code->flags) {
            *number = code->value;
            return code->does == LHI_DOES_COMPARE && code->source == reg && code->other == LHI_NO_REGISTER &&
                   code->width >= (width < 4 ? width : 4);
        }
        if (!trace(code, &reg, &width))
            return false;
    }
    return false;
}

/* Cases that a branch leaves. 0: it does not tell. */
static uint64_t bound_of(const search *s, size_t branch, bool taken, uint8_t reg, uint8_t width)
{
    const lhi_code *code = &s->body->codes[branch];
    bool holds = taken != ((code->condition & 1) != 0);
    uint64_t number = 0;

    if (code->kind != LHI_CODE_BRANCH || code->condition == LHI_NO_CONDITION || !holds ||
        !compares(s, branch, reg, width, &number) || number >= MOST_CASES)
        return 0;
    if (code->condition >> 1 == 3) /* not above */
        return number + 1;
    return code->condition >> 1 == 1 ? number : 0; /* below */
}

static bool find_bound(const search *s, shape *out)
{
    uint8_t reg = out->selector, width = 8;
    size_t at = out->load;

    for (unsigned back = 0; back < MOST_BACK; back++) {
        bool taken = false;
        size_t from = from_where(s, at, &taken);
        if (from == SIZE_MAX)
            return false;
        const lhi_code *code = &s->body->codes[from];
        uint64_t bound = s->body->leaders[at] != 0 ? bound_of(s, from, taken, reg, width) : 0;
        if (code->does == LHI_DOES_MASK && code->destination == reg && code->width >= 4 &&
            code->value < MOST_CASES)
            bound = code->value + 1;
        out->count = (uint32_t)bound;
        if (bound != 0)
            return true;
        if (!trace(code, &reg, &width))
            return false;
        at = from;
    }
    return false;
}

/* ------------------------------------------------------------------ reading */

static bool read_at(const search *s, uint64_t address, void *bytes, size_t size)
{
    const lhi_image *image = &s->code->image;

    return address >= image->base && lhi_rva_get(image, address - image->base, bytes, size) == LH_PRESENT;
}

/* Numbers of entries, or the cases themselves. */
static bool number_of(const search *s, const shape *from, uint32_t at, uint32_t *number)
{
    uint8_t bytes[2] = {0};

    *number = at;
    if (from->numbers == 0)
        return true;
    if (!read_at(s, from->numbers + (uint64_t)at * from->size, bytes, from->size))
        return false;
    *number = lhi_u16(bytes);
    return true;
}

static bool target_of(const search *s, const shape *from, uint32_t number, uint32_t *target)
{
    uint8_t bytes[4] = {0};

    if (!read_at(s, from->entries + (uint64_t)number * 4, bytes, sizeof bytes))
        return false;
    uint64_t entry = lhi_u32(bytes);
    uint64_t address = from->base + (from->signs ? (uint64_t)(int64_t)(int32_t)entry : entry);
    size_t index = lhi_body_find(s->body, address);
    *target = (uint32_t)index;
    return index != SIZE_MAX;
}

static int by_target(const void *left, const void *right)
{
    const lhi_table_entry *a = left, *b = right;

    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    return a->value < b->value ? -1 : a->value > b->value;
}

static bool reserve(lhi_body *body, size_t cases)
{
    if (!lhi_grow(&body->tables, body->table_count, &body->table_room, sizeof *body->tables))
        return false;
    if (body->case_room - body->case_count < cases) {
        size_t room = 2 * (body->case_count + cases);
        lhi_table_entry *larger = lhi_realloc_array(body->cases, room, sizeof *larger);
        if (larger == NULL)
            return false;
        body->cases = larger;
        body->case_room = room;
    }
    return true;
}

/* All of a table, or nothing. Only LH_ERR_NO_MEMORY fails. */
static lh_status take(search *s, shape *from, lh_error *err)
{
    lhi_body *body = s->body;
    size_t first = body->case_count;

    /* as much work as there is code, whatever tables overlap */
    if (first + from->count > body->count + MOST_CASES)
        return LH_OK;
    if (!reserve(body, from->count))
        return lhi_fail_memory(err);
    for (uint32_t i = 0; i < from->count; i++) {
        lhi_table_entry *one = &body->cases[first + i];
        uint32_t number = 0;
        one->value = i;
        if (!number_of(s, from, i, &number) || !target_of(s, from, number, &one->target))
            return LH_OK;
        from->most = number > from->most ? number : from->most;
    }
    lhi_body_take_data(s->code, body, from->entries, from->entries + 4 * (from->most + 1ull));
    if (from->numbers != 0)
        lhi_body_take_data(s->code, body, from->numbers, from->numbers + (uint64_t)from->size * from->count);
    qsort(&body->cases[first], from->count, sizeof body->cases[0], by_target);
    body->case_count += from->count;
    body->tables[body->table_count++] = (lhi_table){.jump = from->jump, .first = first, .count = from->count};
    body->codes[from->load].selects = from->selector;
    for (size_t i = first; i < body->case_count; i++) {
        body->leaders[body->cases[i].target] = 1;
        s->sources[body->cases[i].target] = MANY;
    }
    return LH_OK;
}

/* ------------------------------------------------------------------ the whole */

static bool is_candidate(const lhi_code *code)
{
    return code->kind == LHI_CODE_JUMP && code->targets == LHI_TARGET_REGISTER;
}

static bool has_candidates(const lhi_body *body)
{
    for (size_t i = 0; i < body->count; i++)
        if (is_candidate(&body->codes[i]))
            return true;
    return false;
}

lh_status lhi_tables_find(const lhi_code_image *code, lhi_body *body, lh_error *err)
{
    search s = {.code = code, .body = body};
    lh_status status = LH_OK;

    if (!has_candidates(body))
        return LH_OK;
    s.sources = lhi_realloc_array(NULL, body->count, sizeof *s.sources);
    if (s.sources == NULL)
        return lhi_fail_memory(err);
    find_sources(&s);
    find_always(&s);
    for (size_t i = 0; i < body->count && status == LH_OK; i++) {
        shape found = {0};
        if (!is_candidate(&body->codes[i]) || !find_entry(&s, i, &found))
            continue;
        find_number(&s, &found);
        if (find_bound(&s, &found))
            status = take(&s, &found, err);
    }
    lhi_free(s.sources);
    return status;
}

const lhi_table *lhi_table_of(const lhi_body *body, size_t jump)
{
    size_t low = 0, high = body->table_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (body->tables[middle].jump < jump)
            low = middle + 1;
        else
            high = middle;
    }
    return low < body->table_count && body->tables[low].jump == jump ? &body->tables[low] : NULL;
}
