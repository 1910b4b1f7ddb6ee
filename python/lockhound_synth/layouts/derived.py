"""Layouts that no public symbol file gives as a whole: old module entries, build 26100 from the facts, a build that nobody knows."""

from __future__ import annotations

import random

from .offsets import BUILDS, SHAPES
from .shape import Shape

FACTS_ALONE, UNKNOWN = 26100, 23456
NEWEST = 22000  # what the two builds above are like, where nothing else is said

# KLDR_DATA_TABLE_ENTRY before Windows 10: the public type is LDR_DATA_TABLE_ENTRY, with the same first fields; the exception table's
# place and CheckSum are the documented ones of later kernels, and neither SizeOfImageNotRounded nor TimeDateStamp is known to exist.
OLD_KLDR_SIZE = 0x90
OLD_KLDR = {"ExceptionTable": (0x10, 8), "ExceptionTableSize": (0x18, 4), "LoadCount": (0x6C, 2), "CheckSum": (0x78, 4)}

# NT 5.2's list of trackers: what 7601 has instead is not public (facts C.1), so that the forge uses the last form that is.
OLD_TRACKER = Shape(
    "LOCK_TRACKER", 0x58,
    {
        "ListEntry": (0x0, 16), "Mdl": (0x10, 8), "StartVa": (0x18, 8), "Count": (0x20, 8), "Offset": (0x28, 4), "Length": (0x2C, 4),
        "Page": (0x30, 8), "CallingAddress": (0x38, 8), "CallersCaller": (0x40, 8), "Who": (0x48, 4), "Process": (0x50, 8),
    },
)  # fmt: skip
OLD_HEADER = Shape("LOCK_HEADER", 0x28, {"ListHead": (0x0, 16), "Count": (0x10, 8), "Lock": (0x18, 8), "Valid": (0x20, 4)})

# 26100 (facts B.7 "24H2 generation", C.1, A.5; sizes and the fields marked "chosen" are the forge's own).
EPROCESS_26100 = {
    "Pcb": (0x0, 0x1C8), "UniqueProcessId": (0x1D0, 8), "ActiveProcessLinks": (0x1D8, 16), "Flags": (0x1F4, 4), "CreateTime": (0x1F8, 8),
    "Token": (0x248, 8), "NumberOfPrivatePages": (0x288, 8), "NumberOfLockedPages": (0x290, 8), "SectionBaseAddress": (0x2B0, 8),
    "InheritedFromUniqueProcessId": (0x2D0, 8), "Peb": (0x2E0, 8), "Session": (0x2E8, 8), "ObjectTable": (0x300, 8),
    "ImageFileName": (0x338, 15), "ThreadListHead": (0x370, 16), "ActiveThreads": (0x380, 4), "LockedPagesList": (0x398, 8),
    "VmWorkingSetList": (0x410, 8), "ExitStatus": (0x554, 4), "VadRoot": (0x558, 8), "ExitTime": (0x5C0, 8),
}  # fmt: skip
EPROCESS_SIZE_26100 = 0x840
KPROCESS_26100 = {
    "Header": (0x0, 24), "ProfileListHead": (0x18, 16), "DirectoryTableBase": (0x28, 8), "ThreadListHead": (0x30, 16),
    "ProcessListEntry": (0x150, 16), "UserDirectoryTableBase": (0x160, 8),  # the last two are chosen
}  # fmt: skip
KPROCESS_SIZE_26100 = 0x1C8
# From 8.0 to 22000 these fields are frozen; Process was seen at 0x220 in public dumps of 26100, the stack fields in a table up to 28000.
KTHREAD_SIZE_26100 = 0x4A0  # chosen
ETHREAD_SIZE_26100 = 0x938  # chosen
ETHREAD_GROWTH_26100 = 0x20  # chosen: what lies behind the KTHREAD moves with it
PRCB_GROWTH_26100 = {"PPLookasideList": 0x100, "DpcStack": 0x180, "IsrStack": 0x180, "Context": 0x240, "KernelDirectoryTableBase": 0x1000}
PRCB_SIZE_26100 = 0xCF00  # chosen, as all of the above
HEADER_26100 = Shape(
    "LOCK_HEADER", 0x20, {"LockTree": (0x0, 8), "LockMdlSwitchedTree": (0x8, 8), "Count": (0x10, 8), "Lock": (0x18, 4), "Valid": (0x1C, 4)}
)
FAN_OUT_AT, FAN_OUT_STEP, FAN_OUT_COUNT = 0x200, 0x40, 4  # the four counters behind VmWorkingSetList

# Neighbours that have stood together in every known build (facts B.7): the unknown build keeps them so.
TOGETHER = (
    ("NumberOfPrivatePages", "NumberOfLockedPages"), ("UniqueProcessId", "ActiveProcessLinks"), ("InitialStack", "StackLimit"),
    ("StackLimit", "StackBase"), ("ThreadListHead", "ActiveThreads"), ("ActiveThreads", "LockedPagesList"),
)  # fmt: skip


def from_table(build: int) -> dict[str, Shape]:
    """The generated table's structures, with those that old kernels' symbol files do not name."""
    shapes = {name: Shape(name, *SHAPES[index]) for name, index in BUILDS[build].items()}
    if "KLDR_DATA_TABLE_ENTRY" not in shapes:
        public = shapes["LDR_DATA_TABLE_ENTRY"].fields
        shapes["KLDR_DATA_TABLE_ENTRY"] = Shape("KLDR_DATA_TABLE_ENTRY", OLD_KLDR_SIZE, {**public, **OLD_KLDR})
    if "LOCK_HEADER" not in shapes:
        shapes["LOCK_HEADER"], shapes["LOCK_TRACKER"] = OLD_HEADER, OLD_TRACKER
    return shapes


def facts_alone() -> dict[str, Shape]:
    """26100: no symbol file is public."""
    shapes = from_table(NEWEST)
    shapes["EPROCESS"] = Shape("EPROCESS", EPROCESS_SIZE_26100, EPROCESS_26100)
    shapes["KPROCESS"] = Shape("KPROCESS", KPROCESS_SIZE_26100, KPROCESS_26100)
    shapes["LOCK_HEADER"] = HEADER_26100
    thread, inner = shapes["ETHREAD"], shapes["KTHREAD"]
    shapes["KTHREAD"] = Shape("KTHREAD", KTHREAD_SIZE_26100, inner.fields)
    moved = {p: (o + ETHREAD_GROWTH_26100 if o else o, w) for p, (o, w) in thread.fields.items()}
    shapes["ETHREAD"] = Shape("ETHREAD", ETHREAD_SIZE_26100, moved)
    block = shapes["KPRCB"]
    fields = {p: (o + PRCB_GROWTH_26100.get(p, 0), w) for p, (o, w) in block.fields.items()}
    shapes["KPRCB"] = Shape("KPRCB", PRCB_SIZE_26100, fields)
    shapes["KPCR"] = Shape("KPCR", shapes["KPCR"].offset("Prcb") + PRCB_SIZE_26100, shapes["KPCR"].fields)
    return shapes


def shifted(seed: int) -> dict[str, Shape]:
    """A build between the known ones: the newest table's structures with fields pushed apart, in the same order and alignment."""
    rng = random.Random(f"unknown build/{seed}")
    shapes = from_table(NEWEST)
    inner = _push(rng, shapes["KTHREAD"], first=0x28, step=8)
    thread = shapes["ETHREAD"]
    growth = inner.size - shapes["KTHREAD"].size
    grown = Shape("ETHREAD", thread.size + growth, {p: (o + growth if o else o, w) for p, (o, w) in thread.fields.items()})
    shapes["KTHREAD"] = inner
    shapes["ETHREAD"] = _push(rng, grown, first=inner.size, step=8)
    shapes["EPROCESS"] = _push(rng, shapes["EPROCESS"], first=shapes["KPROCESS"].size, step=8)
    shapes["KPRCB"] = _push(rng, shapes["KPRCB"], first=0x8, step=0x40)
    shapes["KPCR"] = Shape("KPCR", shapes["KPCR"].offset("Prcb") + shapes["KPRCB"].size, shapes["KPCR"].fields)
    return shapes


def _push(rng: random.Random, shape: Shape, *, first: int, step: int) -> Shape:
    """Everything from an offset on moves up, each field at least as far as the one before it; the first one always moves."""
    moved: dict[str, tuple[int, int]] = {}
    shift, before = 0, ""
    for path, (offset, width) in sorted(shape.fields.items(), key=lambda item: item[1]):
        if offset >= first:
            if not shift:
                shift = step * rng.randrange(1, 5)
            elif (before, path) not in TOGETHER and rng.random() < 0.5:
                shift += step * rng.randrange(1, 5)
        moved[path] = offset + shift, width
        before = path
    return Shape(shape.name, shape.size + shift + step * rng.randrange(4), moved)
