"""The project keeps its own rules about files; each rule is shown to notice a planted offence."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.project import rules


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The parts of the checkout that the rules look at, to plant things in."""
    for name in ("csrc", "python", "docs", "tests"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.o"))
    return tmp_path


RULES: list[Callable[[Path], Iterator[str]]] = [
    rules.wrong_includes,
    rules.wrong_directories,
    rules.wrong_sources,
    rules.wrong_formats,
    rules.wrong_first_lines,
    rules.wrong_imports,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_is_kept(root: Path, rule: Callable[[Path], Iterator[str]]) -> None:
    assert list(rule(root)) == []


def test_the_rules_see_the_project(root: Path) -> None:
    order = list(rules.ladder(root))
    assert order == "base source dump scan space image symbols nt code case report python".split()
    assert len(rules.c_files(root)) > len(order)


def added(rule: Callable[[Path], Iterator[str]], root: Path, copy: Path) -> list[str]:
    """What a rule says of the copy and not of the checkout: the planted offence alone."""
    before = list(rule(root))
    return [line for line in rule(copy) if line not in before]


FIRST = "/* A planted file for this test. */\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("base/planted.c", '#include "dump/pages.h"\n', "further down the ladder"),
        ("scan/planted.c", '#  include "nt/module.h"\n', "further down the ladder"),
        ("scan/planted.h", '#include "space/space.h"\n', "further down the ladder"),
        ("scan/planted.c", '#include "base/nothing.h"\n', "does not exist"),
        ("scan/planted.c", '#include "scan.h"\n', "not written as"),
        ("scan/planted.c", '#include "../base/error.h"\n', "not written as"),
        ("python/planted.c", '#include "base/error.h"\n', "knows only the public header"),
        ("include/planted.h", '#include "base/error.h"\n', "knows only the public header"),
        ("scan/planted.c", "#include <Python.h>\n", "only the binding"),
        ("code/planted.c", "#include <Zydis/Zydis.h>\n", "only code/decode.c"),
        ("scan/planted.c", "#include <sys/mman.h>\n", "not portable"),
        ("source/planted.c", "#include <unistd.h>\n", "not portable"),
        ("base/planted.c", "#include <pthread.h>\n", "not portable"),
        ("strange/planted.c", "", "not in the ladder"),
    ],
)
def test_bad_include_is_seen(root: Path, copy: Path, name: str, text: str, expected: str) -> None:
    path = copy / "csrc" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(FIRST + text)
    found = added(rules.wrong_includes, root, copy)
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")
    assert expected in found[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nt/planted.c", '#include <string.h>\n#include "base/error.h"\n#include "nt/module.h"\n#include "lockhound.h"\n'),
        ("python/planted.c", '#include <Python.h>\n#include "lockhound.h"\n'),
        ("scan/planted.c", "#include <immintrin.h>\n"),
    ],
)
def test_good_include_is_left_alone(root: Path, copy: Path, name: str, text: str) -> None:
    (copy / "csrc" / name).parent.mkdir(exist_ok=True)
    (copy / "csrc" / name).write_text(FIRST + text)
    assert added(rules.wrong_includes, root, copy) == []


def test_the_linux_file_is_the_exception(root: Path) -> None:
    found = rules.INCLUDE.findall((root / "csrc" / rules.LINUX_ONLY).read_text())
    assert any(system.removesuffix(".h") not in rules.PORTABLE for _, system in found if system)


def test_unlisted_and_listed_sources_are_seen(root: Path, copy: Path) -> None:
    (copy / "csrc" / "base" / "planted.c").write_text(FIRST)
    assert added(rules.wrong_sources, root, copy) == ["csrc/sources does not list base/planted.c"]
    (copy / "csrc" / "base" / "planted.c").unlink()
    sources = copy / "csrc" / "sources"
    kept = sources.read_text()
    sources.write_text(kept + "zoo/gone.c\n")
    assert added(rules.wrong_sources, root, copy) == ["csrc/sources lists zoo/gone.c, which is not there"]
    lines = kept.splitlines()
    sources.write_text("\n".join([*reversed(lines), ""]))
    assert added(rules.wrong_sources, root, copy) == ["csrc/sources is not in the order of the ladder"]


def test_directory_without_a_line_is_seen(root: Path, copy: Path) -> None:
    (copy / "csrc" / "strange").mkdir()
    (copy / "csrc" / "strange" / "planted.c").write_text(FIRST)
    assert added(rules.wrong_directories, root, copy) == ["csrc/strange has no line in docs/architecture.md"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("csrc/base/planted.h", "#ifndef X\n#define X\n#endif\n"),
        ("csrc/base/planted.h", "/* planted */\n"),
        ("python/lockhound_synth/planted.py", "import os\n"),
        ("tests/planted.py", "#!/usr/bin/env python3 and three words\n"),
    ],
)
def test_file_that_does_not_say_what_it_is_for_is_seen(root: Path, copy: Path, name: str, text: str) -> None:
    (copy / name).write_text(text)
    assert added(rules.wrong_first_lines, root, copy) == [f"{name} does not begin with its responsibility"]


def test_long_file_is_seen_unless_generated(root: Path, copy: Path) -> None:
    path = copy / "csrc" / "base" / "planted.h"
    path.write_text("/* A planted file that is long. */\n" + "\n" * rules.LONGEST)
    assert added(rules.wrong_first_lines, root, copy) == ["csrc/base/planted.h has more than 800 lines"]
    path.write_text("/* Generated: a planted file that is long. */\n" + "\n" * rules.LONGEST)
    assert added(rules.wrong_first_lines, root, copy) == []


@pytest.mark.parametrize(
    ("package", "text", "seen"),
    [
        ("lockhound_synth", "import lockhound\n", True),
        ("lockhound_synth", "def f():\n    from lockhound.errors import X\n", True),
        ("lockhound", "import os, lockhound_synth.forge\n", True),
        ("lockhound", "from . import errors\nimport lockhound.errors\n", False),
    ],
)
def test_import_across_is_seen(root: Path, copy: Path, package: str, text: str, seen: bool) -> None:
    (copy / "python" / package).mkdir(exist_ok=True)
    (copy / "python" / package / "planted.py").write_text(text)
    assert [f"python/{package}/planted.py imports" in line for line in added(rules.wrong_imports, root, copy)] == [True] * seen


def test_top_level(root: Path) -> None:
    names = rules.tracked(root)
    assert len(names) > 20
    assert list(rules.wrong_top_level(names)) == []
    assert list(rules.wrong_top_level([*names, Path("notes.txt"), Path(".dotfile")])) == ["notes.txt stands at the top level"]


def test_no_text_of_one_machine(root: Path, tmp_path: Path) -> None:
    assert list(rules.wrong_text(root, rules.tracked(root))) == []
    planted = ["see /" + "work/x", "index: https://pypi" + ".org/simple", "cd $root/home/x", "cp a /" + "tmp/b"]
    (tmp_path / "planted").write_text("\n".join(planted))
    assert [line.split(" ")[0] for line in rules.wrong_text(tmp_path, [Path("planted")])] == ["planted:1", "planted:2", "planted:4"]
