"""Real locked MDLs (header bytes out of public triage dumps) pass the validator: each is put into a forged dump and must be charged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import lockhound as lh

from .machines import dump_bytes, forged

P2, P3, RUNS = 0x48, 0x50, 0x88  # bug check parameters and the memory descriptor in the header


def host_page() -> tuple[int, int]:
    """A mapped kernel page that plays no part: (frame, address)."""
    machine = forged("no_mdl", 19041, 0)
    used = set(machine.evidence_pages.values()) | {d["physical"] for d in machine.truth.decoys}
    base = machine.machine.nt_base
    for mapping in machine.mappings():
        if mapping.kind == "small" and mapping.pa >> 12 not in used and mapping.va > base and machine.pages.get(mapping.pa >> 12):
            last = (mapping.pa >> 12, mapping.va)
    return last


def test_all_vectors_are_charged(shared: Path) -> None:
    vectors = json.loads((shared / "data" / "mdl-vectors.json").read_text())
    assert len(vectors) >= 12
    frame, address = host_page()
    for vector in vectors:
        raw = bytes.fromhex(vector["hexbytes"])
        process, pages = int(vector["process"], 16), vector["pages"]
        known = (len(raw) - 0x30) // 8
        first = int(vector["first_pfn"], 16)
        # The public bytes hold the first frames only; the rest of the array is made up.
        raw += b"".join(struct.pack("<Q", first + 0x1000 + i) for i in range(pages - known))
        page = bytearray(0x1000)
        page[0x40 : 0x40 + len(raw)] = raw
        data = bytearray(dump_bytes("no_mdl", 19041, 0, 5))
        struct.pack_into("<Q", data, P2, process)
        struct.pack_into("<Q", data, P3, pages)
        # Their machine had more RAM than the forged one: no memory runs, no judgement by them.
        data[RUNS : RUNS + 0x10] = b"PAGE" * 4
        with lh.open(bytes(data)) as dump, dump.with_pages({frame: bytes(page)}) as planted:
            case = planted.investigate(progress=False).to_dict()
        rows = [m for m in case["ledger"]["mdls"] if m["address"] == hex(address + 0x40)]
        assert len(rows) == 1, (vector["va"], case["considered"])
        assert rows[0]["pages"] == pages
        assert int(rows[0]["flags"], 16) == int(vector["flags"], 16)
        assert case["verdict"]["driver"] is None
