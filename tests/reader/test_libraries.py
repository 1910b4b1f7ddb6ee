"""Each row of the table of libraries: every way to a client that it states is gone, and where there is no client nobody is named."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from lockhound_synth import io
from lockhound_synth.driver_image import NT, bound_image
from lockhound_synth.io import Driver
from lockhound_synth.scenarios.libraries import dispatched_by

from .scene import Scene
from .test_holders import judged, put, scene

ROW = re.compile(r'\{"(?P<file>[a-z0-9]+\.sys)",\s*(?P<clients>[A-Z|\s0]+)\}')
TABLE = Path(__file__).resolve().parents[2] / "csrc" / "nt" / "library.c"
ROUTINE = "Serve"  # stands for whatever the library's clients call


@lru_cache(maxsize=1)
def rows() -> dict[str, set[str]]:
    """The ways to a client by the file's name."""
    found = {m["file"]: set(re.findall(r"[A-Z]+", m["clients"])) for m in ROW.finditer(TABLE.read_text())}
    assert len(found) == TABLE.read_text().count('{"')
    return found


def library(where: Scene, file: str) -> Driver:
    stem = file.removesuffix(".sys")
    known = where.machine.drivers.get(stem)
    driver = known or io.make_driver(where.machine, stem, imports=(*io.LOCKING, "IoAllocateIrp", "IoFreeIrp"))
    driver.module.symbols[ROUTINE] = driver.module.symbols["Worker"]
    return driver


def client(where: Scene, of: Driver, *more: str) -> Driver:
    """Imports a routine of the library, and of nt nothing that locks, or these."""
    image = bound_image(f"cl{of.name}.sys", where.machine.rng, {NT: sorted((*io.COMMON, *more)), of.module.name: [ROUTINE]})
    return io.adopt_driver(where.machine, image)


def named(case: dict[str, Any]) -> set[str]:
    return {row["name"] for row in case["verdict"]["drivers"]}


def asked_by(where: Scene, way: str, of: Driver, one: Driver) -> None:
    """The library has a lock for the client, and this way leads to it."""
    mdl = where.lock(2)
    if way == "STACK":
        where.waits(mdl.address, of, one)
        return
    lower = where.device(library(where, "pci.sys"))
    where.device(one, above=lower)
    dispatched_by(where.stage, one, of)
    where.own(of, lower, mdl)


@pytest.mark.parametrize("way", ["STACK", "DEVICE"])
def test_every_way_to_a_client(way: str) -> None:
    where = scene(f"libraries_{way}")
    wanted = set()
    for file in (file for file, ways in rows().items() if way in ways):
        of = library(where, file)
        one = client(where, of)
        asked_by(where, way, of, one)
        if way == "DEVICE" or "LOCKS" in rows()[file]:
            wanted.add(one.module.name)
    case = judged(where)
    assert len(wanted) > 8
    assert named(case) == wanted
    assert case["verdict"]["confidence"]["level"] in ("medium", "low")
    assert "client" in {row["name"] for row in case["verdict"]["confidence"]["factors"]}


def test_who_calls_a_library_that_does_not_lock_must_lock_itself() -> None:
    """Such a library is given MDLs by its callers, which may have them from others."""
    where = scene("callers")
    passive = [file for file, ways in rows().items() if "STACK" in ways and "LOCKS" not in ways]
    wanted = set()
    for index, file in enumerate(passive):
        of = library(where, file)
        one = client(where, of, *(io.LOCKING if index % 2 else ()))
        asked_by(where, "STACK", of, one)
        wanted |= {one.module.name} if index % 2 else set()
    case = judged(where)
    assert len(passive) > 8
    assert named(case) == wanted


@pytest.mark.parametrize("kept", ["extension", "packet", "stack"])
def test_without_a_client_the_library_is_the_suspect(kept: str) -> None:
    """A driver stands by that calls each of them and has nothing to do with the lock."""
    where = scene(f"alone_{kept}")
    for file in rows():
        of = library(where, file)
        client(where, of)
        mdl = where.lock(2)
        if kept == "extension":
            put(where, where.device(of).extension + 0x20, mdl.address)
        elif kept == "packet":
            where.own(of, where.device(where.stage.windows["mouclass"]), mdl)
        else:
            where.waits(mdl.address, of)
    case = judged(where)
    assert case["verdict"]["kind"] == "unattributed", case["verdict"]
    assert not named(case)
    assert {row["driver"] for row in case["suspects"]} >= set(rows())
