"""Machines with less in them than the forge builds: what decides nothing is not insisted on, and what could have told weighs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth.forge import Forged

from .altered import Altered
from .machines import Answer, case_of, forged, patched
from .test_trackers import places, trace_of

IMPORTS, EXCEPTIONS, ADDRESSES = 1, 3, 12  # IMAGE_DIRECTORY_ENTRY_IMPORT, _EXCEPTION and _IAT, PE format


# ---- images


def headers(a: Altered) -> Iterator[tuple[int, int]]:
    """(base, address of the PE header) of the drivers' images."""
    for driver in a.machine.drivers.values():
        if driver.module.image:
            base = driver.module.base
            yield base, base + int.from_bytes(a.read(base + 0x3C, 4), "little")


def directory(pe: int, index: int) -> int:
    return pe + 24 + 112 + 8 * index


def images_without_tables(a: Altered) -> None:
    """Images have no directories of imports."""
    for _, pe in headers(a):
        for index in (IMPORTS, ADDRESSES):
            a.write(directory(pe, index), bytes(8))


def images_without_sections(a: Altered) -> None:
    """Images have a header and no table of sections."""
    for _, pe in headers(a):
        a.write(pe + 6, bytes(2))


def images_with_a_header_alone(a: Altered) -> None:
    images_without_tables(a)
    images_without_sections(a)


def unmap(a: Altered, begin: int, size: int) -> None:
    for va in range(begin, begin + size, 0x1000):
        if a.machine.space.translate(va) is not None:
            slot = 8 * (va >> 12 & 0x1FF)
            a.pages[a.machine.space.table_frames(va)[-1]][slot : slot + 8] = bytes(8)


def images_unmapped(a: Altered) -> None:
    """Modules have records, and nothing is mapped where their images were."""
    for driver in a.machine.drivers.values():
        unmap(a, driver.module.base, driver.module.size)


def addresses_without_a_directory(a: Altered) -> None:
    """What is imported stands in the import table alone."""
    for _, pe in headers(a):
        a.write(directory(pe, ADDRESSES), bytes(8))


def addresses_never_bound(a: Altered) -> None:
    """The slots still lead to the names of what they import, as in a file."""
    for base, pe in headers(a):
        table, size = struct.unpack("<II", a.read(directory(pe, ADDRESSES), 8))
        for slot in range(base + table, base + table + size, 8):
            if a.u64(slot):
                a.put(slot, 0x6000 + slot % 0x1000)


def told(story: str, build: int, *changes: Callable[[Altered], None]) -> tuple[Forged, dict[str, Any]]:
    machine = forged(story, build, 0)
    altered = Altered(machine)
    for change in changes:
        change(altered)
    return machine, case_of(altered.finish().to_bytes(6))


def factors(case: dict[str, Any]) -> set[str]:
    return {f["name"] for f in case["verdict"]["confidence"]["factors"] if f["value"] < 1}


@pytest.mark.parametrize("change", [images_without_tables, images_with_a_header_alone, images_unmapped])
@pytest.mark.parametrize(("story", "build"), [("async_built", 19041), ("tracked_leak", 9600), ("tracked_leak", 26100)])
def test_who_locked_is_told_without_imports(story: str, build: int, change: Callable[[Altered], None]) -> None:
    """By the trace, or as the maker of the packet: less surely, because nothing rules out that it borrowed the MDL."""
    machine, case = told(story, build, change)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert "imports" in factors(case)


@pytest.mark.parametrize("story", ["async_built", "tracked_leak", "held_in_extension"])
def test_a_header_that_is_missing_names_nobody(story: str) -> None:
    """That page would tell; and a holder in memory has to show that it can lock."""
    machine, case = told(story, 19041)
    wanted = machine.truth.verdict["driver"]
    assert case["verdict"]["driver"] == wanted
    (module,) = (m for m in machine.machine.modules if m.name == wanted)
    machine, case = told(story, 19041, images_without_tables, lambda a: a.lose(module.base))
    assert case["verdict"]["kind"] == "insufficient"


def test_a_holder_in_memory_must_be_able_to_lock() -> None:
    for change in (images_without_tables, images_unmapped):
        _, case = told("held_in_extension", 19041, change)
        assert case["verdict"]["kind"] == "insufficient"


@pytest.mark.parametrize("change", [addresses_without_a_directory, addresses_never_bound])
@pytest.mark.parametrize("story", ["borrowed_mdl", "holder_cannot_lock", "async_built"])
def test_names_of_imports_tell_without_addresses(story: str, change: Callable[[Altered], None]) -> None:
    machine, case = told(story, 19041, change)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)


def entry_points_of_another_kind(a: Altered) -> None:
    """Records of modules have something else where their entry point should stand, all of them."""
    at = a.machine.layouts["KLDR_DATA_TABLE_ENTRY"].offset("EntryPoint")
    for module in a.machine.modules:
        a.put(module.kldr + at, module.base + 0x10)


@pytest.mark.parametrize(("story", "build"), [("pending_irp", 7601), ("async_built", 9600), ("tracked_leak", 26100)])
def test_what_no_record_has_contradicts_none(story: str, build: int) -> None:
    """One record among others is another matter: two situations have that."""
    machine, case = told(story, build, entry_points_of_another_kind)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)


def test_without_unwind_data_no_code_is_a_leaf() -> None:
    """The word on top of the stack is then anything; what lies there is a lead."""
    machine, case = told("unlock_twice", 19041)
    assert case["verdict"]["kind"] == "driver"
    nt = next(m for m in machine.machine.modules if m.name == "ntoskrnl.exe")

    def no_unwind_data(a: Altered) -> None:
        a.write(directory(nt.base + int.from_bytes(a.read(nt.base + 0x3C, 4), "little"), EXCEPTIONS), bytes(8))

    _, case = told("unlock_twice", 19041, no_unwind_data)
    assert case["verdict"]["kind"] == "unattributed"
    assert not case["stack"]["complete"]
    assert "no unwind data" in case["stack"]["reason"]
    assert [s["driver"] for s in case["suspects"]]


# ---- the database of frames


def entries(a: Altered) -> Iterator[int]:
    size = a.size("MMPFN")
    for mdl in a.mdls:
        pages = (a.get("MDL", mdl, "ByteOffset") + a.get("MDL", mdl, "ByteCount") + 0xFFF) >> 12
        for index in range(pages):
            yield a.machine.pfn_database + size * a.u64(mdl + 0x30 + 8 * index)


def entries_of_counts(a: Altered) -> None:
    """Entries have a reference count and a location, and nothing else."""
    for entry in entries(a):
        kept = a.read(a.at("MMPFN", entry, "u3"), 4)
        a.write(entry, bytes(a.size("MMPFN")))
        a.write(a.at("MMPFN", entry, "u3"), kept)


def entries_of_shared_pages(a: Altered) -> None:
    """As before, and marked as mapped by a prototype PTE."""
    entries_of_counts(a)
    for entry in entries(a):
        a.write(entry + 0x28 + 7, bytes([0x82]))


def entries_of_locked_frames_alone(a: Altered) -> None:
    """No other page has an entry."""
    size = a.size("MMPFN")
    kept = {entry: a.read(entry, size) for entry in entries(a)}
    for base, count in a.machine.runs:
        a.write(a.machine.pfn_database + size * base, bytes(size * count))
    for entry, data in kept.items():
        a.write(entry, data)


@pytest.mark.parametrize("change", [entries_of_counts, entries_of_locked_frames_alone])
@pytest.mark.parametrize(("story", "build"), [("held_in_list", 19041), ("held_embedded", 26100), ("returned_intact", 22000)])
def test_counts_are_enough_of_a_frame(story: str, build: int, change: Callable[[Altered], None]) -> None:
    machine, case = told(story, build, change)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)


def test_counts_of_shared_pages_prove_no_lock() -> None:
    for story in ("held_in_list", "held_embedded"):
        _, case = told(story, 19041, entries_of_shared_pages)
        assert case["verdict"]["kind"] == "insufficient"


# ---- what was freed


def lists_that_nobody_leads_to(a: Altered) -> None:
    """The processor's block has no lists of freed packets and MDLs; the lists are still there."""
    processor = a.u64(a.machine.symbol("KiProcessorBlock"))
    a.write(a.at("KPRCB", processor, "PPLookasideList"), bytes(256))


def pool_headers(a: Altered) -> Iterator[int]:
    for body in a.machine.nonpaged.blocks:
        yield body - 16


def headers_without_neighbours(a: Altered) -> None:
    """No pool header knows the size of the block in front of its own."""
    for header in pool_headers(a):
        a.write(header, b"\x7f")


def headers_without_types(a: Altered) -> None:
    """Every pool header has the type of a free block."""
    for header in pool_headers(a):
        a.write(header + 3, b"\0")


@pytest.mark.parametrize("build", [7601, 19041, 26100])
@pytest.mark.parametrize("story", ["freed_locked", "freed_idle", "freed_strangers"])
def test_a_list_of_freed_mdls_shows_itself(story: str, build: int) -> None:
    """Whatever pointed to an MDL on it names nobody."""
    machine, case = told(story, build, lists_that_nobody_leads_to)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert {m["state"] for m in case["ledger"]["mdls"]} == {m["state"] for m in machine.truth.ledger["mdls"]}


@pytest.mark.parametrize("build", [7601, 17763])
def test_a_header_that_no_neighbour_confirms_says_free(build: int) -> None:
    machine, case = told("freed_in_pool", build, headers_without_neighbours)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert [m["state"] for m in case["ledger"]["mdls"]] == ["freed_locked"]


@pytest.mark.parametrize("build", [7601, 26100])
@pytest.mark.parametrize("story", ["pending_irp", "async_built", "held_by_context", "held_embedded"])
def test_types_that_processes_contradict_say_nothing(story: str, build: int) -> None:
    """A process that is charged is in use: where its header has the type of a free block, no header's type means anything."""
    machine, case = told(story, build, headers_without_types)
    wanted = Answer.of(machine.truth.verdict)
    assert Answer.of(case["verdict"]).names <= wanted.names
    # There the types were needed to tell that the MDL stands, or that another block with a pointer to it does not.
    if not (story.startswith("held") and build == 7601) and story != "held_by_context":
        assert Answer.of(case["verdict"]) == wanted


# ---- traces


def test_a_trace_without_the_kernels_frames() -> None:
    """Its first address is behind a call in a driver. A dispatch routine is not, whatever became of the device beside it."""
    for build in (9600, 22000):
        machine = forged("tracked_leak", build, 0)
        at, (begin, end) = places(machine, "tracker:")[0], trace_of(machine.machine)
        physical = machine.translate(at)
        assert physical is not None
        tracker = machine.pages[physical >> 12][physical & 0xFFF :]
        trace = struct.unpack(f"<{(end - begin) // 8}Q", tracker[begin:end])
        nt = next(m for m in machine.machine.modules if m.name == "ntoskrnl.exe")
        own = [address for address in trace if address and not nt.base <= address < nt.base + nt.size]
        for rest in (own[:1], [*own[:1], nt.base + 0x1010]):
            words = struct.pack(f"<{len(trace)}Q", *rest, *[0] * (len(trace) - len(rest)))
            verdict = patched("tracked_leak", build, 0, {at + begin: words})["verdict"]
            assert Answer.of(verdict) == Answer.of(machine.truth.verdict)
        leaky = next(d for d in machine.machine.drivers.values() if d.module.name == machine.truth.verdict["driver"])
        words = struct.pack("<2Q", leaky.module.symbols["DispatchIo"], 0) + bytes(end - begin - 16)
        assert patched("tracked_leak", build, 0, {at + begin: words})["verdict"]["kind"] != "driver"


def kernel_without_header(a: Altered) -> None:
    """All that there is of the kernel is its record, and what lies in its data."""
    nt = next(m for m in a.machine.modules if m.name == "ntoskrnl.exe")
    a.write(nt.base, bytes(0x1000))


def no_debugger_block(a: Altered) -> None:
    a.write(a.machine.symbol("KdDebuggerDataBlock"), bytes(0x340))


@pytest.mark.parametrize("changes", [(kernel_without_header,), (kernel_without_header, no_debugger_block)])
def test_the_record_of_the_kernel_is_enough_for_a_trace(changes: tuple[Callable[[Altered], None], ...]) -> None:
    machine, case = told("tracked_leak", 17763, *changes)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)


# ---- processes


def test_the_audit_has_the_process_of_an_untagged_block() -> None:
    """It has left the list of processes, and no pool header tells its block: the MDL that 0xCB names does."""
    machine = forged("tracked_leak", 19041, 0)
    altered = Altered(machine)
    victim = altered.victim.address
    altered.write(victim - 0x100, altered.read(victim - 0x100, 0x100).replace(b"Proc", b"Qroc"))
    with lh.open(altered.finish().to_bytes(6)) as dump:
        rows = {row["address"]: row for row in dump.audit(progress=False).to_dict()["processes"]}
    assert rows[f"{victim:#x}"]["state"] == "dead"
    assert rows[f"{victim:#x}"]["explained"] == machine.truth.ledger["charged"]
