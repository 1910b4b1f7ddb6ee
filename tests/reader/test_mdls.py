"""A locked MDL with one field spoilt: it is another kind of MDL or none, and the driver that has its request is not blamed for it."""

from __future__ import annotations

import struct

import pytest

from lockhound_synth import scenarios

from .machines import forged, patched

SIZE, FLAGS, MAPPED_VA, START_VA, COUNT, OFFSET = 0x8, 0xA, 0x18, 0x20, 0x28, 0x2C  # WDK, wdm.h
MAPPED, NONPAGED_SOURCE, PARTIAL, PAGE_READ, AWE, LOCKED = 0x1, 0x4, 0x10, 0x40, 0x400, 0x2
HALF, WORD, QUAD = "<H", "<I", "<Q"

# Name: flags set, flags cleared, another field with its form and value, and the class that it is shown as; None: no MDL at all.
SPOILT: dict[str, tuple[int, int, tuple[int, str, int] | None, str | None]] = {
    "paging_read": (PAGE_READ, 0, None, "paging_read"),
    "paging_read_of_nothing": (PAGE_READ, 0, (START_VA, QUAD, 0), "paging_read"),
    "nonpaged_source": (NONPAGED_SOURCE, 0, None, "nonpaged_pool"),
    "partial": (PARTIAL, 0, None, "partial"),
    "awe": (AWE, 0, None, "awe"),
    "unlocked": (0, LOCKED, None, "unlocked"),
    "mapped_nowhere": (MAPPED, 0, (MAPPED_VA, QUAD, 0x7FF0_1234_5000), None),
    "size_of_fewer": (0, 0, (SIZE, HALF, 0x30), None),
    "no_bytes": (0, 0, (COUNT, WORD, 0), None),
    "offset_of_a_page": (0, 0, (OFFSET, WORD, 0x1000), None),
    "start_within_a_page": (0, 0, (START_VA, QUAD, 0x7FF0_1234_5008), None),
    "start_between_the_halves": (0, 0, (START_VA, QUAD, 0x0000_9000_0000_0000), None),
}


@pytest.mark.parametrize("build", scenarios.BUILDS)
@pytest.mark.parametrize("name", SPOILT)
def test_a_field_decides(name: str, build: int) -> None:
    machine = forged("pending_irp", build, 0)
    (entry,) = machine.truth.ledger["mdls"]
    at = int(entry["address"], 16)
    physical = machine.translate(at + FLAGS)
    assert physical is not None
    flags = int(struct.unpack_from(HALF, machine.pages[physical >> 12], physical & 0xFFF)[0])
    given, cleared, field, kind = SPOILT[name]
    changes = {at + FLAGS: struct.pack(HALF, (flags | given) & ~cleared)}
    if field:
        changes[at + field[0]] = struct.pack(field[1], field[2])
    case = patched("pending_irp", build, 0, changes)
    assert case["verdict"]["kind"] == "unattributed", case["verdict"]["sentence"]
    assert case["ledger"]["mdls"] == []
    assert case["ledger"]["unexplained"] == machine.truth.ledger["charged"]
    assert [row["class"] for row in case["considered"] if row["address"] == entry["address"]] == ([kind] if kind else [])
    assert patched("pending_irp", build, 0, {at: bytes(8)})["verdict"]["driver"] == machine.truth.verdict["driver"]
