"""Situations with evidence taken out: the guilty one, or nobody; never a driver that the whole machine would not name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

from .machines import Answer
from .scene import Cast, built
from .situations import EVERY, SITUATIONS
from .test_removed import judge

PAGES = 8  # of a machine in the test command; `python -m tests.campaign pages` takes them all
# Refusals that say nothing of a page: right where a witness is gone, and no claim that nothing is missing.
REFUSALS = frozenset({"insufficient", "not_applicable"})


def evidence(machine: Forged, most: int | None) -> list[int]:
    """Frames of the evidence, so many at most, spread over the labels: which they are does not hang on the frames' numbers."""
    labels = sorted(machine.evidence_pages)
    frames = dict.fromkeys(machine.evidence_pages[label] for label in labels)
    chosen = [pfn for pfn in frames if pfn not in machine.missing]
    return chosen if most is None else chosen[:: -(-len(chosen) // most)]


def wrong(got: Answer, cast: Cast) -> str | None:
    """What is wrong with a verdict on a machine of which something is missing; None where nothing is."""
    if got.names - cast.guilty:
        return f"names {sorted(got.names - cast.guilty)}"
    if (got.kind == "driver") != bool(got.names):
        return f"is {got.kind} with {len(got.names)} names"
    if got.kind == "driver" and cast.pages is not None and sum(pages for _, pages in got.drivers) > cast.pages:
        return f"claims {got.drivers}, of {cast.pages} pages"
    # Without a name: that a page is missing must be said, unless the whole machine is refused in the same words.
    if not got.names and got.kind not in REFUSALS and got.kind not in cast.kinds:
        return f"is {got.kind}"
    return None


def removals(name: str, build: int, *, trap: bool, pages: int | None = PAGES) -> Iterator[tuple[tuple[int, ...], str | None]]:
    """Each single page of the evidence (or so many of them, and the whole machine first), and what is wrong without it."""
    machine, cast = built(EVERY[name], build, trap=trap, seed=scenarios.ALL_BUILDS.index(build))
    chosen = evidence(machine, pages)
    with lh.open(machine.to_bytes(6)) as dump:
        for pfns in [(), *((pfn,) for pfn in chosen)]:
            yield pfns, wrong(judge(dump, list(pfns)), cast)


@pytest.mark.parametrize("name", SITUATIONS)
def test_without_a_page_nobody_else_is_named(name: str) -> None:
    """On two builds with the trap and two without; the builds move with the situation, so that all have their share."""
    start, checked = list(SITUATIONS).index(name), 0
    for step in range(4):
        build = scenarios.ALL_BUILDS[(start + 3 * step) % len(scenarios.ALL_BUILDS)]
        for pfns, fault in removals(name, build, trap=step % 2 == 0):
            assert fault is None, (name, build, step, pfns, fault)
            checked += bool(pfns)
    assert checked >= 12


def test_the_check_sees_faults() -> None:
    cast = Cast(frozenset({"a.sys"}), frozenset({"driver"}), 5)
    for got, fault in (
        (Answer("driver", (("b.sys", 5),)), "names"),
        (Answer("driver", (("a.sys", 6),)), "claims"),
        (Answer("driver", ()), "is driver"),
        (Answer("unattributed", ()), "is unattributed"),
        (Answer("insufficient", (("a.sys", 5),)), "is insufficient with"),
    ):
        assert (wrong(got, cast) or "").startswith(fault)
    assert wrong(Answer("driver", (("a.sys", 5),)), cast) is None
    assert wrong(Answer("insufficient", ()), cast) is None
