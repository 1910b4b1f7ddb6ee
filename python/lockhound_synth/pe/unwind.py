"""Unwind data: what a prologue did, written as UNWIND_INFO, and read back as the shape of a frame.

After Microsoft's "x64 exception handling". The reader of dumps has a decoder of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .assemble import Reg

CHAINED = 4  # UNW_FLAG_CHAININFO
ROW = 12  # a RUNTIME_FUNCTION

Read = Callable[[int, int], bytes]  # RVA, size


@dataclass(frozen=True, slots=True)
class Push:
    """push reg."""

    reg: Reg


@dataclass(frozen=True, slots=True)
class Allocate:
    """sub rsp, size."""

    size: int


@dataclass(frozen=True, slots=True)
class SetFrame:
    """lea reg, [rsp+offset]."""

    reg: Reg
    offset: int


@dataclass(frozen=True, slots=True)
class Save:
    """mov [rsp+offset], reg; counted from the stack pointer behind the prologue."""

    reg: Reg
    offset: int


@dataclass(frozen=True, slots=True)
class SaveXmm:
    """movaps [rsp+offset], xmm."""

    number: int
    offset: int


@dataclass(frozen=True, slots=True)
class MachineFrame:
    """The processor pushed SS, RSP, EFLAGS, CS and RIP, and perhaps an error code."""

    error_code: bool = False


Step = Push | Allocate | SetFrame | Save | SaveXmm | MachineFrame
Row = tuple[int, int, int]  # begin, end, RVA of the unwind data


def _code(step: Step, at: int) -> bytes:
    match step:
        case Push(reg):
            return bytes((at, 0 | reg << 4))
        case Allocate(size) if size <= 128:
            return bytes((at, 2 | (size // 8 - 1) << 4))
        case Allocate(size) if size < 8 << 16:
            return struct.pack("<BBH", at, 1, size // 8)
        case Allocate(size):
            return struct.pack("<BBI", at, 1 | 1 << 4, size)
        case SetFrame():
            return bytes((at, 3))
        case Save(reg, offset) if offset % 8 == 0 and offset < 8 << 16:
            return struct.pack("<BBH", at, 4 | reg << 4, offset // 8)
        case Save(reg, offset):
            return struct.pack("<BBI", at, 5 | reg << 4, offset)
        case SaveXmm(number, offset) if offset % 16 == 0 and offset < 16 << 16:
            return struct.pack("<BBH", at, 8 | number << 4, offset // 16)
        case SaveXmm(number, offset):
            return struct.pack("<BBI", at, 9 | number << 4, offset)
        case MachineFrame(error_code):
            return bytes((at, 10 | error_code << 4))


def encode(
    steps: Sequence[tuple[int, Step]], *, epilogues: tuple[int, Sequence[int]] | None = None,
    parent: Row | None = None, far: bool = False, framed: SetFrame | None = None,
) -> bytes:  # fmt: skip
    """UNWIND_INFO of a prologue: (offset behind the instruction, what it did) in the order of execution.

    epilogues makes it version 2: their size, and how far in front of the function's end each begins. parent is the row that a
    fragment chains to, and framed the frame register that the fragment repeats. far takes the long forms where there is a choice.
    """
    frame = next((step for _, step in steps if isinstance(step, SetFrame)), framed)
    codes = b""
    if epilogues is not None:
        size, distances = epilogues
        at_end = size in distances
        codes += bytes((size, 6 | at_end << 4))
        for distance in distances:
            if distance != size:
                codes += bytes((distance & 0xFF, 6 | (distance >> 8) << 4))
    for at, step in reversed(steps):
        code = _code(step, at)
        if far and isinstance(step, Save | SaveXmm) and len(code) == 4:
            code = struct.pack("<BBI", at, code[1] + 1, step.offset)
        elif far and isinstance(step, Allocate) and step.size > 128:
            code = struct.pack("<BBI", at, 1 | 1 << 4, step.size)
        codes += code
    slots = len(codes) // 2
    if slots > 255:
        raise ValueError("a prologue has at most 255 slots of unwind codes")
    version = 1 if epilogues is None else 2
    size = max((at for at, _ in steps), default=0)
    where = 0 if frame is None else frame.reg | frame.offset // 16 << 4
    out = bytes((version | (CHAINED if parent else 0) << 3, size, slots, where)) + codes + bytes(2 * (slots % 2))
    return out + (struct.pack("<3I", *parent) if parent else b"")


@dataclass(frozen=True, slots=True)
class Shape:
    """A frame in the body of a function: where its return address lies above the stack pointer, and what it saved."""

    begin: int  # of the whole function
    size: int  # to the return address, or to RIP of a machine frame
    saves: tuple[tuple[Reg, int], ...]  # register, offset from the stack pointer
    frame: tuple[Reg, int] | None  # frame register, what it lies above the stack pointer
    machine: bool


def rows(read: Read, table: tuple[int, int]) -> list[Row]:
    """The exception directory."""
    at, size = table
    return [(row[0], row[1], row[2]) for row in struct.iter_unpack("<3I", read(at, size // ROW * ROW))]


def shape(read: Read, table: tuple[int, int], rva: int) -> Shape | None:
    """The frame of the function that an RVA lies in; None for a leaf."""
    row = next((r for r in rows(read, table) if r[0] <= rva < r[1]), None)
    if row is None:
        return None
    offset = 0
    saves: list[tuple[Reg, int]] = []
    frame: tuple[Reg, int] | None = None
    while True:
        begin, _, info = row
        head, _, count, register = read(info, 4)
        codes = read(info + 4, 2 * count)
        at = 0
        while at < len(codes):
            op, operand = codes[at + 1] & 15, codes[at + 1] >> 4
            near = int.from_bytes(codes[at + 2 : at + 4], "little")
            wide = int.from_bytes(codes[at + 2 : at + 6], "little")
            if op == 0:
                saves.append((Reg(operand), offset))
                offset += 8
            elif op == 1:
                offset += wide if operand else 8 * near
            elif op == 2:
                offset += 8 * operand + 8
            elif op == 3:
                frame = (Reg(register & 15), offset + 16 * (register >> 4))
            elif op in (4, 5):
                saves.append((Reg(operand), 8 * near if op == 4 else wide))
            elif op == 10:
                return Shape(begin, offset + 8 * operand, tuple(saves), frame, True)
            at += 2 * {1: 3 if operand else 2, 4: 2, 5: 3, 8: 2, 9: 3}.get(op, 1)
        if not head >> 3 & CHAINED:
            return Shape(begin, offset, tuple(saves), frame, False)
        behind = info + 4 + 2 * (count + count % 2)
        row = struct.unpack("<3I", read(behind, ROW))
