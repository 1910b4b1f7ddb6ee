"""A mini assembler for driver functions: a list of operations becomes x64 code, fix-ups and unwind codes.

Encodings after the public instruction set manual; unwind codes after Microsoft's "x64 exception handling" page.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field


class Reg(enum.IntEnum):
    """General registers by their encoding."""

    RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
    R8, R9, R10, R11, R12, R13, R14, R15 = range(8, 16)


@dataclass(frozen=True, slots=True)
class Call:
    """call [rip+IAT slot]; optimizable adds the REX prefix and the 5-byte NOP of import-optimised kernels."""

    name: str
    optimizable: bool = False


@dataclass(frozen=True, slots=True)
class CallLocal:
    """call rel32 to a function of the same image."""

    name: str


@dataclass(frozen=True, slots=True)
class CallRegister:
    """call reg, as for a pointer read from a table."""

    reg: Reg


@dataclass(frozen=True, slots=True)
class TailCall:
    """Epilogue, then jmp [rip+IAT slot]."""

    name: str


@dataclass(frozen=True, slots=True)
class Move:
    """mov reg, reg (64-bit)."""

    to: Reg
    source: Reg


@dataclass(frozen=True, slots=True)
class Immediate:
    """mov r32, imm32 (zero-extends)."""

    to: Reg
    value: int


@dataclass(frozen=True, slots=True)
class Load:
    """mov reg, [base+disp32]."""

    to: Reg
    base: Reg
    offset: int


@dataclass(frozen=True, slots=True)
class Store:
    """mov [base+disp32], reg."""

    base: Reg
    offset: int
    source: Reg


@dataclass(frozen=True, slots=True)
class LoadData:
    """mov reg, [rip+symbol]."""

    to: Reg
    symbol: str


@dataclass(frozen=True, slots=True)
class StoreData:
    """mov [rip+symbol], reg."""

    symbol: str
    source: Reg


@dataclass(frozen=True, slots=True)
class Address:
    """lea reg, [rip+symbol]: a data symbol or a function of the image."""

    to: Reg
    symbol: str


@dataclass(frozen=True, slots=True)
class Compare:
    """cmp reg, imm32 (64-bit, sign-extended)."""

    reg: Reg
    value: int


@dataclass(frozen=True, slots=True)
class Test:
    """test reg, reg (32-bit): the usual look at an NTSTATUS."""

    reg: Reg


@dataclass(frozen=True, slots=True)
class Branch:
    """jcc rel32 to a label; condition is e, ne, l, ge, b, ae, s or ns."""

    condition: str
    label: str


@dataclass(frozen=True, slots=True)
class Jump:
    """jmp rel32 to a label."""

    label: str


@dataclass(frozen=True, slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Return:
    """Epilogue and ret."""


Op = (
    Call | CallLocal | CallRegister | TailCall | Move | Immediate | Load | Store | LoadData | StoreData
    | Address | Compare | Test | Branch | Jump | Label | Return
)  # fmt: skip

_CONDITIONS = {"b": 2, "ae": 3, "e": 4, "ne": 5, "s": 8, "ns": 9, "l": 12, "ge": 13}
_NONVOLATILE = {Reg.RBX, Reg.RBP, Reg.RSI, Reg.RDI, Reg.R12, Reg.R13, Reg.R14, Reg.R15}


@dataclass(frozen=True, slots=True)
class Function:
    """One function: its operations, the registers it saves, bytes of locals, and the section it lies in."""

    name: str
    ops: Sequence[Op]
    saves: Sequence[Reg] = (Reg.RBX,)
    locals: int = 0x20
    section: str = ".text"
    leaf: bool = False  # no prologue, no unwind data


@dataclass(frozen=True, slots=True)
class Fixup:
    """A rel32 at offset that counts from end and reaches a symbol (imports are named __imp_X)."""

    offset: int
    end: int
    symbol: str


@dataclass(slots=True)
class Code:
    """An assembled function."""

    code: bytearray = field(default_factory=bytearray)
    fixups: list[Fixup] = field(default_factory=list)
    unwind: bytes = b""  # UNWIND_INFO, empty for a leaf
    prologue: int = 0
    frame: int = 0  # from RSP in the body up to the return address
    returns: list[tuple[str, int]] = field(default_factory=list)  # callee, offset behind the call


def _modrm(mod: int, reg: int, rm: int) -> int:
    return mod << 6 | (reg & 7) << 3 | (rm & 7)


def _rex(reg: int = 0, rm: int = 0) -> int:
    return 0x48 | (reg >> 3) << 2 | rm >> 3


class _Assembler:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.out = Code()
        self.labels: dict[str, int] = {}
        self.jumps: list[tuple[int, str]] = []

    def emit(self, *data: int) -> None:
        self.out.code += bytes(data)

    def rip(self, symbol: str, *opcode: int) -> None:
        """opcode bytes, then a rel32 that reaches the symbol."""
        self.emit(*opcode)
        at = len(self.out.code)
        self.out.code += bytes(4)
        self.out.fixups.append(Fixup(at, at + 4, symbol))

    def prologue(self) -> None:
        function, out = self.function, self.out
        if function.leaf:
            return
        codes: list[bytes] = []
        for reg in function.saves:
            if reg not in _NONVOLATILE:
                raise ValueError(f"{function.name}: {reg.name} is volatile, nothing restores it")
            if reg >= 8:
                self.emit(0x41)
            self.emit(0x50 | reg & 7)
            codes.append(bytes((len(out.code), 0 | reg << 4)))  # UWOP_PUSH_NONVOL
        pushed = 8 * len(function.saves)
        self.space = (function.locals + 7) // 8 * 8
        if (self.space + pushed + 8) % 16:
            self.space += 8  # RSP is 16-byte aligned in the body
        if not 0 < self.space < 0x1000:
            raise ValueError(f"{function.name}: a frame of a page needs a stack probe")
        self.emit(0x48, 0x81, 0xEC) if self.space > 0x7F else self.emit(0x48, 0x83, 0xEC)
        out.code += struct.pack("<I", self.space) if self.space > 0x7F else bytes((self.space,))
        if self.space <= 128:
            codes.append(bytes((len(out.code), 2 | (self.space // 8 - 1) << 4)))  # UWOP_ALLOC_SMALL
        else:
            codes.append(struct.pack("<BBH", len(out.code), 1, self.space // 8))  # UWOP_ALLOC_LARGE
        out.prologue = len(out.code)
        out.frame = self.space + pushed
        body = b"".join(reversed(codes))
        slots = len(body) // 2
        out.unwind = bytes((1, out.prologue, slots, 0)) + body + bytes(2 * (slots % 2))

    def epilogue(self) -> None:
        function = self.function
        if function.leaf:
            return
        self.emit(0x48, 0x81, 0xC4) if self.space > 0x7F else self.emit(0x48, 0x83, 0xC4)
        self.out.code += struct.pack("<I", self.space) if self.space > 0x7F else bytes((self.space,))
        for reg in reversed(function.saves):
            if reg >= 8:
                self.emit(0x41)
            self.emit(0x58 | reg & 7)

    def memory(self, opcode: int, reg: Reg, base: Reg, offset: int) -> None:
        self.emit(_rex(reg, base), opcode, _modrm(2, reg, base))
        if base & 7 == 4:
            self.emit(0x24)  # RSP and R12 need a SIB byte
        self.out.code += struct.pack("<i", offset)

    def op(self, op: Op) -> None:
        out = self.out
        match op:
            case Call(name, optimizable):
                self.rip(f"__imp_{name}", *((0x48, 0xFF, 0x15) if optimizable else (0xFF, 0x15)))
                out.returns.append((name, len(out.code)))
                if optimizable:
                    self.emit(0x0F, 0x1F, 0x44, 0, 0)
            case CallLocal(name):
                self.rip(name, 0xE8)
                out.returns.append((name, len(out.code)))
            case CallRegister(reg):
                self.emit(*((0x41,) if reg >= 8 else ()), 0xFF, _modrm(3, 2, reg))
                out.returns.append(("", len(out.code)))
            case TailCall(name):
                self.epilogue()
                self.rip(f"__imp_{name}", 0x48, 0xFF, 0x25)
            case Move(to, source):
                self.emit(_rex(source, to), 0x89, _modrm(3, source, to))
            case Immediate(to, value):
                self.emit(*((0x41,) if to >= 8 else ()), 0xB8 | to & 7)
                out.code += struct.pack("<I", value & 0xFFFF_FFFF)
            case Load(to, base, offset):
                self.memory(0x8B, to, base, offset)
            case Store(base, offset, source):
                self.memory(0x89, source, base, offset)
            case LoadData(to, symbol):
                self.rip(symbol, _rex(to), 0x8B, _modrm(0, to, 5))
            case StoreData(symbol, source):
                self.rip(symbol, _rex(source), 0x89, _modrm(0, source, 5))
            case Address(to, symbol):
                self.rip(symbol, _rex(to), 0x8D, _modrm(0, to, 5))
            case Compare(reg, value):
                self.emit(_rex(0, reg), 0x81, _modrm(3, 7, reg))
                out.code += struct.pack("<i", value)
            case Test(reg):
                self.emit(*((0x45,) if reg >= 8 else ()), 0x85, _modrm(3, reg, reg))
            case Branch(condition, label):
                self.emit(0x0F, 0x80 | _CONDITIONS[condition])
                self.jumps.append((len(out.code), label))
                out.code += bytes(4)
            case Jump(label):
                self.emit(0xE9)
                self.jumps.append((len(out.code), label))
                out.code += bytes(4)
            case Label(name):
                if name in self.labels:
                    raise ValueError(f"{self.function.name}: label {name} stands twice")
                self.labels[name] = len(out.code)
            case Return():
                self.epilogue()
                self.emit(0xC3)

    def assemble(self) -> Code:
        if not self.function.ops or not isinstance(self.function.ops[-1], Return | TailCall | Jump):
            raise ValueError(f"{self.function.name}: control runs off the end")
        self.prologue()
        for op in self.function.ops:
            self.op(op)
        for at, label in self.jumps:
            struct.pack_into("<i", self.out.code, at, self.labels[label] - (at + 4))
        return self.out


def assemble(function: Function) -> Code:
    """Code, fix-ups and UNWIND_INFO of one function."""
    return _Assembler(function).assemble()
