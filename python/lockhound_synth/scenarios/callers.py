"""Stories of threads that wait in a library of Windows with the MDL or with its packet: the driver that called it is the client."""

from __future__ import annotations

from lockhound_synth import io
from lockhound_synth.driver_image import NT, bound_image
from lockhound_synth.io import Driver

from .frameworks import Client
from .holders import RETURNS_BY, guilt, label_device, lock, unowned, wait
from .libraries import framework, packet_of
from .pending import guilty_device
from .stage import Stage

LIBRARY, ROUTINE = "ks", "KsProbeStreamIrp"  # a public library and a routine of it (WDK, ks.h)


def _library(stage: Stage) -> Driver:
    library = io.make_driver(stage.machine, LIBRARY, imports=(*io.LOCKING, "IoAllocateIrp", "IoFreeIrp"))
    library.module.symbols[ROUTINE] = library.module.symbols["Worker"]
    return library


def _caller(stage: Stage) -> Driver:
    """A driver that calls the library, and nothing of nt that locks."""
    machine = stage.machine
    image = bound_image(f"{stage.names.pop()}.sys", machine.rng, {NT: sorted(io.COMMON), f"{LIBRARY}.sys": [ROUTINE]})
    driver = io.adopt_driver(machine, image)
    stage.cast.append(driver)
    label_device(stage, io.make_device(machine, driver, name=f"{driver.name.title()}0"))
    return driver


def _inside(driver: Driver) -> int:
    return driver.module.return_from(RETURNS_BY, "Worker")


def library_waits(stage: Stage) -> None:
    """A thread of the client's waits in the library, whose frame has the MDL."""
    stage.description = "a thread that called a library of Windows waits in it; the library's frame has the MDL"
    _, mdl = lock(stage)
    library = _library(stage)
    client, _ = _caller(stage), _caller(stage)
    wait(stage, _inside(library), mdl.address, _inside(client))
    guilt(stage, mdl, client)


def framework_waits(stage: Stage) -> None:
    """The same in KMDF."""
    stage.description = "a thread that called KMDF waits in it; the framework's frame has the MDL"
    _, mdl = lock(stage)
    kmdf = framework(stage)
    client, _ = Client(stage, kmdf), Client(stage, kmdf)
    wait(stage, _inside(kmdf), mdl.address, _inside(client.driver))
    label_device(stage, client.device)
    guilt(stage, mdl, client.driver)


def library_waits_alone(stage: Stage) -> None:
    """A thread of the library's own; a driver that calls the library is there, and has nothing to do with it."""
    stage.description = "a library's own thread waits with the MDL; nothing tells for whom"
    _, mdl = lock(stage)
    library = _library(stage)
    _caller(stage)
    wait(stage, _inside(library), mdl.address)
    unowned(stage, mdl, library)


def library_waits_below(stage: Stage) -> None:
    """The driver on the stack called the kernel, which called the library: it sent a packet, and need not be a client."""
    stage.description = "a driver sent a packet to a library of Windows, which waits with the MDL: it need not be the library's client"
    machine = stage.machine
    _, mdl = lock(stage)
    library, client = _library(stage), _caller(stage)
    between = machine.nt_base + machine.kernel.exports["IofCompleteRequest"] + 0x24
    wait(stage, _inside(library), mdl.address, between, _inside(client))
    unowned(stage, mdl, library)


def packet_waits(stage: Stage) -> None:
    """The library made the packet, and a thread of the client's waits in it."""
    stage.description = "a thread that called a library of Windows waits in it with the packet that the library made"
    _, lower = guilty_device(stage, imports=())
    library = _library(stage)
    client, _ = _caller(stage), _caller(stage)
    mdl = packet_of(stage, library, lower, 0)
    wait(stage, _inside(library), stage.machine.labels["irp:0"], _inside(client))
    guilt(stage, mdl, client)


def packet_waits_twice(stage: Stage) -> None:
    """Threads of two clients have the packet in the library's frame."""
    stage.description = "threads of two drivers wait in a library of Windows with one packet: for which it was made can't be told"
    _, lower = guilty_device(stage, imports=())
    library = _library(stage)
    clients = _caller(stage), _caller(stage)
    mdl = packet_of(stage, library, lower, 0)
    for client in clients:
        wait(stage, _inside(library), stage.machine.labels["irp:0"], _inside(client))
    unowned(stage, mdl, library)


STORIES = {
    story.__name__: story
    for story in (library_waits, framework_waits, library_waits_alone, library_waits_below, packet_waits, packet_waits_twice)
}  # fmt: skip
