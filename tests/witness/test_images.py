"""llvm-readobj and pefile read the forge's driver files and its kernel image, and agree with what the forge says of them."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from lockhound_synth import kernel_image
from lockhound_synth.driver_image import NT, ROUTINES, plain_file
from lockhound_synth.layouts import KERNELS
from lockhound_synth.pe.load import LoadedImage, load
from lockhound_synth.physical import PAGE
from lockhound_synth.scenarios import ALL_BUILDS

IMPORTS = ("IoAllocateMdl", "IofCompleteRequest", "IoFreeMdl", "MmProbeAndLockPages", "MmUnlockPages", "RtlInitUnicodeString")
VERSION = (6, 2, 1234, 7)
SEEDS = range(4)


def readobj(path: Path) -> str:
    if shutil.which("llvm-readobj") is None:
        pytest.skip("llvm-readobj is not installed")
    options = ("--file-headers", "--sections", "--coff-imports", "--coff-exports", "--coff-debug-directory", "--coff-basereloc")
    command = ["llvm-readobj", *options, "--unwind", "--coff-resources", "--coff-load-config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def pefile() -> Any:
    return pytest.importorskip("pefile", reason="pefile is not installed")


def numbers(text: str, key: str) -> list[int]:
    return [int(found, 0) for found in re.findall(rf"^ *{key}: \(?(0x[0-9A-F]+|\d+)\)?", text, re.MULTILINE)]


def driver(seed: int) -> tuple[bytes, dict[str, int], LoadedImage]:
    data, symbols = plain_file("plumdaq.sys", random.Random(seed), imports=IMPORTS, file_version=VERSION)
    return data, symbols, load(data, "plumdaq.sys", symbols)


@pytest.mark.parametrize("seed", SEEDS)
def test_driver_by_readobj(seed: int, tmp_path: Path) -> None:
    data, symbols, image = driver(seed)
    path = tmp_path / "plumdaq.sys"
    path.write_bytes(data)
    text = readobj(path)
    assert "Machine: IMAGE_FILE_MACHINE_AMD64" in text
    assert "Subsystem: IMAGE_SUBSYSTEM_NATIVE" in text
    assert f"(0x{image.timestamp:X})" in text
    assert numbers(text, "AddressOfEntryPoint") == [symbols["DriverEntry"]]
    assert numbers(text, "SizeOfImage") == [image.size_of_image]
    imported = re.findall(r"^  Symbol: (\S+) \(\d+\)$", text, re.MULTILINE)
    assert imported == list(image.imports[NT]) == list(IMPORTS)
    assert re.search(rf"^  Name: {re.escape(NT)}$", text, re.MULTILINE)
    assert "PDBFileName: plumdaq.pdb" in text
    assert re.search(r"Type: VERSIONINFO \(ID 16\)", text)
    moved = re.findall(r"Type: DIR64\n *Address: (0x[0-9A-F]+)", text)
    assert sorted(int(rva, 16) for rva in moved) == sorted(image.relocations)
    begins = [address - image.preferred_base for address in numbers(text, "StartAddress")]
    assert sorted(begins) == sorted(symbols[name] for name in ROUTINES)
    assert len(numbers(text, "UnwindCodeCount")) == len(ROUTINES)


@pytest.mark.parametrize("seed", SEEDS)
def test_driver_by_pefile(seed: int) -> None:
    data, symbols, image = driver(seed)
    module = pefile()
    file = module.PE(data=data)
    # A small file is mostly padding.
    assert [w for w in file.get_warnings() if not w.startswith("Byte 0x00 makes up")] == []
    assert file.verify_checksum()
    assert file.OPTIONAL_HEADER.AddressOfEntryPoint == symbols["DriverEntry"]
    (entry,) = file.DIRECTORY_ENTRY_IMPORT
    assert entry.dll == NT.encode()
    assert [(one.name.decode(), one.address - image.preferred_base) for one in entry.imports] == [
        (name, image.slots[NT, name]) for name in IMPORTS
    ]
    (fixed,) = file.VS_FIXEDFILEINFO
    assert (fixed.FileVersionMS, fixed.FileVersionLS) == (VERSION[0] << 16 | VERSION[1], VERSION[2] << 16 | VERSION[3])
    strings = {
        key.decode(): value.decode()
        for info in file.FileInfo[0]
        if info.name == "StringFileInfo"
        for table in info.StringTable
        for key, value in table.entries.items()
    }
    assert strings["OriginalFilename"] == "plumdaq.sys"
    assert strings["FileVersion"] == "6.2.1234.7"
    assert file.DIRECTORY_ENTRY_DEBUG[0].entry.PdbFileName.rstrip(b"\0") == b"plumdaq.pdb"
    base = 0xFFFF_F807_0000_0000
    # Its relocations and ours give the same bytes.
    file.relocate_image(base)
    ours = image.layout(base, lambda _dll, name: image.slots[NT, name])
    theirs = file.get_memory_mapped_image()
    for section in image.sections:
        if section.name in (".data", ".pdata", ".text"):
            size = section.virtual_size
            mine = b"".join(ours[page] for page in range(section.rva // PAGE, section.end // PAGE))
            assert mine[:size] == theirs[section.rva : section.rva + size]


def without_epilogues(data: bytes | bytearray, table: int, size: int) -> bytes:
    """The image with unwind data of version 1 only: LLVM 14 knows no epilogue codes, and fails on them."""
    out = bytearray(data)
    for _, _, at in struct.iter_unpack("<3I", data[table : table + size]):
        count = out[at + 2]
        codes = [out[at + 4 + 2 * i : at + 6 + 2 * i] for i in range(count)]
        while out[at] & 7 == 2 and codes and codes[0][1] & 15 == 6:
            del codes[0]
        out[at] = 1 | out[at] & ~7
        out[at + 2] = len(codes)
        out[at + 4 : at + 4 + 2 * count] = b"".join(codes).ljust(2 * count, b"\0")
    return bytes(out)


@pytest.mark.parametrize(("build", "genuine"), [(b, False) for b in ALL_BUILDS] + [(7601, True), (19041, True), (22000, True)])
def test_kernel_image(build: int, genuine: bool, tmp_path: Path) -> None:
    kernel = kernel_image.build(build, random.Random(6), random.Random(7), genuine=genuine)
    data = bytearray(kernel.size)
    for page, content in kernel.pages.items():
        data[page * PAGE : (page + 1) * PAGE] = content
    path = tmp_path / "ntoskrnl.exe"
    path.write_bytes(without_epilogues(data, *kernel.exception_table))
    text = readobj(path)
    at, size = kernel.exception_table
    begins = [begin for begin, _, _ in struct.iter_unpack("<3I", data[at : at + size])]
    rows = re.findall(r"^    StartAddress: \((0x[0-9A-F]+)\)", text, re.MULTILINE)  # deeper in: the row that a fragment chains to
    assert [int(row, 16) - 0x1_4000_0000 for row in rows] == begins
    assert text.count("Chained {") == sum(data[info] >> 3 == 4 for _, _, info in struct.iter_unpack("<3I", data[at : at + size])) > 0
    exported = dict(zip(re.findall(r"Export \{\n *Ordinal: \d+\n *Name: (\S+)", text), numbers(text, "RVA"), strict=True))
    wanted = {**kernel.exports, "PsInitialSystemProcess": kernel.symbols["PsInitialSystemProcess"]}
    assert {"MmProbeAndLockPages", "IofCompleteRequest", "PsInitialSystemProcess"} <= set(exported)
    assert all(wanted[name] == rva for name, rva in exported.items())
    assert "PDBFileName: ntkrnlmp.pdb" in text
    raw = bytes.fromhex(re.search(r"PDBGUID: \(([0-9A-F ]+)\)", text)[1].replace(" ", ""))  # type: ignore[index]
    assert uuid.UUID(bytes_le=raw) == kernel.guid
    if genuine:
        assert kernel.guid == uuid.UUID(KERNELS[build][0])
    (fixed,) = pefile().PE(data=bytes(data)).VS_FIXEDFILEINFO
    assert (fixed.FileVersionLS >> 16, fixed.FileVersionLS & 0xFFFF) == kernel.version[2:]
