"""Prints the Pythons from 3.11 on that really start, a line each: those on PATH, in LOCKHOUND_PYTHONS, and installed beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
# Some that are found are shims that start nothing, so each is asked, for what it is and not for its name.
QUESTION = "import sys; print(*sys.version_info[:3], sys.base_prefix, sys.executable)"


def started(python: str) -> tuple[tuple[int, ...], str, str] | None:
    """Version, prefix and path of a Python, as it says itself; None where it does not start."""
    try:
        done = subprocess.run([python, "-I", "-c", QUESTION], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 5:
        return None
    return tuple(map(int, words[:3])), words[3], words[4]


def candidates(environment: dict[str, str]) -> Iterator[str]:
    yield from filter(None, environment.get("LOCKHOUND_PYTHONS", "").split(os.pathsep))
    for folder in environment.get("PATH", "").split(os.pathsep):
        for name in ("python3", *(f"python3.{minor}" for minor in range(OLDEST[1], OLDEST[1] + 10))):
            path = Path(folder, name)
            if os.access(path, os.X_OK):
                yield str(path)


def found(environment: dict[str, str]) -> dict[str, str]:
    """Version to path, one each. Where one version is installed beside others, these are tried too."""
    pythons: dict[str, str] = {}
    waiting, seen = list(candidates(environment)), set[str]()
    while waiting:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        answer = started(path)
        if answer is None:
            continue
        version, prefix, executable = answer
        if version >= OLDEST:
            pythons.setdefault(".".join(map(str, version)), executable)
        waiting += sorted(str(path) for path in Path(prefix).parent.glob("*/bin/python3"))
    return pythons


def main() -> int:
    pythons = found(dict(os.environ))
    for path in pythons.values():
        print(path)
    return 0 if pythons else 1


if __name__ == "__main__":
    sys.exit(main())
