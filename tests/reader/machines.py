"""Forged machines and the cases that lockhound makes of them, kept for the session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

TYPES = (1, 5, 6)
FORMATS = {1: "full", 5: "full-bitmap", 6: "kernel-bitmap"}


@lru_cache(maxsize=8)
def forged(name: str, build: int, seed: int) -> Forged:
    return scenarios.build(name, build=build, seed=seed)


@lru_cache(maxsize=8)
def dump_bytes(name: str, build: int, seed: int, kind: int) -> bytes:
    return forged(name, build, seed).to_bytes(kind)


def case_of(data: bytes) -> dict[str, Any]:
    with lh.open(data) as dump:
        return dump.investigate(progress=False).to_dict()


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
