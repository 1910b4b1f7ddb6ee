"""KDDEBUGGER_DATA64 (decoded, as in a crash dump) and the version block: offsets after the public SDK definition (wdbgexts.h)."""

from __future__ import annotations

import struct

from .machine import Machine
from .regions import highest_user
from .space import canonical

TAG = b"KDBG"
SIZES = {7601: 0x340, 9600: 0x360, 14393: 0x368, 17763: 0x380, 19041: 0x380, 22000: 0x390, 23456: 0x398, 26100: 0x3A0}
ADDRESSES = {
    0x48: "PsLoadedModuleList", 0x50: "PsActiveProcessHead", 0x58: "PspCidTable", 0x60: "ExpSystemResourcesList",
    0x88: "KiBugCheckData", 0x98: "ObpRootDirectoryObject", 0xC0: "MmPfnDatabase", 0x1C8: "MmHighestUserAddress",
    0x1D0: "MmSystemRangeStart", 0x1D8: "MmUserProbeAddress", 0x208: "NtBuildLab", 0x218: "KiProcessorBlock",
    0x220: "MmUnloadedDrivers", 0x228: "MmLastUnloadedDriver", 0x268: "CmNtCSDVersion", 0x270: "MmPhysicalMemoryBlock",
}  # fmt: skip


def fill_in(machine: Machine) -> None:
    """Writes the block, the version block and the globals they name."""
    layouts = machine.layouts
    size = SIZES[machine.build]
    block = bytearray(size)
    at = machine.symbol("KdDebuggerDataBlock")
    version_at = machine.symbol("KdVersionBlock")
    list_head = version_at + 0x30
    struct.pack_into("<2Q4sI", block, 0, list_head, list_head, TAG, size)
    struct.pack_into("<Q", block, 0x18, machine.nt_base)
    struct.pack_into("<H", block, 0x36, 4 << 2)  # paging levels
    for offset, name in ADDRESSES.items():
        if name in machine.kernel.symbols:
            struct.pack_into("<Q", block, offset, machine.symbol(name))
    struct.pack_into("<Q", block, 0x138, 0x1000)  # MmPageSize
    thread, inner, process = layouts["ETHREAD"], layouts["KTHREAD"], layouts["EPROCESS"]
    pcr, prcb = layouts["KPCR"], layouts["KPRCB"]
    words = {
        0x29A: inner.offset("Teb"), 0x29C: inner.offset("KernelStack"), 0x29E: inner.offset("InitialStack"),
        0x2A0: inner.offset("ApcState") + layouts["KAPC_STATE"].offset("Process"), 0x2A2: inner.offset("State"),
        0x2A8: process.size, 0x2AA: process.offset("Peb"), 0x2AC: process.offset("InheritedFromUniqueProcessId"),
        0x2AE: layouts["KPROCESS"].offset("DirectoryTableBase"), 0x2B0: prcb.size, 0x2B4: prcb.offset("CurrentThread"),
        0x2BC: prcb.offset("ProcessorState") + layouts["KPROCESSOR_STATE"].offset("ContextFrame"), 0x2BE: prcb.offset("Number"),
        0x2C0: thread.size, 0x2E0: pcr.size, 0x2E2: pcr.offset("Self"), 0x2E4: pcr.offset("CurrentPrcb"), 0x2E6: pcr.offset("Prcb"),
        0x2EC: inner.offset("InitialStack"), 0x2EE: inner.offset("StackLimit"),
        0x2F2: prcb.offset("ProcessorState") + layouts["KPROCESSOR_STATE"].offset("SpecialRegisters"), 0x338: prcb.offset("Context"),
        0x350: prcb.offset("IdleThread"),
    }  # fmt: skip
    for offset, value in words.items():
        if offset + 2 <= size:
            struct.pack_into("<H", block, offset, value)
    for offset, value in (
        (0x340, inner.offset("StackLimit")),
        (0x344, inner.offset("StackBase")),
        (0x34C, thread.offset("IrpList")),
        (0x35C, inner.offset("WaitReason")),
    ):
        if offset + 4 <= size:
            struct.pack_into("<I", block, offset, value)
    if size >= 0x368:
        struct.pack_into("<Q", block, 0x360, machine.space.pte_base)
    machine.space.write(at, bytes(block))
    version = struct.pack(
        "<5HBB4H3Q", 15, machine.build, 6, 2, 0x8664, 0x32, 0, 0, 0, 0, 0, machine.nt_base, machine.symbol("PsLoadedModuleList"), list_head
    )
    machine.space.write(version_at, version)
    machine.space.write(list_head, struct.pack("<2Q", at, at))
    machine.set_global("NtBuildNumber", 0xF000_0000 | machine.build)
    lab = f"{machine.build}.{machine.kernel.version[3]}.amd64fre.forge.{machine.seed % 10**6:06d}-0000"
    machine.space.write(machine.symbol("NtBuildLab"), lab.encode() + b"\0")
    machine.set_global("PsNtosImageBase", machine.nt_base)
    machine.set_global("MmPfnDatabase", machine.pfn_database)
    machine.set_global("MmPteBase", machine.space.pte_base)
    machine.set_global("PsInitialSystemProcess", machine.processes[0].address)
    machine.set_global("PsIdleProcess", machine.processes[0].address)
    machine.set_global("MmHighestUserAddress", highest_user(machine.build))
    machine.set_global("MmUserProbeAddress", highest_user(machine.build) + 1)
    machine.set_global("MmSystemRangeStart", canonical(0x100))
    _unloaded(machine)
    machine.label("kdbg", at)


def _unloaded(machine: Machine) -> None:
    """UNLOADED_DRIVERS: name, start, end, time; 50 entries of 0x28 bytes."""
    array = machine.nonpaged.alloc(50 * 0x28, b"MmDT")
    machine.label("unloaded_drivers", array, 50 * 0x28)
    for index, (name, start, end) in enumerate(machine.unloaded):
        text = machine.text(name, tag=b"MmDN", pool=machine.nonpaged)
        machine.space.write(
            array + index * 0x28, struct.pack("<2H4x4Q", 2 * len(name), 2 * len(name), text, start, end, machine.time - 10**8 * (index + 1))
        )
    machine.set_global("MmUnloadedDrivers", array)
    machine.set_global("MmLastUnloadedDriver", len(machine.unloaded))
