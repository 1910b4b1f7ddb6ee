"""A case document written by hand from docs/case-1.md, and cases made of it without any dump."""

from __future__ import annotations

import copy
import json
from typing import Any

import lockhound as lh

PROCESS = 0xFFFFE00012345080

DOCUMENT: dict[str, Any] = {
    "schema": "lockhound.case/1",
    "tool": {"name": "lockhound", "version": "0.1.0"},
    "dump": {
        "path": "crashes/MEMORY.DMP",
        "identity": {"header_hash": "00ff", "system_time": 1},
        "format": "kernel-bitmap",
        "machine": "x64",
        "build": 19041,
        "pages": {"present": 900, "described": 1000},
    },
    "bugcheck": {
        "code": 0x76,
        "name": "PROCESS_HAS_LOCKED_PAGES",
        "parameters": ["0x0", f"{PROCESS:#x}", "0x25", "0x0"],
        "subtype": None,
    },
    "process": {"address": f"{PROCESS:#x}", "name": "capture.exe", "pid": 4264, "locked_pages": 37},
    "current_process": {"address": "0xffffe00012340040", "name": None, "pid": None, "locked_pages": None},
    "verdict": {
        "kind": "driver",
        "driver": "leaky.sys",
        "drivers": [{"name": "leaky.sys", "version": "1.2.3.4", "timestamp": 0x5F000000, "size": 0x8000, "pages": 37}],
        "confidence": {"score": 0.95, "level": "high", "factors": [{"name": "ledger closes", "weight": 0.5}]},
        "sentence": "leaky.sys holds 37 of 37 locked pages of capture.exe.",
        "advice": ["Update leaky.sys."],
    },
    "suspects": [
        {
            "driver": "leaky.sys",
            "evidence": [
                {
                    "kind": "irp",
                    "statement": "a packet waits",
                    "address": "0xffffe00012349010",
                    "physical": "0x1010",
                    "file_offset": 4112,
                }
            ],
        }
    ],
    "ledger": {
        "charged": 37,
        "explained": 37,
        "unexplained": 0,
        "mdls": [{"address": "0xffffe00012347770", "pages": 37, "state": "locked", "holder": "leaky.sys"}],
    },
    "considered": [{"address": "0xffffe00012341110", "reason": "partial"}],
    "cleared": [{"driver": "disk.sys", "reason": "its part was completed"}],
    "chain": [{"step": "process", "address": f"{PROCESS:#x}"}],
    "coverage": {"kernel_pages": {"present": 900, "described": 1000}},
    "unevaluated": [{"rule": "code", "needs": "a decoder"}],
    "absent": {"current_process.name": {"kind": "not_captured", "address": "0xffffe00012340200", "reason": "the page is not in this dump"}},
    "reproduce": [{"command": "!irp ffffe000`12349010", "expect": "leaky"}],
    "signature": {"driver": "leaky.sys"},
}


def document(**verdict: Any) -> dict[str, Any]:
    """The document, the caller's own, with other facts in its verdict."""
    made = copy.deepcopy(DOCUMENT)
    made["verdict"].update(verdict)
    return made


def redacted(made: dict[str, Any]) -> dict[str, Any]:
    """The document without the path and the names of processes."""
    made = copy.deepcopy(made)
    made["dump"]["path"] = None
    made["verdict"]["sentence"] = REDACTED_TEXT.strip()
    for process in (made["process"], made["current_process"]):
        if process:
            process["name"] = None
    return made


TEXT = "leaky.sys holds 37 of 37 locked pages of capture.exe.\n"
REDACTED_TEXT = "leaky.sys holds 37 of 37 locked pages.\n"


def case(made: dict[str, Any] | None = None, text: str = TEXT) -> lh.Case:
    """A case as the library would hand it over."""
    made = document() if made is None else made
    colored = f"\x1b[1m{text}\x1b[0m"
    return lh.Case(json.dumps(made), json.dumps(redacted(made)), text, colored, REDACTED_TEXT, f"\x1b[1m{REDACTED_TEXT}\x1b[0m")


def case_of_kind(kind: str) -> lh.Case:
    """A case with another verdict."""
    if kind == "driver":
        return case()
    return case(document(kind=kind, driver=None, drivers=[]))
