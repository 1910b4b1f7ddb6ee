/* Finds the driver that had an MDL unlocked on the crashing thread's stack, and what it called for that. */
#include "case/unlocker.h"

#include <string.h>

#include "base/error.h"

/* Modules whose frames only pass a call on: the processor layer, and Driver Verifier's stand-ins for nt's
 * routines (facts C.2). */
static bool passes_on(const lh_kernel *kernel, const lhi_call_frame *frame)
{
    static const char *const names[] = {"hal.dll", "verifierext.sys"};
    if (!frame->module)
        return false;
    if (lhi_is_nt(kernel, frame->module))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(frame->module->name, names[i]) == 0)
            return true;
    return false;
}

static void unknown(lhi_unlocker *u, const char *why, lh_absence absence, uint64_t at)
{
    u->way = LHI_UNLOCK_UNKNOWN;
    u->why = why;
    u->absence = absence;
    u->absent_at = at;
}

static void find_frame(const lh_kernel *kernel, lhi_unlocker *u)
{
    u->frame = LHI_NONE;
    for (size_t i = 1; i < u->stack.count && u->frame == LHI_NONE; i++)
        if (!passes_on(kernel, &u->stack.frames[i]))
            u->frame = i;
    if (u->frame == LHI_NONE)
        unknown(u, u->stack.why, u->stack.absence, u->stack.absent_at);
}

/* nt's frames inside the driver's: did the I/O manager complete a packet, and did the driver's call lead
 * straight to the routine that unlocks? */
static bool completes(const lh_kernel *kernel, const lhi_unlocker *u, uint64_t complete)
{
    for (size_t i = 1; i < u->frame; i++)
        if (lhi_is_nt(kernel, u->stack.frames[i].module) && u->stack.frames[i].function == complete)
            return true;
    return false;
}

static bool is_direct(const lh_kernel *kernel, const lhi_unlocker *u, uint64_t unlock)
{
    size_t i = u->frame - 1;
    while (i > 0 && !lhi_is_nt(kernel, u->stack.frames[i].module))
        i--;
    return i > 0 && u->stack.frames[i].function == unlock;
}

static void take_way(lhi_unlocker *u, lhi_unlock_way way, bool seen, const char *routine)
{
    u->way = way;
    u->seen = seen;
    u->routine = routine;
    u->why = NULL;
    u->absence = LH_PRESENT;
    u->absent_at = 0;
}

/* The name of what a call goes to: nt's export at the target, else the import that its slot was bound to
 * (Driver Verifier puts stand-ins into the slots, which no table names). NULL: none; call->why and call->at
 * then tell what of the import table is not in the dump. */
static const char *routine_of(lhi_case *c, const lhi_call_frame *frame, lhi_call *call)
{
    char name[LHI_IMPORT_NAME] = "";
    lhi_image image = {0};
    const char *exported = lhi_exports_name(&c->kernel->exports, call->target);
    if (exported || !call->slot || !frame->module || call->slot < frame->module->base ||
        call->slot - frame->module->base >= frame->module->size)
        return exported;
    call->at = frame->module->base;
    call->why = lhi_image_open(&c->kernel->space, frame->module->base, frame->module->size, &image);
    if (call->why != LH_PRESENT)
        return NULL;
    if (lhi_image_import_name(&image, (uint32_t)(call->slot - frame->module->base), name))
        return lhi_arena_strdup(&c->arena, name);
    call->at = image.base + image.directories[1].rva; /* IMAGE_DIRECTORY_ENTRY_IMPORT */
    call->why = lhi_space_translate(&c->kernel->space, call->at, &(uint64_t){0});
    return NULL;
}

static void find_way(lhi_case *c, lhi_unlocker *u)
{
    static const char unlock_name[] = "MmUnlockPages", complete_name[] = "IofCompleteRequest";
    const lh_kernel *kernel = c->kernel;
    const uint64_t unlock = lhi_exports_address(&kernel->exports, unlock_name);
    const uint64_t complete = lhi_exports_address(&kernel->exports, complete_name);
    const lhi_call_frame *frame = &u->stack.frames[u->frame];
    lhi_call call = {0};
    if (unlock == 0 || complete == 0) {
        unknown(u, "nt's export table does not tell where its routines lie",
                kernel->exports.complete ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED,
                kernel->nt_known ? kernel->nt.base + kernel->nt.directories[0].rva : 0);
        return;
    }
    const lhi_answer answer = lhi_call_target(kernel, frame->address, &call);
    const char *name = answer == LHI_YES ? routine_of(c, frame, &call) : NULL;
    if (answer == LHI_NO)
        unknown(u, "no call stands in front of the return address: the stack is damaged", LH_PRESENT, 0);
    else if (completes(kernel, u, complete) || (name && strcmp(name, complete_name) == 0))
        take_way(u, LHI_UNLOCK_COMPLETION, name && strcmp(name, complete_name) == 0, complete_name);
    else if (name && strcmp(name, unlock_name) == 0)
        take_way(u, LHI_UNLOCK_DIRECT, true, unlock_name);
    else if (name)
        take_way(u, LHI_UNLOCK_OTHER, true, name);
    else if (is_direct(kernel, u, unlock) && (frame->module || answer == LHI_YES || call.why == LH_PRESENT ||
                                              lhi_module_unloaded_at(&kernel->modules, frame->address)))
        take_way(u, LHI_UNLOCK_DIRECT, false, unlock_name);
    else if (call.why == LH_ABSENT_NOT_MAPPED && !frame->module)
        unknown(u, "the stack leads to an address where no code is",
                kernel->modules.unloaded_known ? LH_PRESENT : LH_ABSENT_NOT_CAPTURED,
                kernel->kdbg.unloaded_drivers ? kernel->kdbg.unloaded_drivers : kernel->kdbg.address);
    else if (call.why != LH_PRESENT)
        unknown(u,
                answer == LHI_YES ? "the import table that names what it called of nt is not in this dump"
                                  : "the code that made the call is not in this dump",
                call.why, call.at);
    else
        unknown(u, "what it called of nt has no name that the dump tells", LH_PRESENT, 0);
}

/* The driver of a frame. LHI_NONE: of none that is known; false: no memory. */
static bool party_of(lhi_case *c, const lhi_call_frame *frame, size_t *party, lhi_driver *driver,
                     lh_error *err)
{
    *party = LHI_NONE;
    lhi_driver_from_code(c->kernel, frame->address, driver);
    if (driver->absence != LH_PRESENT && !driver->has_module)
        return true;
    *party = lhi_case_party(c, driver, err);
    return *party != LHI_NONE;
}

/* A call of the frame further in: what it goes to lies in the module of that frame, or is not known any more.
 */
static bool calls_into(const lh_kernel *kernel, const lhi_call_frame *caller, const lhi_call_frame *callee)
{
    lhi_call call = {0};
    const lhi_answer answer = lhi_call_target(kernel, caller->address, &call);
    return answer == LHI_YES ? lhi_module_at(&kernel->modules, call.target) == callee->module
                             : answer == LHI_UNKNOWN;
}

/* A library works for whoever called it. What nt calls works for nobody that the stack shows: a driver
 * further out has only sent a packet. */
static bool find_client(lhi_case *c, lhi_unlocker *u, lh_error *err)
{
    if (u->party == LHI_NONE || !c->parties[u->party].library)
        return true;
    for (size_t i = u->frame + 1; i < u->stack.count; i++) {
        const lhi_call_frame *frame = &u->stack.frames[i];
        lhi_driver driver = {0};
        size_t party = LHI_NONE;
        if (passes_on(c->kernel, frame) || !frame->called ||
            !calls_into(c->kernel, frame, &u->stack.frames[i - 1]))
            return true;
        if (!party_of(c, frame, &party, &driver, err))
            return false;
        if (party == LHI_NONE) {
            u->client_absence = driver.absence == LH_ABSENT_LAYOUT ? LH_PRESENT : driver.absence;
            u->client_absent_at = driver.absent_at;
            return true;
        }
        if (c->parties[party].library)
            continue;
        u->client_frame = i;
        u->client = party;
        return true;
    }
    if (u->stack.end == LHI_STACK_ABSENT) {
        u->client_absence = u->stack.absence;
        u->client_absent_at = u->stack.absent_at;
    }
    return true;
}

lh_status lhi_case_unlocker(lhi_case *c, lhi_unlocker *out, lh_error *err)
{
    lhi_unlocker u = {.frame = LHI_NONE, .party = LHI_NONE, .client = LHI_NONE, .client_frame = LHI_NONE};
    lhi_driver driver = {0};
    lh_status status = lhi_call_stack_of_crash(c->kernel, &u.stack, err);
    if (status != LH_OK)
        return status;
    find_frame(c->kernel, &u);
    if (u.frame != LHI_NONE) {
        find_way(c, &u);
        if (!party_of(c, &u.stack.frames[u.frame], &u.party, &driver, err) || !find_client(c, &u, err))
            status = LH_ERR_NO_MEMORY;
        if (u.party == LHI_NONE && driver.absence != LH_PRESENT && driver.absence != LH_ABSENT_LAYOUT)
            unknown(&u, "the module that the stack leads to is not in this dump", driver.absence,
                    driver.absent_at);
    }
    if (status != LH_OK)
        lhi_call_stack_free(&u.stack);
    *out = u;
    return status;
}
