"""Builds with a table, with a wrong one and with none: the layout is probed, completed from the dump, and the case says so."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

from .machines import Answer, case_of, dump_bytes, forged
from .relabelled import edited, relabelled
from .test_removed import check
from .test_scenarios import ledger_rows

UNKNOWN = 40000  # no build, and in the range of none
# (the machine's own build, the number it gives, the basis the case must show)
LABELS = [
    (17763, UNKNOWN, "inferred"),
    (22000, UNKNOWN, "inferred"),
    (22000, 17763, "build"),
    (17763, 22000, "build"),
    (22000, 26100, "facts"),
    (19041, 22621, "facts"),
    (17763, 9200, "facts"),
]
EXPECTED = {
    17763: {"EPROCESS.UniqueProcessId": "0x2e0", "EPROCESS.ImageFileName": "0x450", "EPROCESS.NumberOfLockedPages": "0x3a0",
            "KTHREAD.Process": "0x220", "ETHREAD.Cid": "0x638", "ETHREAD.IrpList": "0x670", "KPRCB.PPLookasideList": "0x800",
            "MMPFN.u3": "0x20", "KPRCB.Context": "0x62c0", "KLDR_DATA_TABLE_ENTRY.TimeDateStamp": "0x9c"},
    19041: {"EPROCESS.UniqueProcessId": "0x440", "EPROCESS.ImageFileName": "0x5a8", "EPROCESS.NumberOfLockedPages": "0x500"},
    22000: {"EPROCESS.UniqueProcessId": "0x440", "EPROCESS.ImageFileName": "0x5a8", "EPROCESS.NumberOfLockedPages": "0x500",
            "EPROCESS.Flags": "0x464", "EPROCESS.ExitTime": "0x840", "ETHREAD.Cid": "0x4c8", "KPRCB.Context": "0x89c0",
            "KPRCB.PPLookasideList": "0x800", "MMPFN.u3": "0x20"},
}  # fmt: skip


def layout_of(case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    layout: dict[str, Any] = case["coverage"]["layout"]
    return layout, {row["field"]: row for row in layout["fields"]}


@pytest.mark.parametrize(("build", "number", "basis"), LABELS)
def test_offsets_are_those_of_the_machine(build: int, number: int, basis: str) -> None:
    case = case_of(relabelled("pending_irp", build, number).to_bytes(6))
    layout, fields = layout_of(case)
    assert case["dump"]["build"] == number
    assert layout["basis"] == basis
    assert layout["confidence"] == "inferred"
    assert layout["system_found"]
    for field, expected in EXPECTED[build].items():
        assert fields[field]["offset"] == expected, field
    assert any(factor["name"] == "layout" and factor["value"] < 1 for factor in case["verdict"]["confidence"]["factors"])
    if basis != "inferred" and build != 19041:
        counter = fields["EPROCESS.NumberOfLockedPages"]
        assert (counter["probe"], counter["from"]) == ("contradicted", "inferred")
        assert counter["given_up"] not in (None, counter["offset"])
        assert fields["EPROCESS.LockedPagesList"]["offset"] is None, "nothing in this dump tells it, and the table failed"


@pytest.mark.parametrize("build", scenarios.BUILDS)
def test_a_right_table_is_confirmed(build: int) -> None:
    layout, fields = layout_of(case_of(dump_bytes("pending_irp", build, 1, 6)))
    assert (layout["basis"], layout["confidence"]) == ("build", "verified")
    for name, row in fields.items():
        if name != "EPROCESS.LockedPagesList":
            assert (row["from"], row["probe"], row["given_up"]) == ("symbols", "agreed", None), name
    assert fields["EPROCESS.LockedPagesList"]["probe"] == "not_probed"


@pytest.mark.parametrize("name", ["pending_irp", "busy", "no_mdl", "page_fault", "hostile_names"])
def test_offsets_of_a_build_that_no_table_has(name: str) -> None:
    """Fields pushed apart by the seed: each offset is the machine's own or unknown, and what tells a thread's process is known."""
    needed = {f"KTHREAD.{field}" for field in ("Process", "ApcState", "ThreadListEntry", "StackLimit", "StackBase")}
    needed |= {"EPROCESS.UniqueProcessId", "EPROCESS.ActiveProcessLinks", "EPROCESS.ImageFileName", "ETHREAD.Cid", "ETHREAD.IrpList"}
    needed |= {"KPRCB.CurrentThread"}
    for seed in range(4):
        machine = forged(name, 23456, seed)
        case = case_of(machine.to_bytes(6))
        _, fields = layout_of(case)
        for field, row in fields.items():
            structure, _, member = field.partition(".")
            if row["offset"] is not None:
                assert int(row["offset"], 16) == machine.machine.layouts[structure].offset(member), (seed, field)
            else:
                assert row["why"], field
        assert {field for field in needed if fields[field]["offset"] is None} == set(), seed
        assert fields["KTHREAD.Process"]["from"] == "inferred"
        assert case["current_process"]["address"] == machine.truth.current_process["address"]


def test_a_place_that_only_published_types_give_is_no_verified_one() -> None:
    """26100: two sources say where the counter is, and no symbols (facts, real dumps 1)."""
    _, fields = layout_of(case_of(dump_bytes("pending_irp", 26100, 1, 6)))
    assert fields["EPROCESS.NumberOfLockedPages"]["confidence"] == "inferred"
    assert fields["EPROCESS.NumberOfLockedPages"]["from"] == "published"
    assert fields["EPROCESS.UniqueProcessId"]["confidence"] == "verified"


@pytest.mark.parametrize("build", [7601, 9600])
def test_records_of_modules_without_a_time_stamp(build: int) -> None:
    """The field does not exist before Windows 10: the case says that it has none, and takes the stamp from the image."""
    machine = forged("pending_irp", build, 1)
    case = case_of(dump_bytes("pending_irp", build, 1, 6))
    row = layout_of(case)[1]["KLDR_DATA_TABLE_ENTRY.TimeDateStamp"]
    assert (row["offset"], row["from"]) == (None, "unknown")
    assert "no such field" in row["why"]
    stamps = {m["name"]: m["timestamp"] for m in machine.truth.modules}
    assert {d["name"]: d["timestamp"] for d in case["verdict"]["drivers"]} == {
        d["name"]: stamps[d["name"]] for d in machine.truth.verdict["drivers"]
    }


@pytest.mark.parametrize("name", scenarios.NAMES)
@pytest.mark.parametrize(("build", "number"), [(17763, UNKNOWN), (22000, UNKNOWN), (22000, 17763)])
def test_same_verdict_and_ledger(name: str, build: int, number: int) -> None:
    machine = relabelled(name, build, number)
    truth = machine.truth
    case = case_of(machine.to_bytes(6))
    assert Answer.of(case["verdict"]) == Answer.of(truth.verdict)
    assert ledger_rows(case["ledger"]) == ledger_rows(truth.ledger)
    if truth.process is not None:
        assert (case["process"]["name"], case["process"]["pid"]) == (truth.process["name"], truth.process["pid"])
    if truth.current_process is not None:
        assert case["current_process"]["name"] == truth.current_process["name"]


@pytest.mark.parametrize("name", ["pending_irp", "filters_above", "stale_and_freed", "driver_irp_in_bus"])
def test_pages_removed_on_an_unknown_build(name: str) -> None:
    machine = relabelled(name, 22000, UNKNOWN)
    wanted = Answer.of(machine.truth.verdict)
    pages = sorted(set(machine.evidence_pages.values()) - machine.missing)
    rng = random.Random(name)
    with lh.open(machine.to_bytes(6)) as dump:
        for pfns in [[p] for p in pages] + [rng.sample(pages, 2) for _ in range(12)]:
            with dump.without_pages(pfns) as reduced:
                check(Answer.of(reduced.investigate(progress=False).to_dict()["verdict"]), wanted, (name, pfns))


def test_any_kernel_page_removed_never_gives_a_wrong_offset() -> None:
    """Whatever page of the objects that are asked is missing: an offset is right or unknown."""
    machine = relabelled("pending_irp", 22000, UNKNOWN)
    data = machine.to_bytes(6)
    truth = layout_of(case_of(data))[1]
    objects = [p.address for p in machine.machine.processes] + [t.address for t in machine.machine.threads]
    frames = {
        physical >> 12 for va in objects for at in (va, va + 0x1000) if (physical := machine.translate(va if at == va else at)) is not None
    }
    assert len(frames) > 8
    with lh.open(data) as dump:
        for pfn in sorted(frames):
            with dump.without_pages([pfn]) as reduced:
                fields = layout_of(reduced.investigate(progress=False).to_dict())[1]
            for name, row in fields.items():
                assert row["offset"] in (truth[name]["offset"], None), (hex(pfn), name)


def without_block(machine: Forged) -> Forged:
    """The debugger block states no offsets (as before Windows XP's later service packs)."""
    block = machine.machine.symbol("KdDebuggerDataBlock")
    return edited(machine, {block + 0x298: bytes(0x2C8 - 0x298), block + 0x2E0: bytes(0x308 - 0x2E0), block + 0x338: bytes(0x20)})


def test_without_the_blocks_offsets() -> None:
    machine = without_block(relabelled("pending_irp", 22000, UNKNOWN))
    case = case_of(machine.to_bytes(6))
    _, fields = layout_of(case)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    for field in ("EPROCESS.UniqueProcessId", "EPROCESS.ImageFileName", "KPRCB.PPLookasideList", "MMPFN.u3"):
        assert fields[field]["offset"] == EXPECTED[22000][field]
    assert fields["ETHREAD.IrpList"]["offset"] is None
    assert fields["KPRCB.Context"]["offset"] is None


def test_a_lying_block_does_not_move_what_symbols_say() -> None:
    machine = forged("pending_irp", 19041, 1)
    block = machine.machine.symbol("KdDebuggerDataBlock")
    lying = edited(
        machine, {block + 0x2A0: struct.pack("<H", 0x120), block + 0x2B4: struct.pack("<H", 0x10), block + 0x34C: struct.pack("<I", 0x4C0)}
    )
    case = case_of(lying.to_bytes(6))
    _, fields = layout_of(case)
    assert fields["KTHREAD.ApcState"]["offset"] == "0x98"
    assert fields["KPRCB.CurrentThread"]["offset"] == "0x8"
    assert fields["ETHREAD.IrpList"]["offset"] == "0x4b0"
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert machine.truth.current_process is not None
    assert case["current_process"]["name"] == machine.truth.current_process["name"]


def test_blank_books_say_nothing() -> None:
    """PFN entries of nothing but zeros were never written: they refute no lock and back none."""
    machine = forged("pending_irp", 19041, 1)
    pages = dict(machine.pages)
    entry = 0x30
    zeroed = 0
    for base, count in machine.header.runs:
        first = machine.machine.pfn_database + base * entry
        for va in range(first & ~0xFFF, first + count * entry, 0x1000):
            physical = machine.translate(va)
            if physical is not None:
                pages[physical >> 12] = bytes(0x1000)
                zeroed += 1
    assert zeroed
    changed = edited(machine, {})
    changed.pages.update(pages)
    case = case_of(changed.to_bytes(6))
    _, fields = layout_of(case)
    assert fields["MMPFN.u3"]["probe"] == "not_probed"
    assert case["verdict"]["driver"] == machine.truth.verdict["driver"]
    assert not any("reference counts agree" in factor["statement"] for factor in case["verdict"]["confidence"]["factors"])
