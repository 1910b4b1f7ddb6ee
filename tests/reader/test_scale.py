"""A machine with thousands of MDLs and packets: the passes stay few, limits are told, and the judging can be stopped."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

import lockhound as lh

from .crowd import SHAPES, Crowd, crowd, pieces
from .machines import Answer
from .scene import UNNAMED

FEW, MANY = 300, 2000
PASSES = 6  # the default of lh_limits.levels, and one more that asks who keeps what was found
PATIENCE = 300  # seconds after which a judging that grows with the square of its input is given up


@lru_cache(maxsize=2)
def dump_of(shape: str, count: int) -> tuple[Crowd, bytes]:
    machine = crowd(shape, count)
    return machine, machine.forged.to_bytes(6)


def case_of(shape: str, count: int, **options: Any) -> tuple[Crowd, dict[str, Any]]:
    machine, data = dump_of(shape, count)
    with lh.open(data) as dump:
        return machine, dump.investigate(progress=False, timeout=PATIENCE, **options).to_dict()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_passes_do_not_grow(shape: str) -> None:
    small, large = (case_of(shape, count)[1] for count in (FEW, MANY))
    passes = [case["coverage"]["search"]["passes"] for case in (small, large)]
    assert passes[0] == passes[1] <= PASSES
    assert large["coverage"]["search"]["limit_met"] is None


@pytest.mark.parametrize("shape", SHAPES)
def test_every_lock_is_judged(shape: str) -> None:
    machine, case = case_of(shape, MANY)
    got = Answer.of(case["verdict"])
    assert case["ledger"]["explained"] == case["ledger"]["charged"] == machine.count
    assert len(case["ledger"]["mdls"]) == machine.count
    if shape in ("requests", "chain"):
        assert got == Answer("driver", ((machine.holder.module.name, machine.count),))
    elif shape == "own_packets":
        assert got == Answer("driver", ((machine.maker.module.name, machine.count),))
    elif shape == "one_mdl":
        # So many requests with one buffer are a riddle; whoever is named, it is the driver in which they all wait.
        assert got.names <= {machine.holder.module.name}
    else:
        assert got.kind in UNNAMED
        assert not got.drivers


def test_a_chain_beyond_the_limit_is_told() -> None:
    """Its end is not reached from the packet: what is seen names the holder, or nobody, and the limit is in the report."""
    machine, case = case_of("chain", FEW, chain_length=100)
    assert case["coverage"]["search"]["limit_met"] == "chain_length"
    got = Answer.of(case["verdict"])
    assert got.names <= {machine.holder.module.name}
    assert sum(pages for _, pages in got.drivers) < FEW


@pytest.mark.parametrize(("option", "limit"), [("hits", "hits"), ("mdls", "mdls")])
def test_limits_are_told(option: str, limit: str) -> None:
    machine, case = case_of("requests", FEW, **{option: 50})
    assert case["coverage"]["search"]["limit_met"] == limit
    assert len(case["ledger"]["mdls"]) <= 50
    assert Answer.of(case["verdict"]).names <= {machine.holder.module.name}


def test_a_limit_of_levels_is_told() -> None:
    _, case = case_of("requests", FEW, levels=1)
    assert case["coverage"]["search"]["limit_met"] == "levels"
    assert case["coverage"]["search"]["passes"] == 1
    assert case["verdict"]["kind"] == "insufficient"


def test_more_pieces_than_are_looked_at() -> None:
    """Thousands of partial MDLs over one request: it was cut, where to is not looked for, and the report says so."""
    machine = pieces(5000)
    with lh.open(machine.forged.to_bytes(6)) as dump:
        case = dump.investigate(progress=False, timeout=PATIENCE).to_dict()
    assert case["coverage"]["search"]["limit_met"] == "pieces"
    assert case["verdict"]["kind"] == "insufficient"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_deadline_is_kept(shape: str) -> None:
    _, data = dump_of(shape, MANY)
    with lh.open(data) as dump, pytest.raises(lh.DeadlineExceeded):
        dump.investigate(progress=False, timeout=1e-9)


class Stopper:
    """Stops as soon as the search is over: from then on the progress stands at its end."""

    def __init__(self, cancel: lh.Cancel | None) -> None:
        self.cancel = cancel
        self.calls = 0

    def __call__(self, done: int, total: int) -> bool:
        if done < total:
            return True
        self.calls += 1
        if self.cancel is None:
            return False
        self.cancel.set()
        return True


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by", ["cancel", "progress"])
def test_the_judging_can_be_stopped(shape: str, by: str) -> None:
    _, data = dump_of(shape, MANY)
    cancel = lh.Cancel() if by == "cancel" else None
    stop = Stopper(cancel)
    with lh.open(data) as dump:
        with pytest.raises(lh.Cancelled) as caught:
            dump.investigate(progress=stop, cancel=cancel)
        assert stop.calls >= 1
        assert caught.value.code == "cancelled"
        assert len(dump.search([dump.bugcheck.parameters[1]])) > 3, "the handle stays usable"
