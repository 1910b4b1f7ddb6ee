"""A client of a framework: it imports the routine that binds it, and of nt nothing that locks or makes packets."""

from __future__ import annotations

import uuid

from lockhound_synth import io
from lockhound_synth.driver_image import NT, ROUTINES, plain_image
from lockhound_synth.machine import Machine
from lockhound_synth.pe.assemble import Call, Function, Immediate, Reg, Return
from lockhound_synth.pe.build import Blueprint, build
from lockhound_synth.pe.load import LoadedImage, load

LOADER, BIND = "wdfldr.sys", "WdfVersionBind"  # public names: WDK, wdfldr.h
VERSION = (1, 15, 0, 0)


def load_framework(machine: Machine) -> None:
    """Loads the framework's loader, with the routine that clients bind by."""
    module = machine.load(plain_image(LOADER, machine.rng, imports=io.COMMON, file_version=VERSION, company="Microsoft Corporation"))
    module.symbols[BIND] = module.symbols["Worker"]


def client_image(name: str) -> LoadedImage:
    """The image of a client: every routine there is, one of which binds."""
    functions = [
        Function(routine, [*([Call(BIND)] if routine == "Worker" else []), Immediate(Reg.RAX, 0), Return()]) for routine in ROUTINES
    ]
    blueprint = Blueprint(
        functions=functions,
        imports={NT: ["RtlInitUnicodeString"], LOADER: [BIND]},
        timestamp=0x5E00_0000,
        file_version=VERSION,
        strings={"CompanyName": "Forged Systems", "FileDescription": name, "FileVersion": "1.15.0.0", "OriginalFilename": name},
        pdb=(uuid.UUID(int=0x1234, version=4), 1, "client.pdb"),
        data={"data": 0x100},
        pointers=("Dispatch", "DispatchIo"),
    )
    data, symbols = build(blueprint)
    return load(data, name, symbols)
