"""Dumps larger than memory: what is anonymous stays small, and other threads of Python go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lockhound as lh
from lockhound_synth.forge import Forged

from . import sparse

MOST_MIB = 64
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory if possible: there, what positioned reads get out of a hole takes no room in a cache."""
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def full(forged: Forged, folder: Path) -> Path:
    """4 GiB, nearly all of it a hole."""
    sparse.full(forged, folder / "full.dmp", 4)
    return folder / "full.dmp"


@pytest.fixture(scope="module")
def bitmap(forged: Forged, folder: Path) -> Path:
    """64 GiB with every second page."""
    path = folder / "bitmap.dmp"
    pages = sparse.every_second_page(forged, path, 64)
    assert pages > 32 * sparse.PAGES_OF_GIB
    assert path.stat().st_blocks * 512 < 64 << 20
    return path


def peak(path: Path, way: str, stop: int = 0) -> tuple[int, float, float]:
    """Pages of the dump, MiB at the peak, MiB left after all."""
    script = Path(__file__).parent / "isolated" / "memory.py"
    done = subprocess.run([sys.executable, script, path, way, str(stop)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"(\d+) pages, (\d+) looks, peak (-?[\d.]+) MiB, (-?[\d.]+) MiB left\n", done.stdout)
    assert found, done.stdout
    assert int(found[2]) > 20
    return int(found[1]), float(found[3]), float(found[4])


def check(path: Path, way: str, stop: int, gib: int) -> None:
    pages, highest, left = peak(path, way, stop)
    assert pages > gib * sparse.PAGES_OF_GIB
    assert highest < MOST_MIB
    assert left < MOST_MIB


def test_memory_beside_a_full_dump(full: Path) -> None:
    check(full, "positioned", 0, 4)


def test_memory_beside_a_mapped_dump(forged: Forged, tmp_path: Path) -> None:
    """On a disk: a hole that is mapped takes room even in memory."""
    sparse.full(forged, tmp_path / "full.dmp", 4)
    check(tmp_path / "full.dmp", "mapped", 0, 4)


def test_memory_beside_a_bitmap_dump(bitmap: Path) -> None:
    check(bitmap, "positioned", 0, 32)


def test_memory_beside_a_mapped_bitmap_dump(bitmap: Path) -> None:
    """Its beginning: what is mapped of a file takes a page for each page of a hole that is read."""
    check(bitmap, "mapped", 1 << 28, 32)


def test_memory_beside_a_bitmap_dump_in_place(bitmap: Path) -> None:
    """All of it, read as a mapped file is, where a hole costs nothing."""
    check(bitmap, "memory", 0, 32)


@pytest.fixture
def no_switching() -> Iterator[None]:
    """Nobody is made to give the GIL away: who holds it keeps it until it releases it by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(600)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("no_switching")
def test_another_thread_goes_on(bitmap: Path, threads: int) -> None:
    """Between the end of a report of progress and the beginning of the next one, a counter in Python moves."""
    counted, over = [0], threading.Event()
    gaps: list[int] = []
    left = [-1]

    def count() -> None:
        while not over.is_set():
            counted[0] += 1
            time.sleep(0.0001)

    def progress(_done: int, _total: int) -> bool:
        now = counted[0]
        if left[0] >= 0:
            gaps.append(now - left[0])
        left[0] = counted[0]
        return len(gaps) < 12

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with lh.open(bitmap, positioned=True) as dump, pytest.raises(lh.Cancelled):
            dump.search([1 << 63], threads=threads, progress=progress)
    finally:
        over.set()
        thread.join()
    assert len(gaps) == 12
    assert sum(gap > 0 for gap in gaps) > len(gaps) // 2
