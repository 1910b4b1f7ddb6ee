/* Resolves calls and tail jumps: slots by what they hold or by their name, registers by what was loaded into
 * them. */
#include "code/calls.h"

#include <string.h>

#include "base/error.h"

/* Thunks of thunks: an incremental linker makes one, import libraries another. */
#define MOST_HOPS 4u
/* The loader puts the retpoline code behind the image, within its last page table's reach (facts F.2). */
#define BEHIND_IMAGE 0x10000u

#define VOLATILE                                                                                             \
    (1u << LHI_RAX | 1u << LHI_RCX | 1u << LHI_RDX | 1u << LHI_R8 | 1u << LHI_R9 | 1u << LHI_R10 | 1u << 11)

const char *lhi_call_form_name(lhi_call_form form)
{
    switch (form) {
    case LHI_CALL_SLOT:
        return "slot";
    case LHI_CALL_LINKED:
        return "linked";
    case LHI_CALL_THUNK:
        return "thunk";
    case LHI_CALL_DISPATCHED:
        return "dispatched";
    case LHI_CALL_REGISTER:
        return "register";
    }
    return "unknown";
}

static void take_name(void *user, const char *dll, const char *name, uint64_t slot)
{
    lhi_calls *calls = user;
    const lhi_routine *routine = lhi_routine_named(dll, name);

    if (routine != NULL && !lhi_map_put(&calls->named, slot, lhi_routine_index(routine)))
        calls->failed = true;
}

lh_status lhi_calls_open(const lhi_code_image *code, const lhi_routines *routines, lhi_calls *out,
                         lh_error *err)
{
    *out = (lhi_calls){.code = code, .routines = routines};
    lhi_kmdf_find(code, &out->kmdf);
    lhi_image_each_import(&code->image, take_name, out);
    return out->failed ? lhi_fail_memory(err) : LH_OK;
}

void lhi_calls_free(lhi_calls *calls)
{
    lhi_map_free(&calls->named);
}

/* The routine whose address a slot holds, or whose name it was given. */
static const lhi_routine *behind_slot(lhi_calls *calls, uint64_t slot, uint64_t *held)
{
    size_t named = lhi_map_get(&calls->named, slot);
    uint64_t entry = 0;

    if (lhi_kmdf_entry(&calls->kmdf, slot, &entry)) {
        *held = 0;
        return lhi_routine_of_framework(entry);
    }
    lh_absence absence = lhi_space_u64(&calls->code->kernel->space, slot, held);
    const lhi_routine *routine = absence == LH_PRESENT ? lhi_routines_at(calls->routines, *held) : NULL;

    if (routine != NULL)
        return routine;
    if (named != SIZE_MAX)
        return lhi_routine_by_index(named); /* not captured, or Driver Verifier's stand-in */
    if (absence != LH_PRESENT) {
        if (calls->unread++ == 0) {
            calls->absence = absence;
            calls->absent_at = slot;
        }
        *held = 0;
    }
    return NULL;
}

/* What is known of the registers at one instruction: the slot each was loaded from; 0: nothing. */
typedef struct registers {
    uint64_t slots[16];
    uint64_t
        always[16]; /* of the whole function: each write loads this slot, or restores the caller's value */
} registers;

/* Compilers keep a pointer that is called often in a register of which the caller's value was saved. */
static void find_always(const lhi_body *body, registers *known)
{
    uint32_t other = VOLATILE | 1u << LHI_RSP;

    for (size_t i = 0; i < body->count; i++) {
        const lhi_code *code = &body->codes[i];
        if (lhi_body_restores(body, i))
            continue;
        if (code->does == LHI_DOES_LOAD && code->has_place &&
            (known->always[code->destination] == 0 || known->always[code->destination] == code->place)) {
            known->always[code->destination] = code->place;
            continue;
        }
        other |= code->written;
    }
    for (unsigned i = 0; i < 16; i++)
        if ((other >> i & 1) != 0)
            known->always[i] = 0;
}

static void forget(registers *known, uint32_t mask)
{
    for (unsigned i = 0; i < 16; i++)
        if ((mask >> i & 1) != 0)
            known->slots[i] = 0;
}

/* The entry of KMDF's table that a memory operand is, where its base holds the pointer to the table. 0: none.
 */
static uint64_t entry_at(const lhi_calls *calls, const registers *known, const lhi_code *code)
{
    uint64_t pointer = calls->kmdf.pointer;

    if (pointer == 0 || !code->has_memory || code->has_place || code->base >= 16 ||
        code->index != LHI_NO_REGISTER ||
        (known->slots[code->base] != pointer && known->always[code->base] != pointer))
        return 0;
    return calls->kmdf.table + (uint64_t)code->displacement;
}

static void follow(const lhi_calls *calls, registers *known, const lhi_code *code)
{
    uint64_t copied = code->does == LHI_DOES_COPY ? known->slots[code->source] : 0;
    uint64_t entry = code->does == LHI_DOES_LOAD ? entry_at(calls, known, code) : 0;

    forget(known, code->written);
    if (code->kind == LHI_CODE_CALL)
        forget(known, VOLATILE);
    if (code->does == LHI_DOES_LOAD && code->has_place)
        known->slots[code->destination] = code->place;
    else if (code->does == LHI_DOES_LOAD)
        known->slots[code->destination] = entry;
    else if (code->does == LHI_DOES_COPY)
        known->slots[code->destination] = copied;
}

/* Through a slot that a register was loaded from. */
static bool through_register(lhi_calls *calls, uint64_t slot, lhi_call_form form, lhi_callee *out)
{
    uint64_t held = 0;
    const lhi_routine *routine = slot != 0 ? behind_slot(calls, slot, &held) : NULL;

    if (routine == NULL)
        return false;
    *out = (lhi_callee){.routine = routine, .form = form, .slot = slot};
    return true;
}

static bool peek(const lhi_calls *calls, uint64_t address, lhi_code *out)
{
    uint8_t bytes[LHI_CODE_LONGEST] = {0};
    size_t there = 0;
    const lhi_space *space = &calls->code->kernel->space;

    (void)lhi_space_read(space, address, bytes, sizeof bytes, &there, NULL);
    return lhi_code_decode(bytes, there, address, out);
}

/* Code that goes on at the address in a register: a guard without a check, or the retpolines behind the
 * image. */
static bool dispatches(const lhi_calls *calls, uint64_t target)
{
    const lhi_image *image = &calls->code->image;
    uint64_t end = image->base + image->size_of_image;
    lhi_code code = {0};

    if (target >= end && target - end < BEHIND_IMAGE)
        return true;
    return peek(calls, target, &code) && code.kind == LHI_CODE_JUMP && code.targets == LHI_TARGET_REGISTER;
}

/* A routine that stands in rax, or in r10 for the retpolines of imports. */
static void dispatched(lhi_calls *calls, const registers *known, lhi_callee *out)
{
    if (!through_register(calls, known->slots[LHI_RAX], LHI_CALL_DISPATCHED, out))
        (void)through_register(calls, known->slots[LHI_R10], LHI_CALL_DISPATCHED, out);
}

static void direct(lhi_calls *calls, uint64_t target, const registers *known, lhi_callee *out)
{
    for (unsigned hop = 0; hop < MOST_HOPS; hop++) {
        const lhi_routine *routine = lhi_routines_at(calls->routines, target);
        lhi_code code = {0};
        uint64_t held = 0;
        if (routine != NULL) {
            *out = (lhi_callee){.routine = routine, .form = LHI_CALL_LINKED};
            return;
        }
        if (dispatches(calls, target)) {
            dispatched(calls, known, out);
            return;
        }
        if (target >= calls->code->image.base && target - calls->code->image.base < calls->code->image.span)
            out->inner = target;
        if (!peek(calls, target, &code) || code.kind != LHI_CODE_JUMP)
            return;
        out->inner = 0;
        if (code.targets == LHI_TARGET_SLOT) {
            routine = behind_slot(calls, code.target, &held);
            if (routine != NULL)
                *out = (lhi_callee){.routine = routine, .form = LHI_CALL_THUNK, .slot = code.target};
            return;
        }
        if (code.targets != LHI_TARGET_DIRECT)
            return;
        target = code.target;
    }
}

static void through_slot(lhi_calls *calls, uint64_t slot, const registers *known, lhi_callee *out)
{
    uint64_t held = 0;
    const lhi_routine *routine = behind_slot(calls, slot, &held);

    if (routine != NULL)
        *out = (lhi_callee){.routine = routine, .form = LHI_CALL_SLOT, .slot = slot};
    else if (held != 0 && lhi_exports_name(&calls->code->kernel->exports, held) == NULL)
        dispatched(calls, known, out); /* the guard's own slot, with the routine in rax */
}

void lhi_calls_resolve(lhi_calls *calls, const lhi_body *body, lhi_callee *callees)
{
    registers known = {{0}, {0}};

    memset(callees, 0, body->count * sizeof *callees);
    find_always(body, &known);
    for (size_t i = 0; i < body->count; i++) {
        const lhi_code *code = &body->codes[i];
        if (body->leaders[i] != 0)
            forget(&known, 0xffff);
        if (code->kind == LHI_CODE_CALL || code->kind == LHI_CODE_JUMP) {
            if (code->targets == LHI_TARGET_SLOT)
                through_slot(calls, code->target, &known, &callees[i]);
            else if (code->targets == LHI_TARGET_DIRECT && lhi_body_find(body, code->target) == SIZE_MAX)
                direct(calls, code->target, &known, &callees[i]);
            else if (code->targets == LHI_TARGET_REGISTER &&
                     !through_register(calls, known.slots[code->source], LHI_CALL_REGISTER, &callees[i]))
                (void)through_register(calls, known.always[code->source], LHI_CALL_REGISTER, &callees[i]);
            else if (code->targets == LHI_TARGET_UNKNOWN)
                (void)through_register(calls, entry_at(calls, &known, code), LHI_CALL_SLOT, &callees[i]);
        }
        follow(calls, &known, code);
    }
}
