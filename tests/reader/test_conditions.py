"""Single conditions of the judging that situations do not reach: clients of KMDF, lock trackers, and what an unlock is asked."""

from __future__ import annotations

import pytest

from lockhound_synth import io, packets
from lockhound_synth.driver_image import NT, bound_image
from lockhound_synth.io import Driver
from lockhound_synth.scenarios import libraries, unlocks
from lockhound_synth.scenarios.pending import guilty_device
from lockhound_synth.scenarios.stage import Stage

from .machines import Answer, case_of, forged, patched
from .scene import Loose, Scene
from .test_holders import judged, names, refuses, scene
from .test_libraries import ROUTINE, library

BUILD = 19041


# ---- the clients of a library, by the threads that wait in it


def client(where: Scene, stem: str, of: Driver) -> Driver:
    """Calls the library, and of nt nothing that locks."""
    image = bound_image(f"{stem}.sys", where.machine.rng, {NT: sorted(io.COMMON), of.module.name: [ROUTINE]})
    return io.adopt_driver(where.machine, image)


@pytest.mark.parametrize("other", ["", "client", "library", "library alone"])
def test_one_client_waits_with_the_packet(other: str) -> None:
    """A second one, or a thread that waits with it in another library, leaves open for whom the packet was made; so does the latter
    alone."""
    where = scene(f"clients_{other}")
    of, passer = library(where, "fltmgr.sys"), library(where, "vmbkmcl.sys")
    one, two = client(where, "clone", of), client(where, "cltwo", of)
    mdl = where.lock()
    irp = where.own(of, where.device(library(where, "pci.sys")), mdl)
    if other != "library alone":
        where.waits(irp.address, of, one)
    if other:
        where.waits(irp.address, of if other == "client" else passer, two)
    case = judged(where)
    if other:
        refuses(case, "unattributed")
    else:
        assert Answer.of(case["verdict"]) == names(one, mdl)


# ---- clients of KMDF


@pytest.mark.parametrize("count", [1, 2])
def test_one_client_has_the_globals_of_the_framework(count: int) -> None:
    """Where the data of two point into them, nobody knows for whom KMDF made the packet."""
    where = scene(f"globals_{count}")
    kmdf = libraries.framework(where.stage)
    clients = (libraries.bound(where.stage), libraries.bound(where.stage))
    _, low = where.driver()
    mdl = where.lock()
    where.own(kmdf, low, mdl, context=libraries.framework_object(where.stage, kmdf, clients[:count]))
    case = judged(where)
    if count == 1:
        assert Answer.of(case["verdict"]) == names(clients[0], mdl)
    else:
        refuses(case, "unattributed")


# ---- lock trackers


@pytest.mark.parametrize("field", ["", "Mdl", "StartVa", "Offset", "Length", "Process"])
def test_what_is_left_of_a_tracker_must_tell_of_this_very_lock(field: str) -> None:
    """One of another MDL, buffer or process says nothing of who locked this one."""
    machine = forged("unlock_left_over", BUILD, 0)
    shape = machine.machine.layouts["LOCK_TRACKER"]
    mdl = int(machine.truth.bugcheck["parameters"][1], 16)
    (gone,) = [at for label, at in machine.machine.labels.items() if label == "tracker:0"]
    offset, width = shape.fields[field or "Mdl"]
    assert machine.machine.space.read_u64(gone + shape.offset("Mdl")) == mdl
    value = int.from_bytes(machine.machine.space.read(gone + offset, width), "little") + (
        0x1000 if field == "StartVa" else 8 if field else 0
    )
    verdict = patched("unlock_left_over", BUILD, 0, {gone + offset: value.to_bytes(width, "little")})["verdict"]
    assert ("a lock tracker that is no longer in use" in verdict["reason"]) == (not field)


@pytest.mark.parametrize("between", [True, False])
def test_the_routine_that_unlocks_stands_right_beside_the_driver(between: bool) -> None:
    """The driver called through a pointer: with another routine of nt between the two, what it called is not known."""
    stage = Loose(f"beside_{between}", BUILD, 0)
    machine = stage.machine
    mdl = unlocks.stale(stage)
    driver = stage.invent(imports=io.LOCKING, pointers=True)
    machine.space.write_u64(io.make_device(machine, driver).extension + 0x20, mdl.address)
    more = [machine.nt_base + machine.kernel.exports["IoFreeMdl"] + 0x20] if between else []
    unlocks.begin(stage, mdl, [*unlocks.inner(machine), *more, unlocks.pointer_call(driver), *unlocks.from_program(machine)])
    verdict = case_of(stage.finish().to_bytes(6))["verdict"]
    if between:
        assert (verdict["kind"], verdict["driver"]) == ("unattributed", None)
    else:
        assert verdict["driver"] == driver.module.name


@pytest.mark.parametrize("whole", [True, False])
def test_the_packet_that_was_completed_may_be_missing(whole: bool) -> None:
    """The I/O manager unlocked what a packet had, and none is there with the MDL: it is gone, or lies in a page that is."""
    stage = Loose(f"completed_{whole}", BUILD, 0)
    machine = stage.machine
    mdl = unlocks.stale(stage)
    driver, _ = guilty_device(stage)
    inside = [machine.nt_base + machine.kernel.exports[name] + 0x20 for name in ("MmUnlockPages", "IofCompleteRequest")]
    unlocks.begin(stage, mdl, [*inside, driver.module.return_from("IofCompleteRequest", "Dispatch"), *unlocks.from_program(machine)])
    machine.label("page", machine.nonpaged.alloc(0x100, b"Kdat", alone=True))
    if not whole:
        stage.missing.append("page")
    verdict = case_of(stage.finish().to_bytes(6))["verdict"]
    assert verdict["kind"] == ("unattributed" if whole else "insufficient")
    assert ("no driver that had the packet is known" if whole else "the packet may lie in a page") in verdict["reason"]


# ---- an MDL whose length was changed: by the driver that locked it, keeps it and unlocks it


def changed(stage: Stage, *, without: str) -> Driver:
    """All that such a driver is named for, or one thing less."""
    machine = stage.machine
    mdl, was = unlocks.shortened(stage)
    driver, device = guilty_device(stage, never=unlocks.SENDING)
    other, kept = guilty_device(stage, never=unlocks.SENDING)
    unlocks.keep(stage, kept if without == "memory" else device, mdl)
    stage.holders.pop(mdl.address)
    if without == "lock":
        packets.set_mdl_flags(machine, mdl, mdl.flags & ~packets.LOCKED)
    unlocks.begin_changed(stage, mdl, was, driver, driver, 5)
    if without == "call":
        exports = machine.kernel.exports
        inside = [machine.nt_base + exports[name] + 0x20 for name in ("MmUnlockPages", "IofCompleteRequest")]
        stage.callers = [*inside, driver.module.return_from("IofCompleteRequest", "Dispatch"), *unlocks.from_program(machine)]
    assert stage.parameters is not None
    kind, at, third, fourth = stage.parameters
    if without == "size":
        stage.parameters = (kind, at, third, fourth + (1 << 32))
    elif without == "page":
        machine.label("page", machine.nonpaged.alloc(0x100, b"Kdat", alone=True))
        stage.missing.append("page")
    del other
    return driver


@pytest.mark.parametrize(
    ("without", "kind", "words"),
    [
        ("memory", "unattributed", "somebody else has it as well, or had it in a packet"),
        ("lock", "unattributed", "the driver that unlocks only finds it"),
        ("call", "unattributed", "the driver that unlocks only finds it"),
        ("size", "unattributed", "the driver that unlocks only finds it"),
        ("page", "insufficient", "may lie in a page that is not in this dump"),
    ],
)
def test_each_thing_that_such_a_driver_is_named_for_counts(without: str, kind: str, words: str) -> None:
    """Its memory, the call that unlocks (and not one that completes a packet), the flags of the MDL, what the tracker says against the bug
    check, and every page where another one could have it."""
    for doubt in (without, ""):
        stage = Loose(f"changed_{without}", BUILD, 0)
        driver = changed(stage, without=doubt)
        verdict = case_of(stage.finish().to_bytes(6))["verdict"]
        if doubt:
            assert (verdict["kind"], verdict["driver"]) == (kind, None)
            assert words in verdict["reason"]
        else:
            assert verdict["driver"] == driver.module.name
