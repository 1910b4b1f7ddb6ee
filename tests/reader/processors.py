"""A second processor beside the forge's one: its control region, and lookaside lists of its own that share the common ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lockhound_synth.cpu import PAIRS
from lockhound_synth.machine import Machine
from lockhound_synth.packets import Mdl
from lockhound_synth.record import Record

MDLS = 3  # _PP_NPAGED_LOOKASIDE_NUMBER of the public PDBs: LookasideMdlList
PAGE = 0x1000


def add_processor(machine: Machine, freed: Sequence[Mdl]) -> int:
    """Copies the finished first processor; on the new one's own list of MDLs lie `freed`. Returns the address of that list's head."""
    layouts, space = machine.layouts, machine.space
    region, block = layouts["KPCR"], layouts["KPRCB"]
    first = space.read_u64(machine.symbol("KiProcessorBlock"))
    old = first - region.offset("Prcb")
    base = machine.system_pages(-(-region.size // PAGE))
    prcb = base + region.offset("Prcb")
    space.write(base, space.read(old, region.offset("Prcb") + block.size))
    for name, value in (("Self", base), ("Used_Self", base), ("CurrentPrcb", prcb)):
        space.write_u64(base + region.offset(name), value)
    thread = machine.processes[0].threads[1].address
    space.write_u64(prcb + block.offset("CurrentThread"), thread)
    space.write_u64(prcb + block.offset("IdleThread"), thread)
    space.write(prcb + block.offset("Number"), struct.pack("<I", 1))
    head = 0
    for index in range(PAIRS):
        pair = block.offset("PPLookasideList") + 16 * index
        own = _list_like(machine, space.read_u64(first + pair), freed if index == MDLS else ())
        space.write_u64(prcb + pair, own)
        head = own if index == MDLS else head
    machine.set_global("KiProcessorBlock", first, prcb)
    machine.set_global("KeNumberProcessors", 2)
    return head


def _list_like(machine: Machine, other: int, entries: Sequence[Mdl]) -> int:
    """A lookaside list of the same kind, alone on its page, with these entries."""
    shape, space = machine.layouts["GENERAL_LOOKASIDE_POOL"], machine.space
    at = machine.nonpaged.alloc(max(shape.size, 0x80), b"LkaL", alone=True)
    record = Record(shape)
    record.data[:] = space.read(other, shape.size)
    record.put("ListHead", struct.pack("<2Q", len(entries) | 3 << 16, entries[0].address if entries else 0))
    space.write(at, bytes(record))
    following = [mdl.address for mdl in entries[1:]]
    for mdl, link in zip(entries, [*following, 0], strict=False):
        space.write_u64(mdl.address, link)
    return at
