"""The reader's address space against the forge's own map: walks, reads, the reverse map, with tables and pages missing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lockhound as lh
from lockhound_synth import scenarios

from .machines import dump_bytes, forged

NAME, SEED = "stale_and_freed", 3
PAGE = 0x1000


@pytest.mark.parametrize("build", scenarios.BUILDS)
def test_every_mapping_of_the_kernel_half(build: int) -> None:
    machine = forged(NAME, build, SEED)
    kinds = set()
    with lh.open(dump_bytes(NAME, build, SEED, 1)) as dump:
        kernel = dump.kernel()
        for mapping in machine.mappings():
            if mapping.va < 1 << 47:
                continue
            kinds.add(mapping.kind)
            for offset in (0, mapping.size // 2 + 5, mapping.size - 1):
                walk = kernel.walk(mapping.va + offset)
                assert walk.absence is None, (mapping, walk)
                assert walk.physical == mapping.pa + offset
                assert walk.transition == (mapping.kind == "transition")
                assert walk.page_size == mapping.size
    assert "small" in kinds


@pytest.mark.parametrize("build", scenarios.BUILDS)
def test_what_is_not_mapped(build: int) -> None:
    machine = forged(NAME, build, SEED)
    mapped = {m.va + i for m in machine.mappings() for i in range(0, m.size, PAGE)}
    with lh.open(dump_bytes(NAME, build, SEED, 1)) as dump:
        kernel = dump.kernel()
        checked = 0
        for va in sorted(mapped)[::7]:
            beside = va + PAGE
            if va < 1 << 47 or beside in mapped or beside >= 1 << 64:
                continue
            walk = kernel.walk(beside)
            assert walk.absence in ("not_mapped", "demand_zero", "paged_out")
            checked += 1
        assert checked > 3
        for va in (0x0000_8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63):
            assert kernel.walk(va).absence == "noncanonical"


@pytest.mark.parametrize("build", scenarios.BUILDS)
def test_reverse_map(build: int) -> None:
    machine = forged(NAME, build, SEED)
    forward: dict[int, int] = {}
    for mapping in machine.mappings():
        if mapping.va >> 47:
            for i in range(0, mapping.size, PAGE):
                frame = mapping.pa + i
                forward[frame] = min(forward.get(frame, 1 << 64), mapping.va + i)
    with lh.open(dump_bytes(NAME, build, SEED, 1)) as dump:
        frames = [p << 12 for p in machine.present(1)]
        result = dump.kernel().map_physical(frames)
        for frame, virtual, state in zip(frames, result.virtual, result.state, strict=True):
            if frame in forward:
                assert (state, virtual) == (0, forward[frame])
            else:
                assert state == 1


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reads_across_pages_with_holes(data: st.DataObject) -> None:
    """A read gives the forge's bytes up to the first hole, and says where and why it stopped."""
    machine = forged(NAME, 19041, SEED)
    mappings = [m for m in machine.mappings() if m.va >> 47 and m.kind != "large"]
    mapping = data.draw(st.sampled_from(mappings))
    start = mapping.va + data.draw(st.integers(0, PAGE - 1))
    size = data.draw(st.integers(1, 3 * PAGE))
    holes = data.draw(st.sets(st.sampled_from([m.pa >> 12 for m in mappings]), max_size=2))
    holes |= data.draw(st.sampled_from([set(), {mapping.pa >> 12}]))
    expected = bytearray()
    stopped = None
    for va in range(start, start + size):
        physical = machine.translate(va) if va < 1 << 64 else None
        if physical is None or physical >> 12 in holes:
            stopped = va
            break
        expected.append(machine.pages[physical >> 12][physical & 0xFFF])
    with lh.open(dump_bytes(NAME, 19041, SEED, 5)) as whole, whole.without_pages(sorted(holes)) as dump:
        kernel = dump.kernel()
        if stopped is None:
            assert kernel.read(start, size) == bytes(expected)
            return
        with pytest.raises(lh.AbsentError) as caught:
            kernel.read(start, size)
        if start + size <= 1 << 64:
            assert caught.value.address == stopped
        if expected:
            assert kernel.read(start, len(expected)) == bytes(expected)
