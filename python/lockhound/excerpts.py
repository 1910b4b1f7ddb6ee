"""Excerpts: the places in drivers' code that a case rests on, with the instructions around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .document import row_of
from .rows import Row


@dataclass(frozen=True, slots=True, repr=False)
class CodeLine(Row):
    """An instruction of an excerpt; marked is the one that the excerpt is about. str() shows it as a debugger does."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address"})

    address: int
    bytes: bytes
    text: str
    name: str | None  # of what it leads to: "nt!MmUnlockPages"
    marked: bool

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> CodeLine:
        """From its JSON."""
        return cls(int(fields["address"], 16), bytes.fromhex(fields["bytes"]), fields["text"], fields["name"], fields["marked"])

    def __str__(self) -> str:
        shown = f"{'>' if self.marked else ' '} {self.address:016x}  {self.text}"
        return f"{shown}  ; {self.name}" if self.name else shown


@dataclass(frozen=True, slots=True, repr=False)
class CodeFunction(Row):
    """A function by its unwind data: where it is entered, and the bounds of the part that an excerpt lies in."""

    _hex: ClassVar[frozenset[str]] = frozenset({"begin", "end", "entry"})

    at: str  # "leaky.sys+0x1a00"
    entry: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True, repr=False)
class Excerpt(Row):
    """A place in a driver's code. str() shows its listing; reason says what of it could not be read, None where all was."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "physical"})

    driver: str | None  # None for code outside any module
    kind: str  # of the evidence that it goes with: unlock_site, lock_path, stack_frame, trace
    statement: str  # what is done there
    address: int
    at: str | None
    function: CodeFunction | None
    listing: tuple[CodeLine, ...]
    reason: str | None
    physical: int | None = None
    file_offset: int | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Excerpt:
        """From its JSON."""
        function = fields["function"]
        parts = {
            "function": None if function is None else row_of(CodeFunction, function),
            "listing": tuple(map(CodeLine.of, fields["listing"])),
        }
        return row_of(cls, {**fields, **parts})

    def __str__(self) -> str:
        head = f"{self.at or f'{self.address:#x}'}: {self.statement}"
        return "\n".join([head, *map(str, self.listing), *([self.reason] if self.reason else [])])
