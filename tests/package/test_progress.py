"""A bar where somebody watches and has to wait: on a terminal and in a notebook, and nothing in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import runpy
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from lockhound import progress

SLOW = Path(__file__).parent / "isolated" / "slow.py"
BAR = re.compile(r"searching: +\d+%\|.*\| .*[\d.]+M/[\d.]+M ")

pytest.importorskip("tqdm")


def on_a_terminal(*command: str | Path) -> tuple[str, str]:
    """What a command writes to standard output, a pipe, and to standard error, a terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 25, 100, 0, 0))  # a new one has no size, and tqdm writes nothing there
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536):
            shown += part
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(leader)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.decode(), shown.decode()


def test_on_a_terminal(full_path: Path) -> None:
    said, shown = on_a_terminal(sys.executable, SLOW, full_path, "2")
    assert said.endswith(" hits\n")
    assert BAR.search(shown)
    assert "\n" not in shown  # one line, and it is wiped at the end
    assert shown.rsplit("\r", 2)[1].strip() == ""


def test_in_a_pipe(full_path: Path) -> None:
    done = subprocess.run([sys.executable, SLOW, full_path, "2"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d+ hits\n", done.stdout)


def test_in_a_notebook(full_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    code = f"import runpy\nrunpy.run_path({str(SLOW)!r})['main']({str(full_path)!r}, 2)"
    notebook: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    streams = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    widgets = [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert widgets or any(map(BAR.search, streams))
    assert any(output.get("text", "").endswith(" hits\n") for output in outputs)


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch, full_path: Path) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert progress._bar_class() is None
    runpy.run_path(str(SLOW))["main"](str(full_path), 0.001)
