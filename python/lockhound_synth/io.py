"""Drivers, devices and files: the objects of the I/O manager and how they hang together."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from .driver_image import plain_image
from .machine import Machine, Module
from .pe.load import LoadedImage
from .record import Record

IO_TYPE_DEVICE, IO_TYPE_DRIVER, IO_TYPE_FILE, IO_TYPE_DEVICE_EXTENSION = 3, 4, 5, 0xD  # WDK wdm.h
DO_DIRECT_IO, DO_BUFFERED_IO = 0x10, 0x04
DRVO_INITIALIZED = 0x10
FILE_DEVICE_UNKNOWN, FILE_DEVICE_DISK, FILE_DEVICE_CONTROLLER = 0x22, 0x07, 0x04
FO_CLEANUP_COMPLETE, FO_HANDLE_CREATED = 0x4000, 0x40000
MAJORS = 28
CLIENTS_AT, CLIENT_HEAD = 0x28, 0x10  # DRIVER_EXTENSION.ClientDriverExtension; NextExtension and ClientIdentificationAddress

LOCKING = ("MmProbeAndLockPages", "MmUnlockPages", "IoAllocateMdl", "IoFreeMdl")
MAKING = (*LOCKING, "IoAllocateIrp", "IoFreeIrp")  # of a driver that makes packets of its own
COMMON = (
    "IofCompleteRequest", "IoCreateDevice", "IoDeleteDevice", "IofCallDriver", "RtlInitUnicodeString", "KeInitializeEvent",
    "ExAllocatePoolWithTag", "ExFreePoolWithTag", "KeSetEvent",
)  # fmt: skip


# Who imports none of these neither splits a request nor sends one of its own.
PACKET_MAKERS = {
    "IoAllocateIrp", "IoMakeAssociatedIrp", "IoBuildPartialMdl", "IoBuildAsynchronousFsdRequest", "IoBuildSynchronousFsdRequest",
    "IoBuildDeviceIoControlRequest",
}  # fmt: skip


@dataclass(slots=True)
class Device:
    address: int
    driver: Driver
    name: str
    extension: int
    extension_size: int
    kind: int
    flags: int
    stack_size: int
    above: Device | None = None
    below: Device | None = None
    extension_object: int = 0


@dataclass(slots=True)
class Driver:
    name: str  # "qvgrab" of \Driver\qvgrab
    module: Module
    address: int
    object_name: str
    devices: list[Device] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)  # bodies of what clients had allocated to the driver object


@dataclass(slots=True)
class File:
    address: int
    device: Device
    irps: list[int] = field(default_factory=list)


def _fits(image: LoadedImage, wanted: tuple[str, ...], never: tuple[str, ...]) -> bool:
    """A given image can play a part if it imports what the part calls, and cannot make packets where the part does not."""
    imported = {name for names in image.imports.values() for name in names}
    return imported >= set(wanted) and not (imported & PACKET_MAKERS) - set(wanted) and not imported & set(never)


def make_driver(
    machine: Machine,
    name: str,
    *,
    imports: tuple[str, ...] = (),
    file_version: tuple[int, int, int, int] | None = None,
    shown: str = "",
    never: tuple[str, ...] = (),
    pointers: bool = False,
    tag: bytes = b"",
) -> Driver:
    """Loads NAME.sys and makes its driver object; shown is the name that the machine's own structures give it instead, and
    never what its image must not import; one with pointers calls through them too, one with a tag allocates pool with it, and
    both are the forge's own."""
    rng = machine.rng
    wanted = sorted({*COMMON, *imports} - set(never))
    if file_version is None:
        image = plain_image(f"{name}.sys", rng, imports=wanted, file_version=machine.kernel.version, company="Microsoft Corporation")
    elif not pointers and not tag and (fitting := [i for i in machine.images if _fits(i, imports, never)]):
        image = rng.choice(fitting)
        stem = image.name.removesuffix(".sys")
        if stem in machine.drivers:
            image = image.renamed(f"{name}.sys")
        else:
            name = stem
    else:
        image = plain_image(f"{name}.sys", rng, imports=wanted, file_version=file_version, pointers=pointers, tag=tag)
    if shown:
        name, image = shown, image.renamed(f"{shown}.sys")
    return adopt_driver(machine, image)


def adopt_driver(machine: Machine, image: LoadedImage) -> Driver:
    """Loads an image and makes its driver object."""
    name = image.name.removesuffix(".sys")
    module = machine.load(image)
    shape = machine.layouts["DRIVER_OBJECT"]
    extension = machine.layouts["DRIVER_EXTENSION"].size
    address = machine.object("Driver", shape.size + extension, b"Driv", name=name, pointers=3)
    driver = Driver(name, module, address, f"\\Driver\\{name}")
    machine.drivers[name] = driver
    return driver


def make_device(
    machine: Machine, driver: Driver, *, name: str = "", above: Device | None = None, extension: int = 0x100,
    kind: int = FILE_DEVICE_UNKNOWN, flags: int = DO_DIRECT_IO,
) -> Device:  # fmt: skip
    """A device of a driver; above=LOWER attaches it on top of that device."""
    shape, tail = machine.layouts["DEVICE_OBJECT"], machine.layouts["DEVOBJ_EXTENSION"]
    size = -(-(shape.size + extension) // 16) * 16
    address = machine.object("Device", size + tail.size, b"Devi", name=name, pointers=2)
    device = Device(address, driver, name, address + shape.size if extension else 0, extension, kind, flags, 1)
    device.extension_object = address + size
    if above is not None:
        if above.above is not None:
            raise ValueError("only the top of a stack can be attached to")
        above.above, device.below = device, above
        device.stack_size = above.stack_size + 1
    driver.devices.append(device)
    if extension:
        # Something of a driver's own: a back pointer and a state word.
        machine.space.write(device.extension, struct.pack("<2Q", address, machine.places.getrandbits(16)))
    return device


def client_extension(machine: Machine, driver: Driver, size: int) -> int:
    """What IoAllocateDriverObjectExtension gives a client: a block on the driver object's list; the address behind its head of
    two words, the next one and the client's key, for which WDK samples take the driver object."""
    body = machine.nonpaged.alloc(CLIENT_HEAD + size, b"Driv")
    machine.space.write(body, struct.pack("<2Q", driver.clients[-1] if driver.clients else 0, driver.address))
    driver.clients.append(body)
    return body + CLIENT_HEAD


def make_file(machine: Machine, device: Device, *, flags: int = FO_HANDLE_CREATED, name: str = "") -> File:
    shape = machine.layouts["FILE_OBJECT"]
    address = machine.object("File", shape.size, b"File", pointers=2)
    record = Record(shape)
    record.set("Type", IO_TYPE_FILE).set("Size", shape.size).set("DeviceObject", device.address).set("Flags", flags)
    if name:
        record.string("FileName", len(name), machine.text(name))
    head = address + shape.offset("IrpList")
    record.links("IrpList", head, head)
    machine.write_object(address, record)
    return File(address, device)


def link_to_file(machine: Machine, file: File, irp: int) -> None:
    """Queues a packet to the file object's list, as for requests that are not tied to a thread."""
    file.irps.append(irp)
    head = file.address + machine.layouts["FILE_OBJECT"].offset("IrpList")
    entry = machine.layouts["IRP"].offset("ThreadListEntry")
    ring = [head] + [at + entry for at in file.irps]
    for i, at in enumerate(ring):
        machine.space.write(at, struct.pack("<2Q", ring[(i + 1) % len(ring)], ring[i - 1]))


def fill_in(machine: Machine) -> None:
    """Writes driver and device objects and the module list."""
    _modules(machine)
    for driver in machine.drivers.values():
        _driver(machine, driver)
        for position, device in enumerate(driver.devices):
            following = driver.devices[position + 1].address if position + 1 < len(driver.devices) else 0
            _device(machine, device, following)


def _driver(machine: Machine, driver: Driver) -> None:
    shape, module = machine.layouts["DRIVER_OBJECT"], driver.module
    extension = driver.address + shape.size
    record = Record(shape)
    record.set("Type", IO_TYPE_DRIVER).set("Size", shape.size).set("Flags", DRVO_INITIALIZED)
    record.set("DeviceObject", driver.devices[0].address if driver.devices else 0)
    record.set("DriverStart", module.base).set("DriverSize", module.size).set("DriverSection", module.kldr)
    name = machine.text(driver.object_name, tag=b"IoNm", pool=machine.nonpaged if machine.places.random() < 0.5 else None)
    record.set("DriverExtension", extension).string("DriverName", len(driver.object_name), name)
    record.set("DriverInit", module.symbols["DriverEntry"]).set("DriverUnload", module.symbols["Unload"])
    invalid = machine.nt_base + machine.kernel.exports["IopInvalidDeviceRequest"]
    for major in range(MAJORS):
        handler = module.symbols["DispatchIo"] if major in (3, 4, 14, 15) else module.symbols["Dispatch"]
        record.set("MajorFunction", handler if major in (0, 2, 3, 4, 14, 15, 18, 22, 27) else invalid, 8 * major)
    machine.write_object(driver.address, record)
    tail = Record(machine.layouts["DRIVER_EXTENSION"])
    tail.set("DriverObject", driver.address).set("AddDevice", module.symbols["AddDevice"])
    if driver.clients:
        tail.data[CLIENTS_AT : CLIENTS_AT + 8] = struct.pack("<Q", driver.clients[-1])
    tail.string("ServiceKeyName", len(driver.name), machine.text(driver.name))
    machine.write_object(extension, tail)
    machine.label(f"driver_object:{driver.name}", driver.address)
    machine.label(f"driver_name:{driver.name}", name)


def _device(machine: Machine, device: Device, following: int) -> None:
    shape, tail_shape = machine.layouts["DEVICE_OBJECT"], machine.layouts["DEVOBJ_EXTENSION"]
    record = Record(shape)
    record.set("Type", IO_TYPE_DEVICE).set("Size", shape.size + device.extension_size).set("ReferenceCount", 1 if device.name else 0)
    record.set("DriverObject", device.driver.address).set("NextDevice", following)
    record.set("AttachedDevice", device.above.address if device.above else 0).set("Flags", device.flags)
    record.set("DeviceExtension", device.extension).set("DeviceType", device.kind).set("StackSize", device.stack_size)
    record.set("DeviceObjectExtension", device.extension_object)
    machine.write_object(device.address, record)
    tail = Record(tail_shape)
    tail.set("Type", IO_TYPE_DEVICE_EXTENSION).set("DeviceObject", device.address)
    tail.set("AttachedTo", device.below.address if device.below else 0)
    machine.write_object(device.extension_object, tail)


def _modules(machine: Machine) -> None:
    shape = machine.layouts["KLDR_DATA_TABLE_ENTRY"]
    for module in machine.modules:
        module.kldr = machine.nonpaged.alloc(shape.size, b"MmLd")
    head = machine.symbol("PsLoadedModuleList")
    ring = [head] + [m.kldr for m in machine.modules]
    around = {at: (ring[(i + 1) % len(ring)], ring[i - 1]) for i, at in enumerate(ring)}
    machine.space.write(head, struct.pack("<2Q", *around[head]))
    for module in machine.modules:
        record = Record(shape)
        record.links("InLoadOrderLinks", *around[module.kldr])
        record.set("DllBase", module.base).set("EntryPoint", module.entry_point).set("SizeOfImage", module.size)
        record.set("ExceptionTable", module.exception_table[0]).set("ExceptionTableSize", module.exception_table[1])
        record.string("FullDllName", len(module.path), machine.text(module.path, tag=b"MmLd"))
        base_name = machine.text(module.name, tag=b"MmLd", pool=machine.nonpaged if machine.places.random() < 0.5 else None)
        record.string("BaseDllName", len(module.name), base_name)
        record.set("Flags", 0x09004000).set("LoadCount", 1)
        if "TimeDateStamp" in shape:
            record.set("SizeOfImageNotRounded", module.size).set("TimeDateStamp", module.timestamp)
        machine.write_object(module.kldr, record)
        machine.label(f"kldr:{module.name}", module.kldr)
        machine.label(f"module_name:{module.name}", base_name)
        machine.label(f"image_header:{module.name}", module.base)
