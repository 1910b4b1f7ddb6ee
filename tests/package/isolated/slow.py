"""A search of about the given seconds, for whoever watches: PATH SECONDS."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import lockhound as lh


class Slow(io.BytesIO):
    """A file that pauses before every read, once it is told to."""

    pause = 0.0
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        time.sleep(self.pause)
        return super().read(size)


def main(path: str, seconds: float) -> None:
    source = Slow(Path(path).read_bytes())
    dump = lh.open(source)
    value = dump.bugcheck.parameters[1]
    dump.search([value], progress=False)
    source.reads = 0
    dump.search([value], progress=False)
    source.pause = seconds / source.reads
    print(len(dump.search([value])), "hits")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
