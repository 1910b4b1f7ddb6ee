"""Further situations that one condition alone answers for: marks of copies, files on volumes, imports, what was emptied, lists astray."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.layouts.derived import UNKNOWN
from lockhound_synth.packets import CONTROL, PENDING_RETURNED, READ, Slot
from lockhound_synth.regions import SEGMENT_HEAP

from .scene import MAKING, OPEN, Cast, Scene, at_most, named, nobody
from .situations_mdls import Cut

WRITE = 4  # IRP_MJ_WRITE, WDK wdm.h
IN_DIRECT, BUFFERED = 0x0022_2001, 0x0022_2004  # control codes: METHOD_IN_DIRECT, METHOD_BUFFERED (WDK devioctl.h)
IMPORTS, TABLE = 1, 12  # IMAGE_DIRECTORY_ENTRY_IMPORT, _IAT (PE format)
VPB = 0x10  # FILE_OBJECT.Vpb, WDK wdm.h
DIRECTORIES, DIRECTORY_SIZE = 0x88, 8  # behind "PE\0\0" in a PE32+ header


# Copies of a request's marks


def _copied(scene: Scene, *, iosb: int | None = None, thread: bool = True, top: bool = True, lists: bool = True) -> Cast:
    """A driver that locked copied marks of a request into its own packet, which has no completion routine and waits in an innocent one."""
    _, bus = scene.driver()
    maker, device = scene.driver(MAKING, above=bus)
    mdl = scene.lock()
    if not scene.trap:
        scene.own(maker, bus, mdl)
        return named(maker, mdl)
    file = io.make_file(scene.machine, device)
    slots: list[Slot | None] = [Slot(bus, CONTROL, file=file, control=PENDING_RETURNED)]
    heads = [(file.address, "FILE_OBJECT"), (scene.victim.threads[0].address, "ETHREAD")]

    def cut() -> None:
        for address, kind in heads:
            scene.machine.space.write(address + scene.machine.layouts[kind].offset("IrpList"), bytes(16))

    if not lists:
        scene.later(cut)
    victims = scene.victim.threads[0] if thread else None
    packets.make_irp(
        scene.machine, slots if top else [*slots, None], 1, mdl=mdl, thread=victims, file=file, linked="none", iosb=iosb
    )  # fmt: skip
    return at_most(maker)


def copied_without_status_block(scene: Scene) -> Cast:
    """A driver's packet has the marks of a request, but for the address of the user's status block. Without the trap it has none."""
    return _copied(scene, iosb=0)


def copied_without_thread(scene: Scene) -> Cast:
    """As before, with the status block and without a thread."""
    return _copied(scene, thread=False)


def copied_without_thread_or_lists(scene: Scene) -> Cast:
    """As before, and the list of its file is gone too: the I/O manager takes the thread from a request only when it has cancelled it."""
    return _copied(scene, thread=False, lists=not scene.trap)


def copied_without_either(scene: Scene) -> Cast:
    """As before, and neither; the list of its file is gone."""
    return _copied(scene, iosb=0, thread=False, lists=not scene.trap)


def copied_below_an_unused_location(scene: Scene) -> Cast:
    """As before, with both; its maker left the topmost location unused, and the list of the thread is gone too."""
    return _copied(scene, top=not scene.trap, lists=not scene.trap)


# Requests of the I/O manager


def child_in_the_same_thread(scene: Scene) -> Cast:
    """A filter has the request and waits, in the thread of the program, for a packet of IoBuildDeviceIoControlRequest with the same MDL,
    which is pending below. The trap is that packet; without it, the filter has the request."""
    lower, device = scene.driver()
    filter_driver, above = scene.driver((*MAKING, "IoBuildDeviceIoControlRequest"), above=device)
    mdl = scene.lock()
    scene.filtered(mdl, above)
    if not scene.trap:
        return named(filter_driver, mdl)
    scene.threaded(device, mdl, scene.victim.threads[0])
    return at_most(lower)


def waits_in_the_kernel(scene: Scene) -> Cast:
    """The request waits in a device whose driver object is one of nt's own, without an image: its routines lie in nt. Without the trap they
    lie in a vendor's driver."""
    holder, device = scene.driver()
    mdl = scene.lock()
    scene.request(mdl, device)
    if not scene.trap:
        return named(holder, mdl)
    shape, space = scene.machine.layouts["DRIVER_OBJECT"], scene.machine.space
    routine = scene.machine.nt_base + scene.machine.kernel.exports["IofCompleteRequest"]

    def adopt() -> None:
        for name in ("DriverStart", "DriverSection"):
            space.write_u64(holder.address + shape.offset(name), 0)
        space.write(holder.address + shape.offset("MajorFunction"), struct.pack("<28Q", *[routine] * 28))

    scene.later(adopt)
    return nobody("kernel")


def opened_on_a_volume(scene: Scene) -> Cast:
    """The file of the request lies on a mounted volume: it was opened on the disk's device, and served by the file system's, which hangs on
    the volume and on no stack of devices. The trap is that; the request waits in a filter of the file system in any case."""
    holder, device = scene.driver()
    _, disk = scene.driver()
    mdl = scene.lock()
    file = io.make_file(scene.machine, disk if scene.trap else device)
    if scene.trap:
        volume = scene.machine.nonpaged.alloc(0x60, b"Vpb ")
        scene.machine.space.write_u64(file.address + VPB, volume)
    scene.request(mdl, device, file=file)
    return named(holder, mdl)


# Requests in pieces


def outstanding_write(scene: Scene) -> Cast:
    """The request is a write, counts one associated packet that is out, and none is found: the driver that has it waits for another.
    Without the trap the count is zero."""
    cut = Cut(scene)
    at = scene.machine.layouts["IRP"].size + scene.machine.layouts["IO_STACK_LOCATION"].size
    scene.machine.space.write(cut.request.address + at, bytes((WRITE,)))
    if not scene.trap:
        return named(cut.upper, cut.mdl)
    scene.field(cut.request, "AssociatedIrp", 1)
    return nobody("insufficient", because="counts pieces that are outstanding")


def piece_of_locked_system_address(scene: Scene) -> Cast:
    """The driver that has the request mapped its pages, and locked the mapping by an MDL of its own, which it sent down: another address,
    the same frames. Without the trap that is a partial MDL."""
    cut = Cut(scene)
    part = cut.part(2, 3)
    if scene.trap:
        flags = packets.LOCKED | packets.WRITE | packets.FIXED_SIZE
        frames = cut.mdl.frames[2:5]
        part = packets.make_mdl(scene.machine, None, 3, frames=frames, va=0xFFFF_C000_1234_0000, flags=flags, charge=False)
    scene.own(cut.upper, cut.lower_device, part)
    return nobody("insufficient", because="may be a piece of it") if scene.trap else named(cut.lower, cut.mdl)


def hidden_without_a_table(scene: Scene) -> Cast:
    """The driver that has the request has no table of imports: by which routines it splits requests can't be told. The packet of its piece
    is not captured. Without the trap it is."""
    cut = Cut(scene, imports=())
    piece = scene.own(cut.upper, cut.lower_device, cut.mdl, alone=True)
    if not scene.trap:
        return named(cut.lower, cut.mdl)
    scene.lose("piece", piece.address)
    base, space = cut.upper.module.base, scene.machine.space
    (header,) = struct.unpack("<I", space.read(base + 0x3C, 4))
    for which in (IMPORTS, TABLE):
        space.write(base + header + DIRECTORIES + DIRECTORY_SIZE * which, bytes(8))
    return nobody("insufficient")


# What drivers' packets carry


def many_pointers(scene: Scene) -> Cast:
    """The maker of the packet keeps the MDL in a dozen places of its own, and another driver that locks pages keeps it too. Without the
    trap the maker alone does."""
    maker, device = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    for at in range(0x20, 0x20 + 8 * 12, 8):
        scene.machine.space.write_u64(device.extension + at, mdl.address)
    if not scene.trap:
        return named(maker, mdl)
    scene.keeper(mdl)
    return nobody("unattributed", because="the memory of another driver than the packet's maker")


def embedded_in_its_own(scene: Scene) -> Cast:
    """The MDL lies in the device extension of the driver that made the packet: the trap is that place, and it is its own."""
    maker, device = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = packets.make_mdl(scene.machine, scene.victim, 5, mapped=False, at=device.extension + 0x80 if scene.trap else 0)
    scene.own(maker, low, mdl, arguments=(mdl.length, 0, 0, 0))
    return named(maker, mdl)


def unvouched_with_damaged_lists(scene: Scene) -> Cast:
    """The MDL was freed while locked, the lists of freed ones were full, and the processor's pointers to them are damaged; an innocent
    driver's packet, used again, still names it, and nothing else. Without the trap the MDL stands."""
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    scene.free_silently(mdl)
    scene.later(lambda: scene.machine.space.write(scene.machine.labels["prcb_lookaside"], bytes(0x40)))
    return nobody(*(("unattributed",) if scene.machine.build < SEGMENT_HEAP else ("insufficient",)))


def imports_paged_out(scene: Scene) -> Cast:
    """The pages with the imports of the driver that made the packet are paged out: whether it can lock can't be known. Without the trap
    they are there."""
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    module, space = maker.module, scene.machine.space
    (header,) = struct.unpack("<I", space.read(module.base + 0x3C, 4))

    def page_out() -> None:
        for which in (IMPORTS, TABLE):
            (rva,) = struct.unpack("<I", space.read(module.base + header + DIRECTORIES + DIRECTORY_SIZE * which, 4))
            space.paged_out((module.base + rva) & ~0xFFF, 0x40)

    scene.later(page_out)
    return nobody("insufficient", because="can lock pages is not in this dump")


def emptied_in_direct(scene: Scene) -> Cast:
    """A driver took the MDL out of the request that it has and sent it down in a packet of its own, whose context is the request: the
    driver below has the pages. The request's code is one for direct input. Without the trap it is one for copied buffers, and had no
    MDL."""
    return _emptied(scene, CONTROL, (0x1000, 0x10, IN_DIRECT if scene.trap else BUFFERED, 0))


def emptied_read(scene: Scene) -> Cast:
    """As before, and the request is a read of a device with direct I/O. Without the trap the device takes copied buffers."""
    return _emptied(scene, READ, (0x1000, 0, 0, 0))


def emptied_write(scene: Scene) -> Cast:
    """As before, and it is a write."""
    return _emptied(scene, WRITE, (0x1000, 0, 0, 0))


def _emptied(scene: Scene, major: int, arguments: tuple[int, int, int, int]) -> Cast:
    mdl = scene.lock()
    holder, lower = scene.driver()
    maker, device = scene.driver(MAKING)
    device.flags = io.DO_DIRECT_IO if scene.trap else io.DO_BUFFERED_IO
    file = io.make_file(scene.machine, device)
    slot = Slot(device, major, file=file, control=PENDING_RETURNED, arguments=arguments)
    request = packets.make_irp(scene.machine, [slot], 1, thread=scene.victim.threads[0], file=file)
    scene.own(maker, lower, mdl, context=request.address)
    return at_most(holder) if scene.trap else named(maker, mdl)


def list_cut_short(scene: Scene) -> Cast:
    """The MDL was freed while locked and lies on a list of freed ones that breaks off before it: the list's head counts more than there
    are. An innocent driver's packet, used again, still names it. Without the trap the MDL stands."""
    machine = scene.machine
    maker, _ = scene.driver(MAKING)
    _, low = scene.driver()
    mdl = scene.lock()
    scene.own(maker, low, mdl)
    if not scene.trap:
        return named(maker, mdl)
    others = [scene.lock(2, scene.stranger) for _ in range(6)]
    for freed in (*others[:3], mdl, *others[3:]):
        packets.free_mdl(machine, freed)

    def cut() -> None:
        (before,) = [one.address for one in others if machine.space.read_u64(one.address) == mdl.address]
        machine.space.write_u64(before, 0)

    scene.later(cut)
    return nobody("insufficient", because="whether the MDL was freed can't be told")


# Modules


def another_time_stamp(scene: Scene) -> Cast:
    """The record of the module that the request waits in has another time stamp than the image at its base: the record is left over, or the
    image. Records have none before Windows 10, and where it is in those of a build that no table knows is not known. Without the trap it
    has that one."""
    holder, device = scene.driver()
    mdl = scene.lock()
    scene.request(mdl, device)
    shape = scene.machine.layouts["KLDR_DATA_TABLE_ENTRY"]
    if not scene.trap or "TimeDateStamp" not in shape or scene.machine.build == UNKNOWN:
        return named(holder, mdl)
    stamp = struct.pack("<I", holder.module.timestamp ^ 0x100)
    scene.later(lambda: scene.machine.space.write(holder.module.kldr + shape.offset("TimeDateStamp"), stamp))
    return nobody("unattributed")


def routines_in_two_modules(scene: Scene) -> Cast:
    """The driver object of the device in which the request waits has no image, and its routines lie in two drivers, both innocent. Only the
    object's own name is left. Without the trap it has its image."""
    holder, device = scene.driver()
    first, _ = scene.driver()
    second, _ = scene.driver()
    mdl = scene.lock()
    scene.request(mdl, device)
    if not scene.trap:
        return named(holder, mdl)
    shape, space = scene.machine.layouts["DRIVER_OBJECT"], scene.machine.space
    routines = [driver.module.symbols["Dispatch"] for driver in (first, second) for _ in range(14)]

    def mix() -> None:
        for name in ("DriverStart", "DriverSection"):
            space.write_u64(holder.address + shape.offset(name), 0)
        space.write(holder.address + shape.offset("MajorFunction"), struct.pack("<28Q", *routines))

    scene.later(mix)
    return Cast(frozenset({holder.name}), OPEN)


def across_a_page(scene: Scene) -> Cast:
    """The MDL begins at the end of a page, and the next one is paged out: that it may be one, and whose, can't be known. Without the trap
    it lies in a block of its own."""
    place = scene.machine.system_pages(2) + 0x1000 - 0x20
    mdl = packets.make_mdl(scene.machine, scene.victim, 5, mapped=False, at=place if scene.trap else 0)
    if not scene.trap:
        return named(scene.keeper(mdl), mdl)
    scene.keeper(mdl)
    scene.later(lambda: scene.machine.space.paged_out(place + 0x20, 0x40))
    return nobody("insufficient", because="an MDL of the process may lie across a page")


# Holders


def copied_and_kept(scene: Scene) -> Cast:
    """A driver keeps the MDL in its device extension, and an innocent one a copy of the structure in its own: of the two one is the lock,
    by the references, and which can't be told. Without the trap there is no copy."""
    mdl = scene.lock()
    keeper = scene.keeper(mdl)
    if not scene.trap:
        return named(keeper, mdl)
    scene.keeper(packets.make_mdl(scene.machine, scene.victim, mdl.pages, like=mdl, charge=False, mapped=False))
    return nobody("insufficient", because="another structure describes the same pages")


def list_of_devices_astray(scene: Scene) -> Cast:
    """An innocent driver's list of devices is damaged and goes on with the device of the driver that keeps the MDL. Without the trap it
    ends."""
    mdl = scene.lock()
    _, device = scene.driver(io.LOCKING)
    keeper, kept = scene.driver(io.LOCKING)
    scene.machine.space.write_u64(kept.extension + 0x20, mdl.address)
    if scene.trap:
        following = device.address + scene.machine.layouts["DEVICE_OBJECT"].offset("NextDevice")
        scene.later(lambda: scene.machine.space.write_u64(following, kept.address))
    return at_most(keeper) if scene.trap else named(keeper, mdl)


ALL = (
    copied_without_status_block, copied_without_thread, copied_without_thread_or_lists, copied_without_either,
    copied_below_an_unused_location, child_in_the_same_thread, waits_in_the_kernel, opened_on_a_volume, outstanding_write,
    piece_of_locked_system_address, hidden_without_a_table, many_pointers, embedded_in_its_own, unvouched_with_damaged_lists,
    imports_paged_out, emptied_in_direct, emptied_read, emptied_write, copied_and_kept, list_of_devices_astray, across_a_page,
    list_cut_short, another_time_stamp, routines_in_two_modules,
)  # fmt: skip
