/* Decodes one LOCK_TRACKER; which layout applies, its own numbers show.
 *
 * Layouts: public PDB types _LOCK_TRACKER of 9600 to 22000; the list of NT 5.2 by facts C.1. */
#include "nt/tracker.h"

#include "base/bytes.h"
#include "nt/mdl.h"
#include "nt/read.h"

#define PAGE_MASK   0xfffull
#define SIZE_MOST   0x90u
#define FRAME_LIMIT (1ull << 40) /* 52-bit physical addresses, Intel SDM volume 3 */
#define LINK_FLAGS  3ull         /* low bits of RTL_BALANCED_NODE.ParentValue: balance or colour */
#define MDL_MARK    (1ull << 63) /* the newest kernels clear it in Mdl of the second tree (facts C.3) */

typedef struct lhi_tracker_shape {
    unsigned size, right, left, parent; /* parent 0: there is none */
    unsigned mdl, start_va, count, offset, length, page, trace, trace_size, who, process;
} lhi_tracker_shape;

static const lhi_tracker_shape shapes[] = {
    [LHI_TRACKER_LIST] = {.size = 0x58,
                          .right = 0x0,
                          .left = 0x8,
                          .mdl = 0x10,
                          .start_va = 0x18,
                          .count = 0x20,
                          .offset = 0x28,
                          .length = 0x2c,
                          .page = 0x30,
                          .trace = 0x38,
                          .trace_size = 2,
                          .who = 0x48,
                          .process = 0x50},
    [LHI_TRACKER_TREE] = {.size = 0x90,
                          .left = 0x0,
                          .right = 0x8,
                          .parent = 0x10,
                          .mdl = 0x18,
                          .start_va = 0x20,
                          .count = 0x28,
                          .offset = 0x30,
                          .length = 0x34,
                          .page = 0x38,
                          .trace = 0x40,
                          .trace_size = LHI_TRACE,
                          .who = 0x80,
                          .process = 0x88},
    [LHI_TRACKER_SWITCHED] = {.size = 0x90,
                              .left = 0x0,
                              .right = 0x8,
                              .parent = 0x10,
                              .mdl = 0x18,
                              .start_va = 0x20,
                              .count = 0x28,
                              .offset = 0x30,
                              .length = 0x34,
                              .who = 0x38,
                              .page = 0x40,
                              .trace = 0x48,
                              .trace_size = LHI_TRACE,
                              .process = 0x88},
};

const char *lhi_tracker_form_name(lhi_tracker_form form)
{
    switch (form) {
    case LHI_TRACKER_LIST:
        return "NT 5.2";
    case LHI_TRACKER_TREE:
        return "8.1 to 10.0.15063";
    case LHI_TRACKER_SWITCHED:
        return "from 10.0.16299";
    case LHI_TRACKER_NONE:
        break;
    }
    return NULL;
}

static bool is_link(uint64_t value)
{
    return value == 0 || lhi_is_object(value, 8);
}

static void decode(const uint8_t *raw, const lhi_tracker_shape *s, lhi_tracker *t)
{
    t->left = lhi_u64(raw + s->left);
    t->right = lhi_u64(raw + s->right);
    t->parent = s->parent ? lhi_u64(raw + s->parent) & ~LINK_FLAGS : 0;
    t->mdl = lhi_u64(raw + s->mdl) | MDL_MARK;
    t->start_va = lhi_u64(raw + s->start_va);
    t->pages = lhi_u64(raw + s->count);
    t->offset = lhi_u32(raw + s->offset);
    t->length = lhi_u32(raw + s->length);
    t->first_frame = lhi_u64(raw + s->page);
    t->who = lhi_u32(raw + s->who);
    t->process = lhi_u64(raw + s->process);
    t->callers = s->trace_size != LHI_TRACE;
    while (t->trace_size < s->trace_size) {
        uint64_t address = lhi_u64(raw + s->trace + (size_t)8 * t->trace_size);
        if (address == 0)
            break;
        t->trace[t->trace_size++] = address;
    }
}

/* The count is that of the span, the frame can be one, and the trace begins with a kernel address: at the
 * offsets of another form these words are something else. */
static bool holds_together(const lhi_tracker *t)
{
    uint64_t span = ((uint64_t)t->offset + t->length + PAGE_MASK) >> 12;
    return lhi_is_object(t->mdl, 8) && (t->start_va & PAGE_MASK) == 0 && t->start_va < LHI_USER_END &&
           t->offset <= PAGE_MASK && t->length != 0 && t->pages == span && t->first_frame != 0 &&
           t->first_frame < FRAME_LIMIT && t->trace_size != 0 && lhi_is_kernel(t->trace[0]) &&
           lhi_is_object(t->process, 8);
}

static lh_absence read_as(const lh_kernel *kernel, uint64_t address, lhi_tracker_form form, lhi_tracker *out,
                          uint64_t *at)
{
    uint8_t raw[SIZE_MOST] = {0};
    lhi_tracker tracker = {.address = address};
    *at = address;
    if (!lhi_is_object(address, 8) || address > UINT64_MAX - SIZE_MOST)
        return LH_ABSENT_LAYOUT;
    lh_absence absence = lhi_read(&kernel->space, address, raw, shapes[form].size, at);
    if (absence != LH_PRESENT)
        return absence;
    decode(raw, &shapes[form], &tracker);
    if (!holds_together(&tracker) || !is_link(tracker.left) || !is_link(tracker.right) ||
        !is_link(tracker.parent))
        return LH_ABSENT_LAYOUT;
    *out = tracker;
    return LH_PRESENT;
}

lh_absence lhi_tracker_read(const lh_kernel *kernel, uint64_t address, lhi_tracker_form form,
                            lhi_tracker_form *found, lhi_tracker *out, uint64_t *absent_at)
{
    *found = form == LHI_TRACKER_NONE ? LHI_TRACKER_SWITCHED : form;
    lh_absence absence = read_as(kernel, address, *found, out, absent_at);
    if (form != LHI_TRACKER_NONE || absence != LH_ABSENT_LAYOUT)
        return absence;
    *found = LHI_TRACKER_TREE;
    return read_as(kernel, address, *found, out, absent_at);
}

bool lhi_tracker_left(const lh_kernel *kernel, uint64_t mdl_field, lhi_tracker *out)
{
    static const lhi_tracker_form forms[] = {LHI_TRACKER_SWITCHED, LHI_TRACKER_TREE};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && lhi_trackers_public(kernel); i++) {
        const lhi_tracker_shape *shape = &shapes[forms[i]];
        uint8_t raw[SIZE_MOST] = {0};
        lhi_tracker tracker = {.address = mdl_field - shape->mdl};
        uint64_t at = 0;
        if (!lhi_is_object(tracker.address, 8) || tracker.address > UINT64_MAX - SIZE_MOST ||
            lhi_read(&kernel->space, tracker.address, raw, shape->size, &at) != LH_PRESENT)
            continue;
        decode(raw, shape, &tracker);
        if (holds_together(&tracker)) {
            *out = tracker;
            return true;
        }
    }
    return false;
}
