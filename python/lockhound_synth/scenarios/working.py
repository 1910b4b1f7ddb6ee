"""Stories of work items: what one that is queued has, its driver will be given; what one has that is not, is from before."""

from __future__ import annotations

from lockhound_synth import io, work
from lockhound_synth.io import Device, Driver

from .holders import context_block, guilt, keep, label_device, lock, unowned
from .pending import guilty_device
from .stage import Stage

MDL_AT = 0x40  # in a context


def bystanders(stage: Stage) -> list[int]:
    """Items of others that wait in the same queue: the kernel's own, and one of a driver that has nothing to do with the case."""
    driver, device = guilty_device(stage)
    context = stage.machine.nonpaged.alloc(0x80, b"Bys1")
    return [work.kernels_own(stage.machine), work.io_item(stage.machine, driver, device, context)]


def queued(stage: Stage, item: int) -> work.WorkQueue:
    """The item waits among others."""
    machine, rng = stage.machine, stage.rng
    queue = work.make_queue(machine)
    items = [*bystanders(stage), item]
    rng.shuffle(items)
    work.insert(machine, queue, items)
    machine.label("work_queue", queue.address, work.WORK_QUEUES[queue.kind])
    for number, at in enumerate(i for i in items if i != item):
        machine.label(f"other_item:{number}", at, work.ITEM)
    machine.label("work_item", item, work.IO_ITEM)
    return queue


def given(stage: Stage, driver: Driver, device: Device, mdl: int) -> int:
    """An item whose context leads to the MDL."""
    context = context_block(stage, 0x88, b"Lky1", "context")
    keep(stage, context + MDL_AT, mdl)
    return work.io_item(stage.machine, driver, device, context)


def held_by_work_item(stage: Stage) -> None:
    """Nothing but the work item leads to the context; the driver's routine will be called with it."""
    stage.description = "a work item of the driver's waits in a queue; its context leads to the MDL"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    queued(stage, given(stage, guilty, device, mdl.address))
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def held_by_own_work_item(stage: Stage) -> None:
    """The item is a part of its own context, as those are that a driver makes for ExQueueWorkItem."""
    stage.description = "a block with a work item that is queued keeps the MDL; the item's parameter is the block"
    machine = stage.machine
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    block = context_block(stage, 0x88, b"Lky1", "context")
    keep(stage, block + MDL_AT, mdl.address)
    queued(stage, work.item(machine, block + 0x10, guilty.module.symbols["Worker"], block))
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def work_item_idle(stage: Stage) -> None:
    """The owner has lost its pointer. A bystander's work item still has a context from a use before; its device leads to the item."""
    stage.description = "only a work item that is not queued leads to the MDL, by the context of an earlier use: its driver owes nothing"
    machine, rng = stage.machine, stage.rng
    _, mdl = lock(stage)
    driver, device = guilty_device(stage)
    if rng.random() < 0.5:
        item = given(stage, driver, device, mdl.address)
        keep(stage, device.extension + 0x28, item)
    else:
        block = context_block(stage, 0x88, b"Lky1", "context")
        item = work.item(machine, block + 0x10, driver.module.symbols["Worker"], mdl.address)
        keep(stage, device.extension + 0x28, block)
    queue = queued(stage, item)
    while work.remove_first(machine, queue) != item:
        pass
    label_device(stage, device)
    unowned(stage, mdl)


def work_item_of_borrower(stage: Stage) -> None:
    """The guilty one keeps the MDL; a driver that can't lock pages was given it, and waits for a worker thread with it."""
    stage.description = "the driver's extension keeps the MDL; a work item of another, which can't lock pages, has it as well"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    other, lower = guilty_device(stage, imports=(), never=io.LOCKING)
    keep(stage, device.extension + 0x20, mdl.address)
    queued(stage, given(stage, other, lower, mdl.address))
    for where in (device, lower):
        label_device(stage, where)
    guilt(stage, mdl, guilty)


def work_item_of_another(stage: Stage) -> None:
    """Both could have locked it."""
    stage.description = "one driver's extension keeps the MDL, another's queued work item has it: which of them locked can't be told"
    _, mdl = lock(stage)
    _, device = guilty_device(stage)
    other, lower = guilty_device(stage)
    keep(stage, device.extension + 0x20, mdl.address)
    queued(stage, given(stage, other, lower, mdl.address))
    for where in (device, lower):
        label_device(stage, where)
    unowned(stage, mdl)


STORIES = {
    story.__name__: story
    for story in (held_by_work_item, held_by_own_work_item, work_item_idle, work_item_of_borrower, work_item_of_another)
}  # fmt: skip
