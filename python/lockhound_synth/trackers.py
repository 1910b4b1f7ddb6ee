"""LOCK_HEADER and its LOCK_TRACKERs: trees of locks with their stack traces, in the form of each build.

Layouts after the public PDB types _LOCK_HEADER and _LOCK_TRACKER.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .machine import Machine
from .packets import Mdl
from .processes import Process
from .record import Record

WHO = 3  # the path of MmProbeAndLockPages
DEPTH = 8  # addresses in a trace
MARK = 1 << 63  # cleared in Mdl of the second tree by the newest kernels
NEWEST = 26100


@dataclass(slots=True)
class Lock:
    """What one tracker tells."""

    mdl: Mdl
    trace: Sequence[int]
    switched: bool = False  # in the second tree, by first frame
    was: Mdl | None = None  # what the MDL said when it was locked, where it was changed since


def track(machine: Machine, process: Process, locks: Sequence[Lock], *, count: int | None = None, valid: int = 1) -> list[int]:
    """Writes the header of a process and a tracker for each lock; their addresses, in the order of the locks."""
    header_shape, shape = machine.layouts["LOCK_HEADER"], machine.layouts["LOCK_TRACKER"]
    process.lock_header = machine.nonpaged.alloc(header_shape.size, b"MmTx")
    machine.label("lock_header", process.lock_header, header_shape.size)
    places = [machine.nonpaged.alloc(shape.size, b"MmLk") for _ in locks]
    for number, at in enumerate(places):
        machine.label(f"tracker:{number}", at, shape.size)
    record = Record(header_shape)
    if "LockTree" in header_shape:
        first = [(at, lock) for at, lock in zip(places, locks, strict=True) if not lock.switched]
        record.set("LockTree", _tree(machine, process, sorted(first, key=lambda pair: pair[1].mdl.address)))
        if "LockMdlSwitchedTree" in header_shape:
            second = [(at, lock) for at, lock in zip(places, locks, strict=True) if lock.switched]
            record.set("LockMdlSwitchedTree", _tree(machine, process, sorted(second, key=lambda pair: pair[1].mdl.frames[0])))
    else:
        _list(machine, process, list(zip(places, locks, strict=True)), record)
    record.set("Count", sum((lock.was or lock.mdl).pages for lock in locks) if count is None else count).set("Valid", valid)
    machine.space.write(process.lock_header, bytes(record))
    machine.set_global("MmTrackLockedPages", 1)
    return places


def _common(machine: Machine, process: Process, lock: Lock) -> Record:
    shape, mdl = machine.layouts["LOCK_TRACKER"], lock.was or lock.mdl
    record = Record(shape)
    address = mdl.address & ~MARK if lock.switched and machine.build >= NEWEST else mdl.address
    record.set("Mdl", address).set("StartVa", mdl.va & ~0xFFF).set("Count", mdl.pages).set("Offset", mdl.offset)
    record.set("Length", mdl.length).set("Who", WHO).set("Page", mdl.frames[0]).set("Process", process.address)
    if "Hash" in shape:
        record.set("Hash", machine.rng.getrandbits(32))
    return record


def _tree(machine: Machine, process: Process, ordered: list[tuple[int, Lock]]) -> int:
    """A balanced tree of them; its root. The low bits of ParentValue tell the balance."""

    def node(low: int, high: int, parent: int) -> int:
        if low >= high:
            return 0
        middle = (low + high) // 2
        at, lock = ordered[middle]
        record = _common(machine, process, lock)
        left, right = node(low, middle, at), node(middle + 1, high, at)
        lean = (high - middle - 1).bit_length() - (middle - low).bit_length()
        record.put("LockTrackerNode", struct.pack("<3Q", left, right, parent | lean & 3))
        record.put("StackTrace", struct.pack(f"<{DEPTH}Q", *([*lock.trace] + [0] * DEPTH)[:DEPTH]))
        machine.space.write(at, bytes(record))
        return at

    return node(0, len(ordered), 0)


def _list(machine: Machine, process: Process, ordered: list[tuple[int, Lock]], header: Record) -> None:
    """The old form: a circular list of trackers with two callers each."""
    ring = [process.lock_header, *(at for at, _ in ordered)]
    around = {at: (ring[(i + 1) % len(ring)], ring[i - 1]) for i, at in enumerate(ring)}
    for at, lock in ordered:
        callers = callers_of(machine, lock.trace)
        record = _common(machine, process, lock).links("ListEntry", *around[at])
        record.set("CallingAddress", callers[0]).set("CallersCaller", callers[1])
        machine.space.write(at, bytes(record))
    header.links("ListHead", *around[process.lock_header])


def callers_of(machine: Machine, trace: Sequence[int]) -> tuple[int, int]:
    """The two that old kernels keep of a trace: the caller of the routine that locks, and its caller."""
    first = next((i for i, address in enumerate(trace) if not machine.in_kernel(address)), 0)
    pair = [*trace[first : first + 2], 0, 0]
    return pair[0], pair[1]
