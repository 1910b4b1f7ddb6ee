/* Walks the lock trackers of a process: the trees (or the list) behind its LOCK_HEADER. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/map.h"
#include "base/vec.h"
#include "nt/read.h"
#include "nt/tracker.h"

/* First builds (facts C.1): Vista, whose types are not in the public type streams, and 8.1, whose are. */
#define VISTA         6000u
#define EIGHT_ONE     9600u
#define HEADER_LEAST  0x20u   /* LOCK_HEADER of 8.1 and of 24H2 */
#define HEADER_MOST   0x28u   /* of 5.2, and of 16299 to 22000 */
#define EPROCESS_MOST 0x1000u /* no known EPROCESS is larger */
#define CLIMB_MOST    64u     /* a balanced tree of 2^40 nodes is not as high */
#define VALID_TREE    0x18u   /* LOCK_HEADER.Valid by form (public PDB types) */
#define VALID_16299   0x20u
#define VALID_24H2    0x1cu
#define SECOND_TREE   0x8u
#define COUNT_TREE    0x8u
#define COUNT_SECOND  0x10u

typedef struct lhi_walker {
    const lh_kernel *kernel;
    uint64_t process;
    size_t most;
    lhi_trackers *out;
    lhi_map seen;
    lhi_vec todo; /* pairs: address, and its parent with bit 0 set in the second tree */
} lhi_walker;

bool lhi_trackers_public(const lh_kernel *kernel)
{
    return kernel->build < VISTA || kernel->build >= EIGHT_ONE;
}

static void damaged(lhi_trackers *out, uint64_t at)
{
    if (!out->damaged)
        out->damage = at;
    out->damaged = true;
}

static void missing(lhi_trackers *out, lh_absence absence, uint64_t at)
{
    /* Non-paged pool is mapped: a link to where nothing is leads astray. */
    if (absence == LH_ABSENT_LAYOUT || absence == LH_ABSENT_NONCANONICAL || absence == LH_ABSENT_NOT_MAPPED) {
        damaged(out, at);
    } else if (out->absence == LH_PRESENT) {
        out->absence = absence;
        out->absent_at = at;
    }
}

static bool keep(lhi_trackers *out, const lhi_tracker *tracker)
{
    if (!lhi_grow(&out->items, out->count, &out->room, sizeof *out->items))
        return false;
    out->items[out->count++] = *tracker;
    out->sum += tracker->pages;
    return true;
}

/* One node: kept, and its children queued. false: no memory. */
static bool take(lhi_walker *w, uint64_t address, uint64_t parent, bool switched)
{
    lhi_trackers *out = w->out;
    lhi_tracker tracker = {0};
    lhi_tracker_form found = LHI_TRACKER_NONE;
    uint64_t at = 0;
    if (lhi_map_get(&w->seen, address) != SIZE_MAX || out->count >= w->most) {
        damaged(out, address);
        return true;
    }
    lh_absence absence = lhi_tracker_read(w->kernel, address, out->form, &found, &tracker, &at);
    if (absence != LH_PRESENT) {
        missing(out, absence, at);
        return true;
    }
    /* A freed tracker keeps its numbers, but not its place. */
    if (tracker.process != w->process || tracker.parent != parent) {
        damaged(out, address);
        return true;
    }
    out->form = found;
    tracker.switched = switched;
    if (!lhi_map_put(&w->seen, address, out->count) || !keep(out, &tracker))
        return false;
    const uint64_t children[] = {tracker.left, tracker.right};
    for (size_t i = 0; i < 2; i++)
        if (children[i] != 0 &&
            (!lhi_vec_push(&w->todo, children[i]) || !lhi_vec_push(&w->todo, address | switched)))
            return false;
    return true;
}

static bool walk_tree(lhi_walker *w, uint64_t root, bool switched)
{
    if (root != 0 && !take(w, root, 0, switched))
        return false;
    while (w->todo.count) {
        uint64_t parent = w->todo.data[--w->todo.count];
        uint64_t address = w->todo.data[--w->todo.count];
        if (!take(w, address, parent & ~1ull, parent & 1))
            return false;
    }
    return true;
}

static bool walk_list(lhi_walker *w, const uint8_t *header)
{
    lhi_trackers *out = w->out;
    uint64_t before = out->header, at = 0;
    uint64_t address = lhi_u64(header);
    out->form = LHI_TRACKER_LIST;
    while (address != out->header) {
        lhi_tracker tracker = {0};
        lhi_tracker_form found = LHI_TRACKER_NONE;
        lh_absence absence = lhi_tracker_read(w->kernel, address, LHI_TRACKER_LIST, &found, &tracker, &at);
        if (absence != LH_PRESENT) {
            missing(out, absence, at);
            return true;
        }
        /* The link back makes a list that can't run in a circle without the header. */
        if (tracker.left != before || tracker.process != w->process || out->count >= w->most) {
            damaged(out, address);
            return true;
        }
        if (!keep(out, &tracker))
            return false;
        before = address;
        address = tracker.right;
    }
    if (lhi_u64(header + 8) != before)
        damaged(out, out->header);
    return true;
}

/* Count and Valid, once the trackers have shown the form. */
static void read_header_numbers(const lh_kernel *kernel, const uint8_t *header, lhi_trackers *out)
{
    uint64_t valid = 0;
    if (out->form == LHI_TRACKER_LIST) {
        out->header_count = lhi_u64(header + 0x10);
        out->valid = lhi_u32(header + 0x20);
    } else if (out->form == LHI_TRACKER_TREE) {
        out->header_count = lhi_u64(header + COUNT_TREE);
        out->valid = lhi_u32(header + VALID_TREE);
        out->valid_known = true;
    } else {
        out->header_count = lhi_u64(header + COUNT_SECOND);
        /* In the older of the two, 1c is the upper half of a lock that nobody holds. */
        bool newest =
            lhi_u32(header + VALID_24H2) != 0 ||
            (lhi_layout_offset(kernel->layout, LHI_F_LOCK_HEADER_Valid, &valid) && valid == VALID_24H2);
        out->valid = lhi_u32(header + (newest ? VALID_24H2 : VALID_16299));
        out->valid_known = out->valid_known || newest;
    }
    out->header_known = true;
}

static bool walk_header(lhi_walker *w)
{
    lhi_trackers *out = w->out;
    uint8_t header[HEADER_MOST] = {0};
    uint64_t at = out->header;
    lh_absence absence = lhi_is_object(out->header, 8) && out->header <= UINT64_MAX - HEADER_MOST
                             ? lhi_read(&w->kernel->space, out->header, header, HEADER_LEAST, &at)
                             : LH_ABSENT_LAYOUT;
    if (absence != LH_PRESENT) {
        missing(out, absence, at);
        return true;
    }
    /* The last words, which only some have, may lie behind the end of a smaller one's page. */
    out->valid_known = lhi_read(&w->kernel->space, out->header + HEADER_LEAST, header + HEADER_LEAST,
                                HEADER_MOST - HEADER_LEAST, &at) == LH_PRESENT;
    if (w->kernel->build < VISTA) {
        if (!walk_list(w, header))
            return false;
    } else {
        uint64_t root = lhi_u64(header), second = lhi_u64(header + SECOND_TREE);
        if (!walk_tree(w, root, false))
            return false;
        /* One tree, and behind its root the count; or two roots. */
        if (out->form != LHI_TRACKER_TREE && lhi_is_object(second, 8) && !walk_tree(w, second, true))
            return false;
        if (out->form == LHI_TRACKER_SWITCHED && second != 0 && !lhi_is_object(second, 8))
            damaged(out, out->header);
    }
    if (out->form != LHI_TRACKER_NONE)
        read_header_numbers(w->kernel, header, out);
    out->complete = true;
    return true;
}

/* From one tracker up to the root of its tree; 0: a page on the way is missing, or what is there is none. */
static uint64_t climb(lhi_walker *w, uint64_t address)
{
    lhi_trackers *out = w->out;
    for (unsigned i = 0; i < CLIMB_MOST; i++) {
        lhi_tracker tracker = {0};
        lhi_tracker_form found = LHI_TRACKER_NONE;
        uint64_t at = 0;
        lh_absence absence = lhi_tracker_read(w->kernel, address, out->form, &found, &tracker, &at);
        if (absence != LH_PRESENT || tracker.process != w->process) {
            missing(out, absence != LH_PRESENT ? absence : LH_ABSENT_LAYOUT, at);
            return 0;
        }
        if (tracker.parent == 0)
            return address;
        address = tracker.parent;
    }
    damaged(out, address);
    return 0;
}

/* LOCK_HEADER by the root of its tree: the word of the process object that points to it. 0: none does. */
static uint64_t find_header(const lhi_walker *w, uint64_t root)
{
    uint8_t object[EPROCESS_MOST] = {0};
    size_t done = 0;
    (void)lhi_space_read(&w->kernel->space, w->process, object, sizeof object, &done, NULL);
    for (size_t at = 0; at + 8 <= done; at += 8) {
        uint64_t header = lhi_u64(object + at), first = 0;
        if (lhi_is_object(header, 8) && lhi_space_u64(&w->kernel->space, header, &first) == LH_PRESENT &&
            first == root)
            return header;
    }
    return 0;
}

/* The one that is known, where no way from the header leads to it: with its tree, or alone. */
static bool take_one(lhi_walker *w, uint64_t one)
{
    lhi_trackers *out = w->out;
    lhi_tracker tracker = {0};
    lhi_tracker_form found = LHI_TRACKER_NONE;
    uint64_t at = 0;
    uint64_t root = climb(w, one);
    out->complete = false;
    if (root != 0 && out->header == 0) {
        out->header = find_header(w, root);
        if (out->header != 0 && !walk_header(w))
            return false;
    }
    if (root != 0 && lhi_map_get(&w->seen, root) == SIZE_MAX && !walk_tree(w, root, false))
        return false;
    if (lhi_map_get(&w->seen, one) != SIZE_MAX)
        return true;
    lh_absence absence = lhi_tracker_read(w->kernel, one, out->form, &found, &tracker, &at);
    if (absence != LH_PRESENT || tracker.process != w->process)
        return true; /* the climb has said so */
    out->form = found;
    return keep(out, &tracker);
}

static int by_mdl(const void *a, const void *b)
{
    const lhi_tracker *x = a, *y = b;
    if (x->mdl != y->mdl)
        return x->mdl < y->mdl ? -1 : 1;
    return x->address < y->address ? -1 : x->address > y->address;
}

lh_status lhi_trackers_read(const lh_kernel *kernel, uint64_t process, uint64_t header, uint64_t one,
                            size_t most, lhi_trackers *out, lh_error *err)
{
    lhi_trackers found = {.header = header};
    lhi_walker w = {.kernel = kernel, .process = process, .most = most, .out = &found};
    lh_status status = LH_OK;
    bool whole = true;
    if (!lhi_trackers_public(kernel)) {
        found.not_public = true;
        *out = found;
        return LH_OK;
    }
    if (header != 0)
        whole = walk_header(&w);
    if (whole && one != 0 && lhi_map_get(&w.seen, one) == SIZE_MAX && kernel->build >= VISTA)
        whole = take_one(&w, one);
    if (!whole)
        status = lhi_fail_memory(err);
    found.complete = found.complete && !found.damaged && found.absence == LH_PRESENT;
    if (found.count)
        qsort(found.items, found.count, sizeof *found.items, by_mdl);
    lhi_map_free(&w.seen);
    lhi_vec_free(&w.todo);
    if (status != LH_OK)
        lhi_trackers_free(&found);
    *out = found;
    return status;
}

void lhi_trackers_free(lhi_trackers *trackers)
{
    lhi_free(trackers->items);
    *trackers = (lhi_trackers){0};
}
