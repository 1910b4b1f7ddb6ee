/* Whether a pointer to an MDL stands where its owner notes what it saw: a log, a ring, a list of events.
 *
 * Somebody who watches sees the MDLs of many processes, and keeps their addresses when they are gone. Two
 * signs: pointers to MDLs of several others nearby; or records of one length that count up or tell the time,
 * and whose like places have something else than a lock of this process. What a driver keeps to unlock it is
 * neither: its other places are empty, or have locks too. */
#include <string.h>

#include "case/holder_graph.h"
#include "nt/mdl.h"
#include "nt/read.h"
#include "nt/witness.h"

#define WORD        8u
#define REACH       0x800u /* bytes to both sides of a pointer that are looked at, in memory of one owner */
#define REACH_LOOSE 0x200u /* where its bounds are not known */
#define WORDS       (2 * REACH / WORD)
#define LEAST       3u           /* MDLs of other processes that make it a log */
#define RECORDS     4u           /* in a row that have to agree */
#define LONGEST     64u          /* words of a record */
#define CLOCK_FROM  (1ull << 48) /* FILETIME of any date; no user address is so high */
#define CLOCK_NEAR  (1ull << 44) /* twenty days, in 100 ns */
#define TICKS_FROM  (1ull << 32) /* a performance or processor counter that has run for a while */

typedef struct lhi_nearby {
    const lhi_holders *h;
    uint64_t begin, process;
    uint64_t words[WORDS]; /* 0 where a page is not there */
    size_t count, own;     /* `own`: the pointer asked about */
    bool listed;           /* the words are those of blocks in a list, one behind the other */
} lhi_nearby;

/* The memory around a place that has one owner. */
static void bounds(const lhi_holders *h, const lhi_site *site, uint64_t at, uint64_t *begin, uint64_t *end)
{
    const lhi_module *module = lhi_module_at(&h->c->kernel->modules, at);
    lhi_pool_block block = {0};
    *begin = at - REACH_LOOSE;
    *end = at + REACH_LOOSE;
    if (site->kind == LHI_SITE_POOL || site->kind == LHI_SITE_PAGES)
        block = (lhi_pool_block){.found = true, .body = site->base, .size = site->size};
    else if (module)
        block = (lhi_pool_block){.found = true, .body = module->base, .size = module->size};
    else if (site->kind == LHI_SITE_DEVICE || site->kind == LHI_SITE_EXTENSION)
        lhi_pool_block_at(h->c->kernel, at, &block);
    if (!block.found)
        return;
    *begin = at - block.body > REACH ? at - REACH : at - ((at - block.body) & ~(uint64_t)(WORD - 1));
    *end = block.size - (at - block.body) > REACH ? at + REACH : block.body + block.size;
}

static void look(lhi_nearby *n, const lhi_site *site, uint64_t at)
{
    uint64_t end = 0;
    bounds(n->h, site, at, &n->begin, &end);
    n->own = (size_t)(at - n->begin) / WORD;
    for (uint64_t place = n->begin; place + WORD <= end && n->count < WORDS; place += WORD) {
        uint64_t word = 0;
        if (lhi_space_u64(&n->h->c->kernel->space, place, &word) != LH_PRESENT)
            word = 0;
        n->words[n->count++] = word;
    }
}

static lhi_mdl mdl_at(const lhi_nearby *n, uint64_t value)
{
    uint64_t budget = 16;
    lhi_mdl mdl = {0};
    if (lhi_is_object(value, WORD))
        lhi_mdl_read(n->h->c->kernel, value, 0, &budget, &mdl);
    return mdl;
}

/* MDLs of other processes, each once. */
static bool names_others(const lhi_nearby *n)
{
    uint64_t seen[LEAST] = {0};
    unsigned others = 0;
    for (size_t i = 0; i < n->count && others < LEAST; i++) {
        const uint64_t value = n->words[i];
        bool known = i == n->own || (value >= n->begin && value - n->begin < n->count * WORD);
        for (unsigned k = 0; k < others; k++)
            known = known || seen[k] == value;
        if (known)
            continue;
        const lhi_mdl mdl = mdl_at(n, value);
        const bool one = mdl.klass == LHI_MDL_CHARGED || mdl.klass == LHI_MDL_STALE ||
                         mdl.klass == LHI_MDL_IS_PARTIAL || mdl.klass == LHI_MDL_KERNEL;
        if (one && mdl.process != n->process && mdl.process != 0 &&
            lhi_looks_like_process(n->h->c->kernel, mdl.process) > 0)
            seen[others++] = value;
    }
    return others >= LEAST;
}

typedef enum lhi_march { LHI_NO_MARCH = 0, LHI_MARCH_NUMBERS, LHI_MARCH_CLOCK } lhi_march;

/* The words of a column, from record to record: all up or all down, and what kind of number that is. */
static lhi_march march(const uint64_t *words, size_t first, size_t stride)
{
    uint64_t least = words[first], most = words[first];
    const uint64_t step = words[first + stride] - words[first];
    const bool up = words[first + stride] > words[first];
    bool even = step == 1 || step == UINT64_MAX;
    for (size_t i = 1; i < RECORDS; i++) {
        const uint64_t before = words[first + (i - 1) * stride], word = words[first + i * stride];
        if (word == before || (word > before) != up)
            return LHI_NO_MARCH;
        even = even && word - before == step;
        least = word < least ? word : least;
        most = word > most ? word : most;
    }
    if (least == 0 || lhi_is_kernel(most))
        return LHI_NO_MARCH;
    if (least >= CLOCK_FROM)
        return most - least < CLOCK_NEAR ? LHI_MARCH_CLOCK : LHI_NO_MARCH;
    return even || (least >= TICKS_FROM && most - least < most / 16) ? LHI_MARCH_NUMBERS : LHI_NO_MARCH;
}

/* The places of the other records that have no lock of this process, and those of them that point elsewhere.
 */
static void ask_records(const lhi_nearby *n, size_t first, size_t stride, unsigned *without,
                        unsigned *pointing)
{
    *without = *pointing = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        const size_t place = first + i * stride;
        if (place == n->own)
            continue;
        const lhi_mdl mdl = mdl_at(n, n->words[place]);
        /* what a driver keeps in a list it still has: there a lock of any process is one */
        const bool lock = mdl.klass == LHI_MDL_CHARGED && (n->listed || mdl.process == n->process);
        *without += !lock;
        *pointing += !lock && lhi_is_object(n->words[place], WORD);
    }
}

/* RECORDS records in a row, of which one has the pointer, march in some column. */
static bool marches(const lhi_nearby *n, size_t first, size_t stride)
{
    lhi_march best = LHI_NO_MARCH;
    unsigned without = 0, pointing = 0;
    for (size_t column = 1; column < stride && best != LHI_MARCH_CLOCK; column++) {
        /* the column may stand in front of the pointer or behind it */
        const size_t behind = first + column;
        if (behind + (RECORDS - 1) * stride < n->count) {
            const lhi_march kind = march(n->words, behind, stride);
            best = kind > best ? kind : best;
        }
        if (behind >= stride) {
            const lhi_march kind = march(n->words, behind - stride, stride);
            best = kind > best ? kind : best;
        }
    }
    if (best == LHI_NO_MARCH)
        return false;
    ask_records(n, first, stride, &without, &pointing);
    return best == LHI_MARCH_CLOCK ? (n->listed ? pointing : without) >= RECORDS - 2
                                   : pointing >= RECORDS - 1;
}

static bool has_records_of(const lhi_nearby *n, size_t stride)
{
    for (size_t before = 0; before < RECORDS; before++)
        if (n->own >= before * stride && n->own + (RECORDS - 1 - before) * stride < n->count &&
            marches(n, n->own - before * stride, stride))
            return true;
    return false;
}

static bool has_records(const lhi_nearby *n)
{
    for (size_t stride = 2; stride <= LONGEST; stride++)
        if (has_records_of(n, stride))
            return true;
    return false;
}

/* ------------------------------------------------------------------ records in blocks of their own */

static bool word_at(const lhi_holders *h, uint64_t va, uint64_t *out)
{
    return lhi_is_object(va, WORD) && va <= UINT64_MAX - 2 * WORD &&
           lhi_space_u64(&h->c->kernel->space, va, out) == LH_PRESENT;
}

/* The block that the entry at `offset` of this one is linked to, if it is of its kind; 0: none. */
static uint64_t neighbour(const lhi_holders *h, const lhi_site *site, uint64_t block, uint64_t offset,
                          bool next)
{
    uint64_t entry = 0, back = 0;
    lhi_pool_block found = {0};
    if (!word_at(h, block + offset + (next ? 0 : WORD), &entry) ||
        !word_at(h, entry + (next ? WORD : 0), &back) || back != block + offset)
        return 0;
    lhi_pool_block_at(h->c->kernel, entry, &found);
    return found.found && found.size == site->size && entry - found.body == offset &&
                   strcmp(found.tag, site->tag) == 0
               ? found.body
               : 0;
}

static void take_block(lhi_nearby *n, uint64_t block, uint64_t size)
{
    for (uint64_t at = 0; at + WORD <= size && n->count < WORDS; at += WORD) {
        uint64_t word = 0;
        n->words[n->count++] = word_at(n->h, block + at, &word) ? word : 0;
    }
}

/* The block with the pointer is one of a list, as a record of a buffer is one of its records. */
static bool is_listed_record(const lhi_holders *h, const lhi_site *site, uint64_t at, uint64_t process)
{
    const size_t stride = (size_t)(site->size / WORD);
    if (site->kind != LHI_SITE_POOL || site->what || stride < 4 || stride * (2 * RECORDS - 1) > WORDS ||
        (at - site->base) % WORD != 0)
        return false;
    for (uint64_t offset = 0; offset + 2 * WORD <= site->size; offset += WORD) {
        lhi_nearby n = {.h = h, .process = process, .listed = true};
        uint64_t first = site->base, before = 0;
        for (unsigned i = 1; i < RECORDS && (before = neighbour(h, site, first, offset, false)) != 0; i++) {
            first = before;
            n.own += stride;
        }
        for (uint64_t block = first; block != 0 && n.count + stride <= WORDS;
             block = neighbour(h, site, block, offset, true))
            take_block(&n, block, site->size);
        n.own += (size_t)(at - site->base) / WORD;
        if (n.own < n.count && has_records_of(&n, stride))
            return true;
    }
    return false;
}

bool lhi_holder_is_log(const lhi_holders *h, const lhi_site *site, uint64_t at, uint64_t process)
{
    lhi_nearby n = {.h = h, .process = process};
    if (at < LHI_KERNEL_HALF + REACH || at > UINT64_MAX - REACH)
        return false;
    look(&n, site, at);
    return names_others(&n) || has_records(&n) || is_listed_record(h, site, at, process);
}
