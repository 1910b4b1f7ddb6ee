/* Whose frame a word on a stack lies in, told without unwinding and therefore carefully.
 *
 * The function that owns a word called another one: the return address of that call is the nearest one below
 * the word. A stack is full of old ones, so more is asked: the address follows a call instruction, and no
 * other driver has an address on the stack at all. */
#include <string.h>

#include "case/holder_graph.h"
#include "nt/read.h"

#define CALL_MOST 7u /* bytes of the longest call instruction that is looked for */

/* The bytes in front of a return address end in a call: E8 rel32; FF /2 with a register, with 8 or 32 bits of
 * displacement, or relative to RIP (Intel SDM volume 2, CALL). */
static bool follows_call(const lh_kernel *kernel, uint64_t address)
{
    uint8_t code[CALL_MOST] = {0};
    uint64_t at = 0;
    if (lhi_read(&kernel->space, address - CALL_MOST, code, sizeof code, &at) != LH_PRESENT)
        return false;
    const uint8_t *end = code + CALL_MOST;
    if (end[-5] == 0xe8)
        return true;
    for (unsigned length = 2; length <= CALL_MOST; length++)
        if (end[-(int)length] == 0xff && (end[1 - (int)length] >> 3 & 7) == 2)
            return true;
    return false;
}

static bool is_code(const lh_kernel *kernel, const lhi_module *module, uint64_t va)
{
    lhi_image image = {0};
    lhi_section section = {0};
    return lhi_image_open(&kernel->space, module->base, module->size, &image) == LH_PRESENT &&
           lhi_image_section_of(&image, va, &section) && (section.flags & LHI_SECTION_EXECUTE);
}

/* Executable memory of the kernel half that belongs to no module. */
static bool is_outside(const lh_kernel *kernel, uint64_t va)
{
    lh_walk walk = {0};
    if (!lhi_is_kernel(va) || !kernel->modules.complete || lhi_module_unloaded_at(&kernel->modules, va))
        return false;
    lhi_space_walk(&kernel->space, va, &walk);
    if (walk.absence != LH_PRESENT || walk.transition)
        return false;
    for (uint32_t i = 0; i < walk.entry_count && i < 4; i++)
        if (walk.entries[i] >> 63) /* XD, Intel SDM volume 3, 4.5 */
            return false;
    return follows_call(kernel, va);
}

typedef struct lhi_calls {
    size_t nearest; /* party whose code was called back into, nearest below the word */
    bool nearest_known;
    uint64_t outside; /* likewise in no module */
    size_t driver;    /* the only one beside nt and Windows' libraries, LHI_NONE */
    bool several;
} lhi_calls;

static lh_status look_at(lhi_case *c, uint64_t value, bool below, lhi_calls *calls, lh_error *err)
{
    const lhi_module *module = lhi_is_kernel(value) ? lhi_module_at(&c->kernel->modules, value) : NULL;
    lhi_driver driver = {0};
    if (!module) {
        if (below && is_outside(c->kernel, value)) {
            calls->outside = value;
            calls->nearest_known = false;
        }
        return LH_OK;
    }
    if (!is_code(c->kernel, module, value))
        return LH_OK;
    lhi_driver_from_code(c->kernel, value, &driver);
    if (driver.absence != LH_PRESENT)
        return LH_OK;
    if (!driver.is_kernel && !follows_call(c->kernel, value))
        return LH_OK;
    size_t party = lhi_case_party(c, &driver, err);
    if (party == LHI_NONE)
        return LH_ERR_NO_MEMORY;
    if (below) {
        calls->nearest = party;
        calls->nearest_known = true;
        calls->outside = 0;
    }
    if (!driver.is_kernel && !c->parties[party].library) {
        calls->several =
            calls->several || (calls->driver != LHI_NONE && !lhi_case_same_driver(c, calls->driver, party));
        calls->driver = party;
    }
    return LH_OK;
}

lh_status lhi_holder_frame(lhi_case *c, const lhi_stack *stack, uint64_t va, lhi_site *out, lh_error *err)
{
    lhi_calls calls = {.nearest = LHI_NONE, .driver = LHI_NONE};
    out->kind = LHI_SITE_STACK;
    out->object = stack->thread;
    for (uint64_t at = (stack->pointer + 7) & ~7ull; at + 8 <= stack->base; at += 8) {
        uint64_t value = 0;
        if (at == va || lhi_space_u64(&c->kernel->space, at, &value) != LH_PRESENT)
            continue;
        lh_status status = look_at(c, value, at < va, &calls, err);
        if (status != LH_OK)
            return status;
    }
    out->outside = calls.outside;
    if (calls.outside)
        out->why = "the frame on the stack is of code that lies in no module";
    else if (calls.several)
        out->why = "several drivers have frames on the stack";
    else if (!calls.nearest_known || calls.driver == LHI_NONE ||
             !lhi_case_same_driver(c, calls.nearest, calls.driver))
        out->why = "whose frame of the stack it is can't be told";
    else
        out->party = calls.driver;
    return LH_OK;
}
