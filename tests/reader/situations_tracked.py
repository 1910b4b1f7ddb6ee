"""Situations of tracked locks: who locked is known, and whoever locked need not be the one that has the MDL now."""

from __future__ import annotations

from lockhound_synth import io
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import Mdl
from lockhound_synth.scenarios.tracking import call_of, left_locked, stack
from lockhound_synth.trackers import Lock

from .scene import MAKING, Cast, Scene, named, nobody


def _locked(scene: Scene, imports: tuple[str, ...] = io.LOCKING) -> tuple[Driver, Device, Mdl]:
    """A driver that the tracker names, and the MDL that it locked. Without the trap it keeps it."""
    locker, device = scene.driver(imports)
    mdl = scene.lock()
    left_locked(scene.stage, scene.victim, [Lock(mdl, stack(scene.stage, call_of(locker)))])
    if not scene.trap:
        scene.machine.space.write_u64(device.extension + 0x20, mdl.address)
    return locker, device, mdl


def handed_over(scene: Scene) -> Cast:
    """A driver locked pages and handed the MDL to another one, which is to unlock them and alone has it: which of the two forgot what they
    had agreed on no dump can tell. Without the trap the locker has it as well."""
    locker, _, mdl = _locked(scene)
    _, other = scene.driver(io.LOCKING)
    scene.machine.space.write_u64(other.extension + 0x28, mdl.address)
    return named(locker, mdl) if not scene.trap else nobody()


def handed_in_block(scene: Scene) -> Cast:
    """As before, and the other driver has it in a block of its own."""
    locker, _, mdl = _locked(scene)
    _, other = scene.driver(io.LOCKING)
    block = scene.machine.nonpaged.alloc(0x60, b"Hand")
    scene.machine.label("keeper", block)
    scene.machine.space.write_u64(block + 0x18, mdl.address)
    scene.machine.space.write_u64(other.extension + 0x28, block)
    return named(locker, mdl) if not scene.trap else nobody()


def handed_by_packet(scene: Scene) -> Cast:
    """As before, and the other driver has put it into a packet of its own, which a third one has."""
    locker, _, mdl = _locked(scene)
    maker, _ = scene.driver(MAKING)
    _, lower = scene.driver()
    scene.own(maker, lower, mdl)
    return named(locker, mdl) if not scene.trap else nobody()


def handed_to_unable(scene: Scene) -> Cast:
    """The other driver imports nothing that unlocks pages: it was lent the MDL, and who locked has lost it. Without the trap the locker has
    it as well."""
    locker, _, mdl = _locked(scene)
    _, other = scene.driver(("IoAllocateMdl", "IoFreeMdl"))
    scene.machine.space.write_u64(other.extension + 0x28, mdl.address)
    return named(locker, mdl)


ALL = (handed_over, handed_in_block, handed_by_packet, handed_to_unable)
