"""What the forge promises of every machine: decoys in the file, a truth that adds up, evidence with pages, the same bytes for a seed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from pathlib import Path

import pytest

from lockhound_synth import __main__ as command
from lockhound_synth import scenarios
from lockhound_synth.containers import BITMAP_KERNEL, FULL, TYPES
from lockhound_synth.forge import Forged, ForgeError
from lockhound_synth.physical import Use

from .conftest import machine
from .raw_dump import parse

# More pages are charged than MDLs tell of.
UNEXPLAINED = {"no_mdl", "edited_mdl", "edited_unlocked", "one_page_none", "tracked_short", "unlock_length_changed", "unlock_length_own"}


@pytest.mark.parametrize("kind", TYPES)
def test_decoys_are_in_the_file_and_the_header_is_true(forged: Forged, kind: int) -> None:
    raw = parse(forged.to_bytes(kind))
    seen: Counter[str] = Counter()
    for decoy in forged.truth.decoys:
        at, value = int(decoy["physical"], 16), int(decoy["value"], 16)
        stored = raw.u64(at)
        if stored is None:
            # Only a frame that was left out may be missing: free ones of a kernel dump, and what the story says is not captured.
            assert at >> 12 in forged.missing or (kind == BITMAP_KERNEL and forged.machine.physical.use_of(at >> 12) is Use.FREE)
            continue
        assert stored == value, decoy
        seen[decoy["kind"]] += 1
    assert {"pool_quota", "pool_quota_encoded", "handle_entry", "monitor_table", "freed_pool", "one_bit_off", "stack"} <= set(seen)
    assert {"thread_process", "thread_apc_process", "handle_table_owner"} <= set(seen)
    assert ("free_frame" in seen) == (kind != BITMAP_KERNEL)
    # The header says what is true.
    truth = forged.truth
    assert (raw.kind, raw.bugcheck, raw.dtb) == (kind, truth.bugcheck["code"], int(truth.dtb, 16))
    assert [f"{p:#x}" for p in raw.parameters] == truth.bugcheck["parameters"]
    assert sorted(raw.places) == forged.present(kind)


def test_decoys_name_the_process(forged: Forged) -> None:
    """Most decoys are exact copies of the value that a search looks for."""
    process = forged.truth.process
    if process is None:
        assert forged.truth.verdict["kind"] == "not_applicable" or forged.truth.scenario.startswith("unlock_")
        return
    address = process["address"]
    exact = [d for d in forged.truth.decoys if d["value"] == address]
    assert len(exact) >= 6
    near = [int(d["value"], 16) ^ int(address, 16) for d in forged.truth.decoys if d["kind"] == "one_bit_off"]
    assert len(near) == 3
    assert all(bits.bit_count() == 1 for bits in near)


def test_truth_is_json(forged: Forged) -> None:
    text = json.dumps(forged.truth.as_json())
    again = json.loads(text)
    assert again["scenario"] == forged.truth.scenario
    assert again["verdict"]["kind"] in ("driver", "kernel", "unattributed", "insufficient", "not_applicable")
    named = {d["name"] for d in again["verdict"]["drivers"]}
    assert not named & set(again["innocents"])
    assert named - set(again["unloaded"]) | set(again["innocents"]) == {m["name"] for m in again["modules"]}
    assert again["exit_status"] == {"driver": 0, "not_applicable": 3}.get(again["verdict"]["kind"], 4)
    assert (again["verdict"]["driver"] is not None) == (again["verdict"]["kind"] == "driver") == bool(named)


def test_ledger_is_that_of_the_bytes(forged: Forged) -> None:
    """Read back from the machine's memory: the ledger's MDLs are locked and charged to the process, and so many pages long."""
    truth, space = forged.truth, forged.machine.space
    if truth.process is None:
        assert truth.ledger["mdls"] == []
        return
    process = int(truth.process["address"], 16)
    total = 0
    frames: list[int] = []
    for entry in truth.ledger["mdls"]:
        at = int(entry["address"], 16)
        _, _size, flags, owner, _, start, length, offset = struct.unpack("<QHH4xQQQII", space.read(at, 0x30))
        assert flags & 0x2
        assert not flags & 0x54  # neither of a kernel address nor partial nor a paging read
        assert owner == process
        assert 0 < start < 1 << 47
        assert (offset + length + 0xFFF) >> 12 == entry["pages"]
        frames += struct.unpack(f"<{entry['pages']}Q", space.read(at + 0x30, 8 * entry["pages"]))
        total += entry["pages"]
    assert total == truth.ledger["explained"]
    assert all(forged.machine.pins[pfn] == locks for pfn, locks in Counter(frames).items())
    assert (max(Counter(frames).values(), default=1) == 2) == (truth.scenario == "double_lock")
    assert truth.ledger["unexplained"] == truth.ledger["charged"] - total
    assert counted(forged, process) == truth.ledger["charged"]
    if truth.bugcheck["code"] == 0x76 and truth.bugcheck["parameters"][0] == "0x0":
        assert int(truth.bugcheck["parameters"][2], 16) == truth.ledger["charged"]
    if "mdl:0" not in truth.absent_labels and truth.scenario not in UNEXPLAINED:
        assert truth.ledger["unexplained"] == 0


def counted(forged: Forged, process: int) -> int:
    """The kernel's own count; on 26100 the sum of four counters, 0x40 apart from 0x200 on, behind VmWorkingSetList (facts A.5)."""
    shape, space = forged.machine.layouts["EPROCESS"], forged.machine.space
    own = space.read_u64(process + shape.offset("NumberOfLockedPages"))
    if "VmWorkingSetList" not in shape:
        return own
    behind = space.read_u64(process + shape.offset("VmWorkingSetList"))
    total = sum(space.read_u64(behind + 0x200 + 0x40 * index) for index in range(4)) & (1 << 64) - 1
    assert own in (0, total)
    return total


def test_pfn_database_tells_the_pins(forged: Forged) -> None:
    shape = forged.machine.layouts["MMPFN"]
    for pfn, pins in list(forged.machine.pins.items())[:40]:
        entry = forged.machine.pfn_database + pfn * shape.size
        (references,) = struct.unpack("<H", forged.machine.space.read(entry + shape.offset("u3"), 2))
        assert references == pins + (pfn in forged.machine.mapped_user or pfn in forged.machine.shared)


def test_labels_cover_the_evidence(forged: Forged) -> None:
    labels, truth = forged.evidence_pages, forged.truth
    assert {"kdbg", "nt_image_header", "pfn_database", "prcb_lookaside"} <= set(labels)
    for number, entry in enumerate(truth.ledger["mdls"]):
        assert labels[f"mdl:{number}"] == (forged.translate(int(entry["address"], 16)) or 0) >> 12
    for number, entry in enumerate(e for e in truth.irps if e["labelled"]):
        assert labels[f"irp:{number}"] == (forged.translate(int(entry["address"], 16)) or 0) >> 12
    for driver in truth.verdict["drivers"]:
        if driver["name"] in truth.unloaded:
            assert "unloaded_drivers" in labels
            continue
        stem = driver["name"].removesuffix(".sys")
        assert {f"driver_object:{stem}", f"driver_name:{stem}", f"kldr:{driver['name']}", f"image_header:{driver['name']}"} <= set(labels)
    for label in labels:
        assert forged.pages.get(labels[label]) is not None, label
    assert all(labels[label] in forged.missing for label in truth.absent_labels)


def test_labels_name_further_pages_and_tables(build: int) -> None:
    forged = machine("mdl_cut", build)
    labels = forged.evidence_pages
    at, pages = int(forged.truth.ledger["mdls"][0]["address"], 16), forged.truth.ledger["mdls"][0]["pages"]
    last = (at + 0x30 + 8 * pages - 1 >> 12) - (at >> 12)
    assert last >= 2
    for number in range(1, last + 1):
        assert labels[f"mdl:0+{number}"] == (forged.translate((at & ~0xFFF) + number * 0x1000) or 0) >> 12
    assert f"mdl:0+{last + 1}" not in labels
    # A plain walk from the root that the header names passes through labelled tables only.
    table, tables = labels["page_root"], {frame for label, frame in labels.items() if label.startswith("page_table:")}
    assert table == forged.header.dtb >> 12
    for level in (3, 2, 1):
        table = struct.unpack_from("<Q", forged.pages[table], (at >> (12 + 9 * level) & 0x1FF) * 8)[0] >> 12 & 0xF_FFFF_FFFF
        assert table in tables
    assert struct.unpack_from("<Q", forged.pages[table], (at >> 12 & 0x1FF) * 8)[0] >> 12 & 0xF_FFFF_FFFF == labels["mdl:0"]


def test_hostile_names_are_in_the_dump(build: int) -> None:
    """As the kernel would hold them: UTF-16 with lone surrogates and NUL, the process's name in bytes."""
    for name in ("hostile_names", "hostile_driver"):
        forged = machine(name, build)
        raw = parse(forged.to_bytes(BITMAP_KERNEL))
        shown = [m["name"] for m in forged.truth.modules if not m["name"].removesuffix(".sys").isalnum() and m["name"] != "hal.dll"]
        assert len(shown) >= (6 if name == "hostile_names" else 1)
        shape = forged.machine.layouts["KLDR_DATA_TABLE_ENTRY"]
        for module in (m for m in forged.machine.modules if m.name in shown):
            length, _, buffer = struct.unpack("<2H4xQ", forged.machine.space.read(module.kldr + shape.offset("BaseDllName"), 16))
            assert forged.machine.space.read(buffer, length).decode("utf-16-le", "surrogatepass") == module.name
        assert forged.truth.process
        assert forged.truth.process["name"].encode() in raw.data
        assert "\x1b" in forged.truth.process["name"]


def test_lists_run_in_circles(build: int) -> None:
    forged = machine("looping_lists", build)
    space, seen = forged.machine.space, []
    at = space.read_u64(forged.machine.symbol("PsLoadedModuleList"))
    while at not in seen:
        seen.append(at)
        at = space.read_u64(at)
    assert at != forged.machine.symbol("PsLoadedModuleList")
    assert seen == [m.kldr for m in forged.machine.modules]
    first, second = (int(row["address"], 16) for row in forged.truth.ledger["mdls"])
    assert (space.read_u64(first), space.read_u64(second)) == (second, first)


def test_the_debugger_block_tells_the_unknown_builds_offsets() -> None:
    """What a debugger block carries (facts D.1) leads through objects at offsets that no table has."""
    for seed in range(4):
        forged = machine("pending_irp", 23456, seed)
        space = forged.machine.space
        block = space.read(forged.header.debugger_block, 0x398)
        size, parent, apc, current = (struct.unpack_from("<H", block, at)[0] for at in (0x2A8, 0x2AC, 0x2A0, 0x2B4))
        (irps,) = struct.unpack_from("<I", block, 0x34C)
        prcb = space.read_u64(struct.unpack_from("<Q", block, 0x218)[0])
        thread = space.read_u64(prcb + current)
        assert space.read_u64(thread + apc) == int(forged.truth.current_process["address"], 16)
        system = space.read(space.read_u64(forged.machine.symbol("PsInitialSystemProcess")), size)
        assert b"System\0" in system
        assert system.count(struct.pack("<Q", 4)) >= 1
        assert system[0] == 3  # DISPATCHER_HEADER.Type of a process
        victim = next(p for p in forged.machine.processes if not p.alive)
        assert space.read_u64(victim.address + parent) == victim.parent
        heads = {thread.address + irps for thread in forged.machine.threads}
        assert all(space.read_u64(head) for head in heads)
        layouts = forged.machine.layouts
        assert (size, apc) == (layouts["EPROCESS"].size, layouts["KTHREAD"].offset("ApcState") + 0x20)


@pytest.mark.parametrize("kind", TYPES)
def test_without_takes_pages_out(kind: int) -> None:
    whole = machine("pending_irp")
    gone = whole.evidence_pages["mdl:0"], whole.evidence_pages["irp:0"]
    holed = parse(whole.without(gone).to_bytes(kind))
    before = parse(whole.to_bytes(kind))
    assert set(before.places) - set(holed.places) == set(gone)
    assert all(holed.page(pfn) == before.page(pfn) for pfn in holed.places)


def test_nothing_else_shares_the_missing_page() -> None:
    """An absent page takes only its own evidence along."""
    for name, label in (("mdl_absent", "mdl:0"), ("irp_absent", "irp:0")):
        forged = machine(name)
        sharing = [other for other, pfn in forged.evidence_pages.items() if pfn == forged.evidence_pages[label]]
        assert sharing == [label]


def test_same_seed_same_bytes(story: str) -> None:
    def digest(seed: int) -> str:
        forged = scenarios.build(story, build=scenarios.builds_of(story)[-1], seed=seed)
        return hashlib.sha256(forged.to_bytes(BITMAP_KERNEL)).hexdigest()

    assert digest(5) == digest(5)
    assert digest(5) != digest(6)


def test_many_seeds_build(story: str) -> None:
    """Stories choose shapes by chance: none of the choices may break, on any build."""
    kinds = {
        scenarios.build(story, build=build, seed=seed).truth.verdict["kind"] for seed, build in enumerate(scenarios.builds_of(story), 1)
    }
    assert len(kinds) == 1


@pytest.mark.parametrize("name", ["partial_pending", "stale_and_freed"])
def test_the_same_story_at_other_addresses(name: str) -> None:
    """layout_seed moves everything and changes nothing that happens."""

    def told(layout_seed: int | None) -> tuple[object, ...]:
        forged = scenarios.build(name, seed=4, layout_seed=layout_seed)
        truth, modules = forged.truth, forged.truth.modules
        return (
            truth.verdict, truth.innocents, truth.ledger["charged"], [(m["pages"], m["state"], m["holder"]) for m in truth.ledger["mdls"]],
            [row["why"] for row in truth.considered], [(i["state"], i["stack_count"], i["current"], i["driver"]) for i in truth.irps],
            [(m["name"], m["timestamp"], m["size"], m["version"]) for m in modules], [(p["name"], p["pid"]) for p in truth.processes],
        )  # fmt: skip

    def addresses(layout_seed: int | None) -> set[str]:
        truth = scenarios.build(name, seed=4, layout_seed=layout_seed).truth
        rows = (truth.ledger["mdls"], truth.irps, truth.processes, truth.considered)
        return {row["address"] for part in rows for row in part} | {m["base"] for m in truth.modules}

    assert told(None) == told(1) == told(2)
    assert not addresses(1) & addresses(2)
    assert not addresses(None) & addresses(1)


def test_a_lost_decoy_is_noticed() -> None:
    forged = machine("pending_irp")
    decoy = forged.machine.decoys[0]
    broken = {**forged.pages, decoy.physical >> 12: bytes(0x1000)}
    with pytest.raises(ForgeError, match=decoy.kind):
        Forged(forged.machine, forged.truth, forged.header, broken, forged.evidence_pages).check()


def test_filler_is_more_ram(tmp_path: Path) -> None:
    forged = machine("pending_irp")
    forged.write(tmp_path / "big.dmp", FULL, filler_mib=8)
    raw = parse((tmp_path / "big.dmp").read_bytes())
    assert len(raw.places) == len(forged.present(FULL)) + 8 * 256
    needle = struct.pack("<Q", int((forged.truth.process or {})["address"], 16))
    at = raw.places[raw.runs[-1][0]]
    assert needle not in raw.data[at:]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    assert capsys.readouterr().out.split() == [*scenarios.NAMES, *scenarios.MORE]
    out, truth = tmp_path / "a.dmp", tmp_path / "a.json"
    assert command.main(["write", "chain_second", "-o", str(out), "--type", "5", "--truth", str(truth), "--without", "mdl:1"]) == 0
    raw, told = parse(out.read_bytes()), json.loads(truth.read_text())
    assert raw.kind == 5
    assert told["scenario"] == "chain_second"
    assert machine("chain_second").evidence_pages["mdl:1"] not in raw.places
    assert command.main(["write", "chain_second", "-o", str(out), "--without", "nonsense"]) == 2
    assert "no such evidence" in capsys.readouterr().err
    assert command.main(["write", "chain_second", "-o", str(out), "--build", "17763", "--genuine"]) == 2
    assert "no public symbol file" in capsys.readouterr().err
    assert command.main(["write", "ioring", "-o", str(out), "--build", "19041"]) == 2
    assert "ioring is told by builds 22000, 26100, 23456" in capsys.readouterr().err
    assert command.main(["write", "chain_second", "-o", str(out), "--genuine", "--layout-seed", "4"]) == 0
    assert parse(out.read_bytes()).bugcheck == 0x76
