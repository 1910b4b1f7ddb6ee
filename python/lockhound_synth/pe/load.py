"""Reads any PE32+ file as a kernel loader would: sections in memory, relocations applied, import slots filled.

After Microsoft's published PE/COFF specification. This is the forge's own parser: the reader of dumps has another one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from . import headers
from .headers import PAGE, Section

Resolve = Callable[[str, str], int]
Version = tuple[int, int, int, int]
ORDINAL = 1 << 63
DIR64 = 10  # IMAGE_REL_BASED_DIR64
FIXED_INFO = 0xFEEF04BD
CALL_THROUGH_SLOT = b"\xff\x15"
CALL_DIRECT = b"\xe8"


class ImageError(ValueError):
    """The file is not an image that the forge can load."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image by RVA pages, ready for any base. symbols are RVAs; discarded pages are gone once a driver has started."""

    name: str
    size_of_image: int
    timestamp: int
    version: Version
    entry: int
    preferred_base: int
    imports: Mapping[str, tuple[str, ...]]
    slots: Mapping[tuple[str, str], int]
    relocations: tuple[int, ...]
    exception_table: tuple[int, int]
    sections: tuple[Section, ...]
    pages: Mapping[int, bytes]
    symbols: Mapping[str, int] = field(default_factory=dict)

    @property
    def discarded(self) -> set[int]:
        """Pages of discardable sections; resources stay, as drivers' version blocks in real memory show."""
        out: set[int] = set()
        for section in self.sections:
            if section.discardable and section.name != ".rsrc":
                out.update(range(section.rva // PAGE, section.end // PAGE))
        return out

    def layout(self, base: int, resolve: Resolve) -> dict[int, bytes]:
        """The image as loaded at base, by RVA page."""
        loaded = {page: bytearray(data) for page, data in self.pages.items()}
        delta = base - self.preferred_base
        for rva in self.relocations:
            _put(loaded, rva, _get(loaded, rva) + delta)
        for (dll, name), rva in self.slots.items():
            _put(loaded, rva, resolve(dll, name))
        gone = self.discarded
        return {page: bytes(data) for page, data in loaded.items() if page not in gone}

    def renamed(self, name: str) -> LoadedImage:
        return replace(self, name=name)

    def read(self, rva: int, size: int) -> bytes:
        """Bytes as the file has them."""
        out = b""
        while len(out) < size:
            page, offset = divmod(rva + len(out), PAGE)
            out += self.pages[page][offset : offset + size - len(out)]
        return out

    def local_returns(self, callee: str) -> list[int]:
        """RVAs behind the direct calls of a routine of the image itself, ascending."""
        out: list[int] = []
        for section in self.sections:
            if not section.executable or section.discardable:
                continue
            body = self.read(section.rva, section.end - section.rva)
            at = body.find(CALL_DIRECT)
            while at >= 0:
                behind = section.rva + at + 5
                if at + 5 <= len(body) and behind + struct.unpack_from("<i", body, at + 1)[0] == self.symbols[callee]:
                    out.append(behind)
                at = body.find(CALL_DIRECT, at + 1)
        return out

    def returns(self, callee: str) -> list[int]:
        """RVAs behind the calls through the import slot of a routine, ascending."""
        targets = {rva for (_, name), rva in self.slots.items() if name == callee}
        out: list[int] = []
        for section in self.sections:
            if not section.executable or section.discardable:
                continue
            first = section.rva // PAGE
            body = b"".join(self.pages[page] for page in range(first, section.end // PAGE))
            at = body.find(CALL_THROUGH_SLOT)
            while at >= 0:
                behind = section.rva + at + 6
                if at + 6 <= len(body) and behind + struct.unpack_from("<i", body, at + 2)[0] in targets:
                    out.append(behind)
                at = body.find(CALL_THROUGH_SLOT, at + 1)
        return out


def _get(pages: Mapping[int, bytearray], rva: int) -> int:
    both = pages[rva // PAGE][rva % PAGE : rva % PAGE + 8]
    if len(both) < 8:
        both = both + pages[rva // PAGE + 1][: 8 - len(both)]
    return int.from_bytes(both, "little")


def _put(pages: dict[int, bytearray], rva: int, value: int) -> None:
    data = (value & (1 << 64) - 1).to_bytes(8, "little")
    first = min(8, PAGE - rva % PAGE)
    pages[rva // PAGE][rva % PAGE : rva % PAGE + first] = data[:first]
    if first < 8:
        pages[rva // PAGE + 1][: 8 - first] = data[first:]


class _File:
    """A PE file under examination: headers, and the bytes that its sections put at an RVA."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:2] != b"MZ" or len(data) < 0x40:
            raise ImageError("no MZ header")
        (pe,) = struct.unpack_from("<I", data, 0x3C)
        if data[pe : pe + 4] != b"PE\0\0":
            raise ImageError("no PE signature")
        machine, count, self.timestamp, _, _, optional_size, _ = struct.unpack_from("<2H3I2H", data, pe + 4)
        optional = pe + 24
        (magic,) = struct.unpack_from("<H", data, optional)
        if machine != headers.MACHINE_AMD64 or magic != headers.PE32_PLUS:
            raise ImageError("not a PE32+ image for AMD64")
        (self.entry,) = struct.unpack_from("<I", data, optional + 16)
        (self.preferred_base,) = struct.unpack_from("<Q", data, optional + 24)
        self.size_of_image, self.size_of_headers = struct.unpack_from("<2I", data, optional + 56)
        (directories,) = struct.unpack_from("<I", data, optional + 108)
        self.directories = [struct.unpack_from("<2I", data, optional + 112 + 8 * i) for i in range(directories)]
        self.sections: list[Section] = []
        for index in range(count):
            at = optional + optional_size + 40 * index
            name, size, rva, raw_size, raw = struct.unpack_from("<8s4I", data, at)
            (kind,) = struct.unpack_from("<I", data, at + 36)
            self.sections.append(Section(name.rstrip(b"\0").decode("latin-1"), rva, size, raw, raw_size, kind))
        self.memory = bytearray(self.size_of_image)
        self.memory[: self.size_of_headers] = data[: self.size_of_headers]
        for section in self.sections:
            body = data[section.raw_offset : section.raw_offset + min(section.raw_size, section.virtual_size or section.raw_size)]
            if section.rva + len(body) > self.size_of_image:
                raise ImageError(f"section {section.name} lies outside the image")
            self.memory[section.rva : section.rva + len(body)] = body

    def directory(self, index: int) -> tuple[int, int]:
        return self.directories[index] if index < len(self.directories) else (0, 0)

    def text(self, rva: int) -> str:
        return self.memory[rva : self.memory.index(0, rva)].decode("ascii")

    def imports(self) -> Iterator[tuple[str, str, int]]:
        """(dll, name, RVA of the slot)."""
        at, size = self.directory(headers.DIR_IMPORT)
        if not size:
            return
        while True:
            lookup, _, _, name, first = struct.unpack_from("<5I", self.memory, at)
            if not name:
                return
            dll = self.text(name).lower()
            thunk, slot = lookup or first, first
            while entry := struct.unpack_from("<Q", self.memory, thunk)[0]:
                if entry & ORDINAL:
                    raise ImageError(f"import of {dll} by ordinal")
                yield dll, self.text((entry & 0x7FFF_FFFF) + 2), slot
                thunk, slot = thunk + 8, slot + 8
            at += 20

    def relocations(self) -> Iterator[int]:
        at, size = self.directory(headers.DIR_RELOC)
        end = at + size
        while at + 8 <= end:
            page, length = struct.unpack_from("<2I", self.memory, at)
            if length < 8:
                raise ImageError("a relocation block without its own head")
            for (entry,) in struct.iter_unpack("<H", self.memory[at + 8 : at + length]):
                if entry >> 12 == DIR64:
                    yield page + (entry & 0xFFF)
                elif entry >> 12:
                    raise ImageError(f"relocation of kind {entry >> 12}")
            at += length

    def version(self) -> Version:
        """VS_FIXEDFILEINFO.dwFileVersion, found through the resource directories; zeros where the file has none."""
        root, size = self.directory(headers.DIR_RESOURCE)
        if not size:
            return (0, 0, 0, 0)
        at = root
        for level in range(3):
            named, numbered = struct.unpack_from("<2H", self.memory, at + 12)
            rows = [struct.unpack_from("<2I", self.memory, at + 16 + 8 * i) for i in range(named + numbered)]
            wanted = [offset for identifier, offset in rows if level or identifier == 16]  # RT_VERSION
            if not wanted:
                return (0, 0, 0, 0)
            at = root + (wanted[0] & 0x7FFF_FFFF)
        rva, length = struct.unpack_from("<2I", self.memory, at)
        block = bytes(self.memory[rva : rva + length])
        where = block.find(struct.pack("<I", FIXED_INFO))
        if where < 0:
            return (0, 0, 0, 0)
        high, low = struct.unpack_from("<2I", block, where + 8)
        return (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)


def load(data: bytes, name: str, symbols: Mapping[str, int] | None = None) -> LoadedImage:
    """A file as an image of that name; symbols are the RVAs of its routines, which no stripped file tells."""
    file = _File(data)
    slots: dict[tuple[str, str], int] = {}
    imports: dict[str, list[str]] = {}
    for dll, routine, slot in file.imports():
        slots[dll, routine] = slot
        imports.setdefault(dll, []).append(routine)
    exceptions = file.directory(headers.DIR_EXCEPTION)
    present = {0, *(page for s in file.sections for page in range(s.rva // PAGE, s.end // PAGE))}
    return LoadedImage(
        name=name,
        size_of_image=file.size_of_image,
        timestamp=file.timestamp,
        version=file.version(),
        entry=file.entry,
        preferred_base=file.preferred_base,
        imports={dll: tuple(names) for dll, names in imports.items()},
        slots=slots,
        relocations=tuple(file.relocations()),
        exception_table=exceptions,
        sections=tuple(file.sections),
        pages={page: bytes(file.memory[page * PAGE : (page + 1) * PAGE].ljust(PAGE, b"\0")) for page in sorted(present)},
        symbols=dict(symbols or {}),
    )
