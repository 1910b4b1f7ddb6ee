"""Who keeps an MDL that no packet explains: what the way looks like, what ends it, and what it costs."""

from __future__ import annotations

import struct
from typing import Any

import pytest

import lockhound as lh
from lockhound_synth import io, packets
from lockhound_synth.forge import Forged
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import Mdl

from .machines import Answer, case_of, dump_bytes, forged
from .scene import Scene

BUILD = 19041


def scene(title: str) -> Scene:
    return Scene(title, BUILD, 0, trap=True)


def judged(made: Forged | Scene, **options: Any) -> dict[str, Any]:
    machine = made.finish() if isinstance(made, Scene) else made
    with lh.open(machine.to_bytes(6)) as dump:
        return dump.investigate(progress=False, **options).to_dict()


def put(where: Scene, at: int, *values: int) -> None:
    where.machine.space.write(at, struct.pack(f"<{len(values)}Q", *values))


def block(where: Scene, size: int = 0x60, tag: bytes = b"Lky1") -> int:
    return where.machine.nonpaged.alloc(size, tag)


def holder(where: Scene) -> tuple[Driver, Device]:
    return where.driver(io.LOCKING)


def names(driver: Driver, mdl: Mdl) -> Answer:
    return Answer("driver", ((driver.module.name, mdl.pages),))


def refuses(case: dict[str, Any], *kinds: str) -> None:
    assert case["verdict"]["kind"] in (kinds or ("unattributed", "insufficient")), case["verdict"]
    assert not case["verdict"]["drivers"]


def test_the_way_is_shown() -> None:
    machine = forged("held_by_context", BUILD, 0)
    case = case_of(dump_bytes("held_by_context", BUILD, 0, 6))
    name = machine.truth.verdict["driver"]
    (mdl,) = case["ledger"]["mdls"]
    assert mdl["trail"] == f"MDL <- pool block 'Lky1' <- extension of device {name.removesuffix('.sys').title()}0 <- {name}"
    assert mdl["irp"] is None
    steps = [row for row in case["chain"] if row["kind"] == "holder"]
    assert [row["kind"] for row in case["chain"]] == ["process", "mdl", "holder", "holder", "driver", "module"]
    with lh.open(dump_bytes("held_by_context", BUILD, 0, 6)) as dump:
        kernel = dump.kernel()
        pointers = [int.from_bytes(kernel.read(int(row["address"], 16), 8), "little") for row in steps]
        assert pointers[0] == int(mdl["address"], 16)
        assert kernel.identify(pointers[1]).tag == "Lky1"
        assert kernel.identify(int(steps[1]["address"], 16)).owner_name == name
    evidence = case["suspects"][0]["evidence"]
    assert [row["statement"] for row in evidence if row["kind"] == "holder"] == [mdl["trail"]]
    assert {"holder"} <= {row["name"] for row in case["verdict"]["confidence"]["factors"]}


def test_the_others_are_cleared() -> None:
    case = case_of(dump_bytes("holder_and_borrower", BUILD, 0, 6))
    assert ["imports no routine that locks" in row["reason"] for row in case["cleared"] if "keeps the MDL" in row["reason"]] == [True]


def test_passes_do_not_grow_with_the_mdls() -> None:
    """One MDL or three hundred, in blocks of two drivers: the same number of passes."""
    counts = []
    for many in (1, 300):
        where = scene("many")
        first, second = holder(where), holder(where)
        locked = 0
        for index in range(many):
            mdl, context = where.lock(1 + index % 3), block(where)
            put(where, context + 0x18, mdl.address)
            put(where, (first if index % 2 else second)[1].extension + 0x20 + 8 * (index % 8), context)
            locked += mdl.pages
        case = judged(where)
        counts.append(case["coverage"]["search"]["passes"])
        assert case["coverage"]["search"]["limit_met"] is None
        assert case["ledger"]["explained"] == locked
    assert counts[0] == counts[1]


def test_a_list_is_one_level_however_long() -> None:
    passes = {name: case_of(dump_bytes(name, BUILD, 0, 6))["coverage"]["search"]["passes"] for name in ("held_in_list", "held_by_context")}
    assert passes["held_in_list"] <= passes["held_by_context"]


def test_a_limit_of_levels_is_told() -> None:
    data = dump_bytes("held_two_deep", BUILD, 0, 6)
    with lh.open(data) as dump:
        short = dump.investigate(progress=False, levels=2).to_dict()
        enough = dump.investigate(progress=False, levels=4).to_dict()
    refuses(short, "insufficient")
    assert short["coverage"]["search"]["limit_met"] == "levels"
    assert enough["verdict"]["kind"] == "driver"


def test_a_ring_of_blocks_that_loops_back() -> None:
    """Blocks that point at each other in a circle end nowhere; with one pointer from outside they are that driver's."""
    for rooted in (False, True):
        where = scene("circle")
        driver, device = holder(where)
        mdl = where.lock()
        circle = [block(where, tag=bytes(f"Cyc{i}", "ascii")) for i in range(4)]
        for at, following in zip(circle, circle[1:] + circle[:1], strict=True):
            put(where, at + 0x10, following)
        put(where, circle[0] + 0x20, mdl.address)
        if rooted:
            put(where, device.extension + 0x30, circle[2])
        case = judged(where)
        if rooted:
            assert Answer.of(case["verdict"]) == names(driver, mdl)
        else:
            refuses(case, "unattributed")


def entries(where: Scene, places: list[int]) -> None:
    for index, at in enumerate(places):
        put(where, at, places[(index + 1) % len(places)], places[index - 1])


def test_a_list_without_a_head_is_whose_who_points_into_it() -> None:
    where = scene("headless")
    driver, device = holder(where)
    mdl = where.lock()
    records = [block(where, 0x28, b"Lkyr") for _ in range(40)]
    entries(where, [record + 8 for record in records])
    put(where, records[7] + 0x18, mdl.address)
    put(where, device.extension + 0x18, records[30])
    assert Answer.of(judged(where)["verdict"]) == names(driver, mdl)


@pytest.mark.parametrize("kernels", [True, False])
def test_a_list_through_the_memory_of_many_makes_nobody_an_owner(kernels: bool) -> None:
    """As the list of resources: entries in structures of all drivers, the head in nt. Without it, whose list it is is not known."""
    where = scene("resources")
    driver, device = holder(where)
    others = [where.driver(io.LOCKING)[1] for _ in range(3)]
    mdl, context = where.lock(), block(where)
    put(where, context + 0x20, mdl.address)
    put(where, device.extension + 0x30, context)
    head = where.machine.nt_base + 0x120 * 0x1000 + 0x40
    entries(where, [*([head] if kernels else []), context + 0x30, *[other.extension + 0x18 for other in others]])
    case = judged(where)
    if kernels:
        assert Answer.of(case["verdict"]) == names(driver, mdl)
    else:
        refuses(case, "insufficient")


def test_a_packet_in_flight_that_carries_the_block_is_somebodys() -> None:
    """A bystander keeps the MDL; the packet of the driver that may have locked it carries the block with it as its argument."""
    for strange in (False, True):
        where = scene("carried")
        driver, device = holder(where)
        other, _ = where.driver(io.LOCKING)
        _, lower = where.driver()
        mdl, context = where.lock(), block(where)
        put(where, context + 0x20, mdl.address)
        put(where, device.extension + 0x30, context)
        where.own(other if strange else driver, device if not strange else lower, 0, arguments=(context, 0, 0, 0))
        case = judged(where)
        if strange:
            refuses(case, "insufficient")
        else:
            assert Answer.of(case["verdict"]) == names(driver, mdl)


def test_memory_of_which_nothing_is_known_is_somebodys() -> None:
    where = scene("mapped")
    _, device = holder(where)
    mdl = where.lock()
    put(where, device.extension + 0x20, mdl.address)
    put(where, where.machine.system_pages(1) + 0x340, mdl.address)
    refuses(judged(where), "insufficient")


@pytest.mark.parametrize("loose", [False, True])
def test_a_page_of_a_stack_that_is_missing_could_hide_the_owner(loose: bool) -> None:
    """A bystander keeps the MDL, a thread waits with it, or with a word that may be left over: nobody is named; and without the thread's
    page nobody either."""
    where = scene("waiting")
    _, device = holder(where)
    other, _ = holder(where)
    mdl = where.lock()
    put(where, device.extension + 0x20, mdl.address)
    at = where.waits(mdl.address, other, loose=loose)
    machine = where.finish()
    refuses(judged(machine), "unattributed")
    pfn = machine.translate(at)
    assert pfn is not None
    refuses(judged(machine.without([pfn >> 12])), "insufficient")


@pytest.mark.parametrize("library", ["storport", "fltmgr"])
def test_stacks_are_known_where_a_librarys_client_was_looked_for(library: str) -> None:
    """For a library's packet the stacks are read before anybody judges. A dead word on one says nothing of another MDL then either, and a
    frame that waits with it does."""
    for live in (False, True):
        where = scene("library_beside")
        driver, device = holder(where)
        mdl = where.lock()
        where.own(where.stage.windows[library], where.driver()[1], where.lock())
        if live:
            where.waits(mdl.address, driver)
        else:
            put(where, device.extension + 0x20, mdl.address)
            thread = next(t for t in where.machine.threads if t.alive)
            put(where, thread.stack_limit + 0x400, mdl.address)
        assert Answer.of(judged(where)["verdict"]) == names(driver, mdl)


@pytest.mark.parametrize("second", [False, True])
def test_two_drivers_on_one_stack(second: bool) -> None:
    """What lies in a frame may be a register that was saved for a caller: with two drivers' frames nobody is named."""
    where = scene("frames")
    (first, _), (other, _) = holder(where), holder(where)
    mdl = where.lock()
    where.waits(mdl.address, first, *([other] if second else []))
    case = judged(where)
    if second:
        refuses(case, "insufficient")
    else:
        assert Answer.of(case["verdict"]) == names(first, mdl)


def test_a_frame_of_the_kernel() -> None:
    """Without a driver on the stack it is Windows' own; with one it may be either's."""
    for drivers in (0, 1):
        where = scene("kernels_frame")
        driver, _ = holder(where)
        mdl = where.lock()
        where.waits(mdl.address, *([driver] if drivers else []), frame=-1)
        refuses(judged(where), "insufficient" if drivers else "kernel")


def test_a_log_may_note_few() -> None:
    """Two MDLs of others beside it make no log yet; three do."""
    for others, kind in ((2, "driver"), (3, "unattributed")):
        where = scene("notes")
        _, device = holder(where)
        mdl = where.lock()
        context = block(where, 0x100)
        seen = [packets.make_mdl(where.machine, where.stage.others[i % 2], 2, mapped=False).address for i in range(others)]
        put(where, context + 0x20, mdl.address, *seen)
        put(where, device.extension + 0x28, context)
        assert judged(where)["verdict"]["kind"] == kind


def test_an_mdl_described_twice_is_nobodys() -> None:
    """A copy of the structure in a block of its own, and no count that tells: whose of the two is the lock is open."""
    where = scene("twins")
    _, device = holder(where)
    _, other = holder(where)
    mdl = where.lock(5)
    copy = block(where, 0x30 + 8 * mdl.pages, b"Mdl ")
    where.machine.space.write(copy, where.machine.space.read(mdl.address, 0x30 + 8 * mdl.pages))
    put(where, device.extension + 0x20, mdl.address)
    put(where, other.extension + 0x20, copy)
    refuses(judged(where))


def typed(kind: str, mdl: Mdl) -> tuple[bytes, str]:
    """A structure of a public header (x64) that names the MDL, and the field that does."""
    pointer, buffer, half = mdl.address, (mdl.va & ~0xFFF) + mdl.offset, mdl.length // 2
    if kind == "urb":
        return struct.pack("<HHi5QQ", 0x80, 9, 0, 0, 0, 0, mdl.length << 32, 0, pointer), "URB.TransferBufferMDL"
    if kind == "net_buffer":
        return struct.pack("<2QQQ2Q", 0, pointer, 0, half, pointer, 0), "NET_BUFFER.MdlChain"
    if kind == "wsk_buf":
        return struct.pack("<QQQ", pointer, 0, half), "WSK_BUF.Mdl"
    if kind == "flt_read":
        return struct.pack("<5Q", mdl.length, 0, 0, buffer, pointer), "FLT_PARAMETERS.MdlAddress"
    if kind == "flt_control":
        return struct.pack("<6Q", mdl.length, 0, 0x1234, 0, buffer, pointer), "FLT_PARAMETERS.MdlAddress"
    return struct.pack("<3Q", mdl.length, buffer, pointer), "FLT_PARAMETERS.MdlAddress"


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("kind", ["urb", "net_buffer", "wsk_buf", "flt_read", "flt_control", "flt_attributes"])
def test_structures_of_public_headers_are_named_in_the_way(kind: str, shift: int) -> None:
    """Also where a packed structure has them at four bytes' alignment."""
    where = scene("typed")
    driver, device = holder(where)
    mdl, context = where.lock(), block(where, 0x100)
    data, field = typed(kind, mdl)
    where.machine.space.write(context + 0x20 + shift, data)
    put(where, device.extension + 0x28, context)
    case = judged(where)
    (row,) = case["ledger"]["mdls"]
    assert row["trail"].startswith(f"MDL <- {field} <- pool block 'Lky1' <- extension of device ")
    assert Answer.of(case["verdict"]) == names(driver, mdl)


def test_a_packet_that_has_it_in_a_field_of_its_own() -> None:
    """Not as its MdlAddress: the packet is nobody's memory, and the way tells which field it is."""
    where = scene("context")
    driver, _ = holder(where)
    _, lower = where.driver()
    mdl = where.lock()
    irp = where.own(driver, lower, 0)
    where.field(irp, "Tail.Overlay.DriverContext", mdl.address)
    case = judged(where)
    refuses(case, "insufficient")
    (row,) = case["ledger"]["mdls"]
    assert row["trail"] == f"MDL <- IRP.Tail.Overlay.DriverContext <- packet {irp.address:#x}"


# ---- one pointer, or more than that


def kept(where: Scene, way: str) -> None:
    """A driver keeps the MDL by one pointer in its device extension (`lone`), and knows more of the lock."""
    driver, device = holder(where)
    if way == "embedded":
        packets.make_mdl(where.machine, where.victim, 5, mapped=False, at=device.extension + 0x48)
        return
    mdl = where.lock()
    knows = {"process": where.victim.address, "buffer": (mdl.va & ~0xFFF) + mdl.offset, "start": mdl.va & ~0xFFF}
    if way == "register":
        where.waits(mdl.address, driver)
        return
    put(where, device.extension + 0x40, mdl.address)
    if way == "twice":
        put(where, device.extension + 0x100, mdl.address)
    elif way == "far":
        put(where, device.extension + 0x140, where.victim.address)
    elif way in knows:
        put(where, device.extension + 0x60, knows[way])
    elif way == "borrowed":
        put(where, where.driver(("IoAllocateMdl", "IoFreeMdl"))[1].extension + 0x20, mdl.address)
    elif way == "block":
        put(where, device.extension + 0x60, knows["buffer"])
        put(where, block(where) + 0x20, mdl.address)


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("lone", {"lone", "liveness"}),
        ("far", {"lone", "liveness"}),
        ("borrowed", {"lone", "liveness", "shared"}),
        ("block", {"beside"}),
        *((way, set[str]()) for way in ("twice", "process", "buffer", "start", "embedded", "register")),
    ],
)
def test_a_single_pointer_weighs_less(way: str, told: set[str]) -> None:
    """It may be from before the MDL's memory was used again; also of an MDL of a size that lies on lists when it is freed."""
    for build in (17763, 22000):
        where = Scene(way, build, 0, trap=True)
        kept(where, way)
        verdict = judged(where)["verdict"]
        less = {row["name"] for row in verdict["confidence"]["factors"] if row["value"] < 1}
        assert verdict["kind"] == "driver"
        assert less == {"holder"} | told - ({"liveness"} if build == 17763 else set()), build


# ---- what stands beside a pointer


def registered(where: Scene, at: int, driver: Driver, value: int) -> None:
    """A routine, and the context that it will be called with."""
    put(where, at, driver.module.symbols["Complete"], value)


def beside(where: Scene, way: str, *, own: bool) -> Driver:
    """A bystander's device leads to the MDL: it has the context of another driver's routine, or an old pointer beside such a context, which
    stands in a work item or in an open file. With `own` all of that is its own."""
    (driver, device), (other, lower) = holder(where), holder(where)
    owner, opened = (driver, device) if own else (other, lower)
    mdl = where.lock()
    context, place = block(where, tag=b"Ctx "), block(where, tag=b"Lky2")
    put(where, context + 0x20, mdl.address)
    if way == "extension":
        registered(where, device.extension + 0x20, owner, context)
    elif way == "block":
        registered(where, place + 0x20, owner, context)
        put(where, device.extension + 0x20, place)
    elif way == "interface":  # INTERFACE, wdm.h: size and version, context, two routines
        routine = owner.module.symbols["Complete"]
        put(where, device.extension + 0x20, 1 << 16 | 0x40, context, routine, routine)
    else:
        put(where, device.extension + 0x20, mdl.address)
    if way == "work":  # WORK_QUEUE_ITEM, wdm.h
        registered(where, place + 0x10, owner, context)
    elif way == "item":  # IO_WORKITEM (public PDB type): WORK_QUEUE_ITEM, routine, device, context
        put(where, place + 0x20, owner.module.symbols["Complete"], opened.address, context)
    elif way == "file":
        put(where, io.make_file(where.machine, opened).address + where.stage.rng.choice((0x18, 0x20)), context)
    for label, at in (("context", context), ("place", place), ("device", device.extension)):
        where.machine.label(label, at)
    return driver


@pytest.mark.parametrize("way", ["extension", "block", "interface", "work", "item", "file"])
@pytest.mark.parametrize("build", [7601, BUILD, 26100])
def test_a_context_is_of_the_driver_whose_routine_or_file_has_it(way: str, build: int) -> None:
    """Who merely keeps it is not named, and that with any page out."""
    where = Scene(way, build, 0, trap=True)
    beside(where, way, own=False)
    machine = where.finish()
    case = judged(machine)
    refuses(case)
    assert ("an open file of another driver's" if way == "file" else "a routine of another driver's") in case["verdict"]["reason"]
    with lh.open(machine.to_bytes(6)) as dump:
        for pfn in sorted(set(machine.evidence_pages.values())):
            with dump.without_pages([pfn]) as less:
                assert not less.investigate(progress=False).verdict.drivers
    where = Scene(way, build, 0, trap=False)
    driver = beside(where, way, own=True)
    assert judged(where)["verdict"]["driver"] == driver.module.name


def test_what_a_routine_beside_a_pointer_says_nothing_of() -> None:
    """A library's routine, one that can't have locked, data of a module, and a word on a stack."""
    for what in ("library", "unable", "data", "stack"):
        where = scene(what)
        driver, device = holder(where)
        other, _ = where.driver(() if what == "unable" else io.LOCKING)
        mdl = where.lock()
        put(where, device.extension + 0x20, mdl.address)
        module = where.stage.windows["storport"].module if what == "library" else other.module
        if what == "data":
            image = module.image
            assert image is not None
            (data,) = [s for s in image.sections if s.name == ".data"]
            put(where, device.extension + 0x18, module.base + data.rva + 0x40)
        elif what == "stack":
            put(where, where.waits(mdl.address, driver) - 8, other.module.symbols["Complete"])
        else:
            put(where, device.extension + 0x18, module.symbols["Complete" if what == "unable" else "DispatchIo"])
        assert Answer.of(judged(where)["verdict"]) == names(driver, mdl), what
