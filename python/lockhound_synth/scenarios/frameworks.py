"""Stories of KMDF's objects: a client keeps the MDL in the framework's memory, and refers to that by handles only."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lockhound_synth import io
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import Mdl

from .holders import guilt, keep, label_device, lock, unowned
from .libraries import FX_GLOBALS, FX_PUBLIC, bound, framework
from .stage import Stage

# Microsoft's open source of the framework: fxtypes.h, fxobject.hpp, fxhandle.h.
DRIVER, DEVICE, REQUEST, MEMORY = 0x1001, 0x1002, 0x1008, 0x100A
GLOBALS, FLAGS, CHILDREN, PARENT, CHILD = 0x10, 0x18, 0x20, 0x38, 0x40
HEADER = 0x30  # of a context: object, next context, two callbacks, type
SIZES = {DRIVER: 0x90, DEVICE: 0x320, REQUEST: 0x120, MEMORY: 0xA0}
HANDLE = ~7 & (1 << 64) - 1


@dataclass(slots=True)
class Fx:
    """An object with its client's context behind it, and the objects that are its children."""

    address: int
    context: int
    children: list[Fx]

    @property
    def handle(self) -> int:
        return self.address ^ HANDLE


class Client:
    """A driver that is bound to the framework: its globals, and a device with the framework's object."""

    def __init__(self, stage: Stage, kmdf: Driver) -> None:
        self.stage, self.machine, self.kmdf = stage, stage.machine, kmdf
        self.driver = bound(stage)
        self.globals = self.machine.nonpaged.alloc(FX_GLOBALS, b"FxDr")
        public = self.globals + FX_PUBLIC
        # WDF_DRIVER_GLOBALS (wdfglobals.h): the driver's handle, flags, tag and name.
        name = self.driver.name.encode()
        self.machine.space.write(public, struct.pack("<QI4s32s", 0, 0, name[:4], name))
        data = self.driver.module.symbols["data"]
        self.machine.space.write_u64(data, public)
        self.machine.label(f"client_data:{self.driver.module.name}", data)
        self.root = self.make(DRIVER)
        self.fx = self.make(DEVICE, parent=self.root)
        self.device: Device = io.make_device(self.machine, self.driver, name=f"{self.driver.name.title()}0", extension=0)
        self.device.extension = self.fx.context  # the first context of the object is the device's extension

    def make(self, kind: int, *, parent: Fx | None = None, references: int = 1, context: int = 0x40) -> Fx:
        size = SIZES[kind]
        address = self.machine.nonpaged.alloc(size + HEADER + context, self.driver.name[:4].encode())
        table = self.kmdf.module.symbols["Worker"]
        self.machine.space.write(address, struct.pack("<QHHiQHH", table, kind, size, references, self.globals, 0, 1))
        self.machine.space.write(address + size, struct.pack("<5Q", address, 0, 0, 0, self.driver.module.symbols["data"]))
        made = Fx(address, address + size + HEADER, [])
        self._relate(made)
        if parent:
            keep(self.stage, address + PARENT, parent.address)
            parent.children.append(made)
            self._relate(parent)
        return made

    def _relate(self, parent: Fx) -> None:
        ring = [parent.address + CHILDREN, *[child.address + CHILD for child in parent.children]]
        for index, at in enumerate(ring):
            self.machine.space.write(at, struct.pack("<2Q", ring[(index + 1) % len(ring)], ring[index - 1]))
        if not parent.children:
            entry = parent.address + CHILD
            self.machine.space.write(entry, struct.pack("<2Q", entry, entry))


def _clients(stage: Stage) -> tuple[Client, Client, Mdl]:
    """Two clients, of which the second has nothing to do with the lock."""
    _, mdl = lock(stage)
    kmdf = framework(stage)
    client, other = Client(stage, kmdf), Client(stage, kmdf)
    other.make(MEMORY, parent=other.fx)
    stage.machine.label("framework_device", client.fx.address)
    return client, other, mdl


def _accuse(stage: Stage, client: Client, mdl: Mdl) -> None:
    label_device(stage, client.device)
    guilt(stage, mdl, client.driver)


def framework_context(stage: Stage) -> None:
    """The context of the device, which lies behind the framework's object."""
    stage.description = "a KMDF driver keeps the MDL in the context of its device"
    client, _, mdl = _clients(stage)
    keep(stage, client.fx.context + 0x18, mdl.address)
    _accuse(stage, client, mdl)


def framework_handle(stage: Stage) -> None:
    """A request that the driver made; its own context has the MDL, and the context of the device has its handle."""
    stage.description = "a KMDF driver keeps the handle of a request whose context has the MDL"
    client, _, mdl = _clients(stage)
    request = client.make(REQUEST)
    keep(stage, request.context + 0x10, mdl.address)
    keep(stage, client.fx.context + 0x20, request.handle)
    stage.machine.label("framework_object", request.address)
    _accuse(stage, client, mdl)


def framework_child(stage: Stage) -> None:
    """Nobody keeps a handle: the object is a child of the device, beside children of other kinds."""
    stage.description = "a memory object of KMDF's, a child of its device, has the MDL"
    client, _, mdl = _clients(stage)
    client.make(REQUEST, parent=client.fx)
    memory = client.make(MEMORY, parent=client.fx)
    client.make(REQUEST, parent=client.fx)
    keep(stage, memory.address + 0x78, mdl.address)
    stage.machine.label("framework_object", memory.address)
    _accuse(stage, client, mdl)


def framework_kept(stage: Stage) -> None:
    """The framework's own data has the object, which tells whose it is."""
    stage.description = "a variable of KMDF's leads to a request object of its client's, which has the MDL"
    client, _, mdl = _clients(stage)
    request = client.make(REQUEST)
    keep(stage, request.address + 0x80, mdl.address)
    data = client.kmdf.module.symbols["data"]
    keep(stage, data, request.address)
    stage.machine.label("framework_object", request.address)
    stage.machine.label("keeper", data)
    _accuse(stage, client, mdl)


def framework_lost(stage: Stage) -> None:
    """Nothing leads to the object that has the MDL, whosever it is."""
    stage.description = "a request object of KMDF's has the MDL, and nothing leads to the object"
    client, _, mdl = _clients(stage)
    request = client.make(REQUEST)
    keep(stage, request.context + 0x10, mdl.address)
    stage.machine.label("framework_object", request.address)
    unowned(stage, mdl)


def framework_released(stage: Stage) -> None:
    """The object was released, and its handle is left in the context of the device."""
    stage.description = "a released object of KMDF's has a pointer to the MDL left"
    client, _, mdl = _clients(stage)
    request = client.make(REQUEST, references=0)
    keep(stage, request.context + 0x10, mdl.address)
    keep(stage, client.fx.context + 0x20, request.handle)
    stage.machine.label("framework_object", request.address)
    label_device(stage, client.device)
    unowned(stage, mdl)


def framework_two(stage: Stage) -> None:
    """Two clients lead to it: one by a handle, the other by a context."""
    stage.description = "two KMDF drivers have the MDL: which of them had it locked can't be told"
    client, other, mdl = _clients(stage)
    request = client.make(REQUEST, parent=client.fx)
    keep(stage, request.context + 0x10, mdl.address)
    keep(stage, other.fx.context + 0x18, mdl.address)
    for one in (client, other):
        label_device(stage, one.device)
    unowned(stage, mdl)


def framework_crossed(stage: Stage) -> None:
    """One client's context has the handle of another one's object: neither is more likely than the other."""
    stage.description = "a KMDF driver keeps the handle of another driver's request, which has the MDL"
    client, other, mdl = _clients(stage)
    request = client.make(REQUEST)
    keep(stage, request.context + 0x10, mdl.address)
    keep(stage, other.fx.context + 0x20, request.handle)
    stage.machine.label("framework_object", request.address)
    label_device(stage, other.device)
    unowned(stage, mdl)


STORIES = {
    story.__name__: story
    for story in (
        framework_context, framework_handle, framework_child, framework_kept, framework_lost, framework_released, framework_two,
        framework_crossed,
    )
}  # fmt: skip
