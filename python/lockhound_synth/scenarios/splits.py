"""Stories of split requests: a driver cuts a packet of the I/O manager into pieces with partial MDLs for the drivers below."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import ASSOCIATED_IRP, READ, Irp, Mdl, Slot
from lockhound_synth.processes import Process

from .stage import Stage

SPLITTING = ("IoAllocateIrp", "IoFreeIrp", "IoAllocateMdl", "IoFreeMdl", "IoBuildPartialMdl", "IoMakeAssociatedIrp")


class Split:
    """A splitter above a lower driver, and the packet that it has cut up."""

    def __init__(self, stage: Stage) -> None:
        machine, rng = stage.machine, stage.rng
        self.stage = stage
        self.victim: Process = stage.make_victim()
        self.lower: Driver = stage.invent(imports=())
        self.splitter: Driver = stage.invent(imports=SPLITTING)
        self.lower_device: Device = io.make_device(machine, self.lower, name=f"{self.lower.name.title()}0", kind=io.FILE_DEVICE_DISK)
        self.device: Device = io.make_device(machine, self.splitter, above=self.lower_device)
        self.pieces = rng.randrange(2, 4)
        self.mdl: Mdl = packets.make_mdl(machine, self.victim, self.pieces * rng.randrange(2, 6), mapped=False)
        file = io.make_file(machine, self.lower_device)
        slot = Slot(self.device, READ, file=file, control=packets.PENDING_RETURNED, arguments=(self.mdl.length, 0, 0, 0))
        self.master: Irp = packets.make_irp(
            machine, [None, slot], 2, mdl=self.mdl, thread=self.victim.threads[0], file=file, flags=packets.IRP_READ_FLAGS,
            user_buffer=self.mdl.va + self.mdl.offset, linked="thread",
        )  # fmt: skip
        stage.charge(self.mdl, self.splitter)
        stage.note_irp(self.master, "pending", self.device)

    def part(self, number: int) -> Mdl:
        size = self.mdl.pages // self.pieces
        mdl = packets.partial_mdl(self.stage.machine, self.mdl, number * size, size)
        self.stage.consider(mdl, "partial")
        return mdl

    def outstanding(self, count: int) -> None:
        """AssociatedIrp.IrpCount of the master: pieces that are not back."""
        machine = self.stage.machine
        machine.space.write(self.master.address + machine.layouts["IRP"].offset("AssociatedIrp"), struct.pack("<I", count))

    def gone(self, number: int) -> None:
        """A completed associated packet is freed with its partial MDL, which is not unlocked for that."""
        mdl = self.part(number)
        irp = self.piece(mdl, 1, associated=True)
        packets.complete(self.stage.machine, irp)
        packets.free_irp(self.stage.machine, irp)
        packets.free_mdl(self.stage.machine, mdl)
        self.stage.note_irp(irp, "freed", self.lower_device, label=False)

    def piece(self, mdl: Mdl, current: int, *, associated: bool = False, alone: bool = False) -> Irp:
        """A packet for one piece: the splitter's own, or an associated one."""
        machine = self.stage.machine
        slot = Slot(
            self.lower_device, READ, completion=self.splitter.module.symbols["Complete"], context=self.master.address,
            control=packets.ON_ALL | packets.PENDING_RETURNED, arguments=(mdl.length, 0, 0, 0),
        )  # fmt: skip
        return packets.make_irp(
            machine, [slot], current, mdl=mdl, manager=False, flags=ASSOCIATED_IRP if associated else 0,
            thread=self.victim.threads[0] if associated else None, system_buffer=self.master.address if associated else 0, alone=alone,
        )  # fmt: skip


def partial_lower(stage: Stage) -> None:
    """All pieces are provably back; the splitter never completed the packet it was given."""
    stage.description = "every piece of a split request is back with the driver that cut it, which keeps the request"
    split = Split(stage)
    for number in range(split.pieces):
        # Back with its maker, by STATUS_MORE_PROCESSING_REQUIRED in its completion routine.
        irp = split.piece(split.part(number), 2)
        stage.note_irp(irp, "returned", split.lower_device)
    done = split.piece(split.part(0), 1)
    packets.complete(stage.machine, done)
    stage.note_irp(done, "completed", split.lower_device, label=False)
    stage.name(split.splitter, split.mdl.pages)


def partial_pending(stage: Stage) -> None:
    """One piece is still pending below: the splitter waits for it, so the driver below owes."""
    stage.description = "one piece of a split request is still pending in the driver below the one that cut it"
    split = Split(stage)
    associated = stage.rng.random() < 0.5
    waiting = stage.rng.randrange(split.pieces)
    for number in range(split.pieces):
        if number != waiting and associated:
            # A completed associated packet is freed with its partial MDL.
            gone = split.piece(split.part(number), 1, associated=True)
            packets.complete(stage.machine, gone)
            stage.note_irp(gone, "completed", split.lower_device, label=False)
            continue
        irp = split.piece(split.part(number), 1 if number == waiting else 2, associated=associated)
        stage.note_irp(irp, "pending" if number == waiting else "returned", split.lower_device)
    if associated:
        split.outstanding(1)
    stage.name(split.lower, split.mdl.pages)


def associated_pending(stage: Stage) -> None:
    """Associated packets: all but one have been completed and freed, the count in the master says that one is out."""
    stage.description = "one associated packet is still pending below; the others are completed and freed"
    split = Split(stage)
    waiting = stage.rng.randrange(split.pieces)
    for number in range(split.pieces):
        if number != waiting:
            split.gone(number)
    irp = split.piece(split.part(waiting), 1, associated=True)
    stage.note_irp(irp, "pending", split.lower_device)
    split.outstanding(1)
    stage.name(split.lower, split.mdl.pages)


def associated_back(stage: Stage) -> None:
    """Associated packets: all completed and freed, the count is down to zero, and the master was never completed."""
    stage.description = "all associated packets are back and the count is zero; the driver that split the request keeps it"
    split = Split(stage)
    for number in range(split.pieces):
        split.gone(number)
    split.outstanding(0)
    stage.name(split.splitter, split.mdl.pages)


def borrowed_mdl(stage: Stage) -> None:
    """A driver passes the MDL of the request on in a packet of its own, which waits in the driver below."""
    stage.description = "the request's own MDL travels on in a second packet, which is pending in the driver below"
    split = Split(stage)
    slot = Slot(
        split.lower_device, READ, completion=split.splitter.module.symbols["Complete"], context=split.device.extension,
        control=packets.ON_ALL | packets.PENDING_RETURNED, arguments=(split.mdl.length, 0, 0, 0),
    )  # fmt: skip
    irp = packets.make_irp(stage.machine, [slot], 1, mdl=split.mdl, manager=False, flags=0)
    stage.note_irp(irp, "pending", split.lower_device)
    stage.name(split.lower, split.mdl.pages)


def piece_absent(stage: Stage) -> None:
    """The page of the piece that is still out was not captured: whether it waits below, nobody can know."""
    stage.description = "one piece of a split request is not in the dump, the others are back: who owes can't be known"
    split = Split(stage)
    associated = stage.rng.random() < 0.5
    waiting = stage.rng.randrange(split.pieces)
    missing = ""
    for number in range(split.pieces):
        if number != waiting and associated:
            split.gone(number)
            continue
        irp = split.piece(split.part(number), 1 if number == waiting else 2, associated=associated, alone=number == waiting)
        if number == waiting:
            missing = f"irp:{sum(1 for entry in stage.irps if entry['labelled'])}"
        stage.note_irp(irp, "pending" if number == waiting else "returned", split.lower_device)
    if associated:
        split.outstanding(1)
    stage.missing.append(missing)
    stage.kind = "insufficient"
