"""Stories of MDLs in every shape: sizes up to the wrap of Size and beyond, odd places and flags, chains, doubles, copies, edits."""

from __future__ import annotations

from collections.abc import Callable

from lockhound_synth import io, packets
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import Mdl
from lockhound_synth.physical import PAGE
from lockhound_synth.processes import Process

from .origins import maker_above, own_slot
from .pending import guilty_device, send
from .stage import Stage

# Around the lookaside's limit, the sign bit of Size (4090) and its wrap (8186), and a length far beyond.
SIZES = (1, 22, 23, 24, 4089, 4090, 8185, 8186, 8190, 9000)


def _own_packet(stage: Stage, mdl: Mdl, maker: Driver, device: Device, lower_device: Device) -> None:
    """The maker's packet with its MDL waits below."""
    slot = own_slot(stage, lower_device, mdl, maker, device.extension)
    irp = packets.make_irp(stage.machine, [slot], 1, mdl=mdl, manager=False, flags=0)
    stage.charge(mdl, maker)
    stage.note_irp(irp, "pending", lower_device)
    stage.name(maker, mdl.pages)


def _simple(stage: Stage, victim: Process, mdl: Mdl) -> None:
    """A plain pending packet of the I/O manager."""
    guilty, device = guilty_device(stage)
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def of_pages(count: int) -> Callable[[Stage], None]:
    """The story of an MDL of so many pages."""

    def story(stage: Stage) -> None:
        stage.description = f"an MDL of {count} pages in a pending packet"
        victim = stage.make_victim()
        _simple(stage, victim, packets.make_mdl(stage.machine, victim, count, mapped=False))

    return story


def mdl_embedded(stage: Stage) -> None:
    """A driver initialised an MDL inside a structure of its own: aligned to a pointer, no more, and no pool tag in front."""
    stage.description = "the MDL lies inside a driver's own structure, at eight bytes' alignment"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker, device, _, lower_device = maker_above(stage, io.MAKING)
    pages = rng.randrange(1, 40)
    block = machine.nonpaged.alloc(0x60 + 0x30 + 8 * pages + 0x40, b"Kctx")
    machine.space.write(block, machine.places.randbytes(0x60 // 2))
    at = block + 16 * rng.randrange(1, 6) + 8
    mdl = packets.make_mdl(machine, victim, pages, at=at, tag=b"Kctx", mapped=False)
    machine.space.write_u64(device.extension + 0x40, block)
    _own_packet(stage, mdl, maker, device, lower_device)


def mdl_cut(stage: Stage) -> None:
    """Header and array are cut by page boundaries, and the pages lie anywhere in RAM."""
    stage.description = "the MDL's header and array cross page boundaries over scattered frames"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker, device, _, lower_device = maker_above(stage, io.MAKING)
    pages = rng.randrange(520, 900)
    block = machine.nonpaged.alloc(4 * PAGE, b"Kctx")
    mdl = packets.make_mdl(machine, victim, pages, at=block + PAGE - 8 * rng.randrange(1, 6), tag=b"Kctx", mapped=False)
    _own_packet(stage, mdl, maker, device, lower_device)


def mdl_alias(stage: Stage) -> None:
    """The MDL's page is mapped twice: a pointer may use the one address or the other, and the MDL counts once."""
    stage.description = "the page of the MDL has two kernel addresses; the packet uses one of them"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30), alone=True, mapped=False)
    first = mdl.address
    frame = (machine.space.translate(first) or 0) >> 12
    second = packets.map_frames(machine, [frame]) + first % PAGE
    if rng.random() < 0.5:
        mdl.address, second = second, first
    stage.aliases[f"{second:#x}"] = f"{mdl.address:#x}"
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def mdl_flags(stage: Stage) -> None:
    """Flags 0x218B, as seen in real dumps: locked, mapped, mapping may fail, from the lookaside list, for writing."""
    stage.description = "an MDL with the flags 0x218b, mapped into the system"
    victim = stage.make_victim()
    _simple(stage, victim, packets.make_mdl(stage.machine, victim, stage.rng.randrange(1, 23), flags=0x218B))


def mdl_large_page(stage: Stage) -> None:
    """The pool with MDL and packet lies in a 2 MiB page."""
    stage.description = "MDL and packet lie behind a large page"
    victim = stage.make_victim()
    _simple(stage, victim, packets.make_mdl(stage.machine, victim, stage.rng.randrange(1, 40)))


def mdl_transition(stage: Stage) -> None:
    """A driver keeps its MDL in pageable memory, whose page has been trimmed: the PTE is a transition one, the page is still there."""
    stage.description = "the MDL lies behind a transition PTE"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker, device, _, lower_device = maker_above(stage, io.MAKING)
    pages = rng.randrange(1, 40)
    before, machine.paged.transition = machine.paged.transition, 1.0
    block = machine.paged.alloc(0x30 + 8 * pages, b"Kpgd", alone=True)
    machine.paged.transition = before
    mdl = packets.make_mdl(machine, victim, pages, at=block, tag=b"Kpgd", mapped=False)
    _own_packet(stage, mdl, maker, device, lower_device)


def chain_third(stage: Stage) -> None:
    """A chain of three: only the first is named by the packet."""
    stage.description = "the third MDL of a packet's chain is named by nothing but the second one"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    chain = [packets.make_mdl(machine, victim, rng.randrange(1, 25)) for _ in range(3)]
    packets.link_mdls(machine, chain[1], chain[2])
    packets.link_mdls(machine, chain[0], chain[1])
    irp = send(stage, victim, device, chain[0])
    for mdl in chain:
        stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, sum(mdl.pages for mdl in chain))


def double_lock(stage: Stage) -> None:
    """The same buffer locked twice: two MDLs with the same contents, and the frames' reference counts are two."""
    stage.description = "one buffer is locked twice, by two packets; every frame is referenced twice"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    first = packets.make_mdl(machine, victim, rng.randrange(1, 20), mapped=False)
    second = packets.make_mdl(machine, victim, first.pages, like=first, mapped=False)
    guilty, device = guilty_device(stage)
    other, other_device = guilty_device(stage) if rng.random() < 0.5 else (guilty, device)
    for mdl, driver, where in ((first, guilty, device), (second, other, other_device)):
        irp = send(stage, victim, where, mdl)
        stage.charge(mdl, driver)
        stage.note_irp(irp, "pending", where)
    if other is guilty:
        stage.name(guilty, 2 * first.pages)
    else:
        stage.name(guilty, first.pages)
        stage.name(other, first.pages)


def _copied(stage: Stage, *, large: bool = False) -> tuple[Mdl, Mdl]:
    """A locked MDL in a pending packet, and another driver's copy of the structure: (original, copy). A large MDL does not come from the
    lists of MDLs, whose flag tells a copy that lies elsewhere."""
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    mdl = packets.make_mdl(machine, victim, rng.randrange(packets.FIXED_PAGES + 1, 40) if large else rng.randrange(1, 20), mapped=False)
    _simple(stage, victim, mdl)
    _, other = guilty_device(stage)
    size = 0x30 + 8 * mdl.pages
    block = machine.nonpaged.alloc(size + 0x20, b"Ktrc")
    machine.space.write(block + 0x18, machine.space.read(mdl.address, size))
    machine.space.write_u64(other.extension + 0x20, block)
    copy = Mdl(block + 0x18, victim, mdl.va, mdl.offset, mdl.length, mdl.frames, mdl.flags)
    stage.consider(copy, "copy")
    return mdl, copy


def mdl_copy(stage: Stage) -> None:
    """A driver keeps a copy of somebody's MDL: the frames are referenced once, so that one of the two is no lock."""
    stage.description = "a copy of the MDL lies in an innocent driver's block; reference counts tell one lock from two"
    _copied(stage)


def copy_uncounted(stage: Stage) -> None:
    """The same of a large MDL, without the reference counts: the ledger can only give a range."""
    stage.description = "a copy of a large MDL lies in an innocent driver's block, and the reference counts were not captured"
    mdl, _ = _copied(stage, large=True)
    stage.lose_counts(mdl)
    stage.explained_range = (mdl.pages, 2 * mdl.pages)


def edited_mdl(stage: Stage) -> None:
    """A driver made ByteCount smaller after the lock: the structure explains fewer pages than are charged."""
    stage.description = "ByteCount was made smaller after the lock; the array still holds more frames than it says"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(6, 20), mapped=False)
    irp = send(stage, victim, device, mdl)
    left = rng.randrange(1, mdl.pages - 2)
    packets.shorten(machine, mdl, left)
    stage.charge(mdl, guilty, pages=left)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, left)


def edited_unlocked(stage: Stage) -> None:
    """ByteCount was made smaller and then unlocked: the flag is gone, the rest of the pages stays charged for ever."""
    stage.description = "an MDL was shortened before its unlock: the rest of its pages stays locked, and no MDL says so"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(6, 20), mapped=False, charge=False)
    unlocked = rng.randrange(1, mdl.pages - 2)
    packets.shorten(machine, mdl, unlocked)
    packets.set_mdl_flags(machine, mdl, mdl.flags & ~packets.LOCKED)
    packets.release(machine, victim, mdl.va, mdl.frames[:unlocked])
    for pfn in mdl.frames[unlocked:]:
        machine.pins[pfn] = 1
    stage.without_mdl = mdl.pages - unlocked
    victim.locked += stage.without_mdl
    stage.consider(mdl, "edited")
    stage.kind = "unattributed"


def refuted_by_count(stage: Stage) -> None:
    """An innocent driver keeps a copy of an MDL from before its unlock: locked by its flag, refuted by the frames' counts of zero."""
    stage.description = "an old copy says locked, but its frames are free: reference count zero refutes it"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    _simple(stage, victim, packets.make_mdl(machine, victim, rng.randrange(1, 30)))
    _, other = guilty_device(stage)
    block = machine.nonpaged.alloc(0x200, b"Ktrc")
    copy = packets.make_refuted(machine, victim, rng.randrange(1, 20), at=block + 0x28, tag=b"Ktrc")
    machine.space.write_u64(other.extension + 0x18, copy.address)
    stage.consider(copy, "refuted")
    done = packets.make_irp(
        machine, [packets.Slot(other, packets.CONTROL, file=io.make_file(machine, other))], 1, mdl=copy, thread=victim.threads[0],
        linked="none",
    )  # fmt: skip
    packets.complete(machine, done)
    stage.note_irp(done, "completed", other, label=False)


def shared_pages(stage: Stage) -> None:
    """The locked pages belong to a section that others map: their counts are high for many reasons and prove nothing."""
    stage.description = "the locked pages are shared with other processes; a copy of the MDL can't be told by their counts"
    machine, rng = stage.machine, stage.rng
    mdl, _ = _copied(stage, large=True)
    for pfn in mdl.frames:
        machine.shared[pfn] = rng.randrange(1, 6)
    stage.explained_range = (mdl.pages, 2 * mdl.pages)


__all__ = ["SIZES", "of_pages"]
