"""docs/contributing.md against the tree: its names are there, and its worked example builds and reads a dump."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from tests.conftest import ROOT
from tests.project import rules

TEXT = (ROOT / "docs" / "contributing.md").read_text()
WORKED = TEXT.split("## A dump format", 1)[1]
HEADER = 0x2000


def mentioned(text: str) -> set[str]:
    """Paths of the tree in backquotes."""
    return set(re.findall(r"`((?:csrc|docs|python|tests)/[\w/.-]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)))


def test_every_file_is_there() -> None:
    paths = mentioned(TEXT) - {"csrc/dump/toy.c"}
    assert len(paths) > 25
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def rows(text: str) -> Iterator[tuple[set[str], list[str]]]:
    """Of the table: the files of each row, and the names that stand in one of them."""
    for line in text.split("| what | file | there |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]:
        _, _, files, names, _ = line.split("|")
        yield mentioned(files), re.findall(r"`(\w+)`", names)


def test_every_name_stands_where_it_says() -> None:
    table = list(rows(TEXT))
    assert len(table) > 15
    assert [row for row in table if not row[0]] == []
    for files, names in table:
        content = "".join((ROOT / file).read_text() for file in files if (ROOT / file).is_file())
        assert [name for name in names if not re.search(rf"\b{name}\b", content)] == [], files


def test_the_commands_are_there(root: Path) -> None:
    for script in re.findall(r"`sh \.ci/(\w+)", TEXT):
        assert (root / ".ci" / script).is_file()
    steps = re.findall(r'^ *step "?([\w-]+)', (root / ".ci" / "test").read_text(), re.MULTILINE)
    for named in re.findall(r"sh \.ci/test ([\w -]+)`", TEXT):
        assert set(named.split()) <= set(steps)


def follow(text: str, tree: Path) -> list[str]:
    """Carries out the steps of the worked example in a tree; the files that were touched."""
    touched = []
    for match in re.finditer(r"`([\w/.-]+)`(?:, behind `(.+?)`)?:\n\n```(?:c|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        name, anchor, added = match[1], match[2], match[3]
        path = tree / name
        touched.append(name)
        if anchor is None:
            assert not path.exists()
            path.write_text(added)
            continue
        lines = path.read_text().splitlines(keepends=True)
        [place] = [number for number, line in enumerate(lines) if line.strip().startswith(anchor)]
        indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        lines[place + 1 : place + 1] = [indent + line for line in added.splitlines(keepends=True)]
        path.write_text("".join(lines))
    return touched


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which the steps were followed."""
    copy = tmp_path_factory.mktemp("contributed")
    for name in ("csrc", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.o", "*.so"))
    shutil.copy(ROOT / ".clang-format", copy)
    assert follow(WORKED, copy) == [
        "csrc/dump/toy.c",
        "csrc/sources",
        "csrc/dump/formats.inc",
        "csrc/include/lockhound.h",
        "docs/case-1.schema.json",
    ]
    return copy


def test_the_example_keeps_the_rules(tree: Path) -> None:
    checks = (rules.wrong_includes, rules.wrong_sources, rules.wrong_formats)
    assert [said for check in checks for said in check(tree)] == []
    changed = [tree / "csrc" / "dump" / "toy.c", tree / "csrc" / "include" / "lockhound.h"]
    assert subprocess.run(["clang-format", "--dry-run", "-Werror", *changed], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("left_out", [2, 3, 4, 5])
def test_a_step_left_out_is_seen(tmp_path: Path, left_out: int) -> None:
    for name in ("csrc", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.o", "*.so"))
    parts = re.split(r"(?<=^```\n)(?=\n)", WORKED, flags=re.MULTILINE)
    follow("".join(part for number, part in enumerate(parts, 1) if number != left_out), tmp_path)
    assert [said for check in (rules.wrong_sources, rules.wrong_formats) for said in check(tmp_path)] != []


def toy_dump(full: bytes) -> bytes:
    """The same machine as LHTOY1: the runs of the header of a full dump, that header, its pages."""
    count = int.from_bytes(full[0x88:0x8C], "little")
    head = b"LHTOY1\0\0" + count.to_bytes(8, "little") + full[0x98 : 0x98 + 16 * count]
    return head.ljust(0x1000, b"\0") + full


class Library:
    """A liblockhound by its C API, as far as it takes to read a dump to its end."""

    def __init__(self, path: Path) -> None:
        self.api = ctypes.CDLL(str(path))
        self.api.lh_status_name.restype = ctypes.c_char_p

    def case(self, path: Path) -> dict[str, Any] | str:
        """The case as JSON, or the name of the status that stopped it."""
        dump, kernel, case, text = (ctypes.c_void_p() for _ in range(4))
        api, ref = self.api, ctypes.byref
        status = api.lh_dump_open_file(str(path).encode(), ref(dump), None)
        status = status or api.lh_kernel_open(dump, ref(kernel), None)
        status = status or api.lh_investigate(kernel, None, ref(case), None)
        status = status or api.lh_case_json(case, 0, ref(text), None, None)
        found = ctypes.string_at(text) if status == 0 else b""
        api.lh_string_free(text)
        for release, handle in ((api.lh_case_release, case), (api.lh_kernel_release, kernel), (api.lh_dump_release, dump)):
            release(handle)
        return json.loads(found) if status == 0 else str(api.lh_status_name(status).decode())


@pytest.fixture(scope="module")
def library(tree: Path) -> Library:
    build = tree / "build"
    command: list[str | Path] = ["make", "-s", "-j2", "-C", tree / "csrc", "all", "WERROR=1", "CFLAGS=-O1", f"BUILD={build}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Library(build / "liblockhound.so")


@pytest.fixture(scope="module")
def forged() -> Forged:
    return scenarios.build("pending_irp")


def test_the_example_reads_a_dump(tree: Path, library: Library, forged: Forged, tmp_path: Path) -> None:
    path = tmp_path / "toy.dmp"
    path.write_bytes(toy_dump(forged.to_bytes(1)))
    case = library.case(path)
    assert isinstance(case, dict), case
    assert case["dump"]["format"] == "toy"
    assert case["verdict"]["driver"] == forged.truth.verdict["driver"]
    assert case["ledger"]["explained"] == forged.truth.ledger["explained"]
    jsonschema.Draft202012Validator(json.loads((tree / "docs" / "case-1.schema.json").read_text())).validate(case)


@pytest.mark.parametrize("kind", [1, 5, 6])
def test_the_other_formats_are_read_as_before(library: Library, forged: Forged, tmp_path: Path, kind: int) -> None:
    path = tmp_path / "MEMORY.DMP"
    path.write_bytes(forged.to_bytes(kind))
    case = library.case(path)
    assert isinstance(case, dict), case
    assert case["verdict"]["driver"] == forged.truth.verdict["driver"]


@pytest.mark.parametrize(
    ("place", "value"),
    [(0x8, b"\xff" * 8), (0x10, b"\xff" * 8), (0x18, b"\0" * 8), (0x18, b"\xff" * 8), (0x20, b"\0" * 8), (None, b"")],
    ids=["count", "first", "empty", "endless", "backwards", "cut"],
)
def test_the_example_believes_nothing(library: Library, forged: Forged, tmp_path: Path, place: int | None, value: bytes) -> None:
    whole = toy_dump(forged.to_bytes(1))
    path = tmp_path / "toy.dmp"
    path.write_bytes(whole[: 0x1000 + HEADER - 1] if place is None else whole[:place] + value + whole[place + len(value) :])
    assert library.case(path) == "format"
