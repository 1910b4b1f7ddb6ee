"""Bug checks about an MDL or a page that are about no leak: which MDL, its state and its holder; nobody is charged or named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound import cli
from lockhound_synth import packets, scenarios
from lockhound_synth.scenarios import pending, relatives
from lockhound_synth.scenarios.stage import Stage

from .machines import TYPES, case_of, dump_bytes, forged, with_parameters

STORIES = tuple(name for name in scenarios.MORE if name.startswith("relative_"))


def told(case: dict[str, Any]) -> dict[str, Any]:
    return {key: case["subject"][key] for key in ("mdl", "process", "state", "holder")}


def check_nobody(case: dict[str, Any]) -> None:
    assert case["verdict"]["kind"] == "not_applicable"
    assert case["verdict"]["drivers"] == []
    assert case["ledger"]["mdls"] == []
    assert (case["ledger"]["charged"], case["ledger"]["explained"]) == (None, 0)
    assert case["process"] is None
    assert case["suspects"] == []


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
@pytest.mark.parametrize("name", STORIES)
def test_the_subject_is_found(name: str, build: int) -> None:
    truth = forged(name, build, 0).truth
    for kind in TYPES:
        case = case_of(dump_bytes(name, build, 0, kind))
        assert told(case) == truth.subject, (name, build, kind, case["subject"]["statement"])
        check_nobody(case)


def steps_down(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """What may be told of a subject, from all to nothing: each step lacks one thing more, and none says another thing instead."""
    steps = [whole]
    for field, value in (("holder", None), ("state", "unknown"), ("process", None), ("mdl", None)):
        steps.append({**steps[-1], field: value})
    return steps


@pytest.mark.parametrize("name", STORIES)
def test_without_a_page_less_is_told_and_nothing_else(name: str) -> None:
    for build in scenarios.ALL_BUILDS:
        machine = forged(name, build, 1)
        whole = machine.truth.subject
        assert whole is not None
        seen = []
        with lh.open(dump_bytes(name, build, 1, 6)) as dump:
            for pfn in sorted(set(machine.evidence_pages.values())):
                with dump.without_pages([pfn]) as reduced:
                    case = reduced.investigate(progress=False).to_dict()
                check_nobody(case)
                assert told(case) in steps_down(whole), (build, pfn, case["subject"])
                seen.append(told(case))
                # A parameter that only may be the MDL is not missed where nothing can be read.
                kind = None if case["subject"]["mdl"] else "layout" if name == "relative_flawed_mdl" else "not_captured"
                assert case["absent"].get("subject.mdl", {}).get("kind") == kind, (build, pfn)
        assert whole in seen, "what has nothing to do with it costs nothing"
        assert any(step != whole for step in seen) or steps_down(whole)[3] == whole, "the evidence matters"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("others", [0, 1, 4])
def test_locks_beside_it_hide_no_holder(others: int, seed: int) -> None:
    """An unlocked MDL is in no ledger; its process has locks without a packet too, whose holders were asked for first."""
    stage = Stage("relative_beside_locks", 19041, seed)
    machine, process = stage.machine, stage.others[0]
    driver, device = pending.guilty_device(stage)
    mdl = packets.make_mdl(machine, process, 5, locked=False)
    machine.space.write_u64(device.extension + 0x28, mdl.address)
    locked = [packets.make_mdl(machine, process, 3 + number) for number in range(others)]
    for number, other in enumerate(locked):
        machine.space.write_u64(device.extension + 0x30 + 8 * number, other.address)
    relatives.begin(stage, 0x4E, (7, mdl.frames[1], 0, 0))
    relatives.about(stage, mdl, relatives.UNLOCKED, driver)
    made = stage.finish()
    case = case_of(made.to_bytes(6))
    assert told(case) == made.truth.subject, case["subject"]["statement"]
    check_nobody(case)


def test_other_bug_checks_have_none() -> None:
    for name in ("pending_irp", "page_fault", "tracked_leak"):
        assert case_of(dump_bytes(name, 19041, 0, 6))["subject"] is None


def test_a_frame_that_is_no_memory() -> None:
    case = with_parameters("relative_page_freed_locked", 19041, 0, {1: 1 << 39})
    assert case["subject"]["mdl"] is None
    assert "none of this machine" in case["subject"]["statement"]
    assert case["absent"]["subject.mdl"]["kind"] == "layout"


def test_the_views_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = forged("relative_page_freed_locked", 19041, 0)
    path = tmp_path / "MEMORY.DMP"
    machine.write(path, 6)
    assert cli.main(["analyze", str(path)]) == 3
    out = capsys.readouterr().out
    subject = machine.truth.subject
    assert subject is not None
    assert f"MDL {subject['mdl']}  locked  {subject['holder']}" in out
    assert f"dt nt!_MDL {subject['mdl']}" in out
    case = lh.analyze(path)
    assert case.subject is not None
    assert case.subject.holder == subject["holder"]
    assert subject["holder"] in case.html()
    assert subject["holder"] in case.text(redact=True)
