"""Every scenario on every build in every type: the right driver or the right refusal, an exact ledger, nobody innocent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound import cli
from lockhound_synth import scenarios
from lockhound_synth.truth import EXIT

from .altered import Altered
from .machines import FORMATS, TYPES, Answer, case_of, dump_bytes, forged

SEEDS = (0, 1, 2)


def ledger_rows(ledger: Any) -> list[tuple[Any, ...]]:
    return sorted((m["address"], m["pages"], m["state"], m["holder"]) for m in ledger["mdls"])


@pytest.mark.parametrize("build", scenarios.BUILDS)
@pytest.mark.parametrize("name", scenarios.NAMES)
def test_verdict_and_ledger(name: str, build: int) -> None:
    for seed in SEEDS:
        truth = forged(name, build, seed).truth
        for kind in TYPES:
            case = case_of(dump_bytes(name, build, seed, kind))
            where = f"{name} build {build} seed {seed} type {kind}"
            assert Answer.of(case["verdict"]) == Answer.of(truth.verdict), where
            assert case["verdict"]["driver"] == truth.verdict["driver"], where
            assert ledger_rows(case["ledger"]) == ledger_rows(truth.ledger), where
            for key in ("charged", "explained", "unexplained"):
                assert case["ledger"][key] == truth.ledger[key], f"{where}: {key}"
            named = {d["name"] for d in case["verdict"]["drivers"]}
            assert not named & set(truth.innocents), where
            assert not named & {row["driver"] for row in case["cleared"]}, where
            assert case["dump"]["format"] == FORMATS[kind]
            assert case["dump"]["build"] == build


@pytest.mark.parametrize("build", scenarios.BUILDS)
@pytest.mark.parametrize("name", scenarios.NAMES)
def test_processes_and_modules(name: str, build: int) -> None:
    machine = forged(name, build, 1)
    truth = machine.truth
    with lh.open(dump_bytes(name, build, 1, 6)) as dump:
        case = dump.investigate(progress=False).to_dict()
        for key, wanted in (("process", truth.process), ("current_process", truth.current_process)):
            if wanted is None:
                assert case[key] is None
                continue
            assert case[key]["address"] == wanted["address"]
            assert case[key]["name"] == wanted["name"]
            assert case[key]["pid"] == wanted["pid"]
        found = {m.name: (hex(m.base), m.size, m.timestamp) for m in dump.kernel().modules() if not m.unloaded}
        assert found == {m["name"]: (m["base"], m["size"], m["timestamp"]) for m in truth.modules}
        versions = {m.name: m.version for m in dump.kernel().modules() if not m.unloaded}
        assert versions == {m["name"]: m["version"] for m in truth.modules}


@pytest.mark.parametrize("name", scenarios.NAMES)
def test_exit_status(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = forged(name, 19041, 2)
    path = tmp_path / "MEMORY.DMP"
    machine.write(path, 6)
    assert cli.main(["analyze", str(path)]) == EXIT[machine.truth.verdict["kind"]] == machine.truth.exit_status
    out = capsys.readouterr().out
    assert machine.truth.verdict["kind"] in out or machine.truth.verdict["driver"] in out


def test_evidence_leads_to_the_bytes() -> None:
    """Each place in the chain is where the report says: address, physical address and file offset name the same bytes."""
    data = dump_bytes("filters_above", 22000, 0, 6)
    case = case_of(data)
    with lh.open(data) as dump:
        kernel = dump.kernel()
        checked = 0
        for row in [*case["chain"], *case["ledger"]["mdls"], *case["suspects"][0]["evidence"]]:
            if row["physical"] is None:
                continue
            there = kernel.read(int(row["address"], 16), 8)
            assert there == dump.read(int(row["physical"], 16), 8)
            assert there == data[row["file_offset"] : row["file_offset"] + 8]
            checked += 1
    assert checked >= 8


def test_filters_are_cleared_with_a_reason() -> None:
    machine = forged("filters_above", 19041, 0)
    case = case_of(dump_bytes("filters_above", 19041, 0, 6))
    filters = {label.partition(":")[2] for label in machine.evidence_pages if label.startswith("device:")}
    cleared = {row["driver"]: row["reason"] for row in case["cleared"]}
    assert len(cleared) >= 2
    assert all("passed the request down" in reason for reason in cleared.values())
    assert filters


def test_the_bus_driver_is_cleared() -> None:
    case = case_of(dump_bytes("driver_irp_in_bus", 19041, 1, 6))
    assert any(row["driver"] in ("usbhub3.sys", "usbxhci.sys") and "maker" in row["reason"] for row in case["cleared"])
    assert any(step["kind"] == "maker" for step in case["chain"])


def test_reproduce_names_the_values() -> None:
    case = case_of(dump_bytes("pending_irp", 19041, 0, 6))
    commands = [row["command"] for row in case["reproduce"]]
    mdl = case["ledger"]["mdls"][0]
    assert f"dt nt!_MDL {mdl['address']}" in commands
    assert f"!irp {mdl['irp']} 1" in commands
    assert any(c.startswith("!drvobj") for c in commands)
    assert any(c.startswith("lmv") for c in commands)


PLACES = {
    "held_two_deep": ["!pool", "!pool", "!devobj"],
    "held_in_data": ["ln"],
    "held_on_stack": ["!thread"],
    "held_in_driver_extension": [],
}


@pytest.mark.parametrize("name", PLACES)
def test_reproduce_follows_the_holders(name: str) -> None:
    """From the MDL to the driver object, each pointer and what it stands in; the pointer is what an independent reader finds."""
    machine = Altered(forged(name, 19041, 0))
    case = case_of(dump_bytes(name, 19041, 0, 6))
    rows = {row["command"]: row["expect"] for row in case["reproduce"]}
    commands = list(rows)
    holders = [step["address"] for step in case["chain"] if step["kind"] == "holder"]
    pointers = [f"dq {at} L1" for at in holders]
    for at, command in zip(holders, pointers, strict=True):
        assert rows[command] == f"{machine.u64(int(at, 16)):016x}"
    start = commands.index(pointers[0])
    assert [c for c in commands[start:] if c.startswith("dq")] == pointers
    assert [c.split()[0] for c in commands[start:] if not c.startswith("dq")] == [*PLACES[name], "!drvobj", "lmv"]
    assert f"!drvobj {next(step['address'] for step in case['chain'] if step['kind'] == 'driver')} 7" in commands
    assert holders[0] in rows[f"!search {case['ledger']['mdls'][0]['address']}"]


def test_reproduce_shows_each_named_driver() -> None:
    case = case_of(dump_bytes("two_drivers", 19041, 0, 6))
    commands = [row["command"] for row in case["reproduce"]]
    assert len(case["verdict"]["drivers"]) == 2
    for mdl in case["ledger"]["mdls"]:
        assert {f"dt nt!_MDL {mdl['address']}", f"!irp {mdl['irp']} 1"} <= set(commands)
    assert sum(c.startswith("lmv") for c in commands) == 2


def test_unevaluated_names_the_later_rule() -> None:
    assert {r["rule"] for r in case_of(dump_bytes("tracked_leak", 7601, 0, 6))["unevaluated"]} >= {"lock tracker"}
    assert not case_of(dump_bytes("unlock_unknown", 19041, 0, 6))["unevaluated"]


def test_redacted_report_has_no_process_name() -> None:
    machine = forged("pending_irp", 19041, 0)
    with lh.open(dump_bytes("pending_irp", 19041, 0, 6)) as dump:
        case = dump.investigate(progress=False)
    assert machine.truth.process is not None
    name = machine.truth.process["name"]
    assert name in case.to_json()
    assert name in case.text()
    assert name not in case.to_json(redact=True)
