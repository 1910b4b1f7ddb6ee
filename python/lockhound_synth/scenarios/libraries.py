"""Stories of libraries of Windows that made a packet for another driver: the client owes, where the dump shows who it is."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets
from lockhound_synth.driver_image import NT, bound_image
from lockhound_synth.io import Device, Driver
from lockhound_synth.machine import Machine
from lockhound_synth.packets import Mdl
from lockhound_synth.pe.load import LoadedImage

from .origins import own_slot
from .pending import guilty_device
from .stage import Stage

LOADER, BIND = "wdfldr.sys", "WdfVersionBind"  # public names: WDK, wdfldr.h
FX_OBJECT, FX_GLOBALS, FX_PUBLIC = 0xE8, 0x600, 0x158  # sizes and a place that no version fixes


def packet_of(stage: Stage, library: Driver, lower: Device, context: int) -> Mdl:
    """A packet that the library made over the victim's pages waits in a driver below."""
    machine = stage.machine
    victim = stage.victim or stage.make_victim()
    mdl = packets.make_mdl(machine, victim, stage.rng.randrange(1, 20))
    irp = packets.make_irp(machine, [own_slot(stage, lower, mdl, library, context)], 1, mdl=mdl, manager=False, flags=0)
    stage.note_irp(irp, "pending", lower)
    stage.cast.append(library)
    return mdl


def dispatched_by(stage: Stage, client: Driver, library: Driver) -> None:
    """The library put its own dispatch routines into the client's driver object."""
    machine = stage.machine
    at = client.address + machine.layouts["DRIVER_OBJECT"].offset("MajorFunction")
    routine = library.module.symbols["DispatchIo"]

    def spoil() -> None:
        for major in (3, 4, 14, 15, 22, 27):
            machine.space.write(at + 8 * major, struct.pack("<Q", routine))

    stage.afterwards.append(spoil)


def library_port(stage: Stage) -> None:
    """A port driver sends a packet from its miniport's device."""
    stage.description = "a port driver made the packet for the miniport whose device it was sent from"
    machine = stage.machine
    port = stage.windows["storport"]
    _, lower_device = guilty_device(stage, imports=())
    miniport = stage.invent(imports=())
    device = io.make_device(machine, miniport, above=lower_device, extension=0x200)
    dispatched_by(stage, miniport, port)
    mdl = packet_of(stage, port, lower_device, device.extension)
    stage.charge(mdl, miniport)
    stage.name(miniport, mdl.pages)
    machine.label(f"driver_object:{miniport.name}", miniport.address, machine.layouts["DRIVER_OBJECT"].size)


def library_port_filtered(stage: Stage) -> None:
    """The device above is a filter's with its own dispatch routines: nothing tells for whom the port made the packet."""
    stage.description = "a port driver made the packet, and the device above is not of one of its miniports"
    machine = stage.machine
    port = stage.windows["storport"]
    _, lower_device = guilty_device(stage, imports=())
    above = stage.invent()
    device = io.make_device(machine, above, above=lower_device, extension=0x200)
    mdl = packet_of(stage, port, lower_device, 0)
    stage.charge(mdl, port)
    stage.kind = "unattributed"
    del device


def framework_object(stage: Stage, framework: Driver, clients: tuple[Driver, ...]) -> int:
    """A request of the framework, whose globals the data of its clients point into; its address."""
    machine = stage.machine
    fx_globals = machine.nonpaged.alloc(FX_GLOBALS, b"FxDr")
    fx_object = machine.nonpaged.alloc(FX_OBJECT, b"FxRq")
    table = framework.module.symbols["Worker"]
    machine.space.write(fx_object, struct.pack("<QHHIQ", table, 0x1008, FX_OBJECT, 1, fx_globals))
    machine.label("framework_object", fx_object, FX_OBJECT)
    for client in clients:
        machine.space.write_u64(client.module.symbols["data"], fx_globals + FX_PUBLIC)
        machine.label(f"client_data:{client.module.name}", client.module.symbols["data"])
    return fx_object


def load_loader(machine: Machine) -> None:
    """KMDF's loader, with the routine that clients bind by."""
    loader = io.make_driver(machine, LOADER.removesuffix(".sys"), imports=io.COMMON)
    loader.module.symbols[BIND] = loader.module.symbols["Worker"]


def client_image(machine: Machine, name: str) -> LoadedImage:
    """The image of a client, which imports nothing of nt that locks or makes packets."""
    return bound_image(name, machine.rng, {NT: sorted(io.COMMON), LOADER: [BIND]})


def framework(stage: Stage) -> Driver:
    """KMDF and its loader."""
    machine = stage.machine
    load_loader(machine)
    return io.make_driver(machine, "wdf01000", imports=io.MAKING)


def bound(stage: Stage) -> Driver:
    """A client of the framework."""
    client = io.adopt_driver(stage.machine, client_image(stage.machine, f"{stage.names.pop()}.sys"))
    stage.cast.append(client)
    return client


def library_framework(stage: Stage) -> None:
    """KMDF sends a client's request down and has locked its buffer; the completion routine and its context are the framework's."""
    stage.description = "KMDF made the packet for the client that its request object belongs to"
    _, lower_device = guilty_device(stage, imports=())
    kmdf = framework(stage)
    client, other = bound(stage), bound(stage)
    framework_object(stage, kmdf, (other,))
    mdl = packet_of(stage, kmdf, lower_device, framework_object(stage, kmdf, (client,)))
    stage.charge(mdl, client)
    stage.name(client, mdl.pages)


def library_framework_unknown(stage: Stage) -> None:
    """No module's data point to the globals of the framework's object."""
    stage.description = "KMDF made the packet for a client that nothing leads to"
    _, lower_device = guilty_device(stage, imports=())
    kmdf = framework(stage)
    bound(stage)
    mdl = packet_of(stage, kmdf, lower_device, framework_object(stage, kmdf, ()))
    stage.charge(mdl, kmdf)
    stage.kind = "unattributed"


STORIES = {
    story.__name__: story
    for story in (library_port, library_port_filtered, library_framework, library_framework_unknown)
}  # fmt: skip
