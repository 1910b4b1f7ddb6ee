"""Pool tags as leads: a driver with a constant that is the tag of a block nobody keeps is a suspect, and never more."""

from __future__ import annotations

from typing import Any

import pytest

from lockhound_synth import scenarios
from lockhound_synth.machine import Module
from lockhound_synth.scenarios.chains import TAG
from lockhound_synth.scenarios.tags import OTHERS, OURS

from .altered import Altered
from .machines import case_of, forged


def leads(case: dict[str, Any], kind: str = "unattributed") -> dict[str, list[str]]:
    """The statements on tags by driver, in the order of the suspects."""
    found = {s["driver"]: [row["statement"] for row in s["evidence"] if row["kind"] == "pool_tag"] for s in case["suspects"]}
    assert case["verdict"]["kind"] == kind
    assert case["verdict"]["drivers"] == []
    return {driver: rows for driver, rows in found.items() if rows}


def allocators(machine: Altered, tag: bytes) -> list[Module]:
    """The modules in whose files the tag stands."""
    return [m for m in machine.machine.modules if m.image and any(tag in page for page in m.image.pages.values())]


def write_into(machine: Altered, module: Module, section: str, tag: bytes = OURS) -> None:
    """The tag over the last bytes of a section."""
    assert module.image is not None
    (found,) = (s for s in module.image.sections if s.name == section)
    machine.write(module.base + found.rva + found.virtual_size - 4, tag)


def one(name: str = "tag_lead") -> Altered:
    return Altered(forged(name, 19041, 0))


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_a_tag_that_one_image_has_makes_the_first_suspect(build: int) -> None:
    machine = Altered(forged("tag_lead", build, 0))
    (module,) = allocators(machine, OURS)
    case = case_of(machine.finish().to_bytes(6))
    ((driver, (statement,)),) = leads(case).items()
    assert driver == case["suspects"][0]["driver"] == module.name
    (row,) = (row for row in case["suspects"][0]["evidence"] if row["kind"] == "pool_tag")
    assert machine.read(int(row["address"], 16), 4) == OURS
    assert f"'Lky1' at {case['chain'][-1]['address'][:-3]}" in statement
    assert "no other of the " in statement
    (vendor,) = case["advice"]["vendors"]
    assert vendor["driver"] == driver
    assert f"Pool: {statement}" in vendor["lines"]


def test_what_its_code_does_stands_beside_it() -> None:
    kinds = {row["kind"] for row in case_of(one().finish().to_bytes(6))["suspects"][0]["evidence"]}
    assert kinds == {"pool_tag", "lock_site"}


def test_a_tag_of_two_says_so_of_each() -> None:
    machine = one("tag_of_two")
    found = leads(case_of(machine.finish().to_bytes(6)))
    assert sorted(found) == sorted(m.name for m in allocators(machine, TAG))
    assert len(found) == 2
    assert all("2 of the " in statement for (statement,) in found.values())


def also_in(section: str) -> dict[str, list[str]]:
    """Another driver of the story's has the tag too, in a section of its own."""
    machine = one()
    (module,) = allocators(machine, OTHERS)
    write_into(machine, module, section)
    return leads(case_of(machine.finish().to_bytes(6)))


def test_what_a_driver_has_written_down_is_no_constant() -> None:
    assert len(also_in(".data")) == 1
    assert len(also_in(".rdata")) == 2


@pytest.mark.parametrize("into_next", [0, 1, 2, 3])
def test_a_tag_of_the_kernel_is_anybodys(into_next: int) -> None:
    """Also where it crosses into another page."""
    machine = one()
    kernel = next(m for m in machine.machine.modules if m.name == "ntoskrnl.exe")
    page = kernel.symbols["ObpCloseHandle"] & ~0xFFF
    machine.write(page - 4 + into_next, OURS)
    assert leads(case_of(machine.finish().to_bytes(6))) == {}


def test_a_page_of_code_that_is_missing_is_told() -> None:
    machine = one()
    (module,) = allocators(machine, OTHERS)
    machine.lose(module.symbols["Dispatch"])
    ((statement,),) = leads(case_of(machine.finish().to_bytes(6)), "insufficient").values()
    assert "as far as their pages are in this dump" in statement


def test_where_a_driver_is_named_no_tag_is_asked_for() -> None:
    machine = one()
    _, device = next((d, x) for d in machine.machine.drivers.values() for x in d.devices if d.module in allocators(machine, OURS))
    block = int(case_of(machine.finish().to_bytes(6))["chain"][-1]["address"], 16)
    machine.put(device.extension + 0x18, block)
    case = case_of(machine.finish().to_bytes(6))
    assert case["verdict"]["kind"] == "driver"
    assert not any(row["kind"] == "pool_tag" for s in case["suspects"] for row in s["evidence"])
