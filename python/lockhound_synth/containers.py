"""Dump files around a memory image: types 1 (full), 5 (bitmap, full) and 6 (bitmap, kernel pages only).

Header fields after the Windows SDK's mindumpdef.h and the public readers' descriptions of DUMP_HEADER64; the bitmap header after the
same readers (SDMP/FDMP with 64-bit fields). Fields that are not set hold the word PAGE, as in files that Windows writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .physical import PAGE

HEADER_SIZE = 0x2000
FULL, BITMAP_FULL, BITMAP_KERNEL = 1, 5, 6
TYPES = (FULL, BITMAP_FULL, BITMAP_KERNEL)
UNSET = b"PAGE"
MACHINE_AMD64 = 0x8664
MOST_RUNS = 42


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """What a crash writes in the dump header."""

    build: int
    dtb: int
    pfn_database: int
    module_list: int
    process_list: int
    processors: int
    bugcheck: int
    parameters: tuple[int, int, int, int]
    debugger_block: int
    runs: tuple[tuple[int, int], ...]
    context: bytes
    rip: int
    time: int
    uptime: int


def header(fields: HeaderFields, dump_type: int, space: int) -> bytes:
    """The 0x2000 bytes in front of everything else."""
    if len(fields.runs) > MOST_RUNS:
        raise ValueError(f"the header has room for {MOST_RUNS} runs")
    out = bytearray(UNSET * (HEADER_SIZE // 4))
    struct.pack_into(
        "<4s4s2I4Q", out, 0, b"PAGE", b"DU64", 15, fields.build, fields.dtb, fields.pfn_database, fields.module_list, fields.process_list
    )
    struct.pack_into("<3I", out, 0x30, MACHINE_AMD64, fields.processors, fields.bugcheck)
    struct.pack_into("<4Q", out, 0x40, *fields.parameters)
    out[0x60] = 0
    struct.pack_into("<Q", out, 0x80, fields.debugger_block)
    struct.pack_into("<I", out, 0x88, len(fields.runs))
    struct.pack_into("<Q", out, 0x90, sum(count for _, count in fields.runs))
    for index, run in enumerate(fields.runs):
        struct.pack_into("<2Q", out, 0x98 + 16 * index, *run)
    out[0x348 : 0x348 + len(fields.context)] = fields.context
    struct.pack_into("<iIQQI", out, 0xF00, -0x7FFFFFFD, 1, 0, fields.rip, 0)  # STATUS_BREAKPOINT
    struct.pack_into("<I", out, 0xF98, dump_type)
    struct.pack_into("<qq", out, 0xFA0, space, fields.time)
    out[0xFB0] = 0
    struct.pack_into("<qIIIII", out, 0x1030, fields.uptime, 0, 0xC0000002, 1, 0x110, 0)
    out[0x104C:0x1050] = b"\0\0PA"
    struct.pack_into("<2I", out, 0x1050, 0, 0x17)
    return bytes(out)


def bitmap(present: Iterable[int], bits: int) -> bytes:
    out = bytearray(-(-bits // 32) * 4)
    for pfn in present:
        out[pfn >> 3] |= 1 << (pfn & 7)
    return bytes(out)


def bitmap_header(dump_type: int, present: list[int], bits: int) -> bytes:
    """The inner header with its bitmap, padded so that the first page starts on a page boundary of the file."""
    marks = bitmap(present, bits)
    first_page = -(-(HEADER_SIZE + 0x38 + len(marks)) // PAGE) * PAGE
    signature = b"FDMP" if dump_type == BITMAP_FULL else b"SDMP"
    out = bytearray(first_page - HEADER_SIZE)
    struct.pack_into("<4s4s", out, 0, signature, b"DUMP")
    out[8:0x20] = UNSET * 6
    struct.pack_into("<3Q", out, 0x20, first_page, len(present), bits)
    out[0x38 : 0x38 + len(marks)] = marks
    return bytes(out)


def stream(fields: HeaderFields, dump_type: int, pages: dict[int, bytes], present: list[int]) -> Iterator[bytes]:
    """The file in pieces. present is the sorted list of frames to store; a full dump stores every frame of its runs."""
    if dump_type == FULL:
        yield header(fields, dump_type, HEADER_SIZE + PAGE * sum(count for _, count in fields.runs))
    elif dump_type in (BITMAP_FULL, BITMAP_KERNEL):
        bits = max(base + count for base, count in fields.runs)
        inner = bitmap_header(dump_type, present, bits)
        yield header(fields, dump_type, HEADER_SIZE + len(inner) + PAGE * len(present))
        yield inner
    else:
        raise ValueError(f"no writer for dump type {dump_type}; there are {TYPES}")
    zero = bytes(PAGE)
    for pfn in present:
        yield pages.get(pfn, zero)
