"""A case document written by hand from docs/case-1.md, and cases made of it without any dump."""

from __future__ import annotations

import copy
import json
from typing import Any

import lockhound as lh

PROCESS = 0xFFFFE00012345080

PLACE = {"physical": "0x1010", "file_offset": 4112}
NO_PLACE = {"physical": None, "file_offset": None}
REGION = {"present": 90, "not_captured": 10, "clipped": 0, "not_ram": 0, "device": 0, "share": 0.9}

DOCUMENT: dict[str, Any] = {
    "schema": "lockhound.case/1",
    "tool": {"name": "lockhound", "version": "0.1.0"},
    "dump": {
        "path": "crashes/MEMORY.DMP",
        "identity": {
            "header_fnv1a64": "00ff00ff00ff00ff",
            "system_time": 133238472826925361,
            "uptime": 477509649568,
            "file_size": 3317760,
            "directory_table_base": "0x1aa000",
        },
        "format": "kernel-bitmap",
        "machine": "x64",
        "build": 19041,
        "kernel_version": "10.0.19041.1",
        "processors": 1,
        "pages": {"present": 900, "described": 1000, "clipped": 100, "ram": 5000},
    },
    "bugcheck": {
        "code": 0x76,
        "name": "PROCESS_HAS_LOCKED_PAGES",
        "parameters": ["0x0", f"{PROCESS:#x}", "0x25", "0x0"],
        "meanings": ["kind of violation", "address of the process object", "number of locked pages", None],
        "subtype": None,
    },
    "process": {
        "address": f"{PROCESS:#x}", **PLACE, "name": "capture.exe", "pid": 4264, "locked_pages": 37, "exit_time": 133238471842580349,
    },
    "current_process": {
        "address": "0xffffe00012340040", **NO_PLACE, "name": None, "pid": None, "locked_pages": None, "exit_time": None,
    },
    "verdict": {
        "kind": "driver",
        "driver": "leaky.sys",
        "drivers": [
            {
                "name": "leaky.sys", "version": "1.2.3.4", "timestamp": 0x5F000000, "size": 0x8000, "pages": 37,
                "score": 0.95, "unloaded": False, "library": False,
            }
        ],
        "confidence": {"score": 0.95, "level": "high", "factors": [{"name": "ledger", "value": 1.0, "statement": "it closes"}]},
        "sentence": "leaky.sys holds 37 of 37 locked pages of capture.exe.",
        "reason": None,
        "rule": "packet: pending",
        "advice": "Update leaky.sys.",
    },
    "suspects": [
        {"driver": "leaky.sys", "evidence": [{"kind": "irp", "statement": "a packet waits", "address": "0xffffe00012349010", **PLACE}]}
    ],
    "ledger": {
        "charged": 37,
        "explained": 37,
        "unexplained": 0,
        "statement": "37 of 37 pages are explained by one MDL",
        "mdls": [
            {
                "address": "0xffffe00012347770", **PLACE, "pages": 37, "state": "locked", "holder": "leaky.sys",
                "user_address": "0x7ff0001000", "bytes": 150000, "flags": "0x18b", "irp": "0xffffe00012349010",
                "judgement": "the request is pending in it", "rule": "packet: pending", "other_pointers": 0, "frames_beyond": 0,
            }
        ],
    },
    "considered": [{"kind": "mdl", "class": "partial", "address": "0xffffe00012341110", **NO_PLACE, "reason": "describes a part"}],
    "considered_total": 1,
    "subject": None,
    "advice": None,
    "trackers": None,
    "stack": None,
    "excerpts": [
        {
            "driver": "leaky.sys", "kind": "lock_path", "statement": "the MDL is locked", "address": "0xfffff80012341004", **PLACE,
            "at": "leaky.sys+0x1004",
            "function": {
                "at": "leaky.sys+0x1000", "entry": "0xfffff80012341000", "begin": "0xfffff80012341000", "end": "0xfffff80012341020",
            },
            "listing": [
                {"address": "0xfffff80012341000", "bytes": "4883ec28", "text": "sub rsp, 0x28", "name": None, "marked": False},
                {
                    "address": "0xfffff80012341004", "bytes": "ff1576050000", "text": "call [0xFFFFF80012341580]",
                    "name": "nt!MmProbeAndLockPages", "marked": True,
                },
            ],
            "reason": None,
        }
    ],
    "cleared": [{"driver": "disk.sys", "address": "0xffffe00012341110", **NO_PLACE, "reason": "its part was completed"}],
    "chain": [{"kind": "process", "statement": "parameter 2 of the bug check", "address": f"{PROCESS:#x}", **PLACE}],
    "coverage": {
        "regions": dict.fromkeys(("pool", "images", "pfn_database", "other"), REGION),
        "page_tables_missing": 0,
        "layout": {"basis": "build", "source": "a table"},
        "modules": {"loaded": 12, "unloaded": 0, "complete": True},
    },
    "unevaluated": [{"rule": "code", "needs": "a decoder"}],
    "absent": {"current_process.name": {"kind": "not_captured", "address": "0xffffe00012340200", "reason": "the page is not in this dump"}},
    "reproduce": [{"command": "!irp ffffe000`12349010", "expect": "leaky"}],
    "signature": {"family": "0x76|driver|leaky.sys", "exact": "0x76|driver|leaky.sys|1.2.3.4"},
}  # fmt: skip


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
PAGES = ("<html>capture.exe</html>", "<div>capture.exe</div>", "<html></html>", "<div></div>")
REDACTED_TEXT = "leaky.sys holds 37 of 37 locked pages.\n"


def case(made: dict[str, Any] | None = None, text: str = TEXT) -> lh.Case:
    """A case as the library would hand it over."""
    made = document() if made is None else made
    texts = (text, f"\x1b[1m{text}\x1b[0m", REDACTED_TEXT, f"\x1b[1m{REDACTED_TEXT}\x1b[0m")
    return lh.Case(json.dumps(made), json.dumps(redacted(made)), *texts, *PAGES)


def case_of_kind(kind: str) -> lh.Case:
    """A case with another verdict."""
    if kind == "driver":
        return case()
    return case(document(kind=kind, driver=None, drivers=[], reason="no packet refers to the MDL"))
