"""kdmp-parser, an independent reader, sees the header, the pages and the translations that the forge meant to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockhound_synth import scenarios
from lockhound_synth.containers import TYPES
from lockhound_synth.forge import Forged
from lockhound_synth.physical import PAGE

kdmp_parser: Any = pytest.importorskip("kdmp_parser", reason="kdmp-parser is not installed")

STORIES = ("stale_and_freed", "busy", "driver_irp_in_bus")
CASES = [(STORIES[number % 3], build) for number, build in enumerate(scenarios.ALL_BUILDS)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def forged(request: pytest.FixtureRequest) -> Forged:
    """A machine of each build."""
    name, build = request.param
    return scenarios.build(name, build=build, seed=11)


@pytest.fixture(params=TYPES)
def dump(request: pytest.FixtureRequest, forged: Forged, tmp_path: Path) -> Any:
    """One of their files, opened by the witness."""
    path = tmp_path / "witness.dmp"
    forged.write(path, request.param)
    return kdmp_parser.KernelDumpParser(path)


def test_header(dump: Any, forged: Forged) -> None:
    header, meant = dump.header, forged.header
    assert header.LooksGood()
    assert dump.directory_table_base == meant.dtb
    assert (header.MajorVersion, header.MinorVersion) == (15, meant.build)
    assert header.MachineImageType == 0x8664
    assert header.NumberProcessors == meant.processors
    assert header.BugCheckCode == meant.bugcheck
    assert list(header.BugCheckCodeParameter) == list(meant.parameters)
    assert header.PsLoadedModuleList == meant.module_list
    assert header.PsActiveProcessHead == meant.process_list
    assert header.PfnDatabase == meant.pfn_database
    assert header.KdDebuggerDataBlock == meant.debugger_block
    assert header.RequiredDumpSpace == dump.filepath.stat().st_size
    assert header.SystemTime == meant.time
    assert dump.context.Rip == meant.rip
    assert dump.context.LooksGood()


def test_pages(dump: Any, forged: Forged) -> None:
    present = forged.present(int(dump.type))
    assert sorted(dump.pages) == [pfn * PAGE for pfn in present]
    zero = bytes(PAGE)
    for pfn in present:
        assert bytes(dump.read_physical_page(pfn * PAGE)) == forged.pages.get(pfn, zero)
    assert present
    absent = set(forged.machine.physical.all_frames()) - set(present)
    assert all(dump.read_physical_page(pfn * PAGE) is None for pfn in absent)


def test_kernel_translations(dump: Any, forged: Forged) -> None:
    seen: set[str] = set()
    for mapping in forged.mappings():
        for offset in (0, 0x18, mapping.size - 8):
            # It follows what the processor would follow: no transition PTE.
            wanted = None if mapping.kind == "transition" else mapping.pa + offset
            assert dump.translate_virtual(mapping.va + offset) == wanted, mapping
        seen.add(mapping.kind)
    assert "small" in seen


def test_addresses_with_no_page(dump: Any, forged: Forged) -> None:
    mapped = {m.va >> 12 for m in forged.mappings() if m.size == PAGE}
    beside = [page + 1 for page in sorted(mapped) if forged.translate((page + 1) << 12) is None]
    assert beside
    for page in beside:
        assert dump.translate_virtual(page << 12) is None


def test_user_translations(dump: Any, forged: Forged) -> None:
    living = [p for p in forged.machine.processes if p.alive and p.pid != 4]
    assert len(living) >= 4
    for process in living:
        user = [m for m in process.space.mappings() if m.va < 1 << 47]
        assert user
        for mapping in user:
            assert dump.translate_virtual(mapping.va, process.space.dtb) == mapping.pa
        # Its kernel half is the kernel's.
        assert dump.translate_virtual(forged.machine.nt_base, process.space.dtb) == forged.translate(forged.machine.nt_base)


def test_the_ended_process_has_no_user_pages(dump: Any, forged: Forged) -> None:
    (victim,) = [p for p in forged.machine.processes if not p.alive]
    for pfn, va in forged.machine.user_va.items():
        if pfn in forged.machine.pins and pfn not in forged.machine.mapped_user:
            assert dump.translate_virtual(va, victim.space.dtb) is None
