"""Situations of imitations: packets with the I/O manager's marks copied in, routines that are no code, and ranges used twice."""

from __future__ import annotations

import struct
from collections.abc import Callable

from lockhound_synth import io, packets
from lockhound_synth.io import Driver, File
from lockhound_synth.packets import CONTROL, ON_ALL, PENDING_RETURNED, Irp, Mdl, Slot

from .scene import INTERNAL, MAKING, Cast, Scene, at_most, named, nobody


def routine_in_data(scene: Scene) -> Cast:
    """Where the completion routine of the packet should be stands an address in an innocent driver's data: nobody sets such a routine.
    Without the trap it is that driver's routine."""
    return _made_by(scene, lambda driver: driver.module.symbols["data"])


def routine_in_gap(scene: Scene) -> Cast:
    """The completion routine lies behind the last section of a driver's image, in what its record claims. Without the trap it is a routine
    of that driver."""
    return _made_by(scene, lambda driver: driver.module.base + driver.module.size - 8)


def _made_by(scene: Scene, place: Callable[[Driver], int]) -> Cast:
    mdl = scene.lock()
    driver, _ = scene.driver(MAKING)
    _, low = scene.driver()
    routine = place(driver) if scene.trap else driver.module.symbols["Complete"]
    slot = Slot(low, INTERNAL, completion=routine, control=ON_ALL | PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=mdl, manager=False, flags=0)
    return nobody() if scene.trap else named(driver, mdl)


def reused_range_device(scene: Scene) -> Cast:
    """The holder was unloaded and the kernel's record of it is gone; an innocent driver of another size was loaded at the same base after
    it and unloaded too. Without the trap the record is the holder's."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(guilty, mdl)
    scene.machine.drop(guilty.module)
    scene.machine.unloaded.append(("wasinnocent.sys", guilty.module.base, guilty.module.base + guilty.module.size + 0x3000))
    return Cast(frozenset({guilty.module.name, guilty.name}), at_most(guilty).kinds)


def reused_range_twice(scene: Scene) -> Cast:
    """As before; the innocent driver had the same size, and both records are there. Without the trap the holder is loaded."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(guilty, mdl)
    scene.machine.drop(guilty.module)
    end = guilty.module.base + guilty.module.size
    scene.machine.unloaded += [(guilty.module.name, guilty.module.base, end), ("wasinnocent.sys", guilty.module.base, end)]
    return Cast(frozenset({guilty.module.name, guilty.name}), at_most(guilty).kinds)


class Imitation:
    """A driver above another one made a packet with a location of its own on top, sent it down, and copied the marks of a request."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        _, self.bus = scene.driver()
        self.maker, self.device = scene.driver(MAKING, above=self.bus)
        self.mdl: Mdl = scene.lock()
        self.file: File = io.make_file(scene.machine, self.bus)

    def packet(self, *, thread: bool = True, cancel: bool = False, top_file: bool = True) -> Irp:
        scene = self.scene
        slots = [
            Slot(self.bus, INTERNAL, completion=self.maker.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED),
            Slot(self.device, CONTROL, file=self.file if top_file else None),
        ]
        return packets.make_irp(
            scene.machine, slots, 1, mdl=self.mdl, thread=scene.victim.threads[0] if thread else None, file=self.file, linked="none",
            cancel=cancel,
        )  # fmt: skip

    def plain(self) -> Cast:
        self.scene.own(self.maker, self.bus, self.mdl)
        return named(self.maker, self.mdl)


def copied_with_own_location(scene: Scene) -> Cast:
    """A driver's own packet has every mark of a request copied in, and a location of the driver's own on top, without a routine: on no
    list. It waits in the bus, which is innocent. Without the trap nothing is copied."""
    story = Imitation(scene)
    if not scene.trap:
        return story.plain()
    story.packet()
    return at_most(story.maker)


def copied_on_own_list(scene: Scene) -> Cast:
    """As before, and the driver keeps its packets on a list of its own, linked as requests are linked to their thread."""
    story = Imitation(scene)
    if not scene.trap:
        return story.plain()
    entry = story.packet().address + scene.machine.layouts["IRP"].offset("ThreadListEntry")
    head = story.device.extension + 0x40
    scene.machine.space.write(head, struct.pack("<2Q", entry, entry))
    scene.machine.space.write(entry, struct.pack("<2Q", head, head))
    return at_most(story.maker)


def copied_and_cancelled(scene: Scene) -> Cast:
    """As before, without a thread and cancelled: it looks like a request that the I/O manager cut off from its thread. In such a one the
    topmost location has the file."""
    story = Imitation(scene)
    if not scene.trap:
        return story.plain()
    story.packet(thread=False, cancel=True, top_file=False)
    return at_most(story.maker)


def copied_bytes(scene: Scene) -> Cast:
    """A filter's log has the bytes of a request from when it waited in an innocent driver; the request itself is over, and another driver
    keeps its MDL. Without the trap the request is still there."""
    mdl = scene.lock()
    holder, device = scene.driver()
    irp = scene.request(mdl, device, lookaside=False)
    if not scene.trap:
        return named(holder, mdl)
    space, shape, location = scene.machine.space, scene.machine.layouts["IRP"], scene.machine.layouts["IO_STACK_LOCATION"]
    copy = scene.machine.nonpaged.alloc(irp.size, b"FLog")

    def record() -> None:
        space.write(copy, space.read(irp.address, irp.size))
        space.write_u64(copy + shape.offset("Tail.Overlay.CurrentStackLocation"), copy + shape.size)
        space.write(irp.address, bytes(irp.size - location.size))

    scene.later(record)
    return at_most(scene.keeper(mdl))


def two_requests_one_absent(scene: Scene) -> Cast:
    """Two requests of one thread name one MDL, in different drivers; the page of the one is not captured. Without the trap there is one
    request."""
    holder, device = scene.driver()
    _, other = scene.driver()
    mdl = scene.lock()
    scene.request(mdl, device)
    if not scene.trap:
        return named(holder, mdl)
    scene.lose("irp:0", scene.request(mdl, other, alone=True).address)
    return nobody("insufficient")


def one_beside_a_leftover(scene: Scene) -> Cast:
    """Two requests of one thread in one driver, neither on a list, and a third that is, name one MDL: the trap are the two."""
    holder, device = scene.driver()
    mdl = scene.lock()
    for _ in range(2 if scene.trap else 0):
        scene.request(mdl, device, linked="none")
    scene.request(mdl, device)
    return named(holder, mdl)


ALL = (
    routine_in_data, routine_in_gap, reused_range_device, reused_range_twice, copied_with_own_location, copied_on_own_list,
    copied_and_cancelled, copied_bytes, two_requests_one_absent, one_beside_a_leftover,
)  # fmt: skip
