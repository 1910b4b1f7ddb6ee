"""The generated layout tables: they are what the generator writes, and they say what the literal tables of the facts say."""

from __future__ import annotations

import importlib.util
import json
import lzma
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# Facts B.7 and B.9, read off by eye. EPROCESS: size, UniqueProcessId, ActiveProcessLinks, Flags, ExitTime, NumberOfLockedPages,
# InheritedFromUniqueProcessId, ImageFileName, ThreadListHead, LockedPagesList.
EPROCESS = {
    "6.1.7601.24540": (0x4F8, 0x180, 0x188, 0x440, 0x170, 0x250, 0x290, 0x2E0, 0x308, 0x300),
    "6.3.9600.19913": (0x700, 0x2E0, 0x2E8, 0x2FC, 0x640, 0x390, 0x3D0, 0x438, 0x470, 0x498),
    "10.0.14393.4583": (0x7C8, 0x2E8, 0x2F0, 0x304, 0x690, 0x3A0, 0x3E0, 0x450, 0x488, 0x4B0),
    "10.0.17763.379": (0x850, 0x2E0, 0x2E8, 0x304, 0x690, 0x3A0, 0x3E0, 0x450, 0x488, 0x4B0),
    "10.0.18362.30": (0x880, 0x2E8, 0x2F0, 0x30C, 0x6C0, 0x3A8, 0x3E8, 0x450, 0x488, 0x4B0),
    "10.0.19041.804": (0xA40, 0x440, 0x448, 0x464, 0x840, 0x500, 0x540, 0x5A8, 0x5E0, 0x608),
    "10.0.20348.2400": (0xBC0, 0x440, 0x448, 0x464, 0x840, 0x500, 0x540, 0x5A8, 0x5E0, 0x608),
    "10.0.22000.318": (0xB80, 0x440, 0x448, 0x464, 0x840, 0x500, 0x540, 0x5A8, 0x5E0, 0x608),
}
EPROCESS_FIELDS = (
    "UniqueProcessId ActiveProcessLinks Flags ExitTime NumberOfLockedPages InheritedFromUniqueProcessId ImageFileName ThreadListHead "
    "LockedPagesList"
)
# KTHREAD: size, StackLimit, StackBase, KernelStack, ApcState, State, Process, ThreadListEntry.
KTHREAD = {
    "6.1.7601.24540": (0x368, 0x30, 0x278, 0x38, 0x50, 0x164, 0x210, 0x2F8),
    "6.3.9600.19913": (0x5D0, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
    "10.0.14393.4583": (0x5E0, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
    "10.0.17763.379": (0x5F0, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
    "10.0.18362.30": (0x600, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
    "10.0.19041.804": (0x430, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
    "10.0.20348.2400": (0x480, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
    "10.0.22000.318": (0x480, 0x30, 0x38, 0x58, 0x98, 0x184, 0x220, 0x2F8),
}
KTHREAD_FIELDS = "StackLimit StackBase KernelStack ApcState State Process ThreadListEntry"
# ETHREAD: size, Cid, IrpList, ThreadListEntry.
ETHREAD = {
    "6.1.7601.24540": (0x4A8, 0x3B8, 0x3F0, 0x428),
    "6.3.9600.19913": (0x778, 0x620, 0x658, 0x688),
    "10.0.14393.4583": (0x7E0, 0x630, 0x668, 0x698),
    "10.0.17763.379": (0x810, 0x638, 0x670, 0x6A8),
    "10.0.18362.30": (0x820, 0x648, 0x680, 0x6B8),
    "10.0.19041.804": (0x898, 0x478, 0x4B0, 0x4E8),
    "10.0.20348.2400": (0x8F0, 0x4C8, 0x500, 0x538),
    "10.0.22000.318": (0x8F0, 0x4C8, 0x500, 0x538),
}
# KPROCESS: size, DirectoryTableBase, UserDirectoryTableBase.
KPROCESS = {
    "6.1.7601.24540": (0x160, 0x28, 0x110),
    "6.3.9600.19913": (0x2C8, 0x28, 0x270),
    "10.0.14393.4583": (0x2D8, 0x28, 0x2C0),
    "10.0.17763.379": (0x2D8, 0x28, 0x278),
    "10.0.18362.30": (0x2E0, 0x28, 0x280),
    "10.0.19041.804": (0x438, 0x28, 0x388),
    "10.0.20348.2400": (0x438, 0x28, 0x388),
    "10.0.22000.318": (0x438, 0x28, 0x388),
}
# KPRCB: size, CurrentThread, IdleThread, Number, ProcessorState, Context, PPLookasideList.
KPRCB = {
    "6.1.7601.24540": (0x6F00, 8, 0x18, 0x24, 0x40, 0x53E0, 0x780),
    "6.3.9600.19913": (0x7EC0, 8, 0x18, 0x24, 0x40, 0x6180, 0x780),
    "10.0.14393.4583": (0x7EC0, 8, 0x18, 0x24, 0x40, 0x6300, 0x780),
    "10.0.17763.379": (0x7EC0, 8, 0x18, 0x24, 0x100, 0x62C0, 0x800),
    "10.0.18362.30": (0x8F00, 8, 0x18, 0x24, 0x100, 0x62C0, 0x800),
    "10.0.19041.804": (0xAF00, 8, 0x18, 0x24, 0x100, 0x85C0, 0x800),
    "10.0.20348.2400": (0xBF00, 8, 0x18, 0x24, 0x100, 0x8980, 0x800),
    "10.0.22000.318": (0xBF00, 8, 0x18, 0x24, 0x100, 0x89C0, 0x800),
}
# MMPFN by facts B.8: size, PteAddress, OriginalPte, u3, u4. KPROCESSOR_STATE.ContextFrame by B.9.
MMPFN_OLD, MMPFN_NEW = (0x30, 0x10, 0x20, 0x18, 0x28), (0x30, 8, 0x10, 0x20, 0x28)
MMPFN = {version: MMPFN_OLD if version.startswith("6.") else MMPFN_NEW for version in EPROCESS}
CONTEXT_FRAME = {
    "6.1.7601.24540": 0xE0,
    "6.3.9600.19913": 0xE0,
    "10.0.14393.4583": 0xE0,
    "10.0.17763.379": 0xF0,
    "10.0.18362.30": 0xF0,
    "10.0.19041.804": 0xF0,
    "10.0.20348.2400": 0xF0,
    "10.0.22000.318": 0xF0,
}
# Facts C.1, LOCK_TRACKER: Mdl, StartVa, Count, Offset, Length, Page, StackTrace, Who, Process.
TRACKER_OLD = (0x18, 0x20, 0x28, 0x30, 0x34, 0x38, 0x40, 0x80, 0x88)
TRACKER_NEW = (0x18, 0x20, 0x28, 0x30, 0x34, 0x40, 0x48, 0x38, 0x88)

# The same in all kernels, by facts B.1 to B.6 and B.9.
STABLE: dict[str, dict[str, int]] = {
    "MDL": {
        "Next": 0, "Size": 8, "MdlFlags": 0xA, "Process": 0x10, "MappedSystemVa": 0x18, "StartVa": 0x20, "ByteCount": 0x28,
        "ByteOffset": 0x2C,
    },
    "IRP": {
        "Type": 0, "Size": 2, "MdlAddress": 8, "Flags": 0x10, "AssociatedIrp": 0x18, "ThreadListEntry": 0x20, "IoStatus": 0x30,
        "RequestorMode": 0x40, "PendingReturned": 0x41, "StackCount": 0x42, "CurrentLocation": 0x43, "Cancel": 0x44, "CancelIrql": 0x45,
        "ApcEnvironment": 0x46, "AllocationFlags": 0x47, "UserIosb": 0x48, "UserEvent": 0x50, "Overlay": 0x58, "CancelRoutine": 0x68,
        "UserBuffer": 0x70, "DriverContext": 0x78, "Thread": 0x98, "AuxiliaryBuffer": 0xA0, "ListEntry": 0xA8, "CurrentStackLocation": 0xB8,
        "OriginalFileObject": 0xC0,
    },
    "IO_STACK_LOCATION": {
        "MajorFunction": 0, "MinorFunction": 1, "Flags": 2, "Control": 3, "Parameters": 8, "DeviceObject": 0x28, "FileObject": 0x30,
        "CompletionRoutine": 0x38, "Context": 0x40,
    },
    "DEVICE_OBJECT": {
        "Type": 0, "Size": 2, "DriverObject": 8, "NextDevice": 0x10, "AttachedDevice": 0x18, "CurrentIrp": 0x20, "Flags": 0x30,
        "DeviceExtension": 0x40, "DeviceType": 0x48, "StackSize": 0x4C, "DeviceObjectExtension": 0x138,
    },
    "DEVOBJ_EXTENSION": {"DeviceObject": 8, "AttachedTo": 0x30},
    "DRIVER_OBJECT": {
        "Type": 0, "Size": 2, "DeviceObject": 8, "Flags": 0x10, "DriverStart": 0x18, "DriverSize": 0x20, "DriverSection": 0x28,
        "DriverExtension": 0x30, "DriverName": 0x38, "DriverInit": 0x58, "DriverUnload": 0x68, "MajorFunction": 0x70,
    },
    "DRIVER_EXTENSION": {"DriverObject": 0, "AddDevice": 8, "ServiceKeyName": 0x18},
    "FILE_OBJECT": {
        "Type": 0, "Size": 2, "DeviceObject": 8, "Vpb": 0x10, "FsContext": 0x18, "FsContext2": 0x20, "Flags": 0x50, "FileName": 0x58,
        "CompletionContext": 0xB0, "IrpList": 0xC0,
    },
    "UNICODE_STRING": {"Length": 0, "MaximumLength": 2, "Buffer": 8},
    "LIST_ENTRY": {"Flink": 0, "Blink": 8},
    "KLDR_DATA_TABLE_ENTRY": {
        "InLoadOrderLinks": 0, "DllBase": 0x30, "EntryPoint": 0x38, "SizeOfImage": 0x40, "FullDllName": 0x48, "BaseDllName": 0x58,
        "Flags": 0x68,
    },
    "UNLOADED_DRIVERS": {"Name": 0, "StartAddress": 0x10, "EndAddress": 0x18, "CurrentTime": 0x20},
    "OBJECT_HEADER": {"PointerCount": 0, "HandleCount": 8, "TypeIndex": 0x18, "InfoMask": 0x1A, "Body": 0x30},
    "POOL_HEADER": {"PreviousSize": 0, "PoolIndex": 1, "BlockSize": 2, "PoolType": 3, "PoolTag": 4, "ProcessBilled": 8},
    "GENERAL_LOOKASIDE": {"ListHead": 0, "Depth": 0x10, "Type": 0x24, "Tag": 0x28, "Size": 0x2C},
    "KPCR": {"Self": 0x18, "CurrentPrcb": 0x20, "Prcb": 0x180},
    "KPRCB": {"CurrentThread": 8, "IdleThread": 0x18, "Number": 0x24},
    "KPROCESS": {"DirectoryTableBase": 0x28},
    "KTHREAD": {"StackLimit": 0x30, "ThreadListEntry": 0x2F8},
    "KAPC_STATE": {"Process": 0x20},
    "DISPATCHER_HEADER": {"Type": 0},
    "MMPFN": {"u4": 0x28},
}  # fmt: skip
STABLE_SIZES = {
    "MDL": 0x30, "IRP": 0xD0, "IO_STACK_LOCATION": 0x48, "DEVICE_OBJECT": 0x150, "DRIVER_OBJECT": 0x150, "FILE_OBJECT": 0xD8, "MMPFN": 0x30,
    "POOL_HEADER": 0x10, "UNLOADED_DRIVERS": 0x28, "GENERAL_LOOKASIDE": 0x80, "UNICODE_STRING": 0x10, "LIST_ENTRY": 0x10,
}  # fmt: skip
NO_OFFSET = 0xFFFF


@pytest.fixture(scope="module")
def generator(root: Path) -> ModuleType:
    """The generator, loaded from its place among the C sources."""
    path = root / "csrc" / "symbols" / "generate_tables.py"
    spec = importlib.util.spec_from_file_location("lockhound_generate_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    """The public tables that the rows are made of."""
    path = shared / "data" / "nt-layouts.json.xz"
    if not path.exists():
        pytest.skip("nt-layouts.json.xz is not here")
    return path


@pytest.fixture(scope="module")
def kernels(generator: ModuleType, data: Path) -> list[Any]:
    """All kernels of the data, as the generator sees them."""
    found: list[Any] = generator.read_kernels(data)
    return found


def offset(generator: ModuleType, shape: Any, structure: str, field: str) -> int:
    value: int = shape[0][generator.FIELDS.index((structure, field))]
    return value


def size(generator: ModuleType, shape: Any, structure: str) -> int:
    value: int = shape[1][list(generator.WANTED).index(structure)]
    return value


def shape_of(kernels: list[Any], version: str) -> Any:
    return next(kernel.shape for kernel in kernels if kernel.version == version)


def row(generator: ModuleType, shape: Any, structure: str, fields: str) -> tuple[int, ...]:
    return tuple(offset(generator, shape, structure, field) for field in fields.split())


def test_header_is_what_the_generator_writes(root: Path, generator: ModuleType) -> None:
    assert (root / "csrc" / "symbols" / "fields.h").read_text(encoding="utf-8") == generator.fields_header()


def test_tables_are_what_the_generator_writes(root: Path, generator: ModuleType, kernels: list[Any]) -> None:
    committed = (root / "csrc" / "symbols" / "tables.c").read_text(encoding="utf-8")
    assert committed == generator.tables_source(kernels)
    assert len(committed) < 400_000


def test_it_runs_as_a_command(root: Path, data: Path, tmp_path: Path) -> None:
    place = tmp_path / "csrc" / "symbols"
    place.mkdir(parents=True)
    (place / "generate_tables.py").write_bytes((root / "csrc" / "symbols" / "generate_tables.py").read_bytes())
    subprocess.run([sys.executable, place / "generate_tables.py", data], check=True)
    for name in ("fields.h", "tables.c"):
        assert (place / name).read_bytes() == (root / "csrc" / "symbols" / name).read_bytes()


@pytest.mark.parametrize("version", EPROCESS)
def test_structures_that_differ_between_builds(generator: ModuleType, kernels: list[Any], version: str) -> None:
    shape = shape_of(kernels, version)
    for structure, fields, expected in (
        ("EPROCESS", EPROCESS_FIELDS, EPROCESS),
        ("KTHREAD", KTHREAD_FIELDS, KTHREAD),
        ("ETHREAD", "Cid IrpList ThreadListEntry", ETHREAD),
        ("KPROCESS", "DirectoryTableBase UserDirectoryTableBase", KPROCESS),
        ("KPRCB", "CurrentThread IdleThread Number ProcessorState Context PPLookasideList", KPRCB),
        ("MMPFN", "PteAddress OriginalPte u3 u4", MMPFN),
    ):
        assert (size(generator, shape, structure), *row(generator, shape, structure, fields)) == expected[version], structure
    assert offset(generator, shape, "KPROCESSOR_STATE", "ContextFrame") == CONTEXT_FRAME[version]


def test_lock_tracker(generator: ModuleType, kernels: list[Any]) -> None:
    fields = "Mdl StartVa Count Offset Length Page StackTrace Who Process"
    for version in EPROCESS:
        build = int(version.split(".")[2])
        expected = (NO_OFFSET,) * 9 if build == 7601 else TRACKER_OLD if build <= 15063 else TRACKER_NEW
        shape = shape_of(kernels, version)
        assert row(generator, shape, "LOCK_TRACKER", fields) == expected
        assert size(generator, shape, "LOCK_TRACKER") == (0 if build == 7601 else 0x90)
        header = row(generator, shape, "LOCK_HEADER", "LockTree LockMdlSwitchedTree Count Lock Valid")
        assert header == (
            (NO_OFFSET,) * 5 if build == 7601 else (0, NO_OFFSET, 8, 0x10, 0x18) if build <= 15063 else (0, 8, 0x10, 0x18, 0x20)
        )


def test_stable_fields_are_so_in_every_kernel(generator: ModuleType, kernels: list[Any]) -> None:
    assert len(kernels) == 213
    for shape in [generator.agreement(kernels), *(kernel.shape for kernel in kernels)]:
        for structure, fields in STABLE.items():
            for field, expected in fields.items():
                assert offset(generator, shape, structure, field) == expected, f"{structure}.{field}"
        for structure, expected in STABLE_SIZES.items():
            assert size(generator, shape, structure) == expected, structure


def test_stable_row_claims_nothing_else(generator: ModuleType, kernels: list[Any]) -> None:
    known = {
        (structure, field)
        for (structure, field), value in zip(generator.FIELDS, generator.agreement(kernels)[0], strict=True)
        if value != NO_OFFSET
    }
    assert known - {("IRP", "Tail")} == {(structure, field) for structure, fields in STABLE.items() for field in fields}


def test_fields_that_move_within_a_build_need_the_pdb(generator: ModuleType, kernels: list[Any]) -> None:
    # facts B.7: Windows 7 before 24000 has Cid at 3b0, 14393 before 4583 has ExitTime at 688
    seven = generator.build_shape(7601, kernels)
    assert row(generator, seven, "ETHREAD", "Cid IrpList ThreadListEntry") == (NO_OFFSET,) * 3
    assert offset(generator, seven, "EPROCESS", "NumberOfLockedPages") == 0x250
    first = generator.build_shape(14393, kernels)
    assert row(generator, first, "EPROCESS", "ExitTime NumberOfLockedPages") == (NO_OFFSET, 0x3A0)
    for build in (7601, 9600, 14393):
        shape = generator.build_shape(build, kernels)
        assert offset(generator, shape, "KPROCESS", "UserDirectoryTableBase") == NO_OFFSET
        assert offset(generator, shape, "KPRCB", "Context") == NO_OFFSET
    # 20348: only the size of EPROCESS differs between its kernels
    server = generator.build_shape(20348, kernels)
    assert size(generator, server, "EPROCESS") == 0
    assert (0, *row(generator, server, "EPROCESS", EPROCESS_FIELDS)) == (0, *EPROCESS["10.0.20348.2400"][1:])


def test_disagreement_leaves_a_field_unknown(generator: ModuleType, kernels: list[Any]) -> None:
    mixed = [kernel for kernel in kernels if kernel.build in (17763, 19041)]
    shape = generator.agreement(mixed)
    assert offset(generator, shape, "EPROCESS", "NumberOfLockedPages") == NO_OFFSET
    assert size(generator, shape, "EPROCESS") == 0
    assert offset(generator, shape, "MDL", "Process") == 0x10


def test_older_loader_entries_give_only_what_is_sure(generator: ModuleType, kernels: list[Any]) -> None:
    for version in EPROCESS:
        shape = shape_of(kernels, version)
        later = row(generator, shape, "KLDR_DATA_TABLE_ENTRY", "ExceptionTable ExceptionTableSize TimeDateStamp")
        assert later == ((0x10, 0x18, 0x9C) if version.startswith("10.") else (NO_OFFSET,) * 3)


def test_globals_and_identity(generator: ModuleType, kernels: list[Any]) -> None:
    assert len({(kernel.guid, kernel.age) for kernel in kernels}) == 213
    kernel = next(kernel for kernel in kernels if kernel.version == "10.0.19041.804")
    assert kernel.label == "ntkrnlmp.pdb 10.0.19041.804 {5278AFF86C341677D7D7835C85B7B844}-1"
    assert kernel.stored_guid.hex() == "f8af7852346c7716d7d7835c85b7b844"
    for kernel in kernels:
        present = dict(zip(generator.GLOBALS, kernel.rvas, strict=True))
        missing = {name for name, rva in present.items() if rva == 0}
        assert missing <= {"ObHeaderCookie", "ExpPoolQuotaCookie"}, kernel.version


def test_slips_of_the_tables_are_one_build(kernels: list[Any]) -> None:
    assert sorted({kernel.build for kernel in kernels}) == [7601, 9600, 14393, 17763, 18362, 19041, 20348, 22000]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [([4, "unsigned long"], 4), ([0, "unsigned long:16:8"], 2), ([2, "unsigned short:8:8"], 3)],
)
def test_byte_offset(generator: ModuleType, entry: list[Any], expected: int) -> None:
    assert generator.byte_offset(entry) == expected


def test_bit_field_without_a_byte_of_its_own_is_refused(generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="does not fill bytes"):
        generator.byte_offset([0, "unsigned char:3:5"])


ISF = ("339E74133576439CBCDF7E0229DA3773", "5278AFF86C341677D7D7835C85B7B844", "32C1A669D5FFEFD41091F636CFDB6E99")
LDR_SHARED = "InLoadOrderLinks DllBase EntryPoint SizeOfImage FullDllName BaseDllName Flags".split()


def places(types: dict[str, Any], name: str, base: int = 0) -> dict[str, int]:
    """Byte offset of every field of a type, unnamed structures and unions opened; bit fields by the byte they begin in."""
    found: dict[str, int] = {}
    for field, entry in types[name]["fields"].items():
        kind = entry["type"]
        at = base + entry["offset"] + (kind["bit_position"] // 8 if kind["kind"] == "bitfield" else 0)
        found.setdefault(field, at)
        if str(kind.get("name", "")).startswith("__") and kind["kind"] in ("struct", "union"):
            for inner, offset_inside in places(types, kind["name"], at).items():
                found.setdefault(inner, offset_inside)
    return found


@pytest.mark.parametrize("guid", ISF)
def test_whole_symbol_files_agree(generator: ModuleType, kernels: list[Any], shared: Path, guid: str) -> None:
    """Every field, also those that the tables do not hold and the generator states (Tail, lookaside lists), and every global."""
    path = shared / "data" / "isf" / f"{guid}-1.json.xz"
    if not path.exists():
        pytest.skip("the complete symbol files are not here")
    with lzma.open(path, "rt", encoding="utf-8") as stream:
        isf = json.load(stream)
    types = isf["user_types"]
    kernel = next(kernel for kernel in kernels if kernel.guid == guid)
    compared = 0
    for structure, names in generator.WANTED.items():
        real = f"_{structure}" if f"_{structure}" in types else ""
        if structure == "KLDR_DATA_TABLE_ENTRY" and not real:
            real = "_LDR_DATA_TABLE_ENTRY"
            names = " ".join(LDR_SHARED)
        if not real:
            assert structure == "UNLOADED_DRIVERS" or (structure.startswith("LOCK_") and kernel.build == 7601)
            continue
        where = places(types, real)
        for field in names.split():
            assert offset(generator, kernel.shape, structure, field) == where.get(field, NO_OFFSET), f"{structure}.{field}"
            compared += 1
        if real == f"_{structure}":
            assert size(generator, kernel.shape, structure) == types[real]["size"], structure
    assert compared > 140
    for name, rva in zip(generator.GLOBALS, kernel.rvas, strict=True):
        assert rva == isf["symbols"].get(name, {"address": 0})["address"], name
