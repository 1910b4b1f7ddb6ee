"""The case as HTML: complete in itself, escaped, readable in light and dark, and the same facts as the JSON."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import lockhound as lh
from lockhound_synth import scenarios

TAGS = frozenset("html head meta title style body div p code span b h2 h3 ul li table thead tbody tr th td details summary".split())
ATTRIBUTES = frozenset({"style", "lang", "charset", "http-equiv", "content", "name", "class"})
VOID = frozenset({"meta"})
HOSTILE = "<script>alert('1')</script><img src=x onerror=\"y\">&amp;\u202egnp.dmp"


class Reader(HTMLParser):
    """Reads a page, and fails at what has no place in one of ours."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[str] = []
        self.style = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.fixture(scope="module", params=["pending_irp", "two_drivers", "mdl_absent", "page_fault"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> lh.Case:

    path = tmp_path_factory.mktemp("page") / "MEMORY.DMP"
    scenarios.build(request.param).write(path)
    return lh.analyze(path)


def test_it_says_what_the_json_says(case: lh.Case) -> None:
    for page in (case.html(), case._repr_html_()):
        text = Reader(page).text
        assert case.verdict.sentence in text
        assert (case.verdict.driver or case.verdict.kind) in text
        for mdl in case.ledger.mdls:
            assert f"{mdl.address:#x}" in text
        for step in case.chain:
            assert step.address in text
            assert step.statement in text
        for command in case.reproduce:
            assert command.command in text
        for rule in case.unevaluated:
            assert rule.needs in text


def test_nothing_is_loaded_and_nothing_runs(case: lh.Case) -> None:
    for page in (case.html(), case._repr_html_()):
        assert not re.search(r"(?i)javascript:|https?:|url\(|@import|<script|<link|<img|\son\w+=", page)
    assert "default-src 'none'" in case.html()
    assert case.html().startswith("<!DOCTYPE html>\n")
    assert case._repr_html_().startswith('<div class="lockhound">')
    assert case._repr_html_().rstrip().endswith("</div>")


def test_redacted(case: lh.Case) -> None:
    page = case.html(redact=True)
    Reader(page)
    assert case.process is None or (case.process.name and case.process.name in case.html() and case.process.name not in page)
    assert "MEMORY.DMP" in case.html()
    assert "MEMORY.DMP" not in page


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    path = folder / HOSTILE.replace("/", "")
    scenarios.build("pending_irp").write(path)
    case = lh.analyze(path)
    for page in (case.html(), case._repr_html_()):
        assert path.name.replace("\u202e", "\\u202e") in Reader(page).text
        assert "\u202e" not in page


def luminance(color: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_color_is_readable_on_its_ground(case: lh.Case) -> None:
    assert (round(contrast("#ffffff", "#000000"), 2), contrast("#123456", "#123456")) == (21.0, 1.0)
    style = Reader(case.html()).style
    sets = [
        dict(re.findall(r"--lh-(\w+):(?:var\([\w-]+,)?(#[0-9a-f]{6})", block))
        for block in re.findall(r"{([^{}]*--lh-ground:[^{}]*)}", style)
    ]
    assert len(sets) == 4
    assert luminance(sets[0]["ground"]) > 0.5 > luminance(sets[1]["ground"])
    assert (sets[2], sets[3]) == (sets[0], sets[1])
    for colors in sets:
        for name in ("text", "dim", "named", "open", "whole"):
            for ground in ("ground", "soft"):
                assert contrast(colors[name], colors[ground]) >= 4.5, (name, colors)


def test_rows_and_tables_display(tmp_path: Path) -> None:
    path = tmp_path / "MEMORY.DMP"
    scenarios.build("pending_irp").write(path)
    with lh.open(path) as dump:
        kernel, value = dump.kernel(), dump.bugcheck.parameters[1]
        case = dump.investigate()
        hits = dump.search([value], align=1)
        shown = {
            dump: "0x76 PROCESS_HAS_LOCKED_PAGES",
            dump.info: "kernel-bitmap",
            dump.bugcheck: "PROCESS_HAS_LOCKED_PAGES",
            kernel.process(value): f"{value:#x}",
            kernel.modules()[0]: kernel.modules()[0].name,
            kernel.walk(value): "physical",
            hits: f"{hits[0].physical:#x}",
            hits[0]: f"{value:#x}",
            hits[:0]: "virtual_state",
            dump.runs(): f"{len(dump.runs()) - 20} more",
            kernel.map_physical(hits.physical[:2]): f"{hits.virtual[0]:#x}" if hits.virtual else "",
            kernel.read_many([value, 0], 2): kernel.read(value, 2).hex(" "),
            case.verdict: case.verdict.sentence,
            case.verdict.confidence: case.verdict.confidence.factors[0].statement,
            case.verdict.drivers[0]: case.verdict.driver,
            case.ledger: f"{case.ledger.mdls[0].address:#x}",
            case.ledger.mdls[0]: f"{case.ledger.mdls[0].irp:#x}",
            case.process: "locked_pages",
            case.dump: "MEMORY.DMP",
            case.chain[1]: case.chain[1].statement,
        }
    for thing, part in shown.items():
        page = thing._repr_html_()  # type: ignore[union-attr]
        assert str(part) in Reader(page).text, thing
        assert "\n" not in repr(thing)
    assert "None" not in Reader(kernel_less(case)).text


def kernel_less(case: lh.Case) -> str:
    """A row with a field that is not known."""
    return lh.Mdl(1, 2, "locked", None)._repr_html_() + lh.Record({"a": None})._repr_html_() + case.verdict._repr_html_()


def test_rows_escape_what_is_hostile() -> None:
    row = lh.Mdl(1, 2, "<b>\x1b[31m\u202e</b>", "a&b")
    for page in (
        row._repr_html_(),
        lh.Ledger(1, 2, 0, None, (row,))._repr_html_(),
        lh.Record({"<i>": "<b>\x1b[31m\u202e</b>"})._repr_html_(),
    ):
        assert "<b>\\x1b[31m\\u202e</b>" in Reader(page).text
        assert not {"\x1b", "\u202e"} & set(page)
        assert "<i>" not in page
