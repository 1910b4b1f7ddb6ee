"""The command line: exit statuses, what goes to which stream, and what never reaches a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockhound as lh
from lockhound import cli, terminal
from lockhound_synth import scenarios

from . import sample

Outcomes = dict[str, Any]


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> Outcomes:
    """What analyze gives for each path: a case, or an error to raise."""
    given: Outcomes = {}

    def analyze(path: str, **_: Any) -> lh.Case:
        outcome = given[path]
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, lh.Case)
        return outcome

    monkeypatch.setattr(cli, "analyze", analyze)
    for kind in ("driver", "kernel", "insufficient", "unattributed", "not_applicable"):
        given[kind] = sample.case_of_kind(kind)
    given["bad"] = lh.FormatError("bad: header: x", code="format", field="x", offset=16)
    given["memory"] = MemoryError()
    given["two"] = lh.AmbiguousError("2 processes fit x.exe", code="invalid_argument", field="process")
    given["stop"] = KeyboardInterrupt()
    return given


@pytest.mark.parametrize(
    ("dumps", "status"),
    [
        ("driver", 0),
        ("kernel", 4),
        ("insufficient", 4),
        ("unattributed", 4),
        ("not_applicable", 3),
        ("bad", 1),
        ("memory", 1),
        ("stop", 130),
        ("driver driver", 0),
        ("driver not_applicable", 3),
        ("not_applicable kernel driver", 4),
        ("kernel bad driver not_applicable", 1),
        ("driver stop bad", 130),
        ("two", 2),
        ("two kernel driver", 2),
        ("two bad", 1),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.usefixtures("outcomes")
def test_exit_status_of_analyze(dumps: str, status: int, form: str) -> None:
    assert cli.main(["analyze", *dumps.split(), *(["--json"] if form == "json" else [])]) == status


@pytest.mark.usefixtures("outcomes")
def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["analyze", "bad"]) == 1
    assert capsys.readouterr() == ("", "lockhound: bad: header: x\n")
    assert cli.main(["analyze", "--json", "bad"]) == 1
    assert capsys.readouterr() == ("", "lockhound: bad: header: x\n")


@pytest.mark.usefixtures("outcomes")
def test_json_of_one_and_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["analyze", "--json", "driver"])
    assert json.loads(capsys.readouterr().out) == sample.DOCUMENT
    cli.main(["analyze", "--json", "driver", "bad", "memory"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == sample.DOCUMENT
    assert lines[1]["schema"] == "lockhound.error/1"
    assert lines[1]["path"] == "bad"
    assert lines[1]["error"] == {
        "code": "format", "message": "bad: header: x", "field": "x", "offset": 16, "absence": None, "level": None, "address": None,
    }  # fmt: skip
    assert lines[2]["error"]["code"] == "memory"


@pytest.mark.usefixtures("outcomes")
def test_redaction(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["analyze", "--json", "--redact", "driver", "driver"])
    cli.main(["analyze", "--redact", "driver", "driver"])
    out = capsys.readouterr().out
    assert "capture.exe" not in out
    assert "MEMORY.DMP" not in out
    assert "leaky.sys" in out


@pytest.mark.usefixtures("outcomes")
def test_several_dumps_have_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["analyze", "driver", "kernel"])
    assert capsys.readouterr().out == f"== driver\n{sample.TEXT}\n== kernel\n{sample.TEXT}"
    cli.main(["analyze", "two", "driver"])  # a name that fits twice in one dump is no reason to leave the others out
    assert capsys.readouterr() == (f"\n== driver\n{sample.TEXT}", "lockhound: two: 2 processes fit x.exe\n")


@pytest.mark.usefixtures("outcomes")
def test_colors(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["analyze", "driver"])
    assert "\x1b" not in capsys.readouterr().out
    cli.main(["analyze", "--color", "never", "driver"])
    assert "\x1b" not in capsys.readouterr().out
    cli.main(["analyze", "--color", "always", "driver"])
    assert capsys.readouterr().out.startswith("\x1b[1mleaky.sys")


def test_hostile_names_do_not_reach_the_terminal(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes["\x1b]0;title\x07"] = sample.case(text="holder \x1b[2J\x9b31m\u202eexe.sys\n")
    cli.main(["analyze", "--color", "always", "\x1b]0;title\x07", "driver"])
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out
    assert not {"\x07", "\x9b", "\u202e"} & set(out)
    assert "\\x1b]0;title\\x07" in out
    assert "holder \\x1b[2J\\x9b31m\\u202eexe.sys" in out


@given(st.text())
def test_the_guard(text: str) -> None:
    for shown in (terminal.guarded(text), terminal.one_line(text), terminal.guarded(text, color=True)):
        assert shown.replace("\n", "").isprintable()
    assert "\n" not in terminal.one_line(text)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal.write_line(stream, text)
    stream.flush()


@given(st.text("ab \x1b[0;31m\n"))
def test_the_guard_lets_colors_through_and_nothing_else(text: str) -> None:
    shown = terminal.guarded(text, color=True)
    assert terminal._COLOR.sub("", shown).replace("\n", "").isprintable()
    assert terminal.guarded("a\x1b[1;31mb\x1b[0m", color=True) == "a\x1b[1;31mb\x1b[0m"


@pytest.mark.parametrize(
    "arguments",
    [
        "", "analyze", "nonsense", "analyze x --color pink", "analyze x --threads 0", "analyze x --timeout -1", "analyze x --timeout no",
        "analyze x y --html z", "analyze x --html",
        "search x", "search x -1", "search x 0x10000000000000000", "search x zz",
        "search x ffffe0001234508", "search x 0ffffe00012345080", "search x 1 --align 3", "search x 1 --limit 0",
    ],
)  # fmt: skip
def test_usage(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments.split())
    assert caught.value.code == 2
    assert "usage: lockhound" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16), ("0x10", 16), ("ffffe000`12345080", 0xFFFFE00012345080), ("0xffffe000`12345080", 0xFFFFE00012345080), ("0x_10", 16),
        ("ffffe00012345080", 0xFFFFE00012345080), ("FFFFE00012345080", 0xFFFFE00012345080), ("0000000000000076", 0x76),
        ("1234567890123456", 1234567890123456), ("0", 0),
    ],
)  # fmt: skip
def test_spellings_of_numbers(text: str, value: int) -> None:
    assert cli.number(text) == value


def test_version(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lockhound {lh.__version__}\n"
    header = (root / "csrc" / "include" / "lockhound.h").read_text()
    for name, number in zip(("MAJOR", "MINOR", "PATCH"), lh.__version__.split("."), strict=True):
        assert f"#define LH_VERSION_{name} {number}\n" in header


# ---- on real files


@pytest.mark.parametrize("arguments", [["analyze"], ["analyze", "--json"], ["info"], ["info", "--json"], ["search"]])
@pytest.mark.parametrize("kind", ["missing", "directory", "text", "empty", "cut"])
def test_a_file_that_can_not_be_read(
    arguments: list[str], kind: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path if kind == "directory" else tmp_path / f"{kind}.dmp"
    if kind in ("text", "empty", "cut"):
        file.write_bytes({"text": b"hello " * 2000, "empty": b"", "cut": path.read_bytes()[:5000]}[kind])
    assert cli.main([arguments[0], str(file), *arguments[1:], *(["1"] if arguments[0] == "search" else [])]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lockhound: {file}: ")
    assert err.count("\n") == 1
    assert err.count(str(file)) == 1


def test_search(path: Path, dump: lh.Dump, capsys: pytest.CaptureFixture[str]) -> None:
    value = dump.bugcheck.parameters[1]
    hits = dump.search([value])
    assert cli.main(["search", str(path), f"{value:#x}"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [[int(number, 16) for number in line.split()] for line in lines] == [[hit.physical, hit.virtual, hit.value] for hit in hits]
    assert err == f"{len(hits)} hits\n"
    assert cli.main(["search", str(path), hex(value), "--limit", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["truncated"] is True
    assert [int(hit["physical"], 16) for hit in found["hits"]] == [hit.physical for hit in hits[:2]]
    assert cli.main(["search", str(path), "0x1234567890abcdef"]) == 0


def test_identify(path: Path, dump: lh.Dump, capsys: pytest.CaptureFixture[str]) -> None:
    process, shared = dump.bugcheck.parameters[1], 0xFFFFF78000000014
    assert cli.main(["identify", str(path), f"{process + 8:#x}", f"{shared:#x}"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [f"{at:#018x}  {dump.kernel().identify(at).text}" for at in (process + 8, shared)]
    assert cli.main(["identify", str(path), f"{process + 8:#x}", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["addresses"]
    assert found["schema"] == "lockhound.identify/1"
    assert (first["place"], first["base"], first["offset"]) == ("process", f"{process:#x}", 8)
    assert (second["place"], second["base"], second["address"]) == ("user", None, "0x5")


def test_info(path: Path, dump: lh.Dump, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dump"]["format"] == "kernel-bitmap"
    assert [int(number, 16) for number in found["bugcheck"]["parameters"]] == list(dump.bugcheck.parameters)
    assert int(found["process"]["address"], 16) == dump.bugcheck.parameters[1]
    assert found["process"]["locked_pages"] == dump.bugcheck.parameters[2]
    assert cli.main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    for part in ("kernel-bitmap dump, x64, build 19041", "PROCESS_HAS_LOCKED_PAGES", f"{dump.bugcheck.parameters[1]:#x}", "of RAM"):
        assert part in out


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lockhound", *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_the_whole_way(path: Path, dump: lh.Dump) -> None:
    done = run("analyze", "--json", path)
    assert (done.returncode, done.stderr) == (0, "")
    case = json.loads(done.stdout)
    assert case["verdict"]["kind"] == "driver"
    assert case["ledger"]["charged"] == case["ledger"]["explained"] == dump.bugcheck.parameters[2]
    text = run("analyze", path)
    assert (text.returncode, text.stderr) == (0, "")
    assert case["verdict"]["driver"] in text.stdout
    assert "\x1b" not in text.stdout


def test_a_page(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "case.html"
    assert cli.main(["analyze", "--html", str(page), str(path)]) == 0
    plain = capsys.readouterr().out
    case = lh.analyze(path)
    assert page.read_text("utf-8") == case.html()
    assert plain == case.text()
    assert cli.main(["analyze", "--redact", "--json", "--html", str(page), str(path)]) == 0
    assert page.read_text("utf-8") == case.html(redact=True)
    assert json.loads(capsys.readouterr().out)["dump"]["path"] is None
    nowhere = tmp_path / "no" / "folder.html"
    assert cli.main(["analyze", "--html", str(nowhere), str(path)]) == 1
    assert capsys.readouterr() == (plain, f"lockhound: {nowhere}: No such file or directory\n")  # the verdict is not lost with the page


def test_a_broken_pipe_is_quiet(path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "lockhound", "search", str(path), "0"]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", ["analyze", "info", "identify"])
def test_a_full_disk_is_not_the_dump_s_fault(path: Path, command: str) -> None:
    with Path("/dev/full").open("w") as full:
        arguments = [sys.executable, "-m", "lockhound", command, str(path), *(["1"] if command == "identify" else [])]
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, "lockhound: standard output: No space left on device\n")


@pytest.mark.parametrize(("closed", "said"), [(">&-", "lockhound: standard output: it is closed\n"), ("2>&-", ""), (">&- 2>&-", "")])
def test_a_stream_that_is_closed(path: Path, closed: str, said: str) -> None:
    command = f'exec "$0" -m lockhound info "$1" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, path], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0 if closed == "2>&-" else 1, said)
    missing = subprocess.run(["sh", "-c", command, sys.executable, "nothing"], capture_output=True, text=True, timeout=120, check=False)
    assert missing.returncode == 1


def test_an_ascii_terminal(path: Path) -> None:
    done = run("info", path.parent / "käse\udcff.dmp", env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.isascii()


def test_a_file_name_that_is_not_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/x\xff.dmp")
    scenarios.build("pending_irp", build=19041, seed=1).write(path, 6)
    assert cli.main(["analyze", "--json", path]) == 0
    assert json.loads(capsys.readouterr().out)["dump"]["path"].endswith("x\\xff.dmp")


def test_stack_shows_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = scenarios.build("unlock_unknown", seed=1)
    path = tmp_path / "MEMORY.DMP"
    machine.write(path, 6)
    assert cli.main(["stack", str(path)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert len(lines) == len(machine.stack) + 1
    assert "nt" in lines[0]
    assert f"{machine.truth.verdict['driver']}+0x" in lines[3]
    assert shown.err == "reached user mode\n"
    assert cli.main(["stack", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [int(frame["address"], 16) for frame in told["frames"]][1:] == [at for _, at in machine.stack]
    assert told["complete"]
    thread = next(iter(machine.waiting))
    assert cli.main(["stack", str(path), "--thread", f"{thread:#x}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(machine.waiting[thread])
    assert cli.main(["stack", str(path), "--thread", "0x1000"]) == 1


def test_options_stand_anywhere() -> None:
    """Also between two dumps, or between two numbers; behind "--" everything is a file."""
    parse = cli.parser().parse_args
    for line in ("analyze A --json B --threads 2 C", "analyze --json A B --threads 2 C", "analyze A B C --threads 2 --json"):
        options = parse(line.split())
        assert (options.dumps, options.json, options.threads) == (["A", "B", "C"], True, 2)
    for line in ("identify D 1 --json 2", "identify --json D 1 2", "identify D --json 1 2"):
        options = parse(line.split())
        assert (options.dump, options.addresses, options.json) == ("D", [1, 2], True)
    options = parse("search D 1 --align 4 2 --limit 3 3".split())
    assert (options.dump, options.values, options.align, options.limit) == ("D", [1, 2, 3], 4, 3)
    options = parse("disassemble D --size 5 16 --json".split())
    assert (options.dump, options.address, options.size, options.json) == ("D", 16, 5, True)
    assert parse("analyze -- -a --json".split()).dumps == ["-a", "--json"]
    for line in ("analyze", "analyze --json", "identify D", "search --json D", "audit A B", "analyze A --bogus B", "disassemble D 1 2"):
        with pytest.raises(SystemExit) as caught:
            parse(line.split())
        assert caught.value.code == 2


def test_an_address_as_reports_write_it(path: Path, dump: lh.Dump, capsys: pytest.CaptureFixture[str]) -> None:
    module = next(m for m in dump.kernel().modules() if m.name.endswith(".sys"))
    kernel = next(m for m in dump.kernel().modules() if m.name == "ntoskrnl.exe")
    text = dump.kernel().identify(module.base + 0x1000).text
    for name in (module.name, module.name.upper(), module.name.removesuffix(".sys")):
        for offset in ("0x1000", "1000"):
            assert cli.main(["identify", str(path), f"{name}+{offset}"]) == 0
            assert capsys.readouterr().out == f"{module.base + 0x1000:#018x}  {text}\n"
    assert cli.main(["identify", str(path), "nt+0x1000", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["addresses"][0]["address"] == f"{kernel.base + 0x1000:#x}"
    shown = []
    for where in (f"{module.name}+0x1000", f"{module.base + 0x1000:#x}"):
        assert cli.main(["disassemble", str(path), where, "--json"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert cli.main(["disassemble", str(path), "nobody.sys+0x10"]) == 1
    assert "no loaded module is called nobody.sys" in capsys.readouterr().err
    for wrong in ("nobody.sys+", "nobody.sys+zz", "nt!Name+0x10", "nobody.sys"):
        with pytest.raises(SystemExit):
            cli.main(["identify", str(path), wrong])
