"""0x76 with P1 = 1 and its relatives: what the case shows of the way to the driver, and the forms that a call can have."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth import io, packets, scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.io import Driver
from lockhound_synth.packets import CONTROL, PENDING_RETURNED, Slot
from lockhound_synth.scenarios import unlocks
from lockhound_synth.scenarios.pending import guilty_device
from lockhound_synth.scenarios.stage import Stage

from .machines import case_of, dump_bytes, forged, patched
from .scene import Loose
from .triage_writer import memory, small_of

BUILD, SEED = 19041, 0
PAGE = 0x1000


@lru_cache(maxsize=1)
def plain() -> tuple[Forged, str, int, int]:
    """The plain story: machine, culprit, the return address in it, and the import slot of MmUnlockPages."""
    machine = forged("unlock_unknown", BUILD, SEED)
    name = machine.truth.verdict["driver"]
    module = next(m for m in machine.machine.modules if m.name == name)
    frame = next(at for _, at in machine.stack if module.base <= at < module.base + module.size)
    assert module.image is not None
    slot = module.base + next(rva for (_, routine), rva in module.image.slots.items() if routine == "MmUnlockPages")
    return machine, name, frame, slot


def relative(to: int, behind: int) -> bytes:
    return struct.pack("<i", to - behind)


def test_the_case_shows_the_way() -> None:
    machine, name, frame, _ = plain()
    case = case_of(dump_bytes("unlock_unknown", BUILD, SEED, 6))
    module = next(m for m in machine.truth.modules if m["name"] == name)
    offset = frame - int(module["base"], 16)
    assert case["verdict"]["driver"] == name
    assert case["verdict"]["confidence"]["level"] == "high"
    assert {f["name"] for f in case["verdict"]["confidence"]["factors"]} == {"stack", "unlock_site", "state"}
    stack = case["stack"]
    assert stack["complete"]
    assert [int(f["address"], 16) for f in stack["frames"]][1:] == [at for _, at in machine.stack]
    assert {"symbol": "MmUnlockPages", "module": "ntoskrnl.exe"}.items() <= stack["frames"][2].items()
    assert {"module": name, "offset": f"{offset:#x}"}.items() <= stack["frames"][3].items()
    assert [step["kind"] for step in case["chain"]] == ["process", "mdl", *["stack_frame"] * 4, "driver", "module"]
    (suspect,) = case["suspects"]
    site = next(row for row in suspect["evidence"] if row["kind"] == "unlock_site")
    assert site["address"] == f"{frame:#x}"
    assert f"{name}+{offset:#x}" in site["statement"]
    commands = [row["command"] for row in case["reproduce"]]
    assert f"ub {frame:#x}" in commands
    assert f"dt nt!_MDL {case['bugcheck']['parameters'][1]}" in commands
    assert case["considered"]
    assert case_of(dump_bytes("pending_irp", BUILD, SEED, 6))["stack"] is None


def forms() -> dict[str, tuple[dict[int, bytes], str | None]]:
    """Bytes in front of the return address, and how the verdict's reason begins where nobody is named."""
    machine, name, at, slot = plain()
    nt, exports = machine.machine.nt_base, machine.machine.kernel.exports
    room = slot & ~0xFFF | 0xE00  # unused bytes in the page of the slots
    unlock, free, complete = (nt + exports[n] for n in ("MmUnlockPages", "IoFreeMdl", "IofCompleteRequest"))
    quad = struct.Struct("<Q").pack
    return {
        "slot": ({at - 6: b"\xff\x15" + relative(slot, at)}, None),
        "slot with a prefix": ({at - 7: b"\x48\xff\x15" + relative(slot, at)}, None),
        "retpoline": ({at - 12: b"\x4c\x8b\x15" + relative(slot, at - 5) + b"\xe8\x10\0\0\0"}, None),
        "thunk": ({at - 5: b"\xe8" + relative(room, at), room: b"\xff\x25" + relative(slot, room + 6)}, None),
        "thunk with a prefix": ({at - 5: b"\xe8" + relative(room, at), room: b"\x48\xff\x25" + relative(slot, room + 7)}, None),
        "register": ({at - 7: b"\x90" * 5 + b"\xff\xd0"}, None),  # told by the frame beside it
        "table": ({at - 6: b"\xff\x90\x10\0\0\0"}, None),
        "none": ({at - 12: b"\x90" * 12}, "no call stands in front"),
        "stand-in": ({slot: quad(nt + 0x5F7)}, None),  # the slot's name tells
        "another routine": ({slot: quad(free)}, f"{name} called nt!IoFreeMdl"),
        "completion": ({slot: quad(complete)}, "the I/O manager unlocked it"),
        "of nobody": ({at - 6: b"\xff\x15" + relative(room, at), room: quad(unlock + 7)}, None),
    }


@pytest.mark.parametrize("form", sorted(forms()))
def test_forms_of_a_call(form: str) -> None:
    writes, reason = forms()[form]
    verdict = patched("unlock_unknown", BUILD, SEED, writes)["verdict"]
    if reason is None:
        assert verdict["driver"] == plain()[1], verdict["reason"]
    else:
        assert verdict["kind"] == "unattributed"
        assert verdict["reason"].startswith(reason)


def test_told_by_the_stack_alone_counts_for_less() -> None:
    full = case_of(dump_bytes("unlock_unknown", BUILD, SEED, 6))["verdict"]["confidence"]["score"]
    by_stack = patched("unlock_unknown", BUILD, SEED, forms()["register"][0])["verdict"]["confidence"]["score"]
    assert by_stack == pytest.approx(full * 0.9, abs=0.002)


def test_the_completer_is_cleared_and_the_others_are_suspects() -> None:
    for build in scenarios.BUILDS:
        machine = forged("unlock_completer", build, SEED)
        case = case_of(dump_bytes("unlock_completer", build, SEED, 6))
        completer = next(f["module"] for f in case["stack"]["frames"] if f["module"] != "ntoskrnl.exe")
        assert [row["driver"] for row in case["cleared"]] == [completer]
        (suspect,) = [row["driver"] for row in case["suspects"]]
        above = next(d for d in machine.machine.drivers.values() if d.module.name == suspect)
        assert above.module.image is not None
        assert "MmUnlockPages" in above.module.image.imports["ntoskrnl.exe"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unlock_length_changed", "the MDL's length was changed while it was locked: from"),
        ("unlock_frame_changed", "the MDL's first frame was changed while it was locked: from"),
        ("unlock_frames_changed", "the MDL's frames were changed"),
        ("unlock_locked", "by its own flags it is locked"),
        ("unlock_no_module", "code outside any module unlocked it"),
        ("unlock_library_alone", "storport.sys unlocked it, a library of Windows"),
        ("unlock_by_nt", "the crashing thread's stack shows no driver"),
    ],
)
def test_nobody_is_named_and_the_reason_says_why(name: str, words: str) -> None:
    case = case_of(dump_bytes(name, BUILD, SEED, 6))
    assert case["verdict"]["kind"] == "unattributed"
    assert words in case["verdict"]["reason"]


def test_a_missing_page_of_the_stack_is_named() -> None:
    machine = forged("unlock_stack_absent", BUILD, SEED)
    case = case_of(dump_bytes("unlock_stack_absent", BUILD, SEED, 6))
    assert case["verdict"]["kind"] == "insufficient"
    gone = case["absent"]["stack"]
    assert gone["kind"] == "not_captured"
    assert int(gone["address"], 16) & ~0xFFF in {at & ~0xFFF for at, _ in machine.stack}
    assert gone["address"] in case["verdict"]["reason"]


def test_a_small_dump_shows_words_and_names_nobody() -> None:
    """Without unwind data the stack is a heap of words: some lead into drivers, and none of them is a verdict."""
    machine, name, frame, _ = plain()
    rsp = struct.unpack_from("<Q", machine.header.context, 0x98)[0]
    mdl = int(machine.truth.bugcheck["parameters"][1], 16)
    small = small_of(machine, [(rsp, 0x400), (mdl, 0x100)])
    case = case_of(small.to_bytes())
    assert case["verdict"]["kind"] == "insufficient"
    assert case["verdict"]["drivers"] == []
    assert "unwind data" in case["verdict"]["reason"]
    words = {row["driver"]: row["evidence"] for row in case["suspects"]}
    assert {e["kind"] for evidence in words.values() for e in evidence} == {"stack_word"}
    returns = [int(e["address"], 16) for e in words[name]]
    assert [struct.unpack("<Q", memory(machine, at, 8))[0] for at in returns] == [frame]
    assert all(rsp <= at < rsp + 0x400 for at in returns)


# ---- an MDL that is not locked: the driver that unlocks is named where no other one could have unlocked before


def unlocked_beside(stage: Stage, *, how: str, can: bool = True) -> tuple[Driver, Driver]:
    """A driver unlocks its MDL in the dispatch routine, and another one had it: in its device's memory, in a block that this leads to, or
    in a packet of the first one's that is over."""
    machine = stage.machine
    mdl = unlocks.stale(stage)
    driver, device = guilty_device(stage)
    other, lower = guilty_device(stage, imports=io.LOCKING if can else (), never=() if can else io.LOCKING)
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    if how == "packet":
        slot = Slot(lower, CONTROL, completion=driver.module.symbols["Complete"], control=PENDING_RETURNED)
        packets.complete(machine, packets.make_irp(machine, [slot], 2, mdl=mdl, manager=False, flags=0))
    else:
        block = machine.nonpaged.alloc(0x60, b"Ctx ")
        machine.space.write_u64(lower.extension + 0x28, block if how == "context" else mdl.address)
        machine.space.write_u64(block + 0x18, mdl.address if how == "context" else 0)
        machine.label("other", lower.extension)
        machine.label("context", block)
    unlocks.begin(stage, mdl, [*unlocks.inner(machine), unlocks.unlocking(driver), *unlocks.from_program(machine)])
    return driver, other


@pytest.mark.parametrize("how", ["extension", "context", "packet"])
@pytest.mark.parametrize("build", [7601, 9600, BUILD, 26100])
def test_another_driver_that_had_the_mdl_may_have_unlocked_it_before(how: str, build: int) -> None:
    """Nobody is named, and that with any page out. One that can't unlock did not: then it is as if it were not there."""
    stage = Loose(how, build, SEED)
    driver, other = unlocked_beside(stage, how=how)
    machine = stage.finish()
    case = case_of(machine.to_bytes(6))
    assert case["verdict"]["kind"] == "unattributed"
    assert "another driver that has it may have done so before" in case["verdict"]["reason"]
    assert other.module.name in [name for name, _ in evidence(case, "unlock_import")]
    with lh.open(machine.to_bytes(6)) as dump:
        for pfn in sorted(set(machine.evidence_pages.values())):
            with dump.without_pages([pfn]) as less:
                assert less.investigate(progress=False).verdict.kind in ("unattributed", "insufficient")

    stage = Loose(how, build, SEED)
    driver, other = unlocked_beside(stage, how=how, can=False)
    assert case_of(stage.finish().to_bytes(6))["verdict"]["driver"] == driver.module.name


def unlocked_with(stage: Stage, doubt: str) -> Driver:
    """A driver unlocks its MDL in the dispatch routine; whether another one could have done so before is open, or not."""
    machine = stage.machine
    mdl = unlocks.stale(stage)
    driver, device = guilty_device(stage)
    other, lower = guilty_device(stage, imports=io.LOCKING)
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    at = machine.layouts["IRP"].offset("Tail.Overlay.CurrentStackLocation")

    def page_out() -> None:
        machine.space.paged_out(other.module.base, 0x40)
        del machine.labels[f"image_header:{other.module.name}"]

    if doubt == "stack":
        machine.label("stack", machine.system_pages(2))
        stage.missing.append("stack")
    elif doubt:
        slot = Slot(lower, CONTROL, completion=driver.module.symbols["Complete"], control=PENDING_RETURNED)
        irp = packets.make_irp(machine, [slot], 2, mdl=mdl, manager=False, flags=0)
        if doubt == "damaged":
            machine.space.write_u64(irp.address + at, 0x1122_3344)
        elif doubt == "deleted":
            io.make_device(machine, other)
            stage.afterwards.append(lambda: machine.space.write_u64(other.devices[0].address, machine.rng.getrandbits(48)))
        else:
            stage.afterwards.append(page_out)
    unlocks.begin(stage, mdl, [*unlocks.inner(machine), unlocks.unlocking(driver), *unlocks.from_program(machine)])
    return driver


@pytest.mark.parametrize(
    ("doubt", "kind", "words"),
    [
        ("damaged", "unattributed", "another driver that has it may have done so before"),
        ("deleted", "unattributed", "another driver that has it may have done so before"),
        ("image", "insufficient", "what another driver had it by may lie in a page that is not in this dump"),
        ("stack", "insufficient", "what another driver had it by may lie in a page that is not in this dump"),
    ],
)
def test_who_could_have_unlocked_before_must_be_known(doubt: str, kind: str, words: str) -> None:
    """A packet that is damaged, or whose device is gone; a driver whose imports are paged out, in a packet; a page of a stack."""
    stage = Loose(doubt, BUILD, SEED)
    unlocked_with(stage, doubt)
    verdict = case_of(stage.finish().to_bytes(6))["verdict"]
    assert verdict["kind"] == kind
    assert words in verdict["reason"]


def test_without_a_doubt_the_driver_that_unlocks_is_named() -> None:
    stage = Loose("", BUILD, SEED)
    driver = unlocked_with(stage, "")
    assert case_of(stage.finish().to_bytes(6))["verdict"]["driver"] == driver.module.name


# ---- an MDL that was changed while it was locked: by whom, nobody saw


def told(story: Callable[[Stage], None], build: int = BUILD) -> tuple[Forged, dict[str, Any]]:
    stage = Stage(story.__name__, build, SEED)
    story(stage)
    machine = stage.finish()
    return machine, case_of(machine.to_bytes(6))


def evidence(case: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(s["driver"], e["statement"]) for s in case["suspects"] for e in s["evidence"] if e["kind"] == kind]


def sends_packets(stage: Stage) -> None:
    """It locked, keeps and unlocks; and could have handed the MDL on."""
    mdl, was = unlocks.shortened(stage)
    driver, device = guilty_device(stage)
    unlocks.keep(stage, device, mdl)
    unlocks.begin_changed(stage, mdl, was, driver, driver, 5)


def another_locked(stage: Stage) -> None:
    mdl, was = unlocks.shortened(stage)
    locker, _ = guilty_device(stage, never=unlocks.SENDING)
    driver, device = guilty_device(stage, never=unlocks.SENDING)
    unlocks.keep(stage, device, mdl)
    unlocks.begin_changed(stage, mdl, was, locker, driver, 5)


def another_keeps(stage: Stage) -> None:
    """A second driver's memory leads to the MDL."""
    mdl, was = unlocks.shortened(stage)
    driver, device = guilty_device(stage, never=unlocks.SENDING)
    _, other = guilty_device(stage, never=unlocks.SENDING)
    unlocks.keep(stage, other, mdl)
    unlocks.keep(stage, device, mdl)
    stage.holders.pop(mdl.address)
    unlocks.begin_changed(stage, mdl, was, driver, driver, 5)


def packet_elsewhere(stage: Stage) -> None:
    """A packet of the driver's own that is over went through another driver with the MDL."""
    mdl, was = unlocks.shortened(stage)
    driver, device = guilty_device(stage, never=unlocks.SENDING)
    _, below = guilty_device(stage)
    unlocks.keep(stage, device, mdl)
    slot = Slot(below, CONTROL, completion=driver.module.symbols["Complete"], control=PENDING_RETURNED)
    packets.make_irp(stage.machine, [slot], 3, mdl=mdl, manager=False, flags=0)
    unlocks.begin_changed(stage, mdl, was, driver, driver, 5)


def frames_of_its_own(stage: Stage) -> None:
    """All that speaks against it when a length was changed; but it was a frame."""
    mdl = packets.make_mdl(stage.machine, stage.others[0], 4, mapped=False)
    driver, device = guilty_device(stage, never=unlocks.SENDING)
    unlocks.keep(stage, device, mdl)
    unlocks.begin_changed(stage, mdl, replace(mdl, frames=[mdl.frames[0] + 1, *mdl.frames[1:]]), driver, driver, 6)


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (sends_packets, "it can hand an MDL on to another driver, in a packet that is over by now"),
        (another_locked, "which locked it, and the driver that unlocks only finds it"),
        (another_keeps, "the memory of several drivers leads to it"),
        (packet_elsewhere, "a packet with it went through another driver"),
        (frames_of_its_own, "Windows itself may give a locked MDL other frames"),
    ],
)
@pytest.mark.parametrize("build", [9600, BUILD, 26100])
def test_who_changed_an_mdl_is_not_told_by_who_unlocks(story: Callable[[Stage], None], words: str, build: int) -> None:
    """Each takes away one of the things that the driver of `unlock_length_own` is named for."""
    machine, case = told(story, build)
    assert case["verdict"]["kind"] == "unattributed"
    assert words in case["verdict"]["reason"]
    assert case["verdict"]["rule"] == "unlock: changed"
    frame = story is frames_of_its_own
    assert ("ByteCount 0x" in case["verdict"]["reason"]) == (not frame)
    ((suspect, statement),) = [row for row in evidence(case, "tracker") if "the lock tracker of the MDL" in row[1]]
    assert f"locked by {suspect}" in statement
    with lh.open(machine.to_bytes(6)) as dump:
        for pfn in sorted(set(machine.evidence_pages.values())):
            with dump.without_pages([pfn]) as less:
                assert less.investigate(progress=False).verdict.kind in ("unattributed", "insufficient")


@pytest.mark.parametrize("build", [b for b in scenarios.ALL_BUILDS if b >= 9600])
def test_a_length_that_only_one_driver_can_have_changed(build: int) -> None:
    machine = forged("unlock_length_own", build, SEED)
    case = case_of(dump_bytes("unlock_length_own", build, SEED, 6))
    verdict = case["verdict"]
    assert verdict["driver"] == machine.truth.verdict["driver"]
    assert verdict["rule"] == "unlock: length"
    assert verdict["confidence"]["level"] == "medium"
    assert {f["name"]: f["value"] for f in verdict["confidence"]["factors"]} == {
        "stack": 1.0, "unlock_site": 1.0, "holder": 0.9, "changed": 0.85,
    }  # fmt: skip
    before, now = divmod(int(case["bugcheck"]["parameters"][3], 16), 1 << 32)
    assert f"from {before} pages to {now} (ByteCount 0x" in verdict["reason"]
    assert [step["kind"] for step in case["chain"]][:4] == ["process", "mdl", "tracker", "frame"]
    (row,) = case["trackers"]["list"]
    assert (row["address"], row["pages"], row["driver"]) == (case["bugcheck"]["parameters"][2], before, verdict["driver"])
    with (
        lh.open(dump_bytes("unlock_length_own", build, SEED, 6)) as dump,
        dump.without_pages([machine.evidence_pages["unlocked_tracker"]]) as less,
    ):
        assert less.investigate(progress=False).verdict.kind == "insufficient"


# ---- what trackers say of an MDL that has none


def test_the_list_itself_says_that_no_lock_stands() -> None:
    case = case_of(dump_bytes("unlock_unknown", BUILD, SEED, 6))
    assert case["trackers"]["state"] == "complete"
    assert case["trackers"]["header"] == case["bugcheck"]["parameters"][3]
    assert f"!lockedpages {case['process']['address']}" in [row["command"] for row in case["reproduce"]]
    assert any("no lock of its pages stands" in text for _, text in evidence(case, "tracker"))


@pytest.mark.parametrize("build", [b for b in scenarios.ALL_BUILDS if b >= 9600])
def test_what_is_left_of_a_tracker_tells_of_the_lock(build: int) -> None:
    machine = forged("unlock_left_over", build, SEED)
    case = case_of(dump_bytes("unlock_left_over", build, SEED, 6))
    name = machine.truth.verdict["driver"]
    assert f"a lock tracker that is no longer in use, of a lock by {name}" in case["verdict"]["reason"]
    assert any(driver == name and "no longer in use" in text for driver, text in evidence(case, "tracker"))
