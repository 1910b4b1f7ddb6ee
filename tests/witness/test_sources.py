"""The forge's tables come from their own source and agree with a second one; forge and reader share nothing."""

from __future__ import annotations

import ast
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from lockhound_synth import generate_layouts, scenarios
from lockhound_synth.layouts import Layouts
from lockhound_synth.layouts.offsets import BUILDS, PDB_GUIDS, SHAPES

FORGE, READER = "lockhound_synth", "lockhound"
FORGE_SOURCE, READER_SOURCE = "types-six-kernels.json.xz", "nt-layouts.json.xz"


def imported(source: str) -> set[str]:
    """Top-level names of the packages that a Python file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__"):
                found.add(str(node.args[0].value).split(".")[0])
    return found


def test_tables_are_what_the_generator_writes(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared / "data" / "isf"
    if not (folder / FORGE_SOURCE).is_file():
        pytest.skip(f"{FORGE_SOURCE} is not in the shared data")
    committed = generate_layouts.HERE
    monkeypatch.setattr(generate_layouts, "HERE", tmp_path)
    assert generate_layouts.main([str(folder)]) == 0
    for name in ("offsets.py", "kernels.py"):
        assert (tmp_path / name).read_text() == (committed / name).read_text(), name


# Builds whose layouts no second source can confirm, and why.
EXEMPT = {
    26100: "no symbol file of this build is public: reader and forge both rest on the same collected facts",
    23456: "it does not exist: the newest table's fields pushed apart, so that no table fits",
}


def test_only_two_builds_have_no_source() -> None:
    assert set(scenarios.ALL_BUILDS) - set(BUILDS) == set(EXEMPT)
    assert set(scenarios.BUILDS) <= set(BUILDS)


def test_no_known_table_fits_the_unknown_build() -> None:
    """Each of its moved structures differs from every build's in every field that a reader needs, and keeps order and alignment."""
    needed = {
        "EPROCESS": ("UniqueProcessId", "ActiveProcessLinks", "NumberOfLockedPages", "ImageFileName", "ThreadListHead", "ExitTime"),
        "KTHREAD": ("InitialStack", "StackLimit", "StackBase", "KernelStack", "ApcState", "Process", "ThreadListEntry"),
        "ETHREAD": ("Cid", "IrpList", "ThreadListEntry"),
        "KPRCB": ("CurrentThread", "IdleThread", "ProcessorState", "Context", "PPLookasideList"),
    }
    newest = Layouts(22000)
    for seed in range(20):
        layouts = Layouts(23456, seed)
        for name, fields in needed.items():
            for build in BUILDS:
                assert any(layouts[name].offset(f) != Layouts(build)[name].offset(f) for f in fields), (seed, name, build)
            for field in fields:
                moved = layouts[name].offset(field) - newest[name].offset(field)
                assert moved > 0
                assert moved % 8 == 0
            ordered = sorted(newest[name].fields, key=newest[name].fields.__getitem__)
            places = [layouts[name].offset(field) for field in ordered]
            assert places == sorted(places)
            assert places[-1] < layouts[name].size
        shifts = {name: layouts[name].offset(fields[0]) - newest[name].offset(fields[0]) for name, fields in needed.items()}
        assert all(shifts.values())


def test_a_second_source_agrees(shared: Path) -> None:
    """The reader's source has the same kernels by PDB identity: what both know of a field must be the same."""
    path = shared / "data" / READER_SOURCE
    if not path.is_file():
        pytest.skip(f"{READER_SOURCE} is not in the shared data")
    with lzma.open(path) as stream:
        data: dict[str, Any] = json.load(stream)
    kernels = {kernel["guid"]: kernel for kernel in data["kernels"]}
    compared = 0
    for build, guid in PDB_GUIDS.items():
        assert guid in kernels, build
        types = {name: data["type_tables"][index] for name, index in kernels[guid]["types"].items()}
        for name, index in BUILDS[build].items():
            other = types.get(f"_{name}")
            if other is None:
                continue
            size, fields = SHAPES[index]
            assert size == other["size"], (build, name)
            for field, (offset, _) in fields.items():
                if field in other["fields"]:
                    assert offset == other["fields"][field][0], (build, name, field)
                    compared += 1
    assert compared > 1000


def test_forge_and_reader_do_not_import_each_other(root: Path) -> None:
    forge = list((root / "python" / FORGE).rglob("*.py"))
    assert len(forge) > 30
    for path in forge:
        assert READER not in imported(path.read_text()), path
    reader = list((root / "python" / READER).rglob("*.py")) + list((root / "csrc").rglob("*.py"))
    for path in reader:
        assert FORGE not in imported(path.read_text()), path


def test_the_import_check_can_fail() -> None:
    assert imported("def f():\n    from lockhound.case import x\n") == {"lockhound"}
    assert imported("import lockhound_synth.forge as f, json") == {"lockhound_synth", "json"}
    assert imported("__import__('lockhound')\nimportlib.import_module('lockhound.x')") == {"lockhound"}
    assert imported("from . import lockhound") == set()


def test_generators_read_different_sources(root: Path) -> None:
    forge = (root / "python" / FORGE / "generate_layouts.py").read_text()
    assert FORGE_SOURCE in forge
    assert READER_SOURCE not in forge
    reader = [path.read_text() for path in (root / "csrc").rglob("*.py")]
    if not reader:
        pytest.skip("the reader's generator is not here")
    assert any(READER_SOURCE in text for text in reader)
    assert not any(FORGE_SOURCE in text for text in reader)


def test_no_file_stands_on_both_sides(root: Path) -> None:
    def contents(folder: Path) -> set[bytes]:
        return {path.read_bytes().strip() for path in folder.rglob("*") if path.is_file() and path.suffix in (".py", ".c", ".h", ".json")}

    forge = contents(root / "python" / FORGE) - {b""}
    reader = (contents(root / "csrc") | contents(root / "python" / READER)) - {b""}
    assert forge
    assert reader
    assert not forge & reader
