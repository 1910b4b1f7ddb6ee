"""Small memory dumps: ten real ones against the facts, forged ones against the truth, and spoilt ones."""

from __future__ import annotations

import json
import random
import re
import struct
from pathlib import Path
from typing import Any

import pytest

import lockhound as lh
from lockhound import cli
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

from .machines import Answer, forged
from .triage_writer import ARM64, Loaded, Small, Unloaded, every_page, memory, small_of

REAL = 10  # files that the shared folder has to hold


# ---- real dumps, held against the facts that stand beside them


def real_dumps(shared: Path) -> list[Path]:
    """All of them: a run that finds the folder and fewer files than there should be has checked nothing."""
    folder = shared / "data" / "triage"
    if not folder.is_dir():
        pytest.skip("the real triage dumps are not here")
    files = sorted(folder.glob("*.dmp"))
    assert len(files) >= REAL
    return files


def facts(shared: Path) -> str:
    return (shared / "facts" / "real-dumps.md").read_text()


def rows_of(text: str, columns: int) -> list[list[str]]:
    """The rows of the tables that have so many columns."""
    rows = [[cell.strip().replace("*", "") for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return [row for row in rows if len(row) == columns]


def place(cell: str) -> int | None:
    return None if cell == "?" else int(cell, 16)


def layouts(shared: Path) -> dict[tuple[int, str], dict[str, int | None]]:
    """Offsets in EPROCESS by build and machine, as the facts have them."""
    found = {}
    for row in rows_of(facts(shared), 7):
        if match := re.fullmatch(r"(\d{5}) (x64|arm64)", row[0]):
            found[int(match[1]), match[2]] = {"pid": place(row[2]), "locked": place(row[4]), "name": place(row[5])}
    assert len(found) >= 4
    return found


def word(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def quad(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", data, at)[0])


def test_every_real_dump_opens_and_says_what_it_is(shared: Path) -> None:
    known, builds = layouts(shared), set()
    for path in real_dumps(shared):
        data = path.read_bytes()
        with lh.open(path) as dump:
            info = json.loads(dump.kernel().info_json())
            case = dump.investigate(progress=False).to_dict()
        shown, machine = info["dump"], {0x8664: "x64", 0xAA64: "arm64"}[word(data, 0x30)]
        builds.add((word(data, 0xC), machine))
        assert (shown["format"], shown["machine"], shown["build"]) == ("triage", machine, word(data, 0xC))
        assert shown["pages"] == {"present": 0, "described": 0, "clipped": 0, "ram": shown["pages"]["ram"]}
        assert shown["processors"] == word(data, 0x34)
        assert shown["identity"]["system_time"] == quad(data, 0xFA8)
        assert shown["uptime_seconds"] == quad(data, 0x1030) // 10**7
        assert info["bugcheck"]["code"] == word(data, 0x38)
        assert info["bugcheck"]["name"]
        assert [int(p, 16) for p in info["bugcheck"]["parameters"]] == [quad(data, 0x40 + 8 * i) for i in range(4)]
        assert info["coverage"]["notes"] == []
        check_process(data, info, known[word(data, 0xC), machine])
        assert case["verdict"]["kind"] == "not_applicable"
        for key in ("dump", "bugcheck", "current_process", "process"):
            assert case[key] == info[key]
    assert builds == set(known), "every build of the facts has a dump here"


def check_process(data: bytes, info: dict[str, Any], offsets: dict[str, int | None]) -> None:
    """The current process against its copy in the file: address, name, PID, locked pages; what the facts leave open is null."""
    at, thread = word(data, 0x2020), word(data, 0x2024)
    shown = info["current_process"]
    # The process's own list of profiles is empty: it tells where the object lay.
    assert int(shown["address"], 16) == quad(data, at + 0x18) - 0x18
    if word(data, 0x30) == 0x8664:
        assert int(shown["address"], 16) == quad(data, thread + 0x220)
    assert offsets["name"] is not None
    assert shown["name"] == data[at + offsets["name"] :][:15].split(b"\0")[0].decode("ascii")
    for key, name in (("pid", "pid"), ("locked", "locked_pages")):
        offset = offsets[key]
        if offset is None:
            assert shown[name] is None
            assert info["absent"][f"current_process.{name}"]["kind"] == "layout"
        else:
            assert shown[name] == quad(data, at + offset)
    # The copy and the pieces that hold the same object agree; the place is the file's.
    assert shown["physical"] is None
    assert quad(data, shown["file_offset"] + 0x18) == int(shown["address"], 16) + 0x18


def test_modules_of_every_real_dump(shared: Path) -> None:
    for path in real_dumps(shared):
        data = path.read_bytes()
        with lh.open(path) as dump:
            modules = dump.kernel().modules()
            coverage = dump.coverage
        count, first, gone = word(data, 0x2034), word(data, 0x2030), word(data, 0x2018)
        wanted = set()
        for number in range(count):
            row = first + 0x90 * number
            text = word(data, row)
            name = data[text + 4 : text + 4 + 2 * word(data, text)].decode("utf-16-le")
            wanted.add((name.rsplit("\\", 1)[-1].lower(), quad(data, row + 0x38), word(data, row + 0x48), word(data, row + 0x88)))
        loaded = {(m.name, m.base, m.size, m.timestamp) for m in modules if not m.unloaded}
        assert {row[1:] for row in loaded} == {row[1:] for row in wanted}
        assert len(loaded) == count == coverage["modules"]["loaded"]
        assert {row[0] for row in loaded if row[0].isascii()} == {row[0] for row in wanted if row[0].isascii()}
        assert coverage["modules"]["complete"] is True
        ends = [(quad(data, gone + 8 + 0x38 * i + 0x28), data[gone + 8 + 0x38 * i + 0x10 :][:24]) for i in range(quad(data, gone))]
        listed = [m for m in modules if m.unloaded]
        assert [m.base for m in listed] == [begin for begin, _ in ends]
        for module, (_, raw) in zip(listed, ends, strict=True):
            assert raw.decode("utf-16-le").split("\0")[0].lower().startswith(module.name)


def test_memory_of_every_real_dump(shared: Path) -> None:
    """Each block is read by its address, and what the values in it are found at."""
    for path in real_dumps(shared):
        data = path.read_bytes()
        table, count = word(data, 0x2078), word(data, 0x207C)
        blocks = [struct.unpack_from("<QII", data, table + 16 * i) for i in range(count)]
        with lh.open(path) as dump:
            kernel = dump.kernel()
            for va, offset, size in blocks:
                assert kernel.read(va, size) == data[offset : offset + size]
            process = quad(data, word(data, 0x2020) + 0x18) - 0x18
            hits = dump.search([process], progress=False)
            wanted = {va + at for va, offset, size in blocks for at in range(-va % 8, size - 7, 8) if quad(data, offset + at) == process}
            assert wanted <= {hit.virtual for hit in hits}
            assert all(hit.physical is None and hit.virtual_state == "mapped" for hit in hits)
            assert all(hit.virtual is not None and quad(kernel.read(hit.virtual, 8), 0) == process for hit in hits)
            walk = kernel.walk(process)
            assert (walk.absence, walk.level, walk.physical) == ("table", 4, None)
            with pytest.raises(lh.AbsentError) as missing:
                kernel.read(0xFFFF_8000_0000_0000, 8)
            assert missing.value.absence == "not_captured"
            assert dump.info.pages_present == 0
            assert len(dump.runs()) == 0


def quoted(path: Path, address: str, offset: str | None, size: int) -> bytes:
    """What a dump has at an address that the facts name: the bytes at the file offset that they name too."""
    with lh.open(path) as dump:
        raw = dump.kernel().read(int(address, 16), size)
    assert offset is None or raw == path.read_bytes()[int(offset, 16) :][:size]
    return raw


def test_mdls_of_the_facts(shared: Path) -> None:
    """Every row of the table of MDLs is where it says, by address and by file offset, with the fields it says."""
    paths = {path.stem: path for path in real_dumps(shared)}
    rows = [row for row in rows_of(facts(shared), 9) if row[0] != "dump" and set(row[0]) != {"-"}]
    assert len(rows) >= 8
    for row in rows:
        match = re.fullmatch(r"([0-9a-f]{16}) \(0x([0-9a-f]+)\)", row[1])
        assert match is not None, row
        raw = quoted(paths[row[0]], match[1], match[2], 0x38)
        size, flags, process, mapped, start, count, offset, frame = struct.unpack("<8x2H4x3Q2IQ", raw)
        assert (size, flags, process) == (int(row[2], 16), int(row[3], 16), int(row[4], 16))
        assert mapped == int(row[5].split()[0], 16)
        assert [start, offset, count] == [int(part, 16) for part in row[6].split(", ")]
        pages, first = row[7].split(", ") if ", " in row[7] else (row[7], "")
        assert (size - 0x30) // 8 == int(pages)
        assert frame == int(first.split()[0], 16)


def test_packets_of_the_facts(shared: Path) -> None:
    """Every packet that the facts name is one, where they say; two of them with all that is said of them."""
    paths, text = {path.stem: path for path in real_dumps(shared)}, facts(shared)
    named = [
        (match[1], match[2], match[3])
        for match in re.finditer(r"\*\*(\w+)\.dmp.*?IRP ([0-9a-f]{16}) \(file 0x([0-9a-f]+)", text, re.DOTALL)
    ]
    named += [(match[1], match[2], None) for match in re.finditer(r"IRP heads whose MDL was not saved: (\w+) ([0-9a-f]{16})", text)]
    assert len(named) == len(set(re.findall(r"IRP (?:heads[^:]*: \w+ )?([0-9a-f]{16})", text))) == 3, "each packet that the facts name"
    for name, address, offset in named:
        assert struct.unpack("<H", quoted(paths[name], address, offset, 2)) == (6,)
    size, mdl, flags = struct.unpack_from("<2xH4xQI", quoted(paths["7e_0"], "ffff898f938fec80", "e8bba", 0x28))
    assert (size, mdl, flags) == (0x118, 0xFFFF898F944871B0, 0x62000)
    address = 0xFFFFD68FE383B8A0
    irp = quoted(paths["9f"], f"{address:x}", "191ca9", 0xD0)
    assert (quad(irp, 0) >> 16 & 0xFFFF, irp[0x42], irp[0x43]) == (0x4C0, 7, 5)
    slot = quoted(paths["9f"], f"{address + 0xD0 + 0x48 * 4:x}", None, 0x48)
    assert (slot[0], slot[1], quad(slot, 0x28)) == (0x16, 2, 0xFFFFD68FE39130A0)
    device = quoted(paths["9f"], "ffffd68fe39130a0", None, 0x10)
    assert quad(device, 8) == 0xFFFFD68FE35ADE00
    with lh.open(paths["9f"]) as dump:
        start = quad(dump.kernel().read(0xFFFFD68FE35ADE00, 0x20), 0x18)
        modules = {m.base: m for m in dump.kernel().modules() if not m.unloaded}
        assert modules[start].name == "disk.sys"
        (partmgr,) = (m for m in modules.values() if m.name == "partmgr.sys")
        assert quad(slot, 0x38) == partmgr.base + 0x4930


def test_info_of_every_real_dump(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in real_dumps(shared):
        assert cli.main(["info", str(path)]) == 0
        out = capsys.readouterr().out
        for part in ("triage dump, ", "pieces of virtual memory", "bug check 0x", "current process 0x", "insufficient", "layouts: "):
            assert part in out
        assert cli.main(["analyze", str(path)]) == 3
        capsys.readouterr()


def test_a_real_dump_cut_anywhere(shared: Path) -> None:
    path = min(real_dumps(shared), key=lambda p: p.stat().st_size)
    data, rng = path.read_bytes(), random.Random(1)
    end = word(data, 0x2004)  # what follows are drivers' own blobs, which are not read
    for cut in (0x2000, 0x207F, 0x2080, *(rng.randrange(0x2080, end) for _ in range(30))):
        result = attempt(data[:cut])
        if cut < 0x2080:
            assert isinstance(result, lh.FormatError)
            assert result.field == "TriageHeader"
        else:
            assert isinstance(result, dict)
            assert result["coverage"]["notes"]


# ---- forged ones

# A hostile name is shown escaped, and compares with nothing.
STORIES = [(name, build) for name in scenarios.NAMES + scenarios.MORE for build in scenarios.builds_of(name) if name != "hostile_driver"]
UNKNOWN = 23456  # a build of no table: pieces show too little of the kernel to infer its layouts


@pytest.mark.parametrize(("name", "build"), STORIES)
def test_all_of_a_kernel_in_pieces(name: str, build: int) -> None:
    """With every kernel page as a piece the same locks are found; nobody is named who is not guilty."""
    machine = forged(name, build, 3)
    truth = machine.truth
    with lh.open(small_of(machine, every_page(machine)).to_bytes()) as dump:
        case = dump.investigate(progress=False).to_dict()
        info = json.loads(dump.kernel().info_json())
    got, wanted = Answer.of(case["verdict"]), Answer.of(truth.verdict)
    assert got.names <= wanted.names
    assert got.kind in ("insufficient", wanted.kind)
    assert case["current_process"]["address"] == info["current_process"]["address"] == truth.current_process["address"]
    if build != UNKNOWN or case["current_process"]["name"] is not None:
        assert case["current_process"]["name"] == truth.current_process["name"]
    listed, wanted_mdls = {m["address"] for m in case["ledger"]["mdls"]}, {m["address"] for m in truth.ledger["mdls"]}
    if name not in ("mdl_absent", "irp_absent"):
        assert listed >= wanted_mdls if build == UNKNOWN else listed == wanted_mdls
    assert all(m["physical"] is None and m["file_offset"] is not None for m in case["ledger"]["mdls"])
    assert case["coverage"]["regions"]["pool"]["share"] is None
    loaded = {m["name"] for m in truth.modules}
    assert case["coverage"]["modules"] == {"loaded": len(loaded), "unloaded": len(machine.machine.unloaded), "complete": True}


def without_page(spans: list[tuple[int, int]], page: int) -> list[tuple[int, int]]:
    """The pieces that are left when a page is none of them."""
    left = []
    for start, size in spans:
        inside = start <= page < start + size
        left += [(a, b - a) for a, b in ((start, page), (page + 0x1000, start + size)) if b > a] if inside else [(start, size)]
    return left


def named_without_each(machine: Forged) -> list[bool]:
    """Each page of evidence taken out in turn: the right driver or nobody. Whether the driver was named, for each page."""
    truth, spans, named = Answer.of(machine.truth.verdict), every_page(machine), []
    for page in sorted({va & ~0xFFF for label, va in machine.machine.labels.items() if label in machine.evidence_pages}):
        with lh.open(small_of(machine, without_page(spans, page)).to_bytes()) as dump:
            got = Answer.of(dump.investigate(progress=False).to_dict()["verdict"])
        assert got.kind in ("insufficient", truth.kind), hex(page)
        assert got.names <= truth.names, hex(page)
        named.append(got.kind == "driver")
    return named


def test_a_whole_chain_names_the_driver_and_a_cut_one_nobody() -> None:
    """A plain case whose driver imports nothing that splits, so that nothing outside the pieces could contradict it."""
    for seed in range(40):
        machine = forged("pending_irp", 19041, seed)
        with lh.open(small_of(machine, every_page(machine)).to_bytes()) as dump:
            kind = dump.investigate(progress=False).verdict.kind
        if kind == "driver":
            named = named_without_each(machine)
            assert any(named)
            assert not all(named)
            return
        assert kind == "insufficient"
    raise AssertionError("no plain case is named")


@pytest.mark.parametrize(("name", "build"), STORIES)
def test_other_shapes_with_a_page_cut(name: str, build: int) -> None:
    named_without_each(forged(name, build, 5))


def test_an_unloaded_holder_is_not_named() -> None:
    """Whether something else lies where its image was can't be seen without page tables: the record alone convicts nobody."""
    for seed in range(12):
        machine = forged("pending_irp", 19041, seed)
        name = machine.truth.verdict["driver"]
        small = small_of(machine, [])
        module = next(row for row in small.loaded if row.name == name)
        spans = every_page(machine)
        for page in range(module.base, module.base + module.size, 0x1000):
            spans = without_page(spans, page)
        # Its list entry is gone with it: DriverSection, and DllBase of the entry. Of unloaded ones only the table tells.
        labels = machine.machine.labels
        cleared = [labels["driver_object:" + name.removesuffix(".sys")] + 0x28, labels[f"kldr:{name}"] + 0x30]
        cleared += [labels["kdbg"] + 0x220, labels["kdbg"] + 0x228]
        small.debugger = small.debugger[:0x220] + bytes(16) + small.debugger[0x230:]
        for va, size in spans:
            data = bytearray(memory(machine, va, size))
            for at in cleared:
                if va <= at < va + size:
                    data[at - va : at - va + 8] = bytes(8)
            small.blocks.append((va, bytes(data)))
        small.loaded.remove(module)
        small.unloaded.append(Unloaded(name, module.base, module.base + module.size))
        with lh.open(small.to_bytes()) as dump:
            case = dump.investigate(progress=False).to_dict()
        assert case["verdict"]["kind"] == "insufficient"
        assert case["verdict"]["drivers"] == []
        assert "names the driver" in case["verdict"]["reason"]


def test_search_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = forged("pending_irp", 19041, 0)
    path = tmp_path / "small.dmp"
    path.write_bytes(small_of(machine, every_page(machine)[:40]).to_bytes())
    process = machine.truth.current_process["address"]
    assert cli.main(["search", str(path), process, "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert hits
    assert all(hit["physical"] is None and hit["virtual"] and hit["value"] == process for hit in hits)
    assert cli.main(["search", str(path), process]) == 0
    assert "(no physical)" in capsys.readouterr().out


def test_a_chain_in_small_pieces() -> None:
    """Blocks of odd sizes and places, touching and overlapping: the bytes are the machine's."""
    machine = forged("pending_irp", 19041, 0)
    start, size = max(every_page(machine), key=lambda span: span[1])
    rng, spans, at = random.Random(2), [], start + 5
    while at < start + min(size, 0x8000) - 0x200:
        step = rng.randrange(1, 0x180)
        spans.append((at, step + rng.randrange(0x40)))
        at += step + (rng.randrange(2) and rng.randrange(0x40))
    rng.shuffle(spans)
    covered = {va for first, length in spans for va in range(first, first + length)}
    whole = memory(machine, start, 0x8200)
    with lh.open(small_of(machine, spans).to_bytes()) as dump:
        kernel = dump.kernel()
        for va in rng.sample(range(start, at), 3000):
            length = rng.randrange(1, 0x300)
            wanted = next((i for i in range(length) if va + i not in covered), length)
            if wanted == length:
                assert kernel.read(va, length) == whole[va - start :][:length]
                continue
            with pytest.raises(lh.AbsentError) as missing:
                kernel.read(va, length)
            assert (missing.value.address, missing.value.absence) == (va + wanted, "not_captured")
            assert missing.value.partial == whole[va - start :][:wanted]
        values = [quad(whole, at) for at in range(0x100, 0x7000, 0x740)]
        for align in (1, 2, 4, 8):
            hits = {(h.virtual, h.needle) for h in dump.search(values, align=align, progress=False) if start <= (h.virtual or 0) < at}
            expected = {
                (start + i, n)
                for i in range(-start % align, at - start, align)
                for n, value in enumerate(values)
                if quad(whole, i) == value and all(start + i + k in covered for k in range(8))
            }
            assert hits == expected


def test_unloaded_drivers_and_their_cut_names() -> None:
    machine = forged("pending_irp", 19041, 0)
    small = small_of(machine, [])
    base = 0xFFFF_F805_0000_0000
    small.unloaded = [Unloaded("abcdefgh.sys", base, base + 0x5000), Unloaded("abcdefghijklmno.sys", base + 0x9000, base + 0xA000)]
    with lh.open(small.to_bytes()) as dump:
        found = [(m.name, m.base, m.size) for m in dump.kernel().modules() if m.unloaded]
    assert found == [("abcdefgh.sys", base, 0x5000), ("abcdefghijkl", base + 0x9000, 0x1000)]


def test_arm64_is_read_and_other_machines_are_refused() -> None:
    machine = forged("pending_irp", 19041, 0)
    small = small_of(machine, [])
    small.machine = ARM64
    for build, pid in ((19041, 0x3F8), (22000, None), (26100, 0x1C0), (12345, None)):
        struct.pack_into("<I", small.header, 0xC, build)
        process = bytearray(0x900)
        process[0] = 3
        process[0x18:0x28] = small.process[0x18:0x28]
        struct.pack_into("<Q", process, 0x28, 0x7 << 48 | 0x1000)  # with an address-space identifier above
        if pid:
            struct.pack_into("<Q", process, pid, 4242)
        if build in (19041, 22000):
            process[0x560:0x566] = b"forged"
        if build == 26100:
            process[0x328:0x32E] = b"forged"
        small.process = bytes(process)
        with lh.open(small.to_bytes()) as dump:
            info = json.loads(dump.kernel().info_json())
        assert info["dump"]["machine"] == "arm64"
        shown = info["current_process"]
        assert shown["pid"] == (4242 if pid else None)
        assert shown["name"] == ("forged" if build != 12345 else None)
        if not pid:
            assert info["absent"]["current_process.locked_pages"]["kind"] == "layout"
    small.machine = 0x14C
    with pytest.raises(lh.UnsupportedError):
        lh.open(small.to_bytes())


# ---- spoilt ones


def small_case() -> tuple[bytes, dict[str, int], set[str]]:
    machine = forged("pending_irp", 19041, 0)
    rng = random.Random(9)
    spans = [(va, size) for va, size in every_page(machine) if size <= 0x4000]
    small = small_of(machine, rng.sample(spans, min(len(spans), 40)))
    return small.to_bytes(), small.offsets, set(machine.truth.innocents)


def attempt(data: bytes) -> dict[str, Any] | lh.LockhoundError:
    try:
        with lh.open(data) as dump:
            return dump.investigate(progress=False).to_dict()
    except lh.LockhoundError as error:
        return error


def test_cut_at_every_boundary() -> None:
    data, offsets, innocents = small_case()
    edges = {0, 1, 7, 8, 0x1FFF, 0x2000, 0x2080, len(data) - 4, len(data) - 1, *offsets.values()}
    cuts = sorted({cut for edge in edges for cut in (edge - 1, edge, edge + 1, edge + 9) if 0 <= cut < len(data)})
    whole = attempt(data)
    assert isinstance(whole, dict)
    assert whole["coverage"]["notes"] == []
    for cut in cuts:
        result = attempt(data[:cut])
        if isinstance(result, lh.LockhoundError):
            assert isinstance(result, lh.FormatError)
            assert cut < 0x2080
            assert result.field
            continue
        assert cut >= 0x2080
        assert result["coverage"]["notes"], hex(cut)
        assert not Answer.of(result["verdict"]).names & innocents


@pytest.mark.parametrize("value", [0, 1, 0x2000, 0x2081, 0x7FFF_FFFF, 0xFFFF_FFF8, 0xFFFF_FFFF, 0x4547_4150])
def test_every_header_field_altered(value: int) -> None:
    data, _, innocents = small_case()
    for field in range(0x2000, 0x2080, 4):
        spoilt = bytearray(data)
        struct.pack_into("<I", spoilt, field, value)
        result = attempt(bytes(spoilt))
        assert isinstance(result, dict), hex(field)
        assert not Answer.of(result["verdict"]).names & innocents
        assert result["dump"]["blocks"]["bytes"] <= 6 * len(data)


def test_every_field_of_the_blocks_altered() -> None:
    data, offsets, innocents = small_case()
    rng = random.Random(3)
    for number in range(40):
        for at, size in ((0, 8), (8, 4), (12, 4)):
            spoilt = bytearray(data)
            value = rng.choice((0, 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 8, 1 << 47, 0xFFFF_FFFF, rng.getrandbits(64)))
            place = offsets["table"] + 16 * number + at
            spoilt[place : place + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            result = attempt(bytes(spoilt))
            assert isinstance(result, dict)
            assert not Answer.of(result["verdict"]).names & innocents


def test_many_blocks_of_the_same_bytes_stay_small() -> None:
    """Without a bound this file would be read ten thousand times over."""
    machine = forged("pending_irp", 19041, 0)
    small = small_of(machine, [])
    data = bytearray(small.to_bytes())
    count = 10_000
    struct.pack_into("<2I", data, 0x2078, len(data), count)
    for number in range(count):
        data += struct.pack("<Q2I", 0xFFFF_8000_0000_0000 + (number << 24), 0x2080, 0x20000)
    result = attempt(bytes(data))
    assert isinstance(result, dict)
    assert result["dump"]["blocks"]["bytes"] <= 2 * len(data)
    assert any("more than the file holds" in note for note in result["coverage"]["notes"])


def test_bits_of_the_copies_and_tables() -> None:
    data, offsets, innocents = small_case()
    rng = random.Random(4)
    places = [rng.randrange(offsets["unloaded"], offsets["block:0"]) for _ in range(200)]
    for place in places:
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << rng.randrange(8)
        result = attempt(bytes(spoilt))
        assert isinstance(result, dict)
        assert not Answer.of(result["verdict"]).names & innocents


def test_hostile_names() -> None:
    machine = forged("pending_irp", 19041, 0)
    small = small_of(machine, [])
    small.loaded.append(Loaded("\x1b[31m=1+1<b>\u202e.sys", 0xFFFF_F80F_0000_0000, 0x1000, 1))
    with lh.open(small.to_bytes()) as dump:
        name = next(m.name for m in dump.kernel().modules() if m.base == 0xFFFF_F80F_0000_0000)
    assert "\x1b" not in name
    assert "\u202e" not in name


def test_a_header_alone_still_tells_the_bug_check() -> None:
    machine = forged("pending_irp", 19041, 0)
    data = bytes(Small(small_of(machine, []).header).to_bytes())
    with lh.open(data) as dump:
        assert dump.bugcheck.code == 0x76
        case = dump.investigate(progress=False)
    assert case.verdict.kind == "insufficient"
    assert case.current_process is None
    assert case.absent["current_process"]["kind"] == "not_captured"
    assert case.process is not None
    assert case.process.name is None
