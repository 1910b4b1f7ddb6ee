"""Objects that keep a routine with its context: whose that is, what proves that one is queued, and what each says of itself."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

import lockhound as lh
from lockhound_synth import io, pool, processes, stacks, work
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import Mdl

from .machines import Answer, case_of, dump_bytes, forged
from .scene import Scene
from .test_holders import block, holder, judged, names, put, refuses, scene

BUILDS = (7601, 19041, 26100)  # queues of both kinds, and a kernel whose types are not public
ROUTINE = "Worker"
TIMER = 0x28  # DEVICE_OBJECT.Timer


def where_of(driver: Driver) -> str:
    """The routine, as it is shown."""
    return f"{driver.module.name}+{driver.module.symbols[ROUTINE] - driver.module.base:#x}"


class Waiting:
    """A driver's work item waits in a queue between others'; its context, and nothing else, leads to the MDL."""

    def __init__(self, build: int = 19041, *, pool: bool | None = None) -> None:
        self.where = Scene("waiting", build, 0, trap=True)
        machine = self.where.machine
        self.driver, self.device = holder(self.where)
        self.mdl, self.context = self.where.lock(), block(self.where)
        put(self.where, self.context + 0x20, self.mdl.address)
        self.item = work.io_item(machine, self.driver, self.device, self.context)
        self.others = [holder(self.where) for _ in range(2)]
        self.items = [work.io_item(machine, other, device, block(self.where)) for other, device in self.others]
        self.queue = work.make_queue(machine, pool=pool)
        work.insert(machine, self.queue, [self.items[0], work.kernels_own(machine), self.item, self.items[1]])

    def put(self, at: int, *values: int) -> None:
        put(self.where, at, *values)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("build", BUILDS)
def test_what_a_queued_item_has_is_its_drivers(build: int, pool: bool) -> None:
    """Others in the same queue, which their drivers keep, have nothing to do with it."""
    made = Waiting(build, pool=pool)
    for (_, device), item in zip(made.others, made.items, strict=True):
        made.put(device.extension + 0x20, item)
    case = judged(made.where)
    assert Answer.of(case["verdict"]) == names(made.driver, made.mdl)
    (row,) = case["ledger"]["mdls"]
    routine = f"routine {where_of(made.driver)}"
    assert row["trail"] == f"MDL <- pool block 'Lky1' <- IO_WORKITEM.Context ({routine}) <- queued IO_WORKITEM <- {made.driver.module.name}"


@pytest.mark.parametrize("known", [True, False])
def test_an_item_in_a_block_of_pages(known: bool) -> None:
    """Whether the kernel's table of big blocks tells its bounds or not."""
    where = Scene("pages", 19041, 0, trap=True)
    driver, _ = holder(where)
    mdl, big = where.lock(), block(where, 0x5000)
    put(where, big + 0x3F00, mdl.address)
    item = work.item(where.machine, big + 0x1230, driver.module.symbols[ROUTINE], mdl.address)
    work.insert(where.machine, work.make_queue(where.machine), [item])
    if known:
        pool.big_page_table(where.machine.nonpaged, 19041)
    case = judged(where)
    if known:
        assert Answer.of(case["verdict"]) == names(driver, mdl)
    else:
        refuses(case)


def kept_by_others(made: Waiting) -> None:
    for (_, device), item in zip(made.others, made.items, strict=True):
        made.put(device.extension + 0x20, item)


def emptied(made: Waiting) -> None:
    """By its own count nothing is in the queue."""
    made.where.machine.space.write(made.queue.address + 4, struct.pack("<i", 0))
    kept_by_others(made)


def of_another_type(made: Waiting) -> None:
    made.where.machine.space.write(made.queue.address, struct.pack("<B", work.QUEUE_OBJECT))


def of_another_size(made: Waiting) -> None:
    made.where.machine.space.write(made.queue.address + 2, struct.pack("<B", 0x40 // 4))


def out_of_the_ring(made: Waiting) -> None:
    """Its neighbours are each other's."""
    before, after = struct.unpack("<2Q", made.where.machine.space.read(made.item, 16))
    made.put(after, before)
    made.put(before + 8, after)


def torn_further_on(made: Waiting) -> None:
    """A link between two others leads one way only. Their drivers keep them."""
    kept_by_others(made)
    made.put(made.items[0] + 8, made.items[1])


def torn_between_blocks(made: Waiting) -> None:
    """The same, and the item in front is part of a block that its driver keeps."""
    (other, device), at = made.others[0], block(made.where, 0x80)
    item = work.item(made.where.machine, at + 0x20, other.module.symbols[ROUTINE], at)
    made.put(device.extension + 0x20, at)
    made.queue.items.clear()
    work.insert(made.where.machine, made.queue, [item, made.item, made.items[1]])
    made.put(made.queue.head + 8, made.item)


def torn_around_a_context(made: Waiting) -> None:
    """The same, and the item is a part of its own context: a neighbour that its driver keeps leads to what has the MDL."""
    made.put(made.others[1][1].extension + 0x20, made.items[1])
    made.put(made.item + work.IO_CONTEXT, 0)
    own = work.item(made.where.machine, made.context + 0x30, made.driver.module.symbols[ROUTINE], made.context)
    made.queue.items.clear()
    work.insert(made.where.machine, made.queue, [made.items[0], own, made.items[1]])
    made.put(made.queue.head + 8, made.items[0])


def with_a_stranger(made: Waiting) -> None:
    """One of the others is no work item."""
    made.put(made.items[1] + work.ROUTINE, made.context)


def without_a_queue(made: Waiting) -> None:
    """The items are a ring of their own."""
    ring = made.queue.items
    for i, at in enumerate(ring):
        made.put(at, ring[(i + 1) % len(ring)], ring[i - 1])


def not_of_nt(made: Waiting) -> None:
    """Whose parameter is itself, but which nt's routine does not serve."""
    made.put(made.item + work.ROUTINE, made.context)


def no_routine(made: Waiting) -> None:
    """Its routine lies in the driver's data."""
    image = made.driver.module.image
    assert image is not None
    (data,) = [s for s in image.sections if s.name == ".data"]
    made.put(made.item + work.IO_ROUTINE, made.driver.module.base + data.rva + 0x40)


def freed(made: Waiting) -> None:
    made.where.machine.nonpaged.free(made.item)


SPOILT: list[Callable[[Waiting], None]] = [
    emptied, of_another_type, of_another_size, out_of_the_ring, torn_further_on, torn_between_blocks, torn_around_a_context,
    with_a_stranger, without_a_queue, not_of_nt, no_routine,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda f: f.__name__)
def test_one_witness_less_and_it_is_queued_for_nobody(spoil: Callable[[Waiting], None]) -> None:
    made = Waiting(pool=True)
    spoil(made)
    refuses(judged(made.where))


def test_a_freed_item_is_nobodys() -> None:
    made = Waiting(17763)
    freed(made)
    refuses(judged(made.where))


@pytest.mark.parametrize("lost", ["neighbour", "queue"])
def test_a_queue_that_is_not_wholly_there(lost: str) -> None:
    made = Waiting(pool=True)
    kept_by_others(made)
    made.where.lose("lost", made.items[0] if lost == "neighbour" else made.queue.address)
    refuses(judged(made.where), "insufficient")


def test_a_queue_of_a_drivers_own_is_that_drivers_memory() -> None:
    """A KQUEUE in a device extension: what waits in it is its owner's, and the routine of another says that it may be the other's."""
    for own in (True, False):
        made = Waiting(pool=True)
        (other, lower), at = made.others[0], 0
        device = made.device if own else lower
        at = device.extension + 0x40
        made.where.machine.space.write(at, struct.pack("<4Bi", work.QUEUE_OBJECT, 0, 0x10, 0, 1))
        made.put(at + work.LISTS, made.item, made.item)
        made.put(made.item, at + work.LISTS, at + work.LISTS)
        case = judged(made.where)
        assert other.module.name not in {row["name"] for row in case["verdict"]["drivers"]}
        refuses(case)


def test_an_old_context_speaks_against_another_and_not_for_its_driver() -> None:
    """A driver's extension keeps the MDL, another's work item had it: either may have locked. Where it is the same driver's, that one."""
    for own in (True, False):
        where = scene("old")
        (driver, device), (other, lower) = holder(where), holder(where)
        mdl = where.lock()
        owner, at = (driver, device) if own else (other, lower)
        put(where, device.extension + 0x20, mdl.address)
        put(where, at.extension + 0x40, work.io_item(where.machine, owner, at, mdl.address))
        case = judged(where)
        if own:
            assert Answer.of(case["verdict"]) == names(driver, mdl)
        else:
            refuses(case)


def test_an_old_context_beside_a_packet() -> None:
    """The maker of a packet is named beside an old context of its own, and not beside one of another driver's."""
    for own in (True, False):
        where = scene("beside")
        maker, device = where.driver(io.MAKING)
        other, lower = holder(where)
        mdl = where.lock()
        where.own(maker, lower, mdl, context=device.extension)
        owner, at = (maker, device) if own else (other, lower)
        put(where, device.extension + 0x60, mdl.address)
        put(where, at.extension + 0x40, work.io_item(where.machine, owner, at, mdl.address))
        case = judged(where)
        if own:
            assert Answer.of(case["verdict"]) == names(maker, mdl)
        else:
            refuses(case)


def test_records_that_begin_like_work_items_are_their_lists() -> None:
    """Links, a routine and its context, in a driver's own list: no queue, and nothing that is over."""
    where = scene("records")
    driver, device = holder(where)
    mdl = where.lock()
    records = [work.item(where.machine, block(where, 0x38, b"Lkyr"), driver.module.symbols[ROUTINE], block(where)) for _ in range(5)]
    put(where, records[2] + work.PARAMETER, mdl.address)
    ring = [device.extension + 0x40, *records]
    for i, at in enumerate(ring):
        put(where, at, ring[(i + 1) % len(ring)], ring[i - 1])
    assert Answer.of(judged(where)["verdict"]) == names(driver, mdl)


def test_who_leads_to_the_queue_has_nothing_to_do_with_it() -> None:
    """A thread waits in a bystander's code, with the queue in a frame of nt's; the item is the only one in it."""
    where = scene("alone")
    machine, (driver, device), (other, _) = where.machine, holder(where), holder(where)
    mdl, context = where.lock(), block(where)
    put(where, context + 0x20, mdl.address)
    queue = work.make_queue(machine, pool=True)
    work.insert(machine, queue, [work.io_item(machine, driver, device, context)])
    where.waits(queue.address, other, frame=-1)
    assert Answer.of(judged(where)["verdict"]) == names(driver, mdl)


def test_an_old_context_in_data_of_nt() -> None:
    """Not even nt is what has the MDL there."""
    where = scene("nt")
    machine, (driver, device) = where.machine, holder(where)
    work.io_item(machine, driver, device, where.lock().address, at=machine.nt_base + work.IN_NT + 0x100)
    refuses(judged(where), "unattributed")


def test_an_old_context_is_told() -> None:
    case = case_of(dump_bytes("work_item_idle", 19041, 0, 6))
    assert "only a work item leads to it that is not queued" in case["verdict"]["reason"]
    assert case["suspects"][0]["driver"] in case["ledger"]["mdls"][0]["trail"]


def test_without_the_list_of_modules_no_work_item_is_known() -> None:
    """Then nothing says that the context of a bystander's is an old one; each page of nt's data may have the list's head."""
    made = forged("work_item_idle", 19041, 0)
    with lh.open(dump_bytes("work_item_idle", 19041, 0, 6)) as dump:
        for pfn in sorted(set(made.evidence_pages.values())):
            with dump.without_pages([pfn]) as less:
                assert not less.investigate(progress=False).verdict.drivers


@pytest.mark.parametrize("whose", ["own", "other", "nobody"])
@pytest.mark.parametrize("build", [7601, 19041])
def test_an_item_that_a_worker_thread_runs(build: int, whose: str) -> None:
    """The driver waits in its routine with the context; nt's frame below has the item. Of another driver's it would be somebody's."""
    where = Scene("runs", build, 0, trap=True)
    machine = where.machine
    (driver, device), (other, lower) = holder(where), holder(where)
    mdl, context = where.lock(), block(where)
    put(where, context + 0x20, mdl.address)
    owner, at = (driver, device) if whose == "own" else (other, lower)
    item = work.io_item(machine, owner, at, context)
    queue = work.make_queue(machine)
    work.insert(machine, queue, [item])
    work.remove_first(machine, queue)
    thread = processes.make_thread(machine, where.stage.system)
    returns = [driver.module.return_from("ExAllocatePoolWithTag", ROUTINE), *stacks.in_nt(machine, "IofCallDriver")]
    laid = stacks.switch_out(machine, thread, returns, (0, context))
    where.stage.waiting[thread.address] = laid.frames
    put(where, laid.frames[5][0] + 0x18, item if whose != "nobody" else context)
    case = judged(where)
    if whose == "own":
        assert Answer.of(case["verdict"]) == names(driver, mdl)
    else:
        refuses(case)


# ---- the others


def lasting(where: Scene, kind: str, driver: Driver, device: Device, context: int) -> int:
    """An object of the kind in a block of its own, which has its context for as long as it lives."""
    routine, machine = driver.module.symbols[ROUTINE], where.machine
    if kind == "IO_TIMER":
        at = work.io_timer(machine, device, routine, context)
        where.later(lambda: put(where, device.address + TIMER, at))
        return at
    at = block(where, 0x80, b"Lky2") + 0x10
    if kind == "KDPC":
        return work.dpc(machine, at, routine, context)
    return work.apc(machine, at, where.stage.system.threads[0].address, routine, context)


FIELDS = {"KDPC": "KDPC.DeferredContext", "KAPC": "KAPC.NormalContext", "IO_TIMER": "IO_TIMER.Context"}


def kept(where: Scene, kind: str, *, rooted: bool) -> tuple[Driver, Device, Mdl, int]:
    driver, device = holder(where)
    mdl, context = where.lock(), block(where)
    put(where, context + 0x20, mdl.address)
    at = lasting(where, kind, driver, device, context)
    if rooted:
        put(where, device.extension + 0x20, at)
    return driver, device, mdl, at


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("build", BUILDS)
def test_the_way_names_the_field_of_what_is_not_queued(kind: str, build: int) -> None:
    """The memory that a DPC, a timer or an APC lies in tells whose its context is."""
    where = Scene("lasting", build, 0, trap=True)
    driver, _, mdl, _ = kept(where, kind, rooted=True)
    case = judged(where)
    (row,) = case["ledger"]["mdls"]
    assert row["trail"].startswith(f"MDL <- pool block 'Lky1' <- {FIELDS[kind]} (routine {where_of(driver)}) <- pool block '")
    assert Answer.of(case["verdict"]) == names(driver, mdl)


@pytest.mark.parametrize("kind", ["KDPC", "KAPC"])
def test_what_nothing_leads_to_is_evidence(kind: str) -> None:
    """And the driver is a suspect."""
    where = scene("lasting")
    driver = kept(where, kind, rooted=False)[0]
    case = judged(where)
    refuses(case, "unattributed")
    trail = f"MDL <- pool block 'Lky1' <- {FIELDS[kind]} (routine {where_of(driver)}) <- pool block 'Lky2'"
    assert case["ledger"]["mdls"][0]["trail"] == trail
    first = case["suspects"][0]
    assert first["driver"] == driver.module.name
    assert trail in [row["statement"] for row in first["evidence"] if row["kind"] == "holder"]
