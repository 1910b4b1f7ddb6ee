"""What goes on in any running system: requests of living processes, kernel buffers, idle and freed packets. All innocent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockhound_synth import io, packets
from lockhound_synth.io import Device
from lockhound_synth.packets import READ, Slot
from lockhound_synth.processes import Process

if TYPE_CHECKING:
    from .stage import Stage


def populate(stage: Stage) -> None:
    """A handful of each."""
    machine, rng = stage.machine, stage.rng
    disk = io.make_device(machine, stage.windows["disk"], name="DR0", kind=io.FILE_DEVICE_DISK)
    port = io.make_device(machine, stage.windows["storport"], name="RaidPort0", kind=io.FILE_DEVICE_CONTROLLER)
    mouse = io.make_device(machine, stage.windows["mouclass"], name="PointerClass0", flags=io.DO_BUFFERED_IO)
    stage.disk, stage.port = disk, port
    for process in stage.others:
        for _ in range(rng.randrange(2)):
            reading(stage, process, disk)
    for process in stage.others[:2]:
        waiting(stage, process, mouse)
    for _ in range(2):
        kernel_buffer(stage)
    for _ in range(4):
        idle_packet(stage, rng.choice((disk, port)))
    for stacks in (1, 2, 5):
        for _ in range(3):
            packets.free_irp(machine, packets.make_irp(machine, [None] * stacks, stacks + 1, manager=False, lookaside=True))
    for _ in range(3):
        process = rng.choice(stage.others)
        old = packets.make_mdl(machine, process, rng.randrange(1, 4), locked=False)
        packets.free_mdl(machine, old)
        stage.old.append((process, old))


def reading(stage: Stage, process: Process, device: Device, *, pages: int | None = None) -> packets.Mdl:
    """A read of a living process in flight: locked, charged to it, pending in a device."""
    machine, rng = stage.machine, stage.rng
    mdl = packets.make_mdl(machine, process, pages or rng.randrange(1, 5))
    file = io.make_file(machine, device, name="\\data\\store.bin" if rng.random() < 0.5 else "")
    slot = Slot(device, READ, file=file, control=packets.PENDING_RETURNED, arguments=(mdl.length, 0, rng.randrange(1 << 20) << 9, 0))
    packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=process.threads[0], file=file, flags=packets.IRP_READ_FLAGS,
        user_buffer=mdl.va + mdl.offset,
    )  # fmt: skip
    stage.hold(mdl, device.driver)
    return mdl


def waiting(stage: Stage, process: Process, device: Device) -> None:
    """A buffered read that waits for input: pending for hours, locks nothing."""
    file = io.make_file(stage.machine, device)
    slot = Slot(device, READ, file=file, control=packets.PENDING_RETURNED, arguments=(0x180, 0, 0, 0))
    packets.make_irp(stage.machine, [slot], 1, thread=process.threads[0], file=file, flags=0x970)


def kernel_buffer(stage: Stage) -> None:
    """Locked pages of a kernel address: Process is 0, nobody is charged."""
    machine, rng = stage.machine, stage.rng
    block = machine.nonpaged.pages(2)
    frames = [(machine.space.translate(block + i * 0x1000) or 0) >> 12 for i in range(2)]
    locked = rng.random() < 0.5
    flags = packets.LOCKED | packets.FIXED_SIZE | packets.WRITE if locked else packets.NONPAGED_SOURCE | packets.FIXED_SIZE
    packets.make_mdl(machine, None, 2, frames=frames, va=block, flags=flags, charge=False)


def idle_packet(stage: Stage, device: Device) -> None:
    """A driver's own packet kept for later: never sent, or back and reused."""
    rng = stage.rng
    stacks = rng.randrange(1, 4)
    completion = device.driver.module.symbols["Complete"]
    slots = [Slot(device, READ, completion=completion, control=packets.ON_ALL) if rng.random() < 0.5 else None for _ in range(stacks)]
    packets.make_irp(stage.machine, slots, stacks + 1, manager=False, flags=0)
