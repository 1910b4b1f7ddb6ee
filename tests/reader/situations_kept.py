"""Situations of MDLs that a driver keeps, and of the packets that would tell whether it owes."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.packets import CONTROL, NONPAGED_SOURCE, ON_ALL, PENDING_RETURNED, READ, Slot

from .scene import INTERNAL, MAKING, Cast, Scene, at_most, named, nobody


def swapped_buffers(scene: Scene) -> Cast:
    """A filter keeps the MDL of a request in its device extension, gave the request one of its own, and passed it on: the driver
    below has it. Without the trap no request was passed on, and the filter locked for itself."""
    mdl = scene.lock()
    holder, lower = scene.driver()
    swapper, device = scene.driver(MAKING, above=lower)
    scene.machine.space.write_u64(device.extension + 0x20, mdl.address)
    if not scene.trap:
        return named(swapper, mdl)
    block = scene.machine.nonpaged.alloc(0x1000, b"SwpB")
    frames = [scene.machine.space.translate(block) or 0]
    other = packets.make_mdl(scene.machine, None, 1, locked=False, frames=[frames[0] >> 12], va=block, flags=NONPAGED_SOURCE)
    file = io.make_file(scene.machine, lower)
    slots = [
        Slot(lower, READ, completion=swapper.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED, file=file),
        Slot(device, READ, file=file),
    ]
    packets.make_irp(scene.machine, slots, 1, mdl=other, thread=scene.victim.threads[0], file=file, flags=packets.IRP_READ_FLAGS)
    return at_most(holder)


def emptied_request(scene: Scene) -> Cast:
    """A driver took the MDL out of the request that it has and sent it down in a packet of its own, whose context is the request: the
    driver below has the pages. Without the trap the request had no MDL by its control code, and the driver locked for itself."""
    return _emptied(scene, "context")


def emptied_in_queue(scene: Scene) -> Cast:
    """As before, and the context is the driver's device extension, which has the head of the queue that the request waits in."""
    return _emptied(scene, "queue")


def emptied_in_maker(scene: Scene) -> Cast:
    """As before, and nothing of the packet leads to the request, which waits in the driver all the same."""
    return _emptied(scene, "")


def _emptied(scene: Scene, linked: str) -> Cast:
    mdl = scene.lock()
    holder, lower = scene.driver()
    maker, device = scene.driver(MAKING)
    code = 0x0022_2004 | (2 if scene.trap else 0)  # METHOD_OUT_DIRECT, or METHOD_BUFFERED, WDK devioctl.h
    request = scene.request(None, device, arguments=(0x1000, 0x10, code, 0))
    scene.own(maker, lower, mdl, context={"context": request.address, "queue": device.extension}.get(linked, 0))
    if linked == "queue":
        head = device.extension + 0x40
        entry = request.address + scene.machine.layouts["IRP"].offset("Tail.Overlay.ListEntry")
        scene.machine.space.write(head, struct.pack("<2Q", entry, entry))
        scene.machine.space.write(entry, struct.pack("<2Q", head, head))
    return at_most(holder) if scene.trap else named(maker, mdl)


def damaged_request(scene: Scene) -> Cast:
    """The request that names the MDL is damaged: its CurrentStackLocation leads elsewhere. The filter that passed it on keeps the
    MDL's address for its own ends. Without the trap the request is whole."""
    return _damaged(scene, "Tail.Overlay.CurrentStackLocation", struct.pack("<Q", 0x1122_3344))


def damaged_type(scene: Scene) -> Cast:
    """As before, and what is damaged is the Type, alone: nobody frees a packet like that."""
    return _damaged(scene, "Type", b"\x86\x00")


def _damaged(scene: Scene, field: str, value: bytes) -> Cast:
    mdl = scene.lock()
    holder, lower = scene.driver()
    _, device = scene.driver(io.LOCKING, above=lower)
    file = io.make_file(scene.machine, lower)
    slots = [Slot(lower, CONTROL, control=PENDING_RETURNED, file=file), Slot(device, CONTROL, file=file)]
    irp = packets.make_irp(scene.machine, slots, 1, mdl=mdl, thread=scene.victim.threads[0], file=file)
    scene.machine.space.write_u64(device.extension + 0x20, mdl.address)
    if not scene.trap:
        return named(holder, mdl)
    scene.machine.space.write(irp.address + scene.machine.layouts["IRP"].offset(field), value)
    return nobody()


def seen_twice(scene: Scene) -> Cast:
    """The page of the request is mapped at another address as well, where its CurrentStackLocation does not fit. That is no damage."""
    mdl = scene.lock()
    holder, device = scene.driver()
    irp = scene.request(mdl, device, alone=True)
    if scene.trap:
        space, page = scene.machine.space, irp.address & ~0xFFF
        frame = space.translate(page)
        assert frame is not None
        space.map(scene.machine.next_system_pte, frame >> 12)
        scene.machine.next_system_pte += 0x2000
    return named(holder, mdl)


def lists_damaged(scene: Scene) -> Cast:
    """An innocent driver's device extension has an old pointer to an MDL that was freed while locked, and the processor's pointers
    to the lists of freed MDLs are damaged. Without the trap it locked the MDL and keeps it."""
    mdl = scene.lock()
    keeper = scene.keeper(mdl)
    if not scene.trap:
        return named(keeper, mdl)
    packets.free_mdl(scene.machine, mdl)
    scene.later(lambda: scene.machine.space.write(scene.machine.labels["prcb_lookaside"], bytes(0x40)))
    return nobody()


def maker_unloaded(scene: Scene) -> Cast:
    """The driver that made the packet was unloaded, and no dump could tell whether it could lock. Without the trap it is there."""
    mdl = scene.lock()
    maker, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    slot = Slot(lower, INTERNAL, completion=maker.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=mdl, manager=False, flags=0)
    if not scene.trap:
        return named(maker, mdl)
    scene.machine.modules.remove(maker.module)
    for at in range(maker.module.base, maker.module.base + maker.module.size, 0x1000):
        if scene.machine.space.translate(at) is not None:
            scene.machine.space.unmap(at)
    scene.machine.unloaded.append((maker.module.name, maker.module.base, maker.module.base + maker.module.size))
    return nobody("unattributed")


def left_in_frame(scene: Scene) -> Cast:
    """A thread waits in an innocent driver. A call that it had made before is over, and its frame left the MDL in a word that nobody has
    written since. Without the trap the driver has the MDL in a register, which was saved for it."""
    mdl = scene.lock()
    driver, _ = scene.driver(io.LOCKING)
    scene.waits(mdl.address, driver, loose=scene.trap)
    return nobody() if scene.trap else named(driver, mdl)


def left_in_library(scene: Scene) -> Cast:
    """As before, in the frame of a library of Windows that the driver has called."""
    mdl = scene.lock()
    driver, _ = scene.driver(io.LOCKING)
    library = io.make_driver(scene.machine, "ks", imports=io.LOCKING)
    scene.waits(mdl.address, library, driver, loose=scene.trap)
    return nobody() if scene.trap else named(driver, mdl)


def packet_left_in_library(scene: Scene) -> Cast:
    """As before, and what was left is a packet of the library's: whose it is is not known. Without the trap the library has the packet in a
    register."""
    mdl = scene.lock()
    _, lower = scene.driver()
    driver, _ = scene.driver(io.LOCKING)
    library = io.make_driver(scene.machine, "ks", imports=MAKING)
    irp = scene.own(library, lower, mdl)
    scene.waits(irp.address, library, driver, loose=scene.trap)
    return nobody() if scene.trap else named(driver, mdl)


def used_again(scene: Scene) -> Cast:
    """An innocent driver's device extension has an old pointer to an MDL that was freed, and whose memory is another driver's MDL since.
    That one keeps it in a block of its own, and the block by a handle. Without the trap there is no such block."""
    mdl = scene.lock()
    keeper = scene.keeper(mdl)
    scene.driver(io.LOCKING)
    if not scene.trap:
        return named(keeper, mdl)
    block = scene.machine.nonpaged.alloc(0x60, b"Hndl")
    scene.machine.space.write_u64(block + 0x18, mdl.address)
    scene.machine.label("keeper", block)
    return nobody()


def old_description(scene: Scene) -> Cast:
    """A request waits in a driver. An innocent one keeps an old description of some of the same pages, which nobody charged: more is
    described than is charged. Without the trap it was made before, and the innocent one has thrown it away."""
    mdl = scene.lock(8)
    holder, device = scene.driver()
    scene.request(mdl, device)
    _, other = scene.driver(io.LOCKING)
    if scene.trap:
        old = packets.make_mdl(scene.machine, scene.victim, 3, frames=list(mdl.frames[:3]), va=mdl.va & ~0xFFF, charge=False, mapped=False)
        scene.machine.space.write_u64(other.extension + 0x20, old.address)
    return named(holder, mdl)


def known_by_more(scene: Scene) -> Cast:
    """As in the first of these, and the driver knows more of the lock than that one pointer: beside it stands the buffer's address. It is
    named, whatever block there is."""
    mdl = scene.lock()
    driver, device = scene.driver(io.LOCKING)
    scene.machine.space.write(device.extension + 0x20, struct.pack("<2Q", mdl.address, (mdl.va & ~0xFFF) + mdl.offset))
    if scene.trap:
        block = scene.machine.nonpaged.alloc(0x60, b"Hndl")
        scene.machine.space.write_u64(block + 0x18, mdl.address)
        scene.machine.label("keeper", block)
    return named(driver, mdl)


ALL = (
    swapped_buffers,
    emptied_request,
    emptied_in_queue,
    emptied_in_maker,
    damaged_request,
    damaged_type,
    seen_twice,
    lists_damaged,
    maker_unloaded,
    left_in_frame,
    left_in_library,
    packet_left_in_library,
    used_again,
    old_description,
    known_by_more,
)
