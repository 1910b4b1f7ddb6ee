"""Stories of a packet's origin: who made it decides who owes the unlock, whatever the packet looks like and wherever it waits."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets, processes
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import CONTROL, IRP_READ_FLAGS, ON_ALL, PENDING_RETURNED, READ, Mdl, Slot

from .pending import guilty_device, send
from .stage import Stage

IRP_SYNCHRONOUS = 0x4  # IRP_SYNCHRONOUS_API, WDK wdm.h


def maker_above(stage: Stage, imports: tuple[str, ...], below: tuple[str, ...] = ()) -> tuple[Driver, Device, Driver, Device]:
    """A driver on top of an innocent one: (maker, its device, lower driver, its device)."""
    lower, lower_device = guilty_device(stage, imports=below)
    maker = stage.invent(imports=imports)
    return maker, io.make_device(stage.machine, maker, above=lower_device, extension=0x200), lower, lower_device


def own_slot(stage: Stage, lower: Device, mdl: Mdl, maker: Driver | None, context: int = 0, *, major: int = READ) -> Slot:
    """The topmost location of a packet that a driver sends down; maker=None: it set no completion routine."""
    arguments = packets.control_arguments(stage.machine, lower, mdl.length) if major == CONTROL else (mdl.length, 0, 0, 0)
    if maker is None:
        return Slot(lower, major, control=PENDING_RETURNED, arguments=arguments)
    completion = maker.module.symbols["Complete"]
    return Slot(lower, major, completion=completion, context=context, control=ON_ALL | PENDING_RETURNED, arguments=arguments)


def returned_intact(stage: Stage) -> None:
    """A driver's own packet came back to it, whole and with its MDL still locked: it owes, and nobody below does."""
    stage.description = "a driver's own packet is back with it at StackCount + 1, its MDL still locked"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker, device, lower, lower_device = maker_above(stage, io.MAKING)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    irp = packets.make_irp(machine, [own_slot(stage, lower_device, mdl, maker, device.extension)], 2, mdl=mdl, manager=False, flags=0)
    machine.space.write(device.extension + 0x30, struct.pack("<2Q", irp.address, mdl.address))
    stage.charge(mdl, maker)
    stage.note_irp(irp, "returned", lower_device)
    stage.name(maker, mdl.pages)
    # The lower driver has an idle packet of its own, with an unlocked MDL of the same process: nothing to see there.
    old = packets.make_mdl(machine, victim, rng.randrange(1, 9), locked=False)
    stage.consider(old, "unlocked")
    slot = Slot(lower_device, READ, completion=lower.module.symbols["Complete"], control=ON_ALL)
    packets.make_irp(machine, [slot], 2, mdl=old, manager=False, flags=0)


def device_control_built(stage: Stage) -> None:
    """IoBuildDeviceIoControlRequest: kernel mode and no file, but queued to the thread; the I/O manager locks and unlocks."""
    stage.description = "a packet of IoBuildDeviceIoControlRequest is pending: the I/O manager locked, the holder owes"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    caller, _, holder, lower_device = maker_above(stage, ("IoBuildDeviceIoControlRequest",))
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    thread = victim.threads[0]
    # Event and status block are on the caller's stack, or in its pool.
    place = thread.stack_base - 0x400 if rng.random() < 0.5 else machine.nonpaged.alloc(0x40, b"IoBd")
    slot = own_slot(stage, lower_device, mdl, None, major=CONTROL)
    if rng.random() < 0.5:
        slot = own_slot(stage, lower_device, mdl, caller, place, major=CONTROL)
    irp = packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=thread, manager=False, linked="thread", flags=0x60000, iosb=place, event=place + 0x10,
        user_buffer=mdl.va + mdl.offset,
    )  # fmt: skip
    stage.charge(mdl, holder)
    stage.note_irp(irp, "pending", lower_device)
    stage.name(holder, mdl.pages)


def async_built(stage: Stage) -> None:
    """IoBuildAsynchronousFsdRequest: self-linked, its thread named though it may be gone; the caller owes."""
    stage.description = "a packet of IoBuildAsynchronousFsdRequest waits below: its maker owes, and the thread it names says nothing"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker, device, _, lower_device = maker_above(stage, (*io.LOCKING, "IoBuildAsynchronousFsdRequest", "IoFreeIrp"))
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    thread = processes.make_thread(machine, victim)
    dangling = rng.random() < 0.5
    iosb = device.extension + 0x60
    irp = packets.make_irp(
        machine, [own_slot(stage, lower_device, mdl, maker, device.extension)], 1, mdl=mdl, thread=thread, manager=False,
        flags=IRP_READ_FLAGS & ~IRP_SYNCHRONOUS, iosb=iosb, user_buffer=mdl.va + mdl.offset,
    )  # fmt: skip
    if dangling:
        # The thread's memory has been given back and used again.
        field = irp.address + machine.layouts["IRP"].offset("Tail.Overlay.Thread")
        block = machine.nonpaged.alloc(0x800, b"Even")
        machine.space.write(block, machine.places.randbytes(0x100))
        machine.space.write_u64(field, block)
    stage.charge(mdl, maker)
    stage.note_irp(irp, "pending", lower_device)
    stage.name(maker, mdl.pages)


def lookaside_size(stage: Stage) -> None:
    """The packet came from a list of larger ones: its Size says so, and the locations above its own hold an earlier use."""
    stage.description = "a packet whose Size belongs to a larger list, with another driver's leftovers above its stack"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    _, other = guilty_device(stage)
    file = io.make_file(machine, device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    arguments = packets.control_arguments(machine, device, mdl.length)
    slot = Slot(device, CONTROL, file=file, control=PENDING_RETURNED, arguments=arguments)
    left = [Slot(other, READ, file=file, completion=other.driver.module.symbols["Complete"], control=ON_ALL) for _ in range(3)]
    irp = packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=victim.threads[0], file=file, room=rng.choice((4, 7, 10, 14)), beyond=left,
    )  # fmt: skip
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def kernel_requestor(stage: Stage) -> None:
    """The I/O manager's packet for somebody in the kernel: kernel mode, the status block in kernel space, but a file and a thread."""
    stage.description = "the I/O manager's packet for a kernel-mode requestor is pending in its driver"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage, imports=rng.choice(((), io.LOCKING)))
    file = io.make_file(machine, device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    thread = victim.threads[0]
    slot = Slot(device, READ, file=file, control=PENDING_RETURNED, arguments=(mdl.length, 0, 0, 0))
    irp = packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=thread, file=file, requestor=0, flags=IRP_READ_FLAGS, iosb=thread.stack_base - 0x420,
        event=0, user_buffer=mdl.va + mdl.offset, linked="thread",
    )  # fmt: skip
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def _kept(stage: Stage) -> tuple[Driver, Device, int]:
    """A driver's own packet without a completion routine, pending below: (maker, its device, the packet's address)."""
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker, device, _, lower_device = maker_above(stage, io.MAKING)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    irp = packets.make_irp(machine, [own_slot(stage, lower_device, mdl, None)], 1, mdl=mdl, manager=False, flags=0)
    stage.charge(mdl, maker)
    stage.note_irp(irp, "pending", lower_device)
    stage.name(maker, mdl.pages)
    return maker, device, irp.address


def maker_in_extension(stage: Stage) -> None:
    """Nothing in the packet names its maker; the maker keeps the packet's address in its device extension."""
    stage.description = "a driver's own packet without a completion routine: only the maker's device extension knows it"
    _, device, irp = _kept(stage)
    at = device.extension + 8 * stage.rng.randrange(4, 0x30)
    stage.machine.space.write_u64(at, irp)
    stage.machine.label("keeper", at)


def maker_in_data(stage: Stage) -> None:
    """The maker keeps the packet's address in a variable of its module."""
    stage.description = "a driver's own packet without a completion routine: only the maker's data section knows it"
    machine = stage.machine
    maker, _, irp = _kept(stage)
    image = maker.module.image
    if image is None:
        raise ValueError("an invented driver has an image")
    (data,) = [s for s in image.sections if s.name == ".data"]
    at = maker.module.base + data.rva + 8 * stage.rng.randrange(2, data.virtual_size // 8)
    machine.space.write_u64(at, irp)
    machine.label("keeper", at)


def maker_unknown(stage: Stage) -> None:
    """Nothing in the packet names its maker, and only a block of the pool that belongs to nobody known keeps its address."""
    stage.description = "a driver's own packet whose maker left no name anywhere within one step: the driver where it waits is innocent"
    machine = stage.machine
    _, device, irp = _kept(stage)
    stage.named.clear()
    stage.guilty.clear()
    stage.ledger[0]["holder"] = None
    block = machine.nonpaged.alloc(0x60, b"Kdat")
    machine.space.write(block, struct.pack("<4Q", 1, 0, irp, machine.places.getrandbits(20)))
    machine.label("keeper", block)
    stage.kind = "unattributed"
    del device


def no_import_holder(stage: Stage) -> None:
    """The I/O manager locked: that the holder could not lock anything itself clears it of nothing."""
    stage.description = "the driver that holds the packet imports no lock routine; the I/O manager locked for it"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage, imports=(), never=io.LOCKING)
    # A neighbour that can lock and has nothing to do with it.
    _, other = guilty_device(stage)
    old = packets.make_mdl(machine, victim, rng.randrange(1, 9), locked=False)
    stage.consider(old, "unlocked")
    machine.space.write_u64(other.extension + 0x18, old.address)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def ioring(stage: Stage) -> None:
    """A read submitted by an I/O ring: where the status block's address stands, the packet names the ring's kernel context."""
    stage.description = "a packet of an I/O ring: a kernel pointer stands where a user's status block would"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    file = io.make_file(machine, device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    ring = machine.nonpaged.alloc(0x140, b"IoRB")
    slot = Slot(device, READ, file=file, control=PENDING_RETURNED, arguments=(mdl.length, 0, 0, 0))
    irp = packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=victim.threads[0], file=file, flags=IRP_READ_FLAGS, iosb=ring,
        user_buffer=mdl.va + mdl.offset, linked=rng.choice(("thread", "file")),
    )  # fmt: skip
    machine.space.write(ring, struct.pack("<3Q", ring, victim.address, irp.address))
    machine.decoy("io_ring", ring + 8, victim.address)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)
