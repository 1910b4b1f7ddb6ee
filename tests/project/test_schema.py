"""The JSON Schema of the case catches mistakes: a good case passes, and each spoilt one does not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

GOOD: dict[str, Any] = {
    "schema": "lockhound.case/1",
    "tool": {"name": "lockhound", "version": "0.1.0"},
    "dump": {
        "path": "MEMORY.DMP", "identity": {"header": "0x1"}, "format": "kernel-bitmap", "machine": "x64", "build": 19041,
        "pages": {"present": 10, "described": 10},
    },
    "bugcheck": {
        "code": 118, "name": "PROCESS_HAS_LOCKED_PAGES", "parameters": ["0x0", "0xffffe00012345080", "0x5", "0x0"], "subtype": "text",
    },
    "process": {"address": "0xffffe00012345080", "name": "a.exe", "pid": 4, "locked_pages": 5},
    "current_process": None,
    "verdict": {
        "kind": "driver", "driver": "leaky.sys",
        "drivers": [{"name": "leaky.sys", "version": "1.2.3.4", "timestamp": 1, "size": 4096, "pages": 5}],
        "confidence": {"score": 0.9, "level": "high", "factors": []}, "sentence": "It was leaky.sys.", "advice": None,
    },
    "suspects": [
        {
            "driver": "leaky.sys",
            "evidence": [{"kind": "irp", "statement": "holds it", "address": "0x1", "physical": None, "file_offset": None}],
        },
    ],
    "ledger": {"charged": 5, "explained": 5, "unexplained": 0, "mdls": [{"address": "0x1", "pages": 5, "state": "locked", "holder": None}]},
    "considered": [{"address": "0x1", "reason": "stale"}],
    "cleared": [{"driver": "usb.sys", "reason": "a bus"}],
    "chain": [{"step": "process"}],
    "coverage": {},
    "unevaluated": [{"rule": "code", "needs": "images"}],
    "absent": {"process.name": {"kind": "not_captured", "address": "0x1", "reason": "not in this dump"}},
    "reproduce": [{"command": "!irp 1"}],
    "signature": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def validator(root: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((root / "docs" / "case-1.schema.json").read_text()))


def test_good_case_passes(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(GOOD)
    validator.validate({**GOOD, "later": {"any": 1}})


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
    ("unevaluated.0.needs", []),
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
