"""The package without a disassembler (LOCKHOUND_ZYDIS=0): everything else answers, and what needs one says so.

LOCKHOUND_UNDECODED is where setup.py built that extension; `sh .ci/test check-no-zydis` does so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lockhound_synth import scenarios

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "lockhound"
WITHOUT = "this library was built without Zydis, which decodes code"
BUILT = os.environ.get("LOCKHOUND_UNDECODED")
pytestmark = pytest.mark.skipif(not BUILT, reason="no extension without a disassembler was built (LOCKHOUND_UNDECODED)")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that package, and two dumps."""
    made = tmp_path_factory.mktemp("undecoded")
    shutil.copytree(PACKAGE, made / "lockhound", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (extension,) = Path(BUILT or "").glob("lockhound/_lockhound*.so")
    shutil.copy(extension, made / "lockhound")
    for story in ("unlock_unknown", "pending_irp"):
        (made / f"{story}.dmp").write_bytes(scenarios.build(story, build=19041).to_bytes(6))
    return made


def run(place: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "lockhound", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_verdict_stands_and_the_code_has_a_reason(place: Path) -> None:
    status, out, err = run(place, "analyze", "--json", "--html", "page.html", "unlock_unknown.dmp")
    assert (status, err) == (0, "")
    case = json.loads(out)
    (excerpt,) = case["excerpts"]
    assert excerpt["driver"] == case["verdict"]["driver"]
    assert (excerpt["listing"], excerpt["function"], excerpt["reason"]) == ([], None, WITHOUT)
    assert [row["rule"] for row in case["unevaluated"]] == ["code as witness"]
    assert WITHOUT in (place / "page.html").read_text(encoding="utf-8")
    status, out, _ = run(place, "analyze", "unlock_unknown.dmp")
    assert status == 0
    assert f"      {WITHOUT}\n" in out
    status, out, _ = run(place, "analyze", "--json", "pending_irp.dmp")
    assert (status, json.loads(out)["excerpts"]) == (0, [])
    assert run(place, "advice", "unlock_unknown.dmp")[0] == run(place, "stack", "unlock_unknown.dmp")[0] == 0


def test_what_decodes_code_says_that_it_can_not(place: Path) -> None:
    for command in (
        ("locks", "pending_irp.dmp"),
        ("locks", "--module", "nt", "pending_irp.dmp"),
        ("disassemble", "pending_irp.dmp", "0xfffff80000000000"),
    ):
        status, out, err = run(place, *command)
        assert (status, out) == (1, "")
        assert err == f"lockhound: pending_irp.dmp: {WITHOUT}\n"
