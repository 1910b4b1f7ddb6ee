"""Forged machines and the cases that lockhound makes of them, kept for the session."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

TYPES = (1, 5, 6)
FORMATS = {1: "full", 5: "full-bitmap", 6: "kernel-bitmap"}
PARAMETERS = 0x40  # DUMP_HEADER64.BugCheckParameter1, and three more


@lru_cache(maxsize=8)
def forged(name: str, build: int, seed: int) -> Forged:
    return scenarios.build(name, build=build, seed=seed)


@lru_cache(maxsize=8)
def dump_bytes(name: str, build: int, seed: int, kind: int) -> bytes:
    return forged(name, build, seed).to_bytes(kind)


def case_of(data: bytes) -> dict[str, Any]:
    with lh.open(data) as dump:
        return dump.investigate(progress=False).to_dict()


def overlay(machine: Forged, changes: dict[int, bytes]) -> dict[int, bytes]:
    """The pages, by frame, that have other bytes at kernel addresses."""
    pages: dict[int, bytearray] = {}
    for address, data in changes.items():
        for at, byte in enumerate(data, address):
            physical = machine.translate(at)
            assert physical is not None
            page = pages.setdefault(physical >> 12, bytearray(machine.pages[physical >> 12]))
            page[physical & 0xFFF] = byte
    return {pfn: bytes(page) for pfn, page in pages.items()}


def patched(name: str, build: int, seed: int, changes: dict[int, bytes]) -> dict[str, Any]:
    """The case of a story with bytes at kernel addresses replaced."""
    with lh.open(dump_bytes(name, build, seed, 6)) as dump, dump.with_pages(overlay(forged(name, build, seed), changes)) as changed:
        return changed.investigate(progress=False).to_dict()


def with_parameters(name: str, build: int, seed: int, parameters: dict[int, int]) -> dict[str, Any]:
    """The case of a story whose bug check has other parameters, by their index."""
    data = bytearray(dump_bytes(name, build, seed, 6))
    for index, value in parameters.items():
        struct.pack_into("<Q", data, PARAMETERS + 8 * index, value)
    return case_of(bytes(data))


@dataclass(frozen=True, slots=True)
class Answer:
    """What decides, in a form that compares with the truth."""

    kind: str
    drivers: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, verdict: Any) -> Answer:
        return cls(verdict["kind"], tuple(sorted((d["name"], d["pages"]) for d in verdict["drivers"])))

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.drivers}
