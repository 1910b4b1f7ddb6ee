"""Processes that no bug check names: asked about one by one, and audited all at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

from .crowd import busy_others
from .scene import Cast, Scene, at_most, built

STORIES = ("pending_irp", "page_fault", "two_drivers", "driver_irp_in_bus", "stale_and_freed", "no_mdl", "partial_lower")
UNKNOWN_BUILD = 23456  # whose processes' fields are inferred, where the dump shows them

on_each_build = pytest.mark.parametrize("build", scenarios.ALL_BUILDS)


def told(forged: Forged) -> dict[int, dict[str, Any]]:
    return {int(p["address"], 16): p for p in forged.truth.processes}


def locks(forged: Forged) -> dict[int, Counter[int]]:
    """Pages of the MDLs that stand, by process: what a reader has to find, told by the forge's own list of locks."""
    found: dict[int, Counter[int]] = {p.address: Counter() for p in forged.machine.processes}
    for process, mdl in forged.machine.locks:
        found[process.address][mdl.pages] += 1
    return found


@on_each_build
@pytest.mark.parametrize("story", STORIES)
def test_all_processes_are_listed(story: str, build: int) -> None:
    forged = scenarios.build(story, build=build)
    with lh.open(forged.to_bytes(6)) as dump:
        found = {p.address: p for p in dump.kernel().processes()}
    want = told(forged)
    assert set(found) == set(want)
    for address, process in found.items():
        assert (process.name, process.pid) == (want[address]["name"], want[address]["pid"])


@on_each_build
@pytest.mark.parametrize("story", STORIES)
def test_the_audit_is_the_books(story: str, build: int) -> None:
    forged = scenarios.build(story, build=build)
    want, books = told(forged), locks(forged)
    with lh.open(forged.to_bytes(6)) as dump:
        audit = dump.audit(progress=False)
    seen = {p.address: p for p in audit.processes}
    for address, process in want.items():
        row = seen.get(address)
        if not books[address] and not process["locked_pages"]:
            assert row is None or (row.charged is None and not row.mdls)
            continue
        assert row is not None
        assert Counter(m.pages for m in row.mdls) == books[address]
        assert row.explained == sum(m.pages for m in row.mdls)
        assert row.charged in (process["locked_pages"], None if build == UNKNOWN_BUILD else process["locked_pages"])
        assert sum(h.pages for h in row.holders) == sum(m.pages for m in row.mdls if m.holder)
        if row.state is not None:
            assert (row.state == "alive") == process["alive"]
        assert (row.state is None) <= (build == UNKNOWN_BUILD)
    assert set(seen) <= set(want)
    assert audit.document["processes_complete"]


@on_each_build
def test_holders_of_living_processes_are_told(build: int) -> None:
    """Their requests wait in the disk's driver, and the audit says so."""
    forged = scenarios.build("page_fault", build=build, seed=3)
    with lh.open(forged.to_bytes(6)) as dump:
        audit = dump.audit(progress=False)
    assert any(h.driver == "disk.sys" for p in audit.processes for h in p.holders)
    assert all(m.holder for p in audit.processes for m in p.mdls), "each of these MDLs is in a packet"


@on_each_build
@pytest.mark.parametrize("story", ["pending_irp", "page_fault"])
def test_asking_is_the_same_as_the_audit(story: str, build: int) -> None:
    forged = scenarios.build(story, build=build, seed=1)
    with lh.open(forged.to_bytes(6)) as dump:
        audit = {p.address: p for p in dump.audit(progress=False).processes}
        for process in dump.kernel().processes():
            case = dump.investigate(process=process, progress=False)
            row = audit.get(process.address)
            assert case.process is not None
            assert case.process.address == process.address
            mdls = {(m.address, m.pages, m.state, m.holder) for m in case.ledger.mdls}
            assert mdls == {(m.address, m.pages, m.state, m.holder) for m in (row.mdls if row else ())}
            alive = told(forged)[process.address]["alive"]
            if alive:
                assert case.verdict.kind == ("insufficient" if build == UNKNOWN_BUILD and process.flags is None else "not_applicable")
                assert not case.verdict.drivers


@on_each_build
def test_the_victim_can_be_asked_about(build: int) -> None:
    forged = scenarios.build("pending_irp", build=build)
    with lh.open(forged.to_bytes(6)) as dump:
        plain = dump.investigate(progress=False)
        asked = dump.investigate(process=dump.bugcheck.parameters[1], progress=False)
    assert asked.verdict.driver == plain.verdict.driver is not None
    assert asked.ledger == plain.ledger


@on_each_build
def test_a_zombie_in_another_dump_is_judged(build: int) -> None:
    """It has exited, something keeps it, and a driver has its pages: who that is can be asked before the crash comes."""

    def story(scene: Scene) -> Cast:
        mdl = scene.lock(7)
        holder, device = scene.driver()
        scene.request(mdl, device)
        scene.stage.code, scene.stage.parameters = 0x161, (1, 2, 3, 4)
        return at_most(holder)

    machine, cast = built(story, build, trap=True)
    with lh.open(machine.to_bytes(6)) as dump:
        victim = next(p for p in machine.truth.processes if not p["alive"])
        assert dump.investigate(progress=False).verdict.kind == "not_applicable"
        case = dump.investigate(process=int(victim["address"], 16), progress=False)
        audit = {p.address: p for p in dump.audit(progress=False).processes}
    if build == UNKNOWN_BUILD:  # no process of this dump shows where ExitTime and the flags stand
        assert case.verdict.kind == "insufficient"
        return
    assert case.verdict.kind == "driver"
    assert {d.name for d in case.verdict.drivers} == cast.guilty
    row = audit[int(victim["address"], 16)]
    assert (row.state, row.explained) == ("dead", 7)
    assert {h.driver for h in row.holders} == cast.guilty


def test_a_freed_process_object_is_no_process() -> None:
    """On a build whose pool headers tell free blocks."""

    def story(scene: Scene) -> Cast:
        machine = scene.machine
        scene.stage.code, scene.stage.parameters = 0x161, (1, 2, 3, 4)
        mdl = scene.lock(3)
        if scene.trap:
            scene.later(lambda: machine.nonpaged.free(max(b for b in machine.nonpaged.blocks if b <= scene.victim.address)))
        _, device = scene.driver()
        scene.request(mdl, device)
        return at_most(device.driver)

    for trap in (False, True):
        machine, _ = built(story, 17763, trap=trap)
        victim = next(int(p["address"], 16) for p in machine.truth.processes if not p["alive"])
        with lh.open(machine.to_bytes(6)) as dump:
            assert (victim in {p.address for p in dump.audit(progress=False).processes}) == (not trap)


@pytest.mark.parametrize("build", [b for b in scenarios.ALL_BUILDS if b >= 9600 and b != UNKNOWN_BUILD])
def test_the_audit_holds_the_books_against_lock_trackers(build: int) -> None:
    """Every tracker with its stack, whoever the process is; their sum against what is charged, and what the MDLs explain."""
    forged = scenarios.build("tracked_several", build=build)
    with lh.open(forged.to_bytes(6)) as dump:
        audit = dump.audit(progress=False)
        case = dump.investigate(progress=False)
    victim = forged.truth.process
    assert victim is not None
    row = next(p for p in audit.processes if p.address == int(victim["address"], 16))
    assert row.trackers is not None
    assert row.trackers["pages"] == row.charged == row.explained
    assert row.trackers["statement"] == f"6 lock trackers with {row.charged} pages"
    wanted = [{**each, "rule": None} for each in case.to_dict()["trackers"]["list"]]
    assert audit.to_dict()["processes"][audit.processes.index(row)]["trackers"]["list"] == wanted
    text = audit.text()
    for tracker in wanted:
        frame = next(f for f in tracker["trace"] if f["kind"] == "driver")
        assert f"{frame['module']}+{frame['offset']}  driver" in text
        assert f"locked by driver  {tracker['driver']}" in text
    others = [p for p in audit.processes if p is not row]
    assert all(p.trackers is None for p in others)


def test_what_trackers_and_counter_do_not_agree_on() -> None:
    forged = scenarios.build("tracked_short", build=19041)
    tracker = next(at for label, at in forged.machine.labels.items() if label.startswith("tracker:"))
    place = forged.translate(tracker)
    assert place is not None
    with lh.open(forged.to_bytes(6)) as dump:
        (row,) = [p for p in dump.audit(progress=False).processes if p.trackers]
        with dump.without_pages([place >> 12]) as less:
            (without,) = [p for p in less.audit(progress=False).processes if p.trackers]
    assert row.charged is not None
    more = row.charged - row.explained
    assert more > 0
    assert row.trackers is not None
    assert without.trackers is not None
    assert f"; {more} page{' is' if more == 1 else 's are'} charged without a lock tracker" in row.trackers["statement"]
    assert without.trackers["state"] == "not_captured"
    assert without.trackers["statement"].startswith("0 lock trackers with 0 pages (others are not in this dump)")
    assert f"; {row.explained} page{' is' if row.explained == 1 else 's are'} in MDLs and not tracked" in without.trackers["statement"]


@pytest.mark.parametrize("story", ["pending_irp", "tracked_leak"])
def test_a_named_process_that_is_not_in_the_dump_has_a_row(story: str) -> None:
    """Its address and what the bug check says of it; not its name, and why not."""
    forged = scenarios.build(story, build=19041)
    assert forged.truth.process is not None
    address = int(forged.truth.process["address"], 16)
    physical = forged.translate(address)
    assert physical is not None
    with lh.open(forged.to_bytes(6)) as dump:
        whole = dump.audit(progress=False)
        with dump.without_pages([physical >> 12]) as less:
            part = less.audit(progress=False)
    before, after = ({p.address: p for p in audit.processes}[address] for audit in (whole, part))
    assert before.note == "the process that the bug check names: analyze says who is at fault"
    assert (after.name, after.pid, after.state) == (None, None, None)
    assert after.charged == before.charged
    assert after.explained == before.explained
    assert set(after.holders) <= set(before.holders)
    assert f"Its object is not in this dump (not_captured at {address:#x}"[:-1] in (after.note or "")
    assert part.absent[f"process {address:#x}"].kind == "not_captured"
    line = next(line for line in part.text().splitlines() if line.startswith(f"  {address:#x}"))
    assert "(name not known)" in line
    assert f"charged {before.charged}, explained {before.explained}" in line
    others = {p.address: p for p in whole.processes if p.address != address}
    assert {p.address: p for p in part.processes if p.address in others and p.address >> 12 != address >> 12}.items() <= others.items()


def test_passes_do_not_grow_with_other_processes() -> None:
    """10,000 locked MDLs of others and 1,000 dead ones of the process itself cost no further pass."""
    passes = []
    for others, dead in ((1, 1), (10_000, 1_000)):
        forged = busy_others(others, dead)
        with lh.open(forged.to_bytes(6)) as dump:
            case = dump.investigate(progress=False, timeout=300)
            audit = dump.audit(progress=False, timeout=300)
        assert case.verdict.kind == "driver"
        assert case.coverage.search.limit_met is None
        assert audit.coverage.search.limit_met is None
        assert sum(len(p.mdls) for p in audit.processes) >= others
        passes.append((case.coverage.search.passes, audit.coverage.search.passes))
    assert passes[0] == passes[1]


# ---- how a process is named


def sample(tmp_path: Path) -> tuple[Path, Forged]:
    forged = scenarios.build("page_fault", build=19041)
    path = tmp_path / "MEMORY.DMP"
    path.write_bytes(forged.to_bytes(6))
    return path, forged


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", "lockhound", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_address_pid_and_name_mean_the_same(tmp_path: Path) -> None:
    path, forged = sample(tmp_path)
    for process in forged.truth.processes:
        answers = []
        address, name = process["address"], process["name"]
        for which in (address, address.removeprefix("0x"), str(process["pid"]), name, name.upper()):
            status, out, _ = run("analyze", "--process", which, "--json", str(path))
            assert status == 0, "a living process is a question that was answered"
            answers.append(json.loads(out))
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["process"]["address"] == process["address"]
        assert answers[0]["verdict"]["kind"] == "not_applicable"


def test_a_name_that_several_have_is_a_usage_error(tmp_path: Path) -> None:
    forged = scenarios.build("page_fault", build=19041)
    first, second = [p for p in forged.machine.processes if p.pid != 4][:2]
    shape = forged.machine.layouts["EPROCESS"]
    data = forged.to_bytes(6)
    with lh.open(data) as dump:
        kernel = dump.kernel()
        (hit,) = {kernel.walk(second.address + shape.offset("ImageFileName")).physical}
        assert hit is not None
        page = bytearray(dump.read(hit & ~0xFFF, 0x1000))
        page[hit & 0xFFF : (hit & 0xFFF) + 15] = first.name.encode().ljust(15, b"\0")
        with dump.with_pages({hit >> 12: bytes(page)}) as twins:
            with pytest.raises(lh.AmbiguousError) as caught:
                twins.investigate(process=first.name)
            assert f"{first.address:#x}" in str(caught.value)
            assert f"{second.address:#x}" in str(caught.value)
    with lh.open(data) as dump, pytest.raises(lh.ArgumentError):
        dump.investigate(process="no such process")
    path = tmp_path / "twins.dmp"
    offset = data.find(second.name.encode().ljust(15, b"\0"))
    path.write_bytes(data[:offset] + first.name.encode().ljust(15, b"\0") + data[offset + 15 :])
    status, _, err = run("analyze", "--process", first.name, str(path))
    assert status == 2
    assert str(first.pid) in err
    assert str(second.pid) in err


def test_what_is_no_process_is_refused() -> None:
    forged = scenarios.build("page_fault", build=19041)
    with lh.open(forged.to_bytes(6)) as dump:
        system = dump.kernel().find_process(4)
        for wrong in (system.address + 0x10, 0xFFFF800000000000):
            with pytest.raises(lh.LockhoundError):
                dump.investigate(process=wrong)


def test_audit_on_the_command_line(tmp_path: Path) -> None:
    path, _ = sample(tmp_path)
    status, out, _ = run("audit", "--json", str(path))
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "lockhound.audit/1"
    status, text, _ = run("audit", str(path))
    assert status == 0
    names = [p["name"] for p in document["processes"]]
    assert names
    assert all(name in text for name in names)
    for arguments in (("audit", "--redact"), ("audit", "--redact", "--json")):
        status, out, _ = run(*arguments, str(path))
        assert status == 0
        assert not any(name in out for name in names)
        assert str(path) not in out
