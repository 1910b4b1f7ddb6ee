"""Code as witness on clients of KMDF: which calls through the framework's table have pages locked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import lockhound as lh
from lockhound_synth.driver_image import ROUTINES
from lockhound_synth.forge import Forged
from lockhound_synth.machine import Machine, Module
from lockhound_synth.pe.load import LoadedImage
from lockhound_synth.scenarios import frameworks, libraries
from lockhound_synth.scenarios.libraries import BIND, framework
from lockhound_synth.scenarios.stage import Stage
from tests.drivers.compile import compile_client, missing_tools
from tests.reader.scene import Loose

FOR_READ, FOR_WRITE = "WdfRequestProbeAndLockUserBufferForRead", "WdfRequestProbeAndLockUserBufferForWrite"
LOCKING = {
    "lock_for_read": {FOR_READ},
    "lock_for_write": {FOR_WRITE},
    "lock_both": {FOR_READ},
    "send_down": {"WdfIoTargetSendWriteSynchronously"},
}
# By name, how each is compiled.
CLIENTS = {
    "pointer0": ("-O0", "-DLOCKS"),
    "pointer1": ("-O1", "-DLOCKS"),
    "pointer2": ("-O2", "-DLOCKS"),
    "pointers": ("-Os", "-DLOCKS"),
    "guarded": ("-O2", "-DLOCKS", "-Xclang", "-cfguard"),
    "copy": ("-O2", "-DLOCKS", "-DCOPY"),
    "idle": ("-O2",),
    "unbound": ("-O2", "-DLOCKS"),
}


@dataclass(frozen=True)
class Clients:
    """Drivers in one dump."""

    modules: dict[str, Module]
    dump: lh.Dump


def machine_of_clients(out: Path) -> tuple[dict[str, Module], Forged]:
    """A machine that has loaded the compiled clients of KMDF."""
    stage = Loose("framework", 19041, 1)
    stage.make_victim()
    machine = stage.machine
    kmdf = framework(stage)
    loader = next(module for module in machine.modules if module.name == "wdfldr.sys")
    loader.symbols["WdfVersionBindClass"] = loader.symbols[BIND] + 0x10
    modules: dict[str, Module] = {}
    for name, flags in CLIENTS.items():
        module = modules[name] = machine.load(compile_client(out, name, *flags))
        if name != "copy":
            table = kmdf.module.base + 0x1000 if name != "unbound" else 0
            machine.space.write_u64(module.symbols["table_of_framework"], table)
            machine.space.write_u64(module.symbols["table_of_somebody"], loader.base + 0x1000)
        machine.space.write_u64(module.symbols["__guard_dispatch_icall_fptr"], module.symbols["dispatch_rax"])
    return modules, stage.finish()


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    modules, forged = machine_of_clients(tmp_path_factory.mktemp("framework"))
    with lh.open(forged.to_bytes(6)) as dump:
        yield Clients(modules, dump)


def sites(clients: Clients, name: str, role: str) -> dict[str, set[str]]:
    """Routines by the function that calls them."""
    module = clients.modules[name]
    profile = clients.dump.kernel().lock_profile(module.name)
    by_address = {address: symbol for symbol, address in module.symbols.items()}
    out: dict[str, set[str]] = {}
    for row in profile["sites"]:
        if row["role"] == role:
            at = module.base + int(row["function"].partition("+")[2], 16)
            out.setdefault(by_address[at], set()).add(row["routine"])
    return out


@pytest.mark.parametrize("name", sorted(set(CLIENTS) - {"idle", "unbound"}))
def test_locks_by_the_framework(clients: Clients, name: str) -> None:
    assert sites(clients, name, "lock_for") == LOCKING
    assert sites(clients, name, "lend") == {"borrow": {"WdfRequestRetrieveOutputWdmMdl"}}
    assert sites(clients, name, "lock") == {}
    profile = clients.dump.kernel().lock_profile(f"{name}.sys")
    assert profile["framework"] == {"bound": True, "known": True}
    assert profile["counts"]["lock_for"] >= len(LOCKING)
    forms = {row["form"] for row in profile["sites"] if row["role"] == "lock_for"}
    assert forms == {"dispatched"} if name == "guarded" else forms <= {"slot", "register"}
    assert not profile["findings"]


def test_none_by_a_client_that_only_borrows(clients: Clients) -> None:
    assert sites(clients, "idle", "lock_for") == {}
    assert sites(clients, "idle", "lend") == {"borrow": {"WdfRequestRetrieveOutputWdmMdl"}}
    profile = clients.dump.kernel().lock_profile("idle.sys")
    assert profile["framework"] == {"bound": True, "known": True}
    assert profile["whole"] is True


def test_a_table_that_is_none(clients: Clients) -> None:
    """The driver has not been bound: its pointer leads nowhere."""
    profile = clients.dump.kernel().lock_profile("unbound.sys")
    assert profile["framework"] == {"bound": True, "known": False}
    assert profile["counts"]["lock_for"] == 0


@pytest.mark.parametrize("symbol", ["table_of_framework", "info", "component"])
def test_what_is_missing_is_told(clients: Clients, symbol: str) -> None:
    module = clients.modules["pointer2"]
    kernel = clients.dump.kernel()
    name = module.symbols.get(symbol) or struct.unpack("<Q", kernel.read(module.symbols["info"] + 8, 8))[0]
    frame = kernel.walk(name).physical
    assert frame is not None
    part = clients.dump.without_pages([frame >> 12]).kernel().lock_profile(module.name)
    # the imports lie beside the name
    assert part["framework"] == {"bound": symbol != "component", "known": False}
    assert part["whole"] is False
    assert part["gap"]["kind"] == "not_captured"
    assert part["counts"]["lock_for"] == 0


NO_LOCK = "its code is all in the dump, and no call in it locks pages"


@pytest.mark.parametrize(
    ("flags", "weakened"), [((), True), (("-DLOCKS",), False), (("-DCLASS",), False), (("-DLOOKS",), False)], ids=lambda value: str(value)
)
def test_a_client_that_cannot_lock_is_named_less_surely(
    flags: tuple[str, ...], weakened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of KMDF holds the MDL; whether its code can have the framework lock changes how sure that is, and nobody's name."""
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")

    def client_image(machine: Machine, name: str) -> LoadedImage:
        loader = next(module for module in machine.modules if module.name == libraries.LOADER)
        loader.symbols["WdfVersionBindClass"] = loader.symbols[libraries.BIND] + 0x10
        kernel = machine.modules[0]
        kernel.symbols["MmGetSystemRoutineAddress"] = kernel.base + 0x2340
        image = compile_client(tmp_path, name.removesuffix(".sys"), "-O1", *flags)
        borrow = image.symbols["borrow"]
        return replace(image, symbols={**dict.fromkeys(ROUTINES, borrow), "data": image.symbols["step_count"], **image.symbols})

    monkeypatch.setattr(libraries, "client_image", client_image)
    stage = Stage("framework_context", 19041, 2)
    frameworks.framework_context(stage)
    kmdf = next(module for module in stage.machine.modules if module.name == "wdf01000.sys")
    for module in stage.machine.modules:
        if at := module.symbols.get("table_of_framework"):
            stage.machine.space.write_u64(at, kmdf.base + 0x1000)
    forged = stage.finish()
    with lh.open(forged.to_bytes(6)) as dump:
        case = dump.investigate(progress=False)
    assert (case.verdict.kind, case.verdict.driver) == (forged.truth.verdict["kind"], forged.truth.verdict["driver"])
    assert case.verdict.kind == "driver"
    reasons = [factor["statement"] for factor in case.verdict.confidence.factors]
    assert (NO_LOCK in reasons) == weakened
    words = [row["statement"] for suspect in case.suspects if suspect["driver"] == case.verdict.driver for row in suspect["evidence"]]
    told = [text for text in words if text.startswith("its code can have pages locked by the framework: ")]
    assert bool(told) == ("-DLOCKS" in flags)
    assert all(f"{case.verdict.driver}+0x" in text for text in told)
