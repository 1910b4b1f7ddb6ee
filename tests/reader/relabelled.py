"""Forged machines that give another build's number for their own: what a kernel without a table, or with a wrong one, looks like."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache

from lockhound_synth.forge import Forged

from .machines import forged, overlay

FIXED_INFO = struct.pack("<I", 0xFEEF04BD)  # VS_FIXEDFILEINFO.dwSignature (verrsrc.h)
USER_SHARED = 0xFFFFF78000000000


@lru_cache(maxsize=8)
def relabelled(name: str, build: int, number: int) -> Forged:
    """The machine of `build` whose header, shared page and version resources of nt say `number`."""
    machine = forged(name, build, 1)
    pages = {pfn: bytearray(data) for pfn, data in machine.pages.items()}
    changed = 0
    for data in pages.values():
        at = data.find(FIXED_INFO)
        while at >= 0:
            for field in (at + 12, at + 20):  # low halves of the file's and the product's version
                if field + 4 <= len(data) and struct.unpack_from("<I", data, field)[0] >> 16 == build:
                    struct.pack_into("<H", data, field + 2, number)
                    changed += 1
            at = data.find(FIXED_INFO, at + 4)
    assert changed >= 2
    shared = machine.translate(USER_SHARED)
    assert shared is not None
    struct.pack_into("<I", pages[shared >> 12], 0x260, number)
    return replace(machine, header=replace(machine.header, build=number), pages={pfn: bytes(d) for pfn, d in pages.items()})


def edited(machine: Forged, changes: dict[int, bytes]) -> Forged:
    """The same machine with other bytes at kernel addresses."""
    return replace(machine, pages=machine.pages | overlay(machine, changes))
