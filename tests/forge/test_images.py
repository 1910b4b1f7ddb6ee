"""Drivers in the machine's memory: true headers, import slots that point into nt, unwind data where the module list says."""

from __future__ import annotations

import struct

from lockhound_synth.driver_image import ROUTINES
from lockhound_synth.forge import Forged
from lockhound_synth.io import PACKET_MAKERS
from lockhound_synth.machine import Module
from lockhound_synth.physical import PAGE
from lockhound_synth.scenarios import splits

from .conftest import machine


def nt_exports(forged: Forged) -> dict[str, int]:
    """The export table as memory holds it: name -> address."""
    space, base = forged.machine.space, forged.machine.nt_base

    def text(at: int) -> str:
        out = b""
        while not out.endswith(b"\0"):
            out += space.read(at + len(out), 1)
        return out[:-1].decode()

    (pe,) = struct.unpack("<I", space.read(base + 0x3C, 4))
    rva, _ = struct.unpack("<2I", space.read(base + pe + 24 + 112, 8))
    count, functions, names, ordinals = struct.unpack("<4I", space.read(base + rva + 24, 16))
    out: dict[str, int] = {}
    for index in range(count):
        (name,) = struct.unpack("<I", space.read(base + names + 4 * index, 4))
        (ordinal,) = struct.unpack("<H", space.read(base + ordinals + 2 * index, 2))
        (function,) = struct.unpack("<I", space.read(base + functions + 4 * ordinal, 4))
        out[text(base + name)] = base + function
    return out


def imported(module: Module) -> set[str]:
    assert module.image is not None
    return {name for names in module.image.imports.values() for name in names}


def test_slots_hold_exports_of_nt(build: int) -> None:
    forged = machine("partial_lower", build)
    exports = nt_exports(forged)
    assert "MmProbeAndLockPages" in exports
    checked = 0
    for module in forged.machine.modules:
        if module.image is None:
            continue
        for (_, name), rva in module.image.slots.items():
            assert forged.machine.space.read_u64(module.base + rva) == exports[name], (module.name, name)
            checked += 1
    assert checked > 50


def test_unwind_data_is_where_the_list_says(build: int) -> None:
    forged = machine("filters_above", build)
    shape = forged.machine.layouts["KLDR_DATA_TABLE_ENTRY"]
    for driver in forged.machine.drivers.values():
        module, space = driver.module, forged.machine.space
        table = space.read_u64(module.kldr + shape.offset("ExceptionTable"))
        (size,) = struct.unpack("<I", space.read(module.kldr + shape.offset("ExceptionTableSize"), 4))
        rows = list(struct.iter_unpack("<3I", space.read(table, size)))
        assert len(rows) == len(ROUTINES)
        assert {module.base + begin for begin, _, _ in rows} == {module.symbols[name] for name in ROUTINES}
        assert rows == sorted(rows)
        assert all(space.read(module.base + unwind, 1) == b"\1" for _, _, unwind in rows)


def test_init_section_is_gone(build: int) -> None:
    forged = machine("filters_above", build)
    for driver in forged.machine.drivers.values():
        entry = driver.module.symbols["DriverEntry"]
        assert forged.translate(entry) is None
        assert forged.translate(driver.module.base) is not None
        assert forged.translate(entry + PAGE) is not None  # resources stay


def test_every_import_is_called(build: int) -> None:
    forged = machine("driver_irp_in_bus", build)
    for driver in forged.machine.drivers.values():
        image = driver.module.image
        assert image is not None
        uncalled = {name for name in imported(driver.module) if not image.returns(name)}
        # What only the start-up code calls is not in the sections that stay.
        assert uncalled <= {"RtlInitUnicodeString", "KeInitializeEvent"}, driver.name


def test_only_makers_of_packets_import_the_makers(build: int) -> None:
    """Who holds a packet of the I/O manager could not have split it; who did, could."""
    for name in ("pending_irp", "filters_above", "orphaned_irp", "chain_second", "two_drivers", "busy", "other_current", "stale_and_freed"):
        forged = machine(name, build)
        for driver in forged.machine.drivers.values():
            if driver.module.name in {d["name"] for d in forged.truth.verdict["drivers"]}:
                assert not imported(driver.module) & PACKET_MAKERS
    split = machine("partial_lower", build)
    (maker,) = [m for m in split.machine.modules if m.name == split.truth.verdict["driver"]]
    assert set(splits.SPLITTING) <= imported(maker)
    below = machine("partial_pending", build)
    (lower,) = [m for m in below.machine.modules if m.name == below.truth.verdict["driver"]]
    assert not imported(lower) & PACKET_MAKERS
