/* Reads the stack trace of a lock tracker: whose code each address is, and who called the routine that locks.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "case/lock.h"
#include "nt/unwind.h"

#define WHOLE_STACK 3u /* addresses of a stack that was captured; a failed capture leaves two (facts C.3) */

const char *lhi_entry_kind_name(lhi_entry_kind kind)
{
    static const char *const names[] = {"unknown", "kernel", "verifier", "driver", "device", "no_module"};
    return names[kind];
}

const char *lhi_lock_by_name(lhi_lock_by by)
{
    static const char *const names[] = {"unknown", "driver", "library", "io_manager", "kernel", "no_module"};
    return names[by];
}

static bool gone(lh_absence absence)
{
    return absence != LH_PRESENT && absence != LH_ABSENT_LAYOUT && absence != LH_ABSENT_NONCANONICAL &&
           absence != LH_ABSENT_NOT_MAPPED;
}

/* Not code: a device object, nothing known, or not in the dump. */
static bool read_data(lhi_case *c, lhi_trace_entry *frame, lhi_device *device, lh_error *err)
{
    lhi_driver driver = {0};
    lhi_device_read(c->kernel, frame->address, device);
    frame->kind = LHI_ENTRY_NOWHERE;
    if (gone(device->absence)) {
        frame->kind = LHI_ENTRY_UNKNOWN;
        frame->absence = device->absence;
        frame->absent_at = device->absent_at;
        frame->why = "whether an address of the lock tracker's trace is a device object is not in this dump";
    } else if (device->absence == LH_PRESENT) {
        frame->kind = LHI_ENTRY_DEVICE;
        lhi_driver_read(c->kernel, device->driver, &driver);
        if (driver.object_known) {
            frame->party = lhi_case_party(c, &driver, err);
            return frame->party != LHI_NONE;
        }
    }
    return true;
}

static bool read_frame(lhi_case *c, uint64_t address, lhi_trace_entry *frame, lhi_device *device,
                       lh_error *err)
{
    lhi_driver driver = {0};
    *frame = (lhi_trace_entry){.address = address, .party = LHI_NONE};
    lhi_driver_from_code(c->kernel, address, &driver);
    if (!driver.has_module && !gone(driver.absence))
        return read_data(c, frame, device, err);
    if (driver.absence != LH_PRESENT) {
        frame->absence = driver.absence;
        frame->absent_at = driver.absent_at;
        frame->why = driver.doubt
                         ? driver.doubt
                         : "the module of an address of the lock tracker's trace is not in this dump";
        return true;
    }
    frame->kind = driver.is_kernel || strcmp(driver.name, "hal.dll") == 0 ? LHI_ENTRY_KERNEL
                  : strcmp(driver.name, "verifierext.sys") == 0           ? LHI_ENTRY_VERIFIER
                                                                          : LHI_ENTRY_DRIVER;
    frame->party = lhi_case_party(c, &driver, err);
    return frame->party != LHI_NONE;
}

static bool passes_through(const lhi_trace_entry *frame)
{
    return frame->kind == LHI_ENTRY_KERNEL || frame->kind == LHI_ENTRY_VERIFIER;
}

static void not_known(lhi_lock *lock, const lhi_trace_entry *frame, const char *why)
{
    lock->by = LHI_LOCK_BY_UNKNOWN;
    lock->absence = frame->absence;
    lock->absent_at = frame->absent_at;
    lock->why = frame->why ? frame->why : why;
}

static void by_manager(lhi_lock *lock, const lhi_device *device, const char *why)
{
    lock->by = LHI_LOCK_BY_MANAGER;
    lock->device = *device;
    lock->why = why;
}

/* The client of a library: the next code behind it that is another driver's. */
static void find_client(const lhi_case *c, lhi_lock *lock, unsigned from)
{
    for (unsigned i = from; i < lock->tracker.trace_size; i++) {
        const lhi_trace_entry *frame = &lock->frames[i];
        if (frame->kind != LHI_ENTRY_DRIVER && !passes_through(frame))
            return;
        if (frame->kind == LHI_ENTRY_DRIVER && !c->parties[frame->party].library) {
            lock->client = frame->party;
            return;
        }
    }
}

/* Where an unloaded driver's image lay before, an address of the trace may be that one's. Then the image of
 * today has to have a call there, and one that leads out of it. */
static bool is_of_another(const lhi_case *c, lhi_trace_entry *frame)
{
    const lhi_module *now = lhi_module_at(&c->kernel->modules, frame->address);
    const lhi_module *before = lhi_module_unloaded_at(&c->kernel->modules, frame->address);
    lhi_call call = {0};
    if (!now || !before || strcmp(now->name, before->name) == 0)
        return false;
    lhi_answer answer = lhi_call_target(c->kernel, frame->address, &call);
    if (answer == LHI_YES)
        return lhi_module_at(&c->kernel->modules, call.target) == now;
    frame->absence = call.why;
    frame->absent_at = call.at;
    return answer == LHI_NO || call.why != LH_PRESENT;
}

static void by_driver(const lhi_case *c, lhi_lock *lock, unsigned at)
{
    if (is_of_another(c, &lock->frames[at])) {
        not_known(lock, &lock->frames[at],
                  "the first address outside the kernel lies where an unloaded driver was before, and the "
                  "image of today has no such call there");
        return;
    }
    lock->locker = lock->frames[at].party;
    lock->by = LHI_LOCK_BY_DRIVER;
    lock->why = lock->tracker.address
                    ? "the first address outside the kernel in the lock tracker's trace lies in that driver"
                    : "the caller of the routine that locked, as the bug check names it, lies in that driver";
    if (c->parties[lock->locker].library) {
        lock->by = LHI_LOCK_BY_LIBRARY;
        lock->why = "the first address outside the kernel in the lock tracker's trace lies in a library of "
                    "Windows, which locks for its clients";
        find_client(c, lock, at + 1);
    }
}

/* Two addresses only: of a list's tracker, or of the bug check's parameters. The first is the caller of the
 * routine that locks, and the second tells whether that was the I/O manager. */
static void read_callers(const lhi_case *c, lhi_lock *lock, const lhi_device *device)
{
    const lhi_trace_entry *caller = &lock->frames[0], *second = &lock->frames[1];
    static const char unclear[] = "the second address is neither code nor a device object";
    if (lock->tracker.trace_size < 2 || second->kind == LHI_ENTRY_NOWHERE ||
        second->kind == LHI_ENTRY_UNKNOWN)
        not_known(lock, second, unclear);
    else if (second->kind == LHI_ENTRY_DEVICE)
        by_manager(lock, device,
                   "a dispatch routine and a device object: the I/O manager locked for a request");
    else if (caller->kind == LHI_ENTRY_DRIVER)
        by_driver(c, lock, 0);
    else if (passes_through(caller) && second->kind == LHI_ENTRY_DRIVER)
        by_driver(c, lock, 1);
    else if (caller->kind == LHI_ENTRY_UNKNOWN)
        not_known(lock, caller, "what the first address lies in is not known");
    else
        not_known(lock, caller, "neither of the two callers lies in a driver");
}

/* Without nt's own frames in front, what called is a return address, and what lies behind it is code or
 * nothing: no dispatch routine with its device. */
static bool begins_behind_nt(const lhi_case *c, const lhi_lock *lock)
{
    const lhi_trace_entry *second = &lock->frames[1];
    lhi_call call = {0};
    return lock->frames[0].kind == LHI_ENTRY_DRIVER &&
           (lock->tracker.trace_size == 1 || passes_through(second) || second->kind == LHI_ENTRY_DRIVER) &&
           lhi_call_target(c->kernel, lock->frames[0].address, &call) != LHI_NO;
}

/* A whole trace begins inside nt, in the routine that made the tracker. One that does not was written over by
 * the I/O manager, the dispatch routine, then the device object; or its first frames were left out. */
static void read_stack(const lhi_case *c, lhi_lock *lock, const lhi_device *device)
{
    unsigned at = 0;
    while (at < lock->tracker.trace_size && passes_through(&lock->frames[at]))
        at++;
    const lhi_trace_entry *first = &lock->frames[at < LHI_TRACE ? at : LHI_TRACE - 1];
    const lhi_trace_entry *second = &lock->frames[1];
    if (at == lock->tracker.trace_size) {
        lock->by = LHI_LOCK_BY_KERNEL;
        lock->locker = lock->frames[0].party;
        lock->why = lock->tracker.trace_size >= WHOLE_STACK && lock->tracker.trace_size < LHI_TRACE
                        ? "the lock tracker's trace is the kernel's alone"
                        : "all that the lock tracker's trace has room for lies in the kernel";
    } else if (at <= 1 && second->kind == LHI_ENTRY_DEVICE) {
        by_manager(lock, device,
                   "a dispatch routine and a device object: the I/O manager locked for a request");
    } else if (at == 0 && !begins_behind_nt(c, lock)) {
        not_known(lock, first->kind == LHI_ENTRY_UNKNOWN ? first : second,
                  "the lock tracker's trace is neither a stack nor a dispatch routine with its device");
    } else if (first->kind == LHI_ENTRY_DRIVER) {
        by_driver(c, lock, at);
    } else if (first->kind == LHI_ENTRY_NOWHERE) {
        lock->by = LHI_LOCK_BY_NOBODY;
        lock->why = "code that lies in no module, loaded or unloaded, called the routine that locks";
    } else {
        not_known(lock, first, "the first address outside the kernel in the lock tracker's trace is no code");
    }
}

lh_status lhi_case_read_lock(lhi_case *c, lhi_lock *lock, lh_error *err)
{
    lhi_device device = {0};
    lock->locker = lock->client = lock->record = LHI_NONE;
    for (unsigned i = 0; i < lock->tracker.trace_size; i++) {
        lhi_device read = {0};
        if (!read_frame(c, lock->tracker.trace[i], &lock->frames[i], &read, err))
            return LH_ERR_NO_MEMORY;
        if (i == 1)
            device = read;
    }
    /* What is the kernel's code in the trace can't be told from a driver's. */
    if (!c->kernel->nt_known && !lhi_module_at(&c->kernel->modules, c->kernel->kdbg.kernel_base)) {
        lock->absence = LH_ABSENT_NOT_CAPTURED;
        lock->absent_at = lock->tracker.trace[0];
        lock->why = "where the kernel's own image lies is not in this dump";
        return LH_OK;
    }
    if (lock->tracker.callers)
        read_callers(c, lock, &device);
    else
        read_stack(c, lock, &device);
    return LH_OK;
}

lh_status lhi_case_tracking(lhi_case *c, uint64_t process, uint64_t header, uint64_t one, lhi_tracking *out,
                            lh_error *err)
{
    lhi_trackers *trackers = &out->trackers;
    lh_status status =
        lhi_trackers_read(c->kernel, process, header, one, c->options.limits.mdls, trackers, err);
    if (status != LH_OK)
        return status;
    out->locks = lhi_calloc(trackers->count + 1, sizeof *out->locks);
    if (!out->locks)
        return lhi_fail_memory(err);
    for (; status == LH_OK && out->count < trackers->count; out->count++) {
        out->locks[out->count].tracker = trackers->items[out->count];
        status = out->count % 64 == 0 ? lhi_case_poll(c, err) : LH_OK;
        if (status == LH_OK)
            status = lhi_case_read_lock(c, &out->locks[out->count], err);
    }
    return status;
}

void lhi_tracking_free(lhi_tracking *tracking)
{
    lhi_trackers_free(&tracking->trackers);
    lhi_free(tracking->locks);
    *tracking = (lhi_tracking){0};
}
