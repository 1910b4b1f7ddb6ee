"""Every other shape of packets and MDLs: the right driver or the right refusal, and an exact ledger."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from lockhound_synth import scenarios

from .machines import TYPES, case_of, dump_bytes, forged

HOME = scenarios.BUILDS


def escaped(name: str | None) -> str | None:
    """A module's name as the reader shows it: what is invisible or no character is spelt out."""
    if name is None:
        return None
    out = ""
    for character in name:
        if character == "\\":
            out += "\\\\"
        elif unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            out += f"\\u{ord(character):04x}"
        else:
            out += character
    return out


def drivers(verdict: Any) -> list[tuple[str | None, int]]:
    return sorted((escaped(d["name"]), d["pages"]) for d in verdict["drivers"])


def check(name: str, build: int, seed: int, kinds: tuple[int, ...]) -> None:
    truth = forged(name, build, seed).truth
    for kind in kinds:
        case = case_of(dump_bytes(name, build, seed, kind))
        where = f"{name} build {build} seed {seed} type {kind}: {case['verdict']['reason']}"
        assert case["verdict"]["kind"] == truth.verdict["kind"], where
        assert sorted((d["name"], d["pages"]) for d in case["verdict"]["drivers"]) == drivers(truth.verdict), where
        rows = sorted((m["address"], m["pages"], m["state"], m["holder"]) for m in case["ledger"]["mdls"])
        assert rows == sorted((m["address"], m["pages"], m["state"], escaped(m["holder"])) for m in truth.ledger["mdls"]), where
        for key in ("charged", "explained", "unexplained", "explained_range"):
            assert case["ledger"].get(key) == truth.ledger.get(key), f"{where} {key}"
        named = {d["name"] for d in case["verdict"]["drivers"]}
        assert not named & {escaped(n) for n in truth.innocents}, where


@pytest.mark.parametrize("name", scenarios.MORE)
def test_shape(name: str) -> None:
    builds = [b for b in HOME if b in scenarios.builds_of(name)]
    assert builds
    for build in builds:
        for seed in (0, 1):
            check(name, build, seed, TYPES if seed == 0 else (6,))


def verdict_of(data: bytes) -> tuple[Any, ...]:
    case = case_of(data)
    return case["verdict"]["kind"], [(d["name"], d["pages"]) for d in case["verdict"]["drivers"]], case["ledger"]["explained"]


@pytest.mark.parametrize("name", [*scenarios.NAMES, *scenarios.MORE])
def test_same_verdict_at_other_addresses(name: str) -> None:
    """On every build: other addresses, other frames, and so another order of the pages in the file; and every type of dump."""
    for build in scenarios.builds_of(name):
        kinds = iter((1, 5, 6, 1) if build % 2 else (5, 1, 6, 5))
        first = scenarios.build(name, build=build, seed=3)
        second = scenarios.build(name, build=build, seed=3, layout_seed=99)
        assert first.header.dtb != second.header.dtb or first.pages != second.pages
        wanted = verdict_of(first.to_bytes(6))
        for machine in (first, second):
            assert verdict_of(machine.to_bytes(next(kinds))) == wanted, (name, build)
