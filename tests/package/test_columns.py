"""Columns: immutable, zero-copy, alive as long as somebody looks at them; and the tables over them."""

from __future__ import annotations

import gc
import io
import itertools
import pickle
import struct
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockhound as lh

WIDTH = {"Q": 64, "I": 32, "B": 8}


def column(form: str, values: list[int]) -> lh.Column:
    return lh.Column(form, struct.pack(f"={len(values)}{form}", *values))


any_column = st.sampled_from("QIB").flatmap(
    lambda form: st.tuples(st.just(form), st.lists(st.integers(0, (1 << WIDTH[form]) - 1), max_size=20))
)
indices = st.none() | st.integers(-25, 25)


@given(any_column)
def test_a_column_is_its_values(made: tuple[str, list[int]]) -> None:
    form, values = made
    col = column(form, values)
    assert (len(col), list(col), col.tolist()) == (len(values), values, values)
    assert memoryview(col).tolist() == values
    assert memoryview(col).readonly
    assert memoryview(col).format == form
    assert numpy.asarray(col).tolist() == values
    assert pickle.loads(pickle.dumps(col)) == col == column(form, values)
    assert hash(col) == hash(column(form, values))
    assert col != column(form, [*values, 1])
    assert [col[-1 - i] for i in range(len(values))] == values[::-1]


@given(any_column, indices, indices, st.none() | st.integers(-25, 25).filter(bool) | st.sampled_from([1 << 62, -(1 << 62)]))
def test_slices_are_views(made: tuple[str, list[int]], start: int | None, stop: int | None, step: int | None) -> None:
    form, values = made
    col = column(form, values)
    part, expected = col[start:stop:step], values[start:stop:step]
    assert part.tolist() == expected
    assert numpy.asarray(part).tolist() == expected
    assert part.tobytes() == struct.pack(f"={len(expected)}{form}", *expected)
    assert part == column(form, expected)
    assert pickle.loads(pickle.dumps(part)) == part
    assert part[::-1].tolist() == expected[::-1]
    assert part[::2].tolist() == expected[::2]


def test_no_way_to_write() -> None:
    col = column("Q", [1, 2, 3])
    with pytest.raises(TypeError):
        memoryview(col)[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        numpy.asarray(col)[0] = 7
    with pytest.raises(TypeError):
        col[0] = 7  # type: ignore[index]
    with pytest.raises(TypeError):
        lh.Column.tolist = None  # type: ignore[method-assign,assignment]


def test_a_strided_slice_is_no_plain_run_of_bytes() -> None:
    part = column("Q", list(range(10)))[::2]
    with pytest.raises(BufferError, match="not contiguous"):
        io.BytesIO().write(part)
    assert bytes(memoryview(part)) == part.tobytes()


@pytest.mark.parametrize(("form", "data"), [("q", bytes(8)), ("", bytes(8)), ("QQ", bytes(8)), ("Q", bytes(7)), ("I", bytes(6))])
def test_what_is_no_column(form: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"format|whole"):
        lh.Column(form, data)


def test_index_errors() -> None:
    col = column("I", [1])
    for wrong in (1, -2, 1 << 70):
        with pytest.raises(IndexError):
            col[wrong]
    with pytest.raises(TypeError):
        col["0"]  # type: ignore[call-overload]
    assert repr(col) == "<lockhound.Column of 1 u32>"


def test_a_view_keeps_the_memory(path: Path) -> None:
    dump = lh.open(path)
    hits = dump.search([dump.bugcheck.parameters[1]])
    expected = hits.physical.tolist()
    view, array = memoryview(hits.physical), numpy.asarray(hits.value)
    assert not array.flags.owndata
    dump.close()
    del hits, dump
    gc.collect()
    assert view.tolist() == expected
    assert len(expected) == len(array) > 3


def test_hits_are_a_sequence_of_rows(dump: lh.Dump) -> None:
    first, second = dump.bugcheck.parameters[1], dump.info.active_process_head
    hits = dump.search([first, second])
    assert {hit.needle for hit in hits} == {0, 1}
    assert hits[0] == next(iter(hits)) == hits[-len(hits)]
    assert list(reversed(hits)) == list(hits)[::-1]
    assert hits[1:4] == hits[:4][1:]
    assert len(hits[1:4]) == 3
    assert hits[2] in hits
    assert sorted(hits.physical) == list(hits.physical)
    for hit in hits:
        assert hit.physical is not None
        assert struct.unpack("<Q", dump.read(hit.physical, 8)) == (hit.value,)
        assert hit.value == (first, second)[hit.needle]
        assert (hit.virtual is not None) == (hit.virtual_state == "mapped")
        if hit.virtual is not None:
            assert dump.kernel().read(hit.virtual, 8) == dump.read(hit.physical, 8)
    with pytest.raises(IndexError):
        hits[len(hits)]
    with pytest.raises(AttributeError):
        hits.truncated = True
    again = pickle.loads(pickle.dumps(hits))
    assert again == hits
    assert list(again) == list(hits)
    assert hash(again) == hash(hits)
    limited = dump.search([first], limit=2)
    assert limited.truncated
    assert list(limited) == list(dump.search([first]))[:2]
    assert not hits.truncated


def test_an_empty_answer(dump: lh.Dump) -> None:
    hits = dump.search([0x1234567890ABCDEF])
    assert list(hits) == []
    assert memoryview(hits.physical).tolist() == []
    assert numpy.asarray(hits.needle).shape == (0,)
    assert pickle.loads(pickle.dumps(hits)) == hits


def test_runs(dump: lh.Dump) -> None:
    runs = dump.runs()
    assert sum(run.count for run in runs) == dump.info.pages_present
    assert all(a.pfn + a.count < b.pfn for a, b in itertools.pairwise(runs))
    assert pickle.loads(pickle.dumps(runs)) == runs


def test_frames(dump: lh.Dump) -> None:
    pytest.importorskip("pandas")
    hits = dump.search([dump.bugcheck.parameters[1]])
    frame = hits.to_frame()
    assert list(frame.columns) == ["physical", "virtual", "virtual_state", "value", "needle"]
    assert frame["physical"].tolist() == hits.physical.tolist()
    assert [str(kind) for kind in frame.dtypes] == ["uint64", "uint64", "uint8", "uint64", "uint32"]
    without = lh.Hits(hits.physical, None, None, hits.value, hits.needle, False).to_frame()
    assert without["virtual"].isna().all()
    assert len(dump.runs().to_frame()) == len(dump.runs())
