"""Longer ways to a holder: lists with one pointer each, objects of frameworks; the right driver or nobody, and that with any page out."""

from __future__ import annotations

import pytest

import lockhound as lh
from lockhound_synth import scenarios

from .machines import Answer, case_of, dump_bytes, forged
from .test_removed import judge
from .test_shapes import check

BUILDS = (17763, 22000)  # pool headers tell free blocks in the first; on all the others the campaign tells the same


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", scenarios.FURTHER)
def test_the_story_and_each_page_of_it_taken_out(name: str, build: int) -> None:
    check(name, build, 0, (6,))
    machine = forged(name, build, 0)
    wanted = Answer.of(machine.truth.verdict)
    right = 0
    pages = sorted(set(machine.evidence_pages.values()) - machine.missing)
    with lh.open(dump_bytes(name, build, 0, 6)) as dump:
        for pfn in pages:
            got = judge(dump, [pfn])
            right += got == wanted
            if got.kind == "driver":
                assert got.names <= wanted.names, (name, build, pfn)
            else:
                assert got.kind in ("insufficient", wanted.kind), (name, build, pfn, got)
    assert right < len(pages) or wanted.kind != "driver", "the evidence pages must matter"


def trail(name: str) -> str:
    (mdl,) = case_of(dump_bytes(name, BUILDS[0], 0, 6))["ledger"]["mdls"]
    return str(mdl["trail"])


def test_the_way_names_what_it_goes_through() -> None:
    assert trail("held_in_chain").startswith("MDL <- pool block 'Lkys' <- list of 3000 blocks 'Lkys' <- extension of device ")
    assert trail("framework_handle").startswith("MDL <- KMDF request in pool block '")
    assert " <- KMDF device in pool block '" in trail("framework_handle")
    assert "list of 3 blocks" in trail("framework_child")
    assert trail("framework_kept").endswith(f" <- module data <- {forged('framework_kept', BUILDS[0], 0).truth.verdict['driver']}")


def test_a_list_of_single_links_is_one_level_however_long() -> None:
    searches = {name: case_of(dump_bytes(name, BUILDS[0], 0, 6))["coverage"]["search"] for name in ("held_in_chain", "held_in_ring")}
    assert forged("held_in_chain", BUILDS[0], 0).truth.description.startswith("one of 3000 records")
    assert {search["limit_met"] for search in searches.values()} == {None}
    assert len({search["passes"] for search in searches.values()}) == 1


def test_whose_an_object_is_that_nothing_leads_to() -> None:
    """Nobody is named, and the client stands in the evidence."""
    case = case_of(dump_bytes("framework_lost", BUILDS[0], 0, 6))
    (mdl,) = case["ledger"]["mdls"]
    assert case["suspects"][0]["driver"] == mdl["trail"].rpartition(" <- ")[2]
    assert not case["verdict"]["drivers"]
