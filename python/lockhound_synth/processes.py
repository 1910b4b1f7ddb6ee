"""Processes and threads: EPROCESS and ETHREAD objects, their lists, kernel stacks, and the user halves of living processes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from .layouts.derived import FAN_OUT_AT, FAN_OUT_COUNT, FAN_OUT_STEP
from .machine import Machine
from .physical import PAGE, Use
from .record import Record
from .regions import user_slots
from .space import Space

# EPROCESS.Flags bits (public PDB type _EPROCESS, the same from XP to 24H2).
PROCESS_EXITING, PROCESS_DELETE, VM_DELETED, PROCESS_INSERTED = 1 << 2, 1 << 3, 1 << 5, 1 << 26
PROCESS_OBJECT, THREAD_OBJECT = 3, 6  # DISPATCHER_HEADER.Type
STACK_PAGES = 3


@dataclass(slots=True)
class Process:
    name: str
    pid: int
    address: int
    space: Space
    parent: int
    alive: bool
    handle_table: int = 0
    locked: int = 0  # pages charged: what NumberOfLockedPages will say
    threads: list[Thread] = field(default_factory=list)
    next_user: int = 0
    exit_age: int = 0  # 100 ns units between its end and the crash; 0: some seconds
    lock_header: int = 0


@dataclass(slots=True)
class Thread:
    process: Process
    tid: int
    address: int
    stack_base: int
    stack_limit: int
    stack_pointer: int
    alive: bool
    irps: list[int] = field(default_factory=list)  # addresses of linked packets


def make_process(machine: Machine, name: str, pid: int, *, parent: int = 4, alive: bool = True, threads: int = 1) -> Process:
    rng, shape = machine.rng, machine.layouts["EPROCESS"]
    address = machine.object("Process", shape.size, b"Proc", pointers=0x8000 if alive else 0, handles=6 if alive else 0)
    space = machine.space if pid == 4 else Space(machine.physical, machine.places, machine.space)
    process = Process(name, pid, address, space, parent, alive, next_user=machine.places.randrange(*user_slots(machine.build)) << 32)
    table = machine.layouts["HANDLE_TABLE"]
    process.handle_table = machine.paged.alloc(table.size, b"Obtb")
    machine.processes.append(process)
    if alive and pid != 4:
        # A little of the image and the stack of the program.
        for _ in range(2):
            user_pages(machine, process, rng.randrange(1, 3))
    for _ in range(threads):
        make_thread(machine, process)
    return process


def make_thread(machine: Machine, process: Process) -> Thread:
    """A thread with a kernel stack; a dead one keeps its memory, but its object is gone (no pointer count)."""
    alive = process.alive
    address = machine.object("Thread", machine.layouts["ETHREAD"].size, b"Thre", pointers=0x8000 if alive else 0)
    limit = machine.system_pages(STACK_PAGES)
    base = limit + STACK_PAGES * PAGE
    tid = process.pid + 4 * (len(process.threads) + 1) if process.pid != 4 else 8 + 4 * len(process.threads)
    thread = Thread(process, tid, address, base, limit, base - 0x600, alive)
    rng = machine.places
    words = [rng.choice((0, 0, rng.getrandbits(16), base - rng.randrange(0x1000))) for _ in range(0x600 // 8)]
    text = list(machine.kernel.exports.values())
    for at in range(5, len(words), 9):
        words[at] = machine.nt_base + rng.choice(text) + rng.randrange(0x10, 0x60)
    machine.space.write(base - 0x600, struct.pack(f"<{len(words)}Q", *words))
    process.threads.append(thread)
    machine.threads.append(thread)
    return thread


def user_pages(machine: Machine, process: Process, count: int) -> tuple[int, list[int]]:
    """User pages at fresh addresses: (first address, frames). A dead process has no mapping left."""
    va = process.next_user
    frames = [machine.physical.take(Use.USER) for _ in range(count)]
    for index, pfn in enumerate(frames):
        machine.physical.frames[pfn][:] = machine.places.randbytes(0x40).ljust(PAGE, b"\0")
        if process.alive:
            process.space.map(va + index * PAGE, pfn)
            machine.mapped_user.add(pfn)
        machine.user_va[pfn] = va + index * PAGE
    process.next_user = va + (count + machine.places.randrange(1, 0x20)) * PAGE
    return va, frames


def fill_in(machine: Machine) -> None:
    """Writes all process and thread objects and links the lists: counters and IRP lists are known only at the end."""
    layouts, space = machine.layouts, machine.space
    shape, kernel_shape = layouts["EPROCESS"], layouts["KPROCESS"]
    links = shape.offset("ActiveProcessLinks")
    head = machine.symbol("PsActiveProcessHead")
    ring = [head] + [p.address + links for p in machine.processes if p.alive]
    around = {at: (ring[(i + 1) % len(ring)], ring[i - 1]) for i, at in enumerate(ring)}
    space.write(head, struct.pack("<2Q", *around[head]))
    for process in machine.processes:
        process.space.adopt_kernel_half()
        record = Record(shape)
        listed = around.get(process.address + links, (0, 0))
        record.links("ActiveProcessLinks", *listed)
        record.set("UniqueProcessId", process.pid).put("ImageFileName", process.name.encode("latin-1")[:14])
        if "VmWorkingSetList" in shape:
            record.set("VmWorkingSetList", _fan_out(machine, process))
        record.set("NumberOfLockedPages", 0 if "VmWorkingSetList" in shape and machine.fanned_out else process.locked).set(
            "NumberOfPrivatePages", machine.rng.randrange(100, 9000) if process.alive else process.locked
        )
        record.set("InheritedFromUniqueProcessId", process.parent).set("CreateTime", machine.time - machine.rng.randrange(10**9, 10**11))
        record.set("LockedPagesList", process.lock_header).set("ActiveThreads", sum(t.alive for t in process.threads))
        if process.alive:
            record.set("Flags", PROCESS_INSERTED | 0x144D0000).set("ObjectTable", process.handle_table)
            record.set("Peb", 0 if process.pid == 4 else 0x10_0000_0000 + process.pid * PAGE)
        else:
            record.set("Flags", PROCESS_INSERTED | PROCESS_EXITING | PROCESS_DELETE | VM_DELETED | 0x144D0000)
            # Recently: the bug check comes when the last reference goes.
            record.set("ExitTime", machine.time - (process.exit_age or machine.rng.randrange(10**6, 10**9)))
        thread_shape = layouts["ETHREAD"]
        live = [t for t in process.threads if t.alive]
        outer, inner = shape.offset("ThreadListHead"), kernel_shape.offset("ThreadListHead")
        outer_link, inner_link = thread_shape.offset("ThreadListEntry"), layouts["KTHREAD"].offset("ThreadListEntry")
        links_of: dict[tuple[int, int], tuple[int, int]] = {}
        for where, link in ((outer, outer_link), (inner, inner_link)):
            circle = [process.address + where] + [t.address + link for t in live]
            for i, at in enumerate(circle):
                links_of[link, at] = (circle[(i + 1) % len(circle)], circle[i - 1])
        record.links("ThreadListHead", *links_of[outer_link, process.address + outer])
        pcb = Record(kernel_shape)
        header = layouts["DISPATCHER_HEADER"]
        pcb.data[header.offset("Type")] = PROCESS_OBJECT
        pcb.data[header.offset("Size")] = kernel_shape.size // 4 & 0xFF
        waiters = process.address + header.offset("WaitListHead")
        struct.pack_into("<2Q", pcb.data, header.offset("WaitListHead"), waiters, waiters)
        struct.pack_into("<i", pcb.data, header.offset("SignalState"), 0 if process.alive else 1)
        pcb.set("DirectoryTableBase", process.space.dtb).links("ThreadListHead", *links_of[inner_link, process.address + inner])
        record.data[: kernel_shape.size] = pcb.data
        space.write(process.address, bytes(record))
        for thread in process.threads:
            _write_thread(machine, thread, links_of)
        table = Record(layouts["HANDLE_TABLE"])
        table.set("QuotaProcess", process.address if process.pid != 4 else 0).set("UniqueProcessId", process.pid)
        space.write(process.handle_table, bytes(table))


def _fan_out(machine: Machine, process: Process) -> int:
    """The structure with the four counters whose sum is the count of locked pages on the newest kernels; the address of the structure."""
    at = machine.system_pages(1)
    parts = [machine.places.randrange(-8, 64) for _ in range(FAN_OUT_COUNT - 1)] if process.locked else [0] * (FAN_OUT_COUNT - 1)
    # A request may be locked on one processor and unlocked on another: a single counter can be below zero.
    for index, value in enumerate([*parts, process.locked - sum(parts)]):
        machine.space.write_u64(at + FAN_OUT_AT + FAN_OUT_STEP * index, value)
    return at


def _write_thread(machine: Machine, thread: Thread, links_of: dict[tuple[int, int], tuple[int, int]]) -> None:
    layouts, process = machine.layouts, thread.process
    shape, inner = layouts["ETHREAD"], layouts["KTHREAD"]
    record, tcb = Record(shape), Record(inner)
    header = layouts["DISPATCHER_HEADER"]
    tcb.data[header.offset("Type")] = THREAD_OBJECT if thread.alive else 0
    waiters = thread.address + header.offset("WaitListHead")
    struct.pack_into("<2Q", tcb.data, header.offset("WaitListHead"), waiters, waiters)
    tcb.set("InitialStack", thread.stack_base - 0x60).set("StackLimit", thread.stack_limit).set("StackBase", thread.stack_base)
    tcb.set("KernelStack", thread.stack_pointer).set("Process", process.address).set("State", 5 if thread.alive else 4)
    apc = inner.offset("ApcState")
    for at in (apc, apc + 0x10):
        struct.pack_into("<2Q", tcb.data, at, thread.address + at, thread.address + at)
    struct.pack_into("<Q", tcb.data, apc + layouts["KAPC_STATE"].offset("Process"), process.address)
    for link, target in ((inner.offset("ThreadListEntry"), tcb), (shape.offset("ThreadListEntry"), record)):
        pair = links_of.get((link, thread.address + link), (0, 0))
        struct.pack_into("<2Q", target.data, link, *pair)
    record.data[: inner.size] = tcb.data
    # ETHREAD.ThreadListEntry lies behind the KTHREAD, so the copy above did not touch it.
    record.put("Cid", struct.pack("<2Q", process.pid, thread.tid))
    record.set("StartAddress", machine.nt_base + machine.kernel.exports["PspSystemThreadStartup"])
    head = thread.address + shape.offset("IrpList")
    entry = layouts["IRP"].offset("ThreadListEntry")
    ring = [head] + [irp + entry for irp in thread.irps]
    for i, at in enumerate(ring):
        pair = (ring[(i + 1) % len(ring)], ring[i - 1])
        if at == head:
            record.links("IrpList", *pair)
        else:
            machine.space.write(at, struct.pack("<2Q", *pair))
    machine.space.write(thread.address, bytes(record))
