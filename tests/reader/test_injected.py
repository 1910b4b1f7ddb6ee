"""Whole cases under the sanitizers: damaged files, and every allocation and many reads failing in turn."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from lockhound_synth import scenarios

from .machines import dump_bytes, forged

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def replay() -> Path:
    """tests/c/replay.c and the library under the address and undefined-behaviour sanitizers."""
    build = ROOT / ".build" / "replay"
    # Two workers of the test run may come here at once: make once, under a lock.
    lock = build.with_suffix(".lock")
    build.parent.mkdir(exist_ok=True)
    command = f"flock {lock} make -s -C {ROOT / 'csrc'} check-build WERROR=1 CC=gcc TESTS=replay BUILD={build}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return build / "tests" / "replay"


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "build"), [("partial_pending", 19041), ("driver_irp_in_bus", 23456)])
def test_every_allocation_fails_once(replay: Path, tmp_path: Path, name: str, build: int) -> None:
    path = tmp_path / "MEMORY.DMP"
    path.write_bytes(dump_bytes(name, build, 0, 6))
    assert "allocations failed" in run(replay, "--allocations", path)


def test_a_failed_read_is_never_an_absence(replay: Path, tmp_path: Path) -> None:
    path = tmp_path / "MEMORY.DMP"
    path.write_bytes(dump_bytes("pending_irp", 19041, 0, 6))
    assert "reads failed" in run(replay, "--reads", path, "37")


def damaged(rng: random.Random, whole: bytes, hot: list[int]) -> bytes:
    """A few bytes of the header, the bitmap or an evidence page altered, or the file cut."""
    data = bytearray(whole)
    for _ in range(rng.randrange(1, 9)):
        place = rng.choice(
            [rng.randrange(0x1060), 0x2000 + rng.randrange(0x100), rng.choice(hot) + rng.randrange(0x1000), rng.randrange(len(data))]
        )
        data[place % len(data)] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
    return bytes(data[: rng.randrange(len(data))]) if rng.random() < 0.15 else bytes(data)


@pytest.mark.parametrize("name", ["stale_and_freed", "partial_pending", "chain_second", "tracked_leak", "tracked_several", "busy"])
def test_damaged_files_under_the_sanitizers(replay: Path, tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    paths: list[str] = []
    innocents: list[set[str]] = []
    for kind, build in zip((1, 5, 6), rng.sample(scenarios.ALL_BUILDS, 3), strict=True):
        machine = forged(name, build, 0)
        whole = dump_bytes(name, build, 0, kind)
        frames = machine.present(kind)
        first = len(whole) - len(frames) * 0x1000
        hot = [first + frames.index(p) * 0x1000 for p in machine.evidence_pages.values() if p in frames]
        for number in range(40):
            path = tmp_path / f"{kind}-{number}.dmp"
            path.write_bytes(damaged(rng, whole, hot))
            paths.append(str(path))
            innocents.append(set(machine.truth.innocents))
    lines = run(replay, *paths).splitlines()
    assert len(lines) == len(paths)
    answers = [line.split(" ", 3) for line in lines]
    assert {status for status, *_ in answers} <= {"ok", "format", "unsupported"}
    assert sum(status == "ok" for status, *_ in answers) > 30
    for (status, kind_name, driver, field), path_name, others in zip(answers, paths, innocents, strict=True):
        assert status == "ok" or field != "-", path_name
        assert kind_name != "driver" or driver not in others, path_name
