"""Builds the library for gcov, runs C tests and dumps through it, prints a table of the parsers and fails below the floor."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lockhound_synth import scenarios
from tests.conftest import ROOT
from tests.drivers.test_code_framework import machine_of_clients
from tests.drivers.test_code_paths import machine_of_paths
from tests.reader.machines import TYPES, dump_bytes, forged
from tests.reader.test_injected import damaged

# The directories that read what somebody else wrote, and the least share of their lines, in per cent.
PARSERS = ("base", "source", "dump", "space", "image", "symbols", "nt", "code")
FLOOR = 85
# Takes longer than all others together, and tests no parser.
LEFT_OUT = {"test_scan"}
DAMAGED = 12  # copies of each dump
LEVELS = ("-O0", "-O2")  # of optimisation of the compiled drivers


def make(build: Path, target: str, tests: list[str]) -> None:
    command: list[str | Path] = [
        "make",
        "-s",
        "-j2",
        "-C",
        ROOT / "csrc",
        target,
        "CC=gcc",
        "SAN=coverage",
        f"BUILD={build}",
        f"TESTS={' '.join(tests)}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def dumps() -> Iterator[bytes]:
    """The main scenarios in every type of dump, as they are and damaged, and each further one once; on one build after the other. Last
    the compiled drivers, for the code that reads code."""
    chance = random.Random(7)
    for number, name in enumerate(scenarios.NAMES):
        build = scenarios.BUILDS[number % len(scenarios.BUILDS)]
        for kind in TYPES:
            whole = dump_bytes(name, build, 0, kind)
            frames = forged(name, build, 0).present(kind)
            first = len(whole) - len(frames) * 0x1000
            hot = [first + frames.index(page) * 0x1000 for page in forged(name, build, 0).evidence_pages.values() if page in frames]
            yield whole
            for _ in range(DAMAGED):
                yield damaged(chance, whole, hot)
    for number, name in enumerate((*scenarios.MORE, *scenarios.FURTHER)):
        told = scenarios.builds_of(name)
        yield dump_bytes(name, told[number % len(told)], 0, TYPES[-1])
    with tempfile.TemporaryDirectory() as folder:
        for level in LEVELS:
            yield machine_of_paths(Path(folder), level)[1].to_bytes(6)
        yield machine_of_clients(Path(folder))[1].to_bytes(6)


def replay(program: Path) -> int:
    """Runs all dumps through `program`; how many there were."""
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MEMORY.DMP"
        for content in dumps():
            path.write_bytes(content)
            subprocess.run([program, path], check=True, capture_output=True)
            count += 1
    return count


def measured(build: Path) -> dict[str, list[int]]:
    """Lines and branches by directory: there, reached, there, reached."""
    command: list[str | Path] = ["gcovr", "--root", ROOT / "csrc", "--filter", f"{ROOT}/csrc/", "--json-summary", "-", build]
    summary = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT / "csrc").stdout)
    sums: dict[str, list[int]] = {}
    for file in summary["files"]:
        row = sums.setdefault(file["filename"].split("/")[0], [0, 0, 0, 0])
        for index, key in enumerate(("line_total", "line_covered", "branch_total", "branch_covered")):
            row[index] += file[key]
    return {name: sums[name] for name in PARSERS if name in sums}


def table(sums: dict[str, list[int]]) -> Iterator[str]:
    yield f"{'parsers':<10}{'lines':>8}{'reached':>9}{'branches':>10}{'reached':>9}"
    for name, (lines, reached, branches, taken) in sums.items():
        yield f"{name:<10}{lines:>8}{reached / lines:>9.1%}{branches:>10}{taken / max(1, branches):>9.1%}"


def main() -> int:
    build = ROOT / ".build" / "coverage"
    for counts in build.rglob("*.gcda"):
        counts.unlink()
    tests = sorted({path.stem for path in (ROOT / "tests" / "c").glob("test_*.c")} - LEFT_OUT)
    make(build, "check", tests)
    make(build, "check-build", ["replay"])
    print(f"{len(tests)} C tests and {replay(build / 'tests' / 'replay')} dumps")
    sums = measured(build)
    print("\n".join(table(sums)))
    low = [name for name, (lines, reached, _, _) in sums.items() if reached * 100 < lines * FLOOR]
    if low or not sums:
        sys.exit(f"less than {FLOOR} % of the lines: {' '.join(low) or 'nothing was measured'}")
    lines, reached = (sum(row[index] for row in sums.values()) for index in (0, 1))
    print(f"{reached / lines:.1%} of {lines} lines of the parsers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
