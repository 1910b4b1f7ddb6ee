"""Situations in which the evidence is whole and still does not say who: several makers, makers that can't lock, pieces that don't cover."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets, processes
from lockhound_synth.packets import ASSOCIATED_IRP, ON_ALL, PENDING_RETURNED, READ, Mdl, Slot
from lockhound_synth.scenarios.libraries import BIND, client_image, load_loader

from .scene import MAKING, SPLITTING, Cast, Scene, at_most, named, nobody
from .situations_mdls import Cut


def library_made(scene: Scene) -> Cast:
    """A driver of Windows that locks for others made the packet: whose work it is, the packet does not say. Without the trap a vendor's
    driver made it."""
    _, low = scene.driver()
    maker = scene.stage.windows["storport"] if scene.trap else scene.driver(MAKING)[0]
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    return nobody("unattributed") if scene.trap else named(maker, mdl)


def maker_cannot_lock(scene: Scene) -> Cast:
    """The driver that made the packet imports no routine that locks pages: it has the MDL from somebody else. Without the trap it does."""
    _, low = scene.driver()
    maker, _ = scene.driver(("IoAllocateIrp", "IoFreeIrp") if scene.trap else MAKING)
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    return nobody("unattributed") if scene.trap else named(maker, mdl)


def imports_not_captured(scene: Scene) -> Cast:
    """What the maker of the packet imports is not captured: whether it can lock can't be known. Without the trap it is."""
    _, low = scene.driver()
    maker, _ = scene.driver(MAKING)
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    scene.stage.missing.append(f"image_header:{maker.module.name}")
    return nobody("insufficient")


def made_through_framework(scene: Scene) -> Cast:
    """The packet's routine is a framework client's that imports nothing which locks: the framework may have locked for it, or it has the
    MDL from somebody else. Without the trap the maker imports what it needs."""
    _, low = scene.driver()
    if scene.trap:
        load_loader(scene.machine)
        scene.machine.images.append(client_image(scene.machine, "fwclient.sys"))
    maker, _ = scene.driver((BIND,) if scene.trap else MAKING)
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    return nobody("insufficient") if scene.trap else named(maker, mdl)


def two_makers(scene: Scene) -> Cast:
    """Packets of two drivers name the MDL, in two more drivers, and neither passed the other's on. Without the trap there is one."""
    _, low = scene.driver()
    _, other_low = scene.driver()
    maker, _ = scene.driver(MAKING)
    other, _ = scene.driver(MAKING)
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    scene.own(other, other_low, mdl)
    return nobody("unattributed")


def two_requests(scene: Scene) -> Cast:
    """Two requests of the victim, equal in all marks and pending in different drivers, name one MDL: one of them is a leftover. Without the
    trap there is one."""
    holder, device = scene.driver()
    _, other = scene.driver()
    mdl = scene.lock()
    scene.request(mdl, device)
    if not scene.trap:
        return named(holder, mdl)
    scene.request(mdl, other)
    return nobody("unattributed")


def handed_round(scene: Scene) -> Cast:
    """Two drivers each have a packet of the other's with the same MDL: who began can't be told. Without the trap one of them did."""
    first, device = scene.driver(MAKING)
    second, other = scene.driver(MAKING)
    mdl = scene.lock()
    scene.own(first, other, mdl)
    if not scene.trap:
        return named(first, mdl)
    scene.own(second, device, mdl)
    return nobody("unattributed")


def pieces_outstanding(scene: Scene) -> Cast:
    """The request counts two associated packets that are out, and none is found anywhere: the driver that has the request waits for others.
    Without the trap the count is zero."""
    cut = Cut(scene)
    if not scene.trap:
        return named(cut.upper, cut.mdl)
    at = cut.request.address + scene.machine.layouts["IRP"].offset("AssociatedIrp")
    scene.machine.space.write(at, struct.pack("<I", 2))
    return nobody("insufficient")


def uncovered(scene: Scene) -> Cast:
    """Pieces over the first and the last third of the request are back; of the middle nothing is left, and nothing tells where it went.
    Without the trap the pieces cover all, and the driver that cut it keeps the request."""
    cut = Cut(scene)
    for first in (0, 4) if scene.trap else (0, 2, 4):
        scene.own(cut.upper, cut.lower_device, cut.part(first, 2), back=True, context=cut.request.address)
    return nobody("insufficient") if scene.trap else named(cut.upper, cut.mdl)


def same_addresses_other_frames(scene: Scene) -> Cast:
    """A packet of the driver that has the request, pending in an innocent one, describes the same user addresses and other frames: it is
    of an earlier request, whose buffer is long gone. Without the trap it is not there."""
    cut = Cut(scene)
    if scene.trap:
        _, frames = processes.user_pages(scene.machine, scene.victim, cut.mdl.pages)
        scene.own(cut.upper, cut.lower_device, _partial_over(scene, cut.mdl, frames))
    return named(cut.upper, cut.mdl)


def _partial_over(scene: Scene, mdl: Mdl, frames: list[int]) -> Mdl:
    flags = packets.PARTIAL | packets.FIXED_SIZE
    return packets.make_mdl(scene.machine, scene.victim, mdl.pages, locked=False, frames=frames, va=mdl.va, flags=flags, charge=False)


def headers_before(scene: Scene) -> Cast:
    """In front of the user's MDL the holder's request has three of the kernel's own, each known only to the one before: the way from the
    lock to the request is long, and it is a way. The trap is its length."""
    machine = scene.machine
    holder, device = scene.driver()
    mdl = scene.lock()
    first = mdl
    for _ in range(3 if scene.trap else 0):
        block = machine.nonpaged.pages(30)
        frames = [(machine.space.translate(block + at * 0x1000) or 0) >> 12 for at in range(30)]
        header = packets.make_mdl(machine, None, 30, frames=frames, va=block, flags=packets.NONPAGED_SOURCE, charge=False)
        packets.link_mdls(machine, header, first)
        first = header
    scene.request(first, device)
    return named(holder, mdl)


def associated_without_imports(scene: Scene) -> Cast:
    """The driver that has the request imports nothing that makes packets, and yet an associated packet with the request's MDL, pending in
    the driver below, names the request as its master. Without the trap the imports are there: either way the driver below has it."""
    cut = Cut(scene, imports=() if scene.trap else (*SPLITTING, "IoMakeAssociatedIrp"))
    slot = Slot(cut.lower_device, READ, completion=cut.upper.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=cut.part(0, 6), manager=False, flags=ASSOCIATED_IRP, system_buffer=cut.request.address)
    at = cut.request.address + scene.machine.layouts["IRP"].offset("AssociatedIrp")
    scene.machine.space.write(at, struct.pack("<I", 1))
    return at_most(cut.lower) if scene.trap else named(cut.lower, cut.mdl)


def refuted_before(scene: Scene) -> Cast:
    """A request of the victim, pending in an innocent driver, has an MDL whose frames are free long since, and its Next still names the
    locked MDL, which another driver keeps. Without the trap the request has the locked MDL itself."""
    holder, device = scene.driver()
    mdl = scene.lock()
    if not scene.trap:
        scene.request(mdl, device)
        return named(holder, mdl)
    old = packets.make_refuted(scene.machine, scene.victim, 3)
    packets.link_mdls(scene.machine, old, mdl)
    scene.request(old, device)
    return at_most(scene.keeper(mdl))


def freed_before(scene: Scene) -> Cast:
    """As before; the first MDL lies on the lookaside list, locked still, and its Next is the list's link: the second one, also freed, is
    its neighbour there. Without the trap neither was freed, and the request's chain is what it says."""
    holder, device = scene.driver()
    first, second = scene.lock(3), scene.lock(5)
    packets.link_mdls(scene.machine, first, second)
    scene.request(first, device)
    if not scene.trap:
        return named(holder, first.pages + second.pages)
    filler = scene.lock(1, scene.stranger)
    for mdl in (first, filler, second):  # every other one goes to the processor's own list
        packets.free_mdl(scene.machine, mdl)
    return nobody("unattributed")


def file_that_is_none(scene: Scene) -> Cast:
    """What the packet names as its file is a device; everything else about it fits. It may be an old one, half used again. Without the trap
    it is a file."""
    driver, device = scene.driver()
    mdl = scene.lock()
    irp = scene.request(mdl, device)
    if not scene.trap:
        return named(driver, mdl)
    scene.field(irp, "Tail.Overlay.OriginalFileObject", device.address)
    return nobody()


def maker_keeps_it_too(scene: Scene) -> Cast:
    """The maker of the packet has the MDL's address in its device extension as well: that is no other owner. The trap is that pointer."""
    _, low = scene.driver()
    maker, device = scene.driver(MAKING)
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    if scene.trap:
        scene.machine.space.write_u64(device.extension + 0x40, mdl.address)
    return named(maker, mdl)


def disguised_beside_stale(scene: Scene) -> Cast:
    """The true packet has copied marks, so that its maker can't be told; an innocent driver's reused packet with an old MdlAddress can.
    Without the trap the true packet is alone and not disguised."""
    _, bus = scene.driver()
    maker, device = scene.driver(MAKING, above=bus)
    innocent, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    if not scene.trap:
        scene.own(maker, bus, mdl)
        return named(maker, mdl)
    scene.disguised(maker, bus, mdl, io.make_file(scene.machine, device), iosb=0)
    scene.own(innocent, low, mdl)
    return at_most(maker)


def piece_without_request(scene: Scene) -> Cast:
    """An associated packet names the MDL, and the request that it is a piece of is gone: whoever split that did not lock. Without the trap
    the packet is an ordinary one of its maker."""
    _, low = scene.driver()
    maker, _ = scene.driver(MAKING)
    mdl = scene.lock()
    irp = scene.own(maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    block = scene.machine.nonpaged.alloc(0x200, b"Even")
    at = scene.machine.layouts["IRP"].offset("Flags")
    scene.machine.space.write(irp.address + at, struct.pack("<I", ASSOCIATED_IRP))
    scene.field(irp, "AssociatedIrp", block)
    return nobody()


def piece_alone(scene: Scene) -> Cast:
    """A partial MDL over the request lies about, and no packet names it: the driver that has the request cut it, and gave the piece away by
    another way. Without the trap the piece's packet is pending below."""
    cut = Cut(scene)
    part = cut.part(0, 6)
    if scene.trap:
        return nobody("insufficient")
    scene.own(cut.upper, cut.lower_device, part)
    return named(cut.lower, cut.mdl)


def nobody_in_what_is_captured(scene: Scene) -> Cast:
    """The packet does not tell its maker, and a page of the pool, where its maker may keep it, is not captured: the driver in which it
    waits is innocent, and more can't be known. Without the trap the packet tells."""
    _, low = scene.driver()
    maker, _ = scene.driver(MAKING)
    mdl = scene.lock()
    scene.own(None if scene.trap else maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    scene.lose("keeper", scene.machine.nonpaged.alloc(0x100, b"Kdat", alone=True))
    return nobody("insufficient")


def kept_only(scene: Scene) -> Cast:
    """No packet names the MDL; a driver keeps it in its device extension, and another one only had it once, in a packet long completed.
    It is not so that nothing points to it. Without the trap that packet is pending."""
    once, device = scene.driver()
    mdl = scene.lock()
    irp = scene.request(mdl, device, linked="none" if scene.trap else "thread")
    if not scene.trap:
        return named(once, mdl)
    packets.complete(scene.machine, irp)
    return Cast(frozenset({scene.keeper(mdl).module.name}), frozenset({"driver", "insufficient"}))


def kept_by_receiver(scene: Scene) -> Cast:
    """The packet does not tell its maker, and the driver in which it waits, which makes packets and locks pages otherwise, has queued it in
    its device extension. Without the trap the pointer is in the extension of one that was not sent it: its maker."""
    return _kept(scene, ("receiver",))


def kept_by_two(scene: Scene) -> Cast:
    """As before, and two drivers that were not sent it keep a pointer to it. Without the trap one does."""
    return _kept(scene, ("maker", "other"))


def kept_by_watcher(scene: Scene) -> Cast:
    """As before, and who keeps the pointer makes no packets: it only watches. Without the trap one does that makes them."""
    return _kept(scene, ("watcher",))


def _kept(scene: Scene, keepers: tuple[str, ...]) -> Cast:
    actors = {name: scene.driver(MAKING) for name in ("receiver", "maker", "other")}
    actors["watcher"] = scene.driver(("MmProbeAndLockPages",))
    mdl = scene.lock()
    irp = scene.own(None, actors["receiver"][1], mdl)
    for name in keepers if scene.trap else ("maker",):
        scene.machine.space.write_u64(actors[name][1].extension + 0x30, irp.address)
    return nobody("unattributed") if scene.trap else named(actors["maker"][0], mdl)


ALL = (
    kept_by_receiver, kept_by_two, kept_by_watcher,
    nobody_in_what_is_captured, kept_only,
    file_that_is_none, maker_keeps_it_too, disguised_beside_stale, piece_without_request, piece_alone, library_made,
    maker_cannot_lock, imports_not_captured, made_through_framework, two_makers, two_requests, handed_round,
    pieces_outstanding, uncovered, same_addresses_other_frames, headers_before, associated_without_imports, refuted_before, freed_before,
)  # fmt: skip
