"""The binding: handles and columns over liblockhound. Use the package lockhound, which stands on it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, SupportsIndex, final, overload

_Progress = Callable[[int, int], object]

@final
class Cancel:
    """Stops calls from any thread: give it as cancel=, then call set()."""

    def __new__(cls) -> Cancel: ...
    def set(self) -> None:
        """Stop every call that was given this object."""
    @property
    def is_set(self) -> bool:
        """Whether set() was called."""

@final
class Column:
    """An immutable array of unsigned integers; memoryview() and numpy.asarray() do not copy it."""

    def __new__(cls, format: str, data: bytes) -> Column: ...  # noqa: A002
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
    def __hash__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> Column: ...
    def tolist(self) -> list[int]:
        """The items as a list of int."""
    def tobytes(self) -> bytes:
        """A copy of the items in machine order."""
    def __reduce__(self) -> tuple[type[Column], tuple[str, bytes]]:
        """Pickles as a copy."""
    def __arrow_c_schema__(self) -> object:
        """The Arrow type of the items, as a PyCapsule."""
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """The items as an Arrow array, as PyCapsules of its schema and its content; no copy, unless it is a slice with a step."""

@final
class Dump:
    """A dump's handle; lockhound.Dump stands on it."""

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
    def close(self) -> None:
        """Close for new questions."""
    def info(self) -> dict[str, Any]:
        """The fields of lh_dump_info."""
    def read(self, physical: SupportsIndex, size: SupportsIndex, /) -> bytes:
        """Physical memory."""
    def runs(self) -> tuple[Column, Column]:
        """Columns of first PFN and count."""
    def without_pages(self, pfns: Iterable[SupportsIndex], /) -> Dump:
        """The same dump seen without some pages."""
    def with_pages(self, pfns: Iterable[SupportsIndex], data: bytes, /) -> Dump:
        """The same dump seen with other bytes in some pages, 4096 for each."""
    def search(
        self,
        kernel: Kernel | None,
        values: Iterable[SupportsIndex],
        ranges: Iterable[SupportsIndex],
        mask: SupportsIndex | None,
        align: SupportsIndex,
        threads: SupportsIndex | None,
        limit: SupportsIndex | None,
        timeout: float | None,
        cancel: Cancel | None,
        progress: _Progress | None,
        /,
    ) -> tuple[Column, Column | None, Column | None, Column, Column, bool]:
        """Every needle in one pass; a tuple of columns."""
    def kernel(self) -> Kernel:
        """A new Kernel."""

@final
class Kernel:
    """A kernel's handle; lockhound.Kernel stands on it."""

    def read(self, address: SupportsIndex, size: SupportsIndex, /) -> bytes:
        """Virtual memory."""
    def read_many(self, addresses: Iterable[SupportsIndex], size: SupportsIndex, /) -> tuple[bytes, Column]:
        """The bytes at all addresses, one after the other, and a column of absences."""
    def walk(self, address: SupportsIndex, /) -> dict[str, Any]:
        """The fields of lh_walk."""
    def process(self, address: SupportsIndex, /) -> dict[str, Any]:
        """The fields of lh_process; None where unknown."""
    def processes(self) -> tuple[int, ...]:
        """Addresses of the process objects."""
    def identify(self, address: SupportsIndex, /) -> dict[str, Any]:
        """The fields of lh_identity."""
    def modules(self) -> list[dict[str, Any]]:
        """The fields of lh_module, one dict each."""
    def map_physical(self, addresses: Iterable[SupportsIndex], /) -> tuple[Column, Column]:
        """Columns of virtual addresses and states."""
    def audit(
        self,
        path: str | None,
        process: None,
        threads: SupportsIndex | None,
        hits: SupportsIndex | None,
        mdls: SupportsIndex | None,
        chain_length: SupportsIndex | None,
        levels: SupportsIndex | None,
        timeout: float | None,
        cancel: Cancel | None,
        progress: _Progress | None,
        /,
    ) -> tuple[str, str, str, str, str, str]:
        """The audit, rendered in every way."""
    def disassemble(self, address: SupportsIndex, size: SupportsIndex, /) -> list[dict[str, Any]]:
        """The fields of lh_instruction, one dict each."""
    def locks(
        self,
        module: str | None,
        path: str | None,
        json: bool,
        redact: bool,
        timeout: float | None,
        cancel: Cancel | None,
        progress: _Progress | None,
        /,
    ) -> str:
        """lockhound.locks/1, or the same for people."""
    def stack(self, thread: SupportsIndex | None, /) -> tuple[list[dict[str, Any]], bool, str, str | None, int]:
        """Frames as the fields of lh_frame, and how it ends."""
    def investigate(
        self,
        path: str | None,
        process: SupportsIndex | None,
        threads: SupportsIndex | None,
        hits: SupportsIndex | None,
        mdls: SupportsIndex | None,
        chain_length: SupportsIndex | None,
        levels: SupportsIndex | None,
        timeout: float | None,
        cancel: Cancel | None,
        progress: _Progress | None,
        /,
    ) -> tuple[str, ...]:
        """The case, rendered in every way: the arguments of lockhound.Case."""
    def info_json(self, path: str | None, redact: bool, /) -> str:
        """The objects of the case that need no scan, as JSON."""
    def info_text(self, path: str | None, redact: bool, color: bool, /) -> str:
        """The same as text for people."""

def open_file(path: str, positioned: bool, /) -> Dump:
    """Open a dump by its path; positioned reads instead of a mapping when asked."""

def open_buffer(data: object, /) -> Dump:
    """Open a dump in an object with a contiguous buffer, which is read in place."""

def open_reader(read: Callable[[int, int], bytes], size: SupportsIndex, /) -> Dump:
    """Open a dump of `size` bytes behind read(offset, size), which any thread may call."""

def bugcheck(
    code: SupportsIndex, parameters: tuple[int, int, int, int], /
) -> tuple[str | None, str | None, tuple[str | None, str | None, str | None, str | None]]:
    """Name, subtype and the meanings of the four parameters; None where this version does not know."""

def arrow_schema(node: tuple[Any, ...], /) -> object:
    """The schema of a node of lockhound.arrow, as a PyCapsule."""

def arrow_array(node: tuple[Any, ...], /) -> tuple[object, object]:
    """The schema and the array of a node, as PyCapsules."""

def arrow_stream(node: tuple[Any, ...], /) -> object:
    """A stream of one array, as a PyCapsule."""

def version() -> str:
    """The library's version."""

def absence_name(absence: SupportsIndex, /) -> str:
    """The stable name of an lh_absence."""
