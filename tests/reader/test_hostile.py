"""Damaged files: a typed error, or an answer that says what is missing; never a crash, never an innocent."""

from __future__ import annotations

import json
import random

import pytest

import lockhound as lh

from .machines import TYPES, Answer, dump_bytes, forged

NAME, BUILD, SEED = "pending_irp", 19041, 0


def attempt(data: bytes) -> dict[str, object] | lh.LockhoundError:
    try:
        with lh.open(data) as dump:
            return json.loads(dump.investigate(progress=False).to_json())  # type: ignore[no-any-return]
    except lh.LockhoundError as error:
        return error


@pytest.mark.parametrize("kind", TYPES)
def test_cut_anywhere(kind: int) -> None:
    whole = dump_bytes(NAME, BUILD, SEED, kind)
    wanted = Answer.of(forged(NAME, BUILD, SEED).truth.verdict)
    cuts = [0, 1, 7, 8, 0x38, 0xF98, 0xFFF, 0x1000, 0x1FFF, 0x2000, 0x2001, 0x2038, 0x3000]
    cuts += [len(whole) * part // 10 for part in range(1, 10)] + [len(whole) - 1, len(whole) - 0x1000]
    answers = errors = 0
    for cut in cuts:
        result = attempt(whole[:cut])
        if isinstance(result, lh.LockhoundError):
            errors += 1
            assert isinstance(result, lh.FormatError), cut
            assert result.field, cut
            assert result.offset is not None, cut
            continue
        answers += 1
        got = Answer.of(result["verdict"])
        pages = result["dump"]["pages"]  # type: ignore[index]
        assert pages["clipped"] == pages["described"] - pages["present"]
        assert pages["clipped"] > 0 or cut == len(whole), cut
        assert got == wanted or got.kind == "insufficient", cut
    assert answers >= 5
    assert errors >= 5


@pytest.mark.parametrize("kind", TYPES)
def test_flipped_header_bits(kind: int) -> None:
    whole = dump_bytes(NAME, BUILD, SEED, kind)
    truth = forged(NAME, BUILD, SEED).truth
    rng = random.Random(kind)
    interesting = [*range(0x40), *range(0x80, 0xA8), *range(0xF98, 0xFA8), *range(0x2000, 0x2038)]
    outcomes = set()
    for place in rng.sample(interesting, 60):
        data = bytearray(whole)
        data[place] ^= 1 << rng.randrange(8)
        result = attempt(bytes(data))
        if isinstance(result, lh.LockhoundError):
            outcomes.add(type(result).__name__)
            continue
        got = Answer.of(result["verdict"])
        outcomes.add(got.kind)
        assert got.names <= {truth.verdict["driver"]}, hex(place)
    assert len(outcomes) >= 2


def test_flipped_bits_anywhere() -> None:
    """One bit, often in the evidence itself: another driver is never named."""
    whole = dump_bytes(NAME, BUILD, SEED, 6)
    machine = forged(NAME, BUILD, SEED)
    wanted, innocents = machine.truth.verdict["driver"], set(machine.truth.innocents)
    rng = random.Random(5)
    right = 0
    with lh.open(whole) as dump:
        for label, frame in sorted(machine.evidence_pages.items()):
            page = bytearray(dump.read(frame << 12, 0x1000))
            for _ in range(6):
                copy = bytearray(page)
                copy[rng.randrange(0x1000)] ^= 1 << rng.randrange(8)
                with dump.with_pages({frame: bytes(copy)}) as changed:
                    got = Answer.of(changed.investigate(progress=False).to_dict()["verdict"])
                # The flipped bit may stand in the name itself: what counts is that no other module is named.
                assert not got.names & innocents, label
                right += got.names == {wanted}
    assert right >= 20


def test_a_dump_full_of_the_process_address() -> None:
    """A page of nothing but hits stays linear and changes nothing."""
    machine = forged(NAME, BUILD, SEED)
    whole = dump_bytes(NAME, BUILD, SEED, 5)
    process = int(machine.truth.process["address"], 16).to_bytes(8, "little")  # type: ignore[index]
    used = set(machine.evidence_pages.values())
    frames = [p for p in machine.present(5) if p not in used and machine.machine.physical.use_of(p).name in ("USER", "FREE")]
    assert frames
    with lh.open(whole) as dump, dump.with_pages(dict.fromkeys(frames, process * 512)) as flooded:
        case = flooded.investigate(progress=False).to_dict()
    assert Answer.of(case["verdict"]) == Answer.of(machine.truth.verdict)
    assert case["coverage"]["search"]["hits"] >= 512 * len(frames)


@pytest.mark.parametrize("value", [0, 1, 0x7FFF_FFFF_FFFF, 0x0000_8000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_8000_0000_0001])
def test_parameter_two_that_is_no_process(value: int) -> None:
    data = bytearray(dump_bytes(NAME, BUILD, SEED, 6))
    data[0x48:0x50] = value.to_bytes(8, "little")
    result = attempt(bytes(data))
    assert isinstance(result, dict)
    assert result["verdict"]["kind"] in ("insufficient", "unattributed")  # type: ignore[index]
    assert result["verdict"]["driver"] is None  # type: ignore[index]


def test_empty_file_and_text() -> None:
    for data in (b"", b"PAGE", b"hello, world\n" * 1000, bytes(0x4000)):
        with pytest.raises(lh.FormatError):
            lh.open(data)
