"""Situations of packets: old ones, copied ones, borrowed ones, other people's, and ones whose marks contradict each other."""

from __future__ import annotations

from collections.abc import Callable

from lockhound_synth import io, packets
from lockhound_synth.packets import CONTROL, ON_ALL, PENDING_RETURNED, Mdl, Slot

from .processors import add_processor
from .scene import BUILDING, INTERNAL, MAKING, Cast, Scene, at_most, named, nobody


def stale_returned(scene: Scene) -> Cast:
    """The completion routine of an innocent driver unlocked and freed the MDL and left its packet, MdlAddress and all, behind. A
    leaking driver got the same MDL block and keeps it in its device extension. Without the trap the packet's maker locked and never
    unlocked."""
    mdl = scene.lock()
    innocent, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(innocent, lower, mdl, back=True)
    return at_most(scene.keeper(mdl)) if scene.trap else named(innocent, mdl)


def stale_pending(scene: Scene) -> Cast:
    """An innocent driver reuses its packet for something else and never cleared MdlAddress; another driver holds the lock, known
    only to its device extension. Without the trap the packet's maker locked."""
    mdl = scene.lock()
    innocent, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(innocent, lower, mdl)
    return at_most(scene.keeper(mdl)) if scene.trap else named(innocent, mdl)


def freed_on_list(scene: Scene) -> Cast:
    """The MDL was freed while locked and lies on the lookaside list; the packet that is back with an innocent driver still names
    it. Without the trap the MDL was not freed."""
    mdl = scene.lock()
    innocent, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(innocent, lower, mdl, back=True)
    if not scene.trap:
        return named(innocent, mdl)
    packets.free_mdl(scene.machine, mdl)
    return nobody("unattributed")


def freed_list_gone(scene: Scene) -> Cast:
    """As before, and the page with the pointers to the lookaside lists is not captured: the list's own head still tells."""
    cast = freed_on_list(scene)
    if not scene.trap:
        return cast
    scene.stage.missing.append("prcb_lookaside")
    return nobody("unattributed")


def freed_on_second_processor(scene: Scene) -> Cast:
    """There are two processors, and the MDL was freed, locked, on the second: it lies on that one's own list. Without the trap the
    list is empty."""
    return _freed_there(scene, captured=True)


def freed_on_second_processor_list_gone(scene: Scene) -> Cast:
    """As before, and the page with the head of that list is not captured."""
    return _freed_there(scene, captured=False)


def _freed_there(scene: Scene, *, captured: bool) -> Cast:
    mdl, neighbour = scene.lock(), scene.lock(2, scene.stranger)
    innocent, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(innocent, lower, mdl, back=True)
    scene.processors = 2

    def add() -> None:
        head = add_processor(scene.machine, [mdl, neighbour] if scene.trap else [])
        if scene.trap and not captured:
            scene.lose("mdl_list:2", head)

    scene.later(add)
    return nobody("unattributed" if captured else "insufficient") if scene.trap else named(innocent, mdl)


def freed_packet(scene: Scene) -> Cast:
    """An innocent driver's packet was freed to the pool, and its bytes still name an MDL that another driver keeps. A segment heap
    does not tell that the block is free. Without the trap the packet is there, back with its maker, and nobody else keeps the
    MDL."""
    mdl = scene.lock()
    innocent, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    irp = scene.own(innocent, lower, mdl, back=True, lookaside=False)
    if not scene.trap:
        return named(innocent, mdl)
    scene.machine.nonpaged.free(irp.address)
    return at_most(scene.keeper(mdl))


def copied_marks(scene: Scene) -> Cast:
    """A driver that locked copies file, thread and mode of the request into its own packet, as file-system samples do; the packet
    waits in the bus, which is innocent. Without the trap it copies nothing."""
    return _copied(scene, 0)


def copied_marks_and_status_block(scene: Scene) -> Cast:
    """As before, and the address of the user's status block is copied too."""
    return _copied(scene, None)


def _copied(scene: Scene, iosb: int | None) -> Cast:
    _, bus = scene.driver()
    maker, device = scene.driver(MAKING, above=bus)
    mdl = scene.lock()
    if not scene.trap:
        scene.own(maker, bus, mdl)
        return named(maker, mdl)
    scene.disguised(maker, bus, mdl, io.make_file(scene.machine, device), iosb=iosb)
    return at_most(maker)


def copied_marks_borrowed(scene: Scene) -> Cast:
    """A filter has the I/O manager's request and sends its MDL on in a packet of its own with the request's marks copied in; that
    one waits in the driver below, which owes, and the filter only borrowed. Without the trap it copies no marks."""
    guilty, lower = scene.driver()
    filter_driver, device = scene.driver(MAKING, above=lower)
    mdl = scene.lock()
    scene.filtered(mdl, device)
    if not scene.trap:
        scene.own(filter_driver, lower, mdl)
        return named(guilty, mdl)
    scene.disguised(filter_driver, lower, mdl, io.make_file(scene.machine, lower), iosb=None)
    return at_most(guilty)


def threaded_child(scene: Scene) -> Cast:
    """A filter has the request and waits in a worker thread for a packet of IoBuildDeviceIoControlRequest with the same MDL, which
    is pending below. Without the trap the packet is one of IoAllocateIrp."""
    guilty, lower = scene.driver()
    filter_driver, device = scene.driver((*MAKING, *BUILDING), above=lower)
    mdl = scene.lock()
    scene.filtered(mdl, device)
    if not scene.trap:
        scene.own(filter_driver, lower, mdl)
        return named(guilty, mdl)
    scene.threaded(lower, mdl, scene.stage.system.threads[0])
    return at_most(guilty)


def threaded_stale(scene: Scene) -> Cast:
    """A worker's packet of IoBuildDeviceIoControlRequest, pending in an innocent driver, has the address of an MDL that is another
    driver's by now. Without the trap the packet is the victim's own, and nobody else keeps the MDL."""
    mdl = scene.lock()
    innocent, lower = scene.driver()
    scene.threaded(lower, mdl, scene.stage.system.threads[0] if scene.trap else scene.victim.threads[0])
    return at_most(scene.keeper(mdl)) if scene.trap else named(innocent, mdl)


def forwarded_without_routine(scene: Scene) -> Cast:
    """Nobody knows who made the packet: it has no completion routine in its topmost location. The driver there passed it on with a
    routine of its own and can lock pages, but did not. Without the trap the maker's routine is there."""
    _, lower = scene.driver()
    forwarder, device = scene.driver(io.LOCKING, above=lower)
    maker, _ = scene.driver(MAKING, above=device)
    mdl = scene.lock()
    slots = [
        Slot(lower, INTERNAL, completion=forwarder.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED),
        Slot(device, INTERNAL, control=PENDING_RETURNED)
        if scene.trap
        else Slot(device, INTERNAL, completion=maker.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED),
    ]
    packets.make_irp(scene.machine, slots, 1, mdl=mdl, manager=False, flags=0, cancel=True)
    return nobody() if scene.trap else named(maker, mdl)


def described_in_urb(scene: Scene) -> Cast:
    """A driver locked and describes its MDL in a USB request block, not in the packet; the driver it was sent to borrows the MDL
    for a packet of its own, which waits below. Without the trap the first packet's MdlAddress names the MDL too."""
    return _borrowed(scene, lambda mdl: (packets.make_urb(scene.machine, mdl), 0, packets.SUBMIT_URB, 0))


def described_in_argument(scene: Scene) -> Cast:
    """As before, with the MDL's address as a parameter of the request."""
    return _borrowed(scene, lambda mdl: (mdl.address, 0, 0, 0))


def _borrowed(scene: Scene, described: Callable[[Mdl], tuple[int, int, int, int]]) -> Cast:
    _, low = scene.driver()
    bus, device = scene.driver(MAKING)
    maker, _ = scene.driver(MAKING, above=device)
    mdl = scene.lock()
    scene.own(maker, device, 0 if scene.trap else mdl, arguments=described(mdl))
    scene.own(bus, low, mdl)
    return at_most(maker) if scene.trap else named(maker, mdl)


def taken_out_of_request(scene: Scene) -> Cast:
    """A filter took the MDL out of the I/O manager's request it holds, keeps its address in the request's parameters, and sent it
    down in a packet of its own: it borrowed. Without the trap the request still has it."""
    guilty, lower = scene.driver()
    filter_driver, device = scene.driver(MAKING, above=lower)
    mdl = scene.lock()
    if scene.trap:
        scene.request(None, device, arguments=(mdl.address, 0, 0, 0))
    else:
        scene.filtered(mdl, device)
    scene.own(filter_driver, lower, mdl)
    return at_most(guilty) if scene.trap else named(guilty, mdl)


def living_packet(scene: Scene) -> Cast:
    """A request of a living process, pending in an innocent driver, has an old MdlAddress: the block is the victim's MDL now, which
    another driver keeps. Without the trap the request is the victim's."""
    mdl = scene.lock()
    holder, device = scene.driver()
    scene.request(mdl, device, thread=scene.stranger.threads[0] if scene.trap else None)
    return at_most(scene.keeper(mdl)) if scene.trap else named(holder, mdl)


def orphan_and_stale(scene: Scene) -> Cast:
    """The true packet is an orphan that the I/O manager cut off from its thread; a living process's request with an old MdlAddress
    looks better. Without the trap only the orphan is there."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    _, other = scene.driver()
    file = io.make_file(scene.machine, device, flags=io.FO_HANDLE_CREATED | io.FO_CLEANUP_COMPLETE)
    slot = Slot(device, CONTROL, file=file, control=PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=mdl, file=file, linked="none", cancel=True)
    if not scene.trap:
        return named(guilty, mdl)
    scene.request(mdl, other, thread=scene.stranger.threads[0])
    return at_most(guilty)


def true_packet_absent(scene: Scene) -> Cast:
    """The page of the true packet was not captured; a living process's request with an old MdlAddress is there. Without the trap it
    is the other way round: only the true one is."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    _, other = scene.driver()
    irp = scene.request(mdl, device, alone=True)
    if not scene.trap:
        return named(guilty, mdl)
    scene.request(mdl, other, thread=scene.stranger.threads[0])
    scene.lose("irp:0", irp.address)
    return nobody("insufficient")


def device_of_another(scene: Scene) -> Cast:
    """The device at the current location has been freed and its memory is an innocent driver's device now: the file of the request
    belongs to quite another stack. Without the trap the location has the device that the file was opened on."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    _, other = scene.driver()
    scene.request(mdl, other if scene.trap else device, file=io.make_file(scene.machine, device))
    return at_most(guilty) if scene.trap else named(guilty, mdl)


def device_not_listed(scene: Scene) -> Cast:
    """The device of the request was deleted when its driver went; what is left of it names a driver object that does not list it,
    and that driver is innocent. Without the trap the driver lists it."""
    mdl = scene.lock()
    holder, _ = scene.driver(io.LOCKING)
    gone = scene.device(holder)
    scene.request(mdl, gone)
    if not scene.trap:
        return named(holder, mdl)
    image = scene.machine.layouts["DEVICE_OBJECT"]

    def unlist() -> None:
        at = holder.devices[0].address + image.offset("NextDevice")
        scene.machine.space.write_u64(at, 0)

    scene.later(unlist)
    return nobody()


def kernels_own(scene: Scene) -> Cast:
    """The kernel made the packet, by its completion routine, and so the kernel locked; the driver in which it waits is innocent.
    Without the trap another driver made it."""
    _, device = scene.driver()
    maker, _ = scene.driver(MAKING)
    mdl = scene.lock()
    if not scene.trap:
        scene.own(maker, device, mdl)
        return named(maker, mdl)
    nt = scene.machine.nt_base + scene.machine.kernel.exports["IofCompleteRequest"]
    slot = Slot(device, INTERNAL, completion=nt, control=ON_ALL | PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=mdl, manager=False, flags=0)
    return nobody("kernel")


def returned_to_manager(scene: Scene) -> Cast:
    """The I/O manager's packet is not with any driver: it was never sent, or it is on its way back. Without the trap it is
    pending."""
    mdl = scene.lock()
    driver, device = scene.driver(io.LOCKING)
    scene.request(mdl, device, current=2 if scene.trap else 1)
    return nobody() if scene.trap else named(driver, mdl)


def completed(scene: Scene) -> Cast:
    """The driver completed the I/O manager's packet; that the pages are still locked is not its doing. Without the trap it did
    not."""
    mdl = scene.lock()
    driver, device = scene.driver(io.LOCKING)
    irp = scene.request(mdl, device, linked="none" if scene.trap else "thread")
    if not scene.trap:
        return named(driver, mdl)
    packets.complete(scene.machine, irp)
    return nobody()


def garbage_marks(scene: Scene) -> Cast:
    """The packet's bytes are half overwritten: its file is a device, its thread another process's, it is on no list. It proves
    nothing about the driver in which it seems to wait. Without the trap its marks agree."""
    mdl = scene.lock()
    driver, device = scene.driver(io.LOCKING)
    if not scene.trap:
        scene.request(mdl, device)
        return named(driver, mdl)
    irp = scene.request(mdl, device, thread=scene.stranger.threads[0], linked="none")
    scene.field(irp, "Tail.Overlay.OriginalFileObject", device.address)
    return nobody()


def in_a_library(scene: Scene) -> Cast:
    """The request waits in a driver of Windows that works for others, below a vendor's filter which passed it down: the filter is
    innocent by all that is known. Without the trap a vendor's driver stands in the place of the library."""
    hub = scene.stage.windows["usbhub3"]
    holder, device = (hub, scene.device(hub)) if scene.trap else scene.driver()
    filter_driver, above = scene.driver(io.LOCKING, above=device)
    mdl = scene.lock()
    file = io.make_file(scene.machine, device)
    slots = [
        Slot(device, CONTROL, file=file, completion=filter_driver.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED),
        Slot(above, CONTROL, file=file),
    ]
    packets.make_irp(scene.machine, slots, 1, mdl=mdl, thread=scene.victim.threads[0], file=file)
    return at_most(holder) if scene.trap else named(holder, mdl)


def many_completed(scene: Scene) -> Cast:
    """Seventy completed packets of innocents have the MDL's address from before; the true one lies somewhere among them. Without
    the trap it is alone."""
    return _many(scene, back=False)


def many_returned(scene: Scene) -> Cast:
    """As before, with packets that are back with an innocent driver which made them."""
    return _many(scene, back=True)


def _many(scene: Scene, *, back: bool) -> Cast:
    innocent, _ = scene.driver(MAKING)
    _, low = scene.driver()
    guilty, device = scene.driver()
    mdl = scene.lock()
    for _ in range(70 if scene.trap else 0):
        if back:
            scene.own(innocent, low, mdl, back=True)
        else:
            packets.complete(scene.machine, scene.request(mdl, low, linked="none"))
    scene.request(mdl, device)
    return named(guilty, mdl)


def forwarded_by_filter(scene: Scene) -> Cast:
    """A driver's packet went through a filter to the bus, which borrowed its MDL for a packet of its own: the maker owes in either
    case. The trap is the bus's packet."""
    _, low = scene.driver()
    bus, bus_device = scene.driver(MAKING)
    filter_driver, filter_device = scene.driver(above=bus_device)
    maker, _ = scene.driver(MAKING, above=filter_device)
    mdl = scene.lock()
    slots = [
        Slot(bus_device, INTERNAL, completion=filter_driver.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED),
        Slot(filter_device, INTERNAL, completion=maker.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED),
    ]
    packets.make_irp(scene.machine, slots, 1, mdl=mdl, manager=False, flags=0)
    if scene.trap:
        scene.own(bus, low, mdl)
    return named(maker, mdl)


ALL = (
    stale_returned, stale_pending, freed_on_list, freed_list_gone, freed_on_second_processor,
    freed_on_second_processor_list_gone, freed_packet, copied_marks, copied_marks_and_status_block,
    copied_marks_borrowed, threaded_child, threaded_stale, forwarded_without_routine, described_in_urb, described_in_argument,
    taken_out_of_request, living_packet, orphan_and_stale, true_packet_absent, device_of_another, device_not_listed,
    kernels_own, returned_to_manager, completed, garbage_marks, in_a_library, many_completed, many_returned, forwarded_by_filter,
)  # fmt: skip
