"""Dump and Kernel against what the forge says is there."""

from __future__ import annotations

import dataclasses
import io
import mmap
import multiprocessing
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lockhound as lh
from lockhound import rows
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged

PAGE = 4096


def test_a_dump_tells_what_it_is(dump: lh.Dump, path: Path) -> None:
    info = dump.info
    assert (info.format, info.machine_name, info.build) == ("kernel-bitmap", "x64", 19041)
    assert info.file_size == path.stat().st_size
    assert info.share is not None
    assert 0 < info.share < 1
    assert dump.bugcheck.code == 0x76
    assert dump.bugcheck.name == "PROCESS_HAS_LOCKED_PAGES"
    assert dump.bugcheck.meanings[1]
    line = repr(dump)
    assert "\n" not in line
    for part in ("kernel-bitmap", "build 19041", "0x76 PROCESS_HAS_LOCKED_PAGES", "of RAM present"):
        assert part in line
    assert dump.path == str(path)


def test_coverage_without_a_case(dump: lh.Dump) -> None:
    case = dump.investigate(progress=False).coverage
    coverage = dump.coverage
    assert coverage["regions"]["images"] == case["regions"]["images"]
    assert coverage["statement"]
    assert "search" not in coverage
    text = dump.kernel().info_text(color=True)
    for part in ("memory 0x", "stopped ", "processor", "layouts: ", "\x1b["):
        assert part in text
    process = dump.kernel().process(dump.bugcheck.parameters[1]).name
    assert process is not None
    assert process in text
    assert process not in dump.kernel().info_text(redact=True)


@pytest.mark.parametrize("way", ["str", "bytes", "memoryview", "mmap", "file", "stream", "positioned"])
def test_every_way_to_open(way: str, path: Path) -> None:
    with lh.open(path) as dump:
        wanted = dump.bugcheck.parameters[1]
        expected = (dump.info, dump.search([wanted]), dump.kernel().modules())
    content = path.read_bytes()
    with open(path, "rb") as file:
        sources = {
            "str": lambda: lh.open(str(path)),
            "bytes": lambda: lh.open(content),
            "memoryview": lambda: lh.open(memoryview(content)),
            "mmap": lambda: lh.open(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)),
            "file": lambda: lh.open(file),
            "stream": lambda: lh.open(io.BytesIO(content)),
            "positioned": lambda: lh.open(path, positioned=True),
        }
        with sources[way]() as dump:
            assert (dump.info, dump.search([wanted]), dump.kernel().modules()) == expected


def test_a_buffer_is_released_when_the_last_view_ends(path: Path) -> None:
    content = bytearray(path.read_bytes())
    dump = lh.open(content)
    hits = dump.search([dump.bugcheck.parameters[1]])
    dump.close()
    with pytest.raises(BufferError):
        content.append(0)
    assert hits[0].value == dump.bugcheck.parameters[1]
    del hits
    content.append(0)


def test_what_a_reader_raises_reaches_the_caller(path: Path) -> None:
    class Failing(io.BytesIO):
        broken = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.broken:
                raise LookupError("the network is gone")
            return super().read(size)

    file = Failing(path.read_bytes())
    dump = lh.open(file)
    first = dump.runs()[0].pfn * PAGE
    expected = dump.read(first, 8)
    file.broken = True
    with pytest.raises(LookupError, match="the network is gone"):
        dump.read(first, 8)
    with pytest.raises(LookupError, match="the network is gone"):
        dump.search([1])
    with pytest.raises(LookupError, match="the network is gone"):
        dump.investigate()
    file.broken = False
    assert dump.read(first, 8) == expected
    file.truncate(10)
    with pytest.raises((EOFError, lh.LockhoundError)):
        dump.read(first, 8)


def test_a_file_object_whose_seek_returns_nothing(path: Path) -> None:
    class Plain:
        """As many wrappers are."""

        def __init__(self) -> None:
            self.file = io.BytesIO(path.read_bytes())

        def seek(self, offset: int, whence: int = 0) -> None:
            self.file.seek(offset, whence)

        def tell(self) -> int:
            return self.file.tell()

        def read(self, size: int) -> bytes:
            return self.file.read(size)

    with lh.open(Plain()) as dump, lh.open(path) as wanted:
        assert dump.info == wanted.info


class FailingOnce(io.BytesIO):
    """A file that fails at one read and works again."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads, self.fails_at = 0, -1

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads == self.fails_at:
            raise LookupError(self.reads)
        return super().read(size)


def test_no_failure_of_a_reader_is_swallowed(path: Path) -> None:
    """Wherever it happens: a case that was built over an unreadable page must not look like one that saw everything."""
    content = path.read_bytes()
    whole = FailingOnce(content)
    lh.open(whole).investigate(threads=1)
    assert whole.reads > 500
    for fails_at in (*range(1, 10), *range(10, whole.reads + 1, 31), whole.reads):
        file = FailingOnce(content)
        file.fails_at = fails_at
        with pytest.raises(LookupError, match=f"^{fails_at}$"):
            lh.open(file).investigate(threads=1)


QUESTIONS: dict[str, Callable[[lh.Kernel, int], object]] = {
    "read": lambda kernel, address: kernel.read(address, 8),
    "read_many": lambda kernel, address: kernel.read_many([address], 8),
    "walk": lambda kernel, address: kernel.walk(address),
    "process": lambda kernel, address: kernel.process(address),
    "processes": lambda kernel, _address: kernel.processes(),
    "identify": lambda kernel, address: kernel.identify(address),
    "stack": lambda kernel, _address: kernel.stack(),
    "map_physical": lambda kernel, _address: kernel.map_physical([PAGE]),
    "info_json": lambda kernel, _address: kernel.info_json(),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_failed_read_is_no_absence_and_stays_with_its_question(path: Path, question: str) -> None:
    """Also where a page table can't be read: that is no table that is missing from the dump."""
    file = FailingOnce(path.read_bytes())
    with lh.open(file) as dump:
        kernel, address = dump.kernel(), dump.bugcheck.parameters[1]
        file.fails_at = file.reads + 1
        with pytest.raises(LookupError):
            QUESTIONS[question](kernel, address)
        assert len(dump.search([address])) > 0


def test_answers_survive_close_and_pickle(path: Path) -> None:
    with lh.open(path) as dump:
        kernel = dump.kernel()
        address = dump.bugcheck.parameters[1]
        answers = [
            dump.info,
            dump.bugcheck,
            dump.runs(),
            dump.search([address]),
            kernel.process(address),
            kernel.walk(address),
            kernel.modules(),
            kernel.read_many([address, 0], 16),
            kernel.map_physical([0x1000, 0x2000]),
        ]
    for answer in answers:
        assert pickle.loads(pickle.dumps(answer)) == answer
        assert hash(answer) == hash(pickle.loads(pickle.dumps(answer)))
        assert "0x" in repr(answer) or repr(answer).startswith("<lockhound.")


def test_a_dump_pickles_by_its_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with lh.open(path.name) as dump, lh.open(path, positioned=True) as other:
        value = dump.bugcheck.parameters[1]
        expected = dump.search([value])
        kept = pickle.dumps((dump, dump.kernel(), other))
        monkeypatch.chdir("/")
        again, kernel, positioned = pickle.loads(kept)
        assert (again.path, again.info, again.closed) == (path.name, dump.info, False)
        assert again.search([value]) == positioned.search([value]) == expected
        assert kernel is again.kernel()
        assert kernel.process(value) == dump.kernel().process(value)
        assert (positioned.path, positioned._again) == (str(path), (str(path), True))
    assert pickle.loads(kept)[0].info == dump.info
    again.close()
    with pytest.raises(lh.ClosedError, match="closed"):
        pickle.dumps(again)


def test_what_can_not_be_found_again_does_not_pickle(dump: lh.Dump, path: Path) -> None:
    with path.open("rb") as file:
        for handle, why in (
            (lh.open(path.read_bytes()), "opened from memory or a file object"),
            (lh.open(file), "opened from memory or a file object"),
            (dump.without_pages([1]), "seen through an overlay"),
            (dump.with_pages({1: bytes(4096)}).kernel(), "seen through an overlay"),
            (lh.Cancel(), "Cancel"),
        ):
            with pytest.raises(TypeError, match=why):
                pickle.dumps(handle)


def test_another_file_in_its_place_is_seen(forged: Forged, tmp_path: Path) -> None:
    path = tmp_path / "a.dmp"
    forged.write(path, 6)
    with lh.open(path) as dump:
        kept = pickle.dumps(dump)
    scenarios.build("pending_irp", build=22000, seed=2).write(path, 6)
    with pytest.raises(lh.FormatError, match="not the dump that was pickled"):
        pickle.loads(kept)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(kept)


def test_a_closed_dump_takes_no_question(path: Path) -> None:
    dump = lh.open(path)
    kernel = dump.kernel()
    dump.close()
    dump.close()
    assert dump.closed
    assert "closed" in repr(dump)
    assert dump.info.build == 19041
    questions = (
        lambda: dump.read(0, 1),
        lambda: dump.runs(),
        lambda: dump.search([1]),
        lambda: dump.kernel(),
        lambda: dump.investigate(),
        lambda: dump.without_pages([1]),
        lambda: dump.with_pages({1: bytes(PAGE)}),
        lambda: kernel.read(0, 1),
        lambda: kernel.read_many([1], 1),
        lambda: kernel.walk(1),
        lambda: kernel.process(1),
        lambda: kernel.modules(),
        lambda: kernel.map_physical([1]),
        lambda: kernel.investigate(),
        lambda: kernel.info_json(),
    )
    for question in questions:
        with pytest.raises(lh.ClosedError):
            question()


def test_leaving_with_keeps_the_error_of_the_block(path: Path) -> None:
    def block() -> None:
        with lh.open(path) as dump:
            dump.close()
            raise KeyError(dump)

    with pytest.raises(KeyError) as caught:
        block()
    assert caught.value.args[0].closed


def test_a_kernel_is_made_once_and_keeps_its_dump(path: Path) -> None:
    dump = lh.open(path)
    kernel = dump.kernel()
    assert dump.kernel() is kernel
    assert kernel.dump is dump
    del dump
    assert kernel.modules()[0].name == "ntoskrnl.exe"


def test_processes_and_modules(dump: lh.Dump, forged: Forged) -> None:
    kernel = dump.kernel()
    address, locked = dump.bugcheck.parameters[1:3]
    process = kernel.process(address)
    assert (process.address, process.locked_pages, process.absent) == (address, locked, None)
    assert process.exited is not None
    assert process.exited < datetime(2100, 1, 1, tzinfo=UTC)
    modules = kernel.modules()
    assert [module.name for module in modules][:2] == ["ntoskrnl.exe", "hal.dll"]
    assert modules[0].base in modules[0]
    assert modules[0].base - 1 not in modules[0]
    truth = {module["name"]: int(module["base"], 16) for module in forged.truth.modules}
    assert {module.name: module.base for module in modules if not module.unloaded} == truth


def test_the_case_is_the_truth(path: Path, forged: Forged) -> None:
    case = lh.analyze(path)
    truth = forged.truth
    assert (case.verdict.kind, case.verdict.driver) == ("driver", truth.verdict["driver"])
    assert (case.ledger.charged, case.ledger.explained) == (truth.ledger["charged"], truth.ledger["explained"])
    assert [(f"{mdl.address:#x}", mdl.pages, mdl.holder) for mdl in case.ledger.mdls] == [
        (mdl["address"], mdl["pages"], mdl["holder"]) for mdl in truth.ledger["mdls"]
    ]
    assert case.process is not None
    assert truth.process is not None
    assert f"{case.process.address:#x}" == truth.process["address"]
    assert case.process.exited is not None
    assert case.dump.path == str(path)
    assert str(path) not in case.to_json(redact=True) + case.text(redact=True)
    again = pickle.loads(pickle.dumps(case))
    assert (again, str(again), hash(again)) == (case, str(case), hash(case))
    with lh.open(path) as dump:
        assert dump.investigate(threads=2) == dump.kernel().investigate(threads=1) == case


def test_what_is_missing_of_a_process_is_none(dump: lh.Dump) -> None:
    address = dump.bugcheck.parameters[1]
    walk = dump.kernel().walk(address)
    assert walk.physical is not None
    with dump.without_pages([walk.physical // PAGE]) as holed, pytest.raises(lh.AbsentError) as caught:
        holed.kernel().process(address)
    assert caught.value.absence == "not_captured"
    record = dict.fromkeys(("name", "pid", "locked_pages", "directory_table_base", "flags", "exit_time"))
    absent = rows.Process.of({"address": 5, **record, "absence": "not_captured", "absent_address": 0x1000})
    assert absent.absent == lh.Absent("not_captured", 0x1000)
    assert rows.Process.of({"address": 5, **record, "absence": "layout", "absent_address": 0}).absent == lh.Absent("layout", None)


def test_half_a_process(dump: lh.Dump) -> None:
    """A copy of the object across two pages of an image, and the second page taken away."""
    kernel = dump.kernel()
    head, whole = 0x450, 0xA40  # the process id of this build stands in front of 0x450, the name behind
    content = kernel.read(dump.bugcheck.parameters[1], whole)
    address = kernel.modules()[2].base + 2 * PAGE - head
    first, second = ((kernel.walk(at).physical or 0) // PAGE for at in (address, address + head))
    pages = dump.read(first * PAGE, PAGE) + dump.read(second * PAGE, PAGE)
    pages = pages[: PAGE - head] + content + pages[PAGE - head + whole :]
    copied = dump.with_pages({first: pages[:PAGE], second: pages[PAGE:]})
    original = kernel.process(dump.bugcheck.parameters[1])
    assert copied.kernel().process(address) == dataclasses.replace(original, address=address)
    half = copied.without_pages([second]).kernel().process(address)
    assert (half.pid, half.directory_table_base) == (original.pid, original.directory_table_base)
    assert (half.name, half.locked_pages, half.flags, half.exit_time) == (None, None, None, None)
    assert half.exited is None
    assert half.absent is not None
    assert half.absent.kind == "not_captured"
    assert address + head <= (half.absent.address or 0) < address + whole


def test_walks(dump: lh.Dump) -> None:
    kernel = dump.kernel()
    address = dump.bugcheck.parameters[1]
    walk = kernel.walk(address)
    assert walk.absence is None
    assert walk.physical is not None
    assert len(walk.entries) == len(walk.entry_addresses) == 4
    assert dump.read(walk.physical, 16) == kernel.read(address, 16)
    for entry, at in zip(walk.entries, walk.entry_addresses, strict=True):
        assert int.from_bytes(dump.read(at, 8), "little") == entry
    lost = kernel.walk(1 << 62)
    assert (lost.absence, lost.physical, lost.entries) == ("noncanonical", None, ())
    with dump.without_pages([walk.entry_addresses[3] // PAGE]) as holed:
        cut = holed.kernel().walk(address)
        assert (cut.absence, cut.level, cut.physical) == ("table", 1, None)


def test_reading_many(dump: lh.Dump) -> None:
    kernel = dump.kernel()
    module = kernel.modules()[0]
    addresses = [module.base, 1 << 62, module.base + PAGE, 0x10]
    reads = kernel.read_many(addresses, 2)
    assert len(reads) == 4
    assert reads[0] == b"MZ"
    assert reads[1] is None
    assert lh.Absence(reads.absences[1]) is lh.Absence.NONCANONICAL
    assert reads.absences[0] == lh.Absence.PRESENT
    assert len(reads.data) == 8
    assert reads.rows == tuple(reads)
    assert reads[::2].rows == (reads[0], reads[2])
    empty = kernel.read_many([], 8)
    assert (len(empty), empty.data) == (0, b"")


def test_the_reverse_map(dump: lh.Dump) -> None:
    kernel = dump.kernel()
    hits = dump.search([dump.bugcheck.parameters[1]])
    mapped = kernel.map_physical(hits.physical)
    assert mapped.virtual == hits.virtual
    assert list(mapped) == [hit.virtual for hit in hits]
    unmapped = kernel.map_physical([(1 << 51)])
    assert unmapped[0] is None
    assert unmapped.state[0] in (1, 2)


def test_overlays(dump: lh.Dump) -> None:
    pfn = dump.runs()[0].pfn
    page = dump.read(pfn * PAGE, PAGE)
    other = bytes(255 - byte for byte in page)
    with dump.with_pages({pfn: other}) as changed:
        assert changed.read(pfn * PAGE, PAGE) == other
        assert changed.path == dump.path
    holed = dump.without_pages([pfn])
    assert holed.info.pages_present == dump.info.pages_present - 1
    with pytest.raises(lh.AbsentError):
        holed.read(pfn * PAGE, 1)
    dump.close()
    with pytest.raises(lh.AbsentError):
        holed.read(pfn * PAGE, 1)
    with pytest.raises(ValueError, match="4096"):
        holed.with_pages({pfn: b"short"})


def test_hits_without_a_kernel_have_no_virtual_address(dump: lh.Dump) -> None:
    hits = lh.Hits(*dump._raw.search(None, [dump.bugcheck.parameters[1]], [], None, 8, None, None, None, None, None))
    assert hits.virtual is None
    assert hits.virtual_state is None
    assert (hits[0].virtual, hits[0].virtual_state) == (None, "unknown")
    assert pickle.loads(pickle.dumps(hits[:2])) == hits[:2]


def test_names_of_absences_are_the_librarys() -> None:
    for absence in lh.Absence:
        assert lh._lockhound.absence_name(absence) == absence.name.lower()


def test_threads_read_at_once_while_one_closes(path: Path) -> None:
    dump = lh.open(path)
    kernel = dump.kernel()
    address = dump.bugcheck.parameters[1]
    expected = kernel.read(address, 64)
    started = threading.Barrier(5)
    outcomes: list[str] = []

    def ask() -> None:
        started.wait()
        try:
            while True:
                assert kernel.read(address, 64) == expected
                assert len(dump.search([address], threads=2)) > 3
        except lh.ClosedError:
            outcomes.append("closed")
        except BaseException as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    for _ in range(50):
        kernel.read(address, 64)
    dump.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["closed"] * 4


class Waiting(io.BytesIO):
    """A file whose reads wait when they are told to."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.go, self.waits = threading.Event(), threading.Event()
        self.go.set()

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.go.is_set():
            self.waits.set()
            self.go.wait()
        return super().read(size)


def test_the_last_running_call_frees_the_handle(path: Path) -> None:
    file = Waiting(path.read_bytes())
    alive = weakref.ref(file)
    dump = lh.open(file)
    first = dump.runs()[0].pfn * PAGE
    expected = dump.read(first, 64)
    answers: list[bytes] = []
    file.go.clear()
    thread = threading.Thread(target=lambda: answers.append(dump.read(first, 64)))
    thread.start()
    file.waits.wait()
    dump.close()
    with pytest.raises(lh.ClosedError):
        dump.read(first, 64)
    file.go.set()
    thread.join()
    assert answers == [expected]
    del file
    assert alive() is None


def _count_hits(path: str) -> int:
    with lh.open(path) as dump:
        return len(dump.search([dump.bugcheck.parameters[1]]))


def _hits_in(dump: lh.Dump) -> int:
    return len(dump.search([dump.bugcheck.parameters[1]], threads=2))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_dump_in_a_pool(path: Path, method: str) -> None:
    with lh.open(path) as dump:
        expected = _hits_in(dump)
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(_hits_in, [dump] * 3) == [expected] * 3


def test_a_child_goes_on_with_the_handles(path: Path) -> None:
    """They were open, and used by several threads, before the fork; both sides go on."""
    with lh.open(path) as dump:
        kernel, value = dump.kernel(), dump.bugcheck.parameters[1]
        expected = dump.search([value], threads=2), kernel.process(value), dump.investigate(threads=2)
        child = os.fork()
        if child == 0:
            same = (dump.search([value], threads=2), kernel.process(value), dump.investigate(threads=2)) == expected
            dump.close()
            os._exit(0 if same and dump.closed else 1)
        assert (dump.search([value], threads=2), kernel.process(value), dump.investigate(threads=2)) == expected
        assert os.waitpid(child, 0)[1] == 0


def test_fork_between_calls(path: Path) -> None:
    expected = _count_hits(str(path))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_count_hits, [str(path)] * 4) == [expected] * 4
