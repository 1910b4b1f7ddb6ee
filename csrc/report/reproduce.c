/* The debugger commands that show each step of the way from the process to the driver in WinDbg. */
#include <inttypes.h>

#include "case/lock.h"
#include "case/method.h"
#include "case/relative.h"
#include "case/unlocker.h"
#include "nt/read.h"
#include "report/report.h"

#define MOST_COMMANDS 16 /* lock trackers whose commands are listed */

static void command(lhi_case *c, lhi_node *list, const char *text, const char *expect)
{
    lhi_node *row = lhi_tree_object(&c->arena, list, NULL);
    lhi_tree_text(&c->arena, row, "command", text);
    lhi_tree_text(&c->arena, row, "expect", expect);
}

static void driver_command(lhi_case *c, lhi_node *list, uint64_t object, size_t party)
{
    const char *name = lhi_report_name(c, party);
    command(c, list, lhi_arena_printf(&c->arena, "!drvobj 0x%" PRIx64 " 7", object),
            name ? lhi_arena_printf(&c->arena, "the driver object of %s", name) : NULL);
}

static void packet_commands(lhi_case *c, lhi_node *list, const lhi_packet *packet)
{
    lhi_arena *arena = &c->arena;
    const lhi_irp *irp = packet->irp;
    command(c, list, lhi_arena_printf(arena, "!irp 0x%" PRIx64 " 1", irp->address),
            lhi_arena_printf(arena,
                             "MdlAddress %" PRIx64 ", StackCount %u, CurrentLocation %u, Thread %" PRIx64,
                             irp->mdl, irp->stack_count, irp->current, irp->thread));
    if (irp->state != LHI_IRP_PENDING)
        return;
    const lhi_slot *slot = &irp->slots[irp->current - 1];
    command(c, list, lhi_arena_printf(arena, "dt nt!_IO_STACK_LOCATION 0x%" PRIx64, irp->current_slot),
            lhi_arena_printf(arena, "MajorFunction 0x%x (%s), DeviceObject 0x%" PRIx64, slot->major,
                             lhi_irp_major_name(slot->major), slot->device));
    command(c, list, lhi_arena_printf(arena, "!devstack 0x%" PRIx64, slot->device),
            "the device in its stack");
    if (packet->device.absence == LH_PRESENT)
        driver_command(c, list, packet->device.driver, packet->at);
    for (unsigned i = 0; i < irp->slot_count; i++)
        if (irp->slots[i].completion)
            command(c, list, lhi_arena_printf(arena, "ln 0x%" PRIx64, irp->slots[i].completion),
                    lhi_arena_printf(arena, "the completion routine in location %u", i + 1));
}

static void lock_commands(lhi_case *c, lhi_node *list, const lhi_lock *lock)
{
    lhi_arena *arena = &c->arena;
    if (lock->tracker.address)
        command(c, list, lhi_arena_printf(arena, "dt nt!_LOCK_TRACKER 0x%" PRIx64, lock->tracker.address),
                lhi_arena_printf(arena, "Mdl 0x%" PRIx64 ", Count 0x%" PRIx64 ", StackTrace below",
                                 lock->tracker.mdl, lock->tracker.pages));
    for (unsigned i = 0; i < lock->tracker.trace_size; i++) {
        const lhi_trace_entry *frame = &lock->frames[i];
        const lhi_driver *driver = frame->party != LHI_NONE ? &c->parties[frame->party].driver : NULL;
        if (frame->kind == LHI_ENTRY_DEVICE)
            command(c, list, lhi_arena_printf(arena, "!devstack 0x%" PRIx64, frame->address),
                    "the stack of devices that the request was sent to");
        else if (frame->kind == LHI_ENTRY_DRIVER && driver)
            command(
                c, list, lhi_arena_printf(arena, "ln 0x%" PRIx64, frame->address),
                lhi_arena_printf(arena, "%s+0x%" PRIx64, driver->name, frame->address - driver->module.base));
    }
}

static void tracker_commands(lhi_case *c, lhi_node *list)
{
    lhi_arena *arena = &c->arena;
    command(c, list, lhi_arena_printf(arena, "!lockedpages 0x%" PRIx64, c->target),
            c->trackers.count ? lhi_arena_printf(arena, "%zu tracker%s, %" PRIu64 " pages", c->trackers.count,
                                                 c->trackers.count == 1 ? "" : "s", c->trackers.sum)
                              : NULL);
    for (size_t i = 0; i < c->lock_count && i < MOST_COMMANDS; i++)
        lock_commands(c, list, &c->locks[i]);
}

/* The commands for this lock tracker stand among those for all of the process. */
static bool is_listed(const lhi_case *c, uint64_t tracker)
{
    for (size_t i = 0; i < c->lock_count && i < MOST_COMMANDS; i++)
        if (c->locks[i].tracker.address == tracker)
            return true;
    return false;
}

static void unlock_commands(lhi_case *c, lhi_node *list)
{
    lhi_arena *arena = &c->arena;
    const lhi_unlocker *who = c->unlocker;
    command(c, list, lhi_arena_printf(arena, "dt nt!_MDL 0x%" PRIx64, c->parameters[1]), NULL);
    if (c->parameters[0] != 1 && c->parameters[0] != 9 && lhi_trackers_public(c->kernel) &&
        !is_listed(c, c->parameters[2]))
        command(c, list, lhi_arena_printf(arena, "dt nt!_LOCK_TRACKER 0x%" PRIx64, c->parameters[2]), NULL);
    const char *expect = NULL;
    if (who && who->frame != LHI_NONE)
        expect = lhi_arena_printf(arena, "frame %zu: %s", who->frame,
                                  lhi_report_code(c, &who->stack.frames[who->frame]));
    command(c, list, "kn", expect);
    if (!who || who->frame == LHI_NONE)
        return;
    const uint64_t code = who->stack.frames[who->frame].address;
    command(c, list, lhi_arena_printf(arena, "ub 0x%" PRIx64, code),
            who->seen ? lhi_arena_printf(arena, "the last instruction calls nt!%s", who->routine) : NULL);
    if (who->party != LHI_NONE && !c->parties[who->party].driver.module.unloaded)
        command(c, list, lhi_arena_printf(arena, "lmv a 0x%" PRIx64, code), lhi_report_name(c, who->party));
}

/* What the place is that a pointer to the MDL, or to what leads to it, stands in. */
static void place_command(lhi_case *c, lhi_node *list, const lhi_step *step)
{
    lhi_arena *arena = &c->arena;
    const char *format = NULL;
    uint64_t address = step->object;
    switch (step->kind) {
    case LHI_SITE_POOL:
        format = "!pool 0x%" PRIx64 " 2";
        address = step->base;
        break;
    case LHI_SITE_MODULE:
        format = "ln 0x%" PRIx64;
        address = step->at;
        break;
    case LHI_SITE_DEVICE:
        format = "!devobj 0x%" PRIx64;
        break;
    case LHI_SITE_STACK:
        format = "!thread 0x%" PRIx64;
        break;
    case LHI_SITE_QUEUED:
        format = "dps 0x%" PRIx64 " L7"; /* with the routines of nt and of the driver */
        break;
    case LHI_SITE_PACKET:
        format = "!irp 0x%" PRIx64 " 1";
        break;
    default:
        break;
    }
    if (format && address)
        command(c, list, lhi_arena_printf(arena, format, address), step->statement);
}

static bool pointer_of(const lhi_case *c, const lhi_step *step, uint64_t *out)
{
    uint64_t missing = 0;
    return lhi_read_u64(&c->kernel->space, step->at, out, &missing) == LH_PRESENT;
}

static void holder_commands(lhi_case *c, lhi_node *list, const lhi_record *r)
{
    lhi_arena *arena = &c->arena;
    for (size_t i = 0; i < r->step_count; i++) {
        uint64_t value = 0;
        const bool there = pointer_of(c, &r->steps[i], &value);
        command(c, list, lhi_arena_printf(arena, "dq 0x%" PRIx64 " L1", r->steps[i].at),
                there ? lhi_arena_printf(arena, "%016" PRIx64, value) : NULL);
        place_command(c, list, &r->steps[i]);
    }
    const size_t party = r->blamed != LHI_NONE ? r->blamed : r->holder;
    if (party != LHI_NONE && c->parties[party].driver.address)
        driver_command(c, list, c->parties[party].driver.address, party);
}

/* What the search for an MDL's address will find; NULL: nothing that is known. */
static const char *hit_expected(lhi_case *c, const lhi_record *r)
{
    uint64_t value = 0;
    if (r->packet != LHI_NONE)
        return "the packet: 8 bytes in front of a hit";
    if (r->step_count && pointer_of(c, &r->steps[0], &value) && value == r->mdl.address)
        return lhi_arena_printf(&c->arena, "the place 0x%" PRIx64 ", among others", r->steps[0].at);
    return NULL;
}

static void record_commands(lhi_case *c, lhi_node *list, const lhi_record *r)
{
    lhi_arena *arena = &c->arena;
    command(c, list, lhi_arena_printf(arena, "dt nt!_MDL 0x%" PRIx64, r->mdl.address),
            lhi_arena_printf(arena,
                             "MdlFlags 0x%x, Process 0x%" PRIx64 ", StartVa 0x%" PRIx64
                             ", ByteCount 0x%" PRIx32 ", ByteOffset 0x%" PRIx32,
                             r->mdl.flags, r->mdl.process, r->mdl.start_va, r->mdl.byte_count,
                             r->mdl.byte_offset));
    command(c, list, lhi_arena_printf(arena, "!search 0x%" PRIx64, r->mdl.address), hit_expected(c, r));
    if (r->mdl.first_frame)
        command(c, list, lhi_arena_printf(arena, "!pfn 0x%" PRIx64, r->mdl.first_frame),
                "reference count at least 1");
    if (r->packet != LHI_NONE)
        packet_commands(c, list, &c->packets[r->packet]);
    else
        holder_commands(c, list, r);
    if (r->judged_packet != r->packet)
        packet_commands(c, list, &c->packets[r->judged_packet]);
}

/* The largest lock that names a driver; LHI_NONE: an unlock does. */
static size_t record_of(const lhi_case *c, size_t party)
{
    size_t best = LHI_NONE;
    for (size_t i = 0; i < c->record_count && !c->unlocker; i++) {
        const lhi_record *r = &c->records[i];
        if (r->in_ledger && r->outcome == LHI_OUTCOME_NAMED && lhi_case_blamed(c, r) == party &&
            (best == LHI_NONE || r->mdl.pages > c->records[best].mdl.pages))
            best = i;
    }
    return best;
}

static void module_command(lhi_case *c, lhi_node *list, const lhi_party *party)
{
    lhi_arena *arena = &c->arena;
    if (!party->driver.has_module || party->driver.module.unloaded)
        return;
    command(c, list, lhi_arena_printf(arena, "lmv a 0x%" PRIx64, party->driver.module.base),
            party->version_known
                ? lhi_arena_printf(arena, "%s, file version %s", party->driver.name, party->version)
                : party->driver.name);
}

void lhi_report_reproduce(lhi_case *c, lhi_node *root)
{
    lhi_arena *arena = &c->arena;
    lhi_node *list = lhi_tree_list(arena, root, "reproduce");
    command(c, list, ".bugcheck",
            lhi_arena_printf(arena,
                             "Bugcheck code %08" PRIX32 ", arguments %016" PRIx64 " %016" PRIx64
                             " %016" PRIx64 " %016" PRIx64,
                             c->code, c->parameters[0], c->parameters[1], c->parameters[2],
                             c->parameters[3]));
    if (c->target) {
        const char *expect = NULL;
        if (c->process_known && c->process.locked_pages_known)
            expect = lhi_arena_printf(arena, "NumberOfLockedPages 0x%" PRIx64, c->process.locked_pages);
        command(c, list,
                lhi_arena_printf(
                    arena, "dt nt!_EPROCESS 0x%" PRIx64 " ImageFileName UniqueProcessId NumberOfLockedPages",
                    c->target),
                expect);
    }
    if (c->searched && c->target)
        command(c, list, lhi_arena_printf(arena, "!search 0x%" PRIx64, c->target),
                lhi_arena_printf(arena, "%" PRIu64 " places in physical memory", c->hits));
    if (c->tracked)
        tracker_commands(c, list);
    if (c->method == &lhi_method_unlock)
        unlock_commands(c, list);
    if (c->subject && c->subject->by_frame)
        command(c, list, lhi_arena_printf(arena, "!pfn 0x%" PRIx64, c->subject->frame), NULL);
    if (c->subject && c->subject->mdl)
        command(c, list, lhi_arena_printf(arena, "dt nt!_MDL 0x%" PRIx64, c->subject->mdl), NULL);
    const size_t main = lhi_report_main_record(c);
    if (main != LHI_NONE)
        record_commands(c, list, &c->records[main]);
    for (size_t i = 0; i < c->named_count; i++) {
        const size_t party = c->named[i].party, record = record_of(c, party);
        if (record != LHI_NONE && record != main)
            record_commands(c, list, &c->records[record]);
        if (main != LHI_NONE)
            module_command(c, list, &c->parties[party]);
    }
}
