"""The installed C library: what is in the tree, what leaves it, and that the example of the documents builds against it and runs."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from tests.project import documents

PREFIX = "usr/local"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
# A compiler and how to make it take a file in its language.
LANGUAGES = {
    "gcc": ("gcc", "-std=c11", "-xc"),
    "clang": ("clang", "-std=c11", "-xc"),
    "g++": ("g++", "-std=c++17", "-xc++"),
    "clang++": ("clang++", "-std=c++17", "-xc++"),
}
# What the Makefile calls: no Python among them.
TOOLS = "make sh cc gcc as ld ar sed awk paste install ln rm mkdir cmp printf dirname basename".split()


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run([str(part) for part in command], env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stage(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the installed files under /usr/local, made with nothing but the TOOLS on the path."""
    folder = tmp_path_factory.mktemp("installed")
    tools = folder / "tools"
    tools.mkdir()
    for name in TOOLS:
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    options = ("WERROR=1", "CFLAGS=-O1", f"BUILD={folder / 'build'}", f"PREFIX=/{PREFIX}", f"DESTDIR={folder / 'root'}")
    run("make", "-j2", "-C", root / "csrc", "install", *options, PATH=str(tools))
    return folder / "root"


@pytest.fixture(scope="module")
def shared_library(stage: Path) -> Path:
    [library] = [path for path in (stage / PREFIX / "lib").glob("liblockhound.so.*.*") if not path.is_symlink()]
    return library


@pytest.fixture(scope="module")
def forged() -> Forged:
    return scenarios.build("pending_irp")


@pytest.fixture(scope="module")
def dump(forged: Forged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dump") / "MEMORY.DMP"
    forged.write(path)
    return path


def pkg_config(stage: Path, *options: str) -> list[str]:
    return run(
        "pkg-config",
        *options,
        "lockhound",
        PKG_CONFIG_PATH=str(stage / PREFIX / "lib" / "pkgconfig"),
        PKG_CONFIG_SYSROOT_DIR=str(stage),
    ).split()


def test_what_is_installed(stage: Path, shared_library: Path) -> None:
    version = shared_library.name.removeprefix("liblockhound.so.")
    major = version.split(".")[0]
    there = {str(path.relative_to(stage)) for path in stage.rglob("*") if not path.is_dir()}
    libraries = {f"lib/liblockhound.{end}" for end in ("a", "so", f"so.{major}", f"so.{version}")}
    assert there == {f"{PREFIX}/{name}" for name in libraries | {"include/lockhound.h", "lib/pkgconfig/lockhound.pc"}}
    assert (stage / PREFIX / "lib" / "liblockhound.so").resolve() == shared_library
    assert f"[liblockhound.so.{major}]" in run("readelf", "-d", shared_library)
    assert pkg_config(stage, "--modversion") == [version]
    assert str(stage) not in (stage / PREFIX / "lib" / "pkgconfig" / "lockhound.pc").read_text()


def test_uninstall_leaves_nothing(root: Path, stage: Path, tmp_path: Path) -> None:
    shutil.copytree(stage, tmp_path / "copy", symlinks=True)
    run("make", "-C", root / "csrc", "uninstall", f"PREFIX=/{PREFIX}", f"DESTDIR={tmp_path / 'copy'}")
    assert [path for path in (tmp_path / "copy").rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_header_stands_alone(stage: Path, tmp_path: Path, language: str) -> None:
    (tmp_path / "header.c").write_text("#include <lockhound.h>\n#include <lockhound.h>\nextern int nothing_else;\n")
    run(*LANGUAGES[language], *WARNINGS, "-fsyntax-only", *pkg_config(stage, "--cflags"), tmp_path / "header.c")


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_names_the_driver(
    root: Path, stage: Path, forged: Forged, dump: Path, tmp_path: Path, language: str, static: bool
) -> None:
    [source] = [block.text for block in documents.blocks((root / "docs" / "c.md").read_text()) if block.language == "c"]
    (tmp_path / "example.c").write_text(source)
    flags = pkg_config(stage, "--cflags", "--libs", *(["--static"] if static else []))
    if static:
        flags = ["-l:liblockhound.a" if flag == "-llockhound" else flag for flag in flags]
    program = tmp_path / "example"
    run(*LANGUAGES[language], *WARNINGS, tmp_path / "example.c", "-xnone", *flags, "-o", program)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", program))
    assert any(name.startswith("liblockhound") for name in needed) != static, needed
    where = {} if static else {"LD_LIBRARY_PATH": str(stage / PREFIX / "lib")}
    first, second, third = run(program, dump, **where).splitlines()
    pages = forged.truth.ledger["charged"]
    assert re.fullmatch(rf"driver: {re.escape(forged.truth.verdict['driver'])}, (0|1)\.\d\d", first)
    assert second == f"{pages} of {pages} pages explained"
    assert re.fullmatch(r"MDL 0xffff[0-9a-f]{12} is charged to \S+\.exe", third)


def header(root: Path) -> str:
    return (root / "csrc" / "include" / "lockhound.h").read_text()


def test_the_library_exports_what_the_header_declares(root: Path, shared_library: Path) -> None:
    exported = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", shared_library).splitlines()}
    declared = set(re.findall(r"^LH_API [^;(]*\b(lh_\w+)\(", re.sub(r"/\*.*?\*/", "", header(root), flags=re.DOTALL), re.MULTILINE))
    assert len(declared) > 30
    assert {name for name in exported if not name.startswith("LOCKHOUND")} == declared


def test_the_library_neither_prints_nor_ends_its_process(shared_library: Path) -> None:
    wanted = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--undefined-only", shared_library).splitlines()}
    assert "memcpy" in wanted
    assert wanted & set("printf fprintf puts putchar perror stdout stderr abort exit _exit __assert_fail signal sigaction".split()) == set()


def uncommented(text: str) -> Iterator[str]:
    """Functions and types of a header that have no comment directly above them."""
    lines = text.splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"(?:LH_API|typedef|enum)\b", line) and not above.endswith("*/"):
            yield line


def test_every_declaration_has_its_contract(root: Path) -> None:
    assert list(uncommented(header(root))) == []
    assert list(uncommented("/* a */\nLH_API int a(void);\nLH_API int b(void); /* b */\n")) == ["LH_API int b(void); /* b */"]
