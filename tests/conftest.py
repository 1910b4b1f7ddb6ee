"""What all tests share: the project's root, and the facts and data that may lie beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
