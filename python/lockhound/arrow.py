"""Tables as Arrow: columns described as nodes, which the binding hands over by the Arrow C data interface. Needs no pyarrow."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Sequence
from typing import Any, cast

from . import _lockhound
from ._lockhound import Column

# name, format of the C data interface, nullable, length, nulls, buffers, children, dictionary
Node = tuple[str, str, bool, int, int, tuple[Any, ...], tuple[Any, ...], Any]

_FORMATS = {"Q": "L", "I": "I", "B": "C"}
_PRESENT = b"1" + b"0" * 255  # from a byte that is 0 where a row has a value to a digit


def validity(absent: bytes | None) -> tuple[bytes | None, int]:
    """The bitmap of Arrow, and the number of nulls, of a byte a row that is 0 where there is a value."""
    nulls = 0 if absent is None else len(absent) - absent.count(0)
    if absent is None or not nulls:
        return None, 0
    bits = int(absent.translate(_PRESENT)[::-1], 2)  # linear, as the base is a power of two
    return bits.to_bytes((len(absent) + 7) // 8, "little"), nulls


def numbers(name: str, column: Column, absent: bytes | None = None) -> Node:
    """A column of numbers without a copy, unless it is a slice with a step."""
    view = memoryview(column)
    bits, nulls = validity(absent)
    items = column if view.c_contiguous else column.tobytes()
    return name, _FORMATS[view.format], absent is not None, len(column), nulls, (bits, items), (), None


def optional_numbers(name: str, values: Sequence[int | None]) -> Node:
    """64-bit numbers, null where a value is None."""
    bits, nulls = validity(bytes(value is None for value in values))
    items = array("Q", (value or 0 for value in values)).tobytes()
    return name, "L", True, len(values), nulls, (bits, items), (), None


def texts(name: str, values: Sequence[str | None], *, nullable: bool = True) -> Node:
    """Texts, null where a value is None."""
    encoded = [(value or "").encode("utf-8", "backslashreplace") for value in values]
    ends = array("i", [0])
    for each in encoded:
        ends.append(ends[-1] + len(each))
    bits, nulls = validity(bytes(value is None for value in values))
    return name, "u", nullable, len(values), nulls, (bits, ends.tobytes(), b"".join(encoded)), (), None


def words(name: str, indices: Column, meanings: Sequence[str]) -> Node:
    """A column of small numbers as the words that they stand for: dictionary-encoded, without a copy."""
    node = numbers(name, indices)
    return *node[:7], texts("", meanings, nullable=False)


def pieces(name: str, data: bytes, size: int, absent: bytes) -> Node:
    """Rows of `size` bytes."""
    bits, nulls = validity(absent)
    return name, f"w:{size}", True, len(absent), nulls, (bits, data), (), None


def table(columns: Sequence[Node], length: int) -> Node:
    """Columns side by side: a struct, which is what a record batch is."""
    return "", "+s", False, length, 0, (None,), tuple(columns), None


def of_rows(kind: type, rows: Sequence[Any]) -> Node:
    """Rows of a dataclass of numbers and texts as a table, by the fields' types."""
    columns = []
    for field in dataclasses.fields(cast("Any", kind)):
        values = [getattr(row, field.name) for row in rows]
        if "str" in str(field.type):
            columns.append(texts(field.name, values, nullable="None" in str(field.type)))
        elif "None" in str(field.type):
            columns.append(optional_numbers(field.name, values))
        else:
            columns.append(numbers(field.name, Column("Q", array("Q", values).tobytes())))
    return table(columns, len(rows))


class Exported:
    """Base of what leaves as Arrow: pyarrow.table(x), pandas.DataFrame.from_arrow(x), or by its name in a query of DuckDB."""

    __slots__ = ()

    def _arrow(self) -> Node:
        raise NotImplementedError

    def __arrow_c_schema__(self) -> object:
        """The Arrow schema, as a PyCapsule."""
        return _lockhound.arrow_schema(self._arrow())

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """The table as one record batch, as PyCapsules. Another schema than its own is not made."""
        return _lockhound.arrow_array(self._arrow())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as a stream of one record batch, as a PyCapsule. Another schema than its own is not made."""
        return _lockhound.arrow_stream(self._arrow())
