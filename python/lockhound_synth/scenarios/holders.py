"""Stories of MDLs that no packet names: a driver keeps the pointer in memory of its own, or nobody does any more."""

from __future__ import annotations

import struct

from lockhound_synth import io, packets, pool, processes, stacks
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import CONTROL, Mdl, Slot
from lockhound_synth.physical import PAGE, Use
from lockhound_synth.processes import Process

from . import background
from .origins import own_slot
from .pending import guilty_device
from .stage import Stage

RECORDS = 3000  # of the long list
LIST_HEAD = 0x18  # in a device extension
WORD = 8
IN_FRAME = 0x18  # of any frame: no register is saved there
RETURNS_BY = "ExAllocatePoolWithTag"  # what a waiting driver's frame has called, as far as its stack tells


def lock(stage: Stage, *, mapped: bool = False, at: int = 0, pages: int = 0) -> tuple[Process, Mdl]:
    victim = stage.victim or stage.make_victim()
    count = pages or stage.rng.randrange(1, 34)
    return victim, packets.make_mdl(stage.machine, victim, count, mapped=mapped, at=at)


def guilt(stage: Stage, mdl: Mdl, driver: Driver) -> None:
    stage.charge(mdl, driver)
    stage.name(driver, mdl.pages)


def unowned(stage: Stage, mdl: Mdl, holder: Driver | None = None) -> None:
    stage.charge(mdl, holder)
    stage.kind = "unattributed"


def label_device(stage: Stage, device: Device) -> None:
    machine = stage.machine
    machine.label(f"device:{device.driver.name}", device.address, machine.layouts["DEVICE_OBJECT"].size + device.extension_size)


def context_block(stage: Stage, size: int, tag: bytes, label: str) -> int:
    block = stage.machine.nonpaged.alloc(size, tag)
    stage.machine.space.write(block, struct.pack("<2Q", stage.machine.places.getrandbits(20), 1))
    stage.machine.label(label, block, size)
    return block


def keep(stage: Stage, at: int, value: int) -> None:
    stage.machine.space.write_u64(at, value)


def _leftovers(stage: Stage, mdl: Mdl) -> None:
    """What points to any MDL that was in use for a while: a packet that is over, dead words of a stack, a freed block."""
    machine, rng = stage.machine, stage.rng
    _, other = guilty_device(stage)
    slot = Slot(other, CONTROL, file=io.make_file(machine, other), control=packets.PENDING_RETURNED)
    done = packets.make_irp(machine, [slot], 1, mdl=mdl, linked="none")
    packets.complete(machine, done)
    stage.note_irp(done, "completed", other, label=False)
    thread = rng.choice([t for t in machine.threads if t.alive])
    keep(stage, thread.stack_limit + rng.randrange(0x90, 0x100) * WORD, mdl.address)
    freed = machine.nonpaged.alloc(0x80, b"Free")
    keep(stage, freed + 0x30, mdl.address)
    machine.nonpaged.free(freed)


def _ring(stage: Stage, mdl: Mdl) -> None:
    """A monitor's ring of the last MDLs that it saw, most of other processes; its device leads to it."""
    machine, rng = stage.machine, stage.rng
    _, device = guilty_device(stage)
    count = rng.randrange(24, 40)
    ring = machine.nonpaged.alloc(count * 0x18 + 0x20, b"Mtrc")
    seen: list[Mdl] = []
    for _ in range(8):
        process = rng.choice(stage.others)
        old = packets.make_mdl(machine, process, rng.randrange(1, 4), locked=False)
        packets.free_mdl(machine, old)
        stage.old.append((process, old))
        seen.append(old)
    seen += [background.reading(stage, rng.choice(stage.others), stage.disk) for _ in range(4)]
    for index in range(count):
        entry = mdl if index == count // 2 else rng.choice(seen)
        pid = entry.process.pid if entry.process else 0
        machine.space.write(ring + 0x20 + index * 0x18, struct.pack("<3Q", machine.time + index, entry.address, pid))
    keep(stage, device.extension + 0x20, ring)


def held_in_extension(stage: Stage) -> None:
    """The plain case: the driver keeps the MDL in its device extension."""
    stage.description = "no packet names the MDL; its driver keeps the pointer in its device extension"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    keep(stage, device.extension + 0x20, mdl.address)
    label_device(stage, device)
    _leftovers(stage, mdl)
    guilt(stage, mdl, guilty)


def held_by_context(stage: Stage) -> None:
    """Through a context block: the extension leads to the block, the block to the MDL; a monitor's ring has it too."""
    stage.description = "the driver's device extension leads to a context block, and that to the MDL"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    block = context_block(stage, 0x88, b"Lky1", "context")
    keep(stage, block + 0x20, mdl.address)
    keep(stage, device.extension + 0x28, block)
    label_device(stage, device)
    _leftovers(stage, mdl)
    _ring(stage, mdl)
    guilt(stage, mdl, guilty)


def held_two_deep(stage: Stage) -> None:
    """Two blocks on the way, the first of them entered in the middle, as a list link would."""
    stage.description = "the driver's extension leads over two blocks to the MDL"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    inner, outer = context_block(stage, 0x58, b"Lky2", "context"), context_block(stage, 0xA8, b"Lky1", "outer")
    keep(stage, inner + 0x18, mdl.address)
    keep(stage, outer + 0x40, inner + 0x10)
    keep(stage, device.extension + 0x18, outer)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def _link(stage: Stage, entries: list[int]) -> None:
    for index, at in enumerate(entries):
        pair = entries[(index + 1) % len(entries)], entries[index - 1]
        stage.machine.space.write(at, struct.pack("<2Q", *pair))


def held_in_list(stage: Stage) -> None:
    """A record deep in a long list, whose head lies in the device extension."""
    stage.description = f"one of {RECORDS} records in a list of the driver's keeps the MDL; the head lies in its device extension"
    machine, rng = stage.machine, stage.rng
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    records = [machine.nonpaged.alloc(0x28, b"Lkyr") for _ in range(RECORDS)]
    chosen = rng.choice(records)
    keep(stage, chosen + 0x18, mdl.address)
    _link(stage, [device.extension + LIST_HEAD, *[record + 8 for record in records]])
    machine.label("record", chosen)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def held_in_data(stage: Stage) -> None:
    """A variable of the driver's module."""
    stage.description = "a variable in the driver's data section keeps the MDL"
    machine = stage.machine
    _, mdl = lock(stage)
    guilty, _ = guilty_device(stage)
    image = guilty.module.image
    if image is None:
        raise ValueError("an invented driver has an image")
    (data,) = [s for s in image.sections if s.name == ".data"]
    at = guilty.module.base + data.rva + WORD * stage.rng.randrange(2, data.virtual_size // WORD)
    keep(stage, at, mdl.address)
    machine.label("keeper", at)
    _leftovers(stage, mdl)
    guilt(stage, mdl, guilty)


def held_embedded(stage: Stage) -> None:
    """The MDL lies inside a structure of the driver's: nothing points to it but to the structure."""
    stage.description = "the MDL is part of the driver's own block, or of its device extension"
    rng = stage.rng
    guilty = stage.invent()
    device = io.make_device(stage.machine, guilty, name=f"{guilty.name.title()}0", extension=0x400)
    if rng.random() < 0.5:
        _, mdl = lock(stage, at=device.extension + 0x48, pages=rng.randrange(1, 60))
    else:
        block = context_block(stage, 0x300, b"Lky1", "context")
        _, mdl = lock(stage, at=block + 0x38, pages=rng.randrange(1, 60))
        keep(stage, device.extension + 0x28, block)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def held_in_driver_extension(stage: Stage) -> None:
    """What the driver had allocated to its driver object."""
    stage.description = "an extension of the driver object keeps the MDL"
    machine = stage.machine
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    first = io.client_extension(machine, guilty, 0x60)
    io.client_extension(machine, guilty, 0x40)
    keep(stage, first + 0x28, mdl.address)
    machine.label("keeper", first)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def held_in_big_block(stage: Stage) -> None:
    """A block of several pages, which has no header: only the kernel's table says where it begins."""
    stage.description = "a context of several pages keeps the MDL; the device extension leads to its start"
    machine, rng = stage.machine, stage.rng
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    size = rng.randrange(3, 9) * PAGE
    block = machine.nonpaged.alloc(size, b"Lkyb")
    at = block + rng.randrange(PAGE, size - WORD) // WORD * WORD
    keep(stage, at, mdl.address)
    keep(stage, device.extension + 0x28, block)
    table, entries = pool.big_page_table(machine.nonpaged, machine.build)
    machine.set_global("PoolBigPageTable", table)
    machine.set_global("PoolBigPageTableSize", entries)
    machine.label("keeper", at)
    machine.label("big_table", table)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def wait(stage: Stage, returns: int, value: int, *outward: int) -> int:
    """A thread of the system that waits in code which returns to an address, with a value in a register, and further out to others;
    where the value stands. Code without unwind data has it in its frame."""
    machine = stage.machine
    thread = processes.make_thread(machine, stage.system)
    known = stacks.shape_at(machine, returns) is not None
    laid = stacks.switch_out(machine, thread, [returns, *outward], (0, value) if known else None)
    stage.waiting[thread.address] = laid.frames
    pointer = next(sp for sp, address in laid.frames if address == returns)
    machine.label("stack", pointer)
    machine.label("thread", thread.address)
    if known:
        return next(iter(laid.held.values()))
    keep(stage, pointer + IN_FRAME, value)
    return pointer + IN_FRAME


def held_on_stack(stage: Stage) -> None:
    """A thread waits in the driver, which has the MDL in a register."""
    stage.description = "a worker thread waits in the driver, which has the MDL in a register that was saved for it"
    _, mdl = lock(stage)
    guilty, _ = guilty_device(stage)
    wait(stage, guilty.module.return_from(RETURNS_BY, "Worker"), mdl.address)
    _leftovers(stage, mdl)
    guilt(stage, mdl, guilty)


def held_by_mapping(stage: Stage) -> None:
    """Nobody keeps the MDL, but the driver keeps the address at which its pages are mapped."""
    stage.description = "the driver keeps the system address of the locked pages, not the MDL"
    machine, rng = stage.machine, stage.rng
    _, mdl = lock(stage, mapped=True)
    guilty, device = guilty_device(stage)
    at = machine.layouts["MDL"].offset("MappedSystemVa")
    mapped = machine.space.read_u64(mdl.address + at)
    keep(stage, device.extension + 0x20, mapped + rng.randrange(0, mdl.length, 4))
    label_device(stage, device)
    _leftovers(stage, mdl)
    guilt(stage, mdl, guilty)


def held_packed(stage: Stage) -> None:
    """A structure without padding: the pointer stands at four bytes' alignment."""
    stage.description = "a packed structure in the device extension keeps the MDL, at four bytes' alignment"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    keep(stage, device.extension + 0x24, mdl.address)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def held_in_urb(stage: Stage) -> None:
    """A request block of USB that the driver keeps for later."""
    stage.description = "the driver's URB, which is not sent, has the MDL; its extension leads to the URB"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    urb = packets.make_urb(stage.machine, mdl)
    keep(stage, device.extension + 0x28, urb)
    stage.machine.label("keeper", urb)
    label_device(stage, device)
    guilt(stage, mdl, guilty)


def log_ring(stage: Stage) -> None:
    """The owner has lost its pointer; what is left is a monitor's ring, and the monitor can lock pages as well."""
    stage.description = "only a monitor's ring of MDLs still points to it: the monitor owes nothing"
    _, mdl = lock(stage)
    guilty_device(stage)
    _ring(stage, mdl)
    _leftovers(stage, mdl)
    unowned(stage, mdl)


def held_unrooted(stage: Stage) -> None:
    """A block keeps the MDL, and nothing leads to the block: whose it is only its tag could say."""
    stage.description = "a pool block keeps the MDL, and nobody keeps the block"
    _, mdl = lock(stage)
    _, device = guilty_device(stage)
    block = context_block(stage, 0x60, b"Lky1", "context")
    keep(stage, block + 0x20, mdl.address)
    # Blocks with the same tag, which an innocent driver keeps.
    keep(stage, device.extension + 0x18, context_block(stage, 0x60, b"Lky1", "same_tag"))
    unowned(stage, mdl)


def dead_stack(stage: Stage) -> None:
    """What a thread left below its stack pointer says nothing of now."""
    stage.description = "only words below a thread's stack pointer point to the MDL"
    machine, rng = stage.machine, stage.rng
    _, mdl = lock(stage)
    driver, _ = guilty_device(stage)
    thread = rng.choice([t for t in machine.threads if t.alive])
    at = thread.stack_limit + rng.randrange(0x40, 0x100) * WORD
    keep(stage, at, driver.module.return_from(RETURNS_BY, "Worker"))
    keep(stage, at + 0x20, mdl.address)
    machine.label("stack", at)
    unowned(stage, mdl)


def shared_tag(stage: Stage) -> None:
    """Two drivers use one pool tag: the block that leads to the MDL is the one's, whatever its tag."""
    stage.description = "two drivers' blocks have the same tag; only one leads to the MDL"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    _, other = guilty_device(stage)
    for label, where in (("context", device), ("same_tag", other)):
        block = context_block(stage, 0x70, b"Ctx ", label)
        keep(stage, where.extension + 0x20, block)
        if where is device:
            keep(stage, block + 0x30, mdl.address)
        label_device(stage, where)
    guilt(stage, mdl, guilty)


def two_holders(stage: Stage) -> None:
    """Two drivers keep the MDL, and both could have locked it."""
    stage.description = "two drivers keep the MDL in their device extensions: which of them locked can't be told"
    _, mdl = lock(stage)
    block = context_block(stage, 0x70, b"Ctx ", "context")
    keep(stage, block + 0x28, mdl.address)
    for value in (mdl.address, block):
        _, device = guilty_device(stage)
        keep(stage, device.extension + 0x20, value)
        label_device(stage, device)
    unowned(stage, mdl)


def holder_and_borrower(stage: Stage) -> None:
    """A driver that can't lock pages was given the MDL, and keeps it as well."""
    stage.description = "two drivers keep the MDL; one of them imports no routine that locks pages"
    _, mdl = lock(stage)
    guilty, device = guilty_device(stage)
    _, other = guilty_device(stage, imports=(), never=io.LOCKING)
    for where in (device, other):
        keep(stage, where.extension + 0x20, mdl.address)
        label_device(stage, where)
    guilt(stage, mdl, guilty)


def holder_cannot_lock(stage: Stage) -> None:
    """The only driver that keeps the MDL can't have locked it: it borrowed it from one that forgot it."""
    stage.description = "the only driver that keeps the MDL imports no routine that locks pages"
    _, mdl = lock(stage)
    borrower, device = guilty_device(stage, imports=(), never=io.LOCKING)
    keep(stage, device.extension + 0x20, mdl.address)
    label_device(stage, device)
    unowned(stage, mdl, borrower)


def held_by_library(stage: Stage) -> None:
    """A port driver of Windows keeps the MDL for a client that left no trace."""
    stage.description = "a library of Windows keeps the MDL for one of its clients"
    _, mdl = lock(stage)
    guilty_device(stage)
    keep(stage, stage.port.extension + 0x20, mdl.address)
    label_device(stage, stage.port)
    unowned(stage, mdl, stage.windows["storport"])


def held_by_kernel(stage: Stage) -> None:
    """A variable of nt itself."""
    stage.description = "only a variable of the kernel keeps the MDL"
    machine = stage.machine
    _, mdl = lock(stage)
    at = machine.nt_base + 0x120 * PAGE + WORD * stage.rng.randrange(PAGE // WORD)
    keep(stage, at, mdl.address)
    machine.label("keeper", at)
    stage.charge(mdl, None)
    stage.kind = "kernel"


def holder_unloaded(stage: Stage) -> None:
    """The driver is gone, its device object is not: the kernel's record of unloaded drivers has the name, and no code is left to ask."""
    stage.description = "a device object of an unloaded driver keeps the MDL"
    machine = stage.machine
    _, mdl = lock(stage)
    driver, device = guilty_device(stage)
    keep(stage, device.extension + 0x20, mdl.address)
    module = driver.module
    machine.drop(module)
    machine.unloaded.append((module.name, module.base, module.base + module.size))
    label_device(stage, device)
    stage.charge(mdl, driver)
    stage.kind = "unattributed"


def holder_outside(stage: Stage) -> None:
    """Code that was mapped by hand: a thread waits in it, and no module has it."""
    stage.description = "a thread waits in code of no module, with the MDL in its frame"
    machine = stage.machine
    _, mdl = lock(stage)
    guilty_device(stage)
    page = machine.next_system_pte + PAGE
    machine.space.map(page, machine.physical.take(Use.KERNEL), execute=True)
    machine.next_system_pte = page + 2 * PAGE
    machine.space.write(page + 0x200, b"\xff\x15" + bytes(4) + b"\x90" * 16)
    wait(stage, page + 0x206, mdl.address)
    unowned(stage, mdl)


def _made(stage: Stage) -> tuple[Mdl, Driver, Device]:
    """A driver's own packet with the MDL waits in a bus driver."""
    machine = stage.machine
    _, mdl = lock(stage)
    maker = stage.invent(imports=io.MAKING)
    lower = io.make_device(machine, stage.windows["usbxhci"], name="USBFDO-0")
    device = io.make_device(machine, maker, above=lower, extension=0x200)
    slot = own_slot(stage, lower, mdl, maker, device.extension)
    irp = packets.make_irp(machine, [slot], 1, mdl=mdl, manager=False, flags=0)
    stage.note_irp(irp, "pending", lower)
    label_device(stage, device)
    return mdl, maker, device


def made_with_context(stage: Stage) -> None:
    """The maker of the packet keeps the MDL in a context of its own too: one more pointer, and nobody else's."""
    stage.description = "a driver's own packet waits below; the maker's context block has the MDL as well"
    mdl, maker, device = _made(stage)
    block = context_block(stage, 0x90, b"Lky1", "context")
    keep(stage, block + 0x48, mdl.address)
    keep(stage, device.extension + 0x40, block)
    guilt(stage, mdl, maker)


def made_and_held(stage: Stage) -> None:
    """Another driver keeps the MDL of the packet, over a context of its own, and can lock: it may be the owner."""
    stage.description = "a driver's own packet waits below; another driver's context block has the MDL as well"
    mdl, maker, _ = _made(stage)
    _, other = guilty_device(stage)
    block = context_block(stage, 0x90, b"Lky1", "context")
    keep(stage, block + 0x48, mdl.address)
    keep(stage, other.extension + 0x20, block)
    label_device(stage, other)
    unowned(stage, mdl, maker)
