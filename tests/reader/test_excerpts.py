"""Excerpts of drivers' code in a case: the call that unlocked, in every form of a call, and a reason where code is missing."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth.forge import Forged

from .machines import case_of, dump_bytes, forged, patched
from .test_unlocks import BUILD, SEED, forms, plain, relative

UNLOCK = "nt!MmUnlockPages"


def marked(excerpt: dict[str, Any]) -> dict[str, Any] | None:
    rows = [row for row in excerpt["listing"] if row["marked"]]
    assert len(rows) <= 1
    return rows[0] if rows else None


def read(machine: Forged, address: int, size: int) -> bytes:
    """Bytes of a machine that lie in one page."""
    physical = machine.translate(address)
    assert physical is not None
    return bytes(machine.pages[physical >> 12][physical & 0xFFF : (physical & 0xFFF) + size])


def follows(excerpt: dict[str, Any]) -> bool:
    """Each line begins where the one before it ends."""
    rows = excerpt["listing"]
    return all(int(a["address"], 16) + len(a["bytes"]) // 2 == int(b["address"], 16) for a, b in pairwise(rows))


def without(*addresses: int) -> lh.Case:
    """The plain story's case without the pages of these addresses."""
    frames = [physical >> 12 for physical in map(forged("unlock_unknown", BUILD, SEED).translate, addresses) if physical is not None]
    assert len(frames) == len(addresses)
    with lh.open(dump_bytes("unlock_unknown", BUILD, SEED, 6)) as dump, dump.without_pages(frames) as less:
        return less.investigate(progress=False)


@pytest.mark.parametrize("build", [7601, BUILD, 26100])
def test_the_call_that_unlocked_is_shown(build: int) -> None:
    machine = forged("unlock_unknown", build, SEED)
    with lh.open(dump_bytes("unlock_unknown", build, SEED, 6)) as dump:
        kernel = dump.kernel()
        case = dump.investigate(progress=False)
        module = next(m for m in machine.machine.modules if m.name == case.verdict.driver)
        frame = next(at for _, at in machine.stack if module.base <= at < module.base + module.size)
        (excerpt,) = case.excerpts
        assert (excerpt.driver, excerpt.kind, excerpt.reason) == (module.name, "unlock_site", None)
        assert excerpt.at == f"{module.name}+{excerpt.address - module.base:#x}"
        (line,) = [row for row in excerpt.listing if row.marked]
        assert line.address == excerpt.address
        assert line.address + len(line.bytes) == frame
        assert line.name == UNLOCK
        assert excerpt.listing.index(line) == 5
        assert len(excerpt.listing) == 9
        function = excerpt.function
        assert function is not None
        assert function.entry == function.begin == max(at for at in module.symbols.values() if at <= line.address)
        assert function.begin <= excerpt.listing[0].address <= excerpt.listing[-1].address < function.end
        code = b"".join(row.bytes for row in excerpt.listing)
        assert code == kernel.read(excerpt.listing[0].address, len(code))
        for row, shown in zip(kernel.disassemble(excerpt.listing[0].address, len(code)), excerpt.listing, strict=True):
            assert (row.address, row.bytes, row.text) == (shown.address, shown.bytes, shown.text)
    printed = f"> {line.address:016x}  {line.text}  ; {UNLOCK}"
    assert printed in case.text()
    assert printed in str(excerpt)
    assert '<tr class="marked">' in case.html()
    (vendor,) = case.document["advice"]["vendors"]
    assert f"  > +{line.address - module.base:#x}  {line.text}  ; {UNLOCK}" in vendor["lines"]
    assert "unlock_site" in [site["kind"] for site in vendor["lock_sites"]]


@pytest.mark.parametrize("form", sorted(forms()))
def test_in_every_form_of_a_call(form: str) -> None:
    _, _, frame, _ = plain()
    (excerpt,) = patched("unlock_unknown", BUILD, SEED, forms()[form][0])["excerpts"]
    line = marked(excerpt)
    if form == "none":
        assert line is None
        assert "no call" in excerpt["reason"]
        return
    names = {"another routine": "nt!IoFreeMdl", "completion": "nt!IofCompleteRequest", "register": None, "table": None}
    assert line is not None
    assert line["text"].startswith("call ")
    assert int(line["address"], 16) + len(line["bytes"]) // 2 == frame
    if form in ("stand-in", "of nobody"):
        assert line["name"].startswith("nt+0x")
    else:
        assert line["name"] == names.get(form, UNLOCK)
    assert follows(excerpt)
    # a call that is shorter than the one it replaces leaves a byte of that one in front of it
    assert excerpt["reason"] is None or form in ("retpoline", "thunk", "thunk with a prefix")


def test_what_is_missing_is_named() -> None:
    machine, name, frame, slot = plain()
    module = next(m for m in machine.machine.modules if m.name == name)
    gone = without(frame)
    (excerpt,) = gone.excerpts
    assert gone.verdict.kind == "insufficient"
    assert excerpt.listing == ()
    assert f"not_captured at {frame >> 12:#x}" in (excerpt.reason or "")
    assert gone.absent["excerpts.0.listing"].kind == "not_captured"
    assert (excerpt.reason or "-") in gone.text().replace("\n     ", "")
    # without the headers the function's begin is not known, and the call is
    (excerpt,) = without(module.base).excerpts
    assert excerpt.function is None
    assert "headers" in (excerpt.reason or "")
    assert [row.marked for row in excerpt.listing] == [True, False, False, False]
    assert excerpt.listing[0].name == UNLOCK
    # without the slots the import table tells what the call goes to
    (excerpt,) = without(slot).excerpts
    assert [row.name for row in excerpt.listing if row.marked] in ([UNLOCK], [None])


def test_a_retpoline_reads_the_slot_first() -> None:
    _, _, frame, slot = plain()
    form = b"\x90" * 6 + b"\x4c\x8b\x15" + relative(slot, frame - 5) + b"\xe8\x10\0\0\0"
    (excerpt,) = patched("unlock_unknown", BUILD, SEED, {frame - 18: form})["excerpts"]
    reads, calls = excerpt["listing"][4:6]
    assert reads["text"].startswith("mov r10, ")
    assert reads["name"] == calls["name"] == UNLOCK
    assert calls["marked"]
    assert excerpt["reason"] is None


def test_instructions_that_do_not_lead_to_the_call_are_not_shown() -> None:
    """An instruction that reaches into the call: the bytes in front are no code, or the call is none."""
    _, _, frame, slot = plain()
    call = b"\xff\x15" + relative(slot, frame)
    (excerpt,) = patched("unlock_unknown", BUILD, SEED, {frame - 11: b"\x90\x90\x90\x48\xb8" + call})["excerpts"]  # mov rax, 8 bytes
    assert [row["marked"] for row in excerpt["listing"]] == [True, False, False, False]
    assert "do not lead to this place" in excerpt["reason"]


@pytest.mark.parametrize(
    ("story", "words", "lines"),
    [
        ("unlock_no_module", "in no module", 1),
        ("unlock_unloaded", "unloaded", 0),
        ("unlock_by_nt", None, None),
        ("pending_irp", None, None),
    ],
)
def test_code_that_is_no_loaded_driver(story: str, words: str | None, lines: int | None) -> None:
    excerpts = case_of(dump_bytes(story, BUILD, SEED, 6))["excerpts"]
    if words is None:
        assert excerpts == []
        return
    (excerpt,) = excerpts
    assert excerpt["function"] is None
    assert words in excerpt["reason"]
    assert bool(excerpt["listing"]) == bool(lines)
    assert excerpt["driver"] == (None if lines else forged(story, BUILD, SEED).truth.verdict["driver"])


def test_an_address_at_which_no_instruction_begins_shows_none() -> None:
    """A damaged stack leads into the middle of an instruction: what stands there is not what ran."""
    case = case_of(dump_bytes("unlock_damaged_stack", BUILD, SEED, 6))
    (excerpt,) = case["excerpts"]
    assert excerpt["listing"] == []
    assert "do not lead to this place" in excerpt["reason"]
    assert "what was called is not known" in excerpt["statement"]
    told = [row["statement"] for suspect in case["suspects"] for row in suspect["evidence"] if row["kind"] == "stack_frame"]
    assert len(told) == 1
    assert told[0].endswith("what was called there is not known")


def test_suspects_are_shown_with_the_calls_that_unlock() -> None:
    """Where the I/O manager unlocked: the one that completed is the messenger, and those who had the packet have calls of their own."""
    case = case_of(dump_bytes("unlock_completer", BUILD, SEED, 6))
    completer, suspect = case["excerpts"]
    assert completer["driver"] == case["cleared"][0]["driver"]
    assert (marked(completer) or {})["name"] == "nt!IofCompleteRequest"
    assert suspect["driver"] == case["suspects"][0]["driver"]
    assert (suspect["kind"], (marked(suspect) or {})["name"]) == ("unlock_site", UNLOCK)
    assert "unlock_site" in [row["kind"] for row in case["suspects"][0]["evidence"]]


def test_a_library_is_shown_with_who_called_it() -> None:
    machine = forged("unlock_library", BUILD, SEED)
    case = case_of(dump_bytes("unlock_library", BUILD, SEED, 6))
    library, client = case["excerpts"]
    assert (marked(library) or {})["name"] == UNLOCK
    assert client["driver"] == case["verdict"]["driver"] == machine.truth.verdict["driver"]
    assert library["driver"] in client["statement"]
    assert (marked(client) or {})["text"].startswith("call ")


@pytest.mark.parametrize("build", [9600, BUILD, 26100])
def test_the_call_that_locked_is_shown(build: int) -> None:
    """By the trace of the lock tracker: once for each place, whatever the number of locks."""
    case = case_of(dump_bytes("tracked_several", build, SEED, 6))
    locks = {frame["address"] for row in case["trackers"]["list"] for frame in row["trace"] if frame["kind"] == "driver"}
    shown = {int(line["address"], 16) + len(line["bytes"]) // 2: line for line in map(marked, case["excerpts"]) if line is not None}
    assert {f"{at:#x}" for at in shown} <= locks
    assert len(shown) == len(case["excerpts"]) >= len(case["verdict"]["drivers"]) > 1
    assert {line["name"] for line in shown.values()} == {"nt!MmProbeAndLockPages"}
    assert {row["driver"] for row in case["excerpts"]} == {row["name"] for row in case["verdict"]["drivers"]}
    assert {row["kind"] for row in case["excerpts"]} == {"trace"}


def test_code_in_no_module_that_locked_is_shown() -> None:
    (excerpt,) = case_of(dump_bytes("tracked_no_module", BUILD, SEED, 6))["excerpts"]
    assert (excerpt["driver"], excerpt["at"], excerpt["function"]) == (None, None, None)
    assert "in no module" in excerpt["reason"]
    assert excerpt["kind"] == "trace"
    assert excerpt["listing"] == [], "there is no call: what stands there need not be code"


def test_of_an_unlock_the_lock_of_its_mdl_is_shown() -> None:
    unlocks, locks = case_of(dump_bytes("unlock_length_own", BUILD, SEED, 6))["excerpts"]
    assert [(marked(row) or {})["name"] for row in (unlocks, locks)] == [UNLOCK, "nt!MmProbeAndLockPages"]
    assert [row["kind"] for row in (unlocks, locks)] == ["unlock_site", "trace"]


def test_of_a_function_in_parts_both_are_told() -> None:
    """The part that the call lies in, by its own row of .pdata, and the entry of the function that the row is chained to."""
    machine, name, frame, slot = plain()
    module = next(m for m in machine.machine.modules if m.name == name)
    assert module.image is not None
    table, size = module.image.exception_table
    rows = {at: struct.unpack("<III", read(machine, module.base + at, 12)) for at in range(table, table + size, 12)}
    at, (begin, end, unwind) = next((at, row) for at, row in rows.items() if row[0] < frame - module.base <= row[1])
    other = next(row for row in rows.values() if row[0] != begin)
    room = (slot - module.base) & ~0xFFF | 0xE00  # unused bytes in the page of the slots
    chained = struct.pack("<BBBB", 1 | 4 << 3, 0, 0, 0) + struct.pack("<III", other[0], other[1], unwind)  # UNW_FLAG_CHAININFO
    writes = {module.base + room: chained, module.base + at: struct.pack("<III", begin, end, room)}
    case = patched("unlock_unknown", BUILD, SEED, writes)
    (excerpt,) = case["excerpts"]
    assert case["verdict"]["driver"] == name
    assert excerpt["function"] == {
        "at": f"{name}+{other[0]:#x}",
        "entry": f"{module.base + other[0]:#x}",
        "begin": f"{module.base + begin:#x}",
        "end": f"{module.base + end:#x}",
    }
    assert (marked(excerpt) or {})["name"] == UNLOCK
    assert excerpt["reason"] is None
