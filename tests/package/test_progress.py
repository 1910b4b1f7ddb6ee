"""A bar where somebody watches and has to wait: on a terminal and in a notebook, and nothing in a pipe."""

from __future__ import annotations

import fcntl
import importlib
import os
import pty
import re
import runpy
import struct
import subprocess
import sys
import termios
import types
from pathlib import Path
from typing import Any, cast

import pytest

import lockhound as lh
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


def in_a_notebook(*lines: str) -> Any:
    """A notebook of one cell, run."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(lines))])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


def search(path: Path) -> str:
    return f"import runpy\nrunpy.run_path({str(SLOW)!r})['main']({str(path)!r}, 2)"


def test_in_a_notebook_without_widgets(full_path: Path) -> None:
    outputs = in_a_notebook("import sys\nsys.modules['ipywidgets'] = None", search(full_path)).cells[0].outputs
    streams = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert any(map(BAR.search, streams))
    assert any(output.get("text", "").endswith(" hits\n") for output in outputs)


def test_in_a_notebook_with_widgets(full_path: Path) -> None:
    pytest.importorskip("ipywidgets")
    notebook = in_a_notebook(search(full_path))
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert any(output.get("text", "").endswith(" hits\n") for output in outputs)
    models = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state.values()
    (bar,) = [model.state for model in models if model.model_name == "FloatProgressModel"]
    with lh.open(full_path) as dump:
        assert bar.value == bar.max == dump.info.pages_present * 4096
    assert bar.bar_style == ""  # it has a scale, and nothing failed
    assert not [model for model in models if model.model_name == "LayoutModel" and model.state.get("width") == "20px"]


@pytest.mark.parametrize(("shell", "notebook"), [(None, False), ("terminal", False), ("kernel", True), ("colab", True)])
def test_what_a_notebook_is(monkeypatch: pytest.MonkeyPatch, shell: str | None, notebook: bool) -> None:
    class InteractiveShell: ...

    class TerminalInteractiveShell(InteractiveShell): ...

    class ZMQInteractiveShell(InteractiveShell): ...

    class Shell(ZMQInteractiveShell): ...

    shells = {"terminal": TerminalInteractiveShell(), "kernel": ZMQInteractiveShell(), "colab": Shell()}
    ipython = types.SimpleNamespace(get_ipython=lambda: shells[shell] if shell else None)
    monkeypatch.setitem(sys.modules, "IPython", cast("types.ModuleType", ipython))
    assert progress.in_notebook() == notebook


def test_the_bar_of_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A widget in a notebook that has them, else a line of text; tqdm's own choice would not say so where widgets are missing."""
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    for found, module in ((None, "tqdm"), (object(), "tqdm.notebook")):
        wanted = importlib.import_module(module).tqdm
        monkeypatch.setattr("importlib.util.find_spec", lambda _name, found=found: found)
        assert progress._bar_class() is wanted


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch, full_path: Path) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert progress._bar_class() is None
    runpy.run_path(str(SLOW))["main"](str(full_path), 0.001)
