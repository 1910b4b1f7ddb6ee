"""What people and programs read: unknowns are said, nothing trails, and hostile names reach no terminal, page, JSON or CSV reader raw."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import struct
import unicodedata
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound import cli
from lockhound.tables import cells
from lockhound.terminal import one_line
from lockhound_synth import io as devices
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.scenarios.hostile import NAMES

from .crowd import crowd
from .machines import case_of, dump_bytes, forged
from .scene import Scene
from .triage_writer import every_page, small_of

UNNAMED = 0x00AB_CDEF  # no bug check
# Bytes that a process's name may have: terminal control, markup, formulas, a C1 control, a byte of some code page.
PROCESS_NAMES = ("\x1b[31m<b>x", "=1+1", "@run\x9b2J", "-x\xe4.exe", "a\r\nb\x7f")


def with_header(data: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def views(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The JSON of a dump's case, and every text that a person could be shown."""
    with lh.open(data) as dump:
        kernel, case = dump.kernel(), dump.investigate(progress=False)
        texts = [kernel.info_text(), kernel.info_text(redact=True), case.text(), case.text(redact=True), str(case), repr(case)]
        texts += [repr(dump), repr(kernel), repr(dump.info), repr(dump.bugcheck), str(dump.bugcheck), repr(case.verdict), repr(case.ledger)]
        texts += [repr(case.process), repr(case.document), *map(repr, kernel.modules())]
        texts += [case.to_json(), case.to_json(redact=True), case.to_json(indent=1), kernel.info_json()]
    return case.to_dict(), texts


def small(machine: Forged) -> bytes:
    return small_of(machine, every_page(machine)[:60]).to_bytes()


# ---- unknowns


@pytest.mark.parametrize("kind", ["kernel", "small"])
def test_a_bug_check_without_a_name(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = forged("pending_irp", 19041, 0)
    data = with_header(small(machine) if kind == "small" else dump_bytes("pending_irp", 19041, 0, 6), 0x38, "<I", UNNAMED)
    path = tmp_path / "x.dmp"
    path.write_bytes(data)
    for command, status in (("info", 0), ("analyze", 3)):
        assert cli.main([command, str(path)]) == status
        assert f"\nbug check 0x{UNNAMED:X} (name unknown)\n" in capsys.readouterr().out
    with lh.open(path) as dump:
        assert "unknown" in str(dump.bugcheck)
        found = json.loads(dump.kernel().info_json())
    assert found["bugcheck"]["name"] is None
    assert "not_applicable" in found["coverage"]["statement"]


@pytest.mark.parametrize("name", ["pending_irp", "page_fault", "no_mdl", "mdl_absent", "busy"])
def test_nothing_trails_and_no_line_is_double(name: str) -> None:
    machine = forged(name, 19041, 1)
    for data in (dump_bytes(name, 19041, 1, 6), with_header(small(machine), 0x38, "<I", UNNAMED)):
        with lh.open(data) as dump:
            texts = [dump.kernel().info_text(), dump.investigate(progress=False).text(), dump.investigate(progress=False).text(redact=True)]
        for line in "\n".join(texts).splitlines():
            assert line == line.rstrip()
            assert "  -  " not in line


def nulls(value: Any, at: str) -> list[str]:
    if isinstance(value, dict):
        return [path for key, inner in value.items() for path in nulls(inner, f"{at}.{key}")]
    return [at] if value is None else []


# Null for what does not apply: no path was given, no pieces but pages, no place in the file, no marker of an ended process.
NO_FACT = {"dump.path", "dump.blocks", *(f"{p}.{f}" for p in ("process", "current_process") for f in ("physical", "file_offset"))}


@pytest.mark.parametrize("name", ["pending_irp", "page_fault", "mdl_absent"])
@pytest.mark.parametrize("build", [7601, 26100, 23456])
def test_each_fact_that_is_null_has_a_reason(name: str, build: int) -> None:
    machine = forged(name, build, 1)
    whole = dump_bytes(name, build, 1, 6)
    bare = with_header(with_header(whole, 0xFA8, "<Q", 0), 0x1030, "<Q", 0)  # neither time nor uptime
    headless = with_header(small(machine), 0x88, "<I", 0x4547_4150)  # the list of memory runs was never filled in
    nameless = machine.without([machine.evidence_pages["nt_image_header"]]).to_bytes(6)
    seen = set()
    for data in (whole, bare, small(machine), headless, nameless):
        with lh.open(data) as dump:
            found = json.loads(dump.kernel().info_json())
        assert (found["process"] is None) == (machine.truth.process is None)
        assert found["current_process"] is not None or found["absent"]["current_process"]["reason"]
        for path in [path for part in ("dump", "process", "current_process") for path in nulls(found[part] or {}, part)]:
            seen.add(path)
            assert path in NO_FACT or found["absent"][path]["reason"], path
    assert seen >= {"dump.time", "dump.uptime_seconds", "dump.memory_runs", "dump.pages.ram", "dump.kernel_version"}


def test_the_process_that_ran_has_reasons_of_its_own() -> None:
    """Its object is not in the dump, and that of the process charged is: what is said of the one is not said of the other."""
    with lh.open(dump_bytes("pending_irp", 19041, 0, 6)) as dump:
        current = dump.investigate(progress=False).current_process
        assert current is not None
        address = current.address
        assert address is not None
        physical = dump.kernel().walk(address).physical
        assert physical is not None
        with dump.without_pages([physical // 4096]) as holed:
            case = holed.investigate(progress=False)
    assert case.process is not None
    assert case.process.name is not None
    for fact in ("name", "pid", "locked_pages", "exit_time"):
        entry = case.absent[f"current_process.{fact}"]
        assert (entry.kind, int(entry.address, 16)) == ("not_captured", address), fact


def test_a_charge_that_is_not_known_leaves_nothing_unexplained_and_nothing_explained() -> None:
    """0 would say that the account closes."""
    with lh.open(dump_bytes("unlock_shared", 23456, 0, 6)) as dump:
        case = dump.investigate(progress=False)
    assert case.ledger.charged is case.ledger.unexplained is None
    assert case.ledger.explained > 0
    assert f"\n  charged ?, explained {case.ledger.explained}, unexplained ?\n" in case.text()
    assert f"pages are charged; <b>{case.ledger.explained}</b> explained.</p>" in case.html()


def test_rows_that_are_left_out_are_counted() -> None:
    """In the text, whose lists end after 40 rows; the JSON has all."""
    with lh.open(crowd("requests", 50).forged.to_bytes(6)) as dump:
        case = dump.investigate(progress=False)
    assert len(case.ledger.mdls) == 50
    rows = [len(suspect.evidence) for suspect in case.suspects]
    assert max(rows) > 40
    wanted = [10, *(count - 40 for count in rows if count > 40)]
    assert [int(count) for count in re.findall(r"^ +\.\.\. (\d+) more$", case.text(), re.MULTILINE)] == wanted


def test_time_and_uptime_in_words_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = with_header(dump_bytes("pending_irp", 19041, 0, 6), 0xFA8, "<Q", 132_583_451_029_877_657)
    data = with_header(data, 0x1030, "<Q", ((3 * 24 + 4) * 3600 + 5 * 60 + 6) * 10**7 + 9_999_999)
    path = tmp_path / "x.dmp"
    path.write_bytes(data)
    assert cli.main(["info", str(path)]) == 0
    assert "\nstopped 2021-02-21T01:38:22Z after 3 d 04:05:06, 1 processor\n" in capsys.readouterr().out
    with lh.open(path) as dump:
        assert dump.info.time == datetime(2021, 2, 21, 1, 38, 22, 987765, UTC)
        assert dump.info.uptime == timedelta(days=3, hours=4, minutes=5, seconds=6, microseconds=999_999)
        found = json.loads(dump.kernel().info_json())["dump"]
    assert (found["time"], found["uptime_seconds"]) == ("2021-02-21T01:38:22Z", (3 * 24 + 4) * 3600 + 5 * 60 + 6)
    assert found["identity"]["system_time"] == 132_583_451_029_877_657
    with lh.open(with_header(data, 0x1030, "<Q", 0)) as dump:
        assert dump.info.uptime is None


def test_what_is_missing_says_what_could_lie_there() -> None:
    machine = forged("pending_irp", 19041, 0)
    with lh.open(dump_bytes("pending_irp", 19041, 0, 6)) as dump:
        whole = dump.kernel().info_text()
        frame = machine.evidence_pages["mdl:0"]
        with dump.without_pages([frame]) as reduced:
            text, found = reduced.kernel().info_text(), json.loads(reduced.kernel().info_json())
    region = found["coverage"]["regions"]["pool"]
    assert region["not_captured"] == 1
    assert f"pool                 {region['present']} of {region['present'] + 1} mapped pages present, 1 missing\n" in text
    assert f"({region['holds']})" in text
    assert f"({region['holds']})" not in whole
    assert f"pool                 all {region['present'] + 1} mapped pages present\n" in whole


# ---- the name of a file

PATHS = [
    b"mis\x1b[31msing.dmp",
    b"\xff\xfe.dmp",
    "\u202egnp.dmp".encode(),
    b"a\nb.dmp",
    b"=1+1.dmp",
    b"<b>&\"'.dmp",
    b"x" * 200 + b"\x1b.dmp",
]


@pytest.mark.parametrize("raw", PATHS)
@pytest.mark.parametrize("command", ["info", "analyze", "search"])
def test_a_missing_file_is_named_once_in_one_way(raw: bytes, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/" + raw)
    assert cli.main([command, path, *(["1"] if command == "search" else [])]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"lockhound: {one_line(path)}: can't open: No such file or directory\n"
    assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("raw", PATHS)
def test_the_path_of_a_dump_in_every_output(raw: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/" + raw)
    Path(path).write_bytes(dump_bytes("pending_irp", 19041, 0, 6))
    for arguments in (["info"], ["info", "--json"], ["analyze"], ["analyze", "--json"], ["analyze", "--color", "always"]):
        assert cli.main([*arguments, path]) == 0
        check_text(capsys.readouterr().out.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[1;31m", ""))
    with lh.open(path) as dump:
        case = dump.investigate(progress=False)
        for text in (repr(dump), str(case), repr(case), case.to_json(), dump.kernel().info_json(), dump.kernel().info_text()):
            check_text(text)
    check_page(case._repr_html_(), Path(path).name)


# ---- hostile names


def check_text(text: str) -> None:
    """Nothing that a terminal obeys, that can't be seen, or that is no character."""
    for character in text:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), hex(ord(character))
    text.encode("utf-8")


# The elements of the page of a case; links and what loads anything are none of them.
OURS = frozenset("div style h2 h3 p b span code details summary ul li table thead tbody tr th td pre".split())


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def check_page(text: str, *names: str) -> None:
    """Only elements of our own, and no name with markup in it as it is."""
    check_text(text)
    assert Page(text).tags <= OURS
    assert not any("<" in name and name in text for name in names)


def check_csv(text: str) -> None:
    check_text(text)
    for row in csv.reader(io.StringIO(text)):
        assert not any(cell[:1] in ("=", "+", "-", "@") for cell in row), row


def machine_of(name: str, process: str, *, build: int) -> tuple[Forged, str]:
    """An ordinary case in which the guilty driver, its device and its file have this name, and so has an unloaded driver."""
    scene = Scene("hostile", build, 0, trap=False)
    scene.victim.name = process
    guilty = scene.stage.invent(shown=name)
    device = devices.make_device(scene.machine, guilty, name=name)
    scene.request(scene.lock(), device, file=devices.make_file(scene.machine, device, name=name))
    if len(name) < 100:
        scene.machine.unloaded.append((name, 0xFFFF_F80F_0000_0000, 0xFFFF_F80F_0000_8000))
    return scene.finish(), guilty.module.name


CASES = [(name, PROCESS_NAMES[number % len(PROCESS_NAMES)], number) for number, name in enumerate(NAMES)]


@pytest.mark.parametrize(("name", "process", "number"), CASES)
def test_hostile_names_in_every_output(name: str, process: str, number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    machine, _ = machine_of(name, process, build=scenarios.ALL_BUILDS[number % len(scenarios.ALL_BUILDS)])
    data = machine.to_bytes(6)
    document, texts = views(data)
    assert document["process"]["name"] != process or process.isprintable()
    assert document["ledger"]["explained"] == 5
    for text in texts:
        check_text(text)
    path = tmp_path / "x.dmp"
    path.write_bytes(data)
    for command in ("info", "analyze"):
        for form in ([], ["--json"], ["--redact"]):
            cli.main([command, str(path), *form])
            check_text(capsys.readouterr().out)
    case = lh.analyze(path, progress=False)
    assert pickle.loads(pickle.dumps(case)) == case
    check_page(case._repr_html_(), name, process)
    check_csv(case.ledger.to_frame().to_csv())


@pytest.mark.parametrize("name", [n for n in NAMES if n[0] in "=+"])
def test_a_driver_that_is_a_formula(name: str) -> None:
    pytest.importorskip("pandas")
    machine, _ = machine_of(name, "plain.exe", build=19041)
    with lh.open(machine.to_bytes(6)) as dump:
        case = dump.investigate(progress=False)
    assert case.verdict.driver is not None
    assert case.verdict.driver[0] == name[0], "a case shows the name as it is"
    assert case.ledger.to_frame()["holder"].tolist() == [f"\\x{ord(name[0]):02x}{case.verdict.driver[1:]}"]
    check_csv(case.ledger.to_frame().to_csv())


def test_cells() -> None:
    assert cells(["=1", "+1", "-1", "@x", "a=1", "", None, 5]) == ["\\x3d1", "\\x2b1", "\\x2d1", "\\x40x", "a=1", "", None, 5]


def test_the_same_names_on_a_small_dump() -> None:
    machine, _ = machine_of(NAMES[6], PROCESS_NAMES[0], build=19041)
    _, texts = views(small(machine))
    for text in texts:
        check_text(text)


def test_the_checks_see_what_is_raw() -> None:
    for text in ("\x1b[0m", "\u202e", "a\x85", "\ufeff"):
        with pytest.raises(AssertionError):
            check_text(text)
    for page in ("<pre><script>x</script></pre>", "<p><a>x</a></p>", "<p>a <b>x</p>"):
        with pytest.raises(AssertionError):
            check_page(page, "<b>x")
    with pytest.raises(AssertionError):
        check_csv("1,=1+1\n")
    assert case_of(dump_bytes("pending_irp", 19041, 0, 6))["dump"]["path"] is None
