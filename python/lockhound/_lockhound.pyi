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
    def __reduce__(self) -> tuple[type[Column], tuple[str, bytes]]: ...

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
    def read(self, physical: SupportsIndex, size: SupportsIndex, /) -> bytes: ...
    def runs(self) -> tuple[Column, Column]:
        """Columns of first PFN and count."""
    def without_pages(self, pfns: Iterable[SupportsIndex], /) -> Dump: ...
    def with_pages(self, pfns: Iterable[SupportsIndex], data: bytes, /) -> Dump: ...
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

    def read(self, address: SupportsIndex, size: SupportsIndex, /) -> bytes: ...
    def read_many(self, addresses: Iterable[SupportsIndex], size: SupportsIndex, /) -> tuple[bytes, Column]: ...
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
        """disassemble(address, size) -> the fields of lh_instruction, one dict each."""
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
    ) -> tuple[str, str, str, str, str, str]:
        """The case, rendered in every way."""
    def info_json(self, path: str | None, redact: bool, /) -> str: ...
    def info_text(self, path: str | None, redact: bool, color: bool, /) -> str: ...

def open_file(path: str, positioned: bool, /) -> Dump: ...
def open_buffer(data: object, /) -> Dump: ...
def open_reader(read: Callable[[int, int], bytes], size: SupportsIndex, /) -> Dump: ...
def bugcheck(
    code: SupportsIndex, parameters: tuple[int, int, int, int], /
) -> tuple[str | None, str | None, tuple[str | None, str | None, str | None, str | None]]:
    """bugcheck(code, parameters) -> (name, subtype, meanings)"""

def version() -> str:
    """The library's version."""

def absence_name(absence: SupportsIndex, /) -> str: ...
