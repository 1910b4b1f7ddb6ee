"""The benchmarks run on a small size, and their yardstick really sums up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from tests.bench.yardstick import Yardstick


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("words", [1, 15, 16, 17, 4099])
def test_sum(tmp_path: Path, threads: int, words: int) -> None:
    values = numpy.random.default_rng(words).integers(0, 1 << 64, words, dtype=numpy.uint64)
    (tmp_path / "words").write_bytes(values.tobytes())
    with Yardstick(tmp_path / "words", threads) as yardstick:
        assert yardstick.sum() == int(values.sum(dtype=numpy.uint64))


@pytest.mark.parametrize(("what", "rows"), [("case", 2), ("search", 4)])
def test_benchmark_prints_ratios(root: Path, what: str, rows: int) -> None:
    command = [sys.executable, "-m", "tests.bench", what, "--mib", "8", "--pairs", "2"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.findall(r"^(?:whole case|search), .+ +(\d+\.\d\d)   \(\d+\.\d\d to \d+\.\d\d\)$", done.stdout, re.MULTILINE)
    assert len(found) == rows
    assert all(float(ratio) > 0 for ratio in found)


def test_sleeper_prints_its_ratio(root: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "sleeper", "--mib", "8", "--sleeps", "80"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^beside plain C +\d+\.\d+ ms +\d+\.\d+ ms\nbeside a search +\d+\.\d+ ms +\d+\.\d+ ms\n", done.stdout, re.MULTILINE)
    assert float(re.findall(r"^ratio at 99\.9 %: (\d+\.\d\d)$", done.stdout, re.MULTILINE)[0]) > 0
