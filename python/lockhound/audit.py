"""Audit: all processes of a dump, what each is charged with and who holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from . import display
from .document import Document, row_of
from .records import Record
from .rows import BugCheck, Row
from .tables import frame_of_rows


@dataclass(frozen=True, slots=True, repr=False)
class Holding(Row):
    """Pages that a driver holds of a process."""

    driver: str
    pages: int


@dataclass(frozen=True, slots=True, repr=False)
class AuditMdl(Row):
    """An MDL whose lock stands: state is locked, freed_locked or unknown; holder a driver or None."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address"})
    address: int
    pages: int
    state: str
    holder: str | None


@dataclass(frozen=True, slots=True, repr=False)
class AuditProcess(Row):
    """A process that is charged or that an MDL names. None where a fact is not known; state is alive, exiting or dead."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address"})
    address: int
    name: str | None
    pid: int | None
    state: str | None
    charged: int | None
    explained: int
    mdls: tuple[AuditMdl, ...]
    holders: tuple[Holding, ...]  # most pages first
    trackers: Record | None  # its lock trackers with their stacks, as in the JSON; None where its locks are not tracked
    note: str | None


def _process(fields: Mapping[str, Any]) -> AuditProcess:
    mdls = tuple(row_of(AuditMdl, each) for each in fields["mdls"])
    holders = tuple(row_of(Holding, each) for each in fields["holders"])
    return row_of(AuditProcess, {**fields, "mdls": mdls, "holders": holders})


class Audit(Document):
    """All processes at once. It holds no handle: it survives its dump, pickles, and compares by content."""

    __slots__ = ("bugcheck", "processes")
    SCHEMA = "lockhound.audit/1"

    bugcheck: BugCheck
    processes: tuple[AuditProcess, ...]  # by address; those with a count or an MDL

    def __init__(self, json_text: str, redacted: str, *texts: str) -> None:
        """What the library rendered: JSON, the same redacted, and text plain, in colour, redacted, redacted in colour."""
        super().__init__(json_text, redacted, *texts)
        object.__setattr__(self, "processes", tuple(_process(each) for each in self.document["processes"]))
        object.__setattr__(self, "bugcheck", BugCheck.of_json(self.document["bugcheck"]))

    def to_frame(self) -> Any:
        """The processes as a pandas DataFrame; mdls is their number, tracked what lock trackers count; what is not known is missing."""
        rows = self.processes
        holders = [", ".join(f"{each.driver} {each.pages}" for each in row.holders) for row in rows]
        tracked = [row.trackers["pages"] if row.trackers else None for row in rows]
        mdls = [len(row.mdls) for row in rows]
        return frame_of_rows(AuditProcess, rows, mdls=("int", mdls), tracked=("int | None", tracked), holders=("str", holders))

    def _repr_html_(self) -> str:
        shown = self.processes[: display.MOST_ROWS]
        rows = [
            (f"{row.address:#x}", display.value(row.name), row.pid, display.value(row.state), row.charged, row.explained,
             display.Text(", ".join(f"{each.driver} {each.pages}" for each in row.holders)))
            for row in shown
        ]  # fmt: skip
        heads = ("address", "name", "pid", "state", "charged", "explained", "holders")
        return display.html_table(heads, rows, more=len(self.processes) - len(shown))

    def __repr__(self) -> str:
        return f"<lockhound.Audit: {len(self.processes)} processes with locked pages>"
