"""A plain reader, straight from the facts and without the reader's code, comes to the truth's ledger and packets from the bytes alone."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lockhound_synth import scenarios
from lockhound_synth.containers import BITMAP_KERNEL, FULL
from lockhound_synth.forge import Forged

from .conftest import machine
from .raw_dump import RawDump, parse

LOCKED, NOT_CHARGED, PARTIAL = 0x2, 0x4 | 0x10 | 0x40, 0x10
IRP_HEAD, LOCATION = 0xD0, 0x48
USER_END = 1 << 47
# The lock is named by a packet that waits nowhere, or by a lock tracker and no packet.
NO_PENDING = {
    "returned_intact", "tracked_leak", "tracked_verifier", "tracked_unloaded", "tracked_several", "tracked_invalid", "tracked_freed",
    "tracked_short", "shared_tag", "holder_and_borrower",
}  # fmt: skip
# Stories whose driver is told by who keeps the MDL, or by a call stack: no packet has to wait.
WITHOUT_PACKET = ("held_", "unlock_")


@dataclass(frozen=True)
class Memory:
    """The dump by kernel address; addresses come from the forge's map, bytes from the file."""

    raw: RawDump
    forged: Forged
    reverse: dict[int, int]

    def read(self, address: int, size: int) -> bytes | None:
        out = b""
        while len(out) < size:
            physical = self.forged.translate(address + len(out))
            page = None if physical is None else self.raw.page(physical >> 12)
            if page is None or physical is None:
                return None
            out += page[physical & 0xFFF :][: size - len(out)]
        return out

    def pointers_to(self, value: int) -> Iterator[int]:
        """Kernel addresses of aligned copies of a value."""
        needle = struct.pack("<Q", value)
        for pfn, at in self.raw.places.items():
            page = self.raw.data[at : at + 0x1000]
            where = page.find(needle)
            while where >= 0:
                if where % 8 == 0 and pfn in self.reverse:
                    yield self.reverse[pfn] + where
                where = page.find(needle, where + 1)


def memory(forged: Forged, kind: int) -> Memory:
    reverse: dict[int, int] = {}
    for mapping in forged.mappings():
        for offset in range(0, mapping.size, 0x1000):
            reverse[mapping.pa + offset >> 12] = mapping.va + offset
    return Memory(parse(forged.to_bytes(kind)), forged, reverse)


def candidates(of: Memory, process: int) -> Iterator[tuple[int, int, int]]:
    """(address, flags, pages) of what may be an MDL of the process (facts B.1, validation)."""
    for hit in of.pointers_to(process):
        head = of.read(hit - 0x10, 0x30)
        if head is None:
            continue
        _, size, flags, _, _, start, length, offset = struct.unpack("<QHH4xQQQII", head)
        pages = (offset + length + 0xFFF) >> 12
        fits = size >= 0x30 + 8 * pages or size == 0x30 + 8 * pages & 0xFFFF  # 16 bits, unsigned
        placed = start and start % 0x1000 == 0 and offset < 0x1000 and length and start + offset + length < USER_END
        if placed and fits and in_ram(of, hit + 0x20):
            yield hit - 0x10, flags, pages


def in_ram(of: Memory, array: int) -> bool:
    """Whether the first frame of an array is one of the machine's."""
    first = int.from_bytes(of.read(array, 8) or b"", "little")
    return any(base <= first < base + count for base, count in of.raw.runs)


def references(of: Memory, pfn: int) -> tuple[int, bool] | None:
    """(reference count, whether the page is a section's) from the PFN database (facts B.8); None where the entry is not in the dump."""
    at = of.forged.machine.pfn_database + 0x30 * pfn
    counts, owner = of.read(at + of.forged.machine.layouts["MMPFN"].offset("u3"), 2), of.read(at + 0x28, 8)
    if counts is None or owner is None:
        return None
    shared = int.from_bytes(owner, "little") >> (63 if of.forged.machine.build >= 19041 else 57) & 1
    return int.from_bytes(counts, "little"), bool(shared)


def standing(of: Memory, flagged: dict[int, int]) -> dict[int, int]:
    """Of the MDLs that say locked, those whose lock stands: frames of count zero refute it, and of identical ones there are as many
    locks as references, where the counts can tell; else those that a packet names."""
    alike: dict[bytes, list[int]] = {}
    counts: dict[bytes, tuple[int, bool] | None] = {}
    for at, pages in flagged.items():
        body = of.read(at + 0x20, 0x10 + 8 * pages)
        assert body is not None
        alike.setdefault(body, []).append(at)
        known = [references(of, pfn) for pfn in struct.unpack_from(f"<{pages}Q", body, 0x10)]
        seen = [count for count in known if count is not None]
        counts[body] = (min(c for c, _ in seen), any(s for _, s in seen)) if len(seen) == len(known) else None
    out: dict[int, int] = {}
    for body, group in alike.items():
        told = counts[body]
        if told is not None and told[0] == 0:
            continue
        if len(group) > 1 and (told is None or told[1] or told[0] < len(group)):
            group = [at for at in group if any(True for _ in packets_of(of, at)) or at in tracked(of)]
        out.update({at: flagged[at] for at in group})
    return out


def tracked(of: Memory) -> set[int]:
    """The MDLs that lock trackers name; Mdl stands at 18 in every tree form (facts C.1), without bit 63 in some."""
    places = [at for label, at in of.forged.machine.labels.items() if label.startswith("tracker:") and "+" not in label]
    return {int.from_bytes(of.read(at + 0x18, 8) or b"", "little") | 1 << 63 for at in places}


def in_free_block(of: Memory, at: int) -> bool:
    """Before the segment heap a pool header in front of a block says whether it is free: PoolType 0 (facts B.6)."""
    header = of.read(at - 0x10, 0x10) if at & 0xFFF else None  # a block that starts a page has none
    return of.forged.machine.build < 18362 and header is not None and header[2] > 1 and header[3] == 0


def on_lists(of: Memory) -> set[int]:
    """Freed MDLs: everything on the lookaside lists that the processor block names."""
    prcb = of.forged.machine.symbol("KiProcessorBlock")
    raw = of.read(prcb, 8)
    assert raw is not None
    block = int.from_bytes(raw, "little") + of.forged.machine.layouts["KPRCB"].offset("PPLookasideList") + 16 * 3
    pair = of.read(block, 16)
    out: set[int] = set()
    for head in struct.unpack("<2Q", pair or bytes(16)):
        first = of.read(head + 8, 8)
        at = int.from_bytes(first or b"", "little") & ~0xF
        while at and at not in out:
            out.add(at)
            assert len(out) < 1000
            at = int.from_bytes(of.read(at, 8) or b"", "little")
    return out


def packets_of(of: Memory, mdl: int) -> Iterator[tuple[int, int, int, int]]:
    """(address, stack count, current location, device) of packets that describe the MDL, by their own arithmetic (facts B.2)."""
    for hit in of.pointers_to(mdl):
        head = of.read(hit - 8, IRP_HEAD)
        if head is None:
            continue
        kind, size = struct.unpack_from("<2H", head, 0)
        count, current = head[0x42], head[0x43]
        (location,) = struct.unpack_from("<Q", head, 0xB8)
        arithmetic = location == hit - 8 + IRP_HEAD + (current - 1) * LOCATION
        if kind != 6 or not count or size < IRP_HEAD + count * LOCATION or not 1 <= current <= count + 2 or not arithmetic:
            continue
        device = of.read(location + 0x28, 8) if current <= count else None
        yield hit - 8, count, current, int.from_bytes(device or b"", "little")


def test_the_ledger(forged: Forged) -> None:
    truth = forged.truth
    if truth.process is None:
        assert truth.verdict["kind"] == "not_applicable" or truth.scenario.startswith("unlock_")
        return
    for kind in (FULL, BITMAP_KERNEL):
        of = memory(forged, kind)
        other = {int(alias, 16): int(address, 16) for alias, address in truth.aliases.items()}
        found = [(other.get(at, at), flags, pages) for at, flags, pages in candidates(of, int(truth.process["address"], 16))]
        flagged = {at: pages for at, flags, pages in found if flags & LOCKED and not flags & NOT_CHARGED}
        charged = {f"{at:#x}": pages for at, pages in standing(of, flagged).items()}
        assert charged == {entry["address"]: entry["pages"] for entry in truth.ledger["mdls"]}
        rest = {f"{at:#x}" for at, flags, _ in found} - set(charged)
        # A paging read has no user address, so the plain validation has dropped it.
        assert rest == {entry["address"] for entry in truth.considered if entry["why"] != "paging_read"}
        partial = {f"{at:#x}" for at, flags, _ in found if flags & PARTIAL}
        assert partial == {entry["address"] for entry in truth.considered if entry["why"] == "partial"}
        freed = {f"{at:#x}" for at in on_lists(of)}
        freed |= {address for address in charged if in_free_block(of, int(address, 16))}
        states = {entry["address"]: entry["state"] for entry in truth.ledger["mdls"]}
        assert {address for address in charged if address in freed} == {a for a, state in states.items() if state == "freed_locked"}


def test_the_packets(forged: Forged) -> None:
    """Every packet that describes a standing lock is one the truth tells of, in that state."""
    truth = forged.truth
    of = memory(forged, BITMAP_KERNEL)
    owner = {device.address: driver.module.name for driver in forged.machine.drivers.values() for device in driver.devices}
    told = {entry["address"]: entry for entry in truth.irps}
    firsts = {entry["address"] for entry in truth.ledger["mdls"]} - _followers(of, truth.ledger["mdls"])
    for address in firsts:
        found: set[str] = set()
        for at, count, current, device in packets_of(of, int(address, 16)):
            if f"{at:#x}" not in told:
                # A living process's own requests are not told of one by one.
                assert truth.process
                assert truth.process["alive"]
                continue
            entry = told[f"{at:#x}"]
            assert (entry["stack_count"], entry["current"]) == (count, current)
            assert (entry["state"] == "pending") == (current <= count)
            if current <= count:
                assert owner[device] == entry["driver"]
            found.add(f"{at:#x}")
        # All that the truth tells of are there, but those that were freed (no type any more) or are not captured.
        meant = {e["address"] for e in truth.irps if e["mdl"] == address and e["state"] != "freed"}
        assert found == {at for at in meant if (forged.translate(int(at, 16)) or 0) >> 12 not in forged.missing} or not truth.irps
        if truth.verdict["kind"] == "driver" and truth.scenario not in NO_PENDING and not truth.scenario.startswith(WITHOUT_PACKET):
            assert any(told[at]["state"] == "pending" for at in found)


def _followers(of: Memory, mdls: list[dict[str, object]]) -> set[str]:
    """MDLs that another one's Next leads to."""
    out: set[str] = set()
    for entry in mdls:
        if entry["state"] != "freed_locked":
            following = of.read(int(str(entry["address"]), 16), 8)
            out.add(f"{int.from_bytes(following or b'', 'little'):#x}")
    return out


def words(of: Memory, address: int, count: int) -> tuple[int, ...]:
    data = of.read(address, 8 * count)
    assert data is not None
    return struct.unpack(f"<{count}Q", data)


def test_split_requests(build: int) -> None:
    """The pieces' frames are the whole request's, so that all of them are accounted for; one of them waits or none does."""
    for name, waiting in (("partial_lower", 0), ("partial_pending", 1)):
        for seed in range(3):
            forged = machine(name, build, seed)
            of, truth = memory(forged, BITMAP_KERNEL), forged.truth
            (whole,) = truth.ledger["mdls"]
            frames = words(of, int(whole["address"], 16) + 0x30, whole["pages"])
            states: list[str] = []
            covered: set[int] = set()
            for at, flags, pages in candidates(of, int((truth.process or {})["address"], 16)):
                if flags & PARTIAL:
                    covered |= set(words(of, at + 0x30, pages))
                    states += ["pending" if current <= count else "back" for _, count, current, _ in packets_of(of, at)]
            assert covered == set(frames)
            assert states.count("pending") == waiting
            assert states.count("back") >= 1
            assert (truth.verdict["driver"] == whole["holder"]) == (waiting == 0)


def test_a_packet_in_the_bus_driver_shows_its_maker(build: int) -> None:
    for seed in range(3):
        forged = machine("driver_irp_in_bus", build, seed)
        of, truth = memory(forged, BITMAP_KERNEL), forged.truth
        (told,) = truth.irps
        at, count = int(told["address"], 16), told["stack_count"]
        head = of.read(at, IRP_HEAD)
        assert head is not None
        entry = at + 0x20
        assert struct.unpack_from("<2Q", head, 0x20) == (entry, entry)
        assert struct.unpack_from("<Q", head, 0x98) == struct.unpack_from("<Q", head, 0xC0) == (0,)
        assert head[0x40] == 0
        (completion,) = words(of, at + IRP_HEAD + (count - 1) * LOCATION + 0x38, 1)
        (maker,) = [m for m in forged.machine.modules if m.base <= completion < m.base + m.size]
        assert maker.name == truth.verdict["driver"] == truth.ledger["mdls"][0]["holder"]
        assert told["driver"] in ("usbhub3.sys", "usbxhci.sys")


def test_sizes_wrap() -> None:
    """Size is 16 bits wide: negative as a signed number from 4090 pages on, small again from 8186 on."""
    seen = {}
    for count in (4089, 4090, 8185, 8186, 9000):
        forged = machine(f"pages_{count}")
        (entry,) = forged.truth.ledger["mdls"]
        assert entry["pages"] == count
        seen[count] = struct.unpack("<h", forged.machine.space.read(int(entry["address"], 16) + 8, 2))[0]
    assert seen == {4089: 0x7FF8, 4090: -0x8000, 8185: -8, 8186: 0, 9000: 0x30 + 8 * 9000 - 0x1_0000}


def test_odd_places(build: int) -> None:
    """The MDLs lie where the stories say."""
    embedded, cut, large, hidden, alias = (
        machine(name, build) for name in ("mdl_embedded", "mdl_cut", "mdl_large_page", "mdl_transition", "mdl_alias")
    )
    where = {id(f): int(f.truth.ledger["mdls"][0]["address"], 16) for f in (embedded, cut, large, hidden, alias)}
    assert where[id(embedded)] % 16 == 8
    at = where[id(cut)]
    assert at >> 12 < (at + 0x30) >> 12
    frames = [forged_frame(cut, at + offset) for offset in range(0, 0x3000, 0x1000)]
    assert [b - a for a, b in itertools.pairwise(frames)] != [1, 1]
    kinds = {id(f): next(m.kind for m in f.mappings() if m.va <= where[id(f)] < m.va + m.size) for f in (large, hidden)}
    assert kinds == {id(large): "large", id(hidden): "transition"}
    ((other, one),) = alias.truth.aliases.items()
    assert one == f"{where[id(alias)]:#x}"
    assert forged_frame(alias, int(one, 16)) == forged_frame(alias, int(other, 16))


def forged_frame(forged: Forged, address: int) -> int:
    physical = forged.translate(address)
    assert physical is not None
    return physical >> 12


def test_the_marks_of_a_packets_origin() -> None:
    """What tells an I/O manager's packet from a driver's (facts B.2), read from the file: one row a story."""
    rows = {
        # mode, file, thread, queued to it, status block in the kernel
        "returned_intact": (0, False, False, False, False),
        "device_control_built": (0, False, True, True, True),
        "async_built": (0, False, True, False, True),
        "lookaside_size": (1, True, True, True, False),
        "kernel_requestor": (0, True, True, True, True),
        "maker_in_extension": (0, False, False, False, False),
        "maker_in_data": (0, False, False, False, False),
        "ioring": (1, True, True, None, True),
    }
    for name, (mode, file, thread, queued, kernel) in rows.items():
        for seed, build in enumerate(scenarios.builds_of(name)[-3:]):
            forged = machine(name, build, seed)
            of = memory(forged, BITMAP_KERNEL)
            (told,) = forged.truth.irps
            at = int(told["address"], 16)
            threads, links, original = (words(of, at + offset, 1)[0] for offset in (0x98, 0x20, 0xC0))
            head = of.read(at, IRP_HEAD)
            assert head is not None
            assert (head[0x40], original != 0, threads != 0) == (mode, file, thread), name
            assert (links != at + 0x20) == queued or queued is None, name
            assert (struct.unpack_from("<Q", head, 0x48)[0] >> 47 != 0) == kernel, name
            assert struct.unpack_from("<H", head, 2)[0] >= IRP_HEAD + LOCATION * told["stack_count"]


def test_who_keeps_a_packet(build: int) -> None:
    """Where no completion routine names the maker: the only pointer to the packet lies in what the truth says."""
    for name in ("maker_in_extension", "maker_in_data", "maker_unknown"):
        forged = machine(name, build, 2)
        of, (told,) = memory(forged, BITMAP_KERNEL), forged.truth.irps
        at = int(told["address"], 16)
        own = range(at, at + IRP_HEAD)
        keepers = [hit for hit in of.pointers_to(at) if hit not in own]
        assert len(keepers) == 1
        assert words(of, at + IRP_HEAD + (told["stack_count"] - 1) * LOCATION + 0x38, 1) == (0,)
        extensions = [
            d.driver.module.name
            for driver in forged.machine.drivers.values()
            for d in driver.devices
            if d.extension <= keepers[0] < d.extension + d.extension_size
        ]
        modules = [m.name for m in forged.machine.modules if m.base <= keepers[0] < m.base + m.size]
        assert [*extensions, *modules] == [d["name"] for d in forged.truth.verdict["drivers"]]


def test_an_orphan_had_its_five_minutes(build: int) -> None:
    for seed in range(3):
        forged = machine("orphaned_irp", build, seed)
        of, truth = memory(forged, BITMAP_KERNEL), forged.truth
        (told,) = truth.irps
        head = of.read(int(told["address"], 16), IRP_HEAD)
        assert head is not None
        assert head[0x44] == 1  # Cancel
        assert struct.unpack_from("<Q", head, 0x98) == (0,)
        assert struct.unpack_from("<Q", head, 0xC0)[0]
        exit_time = int((truth.process or {})["address"], 16) + forged.machine.layouts["EPROCESS"].offset("ExitTime")
        assert forged.header.time - words(of, exit_time, 1)[0] > 5 * 60 * 10**7
