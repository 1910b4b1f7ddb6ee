"""Tables leave as Arrow: what pyarrow and pandas read through the capsules is what the rows say, without copies and without leaks."""

from __future__ import annotations

import dataclasses
import gc
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockhound as lh
from lockhound import _lockhound, arrow

from . import sample
from .test_columns import any_column, column

pyarrow = pytest.importorskip("pyarrow")


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The rows as pyarrow reads them, after it has validated every buffer."""
    read = pyarrow.table(table)
    read.validate(full=True)
    batch = pyarrow.record_batch(table)
    batch.validate(full=True)
    assert pyarrow.schema(table) == read.schema == batch.schema
    assert batch.to_pylist() == read.to_pylist()
    return list(read.to_pylist())


def test_hits(dump: lh.Dump) -> None:
    hits = dump.search([dump.bugcheck.parameters[1], dump.info.active_process_head])
    assert len(hits) > 5
    for part in (hits, hits[1:4], hits[::-2], hits[:0]):
        assert rows_of(part) == [dataclasses.asdict(hit) for hit in part]
    assert [str(field) for field in pyarrow.schema(hits)] == [
        "pyarrow.Field<physical: uint64>",
        "pyarrow.Field<virtual: uint64>",
        "pyarrow.Field<virtual_state: dictionary<values=string, indices=uint8, ordered=0> not null>",
        "pyarrow.Field<value: uint64 not null>",
        "pyarrow.Field<needle: uint32 not null>",
    ]


def test_what_is_unknown_is_null() -> None:
    values, needles = column("Q", [5, 6, 7]), column("I", [0, 0, 1])
    physical, virtual, states = column("Q", [1, 2, 3]), column("Q", [9, 9, 9]), column("B", [0, 1, 2])
    for hits in (
        lh.Hits(physical, None, None, values, needles, False),
        lh.Hits(physical, virtual, states, values, needles, True),
        lh.Hits(column("Q", [2**64 - 1] * 3), virtual, states, values, needles, False),
    ):
        assert rows_of(hits) == [dataclasses.asdict(hit) for hit in hits]


def test_the_other_tables(dump: lh.Dump) -> None:
    kernel, value = dump.kernel(), dump.bugcheck.parameters[1]
    runs = dump.runs()
    assert rows_of(runs) == [dataclasses.asdict(run) for run in runs]
    addresses = kernel.map_physical([*dump.search([value]).physical, 0xFFFF_FFFF_0000])
    assert [row["virtual"] for row in rows_of(addresses)] == list(addresses)
    assert {row["state"] for row in rows_of(addresses)} == {"mapped", "unmapped"}
    reads = kernel.read_many([value, 0, value + 8], 5)
    assert [row["data"] for row in rows_of(reads)] == list(reads)
    assert [row["absence"] for row in rows_of(reads)] == list(reads.absences)
    assert None in reads


def test_a_ledger() -> None:
    made = sample.document()
    made["ledger"]["mdls"] += [{"address": "0xffffffffffffffff", "pages": 1, "state": "unknown", "holder": None, "judgement": "é€😀"}] * 9
    ledger = sample.case(made).ledger
    assert rows_of(ledger) == [dataclasses.asdict(mdl) for mdl in ledger.mdls]
    assert len(ledger.mdls) == 10
    assert rows_of(lh.Ledger(None, 0, None, None, ())) == []


@given(any_column, st.integers(-3, 3).filter(bool))
def test_a_column(made: tuple[str, list[int]], step: int) -> None:
    form, values = made
    part = column(form, values)[::step]
    array = pyarrow.array(part)
    array.validate(full=True)
    assert array.to_pylist() == part.tolist()
    assert str(array.type) == {"Q": "uint64", "I": "uint32", "B": "uint8"}[form]
    assert pyarrow.types.is_unsigned_integer(array.type)


def test_nothing_is_copied() -> None:
    values = column("Q", list(range(100)))
    address = struct.unpack("P", struct.pack("P", pyarrow.py_buffer(values).address))[0]
    for part, shift in ((values, 0), (values[10:20], 80)):
        assert pyarrow.array(part).buffers()[1].address == address + shift
    runs = lh.Runs(values, values)
    assert pyarrow.table(runs).column("count").chunk(0).buffers()[1].address == address


@given(st.lists(st.booleans(), max_size=40))
def test_validity(absent: list[bool]) -> None:
    bits, nulls = arrow.validity(bytes(absent))
    assert nulls == sum(absent)
    if bits is not None:
        assert len(bits) == (len(absent) + 7) // 8
        assert [not bits[at // 8] >> at % 8 & 1 for at in range(len(absent))] == absent


def test_the_memory_lives_as_long_as_the_arrow(path: Path) -> None:
    dump = lh.open(path)
    hits = dump.search([dump.bugcheck.parameters[1]])
    expected = hits.physical.tolist()
    table, batch = pyarrow.table(hits), pyarrow.record_batch(hits)
    array = pyarrow.array(hits.physical)
    dump.close()
    del hits, dump
    gc.collect()
    assert table.column("physical").to_pylist() == batch.column("physical").to_pylist() == array.to_pylist() == expected


def test_nothing_leaks() -> None:
    """The same objects in every capsule, taken and not taken: their counts of references come back."""
    data, wide, narrow = bytes(800), lh.Column("Q", bytes(800)), lh.Column("B", bytes(100))
    node = arrow.table([arrow.numbers("a", wide), arrow.words("b", narrow, ["x"])], 100)
    table = lh.Runs(wide, wide)

    def use() -> None:
        _lockhound.arrow_schema(node)
        _lockhound.arrow_array(node)
        _lockhound.arrow_stream(node)
        pyarrow.table(table).slice(1, 2)
        pyarrow.record_batch(table).column(0)
        pyarrow.array(table.pfn[::2])
        for wrong in ((), (1,), node[:7], (*node[:5], (data, data, data, data), (), None), (*node[:6], (1,), None)):
            for make in (_lockhound.arrow_schema, _lockhound.arrow_array):
                with pytest.raises((TypeError, ValueError)):
                    make(wrong)

    use()
    gc.collect()
    before = [sys.getrefcount(each) for each in (data, wide, narrow, node)]
    for _ in range(50):
        use()
    gc.collect()
    assert [sys.getrefcount(each) for each in (data, wide, narrow, node)] == before


@pytest.mark.parametrize(
    "node",
    [
        ("", "L", False, 2, 0, (None, bytes(15)), (), None),
        ("", "I", False, 2, 0, (None, bytes(7)), (), None),
        ("", "C", False, 2, 0, (None, bytes(1)), (), None),
        ("", "u", False, 2, 0, (None, bytes(11), b""), (), None),
        ("", "C", True, 9, 0, (bytes(1), bytes(9)), (), None),
        ("", "C", False, -1, 0, (None, bytes(9)), (), None),
        ("", "L", False, sys.maxsize, 0, (None, bytes(8)), (), None),
    ],
)
def test_a_buffer_that_is_too_short_is_seen(node: arrow.Node) -> None:
    with pytest.raises(ValueError, match=r"shorter|length"):
        _lockhound.arrow_array(node)


def test_a_bad_stream_tells_its_reader() -> None:
    class Bad(arrow.Exported):
        def _arrow(self) -> arrow.Node:
            return arrow.table([("x", "L", False, 2, 0, (None, bytes(3)), (), None)], 2)

    with pytest.raises((OSError, ValueError, pyarrow.ArrowInvalid)):
        pyarrow.table(Bad())


def test_pandas(dump: lh.Dump) -> None:
    pandas = pytest.importorskip("pandas")
    hits = dump.search([dump.bugcheck.parameters[1]])
    frame = pandas.DataFrame.from_arrow(hits)
    assert frame["physical"].tolist() == hits.physical.tolist()
    assert frame["virtual_state"].tolist() == [hit.virtual_state for hit in hits]


def test_duckdb(dump: lh.Dump) -> None:
    duckdb = pytest.importorskip("duckdb")
    hits = dump.search([dump.bugcheck.parameters[1]])
    assert duckdb.sql("select count(*), min(physical) from hits").fetchall() == [(len(hits), min(hits.physical))]


def test_polars(dump: lh.Dump) -> None:
    """By way of pyarrow: polars takes a sequence for a list of rows before it asks for Arrow, and guesses their types."""
    polars = pytest.importorskip("polars")
    hits = dump.search([dump.bugcheck.parameters[1]])
    assert polars.from_arrow(pyarrow.table(hits))["virtual"].to_list() == [hit.virtual for hit in hits]


def test_without_pyarrow_and_after_the_end(path: Path) -> None:
    """Nothing is imported; and what is released after the interpreter has ended does no harm."""
    script = (
        "import sys, lockhound as lh\n"
        f"dump = lh.open({str(path)!r})\n"
        "hits = dump.search([dump.bugcheck.parameters[1]])\n"
        "kept = [hits.__arrow_c_array__(), hits.__arrow_c_stream__(), hits.__arrow_c_schema__(), hits.value.__arrow_c_array__()]\n"
        "sys.modules['kept'] = kept\n"
        "print(sorted({'pyarrow', 'numpy', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
