"""Situations of modules and driver objects: damaged lists, names and sizes, unloaded drivers, and a wrong process in the bug check."""

from __future__ import annotations

import struct
from collections.abc import Callable

from lockhound_synth.io import Driver
from lockhound_synth.machine import Module

from .scene import MAKING, OPEN, UNNAMED, Cast, Scene, Situation, at_most, named


def wrong_process(scene: Scene) -> Cast:
    """Parameter 2 of the bug check names a living process, whose requests are in flight as they should be. Without the trap it
    names the victim."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    scene.request(mdl, device)
    _, busy = scene.driver()
    scene.request(scene.lock(3, scene.stranger), busy, thread=scene.stranger.threads[0], linked="thread")
    if not scene.trap:
        return named(guilty, mdl)
    scene.stage.parameters = (0, scene.stranger.address, 3, 0)
    return Cast(frozenset(), UNNAMED | {"not_applicable"})


def unloaded_around(scene: Scene) -> Cast:
    """The holder's driver took itself out of the module list; an innocent driver, unloaded long since, once had a range around its
    image. Only the driver object's name is left, or none. Without the trap the module list has it."""
    return _hidden(scene, before=0x8000, after=0x4000)


def unloaded_at_the_same_base(scene: Scene) -> Cast:
    """As before, and the unloaded driver had exactly the same range."""
    return _hidden(scene, before=0, after=0)


def unloaded_over_unloaded(scene: Scene) -> Cast:
    """The holder's image is gone, and so is the kernel's record of it; that of an innocent driver, unloaded later, has a range around
    it. Without the trap the holder is loaded."""
    return _hidden(scene, before=0x8000, after=0x4000, gone=True)


def _hidden(scene: Scene, *, before: int, after: int, gone: bool = False) -> Cast:
    mdl = scene.lock()
    guilty, device = scene.driver()
    scene.request(mdl, device)
    if not scene.trap:
        return named(guilty, mdl)
    module = guilty.module
    # Before its entry was made: the object's DriverSection stays 0.
    if gone:
        scene.machine.drop(module)
    else:
        scene.machine.modules.remove(module)
    scene.machine.unloaded.append(("wasinnocent.sys", module.base - before, module.base + module.size + after))
    return Cast(frozenset({module.name, guilty.name}), OPEN)


# Damage to the list of modules. Each takes the guilty driver's module and an innocent one's.

Damage = Callable[[Scene, Module, Module], None]


def _entry(scene: Scene, module: Module, field: str) -> int:
    return module.kldr + scene.machine.layouts["KLDR_DATA_TABLE_ENTRY"].offset(field)


def _unlink(scene: Scene, module: Module) -> None:
    space = scene.machine.space
    following, previous = struct.unpack("<2Q", space.read(module.kldr, 16))
    space.write_u64(previous, following)
    space.write_u64(following + 8, previous)


def unlinked(scene: Scene, module: Module, innocent: Module) -> None:
    """The entry is out of the list, which is whole without it."""
    del innocent
    _unlink(scene, module)


def unlinked_under_inflated(scene: Scene, module: Module, innocent: Module) -> None:
    """The entry is out of the list, and the size of the module below it reaches over its image."""
    del innocent
    _unlink(scene, module)
    below = max((m for m in scene.machine.modules if m.base < module.base), key=lambda m: m.base)
    scene.machine.space.write(_entry(scene, below, "SizeOfImage"), struct.pack("<I", module.base + module.size - below.base))


def name_of_another(scene: Scene, module: Module, innocent: Module) -> None:
    """BaseDllName leads to the innocent driver's string; the full path is still right, and so is the image."""
    name = scene.machine.space.read(_entry(scene, innocent, "BaseDllName"), 16)
    scene.machine.space.write(_entry(scene, module, "BaseDllName"), name)


def base_of_another(scene: Scene, module: Module, innocent: Module) -> None:
    """The innocent driver's entry has the guilty one's base: two entries for one image."""
    scene.machine.space.write_u64(_entry(scene, innocent, "DllBase"), module.base)


def base_of_another_unlinked(scene: Scene, module: Module, innocent: Module) -> None:
    """As before, and the guilty driver's own entry is out of the list."""
    base_of_another(scene, module, innocent)
    _unlink(scene, module)


def size_of_nothing(scene: Scene, module: Module, innocent: Module) -> None:
    """The entry's size is zero."""
    del innocent
    scene.machine.space.write(_entry(scene, module, "SizeOfImage"), bytes(4))


def object_of_another(scene: Scene, module: Module, innocent: Module) -> None:
    """The guilty driver's object has the image of the innocent one: start and size are another's, section, name and routines its
    own."""
    objects = {driver.module.name: driver.address for driver in scene.machine.drivers.values()}
    shape, space = scene.machine.layouts["DRIVER_OBJECT"], scene.machine.space
    for field, size in (("DriverStart", 8), ("DriverSize", 4)):
        at = shape.offset(field)
        space.write(objects[module.name] + at, space.read(objects[innocent.name] + at, size))


def section_of_another(scene: Scene, module: Module, innocent: Module) -> None:
    """The guilty driver's object has the innocent one's module record, and its own record is out of the list."""
    objects = {driver.module.name: driver.address for driver in scene.machine.drivers.values()}
    at = objects[module.name] + scene.machine.layouts["DRIVER_OBJECT"].offset("DriverSection")
    scene.machine.space.write_u64(at, innocent.kldr)
    _unlink(scene, module)


DAMAGES: tuple[Damage, ...] = (
    unlinked, unlinked_under_inflated, name_of_another, base_of_another, base_of_another_unlinked, size_of_nothing, object_of_another,
    section_of_another,
)  # fmt: skip


def _told_by_device(scene: Scene) -> tuple[Driver, int]:
    """A driver that its device tells: the request waits in it."""
    mdl = scene.lock()
    guilty, device = scene.driver()
    scene.request(mdl, device)
    return guilty, mdl.pages


def _told_by_routine(scene: Scene) -> tuple[Driver, int]:
    """A driver that its completion routine tells: the packet is its own and waits elsewhere."""
    mdl = scene.lock()
    maker, _ = scene.driver(MAKING)
    _, bus = scene.driver()
    scene.own(maker, bus, mdl)
    return maker, mdl.pages


TELLERS = (_told_by_device, _told_by_routine)


def damaged(damage: Damage, tell: Callable[[Scene], tuple[Driver, int]], *, before: bool) -> Situation:
    """The situation of a damage; the innocent driver's image lies below the guilty one's where `before`."""

    def situation(scene: Scene) -> Cast:
        innocent = scene.driver(MAKING)[0] if before else None
        guilty, pages = tell(scene)
        other = (innocent or scene.driver(MAKING)[0]).module
        if not scene.trap:
            return named(guilty, pages)
        scene.later(lambda: damage(scene, guilty.module, other))
        cast = at_most(guilty)
        return Cast(cast.guilty | {guilty.name}, cast.kinds)

    situation.__name__ = f"{damage.__name__}{tell.__name__}{'_above' if before else ''}"
    situation.__doc__ = f"{damage.__doc__} The innocent driver is the other one. Without the trap nothing is damaged."
    return situation


ALL: tuple[Situation, ...] = (
    wrong_process, unloaded_around, unloaded_at_the_same_base, unloaded_over_unloaded,
    *(damaged(damage, tell, before=before) for damage in DAMAGES for tell in TELLERS for before in (False, True)),
)  # fmt: skip
