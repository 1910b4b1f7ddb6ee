"""Machines with thousands of MDLs and packets, copied from one of each that the forge made."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lockhound_synth import packets
from lockhound_synth.forge import Forged
from lockhound_synth.io import Driver

from .scene import MAKING, SPLITTING, Scene

STEP = 0x200  # an MDL of one page and a packet with one location
MDL_AT, IRP_AT = 0x10, 0x80
MDL_SIZE = 0x38
PAGE = 0x1000


@dataclass(frozen=True, slots=True)
class Crowd:
    """The machine, whom it speaks of, and the pages charged."""

    forged: Forged
    holder: Driver
    maker: Driver
    count: int


class Copies:
    """Room for copies of a template: pointers into the template are moved with it."""

    def __init__(self, scene: Scene, mdl: packets.Mdl, irp: packets.Irp, count: int, *, queued: bool) -> None:
        self.scene, self.count, self.queued = scene, count, queued
        space = scene.machine.space
        self.origin = mdl.address, irp.address, irp.size
        self.mdl, self.irp = space.read(mdl.address, MDL_SIZE), space.read(irp.address, irp.size)
        if IRP_AT + irp.size > STEP:
            raise ValueError("the template is too large")
        self.base = scene.machine.nonpaged.pages(-(-count * STEP // PAGE))
        self.data = bytearray(count * STEP)
        shape, packet = scene.machine.layouts["MDL"], scene.machine.layouts["IRP"]
        self.next, self.va = shape.offset("Next"), shape.offset("StartVa")
        self.process, self.mdl_address = shape.offset("Process"), packet.offset("MdlAddress")

    def mdl_at(self, number: int) -> int:
        return self.base + number * STEP + MDL_AT

    def put_mdl(self, number: int, following: int = 0, step: int = PAGE) -> None:
        """An MDL over the same frame, of the next user page (or of one that far behind the last)."""
        at = number * STEP + MDL_AT
        self.data[at : at + MDL_SIZE] = self.mdl
        (va,) = struct.unpack_from("<Q", self.mdl, self.va)
        struct.pack_into("<Q", self.data, at + self.va, va + number * step)
        struct.pack_into("<Q", self.data, at + self.next, following)

    def put_irp(self, number: int, mdl: int) -> None:
        at = number * STEP + IRP_AT
        _, old, size = self.origin
        moved = bytearray(self.irp)
        for offset in range(0, size, 8):
            (value,) = struct.unpack_from("<Q", moved, offset)
            if old <= value < old + size:
                struct.pack_into("<Q", moved, offset, value - old + self.base + at)
        struct.pack_into("<Q", moved, self.mdl_address, mdl)
        self.data[at : at + size] = moved
        if self.queued:
            self.scene.victim.threads[0].irps.append(self.base + at)

    def write(self) -> None:
        self.scene.machine.space.write(self.base, bytes(self.data))


BUILD = 19041
SHAPES = ("requests", "own_packets", "bare", "chain", "ring", "one_mdl", "fan")


def crowd(shape: str, count: int) -> Crowd:
    """So many MDLs and packets of one shape; every MDL describes one page.

    requests: each in a packet of the I/O manager; own_packets: each in one of a driver; bare: nothing names them; chain and ring: linked
    by Next, a chain with one packet; one_mdl: all packets name the first MDL; fan: the Next of all is the first.
    """
    scene = Scene(f"crowd_{shape}", BUILD, 0, trap=True, frames=count * STEP // PAGE + 0x200)
    holder, device = scene.driver()
    maker, _ = scene.driver(MAKING)
    mdl = scene.lock(1)
    irp = (
        scene.own(maker, device, mdl, lookaside=False)
        if shape == "own_packets"
        else scene.request(mdl, device, linked="none", lookaside=False)
    )
    copies = Copies(scene, mdl, irp, count, queued=shape != "own_packets")
    # The templates go: nothing of them may count.
    scene.machine.space.write(mdl.address, bytes(MDL_SIZE))
    scene.machine.space.write(irp.address, bytes(irp.size))
    locks = 1 if shape == "one_mdl" else count
    for number in range(count):
        following = 0
        if shape == "chain" and number + 1 < count:
            following = copies.mdl_at(number + 1)
        elif shape == "ring":
            following = copies.mdl_at((number + 1) % count)
        elif shape == "fan" and number:
            following = copies.mdl_at(0)
        if number < locks:
            copies.put_mdl(number, following)
        if shape in ("requests", "own_packets", "one_mdl") or (shape == "chain" and number == 0):
            copies.put_irp(number, copies.mdl_at(0 if shape == "one_mdl" else number))
    copies.write()
    scene.victim.locked = locks
    scene.machine.pins[mdl.frames[0]] = min(locks, 0xFFFF)
    return Crowd(scene.finish(), holder, maker, locks)


def pieces(count: int) -> Crowd:
    """A request of one page, and so many partial MDLs of that page that no packet names."""
    scene = Scene("crowd_pieces", BUILD, 0, trap=True, frames=count * STEP // PAGE + 0x200, large_pool=False)
    holder, device = scene.driver(SPLITTING)
    mdl = scene.lock(1)
    irp = scene.request(mdl, device)
    copies = Copies(scene, packets.partial_mdl(scene.machine, mdl, 0, 1), irp, count, queued=False)
    for number in range(count):
        copies.put_mdl(number, step=0)
    copies.write()
    return Crowd(scene.finish(), holder, holder, 1)


def busy_others(others: int, dead: int) -> Forged:
    """An ordinary case beside `others` requests in flight of a living process and `dead` unlocked MDLs of the victim."""
    scene = Scene("busy_others", BUILD, 0, trap=True, frames=(others + dead) // 4 + 64)
    machine, stranger = scene.machine, scene.stranger
    _, device = scene.driver()
    scene.request(scene.lock(4), device)
    theirs = scene.lock(1, stranger)
    request = scene.request(theirs, device, thread=stranger.threads[0], alone=True)
    living = Copies(scene, theirs, request, others, queued=False)
    old = scene.lock(1)
    machine.space.write(old.address + machine.layouts["MDL"].offset("MdlFlags"), struct.pack("<H", packets.FIXED_SIZE))
    gone = Copies(scene, old, request, dead, queued=False)
    for number in range(others):
        living.put_mdl(number)
        living.put_irp(number, living.mdl_at(number))
    for number in range(dead):
        gone.put_mdl(number)
    living.write()
    gone.write()
    return scene.finish()
