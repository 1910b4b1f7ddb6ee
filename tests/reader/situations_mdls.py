"""Situations of MDLs and of requests cut into pieces: copies, chains, uncharged ones, pieces of other requests and pieces not seen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from lockhound_synth import io, packets, processes
from lockhound_synth.packets import CONTROL, PENDING_RETURNED, Mdl, Slot
from lockhound_synth.pe.load import LoadedImage
from lockhound_synth.scenarios.libraries import BIND, client_image, load_loader

from .scene import MAKING, SPLITTING, Cast, Scene, Situation, at_most, named, nobody

AWE = 0x0400  # MDL_DESCRIBES_AWE, WDK wdm.h


def copied_structure(scene: Scene) -> Cast:
    """An innocent driver copied the bytes of the locked MDL and describes a transfer of its own by the copy. The frames count one
    lock. Without the trap there is no copy."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(guilty, mdl)
    innocent, _ = scene.driver(MAKING)
    _, low = scene.driver()
    size = 0x30 + 8 * mdl.pages
    copy = scene.machine.nonpaged.alloc(size, b"Mdl ")
    scene.machine.space.write(copy, scene.machine.space.read(mdl.address, size))
    scene.own(innocent, low, copy)
    return at_most(guilty)


def awe_pages(scene: Scene) -> Cast:
    """An innocent driver has a request over pages that the victim allocated physically: their MDL is locked and not charged. The
    charged lock is another driver's. Without the trap the request's MDL is an ordinary one."""
    holder, device = scene.driver()
    if not scene.trap:
        mdl = scene.lock(7)
        scene.request(mdl, device)
        return named(holder, mdl)
    guilty = scene.keeper(scene.lock())
    va, frames = processes.user_pages(scene.machine, scene.victim, 7)
    flags = AWE | packets.LOCKED | packets.WRITE | packets.LOCKED_TABLES
    mdl = packets.make_mdl(scene.machine, scene.victim, 7, frames=frames, va=va, flags=flags, charge=False)
    scene.machine.pins.update(dict.fromkeys(frames, 1))
    scene.request(mdl, device)
    return at_most(guilty)


def chain_from_stranger(scene: Scene) -> Cast:
    """A living process's request, pending in an innocent driver, has an MDL whose Next is a leftover and names the victim's MDL,
    which another driver keeps. Without the trap both MDLs of the chain are the victim's, and so is the request."""
    second = scene.lock()
    holder, device = scene.driver()
    owner = scene.stranger if scene.trap else scene.victim
    first = scene.lock(3, owner)
    packets.link_mdls(scene.machine, first, second)
    scene.request(first, device, thread=owner.threads[0], linked="thread")
    return at_most(scene.keeper(second)) if scene.trap else named(holder, first.pages + second.pages)


def chain_from_orphan(scene: Scene) -> Cast:
    """As before, and the living process's request was cancelled without effect and cut off from its thread: only its MDL tells whose it
    is."""
    second = scene.lock()
    holder, device = scene.driver()
    first = scene.lock(3, scene.stranger if scene.trap else scene.victim)
    packets.link_mdls(scene.machine, first, second)
    file = io.make_file(scene.machine, device, flags=io.FO_HANDLE_CREATED | io.FO_CLEANUP_COMPLETE)
    slot = Slot(device, CONTROL, file=file, control=PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=first, file=file, linked="none", cancel=True)
    return at_most(scene.keeper(second)) if scene.trap else named(holder, first.pages + second.pages)


def copied_into_request(scene: Scene) -> Cast:
    """A driver swapped the MDL of another request of the victim for a copy of the locked one's bytes: two requests in two drivers, and the
    frames count one lock. Without the trap there is one request."""
    mdl = scene.lock()
    holder, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(holder, mdl)
    _, other = scene.driver()
    size = 0x30 + 8 * mdl.pages
    copy = scene.machine.nonpaged.alloc(size, b"Mdl ")
    scene.machine.space.write(copy, scene.machine.space.read(mdl.address, size))
    scene.field(scene.request(None, other), "MdlAddress", copy)
    return nobody()


def chain_from_freed(scene: Scene) -> Cast:
    """A kernel request of an innocent driver names an MDL in a pool block that has been freed, whose Next still names the victim's
    MDL. Without the trap the block is in use and the request is the victim's: its header MDL comes before the user's."""
    machine = scene.machine
    mdl = scene.lock()
    holder, device = scene.driver()
    pages = 30
    block = machine.nonpaged.pages(pages)
    frames = [(machine.space.translate(block + at * 0x1000) or 0) >> 12 for at in range(pages)]
    header = packets.make_mdl(machine, None, pages, frames=frames, va=block, flags=packets.NONPAGED_SOURCE, charge=False)
    packets.link_mdls(machine, header, mdl)
    scene.request(header, device, thread=(scene.stage.system if scene.trap else scene.victim).threads[0])
    if not scene.trap:
        return named(holder, mdl)
    machine.nonpaged.free(header.address)
    return at_most(scene.keeper(mdl))


def long_chain(length: int) -> Situation:
    """The situation of a packet whose MDL is the first of so many."""

    def situation(scene: Scene) -> Cast:
        guilty, device = scene.driver()
        chain = [scene.lock(1) for _ in range(length if scene.trap else 2)]
        for first, second in pairwise(chain):
            packets.link_mdls(scene.machine, first, second)
        scene.request(chain[0], device)
        return named(guilty, len(chain))

    situation.__name__ = f"chain_of_{length}"
    situation.__doc__ = f"A packet leads to {length} MDLs by Next: however long, the list is one step, and all are its holder's."
    return situation


def small_share(scene: Scene) -> Cast:
    """One page waits in a driver's request; nineteen more are locked by another, which keeps its MDL in its device extension. The
    first is named for its one page, or nobody is. Without the trap that one page is all there is."""
    mdl = scene.lock(1)
    small, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(small, mdl)
    rest = scene.lock(19)
    other = scene.keeper(rest)
    return Cast(frozenset({small.module.name, other.module.name}), at_most(small).kinds)


def large_freed(scene: Scene) -> Cast:
    """An MDL too large for the lookaside list was freed while locked; a driver's packet that is used for something else now and waits below
    still names it. A segment heap does not tell that the block is free. Without the trap the packet asks for its length."""
    mdl = scene.lock(40)
    maker, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(maker, lower, mdl, arguments=(0x10 if scene.trap else mdl.length, 0, 0, 0))
    if not scene.trap:
        return named(maker, mdl)
    scene.machine.nonpaged.free(mdl.address)
    return nobody()


def large_freed_back(scene: Scene) -> Cast:
    """As before, and the packet is back with its maker. Without the trap its maker keeps the MDL beside it."""
    mdl = scene.lock(40)
    maker, device = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(maker, lower, mdl, back=True)
    if not scene.trap:
        scene.machine.space.write_u64(device.extension + 0x30, mdl.address)
        return named(maker, mdl)
    scene.machine.nonpaged.free(mdl.address)
    return nobody()


def large_in_request(scene: Scene) -> Cast:
    """Such an MDL in a request of the victim: the I/O manager frees it at completion and not before, so it stands, whatever the pool tells.
    The trap is its size."""
    mdl = scene.lock(40 if scene.trap else 5)
    holder, device = scene.driver()
    scene.request(mdl, device)
    return named(holder, mdl)


# Requests in pieces


def _cut(scene: Scene) -> tuple[Cut, Cast]:
    cut = Cut(scene)
    return cut, named(cut.lower, cut.mdl)


class Cut:
    """A request of six pages with a driver above another one."""

    def __init__(
        self, scene: Scene, imports: tuple[str, ...] = SPLITTING, image: LoadedImage | None = None, *, alone: bool = False
    ) -> None:
        self.scene = scene
        self.lower, self.lower_device = scene.driver()
        if image is not None:
            scene.machine.images.append(image)  # for the driver above: the first invented one that it fits
        self.upper, self.device = scene.driver(imports, above=self.lower_device)
        self.mdl: Mdl = scene.lock(6)
        self.request = scene.filtered(self.mdl, self.device, alone=alone)

    def part(self, first: int, count: int) -> Mdl:
        return packets.partial_mdl(self.scene.machine, self.mdl, first, count)


def hidden_by_framework(scene: Scene) -> Cast:
    """A driver of a framework imports nothing that makes packets and yet sent the MDL down in one, by the framework; the page of
    that packet is not captured. Without the trap it is, and the driver below owes."""
    load_loader(scene.machine)
    cut = Cut(scene, imports=(BIND,), image=client_image(scene.machine, "fwclient.sys"))
    irp = scene.own(cut.upper, cut.lower_device, cut.mdl, alone=True)
    if not scene.trap:
        return named(cut.lower, cut.mdl)
    scene.lose("irp:0", irp.address)
    return nobody("insufficient")


def request_absent(scene: Scene) -> Cast:
    """The request is on a page that is not captured; the filter's own packet, with its MDL, is pending below. The filter can lock, and
    borrowed. Without the trap the request is there, and the driver below owes."""
    cut = Cut(scene, imports=MAKING, alone=True)
    scene.own(cut.upper, cut.lower_device, cut.mdl)
    if not scene.trap:
        return named(cut.lower, cut.mdl)
    scene.lose("irp:0", cut.request.address)
    return nobody("insufficient")


def piece_without_packet(scene: Scene) -> Cast:
    """Two of three pieces are back with the driver that cut the request; the third one's partial MDL is there, and no packet for
    it: the driver below took it another way. Without the trap the third packet is pending below."""
    cut, cast = _cut(scene)
    for first in (0, 2):
        scene.own(cut.upper, cut.lower_device, cut.part(first, 2), back=True)
    third = cut.part(4, 2)
    if scene.trap:
        return at_most(cut.lower)
    scene.own(cut.upper, cut.lower_device, third)
    return cast


def piece_of_another_buffer(scene: Scene) -> Cast:
    """Somebody cut another request over the same pages, and that piece, which does not tell its maker, waits in an innocent driver;
    the request in question is pending in a driver that cuts nothing. Without the trap there is no such piece."""
    guilty, device = scene.driver(("MmProbeAndLockPages",))
    _, other = scene.driver()
    mdl = scene.lock(6)
    scene.request(mdl, device)
    if not scene.trap:
        return named(guilty, mdl)
    scene.own(None, other, packets.partial_mdl(scene.machine, mdl, 0, 6))
    return at_most(guilty)


def stale_piece(scene: Scene) -> Cast:
    """A driver reuses its packet for something else, in an innocent driver, and its MdlAddress still names a piece of an earlier
    request over the same buffer; the request in question is pending elsewhere. Without the trap there is no such packet."""
    guilty, device = scene.driver()
    _, other = scene.driver()
    splitter, _ = scene.driver(MAKING)
    mdl = scene.lock(6)
    scene.request(mdl, device)
    if not scene.trap:
        return named(guilty, mdl)
    scene.own(splitter, other, packets.partial_mdl(scene.machine, mdl, 0, 6))
    return at_most(guilty)


def piece_absent(scene: Scene) -> Cast:
    """The third piece's packet is on a page that is not captured: whether it waits below nobody can know. Without the trap it is
    there."""
    cut, cast = _cut(scene)
    for first in (0, 2):
        scene.own(cut.upper, cut.lower_device, cut.part(first, 2), back=True)
    irp = scene.own(cut.upper, cut.lower_device, cut.part(4, 2), alone=True)
    if not scene.trap:
        return cast
    scene.lose("irp:0", irp.address)
    return nobody("insufficient")


def pieces_in_two_drivers(scene: Scene) -> Cast:
    """Two pieces are pending in different drivers: each holds a part, and neither is told from the other. Without the trap both
    wait in one driver."""
    cut, cast = _cut(scene)
    _, other = scene.driver()
    scene.own(cut.upper, cut.lower_device, cut.part(0, 3))
    scene.own(cut.upper, other if scene.trap else cut.lower_device, cut.part(3, 3))
    return nobody("unattributed", because="pieces of the request are pending in several drivers") if scene.trap else cast


CHAINS: tuple[Callable[[Scene], Cast], ...] = tuple(long_chain(length) for length in (64, 65, 66, 200))
ALL = (
    large_freed, large_freed_back, large_in_request,
    copied_structure, awe_pages, chain_from_stranger, chain_from_orphan, copied_into_request, chain_from_freed, small_share,
    hidden_by_framework, request_absent, piece_without_packet,
    piece_of_another_buffer, stale_piece, piece_absent, pieces_in_two_drivers, *CHAINS,
)  # fmt: skip
