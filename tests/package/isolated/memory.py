"""Peak of anonymous memory while a huge dump is asked everything: PATH mapped|positioned BYTES. Above its value after import, in MiB.

BYTES is where the search is stopped, 0 for its end. Three witnesses, of which the highest counts: RssAnon as the search tells of its
progress; RssAnon as a thread beside it sees it; and, for positioned reads, which map nothing of the file, the kernel's own peak of the
resident set, which misses nothing.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lockhound as lh

STATUS = Path("/proc/self/status")


def kib(name: str) -> int:
    """A figure of the kernel about this process."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"{STATUS} has no {name}")
    return int(found[1])


@contextlib.contextmanager
def watched(peaks: list[int]) -> Iterator[None]:
    """A thread that looks at RssAnon as often as it can."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.001):
            peaks.append(kib("RssAnon"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def ask(path: str, positioned: bool, stop: int, peaks: list[int]) -> None:
    def progress(done: int, _total: int) -> bool:
        peaks.append(kib("RssAnon"))
        return not stop or done < stop

    with lh.open(path, positioned=positioned) as dump:
        value = dump.bugcheck.parameters[1]
        dump.kernel().process(value)
        with contextlib.suppress(lh.Cancelled):
            dump.search([value, value ^ 1 << 63], progress=progress)
        with contextlib.suppress(lh.Cancelled):
            if dump.investigate(progress=progress).verdict.kind == "not_applicable":
                raise SystemExit("that was no case")
        peaks.append(kib("RssAnon"))


def main(path: str, way: str, stop: int) -> None:
    peaks: list[int] = []
    before = kib("RssAnon")
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the resident set begins anew
    resident = kib("VmRSS")
    with watched(peaks):
        ask(path, way == "positioned", stop, peaks)
    highest = max(peaks) - before
    if way == "positioned":
        highest = max(highest, kib("VmHWM") - resident)
    with lh.open(path) as dump:
        runs = dump.runs()
        pages = sum(memoryview(runs.count))
    del runs
    left = kib("RssAnon") - before
    print(f"{pages} pages, {len(peaks)} looks, peak {highest / 1024:.1f} MiB, {left / 1024:.1f} MiB left")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
