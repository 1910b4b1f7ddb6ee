"""Pages taken out of a dump: the verdict stays right or falls to `insufficient`, and never moves to another driver."""

from __future__ import annotations

import random

import pytest

import lockhound as lh
from lockhound_synth import scenarios

from .machines import Answer, dump_bytes, forged
from .rule_table import check_rules

PAIRS = 12


def judge(dump: lh.Dump, pfns: list[int]) -> Answer:
    """The answer without those pages; no rule may show that is none."""
    with dump.without_pages(pfns) as reduced:
        case = reduced.investigate(progress=False).to_dict()
    check_rules(case)
    return Answer.of(case["verdict"])


def check(got: Answer, wanted: Answer, what: object) -> bool:
    """True when the verdict is the whole right one."""
    if got.kind == "driver":
        # A driver keeps its name for what it holds even where another's share is gone.
        assert wanted.kind == "driver", what
        assert got.names <= wanted.names, what
        return got == wanted
    assert got.kind in ("insufficient", wanted.kind), what
    return got.kind == wanted.kind


@pytest.mark.parametrize("build", scenarios.BUILDS)
@pytest.mark.parametrize("name", scenarios.NAMES)
def test_each_single_page_and_some_pairs(name: str, build: int) -> None:
    seed = scenarios.BUILDS.index(build)
    machine = forged(name, build, seed)
    wanted = Answer.of(machine.truth.verdict)
    pages = sorted(set(machine.evidence_pages.values()) - machine.missing)
    rng = random.Random(f"{name}/{build}")
    sets = [[p] for p in pages] + [rng.sample(pages, 2) for _ in range(PAIRS)]
    right = 0
    with lh.open(dump_bytes(name, build, seed, 6)) as dump:
        assert judge(dump, []) == wanted
        for pfns in sets:
            right += check(judge(dump, pfns), wanted, (name, build, pfns))
    assert (pages and right < len(sets)) or wanted.kind != "driver", "the evidence pages must matter"


def test_a_page_that_is_no_evidence_changes_nothing() -> None:
    """Leaving out what has nothing to do with the case does not cost the verdict (outside the pool)."""
    machine = forged("pending_irp", 19041, 0)
    used = set(machine.evidence_pages.values())
    images = [m for m in machine.truth.modules if m["name"] not in ("ntoskrnl.exe", machine.truth.verdict["driver"])]
    spare = machine.translate(int(images[0]["base"], 16) + 0x1000)
    assert spare is not None
    assert spare >> 12 not in used
    with lh.open(dump_bytes("pending_irp", 19041, 0, 6)) as dump:
        assert judge(dump, [spare >> 12]) == Answer.of(machine.truth.verdict)
