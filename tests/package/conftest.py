"""Forged dumps for the tests of the package; written once a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged


@pytest.fixture(scope="session")
def forged() -> Forged:
    """The machine behind the dumps, with its truth."""
    return scenarios.build("pending_irp", build=19041, seed=1)


@pytest.fixture(scope="session")
def path(forged: Forged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel bitmap dump: pages of processes are not in it."""
    made = tmp_path_factory.mktemp("dumps") / "kernel.dmp"
    forged.write(made, 6)
    return made


@pytest.fixture(scope="session")
def full_path(forged: Forged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same machine in a full dump, which is large enough for several threads."""
    made = tmp_path_factory.mktemp("dumps") / "full.dmp"
    forged.write(made, 1)
    return made


@pytest.fixture
def dump(path: Path) -> Iterator[lh.Dump]:
    """That dump, open."""
    with lh.open(path) as opened:
        yield opened
