"""Compiled drivers: the forge's loader takes them as a kernel would, and the stories play with them."""

from __future__ import annotations

import struct

import pytest

from lockhound_synth import scenarios
from lockhound_synth.driver_image import ROUTINES
from lockhound_synth.io import LOCKING, PACKET_MAKERS
from lockhound_synth.machine import Machine
from lockhound_synth.pe.load import ImageError, LoadedImage, load

from .compile import VERSION

BASE = 0xFFFF_F805_1234_0000
SLOT = 0xFFFF_F805_0000_0000


def test_every_routine_has_a_place_and_unwind_data(images: dict[str, LoadedImage]) -> None:
    for image in images.values():
        assert set(image.symbols) == set(ROUTINES)
        assert image.version[:3] == VERSION[:3]
        rva, size = image.exception_table
        assert size >= 12 * 4
        page = image.pages[rva >> 12]
        begins = {struct.unpack_from("<I", page, at)[0] for at in range(rva & 0xFFF, (rva & 0xFFF) + size, 12)}
        assert image.symbols["AddDevice"] in begins


def test_relocations_and_slots_at_a_base(images: dict[str, LoadedImage]) -> None:
    asked: list[tuple[str, str]] = []

    def resolve(dll: str, name: str) -> int:
        asked.append((dll, name))
        return SLOT + len(asked) * 0x10

    for image in images.values():
        asked.clear()
        pages = image.layout(BASE, resolve)
        assert asked == list(image.slots)
        for number, rva in enumerate(image.slots.values(), 1):
            assert struct.unpack_from("<Q", pages[rva >> 12], rva & 0xFFF)[0] == SLOT + number * 0x10
        assert len(image.relocations) >= 6
        moved = {struct.unpack_from("<Q", pages[rva >> 12], rva & 0xFFF)[0] - BASE for rva in image.relocations}
        assert {image.symbols["Dispatch"], image.symbols["DispatchIo"]} <= moved
        # .reloc is not in the memory of a started driver, .rsrc is.
        discarded = [s for s in image.sections if s.name == ".reloc"]
        kept = [s for s in image.sections if s.name == ".rsrc"]
        assert discarded[0].rva >> 12 not in pages
        assert kept[0].rva >> 12 in pages


def test_calls_through_slots_are_found(images: dict[str, LoadedImage]) -> None:
    grabber = images["grabber.sys"]
    (lock,) = grabber.returns("MmProbeAndLockPages")
    assert grabber.symbols["DispatchIo"] < lock < grabber.symbols["DispatchIo"] + 0x90
    assert images["holder.sys"].returns("MmProbeAndLockPages") == []


def test_stories_play_with_them(images: dict[str, LoadedImage]) -> None:
    for name in scenarios.NAMES:
        forged = scenarios.build(name, seed=3, images=images)
        own = {f"{driver.name}.sys": driver.module for driver in forged.machine.drivers.values()}
        compiled = [m for m in own.values() if m.image is not None and m.version[:3] == VERSION[:3]]
        assert compiled, name
        for driver in forged.truth.verdict["drivers"]:
            assert own[driver["name"]] in compiled
        for module in compiled:
            _as_the_file(forged.machine, module.base, module.image)
        again = scenarios.build(name, seed=3, images=dict(reversed(images.items())))
        assert again.to_bytes(6) == forged.to_bytes(6)


def _as_the_file(machine: Machine, base: int, image: LoadedImage | None) -> None:
    assert image is not None
    code = image.symbols["DispatchIo"]
    assert machine.space.read(base + code, 0x20) == image.pages[code >> 12][code & 0xFFF :][:0x20]
    exports = {rva + machine.nt_base for rva in machine.kernel.exports.values()}
    for rva in image.slots.values():
        assert machine.space.read_u64(base + rva) in exports


def test_parts_go_to_fitting_images(images: dict[str, LoadedImage]) -> None:
    """Who holds a packet of the I/O manager must not be able to split it unseen; who splits must call what splits."""
    for name in ("pending_irp", "chain_second", "orphaned_irp", "busy", "filters_above"):
        for seed in range(4):
            forged = scenarios.build(name, seed=seed, images=images)
            for driver in forged.machine.drivers.values():
                if driver.module.name in {d["name"] for d in forged.truth.verdict["drivers"]}:
                    assert driver.module.image is not None
                    assert not PACKET_MAKERS & {n for names in driver.module.image.imports.values() for n in names}
    split = scenarios.build("partial_lower", seed=1, images=images)
    assert split.truth.verdict["driver"] == "splitter.sys"
    sent = scenarios.build("driver_irp_in_bus", seed=1, images=images)
    assert sent.truth.verdict["driver"] == "sender.sys"


def test_without_a_fitting_image_the_forge_uses_its_own(images: dict[str, LoadedImage]) -> None:
    forged = scenarios.build("partial_lower", seed=1, images={"holder.sys": images["holder.sys"]})
    named = forged.truth.verdict["driver"]
    (module,) = [m for m in forged.machine.modules if m.name == named]
    assert module.image is not None
    assert module.image.exception_table[1]
    assert set(LOCKING) - {n for names in module.image.imports.values() for n in names}
    assert "IoBuildPartialMdl" in next(iter(module.image.imports.values()))


@pytest.mark.parametrize("data", [b"", b"MZ", b"MZ" + bytes(0x3A) + b"\x40\0\0\0" + b"PE\1\0", b"\x7fELF" + bytes(100)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        load(data, "x.sys")
