"""Stories of pool blocks that nobody keeps: only their tags say who allocates such."""

from __future__ import annotations

from lockhound_synth import io
from lockhound_synth.io import Driver

from .chains import FEW, KEPT, TAG, chain, in_the_middle
from .holders import keep, label_device, lock, unowned
from .stage import Stage

SIZE, KEEPS = 0x60, 0x20  # of a block, and where the MDL is kept in it
OURS, OTHERS = b"Lky1", b"Hrn7"


def allocator(stage: Stage, tag: bytes) -> Driver:
    """A driver that can lock pages, and whose code allocates pool with the tag."""
    driver = stage.invent(imports=io.LOCKING, tag=tag)
    label_device(stage, io.make_device(stage.machine, driver, name=f"{driver.name.title()}0"))
    return driver


def tag_lead(stage: Stage) -> None:
    """A block keeps the MDL, nobody keeps the block, and one driver's code has its tag: the first suspect, and no more."""
    stage.description = "a pool block that nobody keeps has the MDL; one driver allocates with its tag, another one with another"
    _, mdl = lock(stage)
    allocator(stage, OTHERS)
    allocator(stage, OURS)
    block = stage.machine.nonpaged.alloc(SIZE, OURS)
    keep(stage, block + KEEPS, mdl.address)
    stage.machine.label("block", block, SIZE)
    unowned(stage, mdl)


def tag_of_two(stage: Stage) -> None:
    """The same in a list of records, and two drivers' code has the tag."""
    stage.description = "a record in a list that nothing points to keeps the MDL; two drivers allocate with the records' tag"
    _, mdl = lock(stage)
    allocator(stage, TAG)
    allocator(stage, TAG)
    chosen = in_the_middle(stage, records := chain(stage, FEW))
    keep(stage, chosen + KEPT, mdl.address)
    stage.machine.label("record", chosen)
    stage.machine.label("record_before", records[records.index(chosen) - 1])
    unowned(stage, mdl)


STORIES = {story.__name__: story for story in (tag_lead, tag_of_two)}
