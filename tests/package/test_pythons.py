"""Which Pythons the package is tried on: those that start and are new enough, each version once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from . import pythons

HERE = ".".join(map(str, sys.version_info[:3]))


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "echo 'python3.12: command not found' >&2; exit 127",
        "echo 3 10 13 /no/where /no/where/python3",
        "echo hello",
        "exit 0",
        "not-a-program",
    ],
)
def test_shims_and_old_ones_are_left_out(tmp_path: Path, text: str) -> None:
    program(tmp_path / "python3.12", text)
    assert pythons.found({"PATH": str(tmp_path)}) == {}


def test_one_that_starts_is_found_by_its_own_word(tmp_path: Path) -> None:
    (tmp_path / "python3.12").symlink_to(sys.executable)
    assert HERE in pythons.found({"PATH": str(tmp_path)})
    assert HERE in pythons.found({"PATH": "", "LOCKHOUND_PYTHONS": f"{tmp_path / 'gone'}:{sys.executable}"})
    assert pythons.found({"PATH": ""}) == {}


def test_its_neighbours_are_tried_too(tmp_path: Path) -> None:
    first = program(tmp_path / "versions" / "a" / "bin" / "python3", f"echo 3 12 1 {tmp_path}/versions/a {tmp_path}/a")
    program(tmp_path / "versions" / "b" / "bin" / "python3", f"echo 3 13 0 {tmp_path}/versions/b {tmp_path}/b")
    program(tmp_path / "versions" / "c" / "bin" / "python3", "exit 1")
    assert pythons.found({"LOCKHOUND_PYTHONS": str(first)}) == {"3.12.1": f"{tmp_path}/a", "3.13.0": f"{tmp_path}/b"}
