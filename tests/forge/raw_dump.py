"""A dump file taken apart by hand: header words and where each page lies, written from the format's description alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PAGE = 0x1000


@dataclass(frozen=True)
class RawDump:
    """What the tests need of a type 1, 5 or 6 file."""

    data: bytes
    kind: int
    dtb: int
    bugcheck: int
    parameters: tuple[int, ...]
    runs: tuple[tuple[int, int], ...]
    places: dict[int, int]  # pfn -> file offset

    def page(self, pfn: int) -> bytes | None:
        at = self.places.get(pfn)
        return None if at is None else self.data[at : at + PAGE]

    def u64(self, physical: int) -> int | None:
        page = self.page(physical >> 12)
        return None if page is None else int(struct.unpack_from("<Q", page, physical & 0xFFF)[0])


def parse(data: bytes) -> RawDump:
    """Takes a dump apart; fails where the file's own sizes disagree."""
    assert data[:8] == b"PAGEDU64"
    (kind,) = struct.unpack_from("<I", data, 0xF98)
    (bugcheck,) = struct.unpack_from("<I", data, 0x38)
    (count,) = struct.unpack_from("<I", data, 0x88)
    runs = tuple(struct.unpack_from("<2Q", data, 0x98 + 16 * i) for i in range(count))
    places: dict[int, int] = {}
    if kind == 1:
        at = 0x2000
        for base, length in runs:
            for pfn in range(base, base + length):
                places[pfn] = at
                at += PAGE
    else:
        assert data[0x2000:0x2008] == {5: b"FDMPDUMP", 6: b"SDMPDUMP"}[kind]
        first, present, bits = struct.unpack_from("<3Q", data, 0x2020)
        at = first
        marks = int.from_bytes(data[0x2038 : 0x2038 + (bits + 7) // 8], "little")
        text = f"{marks:b}"[::-1]
        pfn = text.find("1")
        while pfn >= 0:
            places[pfn] = at
            at += PAGE
            pfn = text.find("1", pfn + 1)
        assert not places or max(places) < bits
        assert len(places) == present
    assert at == len(data)
    assert struct.unpack_from("<q", data, 0xFA0)[0] == len(data)
    (dtb,) = struct.unpack_from("<Q", data, 0x10)
    return RawDump(data, kind, dtb, bugcheck, struct.unpack_from("<4Q", data, 0x40), runs, places)
