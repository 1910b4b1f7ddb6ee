"""The ledger in full: said in a sentence, with counts that can't be, edited MDLs, partial ones, and what is missing."""

from __future__ import annotations

import struct

import pytest

import lockhound as lh
from lockhound_synth import packets, scenarios
from lockhound_synth.scenarios.pending import guilty_device, send
from lockhound_synth.scenarios.stage import Stage

from .machines import PARAMETERS, case_of, dump_bytes, forged, with_parameters
from .scene import Cast, Scene, built, named

P3 = 2  # of the bug check: the number of pages
COUNTS = {
    2**64 - 3: "negative (-3)",
    2**32 - 2: "negative (-2)",
    2**63: "negative",
    2**33: "more than the machine has",
    2**31: "more than the machine has",
}


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_everything_explained(build: int) -> None:
    pages = forged("pending_irp", build, 0).truth.ledger["explained"]
    ledger = case_of(dump_bytes("pending_irp", build, 0, 6))["ledger"]
    assert ledger["statement"] == f"{pages} of {pages} page{'s are' if pages != 1 else ' is'} explained by one MDL"
    pages = forged("two_drivers", build, 0).truth.ledger["explained"]
    statement = case_of(dump_bytes("two_drivers", build, 0, 6))["ledger"]["statement"]
    assert statement.startswith(f"{pages} of {pages} pages are explained by ")
    assert statement.endswith(" MDLs")


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_what_is_not_explained_and_why(build: int) -> None:
    """One of two MDLs is gone with its page: the sentence says how many pages, and what of the pool is missing."""
    machine = forged("two_drivers", build, 0)
    charged, mdls = machine.truth.ledger["charged"], machine.truth.ledger["mdls"]
    frames = [machine.evidence_pages[f"mdl:{number}"] for number in range(len(mdls))]
    assert len(frames) == 2
    with lh.open(dump_bytes("two_drivers", build, 0, 6)) as dump:
        for gone in frames:
            with dump.without_pages([gone]) as less:
                case = less.investigate(progress=False).to_dict()
            left = [mdl["pages"] for mdl, frame in zip(mdls, frames, strict=True) if frame != gone]  # both lie in one page on some builds
            pool = case["coverage"]["regions"]["pool"]
            assert pool["not_captured"] == 1
            told = (
                f"{sum(left)} of {charged} pages are explained{' by one MDL' if left else ''}; {charged - sum(left)} are not: no MDL found"
            )
            assert case["ledger"]["statement"] == f"{told}, 1 of {pool['present'] + 1} pages of the non-paged pool not captured"


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_nothing_explained_and_nothing_missing(build: int) -> None:
    ledger = case_of(dump_bytes("no_mdl", build, 0, 6))["ledger"]
    charged = ledger["charged"]
    assert f"0 of {charged} page" in ledger["statement"]
    assert (
        f"{charged} {'is' if charged == 1 else 'are'} not: no MDL found, and nothing is missing where one could lie" in ledger["statement"]
    )


@pytest.mark.parametrize(("count", "words"), COUNTS.items())
@pytest.mark.parametrize("build", [7601, 19041, 26100])
def test_a_count_that_is_no_number_of_pages(build: int, count: int, words: str) -> None:
    """Without an MDL nobody can be named, and the count itself is the finding; who holds pages is named less surely."""
    case = with_parameters("no_mdl", build, 0, {P3: count})
    assert case["verdict"]["kind"] == "unattributed"
    assert words in case["verdict"]["reason"]
    assert "unlocked twice" in case["verdict"]["reason"]
    assert "first parameter 1" in case["verdict"]["advice"]
    assert words in case["ledger"]["statement"]
    held = with_parameters("pending_irp", build, 0, {P3: count})
    plain = case_of(dump_bytes("pending_irp", build, 0, 6))
    assert held["verdict"]["driver"] == plain["verdict"]["driver"]
    assert held["verdict"]["confidence"]["score"] < plain["verdict"]["confidence"]["score"]
    assert any(f["name"] == "count" and words in f["statement"] for f in held["verdict"]["confidence"]["factors"])
    assert str(count) not in held["verdict"]["sentence"]


def test_a_count_that_is_one() -> None:
    """Just below what is absurd: an ordinary count with an ordinary ledger."""
    case = with_parameters("no_mdl", 19041, 0, {P3: 1000})
    assert "count" not in case["verdict"]["reason"]
    assert "1000 are not" in case["ledger"]["statement"]


def test_without_a_page_the_negative_count_does_not_claim_more() -> None:
    machine = forged("pending_irp", 19041, 0)
    data = bytearray(dump_bytes("pending_irp", 19041, 0, 6))
    struct.pack_into("<Q", data, PARAMETERS + 8 * P3, 2**64 - 3)
    with lh.open(bytes(data)) as dump, dump.without_pages([machine.evidence_pages["mdl:0"]]) as less:
        case = less.investigate(progress=False).to_dict()
    assert case["verdict"]["kind"] == "insufficient"
    assert "negative (-3)" in case["ledger"]["statement"]


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_edited_mdls(build: int) -> None:
    machine = forged("edited_mdl", build, 0)
    case = case_of(dump_bytes("edited_mdl", build, 0, 6))
    (row,) = case["ledger"]["mdls"]
    assert row["frames_beyond"] == case["ledger"]["charged"] - row["pages"] > 0
    assert "the length may have been changed" in case["ledger"]["statement"]
    machine = forged("edited_unlocked", build, 0)
    case = case_of(dump_bytes("edited_unlocked", build, 0, 6))
    (edited,) = machine.truth.considered
    (shown,) = [r for r in case["considered"] if r["address"] == edited["address"]]
    assert shown["class"] == edited["why"] == "edited"
    assert f"{case['ledger']['charged']} more frame" in shown["reason"]
    assert case_of(dump_bytes("pending_irp", build, 0, 6))["ledger"]["mdls"][0]["frames_beyond"] == 0


def used_again_for_less(scene: Scene) -> Cast:
    """An MDL that was unlocked in full, and then described fewer pages: what stands behind them is left over, and nobody's lock."""
    driver, device = scene.driver()
    mdl = scene.lock()
    scene.request(mdl, device)
    old = packets.make_mdl(scene.machine, scene.victim, 9, locked=False)
    packets.shorten(scene.machine, old, 3)
    return named(driver, mdl)


@pytest.mark.parametrize("build", [7601, 19041, 26100])
def test_frames_that_nothing_refers_to_are_no_edit(build: int) -> None:
    machine, _ = built(used_again_for_less, build, trap=True)
    case = case_of(machine.to_bytes(6))
    assert "unlocked" in {row["class"] for row in case["considered"]}
    assert "edited" not in {row["class"] for row in case["considered"]}
    assert "changed" not in case["ledger"]["statement"]


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_partial_mdls_are_left_out_and_told(build: int) -> None:
    case = case_of(dump_bytes("partial_lower", build, 0, 6))
    partial = sum(row["kind"] == "mdl" and row["class"] == "partial" for row in case["considered"])
    assert partial > 0
    assert f"{partial} partial MDL{'s are' if partial > 1 else ' is'} not counted" in case["ledger"]["statement"]
    assert case["ledger"]["explained"] == case["ledger"]["charged"]


def test_no_ledger_has_no_sentence() -> None:
    assert case_of(dump_bytes("page_fault", 19041, 0, 6))["ledger"]["statement"] is None


def test_the_views_say_it() -> None:
    with lh.open(dump_bytes("partial_lower", 19041, 0, 6)) as dump:
        case = dump.investigate(progress=False)
    assert case.ledger.statement is not None
    assert case.ledger.statement in " ".join(case.text().split())
    assert case.ledger.statement in case.html()


def test_29_of_37() -> None:
    """The manual's example, word for word: an MDL of 8 pages went with 3 % of the pool, which has 512 pages."""
    stage = Stage("29 of 37", 19041, 0, large_pool=True)
    machine, victim = stage.machine, stage.make_victim()
    driver, device = guilty_device(stage)
    mdl, other = (packets.make_mdl(machine, victim, pages, mapped=False, alone=pages == 8) for pages in (29, 8))
    send(stage, victim, device, mdl, linked="thread")
    stage.charge(mdl, driver)
    stage.charge(other, None)
    stage.kind = "insufficient"
    forged = stage.finish()
    used = {at & ~0xFFF for at in machine.nonpaged.blocks} | {at + 0x1000 & ~0xFFF for at in machine.nonpaged.blocks}
    with lh.open(forged.to_bytes(6)) as dump:
        walk = dump.kernel().walk
        large = other.address & ~0x1F_FFFF
        spare = [walk(at).physical for at in range(large, large + (512 << 12), 0x1000) if at not in used]
        pages = [at >> 12 for at in (walk(other.address).physical, *spare[-14:]) if at is not None]
        assert len(pages) == 15
        with dump.without_pages(pages) as less:
            ledger = less.investigate(progress=False).to_dict()["ledger"]
    assert ledger["statement"] == "29 of 37 pages are explained by one MDL; 8 are not: no MDL found, 3 % of the non-paged pool not captured"


@pytest.mark.parametrize("build", scenarios.ALL_BUILDS)
def test_freed_while_locked_is_said(build: int) -> None:
    pages = forged("freed_locked", build, 0).truth.ledger["explained"]
    statement = case_of(dump_bytes("freed_locked", build, 0, 6))["ledger"]["statement"]
    are = "page is" if pages == 1 else "pages are"
    assert statement == f"{pages} of {pages} {are} explained by one MDL; 1 MDL was freed without being unlocked"


@pytest.mark.parametrize("build", [7601, 19041, 26100])
def test_doubles_and_copies(build: int) -> None:
    """A double lock counts twice, a copy once; where reference counts can't tell, the sentence has both ends."""
    double = forged("double_lock", build, 0).truth.ledger
    ledger = case_of(dump_bytes("double_lock", build, 0, 6))["ledger"]
    assert ledger["statement"] == f"{double['explained']} of {double['charged']} pages are explained by {len(double['mdls'])} MDLs"
    copied = forged("mdl_copy", build, 0).truth.ledger
    case = case_of(dump_bytes("mdl_copy", build, 0, 6))
    verb = "page is" if copied["charged"] == 1 else "pages are"
    assert case["ledger"]["statement"] == f"{copied['explained']} of {copied['charged']} {verb} explained by one MDL"
    assert [row["class"] for row in case["considered"]].count("copy") == 1
    open_ = case_of(dump_bytes("copy_uncounted", build, 0, 6))["ledger"]
    least, most = open_["explained_range"]
    assert f" ({least} to {most}: copies can't be told from locks)" in open_["statement"]


@pytest.mark.parametrize("build", [7601, 19041, 26100])
def test_the_second_book_refutes(build: int) -> None:
    """An MDL that looks locked, and a frame of it without a reference: in the list of what does not count, with the reason."""
    machine = forged("refuted_by_count", build, 0)
    case = case_of(dump_bytes("refuted_by_count", build, 0, 6))
    (wanted,) = [row for row in machine.truth.considered if row["why"] == "refuted"]
    (shown,) = [row for row in case["considered"] if row["address"] == wanted["address"]]
    assert shown["class"] == "refuted"
    assert "reference" in shown["reason"]
    assert case["ledger"]["explained"] == case["ledger"]["charged"]
