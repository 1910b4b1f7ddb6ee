"""Dump: an open dump; physical memory, search, and the way to its kernel and case."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

from . import _lockhound
from .display import Text, html_table
from .errors import ClosedError, FormatError
from .kernel import Kernel, check_counts
from .progress import Progress, watched
from .records import Record, frozen
from .rows import PAGE_SIZE, BugCheck, DumpInfo, Process
from .tables import Hits, Runs

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .audit import Audit
    from .case import Case


class Dump:
    """An open dump, made by lockhound.open(). Any number of threads may use it; leaving `with` closes it for new questions.

    One that was opened by a path pickles: the process that gets it opens the file again, so that it works in a pool.
    """

    __slots__ = ("__weakref__", "_again", "_bugcheck", "_info", "_kernel", "_lock", "_path", "_raw", "_raw_kernel")

    def __init__(self, raw: _lockhound.Dump, path: str | None = None, again: tuple[str, bool] | None = None) -> None:
        """again: where another process finds it, as an absolute path, and whether to read it by positioned reads."""
        self._raw, self._path, self._again = raw, path, again
        self._info = DumpInfo(**raw.info())
        self._bugcheck = BugCheck.of(self._info.bugcheck_code, self._info.parameters)
        self._raw_kernel: _lockhound.Kernel | None = None
        self._kernel: weakref.ref[Kernel] | None = None  # a strong one would make a cycle, and the file stay open for longer
        self._lock = threading.Lock()

    @property
    def path(self) -> str | None:
        """The path it was opened by, as it was given; None for a dump in memory."""
        return self._path

    @property
    def info(self) -> DumpInfo:
        """What the header says; also after close."""
        return self._info

    @property
    def bugcheck(self) -> BugCheck:
        """The bug check and what its parameters mean; also after close."""
        return self._bugcheck

    @property
    def coverage(self) -> Record:
        """How much of the memory, where the objects of a case could lie, is in the dump, and what that means; without a scan."""
        return cast(Record, frozen(json.loads(self.kernel().info_json())["coverage"]))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._raw.closed

    def close(self) -> None:
        """Closes the dump, and its kernel, for new questions. Running calls go on; the last of them frees the handle."""
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def read(self, physical: SupportsIndex, size: SupportsIndex) -> bytes:
        """Physical memory. AbsentError tells why a byte is not there, and has those before it as `partial`."""
        return self._raw.read(physical, size)

    def runs(self) -> Runs:
        """The runs of present pages."""
        return Runs(*self._raw.runs())

    def kernel(self) -> Kernel:
        """The kernel address space; the same object each time."""
        raw = self._open_kernel()
        with self._lock:
            kernel = self._kernel() if self._kernel is not None else None
            if kernel is None:
                kernel = Kernel(self, raw)
                self._kernel = weakref.ref(kernel)
            return kernel

    def _open_kernel(self) -> _lockhound.Kernel:
        with self._lock:
            if self._raw_kernel is None or self._raw.closed:
                self._raw_kernel = self._raw.kernel()
            return self._raw_kernel

    def search(
        self,
        values: Iterable[SupportsIndex] | SupportsIndex,
        *,
        ranges: Iterable[tuple[SupportsIndex, SupportsIndex]] = (),
        mask: SupportsIndex | None = None,
        align: SupportsIndex = 8,
        threads: SupportsIndex | None = None,
        limit: SupportsIndex | None = None,
        cancel: _lockhound.Cancel | None = None,
        timeout: float | None = None,
        progress: Progress | bool | None = None,
    ) -> Hits:
        """Every needle in one pass over the present pages.

        values are 64-bit integers; a place matches where (memory & mask) == (value & mask). ranges are (begin, end) pairs, end
        excluded, numbered after the values. limit=None means all hits.
        """
        wanted = (values,) if isinstance(values, SupportsIndex) and not hasattr(values, "__len__") else values
        bounds: list[SupportsIndex] = []
        for begin, end in ranges:
            bounds += begin, end
        check_counts(limit=limit, threads=threads)
        if mask is not None and mask.__index__() == 0:
            raise ValueError("mask must have a bit set; None compares all")
        kernel = None if self.closed else self._open_kernel()  # gives hits their virtual addresses; of a closed one the search tells
        with watched(progress, "searching") as report:
            columns = self._raw.search(kernel, wanted, bounds, mask, align, threads, limit, timeout, cancel, report)  # type: ignore[arg-type]
        return Hits(*columns)

    def investigate(self, **options: Any) -> Case:
        """Builds the case; the options are those of Kernel.investigate."""
        return self.kernel().investigate(**options)

    def audit(self, **options: Any) -> Audit:
        """All processes at once; the options are those of Kernel.audit."""
        return self.kernel().audit(**options)

    def without_pages(self, pfns: Iterable[SupportsIndex]) -> Dump:
        """The same dump seen without some pages: they count as not captured."""
        return Dump(self._raw.without_pages(pfns), self._path)

    def with_pages(self, pages: Mapping[int, bytes]) -> Dump:
        """The same dump seen with the bytes of some pages replaced: {pfn: 4096 bytes}."""
        for pfn, data in pages.items():
            if memoryview(data).nbytes != PAGE_SIZE:
                raise ValueError(f"page {pfn:#x} must have {PAGE_SIZE} bytes, not {memoryview(data).nbytes}")
        return Dump(self._raw.with_pages(list(pages), b"".join(pages.values())), self._path)

    def __repr__(self) -> str:
        info = self._info
        share = "size of RAM unknown" if info.share is None else f"{info.share:.1%} of RAM present"
        closed = ", closed" if self.closed else ""
        return f"<lockhound.Dump: {info.format} {info.machine_name}, build {info.build}, {self._bugcheck}, {share}{closed}>"

    def _repr_html_(self) -> str:
        info = self._info
        share = "unknown" if info.share is None else f"{info.share:.1%}"
        facts = {
            "bug check": str(self._bugcheck),
            "meaning": self._bugcheck.subtype or "unknown",
            "format": info.format,
            "machine": f"{info.machine_name}, build {info.build}",
            "stopped": "unknown" if info.time is None else f"{info.time:%Y-%m-%d %H:%M:%S} UTC",
            "pages present": f"{info.pages_present}, {share} of RAM",
        }
        return html_table((), [(name, Text(fact)) for name, fact in facts.items()])

    def __reduce__(self) -> tuple[Any, ...]:
        if self._again is None:
            what = "seen through an overlay" if self._path is not None else "opened from memory or a file object"
            raise TypeError(f"a dump {what} can't be pickled; open a path where it is needed, or use lockhound.analyze")
        if self.closed:
            raise ClosedError("a closed dump can't be pickled; pickle it while it is open")
        return _reopened, (self._path, *self._again, self._info)


def _reopened(path: str, absolute: str, positioned: bool, info: DumpInfo) -> Dump:
    """The dump that another process pickled; it must still be the same one."""
    dump = Dump(_lockhound.open_file(absolute, positioned), path, (absolute, positioned))
    if dump.info != info:
        raise FormatError(f"{absolute}: this is not the dump that was pickled: its header is another one", code="format")
    return dump


def _open_file_object(file: Any) -> _lockhound.Dump:
    """A seekable binary file object: positioned reads under a lock, as any thread of the library may ask."""
    lock = threading.Lock()

    def read(offset: int, size: int) -> bytes:
        with lock:
            file.seek(offset)
            parts = []
            while size and (part := file.read(size)):
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    with lock:
        file.seek(0, os.SEEK_END)
        end = file.tell()  # not what seek returned: of many objects that is None
    return _lockhound.open_reader(read, end)


def open(source: Any, *, positioned: bool = False) -> Dump:  # noqa: A001
    """Opens a dump.

    source is a path (str or path-like); or bytes, a memoryview, an mmap or another object with a contiguous buffer, which is read
    in place and must not change; or a seekable binary file object. positioned=True reads a file piece by piece instead of mapping
    it: for network file systems, and for files that may shrink.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        text = path if isinstance(path, str) else os.fsdecode(path)
        return Dump(_lockhound.open_file(text, positioned), text, (os.path.abspath(text), positioned))  # noqa: PTH100
    try:
        view = memoryview(source)
    except TypeError:
        if not (hasattr(source, "seek") and hasattr(source, "read")):
            raise TypeError(f"a dump is opened from a path, a buffer or a binary file, not {type(source).__name__}") from None
        return Dump(_open_file_object(source))
    return Dump(_lockhound.open_buffer(view))


def analyze(
    path: str | os.PathLike[str],
    *,
    process: SupportsIndex | str | Process | None = None,
    threads: SupportsIndex | None = None,
    timeout: float | None = None,
    cancel: _lockhound.Cancel | None = None,
    progress: Progress | bool | None = None,
) -> Case:
    """Opens a dump, investigates, closes: one call whose arguments and answer pickle, for maps, pools and clusters."""
    with open(path) as dump:
        return dump.investigate(process=process, threads=threads, timeout=timeout, cancel=cancel, progress=progress)
