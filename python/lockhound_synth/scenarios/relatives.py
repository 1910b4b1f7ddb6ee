"""Stories of bug checks that are about an MDL or a page and about no leak: what the parameter leads to, and who has it.

Parameters after Microsoft's bug check reference.
"""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.io import Driver
from lockhound_synth.packets import Mdl
from lockhound_synth.trackers import Lock, track
from lockhound_synth.truth import FREED_LOCKED, LOCKED, NOT_APPLICABLE, hexadecimal

from .origins import maker_above, own_slot
from .pending import guilty_device, send
from .stage import Stage
from .tracking import call_of, stack

UNLOCKED, PARTIAL = "unlocked", "partial"


def begin(stage: Stage, code: int, parameters: tuple[int, int, int, int]) -> None:
    """A bug check that charges nobody."""
    stage.current = stage.others[0]
    stage.code, stage.parameters = code, parameters
    stage.no_ledger = True
    stage.kind = NOT_APPLICABLE


def about(stage: Stage, mdl: Mdl, state: str, holder: Driver | None) -> None:
    """What a reader should say."""
    process = mdl.process.address if mdl.process else 0
    stage.machine.label("subject", mdl.address, 0x30 + 8 * mdl.pages)
    stage.subject = {
        "mdl": hexadecimal(mdl.address), "process": hexadecimal(process) if process else None, "state": state,
        "holder": holder.module.name if holder else None,
    }  # fmt: skip


def in_flight(stage: Stage, *, locked: bool = True) -> tuple[Mdl, Driver]:
    """A request of a living process, pending in a driver."""
    process = stage.others[0]
    driver, device = guilty_device(stage)
    mdl = packets.make_mdl(stage.machine, process, stage.rng.randrange(2, 30), locked=locked)
    stage.note_irp(send(stage, process, device, mdl, linked="thread"), "pending", device)
    return mdl, driver


def page_freed_locked(stage: Stage) -> None:
    """0x4E, 9A: the page that was freed is one of a request's that is pending."""
    stage.description = "a page was freed while a pending request has it locked: the page leads to the MDL and its driver"
    mdl, driver = in_flight(stage)
    begin(stage, 0x4E, (0x9A, stage.rng.choice(mdl.frames), 6, 2))
    about(stage, mdl, LOCKED, driver)


def page_of_master(stage: Stage) -> None:
    """0x1A, 1233: a lower driver's partial MDL has the page too; the lock is the whole one's."""
    stage.description = "a page is in an MDL and in a partial one over it: the lock is the first one's"
    mdl, driver = in_flight(stage)
    packets.partial_mdl(stage.machine, mdl, 0, mdl.pages)
    begin(stage, 0x1A, (0x1233, stage.rng.choice(mdl.frames), 0, 0))
    about(stage, mdl, LOCKED, driver)


def page_unlocked_twice(stage: Stage) -> None:
    """0x4E, 7: what is left is an MDL without a lock; its driver keeps it in its device extension, which is no holding."""
    stage.description = "a page was unlocked more often than locked; the MDL that has it is not locked any more"
    mdl = packets.make_mdl(stage.machine, stage.others[0], stage.rng.randrange(2, 20), locked=False)
    begin(stage, 0x4E, (7, stage.rng.choice(mdl.frames), 0, 0))
    about(stage, mdl, UNLOCKED, None)


def page_of_freed(stage: Stage) -> None:
    """0x4E, 9A: the MDL was freed with its pages locked; an innocent's old pointer to it says nothing."""
    stage.description = "the page belongs to an MDL that was freed while locked; an old pointer names nobody"
    machine = stage.machine
    _, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, stage.others[0], stage.rng.randrange(1, 20), mapped=False)
    packets.free_mdl(machine, mdl)
    machine.space.write_u64(device.extension + 0x28, mdl.address)
    begin(stage, 0x4E, (0x9A, mdl.frames[0], 6, 1))
    about(stage, mdl, FREED_LOCKED, None)


def page_of_two(stage: Stage) -> None:
    """0x4E, 9A: a freed structure from before still says that it has the page locked; a request that is pending has it."""
    stage.description = "a freed MDL and one in flight have the page: the one in flight is meant"
    machine = stage.machine
    mdl, driver = in_flight(stage)
    old = packets.make_mdl(machine, stage.others[0], mdl.pages, like=mdl, charge=False, mapped=False, flags=mdl.flags & ~packets.MAPPED)
    packets.free_mdl(machine, old)
    begin(stage, 0x4E, (0x9A, stage.rng.choice(mdl.frames), 6, 2))
    about(stage, mdl, LOCKED, driver)


def mdl_with_unlocked_page(stage: Stage) -> None:
    """0x1A, 1236: a driver's own packet waits below; its maker has the MDL."""
    stage.description = "an MDL in a driver's own packet has a page that is not locked: the maker has it, not the driver below"
    machine, rng = stage.machine, stage.rng
    maker, device, _, lower_device = maker_above(stage, io.MAKING)
    mdl = packets.make_mdl(machine, stage.others[0], rng.randrange(2, 20))
    irp = packets.make_irp(machine, [own_slot(stage, lower_device, mdl, maker, device.extension)], 1, mdl=mdl, manager=False, flags=0)
    stage.note_irp(irp, "pending", lower_device)
    index = rng.randrange(mdl.pages)
    begin(stage, 0x1A, (0x1236, mdl.address, mdl.address + 0x30 + 8 * index, mdl.frames[index]))
    about(stage, mdl, LOCKED, maker)


def unlock_of_never_locked(stage: Stage) -> None:
    """0xC4, 7C: allocated, and never locked: it names no process."""
    stage.description = "Driver Verifier saw the unlock of an MDL that was never locked and names no process"
    machine = stage.machine
    mdl = packets.make_mdl(machine, stage.others[0], stage.rng.randrange(1, 10), locked=False)
    machine.space.write_u64(mdl.address + machine.layouts["MDL"].offset("Process"), 0)
    begin(stage, 0xC4, (0x7C, mdl.address, mdl.flags, 0))
    mdl.process = None
    about(stage, mdl, UNLOCKED, None)


def unlock_of_partial(stage: Stage) -> None:
    """0xC4, B4: the partial MDL of a lower driver, over pages that the request above has locked."""
    stage.description = "Driver Verifier saw the unlock of a partial MDL; the whole one is pending in its driver"
    mdl, _ = in_flight(stage)
    piece = packets.partial_mdl(stage.machine, mdl, 0, mdl.pages - 1)
    begin(stage, 0xC4, (0xB4, piece.address, piece.flags, packets.PARTIAL))
    about(stage, piece, PARTIAL, None)


def tracked_twice(stage: Stage) -> None:
    """0xD9, 1: the tracker of the MDL is there already."""
    stage.description = "the lock tracker has the MDL already; its request is pending"
    mdl, driver = in_flight(stage)
    places = track(stage.machine, stage.others[0], [Lock(mdl, stack(stage, call_of(driver)))])
    begin(stage, 0xD9, (1, places[0], mdl.address, mdl.pages))
    about(stage, mdl, LOCKED, driver)


def dma_without_lock(stage: Stage) -> None:
    """0xE6, E: the buffer of a request that a driver passes to a device was never locked."""
    stage.description = "a DMA transfer over an MDL that is not locked, of a request that is pending"
    mdl, driver = in_flight(stage, locked=False)
    begin(stage, 0xE6, (0xE, mdl.address, 0, 0))
    about(stage, mdl, UNLOCKED, driver)


def flawed_mdl(stage: Stage) -> None:
    """0x1A, 61946: no source says which parameter is the MDL; one of them reads as one."""
    stage.description = "a flawed MDL was being locked, and one parameter leads to it"
    mdl = packets.make_mdl(stage.machine, stage.others[0], stage.rng.randrange(1, 10), locked=False)
    begin(stage, 0x1A, (0x61946, mdl.address, 0, 0))
    about(stage, mdl, UNLOCKED, None)


def mdl_overwritten(stage: Stage) -> None:
    """0xC4, B8: what the parameter names is no MDL any more."""
    stage.description = "the MDL that Driver Verifier names was overwritten since"
    machine = stage.machine
    mdl = packets.make_mdl(machine, stage.others[0], 3, locked=False)
    machine.space.write(mdl.address, struct.pack("<6Q", *[0x2020202020202020] * 6))
    begin(stage, 0xC4, (0xB8, mdl.address, 0x0A, 0))
    mdl.process = None
    about(stage, mdl, "unknown", None)


STORIES = {
    f"relative_{story.__name__}": story
    for story in (
        page_freed_locked, page_of_master, page_unlocked_twice, page_of_freed, page_of_two, mdl_with_unlocked_page, unlock_of_never_locked,
        unlock_of_partial, tracked_twice, dma_without_lock, flawed_mdl, mdl_overwritten,
    )
}  # fmt: skip
