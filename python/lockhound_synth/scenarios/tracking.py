"""Stories of leaks with lock tracking on: what the tracker's stack shows, and where a packet knows better."""

from __future__ import annotations

from lockhound_synth import io, packets
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import CONTROL, Mdl, Slot
from lockhound_synth.processes import Process, user_pages
from lockhound_synth.trackers import Lock, callers_of, track
from lockhound_synth.truth import FREED_LOCKED

from .pending import guilty_device, send
from .stage import Stage

TRACKER_IN_PARAMETERS = 9600  # from here on P1 of 0xCB is a tracker


def stack(stage: Stage, *callers: int, depth: int = 8) -> list[int]:
    """A trace as the kernel captures it: its own routines, who called them, and the way up to the system call."""
    nt, exports = stage.machine.nt_base, stage.machine.kernel.exports
    above = [nt + exports[name] + stage.rng.randrange(0x20, 0x60) for name in ("IofCallDriver", "NtDeviceIoControlFile")]
    lock = exports["MmProbeAndLockPages"]
    return [nt + lock + 0x5C, nt + lock + 0x18, *callers, *above, nt + exports["KiSystemServiceCopyEnd"] + 0x25][:depth]


def call_of(driver: Driver) -> int:
    """The address behind the call of the routine that locks."""
    return driver.module.return_from("MmProbeAndLockPages", "DispatchIo")


def left_locked(stage: Stage, victim: Process, locks: list[Lock]) -> list[int]:
    """Bug check 0xCB over these locks: the leftmost is in the parameters."""
    machine = stage.machine
    places = track(machine, victim, locks)
    at, lock = min((pair for pair in zip(places, locks, strict=True) if not pair[1].switched), key=lambda pair: pair[1].mdl.address)
    stage.code = 0xCB
    stage.parameters = (at, 0, lock.mdl.address, victim.locked)
    if machine.build < TRACKER_IN_PARAMETERS:
        first, second = callers_of(machine, lock.trace)
        stage.parameters = (first, second, lock.mdl.address, victim.locked)
        stage.blamed = next((d for d in machine.drivers.values() if d.module.base <= first < d.module.base + d.module.size), None)
    return places


def keep_pointer(stage: Stage, mdl: Mdl, *, unlocks: bool = True) -> None:
    """An innocent driver keeps the MDL's address in its own memory, as those do that watch; one that can't unlock pages only watches."""
    _, device = guilty_device(stage) if unlocks else guilty_device(stage, imports=(), never=("MmUnlockPages",))
    stage.machine.space.write_u64(device.extension + 0x28, mdl.address)


def pending_below(stage: Stage, victim: Process, mdl: Mdl, devices: list[Device]) -> None:
    """The I/O manager's packet for a stack of devices, lowest first, pending in the lowest."""
    machine = stage.machine
    file = io.make_file(machine, devices[0])
    arguments = packets.control_arguments(machine, devices[0], mdl.length)
    slots = []
    for device, above in zip(devices, [*devices[1:], None], strict=True):
        completion = above.driver.module.symbols["Complete"] if above else 0
        control = packets.ON_ALL if above else 0
        slots.append(Slot(device, CONTROL, file=file, completion=completion, control=control, arguments=arguments))
    slots[0].control |= packets.PENDING_RETURNED
    irp = packets.make_irp(machine, slots, 1, mdl=mdl, thread=victim.threads[0], file=file)
    stage.note_irp(irp, "pending", devices[0])


def tracked_manager(stage: Stage) -> None:
    """The I/O manager locked: its tracker names the filter on top of the stack, and the request waits two drivers below."""
    stage.description = "the I/O manager's tracker names a filter on top of the stack; the packet waits below"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    lower = io.make_device(machine, stage.invent(), above=device)
    top = io.make_device(machine, stage.invent(), above=lower)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    pending_below(stage, victim, mdl, [device, lower, top])
    left_locked(stage, victim, [Lock(mdl, [top.driver.module.symbols["DispatchIo"], top.address])])
    machine.label("top_device", top.address)
    stage.charge(mdl, guilty)
    stage.name(guilty, mdl.pages)


def tracked_request_gone(stage: Stage) -> None:
    """The same, and nothing is left of the request: the stack is known, the culprit in it is not."""
    stage.description = "the I/O manager locked for a stack of devices, and its packet is gone"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    _driver, device = guilty_device(stage)
    top = io.make_device(machine, stage.invent(), above=device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    file = io.make_file(machine, device)
    done = packets.make_irp(machine, [Slot(device, CONTROL, file=file)], 1, mdl=mdl, file=file, linked="none")
    packets.complete(machine, done)
    stage.note_irp(done, "completed", device)
    left_locked(stage, victim, [Lock(mdl, [top.driver.module.symbols["DispatchIo"], top.address])])
    stage.charge(mdl, None)
    stage.kind = "unattributed"


def tracked_library(stage: Stage) -> None:
    """A library of Windows called the routine that locks; the stack above shows somebody, but not that he asked for it."""
    stage.description = "a library of Windows locked for a client, and no packet tells for whom"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    client, _device = guilty_device(stage)
    library = stage.windows[rng.choice(("fltmgr", "storport", "ntfs"))]
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    left_locked(stage, victim, [Lock(mdl, stack(stage, call_of(library), client.module.symbols["Worker"] + 0x12))])
    stage.charge(mdl, None)
    stage.kind = "unattributed"


def tracked_verifier(stage: Stage) -> None:
    """Driver Verifier stands between: its extension wraps the routine that locks."""
    stage.description = "VerifierExt.sys wraps the routine that locks; the driver behind it called"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    verifier = io.make_driver(machine, "verifierext", imports=io.LOCKING)
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    keep_pointer(stage, mdl)
    left_locked(stage, victim, [Lock(mdl, stack(stage, verifier.module.symbols["Worker"] + 0x31, call_of(guilty)))])
    stage.charge(mdl, guilty)
    stage.name(guilty, mdl.pages)


def tracked_unloaded(stage: Stage) -> None:
    """The driver that locked has gone; the kernel remembers where it was."""
    stage.description = "the driver that locked was unloaded and left its lock behind"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    name, base = stage.unload(0x9000)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    keep_pointer(stage, mdl, unlocks=False)
    left_locked(stage, victim, [Lock(mdl, stack(stage, base + rng.randrange(0x1000, 0x8000)))])
    stage.charge_gone(mdl, name)


def tracked_no_module(stage: Stage) -> None:
    """The code that locked lies in no module that the kernel knows or knew."""
    stage.description = "code outside every module called the routine that locks"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    mapped = machine.system_pages(4)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    left_locked(stage, victim, [Lock(mdl, stack(stage, mapped + rng.randrange(0x100, 0x3F00)))])
    stage.charge(mdl, None)
    stage.kind = "unattributed"


def tracked_several(stage: Stage) -> None:
    """A tree of locks of three drivers, also of switched MDLs where there are any, and a copy of an MDL that no tracker has."""
    stage.description = "three drivers in the trees of trackers, and a driver's copy of an MDL which is in none"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    switched = "LockMdlSwitchedTree" in machine.layouts["LOCK_HEADER"]
    locks = []
    for number, pages in enumerate(rng.sample(range(1, 20), 3)):
        guilty, _device = guilty_device(stage)
        total = 0
        for part in range(1, 4 - number):
            mdl = packets.make_mdl(machine, victim, pages + part, mapped=False)
            total += mdl.pages
            locks.append(Lock(mdl, stack(stage, call_of(guilty)), switched=switched and part == 2))
            stage.charge(mdl, guilty)
        stage.name(guilty, total)
    _, other = guilty_device(stage)
    size = 0x30 + 8 * mdl.pages
    block = machine.nonpaged.alloc(size + 0x20, b"Ktrc")
    machine.space.write(block + 0x18, machine.space.read(mdl.address, size))
    machine.space.write_u64(other.extension + 0x20, block)
    stage.consider(Mdl(block + 0x18, victim, mdl.va, mdl.offset, mdl.length, mdl.frames, mdl.flags), "untracked")
    left_locked(stage, victim, locks)


def tracked_borrowed(stage: Stage) -> None:
    """A driver locked and handed the MDL to another, which describes it in a packet of its own: who locked owes the unlock."""
    stage.description = "a packet of one driver's making has the MDL that another one locked"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    maker = stage.invent(imports=io.MAKING)
    made = io.make_device(machine, maker, extension=0x200)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20), mapped=False)
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    slot = Slot(stage.port, 15, completion=maker.module.symbols["Complete"], context=made.extension, control=packets.ON_ALL)
    irp = packets.make_irp(machine, [slot], 1, mdl=mdl, manager=False, flags=0)
    stage.note_irp(irp, "pending", stage.port)
    left_locked(stage, victim, [Lock(mdl, stack(stage, call_of(guilty)))])
    stage.charge(mdl, guilty)
    stage.name(guilty, mdl.pages)


def tracked_passed_on(stage: Stage) -> None:
    """A filter locked the buffer of a request itself, put the MDL into the packet and passed it on: it waits below."""
    stage.description = "a filter locked for the I/O manager's packet and passed it on; the driver below holds it"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    top = io.make_device(machine, stage.invent(), above=device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    pending_below(stage, victim, mdl, [device, top])
    left_locked(stage, victim, [Lock(mdl, stack(stage, call_of(top.driver)))])
    machine.label("top_device", top.address)
    stage.charge(mdl, guilty)
    stage.name(guilty, mdl.pages)


def tracked_invalid(stage: Stage) -> None:
    """0x76 with a fourth parameter: tracking was given up on the way, and what was tracked before is still there."""
    stage.description = "tracking was given up: one lock has a tracker, a later one only its packet"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    pages = rng.sample(range(1, 20), 2)
    first, own = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, max(pages))
    machine.space.write_u64(own.extension + 0x20, mdl.address)
    keep_pointer(stage, mdl)
    track(machine, victim, [Lock(mdl, stack(stage, call_of(first)))], count=rng.choice((0, mdl.pages)), valid=0)
    stage.charge(mdl, first)
    stage.name(first, mdl.pages)
    second, device = guilty_device(stage)
    later = packets.make_mdl(machine, victim, min(pages))
    irp = send(stage, victim, device, later)
    stage.charge(later, second)
    stage.note_irp(irp, "pending", device)
    stage.name(second, later.pages)
    stage.parameters = (0, victim.address, victim.locked, victim.lock_header)


def tracked_freed(stage: Stage) -> None:
    """The MDL was freed while its pages were locked: no pointer names anybody any more, but the tracker does."""
    stage.description = "an MDL on the list of freed ones, still in its tracker"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, _device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, packets.FIXED_PAGES + 1), mapped=False)
    packets.free_mdl(machine, mdl)
    keep_pointer(stage, mdl)
    left_locked(stage, victim, [Lock(mdl, stack(stage, call_of(guilty)))])
    stage.charge(mdl, guilty, state=FREED_LOCKED)
    stage.name(guilty, mdl.pages)


def tracked_kernel(stage: Stage) -> None:
    """No frame of the stack lies outside the kernel."""
    stage.description = "the kernel locked on its own, by the whole of the tracker's stack"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    keep_pointer(stage, mdl)
    left_locked(stage, victim, [Lock(mdl, stack(stage))])
    stage.charge(mdl, None)
    stage.kind = "kernel"


def tracked_no_import(stage: Stage) -> None:
    """The first frame outside the kernel is of a driver that can't lock: it called something that did."""
    stage.description = "the tracker's stack shows a driver that imports no routine that locks"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    driver, _device = guilty_device(stage, imports=(), never=("MmProbeAndLockPages",))
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    left_locked(stage, victim, [Lock(mdl, stack(stage, driver.module.symbols["Worker"] + 0x12))])
    stage.charge(mdl, None)
    stage.kind = "unattributed"


def tracked_short(stage: Stage) -> None:
    """The kernel charges more pages than its trackers have."""
    stage.description = "more pages are charged than the trackers sum up to"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, _device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    _, lost = user_pages(machine, victim, rng.randrange(1, 9))
    stage.without_mdl = len(lost)
    victim.locked += len(lost)
    machine.pins.update(dict.fromkeys(lost, 1))
    left_locked(stage, victim, [Lock(mdl, stack(stage, call_of(guilty)))])
    stage.charge(mdl, guilty)
    stage.name(guilty, mdl.pages)
