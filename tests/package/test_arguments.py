"""Numbers that go in: anything with __index__, and a clear error that names the argument for what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import lockhound as lh

Call = Callable[[lh.Dump, Any], object]

CALLS: dict[str, tuple[str, Call]] = {
    "read": ("physical", lambda dump, x: dump.read(x, 1)),
    "read size": ("size", lambda dump, x: dump.read(0, x)),
    "kernel read": ("address", lambda dump, x: dump.kernel().read(x, 1)),
    "kernel read size": ("size", lambda dump, x: dump.kernel().read(0, x)),
    "read_many": ("addresses", lambda dump, x: dump.kernel().read_many([x], 1)),
    "read_many size": ("size", lambda dump, x: dump.kernel().read_many([0], x)),
    "walk": ("address", lambda dump, x: dump.kernel().walk(x)),
    "process": ("address", lambda dump, x: dump.kernel().process(x)),
    "map_physical": ("addresses", lambda dump, x: dump.kernel().map_physical([x])),
    "search": ("values", lambda dump, x: dump.search([x])),
    "search ranges": ("ranges", lambda dump, x: dump.search([], ranges=[(0, x)])),
    "search mask": ("mask", lambda dump, x: dump.search([1], mask=x)),
    "search align": ("align", lambda dump, x: dump.search([1], align=x)),
    "search threads": ("threads", lambda dump, x: dump.search([1], threads=x)),
    "search limit": ("limit", lambda dump, x: dump.search([1], limit=x)),
    "without_pages": ("pfns", lambda dump, x: dump.without_pages([x])),
    "with_pages": ("pfns", lambda dump, x: dump.with_pages({x: bytes(4096)})),
    "investigate threads": ("threads", lambda dump, x: dump.investigate(threads=x)),
    "investigate hits": ("hits", lambda dump, x: dump.investigate(hits=x)),
    "investigate levels": ("levels", lambda dump, x: dump.investigate(levels=x)),
}
CASES = pytest.mark.parametrize(("name", "call"), CALLS.values(), ids=CALLS)


@CASES
def test_negative(dump: lh.Dump, name: str, call: Call) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        call(dump, -1)
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        call(dump, -(1 << 80))
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        call(dump, numpy.int64(-5))


@CASES
def test_too_big(dump: lh.Dump, name: str, call: Call) -> None:
    with pytest.raises(OverflowError, match=f"{name} "):
        call(dump, 1 << 64)
    with pytest.raises(OverflowError, match=f"{name} "):
        call(dump, 1 << 500)


@CASES
def test_no_number(dump: lh.Dump, name: str, call: Call) -> None:
    assert name
    with pytest.raises((TypeError, AttributeError), match=r"must be an integer, not float|__index__"):
        call(dump, 1.5)
    with pytest.raises((TypeError, AttributeError)):
        call(dump, "7")


def test_numpy_numbers_and_arrays_are_numbers(dump: lh.Dump) -> None:
    kernel = dump.kernel()
    value = dump.bugcheck.parameters[1]
    expected = dump.search([value])
    assert len(expected) > 3
    for given in (numpy.array([value], dtype=numpy.uint64), numpy.uint64(value), value, iter([value]), {value}, [numpy.uint64(value)]):
        assert dump.search(given) == expected
    assert dump.search(expected.value[:1]) == expected
    assert kernel.walk(numpy.uint64(value)) == kernel.walk(value)
    physical = numpy.asarray(expected.physical)
    assert kernel.map_physical(physical).virtual == expected.virtual
    assert kernel.map_physical(physical[::2]) == kernel.map_physical(expected.physical[::2])
    assert kernel.map_physical(physical.astype(numpy.int64)) == kernel.map_physical(physical)
    assert kernel.map_physical(physical.astype(">u8")) == kernel.map_physical(physical)
    with pytest.raises(ValueError, match="addresses must not be negative"):
        kernel.map_physical(numpy.array([-1]))


@pytest.mark.parametrize("given", ["12345678", b"12345678", bytearray(8)])
def test_text_is_no_list_of_numbers(dump: lh.Dump, given: Any) -> None:
    with pytest.raises(TypeError, match="values must be integers"):
        dump.search(given)


def test_nothing_to_search_for(dump: lh.Dump) -> None:
    with pytest.raises(lh.ArgumentError) as caught:
        dump.search([])
    assert caught.value.field == "values"
    for options in ({"limit": 0}, {"mask": 0}, {"threads": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            dump.search([1], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["threads", "hits", "mdls", "chain_length", "levels"])
@pytest.mark.parametrize("question", ["investigate", "audit"])
def test_a_limit_of_none_is_no_default(dump: lh.Dump, question: str, name: str) -> None:
    ask = getattr(dump, question)
    with pytest.raises(ValueError, match=f"{name} must be 1 or more"):
        ask(**{name: 0})
    with pytest.raises(TypeError, match=f"{name} must be an integer, not str"):
        ask(**{name: "1"})


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_timeouts(dump: lh.Dump, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        dump.search([1], timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        dump.investigate(timeout=timeout)


def test_sizes_that_no_memory_holds(dump: lh.Dump) -> None:
    with pytest.raises(MemoryError):
        dump.kernel().read_many(range(1000), (1 << 62))
    with pytest.raises((MemoryError, lh.LockhoundError)):
        dump.read(0, (1 << 62))


def test_wrong_kinds_of_stoppers(dump: lh.Dump) -> None:
    with pytest.raises(TypeError, match="cancel"):
        dump.search([1], cancel=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cancel"):
        dump.investigate(cancel=1)
