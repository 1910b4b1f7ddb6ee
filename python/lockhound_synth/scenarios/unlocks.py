"""Stories of an MDL that was unlocked and was not locked so (0x76 with P1 = 1, 5, 6, 7, 9): the crashing thread shows who did it.

Parameters after Microsoft's bug check reference; 5, 6, 7 and 9 after observed behaviour of kernels.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from lockhound_synth import io, packets
from lockhound_synth.io import Device, Driver
from lockhound_synth.machine import Machine
from lockhound_synth.packets import CONTROL, ON_ALL, Mdl, Slot
from lockhound_synth.stacks import in_nt
from lockhound_synth.trackers import Lock, track

from .origins import maker_above, own_slot
from .pending import guilty_device, send
from .stage import Stage

CALL = b"\xff\xd0"  # call rax
# Whoever imports none of these hands no MDL on.
SENDING = ("IofCallDriver", "IoCallDriver", "PoCallDriver", "IoInitializeIrp", "ExNotifyCallback", *io.PACKET_MAKERS)


def from_program(machine: Machine) -> list[int]:
    """The way from a program's system service to a dispatch routine."""
    return in_nt(machine, "IofCallDriver", "IopSynchronousServiceTail", "NtDeviceIoControlFile", "KiSystemServiceCopyEnd")


def from_thread(machine: Machine) -> list[int]:
    """The first frames of a system thread."""
    return in_nt(machine, "PspSystemThreadStartup", "KiStartSystemThread")


def local_call(driver: Driver, callee: str, fallback: str) -> int:
    """The address behind a call inside the driver."""
    image = driver.module.image
    found = image.local_returns(callee) if image else []
    return driver.module.base + found[0] if found else driver.module.symbols[fallback] + 0x12


def unlocking(driver: Driver) -> int:
    """The address behind the driver's call of MmUnlockPages."""
    return driver.module.return_from("MmUnlockPages", "Complete")


def begin(
    stage: Stage, mdl: Mdl, callers: list[int], *, kind: int = 1, third: int | None = None, fourth: int | None = None, named: bool = True
) -> None:
    """The bug check of a process that lives on, which the MDL names, with the frames between KeBugCheckEx and the thread's begin."""
    machine = stage.machine
    stage.current = process = stage.others[0]
    stage.charged = process if named else None
    stage.no_ledger = stage.no_ledger or not named
    if not process.lock_header:
        track(machine, process, [])
    stage.callers = callers
    stage.parameters = (
        kind, mdl.address, process.locked if third is None else third, process.lock_header if fourth is None else fourth
    )  # fmt: skip
    machine.label("unlocked_mdl", mdl.address, 0x30 + 8 * mdl.pages)
    machine.label("nt_unwind", machine.nt_base + machine.kernel.exception_table[0], machine.kernel.exception_table[1])
    stage.kind = "unattributed"


def blame(stage: Stage, driver: Driver) -> None:
    """The driver that the right verdict names, which holds nothing."""
    stage.kind = "driver"
    stage.name(driver, 0)


def inner(machine: Machine) -> list[int]:
    """From the tracker that stopped the machine to the routine that unlocks."""
    return in_nt(machine, "MiFreeMdlTracker", "MmUnlockPages")


def stale(stage: Stage) -> Mdl:
    """An MDL that was locked and is not any more."""
    mdl = packets.make_mdl(stage.machine, stage.others[0], stage.rng.randrange(1, 10), locked=False)
    stage.consider(mdl, "unlocked")
    return mdl


def culprit_with(stage: Stage, mdl: Mdl) -> tuple[Driver, Device]:
    """A driver that keeps the MDL in its device extension."""
    culprit, device = guilty_device(stage)
    stage.machine.space.write_u64(device.extension + 0x20, mdl.address)
    return culprit, device


def culprit_above(stage: Stage, mdl: Mdl, below: tuple[str, ...], current: int) -> Driver:
    """A driver with a packet of its own over the MDL, which is pending in the driver below, or back."""
    culprit, device, _, lower_device = maker_above(stage, io.MAKING, below=below)
    slot = own_slot(stage, lower_device, mdl, culprit, device.extension)
    packets.make_irp(stage.machine, [slot], current, mdl=mdl, manager=False, flags=0)
    return culprit


def unlock_unknown(stage: Stage) -> None:
    """A driver unlocks its MDL in the dispatch routine, a second time."""
    stage.description = "an MDL is unlocked that the tracker does not know: the crashing thread shows the driver"
    mdl = stale(stage)
    culprit, _ = culprit_with(stage, mdl)
    begin(stage, mdl, [*inner(stage.machine), unlocking(culprit), *from_program(stage.machine)])
    blame(stage, culprit)


def unlock_twice(stage: Stage) -> None:
    """The second unlock comes from a worker thread, by a routine that calls another one; its packet is back with it."""
    stage.description = "a worker of the driver unlocks what its completion routine has unlocked before"
    machine = stage.machine
    mdl = stale(stage)
    culprit = culprit_above(stage, mdl, (), 2)
    worker = local_call(culprit, "Complete", "Worker")
    begin(stage, mdl, [*inner(machine), unlocking(culprit), worker, *from_thread(machine)])
    blame(stage, culprit)


def unlock_never(stage: Stage) -> None:
    """The failure path unlocks an MDL that was only allocated: its Process field was never written."""
    stage.description = "an MDL is unlocked that was never locked and names no process"
    machine = stage.machine
    process = stage.others[0]
    mdl = packets.make_mdl(machine, process, stage.rng.randrange(1, 10), locked=False)
    machine.space.write_u64(mdl.address + machine.layouts["MDL"].offset("Process"), 0)
    culprit, _ = culprit_with(stage, mdl)
    begin(stage, mdl, [*inner(machine), unlocking(culprit), *from_program(machine)], named=False)
    blame(stage, culprit)


def unlock_nonpaged(stage: Stage) -> None:
    """An MDL over the driver's own pool block, built by MmBuildMdlForNonPagedPool."""
    stage.description = "an MDL of non-paged pool is unlocked, which nobody may do"
    machine = stage.machine
    block = machine.nonpaged.alloc(0x200, b"Work")
    frames = [(machine.space.translate(block) or 0) >> 12]
    mdl = packets.make_mdl(
        machine, None, 1, frames=frames, va=block & ~0xFFF, flags=packets.NONPAGED_SOURCE | packets.FIXED_SIZE, locked=False
    )
    culprit, _ = culprit_with(stage, mdl)
    begin(stage, mdl, [*inner(machine), unlocking(culprit), *from_program(machine)], named=False)
    blame(stage, culprit)


def unlock_partial(stage: Stage) -> None:
    """A partial MDL over another one's pages, which still are locked; another driver has it in a packet."""
    stage.description = "a partial MDL is unlocked: its pages belong to another MDL"
    machine = stage.machine
    process = stage.others[0]
    whole = packets.make_mdl(machine, process, stage.rng.randrange(2, 9))
    _, device = guilty_device(stage)
    send(stage, process, device, whole, linked="thread")
    mdl = packets.make_mdl(
        machine, process, 1, frames=whole.frames[:1], va=whole.va, flags=packets.PARTIAL | packets.FIXED_SIZE, charge=False, locked=False
    )
    stage.consider(mdl, "partial")
    culprit, _ = culprit_with(stage, mdl)
    begin(stage, mdl, [*inner(machine), unlocking(culprit), *from_program(machine)])
    blame(stage, culprit)


def completed_packet(stage: Stage, mdl: Mdl, *, unlocker: bool) -> tuple[Driver, Driver]:
    """A packet of the I/O manager that went through a driver with an unlock site, perhaps, and is completed by the one below."""
    machine = stage.machine
    process = stage.others[0]
    below, device = guilty_device(stage, imports=())
    above = stage.invent(imports=io.LOCKING if unlocker else ())
    upper = io.make_device(machine, above, above=device)
    file = io.make_file(machine, device)
    arguments = packets.control_arguments(machine, device, mdl.length)
    slots: list[Slot | None] = [
        Slot(device, CONTROL, completion=above.module.symbols["Complete"], control=ON_ALL, arguments=arguments),
        Slot(upper, CONTROL, arguments=arguments),
    ]
    packets.make_irp(machine, slots, 4, mdl=mdl, thread=process.threads[0], file=file)
    return below, above


def unlock_completer(stage: Stage) -> None:
    """The I/O manager unlocks what a driver above has unlocked already; the one that completes has nothing to do with it."""
    stage.description = "the I/O manager unlocks at completion: the driver that completes is only the messenger"
    machine = stage.machine
    mdl = stale(stage)
    below, _ = completed_packet(stage, mdl, unlocker=True)
    completing = below.module.return_from("IofCompleteRequest", "Dispatch")
    begin(stage, mdl, [*inner(machine), *in_nt(machine, "IopfCompleteRequest", "IofCompleteRequest"), completing, *from_thread(machine)])


def unlock_completer_jumps(stage: Stage) -> None:
    """The same on a kernel whose IofCompleteRequest jumps to the routine behind it and is not on the stack."""
    stage.description = "the I/O manager unlocks at completion, and only the call in the driver's code shows it"
    machine = stage.machine
    mdl = stale(stage)
    below, _ = completed_packet(stage, mdl, unlocker=stage.rng.random() < 0.5)
    completing = below.module.return_from("IofCompleteRequest", "Dispatch")
    begin(stage, mdl, [*inner(machine), *in_nt(machine, "IopfCompleteRequest"), completing, *from_thread(machine)])


def pointer_call(driver: Driver) -> int:
    """The address behind a call through a pointer, as clients of a framework make it."""
    image = driver.module.image
    if image is None:
        raise ValueError("a driver without an image")
    for section in image.sections:
        if section.executable and not section.discardable:
            at = image.read(section.rva, section.end - section.rva).find(CALL)
            if at >= 0:
                return driver.module.base + section.rva + at + len(CALL)
    raise ValueError(f"{driver.name} calls nothing through a pointer")


def unlock_library(stage: Stage) -> None:
    """A library of Windows unlocks for a driver that called it."""
    stage.description = "a library driver unlocks on behalf of the driver that called it"
    machine = stage.machine
    mdl = stale(stage)
    client = stage.invent(imports=io.COMMON, pointers=True)
    stage.machine.space.write_u64(io.make_device(machine, client).extension + 0x20, mdl.address)
    library = stage.windows["storport"]
    begin(stage, mdl, [*inner(machine), unlocking(library), pointer_call(client), *from_program(machine)])
    blame(stage, client)


def unlock_library_alone(stage: Stage) -> None:
    """A library unlocks in a thread of its own: for whom, the stack does not show."""
    stage.description = "a library driver unlocks, called by nt alone"
    machine = stage.machine
    mdl = stale(stage)
    library = stage.windows["storport"]
    begin(stage, mdl, [*inner(machine), unlocking(library), *in_nt(machine, "IofCallDriver"), *from_thread(machine)])
    culprit_with(stage, mdl)


def unlock_unloaded(stage: Stage) -> None:
    """The code that unlocks has been unloaded while it ran: its range is in the kernel's record."""
    stage.description = "the stack leads into the range of an unloaded driver"
    machine = stage.machine
    mdl = stale(stage)
    name, start = stage.unload(0x9000)
    begin(stage, mdl, [*inner(machine), start + 0x1234, *from_thread(machine)])
    stage.kind = "driver"
    stage.named.append({"name": name, "pages": 0})


def unlock_no_module(stage: Stage) -> None:
    """Code that no module list knows, mapped by hand into system pages."""
    stage.description = "code outside any module unlocks"
    machine = stage.machine
    mdl = stale(stage)
    home = machine.system_pages(1)
    slot = home + 0x800
    machine.space.write_u64(slot, machine.nt_base + machine.kernel.exports["MmUnlockPages"])
    behind = home + 0x210
    machine.space.write(behind - 6, b"\xff\x15" + struct.pack("<i", slot - behind))
    begin(stage, mdl, [*inner(machine), behind, *from_thread(machine)])


def unlock_shared(stage: Stage) -> None:
    """The MDL is in a packet that waits in another driver, which unlocks pages too: either may have done it first."""
    stage.description = "two drivers have the MDL and can unlock it"
    machine = stage.machine
    mdl = stale(stage)
    culprit = culprit_above(stage, mdl, io.LOCKING, 1)
    begin(stage, mdl, [*inner(machine), unlocking(culprit), *from_program(machine)])


def unlock_stack_absent(stage: Stage) -> None:
    """The page of the stack with the driver's frame was not captured."""
    unlock_unknown(stage)
    stage.description = "the page of the stack that leads to the driver is not in the dump"
    stage.kind = "insufficient"
    stage.named.clear()
    stage.guilty.clear()
    stage.lose_stack = True


def unlock_damaged_stack(stage: Stage) -> None:
    """Something wrote over the return address: it leads into an innocent driver, where no call stands."""
    stage.description = "the return address was overwritten with an address in a driver that did nothing"
    machine = stage.machine
    mdl = stale(stage)
    culprit_with(stage, mdl)
    innocent = stage.windows["disk"].module
    begin(stage, mdl, [*inner(machine), innocent.symbols["DispatchIo"] + 2, *from_program(machine)])


def unlock_locked(stage: Stage) -> None:
    """By its own flags the MDL is locked, and no tracker knows it: the driver that unlocks may be right."""
    stage.description = "an MDL that looks locked is unlocked, and the tracker does not know it"
    machine = stage.machine
    process = stage.others[0]
    mdl = packets.make_mdl(machine, process, stage.rng.randrange(1, 10))
    culprit, device = guilty_device(stage)
    send(stage, process, device, mdl, linked="thread")
    begin(stage, mdl, [*inner(machine), unlocking(culprit), *from_program(machine)], third=process.locked)


def unlock_verifier(stage: Stage) -> None:
    """Driver Verifier's stand-in lies between the driver and nt."""
    stage.description = "the verifier's stand-in for MmUnlockPages is on the stack; the driver that called it is the one"
    machine = stage.machine
    mdl = stale(stage)
    culprit, _ = culprit_with(stage, mdl)
    thunks = io.make_driver(machine, "verifierext", imports=("MmUnlockPages",))
    begin(stage, mdl, [*inner(machine), unlocking(thunks), unlocking(culprit), *from_program(machine)])
    blame(stage, culprit)


def unlock_verifier_in_nt(stage: Stage) -> None:
    """The verifier's stand-in is one of nt's own routines, which has no export: the import's name tells what the driver called."""
    stage.description = "the driver's import leads to the verifier's routine in nt; by its name it is MmUnlockPages"
    machine = stage.machine
    mdl = stale(stage)
    culprit, _ = culprit_with(stage, mdl)
    image = culprit.module.image
    if image is not None:
        for (_, name), rva in image.slots.items():
            if name == "MmUnlockPages":
                machine.space.write_u64(culprit.module.base + rva, machine.nt_base + machine.kernel.private["VerifierMmUnlockPages"])
    begin(stage, mdl, [*inner(machine), *in_nt(machine, "VerifierMmUnlockPages"), unlocking(culprit), *from_program(machine)])
    blame(stage, culprit)


def unlock_by_nt(stage: Stage) -> None:
    """No driver is on the stack: nt itself unlocks for a request that ends."""
    stage.description = "the whole stack lies in nt"
    machine = stage.machine
    mdl = stale(stage)
    culprit_with(stage, mdl)
    begin(stage, mdl, [*inner(machine), *in_nt(machine, "IopfCompleteRequest", "NtDeviceIoControlFile", "KiSystemServiceCopyEnd")])


def lock_of(stage: Stage, mdl: Mdl, locker: Driver, was: Mdl) -> int:
    """The tracker of an MDL that was changed since that driver locked it."""
    machine = stage.machine
    code = locker.module.return_from("MmProbeAndLockPages", "DispatchIo")
    trace = [*in_nt(machine, "MmProbeAndLockPages"), code, *in_nt(machine, "IofCallDriver")]
    (tracker,) = track(machine, stage.others[0], [Lock(mdl, trace, was=was)])
    return tracker


def begin_changed(stage: Stage, mdl: Mdl, was: Mdl, locker: Driver, unlocker: Driver, kind: int) -> None:
    """The bug check of an MDL that was changed between its lock and its unlock."""
    machine = stage.machine
    before, now = {
        5: (was.told, mdl.told),
        6: (was.frames[0], mdl.frames[0]),
        7: (mdl.frames[0], stage.rng.getrandbits(32)),
    }[kind]
    fourth = (before & 0xFFFF_FFFF) << 32 | now & 0xFFFF_FFFF
    tracker = lock_of(stage, mdl, locker, was)
    machine.label("unlocked_tracker", tracker, machine.layouts["LOCK_TRACKER"].size)
    begin(stage, mdl, [*inner(machine), unlocking(unlocker), *from_program(machine)], kind=kind, third=tracker, fourth=fourth)


def shortened(stage: Stage) -> tuple[Mdl, Mdl]:
    """A locked MDL whose ByteCount a driver made smaller, and what it was before."""
    mdl = packets.make_mdl(stage.machine, stage.others[0], stage.rng.randrange(6, 14), mapped=False)
    was = replace(mdl)
    packets.shorten(stage.machine, mdl, stage.rng.randrange(1, mdl.pages - 2))
    return mdl, was


def keep(stage: Stage, device: Device, mdl: Mdl) -> None:
    """The MDL's address stands in the memory of a device, and its driver is the holder."""
    stage.machine.space.write_u64(device.extension + 0x20, mdl.address)
    stage.hold(mdl, device.driver)


def _edited(stage: Stage, kind: int) -> None:
    """The MDL was changed between lock and unlock: the driver that unlocks is only the one that finds it."""
    machine, rng = stage.machine, stage.rng
    process = stage.others[0]
    if kind == 5:
        mdl, was = shortened(stage)
    else:
        mdl = packets.make_mdl(machine, process, rng.randrange(2, 10))
        was = replace(mdl, frames=[mdl.frames[0] + 1, *mdl.frames[1:]]) if kind == 6 else mdl
    culprit, device = guilty_device(stage)
    send(stage, process, device, mdl, linked="thread")
    begin_changed(stage, mdl, was, culprit, culprit, kind)


def unlock_length_changed(stage: Stage) -> None:
    """P1 = 5."""
    stage.description = "the MDL's length was changed while it was locked"
    _edited(stage, 5)


def unlock_frame_changed(stage: Stage) -> None:
    """P1 = 6."""
    stage.description = "the MDL's first frame was changed while it was locked"
    _edited(stage, 6)


def unlock_frames_changed(stage: Stage) -> None:
    """P1 = 7."""
    stage.description = "the MDL's frames were changed while it was locked"
    _edited(stage, 7)


def unlock_length_own(stage: Stage) -> None:
    """A driver that sends no packets locked the pages, keeps the MDL in its device's memory, and unlocks it: with another length."""
    stage.description = "a driver that hands nothing on locks and unlocks an MDL, whose length was changed in between"
    mdl, was = shortened(stage)
    culprit, device = guilty_device(stage, never=SENDING)
    keep(stage, device, mdl)
    begin_changed(stage, mdl, was, culprit, culprit, 5)
    blame(stage, culprit)


def unlock_left_over(stage: Stage) -> None:
    """The tracker of the MDL went with its first unlock, and its memory still says who had locked."""
    stage.description = "an MDL is unlocked a second time; what is left of its lock tracker tells of the lock"
    machine = stage.machine
    mdl = stale(stage)
    culprit, _ = culprit_with(stage, mdl)
    gone = lock_of(stage, mdl, culprit, mdl)
    machine.nonpaged.free(gone)
    machine.space.write(gone, struct.pack("<2Q", machine.nonpaged.base + 0x40, machine.nonpaged.base + 0x80))  # links of a free list
    begin(stage, mdl, [*inner(machine), unlocking(culprit), *from_program(machine)])
    machine.space.write_u64(stage.others[0].lock_header, 0)  # the root of the tree
    blame(stage, culprit)


def unlock_switched(stage: Stage) -> None:
    """P1 = 9: the MDL was given other frames, and the tracker does not know it."""
    stage.description = "an MDL is switched to other frames that the tracker does not know"
    machine = stage.machine
    mdl = stale(stage)
    culprit, _ = culprit_with(stage, mdl)
    code = culprit.module.return_from("MmProbeAndLockPages", "DispatchIo")
    begin(stage, mdl, [*in_nt(machine, "MmProbeAndLockPages"), code, *from_program(machine)], kind=9)


STORIES = {
    story.__name__: story
    for story in (
        unlock_twice, unlock_never, unlock_nonpaged, unlock_partial, unlock_completer, unlock_completer_jumps, unlock_library,
        unlock_library_alone, unlock_unloaded, unlock_no_module, unlock_shared, unlock_stack_absent, unlock_damaged_stack, unlock_locked,
        unlock_verifier, unlock_verifier_in_nt, unlock_by_nt, unlock_length_changed, unlock_frame_changed, unlock_frames_changed,
        unlock_switched, unlock_length_own, unlock_left_over,
    )
}  # fmt: skip
