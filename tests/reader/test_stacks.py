"""Call stacks: what the reader unwinds is what the forge laid out and what a processor would have done, instruction by instruction."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lockhound as lh
from lockhound_synth import scenarios, stacks
from lockhound_synth.forge import Forged
from lockhound_synth.pe import headers, tables, unwind
from lockhound_synth.pe.assemble import Reg
from lockhound_synth.pe.load import load
from tests.drivers.compile import IMAGE_BASE, compile_drivers, missing_tools

from .machines import dump_bytes, forged

PAGE = 0x1000
CONTEXT, RAX, RIP = 0x348, 0x78, 0xF8  # in the dump's header; in a CONTEXT
STORY, BUILD = "page_fault", 19041
KEPT = (Reg.RBX, Reg.RBP, Reg.RSI, Reg.RDI, Reg.R12, Reg.R13, Reg.R14, Reg.R15)


def with_context(data: bytes, registers: dict[int, int], rip: int) -> bytes:
    """The dump as if the machine had stopped with other registers."""
    out = bytearray(data)
    for reg, value in registers.items():
        struct.pack_into("<Q", out, CONTEXT + RAX + 8 * reg, value)
    struct.pack_into("<Q", out, CONTEXT + RIP, rip)
    return bytes(out)


# ---- what the forge laid out


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
@pytest.mark.parametrize("name", ["pending_irp", "page_fault", "unlock_unknown"])
def test_the_crash_is_unwound_to_its_end(name: str, build: int) -> None:
    for seed in range(4):
        machine = scenarios.build(name, build=build, seed=seed)
        with lh.open(machine.to_bytes(6)) as dump:
            stack = dump.kernel().stack()
        assert [(f.stack_pointer, f.address) for f in stack][1:] == machine.stack
        assert stack.complete, stack
        assert stack[0].symbol == "KeBugCheckEx"
        assert stack[0].interrupted
        names = {m.name for m in machine.machine.modules}
        assert all(f.module in names for f in stack)


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_a_waiting_thread_is_unwound_from_its_switch_frame(build: int) -> None:
    machine = forged(STORY, build, 0)
    thread = next(t for t in machine.machine.threads if t.alive and t.address in machine.waiting)
    with lh.open(dump_bytes(STORY, build, 0, 6)) as dump:
        stack = dump.kernel().stack(thread.address)
        assert [(f.stack_pointer, f.address) for f in stack] == machine.waiting[thread.address]
        assert stack.complete
        assert "first frame" in stack.reason
        assert not any(f.interrupted for f in stack)
        with pytest.raises(lh.ArgumentError):
            dump.kernel().stack(thread.process.address)
        with pytest.raises(lh.AbsentError):
            dump.kernel().stack(0xFFFF_8000_0000_1000)


# ---- what a processor does


@dataclass
class Cpu:
    """As much of a processor as prologues and epilogues need."""

    registers: dict[int, int]
    memory: dict[int, int] = field(default_factory=dict)  # qwords

    def push(self, value: int) -> None:
        self.registers[Reg.RSP] -= 8
        self.memory[self.registers[Reg.RSP]] = value

    def pop(self) -> int:
        value = self.memory[self.registers[Reg.RSP]]
        self.registers[Reg.RSP] += 8
        return value


@dataclass(frozen=True)
class Instruction:
    """Its bytes and what it does to a Cpu."""

    code: bytes
    step: unwind.Step | None = None  # of a prologue
    epilogue: bool = False  # belongs to the pops and the return

    def run(self, cpu: Cpu) -> None:
        code, step, rsp = self.code, self.step, cpu.registers[Reg.RSP]
        match step:
            case unwind.Push(reg):
                cpu.push(cpu.registers[reg])
            case unwind.Allocate(size):
                cpu.registers[Reg.RSP] = rsp - size
            case unwind.SetFrame(reg, offset):
                cpu.registers[reg] = rsp + offset
            case unwind.Save(reg, offset):
                cpu.memory[rsp + offset] = cpu.registers[reg]
            case None:
                self.undo(cpu, code)

    @staticmethod
    def undo(cpu: Cpu, code: bytes) -> None:
        if code[:3] == b"\x48\x83\xc4":
            cpu.registers[Reg.RSP] += code[3]
        elif code[:3] == b"\x48\x83\xec":
            cpu.registers[Reg.RSP] -= code[3]
        elif code[:3] == b"\x48\x81\xc4":
            cpu.registers[Reg.RSP] += int.from_bytes(code[3:], "little")
        elif code[1:2] == b"\x8d" and code[2] & 0x38 == 0x20:  # lea rsp, [frame register + displacement]
            cpu.registers[Reg.RSP] = cpu.registers[code[2] & 7 | (code[0] & 1) << 3] + int.from_bytes(code[3:], "little", signed=True)
        elif code[1:2] == b"\x8b":  # mov reg, [rsp + displacement]
            reg = code[2] >> 3 & 7 | (code[0] & 4) << 1
            cpu.registers[reg] = cpu.memory[cpu.registers[Reg.RSP] + int.from_bytes(code[4:], "little")]
        elif code[0] & 0xF8 == 0x58:
            cpu.registers[code[0] & 7] = cpu.pop()
        elif code[0] == 0x41:
            cpu.registers[code[1] & 7 | 8] = cpu.pop()
        elif code[:1] == b"\xbb":  # mov ebx, constant: the body's own use
            cpu.registers[Reg.RBX] = 0x77


def rsp_relative(opcode: int, reg: Reg, offset: int) -> bytes:
    """opcode reg, [rsp+disp32]."""
    return bytes((0x48 | (reg >> 3) << 2, opcode, 0x84 | (reg & 7) << 3, 0x24)) + struct.pack("<i", offset)


@dataclass(frozen=True)
class Routine:
    """A function: its instructions, and its unwind data."""

    instructions: tuple[Instruction, ...]
    prologue: int  # instructions of it
    steps: tuple[tuple[int, unwind.Step], ...]
    second: bool  # version 2
    far: bool
    fragment: int | None  # index of the instruction from which on it is a fragment that chains to the rest

    def offsets(self) -> list[int]:
        """Where each instruction begins, and the end."""
        out = [0]
        for instruction in self.instructions:
            out.append(out[-1] + len(instruction.code))
        return out


@st.composite
def routines(draw: st.DrawFn) -> Routine:
    """What compilers make: pushes or saves, an allocation of any size, a frame register perhaps; the epilogue in the forms allowed."""
    saved = draw(st.lists(st.sampled_from(KEPT), unique=True, max_size=6))
    frame = draw(st.sampled_from([None, Reg.RBP, Reg.R13, Reg.RBX]))
    pushed = [r for r in saved if draw(st.booleans())]
    if frame is not None and frame not in pushed:
        pushed = [*pushed, frame]
    moved = [r for r in saved if r not in pushed]
    dynamic = frame is not None and draw(st.booleans())
    size = draw(st.sampled_from([0x20, 0x28, 0x78, 0x80, 0x88, 0x100, 0x5F8]))
    code: list[Instruction] = []
    code += [Instruction(bytes((0x41,) if reg >= 8 else ()) + bytes((0x50 | reg & 7,)), unwind.Push(reg)) for reg in pushed]
    short = size <= 0x7F
    subtract = b"\x48\x83\xec" + bytes((size,)) if short else b"\x48\x81\xec" + struct.pack("<I", size)
    code.append(Instruction(subtract, unwind.Allocate(size)))
    if frame is not None:
        offset = 16 * draw(st.integers(0, 7))
        code.append(
            Instruction(bytes((0x48 | (frame >> 3) << 2, 0x8D, 0x44 | (frame & 7) << 3, 0x24, offset)), unwind.SetFrame(frame, offset))
        )
    for number, reg in enumerate(moved):
        place = 8 * number if draw(st.booleans()) and 8 * number < size else size + 8 * len(pushed) + 8 + 8 * number
        code.append(Instruction(rsp_relative(0x89, reg, place), unwind.Save(reg, place)))
    prologue = len(code)
    steps, at = [], 0
    for instruction in code:
        at += len(instruction.code)
        assert instruction.step is not None
        steps.append((at, instruction.step))
    code += [Instruction(b"\x90"), Instruction(b"\xe8\0\0\0\0")]
    if frame != Reg.RBX and Reg.RBX in saved:
        code.append(Instruction(b"\xbb\x77\0\0\0"))
    if dynamic:
        code.append(Instruction(b"\x48\x83\xec\x40"))  # room of a size that only the running code knows
    fragment = len(code) if draw(st.booleans()) and draw(st.booleans()) else None
    code.append(Instruction(b"\x90"))
    for step in [s for _, s in steps if isinstance(s, unwind.Save)]:
        code.append(Instruction(rsp_relative(0x8B, step.reg, step.offset + (0x40 if dynamic else 0))))
    if frame is not None and (dynamic or draw(st.booleans())):
        back = size - offset
        wide = draw(st.booleans()) or not -128 <= back < 128
        modrm = (2 if wide else 1) << 6 | 4 << 3 | frame & 7
        code.append(Instruction(bytes((0x48 | frame >> 3, 0x8D, modrm)) + struct.pack("<i" if wide else "<b", back)))
    else:
        code.append(Instruction(b"\x48\x83\xc4" + bytes((size,)) if short else b"\x48\x81\xc4" + struct.pack("<I", size)))
    for reg in reversed(pushed):
        code.append(Instruction(bytes((0x41,) if reg >= 8 else ()) + bytes((0x58 | reg & 7,)), epilogue=True))
    last = draw(st.sampled_from([b"\xc3", b"\xf3\xc3", b"\xc2\0\0", b"\xe9\0\x04\0\0", b"\xff\x25\0\0\0\0", b"\x48\xff\xe0"]))
    code.append(Instruction(last, epilogue=True))
    return Routine(tuple(code), prologue, tuple(steps), draw(st.booleans()), draw(st.booleans()), fragment)


@lru_cache(maxsize=1)
def stage() -> tuple[Forged, int, int]:
    """A machine, the module whose pages are replaced, and the highest address of a stack."""
    machine = forged(STORY, BUILD, 1)
    module = next(m for m in machine.machine.modules if m.name == "acpi.sys")
    thread = next(t for t in machine.machine.threads if t.address not in machine.waiting and t.alive)
    return machine, module.base, thread.stack_base


def image_of(routine: Routine) -> dict[int, bytes]:
    """Pages of an image: headers, code at 0x1000, unwind data at 0x2000."""
    begin = 0x1100
    offsets = routine.offsets()
    end = begin + offsets[-1]
    code = bytearray(b"\xcc" * PAGE)
    body = b"".join(i.code for i in routine.instructions)
    code[0x100 : 0x100 + len(body)] = body
    distances = None
    if routine.second:
        size = sum(len(i.code) for i in routine.instructions if i.epilogue)
        distances = (size, (size,))
    split = end if routine.fragment is None else begin + offsets[routine.fragment]
    info = unwind.encode(routine.steps, epilogues=distances if split == end else None, far=routine.far)
    rows: list[unwind.Row] = [(begin, split, 0x2400)]
    data = bytearray(PAGE)
    data[0x400 : 0x400 + len(info)] = info
    if split != end:
        framed = next((step for _, step in routine.steps if isinstance(step, unwind.SetFrame)), None) if routine.far else None
        part = unwind.encode((), epilogues=distances, parent=rows[0], framed=framed)
        rows.append((split, end, 0x2800))
        data[0x800 : 0x800 + len(part)] = part
    rows += [(0x1010, 0x1020, 0x2400), (0x1F00, 0x1F80, 0x2400)]
    table = tables.runtime_functions(rows)
    data[: len(table)] = table
    head = headers.pack_headers(
        sections=[headers.Section(".text", PAGE, PAGE, PAGE, PAGE, headers.CODE | headers.EXECUTE)],
        directories={headers.DIR_EXCEPTION: (0x2000, len(table))}, entry=PAGE, timestamp=1, size_of_image=3 * PAGE,
    )  # fmt: skip
    return {0: head.ljust(PAGE, b"\0"), 1: bytes(code), 2: bytes(data)}


def played(routine: Routine, top: int, seed: int) -> Iterator[tuple[int, Cpu, int]]:
    """The state before each instruction: its offset, the processor, and the stack pointer of the caller.

    The caller is nt's system service, whose own frame hangs on RBP: it can be unwound only when that is restored.
    """
    machine = stage()[0].machine
    rng = random.Random(seed)
    returns = machine.nt_base + machine.kernel.exports["KiSystemServiceCopyEnd"] + 0x30
    outer = stacks.shape_at(machine, returns)
    assert outer is not None
    assert outer.frame is not None
    cpu = Cpu({reg: rng.getrandbits(32) for reg in range(16)})
    caller = top - 0x400
    cpu.registers[outer.frame[0]] = caller + outer.frame[1]
    for number, value in enumerate((0x7FF7_0000_1000, 0x33, 0x246, 0x10_0000, 0x2B)):
        cpu.memory[caller + outer.size + 8 * number] = value
    cpu.registers[Reg.RSP] = caller
    cpu.push(returns)
    for offset, instruction in zip(routine.offsets(), routine.instructions, strict=False):
        yield offset, Cpu(dict(cpu.registers), dict(cpu.memory)), caller
        instruction.run(cpu)


@settings(max_examples=60, deadline=None)
@given(routines(), st.integers(0, 1 << 30))
def test_every_instruction_of_a_function(routine: Routine, seed: int) -> None:
    machine, base, top = stage()
    image = image_of(routine)
    returns = machine.machine.nt_base + machine.machine.kernel.exports["KiSystemServiceCopyEnd"] + 0x30
    for offset, cpu, caller in played(routine, top, seed):
        rip = base + 0x1100 + offset
        stack = seen_with(image, cpu, rip)
        assert [f.address for f in stack] == [rip, returns], (offset, routine)
        assert stack[1].stack_pointer == caller
        assert stack.complete, (offset, stack.reason)
        assert stack.reason == "reached user mode"
        assert stack[0].function == base + 0x1100


# ---- what damaged data can do


def plain_routine() -> Routine:
    """push rbx; sub rsp, 0x20; a call; and back."""
    code = (
        Instruction(b"\x53", unwind.Push(Reg.RBX)), Instruction(b"\x48\x83\xec\x20", unwind.Allocate(0x20)), Instruction(b"\x90"),
        Instruction(b"\xe8\0\0\0\0"), Instruction(b"\x48\x83\xc4\x20"), Instruction(b"\x5b", epilogue=True),
        Instruction(b"\xc3", epilogue=True),
    )  # fmt: skip
    return Routine(code, 2, ((1, unwind.Push(Reg.RBX)), (5, unwind.Allocate(0x20))), False, False, None)


def seen_with(
    image: dict[int, bytes], cpu: Cpu, rip: int, *, stack: dict[int, bytes] | None = None, without: tuple[int, ...] = ()
) -> lh.Stack:
    """The stack that the reader makes of a processor's state, with pages of the image (by number) or of the stack (0 the highest) gone."""
    machine, base, top = stage()
    pages = {(machine.translate(base + page * PAGE) or 0) >> 12: body for page, body in image.items()}
    for number, va in enumerate((top - PAGE, top - 2 * PAGE)):
        body = bytearray(PAGE)
        for place, value in cpu.memory.items():
            if va <= place < va + PAGE:
                struct.pack_into("<Q", body, place - va, value & (1 << 64) - 1)
        pages[(machine.translate(va) or 0) >> 12] = (stack or {}).get(number, bytes(body))
    gone = [(machine.translate(va) or 0) >> 12 for va in without]
    with (
        lh.open(with_context(dump_bytes(STORY, BUILD, 1, 6), cpu.registers, rip)) as dump,
        dump.with_pages(pages) as changed,
        changed.without_pages(gone) as reduced,
    ):
        return reduced.kernel().stack()


def in_body(routine: Routine) -> tuple[Cpu, int, int]:
    """The state in the body: processor, code address, the caller's stack pointer."""
    _, base, top = stage()
    offset, cpu, caller = next(state for state in played(routine, top, 5) if state[0] == routine.offsets()[routine.prologue])
    return cpu, base + 0x1100 + offset, caller


def test_what_is_missing_is_named() -> None:
    _, base, top = stage()
    routine = plain_routine()
    cpu, rip, caller = in_body(routine)
    image = image_of(routine)
    assert seen_with(image, cpu, rip).complete
    for page in (0, 2):
        stack = seen_with(image, cpu, rip, without=(base + page * PAGE,))
        assert [f.address for f in stack] == [rip]
        assert stack.absent is not None
        assert stack.absent.kind == "not_captured"
        assert stack.absent.address is not None
        assert stack.absent.address & ~0xFFF == base + page * PAGE
    stack = seen_with(image, cpu, rip, without=(top - PAGE,))
    assert stack.absent == lh.Absent("not_captured", caller - 8)
    # Where it stands in the epilogue counts only for code that was interrupted: without its page that can't be seen.
    stack = seen_with(image, cpu, rip, without=(base + PAGE,))
    assert stack.absent is not None
    assert stack.absent.address == rip


def spoilt(image: dict[int, bytes], at: int, data: bytes) -> dict[int, bytes]:
    body = bytearray(image[2])
    body[at : at + len(data)] = data
    return {**image, 2: bytes(body)}


ROWS = struct.Struct("<3I")


@pytest.mark.parametrize(
    ("at", "data", "why"),
    [
        (0x400, b"\x03", "contradict"),  # version 3
        (0x400, b"\x00", "contradict"),
        (0x404, b"\x05\x0f", "contradict"),  # no such code
        (0x404, b"\x05\x21", "contradict"),  # an allocation of a third kind
        (0x402, b"\x01\x00\x05\x01", "contradict"),  # a code whose operand is cut off
        (0x404, b"\x05\x03", "contradict"),  # sets a frame register, and there is none
        (12, ROWS.pack(0x1100, 0x1200, 0x2FFF_FFFC), "contradict"),  # unwind data outside the image
        (12, ROWS.pack(0x1100, 0x1200, 13), "contradict"),  # a row that stands for itself
        (12, ROWS.pack(0x1100, 0x5000, 0x2400), "contradict"),  # longer than the image
        (12, ROWS.pack(0x1100, 0x1100, 0x2400), "contradict"),  # empty
        (0x400, bytes((0x21, 5, 0, 0)) + ROWS.pack(0x1100, 0x1200, 0x2400), "chain"),  # chains to itself
        (0x404, b"\x05\x02\x01\xb0", "no loaded module|a return address is none"),  # another shape of frame
    ],
)
def test_unwind_data_against_the_rules(at: int, data: bytes, why: str) -> None:
    routine = plain_routine()
    cpu, rip, caller = in_body(routine)
    for slot in range(caller - 0x200, caller + 0x200, 8):  # where a wrong frame would look for its return address
        cpu.memory.setdefault(slot, 0x1234)
    stack = seen_with(spoilt(image_of(routine), at, data), cpu, rip)
    assert not stack.complete
    assert re.search(why, stack.reason), stack.reason
    assert stack.absent is None


def test_a_row_that_stands_for_another() -> None:
    routine = plain_routine()
    cpu, rip, caller = in_body(routine)
    image = spoilt(image_of(routine), 12, ROWS.pack(0x1100, 0x1200, 0x2A00 | 1))
    stack = seen_with(spoilt(image, 0xA00, ROWS.pack(0x1010, 0x1020, 0x2400)), cpu, rip)
    assert stack.complete
    assert stack[1].stack_pointer == caller


def test_frames_that_do_not_go_up() -> None:
    """A frame register that leads back down makes a circle."""
    routine = plain_routine()
    _, base, top = stage()
    cpu, rip, caller = in_body(routine)
    # The prologue is said to have set rbx as the frame, and rbx to lie where the same return address stands again and again.
    info = unwind.encode(((4, unwind.SetFrame(Reg.RBX, 0)),))
    cpu.registers[Reg.RBX] = caller - 0x200
    cpu.memory[caller - 0x200] = base + 0x1108
    stack = seen_with(spoilt(image_of(routine), 0x400, info), cpu, rip)
    assert "upwards" in stack.reason
    assert len(stack) < 40
    assert top > caller


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 30))
def test_noise_in_all_that_is_read(seed: int) -> None:
    """Any bytes in table, unwind data, code and stack: an answer with a bounded number of frames."""
    rng = random.Random(seed)
    routine = plain_routine()
    cpu, rip, _ = in_body(routine)
    image = {page: bytearray(body) for page, body in image_of(routine).items()}
    stack = {number: bytearray(PAGE) for number in (0, 1)}
    _, base, top = stage()
    for place, value in cpu.memory.items():
        number = (top - 1 - place) // PAGE
        struct.pack_into("<Q", stack[number], place & 0xFFF, value & (1 << 64) - 1)
    for _ in range(rng.choice((1, 3, 30))):
        body = rng.choice((image[2], image[2], image[1], stack[0]))
        at = rng.choice((rng.randrange(0x40), 0x100 + rng.randrange(0x20), 0x400 + rng.randrange(0x20), rng.randrange(PAGE - 8)))
        word = rng.choice((rng.getrandbits(64), base + 0x1100 + rng.randrange(0x20), top - rng.randrange(0x1000), 0, 0xFF))
        body[at : at + 8] = struct.pack("<Q", word)
    answer = seen_with(
        {page: bytes(body) for page, body in image.items()}, cpu, rip, stack={number: bytes(body) for number, body in stack.items()}
    )
    assert 1 <= len(answer) <= 1024
    assert answer.reason


def test_a_call_in_the_last_place_of_a_function() -> None:
    """The return address is the begin of the next function, and belongs to the one in front of it."""
    routine = plain_routine()
    machine, base, _ = stage()
    cpu, _, caller = in_body(routine)
    image = image_of(routine)
    body = bytearray(image[2])
    body[12:36] = ROWS.pack(0x1100, 0x1110, 0x2400) + ROWS.pack(0x1110, 0x1180, 0x2A00)
    body[0xA00:0xA08] = unwind.encode(((4, unwind.Allocate(0x48)),)).ljust(8, b"\0")
    returns = machine.machine.nt_base + machine.machine.kernel.exports["KiSystemServiceCopyEnd"] + 0x30
    # A leaf function that is called by the last instruction.
    cpu.push(base + 0x1110)
    stack = seen_with({**image, 2: bytes(body)}, cpu, base + 0x1800)
    assert [f.address for f in stack] == [base + 0x1800, base + 0x1110, returns]
    assert stack[1].function == base + 0x1100
    assert stack[2].stack_pointer == caller
    # What has no unwind data has called nothing.
    cpu.memory[cpu.registers[Reg.RSP]] = base + 0x1900
    stack = seen_with({**image, 2: bytes(body)}, cpu, base + 0x1800)
    assert [f.address for f in stack] == [base + 0x1800, base + 0x1900]
    assert stack.reason == "code without unwind data made a call"


# ---- compiled drivers, and what LLVM reads in them


def test_compiled_functions_as_llvm_reads_them(tmp_path: Path) -> None:
    """For every function of the compiled drivers: the return address lies where the codes that llvm-readobj prints put it."""
    if missing := [*missing_tools(), *(["llvm-readobj"] if shutil.which("llvm-readobj") is None else [])]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    machine, base, top = stage()
    returns = machine.machine.nt_base + machine.machine.kernel.exports["KiSystemServiceCopyEnd"] + 0x30
    outer = stacks.shape_at(machine.machine, returns)
    assert outer is not None
    checked = 0
    for path in compile_drivers(tmp_path).values():
        image = load(path.read_bytes(), "acpi.sys")
        pages = {page: data for page, data in image.pages.items() if machine.translate(base + page * PAGE) is not None}
        text = subprocess.run(["llvm-readobj", "--unwind", path], capture_output=True, text=True, check=True).stdout
        for begin, size, pushed in llvm_frames(text):
            if image.exception_table[0] >> 12 not in pages or begin >> 12 not in pages:
                continue
            pointer = top - 0x900
            caller = pointer + size + 8
            cpu = Cpu(dict.fromkeys(range(16), 0))
            cpu.registers[Reg.RSP] = pointer
            cpu.memory[pointer + size] = returns
            for reg, place in pushed.items():
                cpu.memory[pointer + place] = caller + outer.frame[1] if outer.frame and reg == outer.frame[0] else 7
            cpu.registers[Reg.RBP] = caller + outer.frame[1] if outer.frame and Reg.RBP not in pushed else 9
            for number, value in enumerate((0x7FF7_0000_1000, 0x33, 0x246, 0x10_0000, 0x2B)):
                cpu.memory[caller + outer.size + 8 * number] = value
            body = begin + llvm_prologue(text, begin)
            stack = seen_with(pages, cpu, base + body)
            assert [f.address for f in stack][1:] == [returns], (path.name, hex(begin), stack)
            assert stack[1].stack_pointer == caller
            assert stack.complete
            checked += 1
    assert checked >= 12


def llvm_functions(text: str) -> Iterator[tuple[int, str]]:
    for part in text.split("RuntimeFunction {")[1:]:
        begin = re.search(r"StartAddress: \(0x([0-9A-F]+)\)", part)
        assert begin is not None
        yield int(begin[1], 16) - IMAGE_BASE if int(begin[1], 16) > IMAGE_BASE else int(begin[1], 16), part


def llvm_prologue(text: str, begin: int) -> int:
    part = dict(llvm_functions(text))[begin]
    found = re.search(r"PrologSize: (\d+)", part)
    assert found is not None
    return int(found[1])


def llvm_frames(text: str) -> Iterator[tuple[int, int, dict[Reg, int]]]:
    """Begin, distance from the body's stack pointer to the return address, and the places of pushed registers."""
    for begin, part in llvm_functions(text):
        size, pushed = 0, {}
        for op, detail in re.findall(r"0x[0-9A-F]+: (\w+)(.*)", part):
            if op in ("ALLOC_SMALL", "ALLOC_LARGE"):
                size += int(re.search(r"size=(\d+)", detail)[1])  # type: ignore[index]
            elif op == "PUSH_NONVOL":
                pushed[Reg[re.search(r"reg=(\w+)", detail)[1]]] = size  # type: ignore[index]
                size += 8
            elif op not in ("SAVE_NONVOL", "SAVE_XMM128"):
                break
        else:
            yield begin, size, pushed
