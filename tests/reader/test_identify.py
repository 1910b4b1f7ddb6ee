"""kernel.identify on every build: what the forge put at an address is what the library says of it."""

from __future__ import annotations

import pickle
import struct

import pytest

import lockhound as lh
from lockhound_synth import io, pool, scenarios, work
from lockhound_synth.forge import Forged
from lockhound_synth.physical import PAGE
from lockhound_synth.scenarios.stage import Stage

from .machines import dump_bytes, forged
from .scene import Scene
from .test_holders import block, holder, put, typed

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


SOME = (7601, 17763, 22000, 26100)


@pytest.mark.parametrize("build", SOME)
def test_work_items_and_their_kind(build: int) -> None:
    where = Scene("kinds", build, 0, trap=True)
    machine, (driver, device), context = where.machine, holder(where), block(where)
    routine = driver.module.symbols["Worker"]
    shown = f"routine {driver.module.name}+{routine - driver.module.base:#x}"
    queue = work.make_queue(machine)
    over, waiting = (work.io_item(machine, driver, device, context) for _ in range(2))
    own = work.item(machine, block(where) + 0x10, routine, context)
    work.insert(machine, queue, [over, waiting, own])
    work.remove_first(machine, queue)
    dpc = work.dpc(machine, block(where, 0x80) + 0x20, routine, context)
    inner = work.dpc(machine, device.extension + 0x40, routine, context)
    apc = work.apc(machine, block(where, 0x80), where.stage.system.threads[0].address, routine, context)
    timer = work.io_timer(machine, device, routine, context)
    where.later(lambda: put(where, device.address + 0x28, timer))
    rows = [
        (over, "work_item", "IO_WORKITEM", 0x40, "not_queued", 0x30, "IO_WORKITEM.Context"),
        (waiting, "work_item", "IO_WORKITEM", 0x40, "queued", 0x30, "IO_WORKITEM.Context"),
        (own, "work_item", "WORK_QUEUE_ITEM", 0x20, "queued", 0x18, "WORK_QUEUE_ITEM.Parameter"),
        (dpc, "dpc", "KDPC", 0x40, None, 0x20, "KDPC.DeferredContext"),
        (apc, "apc", "KAPC", 0x58, None, 0x38, "KAPC.NormalContext"),
        (timer, "timer", "IO_TIMER", 0x30, None, 0x20, "IO_TIMER.Context"),
    ]
    with lh.open(where.finish().to_bytes(6)) as dump:
        kernel = dump.kernel()
        for at, place, name, size, state, offset, field in rows:
            found = kernel.identify(at + offset)
            assert (found.place, found.base, found.offset, found.size) == (place, at, offset, size)
            assert (found.name, found.owner_name, found.state) == (name, driver.module.name, state)
            assert found.detail == f"{field}, {shown}"
            assert found.text.endswith(found.detail)
            assert kernel.identify(at).detail == f"{name}+0x0, {shown}"
            assert kernel.identify(at + size).place != place
        kept = kernel.identify(inner + 0x20)
        assert (kept.place, kept.owner_name, kept.detail) == ("device_extension", driver.module.name, f"KDPC.DeferredContext, {shown}")
        assert kernel.identify(queue.address).place in ("pool", "module")


def test_what_only_looks_like_one_with_a_routine() -> None:
    """A DPC of no importance that there is, an APC of no thread, a timer that its device does not know, an item that is not its own
    parameter, and each with a routine that lies in data."""
    where = Scene("like", 19041, 0, trap=True)
    machine, (driver, device) = where.machine, holder(where)
    routine, image = driver.module.symbols["Worker"], driver.module.image
    assert image is not None
    (section,) = [s for s in image.sections if s.name == ".data"]
    data, context = driver.module.base + section.rva, block(where)
    thread = where.stage.system.threads[0].address
    unimportant, item = work.dpc(machine, block(where, 0x80), routine, context), work.io_item(machine, driver, device, context)
    machine.space.write(unimportant + 1, b"\x04")
    put(where, item + work.PARAMETER, context)
    shapes = [
        unimportant,
        item,
        work.dpc(machine, block(where, 0x80), data, context),
        work.apc(machine, block(where, 0x80), device.address, routine, context),
        work.apc(machine, block(where, 0x80), thread, data, context),
        work.io_timer(machine, device, routine, context),
    ]
    with lh.open(where.finish().to_bytes(6)) as dump:
        for at in shapes:
            found = dump.kernel().identify(at + 0x20)
            assert (found.place, found.detail) == ("pool", None)


def test_what_a_freed_block_has_left() -> None:
    where = Scene("freed", 17763, 0, trap=True)
    driver, device = holder(where)
    item = work.io_item(where.machine, driver, device, where.lock().address)
    where.machine.nonpaged.free(item)
    with lh.open(where.finish().to_bytes(6)) as dump:
        found = dump.kernel().identify(item + 0x30)
    assert (found.place, found.state, found.detail) == ("pool", "free", None)


@pytest.mark.parametrize("kind", ["urb", "net_buffer", "wsk_buf", "flt_read", "flt_control", "flt_attributes"])
def test_fields_that_name_an_mdl(kind: str) -> None:
    """In a block, in a device's extension and in a module's data, also at four bytes' alignment; any other pointer to an MDL is one."""
    where = Scene("fields", 19041, 0, trap=True)
    driver, device = holder(where)
    mdl, context = where.lock(), block(where, 0x100)
    data, field = typed(kind, mdl)
    image = driver.module.image
    assert image is not None
    (section,) = [s for s in image.sections if s.name == ".data"]
    places = {context + 0x20: "pool", context + 0x84: "pool", device.extension + 0x40: "device_extension"}
    places[driver.module.base + section.rva + 0x40] = "module"
    inside = data.rindex(struct.pack("<Q", mdl.address))
    for at in places:
        where.machine.space.write(at, data)
    put(where, context + 0xE0, mdl.address)
    with lh.open(where.finish().to_bytes(6)) as dump:
        kernel = dump.kernel()
        for at, place in places.items():
            found = kernel.identify(at + inside)
            assert (found.place, found.detail) == (place, field)
        assert kernel.identify(context + 0xE0).detail == "a pointer to an MDL"
        assert kernel.identify(context).detail is None


@pytest.mark.parametrize("build", [17763, 22000, 26100])
def test_lock_trackers(build: int) -> None:
    made, dump_data = forged("tracked_leak", build, 0), dump_bytes("tracked_leak", build, 0, 6)
    tracker, process = made.machine.labels["tracker:0"], made.truth.process
    assert process is not None
    with lh.open(dump_data) as dump:
        found = dump.kernel().identify(tracker + 0x18)
        assert (found.place, found.base, found.owner) == ("lock_tracker", tracker, int(process["address"], 16))
        assert (found.owner_name, found.detail, found.tag) == (process["name"][:14], "LOCK_TRACKER.Mdl", "MmLk")
        assert dump.kernel().identify(tracker + 0x40).detail is None


def test_objects_of_the_framework() -> None:
    made = forged("framework_handle", 19041, 0)
    with lh.open(dump_bytes("framework_handle", 19041, 0, 6)) as dump:
        kernel = dump.kernel()
        seen = {}
        for body, (size, _) in made.machine.nonpaged.blocks.items():
            found = kernel.identify(body + size - 8)
            if found.place == "framework_object":
                seen[found.name] = found
        assert {"device", "request"} <= seen.keys()
        assert seen["request"].owner_name == made.truth.verdict["driver"]


@pytest.mark.parametrize("build", SOME)
def test_what_waits_on_a_lookaside_list(build: int) -> None:
    made, dump = opened(build)
    with dump:
        kernel = dump.kernel()
        for number in (0, 3):
            for entry in made.machine.lookasides[number]:
                assert kernel.identify(entry + 8).state == "lookaside"
        states = {kernel.identify(body).state for body in made.machine.nonpaged.blocks}
    assert made.machine.lookasides[3]
    assert "lookaside" in states
    assert states - {"lookaside"}


def test_the_head_of_a_drivers_lookaside_list() -> None:
    made = forged("chain_freed", 17763, 0)
    with lh.open(dump_bytes("chain_freed", 17763, 0, 6)) as dump:
        kernel = dump.kernel()
        details = set()
        for driver in made.machine.drivers.values():
            for device in driver.devices:
                details |= {kernel.identify(at).detail for at in range(device.extension, device.extension + device.extension_size, 8)}
    assert "the head of a lookaside list of blocks 'Lkys'" in details


@pytest.mark.parametrize("build", SOME)
def test_the_frame_that_a_word_on_a_stack_lies_in(build: int) -> None:
    where = Scene("frame", build, 0, trap=True)
    driver, _ = holder(where)
    at = where.waits(where.lock().address, driver, loose=True)
    with lh.open(where.finish().to_bytes(6)) as dump:
        kernel = dump.kernel()
        found = kernel.identify(at)
        assert (found.place, found.live) == ("stack", True)
        assert found.detail is not None
        assert found.detail.startswith(f"frame of {driver.module.name}+0x")


def test_a_field_of_a_packet() -> None:
    made, dump = opened(19041)
    irp = int(made.truth.irps[0]["address"], 16)
    with dump:
        kernel = dump.kernel()
        details = {kernel.identify(irp + at).detail for at in (0x0, 0x8, 0x78, 0xD8)}
    assert details == {None, "IRP.MdlAddress", "IRP.Tail.Overlay.DriverContext", "IO_STACK_LOCATION.Parameters"}


def test_pages_that_an_mdl_is_mapped_at() -> None:
    """Which frame lies there, by which the MDL can be searched for."""
    made = forged("held_by_mapping", 19041, 0)
    (row,) = made.truth.ledger["mdls"]
    with lh.open(dump_bytes("held_by_mapping", 19041, 0, 6)) as dump:
        kernel = dump.kernel()
        mapped = int.from_bytes(kernel.read(int(row["address"], 16) + 0x18, 8), "little")
        frame = int.from_bytes(kernel.read(int(row["address"], 16) + 0x30, 8), "little")
        found = kernel.identify(mapped)
    assert (found.place, found.detail) == ("system_ptes", f"frame {frame:#x}")


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
