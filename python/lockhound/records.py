"""Record: a read-only mapping with attribute access, which is what the objects inside a case are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import display


class Record(Mapping[str, Any]):
    """A JSON object: record["name"], record.name, and no way to change it."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_fields", {str(name): frozen(value) for name, value in fields.items()})

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"no field {name!r}; there is {', '.join(self._fields)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a record is read-only")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a record is read-only")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._fields]

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return bool(self._fields == (other._fields if isinstance(other, Record) else Record(other)._fields))

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (thawed(self),)

    def __repr__(self) -> str:
        return f"Record({self._fields!r})"

    def _repr_html_(self) -> str:
        return display.html_table((), [(name, display.value(value)) for name, value in self._fields.items()])


def frozen(value: Any) -> Any:
    """JSON as immutable values: objects become records, arrays tuples."""
    if isinstance(value, Record):
        return value
    if isinstance(value, Mapping):
        return Record(value)
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    return value


def thawed(value: Any) -> Any:
    """The reverse: plain dicts and lists."""
    if isinstance(value, Mapping):
        return {name: thawed(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [thawed(item) for item in value]
    return value
