"""PE32+ header constants and their packing, after Microsoft's published PE/COFF specification."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PAGE = 0x1000
FILE_ALIGNMENT = 0x200
PREFERRED_BASE = 0x1_4000_0000  # what link.exe and lld-link choose for a 64-bit image
MACHINE_AMD64 = 0x8664
PE32_PLUS = 0x20B
SUBSYSTEM_NATIVE = 1

# Section characteristics.
CODE = 0x0000_0020
INITIALIZED = 0x0000_0040
DISCARDABLE = 0x0200_0000
NOT_PAGED = 0x0800_0000
EXECUTE = 0x2000_0000
READ = 0x4000_0000
WRITE = 0x8000_0000

# Data directories by index.
DIR_EXPORT, DIR_IMPORT, DIR_RESOURCE, DIR_EXCEPTION = 0, 1, 2, 3
DIR_RELOC, DIR_DEBUG, DIR_LOAD_CONFIG, DIR_IAT = 5, 6, 10, 12
DIRECTORY_COUNT = 16

PE_OFFSET = 0x80  # e_lfanew: right behind the DOS header and a small DOS program
FILE_HEADER = PE_OFFSET + 4
OPTIONAL_HEADER = FILE_HEADER + 20
OPTIONAL_SIZE = 112 + 8 * DIRECTORY_COUNT
SECTION_TABLE = OPTIONAL_HEADER + OPTIONAL_SIZE
CHECKSUM_OFFSET = OPTIONAL_HEADER + 64

# A DOS program that ends at once with status 1: mov ax,4C01h / int 21h.
_DOS_PROGRAM = bytes.fromhex("b8014ccd21")


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the section table."""

    name: str
    rva: int
    virtual_size: int
    raw_offset: int
    raw_size: int
    characteristics: int

    @property
    def end(self) -> int:
        """First RVA behind the section's last page."""
        return align(self.rva + max(self.virtual_size, self.raw_size), PAGE)

    @property
    def discardable(self) -> bool:
        return bool(self.characteristics & DISCARDABLE)

    @property
    def executable(self) -> bool:
        return bool(self.characteristics & EXECUTE)

    @property
    def writable(self) -> bool:
        return bool(self.characteristics & WRITE)


def align(value: int, unit: int) -> int:
    """The smallest multiple of unit that is not below value."""
    return (value + unit - 1) // unit * unit


IMAGE_CHARACTERISTICS = 0x22  # EXECUTABLE_IMAGE | LARGE_ADDRESS_AWARE


def pack_headers(
    *,
    sections: list[Section],
    directories: dict[int, tuple[int, int]],
    entry: int,
    timestamp: int,
    size_of_image: int,
    image_base: int = PREFERRED_BASE,
    os_version: tuple[int, int] = (10, 0),
) -> bytes:
    """DOS header to section table, padded to the file alignment; the checksum is left 0."""
    size_of_headers = align(SECTION_TABLE + 40 * len(sections), FILE_ALIGNMENT)
    if size_of_headers > PAGE:
        raise ValueError("too many sections for a one-page header")
    dos = bytearray(PE_OFFSET)
    struct.pack_into("<2s3H", dos, 0, b"MZ", 0x90, 3, 0)
    struct.pack_into("<H", dos, 8, 4)  # header paragraphs: the program starts at 0x40
    struct.pack_into("<I", dos, 0x3C, PE_OFFSET)
    dos[0x40 : 0x40 + len(_DOS_PROGRAM)] = _DOS_PROGRAM
    file_header = struct.pack("<2H3I2H", MACHINE_AMD64, len(sections), timestamp, 0, 0, OPTIONAL_SIZE, IMAGE_CHARACTERISTICS)
    code = sum(s.raw_size for s in sections if s.characteristics & CODE)
    data = sum(s.raw_size for s in sections if s.characteristics & INITIALIZED)
    base_of_code = next((s.rva for s in sections if s.characteristics & CODE), 0)
    optional = struct.pack(
        "<H2B5IQ2I6H4I2H4Q2I",
        PE32_PLUS, 14, 0, code, data, 0, entry, base_of_code,
        image_base, PAGE, FILE_ALIGNMENT,
        *os_version, *os_version, *os_version,
        0, size_of_image, size_of_headers, 0,
        SUBSYSTEM_NATIVE, 0x160,  # HIGH_ENTROPY_VA | DYNAMIC_BASE | NX_COMPAT
        0x100000, 0x1000, 0x100000, 0x1000, 0, DIRECTORY_COUNT,
    )  # fmt: skip
    table = b"".join(struct.pack("<2I", *directories.get(i, (0, 0))) for i in range(DIRECTORY_COUNT))
    rows = b"".join(
        struct.pack(
            "<8s6I2HI",
            s.name.encode("ascii"),
            s.virtual_size, s.rva, s.raw_size, s.raw_offset, 0, 0, 0, 0, s.characteristics,
        )
        for s in sections
    )  # fmt: skip
    out = bytes(dos) + b"PE\0\0" + file_header + optional + table + rows
    return out.ljust(size_of_headers, b"\0")


def checksum(image: bytes) -> int:
    """The PE checksum: 16-bit one's-complement sum of the file with a zero checksum field, plus its length."""
    data = image[:CHECKSUM_OFFSET] + bytes(4) + image[CHECKSUM_OFFSET + 4 :]
    if len(data) % 2:
        data += b"\0"
    total = sum(memoryview(data).cast("H"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total + len(image)) & 0xFFFF_FFFF
