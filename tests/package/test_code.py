"""kernel.disassemble and its command: rows of code, what they lead to, and what is not there."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import jsonschema
import pytest

import lockhound as lh
from lockhound.cli import main
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.machine import Module


def calling(forged: Forged, routine: str) -> tuple[Module, int]:
    """A driver that calls an imported routine, and the address of the call."""
    for driver in forged.machine.drivers.values():
        if driver.module.image and (found := driver.module.image.returns(routine)):
            return driver.module, driver.module.base + found[0] - 6
    raise AssertionError(f"nobody calls {routine}")


def test_a_call_through_the_import_table(dump: lh.Dump, forged: Forged) -> None:
    module, address = calling(forged, "IoCreateDevice")
    assert module.image
    (row,) = dump.kernel().disassemble(address, 1)
    assert (row.address, len(row.bytes), row.flow, row.name) == (address, 6, "call", "nt!IoCreateDevice")
    assert row.target == forged.machine.nt_base + forged.machine.kernel.exports["IoCreateDevice"]
    assert row.slot == module.base + next(rva for (_, name), rva in module.image.slots.items() if name == "IoCreateDevice")
    assert row.text.startswith("call ")
    assert str(row).startswith(f"{address:016x}  ")
    assert str(row).endswith("; nt!IoCreateDevice")


def test_rows_follow_each_other_and_survive(path: Path, forged: Forged) -> None:
    module, _ = calling(forged, "IoCreateDevice")
    begin = module.symbols["AddDevice"]
    with lh.open(path) as dump:
        rows = dump.kernel().disassemble(begin, 0x400)
    assert len(rows) > 64  # more than one portion of the binding
    for one, following in itertools.pairwise(rows):
        assert one.address + len(one.bytes) == following.address
    assert rows[0].address == begin
    assert rows[-1].address < begin + 0x400 <= rows[-1].address + len(rows[-1].bytes)
    assert pickle.loads(pickle.dumps(rows)) == rows
    inside = [row for row in rows if row.flow == "branch"]
    assert inside
    assert all(row.target and row.name == f"{module.name}+{row.target - module.base:#x}" for row in inside)


def test_data_is_told_byte_by_byte(dump: lh.Dump, forged: Forged) -> None:
    module, _ = calling(forged, "IoCreateDevice")
    at = module.base + 0xE00  # behind the headers: no code
    physical = forged.translate(module.base)
    assert physical is not None
    whole = bytearray(dump.kernel().read(module.base, 4096))
    whole[0xE00:0xE03] = b"\x06\x06\xc3"
    changed = dump.with_pages({physical >> 12: bytes(whole)})
    rows = changed.kernel().disassemble(at, 3)
    assert [(row.flow, row.bytes, row.text) for row in rows] == [
        ("invalid", b"\x06", ""),
        ("invalid", b"\x06", ""),
        ("return", b"\xc3", "ret"),
    ]
    assert "??" in str(rows[0])


def test_what_is_not_there(dump: lh.Dump, forged: Forged) -> None:
    module, _ = calling(forged, "IoCreateDevice")
    begin = module.symbols["AddDevice"]
    page = begin & ~0xFFF
    physical = forged.translate(page)
    assert physical is not None
    kernel = dump.without_pages([physical >> 12]).kernel()
    with pytest.raises(lh.AbsentError) as caught:
        kernel.disassemble(begin, 16)
    assert (caught.value.absence, caught.value.address) == ("not_captured", begin)
    # the last instruction that is wholly there ends the answer
    rows = kernel.disassemble(page - 16, 32)
    assert rows == dump.kernel().disassemble(page - 16, 32)[: len(rows)]
    assert page - 15 <= rows[-1].address + len(rows[-1].bytes) <= page
    assert dump.kernel().disassemble(begin, 0) == ()


def test_arguments(dump: lh.Dump) -> None:
    kernel = dump.kernel()
    for wrong in ((-1, 1), (0, -1), (1 << 64, 1)):
        with pytest.raises((OverflowError, ValueError, lh.ArgumentError)):
            kernel.disassemble(*wrong)
    with pytest.raises(lh.AbsentError):
        kernel.disassemble((1 << 64) - 1, 1 << 40)


def test_the_command(path: Path, forged: Forged, capsys: pytest.CaptureFixture[str]) -> None:
    _, address = calling(forged, "IoCreateDevice")
    assert main(["disassemble", str(path), f"{address:#x}", "--size", "6"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("; nt!IoCreateDevice")
    assert main(["disassemble", str(path), f"{address:#x}", "--size", "6", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lockhound.disassembly/1"
    (row,) = document["instructions"]
    assert (row["address"], row["flow"], row["name"]) == (f"{address:#x}", "call", "nt!IoCreateDevice")
    assert row["bytes"].startswith("ff15")
    assert main(["disassemble", str(path), "0x1000"]) == 1
    assert "lockhound: " in capsys.readouterr().err


# ---- what drivers' code does with locked pages


@pytest.fixture(scope="module")
def schema(root: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((root / "docs" / "locks-1.schema.json").read_text()))


def test_profiles_are_valid(dump: lh.Dump, schema: jsonschema.Draft202012Validator) -> None:
    kernel = dump.kernel()
    document = json.loads(kernel.locks_json())
    schema.validate(document)
    assert document["modules"]
    for row in kernel.lock_profiles():
        assert row == kernel.lock_profile(row["module"])
        assert row["counts"]["lock"] + row["counts"]["unlock"] > 0
        assert len(row["sites"]) == sum(row["counts"].values())
    whole = json.loads(kernel.locks_json("nt", redact=True))
    schema.validate(whole)
    assert whole["path"] is None
    spoilt = {**document, "modules": [{**document["modules"][0], "gap": {"kind": "not_captured"}}]}
    assert list(schema.iter_errors(spoilt))


def test_calls_are_where_the_forge_put_them(dump: lh.Dump, forged: Forged) -> None:
    kernel = dump.kernel()
    seen = 0
    for driver in forged.machine.drivers.values():
        module = driver.module
        if module.image is None:
            continue
        profile = kernel.lock_profile(kernel.modules()[[m.base for m in kernel.modules()].index(module.base)])
        assert profile["module"] == module.name
        for routine in ("MmProbeAndLockPages", "MmUnlockPages", "IoFreeMdl", "IofCallDriver"):
            found = [int(row["address"], 16) - module.base + 6 for row in profile["sites"] if row["routine"] == routine]
            assert sorted(found) == module.image.returns(routine), (module.name, routine)
            seen += len(found)
        assert profile["findings"] == ()
        assert (profile["whole"], profile["gap"]) == (True, None)
        assert profile["functions"] == module.image.exception_table[1] // 12
    assert seen > 20


def test_a_discarded_section_is_not_missed(dump: lh.Dump, forged: Forged) -> None:
    profiles = [dump.kernel().lock_profile(d.module.name) for d in forged.machine.drivers.values() if d.module.image]
    assert all(profile["discarded_bytes"] > 0 and profile["missing_bytes"] == 0 for profile in profiles)


def test_slots_that_are_not_captured(dump: lh.Dump, forged: Forged) -> None:
    """The names went with the section that is discarded: what is called through such a slot is not known, and that is told."""
    module, _ = calling(forged, "IofCompleteRequest")
    assert module.image
    slot = next(rva for (_, name), rva in module.image.slots.items() if name == "IofCompleteRequest")
    physical = forged.translate(module.base + slot)
    assert physical is not None
    profile = dump.without_pages([physical >> 12]).kernel().lock_profile(module.name)
    assert profile["whole"] is False
    assert profile["unread_slots"] > 0
    assert profile["gap"]["kind"] == "not_captured"
    assert profile["counts"]["complete"] == 0


def test_unknown_modules_are_refused(dump: lh.Dump) -> None:
    for name in ("nobody.sys", "", "n"):
        with pytest.raises(lh.ArgumentError):
            dump.kernel().lock_profile(name)


def test_the_command_locks(path: Path, forged: Forged, capsys: pytest.CaptureFixture[str]) -> None:
    module, _ = calling(forged, "MmProbeAndLockPages")
    assert main(["locks", str(path), "--module", module.name.upper()]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{module.name} at ")
    assert "MmProbeAndLockPages" in text
    assert main(["locks", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(path)
    assert main(["locks", str(path), "--module", "nobody"]) == 1
    assert "no loaded module" in capsys.readouterr().err


def test_an_empty_list_is_a_fact_only_where_nothing_is_missing(dump: lh.Dump, forged: Forged) -> None:
    """Of a dump without images and without the list of modules nobody can say that no driver locks."""
    kernel = dump.kernel()
    whole = json.loads(kernel.locks_json())
    assert (whole["modules_complete"], whole["left_out"]) == (True, [])
    locking = {row["module"]: int(row["base"], 16) for row in whole["modules"]}
    headers = [kernel.walk(base).physical for base in locking.values()]
    schema = json.loads((Path(__file__).parents[2] / "docs" / "locks-1.schema.json").read_text())
    with dump.without_pages([at >> 12 for at in headers if at is not None]) as less:
        part = json.loads(less.kernel().locks_json())
        text = less.kernel().locks_text()
    jsonschema.validate(part, schema)
    assert part["modules"] == []
    assert {row["module"]: int(row["base"], 16) for row in part["left_out"]} == locking
    assert {row["kind"] for row in part["left_out"]} == {"not_captured"}
    assert "No driver here" not in text
    assert all(name in text for name in sorted(locking)[:3])
    link = forged.translate(dump.info.loaded_module_list)
    assert link is not None
    with dump.without_pages([link >> 12]) as less:
        lost = less.kernel()
        assert json.loads(lost.locks_json())["modules_complete"] is False
        assert "the list of modules is not wholly in this dump" in lost.locks_text()
        assert "No driver here" not in lost.locks_text()
        with pytest.raises(lh.ArgumentError, match="the list of modules is not wholly in this dump"):
            lost.lock_profile("nobody")


def test_it_can_be_stopped(dump: lh.Dump) -> None:
    cancel = lh.Cancel()
    cancel.set()
    with pytest.raises(lh.Cancelled):
        dump.kernel().lock_profiles(cancel=cancel)
    with pytest.raises(lh.DeadlineExceeded):
        dump.kernel().lock_profiles(timeout=0)
    with pytest.raises(lh.Cancelled):
        dump.kernel().lock_profiles(progress=lambda *_: False)


def test_code_is_evidence(dump: lh.Dump, forged: Forged) -> None:
    """Of the driver named, and of nobody else's guilt; a page of its code that is missing stands in `unevaluated`."""
    case = dump.investigate(progress=False)
    (named,) = [row for row in case.suspects if row["driver"] == case.verdict.driver]
    rows = [row for row in named["evidence"] if row["kind"] == "lock_site"]
    assert rows
    assert rows[0]["statement"].startswith("its code is all in the dump: calls that lock pages ")
    assert not case.unevaluated
    module = next(d.module for d in forged.machine.drivers.values() if d.module.name == case.verdict.driver)
    physical = forged.translate(module.symbols["DispatchIo"])
    assert physical is not None
    less = dump.without_pages([physical >> 12]).investigate(progress=False)
    assert less.verdict.driver in (None, case.verdict.driver)
    (row,) = [row for row in less.unevaluated if row["rule"] == "code as witness"]
    assert f"{module.symbols['DispatchIo'] & ~0xFFF:#x} (not_captured)" in row["needs"]


def test_a_maker_without_a_lock_is_named_with_less() -> None:
    """The call that locks is taken out of the code of the driver that made the packet."""
    story = scenarios.build("driver_irp_in_bus", seed=3)
    guilty = story.truth.verdict["driver"]
    module = next(d.module for d in story.machine.drivers.values() if d.module.name == guilty)
    assert module.image
    changed: dict[int, bytes] = {}
    with lh.open(story.to_bytes(6)) as dump:
        for behind in module.image.returns("MmProbeAndLockPages"):
            at = module.base + behind - 6
            physical = story.translate(at)
            assert physical is not None
            data = bytearray(changed.get(physical >> 12) or dump.kernel().read(at & ~0xFFF, 4096))
            data[at & 0xFFF : (at & 0xFFF) + 6] = bytes.fromhex("660f1f440000")  # nop of six bytes
            changed[physical >> 12] = bytes(data)
        before = dump.investigate(progress=False)
        after = dump.with_pages(changed).investigate(progress=False)
    assert changed
    assert before.verdict.driver == after.verdict.driver == guilty
    assert not [row for row in before.verdict.confidence.factors if row["name"] == "code"]
    (factor,) = [row for row in after.verdict.confidence.factors if row["name"] == "code"]
    assert factor["value"] == 0.8
    assert abs(after.verdict.confidence.score - 0.8 * before.verdict.confidence.score) < 0.002
