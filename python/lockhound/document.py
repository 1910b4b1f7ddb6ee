"""Document: a result of the library as immutable values; a view of the JSON that it wrote."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

from .records import Record, frozen
from .rows import Row

RowType = TypeVar("RowType", bound=Row)


def row_of(kind: type[RowType], fields: Mapping[str, Any]) -> RowType:
    """A row of a JSON object: by name, None where the object has no such field, numbers where it has hexadecimal strings."""
    names = [field.name for field in dataclasses.fields(cast("Any", kind))]
    values = {name: fields.get(name) for name in names}
    return kind(**{name: int(value, 16) if name in kind._hex and isinstance(value, str) else value for name, value in values.items()})


class Document:
    """Base of Case and Audit: no handle is held, so that it survives its dump, pickles, and compares by content."""

    __slots__ = ("_document", "_json", "_redacted", "_texts")
    SCHEMA: ClassVar[str] = ""

    _document: Record
    _json: str
    _redacted: str
    _texts: tuple[str, ...]

    def __init__(self, json_text: str, redacted: str, *texts: str) -> None:
        """What the library rendered: JSON, the same redacted, and text plain, in colour, redacted, redacted in colour."""
        document = json.loads(json_text)
        if document.get("schema") != self.SCHEMA:
            raise ValueError(f"wrong schema: {document.get('schema')!r}, wanted {self.SCHEMA!r}")
        if len(texts) != 4:
            raise ValueError("there are four texts")
        fill = object.__setattr__
        fill(self, "_json", json_text)
        fill(self, "_redacted", redacted)
        fill(self, "_texts", texts)
        fill(self, "_document", cast(Record, frozen(document)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    @property
    def tool(self) -> Record:
        """Name and version of what wrote it."""
        return cast(Record, self._document["tool"])

    @property
    def dump(self) -> Record:
        """The dump: path, identity, format, machine, build, pages."""
        return cast(Record, self._document["dump"])

    @property
    def coverage(self) -> Record:
        """How much of the memory, where a missing object could lie, is in the dump."""
        return cast(Record, self._document["coverage"])

    @property
    def absent(self) -> Record:
        """Facts that could not be read, by their path: kind, address, reason."""
        return cast(Record, self._document["absent"])

    @property
    def document(self) -> Record:
        """The whole of it, also what this version has no attribute for."""
        return self._document

    def to_json(self, *, redact: bool = False, indent: int | None = None) -> str:
        """As JSON, by its schema. redact drops the path and the names of people's things."""
        text = self._redacted if redact else self._json
        return text if indent is None else json.dumps(json.loads(text), indent=indent)

    def to_dict(self, *, redact: bool = False) -> dict[str, Any]:
        """As dicts and lists that are the caller's own."""
        return cast("dict[str, Any]", json.loads(self.to_json(redact=redact)))

    def text(self, *, color: bool = False, redact: bool = False) -> str:
        """For people."""
        return self._texts[int(color) + 2 * int(redact)]

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text())}</pre>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._document == other._document

    def __hash__(self) -> int:
        return hash(self._document)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._json, self._redacted, *self._texts)
