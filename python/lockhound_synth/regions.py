"""Where the kernel's regions lie: fixed places before 8.1 and 10, chosen at random since.

Build 7601: the fixed regions that public descriptions of x64 Windows 7 give (self-map slot 0x1ED, PFN database and non-paged pool in
slot 0x1F5, paged pool and system PTEs in slot 0x1F1, images from FFFFF800'02000000 and drivers among the system PTEs).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .space import LARGE, canonical

OLD_SELF_MAP = 0x1ED  # fixed before build 14393
VISTA_LAYOUT, RANDOM_SLOTS = 9200, 14393  # below the first: all fixed; from the second on: slots at random
TEN = 10240  # type indexes are encoded from here on
SEGMENT_HEAP = 18362  # pool blocks may cross pages and their headers are no chain
IMAGES = 0xFFFF_F800_0000_0000
SMALL_USER_SPACE = 9600  # builds below have 8 TiB of user addresses


@dataclass(frozen=True, slots=True)
class Regions:
    """Start addresses; drivers is 0 where images simply follow nt."""

    self_map: int
    images: int
    nonpaged: int
    paged: int
    system_ptes: int
    pfn_database: int
    drivers: int = 0


def kernel_regions(build: int, rng: random.Random) -> Regions:
    """The regions of one machine."""
    if build < VISTA_LAYOUT:
        return Regions(
            self_map=OLD_SELF_MAP,
            images=IMAGES + 0x200_0000 + rng.randrange(4, 12) * LARGE,
            nonpaged=0xFFFF_FA80_0000_0000 + (rng.randrange(2, 0x40) << 30),
            paged=0xFFFF_F8A0_0000_0000 + (rng.randrange(0x100) << 21),
            system_ptes=0xFFFF_F880_1000_0000 + (rng.randrange(0x20) << 21),
            pfn_database=0xFFFF_FA80_0000_0000,
            drivers=0xFFFF_F880_0000_0000 + rng.randrange(1, 0x20) * 0x10000,
        )
    images = IMAGES + rng.randrange(0x100, 0x3000) * LARGE
    if build < RANDOM_SLOTS:
        return Regions(
            self_map=OLD_SELF_MAP,
            images=images,
            nonpaged=0xFFFF_E000_0000_0000 + (rng.randrange(0x600) << 30 | rng.randrange(0x100) << 21),
            paged=0xFFFF_C000_0000_0000 + (rng.randrange(0x600) << 30 | rng.randrange(0x100) << 21),
            system_ptes=0xFFFF_D000_0000_0000 + (rng.randrange(0x600) << 30),
            pfn_database=0xFFFF_FA80_0000_0000,
        )
    slots = rng.sample(range(0x120, 0x1E8), 7)
    pools = [canonical(s, rng.randrange(0x200) << 30 | rng.randrange(0x100) << 21) for s in slots[1:4]]
    return Regions(
        self_map=slots[0],
        images=images,
        nonpaged=pools[0],
        paged=pools[1],
        system_ptes=canonical(slots[4], rng.randrange(0x200) << 30),
        pfn_database=canonical(slots[5], rng.randrange(0x100) << 31),
    )


def user_slots(build: int) -> tuple[int, int]:
    """Bits 32 and up of a user address: from, below."""
    return (0x1, 0x7F0) if build < SMALL_USER_SPACE else (0x100, 0x7000)


def highest_user(build: int) -> int:
    return 0x7FF_FFFE_FFFF if build < SMALL_USER_SPACE else 0x7FFF_FFFE_FFFF
