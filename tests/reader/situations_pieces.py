"""Situations of pieces that carry no mark of one: bare MDLs over the request's frames, bounce buffers, and pieces of earlier requests."""

from __future__ import annotations

import struct

from lockhound_synth import packets
from lockhound_synth.packets import Mdl

from .scene import SPLITTING, Cast, Scene, at_most, named, nobody
from .situations_mdls import Cut


def piece_not_flagged(scene: Scene) -> Cast:
    """The driver that has the request described a part of its pages by an MDL of its own making, not flagged PARTIAL, and sent that down.
    Without the trap it is flagged."""
    return _piece(scene, packets.FIXED_SIZE, process=True)


def piece_of_no_process(scene: Scene) -> Cast:
    """As before, flagged, and the MDL names no process. Without the trap it names the victim."""
    return _piece(scene, packets.PARTIAL | packets.FIXED_SIZE, process=False)


def piece_not_flagged_of_no_process(scene: Scene) -> Cast:
    """As before, and neither."""
    return _piece(scene, packets.FIXED_SIZE, process=False)


def piece_of_system_address(scene: Scene) -> Cast:
    """As before; the driver mapped the request's pages and described the mapping, as MmBuildMdlForNonPagedPool does: another address, the
    same frames."""
    return _piece(scene, packets.NONPAGED_SOURCE | packets.FIXED_SIZE, process=False, at=0xFFFF_C000_1234_0000)


def _piece(scene: Scene, flags: int, *, process: bool, at: int = 0) -> Cast:
    cut = Cut(scene)
    part = cut.part(2, 3)
    if scene.trap:
        part = _described(scene, cut.mdl, 2, 3, flags, process=process, at=at)
    scene.own(cut.upper, cut.lower_device, part)
    return at_most(cut.lower) if scene.trap else named(cut.lower, cut.mdl)


def _described(scene: Scene, mdl: Mdl, first: int, count: int, flags: int, *, process: bool, at: int = 0) -> Mdl:
    frames = mdl.frames[first : first + count]
    va = at or (mdl.va & ~0xFFF) + first * 0x1000
    owner = scene.victim if process else None
    return packets.make_mdl(scene.machine, owner, count, locked=False, frames=frames, va=va, flags=flags, charge=False)


def bare_mdl_idle(scene: Scene) -> Cast:
    """MDLs over the request's frames lie about, unlocked, from earlier requests with the buffer, and one is in a packet that is back. They
    are the trap; the request is in the driver that has it."""
    cut = Cut(scene)
    if scene.trap:
        _described(scene, cut.mdl, 0, 6, packets.FIXED_SIZE, process=True)
        old = _described(scene, cut.mdl, 0, 6, packets.FIXED_SIZE, process=True)
        scene.own(cut.upper, cut.lower_device, old, back=True)
    return named(cut.upper, cut.mdl)


def bounced(scene: Scene) -> Cast:
    """The driver that has the request copied its data into a buffer of its own and sent that down; the packet knows the request by the
    context of its completion routine. Without the trap it has the request's MDL."""
    cut = Cut(scene)
    mdl = _bounce(scene) if scene.trap else cut.mdl
    scene.own(cut.upper, cut.lower_device, mdl, context=cut.request.address)
    return at_most(cut.lower) if scene.trap else named(cut.lower, cut.mdl)


def bounced_by_argument(scene: Scene) -> Cast:
    """As before, and the request's address is a parameter of the packet."""
    cut = Cut(scene)
    mdl = _bounce(scene) if scene.trap else cut.mdl
    scene.own(cut.upper, cut.lower_device, mdl, arguments=(0, 0, 0, cut.request.address))
    return at_most(cut.lower) if scene.trap else named(cut.lower, cut.mdl)


def bounced_by_block(scene: Scene) -> Cast:
    """As before, and the context is a block that keeps the request among other things."""
    cut = Cut(scene)
    block = scene.machine.nonpaged.alloc(0x80, b"Ctxt")
    scene.machine.space.write(block, struct.pack("<3Q", 1, cut.mdl.length, cut.request.address))
    scene.own(cut.upper, cut.lower_device, _bounce(scene) if scene.trap else cut.mdl, context=block)
    return at_most(cut.lower) if scene.trap else named(cut.lower, cut.mdl)


def bounced_by_extension(scene: Scene) -> Cast:
    """As before, and the context is the extension of the driver's device, which keeps the request."""
    cut = Cut(scene)
    scene.machine.space.write_u64(cut.device.extension + 0x48, cut.request.address)
    scene.own(cut.upper, cut.lower_device, _bounce(scene) if scene.trap else cut.mdl, context=cut.device.extension)
    return at_most(cut.lower) if scene.trap else named(cut.lower, cut.mdl)


def _bounce(scene: Scene) -> Mdl:
    machine = scene.machine
    block = machine.nonpaged.pages(6)
    frames = [(machine.space.translate(block + at * 0x1000) or 0) >> 12 for at in range(6)]
    return packets.make_mdl(machine, None, 6, frames=frames, va=block, flags=packets.NONPAGED_SOURCE, charge=False)


def request_of_another_user(scene: Scene) -> Cast:
    """Another request of the victim is pending in an innocent driver, and a filter above both has noted the first one in the context of its
    completion routine: it is a request and nobody's piece. The trap is that note."""
    cut = Cut(scene)
    if scene.trap:
        _, other = scene.driver()
        scene.request(None, other, arguments=(0, 0, 0, cut.request.address))
    return named(cut.upper, cut.mdl)


def block_of_another_driver(scene: Scene) -> Cast:
    """A driver that has nothing to do with the request watches it in a block of its own, and a packet of that driver, with the block as its
    context, waits elsewhere: only the driver that has the request makes pieces of it. The trap is that packet."""
    cut = Cut(scene)
    if scene.trap:
        watcher, _ = scene.driver(SPLITTING)
        _, other = scene.driver()
        block = scene.machine.nonpaged.alloc(0x80, b"Wtch")
        scene.machine.space.write_u64(block + 0x10, cut.request.address)
        scene.own(watcher, other, _bounce(scene), context=block)
    return named(cut.upper, cut.mdl)


def stale_back_piece(scene: Scene) -> Cast:
    """A piece over the whole buffer is back with the driver that has the request, from an earlier request; this one it sent down by a way
    that nothing tells. Without the trap the piece names the request."""
    cut = Cut(scene)
    scene.own(cut.upper, cut.lower_device, cut.part(0, 6), back=True, context=0 if scene.trap else cut.request.address)
    return nobody("insufficient") if scene.trap else named(cut.upper, cut.mdl)


def stack_absent(scene: Scene) -> Cast:
    """The driver that has the request can make packets on its own stack, and a page of a stack is not captured: a piece may lie there.
    Without the trap the page is there."""
    cut = Cut(scene, imports=(*SPLITTING, "IoInitializeIrp"))
    _stack(scene)
    return nobody("insufficient") if scene.trap else named(cut.upper, cut.mdl)


def stack_absent_and_nothing_there(scene: Scene) -> Cast:
    """As before, and the driver's packets come from the pool, all of which is there: the trap is the page."""
    cut = Cut(scene)
    _stack(scene)
    return named(cut.upper, cut.mdl)


def _stack(scene: Scene) -> None:
    stack = scene.machine.system_pages(2)
    if scene.trap:
        scene.lose("stack", stack)


ALL = (
    piece_not_flagged, piece_of_no_process, piece_not_flagged_of_no_process, piece_of_system_address, bare_mdl_idle, bounced,
    block_of_another_driver, stack_absent, stack_absent_and_nothing_there,
    bounced_by_argument, bounced_by_block, bounced_by_extension, request_of_another_user, stale_back_piece,
)  # fmt: skip
