/* Singly linked lists: however long one is, it counts as one step from a block in it to who has its head.
 *
 * Such a list can be followed from its head only, and a search comes from the other side. So where a block
 * points to one of its own kind (size and tag), all blocks of that kind are found by the tags in their pool
 * headers, in one pass. Those that links of the same shape hold together are one list, whichever way its
 * links go: who points to any of them may have all of them. */
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "case/holder_graph.h"
#include "nt/memory.h"
#include "nt/read.h"
#include "nt/text.h"

#define POOL_HEADER   16u /* public PDB type _POOL_HEADER: the tag is its second word */
#define TAG_PROTECTED 0x80000000u
#define MOST_KINDS    256u
#define MOST_BLOCKS   (1u << 20) /* of all kinds asked for, in one level */
#define MOST_MEMBERS  65536u     /* of lists in one case */
/* GENERAL_LOOKASIDE (public PDB type, facts B.9): its SLIST_HEADER comes first. */
#define LOOKASIDE_TAG  0x28u
#define LOOKASIDE_SIZE 0x2cu
#define LOOKASIDE_READ 0x30u

/* ------------------------------------------------------------------ what was met on the way */

/* The tag as it stands in the header in front of a block. */
static bool raw_tag(const lhi_holders *h, uint64_t body, uint32_t *out)
{
    if (lhi_space_u32(&h->c->kernel->space, body - POOL_HEADER + 4, out) != LH_PRESENT)
        return false;
    *out &= ~TAG_PROTECTED;
    return true;
}

static bool same_kind(const lhi_site *a, const lhi_site *b)
{
    return a->kind == LHI_SITE_POOL && b->kind == LHI_SITE_POOL && a->size == b->size &&
           a->base % POOL_HEADER == 0 && a->size < LHI_PAGE_SIZE && strcmp(a->tag, b->tag) == 0;
}

/* NULL: no memory, or too many. */
static lhi_kind *kind_of(lhi_holders *h, uint32_t tag, uint64_t size, lh_error *err)
{
    for (size_t i = 0; i < h->kind_count; i++)
        if (h->kinds[i].tag == tag && h->kinds[i].size == size && !h->kinds[i].asked)
            return &h->kinds[i];
    if (h->kind_count >= MOST_KINDS) {
        h->truncated = true;
        return NULL;
    }
    lhi_kind *larger = lhi_realloc_array(h->kinds, h->kind_count + 1, sizeof *larger);
    if (!larger) {
        lhi_fail_memory(err);
        return NULL;
    }
    h->kinds = larger;
    h->kinds[h->kind_count] = (lhi_kind){.tag = tag, .size = size};
    return &h->kinds[h->kind_count++];
}

lh_status lhi_holder_note_link(lhi_holders *h, size_t held, const lhi_site *site, uint64_t at, uint64_t value,
                               lh_error *err)
{
    const lhi_site *own = &h->things[held].site;
    const lhi_shape shape = {at - site->base, value - own->base};
    uint32_t tag = 0;
    if (!same_kind(own, site) || own->base == site->base || at % 8 != 0 || shape.target >= own->size ||
        !raw_tag(h, own->base, &tag))
        return LH_OK;
    lhi_kind *kind = kind_of(h, tag, own->size, err);
    if (!kind)
        return h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    unsigned i = 0;
    while (i < kind->shape_count &&
           (kind->shapes[i].link != shape.link || kind->shapes[i].target != shape.target))
        i++;
    if (i == LHI_MOST_SHAPES)
        return LH_OK; /* its blocks are asked for one by one */
    if (i == kind->shape_count)
        kind->shapes[kind->shape_count++] = shape;
    return lhi_vec_push(&kind->things, held) && lhi_vec_push(&kind->places, at) ? LH_OK
                                                                                : lhi_fail_memory(err);
}

bool lhi_holder_kind_needle(lhi_holders *h, size_t kind, lh_range *out)
{
    const uint64_t tag = (uint64_t)h->kinds[kind].tag << 32;
    h->kinds[kind].asked = true;
    for (size_t i = 0; i < kind; i++)
        if (h->kinds[i].tag == h->kinds[kind].tag)
            return false;
    *out = (lh_range){tag, tag + (1ull << 32)};
    return true;
}

bool lhi_holder_kind_block(const lhi_holders *h, uint64_t header, lhi_vec *blocks)
{
    lhi_pool_block block = {0};
    if (header % POOL_HEADER != 0 || blocks->count >= MOST_BLOCKS)
        return true;
    lhi_pool_block_at(h->c->kernel, header + POOL_HEADER, &block);
    return !block.found || block.body != header + POOL_HEADER || block.state == LHI_POOL_FREE ||
           lhi_vec_push(blocks, block.body);
}

/* ------------------------------------------------------------------ which blocks hang together */

typedef struct lhi_union {
    lhi_vec blocks; /* of one kind */
    lhi_map index;
    lhi_vec parent; /* by index: another of the same list, in the end the one that stands for it */
    lhi_vec first;  /* of those: a block of the list, LHI_NONE none */
    lhi_vec next;   /* by index: the following block of the same list, LHI_NONE */
} lhi_union;

static size_t root_of(lhi_union *u, size_t i)
{
    uint64_t *parent = u->parent.data;
    while (parent && parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

static bool take_blocks(const lhi_holders *h, const lhi_kind *kind, const lhi_vec *found, lhi_union *u)
{
    for (size_t i = 0; i < found->count; i++) {
        const uint64_t body = found->data[i];
        uint64_t head = 0;
        if (lhi_space_u64(&h->c->kernel->space, body - POOL_HEADER, &head) != LH_PRESENT ||
            ((uint32_t)(head >> 32) & ~TAG_PROTECTED) != kind->tag ||
            (head >> 16 & 0xff) * POOL_HEADER != kind->size + POOL_HEADER ||
            lhi_map_get(&u->index, body) != SIZE_MAX)
            continue;
        if (!lhi_map_put(&u->index, body, u->blocks.count) || !lhi_vec_push(&u->parent, u->blocks.count) ||
            !lhi_vec_push(&u->first, LHI_NONE) || !lhi_vec_push(&u->next, LHI_NONE) ||
            !lhi_vec_push(&u->blocks, body))
            return false;
    }
    return true;
}

static void join(const lhi_holders *h, const lhi_kind *kind, lhi_union *u)
{
    for (size_t i = 0; i < u->blocks.count; i++) {
        for (unsigned k = 0; k < kind->shape_count; k++) {
            uint64_t next = 0;
            if (lhi_space_u64(&h->c->kernel->space, u->blocks.data[i] + kind->shapes[k].link, &next) !=
                LH_PRESENT)
                continue;
            const size_t other = lhi_map_get(&u->index, next - kind->shapes[k].target);
            if (other != SIZE_MAX)
                u->parent.data[root_of(u, i)] = root_of(u, other);
        }
    }
    for (size_t i = 0; i < u->blocks.count; i++) {
        const size_t root = root_of(u, i);
        u->next.data[i] = u->first.data[root];
        u->first.data[root] = i;
    }
}

static size_t first_of(const lhi_union *u, size_t root)
{
    return root < u->first.count && u->first.data ? (size_t)u->first.data[root] : LHI_NONE;
}

static void free_union(lhi_union *u)
{
    lhi_vec_free(&u->blocks);
    lhi_vec_free(&u->parent);
    lhi_vec_free(&u->first);
    lhi_vec_free(&u->next);
    lhi_map_free(&u->index);
}

/* ------------------------------------------------------------------ lists as things */

/* Who points to any block of the list is asked next, for all of them together. */
static lh_status enter_list(lhi_holders *h, const lhi_site *own, lhi_vec *members, size_t *list,
                            lh_error *err)
{
    lhi_site site = {.kind = LHI_SITE_LIST,
                     .base = own->base | 4,
                     .size = own->size,
                     .object = members->count,
                     .party = LHI_NONE};
    memcpy(site.tag, own->tag, sizeof site.tag);
    *list = lhi_holder_thing(h, &site, err);
    if (*list == LHI_NONE)
        return h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    lhi_vec_sort_unique(members);
    for (size_t i = 0; i < members->count; i++) {
        const size_t one = lhi_map_get(&h->places, members->data[i]);
        if (one != SIZE_MAX)
            h->things[one].searched = true;
    }
    h->members += members->count;
    lhi_vec_free(&h->things[*list].members);
    h->things[*list].members = *members;
    *members = (lhi_vec){0};
    return LH_OK;
}

/* The list that a block lies in, entered if it is new. LHI_NONE: there are more than the case has room for.
 */
static lh_status list_of(lhi_holders *h, const lhi_site *own, const lhi_union *u, size_t root, lhi_map *lists,
                         size_t *list, lh_error *err)
{
    lhi_vec members = {0};
    lh_status status = LH_OK;
    *list = lhi_map_get(lists, root);
    if (*list != SIZE_MAX)
        return LH_OK;
    for (size_t i = first_of(u, root); status == LH_OK && i != LHI_NONE; i = u->next.data[i]) {
        if (h->members + members.count >= MOST_MEMBERS) {
            h->truncated = true;
            *list = LHI_NONE;
            lhi_vec_free(&members);
            return LH_OK;
        }
        if (!lhi_vec_push(&members, u->blocks.data[i]))
            status = lhi_fail_memory(err);
    }
    if (status == LH_OK)
        status = enter_list(h, own, &members, list, err);
    if (status == LH_OK && *list != LHI_NONE && !lhi_map_put(lists, root, *list))
        status = lhi_fail_memory(err);
    lhi_vec_free(&members);
    return status;
}

/* The lists that the blocks met lie in. */
static lh_status enter_lists(lhi_holders *h, const lhi_kind *kind, lhi_union *u, lh_error *err)
{
    lhi_map lists = {0}; /* list by the block that stands for it */
    lh_status status = LH_OK;
    for (size_t i = 0; status == LH_OK && i < kind->things.count; i++) {
        const size_t thing = kind->things.data[i];
        const lhi_site own = h->things[thing].site;
        const size_t index = lhi_map_get(&u->index, own.base);
        size_t list = LHI_NONE;
        if (index != SIZE_MAX)
            status = list_of(h, &own, u, root_of(u, index), &lists, &list, err);
        if (status == LH_OK && list != LHI_NONE)
            status = lhi_holder_grip(h, list, thing, kind->places.data[i], "in a singly linked list", err);
    }
    lhi_map_free(&lists);
    return status;
}

static void free_kind(lhi_kind *kind)
{
    lhi_vec_free(&kind->things);
    lhi_vec_free(&kind->places);
}

lh_status lhi_holder_chains(lhi_holders *h, const lhi_vec *blocks, lh_error *err)
{
    lh_status status = LH_OK;
    size_t kept = 0;
    h->truncated = h->truncated || blocks->count >= MOST_BLOCKS;
    for (size_t i = 0; i < h->kind_count; i++) {
        lhi_union u = {0};
        if (!h->kinds[i].asked) { /* met in this level: the next one asks for its blocks */
            h->kinds[kept++] = h->kinds[i];
            continue;
        }
        if (status == LH_OK && !take_blocks(h, &h->kinds[i], blocks, &u))
            status = lhi_fail_memory(err);
        if (status == LH_OK) {
            join(h, &h->kinds[i], &u);
            status = enter_lists(h, &h->kinds[i], &u, err);
        }
        free_union(&u);
        free_kind(&h->kinds[i]);
    }
    h->kind_count = kept;
    return status;
}

void lhi_holder_kinds_free(lhi_holders *h)
{
    for (size_t i = 0; i < h->kind_count; i++)
        free_kind(&h->kinds[i]);
    lhi_free(h->kinds);
}

bool lhi_holder_is_lookaside(const lh_kernel *kernel, uint64_t at, const char *tag, uint64_t size)
{
    uint8_t head[LOOKASIDE_READ] = {0};
    char text[24] = "";
    uint64_t missing = 0;
    if (at % POOL_HEADER != 8 ||
        lhi_read(&kernel->space, at - 8, head, sizeof head, &missing) != LH_PRESENT || lhi_u16(head) == 0)
        return false;
    const uint32_t room = lhi_u32(head + LOOKASIDE_SIZE);
    lhi_text_bytes(head + LOOKASIDE_TAG, 4, text, sizeof text);
    return room <= size && size - room < (uint64_t)2 * POOL_HEADER && strcmp(text, tag) == 0;
}

bool lhi_holder_is_stack_of_blocks(const lh_kernel *kernel, uint64_t at)
{
    uint64_t count = 0, entry = 0;
    if (at % POOL_HEADER != 8 || lhi_space_u64(&kernel->space, at - 8, &count) != LH_PRESENT ||
        lhi_space_u64(&kernel->space, at, &entry) != LH_PRESENT)
        return false;
    const uint64_t depth = count & 0xffff, sequence = count >> 16;
    entry &= ~(uint64_t)(POOL_HEADER - 1);
    /* Each push raises the sequence; a list that holds entries has one. */
    for (uint64_t i = 0; i < depth; i++)
        if (!lhi_is_object(entry, POOL_HEADER) || lhi_space_u64(&kernel->space, entry, &entry) != LH_PRESENT)
            return false;
    return depth != 0 && sequence >= depth && entry == 0;
}
