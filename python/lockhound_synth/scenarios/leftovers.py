"""Stories full of leftovers: stale MDLs, completed and freed packets, and the case where nothing is left at all."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets, processes
from lockhound_synth.packets import CONTROL, READ, Slot
from lockhound_synth.truth import FREED_LOCKED

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
