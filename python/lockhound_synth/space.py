"""Kernel and user address spaces: true four-level x64 page tables in the forged RAM, and the forge's own map beside them.

Bits after the Intel SDM volume 3 (4-level paging); the software forms of an invalid PTE after the public PDB types _MMPTE_HARDWARE,
_MMPTE_TRANSITION and _MMPTE_SOFTWARE (JPCERTCC/Windows-Symbol-Tables).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .physical import PAGE, Physical, Use

LARGE = 0x20_0000
VALID, WRITABLE, USER, ACCESSED, DIRTY, LARGE_PAGE, GLOBAL = 1, 2, 4, 0x20, 0x40, 0x80, 0x100
TRANSITION, SOFT_WRITE, NO_EXECUTE = 0x800, 0x800, 1 << 63
PROTECT_READWRITE = 4 << 5  # MM_READWRITE in bits 5-9 of a software PTE


def canonical(slot: int, offset: int = 0) -> int:
    """The kernel address at an offset in one of the upper 256 PML4 slots."""
    return 0xFFFF_0000_0000_0000 | slot << 39 | offset


@dataclass(frozen=True, slots=True)
class Mapping:
    """One page of an address space as the forge made it; kind is small, large or transition."""

    va: int
    pa: int
    size: int
    kind: str


class Space:
    """One set of page tables; the kernel half of every process space is copied from the kernel space at the end."""

    def __init__(self, physical: Physical, rng: random.Random, kernel: Space | None = None, self_map: int = 0) -> None:
        self.physical = physical
        self.kernel = kernel
        self.root = physical.take(Use.TABLE)
        self.self_map: int = kernel.self_map if kernel else (self_map or rng.randrange(0x100, 0x1C0))
        self.map_of: dict[int, Mapping] = {}
        self._entry(self.root, self.self_map, self.root << 12 | VALID | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE)
        self.tables: dict[tuple[int, int], int] = {}  # (level, va prefix) -> table frame, for u4 of the PFN entries

    @property
    def dtb(self) -> int:
        return self.root << 12

    @property
    def pte_base(self) -> int:
        return canonical(self.self_map)

    def pte_address(self, va: int) -> int:
        """Where the self-map shows the PTE of an address."""
        return self.pte_base + ((va & 0xFFFF_FFFF_FFFF) >> 12) * 8

    def _entry(self, table: int, index: int, value: int) -> None:
        struct.pack_into("<Q", self.physical.frames[table], index * 8, value)

    def _read(self, table: int, index: int) -> int:
        value: int = struct.unpack_from("<Q", self.physical.frames[table], index * 8)[0]
        return value

    def _table(self, va: int, level: int) -> int:
        """The frame of the table at a level (3 PDPT, 2 PD, 1 PT) for an address, made when missing."""
        table = self.root
        user = USER if va < 1 << 47 else 0
        for at in range(3, level - 1, -1):
            index = va >> (12 + 9 * at) & 0x1FF
            entry = self._read(table, index)
            if not entry & VALID:
                made = self.physical.take(Use.TABLE)
                entry = made << 12 | VALID | WRITABLE | user | ACCESSED | DIRTY
                self._entry(table, index, entry)
                self.tables[at, va >> (12 + 9 * at)] = made
            elif entry & LARGE_PAGE:
                raise ValueError(f"{va:#x} is inside a large page")
            table = entry >> 12 & 0xF_FFFF_FFFF
        return table

    def map(self, va: int, pfn: int, *, write: bool = True, execute: bool = False, transition: bool = False) -> None:
        table = self._table(va, 1)
        if transition:
            entry = pfn << 12 | TRANSITION | PROTECT_READWRITE
        else:
            entry = pfn << 12 | VALID | ACCESSED | (DIRTY | WRITABLE | SOFT_WRITE if write else 0)
            entry |= (USER if va < 1 << 47 else GLOBAL) | (0 if execute else NO_EXECUTE)
        self._entry(table, va >> 12 & 0x1FF, entry)
        self.map_of[va >> 12] = Mapping(va & ~0xFFF, pfn << 12, PAGE, "transition" if transition else "small")

    def map_large(self, va: int, pfn: int, *, execute: bool = False) -> None:
        """A 2 MiB page; va and pfn are aligned to it."""
        table = self._table(va, 2)
        entry = pfn << 12 | VALID | WRITABLE | ACCESSED | DIRTY | LARGE_PAGE | GLOBAL | (0 if execute else NO_EXECUTE)
        self._entry(table, va >> 21 & 0x1FF, entry)
        for page in range(512):
            self.map_of[(va >> 12) + page] = Mapping(va, pfn << 12, LARGE, "large")

    def demand_zero(self, va: int) -> None:
        """A PTE that only holds a protection: no frame yet."""
        self._entry(self._table(va, 1), va >> 12 & 0x1FF, PROTECT_READWRITE)

    def paged_out(self, va: int, offset: int) -> None:
        """A PTE that names a place in page file 0."""
        self._entry(self._table(va, 1), va >> 12 & 0x1FF, offset << 32 | PROTECT_READWRITE)
        self.map_of.pop(va >> 12, None)

    def unmap(self, va: int) -> None:
        self._entry(self._table(va, 1), va >> 12 & 0x1FF, 0)
        self.map_of.pop(va >> 12, None)

    def table_frames(self, va: int) -> list[int]:
        """The frames of the tables that translate a kernel address, from the top but one; a large page has one fewer."""
        return [self.tables[level, va >> (12 + 9 * level)] for level in (3, 2, 1) if (level, va >> (12 + 9 * level)) in self.tables]

    def adopt_kernel_half(self) -> None:
        """Copies the kernel's upper PML4 entries but the self-map's."""
        if self.kernel is None:
            return
        for slot in range(256, 512):
            if slot != self.self_map:
                self._entry(self.root, slot, self._read(self.kernel.root, slot))

    def translate(self, va: int) -> int | None:
        found = self.map_of.get(va >> 12)
        if found is None and self.kernel is not None and va >> 47:
            return self.kernel.translate(va)
        return None if found is None else found.pa + (va - found.va)

    def mappings(self) -> Iterator[Mapping]:
        """Each mapping once, by address."""
        last = None
        for page in sorted(self.map_of):
            mapping = self.map_of[page]
            if mapping is not last:
                yield mapping
            last = mapping

    def write(self, va: int, data: bytes) -> None:
        position = 0
        while position < len(data):
            pa = self.translate(va + position)
            if pa is None:
                raise ValueError(f"{va + position:#x} is not mapped")
            size = min(PAGE - (pa & 0xFFF), len(data) - position)
            self.physical.write(pa, data[position : position + size])
            position += size

    def read(self, va: int, size: int) -> bytes:
        out = b""
        while len(out) < size:
            pa = self.translate(va + len(out))
            if pa is None:
                raise ValueError(f"{va + len(out):#x} is not mapped")
            out += self.physical.read(pa, min(PAGE - (pa & 0xFFF), size - len(out)))
        return out

    def write_u64(self, va: int, value: int) -> None:
        self.write(va, struct.pack("<Q", value & (1 << 64) - 1))

    def read_u64(self, va: int) -> int:
        value: int = struct.unpack("<Q", self.read(va, 8))[0]
        return value
