"""The scan against brute force over the forge's pages: random needles, masks, ranges, alignments, holes, limits, threads."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

import lockhound as lh
from lockhound_synth.forge import Forged

from .machines import dump_bytes, forged

NAME, BUILD, SEED = "two_drivers", 22000, 4
ALL = (1 << 64) - 1


def words(machine: Forged, holes: set[int], align: int) -> Iterator[tuple[int, int]]:
    """(physical address, value) of every aligned place, also those that cross into the next page in memory."""
    present = [p for p in machine.present(6) if p not in holes]
    there = set(present)
    for frame in present:
        page = machine.pages.get(frame, bytes(0x1000))
        after = machine.pages.get(frame + 1, bytes(0x1000))[:7] if frame + 1 in there else b""
        data = page + after
        for offset in range(0, 0x1000, align):
            if offset + 8 <= len(data):
                yield frame << 12 | offset, struct.unpack_from("<Q", data, offset)[0]


def planted(machine: Forged) -> list[int]:
    """Values that occur, so that searches find something."""
    frames = machine.present(6)
    out = []
    for frame in frames[:: max(1, len(frames) // 60)]:
        page = machine.pages[frame]
        out += [struct.unpack_from("<Q", page, at)[0] for at in (0x10, 0x123, 0xFF8)]
    return [v for v in out if v]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_against_brute_force(data: st.DataObject) -> None:
    machine = forged(NAME, BUILD, SEED)
    pool = planted(machine)
    values = data.draw(st.lists(st.sampled_from(pool) | st.integers(0, ALL), max_size=40))
    anchors = data.draw(st.lists(st.sampled_from(pool), max_size=2))
    ranges = [(max(0, v - 16), min(ALL, v + 17)) for v in anchors]
    if not values and not ranges:
        values = [pool[0]]
    mask = data.draw(st.sampled_from([None, ALL, ~0xFFF & ALL, 0xFFFF_FFFF]))
    align = data.draw(st.sampled_from([8, 8, 4, 1]))
    holes = data.draw(st.sets(st.sampled_from(machine.present(6)), max_size=5))
    threads = data.draw(st.sampled_from([None, 1, 2, 5]))
    limit = data.draw(st.sampled_from([None, None, 1, 7]))
    bits = ALL if mask is None else mask
    wanted: dict[int, list[int]] = {}
    for index, value in enumerate(values):
        wanted.setdefault(value & bits, []).append(index)
    expected = []
    for physical, value in words(machine, holes, align):
        rows = list(wanted.get(value & bits, []))
        rows += [len(values) + i for i, (low, high) in enumerate(ranges) if low <= value < high]
        expected += [(physical, value, needle) for needle in rows]
    with lh.open(dump_bytes(NAME, BUILD, SEED, 6)) as whole, whole.without_pages(sorted(holes)) as dump:
        hits = dump.search(values, ranges=ranges, mask=mask, align=align, threads=threads, limit=limit, progress=False)
        found = list(zip(hits.physical, hits.value, hits.needle, strict=True))
        shown = expected if limit is None else expected[:limit]
        assert found == shown
        assert hits.truncated == (limit is not None and len(expected) > limit)
        for hit in list(hits)[:20]:
            if hit.virtual is not None:
                walk = dump.kernel().walk(hit.virtual)
                assert walk.physical == hit.physical
