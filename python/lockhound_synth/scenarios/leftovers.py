"""Stories full of leftovers: stale MDLs, completed and freed packets, and the case where nothing is left at all."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets, processes
from lockhound_synth.packets import CONTROL, READ, Slot
from lockhound_synth.truth import FREED_LOCKED, UNKNOWN

from .pending import guilty_device, send
from .stage import Stage


def stale_and_freed(stage: Stage) -> None:
    """Old MDLs of the process and old packets that point at them, and at the true one, through innocent drivers."""
    stage.description = "stale MDLs, completed and freed packets point at innocents, also from the true MDL's past"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    innocents = [guilty_device(stage)[1] for _ in range(3)]
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)

    stale = [packets.make_mdl(machine, victim, rng.randrange(1, 20), locked=False) for _ in range(rng.randrange(3, 7))]
    # One whose page count would balance the books as well.
    stale.append(packets.make_mdl(machine, victim, mdl.pages, locked=False))
    for old in stale:
        stage.consider(old, "unlocked")
    for old in stale[::2]:
        packets.free_mdl(machine, old)

    for target in (mdl, mdl, *stale):
        other = rng.choice(innocents)
        file = io.make_file(machine, other)
        slot = Slot(other, rng.choice((READ, CONTROL)), file=file, control=packets.PENDING_RETURNED)
        shape = rng.randrange(3)
        if shape == 0:
            # Completed: the location two past the last, no list, the MDL's address left over.
            done = packets.make_irp(machine, [slot], 1, mdl=target, file=file, thread=rng.choice(machine.threads), linked="none")
            packets.complete(machine, done)
            stage.note_irp(done, "completed", other, label=False)
        elif shape == 1:
            # Freed: the type is a list link now.
            freed = packets.make_irp(machine, [slot], 1, mdl=target, file=file, linked="none", lookaside=True)
            packets.free_irp(machine, freed)
            stage.note_irp(freed, "freed", other, label=False)
        else:
            # Freed to the pool and partly overwritten.
            freed = packets.make_irp(machine, [slot], 1, mdl=target, file=file, linked="none")
            machine.space.write(freed.address, struct.pack("<Q", rng.getrandbits(64) & ~0xFFFF | 0x1234))
            stage.note_irp(freed, "freed", other, label=False)

    # A driver's packet that is back with it, whose MDL was unlocked long ago.
    other = rng.choice(innocents)
    slots = [Slot(other, READ, completion=other.driver.module.symbols["Complete"], control=packets.ON_ALL)]
    packets.make_irp(machine, slots, 2, mdl=stale[0], manager=False, flags=0)

    # An MDL structure that was freed and taken again for a paging read: it still names the process and is locked, but no
    # user buffer is described and nobody is charged (WDK wdm.h: MDL_IO_PAGE_READ).
    reused = machine.nonpaged.alloc(0xE8, b"Mdl ")
    record = struct.pack("<QhH4xQQQII", 0, 0x38, packets.LOCKED | packets.FIXED_SIZE | packets.PAGING_READ, victim.address, 0, 0, 0x400, 0)
    frame = processes.user_pages(machine, stage.others[0], 1)[1]
    machine.space.write(reused, record + struct.pack("<Q", frame[0]))
    stage.considered.append({"address": f"{reused:#x}", "why": "paging_read"})


def freed_locked(stage: Stage) -> None:
    """An MDL went back to its list while it was locked: the pages stay charged, and who freed it left no trace that convicts."""
    stage.description = "the MDL was freed without an unlock; old pointers to it name nobody"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    innocents = [guilty_device(stage)[1] for _ in range(2)]
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, packets.FIXED_PAGES + 1), mapped=False)
    stage.charge(mdl, None, state=FREED_LOCKED)
    # Its neighbours on the list: what Next leads to is nobody's chain.
    for _ in range(2):
        packets.free_mdl(machine, packets.make_mdl(machine, rng.choice(stage.others), rng.randrange(1, 9), locked=False))
    packets.free_mdl(machine, mdl)
    packets.free_mdl(machine, packets.make_mdl(machine, rng.choice(stage.others), rng.randrange(1, 9), locked=False))
    other = rng.choice(innocents)
    slot = Slot(other, CONTROL, file=io.make_file(machine, other), control=packets.PENDING_RETURNED)
    freed = packets.make_irp(machine, [slot], 1, mdl=mdl, linked="none", lookaside=True)
    packets.free_irp(machine, freed)
    stage.note_irp(freed, "freed", other, label=False)
    # An idle packet with a leftover pointer: its "current location" lies behind its end.
    idle = packets.make_irp(machine, [None], 2, mdl=mdl, manager=False, flags=0)
    stage.note_irp(idle, "idle", None)
    stage.kind = "unattributed"


def no_mdl(stage: Stage) -> None:
    """Pages are charged and pinned, but no MDL is left, and no page of the kernel is missing."""
    stage.description = "the counter says locked pages, no MDL exists any more, everything that could hold one is captured"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    _driver, device = guilty_device(stage)
    count = rng.randrange(1, 20)
    _, frames = processes.user_pages(machine, victim, count)
    for pfn in frames:
        machine.pins[pfn] = machine.pins.get(pfn, 0) + 1
    victim.locked += count
    stage.without_mdl = count
    # Its blocks have been used again since: other contents, other tags.
    for _ in range(4):
        block = machine.nonpaged.alloc(0xE8, rng.choice((b"Even", b"Thre", b"Vad ")))
        machine.space.write(block, rng.randbytes(0x40))
    send(stage, stage.others[0], device, packets.make_mdl(machine, stage.others[0], 2), linked="thread")
    stage.kind = "unattributed"


def _old_pointers(stage: Stage, mdl: packets.Mdl) -> None:
    """What an MDL leaves behind: a completed packet of an innocent driver that still holds its address."""
    machine = stage.machine
    other = guilty_device(stage)[1]
    slot = Slot(other, CONTROL, file=io.make_file(machine, other), control=packets.PENDING_RETURNED)
    done = packets.make_irp(machine, [slot], 1, mdl=mdl, linked="none")
    packets.complete(machine, done)
    stage.note_irp(done, "completed", other, label=False)


def freed_in_pool(stage: Stage) -> None:
    """The MDL was too long for the lookaside list: its block went back to the pool while it was locked."""
    stage.description = "the MDL lies in a pool block that its header calls free"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    mdl = packets.make_mdl(machine, victim, rng.randrange(packets.FIXED_PAGES + 1, 60), mapped=False)
    stage.charge(mdl, None, state=FREED_LOCKED)
    link = machine.nonpaged.alloc(0x100, b"Mdl ")
    machine.nonpaged.free(link)
    if rng.random() < 0.5:
        # Its first qword was never overwritten, and what it leads to has been taken into a live chain of somebody else's.
        first = packets.make_mdl(machine, stage.others[0], 3)
        send(stage, stage.others[0], guilty_device(stage)[1], first, linked="thread")
        link = first.address
    packets.free_to_pool(machine, mdl, link)
    _old_pointers(stage, mdl)
    stage.kind = "unattributed"


def freed_idle(stage: Stage) -> None:
    """The freed MDL lies on its list, and an innocent driver's idle packet, intact and with a completion routine, still points to it."""
    stage.description = "an idle packet of an innocent driver points to an MDL that was freed while locked"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    innocent, other = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, packets.FIXED_PAGES + 1), mapped=False)
    stage.charge(mdl, None, state=FREED_LOCKED)
    packets.free_mdl(machine, mdl)
    slot = Slot(other, CONTROL, completion=innocent.module.symbols["Complete"], context=other.extension, control=packets.ON_ALL)
    idle = packets.make_irp(machine, [slot], 2, mdl=mdl, manager=False, flags=0)
    machine.space.write_u64(other.extension + 0x20, idle.address)
    machine.space.write_u64(other.extension + 0x28, mdl.address)
    stage.note_irp(idle, "idle", other)
    stage.kind = "unattributed"


def segment_heap_unknown(stage: Stage) -> None:
    """A block of the segment heap does not say whether it is free, nothing points to it, and the frames' counts are not here."""
    stage.description = "whether the MDL's block is free can't be told, and its frames' reference counts were not captured"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    mdl = packets.make_mdl(machine, victim, rng.randrange(packets.FIXED_PAGES + 1, 60), mapped=False)
    stage.charge(mdl, None, state=UNKNOWN)
    _old_pointers(stage, mdl)
    stage.lose_counts(mdl)
    stage.kind = "insufficient"


def unowned(stage: Stage) -> None:
    """A lock that stands, by the frames' counts, and nothing at all points to its MDL."""
    stage.description = "nothing points to the MDL; its frames' counts say that the lock stands"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    mdl = packets.make_mdl(machine, victim, rng.randrange(packets.FIXED_PAGES + 1, 60), mapped=False)
    stage.charge(mdl, None)
    _old_pointers(stage, mdl)
    stage.kind = "unattributed"


def freed_strangers(stage: Stage) -> None:
    """Next of freed MDLs leads to strangers: on the list to another process's, from a stale one into a live chain."""
    stage.description = "the freed MDL's Next leads to MDLs of other processes, and a stale one's into a live chain"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    other = guilty_device(stage)[1]
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, packets.FIXED_PAGES + 1), mapped=False)
    stage.charge(mdl, None, state=FREED_LOCKED)
    # Both lists, so that whichever it lies on it has a stranger behind it: entry N goes to list N mod 2.
    packets.free_mdl(machine, mdl)
    for _ in range(5):
        stranger = packets.make_mdl(machine, rng.choice(stage.others), rng.randrange(1, 9), mapped=False)
        packets.free_mdl(machine, stranger)
    first = packets.make_mdl(machine, stage.others[0], 3)
    second = packets.make_mdl(machine, stage.others[0], 5)
    packets.link_mdls(machine, first, second)
    send(stage, stage.others[0], other, first, linked="thread")
    stage.hold(second, other.driver)
    stale = packets.make_mdl(machine, victim, rng.randrange(24, 40), locked=False, next_mdl=first.address)
    stage.consider(stale, "unlocked")
    _old_pointers(stage, mdl)
    stage.kind = "unattributed"


def one_page_stale(stage: Stage) -> None:
    """One page is missing, and many old MDLs of one page would balance the books as well as the true one."""
    stage.description = "P3 is 1: one true MDL of one page among many stale ones that balance too"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, 1)
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, 1)
    _one_page_each(stage, rng.randrange(3, 7))


def one_page_none(stage: Stage) -> None:
    """One page is missing and no MDL tells of it: none of the stale ones may be taken for it because the sum fits."""
    stage.description = "P3 is 1 and no MDL stands for it; stale MDLs of one page would balance"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    _, frames = processes.user_pages(machine, victim, 1)
    machine.pins[frames[0]] = 1
    victim.locked, stage.without_mdl = 1, 1
    _one_page_each(stage, rng.randrange(3, 7))
    stage.kind = "unattributed"


def _one_page_each(stage: Stage, count: int) -> None:
    """Stale MDLs of one page with old packets of innocents, and two that even say locked, over free frames."""
    machine, rng = stage.machine, stage.rng
    victim = stage.victim
    if victim is None:
        raise ValueError("the victim comes first")
    for number in range(count):
        old = packets.make_mdl(machine, victim, 1, locked=False)
        stage.consider(old, "unlocked")
        if number < 2:
            _old_pointers(stage, old)
        if rng.random() < 0.5:
            packets.free_mdl(machine, old)
    block = machine.nonpaged.alloc(0x100, b"Ktrc")
    for at in (block + 0x18, block + 0x88):
        stage.consider(packets.make_refuted(machine, victim, 1, at=at, tag=b"Ktrc"), "refuted")
