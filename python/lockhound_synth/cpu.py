"""The processor block (KPCR, KPRCB) with its lookaside lists, and the crash: bug-check data, stack and context.

Index numbers of the lookaside pairs: _PP_NPAGED_LOOKASIDE_NUMBER in the public PDBs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from . import stacks
from .machine import Machine
from .physical import PAGE
from .processes import Thread
from .record import Record
from .regions import VISTA_LAYOUT

CONTEXT_COPY = 0x600  # below the frames: a local of the routine that stops the machine
CONTEXT_FLAGS = 0x0010_000F  # CONTEXT_AMD64 with control, integer, segments and floating point
PAIRS = 16
MDL_LIST = 3
LIST_TAGS = {0: b"IrpS", 1: b"IrpM", 2: b"IrpL", 3: b"Mdl "}
SHARED = {0: "IopSmallIrpLookasideList", 1: "IopMediumIrpLookasideList", 2: "IopLargeIrpLookasideList", 3: "IopMdlLookasideList"}
LIST_SIZES = {0: 0x118, 1: 0x1F0, 2: 0x4C0, 3: 0xE8}


@dataclass(slots=True)
class Crash:
    """The bug check as it was raised."""

    code: int
    parameters: tuple[int, int, int, int]
    thread: Thread
    context: bytes = b""
    callers: list[int] = field(default_factory=list)  # return addresses, where it was not a process's deletion
    frames: list[tuple[int, int]] = field(default_factory=list)  # under KeBugCheckEx: stack pointer and code address


def fill_in(machine: Machine, crash: Crash) -> int:
    """Writes the processor block and the crash; returns the KPRCB address and leaves the context in crash."""
    layouts, space = machine.layouts, machine.space
    pcr_shape, shape = layouts["KPCR"], layouts["KPRCB"]
    base = machine.system_pages(-(-pcr_shape.size // PAGE))
    prcb_at = base + pcr_shape.offset("Prcb")
    tables = machine.system_pages(3)
    pcr = Record(pcr_shape)
    pcr.set("Self", base).set("Used_Self", base).set("CurrentPrcb", prcb_at).set("GdtBase", tables).set("IdtBase", tables + PAGE)
    pcr.set("TssBase", tables + 0x80)
    pcr.set("Irql", 2).set("MajorVersion", 1).set("MinorVersion", 1).set("KdVersionBlock", machine.symbol("KdVersionBlock"))
    _interrupt_table(machine, tables + PAGE)
    crash.context = _crash_stack(machine, crash)
    prcb = Record(shape)
    idle = machine.processes[0].threads[0]
    context_at = machine.nonpaged.alloc(len(crash.context), b"Ctxt")
    space.write(context_at, crash.context)
    prcb.set("CurrentThread", crash.thread.address).set("IdleThread", idle.address).set("Number", 0).set("Context", context_at)
    state, special = layouts["KPROCESSOR_STATE"], layouts["KSPECIAL_REGISTERS"]
    registers = Record(special)
    registers.set("Cr0", 0x80050033).set("Cr3", crash.thread.process.space.dtb).set("Cr4", 0x370678).set("MsrGsBase", base)
    registers.set("MsrLStar", machine.nt_base + machine.kernel.exports["KiSystemServiceCopyEnd"])
    at = shape.offset("ProcessorState")
    frame = at + state.offset("SpecialRegisters")
    prcb.data[frame : frame + special.size] = registers.data
    frame = at + state.offset("ContextFrame")
    prcb.data[frame : frame + len(crash.context)] = crash.context
    if "KernelDirectoryTableBase" in shape:
        prcb.set("KernelDirectoryTableBase", machine.space.dtb)
    for index in range(PAIRS):
        own = _lookaside(machine, index, 0, machine.lookasides.get(index, [])[0::2])
        shared = _lookaside(
            machine, index, machine.symbol(SHARED[index]) if index in SHARED else 0, machine.lookasides.get(index, [])[1::2]
        )
        prcb.put("PPLookasideList", struct.pack("<2Q", own, shared), skip=16 * index)
        if index == MDL_LIST:
            machine.label("mdl_list:0", own)
            machine.label("mdl_list:1", shared)
    data = bytes(pcr)[: pcr_shape.offset("Prcb")] + bytes(prcb)
    space.write(base, data)
    machine.set_global("KiProcessorBlock", prcb_at)
    machine.set_global("KeNumberProcessors", 1)
    machine.set_global("KiBugCheckData", crash.code, *crash.parameters)
    machine.label("processor_block", machine.symbol("KiProcessorBlock"))
    machine.label("prcb_lookaside", prcb_at + shape.offset("PPLookasideList"))
    return prcb_at


def _interrupt_table(machine: Machine, at: int) -> None:
    """256 gates into nt's code; the format after the Intel SDM volume 3."""
    handler = machine.nt_base + machine.kernel.exports["KiPageFault"]
    gates = b""
    for _ in range(256):
        gates += struct.pack("<3HHI4x", handler & 0xFFFF, 0x10, 0x8E00, handler >> 16 & 0xFFFF, handler >> 32)
    machine.space.write(at, gates)


def _lookaside(machine: Machine, index: int, address: int, entries: list[int]) -> int:
    """A GENERAL_LOOKASIDE with freed entries chained through their first qwords."""
    layouts = machine.layouts
    shape = layouts["GENERAL_LOOKASIDE_POOL"]
    at = address or machine.nonpaged.alloc(0x80, b"LkaL")
    record = Record(shape)
    first = entries[0] if entries else 0
    sequence = machine.places.randrange(1, 0x4000) * 3
    low_bits = 1 if machine.build < VISTA_LAYOUT else 0  # HeaderType stands in bit 0 on Windows 7, also of an empty list
    record.put("ListHead", struct.pack("<2Q", len(entries) | sequence << 16, first | low_bits))
    record.set("Depth", 32).set("MaximumDepth", 256).set("TotalAllocates", sequence + 40).set("TotalFrees", sequence + 40 - len(entries))
    record.set("Type", 0x200).put("Tag", LIST_TAGS.get(index, b"Look")).set("Size", LIST_SIZES.get(index, 0x100))
    machine.space.write(at, bytes(record))
    for entry, following in zip(entries, [*entries[1:], 0], strict=False):
        machine.space.write_u64(entry, following)
    return at


def _crash_stack(machine: Machine, crash: Crash) -> bytes:
    """The frames of a process object's deletion on the current thread's stack, and the CONTEXT KeBugCheckEx captured."""
    nt = machine.nt_base
    exports = machine.kernel.exports
    thread = crash.thread
    parameters = crash.parameters
    if crash.code in (0x76, 0xCB):
        callers: tuple[str, ...] = (
            "MmDeleteProcessAddressSpace",
            "PspProcessDelete",
            "ObpRemoveObjectRoutine",
            "ObfDereferenceObjectWithTag",
            "ObpCloseHandle",
            "KiSystemServiceCopyEnd",
        )
    else:
        callers = ("KiPageFault", "NtDeviceIoControlFile", "KiSystemServiceCopyEnd")
    returns = crash.callers or [nt + exports[name] + machine.places.randrange(0x20, 0x70) for name in callers]
    laid = stacks.lay(machine, thread.stack_base, returns)
    top = laid.top
    # The home area of KeBugCheckEx's parameters, and the fifth behind it.
    machine.space.write(top + 8, struct.pack("<5Q", crash.code, *parameters))
    thread.stack_pointer = top
    crash.frames = laid.frames
    context = Record(machine.layouts["CONTEXT"])
    context.set("ContextFlags", CONTEXT_FLAGS).set("MxCsr", 0x1F80).set("SegCs", 0x10).set("SegSs", 0x18).set("EFlags", 0x246)
    rax = machine.layouts["CONTEXT"].offset("Rax")  # the registers lie in the order of their encoding
    for reg, value in laid.registers.items():
        struct.pack_into("<Q", context.data, rax + 8 * reg, value)
    context.set("Rsp", top).set("Rip", nt + exports["KeBugCheckEx"]).set("Rcx", crash.code).set("Rdx", parameters[0])
    context.set("R8", parameters[1]).set("R9", parameters[2])
    context.put("FltSave", struct.pack("<I", 0x1F80), skip=0x18)
    copy = machine.layouts["CONTEXT"].size
    machine.space.write(top - CONTEXT_COPY, bytes(context)[:copy])
    return bytes(context)
