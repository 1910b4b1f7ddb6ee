"""volatility3 with the genuine symbol files lists the processes and modules of machines that took those kernels' identity."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockhound_synth import scenarios
from lockhound_synth.containers import BITMAP_FULL, FULL
from lockhound_synth.forge import Forged
from lockhound_synth.layouts import KERNELS

BUILDS = (7601, 19041, 22000)
LOW_48 = (1 << 48) - 1
RUN = "import sys; sys.argv[0] = 'vol'; from volatility3.cli import main; main()"


@dataclass(frozen=True)
class Bench:
    """A machine with a genuine kernel, and volatility's folders."""

    forged: Forged
    folder: Path
    environment: dict[str, str]

    def ask(self, plugin: str, dump_type: int) -> list[dict[str, Any]]:
        dump = self.folder / f"type{dump_type}.dmp"
        if not dump.exists():
            self.forged.write(dump, dump_type)
        command = [sys.executable, "-c", RUN, "--offline", "-q", "-r", "json", "--cache-path", str(self.folder / "cache")]
        command += ["-s", str(self.folder / "symbols"), "-f", str(dump), plugin]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows


@pytest.fixture(scope="module", params=BUILDS)
def bench(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A genuine machine of each build."""
    if importlib.util.find_spec("volatility3") is None:
        pytest.skip("volatility3 is not installed")
    guid, age, _ = KERNELS[request.param]
    source = shared / "data" / "isf" / f"{guid}-{age}.json.xz"
    if not source.is_file():
        pytest.skip(f"the symbol file {source.name} is not in the shared data")
    folder = tmp_path_factory.mktemp(f"volatility{request.param}")
    symbols = folder / "symbols" / "windows" / "ntkrnlmp.pdb"
    symbols.mkdir(parents=True)
    (folder / "cache").mkdir()
    shutil.copyfile(source, symbols / source.name)
    # A home of its own: no configuration of the user's, nothing written there.
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    return Bench(scenarios.build("other_current", build=request.param, seed=2, genuine=True), folder, environment)


@pytest.mark.parametrize("dump_type", [BITMAP_FULL, FULL])
def test_processes(bench: Bench, dump_type: int) -> None:
    rows = bench.ask("windows.pslist.PsList", dump_type)
    listed = [(row["Offset(V)"], row["PID"], row["ImageFileName"], row["Threads"]) for row in rows]
    living = [p for p in bench.forged.machine.processes if p.alive]
    assert listed == [(p.address & LOW_48, p.pid, p.name[:14], len(p.threads)) for p in living]
    assert len(listed) >= 6


@pytest.mark.parametrize("dump_type", [BITMAP_FULL, FULL])
def test_modules(bench: Bench, dump_type: int) -> None:
    rows = bench.ask("windows.modules.Modules", dump_type)
    listed = [(row["Base"], row["Size"], row["Name"], row["Path"]) for row in rows]
    assert listed == [(m.base & LOW_48, m.size, m.name, m.path) for m in bench.forged.machine.modules]
    assert len(listed) >= 11


def test_crash_is_read(bench: Bench) -> None:
    rows = {row["Variable"]: row["Value"] for row in bench.ask("windows.info.Info", FULL)}
    # It looks for page tables that map themselves: any of the machine's own.
    assert int(rows["DTB"], 16) in {process.space.dtb for process in bench.forged.machine.processes}
    assert int(rows["Kernel Base"], 16) & LOW_48 == bench.forged.machine.nt_base & LOW_48
    assert rows["Major/Minor"] == f"15.{bench.forged.machine.build}"
