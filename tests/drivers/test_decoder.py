"""The decoder against LLVM's: the same code, laid into a forged kernel, has the same instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import lockhound as lh
from lockhound import _lockhound
from lockhound_synth import scenarios
from tests.drivers.compile import compile_drivers, missing_tools

PAGE = 4096
LINE = re.compile(r"^\s*([0-9a-f]+):\s+((?:[0-9a-f]{2}[ \t]+)+)(\S+)[ \t]*([^\n#<]*)", re.MULTILINE)
FLOW = {"callq": "call", "call": "call", "jmpq": "jump", "jmp": "jump", "retq": "return", "ret": "return", "int3": "stop", "ud2": "stop"}
# A padding byte in front of an instruction counts as its own to LLVM, and belongs to the instruction for the processor.
PREFIXES = {"lock", "rep", "repne", "data16", "cs", "rex64", "notrack", "bnd"}


def listing(path: Path, most: int) -> list[tuple[int, bytes, str, str]]:
    """Address, bytes, mnemonic and operands by llvm-objdump, of the section .text."""
    command = ["llvm-objdump", "-d", "-z", "--section=.text", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [(int(m[1], 16), bytes.fromhex(m[2]), m[3], m[4].strip()) for m in LINE.finditer(text)]
    return rows[:most]


def laid_out(code: bytes) -> tuple[lh.Dump, int]:
    """A dump whose kernel has that code at an address."""
    forged = scenarios.build("pending_irp", seed=1)
    dump = lh.open(forged.to_bytes(6))
    begin = (forged.machine.nt_base + PAGE) & -PAGE
    pages = {}
    for at in range(0, len(code), PAGE):
        physical = forged.translate(begin + at)
        assert physical is not None, "the forged kernel is too small for this much code"
        pages[physical >> 12] = code[at : at + PAGE].ljust(PAGE, b"\xcc")
    return dump.with_pages(pages), begin


def compare(rows: list[tuple[int, bytes, str, str]]) -> dict[str, int]:
    """Row by row; how many there were of each flow."""
    first = rows[0][0]
    offset = first % PAGE
    code = b"\0" * offset + b"".join(data for _, data, _, _ in rows)
    dump, page = laid_out(code)
    seen: dict[str, int] = {}
    with dump:
        ours = {row.address - page - offset: row for row in dump.kernel().disassemble(page + offset, len(code) - offset)}
    prefixed = 0
    for address, data, mnemonic, operands in rows:
        at = address - first
        if mnemonic in PREFIXES and len(data) == 1:
            prefixed = prefixed or 1
            continue
        if prefixed:  # ours began at the prefix
            prefixed = 0
            continue
        row = ours[at]
        assert row.bytes == data, (hex(address), mnemonic, row)
        expected = FLOW.get(mnemonic, "branch" if re.fullmatch(r"j[a-z]+", mnemonic) else "next")
        assert row.flow == expected, (hex(address), mnemonic, row)
        if expected in ("call", "jump", "branch") and re.fullmatch(r"0x[0-9a-f]+", operands):
            assert row.target is not None
            assert row.target - page - offset == int(operands, 16) - first, (hex(address), row)
        seen[expected] = seen.get(expected, 0) + 1
    return seen


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    if shutil.which("llvm-objdump") is None:
        pytest.skip("not installed: llvm-objdump")


def test_compiled_drivers(tmp_path: Path) -> None:
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    for path in compile_drivers(tmp_path).values():
        seen = compare(listing(path, 100_000))
        assert seen["call"] > 4
        assert seen["return"] >= 8


def test_a_library_of_today() -> None:
    """This project's own extension: optimised code with vector instructions."""
    rows = listing(Path(_lockhound.__file__), 12_000)
    seen = compare(rows)
    assert len(rows) == 12_000
    assert min(seen[flow] for flow in ("next", "call", "jump", "branch", "return")) > 50
