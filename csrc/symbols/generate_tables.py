"""Writes symbols/fields.h and symbols/tables.c: structure layouts of Windows kernels, each row with its source.

Run it as ``python csrc/symbols/generate_tables.py [nt-layouts.json.xz]``; without an argument the file is looked for
under ``$LOCKHOUND_SHARED/data``, then under ``../shared/data`` beside the project. Both outputs are committed, so a
build needs neither Python nor the data.
"""

from __future__ import annotations

import json
import lzma
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCE = "JPCERTCC/Windows-Symbol-Tables (BSD-3-Clause)"
NO_OFFSET = 0xFFFF

# What the reader asks for, structure by structure. Names are those of the public PDBs.
WANTED: dict[str, str] = {
    "EPROCESS": "UniqueProcessId ActiveProcessLinks Flags CreateTime ExitTime NumberOfLockedPages ImageFileName "
    "LockedPagesList ThreadListHead InheritedFromUniqueProcessId",
    "KPROCESS": "DirectoryTableBase UserDirectoryTableBase",
    "KTHREAD": "Process ApcState StackLimit StackBase KernelStack State ThreadListEntry",
    "KAPC_STATE": "Process",
    "ETHREAD": "Cid IrpList ThreadListEntry",
    "DISPATCHER_HEADER": "Type",
    "KPCR": "Self CurrentPrcb Prcb",
    "KPRCB": "CurrentThread IdleThread Number PPLookasideList Context ProcessorState",
    "KPROCESSOR_STATE": "ContextFrame",
    "MMPFN": "PteAddress OriginalPte u2 u3 u4",
    "MDL": "Next Size MdlFlags AllocationProcessorNumber Reserved Process MappedSystemVa StartVa ByteCount ByteOffset",
    "IRP": "Type Size MdlAddress Flags AssociatedIrp ThreadListEntry IoStatus RequestorMode PendingReturned StackCount "
    "CurrentLocation Cancel CancelIrql ApcEnvironment AllocationFlags UserIosb UserEvent Overlay CancelRoutine "
    "UserBuffer Tail DriverContext Thread AuxiliaryBuffer ListEntry CurrentStackLocation OriginalFileObject",
    "IO_STACK_LOCATION": "MajorFunction MinorFunction Flags Control Parameters DeviceObject FileObject CompletionRoutine Context",
    "DEVICE_OBJECT": "Type Size DriverObject NextDevice AttachedDevice CurrentIrp Flags DeviceExtension DeviceType "
    "StackSize DeviceObjectExtension",
    "DEVOBJ_EXTENSION": "DeviceObject AttachedTo",
    "DRIVER_OBJECT": "Type Size DeviceObject Flags DriverStart DriverSize DriverSection DriverExtension DriverName "
    "DriverInit DriverUnload MajorFunction",
    "DRIVER_EXTENSION": "DriverObject AddDevice ServiceKeyName",
    "FILE_OBJECT": "Type Size DeviceObject Vpb FsContext FsContext2 Flags FileName CompletionContext IrpList",
    "UNICODE_STRING": "Length MaximumLength Buffer",
    "LIST_ENTRY": "Flink Blink",
    "KLDR_DATA_TABLE_ENTRY": "InLoadOrderLinks ExceptionTable ExceptionTableSize DllBase EntryPoint SizeOfImage "
    "FullDllName BaseDllName Flags TimeDateStamp",
    "UNLOADED_DRIVERS": "Name StartAddress EndAddress CurrentTime",
    "OBJECT_HEADER": "PointerCount HandleCount TypeIndex InfoMask Body",
    "POOL_HEADER": "PreviousSize PoolIndex BlockSize PoolType PoolTag ProcessBilled",
    "GENERAL_LOOKASIDE": "ListHead Depth Type Tag Size",
    "LOCK_TRACKER": "LockTrackerNode Mdl StartVa Count Offset Length Who Hash Page StackTrace Process",
    "LOCK_HEADER": "LockTree LockMdlSwitchedTree Count Lock Valid",
}

GLOBAL_NAMES = (
    "KdDebuggerDataBlock PsLoadedModuleList PsActiveProcessHead MmPfnDatabase MmUnloadedDrivers MmLastUnloadedDriver "
    "PsInitialSystemProcess PsIdleProcess KiProcessorBlock NtBuildNumber NtBuildLab KiBugCheckDriver KiBugCheckData "
    "MmTrackLockedPages ObTypeIndexTable ObpInfoMaskToOffset ObHeaderCookie ExpPoolQuotaCookie PoolBigPageTable "
    "PoolBigPageTableSize KdpDataBlockEncoded KiWaitNever KiWaitAlways MmProbeAndLockPages MmProbeAndLockProcessPages "
    "MmProbeAndLockSelectedPages MmUnlockPages"
)

# The type stream of the tables does not open the unnamed unions of _IRP: these are offsets inside Tail.Overlay,
# "unchanged 5.2...22000" (facts B.2, from the same PDBs).
IRP_TAIL = {
    "DriverContext": 0x00,
    "Thread": 0x20,
    "AuxiliaryBuffer": 0x28,
    "ListEntry": 0x30,
    "CurrentStackLocation": 0x40,
    "OriginalFileObject": 0x48,
}

# Not in any public PDB (facts B.5) or not among the tables' types (facts B.9); the same on every x64 build examined.
FIXED: dict[str, tuple[int, dict[str, int]]] = {
    "UNLOADED_DRIVERS": (0x28, {"Name": 0x00, "StartAddress": 0x10, "EndAddress": 0x18, "CurrentTime": 0x20}),
    "GENERAL_LOOKASIDE": (0x80, {"ListHead": 0x00, "Depth": 0x10, "Type": 0x24, "Tag": 0x28, "Size": 0x2C}),
}

# Older PDBs have no _KLDR_DATA_TABLE_ENTRY. Its first fields are those of the user-mode loader's type (facts B.5);
# later ones (TimeDateStamp) only share the name, so they are unknown there.
KLDR_FROM_LDR = ("InLoadOrderLinks", "DllBase", "EntryPoint", "SizeOfImage", "FullDllName", "BaseDllName", "Flags")

# The tables say 10.0.18326 for .535 and .778, which are updates of 18362: digits turned round. As one build the two
# can only take agreement away, never add it.
BUILD_SLIPS = {18326: 18362}

# Fields that servicing moved inside a build, seen in kernels outside these tables (facts B.7, B.9). The build alone
# does not tell them, even where every kernel of the tables agrees.
MOVED_WITHIN_BUILD: dict[int, tuple[str, ...]] = {
    7601: ("ETHREAD.Cid", "ETHREAD.IrpList", "ETHREAD.ThreadListEntry", "KPROCESS.UserDirectoryTableBase", "KPRCB.Context"),
    9600: ("KPROCESS.UserDirectoryTableBase", "KPRCB.Context"),
    14393: ("EPROCESS.ExitTime", "KPROCESS.UserDirectoryTableBase", "KPRCB.Context"),
}
SIZES_MOVED_WITHIN_BUILD: dict[int, tuple[str, ...]] = {
    7601: ("EPROCESS", "KTHREAD", "ETHREAD", "KPRCB", "KPCR"),
    9600: ("EPROCESS", "KPRCB", "KPCR"),
    14393: ("EPROCESS", "KPRCB", "KPCR"),
}

# What all kernels of the tables share but kernels before Windows 7 did not have there (facts B.4, B.6, B.7, B.9).
NOT_BEFORE_WINDOWS_7 = (
    "KTHREAD.ThreadListEntry",
    "KPRCB.Number",
    "FILE_OBJECT.CompletionContext",
    "FILE_OBJECT.IrpList",
    "OBJECT_HEADER.PointerCount",
    "OBJECT_HEADER.HandleCount",
    "OBJECT_HEADER.TypeIndex",
    "OBJECT_HEADER.InfoMask",
)
SIZES_NOT_BEFORE_WINDOWS_7 = ("FILE_OBJECT", "OBJECT_HEADER")

GLOBALS = GLOBAL_NAMES.split()
FIELDS = [(structure, field) for structure, names in WANTED.items() for field in names.split()]


def lookaside_offset(build: int) -> int:
    """KPRCB.PPLookasideList: facts B.9 gives 780 for 7601 to 14393 and 800 for 17763 to 22000."""
    if 7601 <= build <= 14393:
        return 0x780
    return 0x800 if 17763 <= build <= 22000 else NO_OFFSET


def byte_offset(entry: list[Any]) -> int:
    """Offset of a field; whole-byte bit fields (POOL_HEADER until 8.0) count as the byte they fill."""
    offset, kind = int(entry[0]), str(entry[1])
    parts = kind.split(":")
    if len(parts) == 3:
        position, length = int(parts[1]), int(parts[2])
        if position % 8 or length % 8:
            raise ValueError(f"bit field {kind} does not fill bytes")
        offset += position // 8
    return offset


Shape = tuple[tuple[int, ...], tuple[int, ...]]
"""Offsets by field and sizes by structure."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of the tables, reduced to what the reader asks for."""

    version: str
    build: int
    guid: str
    age: int
    pdb: str
    shape: Shape
    rvas: tuple[int, ...]

    @property
    def label(self) -> str:
        """Names the PDB: "ntkrnlmp.pdb 10.0.19041.804 {GUID}-1"."""
        return f"{self.pdb} {self.version} {{{self.guid}}}-{self.age:x}"

    @property
    def stored_guid(self) -> bytes:
        """The 16 bytes as a debug directory holds them: the first three parts are little-endian."""
        raw = bytes.fromhex(self.guid)
        return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def read_kernels(path: Path) -> list[Kernel]:
    """All kernels of the data file, by version."""
    with lzma.open(path, "rt", encoding="utf-8") as stream:
        data = json.load(stream)
    kernels = [reduce_kernel(kernel, data["type_tables"]) for kernel in data["kernels"]]
    return sorted(kernels, key=lambda k: ([int(part) for part in k.version.split(".")], k.guid))


def reduce_kernel(kernel: dict[str, Any], tables: list[dict[str, Any]]) -> Kernel:
    """Picks the wanted offsets and sizes of one kernel."""
    written = int(kernel["version"].split(".")[2])
    build = BUILD_SLIPS.get(written, written)
    offsets: list[int] = []
    sizes: list[int] = []
    for structure, names in WANTED.items():
        size, known = structure_layout(structure, build, kernel["types"], tables)
        sizes.append(size)
        offsets.extend(known.get(field, NO_OFFSET) for field in names.split())
    if max(offset for offset in offsets if offset != NO_OFFSET) >= NO_OFFSET or max(sizes) >= NO_OFFSET:
        raise ValueError(f"{kernel['version']}: an offset does not fit 16 bits")
    rvas = tuple(int(kernel["symbols"].get(name, 0)) for name in GLOBALS)
    shape = (tuple(offsets), tuple(sizes))
    return Kernel(str(kernel["version"]), build, str(kernel["guid"]).upper(), int(kernel["age"]), str(kernel["pdb"]), shape, rvas)


def structure_layout(structure: str, build: int, types: dict[str, int], tables: list[dict[str, Any]]) -> tuple[int, dict[str, int]]:
    """Size (0 unknown) and known field offsets of a structure in one kernel."""
    if structure in FIXED:
        return FIXED[structure]
    wanted = WANTED[structure].split()
    if structure == "KLDR_DATA_TABLE_ENTRY" and "_KLDR_DATA_TABLE_ENTRY" not in types:
        fields = tables[types["_LDR_DATA_TABLE_ENTRY"]]["fields"]
        return 0, {name: byte_offset(fields[name]) for name in KLDR_FROM_LDR}
    if f"_{structure}" not in types:
        return 0, {}
    table = tables[types[f"_{structure}"]]
    if table["name"] != f"_{structure}":
        raise ValueError(f"type table {table['name']} stands for _{structure}")
    known = {name: byte_offset(table["fields"][name]) for name in wanted if name in table["fields"]}
    if structure == "IRP":
        known.update({name: known["Tail"] + offset for name, offset in IRP_TAIL.items()})
    if structure == "KPRCB":
        known["PPLookasideList"] = lookaside_offset(build)
    return int(table["size"]), known


def agreement(kernels: list[Kernel]) -> Shape:
    """Offsets and sizes on which all the kernels agree; the rest unknown."""
    offsets = tuple(column[0] if len(set(column)) == 1 else NO_OFFSET for column in zip(*(k.shape[0] for k in kernels), strict=True))
    sizes = tuple(column[0] if len(set(column)) == 1 else 0 for column in zip(*(k.shape[1] for k in kernels), strict=True))
    return offsets, sizes


def without(shape: Shape, fields: tuple[str, ...], sizes: tuple[str, ...]) -> Shape:
    """The shape with some fields and sizes unknown."""
    names = [f"{structure}.{field}" for structure, field in FIELDS]
    if unknown := (set(fields) - set(names)) | (set(sizes) - set(WANTED)):
        raise ValueError(f"no such field: {sorted(unknown)}")
    return (
        tuple(NO_OFFSET if name in fields else offset for name, offset in zip(names, shape[0], strict=True)),
        tuple(0 if name in sizes else size for name, size in zip(WANTED, shape[1], strict=True)),
    )


def build_shape(build: int, kernels: list[Kernel]) -> Shape:
    """What the build number alone tells."""
    shape = agreement([kernel for kernel in kernels if kernel.build == build])
    return without(shape, MOVED_WITHIN_BUILD.get(build, ()), SIZES_MOVED_WITHIN_BUILD.get(build, ()))


def fields_header() -> str:
    """The text of fields.h."""
    lines = [
        "/* Names of structure fields, structures and kernel globals that layouts know. Generated by",
        " * symbols/generate_tables.py: do not edit. */",
        "#ifndef LHI_SYMBOLS_FIELDS_H",
        "#define LHI_SYMBOLS_FIELDS_H",
        "",
        "/* clang-format off */",
        "/* STRUCTURE_Field, names as in the public PDBs. The Tail.Overlay fields of an IRP stand beside the rest. */",
        "typedef enum lhi_field {",
        *(f"    LHI_F_{structure}_{field}," for structure, field in FIELDS),
        "    LHI_FIELD_COUNT",
        "} lhi_field;",
        "",
        "typedef enum lhi_size_of {",
        *(f"    LHI_SIZE_{structure}," for structure in WANTED),
        "    LHI_SIZE_COUNT",
        "} lhi_size_of;",
        "",
        "/* Globals of the kernel image, known as RVA for the kernels of the tables only. */",
        "typedef enum lhi_global {",
        *(f"    LHI_G_{name}," for name in GLOBALS),
        "    LHI_GLOBAL_COUNT",
        "} lhi_global;",
        "/* clang-format on */",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def numbers(values: tuple[int, ...]) -> str:
    """A brace list over several lines; an unknown offset stands as NO."""
    texts = ["NO" if value == NO_OFFSET else f"0x{value:x}" for value in values]
    lines = [", ".join(texts[begin : begin + 16]) for begin in range(0, len(texts), 16)]
    return "{" + ",\n      ".join(lines) + "}"


def told_by(kernels: list[Kernel]) -> str:
    """Says which kernels a build's row rests on, and whether more than they is known to exist."""
    build, first, last = kernels[0].build, kernels[0].version, kernels[-1].version
    text = f"all {len(kernels)} kernels, {first} to {last}, agree on" if len(kernels) > 1 else f"the one kernel, {first}, has"
    return text + (", but for fields that updates moved" if build in MOVED_WITHIN_BUILD else "")


def tables_source(kernels: list[Kernel]) -> str:
    """The text of tables.c."""
    builds = sorted({kernel.build for kernel in kernels})
    stable = agreement(kernels)
    older = without(stable, NOT_BEFORE_WINDOWS_7, SIZES_NOT_BEFORE_WINDOWS_7)
    by_build = {build: build_shape(build, kernels) for build in builds}
    shapes = list(dict.fromkeys([*(kernel.shape for kernel in kernels), *by_build.values(), stable, older]))
    index = {shape: number for number, shape in enumerate(shapes)}
    rows = list(dict.fromkeys(kernel.rvas for kernel in kernels))
    span = f"{len(kernels)} kernels, {kernels[0].version} to {kernels[-1].version}"
    lines = [
        "/* Layouts of NT kernels. Generated by symbols/generate_tables.py: do not edit.",
        " *",
        f" * From {SOURCE}: {span}.",
        " * What these tables do not hold (IRP's Tail, UNLOADED_DRIVERS, GENERAL_LOOKASIDE, KPRCB.PPLookasideList)",
        " * has its source in the generator. */",
        '#include "symbols/tables.h"',
        "",
        "/* clang-format off */",
        "#define NO LHI_NO_OFFSET",
        f'#define FROM "{SOURCE}, "',
        "#define SHAPE(n) shapes[n].offsets, shapes[n].sizes",
        "",
        "typedef struct lhi_shape {",
        "    uint16_t offsets[LHI_FIELD_COUNT];",
        "    uint32_t sizes[LHI_SIZE_COUNT];",
        "} lhi_shape;",
        "",
        f"static const lhi_shape shapes[{len(shapes)}] = {{",
    ]
    for number, shape in enumerate(shapes):
        users = [kernel.version for kernel in kernels if kernel.shape == shape]
        told = [f"build {build}" for build in builds if by_build[build] == shape]
        told += ["any build"] * (shape == stable) + ["before Windows 7"] * (shape == older)
        said = [f"{users[0]} to {users[-1]} ({len(users)})", *told] if users else told
        lines += [f"    /* {number}: {'; '.join(said)} */", f"    {{{numbers(shape[0])},", f"     {numbers(shape[1])}}},"]
    lines += ["};", "", f"static const uint32_t globals[{len(rows)}][LHI_GLOBAL_COUNT] = {{"]
    for rvas in rows:
        lines += [f"    /* {', '.join(kernel.version for kernel in kernels if kernel.rvas == rvas)} */", f"    {numbers(rvas)},"]
    lines += ["};", "", f"const size_t lhi_kernel_row_count = {len(kernels)};", "const lhi_kernel_row lhi_kernel_rows[] = {"]
    for kernel in kernels:
        guid = ", ".join(f"0x{byte:02x}" for byte in kernel.stored_guid)
        where = f"SHAPE({index[kernel.shape]}), globals[{rows.index(kernel.rvas)}]"
        lines += [
            f"    /* {SOURCE}, {kernel.label} */",
            f"    {{{{{guid}}}, {kernel.age},",
            f'     {{{kernel.build}, LHI_LAYOUT_PDB, FROM "{kernel.label}", {where}}}}},',
        ]
    lines += ["};", "", f"const size_t lhi_build_row_count = {len(builds)};", "const lhi_layout lhi_build_rows[] = {"]
    for build in builds:
        mine = [kernel for kernel in kernels if kernel.build == build]
        text = f"build {build}: what {told_by(mine)}"
        lines += [
            f"    /* {SOURCE}, {text} */",
            f'    {{{build}, LHI_LAYOUT_BUILD, FROM "{text}", SHAPE({index[by_build[build]]}), NULL}},',
        ]
    lines += [
        "};",
        "",
        "const lhi_layout lhi_stable_row = {",
        f'    0, LHI_LAYOUT_STABLE, FROM "unknown build: what all {span}, agree on", SHAPE({index[stable]}), NULL}};',
        "",
        "const lhi_layout lhi_older_row = {",
        f'    0, LHI_LAYOUT_STABLE, FROM "build before Windows 7: what it shares with all {span}", SHAPE({index[older]}), NULL}};',
        "/* clang-format on */",
    ]
    return "\n".join(lines) + "\n"


def default_data() -> Path:
    """Where the data lies when nobody says."""
    shared = os.environ.get("LOCKHOUND_SHARED")
    base = Path(shared) if shared else ROOT.parent / "shared"
    return base / "data" / "nt-layouts.json.xz"


def main(arguments: list[str]) -> int:
    """Writes both files beside this one."""
    data = Path(arguments[0]) if arguments else default_data()
    (HERE / "fields.h").write_text(fields_header(), encoding="utf-8")
    (HERE / "tables.c").write_text(tables_source(read_kernels(data)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
