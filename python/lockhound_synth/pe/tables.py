"""The tables inside an image: exports, imports, debug directory, relocations, load configuration.

Every function renders one table for a given RVA; the length never depends on the RVA, so a caller may render once at 0 to reserve room.
Layouts after Microsoft's PE/COFF specification.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .headers import PAGE

Pdb = tuple[str | uuid.UUID, int, str]  # GUID, age, path


@dataclass(frozen=True, slots=True)
class ImportTables:
    """Descriptors and names of the import directory, and what the unbound IAT holds."""

    descriptors: bytes
    names: bytes
    iat: bytes
    slots: dict[tuple[str, str], int]  # (dll, name) -> offset in the IAT


def imports(wanted: Mapping[str, Sequence[str]], names_rva: int, iat_rva: int) -> ImportTables:
    """The import directory in three blocks, each at an RVA of its own."""
    count = sum(len(names) + 1 for names in wanted.values())
    lookup_size = 8 * count
    strings = bytearray()
    thunks = bytearray()
    descriptors = bytearray()
    slots: dict[tuple[str, str], int] = {}
    for dll, names in wanted.items():
        first = len(thunks)
        for name in names:
            if len(strings) % 2:
                strings += b"\0"
            slots[dll, name] = len(thunks)
            thunks += struct.pack("<Q", names_rva + lookup_size + len(strings))
            strings += struct.pack("<H", 0) + name.encode("ascii") + b"\0"
        thunks += bytes(8)
        descriptors += struct.pack("<5I", names_rva + first, 0, 0, names_rva + lookup_size + len(strings), iat_rva + first)
        strings += dll.encode("ascii") + b"\0"
    return ImportTables(bytes(descriptors) + bytes(20), bytes(thunks + strings), bytes(thunks), slots)


def exports(rva: int, dll: str, timestamp: int, symbols: Mapping[str, int]) -> bytes:
    """Export directory with its address, name and ordinal tables; ordinals count from 1 in name order."""
    names = sorted(symbols)
    count = len(names)
    functions = rva + 40
    pointers = functions + 4 * count
    ordinals = pointers + 4 * count
    strings_at = ordinals + 2 * count
    strings = bytearray(dll.encode("ascii") + b"\0")
    name_rvas = []
    for name in names:
        name_rvas.append(strings_at + len(strings))
        strings += name.encode("ascii") + b"\0"
    return (
        struct.pack("<2I2H7I", 0, timestamp, 0, 0, strings_at, 1, count, count, functions, pointers, ordinals)
        + struct.pack(f"<{count}I", *(symbols[n] for n in names))
        + struct.pack(f"<{count}I", *name_rvas)
        + struct.pack(f"<{count}H", *range(count))
        + bytes(strings)
    )


def codeview(pdb: Pdb) -> bytes:
    """The RSDS record that names the PDB."""
    guid, age, path = pdb
    identity = guid if isinstance(guid, uuid.UUID) else uuid.UUID(guid)
    return b"RSDS" + identity.bytes_le + struct.pack("<I", age) + path.encode("utf-8") + b"\0"


def debug_directory(timestamp: int, size: int, rva: int, raw: int) -> bytes:
    """One entry of type 2 (CODEVIEW)."""
    return struct.pack("<2I2H4I", 0, timestamp, 0, 0, 2, size, rva, raw)


def relocations(rvas: Sequence[int]) -> bytes:
    """Base relocations of kind DIR64, a block a page."""
    out = bytearray()
    pages: dict[int, list[int]] = {}
    for rva in sorted(rvas):
        pages.setdefault(rva // PAGE * PAGE, []).append(rva % PAGE)
    for page, offsets in pages.items():
        entries = [10 << 12 | o for o in offsets]
        if len(entries) % 2:
            entries.append(0)  # kind ABSOLUTE: padding to 32 bits
        out += struct.pack(f"<2I{len(entries)}H", page, 8 + 2 * len(entries), *entries)
    return bytes(out)


LOAD_CONFIG_SIZE = 0x70
LOAD_CONFIG_COOKIE = 0x58  # SecurityCookie: a VA, so it is relocated


def load_config(cookie_va: int) -> bytes:
    """IMAGE_LOAD_CONFIG_DIRECTORY64 up to the structured-exception fields."""
    out = bytearray(LOAD_CONFIG_SIZE)
    struct.pack_into("<I", out, 0, LOAD_CONFIG_SIZE)
    struct.pack_into("<Q", out, LOAD_CONFIG_COOKIE, cookie_va)
    return bytes(out)


def runtime_functions(rows: Sequence[tuple[int, int, int]]) -> bytes:
    """RUNTIME_FUNCTION entries (begin, end, unwind info) in address order."""
    return b"".join(struct.pack("<3I", *row) for row in sorted(rows))
