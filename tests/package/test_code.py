"""kernel.disassemble and its command: rows of code, what they lead to, and what is not there."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import pytest

import lockhound as lh
from lockhound.cli import main
from lockhound_synth.forge import Forged
from lockhound_synth.machine import Module


def calling(forged: Forged, routine: str) -> tuple[Module, int]:
    """A driver that calls an imported routine, and the address of the call."""
    for driver in forged.machine.drivers.values():
        if driver.module.image and (found := driver.module.image.returns(routine)):
            return driver.module, driver.module.base + found[0] - 6
    raise AssertionError(f"nobody calls {routine}")


def test_a_call_through_the_import_table(dump: lh.Dump, forged: Forged) -> None:
    module, address = calling(forged, "IoCreateDevice")
    assert module.image
    (row,) = dump.kernel().disassemble(address, 1)
    assert (row.address, len(row.bytes), row.flow, row.name) == (address, 6, "call", "nt!IoCreateDevice")
    assert row.target == forged.machine.nt_base + forged.machine.kernel.exports["IoCreateDevice"]
    assert row.slot == module.base + next(rva for (_, name), rva in module.image.slots.items() if name == "IoCreateDevice")
    assert row.text.startswith("call ")
    assert str(row).startswith(f"{address:016x}  ")
    assert str(row).endswith("; nt!IoCreateDevice")


def test_rows_follow_each_other_and_survive(path: Path, forged: Forged) -> None:
    module, _ = calling(forged, "IoCreateDevice")
    begin = module.symbols["AddDevice"]
    with lh.open(path) as dump:
        rows = dump.kernel().disassemble(begin, 0x400)
    assert len(rows) > 64  # more than one portion of the binding
    for one, following in itertools.pairwise(rows):
        assert one.address + len(one.bytes) == following.address
    assert rows[0].address == begin
    assert rows[-1].address < begin + 0x400 <= rows[-1].address + len(rows[-1].bytes)
    assert pickle.loads(pickle.dumps(rows)) == rows
    inside = [row for row in rows if row.flow == "branch"]
    assert inside
    assert all(row.target and row.name == f"{module.name}+{row.target - module.base:#x}" for row in inside)


def test_data_is_told_byte_by_byte(dump: lh.Dump, forged: Forged) -> None:
    module, _ = calling(forged, "IoCreateDevice")
    at = module.base + 0xE00  # behind the headers: no code
    physical = forged.translate(module.base)
    assert physical is not None
    whole = bytearray(dump.kernel().read(module.base, 4096))
    whole[0xE00:0xE03] = b"\x06\x06\xc3"
    changed = dump.with_pages({physical >> 12: bytes(whole)})
    rows = changed.kernel().disassemble(at, 3)
    assert [(row.flow, row.bytes, row.text) for row in rows] == [
        ("invalid", b"\x06", ""),
        ("invalid", b"\x06", ""),
        ("return", b"\xc3", "ret"),
    ]
    assert "??" in str(rows[0])


def test_what_is_not_there(dump: lh.Dump, forged: Forged) -> None:
    module, _ = calling(forged, "IoCreateDevice")
    begin = module.symbols["AddDevice"]
    page = begin & ~0xFFF
    physical = forged.translate(page)
    assert physical is not None
    kernel = dump.without_pages([physical >> 12]).kernel()
    with pytest.raises(lh.AbsentError) as caught:
        kernel.disassemble(begin, 16)
    assert (caught.value.absence, caught.value.address) == ("not_captured", begin)
    # the last instruction that is wholly there ends the answer
    rows = kernel.disassemble(page - 16, 32)
    assert rows == dump.kernel().disassemble(page - 16, 32)[: len(rows)]
    assert page - 15 <= rows[-1].address + len(rows[-1].bytes) <= page
    assert dump.kernel().disassemble(begin, 0) == ()


def test_arguments(dump: lh.Dump) -> None:
    kernel = dump.kernel()
    for wrong in ((-1, 1), (0, -1), (1 << 64, 1)):
        with pytest.raises((OverflowError, ValueError, lh.ArgumentError)):
            kernel.disassemble(*wrong)
    with pytest.raises(lh.AbsentError):
        kernel.disassemble((1 << 64) - 1, 1 << 40)


def test_the_command(path: Path, forged: Forged, capsys: pytest.CaptureFixture[str]) -> None:
    _, address = calling(forged, "IoCreateDevice")
    assert main(["disassemble", str(path), f"{address:#x}", "--size", "6"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("; nt!IoCreateDevice")
    assert main(["disassemble", str(path), f"{address:#x}", "--size", "6", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lockhound.disassembly/1"
    (row,) = document["instructions"]
    assert (row["address"], row["flow"], row["name"]) == (f"{address:#x}", "call", "nt!IoCreateDevice")
    assert row["bytes"].startswith("ff15")
    assert main(["disassemble", str(path), "0x1000"]) == 1
    assert "lockhound: " in capsys.readouterr().err
