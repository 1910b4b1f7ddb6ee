"""Situations in which a single witness speaks for the innocent: each is answered for by one condition of the rules, and by no other."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.io import Device, Driver, File
from lockhound_synth.packets import CONTROL, ON_ALL, PENDING_RETURNED, Irp, Slot
from lockhound_synth.physical import Use
from lockhound_synth.regions import SEGMENT_HEAP

from .scene import MAKING, OPEN, Cast, Scene, at_most, named, nobody
from .situations_mdls import Cut

# Places that a situation chooses: objects are made in pool blocks that others share pages with.


def _moved(scene: Scene, address: int, size: int, tag: bytes) -> int:
    """A copy of a structure on pages that nothing else shares."""
    body = scene.machine.nonpaged.alloc(size, tag, alone=True)
    scene.machine.space.write(body, scene.machine.space.read(address, size))
    return body


def _file_alone(scene: Scene, device: Device, flags: int = io.FO_HANDLE_CREATED) -> File:
    made = io.make_file(scene.machine, device, flags=flags)
    return File(_moved(scene, made.address, scene.machine.layouts["FILE_OBJECT"].size, b"File"), device)


def _move_device(scene: Scene, device: Device) -> None:
    """The device lies on pages of its own; what points to it is written at the end."""
    shape = scene.machine.layouts["DEVICE_OBJECT"].size
    size = device.extension_object - device.address + scene.machine.layouts["DEVOBJ_EXTENSION"].size
    moved = _moved(scene, device.address, size, b"Devi")
    device.extension_object += moved - device.address
    device.address, device.extension = moved, moved + shape


def _data_of(driver: Driver) -> int:
    """A place in the writable section of its image."""
    assert driver.module.image is not None
    (section,) = [one for one in driver.module.image.sections if one.name == ".data"]
    return driver.module.base + section.rva + 0x40


def _put_irp(scene: Scene, irp: Irp, address: int) -> None:
    """The packet, of a driver's making, lies somewhere else; where it was nothing of it is left."""
    shape = scene.machine.layouts["IRP"]
    scene.machine.space.write(address, scene.machine.space.read(irp.address, irp.size))
    scene.machine.space.write(irp.address, bytes(irp.size))
    irp.address = address
    entry = address + shape.offset("ThreadListEntry")
    scene.machine.space.write(entry, struct.pack("<2Q", entry, entry))
    at = address + shape.size + (irp.current - 1) * scene.machine.layouts["IO_STACK_LOCATION"].size
    scene.field(irp, "Tail.Overlay.CurrentStackLocation", at)


# Packets that are back with their maker


def back_beside_contradiction(scene: Scene) -> Cast:
    """The request that waits with the MDL is believed no more: its file was opened on another stack. An innocent driver's packet, back from
    an earlier use, has the MDL's address too. Without the trap there is that packet alone."""
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl, back=True)
    if not scene.trap:
        return named(maker, mdl)
    _, device = scene.driver()
    _, other = scene.driver()
    scene.request(mdl, device, file=io.make_file(scene.machine, other))
    return nobody("insufficient", because="opened on another stack")


def back_with_damaged_lists(scene: Scene) -> Cast:
    """The MDL was freed while locked, and the processor's pointers to the lists of freed ones are damaged; an innocent driver had the same
    block before, and its packet, back since, and its device extension still name it. Without the trap the MDL stands."""
    maker, device = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl, back=True)
    scene.machine.space.write_u64(device.extension + 0x30, mdl.address)
    if not scene.trap:
        return named(maker, mdl)
    packets.free_mdl(scene.machine, mdl)
    scene.later(lambda: scene.machine.space.write(scene.machine.labels["prcb_lookaside"], bytes(0x40)))
    return nobody("unattributed", because="freed without being unlocked")  # the head of the list shows itself


def back_with_a_large_one(scene: Scene) -> Cast:
    """As before; the MDL is too large for those lists, a segment heap does not tell that its block is free, and the reference counts of its
    frames are not captured."""
    maker, device = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock(40)
    scene.own(maker, low, mdl, back=True)
    scene.machine.space.write_u64(device.extension + 0x30, mdl.address)
    if not scene.trap:
        return named(maker, mdl)
    scene.free_silently(mdl)
    scene.stage.lose_counts(mdl)
    if scene.machine.build < SEGMENT_HEAP:
        return nobody("unattributed")
    return nobody("insufficient", because="whether the MDL was freed can't be told")


# Packets of drivers that wait


def vouched_by_length(scene: Scene) -> Cast:
    """The MDL was freed while locked, and the lists of freed ones were full; an innocent driver used its packet again for as many bytes.
    The page with the pointers to those lists is not captured. Without the trap the MDL stands and the lists are there."""
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl, arguments=(mdl.length, 0, 0, 0))
    if not scene.trap:
        return named(maker, mdl)
    scene.free_silently(mdl)
    scene.stage.missing.append("prcb_lookaside")
    if scene.machine.build < SEGMENT_HEAP:
        return nobody("unattributed")
    return nobody("insufficient", because="lists of freed MDLs that are not wholly in this dump")


def embedded_in_another(scene: Scene) -> Cast:
    """The MDL lies in a driver's device extension, and the driver was kind enough to lend it to an innocent one, whose packet has it.
    Without the trap it is a block of its own."""
    owner, device = scene.driver(io.LOCKING)
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    place = device.extension + 0x80 if scene.trap else 0
    mdl = packets.make_mdl(scene.machine, scene.victim, 5, mapped=False, at=place)
    scene.own(maker, low, mdl, arguments=(mdl.length, 0, 0, 0))
    return at_most(owner) if scene.trap else named(maker, mdl)


def embedded_in_the_doubtful(scene: Scene) -> Cast:
    """As before, and the record of the module whose device that is tells of another file: which driver it is can't be told, and it is
    somebody's all the same."""
    return _doubtful(scene, data=False)


def embedded_in_doubtful_data(scene: Scene) -> Cast:
    """As before, and the MDL lies in the data of that module."""
    return _doubtful(scene, data=True)


def _doubtful(scene: Scene, *, data: bool) -> Cast:
    owner, device = scene.driver(io.LOCKING)
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    place = _data_of(owner) if data else device.extension + 0x80
    mdl = packets.make_mdl(scene.machine, scene.victim, 5, mapped=False, at=place if scene.trap else 0)
    scene.own(maker, low, mdl, arguments=(mdl.length, 0, 0, 0))
    if not scene.trap:
        return named(maker, mdl)
    entry = scene.machine.layouts["KLDR_DATA_TABLE_ENTRY"].offset("EntryPoint")
    scene.later(lambda: scene.machine.space.write_u64(owner.module.kldr + entry, owner.module.base + 0x10))
    return nobody("insufficient")


def packet_on_a_stack(scene: Scene) -> Cast:
    """A driver made its packet on the stack of a thread that was swapped out, the page with the packet's locations first. An innocent
    driver's packet, back from an earlier use, has the MDL's address too. Without the trap there is that packet alone."""
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl, back=True)
    if not scene.trap:
        return named(maker, mdl)
    guilty, _ = scene.driver((*io.LOCKING, "IoInitializeIrp"))
    stack = scene.machine.system_pages(2) + 0x1000
    irp = scene.own(guilty, low, mdl, lookaside=False)
    _put_irp(scene, irp, stack - scene.machine.layouts["IRP"].size)
    scene.later(lambda: scene.machine.space.paged_out(stack, 0x40))
    return nobody("insufficient", because="only partly in this dump")


def merged_after_free(scene: Scene) -> Cast:
    """An innocent driver's packet was freed to the pool and its block merged with the free one in front, so that nothing in it was written
    over. Before 18362 the pool tells. Without the trap it is in use."""
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    irp = scene.own(maker, low, mdl, lookaside=False, arguments=(mdl.length, 0, 0, 0))
    if not scene.trap:
        return named(maker, mdl)
    scene.machine.nonpaged.free(irp.address)
    return nobody("unattributed") if scene.machine.build < SEGMENT_HEAP else at_most(maker)


def kept_in_a_block(scene: Scene) -> Cast:
    """The packet does not tell its maker. Its maker keeps it in a block of its own; an innocent driver, which could have made it, watches
    it from its device extension. Without the trap there is no such block, and the driver made it."""
    _, low = scene.driver()
    watcher, device = scene.driver(MAKING)
    mdl = scene.lock()
    irp = scene.own(None, low, mdl)
    scene.machine.space.write_u64(device.extension + 0x30, irp.address)
    if not scene.trap:
        return named(watcher, mdl)
    block = scene.machine.nonpaged.alloc(0x80, b"Ctxt")
    scene.machine.space.write_u64(block + 0x18, irp.address)
    return nobody("unattributed", because="more than one place keeps a pointer")


def kept_after_deletion(scene: Scene) -> Cast:
    """The packet does not tell its maker, and the device that it was sent to was deleted since; the innocent driver of that, which makes
    packets otherwise, has queued it in another device's extension. Without the trap it was sent to somebody else's."""
    keeper, device = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    irp = scene.own(None, scene.device(keeper) if scene.trap else low, mdl)
    scene.machine.space.write_u64(device.extension + 0x30, irp.address)
    if not scene.trap:
        return named(keeper, mdl)
    following = device.address + scene.machine.layouts["DEVICE_OBJECT"].offset("NextDevice")
    scene.later(lambda: scene.machine.space.write_u64(following, 0))
    return nobody("unattributed", because="by a device that is not known")


# Requests of the I/O manager, and the witness that is not captured


def orphans_file_gone(scene: Scene) -> Cast:
    """A request that was cut off from its thread stands in an innocent driver's device, which has the memory of the one that it was sent
    to. Its file would tell, and is not captured. Without the trap it stands in the device that its file was opened on."""
    holder, device = scene.driver()
    _, other = scene.driver()
    mdl = scene.lock()
    flags = io.FO_HANDLE_CREATED | io.FO_CLEANUP_COMPLETE
    file = _file_alone(scene, device, flags) if scene.trap else io.make_file(scene.machine, device, flags=flags)
    slot = Slot(other if scene.trap else device, CONTROL, file=file, control=PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=mdl, file=file, linked="none", cancel=True)
    if not scene.trap:
        return named(holder, mdl)
    scene.lose("file", file.address)
    return nobody("insufficient", because="the file of the request")


def opened_device_gone(scene: Scene) -> Cast:
    """The device at the current location has been freed and its memory is an innocent driver's device now. The file of the request tells
    that it was opened on another one, which is not captured. Without the trap the location has that device."""
    holder, device = scene.driver()
    _, other = scene.driver()
    mdl = scene.lock()
    if scene.trap:
        _move_device(scene, device)
        scene.lose("opened", device.address)
    scene.request(mdl, other if scene.trap else device, file=io.make_file(scene.machine, device))
    return nobody("insufficient", because="the device that the file") if scene.trap else named(holder, mdl)


def list_of_devices_gone(scene: Scene) -> Cast:
    """The device of the request was deleted, and its driver does not list it any more; another device of that driver, with which the list
    begins, is not captured. Without the trap the driver lists it."""
    holder, first = scene.driver(io.LOCKING)
    if scene.trap:
        _move_device(scene, first)
        scene.lose("first", first.address)
    device = scene.device(holder)
    mdl = scene.lock()
    scene.request(mdl, device)
    return nobody("insufficient", because="whether its driver knows the device") if scene.trap else named(holder, mdl)


def original_gone(scene: Scene) -> Cast:
    """An innocent driver copied a request's MDL into a request of its own that it has from the same thread; the one that was copied is not
    captured, and its request is. Without the trap there is one request."""
    mdl = packets.make_mdl(scene.machine, scene.victim, 5, mapped=False, alone=True)
    holder, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(holder, mdl)
    _, other = scene.driver()
    scene.request(packets.make_mdl(scene.machine, scene.victim, 5, like=mdl, charge=False, mapped=False), other)
    scene.lose("original", mdl.address)
    return nobody("insufficient", because="the MDL of a request on the same list")


def copied_to_the_file(scene: Scene) -> Cast:
    """A driver that locked copied the marks of a request into its own packet, which has no completion routine and waits in an innocent
    driver; its topmost location has another file than the packet. Without the trap it copies nothing."""
    _, bus = scene.driver()
    maker, device = scene.driver(MAKING, above=bus)
    mdl = scene.lock()
    if not scene.trap:
        scene.own(maker, bus, mdl)
        return named(maker, mdl)
    file = io.make_file(scene.machine, device)
    slot = Slot(bus, CONTROL, file=io.make_file(scene.machine, device), control=PENDING_RETURNED)
    packets.make_irp(scene.machine, [slot], 1, mdl=mdl, thread=scene.victim.threads[0], file=file, linked="none")
    return at_most(maker)


def refuted_in_front(scene: Scene) -> Cast:
    """A request of the victim leads to the locked MDL, which another driver keeps, through one in front, whose frames are free long since;
    the reference counts that tell so are not captured. Who has the request may be named for its own MDL. Without the trap that is the
    locked one."""
    holder, device = scene.driver()
    mdl = scene.lock()
    if not scene.trap:
        scene.request(mdl, device)
        return named(holder, mdl)
    old = packets.make_refuted(scene.machine, scene.victim, 3)
    packets.link_mdls(scene.machine, old, mdl)
    scene.request(old, device)
    scene.stage.lose_counts(old)
    scene.keeper(mdl)
    return Cast(frozenset({holder.module.name}), OPEN, old.pages)


# Requests in pieces


def freed_piece(scene: Scene) -> Cast:
    """A partial MDL over the request's pages lies on the list of freed ones: an earlier piece, over long since. The driver has the request.
    The trap is that MDL."""
    cut = Cut(scene)
    if scene.trap:
        packets.free_mdl(scene.machine, cut.part(0, 6))
    return named(cut.upper, cut.mdl)


def half_pending(scene: Scene) -> Cast:
    """One half of the request waits in an innocent driver that has it to send on; the packet of the other half, which waits elsewhere, is
    not captured. Without the trap both are there and wait in one driver."""
    cut = Cut(scene)
    scene.own(cut.upper, cut.lower_device, cut.part(0, 3))
    second = scene.own(cut.upper, scene.driver()[1] if scene.trap else cut.lower_device, cut.part(3, 3), alone=True)
    if not scene.trap:
        return named(cut.lower, cut.mdl)
    scene.lose("second", second.address)
    return nobody("insufficient", because="are not the whole request")


def damaged_piece(scene: Scene) -> Cast:
    """The packet of the only piece waits in the driver below, and is damaged. The one that cut the request is innocent. Without the trap
    the packet is whole."""
    cut = Cut(scene)
    piece = scene.own(cut.upper, cut.lower_device, cut.part(0, 6))
    if not scene.trap:
        return named(cut.lower, cut.mdl)
    scene.field(piece, "Tail.Overlay.CurrentStackLocation", 0x1122_3344)
    return nobody("insufficient", because="a piece of the request is only partly")


def piece_of_nobody(scene: Scene) -> Cast:
    """Two pieces of three are back, and whose they were can't be told: the image's header, which tells where code lies, was paged out with
    the rest of the driver that has the request. Without the trap all three are back, and the header is there."""
    cut = Cut(scene)
    for first in (0, 2) if scene.trap else (0, 2, 4):
        scene.own(cut.upper, cut.lower_device, cut.part(first, 2), back=True, context=cut.request.address)
    if not scene.trap:
        return named(cut.upper, cut.mdl)
    module = cut.upper.module

    def page_out() -> None:
        scene.machine.space.paged_out(module.base, 0x40)
        del scene.machine.labels[f"image_header:{module.name}"]

    scene.later(page_out)
    return nobody("insufficient", because="who made a packet over the pages")


def associated_and_one_gone(scene: Scene) -> Cast:
    """The driver that has a request imports nothing that makes packets, and two associated ones, the request as their master, were made for
    it. One is back, over the whole buffer; the other waits in the driver below, and is not captured. Without the trap there is the former
    alone."""
    _, lower_device = scene.driver()
    upper, device = scene.driver(io.LOCKING, above=lower_device)
    mdl = scene.lock(6)
    request = scene.request(mdl, device)

    def piece(*, back: bool) -> Irp:
        slot = Slot(lower_device, CONTROL, completion=upper.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED)
        part = packets.partial_mdl(scene.machine, mdl, 0, 6)
        return packets.make_irp(
            scene.machine, [slot], 2 if back else 1, mdl=part, manager=False, flags=packets.ASSOCIATED_IRP, system_buffer=request.address,
            alone=not back,
        )  # fmt: skip

    piece(back=True)
    if not scene.trap:
        return named(upper, mdl)
    scene.lose("piece", piece(back=False).address)
    return nobody("insufficient", because="the request was split, and a piece of it may lie")


# Holders


def kept_by_the_nameless(scene: Scene) -> Cast:
    """The MDL is in the device extension of a driver whose object does not tell which it is; an innocent driver's extension has an old
    pointer to it. Without the trap that driver locked the MDL."""
    mdl = scene.lock()
    keeper = scene.keeper(mdl)
    if not scene.trap:
        return named(keeper, mdl)
    owner, device = scene.driver(io.LOCKING)
    scene.machine.space.write_u64(device.extension + 0x20, mdl.address)
    shape = scene.machine.layouts["DRIVER_OBJECT"]

    def hide() -> None:
        for name in ("DriverStart", "DriverSection"):
            scene.machine.space.write_u64(owner.address + shape.offset(name), 0xFFFF_F900_0000_0000)
        scene.machine.space.write(owner.address + shape.offset("DriverName"), bytes(16))

    scene.later(hide)
    return nobody("insufficient", because="that can't be named keeps a pointer")


def kept_beside_stacks(scene: Scene) -> Cast:
    """A page among the stacks that is none, and of which nothing is known, has the MDL; an innocent driver's extension has an old pointer
    to it. Without the trap that driver locked the MDL."""
    mdl = scene.lock()
    keeper = scene.keeper(mdl)
    if not scene.trap:
        return named(keeper, mdl)
    scene.machine.space.write_u64(scene.machine.system_pages(1) + 0x340, mdl.address)
    return nobody("insufficient", because="memory of which nothing is known")


def kept_in_a_mapping(scene: Scene) -> Cast:
    """As before, and the page lies in a part of the address space that has neither stacks nor pool, as a driver's mapping of its device's
    memory may."""
    mdl = scene.lock()
    keeper = scene.keeper(mdl)
    if not scene.trap:
        return named(keeper, mdl)
    place = 0xFFFF_9B80_0000_0000
    scene.machine.space.map(place, scene.machine.physical.take(Use.KERNEL))
    scene.machine.space.write_u64(place + 0x340, mdl.address)
    return nobody("insufficient", because="memory whose bounds are not known")


ALL = (
    back_beside_contradiction, back_with_damaged_lists, back_with_a_large_one, vouched_by_length, embedded_in_another,
    embedded_in_the_doubtful, embedded_in_doubtful_data, packet_on_a_stack, merged_after_free, kept_in_a_block, kept_after_deletion,
    orphans_file_gone, opened_device_gone, list_of_devices_gone, original_gone, copied_to_the_file, refuted_in_front, freed_piece,
    half_pending, damaged_piece, piece_of_nobody, associated_and_one_gone, kept_by_the_nameless, kept_beside_stacks, kept_in_a_mapping,
)  # fmt: skip
