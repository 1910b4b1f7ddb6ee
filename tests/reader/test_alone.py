"""Situations in which a single witness speaks for the innocent, on one build each: names and reason, and with pages removed."""

from __future__ import annotations

import pytest

import lockhound as lh

from .machines import Answer, case_of
from .scene import built
from .situations import ALONE
from .test_removed import judge
from .test_situations_removed import evidence, wrong

PAGES = 6  # of a machine
TOLD_BY_POOL = {"merged_after_free"}  # what is free: not by a segment heap
each = pytest.mark.parametrize("name", ALONE)


def build_of(name: str) -> int:
    return 17763 if name in TOLD_BY_POOL else 19041


@each
def test_the_one_witness_counts(name: str) -> None:
    machine, cast = built(ALONE[name], build_of(name), trap=True, seed=1)
    with lh.open(machine.to_bytes(6)) as dump:
        verdict = dump.investigate(progress=False).to_dict()["verdict"]
        got = Answer.of(verdict)
        assert got.names <= cast.guilty, verdict["sentence"]
        assert got.kind in cast.kinds, verdict["sentence"]
        assert cast.because in verdict["reason"]
        if cast.pages is not None:
            assert sum(pages for _, pages in got.drivers) == cast.pages
        for pfn in evidence(machine, PAGES):
            assert wrong(judge(dump, [pfn]), cast) is None, pfn


@each
def test_without_the_trap_the_right_one_is_named(name: str) -> None:
    machine, cast = built(ALONE[name], build_of(name), trap=False, seed=1)
    (guilty,) = cast.guilty
    verdict = case_of(machine.to_bytes(6))["verdict"]
    assert Answer.of(verdict) == Answer("driver", ((guilty, cast.pages or 0),)), verdict["sentence"]
