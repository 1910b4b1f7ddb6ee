"""The prebuilt drivers: plausible code that calls everything it imports, assembled by the forge where no compiler is at hand."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence

from .pe.assemble import (
    Address,
    Branch,
    Call,
    CallLocal,
    CallRegister,
    Compare,
    Function,
    Immediate,
    Label,
    Load,
    Move,
    Op,
    Reg,
    Return,
    Store,
    StoreData,
    Test,
)
from .pe.build import Blueprint, build
from .pe.load import LoadedImage, load

NT = "ntoskrnl.exe"
ROUTINES = ("DriverEntry", "Dispatch", "DispatchIo", "Complete", "Cancel", "Unload", "AddDevice", "Worker")
# Where a routine is called, if a driver imports it; what stands nowhere is called by Worker.
CALLS: dict[str, tuple[str, ...]] = {
    "DriverEntry": ("RtlInitUnicodeString", "IoCreateDevice", "KeInitializeEvent"),
    "Dispatch": ("IofCompleteRequest",),
    "DispatchIo": (
        "IoAllocateMdl", "MmProbeAndLockPages", "MmBuildMdlForNonPagedPool", "IoBuildPartialMdl", "IoMakeAssociatedIrp",
        "IoAllocateIrp", "IoBuildDeviceIoControlRequest", "IoBuildAsynchronousFsdRequest", "IofCallDriver",
    ),
    "Complete": ("MmUnlockPages", "IoFreeMdl", "IoFreeIrp", "KeSetEvent"),
    "Cancel": ("IofCompleteRequest",),
    "Unload": ("IoDeleteDevice", "ExFreePoolWithTag"),
    "AddDevice": ("IoCreateDevice", "IoAttachDeviceToDeviceStack"),
    "Worker": (),
}  # fmt: skip
STATUS_PENDING, STATUS_UNSUCCESSFUL, MORE_PROCESSING = 0x103, 0xC000_0001, 0xC000_0016  # ntstatus.h
NON_PAGED_POOL_NX = 0x200  # POOL_TYPE of wdm.h
NOTHING_FAILS = {"RtlInitUnicodeString", "KeInitializeEvent", "KeSetEvent", "IofCompleteRequest", "MmUnlockPages", "IoFreeMdl", "IoFreeIrp"}
RESULT = {"Dispatch": 0, "DispatchIo": STATUS_PENDING, "Complete": MORE_PROCESSING}


def _routine(name: str, calls: Sequence[str], rng: random.Random, *, pointers: bool = False, tag: bytes = b"") -> Function:
    """Keeps its second argument, makes the calls one after the other and gives up where one fails."""
    saves = [Reg.RBX, *rng.sample((Reg.RDI, Reg.RSI, Reg.R12, Reg.R14), rng.randrange(3))]
    ops: list[Op] = [Move(Reg.RBX, Reg.RDX)]
    for callee in calls:
        ops += [Load(Reg.RCX, Reg.RBX, rng.choice((0x08, 0x18, 0xB8))), Address(Reg.R8, "data")]
        ops += [Immediate(Reg.RDX, rng.choice((0, 1, 0x40))), Call(callee)]
        if callee not in NOTHING_FAILS:
            ops += [Test(Reg.RAX), Branch("s", "failed")]
        if callee in ("IoAllocateMdl", "IoAllocateIrp", "IoMakeAssociatedIrp"):
            ops += [Compare(Reg.RAX, 0), Branch("e", "failed"), Store(Reg.RBX, 0x78, Reg.RAX)]
        elif rng.random() < 0.3:
            ops.append(StoreData("data", Reg.RAX))
    if name == "Worker":
        if tag:
            ops += [Immediate(Reg.RCX, NON_PAGED_POOL_NX), Immediate(Reg.RDX, 0x60), Immediate(Reg.R8, int.from_bytes(tag, "little"))]
            ops += [Call("ExAllocatePoolWithTag"), Store(Reg.RBX, 0x80, Reg.RAX)]
        ops.append(CallLocal("Complete"))
        if pointers:
            ops += [Load(Reg.RAX, Reg.RBX, 0x20), CallRegister(Reg.RAX)]
    ops += [Immediate(Reg.RAX, RESULT.get(name, 0)), Return()]
    if any(isinstance(op, Branch) for op in ops):
        ops += [Label("failed"), Immediate(Reg.RAX, STATUS_UNSUCCESSFUL), Return()]
    return Function(name, ops, saves, rng.choice((0x20, 0x28, 0x48, 0x98)), "INIT" if name == "DriverEntry" else ".text")


def plain_file(
    name: str,
    rng: random.Random,
    *,
    imports: Sequence[str],
    file_version: tuple[int, int, int, int],
    company: str = "",
    pointers: bool = False,
    tag: bytes = b"",
) -> tuple[bytes, dict[str, int]]:
    """A driver file and the RVAs of its symbols."""
    told = {callee for calls in CALLS.values() for callee in calls}
    functions = []
    for routine in rng.sample(ROUTINES, len(ROUTINES)):
        calls = [c for c in CALLS[routine] if c in imports]
        if routine == "Worker":
            calls = [c for c in imports if c not in told]
        functions.append(_routine(routine, calls, rng, pointers=pointers, tag=tag))
    blueprint = Blueprint(
        functions=functions,
        imports={NT: list(imports)},
        timestamp=rng.randrange(0x5800_0000, 0x6300_0000),
        file_version=file_version,
        strings={
            "CompanyName": company or "Forged Systems",
            "FileDescription": f"{name} driver",
            "FileVersion": "{}.{}.{}.{}".format(*file_version),
            "OriginalFilename": name,
        },
        pdb=(uuid.UUID(int=rng.getrandbits(128), version=4), rng.randrange(1, 4), name.rpartition(".")[0] + ".pdb"),
        data={"data": rng.randrange(1, 0x180) * 16},
        pointers=("Dispatch", "DispatchIo", "Unload"),
    )
    return build(blueprint)


def plain_image(
    name: str,
    rng: random.Random,
    *,
    imports: Sequence[str],
    file_version: tuple[int, int, int, int],
    company: str = "",
    pointers: bool = False,
    tag: bytes = b"",
) -> LoadedImage:
    """A driver of a handful of pages, loaded; one that calls through pointers too, or allocates pool with a tag, if wanted."""
    data, symbols = plain_file(name, rng, imports=imports, file_version=file_version, company=company, pointers=pointers, tag=tag)
    return load(data, name, symbols)


def bound_image(name: str, rng: random.Random, imports: Mapping[str, Sequence[str]]) -> LoadedImage:
    """A driver that imports from other modules than nt too, and calls all of it in its worker."""
    names = [routine for routines in imports.values() for routine in routines]
    functions = [_routine(routine, names if routine == "Worker" else (), rng) for routine in rng.sample(ROUTINES, len(ROUTINES))]
    version = (1, rng.randrange(16), rng.randrange(5000), 0)
    blueprint = Blueprint(
        functions=functions,
        imports=imports,
        timestamp=rng.randrange(0x5800_0000, 0x6300_0000),
        file_version=version,
        strings={
            "CompanyName": "Forged Systems",
            "FileDescription": f"{name} driver",
            "FileVersion": "{}.{}.{}.{}".format(*version),
            "OriginalFilename": name,
        },
        pdb=(uuid.UUID(int=rng.getrandbits(128), version=4), 1, name.rpartition(".")[0] + ".pdb"),
        data={"data": rng.randrange(1, 0x180) * 16},
        pointers=("Dispatch", "DispatchIo", "Unload"),
    )
    data, symbols = build(blueprint)
    return load(data, name, symbols)
