"""The rules by name: those in the code, those that docs/verdict.md explains and those that cases show are the same."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.io import Device
from lockhound_synth.packets import Irp
from lockhound_synth.scenarios import unlocks
from lockhound_synth.scenarios.stage import Stage
from lockhound_synth.stacks import in_nt

from .machines import case_of, dump_bytes, forged, patched, with_parameters
from .rule_table import check_rules, in_code, rules_of
from .scene import Cast, Scene, Situation, built, named
from .situations import SITUATIONS
from .test_bare import images_without_tables
from .test_bare import told as altered
from .test_trackers import places

BUILDS = (7601, 19041, 26100, 23456)  # with callers in place of trackers, symbols, published layouts, and none


# ---- the code and the page


def on_page(root: Path) -> dict[str, str]:
    """The entries of the page by their headings."""
    parts = re.split(r"^### (.+)$", (root / "docs" / "verdict.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(set(parts[::2])) == len(parts[::2]), "each rule has one entry"
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_table_has_a_row_for_each_rule(root: Path) -> None:
    header = (root / "csrc" / "case" / "rules.h").read_text()
    listed = set(re.findall(r"^    (LHI_(?:RULE|WEIGHT)_\w+),$", header, flags=re.MULTILINE))
    rows = set(re.findall(r"\[(LHI_(?:RULE|WEIGHT)_\w+)\]", (root / "csrc" / "case" / "rules.c").read_text()))
    ends = {"LHI_RULE_COUNT_OF", "LHI_WEIGHT_COUNT_OF"}
    assert listed == rows - ends
    needs, weights = in_code()
    assert len(needs) + sum(map(len, weights.values())) == len(listed)


def test_each_rule_is_explained(root: Path) -> None:
    needs, weights = in_code()
    page = on_page(root)
    assert set(page) == set(needs)
    for name, entry in page.items():
        lines = entry.strip().splitlines()
        needed = needs[name]
        assert ([f"- Needs: {needed}."] if needed else []) == [line for line in lines if line.startswith("- Needs: ")], name
        told = [f"- Weight {value:g}: {words}." for value, words in weights[name]]
        assert told == [line for line in lines if line.startswith("- Weight ")], name
        assert sum(line.startswith("- Why: ") and len(line) > 40 for line in lines) == 1, name


# ---- what cases show


def case_of_scene(situation: Situation) -> dict[str, Any]:
    machine, cast = built(situation, 19041, trap=True)
    case = case_of(machine.to_bytes(6))
    assert {d["name"] for d in case["verdict"]["drivers"]} <= cast.guilty
    return case


def plain(scene: Scene) -> tuple[Device, Irp, Cast]:
    """The plain case: device, packet and who is named."""
    driver, device = scene.driver()
    mdl = scene.lock()
    return device, scene.request(mdl, device, linked="thread"), named(driver, mdl)


def other_routine(stage: Stage) -> None:
    mdl = unlocks.stale(stage)
    culprit, _ = unlocks.culprit_with(stage, mdl)
    back = culprit.module.return_from("IofCallDriver", "DispatchIo")
    inner, outer = [*unlocks.inner(stage.machine), *in_nt(stage.machine, "IofCallDriver")], unlocks.from_program(stage.machine)
    unlocks.begin(stage, mdl, [*inner, back, *outer])


def neighbours_contradict(scene: Scene) -> Cast:
    _, _, cast = plain(scene)
    thread = scene.victim.threads[0]
    head = thread.address + scene.machine.layouts["ETHREAD"].offset("IrpList")
    scene.later(lambda: scene.machine.space.write_u64(head + 8, head))
    return cast


def file_somewhere_else(scene: Scene) -> Cast:
    _, irp, cast = plain(scene)
    scene.field(irp, "Tail.Overlay.OriginalFileObject", scene.machine.nonpaged.base + (1 << 38))
    return cast


def device_unlisted(scene: Scene) -> Cast:
    device, _, cast = plain(scene)
    at = device.driver.address + scene.machine.layouts["DRIVER_OBJECT"].offset("DeviceObject")
    scene.later(lambda: scene.machine.space.write_u64(at, 0))
    return cast


def no_exit_time(scene: Scene) -> Cast:
    _, _, cast = plain(scene)
    at = scene.victim.address + scene.machine.layouts["EPROCESS"].offset("ExitTime")
    scene.later(lambda: scene.machine.space.write_u64(at, 0))
    return cast


def asked_about_a_process() -> dict[str, Any]:
    """On a build that no table knows, whether a process has exited can't be read where its flags are not inferred."""
    with lh.open(dump_bytes("page_fault", 23456, 0, 6)) as dump:
        process = next(p for p in dump.kernel().processes() if p.flags is None)
        return dump.investigate(process=process, progress=False).to_dict()


def mdl_used_again() -> dict[str, Any]:
    """The tracker tells of the lock; the MDL's structure is something else by now."""
    (mdl,) = places(forged("tracked_leak", 19041, 0), "mdl:")
    return patched("tracked_leak", 19041, 0, {mdl: bytes(0x30)})


def tracker_astray() -> dict[str, Any]:
    """A link of one of several trackers leads to none; the others can still be reached."""
    machine = forged("tracked_several", 19041, 0)
    offset = machine.machine.layouts["LOCK_TRACKER"].offset("LockTrackerNode")
    for at in places(machine, "tracker:"):
        physical = machine.translate(at + offset)
        assert physical is not None
        if machine.pages[physical >> 12][physical & 0xFFF :][:16] == bytes(16):  # a leaf
            return patched("tracked_several", 19041, 0, {at + offset: struct.pack("<Q", machine.machine.processes[0].address)})
    raise AssertionError("a tree has leaves")


MORE: tuple[Callable[[], dict[str, Any]], ...] = (
    asked_about_a_process,
    mdl_used_again,
    tracker_astray,
    lambda: with_parameters("pending_irp", 19041, 0, {1: 5}),
    lambda: with_parameters("pending_irp", 19041, 0, {2: 2**64 - 3}),
    lambda: with_parameters("unlock_unknown", 19041, 0, {0: 2}),
    lambda: case_of(staged(other_routine).to_bytes(6)),
    lambda: altered("tracked_leak", 19041, images_without_tables)[1],
    *(lambda s=s: case_of_scene(s) for s in (neighbours_contradict, file_somewhere_else, device_unlisted, no_exit_time)),
)


def staged(story: Callable[[Stage], None]) -> Forged:
    stage = Stage(story.__name__, 19041, 0)
    story(stage)
    return stage.finish()


def told(names: Iterable[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    return (case_of(dump_bytes(name, build, 0, 6)) for name, build in names)


def without_pages(name: str, build: int) -> Iterator[dict[str, Any]]:
    machine = forged(name, build, 0)
    with lh.open(dump_bytes(name, build, 0, 6)) as dump:
        for pfn in sorted(set(machine.evidence_pages.values()) - machine.missing)[:12]:
            with dump.without_pages([pfn]) as less:
                yield less.investigate(progress=False).to_dict()


def cases() -> Iterator[dict[str, Any]]:
    """What neither stories nor situations have, every story on one build, every situation, stories with pages taken out, and stories on the
    other builds."""
    yield from (make() for make in MORE)
    stories = [n for n in (*scenarios.NAMES, *scenarios.MORE, *scenarios.FURTHER) if not n.startswith("pages_")]
    builds = {name: [b for b in BUILDS if b in scenarios.builds_of(name)] for name in stories}
    first = {name: own[number % len(own)] for number, (name, own) in enumerate(builds.items())}
    yield from told(first.items())
    for situation in SITUATIONS.values():
        yield case_of(built(situation, 19041, trap=True)[0].to_bytes(6))
    for name in stories:
        yield from without_pages(name, builds[name][-1])
    yield from told((name, build) for name, own in builds.items() for build in own if build != first[name])


def test_every_rule_is_exercised(root: Path) -> None:
    """Ends with the case that shows the last one. That no case shows others is asked wherever pages are taken out."""
    wanted, shown = set(in_code()[0]), set[str]()
    for case in cases():
        check_rules(case)
        shown |= set(rules_of(case))
        if shown == wanted:
            break
    assert shown == wanted == set(on_page(root))


def test_what_weighs_is_named_with_its_case() -> None:
    """The right driver all the same, and less surely."""
    whole = case_of(dump_bytes("pending_irp", 19041, 0, 6))["verdict"]["confidence"]["score"]
    for situation, name in (
        (neighbours_contradict, "list"),
        (file_somewhere_else, "file"),
        (device_unlisted, "device"),
        (no_exit_time, "living"),
    ):
        case = case_of_scene(situation)
        assert case["verdict"]["kind"] == "driver"
        assert case["verdict"]["rule"] == "packet: pending"
        assert [f["name"] for f in case["verdict"]["confidence"]["factors"] if f["value"] < 1] == [name]
        assert case["verdict"]["confidence"]["score"] < whole
