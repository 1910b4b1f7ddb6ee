"""The C example of the documents builds against an installed library, without and with sharing, and names the driver."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from lockhound_synth import scenarios
from tests.project import documents


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run([str(part) for part in command], env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with header, libraries and pkg-config file, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    run("make", "-C", root / "csrc", "install", f"PREFIX={folder / 'prefix'}", f"BUILD={folder / 'build'}", "WERROR=1", "CFLAGS=-O1")
    return folder / "prefix"


@pytest.mark.parametrize("static", [False, True])
def test_the_example_names_the_driver(root: Path, installed: Path, tmp_path: Path, static: bool) -> None:
    [source] = [block.text for block in documents.blocks((root / "docs" / "embedding.md").read_text()) if block.language == "c"]
    (tmp_path / "example.c").write_text(source)
    options = ["--cflags", "--libs", *(["--static"] if static else [])]
    flags = run("pkg-config", *options, "lockhound", PKG_CONFIG_PATH=str(installed / "lib" / "pkgconfig")).split()
    if static:
        flags = [str(installed / "lib" / "liblockhound.a") if flag == "-llockhound" else flag for flag in flags]
    program = tmp_path / "example"
    run("cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", tmp_path / "example.c", *flags, "-o", program)
    forged = scenarios.build("pending_irp")
    forged.write(tmp_path / "MEMORY.DMP")
    first, second = run(program, tmp_path / "MEMORY.DMP", LD_LIBRARY_PATH=str(installed / "lib")).splitlines()
    pages = forged.truth.ledger["charged"]
    assert re.fullmatch(rf"driver: {re.escape(forged.truth.verdict['driver'])}, (0|1)\.\d\d", first)
    assert second == f"{pages} of {pages} pages explained"


def test_the_library_exports_what_the_header_declares(root: Path, installed: Path) -> None:
    [library] = [path for path in (installed / "lib").glob("liblockhound.so.*.*") if not path.is_symlink()]
    exported = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", library).splitlines()}
    header = re.sub(r"/\*.*?\*/", "", (root / "csrc" / "include" / "lockhound.h").read_text(), flags=re.DOTALL)
    declared = set(re.findall(r"^LH_API [^;(]*\b(lh_\w+)\(", header, re.MULTILINE))
    assert len(declared) > 30
    assert {name for name in exported if not name.startswith("LOCKHOUND")} == declared
