"""Stories of the other bug checks: a leak with lock tracking on (0xCB), and one of another kind.

Tracker layouts after the public PDB types _LOCK_HEADER and _LOCK_TRACKER; parameters after Microsoft's bug check reference.
"""

from __future__ import annotations

import struct

from lockhound_synth import packets
from lockhound_synth.machine import Machine
from lockhound_synth.packets import Mdl
from lockhound_synth.processes import Process
from lockhound_synth.record import Record

from .pending import guilty_device, send
from .stage import Stage

TRACKER_IN_PARAMETERS = 9600  # from here on P1 of 0xCB is a tracker
TRACKER_WHO = 3  # the path of MmProbeAndLockPages


def track(machine: Machine, process: Process, mdls: list[tuple[Mdl, list[int]]]) -> list[int]:
    """A LOCK_HEADER for a process and a tree of trackers, one an MDL with its stack trace; addresses of the trackers."""
    layouts = machine.layouts
    header_shape, shape = layouts["LOCK_HEADER"], layouts["LOCK_TRACKER"]
    if "LockTree" not in header_shape:
        return _track_in_list(machine, process, mdls)
    process.lock_header = machine.nonpaged.alloc(header_shape.size, b"MmTx")
    ordered = sorted(mdls, key=lambda pair: pair[0].address)
    places = [machine.nonpaged.alloc(shape.size, b"MmLk") for _ in ordered]

    def node(low: int, high: int, parent: int) -> int:
        """Writes the middle of a range as root of its subtree."""
        if low >= high:
            return 0
        middle = (low + high) // 2
        at = places[middle]
        mdl, trace = ordered[middle]
        record = Record(shape)
        left, right = node(low, middle, at), node(middle + 1, high, at)
        record.put("LockTrackerNode", struct.pack("<3Q", left, right, parent))
        record.set("Mdl", mdl.address).set("StartVa", mdl.va & ~0xFFF).set("Count", mdl.pages).set("Offset", mdl.offset)
        record.set("Length", mdl.length).set("Who", TRACKER_WHO).set("Page", mdl.frames[0]).set("Process", process.address)
        if "Hash" in shape:
            record.set("Hash", machine.rng.getrandbits(32))
        record.put("StackTrace", struct.pack("<8Q", *(trace + [0] * 8)[:8]))
        machine.space.write(at, bytes(record))
        return at

    header = Record(header_shape)
    header.set("LockTree", node(0, len(ordered), 0)).set("Count", sum(m.pages for m, _ in ordered)).set("Valid", 1)
    machine.space.write(process.lock_header, bytes(header))
    machine.set_global("MmTrackLockedPages", 1)
    return places


def _track_in_list(machine: Machine, process: Process, mdls: list[tuple[Mdl, list[int]]]) -> list[int]:
    """The old form: a circular list of trackers with two caller addresses each."""
    header_shape, shape = machine.layouts["LOCK_HEADER"], machine.layouts["LOCK_TRACKER"]
    process.lock_header = machine.nonpaged.alloc(header_shape.size, b"MmTx")
    places = [machine.nonpaged.alloc(shape.size, b"MmLk") for _ in mdls]
    ring = [process.lock_header, *places]
    around = {at: (ring[(i + 1) % len(ring)], ring[i - 1]) for i, at in enumerate(ring)}
    for at, (mdl, trace) in zip(places, mdls, strict=True):
        record = Record(shape)
        record.links("ListEntry", *around[at]).set("Mdl", mdl.address).set("StartVa", mdl.va & ~0xFFF).set("Count", mdl.pages)
        record.set("Offset", mdl.offset).set("Length", mdl.length).set("Page", mdl.frames[0]).set("Who", TRACKER_WHO)
        first = next(i for i, address in enumerate(trace) if not machine.in_kernel(address))
        record.set("CallingAddress", trace[first]).set("CallersCaller", trace[first + 1]).set("Process", process.address)
        machine.space.write(at, bytes(record))
    header = Record(header_shape)
    header.links("ListHead", *around[process.lock_header]).set("Count", sum(m.pages for m, _ in mdls)).set("Valid", 1)
    machine.space.write(process.lock_header, bytes(header))
    machine.set_global("MmTrackLockedPages", 1)
    return places


def tracked_leak(stage: Stage) -> None:
    """0xCB: tracking was on, the tracker's stack names the driver that locked."""
    stage.description = "a leak with lock tracking on; naming it takes the tracker's rule"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    nt = machine.nt_base
    exports = machine.kernel.exports
    code = guilty.module.return_from("MmProbeAndLockPages", "DispatchIo")
    trace = [
        nt + exports["MmProbeAndLockPages"] + 0x5C,
        nt + exports["MmProbeAndLockPages"] + 0x18,
        code,
        guilty.module.symbols["Worker"] + 0x12,
    ]
    trackers = track(machine, victim, [(mdl, trace)])
    machine.label("tracker:0", trackers[0])
    machine.label("mdl:0", mdl.address)
    stage.code = 0xCB
    stage.parameters = (trackers[0], 0, mdl.address, mdl.pages)
    if machine.build < TRACKER_IN_PARAMETERS:
        # Documented up to Windows 7: the address that called the lock routine, its caller, the MDL, the pages.
        stage.parameters = (trace[2], trace[3], mdl.address, mdl.pages)
        stage.blamed = guilty
    stage.charge(mdl, guilty)
    stage.kind = "insufficient"
    stage.later = {"kind": "driver", "driver": guilty.module.name, "pages": mdl.pages}


def page_fault(stage: Stage) -> None:
    """0x50: not a locked-pages stop at all, though locked pages of living processes lie about."""
    stage.description = "another bug check; locked pages of living processes are none of its business"
    driver, device = guilty_device(stage)
    process = stage.others[0]
    stage.current = process
    send(stage, process, device, packets.make_mdl(stage.machine, process, 3), linked="thread")
    address = stage.machine.nonpaged.base + (stage.rng.getrandbits(24) << 12)
    stage.code = 0x50
    stage.parameters = (address, 0, driver.module.symbols["DispatchIo"] + 0x3C, 2)
    stage.no_ledger = True
    stage.kind = "not_applicable"
