"""Physical memory of the forged machine: RAM runs with holes, frames handed out in random order, their use remembered."""

from __future__ import annotations

import enum
import random

PAGE = 0x1000


class Use(enum.Enum):
    """What a frame is for; a kernel dump leaves USER and FREE out."""

    KERNEL = "kernel"
    TABLE = "page table"
    USER = "user"
    FREE = "free"


class OutOfFrames(Exception):
    """The described RAM is too small for the machine."""


class Physical:
    """Frames of the RAM runs; content is kept only for frames that were taken."""

    def __init__(self, rng: random.Random, runs: list[tuple[int, int]]) -> None:
        self.rng = rng
        self.runs = runs
        self.frames: dict[int, bytearray] = {}
        self.uses: dict[int, Use] = {}
        self._free = [pfn for base, count in runs for pfn in range(base, base + count) if pfn]
        rng.shuffle(self._free)
        self._taken: set[int] = set()

    def all_frames(self) -> list[int]:
        return [pfn for base, count in self.runs for pfn in range(base, base + count)]

    def take(self, use: Use) -> int:
        """A random free frame."""
        while self._free:
            pfn = self._free.pop()
            if pfn not in self._taken:
                return self._claim(pfn, use)
        raise OutOfFrames("no free frame left")

    def take_run(self, count: int, use: Use, align: int = 1) -> int:
        """The first of count neighbouring free frames."""
        for base, length in self.rng.sample(self.runs, len(self.runs)):
            start = -(-base // align) * align
            while start + count <= base + length:
                if start and not any(pfn in self._taken for pfn in range(start, start + count)):
                    for pfn in range(start, start + count):
                        self._claim(pfn, use)
                    return start
                start += align
        raise OutOfFrames(f"no {count} neighbouring free frames")

    def _claim(self, pfn: int, use: Use) -> int:
        self._taken.add(pfn)
        self.frames[pfn] = bytearray(PAGE)
        self.uses[pfn] = use
        return pfn

    def use_of(self, pfn: int) -> Use:
        return self.uses.get(pfn, Use.FREE)

    def write(self, address: int, data: bytes) -> None:
        """Writes inside taken frames."""
        position = 0
        while position < len(data):
            pfn, offset = divmod(address + position, PAGE)
            size = min(PAGE - offset, len(data) - position)
            self.frames[pfn][offset : offset + size] = data[position : position + size]
            position += size

    def read(self, address: int, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            pfn, offset = divmod(address + len(out), PAGE)
            out += self.frames[pfn][offset : offset + min(PAGE - offset, size - len(out))]
        return bytes(out)
