"""Runs the notebooks and stores what they show: `python -m tests.project.notebooks`, after a change of what is shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
BAR = re.compile(r"\r\w+: .*")  # of progress, where the machine was slow
WIDGET = "application/vnd.jupyter.widget-view+json"


def is_bar(output: Any) -> bool:
    """Whether an output is what a progress bar left behind, which depends on the machine."""
    if output.output_type == "stream":
        return bool(output.name == "stderr" and BAR.match(output.text))
    return WIDGET in output.get("data", {})


def executed(path: Path) -> Any:
    """The notebook with the outputs of a run, and nothing that another run would have otherwise: no times, no versions."""
    notebook: Any = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, resources={"metadata": {"path": ROOT}}).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_bar(output)]
    return notebook


def shown(notebook: Any) -> list[Any]:
    """The code of each cell and what it shows."""
    return [(cell.source, cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def code(notebook: Any) -> str:
    """All code as a module."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code") + "\n"


def main() -> int:
    for path in NOTEBOOKS:
        nbformat.write(executed(path), path)
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
