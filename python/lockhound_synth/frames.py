"""The PFN database: an MMPFN entry for every frame of RAM, with reference counts that tell which user pages are still locked.

Field places after the public PDB type _MMPFN; page locations: 1 free, 6 active, 7 transition.
"""

from __future__ import annotations

import struct

from .machine import Machine
from .physical import PAGE, Use

FREE, ACTIVE, TRANSITION = 1, 6, 7
DELETED = 1  # low bit of PteAddress: the page's PTE is gone


def prototype_bit(build: int) -> int:
    """u4.PrototypePte (bit positions of the public PDB types)."""
    return 1 << (63 if build >= 19041 else 57)


def reserve(machine: Machine) -> None:
    """Maps the pages of the database that describe RAM; the rest of the array stays unmapped, as on a real machine."""
    size = machine.layouts["MMPFN"].size
    pages: set[int] = set()
    for base, count in machine.runs:
        first, last = base * size // PAGE, ((base + count) * size - 1) // PAGE
        pages.update(range(first, last + 1))
    for page in sorted(pages):
        machine.space.map(machine.pfn_database + page * PAGE, machine.physical.take(Use.KERNEL))


def fill_in(machine: Machine) -> None:
    shape = machine.layouts["MMPFN"]
    u2, u3, u4, pte, original = (shape.offset(n) for n in ("u2", "u3", "u4", "PteAddress", "OriginalPte"))
    owners: dict[int, tuple[int, int]] = {}
    for space in {id(p.space): p.space for p in machine.processes}.values():
        for page, mapping in space.map_of.items():
            if mapping.kind == "large":
                continue
            owners[mapping.pa >> 12] = (space.pte_address(page << 12), space.tables.get((1, page >> 9), 0))
    entry = bytearray(shape.size)
    for base, count in machine.runs:
        run = bytearray()
        for pfn in range(base, base + count):
            use = machine.physical.use_of(pfn)
            pins = machine.pins.get(pfn, 0)
            address, table = owners.get(pfn, (0, 0))
            if not address and pins and pfn in machine.user_va:
                address = machine.space.pte_address(machine.user_va[pfn])  # outlives the page tables of its process
            if use is Use.FREE:
                references, share, location = 0, 0, FREE
            elif use is Use.USER or pins:
                mapped = pfn in machine.mapped_user
                references, share, location = int(mapped) + pins, int(mapped), ACTIVE if mapped else TRANSITION
                if pfn in machine.shared:
                    # A page of a section: others map it, and its PTE is the section's prototype.
                    references, share, location = 1 + pins, machine.shared[pfn], ACTIVE
                    address, table = machine.paged.base + 8 * pfn, prototype_bit(machine.build)
                elif not mapped:
                    address |= DELETED
            else:
                references, share, location = 1, 1, ACTIVE
            entry[:] = bytes(shape.size)
            struct.pack_into("<Q", entry, pte, address)
            struct.pack_into("<Q", entry, original, 0x80)
            struct.pack_into("<Q", entry, u2, share)
            struct.pack_into("<HB", entry, u3, references & 0xFFFF, location)
            struct.pack_into("<Q", entry, u4, table)
            run += entry
        machine.space.write(machine.pfn_database + base * shape.size, bytes(run))
    machine.label("pfn_database", machine.pfn_database + machine.runs[1][0] * shape.size)
