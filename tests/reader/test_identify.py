"""kernel.identify on every build: what the forge put at an address is what the library says of it."""

from __future__ import annotations

import pickle
import struct

import pytest

import lockhound as lh
from lockhound_synth import io, pool, scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.physical import PAGE
from lockhound_synth.scenarios.stage import Stage

from .machines import dump_bytes, forged

STORY = "driver_irp_in_bus"
ALL = scenarios.ALL_BUILDS
TABLED = 22000  # from the next build on the size of a thread object is not known


def opened(build: int) -> tuple[Forged, lh.Dump]:
    return forged(STORY, build, 0), lh.open(dump_bytes(STORY, build, 0, 6))


@pytest.mark.parametrize("build", ALL)
def test_drivers_and_devices(build: int) -> None:
    made, dump = opened(build)
    with dump:
        kernel = dump.kernel()
        devices = 0
        for driver in made.machine.drivers.values():
            found = kernel.identify(driver.address + 0x28)
            assert (found.place, found.base, found.offset) == ("driver", driver.address, 0x28)
            assert (found.owner, found.owner_name) == (driver.address, driver.module.name)
            tail = kernel.identify(driver.address + 0x150)
            assert (tail.place, tail.owner) == ("driver_extension", driver.address)
            for device in driver.devices:
                devices += 1
                body = kernel.identify(device.address + 0x40)
                assert (body.place, body.base, body.owner) == ("device", device.address, driver.address)
                assert body.owner_name == driver.module.name
                assert (body.name or "") == device.name
                last = kernel.identify(device.extension + device.extension_size - 8)
                assert (last.place, last.base, last.owner) == ("device_extension", device.extension, driver.address)
                assert driver.module.name in last.text
        assert devices >= 6


@pytest.mark.parametrize("build", ALL)
def test_processes_threads_and_stacks(build: int) -> None:
    made, dump = opened(build)
    shape = made.machine.layouts["ETHREAD"]
    with dump:
        kernel = dump.kernel()
        for process in made.machine.processes:
            found = kernel.identify(process.address)
            assert (found.place, found.base, found.name) == ("process", process.address, process.name[:14])
        stacks = 0
        for thread in made.machine.threads:
            if not thread.alive:
                assert kernel.identify(thread.stack_base - 8).place == "system_ptes"
                continue
            found = kernel.identify(thread.address)
            assert (found.place, found.owner) == ("thread", thread.process.address)
            assert build > TABLED or kernel.identify(thread.address + shape.size - 8).base == thread.address
            stacks += 1
            top, low = kernel.identify(thread.stack_base - 8), kernel.identify(thread.stack_limit)
            assert (top.place, top.base, top.size) == ("stack", thread.stack_limit, thread.stack_base - thread.stack_limit)
            assert (top.owner, top.owner_name) == (thread.address, thread.process.name[:14])
            assert low.place == "stack"
            assert (top.live, low.live) == (True, False)
        assert stacks >= 6


@pytest.mark.parametrize("build", ALL)
def test_packets_mdls_and_pool(build: int) -> None:
    made, dump = opened(build)
    truth = made.truth
    with dump:
        kernel = dump.kernel()
        mdl = truth.ledger["mdls"][0]
        for at in (0, 0x28, 0x30 + 8 * mdl["pages"] - 8):
            found = kernel.identify(int(mdl["address"], 16) + at)
            assert (found.place, found.base, found.offset) == ("mdl", int(mdl["address"], 16), at)
            assert truth.process is not None
            assert found.owner == int(truth.process["address"], 16)
        irp = int(truth.irps[0]["address"], 16)
        found = kernel.identify(irp + 0xD0)
        assert (found.place, found.base) == ("irp", irp)
        wanted = {b"MmLd": 0, b"LkaL": 0}
        for body, (size, tag) in made.machine.nonpaged.blocks.items():
            if tag not in wanted or size > 0xFE0:
                continue
            wanted[tag] += 1
            found = kernel.identify(body + size - 1)
            assert (found.place, found.base, found.tag) == ("pool", body, tag.decode())
            assert found.size is not None
            assert size <= found.size < size + 16
            assert found.state == ("allocated" if build < 18362 else None)
        assert all(wanted.values())


@pytest.mark.parametrize("build", ALL)
def test_places_of_the_address_space(build: int) -> None:
    made, dump = opened(build)
    machine = made.machine
    with dump:
        kernel = dump.kernel()
        for module in machine.modules:
            found = kernel.identify(module.base + 0x1000)
            assert (found.place, found.name, found.base, found.offset) == ("module", module.name, module.base, 0x1000)
            assert (found.section, found.code, found.writable) == (".text", True, False)
        data = kernel.identify(machine.symbol("KiProcessorBlock"))
        assert (data.section, data.code, data.writable) == (".data", False, True)
        pfn = kernel.identify(machine.pfn_database + 0x123 * machine.layouts["MMPFN"].size + 8)
        assert pfn.place == "pfn_database"
        assert "frame 0x123, +0x8" in pfn.text
        tables = 0xFFFF_0000_0000_0000 | machine.regions.self_map << 39
        assert kernel.identify(tables).place == kernel.identify(tables + (1 << 39) - 1).place == "page_tables"
        assert kernel.identify(tables + (1 << 39)).place != "page_tables"
        assert kernel.identify(0xFFFF_F780_0000_0014).place == "shared_page"
        assert kernel.identify(0x7FF_1234).place == "user"
        hole = kernel.identify(0x8000_0000_0000)
        assert (hole.place, hole.absence) == ("absent", "noncanonical")
        gap = machine.nonpaged.next_page + 0x10_0000_0000
        absent = kernel.identify(gap)
        assert (absent.place, absent.absence, absent.base) == ("absent", "not_mapped", None)
        assert absent.level in (1, 2, 3, 4)
        gone = [(name, begin) for name, begin, _ in machine.unloaded]
        assert gone
        for name, begin in gone:
            found = kernel.identify(begin + 0x30)
            assert (found.place, found.name, found.offset) == ("unloaded_module", name, 0x30)


@pytest.mark.parametrize("build", ALL)
def test_a_page_that_is_missing_takes_no_answer_for_another(build: int) -> None:
    made, dump = opened(build)
    driver = next(d for d in made.machine.drivers.values() if d.devices)
    device = driver.devices[0]
    places = [device.address + 0x40, device.extension + 8, driver.address, made.machine.threads[0].stack_base - 8]
    with dump:
        before = [dump.kernel().identify(at) for at in places]
        for at, found in zip(places, before, strict=True):
            pfn = made.translate(at)
            assert pfn is not None
            with dump.without_pages([pfn >> 12]) as reduced:
                after = reduced.kernel().identify(at)
            assert after.absence == "not_captured"
            told = found.place == "stack"  # by the address alone
            assert after.place == ("stack" if told else "absent")
            assert after.owner == (found.owner if told else None)


def test_what_only_looks_like_an_object() -> None:
    """A type number proves nothing: a device that its driver does not list, a thread of no process, a packet that does not add up."""
    made, dump = opened(19041)
    driver = next(d for d in made.machine.drivers.values() if d.devices)
    device = driver.devices[0]
    block, (size, tag) = next((b, s) for b, s in made.machine.nonpaged.blocks.items() if s[1] == b"MmLd" and s[0] >= 0x80)
    physical = made.translate(block)
    assert physical is not None
    pfn, offset = divmod(physical, PAGE)
    page = bytearray(made.pages[pfn])
    for content in (
        struct.pack("<HHi3Q", 3, 0x80, 0, driver.address, 0, 0).ljust(0x48, b"\0"),
        struct.pack("<HHi3Q", 4, 0x150, 0, 0, 0, 0),
        bytes((3, 0, 0x20)).ljust(0x40, b"\0"),
        bytes((6, 0, 0x20)).ljust(0x40, b"\0"),
        struct.pack("<HHi", 6, 0x118, 0).ljust(0x40, b"\0"),
        struct.pack("<HHiQ", 5, 0xD8, 0, device.address + 0x10).ljust(0x40, b"\0"),
    ):
        page[offset : offset + len(content)] = content
        with dump.with_pages({pfn: bytes(page)}) as changed:
            found = changed.kernel().identify(block + 8)
        assert (found.place, found.base, found.tag) == ("pool", block, tag.decode())
        assert found.size in range(size, size + 0x10)  # blocks are multiples of 16 bytes


def test_a_client_extension_of_a_driver_object() -> None:
    stage = Stage("client", 19041, 3)
    stage.make_victim()
    driver = stage.invent()
    first, second = (io.client_extension(stage.machine, driver, size) for size in (0x60, 0x80))
    with lh.open(stage.finish().to_bytes(6)) as dump:
        kernel = dump.kernel()
        for body, size in ((first, 0x60), (second, 0x80)):
            found = kernel.identify(body + size - 8)
            assert (found.place, found.owner, found.owner_name) == ("driver_extension", driver.address, driver.module.name)


def test_a_big_block_by_the_kernels_table() -> None:
    stage = Stage("big", 19041, 4, genuine=True)
    stage.make_victim()
    machine = stage.machine
    block = machine.nonpaged.alloc(0x5000, b"Lkyb")
    table, entries = pool.big_page_table(machine.nonpaged, machine.build)
    machine.set_global("PoolBigPageTable", table)
    machine.set_global("PoolBigPageTableSize", entries)
    with lh.open(stage.finish().to_bytes(6)) as dump:
        found = dump.kernel().identify(block + 0x4FF8)
        assert (found.place, found.base, found.size, found.tag) == ("big_pool", block, 0x5000, "Lkyb")
        assert dump.kernel().identify(block + 0x5000).place != "big_pool"


@pytest.mark.parametrize(("build", "absent"), [(19041, 2), (22000, 0), (22000, 1)])
def test_a_big_block_behind_an_absent_page_of_the_table(build: int, absent: int) -> None:
    """Its entry is the first one that begins in the page behind: 0x18 bytes long on the one build, 0x20 on the other."""
    stage = Stage("big", build, 5, genuine=True)
    stage.make_victim()
    machine = stage.machine
    block = machine.nonpaged.alloc(0x5000, b"Lkyb")
    size = pool.LATER_BIG_ENTRY if build >= pool.LATER_ENTRIES else pool.BIG_ENTRY
    pages = absent + 2
    table = machine.nonpaged.alloc(pages * PAGE, b"PBig")
    first = -(-(absent + 1) * PAGE // size)
    machine.space.write(table + first * size, struct.pack("<Q4sIQ", block, b"Lkyb", 0, 0x5000))
    machine.set_global("PoolBigPageTable", table)
    machine.set_global("PoolBigPageTableSize", pages * PAGE // size)
    lost = machine.space.translate(table + absent * PAGE)
    assert lost is not None
    with lh.open(stage.finish().to_bytes(6)) as dump, dump.without_pages([lost >> 12]) as less:
        found = less.kernel().identify(block + 0x4FF8)
        assert (found.place, found.base, found.size) == ("big_pool", block, 0x5000)


def test_an_identity_is_a_row() -> None:
    _made, dump = opened(19041)
    with dump:
        found = dump.kernel().identify(dump.bugcheck.parameters[1])
    assert isinstance(found, lh.Identity)
    assert pickle.loads(pickle.dumps(found)) == found
    assert str(found).startswith(f"{found.address:#x}: process ")
    assert "place='process'" in repr(found)
    with pytest.raises(AttributeError):
        found.place = "pool"  # type: ignore[misc]
