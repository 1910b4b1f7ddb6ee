"""Leaks of the binding, looked for in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_rounds_leave_nothing_behind(path: Path) -> None:
    script = Path(__file__).parent / "isolated" / "leaks.py"
    done = subprocess.run([sys.executable, script, path], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "400 rounds, nothing has grown\n")
