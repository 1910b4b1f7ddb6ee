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
    """A slow disk: a file that takes its time for every read, once it is told to; and says when it has come to a certain read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.pause, self.reads, self.awaited = 0.0, 0, 0
        self.reached = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads == self.awaited:
            self.reached.set()
        time.sleep(self.pause)
        return super().read(size)

    def begin(self, pause: float, awaited: int = 0) -> None:
        """Counts anew."""
        self.pause, self.reads, self.awaited = pause, 0, awaited
        self.reached.clear()


class Interrupter:
    """Sends the signal from a thread of its own when the search has come to a read, and remembers when."""

    def __init__(self, source: Throttled) -> None:
        self.source = source
        self.sent = 0.0
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        self.source.reached.wait()
        self.sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> Interrupter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.reached.set()
        self._thread.join()


def interrupted(dump: lh.Dump, source: Throttled, value: int, threads: int, total: int) -> float:
    """Seconds from the signal to the exception. Nobody listens to the progress: the signal has to be seen without that."""
    with Interrupter(source) as interrupter:
        try:
            dump.search([value], threads=threads)
        except KeyboardInterrupt:
            took = time.monotonic() - interrupter.sent
        else:
            raise SystemExit("the search went on to its end")
    if not source.awaited <= source.reads < total:
        raise SystemExit(f"the signal did not come in mid-search: {source.reads} of {total} reads")
    return took


def main(path: str, threads: int, times: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs behind it with SIGINT ignored
    source = Throttled(Path(path).read_bytes())
    dump = lh.open(source)
    value = dump.bugcheck.parameters[1]
    dump.kernel()
    expected = dump.search([value], threads=threads)
    source.begin(0.0)
    dump.search([value], threads=threads)
    total = source.reads
    pause = LASTS / total + 0.001
    source.begin(pause)
    began = time.monotonic()
    if dump.search([value], threads=threads) != expected or time.monotonic() - began < LASTS:
        raise SystemExit("the throttle does not work")
    for turn in range(times):
        source.begin(pause, awaited=3 + turn)
        took = interrupted(dump, source, value, threads, total)
        if took > WITHIN:
            raise SystemExit(f"it took {took:.3f} s")
        source.begin(0.0)
        if dump.search([value], threads=threads) != expected:
            raise SystemExit("the handle is damaged")
    print(f"interrupted {times} times in mid-search, usable each time")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
