"""The exceptions: their families, their attributes, their way through pickle; and what the binding makes of a status."""

from __future__ import annotations

import errno
import mmap
import pickle
from pathlib import Path

import pytest

import lockhound as lh
from lockhound import errors

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.LockhoundError)]


def test_each_is_a_lockhound_error_and_what_else_it_is() -> None:
    assert len(ALL) == 15
    assert issubclass(lh.DeadlineExceeded, TimeoutError)
    assert issubclass(lh.IOFailure, OSError)
    assert issubclass(lh.ClosedError, ValueError)
    assert issubclass(lh.ArgumentError, ValueError)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_pickles_with_its_facts(kind: type[lh.LockhoundError]) -> None:
    error = kind("what: why", code="x", field="PfnCount", offset=12, address=1 << 63, absence="table", level=2, partial=b"ab")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.__dict__ == error.__dict__
    assert (str(again), again.args) == ("what: why", ("what: why",))
    assert (again.field, again.offset, again.address, again.absence, again.level, again.partial) == (
        "PfnCount",
        12,
        1 << 63,
        "table",
        2,
        b"ab",
    )


def test_attributes_that_do_not_apply_are_none() -> None:
    error = lh.FormatError("x")
    assert {error.code, error.field, error.offset, error.address, error.absence, error.level, error.partial} == {None}
    assert lh.ClosedError("x").code == "closed"


@pytest.mark.parametrize(
    ("number", "builtin"),
    [
        (errno.ENOENT, FileNotFoundError),
        (errno.EACCES, PermissionError),
        (errno.EISDIR, IsADirectoryError),
        (errno.EIO, OSError),
    ],
)
def test_an_io_failure_is_the_class_of_its_errno(number: int, builtin: type[OSError]) -> None:
    error = errors.IOFailure("a.dmp: refused", os_error=number, filename="a.dmp", code="io")
    assert isinstance(error, builtin)
    assert (error.errno, error.filename, str(error)) == (number, "a.dmp", "a.dmp: refused")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.errno, again.filename, again.code, str(again)) == (number, "a.dmp", "io", "a.dmp: refused")


def test_a_missing_file(tmp_path: Path) -> None:
    missing = tmp_path / "none.dmp"
    with pytest.raises(FileNotFoundError) as caught:
        lh.open(missing)
    assert isinstance(caught.value, lh.IOFailure)
    assert (caught.value.errno, caught.value.filename, caught.value.code) == (errno.ENOENT, str(missing), "io")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        lh.open(tmp_path)


def test_a_file_that_is_no_dump(tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_bytes(b"Dear Sir or Madam, " * 1000)
    with pytest.raises(lh.FormatError) as caught:
        lh.open(other)
    assert caught.value.code == "format"
    assert caught.value.field
    assert caught.value.offset == 0


@pytest.mark.parametrize("content", [b"", b"P", b"PAGEDU64", b"PAGEDU64" + bytes(5000)])
def test_a_stump(content: bytes) -> None:
    with pytest.raises(lh.LockhoundError):
        lh.open(content)


def test_a_known_other_format() -> None:
    with pytest.raises(lh.UnsupportedError, match=r"(?i)elf"):
        lh.open(b"\x7fELF\x02\x01\x01" + bytes(9000))


def test_an_absence_has_all_its_facts(dump: lh.Dump) -> None:
    last = dump.runs()[-1]
    end = (last.pfn + last.count) * 4096
    with pytest.raises(lh.AbsentError) as caught:
        dump.read(end - 8, 4096)
    assert caught.value.code == "absent"
    assert caught.value.absence in ("not_captured", "not_ram")
    assert caught.value.address == end
    assert caught.value.partial == dump.read(end - 8, 8)
    with pytest.raises(lh.AbsentError) as caught:
        dump.kernel().read(1 << 62, 1)
    assert caught.value.absence == "noncanonical"


def test_not_a_process(dump: lh.Dump) -> None:
    with pytest.raises(lh.ArgumentError) as caught:
        dump.kernel().process(dump.info.loaded_module_list)
    assert caught.value.code == "invalid_argument"


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        lh.open("a\0b")


def test_other_things_are_no_dump() -> None:
    with pytest.raises(TypeError, match="not int"):
        lh.open(7)


def test_a_mapping_can_be_closed_again_after_a_failure() -> None:
    with mmap.mmap(-1, 8192) as mapping, pytest.raises(lh.FormatError):
        lh.open(mapping)
