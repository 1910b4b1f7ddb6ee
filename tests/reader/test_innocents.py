"""Situations in which an innocent driver looks guilty: it is never named, and the same machine without the trap names the right one."""

from __future__ import annotations

import pytest

from lockhound_synth import scenarios

from .machines import Answer, case_of
from .scene import UNNAMED, built
from .situations import SITUATIONS

SEEDS = (0, 1)

each = pytest.mark.parametrize("name", SITUATIONS)
on_each_build = pytest.mark.parametrize("build", scenarios.BUILDS)


@on_each_build
@each
def test_the_innocent_is_not_named(name: str, build: int) -> None:
    for seed in SEEDS:
        machine, cast = built(SITUATIONS[name], build, trap=True, seed=seed)
        case = case_of(machine.to_bytes(6))
        got, where = Answer.of(case["verdict"]), f"{name} build {build} seed {seed}: {case['verdict']['sentence']}"
        assert got.names <= cast.guilty, where
        assert got.kind in cast.kinds, where
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
    build = scenarios.BUILDS[list(SITUATIONS).index(name) % len(scenarios.BUILDS)]
    machine, _ = built(SITUATIONS[name], build, trap=True)
    kernel, full = (Answer.of(case_of(machine.to_bytes(kind))["verdict"]) for kind in (6, 5))
    assert kernel == full


def test_a_small_share_is_no_proof_of_the_whole() -> None:
    """Who holds one page of twenty is not said to hold them all, and not with high confidence."""
    machine, _ = built(SITUATIONS["small_share"], 19041, trap=True)
    case = case_of(machine.to_bytes(6))
    assert case["ledger"]["charged"] == 20
    assert sum(d["pages"] for d in case["verdict"]["drivers"]) <= 1
    if case["verdict"]["kind"] == "driver":
        assert case["verdict"]["confidence"]["level"] != "high"
    else:
        assert case["verdict"]["kind"] in UNNAMED


def test_every_situation_says_what_happened() -> None:
    assert len(SITUATIONS) >= 60
    for name, situation in SITUATIONS.items():
        assert situation.__doc__, name
