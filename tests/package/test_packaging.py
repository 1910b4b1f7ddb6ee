"""What a source distribution holds, and that the stub says what the binding has."""

from __future__ import annotations

import ast
import inspect
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import lockhound as lh
from lockhound import _lockhound


def test_a_source_distribution_holds_all_that_its_build_reads(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    ignore = shutil.ignore_patterns("*.so", "*.o", "*.a", "__pycache__", "*.egg-info")
    for name in ("csrc", "python"):
        shutil.copytree(root / name, copy / name, ignore=ignore)
    command = [sys.executable, "setup.py", "-q", "sdist"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (archive,) = (copy / "dist").iterdir()
    assert archive.name == f"lockhound-{lh.__version__}.tar.gz"
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {str(path.relative_to(root)) for folder in ("csrc", "python") for path in (root / folder).rglob("*") if path.is_file()}
    wanted = {name for name in wanted if not name.endswith((".so", ".o", ".a", ".pyc")) and ".egg-info/" not in name}
    assert len(wanted) > 150
    assert wanted - held == set()
    assert {"setup.py", "README.md", "LICENSE", "csrc/sources", "csrc/include/lockhound.h", "python/lockhound/py.typed"} <= held
    listed = [line for line in (root / "csrc" / "sources").read_text().splitlines() if line and not line.startswith("#")]
    assert {f"csrc/{line}" for line in listed} <= held


def test_the_stub_is_true(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    missing = tmp_path / "missing"
    # The interpreter gives types with a buffer this method from 3.12 on; for a type checker it is what makes them one.
    missing.write_text("lockhound._lockhound.Column.__buffer__\n" if sys.version_info < (3, 12) else "")
    package = str(Path(lh.__file__).parents[1])
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--allowlist",
        missing,
        "--mypy-config-file",
        root / ".mypy.ini",
        "lockhound",
    ]
    env = {**os.environ, "PYTHONPATH": package, "MYPYPATH": package}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_docstrings_are_the_stubs(root: Path) -> None:
    generator = runpy.run_path(str(root / "csrc" / "python" / "generate_docs.py"))
    assert (root / "csrc" / "python" / "docs.h").read_text() == generator["header"](), "run csrc/python/generate_docs.py"
    found = dict(generator["documented"](ast.parse((root / "python" / "lockhound" / "_lockhound.pyi").read_text())))
    seen = set()
    for owner in (_lockhound, _lockhound.Cancel, _lockhound.Column, _lockhound.Dump, _lockhound.Kernel):
        prefix = "" if owner is _lockhound else f"{owner.__name__}_"
        if prefix:
            assert owner.__doc__ == found[owner.__name__].split("\n--\n\n")[-1]
            seen.add(owner.__name__)
        for name, member in vars(owner).items():
            if prefix + name in found and not inspect.isclass(member):
                head, _, said = found[prefix + name].rpartition("\n--\n\n")
                assert member.__doc__ == said
                assert not head or head == name + member.__text_signature__
                seen.add(prefix + name)
    assert seen == set(found)


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for name in lh.__all__:
        value = getattr(lh, name)
        if isinstance(value, str):
            continue
        members = {} if not inspect.isclass(value) or not value.__module__.startswith("lockhound") else vars(value)
        for member, each in {"": value, **members}.items():
            said = inspect.getdoc(each.fget if isinstance(each, property) else each)
            if not member.startswith("_") and (callable(each) or isinstance(each, property)) and not said:
                silent.append(f"{name}.{member}")
    assert silent == []
