"""The JSON Schema of the case catches mistakes: a good case passes, and each spoilt one does not."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.containers import BITMAP_KERNEL
from tests.reader.test_triage import real_dumps

PLACE = {"address": "0xffffe00000000001", "physical": "0x1", "file_offset": None}
REGION = {"present": 1, "not_captured": 0, "clipped": 0, "not_ram": 0, "device": 0, "share": 1.0}
PROCESS = {**PLACE, "name": "a.exe", "pid": 4, "locked_pages": 5, "exit_time": None}
SUBJECT = {"mdl": "0x1", "process": None, "state": "partial", "holder": None, "statement": "a", "frame": None}
GOOD: dict[str, Any] = {
    "schema": "lockhound.case/1",
    "tool": {"name": "lockhound", "version": "0.1.0"},
    "dump": {
        "path": "MEMORY.DMP", "format": "kernel-bitmap", "machine": "x64", "build": 19041, "kernel_version": None, "processors": 1,
        "identity": {"header_fnv1a64": "0" * 16, "system_time": 1, "uptime": 1, "file_size": 1, "directory_table_base": "0x1000"},
        "pages": {"present": 10, "described": 10, "clipped": 0, "ram": None},
    },
    "bugcheck": {
        "code": 118, "name": "PROCESS_HAS_LOCKED_PAGES", "parameters": ["0x0", "0xffffe00012345080", "0x5", "0x0"], "subtype": "text",
        "meanings": ["a", "b", "c", None],
    },
    "process": PROCESS,
    "current_process": None,
    "verdict": {
        "kind": "driver", "driver": "leaky.sys",
        "drivers": [
            {
                "name": "leaky.sys", "version": "1.2.3.4", "timestamp": 1, "size": 4096, "pages": 5,
                "score": 0.9, "unloaded": False, "library": False,
            },
        ],
        "confidence": {"score": 0.9, "level": "high", "factors": [{"name": "a", "value": 0.9, "statement": "b"}]},
        "sentence": "It was leaky.sys.", "advice": None, "reason": "because", "rule": "packet: pending",
    },
    "subject": None,
    "advice": None,
    "suspects": [{"driver": "leaky.sys", "evidence": [{"kind": "irp", "statement": "holds it", **PLACE}]}],
    "ledger": {
        "charged": 5, "explained": 5, "unexplained": 0, "statement": "5 of 5 pages are explained by one MDL",
        "mdls": [
            {
                **PLACE, "pages": 5, "state": "locked", "holder": None, "user_address": "0x1", "bytes": 1, "flags": "0x2", "irp": None,
                "judgement": None, "rule": None, "other_pointers": 0, "frames_beyond": 0,
            },
        ],
    },
    "considered": [{"kind": "mdl", "class": "unlocked", "reason": "stale", **PLACE}],
    "considered_total": 1,
    "cleared": [{"driver": "usb.sys", "reason": "a bus", **PLACE}],
    "trackers": {
        "layout": "from 10.0.16299", "state": "complete", "header": "0x1", "header_count": 5, "valid": 1, "count": 1, "pages": 5,
        "list": [
            {
                **PLACE, "pages": 5, "user_address": "0x1", "bytes": 1, "who": 3, "first_frame": "0x2", "mdl": "0x3", "switched": False,
                "locked_by": "driver", "driver": "leaky.sys", "client": None, "statement": "a", "rule": "b",
                "trace": [{"address": "0x4", "kind": "driver", "module": "leaky.sys", "offset": "0x5", "unloaded": False}],
            },
        ],
    },
    "chain": [{"kind": "process", "statement": "a", **PLACE}],
    "stack": {
        "frames": [
            {**PLACE, "stack_pointer": "0xffffe00000000008", "interrupted": True, "module": "nt.exe", "offset": "0x1", "symbol": None},
        ],
        "complete": True, "reason": "reached user mode",
    },
    "excerpts": [
        {
            **PLACE, "driver": "leaky.sys", "kind": "unlock_site", "statement": "a", "at": "leaky.sys+0x1",
            "function": {"at": "leaky.sys+0x1", "entry": "0x1", "begin": "0x1", "end": "0x2"},
            "listing": [{"address": "0x1", "bytes": "90", "text": "nop", "name": None, "marked": True}], "reason": None,
        },
    ],
    "coverage": {
        "regions": dict.fromkeys(("pool", "images", "pfn_database", "other"), REGION), "page_tables_missing": 0,
        "layout": {"basis": "build", "source": "a"}, "modules": {"loaded": 1, "unloaded": 0, "complete": True},
    },
    "unevaluated": [{"rule": "code", "needs": "images"}],
    "absent": {"process.name": {"kind": "not_captured", "address": "0x1", "reason": "not in this dump"}},
    "reproduce": [{"command": "!irp 1", "expect": None}],
    "signature": {"family": "a", "exact": "b"},
}  # fmt: skip


@pytest.fixture(scope="module")
def validator(root: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((root / "docs" / "case-1.schema.json").read_text()))


def test_good_case_passes(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(GOOD)
    validator.validate({**GOOD, "later": {"any": 1}})
    validator.validate({**GOOD, "stack": None})
    validator.validate({**GOOD, "subject": SUBJECT})
    assert not validator.is_valid({**GOOD, "subject": {**SUBJECT, "state": "stale"}})
    assert not validator.is_valid({**GOOD, "subject": {**SUBJECT, "mdl": 1}})


@pytest.mark.parametrize("field", list(GOOD))
def test_missing_field_is_seen(validator: jsonschema.Draft202012Validator, field: str) -> None:
    assert not validator.is_valid({key: value for key, value in GOOD.items() if key != field})


SPOILT: list[tuple[str, Any]] = [
    ("schema", "lockhound.case/2"),
    ("dump.format", "minidump"),
    ("dump.machine", "AMD64"),
    ("dump.pages.present", "10"),
    ("bugcheck.code", "0x76"),
    ("bugcheck.parameters", ["0x0"]),
    ("bugcheck.parameters.1", 5),
    ("bugcheck.parameters.1", "FFFFE00012345080"),
    ("bugcheck.parameters.1", "0xFFFFE00012345080"),
    ("bugcheck.name", ""),
    ("process.address", 1),
    ("process.pid", "4"),
    ("verdict.kind", "guilty"),
    ("verdict.kind", "insufficient"),
    ("verdict.driver", None),
    ("verdict.drivers", []),
    ("verdict.sentence", ""),
    ("verdict.confidence", 0.9),
    ("verdict.confidence.score", 90),
    ("suspects.0.evidence.0.address", 1),
    ("ledger.explained", -1),
    ("ledger.explained", None),
    ("ledger.unexplained", -1),
    ("ledger.mdls.0.state", "stale"),
    ("ledger.mdls.0.address", "0x"),
    ("ledger.mdls.0.holder", ""),
    ("considered.0.reason", ""),
    ("absent", []),
    ("absent.process.name", None),
    ("unevaluated.0.needs", ""),
    ("considered_total", -1),
    ("coverage.regions.pool.present", None),
    ("verdict.confidence.level", "certain"),
    ("verdict.confidence.factors.0.value", 2),
    ("chain.0.address", None),
    ("reproduce.0", "!irp 1"),
    ("stack.reason", ""),
    ("stack.frames.0.offset", 1),
    ("stack.frames.0.interrupted", None),
    ("dump.identity", "x"),
    ("dump.time", "yesterday"),
    ("dump.blocks", 5),
    ("coverage.statement", ""),
    ("coverage.notes", [""]),
]


@pytest.mark.parametrize(("path", "value"), SPOILT)
def test_spoilt_case_is_seen(validator: jsonschema.Draft202012Validator, path: str, value: Any) -> None:
    case = copy.deepcopy(GOOD)
    first, *rest = ["absent", "process.name"] if path == "absent.process.name" else path.split(".")
    node: Any = case
    for key in rest and [first, *rest[:-1]]:
        node = node[int(key) if isinstance(node, list) else key]
    last = rest[-1] if rest else first
    node[int(last) if isinstance(node, list) else last] = value
    assert not validator.is_valid(case)


@pytest.mark.parametrize("name", scenarios.NAMES)
@pytest.mark.parametrize("build", scenarios.BUILDS)
def test_every_case_obeys_it(validator: jsonschema.Draft202012Validator, name: str, build: int) -> None:
    forged = scenarios.build(name, build=build, seed=11)
    present = forged.present(BITMAP_KERNEL)
    chance = random.Random(f"{name}/{build}")
    with lh.open(forged.to_bytes(BITMAP_KERNEL)) as dump:
        for missing in (0, 1, 20, len(present) // 2):
            try:
                case = dump.without_pages(chance.sample(present, missing)).investigate()
            except lh.AbsentError:
                assert missing  # not even the first page table is there
                continue
            validator.validate(case.to_dict())
            validator.validate(case.to_dict(redact=True))


@pytest.fixture(scope="module")
def infos(root: Path) -> jsonschema.Draft202012Validator:
    """What `lockhound info --json` writes, by the part of the same schema that docs/case-1.md names."""
    schema = json.loads((root / "docs" / "case-1.schema.json").read_text())
    del schema["required"]  # of a case
    return jsonschema.Draft202012Validator({**schema, "$ref": "#/$defs/info"})


@pytest.mark.parametrize("kind", [1, 5, BITMAP_KERNEL])
@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_what_a_dump_is_obeys_it(infos: jsonschema.Draft202012Validator, build: int, kind: int) -> None:
    with lh.open(scenarios.build("pending_irp", build=build).to_bytes(kind)) as dump:
        for redact in (False, True):
            found = json.loads(dump.kernel().info_json(redact=redact))
            infos.validate(found)
            assert found.keys() == infos.schema["$defs"]["info"]["properties"].keys()
    for part in found:
        assert not infos.is_valid({key: value for key, value in found.items() if key != part}), part
        assert not infos.is_valid({**found, part: 5}), part


def test_what_a_real_dump_is_obeys_it(infos: jsonschema.Draft202012Validator, shared: Path) -> None:
    for path in real_dumps(shared):
        with lh.open(path) as dump:
            infos.validate(json.loads(dump.kernel().info_json()))


AUDIT: dict[str, Any] = {
    **{name: GOOD[name] for name in ("tool", "dump", "bugcheck", "coverage", "absent")},
    "schema": "lockhound.audit/1",
    "processes": [
        {
            "address": "0xffffe00000000001", "name": None, "pid": 4, "state": "dead", "charged": None, "explained": 5,
            "mdls": [{"address": "0xffffe00000000001", "pages": 5, "state": "locked", "holder": "leaky.sys"}],
            "holders": [{"driver": "leaky.sys", "pages": 5}], "note": None,
            "trackers": {**GOOD["trackers"], "statement": "one lock tracker with 5 pages"},
        },
    ],
    "quiet_processes": 3,
    "processes_complete": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def audits(root: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((root / "docs" / "audit-1.schema.json").read_text()))


@pytest.mark.parametrize("kind", [BITMAP_KERNEL, 1])
@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_audits_are_valid(audits: jsonschema.Draft202012Validator, build: int, kind: int) -> None:
    with lh.open(scenarios.build("page_fault", build=build).to_bytes(kind)) as dump:
        audit = dump.audit(progress=False)
    audits.validate(audit.to_dict())
    audits.validate(audit.to_dict(redact=True))
    assert audit.processes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "lockhound.case/1"), (("processes",), None), (("processes", 0, "state"), "zombie"), (("processes", 0, "address"), 5),
        (("processes", 0, "explained"), -1), (("processes", 0, "holders", 0, "pages"), "5"), (("processes", 0, "mdls", 0, "holder"), ""),
        (("quiet_processes",), None), (("coverage",), None), (("processes", 0, "trackers", "statement"), ""),
        (("processes", 0, "trackers", "list", 0, "trace", 0, "kind"), "code"), (("processes", 0, "trackers", "pages"), None),
    ],
)  # fmt: skip
def test_a_spoilt_audit_is_not(audits: jsonschema.Draft202012Validator, path: tuple[str | int, ...], value: Any) -> None:
    audits.validate(AUDIT)
    spoilt = copy.deepcopy(AUDIT)
    at: Any = spoilt
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert list(audits.iter_errors(spoilt))
