"""Peak of anonymous memory while a huge dump is asked everything: PATH mapped|positioned|memory BYTES. Above its value before, in MiB.

BYTES is where the search is stopped, 0 for its end. "memory" reads the dump in place like a mapped file, in private memory that was
never written where the file has holes: what is read there is the kernel's one page of zeros, which is neither made nor counted, so that
also the largest dump can be read to its end. Three witnesses, of which the highest counts: RssAnon as the search tells of its progress;
RssAnon as a thread beside it sees it; and, where nothing of the file is mapped, the kernel's own peak of the resident set, which misses
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lockhound as lh

STATUS = Path("/proc/self/status")
NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux, which the module mmap has from Python 3.13 on


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


def in_memory(path: str) -> mmap.mmap:
    """What the file holds, in its places."""
    with Path(path).open("rb") as file:
        end, held, at = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_blocks * 512, 0
        memory = mmap.mmap(-1, end, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # a hole up to the end
            size = os.lseek(file.fileno(), at, os.SEEK_HOLE) - at
            held -= size
            if held < -mmap.PAGESIZE:
                raise SystemExit(f"{path}: this file system does not tell of holes")
            memory[at : at + size] = os.pread(file.fileno(), size, at)
            at += size
    with contextlib.suppress(OSError):  # only for speed: a page of zeros for each 2 MiB
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def ask(source: str | mmap.mmap, positioned: bool, stop: int, peaks: list[int]) -> None:
    def progress(done: int, _total: int) -> bool:
        peaks.append(kib("RssAnon"))
        return not stop or done < stop

    with lh.open(source, positioned=positioned) as dump:
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
    source = in_memory(path) if way == "memory" else path
    before = kib("RssAnon")
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the resident set begins anew
    resident = kib("VmRSS")
    with watched(peaks):
        ask(source, way == "positioned", stop, peaks)
    highest = max(peaks) - before
    if way != "mapped":
        highest = max(highest, kib("VmHWM") - resident)
    with lh.open(path) as dump:
        runs = dump.runs()
        pages = sum(memoryview(runs.count))
    del runs
    left = kib("RssAnon") - before
    print(f"{pages} pages, {len(peaks)} looks, peak {highest / 1024:.1f} MiB, {left / 1024:.1f} MiB left")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
