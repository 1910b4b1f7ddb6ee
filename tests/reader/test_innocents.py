"""Situations in which an innocent driver looks guilty: it is never named, and the same machine without the trap names the right one."""

from __future__ import annotations

import pytest

from lockhound_synth import packets, scenarios

from .machines import Answer, case_of
from .scene import NAMED, UNNAMED, Cast, Scene, at_most, built
from .situations import SITUATIONS

each = pytest.mark.parametrize("name", SITUATIONS)
on_each_build = pytest.mark.parametrize("build", scenarios.ALL_BUILDS)


def seeds_of(build: int) -> tuple[int, ...]:
    """Two machines of the builds in the middle, one of the others, and on no two builds the same one."""
    own = scenarios.ALL_BUILDS.index(build) + 1
    return (0, own) if build in scenarios.BUILDS else (own,)


@on_each_build
@each
def test_the_innocent_is_not_named(name: str, build: int) -> None:
    for seed in seeds_of(build):
        machine, cast = built(SITUATIONS[name], build, trap=True, seed=seed)
        case = case_of(machine.to_bytes(6))
        got, where = Answer.of(case["verdict"]), f"{name} build {build} seed {seed}: {case['verdict']['sentence']}"
        assert got.names <= cast.guilty, where
        assert got.kind in cast.kinds, where
        assert cast.because in case["verdict"]["reason"], where
        assert (got.kind == "driver") == bool(got.names), where
        if cast.pages is not None:
            assert sum(pages for _, pages in got.drivers) == cast.pages, where


@on_each_build
@each
def test_without_the_trap_the_right_one_is(name: str, build: int) -> None:
    machine, cast = built(SITUATIONS[name], build, trap=False)
    (guilty,) = cast.guilty
    case = case_of(machine.to_bytes(6))
    got = Answer.of(case["verdict"])
    assert got == Answer("driver", ((guilty, cast.pages or 0),)), case["verdict"]["sentence"]
    assert case["ledger"]["unexplained"] == 0


@each
def test_a_full_dump_says_the_same(name: str) -> None:
    """More pages than a kernel dump has, of users: they change nothing."""
    build = scenarios.ALL_BUILDS[list(SITUATIONS).index(name) % len(scenarios.ALL_BUILDS)]
    machine, _ = built(SITUATIONS[name], build, trap=True)
    kernel, full = (Answer.of(case_of(machine.to_bytes(kind))["verdict"]) for kind in (6, 5))
    assert kernel == full


def test_a_small_share_is_no_proof_of_the_whole() -> None:
    """Who holds one page of twenty is said to hold that one: the rest is the driver's that keeps its MDL."""
    machine, cast = built(SITUATIONS["small_share"], 19041, trap=True)
    case = case_of(machine.to_bytes(6))
    assert case["ledger"]["charged"] == 20
    assert sorted(d["pages"] for d in case["verdict"]["drivers"]) == [1, 19]
    assert {d["name"] for d in case["verdict"]["drivers"]} == cast.guilty
    assert {m["pages"]: m["irp"] is None for m in case["ledger"]["mdls"]} == {1: False, 19: True}


def test_next_of_a_freed_block_leads_nowhere() -> None:
    """The pool's headers tell free blocks up to 17763: a request of the victim that names one is not followed to where its Next pointed."""

    def story(scene: Scene) -> Cast:
        machine = scene.machine
        mdl = scene.lock()
        _, device = scene.driver()
        block = machine.nonpaged.pages(30)
        frames = [(machine.space.translate(block + at * 0x1000) or 0) >> 12 for at in range(30)]
        header = packets.make_mdl(machine, None, 30, frames=frames, va=block, flags=packets.NONPAGED_SOURCE, charge=False)
        packets.link_mdls(machine, header, mdl)
        scene.request(header, device)
        if not scene.trap:
            return Cast(frozenset({device.driver.module.name}), NAMED)
        machine.nonpaged.free(header.address)
        return at_most(scene.keeper(mdl))

    for trap in (True, False):
        machine, cast = built(story, 17763, trap=trap)
        got = Answer.of(case_of(machine.to_bytes(6))["verdict"])
        assert got.names <= cast.guilty
        assert got.kind in cast.kinds


def test_a_module_out_of_the_list_is_named_by_its_driver_object() -> None:
    """DriverSection leads to the module's record, which is whole: the file's name is known."""
    machine, cast = built(SITUATIONS["unlinked_told_by_device"], 19041, trap=True)
    got = Answer.of(case_of(machine.to_bytes(6))["verdict"])
    assert got.names == {name for name in cast.guilty if name.endswith(".sys")}


def test_the_packet_shown_is_the_most_credible() -> None:
    """Of two packets in one driver the one that is queued to its thread is shown."""
    shown: dict[str, int] = {}

    def story(scene: Scene) -> Cast:
        mdl = scene.lock()
        holder, device = scene.driver()
        scene.request(mdl, device, linked="none")
        shown["irp"] = scene.request(mdl, device).address
        scene.request(mdl, device, linked="none")
        return at_most(holder)

    machine, cast = built(story, 19041, trap=True)
    case = case_of(machine.to_bytes(6))
    assert {d["name"] for d in case["verdict"]["drivers"]} <= cast.guilty
    assert int(case["ledger"]["mdls"][0]["irp"], 16) == shown["irp"]


def test_a_library_is_named_with_low_confidence_at_most() -> None:
    """It works for others: the client it worked for may be the one."""
    machine, _ = built(SITUATIONS["in_a_library"], 19041, trap=True)
    verdict = case_of(machine.to_bytes(6))["verdict"]
    assert verdict["kind"] in UNNAMED or verdict["confidence"]["level"] == "low"


def test_a_client_of_a_framework_is_told_as_such() -> None:
    machine, _ = built(SITUATIONS["made_through_framework"], 19041, trap=True)
    assert "clients of frameworks" in {row["rule"] for row in case_of(machine.to_bytes(6))["unevaluated"]}


def test_every_situation_says_what_happened() -> None:
    assert len(SITUATIONS) >= 60
    for name, situation in SITUATIONS.items():
        assert situation.__doc__, name
