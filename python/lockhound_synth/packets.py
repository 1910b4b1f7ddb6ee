"""MDLs and IRPs in every state a kernel leaves them in: locked, stale, partial; pending, returned, completed, freed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from .io import Device, File, link_to_file
from .machine import Machine
from .physical import PAGE, Use
from .processes import Process, Thread, user_pages
from .record import Record

# MDL flags, WDK wdm.h.
MAPPED, LOCKED, NONPAGED_SOURCE, FIXED_SIZE, PARTIAL = 0x1, 0x2, 0x4, 0x8, 0x10
PAGING_READ, WRITE, LOCKED_TABLES, CAN_FAIL = 0x40, 0x80, 0x100, 0x2000
FIXED_PAGES = 23  # pages an MDL of the lookaside list can describe

IRP_TYPE = 6
IRP_READ_FLAGS, IRP_CONTROL_FLAGS = 0x60900, 0x60000
ASSOCIATED_IRP = 0x8
READ, CONTROL = 3, 14
PENDING_RETURNED, ON_CANCEL, ON_SUCCESS, ON_ERROR = 0x01, 0x20, 0x40, 0x80
ON_ALL = ON_CANCEL | ON_SUCCESS | ON_ERROR
URB_BULK = 9  # URB_FUNCTION_BULK_OR_INTERRUPT_TRANSFER, WDK usb.h; TransferBufferMDL at 0x30 on x64
SUBMIT_URB = 0x220003  # IOCTL_INTERNAL_USB_SUBMIT_URB, WDK usbioctl.h
LOOKASIDE_STACKS = (1, 4, 14)  # stack locations of small, medium and large packets


@dataclass(slots=True)
class Mdl:
    address: int
    process: Process | None
    va: int
    offset: int
    length: int
    frames: list[int]
    flags: int
    next: int = 0

    @property
    def pages(self) -> int:
        return len(self.frames)

    @property
    def told(self) -> int:
        """Pages by offset and length, which a driver may have made fewer."""
        return (self.offset + self.length + PAGE - 1) // PAGE


@dataclass(slots=True)
class Slot:
    """One stack location."""

    device: Device
    major: int = CONTROL
    minor: int = 0
    completion: int = 0
    context: int = 0
    control: int = 0
    file: File | None = None
    arguments: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(slots=True)
class Irp:
    address: int
    stack_count: int
    current: int
    slots: list[Slot | None] = field(default_factory=list)
    mdl: int = 0
    size: int = 0


def make_mdl(
    machine: Machine, process: Process | None, pages: int, *, locked: bool = True, at: int = 0, cross: bool = False,
    tag: bytes = b"Mdl ", flags: int | None = None, mapped: bool | None = None, frames: list[int] | None = None, va: int | None = None,
    charge: bool | None = None, next_mdl: int = 0, alone: bool = False, like: Mdl | None = None,
) -> Mdl:  # fmt: skip
    """An MDL over fresh user pages of a process (or over given frames). at places it in memory the caller owns; like describes the
    same bytes as another one. A locked one is charged to its process and pins its frames."""
    rng = machine.rng
    if like is not None:
        frames, va = list(like.frames), like.va
    if frames is None and process is not None:
        va, frames = user_pages(machine, process, pages)
        if not locked:
            release(machine, process, va, frames)
    if frames is None or va is None:
        raise ValueError("an MDL without a process needs its frames and address")
    offset = rng.choice((0, 0, rng.randrange(1, PAGE)))
    low, high = (pages - 1) * PAGE + 1 - offset, pages * PAGE - offset
    length = high if rng.random() < 0.4 else rng.randrange(max(low, 1), high + 1)
    if like is not None:
        offset, length = like.offset, like.length
    need = 0x30 + 8 * pages  # Size keeps 16 bits of it
    fixed = pages <= FIXED_PAGES and not at and tag == b"Mdl "
    if flags is None:
        mapped = rng.random() < 0.3 if mapped is None else mapped
        flags = (LOCKED | LOCKED_TABLES if locked else 0) | WRITE | (FIXED_SIZE if fixed else 0)
        if mapped and locked:
            flags |= MAPPED | (CAN_FAIL if rng.random() < 0.5 else 0)
    address = at or machine.nonpaged.alloc(0x30 + 8 * (FIXED_PAGES if fixed else pages), tag, cross=cross, alone=alone)
    if flags & MAPPED:
        system_va = map_frames(machine, frames) + offset
    else:
        # Never initialised: whatever the block held before.
        system_va = machine.places.choice((0, machine.system_ptes + machine.places.getrandbits(30)))
    record = Record(machine.layouts["MDL"], 8 * pages)
    record.set("Next", next_mdl).set("Size", need).set("MdlFlags", flags).set("Process", process.address if process else 0)
    record.set("MappedSystemVa", system_va).set("StartVa", va & ~0xFFF).set("ByteCount", length).set("ByteOffset", offset)
    struct.pack_into(f"<{pages}Q", record.data, record.shape.size, *frames)
    machine.space.write(address, bytes(record))
    mdl = Mdl(address, process, va, offset, length, frames, flags, next_mdl)
    if charge if charge is not None else (locked and process is not None):
        if process is None:
            raise ValueError("nobody to charge")
        process.locked += pages
        machine.locks.append((process, mdl))
        for pfn in frames:
            machine.pins[pfn] = machine.pins.get(pfn, 0) + 1
    return mdl


def make_refuted(machine: Machine, process: Process, pages: int, *, at: int = 0, tag: bytes = b"Mdl ") -> Mdl:
    """What is left of an MDL copied while it was locked: the flag says locked, the frames are free long since."""
    mdl = make_mdl(machine, process, pages, mapped=False, charge=False, at=at, tag=tag)
    release(machine, process, mdl.va, mdl.frames)
    return mdl


def shorten(machine: Machine, mdl: Mdl, pages: int) -> None:
    """A driver edits ByteCount so that fewer pages seem to be described; Size and array stay."""
    mdl.length = pages * PAGE - mdl.offset
    at = mdl.address + machine.layouts["MDL"].offset("ByteCount")
    machine.space.write(at, struct.pack("<I", mdl.length))


def free_to_pool(machine: Machine, mdl: Mdl, link: int) -> None:
    """Frees the MDL's pool block: the header says so, the first qword becomes a list's link."""
    machine.nonpaged.free(mdl.address)
    machine.space.write_u64(mdl.address, link)


def release(machine: Machine, process: Process, va: int, frames: list[int]) -> None:
    """The buffer of an unlocked MDL is gone: its frames are free, their content is left over."""
    for index, pfn in enumerate(frames):
        if process.alive:
            process.space.unmap(va + index * PAGE)
        machine.physical.uses[pfn] = Use.FREE
        machine.mapped_user.discard(pfn)


def map_frames(machine: Machine, frames: Sequence[int]) -> int:
    """A system mapping of the frames (what MmMapLockedPages makes); a kernel dump then holds the frames too."""
    va = machine.next_system_pte
    for index, pfn in enumerate(frames):
        machine.space.map(va + index * PAGE, pfn)
        machine.physical.uses[pfn] = Use.KERNEL
    machine.next_system_pte = va + (len(frames) + 1) * PAGE
    return va


def partial_mdl(machine: Machine, master: Mdl, first: int, count: int) -> Mdl:
    """What IoBuildPartialMdl leaves: bytes, frames and process of the master, nothing charged. IoAllocateMdl gives it room for
    the master's length, so its Size may exceed what its pages need."""
    frames = master.frames[first : first + count]
    page = (master.va & ~0xFFF) + first * PAGE
    mdl = make_mdl(machine, master.process, count, locked=False, frames=frames, va=page, flags=PARTIAL | FIXED_SIZE, charge=False)
    # The pieces cut at page boundaries repeat the master's bytes exactly.
    begin = max(page, (master.va & ~0xFFF) + master.offset)
    end = min(page + count * PAGE, (master.va & ~0xFFF) + master.offset + master.length)
    mdl.offset, mdl.length = begin - page, end - begin
    shape = machine.layouts["MDL"]
    machine.space.write(mdl.address + shape.offset("Size"), struct.pack("<H", 0x30 + 8 * master.pages))
    machine.space.write(mdl.address + shape.offset("ByteOffset"), struct.pack("<I", mdl.offset))
    machine.space.write(mdl.address + shape.offset("ByteCount"), struct.pack("<I", mdl.length))
    return mdl


def link_mdls(machine: Machine, first: Mdl, second: Mdl) -> None:
    first.next = second.address
    machine.space.write_u64(first.address + machine.layouts["MDL"].offset("Next"), second.address)


def set_mdl_flags(machine: Machine, mdl: Mdl, flags: int) -> None:
    mdl.flags = flags
    machine.space.write(mdl.address + machine.layouts["MDL"].offset("MdlFlags"), struct.pack("<H", flags))


def stack_for(count: int, lookaside: bool) -> int:
    """Stack locations there is room for: packets of a lookaside list are bigger than asked."""
    if lookaside:
        for stacks in LOOKASIDE_STACKS:
            if count <= stacks:
                return stacks
    return count


def make_irp(
    machine: Machine, slots: Sequence[Slot | None], current: int, *, mdl: Mdl | int = 0, thread: Thread | None = None,
    file: File | None = None, requestor: int = 1, manager: bool = True, linked: str = "", cancel: bool = False,
    flags: int = IRP_CONTROL_FLAGS,
    lookaside: bool | None = None, cancel_routine: int = 0, system_buffer: int = 0, user_buffer: int = 0, cross: bool = False,
    alone: bool = False, room: int = 0, beyond: Sequence[Slot] = (), iosb: int | None = None, event: int = 0,
) -> Irp:  # fmt: skip
    """A packet. slots[0] is the lowest driver's location, current counts from 1 as in IRP.CurrentLocation (StackCount + 1
    with its maker, + 2 completed). linked: thread, file or none (self-linked). manager: the I/O manager's marks, else a driver's.
    room: so many locations were allocated, beyond: what an earlier use left in those above the count."""
    rng, layouts = machine.rng, machine.layouts
    count = len(slots)
    shape, location = layouts["IRP"], layouts["IO_STACK_LOCATION"]
    room = max(room or stack_for(count, rng.random() < 0.5 if lookaside is None else lookaside), count + len(beyond))
    linked = linked or ("thread" if manager else "none")
    size = shape.size + room * location.size
    address = machine.nonpaged.alloc(size, b"Irp ", cross=cross, alone=alone)
    record = Record(shape, room * location.size)
    mdl_address = mdl.address if isinstance(mdl, Mdl) else mdl
    record.set("Type", IRP_TYPE).set("Size", size).set("MdlAddress", mdl_address).set("Flags", flags)
    record.set("StackCount", count).set("CurrentLocation", current).set("Cancel", int(cancel))
    record.set("CancelRoutine", cancel_routine).set("UserBuffer", user_buffer).set("AssociatedIrp", system_buffer)
    record.set("AllocationFlags", 0x0C if room != count else 0x04)
    entry = address + shape.offset("ThreadListEntry")
    record.links("ThreadListEntry", entry, entry)
    queue = address + shape.offset("Tail.Overlay.ListEntry")
    record.links("Tail.Overlay.ListEntry", queue, queue)
    if iosb is None:
        iosb = rng.randrange(0x10_0000, 0x7000_0000) << 4 if manager else 0
    record.set("UserIosb", iosb).set("UserEvent", event)
    if manager:
        record.set("RequestorMode", requestor)
        record.set("Tail.Overlay.OriginalFileObject", file.address if file else 0)
    if thread is not None:
        record.set("Tail.Overlay.Thread", thread.address)
    record.set("Tail.Overlay.CurrentStackLocation", address + shape.size + (current - 1) * location.size)
    for index, slot in enumerate([*slots, *beyond]):
        if slot is None:
            continue
        part = Record(location)
        part.set("MajorFunction", slot.major).set("MinorFunction", slot.minor).set("Control", slot.control)
        part.set("DeviceObject", slot.device.address).set("CompletionRoutine", slot.completion).set("Context", slot.context)
        if current <= count:  # a packet on its way back has lost parameters and file objects
            part.put("Parameters", struct.pack("<4Q", *slot.arguments))
            part.set("FileObject", slot.file.address if slot.file else 0)
        at = shape.size + index * location.size
        record.data[at : at + location.size] = part.data
    machine.space.write(address, bytes(record))
    if linked == "thread" and thread is not None:
        thread.irps.append(address)
    elif linked == "file" and file is not None:
        link_to_file(machine, file, address)
    return Irp(address, count, current, list(slots), mdl_address, size)


def control_code(device: Device, function: int, method: int) -> int:
    """CTL_CODE(type, function, method, FILE_ANY_ACCESS); method 1 is in-direct, 2 out-direct (WDK devioctl.h)."""
    return device.kind << 16 | function << 2 | method


def control_arguments(machine: Machine, device: Device, length: int) -> tuple[int, int, int, int]:
    """Parameters.DeviceIoControl: output length, input length, code, no third buffer."""
    return length, 0x10, control_code(device, 0x800 + machine.rng.randrange(0x100), 2), 0


def make_urb(machine: Machine, mdl: Mdl) -> int:
    """A request block of USB for a bulk transfer, whose buffer the MDL describes; its address."""
    address = machine.nonpaged.alloc(0x80, b"Urb ")
    machine.space.write(address, struct.pack("<HHi6Q", 0x80, URB_BULK, 0, 0, 0, 0, mdl.length << 32, 0, mdl.address))
    return address


def complete(machine: Machine, irp: Irp) -> None:
    """Marks a packet completed: location StackCount + 2, not on any list; MdlAddress stays as a leftover."""
    shape, location = machine.layouts["IRP"], machine.layouts["IO_STACK_LOCATION"]
    at = irp.stack_count + 2
    machine.space.write(irp.address + shape.offset("CurrentLocation"), bytes((at,)))
    machine.space.write_u64(
        irp.address + shape.offset("Tail.Overlay.CurrentStackLocation"), irp.address + shape.size + (at - 1) * location.size
    )
    machine.space.write(irp.address + shape.offset("IoStatus"), bytes(16))
    entry = irp.address + shape.offset("ThreadListEntry")
    machine.space.write(entry, struct.pack("<2Q", entry, entry))
    irp.current = at


def free_irp(machine: Machine, irp: Irp) -> None:
    """Frees a packet: its first qword becomes a list link, so the type is gone; the rest stays."""
    machine.lookasides[lookaside_index(irp.stack_count)].append(irp.address)


def free_mdl(machine: Machine, mdl: Mdl) -> None:
    """Gives an MDL back to the lookaside list: Next becomes the list link."""
    machine.lookasides[3].append(mdl.address)


def lookaside_index(stacks: int) -> int:
    return 0 if stacks == 1 else 1 if stacks <= 4 else 2
