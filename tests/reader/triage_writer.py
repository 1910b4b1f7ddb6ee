"""Small memory dumps (type 4), written by the tests: tables and pieces of virtual memory; shares nothing with the reader.

Layout after the WDK's dump headers (TRIAGE_DUMP64, DUMP_UNLOADED_DRIVERS64, KLDR_DATA_TABLE_ENTRY64) as public readers describe them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from lockhound_synth.forge import Forged

HEADER, TRIAGE = 0x2000, 0x80
X64, ARM64 = 0x8664, 0xAA64
KDBG_SIZE = 0x380


@dataclass(slots=True)
class Unloaded:
    """A driver that is gone: the table has room for twelve characters of its name."""

    name: str
    begin: int
    end: int


@dataclass(slots=True)
class Loaded:
    """A row of the driver list."""

    name: str
    base: int
    size: int
    timestamp: int


@dataclass(slots=True)
class Small:
    """What goes into a small memory dump."""

    header: bytearray  # 0x2000 bytes of a dump header, of which the type is set here
    machine: int = X64
    blocks: list[tuple[int, bytes]] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    unloaded: list[Unloaded] = field(default_factory=list)
    prcb: bytes = b""
    process: bytes = b""
    thread: bytes = b""
    debugger: bytes = b""
    stack: tuple[int, bytes] = (0, b"")
    offsets: dict[str, int] = field(default_factory=dict)  # where the parts came to lie

    def put(self, out: bytearray, name: str, data: bytes) -> int:
        """Adds a part on a multiple of eight; its offset."""
        out += bytes(-len(out) % 8)
        self.offsets[name] = len(out)
        out += data
        return len(out) - len(data)

    def to_bytes(self) -> bytes:
        out = bytearray(self.header)
        struct.pack_into("<I", out, 0x30, self.machine)
        struct.pack_into("<I", out, 0xF98, 4)
        out += bytes(TRIAGE)
        head = memoryview(bytearray(TRIAGE))
        gone = struct.pack("<Q", len(self.unloaded))
        for row in self.unloaded:
            text = row.name.encode("utf-16-le", "surrogatepass")[:24]
            gone += struct.pack("<2H4xQ24s2Q", len(text), len(text), 0xFFFF_A000_0000_0000, text, row.begin, row.end)
        struct.pack_into("<I", head, 0x18, self.put(out, "unloaded", gone))
        for place, name, data in ((0x1C, "prcb", self.prcb), (0x20, "process", self.process), (0x24, "thread", self.thread)):
            struct.pack_into("<I", head, place, self.put(out, name, data) if data else 0)
        if self.stack[1]:
            struct.pack_into("<2I", head, 0x28, self.put(out, "stack", self.stack[1]), len(self.stack[1]))
            struct.pack_into("<Q", head, 0x48, self.stack[0])
        strings, places = bytearray(), []
        for module in self.loaded:
            strings += bytes(-len(strings) % 8)
            places.append(len(strings))
            strings += struct.pack("<I", len(module.name)) + module.name.encode("utf-16-le", "surrogatepass") + b"\0\0"
        first = self.put(out, "strings", bytes(strings))
        struct.pack_into("<2I", head, 0x38, first, len(strings))
        rows = b"".join(
            struct.pack("<I4x", first + place)
            + struct.pack("<48xQ8xI", module.base, module.size).ljust(0x80, b"\0")
            + struct.pack("<I4x", module.timestamp)
            for module, place in zip(self.loaded, places, strict=True)
        )
        struct.pack_into("<2I", head, 0x30, self.put(out, "drivers", rows), len(self.loaded))
        if self.debugger:
            struct.pack_into("<2I", head, 0x70, self.put(out, "debugger", self.debugger), len(self.debugger))
        table = self.put(out, "table", bytes(16 * len(self.blocks)))
        struct.pack_into("<2I", head, 0x78, table, len(self.blocks))
        for number, (va, data) in enumerate(self.blocks):
            # Not aligned, as in real files.
            struct.pack_into("<Q2I", out, table + 16 * number, va, len(out), len(data))
            self.offsets[f"block:{number}"] = len(out)
            out += data
        struct.pack_into("<2I", head, 0x4, len(out) + 4, len(out))
        out += b"TRGD"
        out[HEADER : HEADER + TRIAGE] = head
        return bytes(out)


def memory(forged: Forged, va: int, size: int) -> bytes:
    """Virtual memory of a forged machine; what is not mapped reads as zeros."""
    out = bytearray()
    while len(out) < size:
        at = va + len(out)
        part = min(size - len(out), 0x1000 - (at & 0xFFF))
        physical = forged.translate(at)
        page = forged.pages.get(physical >> 12) if physical is not None else None
        out += bytes(part) if page is None or physical is None else page[physical & 0xFFF :][:part]
    return bytes(out)


def small_of(forged: Forged, spans: Iterable[tuple[int, int]]) -> Small:
    """The small memory dump of a forged machine, with these (address, size) pieces of it."""
    machine = forged.machine
    header = bytearray(next(forged.stream(6)))
    kdbg = memory(forged, struct.unpack_from("<Q", header, 0x80)[0], KDBG_SIZE)
    thread_at, process_at = current_of(forged)
    sizes = machine.layouts["ETHREAD"].size, machine.layouts["EPROCESS"].size
    prcb = bytearray(0x1000)
    struct.pack_into("<Q", prcb, 8, thread_at)
    small = Small(header, prcb=bytes(prcb), debugger=kdbg)
    small.thread, small.process = memory(forged, thread_at, sizes[0]), memory(forged, process_at, sizes[1])
    stack = struct.unpack_from("<Q", header, 0x348 + 0x98)[0]
    small.stack = (stack, memory(forged, stack, 0x200))
    small.loaded = [Loaded(m["name"], int(m["base"], 16), m["size"], m["timestamp"]) for m in forged.truth.modules]
    small.unloaded = [Unloaded(name, begin, end) for name, begin, end in machine.unloaded]
    small.blocks = [(va, memory(forged, va, size)) for va, size in spans]
    return small


def current_of(forged: Forged) -> tuple[int, int]:
    """Thread and process that ran when the forged machine stopped."""
    process = int(forged.truth.current_process["address"], 16)
    owner = next(p for p in forged.machine.processes if p.address == process)
    rsp = struct.unpack_from("<Q", forged.header.context, 0x98)[0]
    return next(t.address for t in owner.threads if t.stack_limit <= rsp <= t.stack_base), process


def every_page(forged: Forged) -> list[tuple[int, int]]:
    """All kernel pages that a kernel dump of the machine has, neighbours joined."""
    there = set(forged.present(6))
    spans: list[tuple[int, int]] = []
    mappings = {mapping.va: mapping for mapping in forged.mappings()}  # a large page is in the forge's map once for each frame
    for mapping in sorted(mappings.values(), key=lambda m: m.va):
        for at in range(0, mapping.size, 0x1000):
            va = mapping.va + at
            if va < 1 << 63 or (mapping.pa + at) >> 12 not in there:
                continue
            if spans and sum(spans[-1]) == va:
                spans[-1] = (spans[-1][0], spans[-1][1] + 0x1000)
            else:
                spans.append((va, 0x1000))
    return spans
