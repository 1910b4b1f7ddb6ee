"""Marks of a packet that contradict each other: its maker is not known, and the driver whose routine is on top is not blamed."""

from __future__ import annotations

import struct

import pytest

from lockhound_synth import scenarios

from .machines import case_of, dump_bytes, forged, patched

STORY, BYSTANDER = "device_control_built", "acpi.sys"
# IRP and IO_STACK_LOCATION (public symbols, the same on all these builds).
LINKS, MODE, STACK_COUNT, CANCEL, IOSB, THREAD, FILE, LOCATIONS = 0x20, 0x40, 0x42, 0x44, 0x48, 0x98, 0xC0, 0xD0
LOCATION_SIZE, COMPLETION = 0x48, 0x38
USER, NOTHING = 0x7FF0_1234_0000, bytes(8)


def quads(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def verdict(build: int, form: str) -> tuple[str, str | None]:
    """Kind and driver where the packet of a kernel-mode control request has a bystander's routine on top, and these marks."""
    machine, case = forged(STORY, build, 0), case_of(dump_bytes(STORY, build, 0, 6))
    irp = int(next(step["address"] for step in case["chain"] if step["kind"] == "irp"), 16)
    physical = machine.translate(irp + STACK_COUNT)
    assert physical is not None
    top = irp + LOCATIONS + LOCATION_SIZE * (machine.pages[physical >> 12][physical & 0xFFF] - 1)
    routine = next(module.symbols["Complete"] for module in machine.machine.modules if module.name == BYSTANDER)
    alone = quads(irp + LINKS, irp + LINKS)
    forms = {
        "a driver's own": {irp + LINKS: alone, irp + THREAD: NOTHING, irp + IOSB: NOTHING},
        "the list of its thread is gone": {irp + LINKS: quads(irp + LINKS + 0x1000, irp + LINKS + 0x1008)},
        "cut off, with a status block": {irp + LINKS: alone, irp + THREAD: NOTHING, irp + CANCEL: b"\1", irp + IOSB: quads(USER)},
        "a user's without a file": {
            irp + LINKS: alone, irp + THREAD: NOTHING, irp + FILE: NOTHING, irp + MODE: b"\1", irp + IOSB: quads(USER),
        },
    }  # fmt: skip
    told = patched(STORY, build, 0, {**forms[form], top + COMPLETION: quads(routine)})["verdict"]
    return told["kind"], told["driver"]


@pytest.mark.parametrize("build", scenarios.BUILDS)
@pytest.mark.parametrize("form", ["the list of its thread is gone", "cut off, with a status block", "a user's without a file"])
def test_marks_that_contradict_name_nobody(form: str, build: int) -> None:
    assert verdict(build, form) == ("unattributed", None)


@pytest.mark.parametrize("build", scenarios.BUILDS)
def test_the_same_routine_on_a_drivers_own_packet_names_its_maker(build: int) -> None:
    assert verdict(build, "a driver's own") == ("driver", BYSTANDER)
