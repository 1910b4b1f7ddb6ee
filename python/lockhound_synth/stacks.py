"""Call stacks as calls leave them: return addresses, saved registers and locals, each where the unwind data of its function says."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .machine import Machine
from .pe import unwind
from .pe.assemble import Reg
from .processes import Thread

NONVOLATILE = (Reg.RBX, Reg.RBP, Reg.RSI, Reg.RDI, Reg.R12, Reg.R13, Reg.R14, Reg.R15)
USER_CODE, USER_STACK = 0x7FF8_1234_5678, 0x12_3456_F000
MACHINE_FRAME = 0x28
ROOM = 0x200  # between the outermost frame and the base


@dataclass(slots=True)
class Laid:
    """A stack that was laid out: where it begins, the registers there, and the frames a debugger would show."""

    top: int  # address of the first return address
    registers: dict[Reg, int]
    frames: list[tuple[int, int]] = field(default_factory=list)  # stack pointer in the frame, address of its code
    held: dict[int, int] = field(default_factory=dict)  # by frame: where a function further in saved the value that its register has


def shape_at(machine: Machine, address: int) -> unwind.Shape | None:
    """The frame of the function at an address; None for a leaf and outside all images."""
    if machine.in_kernel(address):
        kernel = machine.kernel
        return unwind.shape(kernel.read, kernel.exception_table, address - machine.nt_base)
    for module in machine.modules:
        if module.image is not None and module.base <= address < module.base + module.size:
            return unwind.shape(module.image.read, module.image.exception_table, address - module.base)
    return None


def in_nt(machine: Machine, *names: str) -> list[int]:
    """Return addresses in routines of nt, one each."""
    kernel = machine.kernel
    return [machine.nt_base + (kernel.private.get(n) or kernel.exports[n]) + machine.places.randrange(0x20, 0x3C) for n in names]


def _register(shapes: Sequence[unwind.Shape], index: int) -> tuple[Reg, int] | None:
    """A register that the function of a frame may use, and the frame further in that saves it next."""
    own = shapes[index]
    for reg, _ in own.saves:
        for inner in reversed(range(index)):
            if reg in dict(shapes[inner].saves) and (own.frame is None or own.frame[0] != reg):
                return reg, inner
    return None


def _shapes(machine: Machine, addresses: Sequence[int]) -> list[unwind.Shape]:
    return [shape_at(machine, at) or unwind.Shape(0, 0x40, (), None, False) for at in addresses]


def lay(machine: Machine, base: int, addresses: Sequence[int], held: Mapping[int, int] | None = None) -> Laid:
    """Writes the frames of code at those addresses, innermost first, below the base of a stack.

    Each is a return address but for one behind a machine frame, which was interrupted. The last function returns to 0, or to user mode
    where a machine frame is what called it. An address without unwind data ends what can be laid: its frame is taken for 0x40 bytes.
    held has values that functions keep in a register, by frame.
    """
    rng = machine.places
    shapes = _shapes(machine, addresses)
    sizes = [shape.size + (MACHINE_FRAME if shape.machine else 8) for shape in shapes]
    top = (base - ROOM - sum(sizes) & ~0xF) - 8
    laid = Laid(top, {})
    pointers: list[int] = []
    at = top + 8
    for address, size in zip(addresses, sizes, strict=True):
        pointers.append(at)
        laid.frames.append((at, address))
        at += size
    words = [rng.choice((0, rng.getrandbits(12), base - rng.randrange(0x2000) & ~7)) for _ in range((at - top) // 8)]
    memory = bytearray(struct.pack(f"<{len(words)}Q", *words))

    def put(place: int, value: int) -> None:
        struct.pack_into("<Q", memory, place - top, value)

    put(top, addresses[0])
    values = {reg: rng.getrandbits(16) for reg in NONVOLATILE}  # in whoever called the outermost one
    for index in reversed(range(len(addresses))):
        shape, pointer = shapes[index], pointers[index]
        own = dict(values)
        for reg, offset in shape.saves:
            put(pointer + offset, values[reg])
            own[reg] = rng.choice((0, 1, base - rng.randrange(0x1000)))
        if held and index in held:
            kept = _register(shapes, index)
            if kept is None:
                raise ValueError("no register of that function's is saved further in")
            reg, inner = kept
            own[reg] = held[index]
            laid.held[index] = pointers[inner] + dict(shapes[inner].saves)[reg]
        if shape.frame is not None:
            own[shape.frame[0]] = pointer + shape.frame[1]
        following = addresses[index + 1] if index + 1 < len(addresses) else 0
        place = pointer + shape.size
        if not shape.machine:
            put(place, following)
        else:
            stack = pointers[index + 1] if following else USER_STACK
            code, selectors = (following, (0x10, 0x18)) if following else (USER_CODE, (0x33, 0x2B))
            for number, value in enumerate((code, selectors[0], 0x246, stack, selectors[1])):
                put(place + 8 * number, value)
        values = own
        if index and shapes[index - 1].machine:
            machine.space.write(addresses[index], b"\x90" * 8)  # nt's code is noise, and some noise looks like an epilogue
    laid.registers = values
    machine.space.write(top, bytes(memory))
    return laid


# KSWITCH_FRAME (public PDB type), on top of the stack of a thread that does not run.
SWITCH_RBP, SWITCH_RETURN = 0x30, 0x38
FURTHER = 0x28  # into KiSwapContext than into others: it saves ten registers before it calls


def switch_out(machine: Machine, thread: Thread, addresses: Sequence[int] = (), holds: tuple[int, int] | None = None) -> Laid:
    """A thread that waits: what it called last, innermost first, then the way down to the switch to another thread.

    holds: which of these functions has a value in a register, and the value; -1 is one of the wait's own."""
    waits = in_nt(machine, "KiSwapContext", "KiSwapThread", "KiCommitThreadWait", "KeWaitForSingleObject")
    waits[0] += FURTHER
    starts = in_nt(machine, "PspSystemThreadStartup", "KiStartSystemThread")
    whole, held = [*waits, *addresses, *starts], {}
    if holds is not None:
        place, value = holds
        candidates = [len(waits) + place] if place >= 0 else range(1, len(waits))
        shapes = _shapes(machine, whole)
        held[next(at for at in candidates if _register(shapes, at))] = value
    laid = lay(machine, thread.stack_base, whole, held)
    thread.stack_pointer = laid.top - SWITCH_RETURN
    machine.space.write(laid.top - SWITCH_RETURN + SWITCH_RBP, struct.pack("<Q", laid.registers[Reg.RBP]))
    return laid
