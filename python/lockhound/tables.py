"""Tables: sequences of rows over immutable columns, and their way into Arrow and pandas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from . import arrow, display, rows
from ._lockhound import Column
from .rows import Hit, Run

if TYPE_CHECKING:
    from typing import Self

Row = TypeVar("Row")

Sequence.register(Column)
_STATES = ("mapped", "unmapped", "unknown")


FORMULA = frozenset("=+-@")


def _pandas() -> tuple[Any, Any]:
    """numpy and pandas, which are optional."""
    try:
        import numpy
        import pandas
    except ImportError as missing:
        raise ImportError("to_frame() needs pandas: pip install lockhound[tables]") from missing
    return numpy, pandas


def frame(columns: Mapping[str, Any]) -> Any:
    """A pandas DataFrame; a Column becomes an unsigned array without a copy on the way.

    A name that a spreadsheet would take for a formula has its first character spelt out, as a frame often ends as a CSV file.
    """
    numpy, pandas = _pandas()
    made = {name: numpy.asarray(values) if isinstance(values, Column) else cells(values) for name, values in columns.items()}
    return pandas.DataFrame(made)


def cells(values: Any) -> Any:
    """Values for the cells of a table; of a list none is a formula (it would begin with one of = + - @)."""
    if not isinstance(values, list):
        return values
    return [f"\\x{ord(value[0]):02x}{value[1:]}" if isinstance(value, str) and value[:1] in FORMULA else value for value in values]


def _series(kind: str, values: Sequence[Any]) -> Any:
    """A column of numbers or texts, by the name of its type; numbers that may be None become UInt64, whose missing value is pandas.NA."""
    numpy, pandas = _pandas()
    if "str" in kind:
        return pandas.Series(cells(list(values)), dtype="str")
    if "None" not in kind:
        return numpy.array(values, dtype="uint64")
    known = numpy.array([value or 0 for value in values], dtype="uint64")
    return pandas.arrays.IntegerArray(known, numpy.array([value is None for value in values], dtype="bool"))


def frame_of_rows(kind: type, rows: Sequence[Any], **more: tuple[str, Sequence[Any]]) -> Any:
    """A pandas DataFrame of rows of a dataclass without its tuples and records; `more` columns are given as type and values."""
    fields = [(field.name, str(field.type)) for field in dataclasses.fields(cast("Any", kind))]
    columns = {name: (of, [getattr(row, name) for row in rows]) for name, of in fields if not of.startswith(("tuple", "Record"))}
    return _pandas()[1].DataFrame({name: _series(of, values) for name, (of, values) in (columns | more).items()})


class Table(arrow.Exported, Generic[Row]):
    """An immutable sequence of rows that stand in columns. A slice is a table too and shares them."""

    __slots__ = ()
    _names: tuple[str, ...] = ()

    def _row(self, index: int) -> Row:
        raise NotImplementedError

    def _sliced(self, part: slice) -> Self:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(getattr(self, self._names[0]))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Row | Self:
        if isinstance(index, slice):
            return self._sliced(index)
        position = range(len(self))[index]
        return self._row(position)

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(len(self)))

    def __reversed__(self) -> Iterator[Row]:
        return map(self._row, reversed(range(len(self))))

    def __contains__(self, row: object) -> bool:
        return any(row == other for other in self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def _columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table) or type(other) is not type(self):
            return NotImplemented
        return self._columns() == other._columns()

    def __hash__(self) -> int:
        return hash(tuple(self._columns().values()))

    def _arrow(self) -> arrow.Node:
        return arrow.table([arrow.numbers(name, column) for name, column in self._columns().items()], len(self))

    def to_frame(self) -> Any:
        """The columns as a pandas DataFrame."""
        return frame(self._columns())

    def _repr_html_(self) -> str:
        shown = [_displayed(row) for row in self[: display.MOST_ROWS]]
        heads = [name for name, _ in shown[0]] if shown else list(self._names)
        cells = [[value for _, value in row] for row in shown]
        return display.html_table(heads, cells, more=len(self) - len(shown))


def _displayed(row: Any) -> list[tuple[str, Any]]:
    """A row's cells by name; an address, or bytes, are a row of one cell."""
    if isinstance(row, rows.Row):
        return row._displayed()
    shown = f"{row:#x}" if isinstance(row, int) else row.hex(" ") if isinstance(row, bytes) else None
    return [("address" if isinstance(row, int) else "bytes", shown)]


Sequence.register(Table)


def _fill(table: Table[Any], **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(table, name, value)


NO_PHYSICAL = 2**64 - 1  # in the column of physical addresses: not known


class Hits(Table[Hit]):
    """What a search found, in ascending physical order; rows, and the columns they stand in."""

    __slots__ = ("needle", "physical", "truncated", "value", "virtual", "virtual_state")
    _names = ("physical", "virtual", "virtual_state", "value", "needle")

    physical: Column  # NO_PHYSICAL in all rows of a triage dump, whose hits ascend by virtual address
    virtual: Column | None  # None, and virtual_state too: searched without a kernel, so that no virtual address is known
    virtual_state: Column | None  # 0 mapped, 1 unmapped, 2 unknown
    value: Column
    needle: Column
    truncated: bool  # the limit was met: there may be more

    def __init__(
        self, physical: Column, virtual: Column | None, virtual_state: Column | None, value: Column, needle: Column, truncated: bool
    ) -> None:
        _fill(self, physical=physical, virtual=virtual, virtual_state=virtual_state, value=value, needle=needle, truncated=truncated)

    def _row(self, index: int) -> Hit:
        state = _STATES[self.virtual_state[index]] if self.virtual_state is not None else "unknown"
        virtual = self.virtual[index] if self.virtual is not None and state == "mapped" else None
        physical = self.physical[index]
        return Hit(None if physical == NO_PHYSICAL else physical, virtual, state, self.value[index], self.needle[index])

    def _sliced(self, part: slice) -> Hits:
        virtual = None if self.virtual is None else self.virtual[part]
        states = None if self.virtual_state is None else self.virtual_state[part]
        return Hits(self.physical[part], virtual, states, self.value[part], self.needle[part], self.truncated)

    def _arrow(self) -> arrow.Node:
        unknown = self.virtual is None or self.virtual_state is None
        nothing = b"\1" * len(self)
        virtual = Column("Q", bytes(8 * len(self))) if self.virtual is None or unknown else self.virtual
        states = Column("B", b"\2" * len(self)) if self.virtual_state is None or unknown else self.virtual_state
        lost = nothing if unknown else states.tobytes()
        placed = bytes(value == NO_PHYSICAL for value in self.physical) if NO_PHYSICAL in self.physical[:1] else bytes(len(self))
        columns = (
            arrow.numbers("physical", self.physical, placed),
            arrow.numbers("virtual", virtual, lost),
            arrow.words("virtual_state", states, _STATES),
            arrow.numbers("value", self.value),
            arrow.numbers("needle", self.needle),
        )
        return arrow.table(columns, len(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Hits, (*self._columns().values(), self.truncated)

    def __repr__(self) -> str:
        return f"<lockhound.Hits: {len(self)} hits{', truncated' if self.truncated else ''}>"


class Runs(Table[Run]):
    """The runs of present pages, in ascending order."""

    __slots__ = ("count", "pfn")
    _names = ("pfn", "count")

    pfn: Column
    count: Column

    def __init__(self, pfn: Column, count: Column) -> None:
        _fill(self, pfn=pfn, count=count)

    def _row(self, index: int) -> Run:
        return Run(self.pfn[index], self.count[index])

    def _sliced(self, part: slice) -> Runs:
        return Runs(self.pfn[part], self.count[part])

    def __reduce__(self) -> tuple[Any, ...]:
        return Runs, (self.pfn, self.count)

    def __repr__(self) -> str:
        return f"<lockhound.Runs: {len(self)} runs, {sum(self.count)} pages>"


class Addresses(Table["int | None"]):
    """The kernel addresses that map physical ones; a row is None where none does, and where that is not known (state 2)."""

    __slots__ = ("state", "virtual")
    _names = ("virtual", "state")

    virtual: Column
    state: Column  # 0 mapped, 1 unmapped, 2 unknown

    def __init__(self, virtual: Column, state: Column) -> None:
        _fill(self, virtual=virtual, state=state)

    def _row(self, index: int) -> int | None:
        return self.virtual[index] if self.state[index] == 0 else None

    def _sliced(self, part: slice) -> Addresses:
        return Addresses(self.virtual[part], self.state[part])

    def _arrow(self) -> arrow.Node:
        columns = arrow.numbers("virtual", self.virtual, self.state.tobytes()), arrow.words("state", self.state, _STATES)
        return arrow.table(columns, len(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Addresses, (self.virtual, self.state)

    def __repr__(self) -> str:
        return f"<lockhound.Addresses: {len(self)} addresses, {sum(state == 0 for state in self.state)} mapped>"


class Reads(Table["bytes | None"]):
    """What read_many found: a row of `size` bytes for each address, None where a byte of it is absent."""

    __slots__ = ("absences", "data", "size")
    _names = ("absences",)

    data: bytes  # all rows, one after the other; zeros where absent
    absences: Column  # numbers of Absence, one a row
    size: int

    def __init__(self, data: bytes, absences: Column, size: int) -> None:
        _fill(self, data=data, absences=absences, size=size)

    @property
    def rows(self) -> tuple[bytes | None, ...]:
        """All rows."""
        return tuple(self)

    def _row(self, index: int) -> bytes | None:
        return None if self.absences[index] else self.data[index * self.size : (index + 1) * self.size]

    def _sliced(self, part: slice) -> Reads:
        kept = range(len(self))[part]
        data = b"".join(self.data[at * self.size : (at + 1) * self.size] for at in kept)
        return Reads(data, self.absences[part], self.size)

    def __reduce__(self) -> tuple[Any, ...]:
        return Reads, (self.data, self.absences, self.size)

    def _arrow(self) -> arrow.Node:
        columns = arrow.pieces("data", self.data, self.size, self.absences.tobytes()), arrow.numbers("absence", self.absences)
        return arrow.table(columns, len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reads):
            return NotImplemented
        return (self.size, self.data, self.absences) == (other.size, other.data, other.absences)

    def __hash__(self) -> int:
        return hash((self.size, self.data, self.absences))

    def to_frame(self) -> Any:
        """The rows and absences as a pandas DataFrame."""
        return frame({"data": list(self), "absence": self.absences})

    def __repr__(self) -> str:
        return f"<lockhound.Reads: {len(self)} of {self.size} bytes, {sum(map(bool, self.absences))} absent>"
