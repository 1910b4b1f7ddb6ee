"""The notebooks run, and show what they have stored: nothing of it depends on the machine."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.project import notebooks
from tests.project.test_docs import type_errors


@pytest.fixture(scope="module", params=notebooks.NOTEBOOKS, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_there_is_the_first_case() -> None:
    assert [path.name for path in notebooks.NOTEBOOKS] == ["01_first_case.ipynb"]


def test_a_run_shows_what_is_stored(path: Path) -> None:
    stored: Any = nbformat.read(path, as_version=4)
    run = notebooks.executed(path)
    for (source, was), (_, now) in zip(notebooks.shown(stored), notebooks.shown(run), strict=True):
        assert now == was, f"{source}\n\nshows something else; if that is meant: python -m tests.project.notebooks"
    assert run == stored
    broken = copy.deepcopy(stored)
    next(cell for cell in broken.cells if cell.get("outputs")).outputs.clear()
    assert notebooks.shown(broken) != notebooks.shown(run)


def test_everything_was_run_and_nothing_failed(path: Path) -> None:
    stored: Any = nbformat.read(path, as_version=4)
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {output.output_type for cell in cells for output in cell.outputs} <= {"stream", "execute_result"}
    assert sum("text/html" in output.get("data", {}) for cell in cells for output in cell.outputs) >= 8


def test_it_has_types(path: Path, root: Path, tmp_path: Path) -> None:
    code = f"```python\n{notebooks.code(nbformat.read(path, as_version=4))}```\n"
    assert type_errors(root, {path.name: code}, tmp_path) == []
