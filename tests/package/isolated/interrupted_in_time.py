"""Ctrl-C during a search of five seconds and more: PATH THREADS TIMES. Each must end it within 200 ms and leave the handle usable."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from pathlib import Path

import lockhound as lh

LASTS, WITHIN = 5.0, 0.2  # seconds


class Throttled(io.BytesIO):
    """A slow disk: a file that takes its time for every read, once it is told to."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.pause, self.reads = 0.0, 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        time.sleep(self.pause)
        return super().read(size)


class Interrupter:
    """Sends the signal from a thread of its own when the search has told of progress, and remembers when."""

    def __init__(self) -> None:
        self.under_way = threading.Event()
        self.sent = 0.0
        self.last: tuple[int, int] = (0, 0)
        self._thread = threading.Thread(target=self._send)

    def progress(self, done: int, total: int) -> None:
        self.last = done, total
        if 0 < done < total:
            self.under_way.set()

    def _send(self) -> None:
        self.under_way.wait()
        self.sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> Interrupter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.under_way.set()
        self._thread.join()


def interrupted(dump: lh.Dump, value: int, threads: int) -> float:
    """Seconds from the signal to the exception."""
    with Interrupter() as interrupter:
        try:
            dump.search([value], threads=threads, progress=interrupter.progress)
        except KeyboardInterrupt:
            took = time.monotonic() - interrupter.sent
        else:
            raise SystemExit("the search went on to its end")
    done, total = interrupter.last
    if not 0 < done < total:
        raise SystemExit(f"the signal did not come in mid-search: {done} of {total}")
    return took


def main(path: str, threads: int, times: int) -> None:
    source = Throttled(Path(path).read_bytes())
    dump = lh.open(source)
    value = dump.bugcheck.parameters[1]
    dump.kernel()
    expected = dump.search([value], threads=threads)
    source.reads = 0
    dump.search([value], threads=threads)
    pause = LASTS / source.reads + 0.001
    source.pause = pause
    began = time.monotonic()
    if dump.search([value], threads=threads) != expected or time.monotonic() - began < LASTS:
        raise SystemExit("the throttle does not work")
    for _ in range(times):
        source.pause = pause
        took = interrupted(dump, value, threads)
        if took > WITHIN:
            raise SystemExit(f"it took {took:.3f} s")
        source.pause = 0.0
        if dump.search([value], threads=threads) != expected:
            raise SystemExit("the handle is damaged")
    print(f"interrupted {times} times in mid-search, usable each time")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
