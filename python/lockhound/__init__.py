"""lockhound: names the driver that left a process's pages locked, from a Windows kernel dump.

with lockhound.open("MEMORY.DMP") as dump: ...   an open dump: search, memory, processes, the case
case = lockhound.analyze("MEMORY.DMP")           the case in one call
"""

from ._lockhound import Cancel, Column, version
from .audit import Audit, AuditMdl, AuditProcess, Holding
from .case import Case, CaseProcess, Confidence, Ledger, Mdl, NamedDriver, Verdict
from .dump import Dump, analyze, open  # noqa: A004
from .errors import (
    AbsentError,
    AmbiguousError,
    ArgumentError,
    Cancelled,
    ClosedError,
    DeadlineExceeded,
    FormatError,
    InternalError,
    IOFailure,
    LimitError,
    LockhoundError,
    UnsupportedError,
)
from .excerpts import CodeFunction, CodeLine, Excerpt
from .kernel import Kernel
from .records import Record
from .rows import Absence, Absent, BugCheck, DumpInfo, Frame, Hit, Identity, Instruction, Module, Process, Run, Stack, Walk
from .tables import Addresses, Hits, Reads, Runs

__version__ = version()

__all__ = [
    "Absence",
    "Absent",
    "AbsentError",
    "Addresses",
    "AmbiguousError",
    "ArgumentError",
    "Audit",
    "AuditMdl",
    "AuditProcess",
    "BugCheck",
    "Cancel",
    "Cancelled",
    "Case",
    "CaseProcess",
    "ClosedError",
    "CodeFunction",
    "CodeLine",
    "Column",
    "Confidence",
    "DeadlineExceeded",
    "Dump",
    "DumpInfo",
    "Excerpt",
    "FormatError",
    "Frame",
    "Hit",
    "Hits",
    "Holding",
    "IOFailure",
    "Identity",
    "Instruction",
    "InternalError",
    "Kernel",
    "Ledger",
    "LimitError",
    "LockhoundError",
    "Mdl",
    "Module",
    "NamedDriver",
    "Process",
    "Reads",
    "Record",
    "Run",
    "Runs",
    "Stack",
    "UnsupportedError",
    "Verdict",
    "Walk",
    "__version__",
    "analyze",
    "open",
]
