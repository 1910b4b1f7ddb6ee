/* The reverse map: one breadth-first sweep of the kernel half for the frames asked for. */
#include "space/space.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/vec.h"
#include "space/tables.h"

/* Rows of a frame that one level's sweep keeps, and again as many through aliases of tables. */
#define ROWS LHI_REVERSE_ROWS

/* Where a table was met first: at the lowest address, since tables are swept in the order of addresses. */
typedef struct first_use {
    uint64_t va; /* what its entry 0 maps */
    uint32_t parent;
} first_use;

/* A further entry that refers to a table already met. */
typedef struct edge {
    uint32_t child, parent, slot;
} edge;

typedef struct match {
    uint64_t va;
    size_t frame;   /* index into the frames asked for */
    uint32_t table; /* that has the entry */
} match;

typedef struct found_row {
    uint64_t frame, va;
} found_row;

typedef struct sweep {
    const lhi_space *space;
    const uint64_t *frames;
    size_t frame_count;
    uint64_t *filter; /* bit set of the frames' low bits: most PTEs end here */
    uint64_t filter_mask;
    uint8_t *rows_kept; /* of each frame, at the level at hand */
    lhi_tables tables;
    first_use *uses; /* parallel to tables.keys */
    size_t use_capacity;
    edge *edges;
    size_t edge_count, edge_capacity;
    match *matches;
    size_t match_count, match_capacity;
    found_row *rows;
    size_t row_count, row_capacity;
    uint64_t missing, dropped;
} sweep;

static bool add_table(sweep *s, uint64_t frame, int level, uint64_t va, uint32_t parent, uint32_t slot)
{
    uint32_t index = 0;
    bool added = false;
    if (!lhi_tables_add(&s->tables, lhi_table_key(frame, level), &index, &added))
        return false;
    if (added) {
        if (!lhi_grow(&s->uses, index, &s->use_capacity, sizeof *s->uses))
            return false;
        s->uses[index] = (first_use){va, parent};
        return true;
    }
    if (s->edge_count >= LHI_REVERSE_ALIASES + 2 * s->tables.count) {
        s->dropped++;
        return true;
    }
    if (!lhi_grow(&s->edges, s->edge_count, &s->edge_capacity, sizeof *s->edges))
        return false;
    s->edges[s->edge_count++] = (edge){index, parent, slot};
    return true;
}

/* The caller saw to the bound. */
static bool add_match(sweep *s, size_t frame, uint64_t va, uint32_t table)
{
    if (!lhi_grow(&s->matches, s->match_count, &s->match_capacity, sizeof *s->matches))
        return false;
    s->matches[s->match_count++] = (match){va, frame, table};
    s->rows_kept[frame]++;
    return true;
}

/* Every frame asked for in [first, first + count), which is mapped from va on. A large page's base is aligned
 * to its size, so that pages of one level are equal or disjoint: when the first frame inside has all its
 * rows, so have the others, and a base that is repeated for ever costs a look. */
static bool add_page(sweep *s, uint64_t first, uint64_t count, uint64_t va, uint32_t table)
{
    size_t at = lhi_lower_bound(s->frames, s->frame_count, first);
    if (at == s->frame_count || s->frames[at] - first >= count)
        return true;
    if (s->rows_kept[at] >= ROWS) {
        s->dropped++;
        return true;
    }
    for (; at < s->frame_count && s->frames[at] - first < count; at++)
        if (!add_match(s, at, va + (s->frames[at] - first) * LHI_PAGE_SIZE, table))
            return false;
    return true;
}

static bool sweep_table(sweep *s, uint32_t table, int level, const uint8_t *entries)
{
    uint64_t base = s->uses[table].va;
    uint64_t root = s->space->dtb / LHI_PAGE_SIZE;
    for (uint32_t slot = level == 4 ? LHI_ENTRY_COUNT / 2 : 0; slot < LHI_ENTRY_COUNT; slot++) {
        uint64_t raw = lhi_u64(entries + 8 * (size_t)slot);
        uint64_t va = base + ((uint64_t)slot << lhi_entry_shift(level));
        lhi_entry entry = {0};
        bool ok = true;
        if (raw == 0)
            continue;
        if (level == 1 && (raw & 1) != 0) { /* nearly all of them: no decoding needed */
            entry.kind = LHI_ENTRY_PAGE;
            entry.frame = raw >> 12 & LHI_ENTRY_FRAMES;
        } else {
            lhi_entry_decode(s->space->pages, raw, level, &entry);
        }
        if (entry.kind == LHI_ENTRY_TABLE) {
            if (level == 4 && entry.frame == root)
                continue; /* the self-map: its pages are the page tables */
            ok = add_table(s, entry.frame, level - 1, va, table, slot);
        } else if (entry.kind == LHI_ENTRY_PAGE) {
            uint64_t bit = entry.frame & s->filter_mask;
            if (level == 1 && (s->filter[bit >> 6] >> (bit & 63) & 1) == 0)
                continue;
            ok = add_page(s, entry.frame, level == 1 ? 1 : lhi_entry_pages(level), va, table);
        }
        if (!ok)
            return false;
    }
    return true;
}

static lh_status sweep_all(sweep *s, lh_error *err)
{
    uint8_t buffer[LHI_PAGE_SIZE];
    int last_level = 4;
    /* Slot 256 of the PML4 is the first of the kernel half; addresses are sign-extended from bit 47. */
    if (!add_table(s, s->space->dtb / LHI_PAGE_SIZE, 4, 0xffffull << 48, 0, 0))
        return lhi_fail_memory(err);
    for (size_t i = 0; i < s->tables.count; i++) {
        int level = (int)(s->tables.keys[i] & 3) + 1;
        const uint8_t *entries = NULL;
        lh_status status = lhi_table_read(s->space->pages, s->tables.keys[i] >> 2, buffer, &entries, err);
        if (status != LH_OK)
            return status;
        if (level != last_level)
            memset(s->rows_kept, 0, s->frame_count);
        last_level = level;
        if (entries == NULL)
            s->missing++;
        else if (!sweep_table(s, (uint32_t)i, level, entries))
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

static int compare_edges(const void *left, const void *right)
{
    const edge *a = left;
    const edge *b = right;
    if (a->child != b->child)
        return a->child < b->child ? -1 : 1;
    if (a->parent != b->parent)
        return a->parent < b->parent ? -1 : 1;
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static int compare_rows(const void *left, const void *right)
{
    const found_row *a = left;
    const found_row *b = right;
    if (a->frame != b->frame)
        return a->frame < b->frame ? -1 : 1;
    return a->va < b->va ? -1 : a->va > b->va;
}

static bool add_row(sweep *s, uint64_t frame, uint64_t va)
{
    if (!lhi_grow(&s->rows, s->row_count, &s->row_capacity, sizeof *s->rows))
        return false;
    s->rows[s->row_count++] = (found_row){frame, va};
    return true;
}

static size_t first_edge(const sweep *s, uint32_t child)
{
    size_t low = 0;
    size_t high = s->edge_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->edges[middle].child < child)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Climbs from a table to the root by every entry that refers to it; `below` is what was gathered so far of
 * the address. Each path that arrives is one address, so the work is bounded by the rows kept: false stops
 * it. */
static bool climb(sweep *s, uint32_t table, uint64_t below, size_t frame, uint64_t known, bool *memory)
{
    int level = (int)(s->tables.keys[table] & 3) + 1;
    unsigned shift = 0;
    uint64_t slot = 0;
    if (level == 4) {
        uint64_t va = s->uses[table].va + below;
        if (va == known)
            return true;
        if (s->rows_kept[frame] >= ROWS) {
            s->dropped++;
            return false;
        }
        s->rows_kept[frame]++;
        *memory = add_row(s, s->frames[frame], va);
        return *memory;
    }
    shift = lhi_entry_shift(level + 1);
    slot = s->uses[table].va >> shift & (LHI_ENTRY_COUNT - 1);
    if (!climb(s, s->uses[table].parent, below + (slot << shift), frame, known, memory))
        return false;
    for (size_t i = first_edge(s, table); i < s->edge_count && s->edges[i].child == table; i++)
        if (!climb(s, s->edges[i].parent, below + ((uint64_t)s->edges[i].slot << shift), frame, known,
                   memory))
            return false;
    return true;
}

static lh_status collect_rows(sweep *s, lh_error *err)
{
    memset(s->rows_kept, 0, s->frame_count);
    if (s->edge_count != 0)
        qsort(s->edges, s->edge_count, sizeof *s->edges, compare_edges);
    for (size_t i = 0; i < s->match_count; i++) {
        const match *m = &s->matches[i];
        bool memory = add_row(s, s->frames[m->frame], m->va);
        if (memory && s->edge_count != 0)
            climb(s, m->table, m->va - s->uses[m->table].va, m->frame, m->va, &memory);
        if (!memory)
            return lhi_fail_memory(err);
    }
    return LH_OK;
}

static lh_status fill(sweep *s, lhi_reverse *out, lh_error *err)
{
    lhi_reverse r = {.count = s->row_count, .tables_missing = s->missing, .aliases_dropped = s->dropped};
    r.complete = s->missing == 0 && s->dropped == 0;
    if (s->row_count != 0) {
        qsort(s->rows, s->row_count, sizeof *s->rows, compare_rows);
        r.frame = lhi_realloc_array(NULL, s->row_count, sizeof *r.frame);
        r.va = lhi_realloc_array(NULL, s->row_count, sizeof *r.va);
        if (r.frame == NULL || r.va == NULL) {
            lhi_reverse_free(&r);
            return lhi_fail_memory(err);
        }
    }
    for (size_t i = 0; i < s->row_count; i++) {
        r.frame[i] = s->rows[i].frame;
        r.va[i] = s->rows[i].va;
    }
    *out = r;
    return LH_OK;
}

lh_status lhi_reverse_map(const lhi_space *space, const uint64_t *frames, size_t count, lhi_reverse *out,
                          lh_error *err)
{
    sweep s = {.space = space, .frames = frames, .frame_count = count};
    lh_status status = LH_OK;
    unsigned bits = 12;
    if (count == 0) {
        *out = (lhi_reverse){.complete = true};
        return LH_OK;
    }
    while (bits < 24 && (uint64_t)1 << bits < (uint64_t)count * 32)
        bits++;
    s.filter_mask = ((uint64_t)1 << bits) - 1;
    s.filter = lhi_calloc((size_t)1 << (bits - 6), sizeof *s.filter);
    s.rows_kept = lhi_calloc(count, 1);
    if (s.filter == NULL || s.rows_kept == NULL) {
        status = lhi_fail_memory(err);
        goto done;
    }
    for (size_t i = 0; i < count; i++)
        s.filter[(frames[i] & s.filter_mask) >> 6] |= (uint64_t)1 << (frames[i] & 63);
    status = sweep_all(&s, err);
    if (status == LH_OK)
        status = collect_rows(&s, err);
    if (status == LH_OK)
        status = fill(&s, out, err);
done:
    lhi_free(s.filter);
    lhi_free(s.rows_kept);
    lhi_free(s.uses);
    lhi_free(s.edges);
    lhi_free(s.matches);
    lhi_free(s.rows);
    lhi_tables_free(&s.tables);
    return status;
}

size_t lhi_reverse_find(const lhi_reverse *map, uint64_t frame, size_t *first)
{
    size_t at = lhi_lower_bound(map->frame, map->count, frame);
    size_t n = 0;
    *first = at;
    while (at + n < map->count && map->frame[at + n] == frame)
        n++;
    return n;
}

void lhi_reverse_free(lhi_reverse *map)
{
    lhi_free(map->frame);
    lhi_free(map->va);
    *map = (lhi_reverse){0};
}
