"""Case: the finished investigation as immutable values; a view of the JSON that the library wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, cast

from . import arrow, display
from .document import Document, row_of
from .excerpts import Excerpt
from .records import Record
from .rows import BugCheck, Row, when
from .tables import frame_of_rows

SCHEMA = "lockhound.case/1"


@dataclass(frozen=True, slots=True, repr=False)
class Confidence:
    """How sure the verdict is: a score from 0 to 1, computed from the factors, and its level in a word."""

    score: float
    level: str
    factors: tuple[Any, ...]

    def __float__(self) -> float:
        return self.score

    def __str__(self) -> str:
        return f"{self.score:.2f} ({self.level})"

    def __repr__(self) -> str:
        return f"<lockhound.Confidence: {self}, {len(self.factors)} factors>"

    def _repr_html_(self) -> str:
        rows = [(factor.name, f"{factor.value:.2f}", display.Text(factor.statement)) for factor in self.factors]
        return display.html_table(("factor", "value", "why"), rows)


@dataclass(frozen=True, slots=True, repr=False)
class NamedDriver(Row):
    """A driver that the verdict names. version, timestamp and size are None where its image is not in the dump."""

    _hex: ClassVar[frozenset[str]] = frozenset({"size", "timestamp"})
    name: str
    version: str | None
    timestamp: int | None
    size: int | None
    pages: int
    score: float | None = None
    unloaded: bool | None = None
    library: bool | None = None  # a library driver, whose client may be the one to look at


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """What was decided: kind is driver, kernel, unattributed, insufficient or not_applicable."""

    kind: str
    driver: str | None
    drivers: tuple[NamedDriver, ...]
    confidence: Confidence
    sentence: str
    advice: str | None
    reason: str | None = None
    rule: str | None = None  # the rule that decided, by its name in docs/verdict.md

    def __repr__(self) -> str:
        named = f" {self.driver}" if self.driver else ""
        return f"<lockhound.Verdict: {self.kind}{named}, confidence {self.confidence}>"

    def _repr_html_(self) -> str:
        facts = {name: getattr(self, name) for name in ("kind", "driver", "sentence", "advice", "reason")} | {
            "confidence": str(self.confidence)
        }
        return display.html_table((), [(name, display.value(fact)) for name, fact in facts.items()])


@dataclass(frozen=True, slots=True, repr=False)
class CaseProcess(Row):
    """A process of the case; None where a fact could not be read (`case.absent` tells why)."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "physical"})
    address: int | None
    name: str | None
    pid: int | None
    locked_pages: int | None
    physical: int | None = None
    file_offset: int | None = None
    exit_time: int | None = None  # FILETIME; 0 while the process lives

    @property
    def exited(self) -> datetime | None:
        """When the process exited; None while it lives, and where that is not known."""
        return when(self.exit_time)


@dataclass(frozen=True, slots=True, repr=False)
class Mdl(Row):
    """An MDL whose lock still stands: state is locked, freed_locked or unknown; holder a driver or None."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "flags", "irp", "physical", "user_address"})
    address: int
    pages: int
    state: str
    holder: str | None
    physical: int | None = None
    file_offset: int | None = None
    user_address: int | None = None
    bytes: int | None = None
    flags: int | None = None
    irp: int | None = None
    judgement: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Ledger(arrow.Exported):
    """The account of locked pages: what the kernel charged against what the MDLs explain."""

    charged: int | None
    explained: int
    unexplained: int | None
    explained_range: tuple[int, int] | None  # least and most, where copies can't be told apart
    mdls: tuple[Mdl, ...]
    statement: str | None = None  # the account in a sentence

    def __repr__(self) -> str:
        charged = "?" if self.charged is None else self.charged
        mdls = f"{len(self.mdls)} MDL{'' if len(self.mdls) == 1 else 's'}"
        return f"<lockhound.Ledger: {self.explained} of {charged} pages explained by {mdls}>"

    def _repr_html_(self) -> str:
        shown = [mdl._displayed() for mdl in self.mdls[: display.MOST_ROWS]]
        heads = [field.name for field in dataclasses.fields(Mdl)]
        rows = [[value for _, value in row] for row in shown]
        return display.html_table(heads, rows, more=len(self.mdls) - len(shown))

    def _arrow(self) -> arrow.Node:
        return arrow.of_rows(Mdl, self.mdls)

    def to_frame(self) -> Any:
        """The MDLs as a pandas DataFrame, a column for each field of Mdl."""
        return frame_of_rows(Mdl, self.mdls)


def _verdict(fields: Mapping[str, Any]) -> Verdict:
    confidence = fields["confidence"]
    return Verdict(
        fields["kind"],
        fields["driver"],
        tuple(row_of(NamedDriver, each) for each in fields["drivers"]),
        Confidence(float(confidence["score"]), confidence["level"], confidence["factors"]),
        fields["sentence"],
        fields["advice"],
        fields.get("reason"),
        fields.get("rule"),
    )


def _process(fields: Mapping[str, Any] | None) -> CaseProcess | None:
    return None if fields is None else row_of(CaseProcess, fields)


def _ledger(fields: Mapping[str, Any]) -> Ledger:
    mdls = tuple(row_of(Mdl, each) for each in fields["mdls"])
    return Ledger(
        fields["charged"], fields["explained"], fields["unexplained"], fields.get("explained_range"), mdls, fields.get("statement")
    )


class Case(Document):
    """A finished case. It holds no handle: it survives its dump, pickles, and compares by content."""

    __slots__ = ("_pages", "bugcheck", "current_process", "excerpts", "ledger", "process", "verdict")
    SCHEMA = SCHEMA

    verdict: Verdict
    process: CaseProcess | None  # the process charged
    current_process: CaseProcess | None
    bugcheck: BugCheck
    ledger: Ledger
    excerpts: tuple[Excerpt, ...]  # places in drivers' code that the case rests on

    def __init__(self, json_text: str, redacted: str, *views: str) -> None:
        """What the library rendered: JSON, the same redacted; text plain, in colour, redacted, redacted in colour; a page of HTML,
        a fragment of it, and both redacted."""
        super().__init__(json_text, redacted, *views[:4])
        if len(views) != 8:
            raise ValueError("there are four pages")
        record, fill = self.document, object.__setattr__
        fill(self, "_pages", views[4:])
        fill(self, "verdict", _verdict(record["verdict"]))
        fill(self, "process", _process(record["process"]))
        fill(self, "current_process", _process(record["current_process"]))
        fill(self, "ledger", _ledger(record["ledger"]))
        fill(self, "excerpts", tuple(map(Excerpt.of, record.get("excerpts", ()))))
        fill(self, "bugcheck", BugCheck.of_json(record["bugcheck"]))

    @property
    def suspects(self) -> tuple[Record, ...]:
        """Every driver for which there is evidence, best first."""
        return cast("tuple[Record, ...]", self._document["suspects"])

    @property
    def subject(self) -> Record | None:
        """The MDL that a bug check about no leak is about: mdl, process, state, holder, statement; else None."""
        return cast("Record | None", self._document["subject"])

    @property
    def advice(self) -> Record | None:
        """What to set for the next crash, and what to send to vendors: tracking, verifier, vendors."""
        return cast("Record | None", self._document["advice"])

    @property
    def considered(self) -> tuple[Record, ...]:
        """What was looked at and does not count, with the reason."""
        return cast("tuple[Record, ...]", self._document["considered"])

    @property
    def cleared(self) -> tuple[Record, ...]:
        """Drivers that look guilty and are not, with the reason."""
        return cast("tuple[Record, ...]", self._document["cleared"])

    @property
    def chain(self) -> tuple[Record, ...]:
        """The way from the process to the driver."""
        return cast("tuple[Record, ...]", self._document["chain"])

    @property
    def unevaluated(self) -> tuple[Record, ...]:
        """Rules that could not be applied, with what they need."""
        return cast("tuple[Record, ...]", self._document["unevaluated"])

    @property
    def reproduce(self) -> tuple[Record, ...]:
        """Debugger commands that show each step."""
        return cast("tuple[Record, ...]", self._document["reproduce"])

    @property
    def signature(self) -> Record:
        """What makes two cases the same cause."""
        return cast(Record, self._document["signature"])

    def html(self, *, redact: bool = False) -> str:
        """The case as a page that has everything in itself: no script, nothing that is loaded."""
        return self._pages[2 * int(redact)]

    def _repr_html_(self) -> str:
        return self._pages[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Case, (self._json, self._redacted, *self._texts, *self._pages)

    _pages: tuple[str, ...]

    def __repr__(self) -> str:
        verdict, ledger = self.verdict, self.ledger
        named = f" {verdict.driver}" if verdict.driver else ""
        pages = f"{ledger.explained} of {'?' if ledger.charged is None else ledger.charged} pages explained"
        return f"<lockhound.Case: {verdict.kind}{named}, confidence {verdict.confidence}, {pages}>"
