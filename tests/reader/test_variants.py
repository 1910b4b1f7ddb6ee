"""Ordinary cases told by another author: whatever detail differs, the right driver is named, and never another."""

from __future__ import annotations

import pytest

from lockhound_synth import scenarios

from .altered import Altered
from .machines import Answer, case_of, forged
from .test_shapes import drivers
from .variations import ALL

STORIES = (
    "pending_irp", "filters_above", "orphaned_irp", "driver_irp_in_bus", "chain_second", "partial_lower", "partial_pending", "busy",
    "other_current", "two_drivers", "stale_and_freed", "device_control_built", "async_built", "associated_pending", "associated_back",
    "returned_intact", "maker_in_extension", "maker_in_data", "kernel_requestor", "cancel_routine", "lookaside_size", "borrowed_mdl",
    "tracked_leak", "tracked_manager", "tracked_passed_on",
)  # fmt: skip
EVERY = 3  # of so many variations one is tried on a story and a build: each on every story, and on every build


def chosen(story: str, build: int) -> list[str]:
    first = (STORIES.index(story) + scenarios.ALL_BUILDS.index(build)) % EVERY
    return [name for name in list(ALL)[first::EVERY] if story not in ALL[name].never]


@pytest.mark.parametrize(("story", "build"), [(s, b) for s in STORIES for b in scenarios.builds_of(s)])
def test_the_right_driver_is_named_all_the_same(story: str, build: int) -> None:
    machine = forged(story, build, 0)
    wanted = drivers(machine.truth.verdict)
    for name in chosen(story, build):
        altered = Altered(machine)
        ALL[name].change(altered)
        case = case_of(altered.finish().to_bytes(6))
        got, where = Answer.of(case["verdict"]), f"{name}: {story} build {build}: {case['verdict']['sentence']}"
        assert set(got.drivers) <= set(wanted), where
        if story not in ALL[name].weaker:
            assert (got.kind, sorted(got.drivers)) == (machine.truth.verdict["kind"], wanted), where


def test_variations_say_what_they_tell() -> None:
    assert len(ALL) >= 30
    for name, entry in ALL.items():
        assert entry.change.__doc__, name
