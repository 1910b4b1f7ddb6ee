"""What lockhound raises: one base class with the facts as attributes, and a class for each kind of failure."""

from __future__ import annotations

import errno
from typing import Any


class LockhoundError(Exception):
    """Base of all errors of lockhound. Attributes that do not apply are None."""

    code: str | None  # stable short name: "format", "absent", ...
    field: str | None  # the damaged field of a file, or the argument
    offset: int | None  # where the damaged field stands in the file
    address: int | None  # the memory that is absent
    absence: str | None  # why it is absent: "not_captured", "paged_out", ...
    level: int | None  # page-table level of the absence, 4 to 1
    partial: bytes | None  # what could be read in front of the absence

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        field: str | None = None,
        offset: int | None = None,
        address: int | None = None,
        absence: str | None = None,
        level: int | None = None,
        partial: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.field, self.offset = code, field, offset
        self.address, self.absence, self.level, self.partial = address, absence, level, partial

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class FormatError(LockhoundError):
    """The file is damaged, or no dump at all; `field` and `offset` name the place."""


class UnsupportedError(LockhoundError):
    """The file was recognised, and this version does not read its kind."""


class AbsentError(LockhoundError):
    """Memory that was asked for can't be read: see `address`, `absence`, `level` and `partial`."""


class Cancelled(LockhoundError):
    """A Cancel object or the progress function stopped the call."""


class DeadlineExceeded(LockhoundError, TimeoutError):
    """The call's timeout passed."""


class LimitError(LockhoundError):
    """A limit was met where no partial answer exists."""


class ArgumentError(LockhoundError, ValueError):
    """An argument makes no sense; `field` names it."""


class AmbiguousError(ArgumentError):
    """A name or number fits several things; the message lists them."""


class InternalError(LockhoundError):
    """A fault in lockhound itself; please report it."""


class ClosedError(LockhoundError, ValueError):
    """A question to a dump that was closed."""

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message, **{"code": "closed", **facts})


class IOFailure(LockhoundError, OSError):
    """The operating system refused to open or read; `errno` and `filename` as in every OSError.

    Where Python has a class for the errno, what is raised is one too: `except FileNotFoundError` works.
    """

    def __new__(cls, message: str = "", *, os_error: int | None = None, filename: str | None = None, **facts: Any) -> IOFailure:  # noqa: ARG004
        if cls is IOFailure and os_error is not None:
            cls = _IO_CLASSES.get(os_error, IOFailure)
        return super().__new__(cls, message)

    def __init__(self, message: str = "", *, os_error: int | None = None, filename: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.errno, self.strerror, self.filename = os_error, message, filename

    def __reduce__(self) -> tuple[Any, ...]:
        system = {"errno": self.errno, "strerror": self.strerror, "filename": self.filename}
        return _rebuild, (type(self), self.args, {**self.__dict__, **system})


class MissingFile(IOFailure, FileNotFoundError):
    """No file has that path."""


class ForbiddenFile(IOFailure, PermissionError):
    """The file may not be read."""


class NotAFile(IOFailure, IsADirectoryError):
    """The path is a directory's."""


_IO_CLASSES: dict[int, type[IOFailure]] = {
    errno.ENOENT: MissingFile,
    errno.EACCES: ForbiddenFile,
    errno.EPERM: ForbiddenFile,
    errno.EISDIR: NotAFile,
}


def _rebuild(cls: type[LockhoundError], args: tuple[Any, ...], facts: dict[str, Any]) -> LockhoundError:
    error = cls(*args)
    for name, value in facts.items():
        setattr(error, name, value)
    return error
