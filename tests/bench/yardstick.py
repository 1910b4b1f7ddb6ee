"""The plain sum that times are compared with: compiled on the spot, run over a mapping of a file."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy

SOURCE = Path(__file__).with_name("sum.c")
BUILD = SOURCE.parents[2] / ".build" / "bench"


def library() -> ctypes.CDLL:
    """sum.c as a shared library; the name has the hash of the source, so that an old one is never used."""
    name = BUILD / f"sum-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not name.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        fresh = name.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-std=c11", "-O2", "-shared", "-fPIC", "-pthread", str(SOURCE), "-o", str(fresh)], check=True)
        fresh.replace(name)
    loaded = ctypes.CDLL(str(name))
    loaded.plain_sum.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.POINTER(ctypes.c_uint64)]
    loaded.spin_on.argtypes = [ctypes.c_size_t, ctypes.c_uint]
    return loaded


def processors() -> int:
    """As many as lockhound uses by default."""
    return len(os.sched_getaffinity(0))


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Yardstick:
    """A file, mapped once and summed up as often as asked."""

    def __init__(self, path: Path, threads: int) -> None:
        self.threads = threads
        self._library = library()
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._array: numpy.ndarray[tuple[int], numpy.dtype[numpy.uint8]] | None = numpy.frombuffer(self._map, dtype=numpy.uint8)
        self.size = len(self._map)

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._array = None
        self._map.close()

    def sum(self) -> int:
        """The sum of all 8-byte words, modulo 2**64."""
        if self._array is None:
            raise ValueError("closed")
        out = ctypes.c_uint64()
        error = self._library.plain_sum(self._array.ctypes.data, self.size, self.threads, ctypes.byref(out))
        if error:
            raise OSError(error, os.strerror(error))
        return out.value

    def spin(self) -> None:
        """Some milliseconds of plain arithmetic on all threads."""
        self._library.spin_on(5_000_000, self.threads)

    def scaling(self) -> float:
        """How much more all threads count together than one: the number of threads on a machine that has them to itself."""
        rounds = 20_000_000
        alone = timed(lambda: self._library.spin_on(rounds, 1))
        together = timed(lambda: self._library.spin_on(rounds, self.threads))
        return self.threads * alone / together
