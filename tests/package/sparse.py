"""Huge dumps in small files: the pages of a forged machine in their places, and holes of the file for all others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lockhound_synth import containers, filler
from lockhound_synth.forge import Forged
from lockhound_synth.physical import PAGE

PAGES_OF_GIB = (1 << 30) // PAGE


def full(forged: Forged, path: Path, gib: int) -> int:
    """A full dump of about `gib` GiB; returns the pages present."""
    run = filler.run_above(forged.header.runs, gib * 1024)
    header = dataclasses.replace(forged.header, runs=(*forged.header.runs, run))
    pages = sum(count for _, count in header.runs)
    with path.open("wb") as file:
        file.write(containers.header(header, containers.FULL, containers.HEADER_SIZE + PAGE * pages))
        for page in forged.present(containers.FULL):
            if page in forged.pages:
                file.write(forged.pages[page])
            else:
                file.seek(PAGE, 1)
        file.truncate(containers.HEADER_SIZE + PAGE * pages)
    return pages


def every_second_page(forged: Forged, path: Path, gib: int) -> int:
    """A full bitmap dump of a machine with `gib` GiB that has every second page, and those of the forged machine."""
    bits = gib * PAGES_OF_GIB
    marks = int.from_bytes(b"\x55" * (bits // 8), "little")
    own = [pfn for pfn in forged.present(containers.BITMAP_FULL) if pfn < bits]
    marks |= sum(1 << pfn for pfn in own)
    present, packed = marks.bit_count(), marks.to_bytes(bits // 8, "little")
    header = dataclasses.replace(forged.header, runs=((1, bits - 1),))
    inner = bytearray(containers.bitmap_header(containers.BITMAP_FULL, [], bits))
    inner[0x28:0x30] = present.to_bytes(8, "little")
    inner[0x38 : 0x38 + len(packed)] = packed
    first = containers.HEADER_SIZE + len(inner)
    with path.open("wb") as file:
        file.write(containers.header(header, containers.BITMAP_FULL, first + PAGE * present) + inner)
        for pfn in own:
            rank = int.from_bytes(packed[: pfn // 8 + 1], "little") & ((1 << pfn) - 1)
            file.seek(first + PAGE * rank.bit_count())
            file.write(forged.pages[pfn])
        file.truncate(first + PAGE * present)
    return present
