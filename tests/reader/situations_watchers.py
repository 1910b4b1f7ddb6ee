"""Situations of drivers that watch others: logs of what they saw, copies of structures, free records, and handles to what is another's."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from lockhound_synth import io, packets
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import Mdl

from .scene import Cast, Scene, at_most, named, nobody

NOW = 0x01DC_5E00_1234_5678  # FILETIME of a day in 2025
CONTROL = 14  # IRP_MJ_DEVICE_CONTROL


def _watcher(scene: Scene) -> tuple[Driver, Device]:
    return scene.driver(io.LOCKING)


def _block(scene: Scene, tag: bytes, size: int, words: Iterable[tuple[int, int]] = ()) -> int:
    """A block of a driver's, with words at these places."""
    block = scene.machine.nonpaged.alloc(size, tag)
    scene.machine.label(tag.decode(), block, size)
    for offset, value in words:
        scene.machine.space.write_u64(block + offset, value)
    return block


def _kept(scene: Scene, device: Device, value: int) -> None:
    scene.machine.space.write_u64(device.extension + 0x40, value)


# Logs


def clocked_ring(scene: Scene) -> Cast:
    """An innocent driver's ring of events has the time, an object and its process, and one of the objects is an MDL that somebody else has
    lost. Without the trap the block is a table of slots, and the driver's own MDL is in one."""
    watcher, device = _watcher(scene)
    mdl = scene.lock()
    objects = [device.address, scene.stranger.address, scene.victim.address, watcher.address]
    words = [(0x30 * i + 0x8, mdl.address if i == 7 else objects[i % 4] if scene.trap else 0) for i in range(12)]
    words += [(0x30 * i, NOW + 0x1_0000 * i) for i in range(12) if scene.trap]
    _kept(scene, device, _block(scene, b"Ring", 0x240, words))
    return nobody() if scene.trap else named(watcher, mdl)


def numbered_ring(scene: Scene) -> Cast:
    """As before, and the events are numbered, from the latest back; what they were about was freed since, and is something else now."""
    watcher, device = _watcher(scene)
    mdl = scene.lock()
    gone = _block(scene, b"Gone", 0x400, [(i, 0x5A5A_0000_1111_0000 | i) for i in range(0, 0x400, 8)])
    words = [(0x28 * i + 0x10, mdl.address if i == 5 else gone + 0x60 * (i % 8) if scene.trap else 0) for i in range(10)]
    words += [(0x28 * i, 900 - i) for i in range(10) if scene.trap]
    _kept(scene, device, _block(scene, b"Ring", 0x190, words))
    return nobody() if scene.trap else named(watcher, mdl)


def wide_ring(scene: Scene) -> Cast:
    """The records of an innocent driver's log are long: in two kilobytes stand pointers to MDLs of four locks of another process."""
    watcher, device = _watcher(scene)
    mdl = scene.lock()
    others = [scene.lock(2, scene.stranger).address for _ in range(4)]
    words = [(0x180 * i + 0x20, mdl.address if i == 2 else others[i % 4] if scene.trap else 0) for i in (0, 1, 2, 3, 4)]
    _kept(scene, device, _block(scene, b"Wide", 0x800, words))
    return nobody() if scene.trap else named(watcher, mdl)


def listed_events(scene: Scene) -> Cast:
    """An innocent driver's events are blocks in a list, each with its time and an object. Without the trap they are buffers, of which one
    has an MDL and the others none."""
    watcher, device = _watcher(scene)
    mdl = scene.lock()
    objects = [device.address, scene.stranger.address, watcher.address]
    events = [_block(scene, b"Evnt", 0x40) for _ in range(6)]
    head = device.extension + 0x60
    ring = [head, *events]
    for i, entry in enumerate(ring):
        scene.machine.space.write(entry, struct.pack("<2Q", ring[(i + 1) % len(ring)], ring[i - 1]))
    for i, event in enumerate(events):
        held = mdl.address if i == 3 else objects[i % 3] if scene.trap else 0
        scene.machine.space.write(event + 0x10, struct.pack("<2Q", NOW + 0x2_0000 * i if scene.trap else 0, held))
    return nobody() if scene.trap else named(watcher, mdl)


# Copies


def _copy(scene: Scene, device: Device, mdl: Mdl, size: int, rest: bytes = b"") -> None:
    block = _block(scene, b"Note", 0x180)
    scene.machine.space.write(block + 0x28, scene.machine.space.read(mdl.address, size) + rest)
    _kept(scene, device, block)


def header_noted(scene: Scene) -> Cast:
    """A request has the MDL. An innocent driver has noted the MDL's header, and what follows there passes for a frame. Without the trap it
    has noted nothing."""
    mdl = scene.lock(1)
    holder, where = scene.driver()
    scene.request(mdl, where)
    _, device = _watcher(scene)
    if scene.trap:
        other = scene.machine.space.translate(device.address) or 0
        _copy(scene, device, mdl, 0x30, struct.pack("<Q", other >> 12))
    return named(holder, mdl)


def header_of_embedded(scene: Scene) -> Cast:
    """As before, and the MDL lies in a structure of the driver that locked it: of two such headers nobody knows which is the MDL."""
    guilty, where = _watcher(scene)
    block = _block(scene, b"Ownr", 0x180)
    mdl = packets.make_mdl(scene.machine, scene.victim, 1, mapped=False, at=block + 0x40)
    _kept(scene, where, block)
    _, device = _watcher(scene)
    if scene.trap:
        other = scene.machine.space.translate(device.address) or 0
        _copy(scene, device, mdl, 0x30, struct.pack("<Q", other >> 12))
        return at_most(guilty)
    return named(guilty, mdl)


def copy_left(scene: Scene) -> Cast:
    """The MDL was freed, and its memory is something else now; an innocent driver has a copy. Its flags say that it had a block to itself.
    Without the trap the driver made and locked an MDL inside its own structure."""
    watcher, device = _watcher(scene)
    if scene.trap:
        mdl = scene.lock()
        _copy(scene, device, mdl, 0x30 + 8 * mdl.pages)
        scene.machine.space.write(mdl.address, bytes(0x30))
        return nobody()
    block = _block(scene, b"Note", 0x180)
    mdl = packets.make_mdl(scene.machine, scene.victim, 5, mapped=False, at=block + 0x28)
    _kept(scene, device, block)
    return named(watcher, mdl)


# Free records


def free_records(scene: Scene) -> Cast:
    """An innocent driver keeps its free records on an interlocked list, and one of them still has the address of an MDL. Without the trap
    they are on a list of its own, in use."""
    watcher, device = _watcher(scene)
    mdl = scene.lock()
    records = [scene.machine.nonpaged.alloc(0x60, b"Recd") for _ in range(3)]
    for record, following in zip(records, [*records[1:], 0], strict=True):
        scene.machine.space.write_u64(record, following)
    scene.machine.space.write_u64(records[1] + 0x20, mdl.address)
    head = (device.extension + 0x4F) & ~0xF
    scene.machine.space.write(head, struct.pack("<2Q", 0x5_0003 if scene.trap else 0, records[0]))
    return nobody() if scene.trap else named(watcher, mdl)


# Requests that go elsewhere


def diverted_requests(scene: Scene) -> Cast:
    """The request waits at a device whose driver object has had its routine replaced: what gets such requests is code in no module."""
    mdl = scene.lock()
    holder, device = scene.driver()
    scene.request(mdl, device)
    code = scene.machine.nonpaged.alloc(0x200, b"Hook")
    slot = device.driver.address + scene.machine.layouts["DRIVER_OBJECT"].offset("MajorFunction") + 8 * CONTROL
    if not scene.trap:
        return named(holder, mdl)
    scene.later(lambda: scene.machine.space.write_u64(slot, code + 0x40))
    return nobody()


# Handles


def _handle(scene: Scene, of: Callable[[Driver, Device], int]) -> Cast:
    """A block that leads to the MDL, kept by an innocent driver, with something in it that is the guilty one's. Without the trap it has the
    keeper's own."""
    keeper, device = _watcher(scene)
    guilty, other = _watcher(scene)
    mdl = scene.lock()
    mark = of(guilty, other) if scene.trap else of(keeper, device)
    _kept(scene, device, _block(scene, b"Hndl", 0x80, [(0x10, mark), (0x38, mdl.address)]))
    return at_most(guilty) if scene.trap else named(keeper, mdl)


def handle_with_routine(scene: Scene) -> Cast:
    """An innocent driver keeps a handle that another gave it: the block has a routine of that other's."""
    return _handle(scene, lambda driver, _: driver.module.symbols["Complete"])


def handle_with_table(scene: Scene) -> Cast:
    """As before, and what it has is the address of a table in that driver's data."""
    return _handle(scene, lambda driver, _: driver.module.symbols["data"])


def handle_with_driver(scene: Scene) -> Cast:
    """As before, and what it has is that driver's object."""
    return _handle(scene, lambda driver, _: driver.address)


def handle_with_device(scene: Scene) -> Cast:
    """As before, and what it has is a device of that driver's, in another stack."""
    return _handle(scene, lambda _, device: device.address)


def _registered(scene: Scene, order: Callable[[int, int], list[int]]) -> Cast:
    """A routine and its context, registered with an innocent driver. Without the trap the routine is that driver's own."""
    keeper, device = _watcher(scene)
    guilty, _ = _watcher(scene)
    mdl = scene.lock()
    context = _block(scene, b"Ctxt", 0x80, [(0x38, mdl.address)])
    routine = (guilty if scene.trap else keeper).module.symbols["Complete"]
    scene.machine.space.write(device.extension + 0x40, b"".join(struct.pack("<Q", word) for word in order(routine, context)))
    return at_most(guilty) if scene.trap else named(keeper, mdl)


def context_before_routine(scene: Scene) -> Cast:
    """The context stands in front of the routine that it will be given to."""
    return _registered(scene, lambda routine, context: [context, routine])


def flags_between(scene: Scene) -> Cast:
    """Flags stand between the routine and its context."""
    return _registered(scene, lambda routine, context: [routine, 3, context])


ALL = (
    clocked_ring, numbered_ring, wide_ring, listed_events, header_noted, header_of_embedded, copy_left, free_records, diverted_requests,
    handle_with_routine, handle_with_table, handle_with_driver, handle_with_device, context_before_routine, flags_between,
)  # fmt: skip
