"""Machines that several tests look at, made once."""

from __future__ import annotations

from functools import cache

import pytest

from lockhound_synth import scenarios
from lockhound_synth.forge import Forged


@cache
def machine(name: str, build: int = 19041, seed: int = 0, genuine: bool = False) -> Forged:
    return scenarios.build(name, build=build, seed=seed, genuine=genuine)


@pytest.fixture(params=scenarios.NAMES + scenarios.MORE)
def story(request: pytest.FixtureRequest) -> str:
    """Each scenario's name in turn."""
    return str(request.param)


@pytest.fixture(params=scenarios.BUILDS)
def build(request: pytest.FixtureRequest) -> int:
    """Each build in turn."""
    return int(request.param)


@pytest.fixture
def forged(story: str, build: int) -> Forged:
    """The machine of a scenario and a build."""
    return machine(story, build)
