"""An installed lockhound on a bare Python: the main job and its neighbours, with the standard library alone. Run it with -I."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from pathlib import Path

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged


class Smoke(unittest.TestCase):
    """Each question once, on a dump forged here."""

    forged: Forged
    folder: tempfile.TemporaryDirectory[str]
    path: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.forged = scenarios.build("pending_irp", build=19041, seed=1)
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name) / "MEMORY.DMP"
        cls.forged.write(cls.path)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def test_it_is_the_installed_one(self) -> None:
        for package in (lh.__file__, sys.modules["lockhound_synth"].__file__):
            assert Path(str(package)).is_relative_to(sys.prefix), package

    def test_the_driver_is_named(self) -> None:
        case = lh.analyze(self.path)
        truth = self.forged.truth
        assert case.verdict.driver == truth.verdict["driver"]
        assert json.loads(case.to_json())["ledger"]["explained"] == truth.ledger["charged"]

    def test_search_read_and_walk(self) -> None:
        with lh.open(self.path) as dump:
            process = dump.bugcheck.parameters[1]
            kernel = dump.kernel()
            hits = dump.search([process])
            assert len(hits) > 3
            assert list(pickle.loads(pickle.dumps(hits))) == list(hits)
            assert {hit.value for hit in hits} == {process}
            assert kernel.process(process).address == process
            assert len(kernel.read(process, 16)) == 16
            assert kernel.walk(process).absence is None
            assert len(memoryview(hits.physical)) > 3
        with self.assertRaises(lh.ClosedError):  # noqa: PT027 (there is no pytest here)
            kernel.read(process, 1)

    def test_code_is_decoded(self) -> None:
        with lh.open(self.path) as dump:
            kernel = dump.kernel()
            module = next(each for each in kernel.modules() if each.name == self.forged.truth.verdict["driver"])
            rows = kernel.disassemble(module.base + 0x1000, 64)
        assert len(rows) > 8
        assert any(row.flow != "invalid" for row in rows)

    def test_damage_has_its_error(self) -> None:
        with self.assertRaises(lh.FormatError) as raised:  # noqa: PT027
            lh.open(self.path.read_bytes()[:0x1000])
        assert raised.exception.field

    def test_the_command(self) -> None:
        command = Path(sysconfig.get_path("scripts")) / "lockhound"
        done = subprocess.run([command, "analyze", "--json", self.path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["verdict"]["driver"] == self.forged.truth.verdict["driver"]


if __name__ == "__main__":
    unittest.main(verbosity=0)
