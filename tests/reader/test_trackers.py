"""Lock trackers in a case: damage in each of them, MDLs that are gone, parameters that lie, and what the report shows of a trace."""

from __future__ import annotations

import json
import random
import re
import struct
from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth import io, packets, scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.machine import Machine
from lockhound_synth.scenarios.pending import guilty_device
from lockhound_synth.scenarios.stage import Stage
from lockhound_synth.scenarios.tracking import left_locked
from lockhound_synth.trackers import Lock

from .machines import Answer, case_of, dump_bytes, forged, patched, with_parameters

MDL_PROCESS, MDL_FLAGS = 0x10, 0xA
BUILDS = (9600, 17763, 26100)


def places(machine: Forged, label: str) -> list[int]:
    found = {name: at for name, at in machine.machine.labels.items() if name.startswith(label) and "+" not in name}
    return [found[name] for name in sorted(found, key=lambda name: int(name.partition(":")[2] or 0))]


def trace_of(machine: Machine) -> tuple[int, int]:
    """Where the trace stands in a tracker: [begin, end)."""
    offset, width = machine.layouts["LOCK_TRACKER"].fields["StackTrace"]
    return offset, offset + width


def names(verdict: Any) -> set[str]:
    return {d["name"] for d in verdict["drivers"]}


@pytest.mark.parametrize("build", BUILDS)
def test_any_word_of_any_tracker_may_be_wrong(build: int) -> None:
    """Zeros, junk, or a link to another tracker, in each word in turn: those that are named are guilty, and the rest is not known."""
    machine = forged("tracked_several", build, 0)
    truth, trackers = machine.truth, places(machine, "tracker:")
    rng = random.Random(build)
    lost = 0
    for at in trackers:
        for word in range(0, machine.machine.layouts["LOCK_TRACKER"].size, 8):
            value = rng.choice((0, rng.getrandbits(64), rng.choice(trackers), rng.getrandbits(16), 1 << 63 | rng.getrandbits(47) << 3))
            verdict = patched("tracked_several", build, 0, {at + word: struct.pack("<Q", value)})["verdict"]
            assert verdict["kind"] in ("driver", "insufficient"), (word, verdict["reason"])
            assert names(verdict) <= names(truth.verdict), (word, verdict["sentence"])
            lost += Answer.of(verdict) != Answer.of(truth.verdict)
    assert lost > len(trackers)


@pytest.mark.parametrize("build", BUILDS)
def test_a_circle_loses_nothing(build: int) -> None:
    machine = forged("tracked_several", build, 1)
    trackers = places(machine, "tracker:")
    links = {at: struct.unpack("<2Q", machine.machine.space.read(at, 16)) for at in trackers}
    leaf = next(at for at in trackers if links[at] == (0, 0))
    case = patched("tracked_several", build, 1, {leaf: struct.pack("<Q", leaf), leaf + 8: struct.pack("<Q", trackers[0])})
    whole = case_of(dump_bytes("tracked_several", build, 1, 6))
    assert case["trackers"]["state"] == "damaged"
    assert case["absent"]["trackers"]["address"] in {f"{at:#x}" for at in (leaf, trackers[0])}
    assert Answer.of(case["verdict"]) == Answer.of(whole["verdict"])
    assert case["verdict"]["confidence"]["score"] < whole["verdict"]["confidence"]["score"]
    assert "trackers" in {f["name"] for f in case["verdict"]["confidence"]["factors"]}


@pytest.mark.parametrize("build", BUILDS)
def test_a_tree_that_is_cut(build: int) -> None:
    """The root's left link leads into nothing: what hung on it is known by its MDLs, and whose they are is not."""
    machine = forged("tracked_several", build, 2)
    root = machine.machine.space.read_u64(places(machine, "lock_header")[0])
    case = patched("tracked_several", build, 2, {root: struct.pack("<Q", root + 0x40)})
    assert case["trackers"]["state"] == "damaged"
    assert case["trackers"]["count"] < len(places(machine, "tracker:"))
    unknown = [m for m in case["ledger"]["mdls"] if m["holder"] is None]
    assert unknown
    assert all("damaged" in m["judgement"] for m in unknown)
    assert names(case["verdict"]) <= names(machine.truth.verdict)
    assert "lock tracker" in {r["rule"] for r in case["unevaluated"]}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("content", ["zeros", "another process", "unlocked"])
def test_the_mdl_is_gone_and_its_tracker_is_not(build: int, content: str) -> None:
    """The structure was used again: the kernel's own note of the lock says how many pages it was, and who locked."""
    machine = forged("tracked_leak", build, 1)
    mdl = places(machine, "mdl:")[0]
    changes = {
        "zeros": {mdl: bytes(0x30)},
        "another process": {mdl + MDL_PROCESS: struct.pack("<Q", machine.machine.processes[2].address)},
        "unlocked": {mdl + MDL_FLAGS: b"\x08\0"},
    }[content]
    case = patched("tracked_leak", build, 1, changes)
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert case["verdict"]["confidence"]["score"] < 0.9
    (entry,) = case["ledger"]["mdls"]
    assert (entry["address"], entry["pages"], entry["state"]) == (f"{mdl:#x}", machine.truth.ledger["explained"], "unknown")
    assert case["ledger"]["unexplained"] == 0


def test_an_edited_mdl_counts_with_what_was_locked() -> None:
    machine = forged("tracked_several", 19041, 0)
    biggest = max(machine.truth.ledger["mdls"], key=lambda m: m["pages"])
    offset = struct.unpack("<I", machine.machine.space.read(int(biggest["address"], 16) + 0x2C, 4))[0]
    case = patched("tracked_several", 19041, 0, {int(biggest["address"], 16) + 0x28: struct.pack("<I", 0x1000 - offset)})
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert case["ledger"]["unexplained"] == 0


def test_parameters_that_lie() -> None:
    """P1 leads nowhere: the MDL leads to the process, and that to its trackers. A wrong MDL leads nowhere at all."""
    machine = forged("tracked_leak", 19041, 0)
    innocent = next(m for m in machine.truth.modules if m["name"] in machine.truth.innocents and m["name"] != "ntoskrnl.exe")
    wanted = Answer.of(machine.truth.verdict)
    assert Answer.of(with_parameters("tracked_leak", 19041, 0, {0: 0})["verdict"]) == wanted
    assert Answer.of(with_parameters("tracked_leak", 19041, 0, {0: 0xDEADBEEF})["verdict"]) == wanted
    # Old parameters on a new kernel: its trackers know better than a code address.
    old = with_parameters("tracked_leak", 19041, 0, {0: int(innocent["base"], 16) + 0x1040, 1: int(innocent["base"], 16) + 0x1080})
    assert Answer.of(old["verdict"]) == wanted
    nowhere = with_parameters("tracked_leak", 19041, 0, {2: 0x1000})["verdict"]
    assert nowhere["kind"] == "insufficient"
    assert "neither" in nowhere["reason"]


def test_two_callers_are_read_with_care() -> None:
    """Windows 7: the second address says whether the first one locked, or only stands on top of a stack of devices."""
    machine = forged("tracked_leak", 7601, 0)
    wanted = Answer.of(machine.truth.verdict)
    nt = next(m for m in machine.truth.modules if m["name"] == "ntoskrnl.exe")
    caller = int(machine.truth.bugcheck["parameters"][0], 16)
    pool = places(machine, "mdl:")[0]
    assert Answer.of(with_parameters("tracked_leak", 7601, 0, {1: int(nt["base"], 16) + 0x5018})["verdict"]) == wanted
    assert Answer.of(with_parameters("tracked_leak", 7601, 0, {0: int(nt["base"], 16) + 0x5018, 1: caller})["verdict"]) == wanted
    for second in (0, pool, 0xFFFF_FA80_0000_0000, 0x1234):
        verdict = with_parameters("tracked_leak", 7601, 0, {1: second})["verdict"]
        assert verdict["kind"] in ("unattributed", "insufficient"), second
    verdict = with_parameters("tracked_leak", 7601, 0, {0: pool, 1: caller})["verdict"]
    assert verdict["kind"] in ("unattributed", "insufficient")


def test_a_trace_that_ends_in_junk_names_nobody() -> None:
    machine = forged("tracked_leak", 22000, 0)
    at, (begin, _) = places(machine, "tracker:")[0], trace_of(machine.machine)
    for index, value in (
        (0, machine.machine.nonpaged.base),
        (2, 0xFFFF_F7FF_FFFF_0000),
        (2, 0x41414141),
        (1, machine.machine.nonpaged.base),
    ):
        verdict = patched("tracked_leak", 22000, 0, {at + begin + 8 * index: struct.pack("<Q", value)})["verdict"]
        assert verdict["kind"] in ("unattributed", "insufficient"), (index, verdict["sentence"])


@pytest.mark.parametrize("build", BUILDS)
def test_the_report_shows_the_trace(build: int) -> None:
    machine = forged("tracked_leak", build, 0)
    case = case_of(dump_bytes("tracked_leak", build, 0, 6))
    driver = next(m for m in machine.truth.modules if m["name"] == machine.truth.verdict["driver"])
    (row,) = case["trackers"]["list"]
    assert case["trackers"]["state"] == "complete"
    assert case["trackers"]["header"] == f"{places(machine, 'lock_header')[0]:#x}"
    assert case["trackers"]["header_count"] == case["trackers"]["pages"] == case["ledger"]["charged"]
    assert (row["address"], row["locked_by"], row["driver"]) == (f"{places(machine, 'tracker:')[0]:#x}", "driver", driver["name"])
    kinds = [frame["kind"] for frame in row["trace"]]
    assert kinds == ["kernel", "kernel", "driver", "driver", "kernel", "kernel", "kernel"]
    told = row["trace"][2]
    assert int(told["address"], 16) - int(driver["base"], 16) == int(told["offset"], 16)
    steps = [step["kind"] for step in case["chain"]]
    assert steps == ["process", "mdl", "tracker", "frame", "holder", "driver", "module"], "and the device extension that keeps it agrees"
    commands = [row["command"] for row in case["reproduce"]]
    assert f"dt nt!_LOCK_TRACKER {row['address']}" in commands
    assert f"!lockedpages {case['process']['address']}" in commands
    assert f"ln {told['address']}" in commands
    assert {e["kind"] for e in case["suspects"][0]["evidence"]} >= {"mdl", "tracker", "trace"}


def test_several_drivers_the_chain_leads_to_the_first() -> None:
    """Whose locks are the most, though another one's single lock is the largest; a trace stands once in the text."""
    data = dump_bytes("tracked_several", 19041, 0, 6)
    case = case_of(data)
    most = max(case["ledger"]["mdls"], key=lambda m: int(m["pages"]))
    assert most["holder"] != case["verdict"]["driver"], "else this shows nothing"
    assert next(step["name"] for step in case["chain"] if step["kind"] == "module") == case["verdict"]["driver"]
    with lh.open(data) as dump:
        text = dump.investigate(progress=False).text()
    for row in case["trackers"]["list"]:
        kernel = [frame["address"] for frame in row["trace"] if frame["kind"] == "kernel"]
        assert all(f"0x{int(at, 16):016x}" in text for at in kernel)
    assert "entry 0 of the trace" not in text
    assert "entry 0 of the trace" in json.dumps(case["suspects"])


def test_innocents_are_cleared_with_a_reason() -> None:
    for name in ("tracked_borrowed", "tracked_passed_on", "tracked_manager", "tracked_verifier", "tracked_unloaded", "tracked_kernel"):
        machine = forged(name, 19041, 0)
        cleared = {row["driver"]: row["reason"] for row in case_of(dump_bytes(name, 19041, 0, 6))["cleared"]}
        shown = {label.partition(":")[2] + ".sys" for label in machine.evidence_pages if label.startswith("device:")}
        assert cleared, name
        assert set(cleared) <= set(machine.truth.innocents), (name, shown)


@pytest.mark.parametrize(
    ("name", "build", "words"),
    [
        ("tracked_verifier", 7601, "the bug check's parameters name another caller of the routine that locked"),
        ("tracked_verifier", 22000, "the lock tracker shows that another driver locked"),
        ("tracked_kernel", 9600, "the lock tracker shows that Windows itself locked"),
        ("tracked_kernel", 22000, "the lock tracker shows that Windows itself locked"),
    ],
)
def test_whoever_keeps_a_pointer_is_no_suspect_where_a_tracker_tells(name: str, build: int, words: str) -> None:
    """Not in the evidence alone: in what is cleared, with the reason; and a lock of Windows' own has no vendor to write to."""
    case = case_of(dump_bytes(name, build, 0, 6))
    (row,) = case["cleared"]
    assert row["reason"] == f"keeps a pointer to the MDL: {words}"
    assert [v["driver"] for v in case["advice"]["vendors"]] == [d["name"] for d in case["verdict"]["drivers"]]
    assert (case["advice"]["verifier"] is None) == (name == "tracked_kernel")


def request_lost(stage: Stage) -> None:
    """The I/O manager locked for a stack of three devices; nothing is left of the request."""
    machine, victim = stage.machine, stage.make_victim()
    _, device = guilty_device(stage)
    middle = io.make_device(machine, stage.invent(), above=device)
    top = io.make_device(machine, stage.invent(), above=middle)
    mdl = packets.make_mdl(machine, victim, 3)
    left_locked(stage, victim, [Lock(mdl, [top.driver.module.symbols["DispatchIo"], top.address])])
    stage.charge(mdl, None)
    stage.kind = "unattributed"
    stage.cast = [top.driver, middle.driver, device.driver]


@pytest.mark.parametrize("build", [7601, 9600, 26100])
def test_all_drivers_of_the_stack_are_suspects_where_the_request_is_lost(build: int) -> None:
    stage = Stage("request_lost", build, 0)
    request_lost(stage)
    case = case_of(stage.finish().to_bytes(6))
    assert case["verdict"]["kind"] == "unattributed"
    assert "Nothing is missing in this dump that could tell more" in case["verdict"]["advice"]
    suspects = [(s["driver"], {e["kind"] for e in s["evidence"]}) for s in case["suspects"] if s["driver"] != "ntoskrnl.exe"]
    assert [name for name, _ in suspects] == [driver.module.name for driver in stage.cast]
    assert ["tracker" in kinds for _, kinds in suspects] == [True, False, False]
    assert ["device_stack" in kinds for _, kinds in suspects] == [False, True, True]
    assert [v["driver"] for v in case["advice"]["vendors"]] == [name for name, _ in suspects]


def test_the_request_of_another_device_does_not_decide() -> None:
    """The tracker names a device that the packet was never sent to: that packet is not the request which was locked for."""
    machine = forged("tracked_manager", 19041, 0)
    at, (begin, _) = places(machine, "tracker:")[0], trace_of(machine.machine)
    disk = machine.machine.drivers["disk"]
    trace = struct.pack("<2Q", disk.module.symbols["DispatchIo"], disk.devices[0].address)
    case = patched("tracked_manager", 19041, 0, {at + begin: trace})
    assert case["trackers"]["list"][0]["locked_by"] == "io_manager"
    assert case["verdict"]["kind"] == "unattributed"
    assert "not sent to the device" in case["verdict"]["reason"]


@pytest.mark.parametrize("build", BUILDS)
def test_what_no_tracker_has_is_no_lock(build: int) -> None:
    """A copy of an MDL, where reference counts are not in the dump: the trackers alone tell it from a second lock."""
    machine = forged("tracked_several", build, 0)
    truth = machine.truth
    counts = [pfn for label, pfn in machine.evidence_pages.items() if label.startswith("counts:")]
    with lh.open(dump_bytes("tracked_several", build, 0, 6)) as dump, dump.without_pages(counts) as reduced:
        case = reduced.investigate(progress=False).to_dict()
    assert {m["address"] for m in case["ledger"]["mdls"]} == {m["address"] for m in truth.ledger["mdls"]}
    assert "explained_range" not in case["ledger"]
    copy = next(row for row in truth.considered if row["why"] == "untracked")
    assert next(row["class"] for row in case["considered"] if row["address"] == copy["address"]) == "untracked"


def test_the_kernel_itself_is_not_to_be_found() -> None:
    """Then nt's own code in a trace looks like a driver's."""
    machine = forged("tracked_leak", 17763, 0)
    gone = [machine.evidence_pages[label] for label in ("nt_image_header", "kdbg")]
    with lh.open(dump_bytes("tracked_leak", 17763, 0, 6)) as dump, dump.without_pages(gone) as reduced:
        verdict = reduced.investigate(progress=False).to_dict()["verdict"]
    assert verdict["kind"] == "insufficient"
    assert "the kernel's own image" in verdict["reason"]


def test_rules_are_those_of_the_page() -> None:
    """The names in the code, in the table of the page, and of what the stories exercise are the same set."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-it-decides.md").read_text()
    told = set(re.findall(r"^\| `(tracker: [^`]+)` \|", page, re.MULTILINE))
    used: set[str] = set()
    for name in ("tracked_leak", *(n for n in scenarios.MORE if n.startswith("tracked_"))):
        used |= {row["rule"] for row in case_of(dump_bytes(name, 19041, 0, 6))["trackers"]["list"]}
    assert used == told


def test_the_driver_on_the_blue_screen() -> None:
    """Windows 7 blames the driver of P1. With the symbols of the very kernel the report says so; it decides nothing."""
    machine = scenarios.build("tracked_manager", build=7601, seed=1, genuine=True)
    case = case_of(machine.to_bytes(6))
    dispatch = int(machine.truth.bugcheck["parameters"][0], 16)
    shown = next(m["name"] for m in machine.truth.modules if 0 <= dispatch - int(m["base"], 16) < m["size"])
    assert case["bugcheck"]["driver"] == shown
    assert shown != machine.truth.verdict["driver"]
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    leak = scenarios.build("tracked_leak", build=7601, seed=1, genuine=True)
    case = case_of(leak.to_bytes(6))
    assert case["bugcheck"]["driver"] == leak.truth.verdict["driver"]
    assert "bugcheck_driver" in {e["kind"] for e in case["suspects"][0]["evidence"]}
    assert case_of(dump_bytes("tracked_leak", 19041, 0, 6))["bugcheck"]["driver"] is None


@pytest.mark.parametrize("name", ["tracked_leak", "tracked_borrowed", "tracked_passed_on", "tracked_invalid"])
def test_a_process_that_is_asked_about_has_its_trackers_too(name: str) -> None:
    machine = forged(name, 19041, 0)
    assert machine.truth.process
    with lh.open(dump_bytes(name, 19041, 0, 6)) as dump:
        case = dump.investigate(process=int(machine.truth.process["address"], 16), progress=False).to_dict()
        other = dump.investigate(process=machine.machine.processes[2].address, progress=False).to_dict()
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert case["trackers"]["state"] == "complete"
    assert other["trackers"] is None


def test_without_tracking_there_is_nothing_to_show() -> None:
    assert case_of(dump_bytes("pending_irp", 19041, 0, 6))["trackers"] is None


@pytest.mark.parametrize("name", [n for n in scenarios.MORE if n.startswith("tracked_")])
def test_the_layout_is_what_the_trackers_show(name: str) -> None:
    """Which form applies is not asked of the build: where it is public, the trackers themselves tell."""
    for build in scenarios.builds_of(name):
        case = case_of(dump_bytes(name, build, 0, 6))
        wanted = None if build < 9600 else "8.1 to 10.0.15063" if build < 16299 else "from 10.0.16299"
        assert case["trackers"]["layout"] == wanted, build
        assert case["trackers"]["state"] == ("layout_not_public" if build < 9600 else "complete"), build
