"""Stories with hostile content: names that attack whoever shows them, lists without an end, counts that lie. The verdict is a plain one."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.io import Driver
from lockhound_synth.packets import CONTROL, PENDING_RETURNED, READ, Mdl, Slot
from lockhound_synth.processes import Process

from .pending import guilty_device, send
from .stage import Stage

# Terminal control, markup, a spreadsheet's formula, half a surrogate pair, NUL, direction overrides, and length.
NAMES = (
    "\x1b]0;owned\x07\x1b[2J", "<script>alert(1)</script>&amp;\"'", "=1+1", "+cmd|' /c calc'!a1", "half\ud800pair", "cut\0off",
    "\u202egpj.exe\u2066", "line\r\nbreak\x85\u2028", "a" * 5000, "\udc00\ud800", "..\\..\\", "%s%n{0}$(x)`x`", "\ufeff\ufffe\uffff",
)  # fmt: skip
GUILTY = "=1+1<b>&\x1b[31m\u202e'\""  # no half pair: every character of it can be written in JSON
PROCESS = "\x1b[31m<b>=1&\"'"


def _plain(stage: Stage, victim: Process, guilty: Driver, name: str, file_name: str) -> Mdl:
    """A pending packet in a device with a name, on a file with a name."""
    machine, rng = stage.machine, stage.rng
    device = io.make_device(machine, guilty, name=name)
    file = io.make_file(machine, device, name=file_name)
    mdl = packets.make_mdl(machine, victim, rng.randrange(2, 20))
    arguments = packets.control_arguments(machine, device, mdl.length)
    slot = Slot(device, CONTROL, file=file, control=PENDING_RETURNED, arguments=arguments)
    irp = packets.make_irp(machine, [slot], 1, mdl=mdl, thread=victim.threads[0], file=file)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)
    return mdl


def hostile_names(stage: Stage) -> None:
    """Process, device, file and the innocent drivers have hostile names; the guilty one has a plain one."""
    stage.description = "names full of control characters, markup, formulas and broken text"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim(PROCESS)
    mdl = _plain(stage, victim, stage.invent(), NAMES[0], rng.choice(NAMES))
    for name in rng.sample(NAMES, 6):
        innocent = stage.invent(shown=name)
        device = io.make_device(machine, innocent, name=rng.choice(NAMES))
        old = packets.make_irp(
            machine, [Slot(device, READ, file=io.make_file(machine, device, name=rng.choice(NAMES)))], 1, mdl=mdl, linked="none",
        )  # fmt: skip
        packets.complete(machine, old)
        stage.note_irp(old, "completed", device, label=False)
        machine.unloaded.append(
            (rng.choice([n for n in NAMES if len(n) < 100]), machine.next_image + 0x400000, machine.next_image + 0x408000)
        )


def hostile_driver(stage: Stage) -> None:
    """The guilty driver itself has a hostile name, which every report must show without obeying it."""
    stage.description = "the guilty driver's name is terminal control, markup and a formula at once"
    victim = stage.make_victim(PROCESS)
    _plain(stage, victim, stage.invent(shown=GUILTY), NAMES[1], NAMES[6])


def looping_lists(stage: Stage) -> None:
    """Every list that a reader walks runs into itself."""
    stage.description = "module, process, device and lookaside lists and the MDL chain run in circles that miss their heads"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    first = packets.make_mdl(machine, victim, rng.randrange(1, 9))
    second = packets.make_mdl(machine, victim, rng.randrange(9, 20))
    packets.link_mdls(machine, first, second)
    packets.link_mdls(machine, second, first)
    irp = send(stage, victim, device, first, linked="thread")
    for mdl in (first, second):
        stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, first.pages + second.pages)
    stage.afterwards.append(lambda: _tie_knots(stage, device))


def _tie_knots(stage: Stage, device: io.Device) -> None:
    machine, layouts = stage.machine, stage.machine.layouts
    put = machine.space.write_u64
    shape = layouts["DEVICE_OBJECT"]
    put(machine.modules[-1].kldr, machine.modules[3].kldr)
    links = layouts["EPROCESS"].offset("ActiveProcessLinks")
    living = [p for p in machine.processes if p.alive]
    put(living[-1].address + links, living[1].address + links)
    put(device.address + shape.offset("NextDevice"), device.address)
    put(stage.disk.address + shape.offset("AttachedDevice"), stage.disk.address)
    put(stage.port.extension_object + layouts["DEVOBJ_EXTENSION"].offset("AttachedTo"), stage.port.address)
    for entries in machine.lookasides.values():
        if entries:
            put(entries[-1], entries[0])
    thread = layouts["ETHREAD"].offset("IrpList")
    put(living[0].threads[0].address + thread, living[0].threads[0].address + thread + 0x10)


def lying_counts(stage: Stage) -> None:
    """Lengths and counts beyond any bound, and addresses that wrap, in and around the evidence."""
    stage.description = "counts beyond the machine and addresses that wrap"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)
    shape = machine.layouts["MDL"]

    def false_mdl(start: int, length: int, offset: int, size: int, frame: int) -> None:
        at = machine.nonpaged.alloc(0xE8, b"Mdl ")
        record = struct.pack("<QHH4xQQQII", 0, size & 0xFFFF, 0x18A, victim.address, 0, start, length, offset)
        machine.space.write(at, record + struct.pack("<Q", frame))
        machine.decoy("false_mdl", at + shape.offset("Process"), victim.address)

    ram = mdl.frames[0]
    false_mdl(0x10_0000, 0xFFFF_FFFF, 0, 0x30, 1 << 40)  # four GiB: Size wraps to that of none
    false_mdl((1 << 47) - 0x1000, 0x2000, 0, 0x40, ram)  # past the user's end
    false_mdl(0xFFFF_FFFF_FFFF_F000, 0xFFFF_FFFF, 0xFFF, 0x38, ram)  # wraps
    false_mdl(0x10_0000, 0x1000, 0xFFFF_F000, 0x38, ram)  # an offset that is none
    false_mdl(0x10_0000, 0x1000, 0, 0x38, (1 << 52) - 1)  # a frame that no machine has
    # Packets that would like to be read past their end, or through addresses that wrap.
    for stacks, current, where in ((255, 255, 0), (1, 0, 0), (0, 1, 0), (100, 3, (1 << 64) - 16)):
        false = packets.make_irp(machine, [None], 1, mdl=mdl, manager=False, flags=0)
        head = machine.layouts["IRP"]
        machine.space.write(false.address + head.offset("StackCount"), bytes((stacks, current)))
        machine.space.write(false.address + head.offset("Size"), b"\xff\xff")
        if where:
            machine.space.write_u64(false.address + head.offset("Tail.Overlay.CurrentStackLocation"), where)
    stage.afterwards.append(lambda: _lie(stage, rng.choice(list(stage.windows.values()))))


def _lie(stage: Stage, innocent: Driver) -> None:
    machine, layouts = stage.machine, stage.machine.layouts
    wild = (1 << 64) - 8
    shape = layouts["DRIVER_OBJECT"]
    machine.space.write(innocent.address + shape.offset("DriverSize"), b"\xff\xff\xff\xff")
    machine.space.write(innocent.address + shape.offset("DriverName"), struct.pack("<2H4xQ", 0xFFFE, 2, wild))
    machine.space.write(stage.disk.address + layouts["DEVICE_OBJECT"].offset("Size"), b"\xff\xff")
    machine.space.write_u64(stage.disk.address + layouts["DEVICE_OBJECT"].offset("DeviceExtension"), wild)
    machine.space.write_u64(stage.port.address + layouts["DEVICE_OBJECT"].offset("NextDevice"), wild)
    machine.set_global("MmLastUnloadedDriver", (1 << 64) - 1)
    machine.set_global("MmUnloadedDrivers", wild)
    machine.set_global("KeNumberProcessors", 0xFFFF)
