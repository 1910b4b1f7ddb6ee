"""Work items and the kernel's queues of them, deferred procedure calls, timers and asynchronous procedure calls.

Layouts: public PDB types _WORK_QUEUE_ITEM, _IO_WORKITEM, _EX_WORK_QUEUE, _KQUEUE, _KPRIQUEUE, _KDPC, _KAPC, _IO_TIMER of 7601, 19041
and 22000; what lies between and behind them is taken to be alike.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .io import Device, Driver
from .machine import Machine
from .physical import PAGE

QUEUE_OBJECT, APC_OBJECT, DPC_OBJECT, PRIORITY_QUEUE_OBJECT = 4, 18, 19, 21  # KOBJECTS
IO_TYPE_TIMER = 9  # wdm.h
PRIORITIES_FROM = 9600  # the first build whose work queues are KPRIQUEUEs, as far as is public
LISTS, LIST_COUNT, THREADS, PLAIN_THREADS = 0x18, 32, 0x2A0, 0x30
QUEUE_SIZES = {QUEUE_OBJECT: 0x40, PRIORITY_QUEUE_OBJECT: 0x2B0}
WORK_QUEUES = {QUEUE_OBJECT: 0x58, PRIORITY_QUEUE_OBJECT: 0x2E0}  # EX_WORK_QUEUE
ITEM, IO_ITEM, LATER_IO_ITEM = 0x20, 0x40, 0x58
ROUTINE, PARAMETER = 0x10, 0x18
IO_ROUTINE, IO_OBJECT, IO_CONTEXT = 0x20, 0x28, 0x30
IN_NT = 0x121 * PAGE  # a page of nt's data that no global lies in


@dataclass(slots=True)
class WorkQueue:
    address: int
    kind: int
    head: int  # of the list that items of the usual priority stand in
    items: list[int]


def make_queue(machine: Machine, *, pool: bool | None = None) -> WorkQueue:
    """An empty queue; of older kernels in nt's data, of others there or in the pool."""
    kind = PRIORITY_QUEUE_OBJECT if machine.build >= PRIORITIES_FROM else QUEUE_OBJECT
    outside = machine.kernel.genuine or machine.places.random() < 0.5 if pool is None else pool
    if kind == PRIORITY_QUEUE_OBJECT and outside:
        address = machine.nonpaged.alloc(WORK_QUEUES[kind], b"ExWq")
    else:
        address = machine.nt_base + IN_NT + 0x10 * machine.places.randrange((PAGE - WORK_QUEUES[kind]) // 0x10)
    many = kind == PRIORITY_QUEUE_OBJECT
    data = bytearray(WORK_QUEUES[kind])
    struct.pack_into("<4BiQQ", data, 0, kind, 0, QUEUE_SIZES[kind] // 4, 0, 0, address + 8, address + 8)
    lists = [LISTS + 16 * i for i in range(LIST_COUNT if many else 1)] + [THREADS if many else PLAIN_THREADS]
    for at in lists:
        struct.pack_into("<2Q", data, at, address + at, address + at)
    machine.space.write(address, bytes(data))
    return WorkQueue(address, kind, address + (lists[machine.places.randrange(8, 16)] if many else LISTS), [])


def insert(machine: Machine, queue: WorkQueue, items: Sequence[int]) -> None:
    """Queues items behind those that are there."""
    queue.items += items
    ring = [queue.head, *queue.items]
    for i, at in enumerate(ring):
        machine.space.write(at, struct.pack("<2Q", ring[(i + 1) % len(ring)], ring[i - 1]))
    machine.space.write(queue.address + 4, struct.pack("<i", len(queue.items)))


def remove_first(machine: Machine, queue: WorkQueue) -> int:
    """What a worker thread does: the first item leaves, without its link to the next one."""
    item = queue.items.pop(0)
    insert(machine, queue, [])
    machine.space.write(item, struct.pack("<2Q", 0, queue.head))
    return item


def _of_nt(machine: Machine) -> int:
    """A routine of nt's that nothing exports."""
    return machine.nt_base + machine.places.choice(sorted(machine.kernel.private.values()))


def io_item(machine: Machine, driver: Driver, device: Device, context: int, *, routine: str = "Worker", at: int = 0) -> int:
    """What IoAllocateWorkItem gives, after IoQueueWorkItem with a routine and its context; not linked. at: not in a block of its own."""
    size = IO_ITEM if machine.build < PRIORITIES_FROM else LATER_IO_ITEM
    at = at or machine.nonpaged.alloc(size, b"IoWI")
    words = (0, 0, _of_nt(machine), at, driver.module.symbols[routine], device.address, context)
    machine.space.write(at, struct.pack(f"<{len(words)}Q", *words))
    return at


def item(machine: Machine, at: int, routine: int, parameter: int) -> int:
    """ExInitializeWorkItem of a WORK_QUEUE_ITEM in a driver's own structure."""
    machine.space.write(at, struct.pack("<4Q", 0, 0, routine, parameter))
    return at


def kernels_own(machine: Machine) -> int:
    """An item of nt's own."""
    at = machine.nonpaged.alloc(0x60, b"CcWk")
    return item(machine, at + 0x10, _of_nt(machine), at)


def dpc(machine: Machine, at: int, routine: int, context: int) -> int:
    """KeInitializeDpc."""
    machine.space.write(at, struct.pack("<2BH4x2Q2Q", DPC_OBJECT, 1, 0, 0, 0, routine, context).ljust(0x40, b"\0"))
    return at


def apc(machine: Machine, at: int, thread: int, routine: int, context: int) -> int:
    """KeInitializeApc, for kernel mode."""
    head = struct.pack("<4BiQ2Q", APC_OBJECT, 0, 0x58, 0, 0, thread, 0, 0)
    machine.space.write(at, (head + struct.pack("<4Q", _of_nt(machine), 0, routine, context)).ljust(0x58, b"\0"))
    return at


def io_timer(machine: Machine, device: Device, routine: int, context: int) -> int:
    """IoInitializeTimer; the device's own field is written with the device."""
    at = machine.nonpaged.alloc(0x30, b"IoTi")
    machine.space.write(at, struct.pack("<2H4x5Q", IO_TYPE_TIMER, 0, at + 8, at + 8, routine, context, device.address))
    return at
