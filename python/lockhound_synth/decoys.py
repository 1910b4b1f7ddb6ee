"""Values that look like evidence and are none: every scenario gets them, and the forge checks that they are in the written dump."""

from __future__ import annotations

import struct

from .cpu import Crash
from .machine import Decoy, Machine
from .physical import PAGE, Use
from .processes import Process


def plant(machine: Machine, process: Process) -> None:
    """Pointers to a process (or to where one would be) in all the places that really hold such pointers."""
    rng, space = machine.places, machine.space
    target = process.address

    # Pool quota: plain as before Windows 8 in one block, XOR-encoded with cookie and block address in another.
    for encoded in (False, True):
        body = machine.nonpaged.alloc(0x40, rng.choice((b"Even", b"IoSB", b"AlMs")))
        header = body - 0x10
        value = target ^ machine.pool_cookie ^ header if encoded else target
        space.write_u64(header + 8, value)
        machine.decoy("pool_quota_encoded" if encoded else "pool_quota", header + 8, value)

    # A handle table entry: bits 20 to 63 hold the object header's address without its low four bits.
    table = machine.paged.alloc(PAGE, b"Obtb")
    for index in range(1, 24):
        other = rng.choice(machine.processes).address - 0x30
        space.write(table + index * 16, struct.pack("<2Q", (other >> 4 & 0xFFF_FFFF_FFFF) << 20 | 1, 0x1FFFFF))
    entry = (target - 0x30 >> 4 & 0xFFF_FFFF_FFFF) << 20 | 1
    space.write_u64(table + 25 * 16, entry)
    machine.decoy("handle_entry", table + 25 * 16, entry)

    # Lists of interested parties: a table of some monitor's, a free block's leftover.
    monitor = machine.nonpaged.alloc(0x200, b"TpMn")
    words = [rng.choice([p.address for p in machine.processes]) if rng.random() < 0.3 else rng.getrandbits(48) for _ in range(64)]
    words[rng.randrange(64)] = target
    space.write(monitor, struct.pack("<64Q", *words))
    machine.decoy("monitor_table", monitor + 8 * words.index(target), target)
    freed = machine.nonpaged.alloc(0x80, b"Free")
    space.write_u64(freed + 0x40, target)
    machine.decoy("freed_pool", freed + 0x40, target)

    # One bit off, aligned and with MDL-like surroundings: exact search must not take it.
    for bit in rng.sample(range(4, 44), 3):
        body = machine.nonpaged.alloc(0xE8, b"Mdl ")
        value = target ^ 1 << bit
        space.write(body, struct.pack("<QHH4xQ2QII2Q", 0, 0x38, 0x18A, value, 0, 0x10_0000 << 12, 0x800, 0, 0x1234, 0))
        machine.decoy("one_bit_off", body + 0x10, value)

    # On a stack, dead words below the stack pointer.
    thread = next(t for t in machine.threads if t.alive)
    at = thread.stack_limit + rng.randrange(0x20, 0x80) * 8
    space.write_u64(at, target)
    machine.decoy("stack", at, target)

    # In a free frame: left over from before. Only a full dump holds it.
    pfn = machine.physical.take(Use.FREE)
    machine.physical.write(pfn << 12 | 0x230, struct.pack("<Q", target))
    machine.decoys.append(Decoy("free_frame", pfn << 12 | 0x230, target))


def of_objects(machine: Machine, process: Process, crash: Crash) -> None:
    """Decoys that are parts of written objects: threads, the handle table's owner, the bug check's own copies."""
    layouts = machine.layouts
    for thread in process.threads:
        machine.decoy("thread_process", thread.address + layouts["KTHREAD"].offset("Process"), process.address)
        at = thread.address + layouts["KTHREAD"].offset("ApcState") + layouts["KAPC_STATE"].offset("Process")
        machine.decoy("thread_apc_process", at, process.address)
    machine.decoy("handle_table_owner", process.handle_table + layouts["HANDLE_TABLE"].offset("QuotaProcess"), process.address)
    for index, value in enumerate(crash.parameters):
        if value == process.address:
            machine.decoy("bugcheck_data", machine.symbol("KiBugCheckData") + 8 + 8 * index, value)
            machine.decoy("crash_stack", crash.thread.stack_pointer + 16 + 8 * index, value)
