"""Progress: a bar where somebody watches, nothing in a pipe."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int, int], object]
UNWATCHED = 0.5  # seconds that need no bar


def in_notebook() -> bool:
    """Whether this is the kernel of a Jupyter notebook."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else type(get_ipython())
    return shell is not None and any(kind.__name__ == "ZMQInteractiveShell" for kind in shell.__mro__)  # Colab's is a subclass


def _bar_class() -> Any:
    """tqdm's class of bars for where we are; None where nobody watches, and where tqdm is not installed."""
    notebook = in_notebook()
    if not notebook and (sys.stderr is None or not sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]

        if notebook and importlib.util.find_spec("ipywidgets"):
            from tqdm.notebook import tqdm  # type: ignore[import-untyped,import-not-found,no-redef,unused-ignore]
    except ImportError:
        return None
    return tqdm


@contextmanager
def watched(progress: Progress | bool | None, what: str) -> Iterator[Progress | None]:
    """The function that the call reports to: the caller's; a bar's, when the caller said nothing and somebody watches; or None."""
    if callable(progress):
        yield progress
        return
    bar_class = None if progress is False else _bar_class()
    if bar_class is None:
        yield None
        return
    bar = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:  # not before the total is known: the bar of a widget keeps the scale that it began with
            bar = bar_class(total=total or None, desc=what, unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=UNWATCHED)
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()
