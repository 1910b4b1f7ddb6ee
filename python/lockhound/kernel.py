"""Kernel: the kernel address space of a dump."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex

from . import _lockhound
from .errors import AbsentError, AmbiguousError, ArgumentError
from .progress import Progress, watched
from .records import Record
from .rows import Absent, Frame, Identity, Instruction, Module, Process, Stack, Walk
from .tables import Addresses, Reads

if TYPE_CHECKING:
    from .audit import Audit
    from .case import Case
    from .dump import Dump


KERNEL_HALF = 0xFFFF800000000000  # of x64 with four levels of page tables (Intel SDM); below it a number is a PID
IMAGE_NAME = 14


def _shown(path: str | None) -> str | None:
    """A path as a report shows it: bytes that are no UTF-8 are spelt out."""
    return None if path is None else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def check_counts(**counts: SupportsIndex | None) -> None:
    """0 would be taken for the default, which is None here."""
    for name, count in counts.items():
        if count == 0:
            raise ValueError(f"{name} must be 1 or more; None means the default")


def _same_image(name: str, wanted: str) -> bool:
    """EPROCESS.ImageFileName has 14 characters and a NUL at most: a longer name is cut."""
    return name == wanted or (len(name) >= IMAGE_NAME and wanted.startswith(name))


class Kernel:
    """Virtual memory, processes and modules of a dump; made by Dump.kernel(). It ends with its dump."""

    __slots__ = ("__weakref__", "_dump", "_raw")

    def __init__(self, dump: Dump, raw: _lockhound.Kernel) -> None:
        self._dump, self._raw = dump, raw

    @property
    def dump(self) -> Dump:
        """The dump it is of."""
        return self._dump

    def read(self, address: SupportsIndex, size: SupportsIndex) -> bytes:
        """Virtual memory, across pages. AbsentError tells why a byte is not there, and has those before it as `partial`."""
        return self._raw.read(address, size)

    def read_many(self, addresses: Iterable[SupportsIndex], size: SupportsIndex) -> Reads:
        """`size` bytes at each address, in one call; what is absent is a fact in the answer, not an error."""
        data, absences = self._raw.read_many(addresses, size)
        return Reads(data, absences, size.__index__())

    def walk(self, address: SupportsIndex) -> Walk:
        """Walks the page tables. An absence is a fact in the answer."""
        return Walk(**self._raw.walk(address))

    def process(self, address: SupportsIndex) -> Process:
        """The process object at an address. ArgumentError when what is there is none; AbsentError when nothing of it is there."""
        return Process.of(self._raw.process(address))

    def processes(self) -> tuple[Process, ...]:
        """The processes of the kernel's list, the one that bug check 0x76 names and the one that ran, by address.

        One whose object is not in the dump is left out.
        """
        found = []
        for address in self._raw.processes():
            with contextlib.suppress(AbsentError, ArgumentError):
                found.append(self.process(address))
        return tuple(found)

    def find_process(self, which: SupportsIndex | str | Process) -> Process:
        """The process of an address, a PID or a name (as its image file is called, without regard to case).

        ArgumentError when none fits, or several do: its message lists those.
        """
        if isinstance(which, Process):
            return which
        if isinstance(which, str):
            wanted = which.lower()
            fits = [p for p in self.processes() if p.name is not None and _same_image(p.name.lower(), wanted)]
        else:
            number = which.__index__()
            if number >= KERNEL_HALF:
                return self.process(number)
            fits = [p for p in self.processes() if p.pid == number]
        if len(fits) == 1:
            return fits[0]
        shown = f'"{which}"' if isinstance(which, str) else number
        if not fits:
            raise ArgumentError(f"no process {shown} is known in this dump", field="process")
        listed = ", ".join(f"{p.name} (PID {p.pid}) at {p.address:#x}" for p in fits)
        raise AmbiguousError(f"{len(fits)} processes fit {shown}: {listed}", field="process")

    def identify(self, address: SupportsIndex) -> Identity:
        """What lies at an address: a module and its section, an object, a pool block, a stack. Nothing known, and nothing
        captured, are answers."""
        return Identity.of(self._raw.identify(address))

    def modules(self) -> tuple[Module, ...]:
        """Loaded and unloaded drivers."""
        return tuple(Module(**record) for record in self._raw.modules())

    def stack(self, thread: SupportsIndex | None = None) -> Stack:
        """The call stack of the thread object at an address; of the thread that raised the bug check where none is given.

        A stack that can't be followed to its end is an answer and says why. ArgumentError when what is at the address is no thread.
        """
        frames, complete, reason, kind, address = self._raw.stack(thread)
        absent = None if kind is None else Absent(kind, address or None)
        return Stack(tuple(Frame.of(record) for record in frames), complete, reason, absent)

    def map_physical(self, addresses: Iterable[SupportsIndex]) -> Addresses:
        """The kernel addresses that map physical ones, by one sweep of the page tables."""
        return Addresses(*self._raw.map_physical(addresses))

    def disassemble(self, address: SupportsIndex, size: SupportsIndex) -> tuple[Instruction, ...]:
        """The instructions that begin in a range, with what each leads to. They end at the first byte that is not there.

        AbsentError when that is the first of all; UnsupportedError when lockhound was built without Zydis.
        """
        return tuple(Instruction.of(record) for record in self._raw.disassemble(address, size))

    def lock_profile(
        self,
        module: str | Module,
        *,
        timeout: float | None = None,
        cancel: _lockhound.Cancel | None = None,
        progress: Progress | bool | None = None,
    ) -> Record:
        """What a driver's code does with locked pages: call sites, and ways through a function on which a lock is lost.

        One object of `modules` in lockhound.locks/1. ArgumentError when no loaded module has the name; UnsupportedError when
        lockhound was built without Zydis.
        """
        name = module.name if isinstance(module, Module) else module
        with watched(progress, "reading code") as report:
            text = self._raw.locks(name, None, True, False, timeout, cancel, report)
        return Record(json.loads(text)["modules"][0])

    def lock_profiles(
        self,
        *,
        timeout: float | None = None,
        cancel: _lockhound.Cancel | None = None,
        progress: Progress | bool | None = None,
    ) -> tuple[Record, ...]:
        """The same for every driver whose code locks or unlocks, but for the kernel's own."""
        with watched(progress, "reading code") as report:
            text = self._raw.locks(None, None, True, False, timeout, cancel, report)
        return tuple(Record(found) for found in json.loads(text)["modules"])

    def locks_text(
        self,
        module: str | None = None,
        *,
        redact: bool = False,
        timeout: float | None = None,
        cancel: _lockhound.Cancel | None = None,
        progress: Progress | bool | None = None,
    ) -> str:
        """The same for people: of one driver, or of all."""
        with watched(progress, "reading code") as report:
            return self._raw.locks(module, _shown(self._dump.path), False, redact, timeout, cancel, report)

    def locks_json(
        self,
        module: str | None = None,
        *,
        redact: bool = False,
        timeout: float | None = None,
        cancel: _lockhound.Cancel | None = None,
        progress: Progress | bool | None = None,
    ) -> str:
        """The same as a document, lockhound.locks/1."""
        with watched(progress, "reading code") as report:
            return self._raw.locks(module, _shown(self._dump.path), True, redact, timeout, cancel, report)

    def investigate(
        self,
        *,
        process: SupportsIndex | str | Process | None = None,
        threads: SupportsIndex | None = None,
        timeout: float | None = None,
        cancel: _lockhound.Cancel | None = None,
        progress: Progress | bool | None = None,
        hits: SupportsIndex | None = None,
        mdls: SupportsIndex | None = None,
        chain_length: SupportsIndex | None = None,
        levels: SupportsIndex | None = None,
    ) -> Case:
        """Builds the case. hits, mdls, chain_length and levels are limits; a case that met one says so.

        process (an address, a PID, a name or a Process) asks about that one, whatever the bug check: a case about a living
        process has the kind not_applicable, and its ledger shows who holds what.
        """
        from .case import Case

        check_counts(threads=threads, hits=hits, mdls=mdls, chain_length=chain_length, levels=levels)
        address = None if process is None else self.find_process(process).address
        with watched(progress, "investigating") as report:
            texts = self._raw.investigate(
                _shown(self._dump.path), address, threads, hits, mdls, chain_length, levels, timeout, cancel, report
            )  # fmt: skip
        return Case(*texts)

    def audit(
        self,
        *,
        threads: SupportsIndex | None = None,
        timeout: float | None = None,
        cancel: _lockhound.Cancel | None = None,
        progress: Progress | bool | None = None,
        hits: SupportsIndex | None = None,
        mdls: SupportsIndex | None = None,
        chain_length: SupportsIndex | None = None,
        levels: SupportsIndex | None = None,
    ) -> Audit:
        """All processes at once: the pages each is charged with, the MDLs and the drivers that hold them. Nobody is blamed.

        The options are limits and controls as those of investigate.
        """
        from .audit import Audit

        check_counts(threads=threads, hits=hits, mdls=mdls, chain_length=chain_length, levels=levels)
        with watched(progress, "auditing") as report:
            texts = self._raw.audit(_shown(self._dump.path), None, threads, hits, mdls, chain_length, levels, timeout, cancel, report)
        return Audit(*texts)

    def info_json(self, *, redact: bool = False) -> str:
        """The objects dump, bugcheck, process, current_process and coverage of the case, without a scan."""
        return self._raw.info_json(_shown(self._dump.path), redact)

    def info_text(self, *, redact: bool = False, color: bool = False) -> str:
        """The same for people."""
        return self._raw.info_text(_shown(self._dump.path), redact, color)

    def __repr__(self) -> str:
        return f"<lockhound.Kernel of {self._dump!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_dump, (self._dump,)


def _of_dump(dump: Dump) -> Kernel:
    """The kernel that another process pickled, by way of its dump."""
    return dump.kernel()
