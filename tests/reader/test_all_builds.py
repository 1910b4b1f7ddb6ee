"""All stories on all builds, also on one that no table knows, and with each page of the evidence, and 200 pairs, taken out."""

from __future__ import annotations

import random
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.truth import Truth

from .machines import TYPES, Answer, case_of, dump_bytes, forged
from .test_removed import judge
from .test_shapes import drivers, escaped

STORIES = [*scenarios.NAMES, *scenarios.MORE]
OTHERS = tuple(b for b in scenarios.ALL_BUILDS if b not in scenarios.BUILDS)
PAIRS = 200
UNKNOWN_BUILD = 23456
# What a build without a table leaves open: a count that stands in the process alone, and everything of a process where the list loops
# by which layouts are inferred.
UNCOUNTED = {("unlock_unknown", UNKNOWN_BUILD)}
UNTOLD = {("looping_lists", UNKNOWN_BUILD)}


@pytest.mark.parametrize(("name", "build"), [(n, b) for n in STORIES for b in OTHERS if b in scenarios.builds_of(n)])
def test_verdict_and_ledger(name: str, build: int) -> None:
    truth = forged(name, build, 0).truth
    cases = [case_of(dump_bytes(name, build, 0, kind)) for kind in TYPES]
    case = cases[-1]
    for other in cases:
        assert other["verdict"]["kind"] == truth.verdict["kind"], other["verdict"]["reason"]
        assert other["verdict"]["drivers"] == case["verdict"]["drivers"]
        assert other["ledger"]["explained"] == truth.ledger["explained"]
    assert sorted((d["name"], d["pages"]) for d in case["verdict"]["drivers"]) == drivers(truth.verdict)
    rows = sorted((m["address"], m["pages"], m["state"], m["holder"]) for m in case["ledger"]["mdls"])
    assert rows == sorted((m["address"], m["pages"], m["state"], escaped(m["holder"])) for m in truth.ledger["mdls"])
    assert case["ledger"]["explained"] == truth.ledger["explained"]
    if (name, build) not in UNCOUNTED and not (name.startswith("unlock_") and build == UNKNOWN_BUILD):
        assert case["ledger"]["charged"] == truth.ledger["charged"]
    else:
        assert case["ledger"]["charged"] is None
    check_processes(case, truth, told=(name, build) not in UNTOLD)
    assert case["coverage"]["layout"]["basis"] == ("inferred" if build == UNKNOWN_BUILD else "facts" if build == 26100 else "build")


def spelt(name: str) -> str:
    """The name of a process, which has bytes of no known code page, as the reader shows it."""
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in name.replace("\\", "\\\\"))


def check_processes(case: dict[str, Any], truth: Truth, *, told: bool) -> None:
    """Address, name and PID of the charged and of the current process; what the build leaves open is null with a reason."""
    for owner, wanted in (("process", truth.process), ("current_process", truth.current_process)):
        shown = case[owner] or {}
        assert shown.get("address") == (wanted or {}).get("address") or not told
        expected = {"name": wanted and spelt(wanted["name"]), "pid": wanted and wanted["pid"]}
        for key, value in expected.items():
            assert shown.get(key) == (value if told else None)
            assert told or {f"{owner}.{key}", owner} & set(case["absent"])


def check(dump: lh.Dump, machine: Forged, pfns: list[int]) -> bool:
    """Right, or less: never another driver, and never a refusal that claims more than is known. Whether all names were kept."""
    got = judge(dump, pfns)
    wanted = machine.truth.verdict
    if got.kind == "driver":
        assert got.names <= {n for n, _ in drivers(wanted)}, (machine.truth.scenario, machine.truth.build, pfns, got)
    else:
        assert got.kind in ("insufficient", wanted["kind"]), (machine.truth.scenario, machine.truth.build, pfns, got)
    return got.names == {n for n, _ in drivers(wanted)}


# Of the single pages of the evidence, the share without which the driver must still be named: a reader that refuses whenever anything is
# missing is safe and of no use.
KEPT = 0.05


def evidence(machine: Forged) -> list[int]:
    return sorted(set(machine.evidence_pages.values()) - machine.missing)


@pytest.mark.parametrize("name", STORIES)
def test_each_single_page_on_all_builds(name: str) -> None:
    checked = kept = 0
    for build in scenarios.builds_of(name):
        machine = forged(name, build, 1)
        with lh.open(dump_bytes(name, build, 1, 6)) as dump:
            for pfn in evidence(machine):
                kept += check(dump, machine, [pfn])
                checked += 1
    assert checked
    if machine.truth.verdict["kind"] == "driver":
        assert kept >= KEPT * checked, (kept, checked)


def unrelated(machine: Forged) -> list[int]:
    """Pages of users, and free ones: nothing of a case can lie there."""
    used = set(machine.evidence_pages.values())
    return [p for p in machine.present(5) if p not in used and machine.machine.physical.use_of(p).name in ("USER", "FREE")]


@pytest.mark.parametrize("name", STORIES)
def test_unrelated_pages_cost_nothing(name: str) -> None:
    """Without dozens of pages that have nothing to do with the case the verdict is the whole right one."""
    builds = scenarios.builds_of(name)
    build = builds[STORIES.index(name) % len(builds)]
    machine = forged(name, build, 1)
    spare = unrelated(machine)
    chosen = random.Random(name).sample(spare, min(len(spare), 60))
    assert len(chosen) >= 5
    with lh.open(dump_bytes(name, build, 1, 5)) as dump:
        got = judge(dump, chosen)
    assert (got.kind, sorted(got.drivers)) == (machine.truth.verdict["kind"], drivers(machine.truth.verdict))


@pytest.mark.parametrize("name", STORIES)
def test_two_hundred_pairs(name: str) -> None:
    rng = random.Random(name)
    builds = scenarios.builds_of(name)
    for build in builds:
        machine = forged(name, build, 2)
        pages = evidence(machine)
        with lh.open(dump_bytes(name, build, 2, 6)) as dump:
            for _ in range(-(-PAIRS // len(builds))):
                check(dump, machine, rng.sample(pages, 2))


def test_the_whole_is_right_before_anything_is_taken_out() -> None:
    """The checks above would pass on a reader that always refuses: this one would not."""
    named = 0
    for name in STORIES:
        for build in scenarios.builds_of(name)[-1:]:
            machine = forged(name, build, 1)
            answer = Answer.of(case_of(dump_bytes(name, build, 1, 6))["verdict"])
            assert answer.kind == machine.truth.verdict["kind"]
            named += answer.kind == "driver"
    assert named > len(STORIES) // 2
