"""What to do next: the tracking of locked pages, Driver Verifier, and the text for a vendor; safe to type and safe to send."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import lockhound as lh
from lockhound import cli
from lockhound_synth import scenarios

from .machines import case_of, dump_bytes, forged

# Each command of WinDbg that a case may give, with its arguments: whatever else would be typed is a mistake.
COMMANDS = re.compile(
    r"\.bugcheck|kn|dt nt!_(EPROCESS|MDL|LOCK_TRACKER|IO_STACK_LOCATION) 0x[0-9a-f]+( [A-Za-z]+)*"
    r"|!(search|lockedpages|devstack|devobj|thread|pfn) 0x[0-9a-f]+|!irp 0x[0-9a-f]+ 1|!drvobj 0x[0-9a-f]+ 7|!pool 0x[0-9a-f]+ 2"
    r"|(ln|ub|lmv a) 0x[0-9a-f]+|dq 0x[0-9a-f]+ L1"
)
SUSPECTS = "Windows keeps no record of an unlock: send the vendor of each suspect its text"
ADVICE = {
    "unlock_completer": SUSPECTS,
    "unlock_shared": SUSPECTS,
    "unlock_locked": SUSPECTS,
    "unlock_library_alone": "Update the drivers and programs that use this library of Windows",
    "unlock_no_module": "puts code into the kernel without the loader",
    "unlock_damaged_stack": "compare the stacks of several crashes",
    "unlock_by_nt": "compare the stacks of several crashes",
    "unlock_length_changed": 'set "ba w4 @rcx+0x28": the next write into the MDL\'s ByteCount stops the system',
    "unlock_frame_changed": "whether the next crash has the same driver in the lock tracker",
    "unlock_switched": "whether the next crash has the same driver in the lock tracker",
    "unlock_stack_absent": "complete or kernel memory dump",
    "tracked_request_gone": "Nothing is missing in this dump that could tell more",
    "tracked_no_import": "Nothing is missing in this dump that could tell more",
    "tracked_no_module": "puts code into the kernel without the loader",
    "tracked_kernel": "look for software that works on this process from outside",
    "held_by_kernel": "look for software that works on this process from outside",
    "no_mdl": "Set TrackLockedPages",
    "mdl_absent": "complete or kernel dump",
    "relative_unlock_of_never_locked": "Driver Verifier stopped the system at the call that broke its rule",
    "relative_page_unlocked_twice": "the next wrong unlock stops the system at once (0x76, first parameter 1)",
}

ON, OFF, DISABLED, UNKNOWN = "on", "off", "disabled", None


@pytest.fixture(scope="module")
def schema(root: Path) -> Any:
    return json.loads((root / "docs" / "case-1.schema.json").read_text())


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_the_text_for_the_vendor(schema: Any, build: int) -> None:
    machine = forged("filters_above", build, 0)
    case = case_of(dump_bytes("filters_above", build, 0, 6))
    jsonschema.validate(case, schema)
    (vendor,) = case["advice"]["vendors"]
    truth = next(m for m in machine.truth.modules if m["name"] == machine.truth.verdict["driver"])
    assert (vendor["driver"], vendor["version"], vendor["timestamp"]) == (truth["name"], truth["version"], truth["timestamp"])
    assert vendor["named"]
    assert vendor["pdb"]["name"] == truth["name"].replace(".sys", ".pdb")
    assert machine.truth.process is not None
    assert vendor["victim"] == machine.truth.process["name"]
    assert vendor["pages"] == machine.truth.verdict["drivers"][0]["pages"]
    assert vendor["bytes"] == sum(m["bytes"] for m in case["ledger"]["mdls"])
    request = vendor["request"]
    assert request["major"] == "IRP_MJ_DEVICE_CONTROL"
    # The forge's control codes: FILE_DEVICE_UNKNOWN, a vendor's function, METHOD_OUT_DIRECT, FILE_ANY_ACCESS.
    ioctl = request["ioctl"]
    assert (ioctl["device_type"], ioctl["method"], ioctl["access"]) == ("0x22", "METHOD_OUT_DIRECT", "FILE_ANY_ACCESS")
    assert int(ioctl["code"], 16) == 0x22 << 16 | int(ioctl["function"], 16) << 2 | 2
    assert int(ioctl["function"], 16) >= 0x800
    filters = [row["driver"] for row in case["cleared"]]
    assert sorted(d["driver"] for d in request["devices"][:-1]) == sorted(filters)
    assert [d["waits"] for d in request["devices"]] == [False, False, True]
    assert request["devices"][-1]["driver"] == truth["name"]
    assert vendor["lock_sites"], "its code is in the dump"
    base = int(truth["base"], 16)
    for site in vendor["lock_sites"]:
        assert int(site["address"], 16) == base + int(site["offset"], 16)
    text = "\n".join(vendor["lines"])
    for fact in (
        truth["name"],
        truth["version"],
        vendor["pdb"]["guid"],
        ioctl["code"].replace("0x", ""),
        vendor["victim"],
        f"{vendor['bytes']} bytes",
    ):
        assert fact in text
    assert case["advice"]["verifier"]["command"] == f"verifier /flags 0x8 /driver {truth['name']}"


@pytest.mark.parametrize(("value", "state"), [(0, OFF), (1, ON), (0x1000_0001, DISABLED), (0x1000_0000, DISABLED)])
@pytest.mark.parametrize("build", [7601, 19041, 22000])
def test_whether_tracking_was_on(build: int, value: int, state: str) -> None:
    machine = scenarios.build("pending_irp", build=build, genuine=True)
    address = machine.machine.symbol("MmTrackLockedPages")
    with lh.open(machine.to_bytes(6)) as dump:
        physical = dump.kernel().walk(address).physical
        assert physical is not None
        page = bytearray(dump.read(physical & ~0xFFF, 0x1000))
        struct.pack_into("<I", page, physical & 0xFFF, value)
        with dump.with_pages({physical >> 12: bytes(page)}) as changed:
            tracking = changed.investigate(progress=False).to_dict()["advice"]["tracking"]
        assert tracking["state"] == state
        assert ("on already" in tracking["next_crash"]) == (state == ON)
        assert ("callers" in tracking["next_crash"] or "its caller" in tracking["next_crash"]) == (build < 9600)
        with dump.without_pages([physical >> 12]) as less:
            case = less.investigate(progress=False).to_dict()
        assert case["advice"]["tracking"]["state"] is None
        assert case["absent"]["advice.tracking.state"] == {
            **case["absent"]["advice.tracking.state"],
            "kind": "not_captured",
            "address": f"{address:#x}",
        }


def test_where_nothing_tells_it_is_not_known() -> None:
    case = case_of(dump_bytes("pending_irp", 23456, 0, 6))
    assert case["advice"]["tracking"]["state"] is UNKNOWN
    assert case["absent"]["advice.tracking.state"]["kind"] == "layout"
    assert case_of(dump_bytes("tracked_leak", 19041, 0, 6))["advice"]["tracking"]["state"] == ON


def test_a_name_that_no_shell_should_see_is_in_no_command() -> None:
    """Whatever a driver calls itself, nothing but a plain file name gets into what will be typed."""
    for seed in range(6):
        case = case_of(dump_bytes("hostile_driver", 19041, seed, 6))
        verifier, names = case["advice"]["verifier"], [d["name"] for d in case["verdict"]["drivers"]]
        plain = [n for n in names if n.isascii() and n.replace(".", "").replace("_", "").isalnum() and n.endswith(".sys")]
        assert (verifier is not None) == bool(plain), names
        assert case["advice"]["vendors"][0]["driver"] == names[0]


@pytest.mark.parametrize("name", ADVICE)
def test_what_to_do_where_nobody_is_named(name: str) -> None:
    verdict = case_of(dump_bytes(name, 19041, 0, 6))["verdict"]
    assert verdict["drivers"] == []
    assert ADVICE[name] in verdict["advice"]


@pytest.mark.parametrize("build", [7601, 19041])
def test_advice_contradicts_nothing(build: int) -> None:
    """Over all stories: what is on is not asked for, who is cleared is not written to, and only known commands are to be typed."""
    for name in (n for n in (*scenarios.NAMES, *scenarios.MORE) if build in scenarios.builds_of(n) and not n.startswith("pages_")):
        case = case_of(dump_bytes(name, build, 0, 6))
        for row in case["reproduce"]:
            assert COMMANDS.fullmatch(row["command"]), (name, row["command"])
        assert build >= 9600 or not any("_LOCK_TRACKER" in row["command"] for row in case["reproduce"]), "no public symbols have it"
        advice = case["advice"]
        if advice is None:
            continue
        vendors, named = [v["driver"] for v in advice["vendors"]], [d["name"] for d in case["verdict"]["drivers"]]
        assert not set(vendors) & {row["driver"] for row in case["cleared"]} - set(named), name
        assert case["verdict"]["kind"] != "kernel" or not vendors, name
        on = advice["tracking"]["state"] == ON
        assert ("on already" in advice["tracking"]["next_crash"]) == on, name
        assert not (on and "Set TrackLockedPages" in case["verdict"]["advice"]), name
        if advice["verifier"]:
            assert ("on already" in advice["verifier"]["why"]) == on, name
            assert set(advice["verifier"]["command"].removeprefix("verifier /flags 0x8 /driver ").split()) <= set(vendors), name


def test_nobody_to_write_to() -> None:
    case = case_of(dump_bytes("no_mdl", 19041, 0, 6))
    assert case["advice"]["vendors"] == []
    assert case["advice"]["verifier"] is None
    assert "TrackLockedPages" in case["advice"]["tracking"]["command"]
    assert case_of(dump_bytes("page_fault", 19041, 0, 6))["advice"] is None


@pytest.mark.parametrize("name", ["unlock_unknown", "driver_irp_in_bus", "tracked_leak", "two_drivers"])
def test_each_named_driver_has_a_text(schema: Any, name: str) -> None:
    case = case_of(dump_bytes(name, 19041, 0, 6))
    jsonschema.validate(case, schema)
    assert [v["driver"] for v in case["advice"]["vendors"]] == [d["name"] for d in case["verdict"]["drivers"]]
    assert not {v["driver"] for v in case["advice"]["vendors"]} & {row["driver"] for row in case["cleared"]}


def test_what_an_unloaded_driver_does_not_tell() -> None:
    (vendor,) = case_of(dump_bytes("unlock_unloaded", 19041, 0, 6))["advice"]["vendors"]
    assert vendor["timestamp"] is None
    assert "version not known, time stamp not known, image size 0x" in vendor["lines"][0]


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = forged("pending_irp", 19041, 0)
    path = tmp_path / "MEMORY.DMP"
    machine.write(path, 6)
    assert machine.truth.process is not None
    driver, victim = machine.truth.verdict["driver"], machine.truth.process["name"]

    def shown(*arguments: str, status: int = 0) -> str:
        assert cli.main(["advice", *arguments, str(path)]) == status
        return capsys.readouterr().out

    assert shown("--reg") == (
        "Windows Registry Editor Version 5.00\r\n"
        "\r\n"
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Memory Management]\r\n"
        '"TrackLockedPages"=dword:00000001\r\n'
        "\r\n"
    )
    assert victim in shown("--vendor")
    assert driver in shown("--vendor")
    for view in ((), ("--vendor",), ("--json",)):
        assert victim not in shown("--redact", *view)
        assert driver in shown("--redact", *view)
    assert f"verifier /flags 0x8 /driver {driver}" in shown()
    lines = shown().splitlines()
    assert lines[lines.index("To undo it when the case is solved:") + 1].startswith("  reg delete ")
    assert lines[lines.index("To undo it:") + 1] == "  verifier /reset"
    assert json.loads(shown("--json"))["vendors"][0]["driver"] == driver
    case = lh.analyze(path, progress=False)
    assert case.advice is not None
    for text in (case.text(), case.html()):
        assert f"verifier /flags 0x8 /driver {driver}" in text
        assert victim in text
    for text in (case.text(redact=True), case.html(redact=True), case.to_json(redact=True)):
        assert victim not in text
        assert "Process: [redacted]" in text
    forged("page_fault", 19041, 0).write(path, 6)
    assert shown(status=3) == ""
