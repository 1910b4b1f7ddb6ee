"""Ordinary cases told by another author: details that mean nothing, each written in another way than the forge does."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from lockhound_synth import scenarios

from .altered import Altered

Change = Callable[[Altered], object]

KNOWN = frozenset(scenarios.ALL_BUILDS) - {23456}  # builds whose offsets are known beforehand

# Packets that only their place on a thread's list tells from a driver's own: without the thread they can't be told.
BY_LIST = frozenset({"device_control_built", "kernel_requestor"})
# Filters stand above: their completion routines are what a driver that copies a request would set.
ROUTINES = frozenset({"filters_above", "tracked_manager", "tracked_passed_on"})


@dataclass(frozen=True, slots=True)
class Variation:
    """A change; in the stories of `weaker` the right driver may stay unnamed, for the reason that stands beside them, and those of
    `never` would be other stories with it."""

    change: Change
    weaker: frozenset[str]
    never: frozenset[str]

    @property
    def name(self) -> str:
        return getattr(self.change, "__name__", "?")


ALL: dict[str, Variation] = {}


NONE: frozenset[str] = frozenset()


def variation(weaker: frozenset[str] = NONE, never: frozenset[str] = NONE) -> Callable[[Change], Change]:
    def enter(change: Change) -> Change:
        entry = Variation(change, weaker, never)
        ALL[entry.name] = entry
        return change

    return enter


# Threads of the process that has ended: their memory is anybody's.


def _threads(a: Altered) -> list[int]:
    return [thread.address for thread in a.victim.threads]


def _unlink(a: Altered, words: Callable[[int], tuple[int, int]]) -> None:
    for irp in a.requests:
        entry = a.at("IRP", irp, "ThreadListEntry")
        if not a.alone(irp):
            a.put(entry, *words(entry))


def _heads(a: Altered, words: Callable[[int], tuple[int, int]]) -> None:
    for thread in _threads(a):
        head = a.at("ETHREAD", thread, "IrpList")
        a.put(head, *words(head))


@variation(BY_LIST)
def thread_zeroed(a: Altered) -> None:
    """The pool gave the thread's block back and it reads zero."""
    for thread in _threads(a):
        a.write(thread, bytes(a.size("ETHREAD")))


@variation(BY_LIST)
def thread_overwritten(a: Altered) -> None:
    """Something else's data is in the block."""
    for thread in _threads(a):
        a.write(thread, a.random.randbytes(a.size("ETHREAD")))


@variation(BY_LIST)
def thread_used_again(a: Altered) -> None:
    """Pointers of another object are in the block."""
    for thread in _threads(a):
        a.put(thread, *(a.machine.threads[0].address + 8 * i for i in range(a.size("ETHREAD") // 8)))


@variation(BY_LIST)
def thread_unmapped(a: Altered) -> None:
    """The thread's memory is not there any more: pointer and links dangle."""
    for irp in a.requests:
        if a.get("IRP", irp, "Tail.Overlay.Thread"):
            a.set("IRP", irp, "Tail.Overlay.Thread", a.unmapped())
            head = a.unmapped() + 0x4D0
            a.put(a.at("IRP", irp, "ThreadListEntry"), head, head)


@variation(BY_LIST)
def list_head_zero(a: Altered) -> None:
    """The thread's object is there, and its list was never written."""
    _heads(a, lambda _: (0, 0))


@variation(ROUTINES, never=BY_LIST)
def entry_and_head_alone(a: Altered) -> None:
    """Neither the packet nor the thread's list is linked to anything."""
    _unlink(a, lambda entry: (entry, entry))
    _heads(a, lambda head: (head, head))


@variation(BY_LIST | ROUTINES)
def entry_zero_head_alone(a: Altered) -> None:
    """The packet's entry was never written, and the thread's list is empty."""
    _unlink(a, lambda _: (0, 0))
    _heads(a, lambda head: (head, head))


@variation(BY_LIST | ROUTINES)
def entry_dangles_head_alone(a: Altered) -> None:
    """The packet's entry leads to memory that is not there, and the thread's list is empty."""
    head = a.unmapped() + 0x4D0
    _unlink(a, lambda _: (head, head))
    _heads(a, lambda head: (head, head))


@variation()
def thread_header_zero(a: Altered) -> None:
    """The header in front of the thread's object is gone."""
    for thread in _threads(a):
        a.write(thread - 0x60, bytes(0x60))


@variation()
def thread_type_kept(a: Altered) -> None:
    """The thread's object still has its type."""
    for thread in _threads(a):
        a.write(thread, b"\6")


# The process


@variation()
def process_lists_zero(a: Altered) -> None:
    """The heads of the lists of threads are zero."""
    for shape in ("EPROCESS", "KPROCESS"):
        a.put(a.at(shape, a.victim.address, "ThreadListHead"), 0, 0)


@variation()
def process_lists_dangle(a: Altered) -> None:
    """The heads of the lists of threads lead to memory that is not there."""
    for shape in ("EPROCESS", "KPROCESS"):
        a.put(a.at(shape, a.victim.address, "ThreadListHead"), a.unmapped(), a.unmapped())


@variation(BY_LIST)
def process_lists_lead_to_dead_threads(a: Altered) -> None:
    """The heads still lead to a thread whose memory is zero."""
    for shape in ("EPROCESS", "KPROCESS"):
        thread = "ETHREAD" if shape == "EPROCESS" else "KTHREAD"
        head, entry = a.at(shape, a.victim.address, "ThreadListHead"), a.at(thread, _threads(a)[0], "ThreadListEntry")
        a.put(head, entry, entry)
    thread_zeroed(a)


@variation()
def process_links_alone(a: Altered) -> None:
    """The process's links lead to themselves."""
    entry = a.at("EPROCESS", a.victim.address, "ActiveProcessLinks")
    a.put(entry, entry, entry)


@variation()
def process_links_stale(a: Altered) -> None:
    """The process's links still lead to its neighbours, which know it no more."""
    other = a.at("EPROCESS", a.machine.processes[1].address, "ActiveProcessLinks")
    a.put(a.at("EPROCESS", a.victim.address, "ActiveProcessLinks"), other, other)


@variation()
def process_still_listed(a: Altered) -> None:
    """The process is still in the list of processes."""
    entry, head = a.at("EPROCESS", a.victim.address, "ActiveProcessLinks"), a.machine.symbol("PsActiveProcessHead")
    last = a.u64(head + 8)
    a.put(entry, head, last)
    a.put(head + 8, entry)
    a.put(last, entry)


@variation()
def process_flags_only_two(a: Altered) -> None:
    """Of the flags only those of a process that exits and is deleted are set."""
    a.set("EPROCESS", a.victim.address, "Flags", 0xC)


@variation()
def process_without_exit_time(a: Altered) -> None:
    """The flags say that it exits, the time was not written."""
    a.set("EPROCESS", a.victim.address, "ExitTime", 0)


@variation()
def process_not_signalled(a: Altered) -> None:
    """The object's signal was not set."""
    a.write(a.at("DISPATCHER_HEADER", a.victim.address, "SignalState"), bytes(4))


@variation()
def process_counts_nothing(a: Altered) -> None:
    """The count of locked pages stands in the bug check alone."""
    a.set("EPROCESS", a.victim.address, "NumberOfLockedPages", 0)


# Files


@variation()
def files_of_locations_cleared(a: Altered) -> None:
    """The locations name no file."""
    for irp in a.irps:
        for _, slot in a.slots(irp):
            a.set("IO_STACK_LOCATION", slot, "FileObject", 0)


@variation()
def passed_locations_cleared(a: Altered) -> None:
    """Locations that the packet has left have neither file nor parameters."""
    for irp in a.irps:
        for number, slot in a.slots(irp):
            if number > a.get("IRP", irp, "CurrentLocation"):
                a.set("IO_STACK_LOCATION", slot, "FileObject", 0)
                if a.get("IRP", irp, "Tail.Overlay.OriginalFileObject"):
                    a.write(a.at("IO_STACK_LOCATION", slot, "Parameters"), bytes(0x20))


def _file_on(a: Altered, which: Callable[[list[int]], int]) -> None:
    for irp in a.requests:
        devices = [d for _, slot in a.slots(irp) if (d := a.get("IO_STACK_LOCATION", slot, "DeviceObject"))]
        if file := a.get("IRP", irp, "Tail.Overlay.OriginalFileObject"):
            a.set("FILE_OBJECT", file, "DeviceObject", which(devices))


@variation()
def file_on_top(a: Altered) -> None:
    """The file names the topmost device that the request went through."""
    _file_on(a, lambda devices: devices[-1])


@variation()
def file_in_the_middle(a: Altered) -> None:
    """The file names a device in the middle."""
    _file_on(a, lambda devices: devices[len(devices) // 2])


@variation()
def file_without_device(a: Altered) -> None:
    """The file names no device."""
    for file in a.files():
        a.set("FILE_OBJECT", file, "DeviceObject", 0)


@variation()
def file_of_a_volume(a: Altered) -> None:
    """The file has a volume."""
    for file in a.files():
        a.put(file + 0x10, a.machine.nonpaged.next_page)  # Vpb, behind DeviceObject on every x64 build


@variation()
def file_without_list(a: Altered) -> None:
    """The file's own list of packets was never written."""
    for file in a.files():
        head = a.at("FILE_OBJECT", file, "IrpList")
        if a.u64(head) == head:
            a.put(head, 0, 0)


@variation()
def file_cleaned_up(a: Altered) -> None:
    """The handle has been closed."""
    for file in a.files():
        a.set("FILE_OBJECT", file, "Flags", 0x44000)


# Packets


@variation()
def packets_exact(a: Altered) -> None:
    """Size is that of the locations in use, no allocation flags."""
    for irp in a.irps:
        a.set("IRP", irp, "Size", 0xD0 + 0x48 * a.get("IRP", irp, "StackCount"))
        a.set("IRP", irp, "AllocationFlags", 0)


@variation()
def packets_larger(a: Altered) -> None:
    """Size is that of a larger packet."""
    for irp in a.irps:
        a.set("IRP", irp, "Size", a.get("IRP", irp, "Size") + 0x48 * 6)


@variation()
def packets_without_flags(a: Altered) -> None:
    """The requests have no flags, and their locations no control bits."""
    for irp in a.requests:
        a.set("IRP", irp, "Flags", 0)
    for irp in a.irps:
        for _, slot in a.slots(irp):
            a.set("IO_STACK_LOCATION", slot, "Control", 0)


@variation()
def packets_pending_returned(a: Altered) -> None:
    """PendingReturned is set, and the status says pending."""
    for irp in a.irps:
        a.set("IRP", irp, "PendingReturned", 1)
        a.write(a.at("IRP", irp, "IoStatus"), struct.pack("<IIQ", 0x103, 0, 0))


def _iosb(a: Altered, value: int) -> None:
    for irp in a.requests:
        if a.get("IRP", irp, "RequestorMode") == 1:
            a.set("IRP", irp, "UserIosb", value)


@variation()
def status_block_low(a: Altered) -> None:
    """The status block lies low, as in a program of 32 bits."""
    _iosb(a, 0x20FF30)


@variation()
def status_block_high(a: Altered) -> None:
    """The status block lies at the end of the user's space."""
    _iosb(a, 0x7FE_FFFE_0F38)


@variation()
def status_block_none(a: Altered) -> None:
    """The request has no status block."""
    _iosb(a, 0)


@variation()
def packets_queued_by_their_driver(a: Altered) -> None:
    """The driver that has a packet keeps it on a list in its device extension."""
    for irp in a.irps:
        for number, slot in a.slots(irp):
            if number != a.get("IRP", irp, "CurrentLocation"):
                continue
            extension = a.get("DEVICE_OBJECT", a.get("IO_STACK_LOCATION", slot, "DeviceObject"), "DeviceExtension")
            entry = a.at("IRP", irp, "Tail.Overlay.ListEntry")
            if extension:
                a.put(extension + 0x10, entry, entry)
                a.put(entry, extension + 0x10, extension + 0x10)


@variation()
def packets_current_of_their_device(a: Altered) -> None:
    """The device names the packet as its current one."""
    for irp in a.irps:
        for number, slot in a.slots(irp):
            if number == a.get("IRP", irp, "CurrentLocation"):
                a.set("DEVICE_OBJECT", a.get("IO_STACK_LOCATION", slot, "DeviceObject"), "CurrentIrp", irp)


# The bug check and the header


@variation()
def header_without_lists(a: Altered) -> None:
    """The header names no list; the debugger block does."""
    a.header = replace(a.header, pfn_database=0, module_list=0, process_list=0)


@variation()
def header_without_context(a: Altered) -> None:
    """The header has no context."""
    a.header = replace(a.header, context=bytes(len(a.header.context)))


TRACKED = frozenset({"tracked_leak", "tracked_manager", "tracked_passed_on"})


@variation(never=TRACKED)
def parameter_four_garbage(a: Altered) -> None:
    """The fourth parameter is a number that leads nowhere."""
    a.header = replace(a.header, parameters=(*a.header.parameters[:3], 0xE43C_8675))


@variation(never=TRACKED)
def parameter_four_dangles(a: Altered) -> None:
    """The fourth parameter is an address at which nothing is, and the process has no list."""
    if a.machine.build in KNOWN - {26100}:  # of which it is known where the process keeps its list
        a.header = replace(a.header, parameters=(*a.header.parameters[:3], a.unmapped()))


@variation(never=TRACKED)
def parameter_three_more(a: Altered) -> None:
    """The bug check counts more pages than the MDLs found."""
    p = a.header.parameters
    a.header = replace(a.header, parameters=(p[0], p[1], p[2] + 7, p[3]))


# Devices


@variation()
def attached_by_the_lower_link_only(a: Altered) -> None:
    """Devices know the one below, and none knows the one above."""
    for device in a.devices():
        a.set("DEVICE_OBJECT", device, "AttachedDevice", 0)


@variation()
def attached_by_the_upper_link_only(a: Altered) -> None:
    """Devices know the one above, and there are no extensions of the I/O manager's."""
    for device in a.devices():
        a.set("DEVICE_OBJECT", device, "DeviceObjectExtension", 0)


@variation()
def devices_listed_the_other_way(a: Altered) -> None:
    """The newest device is the first of its driver's list."""
    for driver in a.machine.drivers.values():
        chain = [device.address for device in reversed(driver.devices)]
        if not chain:
            continue
        a.set("DRIVER_OBJECT", driver.address, "DeviceObject", chain[0])
        for device, following in zip(chain, [*chain[1:], 0], strict=True):
            a.set("DEVICE_OBJECT", device, "NextDevice", following)


@variation()
def drivers_bare(a: Altered) -> None:
    """Driver objects have an image and devices, and neither name, section, extension nor routines."""
    for driver in a.machine.drivers.values():
        for name in ("DriverSection", "DriverExtension"):
            a.set("DRIVER_OBJECT", driver.address, name, 0)
        a.write(a.at("DRIVER_OBJECT", driver.address, "DriverName"), bytes(16))
        a.write(a.at("DRIVER_OBJECT", driver.address, "MajorFunction"), bytes(28 * 8))


@variation()
def modules_bare(a: Altered) -> None:
    """Records of modules have base, size and name, and nothing else."""
    for module in a.machine.modules:
        shape = "KLDR_DATA_TABLE_ENTRY"
        a.write(a.at(shape, module.kldr, "FullDllName"), bytes(16))
        for name in ("EntryPoint", "ExceptionTable", "TimeDateStamp"):
            if name in a.machine.layouts[shape].fields:
                a.set(shape, module.kldr, name, 0)


# Pool


@variation()
def other_tags(a: Altered) -> None:
    """Packets and MDLs have tags of their driver's."""
    for at in a.irps:
        a.write(at - 12, b"Io  ")
    for at in a.mdls:
        a.write(at - 12, b"QvG1")


# MDLs


def _flags(value: int) -> Change:
    def change(a: Altered) -> None:
        for mdl in a.mdls:
            a.set("MDL", mdl, "MdlFlags", value)

    change.__doc__ = f"The locked MDLs have the flags {value:#x}."
    change.__name__ = f"mdl_flags_{value:x}"
    return change


for _value in (0x2, 0xA, 0x8A, 0x102, 0x18A, 0x218A, 0x8002):
    variation()(_flags(_value))


@variation()
def mapping_left_over(a: Altered) -> None:
    """MappedSystemVa holds anything, and the fields of the processor too."""
    for mdl in a.mdls:
        a.write(mdl + 0xC, b"\xff\xff\xff\xff")
        if not a.get("MDL", mdl, "MdlFlags") & 1:
            a.set("MDL", mdl, "MappedSystemVa", 0x1234567)


# The PFN database. Where it must tell whether a packet that is back is a leftover, it is needed.

COUNTED = frozenset({"returned_intact"})


def _entry(a: Altered, pfn: int) -> tuple[int, int]:
    size = a.size("MMPFN")
    return a.machine.pfn_database + pfn * size, size


def _frames(a: Altered) -> list[int]:
    out = []
    for mdl in a.mdls:
        pages = (a.get("MDL", mdl, "ByteOffset") + a.get("MDL", mdl, "ByteCount") + 0xFFF) >> 12
        out += [a.u64(mdl + 0x30 + 8 * i) for i in range(pages)]
    return out


@variation(COUNTED)
def entries_never_written(a: Altered) -> None:
    """The database has nothing for the locked frames."""
    for pfn in _frames(a):
        at, size = _entry(a, pfn)
        a.write(at, bytes(size))


@variation(COUNTED)
def database_never_written(a: Altered) -> None:
    """The database is zero throughout."""
    for base, count in a.machine.runs:
        at, size = _entry(a, base)
        a.write(at, bytes(count * size))


@variation(COUNTED)
def database_of_locked_frames_only(a: Altered) -> None:
    """The database has the locked frames and nothing else."""
    kept = {at: a.read(at, size) for at, size in (_entry(a, pfn) for pfn in _frames(a))}
    database_never_written(a)
    for at, data in kept.items():
        a.write(at, data)


# Processors and the debugger block: who frees packets and MDLs is not needed for those that wait.


@variation(COUNTED)
def lists_of_freed_absent(a: Altered) -> None:
    """The processor's block has no lists of freed packets and MDLs."""
    processor = a.u64(a.machine.symbol("KiProcessorBlock"))
    a.write(a.at("KPRCB", processor, "PPLookasideList"), bytes(256))


@variation(COUNTED)
def debugger_block_encoded(a: Altered) -> None:
    """The debugger block can't be read."""
    if a.machine.build in KNOWN:
        a.write(a.machine.symbol("KdDebuggerDataBlock"), a.random.randbytes(0x340))


@variation(COUNTED)
def header_of_more_processors(a: Altered) -> None:
    """The header counts four processors, and one has a block."""
    a.header = replace(a.header, processors=4)
