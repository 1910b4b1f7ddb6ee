/* Whose frame a word on a stack lies in, by unwinding the thread.
 *
 * A word in a frame need not be in use: calls that are over leave theirs where the next ones put nothing.
 * What a function saved of its callers' registers is in use, and each of them was written by the innermost of
 * those callers that saved it itself: whoever changes a register that it has to keep saves it first. Of any
 * other word nothing shows it; it makes nobody an owner.
 *
 * In a frame of a library that works for whoever calls it, the word is the caller's.
 *
 * A driver may have given another one what stands in its frame. So a word is a driver's only where no other
 * driver has a frame on the stack, and nt's only where no driver has one at all. */
#include "case/holder_graph.h"
#include "nt/library.h"

typedef struct lhi_frames {
    size_t inside;   /* party of the frame that the word lies in, LHI_NONE */
    uint64_t nobody; /* where the code of that frame stands, if it lies in no module */
    size_t client;   /* of a library: the driver that called it, LHI_NONE */
    bool called;     /* frames so far, from that one outward, are the library's own */
    size_t driver;   /* the last one seen beside nt and Windows' libraries, LHI_NONE */
    bool several;    /* and there are others */
} lhi_frames;

lh_status lhi_case_know_stacks(lhi_case *c, lh_error *err)
{
    if (c->stacks_known)
        return LH_OK;
    c->stacks_known = true;
    return lhi_stacks_read(c->kernel, &c->stacks, err);
}

bool lhi_case_serves(const lhi_case *c, size_t party, unsigned how)
{
    const lhi_library *row = lhi_library_find(c->parties[party].driver.name);
    return row && (row->clients & how) == how;
}

/* The frame behind those of the library is that of who called it. */
static void find_caller(const lhi_case *c, bool inside, size_t party, lhi_frames *out)
{
    if (inside) {
        out->called = lhi_case_serves(c, party, LHI_CLIENT_STACK);
    } else if (out->called && !lhi_case_same_driver(c, party, out->inside)) {
        out->called = false;
        if (!c->parties[party].driver.is_kernel && !c->parties[party].library)
            out->client = party;
    }
}

/* Does the word lie in frame `index`? Of the outermost one only a whole stack tells the end. */
static bool holds(const lhi_call_stack *walk, size_t index, uint64_t va, uint64_t base)
{
    uint64_t end = base;
    if (index + 1 < walk->count)
        end = walk->frames[index + 1].stack_pointer;
    else if (walk->end != LHI_STACK_USER && walk->end != LHI_STACK_BOTTOM && walk->end != LHI_STACK_NO_MODULE)
        return false;
    return va >= walk->frames[index].stack_pointer && va < end;
}

/* The register that a function saved in that word; LHI_GENERAL: none did. */
static unsigned saved_register(const lhi_call_stack *walk, uint64_t va, size_t *frame)
{
    for (*frame = 0; *frame < walk->count; ++*frame)
        for (unsigned reg = 0; reg < LHI_GENERAL; reg++)
            if (walk->frames[*frame].saved_at[reg] == va)
                return reg;
    return LHI_GENERAL;
}

/* The frame that the word is of; LHI_NONE: of none that is known. */
static size_t frame_of(const lhi_call_stack *walk, uint64_t va, uint64_t base, bool *loose)
{
    size_t frame = 0;
    const unsigned reg = saved_register(walk, va, &frame);
    *loose = reg == LHI_GENERAL;
    if (!*loose) {
        for (frame++; frame < walk->count; frame++)
            if (walk->frames[frame].saved_at[reg] != 0)
                return frame;
        return LHI_NONE;
    }
    for (frame = 0; frame < walk->count; frame++)
        if (holds(walk, frame, va, base))
            return frame;
    return LHI_NONE;
}

static lh_status look_at(lhi_case *c, const lhi_call_frame *frame, bool inside, lhi_frames *out,
                         lh_error *err)
{
    lhi_driver driver = {0};
    if (!frame->module) {
        if (inside)
            out->nobody = frame->address;
        out->called = false;
        return LH_OK;
    }
    lhi_driver_from_code(c->kernel, frame->address, &driver);
    if (driver.absence != LH_PRESENT) {
        out->several = true; /* somebody's, nobody knows whose */
        out->called = false;
        return LH_OK;
    }
    size_t party = lhi_case_party(c, &driver, err);
    if (party == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    if (inside)
        out->inside = party;
    find_caller(c, inside, party, out);
    if (driver.is_kernel || c->parties[party].library)
        return LH_OK;
    out->several = out->several || (out->driver != LHI_NONE && !lhi_case_same_driver(c, out->driver, party));
    out->driver = party;
    return LH_OK;
}

/* Words of one stack mostly come one behind the other: its thread is unwound once for them. */
static lh_status unwind(lhi_holders *h, uint64_t thread, lh_error *err)
{
    if (h->unwound == thread)
        return LH_OK;
    lhi_call_stack_free(&h->walk);
    h->unwound = 0;
    lh_status status = lhi_call_stack_of_thread(h->c->kernel, thread, &h->walk, err);
    if (status == LH_OK)
        h->unwound = thread;
    return status;
}

lh_status lhi_holder_frame(lhi_holders *h, const lhi_kernel_stack *stack, uint64_t va, lhi_site *out,
                           lh_error *err)
{
    lhi_case *c = h->c;
    const lhi_call_stack *walk = &h->walk;
    lhi_frames frames = {.inside = LHI_NONE, .client = LHI_NONE, .driver = LHI_NONE};
    lh_status status = unwind(h, stack->thread, err);
    const size_t own = status == LH_OK ? frame_of(walk, va, stack->base, &out->loose) : LHI_NONE;
    for (size_t i = 0; status == LH_OK && i < walk->count; i++)
        status = look_at(c, &walk->frames[i], i == own, &frames, err);
    if (status != LH_OK)
        return status;
    out->outside = frames.nobody;
    if (frames.nobody)
        out->why = "the frame on the stack is of code that lies in no module";
    else if (frames.several)
        out->why = "several drivers have frames on the stack that has a pointer to it";
    else if (frames.inside == LHI_NONE)
        out->why = "whose frame of a stack has a pointer to it can't be told";
    else if (c->parties[frames.inside].driver.is_kernel && frames.driver != LHI_NONE)
        out->why = "a frame of the kernel has a pointer to it, on a stack with a driver's frames";
    else
        out->party = frames.client != LHI_NONE ? frames.client : frames.inside;
    out->served = out->party != LHI_NONE && out->party == frames.client;
    out->library = frames.inside;
    return LH_OK;
}
