"""More RAM full of pointer-rich noise, streamed, so that speed can be measured on files of any size."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .physical import PAGE

if TYPE_CHECKING:
    from .forge import Forged

BLOCK = 4 << 20


def run_above(runs: tuple[tuple[int, int], ...], mib: int) -> tuple[int, int]:
    """A run behind the highest one, with a hole between."""
    base = max(start + count for start, count in runs) + 0x1000 & ~0xFFF
    return base, mib * 256


def block(forged: Forged) -> bytearray:
    """4 MiB: 45 % zero words, 10 % kernel pointers, the rest small numbers and random words; never a value that the case is about."""
    rng = forged.random()
    words = bytearray(rng.randbytes(BLOCK))
    zero = bytes(8)
    picks = rng.randbytes(BLOCK // 8)
    pool = forged.machine.nonpaged.base
    forbidden = {p.address for p in forged.machine.processes} | {d.value for d in forged.machine.decoys}
    for index, pick in enumerate(picks):
        if pick < 115:
            words[index * 8 : index * 8 + 8] = zero
        elif pick < 141:
            pointer = pool + (int.from_bytes(words[index * 8 : index * 8 + 5], "little") & 0xFF_FFFF_FFF0)
            while pointer in forbidden:
                pointer += 16
            struct.pack_into("<Q", words, index * 8, pointer)
        elif pick < 170:
            words[index * 8 + 3 : index * 8 + 8] = zero[:5]
    return words


def pages(forged: Forged, count: int) -> Iterator[bytes]:
    """The filler pages: the block over and over, each time rotated by a page."""
    data = bytes(block(forged))
    size, turn = count * PAGE, 0
    while size:
        turned = data[turn:] + data[:turn]
        take = min(size, BLOCK)
        yield turned[:take]
        size -= take
        turn = (turn + PAGE) % BLOCK
