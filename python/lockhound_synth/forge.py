"""A finished machine: its pages, its truth, its own map, and the dump files written from it."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import containers, filler
from .containers import BITMAP_FULL, BITMAP_KERNEL, FULL, HeaderFields
from .machine import Machine
from .physical import Use
from .space import Mapping
from .truth import Truth


class ForgeError(Exception):
    """The forge made something else than it promised."""


@dataclass(frozen=True, slots=True)
class Forged:
    """One memory image for every container."""

    machine: Machine
    truth: Truth
    header: HeaderFields
    pages: dict[int, bytes]
    evidence_pages: dict[str, int]
    missing: frozenset[int] = frozenset()
    stack: list[tuple[int, int]] = field(default_factory=list)  # under KeBugCheckEx: stack pointer and code address of each frame
    waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # the same of threads that are switched out

    def translate(self, va: int) -> int | None:
        """Physical address of a kernel address by the forge's own map; None where nothing is mapped."""
        return self.machine.space.translate(va)

    def mappings(self) -> Iterator[Mapping]:
        """Every mapping of the kernel space: (va, pa, size, kind)."""
        return self.machine.space.mappings()

    def without(self, pfns: Iterable[int]) -> Forged:
        """The same machine with those pages not captured. A full dump that lacks pages is written as type 5."""
        return replace(self, missing=self.missing | frozenset(pfns))

    def present(self, dump_type: int) -> list[int]:
        """The frames that a dump of this type stores, ascending."""
        physical = self.machine.physical
        if dump_type == FULL:
            frames = physical.all_frames()
            return frames if not self.missing else [p for p in frames if p not in self.missing]
        wanted = (Use.KERNEL, Use.TABLE) if dump_type == BITMAP_KERNEL else (Use.KERNEL, Use.TABLE, Use.USER, Use.FREE)
        return [p for p in sorted(self.pages) if physical.use_of(p) in wanted and p not in self.missing]

    def stream(self, dump_type: int, filler_mib: int = 0) -> Iterator[bytes]:
        header = self.header
        if dump_type == FULL and self.missing:
            # Type 1 stores whole runs: a hole splits a run, and its frames are no longer described.
            header = replace(header, runs=tuple(_runs(self.present(FULL))))
        if filler_mib:
            if dump_type != FULL:
                raise ValueError("filler RAM is only written in full dumps")
            run = filler.run_above(header.runs, filler_mib)
            header = replace(header, runs=(*header.runs, run))
            yield from containers.stream(header, dump_type, self.pages, self.present(dump_type))
            yield from filler.pages(self, run[1])
            return
        yield from containers.stream(header, dump_type, self.pages, self.present(dump_type))

    def to_bytes(self, dump_type: int) -> bytes:
        return b"".join(self.stream(dump_type))

    def write(self, path: str | Path, dump_type: int = BITMAP_KERNEL, *, filler_mib: int = 0) -> None:
        with open(path, "wb") as out:
            out.writelines(self.stream(dump_type, filler_mib))

    def check(self) -> None:
        """Raises ForgeError when a decoy is not where the truth says."""
        if len(self.machine.decoys) < 8:
            raise ForgeError(f"only {len(self.machine.decoys)} decoys")
        for decoy in self.machine.decoys:
            pfn, offset = divmod(decoy.physical, 0x1000)
            stored = self.pages.get(pfn)
            if stored is None or struct.unpack_from("<Q", stored, offset)[0] != decoy.value:
                raise ForgeError(f"decoy {decoy.kind} is not at {decoy.physical:#x}")

    def random(self) -> random.Random:
        """A generator for things that are written beside the machine."""
        return random.Random(f"beside/{self.machine.build}/{self.machine.seed}")


def _runs(frames: list[int]) -> Iterator[tuple[int, int]]:
    start = previous = frames[0]
    for pfn in frames[1:]:
        if pfn != previous + 1:
            yield start, previous - start + 1
            start = pfn
        previous = pfn
    yield start, previous - start + 1


__all__ = ["BITMAP_FULL", "BITMAP_KERNEL", "FULL", "ForgeError", "Forged"]
