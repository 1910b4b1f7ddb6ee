"""Kernel pool: blocks with POOL_HEADERs at random places, free blocks between them, page-sized and larger blocks without a header.

Block size in units of 16 and the tag's place after the public PDB type _POOL_HEADER.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from .physical import PAGE, Physical, Use
from .space import LARGE, Space

HEADER = 0x10
LARGEST = 0xFE0  # bigger blocks take whole pages and have no header
NONPAGED, PAGED = 0x02, 0x03  # POOL_HEADER.PoolType of allocated blocks (pool type + 1, NonPagedPool counted as NX)
GAP_TAG = b"Free"


@dataclass(slots=True)
class Span:
    """Mapped pool pages that are being filled from the bottom."""

    base: int
    size: int
    used: int = 0
    previous: int = 0


@dataclass(slots=True)
class Pool:
    """One pool region that grows by randomly placed spans."""

    space: Space
    physical: Physical
    rng: random.Random
    base: int
    pool_type: int = NONPAGED
    transition: float = 0.0  # share of pages that stand behind transition PTEs
    crossing: bool = False  # blocks may cross a page boundary (segment heap, 18362 on)
    spans: list[Span] = field(default_factory=list)
    blocks: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # body -> (size, tag)
    next_page: int = 0
    large_left: int = 0
    large_at: int = 0

    def __post_init__(self) -> None:
        self.next_page = self.base + self.rng.randrange(0x10, 0x400) * PAGE

    def use_large_page(self, pfn: int) -> None:
        """The next 2 MiB of the pool come from one large page, whose first frame is pfn."""
        at = -(-self.next_page // LARGE) * LARGE
        self.space.map_large(at, pfn)
        self.large_at, self.large_left = at, 512

    def pages(self, count: int) -> int:
        """Fresh mapped pool pages, neighbours by address, scattered in RAM."""
        if self.large_left >= count:
            va = self.large_at
            self.large_at += count * PAGE
            self.large_left -= count
            return va
        va = self.next_page
        for page in range(count):
            hidden = self.rng.random() < self.transition
            self.space.map(va + page * PAGE, self.physical.take(Use.KERNEL), transition=hidden)
        self.next_page = va + (count + self.rng.choice((0, 0, 1, 3))) * PAGE
        return va

    def alloc(self, size: int, tag: bytes, *, cross: bool = False, alone: bool = False) -> int:
        """Address of a new block's body. cross puts a page boundary inside the body; alone gives it pages that nothing else shares."""
        if size > LARGEST:
            return self._remember(self.pages(-(-size // PAGE)), size, tag)
        total = -(-(size + HEADER) // 16) * 16
        if cross and self.crossing and size >= 0x20:
            span = Span(self.pages(2), 2 * PAGE)
            lead = PAGE - HEADER - self.rng.randrange(1, size // 16) * 16
            self._free_block(span, lead)
        elif alone:
            span = Span(self.pages(1), PAGE)
            self._free_block(span, self.rng.randrange(2, max(3, (PAGE - total) // 16)) * 16)
        else:
            fitting = [s for s in self.spans if s.size - s.used >= total]
            if not fitting or (len(self.spans) < 12 and self.rng.random() < 0.15):
                span = Span(self.pages(1), PAGE)
                self.spans.append(span)
            else:
                span = self.rng.choice(fitting)
            spare = span.size - span.used - total
            if spare >= 0x40 and self.rng.random() < 0.4:
                self._free_block(span, self.rng.randrange(1, min(spare // 16, 0x10)) * 16 + 0x10)
        at = self._header(span, total, tag, self.pool_type)
        return self._remember(at + HEADER, size, tag)

    def free(self, body: int) -> None:
        """Marks a block as free in its header; its contents stay."""
        self.space.write(body - HEADER + 3, b"\0")

    def _remember(self, body: int, size: int, tag: bytes) -> int:
        self.blocks[body] = (size, tag)
        return body

    def _header(self, span: Span, total: int, tag: bytes, kind: int) -> int:
        at = span.base + span.used
        word = struct.pack("<4B4sQ", span.previous // 16 & 0xFF, 0, total // 16 & 0xFF, kind, tag, 0)
        self.space.write(at, word)
        span.previous = total
        span.used += total
        return at

    def _free_block(self, span: Span, total: int) -> None:
        total = total // 16 * 16
        while total >= 0x20:
            part = total if total <= 0xFF0 else 0xFD0  # never leaves a rest that is too small for a header and a link
            at = self._header(span, part, GAP_TAG, 0)
            self.space.write(at + HEADER, self.rng.randbytes(8) + bytes(8))
            total -= part


BIG_ENTRY, LATER_BIG_ENTRY, LATER_ENTRIES = 0x18, 0x20, 20348  # _POOL_TRACKER_BIG_PAGES; with ProcessBilled from that build on
BIG_TABLE = 0x80  # entries


def big_page_table(pool: Pool, build: int) -> tuple[int, int]:
    """PoolBigPageTable of all blocks of whole pages so far, and of one that was freed: (its address, number of entries)."""
    size = LATER_BIG_ENTRY if build >= LATER_ENTRIES else BIG_ENTRY
    table = pool.alloc(BIG_TABLE * size, b"PBig")
    blocks = [(body, length, tag) for body, (length, tag) in pool.blocks.items() if length > LARGEST]
    places = pool.rng.sample(range(BIG_TABLE), len(blocks) + 1)
    for place, (body, length, tag) in zip(places, blocks, strict=False):
        pool.space.write(table + place * size, struct.pack("<Q4sIQ", body, tag, 0, length))
    freed = pool.pages(2)
    pool.space.write(table + places[-1] * size, struct.pack("<Q4sIQ", freed | 1, b"Free", 0, 2 * PAGE))
    return table, BIG_TABLE
