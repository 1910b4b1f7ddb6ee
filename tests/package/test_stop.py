"""Stopping a call: progress, cancel, deadline, and Ctrl-C; the handle stays usable each time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound import progress
from lockhound_synth.forge import Forged

QUESTIONS: dict[str, Callable[..., Any]] = {
    "search": lambda dump, **options: dump.search([dump.bugcheck.parameters[1]], **options),
    "investigate": lambda dump, **options: dump.investigate(**options),
}
BOTH = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


@BOTH
def test_progress_is_told(dump: lh.Dump, ask: Callable[..., Any]) -> None:
    told: list[tuple[int, int]] = []
    threads: set[int] = set()

    def listen(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    ask(dump, progress=listen)
    assert told
    assert threads == {threading.get_ident()}
    assert all(0 <= done <= total for done, total in told)


@BOTH
def test_progress_that_says_no_stops(dump: lh.Dump, ask: Callable[..., Any]) -> None:
    calls: list[int] = []

    def refuse(done: int, _total: int) -> bool:
        calls.append(done)
        return False

    with pytest.raises(lh.Cancelled) as caught:
        ask(dump, progress=refuse)
    assert caught.value.code == "cancelled"
    assert len(calls) == 1
    assert len(dump.search([dump.bugcheck.parameters[1]])) > 3


@BOTH
@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit])
def test_what_progress_raises_propagates(dump: lh.Dump, ask: Callable[..., Any], error: type[BaseException]) -> None:
    def fail(_done: int, _total: int) -> None:
        raise error("from progress")

    with pytest.raises(error, match="from progress"):
        ask(dump, progress=fail)
    assert len(dump.search([dump.bugcheck.parameters[1]])) > 3


@BOTH
def test_cancel(dump: lh.Dump, ask: Callable[..., Any]) -> None:
    cancel = lh.Cancel()
    assert "not set" in repr(cancel)
    ask(dump, cancel=cancel)
    cancel.set()
    assert cancel.is_set
    assert "not set" not in repr(cancel)
    assert not lh.Cancel().is_set
    with pytest.raises(lh.Cancelled):
        ask(dump, cancel=cancel)
    ask(dump, cancel=lh.Cancel())


@BOTH
def test_a_deadline(dump: lh.Dump, ask: Callable[..., Any]) -> None:
    with pytest.raises(TimeoutError) as caught:
        ask(dump, timeout=0)
    assert isinstance(caught.value, lh.DeadlineExceeded)
    ask(dump, timeout=600)
    ask(dump, timeout=float("inf"))


def test_questions_inside_progress(path: Path) -> None:
    """The handle may be used, and even closed, while a call on it runs."""
    content = bytearray(path.read_bytes())
    dump = lh.open(content)
    value = dump.bugcheck.parameters[1]
    found: list[int] = []

    def nested(_done: int, _total: int) -> None:
        if not dump.closed:
            found.append(len(dump.search([value])))
            dump.close()
        with pytest.raises(lh.ClosedError):
            dump.runs()
        with pytest.raises(BufferError):
            content.append(0)

    hits = dump.search([value], progress=nested)
    assert found == [len(hits)]
    del hits
    content.append(0)


@pytest.mark.parametrize("question", ["search", "investigate"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_control_c(full_path: Path, threads: str, question: str) -> None:
    """In a process of its own, on a source that never ends by itself: without polling of signals it would hang."""
    script = Path(__file__).parent / "isolated" / "interrupted.py"
    done = subprocess.run([sys.executable, script, full_path, threads, question], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 3 times, usable each time\n", "")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_control_c_in_time(forged: Forged, tmp_path: Path, threads: str) -> None:
    """Twenty times in the middle of a search that lasts five seconds; within 200 ms each time."""
    path = tmp_path / "full.dmp"
    forged.write(path, 1, filler_mib=48)  # reads enough that one of them does not take long
    script = Path(__file__).parent / "isolated" / "interrupted_in_time.py"
    done = subprocess.run([sys.executable, script, path, threads, "20"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 20 times in mid-search, usable each time\n", "")


class Bar:
    """Stands for tqdm."""

    made: list[Bar] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        self.options, self.n, self.open = options, 0, True
        Bar.made.append(self)

    def close(self) -> None:
        self.open = False

    def update(self, more: int) -> None:
        self.n += more


def test_a_bar_where_somebody_watches(dump: lh.Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_bar_class", lambda: Bar)
    monkeypatch.setattr(Bar, "made", [])
    hits = dump.search([dump.bugcheck.parameters[1]])
    (bar,) = Bar.made
    assert not bar.open
    assert bar.options["delay"] == progress.UNWATCHED > 0  # a short wait needs no bar
    assert 0 < bar.n <= bar.options["total"]
    assert dump.search([dump.bugcheck.parameters[1]], progress=False) == hits
    assert len(Bar.made) == 1


def test_a_bar_begins_with_the_first_report_and_ends_with_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before: a widget keeps the scale that it began with."""
    monkeypatch.setattr(progress, "_bar_class", lambda: Bar)
    monkeypatch.setattr(Bar, "made", [])
    with progress.watched(None, "searching"):
        pass
    assert not Bar.made

    def stopped() -> None:
        with progress.watched(None, "searching") as report:
            assert report is not None
            for done in (10, 40, 0, 25):  # a case goes over memory several times
                report(done, 40)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    (bar,) = Bar.made
    assert (bar.n, bar.open, bar.options["total"]) == (25, False, 40)


def test_no_bar_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert progress._bar_class() is None
    with progress.watched(None, "x") as report:
        assert report is None
