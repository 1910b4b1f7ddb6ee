"""Generates layouts/offsets.py and layouts/kernels.py from Volatility ISF data; run by hand, its output is committed.

    python -m lockhound_synth.generate_layouts DATA_DIR

DATA_DIR holds `types-six-kernels.json.xz` (about 120 types of six kernels in one table) and the complete ISF files of single
kernels, all from JPCERTCC/Windows-Symbol-Tables (BSD-3-Clause). The reader's tables come from another file by another
generator: a mistake in one of them must show as a disagreement, so this generator must never read the reader's source.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

TYPES = "types-six-kernels.json.xz"
HERE = Path(__file__).parent / "layouts"

# Only what the forge writes: (type, dotted paths). A path goes through nested structures, unions and unnamed members.
WANTED: dict[str, tuple[str, ...]] = {
    "_EPROCESS": (
        "Pcb",
        "UniqueProcessId",
        "ActiveProcessLinks",
        "Flags",
        "CreateTime",
        "ExitTime",
        "NumberOfPrivatePages",
        "NumberOfLockedPages",
        "SectionBaseAddress",
        "InheritedFromUniqueProcessId",
        "Peb",
        "ObjectTable",
        "ImageFileName",
        "ThreadListHead",
        "ActiveThreads",
        "LockedPagesList",
        "Token",
        "ExitStatus",
        "VadRoot",
        "Session",
    ),
    "_KPROCESS": ("Header", "DirectoryTableBase", "ThreadListHead", "ProcessListEntry", "UserDirectoryTableBase", "ProfileListHead"),
    "_DISPATCHER_HEADER": ("Type", "Size", "SignalState", "WaitListHead"),
    "_KTHREAD": (
        "Header",
        "InitialStack",
        "StackLimit",
        "StackBase",
        "KernelStack",
        "TrapFrame",
        "ApcState",
        "State",
        "WaitReason",
        "Process",
        "Teb",
        "PreviousMode",
        "ThreadListEntry",
    ),
    "_KAPC_STATE": ("ApcListHead", "Process"),
    "_ETHREAD": ("Tcb", "Cid", "IrpList", "StartAddress", "Win32StartAddress", "ThreadListEntry"),
    "_MDL": ("Next", "Size", "MdlFlags", "Process", "MappedSystemVa", "StartVa", "ByteCount", "ByteOffset"),
    "_IRP": (
        "Type",
        "Size",
        "MdlAddress",
        "Flags",
        "AssociatedIrp",
        "ThreadListEntry",
        "IoStatus",
        "RequestorMode",
        "PendingReturned",
        "StackCount",
        "CurrentLocation",
        "Cancel",
        "CancelIrql",
        "ApcEnvironment",
        "AllocationFlags",
        "UserIosb",
        "UserEvent",
        "Overlay",
        "CancelRoutine",
        "UserBuffer",
        "Tail.Overlay.DriverContext",
        "Tail.Overlay.Thread",
        "Tail.Overlay.AuxiliaryBuffer",
        "Tail.Overlay.ListEntry",
        "Tail.Overlay.CurrentStackLocation",
        "Tail.Overlay.OriginalFileObject",
    ),
    "_IO_STATUS_BLOCK": ("Status", "Information"),
    "_IO_STACK_LOCATION": (
        "MajorFunction",
        "MinorFunction",
        "Flags",
        "Control",
        "Parameters",
        "DeviceObject",
        "FileObject",
        "CompletionRoutine",
        "Context",
    ),
    "_DEVICE_OBJECT": (
        "Type",
        "Size",
        "ReferenceCount",
        "DriverObject",
        "NextDevice",
        "AttachedDevice",
        "CurrentIrp",
        "Flags",
        "Characteristics",
        "DeviceExtension",
        "DeviceType",
        "StackSize",
        "AlignmentRequirement",
        "DeviceObjectExtension",
    ),
    "_DEVOBJ_EXTENSION": ("Type", "Size", "DeviceObject", "DeviceNode", "AttachedTo"),
    "_DRIVER_OBJECT": (
        "Type",
        "Size",
        "DeviceObject",
        "Flags",
        "DriverStart",
        "DriverSize",
        "DriverSection",
        "DriverExtension",
        "DriverName",
        "HardwareDatabase",
        "DriverInit",
        "DriverUnload",
        "MajorFunction",
    ),
    "_DRIVER_EXTENSION": ("DriverObject", "AddDevice", "Count", "ServiceKeyName"),
    "_FILE_OBJECT": (
        "Type",
        "Size",
        "DeviceObject",
        "FsContext",
        "FsContext2",
        "FinalStatus",
        "Flags",
        "FileName",
        "IrpListLock",
        "IrpList",
    ),
    "_UNICODE_STRING": ("Length", "MaximumLength", "Buffer"),
    "_LIST_ENTRY": ("Flink", "Blink"),
    "_KLDR_DATA_TABLE_ENTRY": (
        "InLoadOrderLinks",
        "ExceptionTable",
        "ExceptionTableSize",
        "DllBase",
        "EntryPoint",
        "SizeOfImage",
        "FullDllName",
        "BaseDllName",
        "Flags",
        "LoadCount",
        "CheckSum",
        "SizeOfImageNotRounded",
        "TimeDateStamp",
    ),
    # The first fields of a module's entry where the kernel's own type is not public (7601, 9600).
    "_LDR_DATA_TABLE_ENTRY": (
        "InLoadOrderLinks",
        "DllBase",
        "EntryPoint",
        "SizeOfImage",
        "FullDllName",
        "BaseDllName",
        "Flags",
        "SectionPointer",
    ),
    "_OBJECT_HEADER": ("PointerCount", "HandleCount", "TypeIndex", "InfoMask", "Flags", "Body"),
    "_OBJECT_HEADER_NAME_INFO": ("Directory", "Name", "ReferenceCount"),
    "_OBJECT_TYPE": ("TypeList", "Name", "Index", "Key"),
    "_POOL_HEADER": ("PoolTag", "ProcessBilled"),
    "_MMSUPPORT_FULL": ("Instance",),
    "_MMPFN": ("PteAddress", "OriginalPte", "u2", "u3", "u4"),
    "_GENERAL_LOOKASIDE": ("ListHead", "Depth", "MaximumDepth", "TotalAllocates", "TotalFrees", "Type", "Tag", "Size"),
    "_GENERAL_LOOKASIDE_POOL": ("ListHead", "Depth", "MaximumDepth", "TotalAllocates", "TotalFrees", "Type", "Tag", "Size"),
    "_PP_LOOKASIDE_LIST": ("P", "L"),
    "_KPCR": (
        "GdtBase",
        "TssBase",
        "Self",
        "CurrentPrcb",
        "Used_Self",
        "IdtBase",
        "Irql",
        "MajorVersion",
        "MinorVersion",
        "KdVersionBlock",
        "Prcb",
    ),
    "_KPRCB": (
        "CurrentThread",
        "NextThread",
        "IdleThread",
        "Number",
        "ProcessorState",
        "Context",
        "PPLookasideList",
        "KernelDirectoryTableBase",
        "DpcStack",
        "IsrStack",
        "MHz",
        "VendorString",
        "CpuType",
    ),
    "_KPROCESSOR_STATE": ("SpecialRegisters", "ContextFrame"),
    "_KSPECIAL_REGISTERS": ("Cr0", "Cr2", "Cr3", "Cr4", "Idtr", "MsrGsBase", "MsrLStar"),
    "_CONTEXT": (
        "ContextFlags",
        "MxCsr",
        "SegCs",
        "SegSs",
        "EFlags",
        "Rax",
        "Rcx",
        "Rdx",
        "Rbx",
        "Rsp",
        "Rbp",
        "R8",
        "R9",
        "Rip",
        "FltSave",
    ),
    "_HANDLE_TABLE": ("TableCode", "QuotaProcess", "HandleTableList", "UniqueProcessId"),
    "_HANDLE_TABLE_ENTRY": (),
    "_LOCK_HEADER": ("LockTree", "LockMdlSwitchedTree", "Count", "Lock", "Valid"),
    "_LOCK_TRACKER": ("LockTrackerNode", "Mdl", "StartVa", "Count", "Offset", "Length", "Who", "Hash", "Page", "StackTrace", "Process"),
    "_KUSER_SHARED_DATA": (
        "SystemTime",
        "NtSystemRoot",
        "NtBuildNumber",
        "NtProductType",
        "NtMajorVersion",
        "NtMinorVersion",
        "NumberOfPhysicalPages",
        "TickCount",
    ),
    "_DBGKD_GET_VERSION64": ("MajorVersion", "MinorVersion", "MachineType", "KernBase", "PsLoadedModuleList", "DebuggerDataList"),
}

# Globals of the genuine kernels that a forged machine can be given the identity of. Version and SizeOfImage: winsiderss/systeminformer
# kphdyn.xml (MIT), entries of ntoskrnl.exe for amd64.
GENUINE: dict[str, str] = {
    "7601": "339E74133576439CBCDF7E0229DA3773-1",
    "19041": "5278AFF86C341677D7D7835C85B7B844-1",
    "22000": "32C1A669D5FFEFD41091F636CFDB6E99-1",
}
SYMBOLS = (
    "PsLoadedModuleList",
    "PsActiveProcessHead",
    "KdDebuggerDataBlock",
    "KdVersionBlock",
    "NtBuildLab",
    "NtBuildNumber",
    "KiBugCheckData",
    "MmPfnDatabase",
    "PsInitialSystemProcess",
    "PsNtosImageBase",
    "MmUnloadedDrivers",
    "MmLastUnloadedDriver",
    "MmPteBase",
    "ObHeaderCookie",
    "ObTypeIndexTable",
    "KiProcessorBlock",
    "IopMdlLookasideList",
    "IopLargeIrpLookasideList",
    "IopSmallIrpLookasideList",
    "IopMediumIrpLookasideList",
    "KiBugCheckDriver",
    "MmTrackLockedPages",
    "ExpPoolQuotaCookie",
    "KeNumberProcessors",
    "PsIdleProcess",
    "KiInitialProcess",
    "KiInitialThread",
    "IoDeviceObjectType",
    "IoDriverObjectType",
    "IoFileObjectType",
    "PsProcessType",
    "PsThreadType",
    "KdpDataBlockEncoded",
    "PspCidTable",
    "ObpInfoMaskToOffset",
    "MmSystemRangeStart",
    "MmUserProbeAddress",
    "MmHighestUserAddress",
    "ObpRootDirectoryObject",
    "MmPhysicalMemoryBlock",
    "KiWaitNever",
    "KiWaitAlways",
    "PoolBigPageTable",
    "PsInvertedFunctionTable",
    "ExpSystemResourcesList",
    "CmNtCSDVersion",
)
# Globals that only genuine kernels get: for others nothing tells where they lie.
FURTHER = ("PoolBigPageTableSize",)
# Routines a driver imports; their RVAs make the export table of a forged genuine kernel true.
ROUTINES = (
    "DbgPrint",
    "ExAllocatePoolWithTag",
    "ExFreePoolWithTag",
    "IoAllocateIrp",
    "IoAllocateMdl",
    "IoAttachDeviceToDeviceStack",
    "IoBuildAsynchronousFsdRequest",
    "IoBuildDeviceIoControlRequest",
    "IoBuildPartialMdl",
    "IoBuildSynchronousFsdRequest",
    "IoCreateDevice",
    "IoDeleteDevice",
    "IoDetachDevice",
    "IoFreeIrp",
    "IoFreeMdl",
    "IoInitializeIrp",
    "IoMakeAssociatedIrp",
    "IofCallDriver",
    "IofCompleteRequest",
    "KeBugCheckEx",
    "KeInitializeEvent",
    "KeSetEvent",
    "KeWaitForSingleObject",
    "MmBuildMdlForNonPagedPool",
    "MmMapLockedPagesSpecifyCache",
    "MmProbeAndLockPages",
    "MmUnlockPages",
    "MmUnmapLockedPages",
    "ObfDereferenceObject",
    "ObReferenceObjectByHandle",
    "PsGetCurrentProcessId",
    "PsSetCreateProcessNotifyRoutine",
    "RtlInitUnicodeString",
    "IopInvalidDeviceRequest",
    "KiPageFault",
    "PspExitThread",
    "MmDeleteProcessAddressSpace",
    "PspProcessDelete",
    "ObpRemoveObjectRoutine",
    "ObfDereferenceObjectWithTag",
    "PspSystemThreadStartup",
    "KiStartSystemThread",
    "NtDeviceIoControlFile",
    "ObpCloseHandle",
    "KiSystemServiceCopyEnd",
)
# Routines that stand on stacks only.
PRIVATE = (
    "MiFreeMdlTracker",
    "IopfCompleteRequest",
    "IopSynchronousServiceTail",
    "KiSwapContext",
    "KiSwapThread",
    "KiCommitThreadWait",
    "VerifierMmUnlockPages",
)


class Flattener:
    """Resolves dotted paths in one kernel's types, looking through unnamed members."""

    def __init__(self, types: dict[str, Any], bases: dict[str, Any]) -> None:
        self.types = types
        self.bases = bases

    def size_of(self, kind: dict[str, Any]) -> int:
        if kind["kind"] == "pointer":
            return 8
        if kind["kind"] == "array":
            return int(kind["count"]) * self.size_of(kind["subtype"])
        if kind["kind"] == "bitfield":
            return self.size_of(kind["type"])
        if kind["kind"] == "enum":
            return 4
        if kind["kind"] in ("struct", "union", "class"):
            return int(self.types[kind["name"]]["size"])
        return int(self.bases[kind["name"]]["size"])

    def find(self, type_name: str, path: list[str]) -> tuple[int, int] | None:
        fields = self.types[type_name]["fields"]
        entry = fields.get(path[0])
        if entry is None:
            for name, hidden in fields.items():
                inner = hidden["type"]
                if (hidden.get("anonymous") or name.startswith(("u", "__"))) and inner["kind"] in ("struct", "union"):
                    found = self.find(inner["name"], path)
                    if found is not None:
                        return hidden["offset"] + found[0], found[1]
            return None
        if len(path) == 1:
            return int(entry["offset"]), self.size_of(entry["type"])
        if entry["type"]["kind"] not in ("struct", "union"):
            return None
        deeper = self.find(entry["type"]["name"], path[1:])
        return None if deeper is None else (int(entry["offset"]) + deeper[0], deeper[1])


def flatten(types: dict[str, Any], bases: dict[str, Any]) -> dict[str, tuple[int, dict[str, tuple[int, int]]]]:
    """The wanted fields of one kernel: {type: (size, {path: (offset, size)})}."""
    flat = Flattener(types, bases)
    out: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {}
    for type_name, paths in WANTED.items():
        if type_name not in types:
            continue
        fields: dict[str, tuple[int, int]] = {}
        for path in paths:
            found = flat.find(type_name, path.split("."))
            if found is not None:
                fields[path] = found
        out[type_name.lstrip("_")] = (int(types[type_name]["size"]), fields)
    return out


def write_offsets(data: dict[str, Any]) -> None:
    per_build: dict[str, dict[str, int]] = {}
    shapes: list[tuple[int, dict[str, tuple[int, int]]]] = []
    for build, kernel in data["builds"].items():
        types = {name: data["table"][index] for name, index in kernel["types"].items()}
        rows: dict[str, int] = {}
        for name, shape in flatten(types, data["base_types"]).items():
            if shape not in shapes:
                shapes.append(shape)
            rows[name] = shapes.index(shape)
        per_build[build] = rows
    lines = [
        '"""Structure offsets that the forge writes, per build. Generated by lockhound_synth/generate_layouts.py; do not edit.',
        "",
        f"Source: {TYPES} ({data['source']}).",
        '"""',
        "",
        "# ruff: noqa: E501",
        "# fmt: off",
        f"SOURCE = {TYPES!r}",
        "PDB_GUIDS: dict[int, str] = {",
        *[f"    {build}: {guid!r}," for build, guid in data["pdbs"].items()],
        "}",
        "# (size, {path: (offset, size)})",
        "SHAPES: tuple[tuple[int, dict[str, tuple[int, int]]], ...] = (",
        *[f"    ({size}, {fields!r})," for size, fields in shapes],
        ")",
        "BUILDS: dict[int, dict[str, int]] = {",
        *[f"    {build}: {rows!r}," for build, rows in per_build.items()],
        "}",
        "",
    ]
    (HERE / "offsets.py").write_text("\n".join(lines))


def write_kernels(folder: Path) -> None:
    lines = [
        '"""Globals of genuine kernels whose identity a machine can take. Generated by lockhound_synth/generate_layouts.py; do not edit.',
        "",
        "Source: complete ISF files of JPCERTCC/Windows-Symbol-Tables (BSD-3-Clause).",
        '"""',
        "",
        "# ruff: noqa: E501",
        "# fmt: off",
        "# build: (PDB GUID, age, {symbol: RVA})",
        "KERNELS: dict[int, tuple[str, int, dict[str, int]]] = {",
    ]
    for build, stem in GENUINE.items():
        with lzma.open(folder / f"{stem}.json.xz") as stream:
            isf = json.load(stream)
        pdb = isf["metadata"]["windows"]["pdb"]
        symbols = {
            name: isf["symbols"][name]["address"]
            for name in dict.fromkeys(SYMBOLS + FURTHER + ROUTINES + PRIVATE)
            if name in isf["symbols"]
        }
        lines.append(f"    {build}: ({pdb['GUID']!r}, {pdb['age']}, {symbols!r}),")
    lines += ["}", ""]
    (HERE / "kernels.py").write_text("\n".join(lines))


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m lockhound_synth.generate_layouts DATA_DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    with lzma.open(folder / TYPES) as stream:
        write_offsets(json.load(stream))
    write_kernels(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
