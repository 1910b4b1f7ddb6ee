"""What a source distribution holds, and that the stub says what the binding has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import lockhound as lh


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
        "lockhound._lockhound",
    ]
    env = {**os.environ, "PYTHONPATH": package, "MYPYPATH": package}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
