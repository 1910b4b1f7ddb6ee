/* Doubly linked lists: however long one is, it counts as one step from a block in it to who has its head.
 *
 * A LIST_ENTRY is believed when both its neighbours point back. All entries of a list but one lie in blocks
 * of one kind, at one offset: that one is the head. A list of another shape goes through the memory of many
 * owners, as the kernel's list of resources does, and does not tell whose a block in it is. */
#include <string.h>

#include "case/holder_graph.h"
#include "nt/callback.h"
#include "nt/memory.h"
#include "nt/read.h"

#define MOST_WALKED  (1u << 20) /* entries in one case */
#define MOST_MEMBERS 4096u      /* blocks of a list without a head that are asked for one by one */
#define MOST_BYTES   0x10000u   /* of a block that are looked at */

typedef struct lhi_walk_list {
    lhi_holders *h;
    uint64_t entry, offset, size; /* where it started, in a block of which size */
    char tag[24];
    lhi_fx_object object; /* of the framework, that it started in; its globals are 0 where it is none */
    uint64_t members, heads, head;
    lhi_vec entries, blocks;
    bool broken;
    bool kernels; /* one of the entries that are in no such block lies in nt */
    bool queue;   /* or is the head of one of its work queues */
} lhi_walk_list;

static bool word(const lhi_holders *h, uint64_t va, uint64_t *out)
{
    return lhi_space_u64(&h->c->kernel->space, va, out) == LH_PRESENT;
}

/* Both neighbours of an entry point back, and it is not alone. */
static bool is_entry(const lhi_holders *h, uint64_t entry)
{
    uint64_t next = 0, before = 0, back = 0, ahead = 0;
    return word(h, entry, &next) && lhi_is_object(next, 8) && next != entry && next < UINT64_MAX - 16 &&
           word(h, entry + 8, &before) && lhi_is_object(before, 8) && before < UINT64_MAX - 16 &&
           word(h, next + 8, &back) && back == entry && word(h, before, &ahead) && ahead == entry;
}

/* The entry lies in a block like the one that the walk started in. Objects of the framework that it made for
 * one client may be of several kinds: then the place in the object tells. */
static bool is_member(lhi_walk_list *w, uint64_t entry)
{
    lhi_pool_block block = {0};
    lhi_fx_object object = {0};
    if (w->object.globals)
        return lhi_holder_object_at(w->h, entry, &object) && object.globals == w->object.globals &&
               entry - object.address == w->entry - w->object.address;
    lhi_pool_block_at(w->h->c->kernel, entry, &block);
    return block.found && block.state != LHI_POOL_FREE && block.size == w->size &&
           entry - block.body == w->offset && strcmp(block.tag, w->tag) == 0;
}

/* Once around. false: no memory. */
static bool go_round(lhi_walk_list *w)
{
    uint64_t at = w->entry, from = 0;
    do {
        uint64_t next = 0, before = 0;
        bool links = lhi_is_object(at, 8) && at < UINT64_MAX - 16 && word(w->h, at, &next) &&
                     word(w->h, at + 8, &before);
        if (!links || (from != 0 && before != from)) {
            w->broken = true;
            return true;
        }
        if (++w->h->walked > MOST_WALKED) {
            w->h->truncated = w->broken = true;
            return true;
        }
        if (!lhi_vec_push(&w->entries, at))
            return false;
        if (is_member(w, at)) {
            w->members++;
            if (w->blocks.count <= MOST_MEMBERS && !lhi_vec_push(&w->blocks, at - w->offset))
                return false;
        } else {
            const lh_kernel *kernel = w->h->c->kernel;
            w->heads++;
            w->head = at;
            w->queue = w->queue || lhi_is_work_queue(kernel, at);
            w->kernels = w->kernels || w->queue || lhi_is_nt(kernel, lhi_module_at(&kernel->modules, at));
        }
        from = at;
        at = next;
    } while (at != w->entry);
    return true;
}

/* The list as a thing of its own, and who has its head. */
static lh_status enter_list(lhi_walk_list *w, size_t *list, lh_error *err)
{
    lhi_holders *h = w->h;
    lhi_site site = {.kind = LHI_SITE_LIST,
                     .base = w->entry | 1,
                     .size = w->size,
                     .object = w->members,
                     .party = LHI_NONE};
    memcpy(site.tag, w->tag, sizeof site.tag);
    *list = lhi_holder_thing(h, &site, err);
    if (*list == LHI_NONE)
        return h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    for (size_t i = 0; i < w->entries.count; i++)
        if (!lhi_map_put(&h->entries, w->entries.data[i], *list))
            return lhi_fail_memory(err);
    if (w->heads == 0) {
        h->truncated = h->truncated || w->members > MOST_MEMBERS;
        lhi_vec_sort_unique(&w->blocks);
        h->things[*list].members = w->blocks;
        w->blocks = (lhi_vec){0};
        return LH_OK;
    }
    lhi_site head = {0};
    lh_status status = lhi_holder_site(h, w->head, &head, err);
    size_t holder = status == LH_OK ? lhi_holder_thing(h, &head, err) : LHI_NONE;
    if (status != LH_OK || holder == LHI_NONE)
        return status != LH_OK || h->truncated ? status : LH_ERR_NO_MEMORY;
    h->things[*list].searched = true;
    return lhi_holder_grip(h, holder, *list, w->head, "the head of the list", err);
}

/* Entries in the memory of many, or work items of many. Of nt's own lists that is known; of another list it
 * is not whose it is. */
static lh_status enter_mixed(lhi_walk_list *w, size_t *list, lh_error *err)
{
    lhi_site site = {
        .kind = w->kernels ? LHI_SITE_BOOKS : LHI_SITE_NOWHERE, .base = w->entry | 1, .party = LHI_NONE};
    *list = lhi_holder_thing(w->h, &site, err);
    if (*list == LHI_NONE)
        return w->h->truncated ? LH_OK : LH_ERR_NO_MEMORY;
    w->h->things[*list].searched = true;
    for (size_t i = 0; i < w->entries.count; i++)
        if (!lhi_map_put(&w->h->entries, w->entries.data[i], *list))
            return lhi_fail_memory(err);
    return LH_OK;
}

static lh_status follow(lhi_holders *h, size_t thing, uint64_t entry, lh_error *err)
{
    const lhi_site *site = &h->things[thing].site;
    lhi_walk_list w = {.h = h, .entry = entry, .offset = entry - site->base, .size = site->size};
    size_t list = lhi_map_get(&h->entries, entry);
    lh_status status = LH_OK;
    memcpy(w.tag, site->tag, sizeof w.tag);
    if (site->what && entry - site->object < site->size)
        w.object = (lhi_fx_object){.address = site->object, .globals = site->globals};
    if (list == SIZE_MAX) {
        list = LHI_NONE;
        if (!go_round(&w))
            status = lhi_fail_memory(err);
        else if (!w.broken)
            status = w.heads < 2 && !w.queue ? enter_list(&w, &list, err) : enter_mixed(&w, &list, err);
    }
    if (status == LH_OK && list != LHI_NONE)
        status = lhi_holder_grip(h, list, thing, entry, "in a list", err);
    lhi_vec_free(&w.entries);
    lhi_vec_free(&w.blocks);
    return status;
}

lh_status lhi_holder_lists(lhi_holders *h, size_t thing, lh_error *err)
{
    lh_status status = LH_OK;
    const uint64_t base = h->things[thing].site.base, size = h->things[thing].site.size;
    const uint64_t end = base + (size < MOST_BYTES ? size : MOST_BYTES);
    for (uint64_t at = base; status == LH_OK && at + 16 <= end; at += 8)
        if (is_entry(h, at))
            status = follow(h, thing, at, err);
    return status;
}
