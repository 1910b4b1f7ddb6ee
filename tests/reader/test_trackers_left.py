"""Lock trackers that tell of no lock any more: tracking was given up, or other code lies where the trace leads."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from lockhound_synth import io, packets
from lockhound_synth.packets import Mdl
from lockhound_synth.scenarios.tracking import call_of, left_locked, stack
from lockhound_synth.trackers import Lock, track

from .machines import Answer, case_of
from .scene import Cast, Scene, built, named, nobody

BUILDS = (9600, 17763, 26100)


def given_up(scene: Scene, change: Callable[[Mdl], None]) -> Cast:
    """A driver locked pages while locks were tracked, and unlocked them when Windows had given the tracking up: its tracker is still there,
    and another driver's request has as many pages. Without the trap it never unlocked them."""
    locker, _ = scene.driver(io.LOCKING)
    mdl = scene.lock(4)
    track(scene.machine, scene.victim, [Lock(mdl, stack(scene.stage, call_of(locker)))], valid=0)
    holder, device = scene.driver()
    if scene.trap:
        change(mdl)
        scene.request(scene.lock(4), device)
    victim = scene.victim
    victim.locked = 4
    scene.stage.parameters = (0, victim.address, victim.locked, victim.lock_header)
    return named(holder, 4) if scene.trap else named(locker, 4)


def unlocked(scene: Scene, mdl: Mdl) -> None:
    scene.machine.space.write(mdl.address + 0xA, struct.pack("<H", packets.FIXED_SIZE | packets.WRITE))


def overwritten(scene: Scene, mdl: Mdl) -> None:
    scene.machine.space.write(mdl.address, b"\x5a" * 0x50)


def freed(scene: Scene, mdl: Mdl) -> None:
    unlocked(scene, mdl)
    packets.free_mdl(scene.machine, mdl)


CHANGES = {"unlocked": unlocked, "overwritten": overwritten, "freed": freed}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_tracker_that_an_unlock_left_names_nobody(name: str, build: int) -> None:
    def story(scene: Scene) -> Cast:
        return given_up(scene, lambda mdl: CHANGES[name](scene, mdl))

    machine, cast = built(story, build, trap=True)
    case = case_of(machine.to_bytes(6))
    (guilty,) = cast.guilty
    assert Answer.of(case["verdict"]) == Answer("driver", ((guilty, 4),)), case["verdict"]["sentence"]
    (row,) = case["trackers"]["list"]
    assert row["rule"] is None
    assert "no longer the lock" in row["statement"]


@pytest.mark.parametrize("build", BUILDS)
def test_a_tracker_whose_lock_still_stands_does(build: int) -> None:
    machine, cast = built(lambda scene: given_up(scene, lambda _: None), build, trap=False)
    case = case_of(machine.to_bytes(6))
    (guilty,) = cast.guilty
    assert Answer.of(case["verdict"]) == Answer("driver", ((guilty, 4),)), case["verdict"]["sentence"]


def used_again(scene: Scene) -> Cast:
    """A driver locked pages and was unloaded; another one was loaded in its place, and where the trace leads has no call. Without the trap
    the driver of the trace is the one that is there."""
    driver, _ = scene.driver(io.LOCKING)
    mdl = scene.lock()
    at = driver.module.symbols["Complete"] + 2 if scene.trap else call_of(driver)
    left_locked(scene.stage, scene.victim, [Lock(mdl, stack(scene.stage, at))])
    scene.machine.unloaded.append(("wasbefore.sys", driver.module.base, driver.module.base + driver.module.size))
    return nobody() if scene.trap else named(driver, mdl)


@pytest.mark.parametrize("build", [7601, *BUILDS])
@pytest.mark.parametrize("trap", [True, False])
def test_code_that_lies_where_other_code_was(build: int, trap: bool) -> None:
    machine, cast = built(used_again, build, trap=trap)
    got = Answer.of(case_of(machine.to_bytes(6))["verdict"])
    assert got.kind in cast.kinds
    assert got.names == cast.guilty
