"""Rows: the answers of dumps and kernels as immutable values that survive the handle and pickle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, ClassVar, cast

from . import _lockhound, display

PAGE_SIZE = 4096
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)  # of FILETIME, in units of 100 ns
_MACHINES = {0x8664: "x64", 0x14C: "x86", 0xAA64: "arm64"}  # IMAGE_FILE_MACHINE_*, winnt.h


def when(filetime: int | None) -> datetime | None:
    """The time of a FILETIME; None for 0, which means that it is not known, and for years that datetime has not."""
    if not filetime:
        return None
    try:
        return _EPOCH + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return None


class Absence(IntEnum):
    """Why a byte can't be read; the numbers in a column of absences."""

    PRESENT = 0
    NOT_CAPTURED = 1  # mapped, but the physical page is not in this dump
    CLIPPED = 2  # should be in the file, but the file ends before it
    NOT_RAM = 3  # outside the machine's memory runs
    NOT_MAPPED = 4
    PAGED_OUT = 5
    DEMAND_ZERO = 6
    PROTOTYPE = 7
    TABLE = 8  # a page table on the way is not in the dump
    NONCANONICAL = 9
    LAYOUT = 10  # no structure layout is known for this build


class Row:
    """Base of the rows: their repr shows the fields of `_hex` in hexadecimal, as everybody in this field does."""

    __slots__ = ()
    _hex: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        names = [field.name for field in dataclasses.fields(cast("Any", self))]
        shown = (f"{name}={_shown(getattr(self, name), name in self._hex)}" for name in names)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _displayed(self) -> list[tuple[str, Any]]:
        """The fields as a table shows them."""
        names = [field.name for field in dataclasses.fields(cast("Any", self))]
        return [(name, display.value(getattr(self, name), _shown(getattr(self, name), name in self._hex))) for name in names]

    def _repr_html_(self) -> str:
        return display.html_table((), self._displayed())


def _shown(value: Any, in_hex: bool) -> str:
    if in_hex and isinstance(value, tuple):
        return f"({', '.join(_shown(item, True) for item in value)})"
    return f"{value:#x}" if in_hex and isinstance(value, int) else repr(value)


@dataclass(frozen=True, slots=True, repr=False)
class BugCheck(Row):
    """A bug check, and what its parameters mean in this variant (None where that is not known)."""

    _hex: ClassVar[frozenset[str]] = frozenset({"code", "parameters"})

    code: int
    name: str | None
    parameters: tuple[int, int, int, int]
    subtype: str | None
    meanings: tuple[str | None, str | None, str | None, str | None]

    @classmethod
    def of(cls, code: int, parameters: tuple[int, int, int, int]) -> BugCheck:
        """The bug check of a code and its four parameters."""
        name, subtype, meanings = _lockhound.bugcheck(code, parameters)
        return cls(code, name, parameters, subtype, meanings)

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> BugCheck:
        """The bug check that a case or an audit tells of."""
        numbers = tuple(int(each, 16) for each in fields["parameters"])
        return cls.of(fields["code"], cast("tuple[int, int, int, int]", numbers))

    def __str__(self) -> str:
        numbers = ", ".join(f"{value:#x}" for value in self.parameters)
        return f"{self.code:#x} {self.name or 'unknown'} ({numbers})"

    def _repr_html_(self) -> str:
        shown = [("code", f"{self.code:#x}", display.value(self.name))]
        for position, (number, meaning) in enumerate(zip(self.parameters, self.meanings, strict=True), 1):
            shown.append((f"parameter {position}", f"{number:#x}", display.value(meaning)))
        return display.html_table((), [*shown, ("variant", None, display.value(self.subtype))])


@dataclass(frozen=True, slots=True, repr=False)
class DumpInfo(Row):
    """What a dump's header says, and how many pages are there."""

    _hex: ClassVar[frozenset[str]] = frozenset(
        {
            "active_process_head",
            "bugcheck_code",
            "debugger_data_block",
            "directory_table_base",
            "highest_pfn",
            "loaded_module_list",
            "machine",
            "parameters",
            "pfn_database",
        }
    )

    format: str
    machine: int  # IMAGE_FILE_MACHINE_*
    build: int
    major: int
    processors: int
    bugcheck_code: int
    parameters: tuple[int, int, int, int]
    directory_table_base: int
    pfn_database: int
    loaded_module_list: int
    active_process_head: int
    debugger_data_block: int
    system_time: int  # FILETIME, 0 where the header does not say
    system_uptime: int  # 100 ns units, 0 likewise
    file_size: int
    pages_present: int
    pages_described: int
    pages_clipped: int
    pages_ram: int  # 0 where the header has no memory runs
    highest_pfn: int
    blocks: int = 0  # of a triage dump: pieces of virtual memory, which it has in place of pages
    block_bytes: int = 0
    block_bytes_clipped: int = 0  # lost because the file is shorter than it says

    @property
    def machine_name(self) -> str:
        """x64, x86 or arm64."""
        return _MACHINES.get(self.machine, f"{self.machine:#x}")

    @property
    def time(self) -> datetime | None:
        """When the system stopped."""
        return when(self.system_time)

    @property
    def uptime(self) -> timedelta | None:
        """How long it had run; None where the header does not say."""
        return timedelta(microseconds=self.system_uptime // 10) if self.system_uptime else None

    @property
    def share(self) -> float | None:
        """Share of the machine's memory that is in the dump, 0 to 1; None where its size is not known."""
        return min(1.0, self.pages_present / self.pages_ram) if self.pages_ram else None


@dataclass(frozen=True, slots=True, repr=False)
class Run(Row):
    """Pages that are present one after the other."""

    _hex: ClassVar[frozenset[str]] = frozenset({"pfn"})

    pfn: int
    count: int


@dataclass(frozen=True, slots=True, repr=False)
class Hit(Row):
    """A value found in memory. virtual_state is "mapped", "unmapped" or "unknown"; virtual is None unless mapped.

    physical is None in a triage dump, which has virtual addresses only.
    """

    _hex: ClassVar[frozenset[str]] = frozenset({"physical", "value", "virtual"})

    physical: int | None
    virtual: int | None
    virtual_state: str
    value: int
    needle: int  # index into the values asked for, then into the ranges


@dataclass(frozen=True, slots=True, repr=False)
class Walk(Row):
    """A walk of the page tables. absence is None when the byte can be read, else it says why not, and level where it ended."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "entries", "entry_addresses", "page_size", "physical"})

    address: int
    physical: int | None
    page_size: int
    absence: str | None
    level: int
    transition: bool
    entries: tuple[int, ...]
    entry_addresses: tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Absent(Row):
    """Why something is not known, and the address that is missing (None where the layout is)."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address"})

    kind: str
    address: int | None


@dataclass(frozen=True, slots=True, repr=False)
class Process(Row):
    """A process object. Fields that could not be read are None, and `absent` tells why the first of them could not."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "directory_table_base", "flags"})

    address: int
    name: str | None
    pid: int | None
    locked_pages: int | None
    directory_table_base: int | None
    flags: int | None
    exit_time: int | None  # FILETIME; 0 while the process lives
    absent: Absent | None

    @property
    def exited(self) -> datetime | None:
        """When the process exited; None while it lives, and where that is not known."""
        return when(self.exit_time)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Process:
        """From the record of the library."""
        kind, address = record.pop("absence"), record.pop("absent_address")
        return cls(**record, absent=None if kind is None else Absent(kind, address or None))


@dataclass(frozen=True, slots=True, repr=False)
class Module(Row):
    """A loaded or unloaded driver. timestamp is 0 and version "" where they are not known."""

    _hex: ClassVar[frozenset[str]] = frozenset({"base", "entry", "size", "timestamp"})

    name: str
    base: int
    size: int
    entry: int
    timestamp: int
    unloaded: bool
    version: str

    def __contains__(self, address: int) -> bool:
        return self.base <= address < self.base + self.size


@dataclass(frozen=True, slots=True, repr=False)
class Instruction(Row):
    """An instruction of x64 code; str() shows it as a debugger does.

    flow is "next", "call", "jump", "branch", "return", "stop", or "invalid" for a byte that begins no instruction. target is where
    a call, jump or branch goes, also through memory; slot is the memory that it goes through or refers to. Both are None where
    the code alone does not tell. name is that of target, else of slot: "nt!MmUnlockPages", "leaky.sys+0x1a2c", or "".
    """

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "slot", "target"})

    address: int
    bytes: bytes
    text: str
    flow: str
    target: int | None
    slot: int | None
    name: str

    @classmethod
    def of(cls, record: dict[str, Any]) -> Instruction:
        """From the record of the library, where 0 means that the code does not tell."""
        return cls(**(record | {"target": record["target"] or None, "slot": record["slot"] or None}))

    def __str__(self) -> str:
        shown = f"{self.address:016x}  {self.bytes.hex():<20}  {self.text or '??'}"
        return f"{shown:<76}  ; {self.name}" if self.name else shown


@dataclass(frozen=True, slots=True, repr=False)
class Identity(Row):
    """What lies at an address, and whose it is. Fields that do not apply, and those that are not known, are None.

    place is "module", "unloaded_module", "device", "device_extension", "driver", "driver_extension", "process", "thread", "file",
    "irp", "mdl", "stack", "pool", "big_pool", "work_item", "dpc", "apc", "timer", "lock_tracker", "framework_object", "pfn_database",
    "page_tables", "shared_page", "system_ptes", "user", "absent" (with `absence`), or "unknown": there is memory, and nothing is known
    of it.
    """

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "base", "offset", "owner", "size"})

    address: int
    place: str
    text: str  # all of it in one line
    base: int | None
    size: int | None
    offset: int | None
    detail: str | None  # what stands at the very address: "URB.TransferBufferMDL", "frame of leaky.sys+0x1040"
    name: str | None  # of a module, device, process; of a work item "IO_WORKITEM"
    owner: int | None  # driver object, thread or process
    owner_name: str | None
    section: str | None
    code: bool | None  # of a module: may be executed
    writable: bool | None
    tag: str | None
    state: str | None  # of a pool block "allocated" or "free", of what the kernel keeps for its next use "lookaside"; of a work item
    # "queued" or "not_queued"
    live: bool | None  # of a stack: in use; None also where its stack pointer is not known
    absence: str | None  # why the byte can't be read; None: it can
    level: int | None  # of the page tables at which the walk ended

    @classmethod
    def of(cls, record: dict[str, Any]) -> Identity:
        """From the record of the library."""
        place = record["place"]
        known = {
            name: record[name] or None for name in ("base", "size", "owner", "name", "owner_name", "section", "tag", "absence", "detail")
        }
        return cls(
            **known,
            address=record["address"],
            place=place,
            text=record["text"],
            offset=record["offset"] if record["base"] else None,
            code=record["code"] if place == "module" and record["section"] else None,
            writable=record["writable"] if place == "module" and record["section"] else None,
            state={1: "allocated", 2: "free", 3: "lookaside", 4: "queued", 5: "not_queued"}.get(record["state"]),
            live=record["live"] if place == "stack" else None,
            level=record["level"] if record["absence"] else None,
        )

    def __str__(self) -> str:
        return f"{self.address:#x}: {self.text}"


@dataclass(frozen=True, slots=True, repr=False)
class Frame(Row):
    """A frame of a call stack. address is a return address, unless the frame was interrupted there."""

    _hex: ClassVar[frozenset[str]] = frozenset({"address", "function", "module_base", "offset", "stack_pointer"})

    stack_pointer: int
    address: int
    interrupted: bool  # where a thread ran that was stopped, or an interrupt or exception came
    module: str | None  # None where no module contains the address, or its name is not in the dump
    module_base: int | None
    offset: int | None  # of the address in its module
    function: int | None  # begin of its function by the unwind data; None where not known, and for leaf functions
    symbol: str | None  # the name under which the kernel exports that function
    unloaded: bool  # module is an unloaded one, whose range contains the address

    @classmethod
    def of(cls, record: dict[str, Any]) -> Frame:
        """From the record of the library."""
        base = record["module_base"]
        known = {name: record[name] or None for name in ("function", "module", "module_base", "symbol")}
        return cls(**record | known, offset=record["address"] - base if base else None)

    def __str__(self) -> str:
        if self.module_base is None:
            return f"{self.address:#x}"
        if self.symbol and self.function is not None:
            return f"nt!{self.symbol}+{self.address - self.function:#x}"
        return f"{self.module or f'{self.module_base:#x}'}+{self.offset:#x}"


@dataclass(frozen=True, slots=True, repr=False)
class Stack(Row):
    """A call stack, innermost frame first, and why it ends. absent tells what is missing where that ended it."""

    frames: tuple[Frame, ...]
    complete: bool  # reached user mode or the first frame of a system thread
    reason: str
    absent: Absent | None

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]


def as_dict(row: Any) -> dict[str, Any]:
    """A row's fields by name, not deep."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
