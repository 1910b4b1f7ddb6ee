"""Machines that several tests look at, made once."""

from __future__ import annotations

from functools import lru_cache

import pytest

from lockhound_synth import scenarios
from lockhound_synth.forge import Forged


@lru_cache(maxsize=8)
def machine(name: str, build: int = 19041, seed: int = 0, genuine: bool = False) -> Forged:
    return scenarios.build(name, build=build, seed=seed, genuine=genuine)


def sample() -> list[tuple[str, int]]:
    """Every story on two builds in turn, so that each build meets many stories and the run stays short."""
    pairs = []
    for number, name in enumerate(scenarios.NAMES + scenarios.MORE):
        builds = scenarios.builds_of(name)
        pairs += sorted({(name, builds[(2 * number + 5 * turn) % len(builds)]) for turn in range(2)})
    return pairs


@pytest.fixture(params=scenarios.NAMES + scenarios.MORE)
def story(request: pytest.FixtureRequest) -> str:
    """Each scenario's name in turn."""
    return str(request.param)


@pytest.fixture(params=scenarios.ALL_BUILDS)
def build(request: pytest.FixtureRequest) -> int:
    """Each build in turn."""
    return int(request.param)


# Of the session: pytest then runs all tests of a machine one after the other, however they are shuffled, and it is built once.
@pytest.fixture(scope="session", params=sample(), ids=lambda pair: f"{pair[0]}-{pair[1]}")
def forged(request: pytest.FixtureRequest) -> Forged:
    """The machine of a scenario, on a build."""
    return machine(*request.param)
