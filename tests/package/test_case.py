"""Case: a read-only view of the JSON; and the records it is made of."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockhound as lh
from lockhound.records import frozen, thawed
from lockhound_synth import scenarios

from . import sample

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_the_sample_fits_the_schema(root: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((root / "docs" / "case-1.schema.json").read_text())
    jsonschema.validate(sample.DOCUMENT, schema)
    for kind in ("kernel", "insufficient", "not_applicable"):
        jsonschema.validate(sample.case_of_kind(kind).to_dict(), schema)


def test_the_parts() -> None:
    case = sample.case()
    assert (case.verdict.kind, case.verdict.driver) == ("driver", "leaky.sys")
    assert case.verdict.drivers == (lh.NamedDriver("leaky.sys", "1.2.3.4", 0x5F000000, 0x8000, 37, 0.95, False, False),)
    assert float(case.verdict.confidence) == case.verdict.confidence.score == 0.95
    assert str(case.verdict.confidence) == "0.95 (high)"
    assert (case.verdict.advice, case.verdict.reason) == ("Update leaky.sys.", None)
    assert case.process == lh.CaseProcess(sample.PROCESS, "capture.exe", 4264, 37, 0x1010, 4112, 133238471842580349)
    assert case.process is not None
    assert case.process.exited is not None
    assert case.process.exited.year == 2023
    assert case.current_process == lh.CaseProcess(0xFFFFE00012340040, None, None, None)
    assert (case.bugcheck.code, case.bugcheck.parameters[1]) == (0x76, sample.PROCESS)
    assert (case.ledger.charged, case.ledger.explained, case.ledger.unexplained) == (37, 37, 0)
    assert case.ledger.mdls == (
        lh.Mdl(
            0xFFFFE00012347770,
            37,
            "locked",
            "leaky.sys",
            0x1010,
            4112,
            0x7FF0001000,
            150000,
            0x18B,
            0xFFFFE00012349010,
            "the request is pending in it",
        ),
    )
    assert case.suspects[0].evidence[0]["statement"] == "a packet waits"
    assert case.dump.pages.present == 900
    assert case.absent["current_process.name"].kind == "not_captured"
    for name in ("tool", "considered", "cleared", "chain", "coverage", "unevaluated", "reproduce", "signature"):
        assert thawed(getattr(case, name)) == sample.DOCUMENT[name]
    assert thawed(case.document) == sample.DOCUMENT


def test_fields_of_tomorrow_are_kept() -> None:
    made = sample.document()
    made["verdict"]["mood"] = "grim"
    made["ledger"] |= {"explained_range": [30, 37], "currency": "pages"}
    made["verdict"]["drivers"][0]["signer"] = "nobody"
    made["tomorrow"] = [1]
    case = sample.case(made)
    assert case.ledger.explained_range == (30, 37)
    assert case.document.tomorrow == (1,)
    assert case.to_dict() == made


def test_what_is_not_known_is_none() -> None:
    made = sample.document(advice=None)
    made["process"] = None
    made["ledger"] |= {"charged": None, "unexplained": None, "mdls": []}
    case = sample.case(made)
    assert case.process is None
    assert case.ledger.charged is None
    assert "of ? pages" in repr(case)


def test_it_renders_itself() -> None:
    case = sample.case(text="a <b>\n")
    assert str(case) == case.text() == "a <b>\n"
    assert case.text(color=True) == "\x1b[1ma <b>\n\x1b[0m"
    assert case.text(redact=True) == sample.REDACTED_TEXT
    assert case.text(redact=True, color=True) == f"\x1b[1m{sample.REDACTED_TEXT}\x1b[0m"
    assert (case.html(), case._repr_html_(), case.html(redact=True)) == sample.PAGES[:3]
    assert repr(case) == "<lockhound.Case: driver leaky.sys, confidence 0.95 (high), 37 of 37 pages explained>"
    assert json.loads(case.to_json()) == sample.DOCUMENT
    assert json.loads(case.to_json(indent=2)) == sample.DOCUMENT
    assert "\n" in case.to_json(indent=2)
    assert "capture.exe" not in case.to_json(redact=True)
    assert case.to_dict(redact=True)["dump"]["path"] is None


def test_it_is_a_value() -> None:
    case, same, other = sample.case(), sample.case(), sample.case_of_kind("kernel")
    assert case == same
    assert hash(case) == hash(same)
    assert case != other
    assert case != 1
    again = pickle.loads(pickle.dumps(case))
    assert again == case
    assert again.text(color=True) == case.text(color=True)
    assert again.to_json(redact=True) == case.to_json(redact=True)
    assert (again.html(), again.html(redact=True), again._repr_html_()) == (case.html(), case.html(redact=True), case._repr_html_())
    with pytest.raises(AttributeError):
        case.verdict = other.verdict
    with pytest.raises(AttributeError):
        case.verdict.kind = "kernel"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del case.verdict
    case.to_dict()["verdict"]["kind"] = "kernel"
    assert case.to_dict()["verdict"]["kind"] == "driver"


def test_a_ledger_is_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    made = sample.document()
    made["ledger"]["mdls"].append({"address": "0xffffffffffffffff", "pages": 1, "state": "unknown", "holder": None})
    frame = sample.case(made).ledger.to_frame()
    assert list(frame.columns) == [field.name for field in dataclasses.fields(lh.Mdl)]
    assert frame["address"].tolist() == [0xFFFFE00012347770, 0xFFFFFFFFFFFFFFFF]
    assert frame["irp"].tolist() == [0xFFFFE00012349010, pandas.NA]
    assert frame["holder"].tolist()[0] == "leaky.sys"
    assert frame["holder"].isna().tolist() == [False, True]
    empty = lh.Ledger(None, 0, None, None, ()).to_frame()
    assert list(empty.columns) == list(frame.columns)
    assert empty.dtypes.tolist() == frame.dtypes.tolist()
    assert [str(kind) for kind in frame.dtypes[:5]] == ["uint64", "uint64", "str", "str", "UInt64"]


def test_an_audit_is_a_frame() -> None:
    """A number that is not known of one process makes no floats of the others."""
    pandas = pytest.importorskip("pandas")
    with lh.open(scenarios.build("unlock_shared", build=23456, seed=0).to_bytes(6)) as dump:
        audit = dump.audit(progress=False)
    frame = audit.to_frame()
    assert list(frame.columns) == ["address", "name", "pid", "state", "charged", "explained", "note", "mdls", "tracked", "holders"]
    kinds = ["uint64", "str", "UInt64", "str", "UInt64", "uint64", "str", "uint64", "UInt64", "str"]
    assert [str(kind) for kind in frame.dtypes] == kinds
    charged = [None if value is pandas.NA else value for value in frame["charged"]]
    assert charged == [row.charged for row in audit.processes]
    assert None in charged
    assert frame["pid"].tolist() == [row.pid for row in audit.processes]
    assert frame["mdls"].tolist() == [len(row.mdls) for row in audit.processes]
    tracked = [None if value is pandas.NA else value for value in frame["tracked"]]
    assert tracked == [row.trackers["pages"] if row.trackers else None for row in audit.processes]
    assert tracked == [None] * len(tracked)


def test_what_lock_trackers_count_is_a_column() -> None:
    pytest.importorskip("pandas")
    with lh.open(scenarios.build("tracked_leak", build=19041, seed=0).to_bytes(6)) as dump:
        audit = dump.audit(progress=False)
    column = audit.to_frame()["tracked"]
    assert str(column.dtype) == "UInt64"
    assert any(row.trackers and row.trackers["pages"] > 0 for row in audit.processes)
    for value, row in zip(column, audit.processes, strict=True):
        assert row.trackers is None or value == row.trackers["pages"]


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lockhound\.case/2"):
        sample.case(sample.document() | {"schema": "lockhound.case/2"})
    with pytest.raises(ValueError, match="four"):
        lh.Case(json.dumps(sample.DOCUMENT), "{}", "")


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_records_are_json_that_does_not_change(fields: dict[str, Any]) -> None:
    record = lh.Record(fields)
    assert thawed(record) == fields
    assert record == fields
    assert record == frozen(fields)
    assert hash(record) == hash(frozen(fields))
    assert pickle.loads(pickle.dumps(record)) == record
    with pytest.raises(AttributeError):
        record.x = 1


def test_records_tell_what_they_have() -> None:
    record = lh.Record({"name": "a", "items": [1]})
    assert (record.name, record["items"]) == ("a", (1,))
    with pytest.raises(AttributeError, match="no field 'nom'; there is name, items"):
        _ = record.nom
    assert {"name"} <= set(dir(record))
    with pytest.raises(TypeError):
        record["name"] = "b"
