"""Ctrl-C in mid-search: PATH THREADS QUESTION. The source blocks until the signal's handler has run; nothing here is timed."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from types import FrameType

import lockhound as lh


class Blocking(io.BytesIO):
    """A file whose reads, once armed, wait for the signal that they send."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.left = -1  # reads until the signal; negative: not armed
        self.released = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left == 0:
            self.left = -1
            os.kill(os.getpid(), signal.SIGINT)
            self.released.wait()
        elif self.left > 0:
            self.left -= 1
        return super().read(size)


def main(path: str, threads: int, question: str) -> None:
    with open(path, "rb") as file:
        source = Blocking(file.read())

    def handler(_signal: int, _frame: FrameType | None) -> None:
        source.released.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    dump = lh.open(source)
    value = dump.bugcheck.parameters[1]
    expected = list(dump.search([value]))
    times = 0
    for left in (1, 3, 7):
        source.released.clear()
        source.left = left
        try:
            if question == "search":
                dump.search([value], threads=threads)
            else:
                dump.investigate(threads=threads)
        except KeyboardInterrupt:
            times += 1
        source.left = -1
        if list(dump.search([value])) != expected:
            raise SystemExit("the handle is damaged")
    print(f"interrupted {times} times, usable each time")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
