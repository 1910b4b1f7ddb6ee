"""What all tests share: the project's root, the facts and data that may lie beside the project, and compiled drivers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockhound_synth.pe.load import LoadedImage
from tests.drivers.compile import compiled_images, missing_tools

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public data that is not part of the project; tests that need it skip where it is not there."""
    path = Path(os.environ.get("LOCKHOUND_SHARED") or ROOT.parent / "shared")
    if not (path / "data").is_dir():
        pytest.skip("the shared data is not here (LOCKHOUND_SHARED)")
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedImage]:
    """The drivers of tests/drivers, compiled."""
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    return compiled_images(tmp_path_factory.mktemp("drivers"))
