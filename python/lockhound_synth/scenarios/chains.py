"""Stories of singly linked lists: a record of a driver's keeps the MDL, and links lead to it one way only."""

from __future__ import annotations

import struct

from lockhound_synth import io
from lockhound_synth.io import Device

from .holders import RECORDS, guilt, keep, label_device, lock, unowned
from .pending import guilty_device
from .stage import Stage

NEXT, KEPT = 0x08, 0x20  # in a record: the link, and the MDL
FEW = 40
RECORD, TAG = 0x38, b"Lkys"
# GENERAL_LOOKASIDE (wdm.h): the SLIST_HEADER, depths, tag and size.
HEADER, DEPTHS, TAGGED = 0x00, 0x10, 0x28


def chain(stage: Stage, count: int, *, tag: bytes = TAG, link: int = NEXT, target: int = NEXT, ring: bool = False) -> list[int]:
    """Records of one kind, each of which points to the next; of a ring the last one to the first."""
    machine = stage.machine
    records = [machine.nonpaged.alloc(RECORD, tag) for _ in range(count)]
    for at, following in zip(records, [*records[1:], records[0] if ring else 0], strict=True):
        machine.space.write_u64(at + link, following + target if following else 0)
    return records


def in_the_middle(stage: Stage, records: list[int]) -> int:
    return stage.rng.choice(records[len(records) // 4 : -(len(records) // 4)])


def held_in_chain(stage: Stage) -> None:
    """A record deep in a long list; its head lies in the device extension. Another driver has a list of the same kind."""
    stage.description = f"one of {RECORDS} records in a singly linked list keeps the MDL; the head lies in its driver's device extension"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    _, other = guilty_device(stage)
    records = chain(stage, RECORDS)
    chosen = in_the_middle(stage, records)
    keep(stage, chosen + KEPT, mdl.address)
    keep(stage, device.extension + 0x18, records[0] + NEXT)
    keep(stage, other.extension + 0x18, chain(stage, FEW)[0] + NEXT)
    stage.machine.label("record", chosen)
    stage.machine.label("record_before", records[records.index(chosen) - 1])
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def held_in_ring(stage: Stage) -> None:
    """A list that comes back to its first record; links lead to the beginning of each. A variable of the module points into it."""
    stage.description = "a record in a ring of records keeps the MDL; the driver's device extension points to one of them"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    records = chain(stage, FEW, link=0, target=0, ring=True)
    chosen = in_the_middle(stage, records)
    keep(stage, chosen + KEPT, mdl.address)
    keep(stage, device.extension + 0x18, records[0])
    stage.machine.label("record", chosen)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def chain_unrooted(stage: Stage) -> None:
    """The head of the list is gone. An innocent driver has a list of records with the same tag and size."""
    stage.description = "a record in a singly linked list keeps the MDL, and nothing points to the list"
    _, mdl = lock(stage)
    _, device = guilty_device(stage)
    records = chain(stage, FEW)
    chosen = in_the_middle(stage, records)
    keep(stage, chosen + KEPT, mdl.address)
    keep(stage, device.extension + 0x18, chain(stage, FEW)[0] + NEXT)
    stage.machine.label("record", chosen)
    unowned(stage, mdl)


def lookaside(stage: Stage, first: int, count: int) -> Device:
    """A device of a driver's with a lookaside list of records in its extension, some of which were freed."""
    driver = stage.invent(imports=io.LOCKING)
    device = io.make_device(stage.machine, driver, name=f"{driver.name.title()}0", extension=0x200)
    at = -(-(device.extension + 0x20) // 16) * 16
    write = stage.machine.space.write
    write(at + HEADER, struct.pack("<HHIQ", count, count, 0, first))
    write(at + DEPTHS, struct.pack("<2H4I", 256, 256, count, 0, 0, 0))
    write(at + TAGGED, TAG + struct.pack("<I", RECORD))
    return device


def chain_freed(stage: Stage) -> None:
    """Freed records on the lookaside list of a driver; one of them still has the pointer of its last use."""
    stage.description = "a record that its driver freed to a lookaside list has a pointer to the MDL left"
    _, mdl = lock(stage)
    records = chain(stage, FEW, link=0, target=0)
    chosen = in_the_middle(stage, records)
    keep(stage, chosen + KEPT, mdl.address)
    label_device(stage, lookaside(stage, records[0], FEW))
    stage.machine.label("record", chosen)
    unowned(stage, mdl)


def chain_of_freed_first(stage: Stage) -> None:
    """The same, and the record is the first of the list."""
    stage.description = "the first freed record of a lookaside list has a pointer to the MDL left"
    _, mdl = lock(stage)
    records = chain(stage, 3, link=0, target=0)
    keep(stage, records[0] + KEPT, mdl.address)
    label_device(stage, lookaside(stage, records[0], 3))
    stage.machine.label("record", records[0])
    unowned(stage, mdl)


STORIES = {
    story.__name__: story
    for story in (held_in_chain, held_in_ring, chain_unrooted, chain_freed, chain_of_freed_first)
}  # fmt: skip
