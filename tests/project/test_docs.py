"""Every example in the README and in docs runs, every link leads somewhere, and the two commands stand where they must."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from lockhound_synth import scenarios
from tests.conftest import ROOT
from tests.project import documents

DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forged") / "MEMORY.DMP"
    scenarios.build("pending_irp").write(path)
    return path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_run(root: Path, dump: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "MEMORY.DMP").write_bytes(dump.read_bytes())
    assert list(documents.run((root / name).read_text(), tmp_path)) == []


def type_errors(root: Path, texts: dict[str, str], folder: Path) -> list[str]:
    """What mypy --strict has to say about the examples of documents, with document and line."""
    for name, text in texts.items():
        (folder / f"{re.sub('[^a-z0-9]', '_', name.lower())}.py").write_text(documents.module(text))
    # What an example says on a line of its own, to show its value, is for mypy an expression without effect, which it lets pass.
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",  # one of its own: the modules of another run have the same names
        folder / ".cache",
        "--config-file",
        root / ".mypy.ini",
        folder,
    ]
    environment = {**os.environ, "MYPYPATH": str(root / "python")}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_examples_have_types(root: Path, tmp_path: Path) -> None:
    texts = {name: (root / name).read_text() for name in DOCUMENTS}
    wrong = "```python\nimport lockhound as lh\n\n\ncase = lh.analyze(5)\n```\n```pycon\n>>> case.verdict.drivr\n```\n"
    found = type_errors(root, {**texts, "wrong": wrong}, tmp_path)
    assert [re.sub("^.*/", "", line).split(" error")[0] for line in found if "error" in line] == ["wrong.py:5:", "wrong.py:8:"], found


def test_there_are_examples(root: Path) -> None:
    languages = [block.language for name in DOCUMENTS for block in documents.blocks((root / name).read_text())]
    assert min(languages.count("python"), languages.count("console")) >= 2


FAILING = [
    ("```python\nx = 1\nassert x == 2\n```\n", "line 3: AssertionError"),
    ("```pycon\n>>> 1 + 1\n3\n```\n", "Expected:"),
    ("```console\n$ echo a\nb\n```\n", "printed 'a"),
    ("```console\n$ echo a\n```\n", "printed 'a"),
    ("```console\n$ false\n```\n", "ended with 1"),
    ("```console\n$ sh -c 'exit 4'\n$ echo $?\n3\n```\n", "printed '4"),
    ("```console\n$ exit 0\n```\n", "the shell stopped"),
    ("```console\nnothing\n```\n", "no command"),
    ("```ruby\nx\n```\n", "nobody runs blocks in ruby"),
    ("```\nx\n```\n", "nobody runs blocks in no language"),
]


@pytest.mark.parametrize(("text", "expected"), FAILING)
def test_wrong_example_is_seen(tmp_path: Path, text: str, expected: str) -> None:
    found = list(documents.run(text, tmp_path))
    assert len(found) == 1
    assert expected in found[0]


GOOD = [
    "```python\nx = 1\n```\n```python\nassert x == 1\n```\n",
    "```pycon\n>>> y = 2\n```\n```python\nassert y == 2\n```\n```pycon\n>>> y\n2\n```\n",
    "```pycon\n>>> list(range(20))\n[0, 1, ..., 19]\n```\n",
    "```console\n$ echo a b c\na ... c\n$ sh -c 'echo x; exit 4'\nx\n$ echo $?\n4\n```\n",
    "```console\n$ echo a > file\n```\n```console\n$ cat file\na\n```\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_right_example_passes(tmp_path: Path, text: str) -> None:
    assert list(documents.run(text, tmp_path)) == []


def test_readme_begins_with_the_two_commands(root: Path) -> None:
    text = (root / "README.md").read_text()
    first, second, *others = documents.blocks(text)
    assert (first.language, first.text, second.language, second.text) == ("sh", "sh .ci/demo\n", "sh", "sh .ci/test\n")
    assert "sh" not in [block.language for block in others]
    with_c = {name for name in DOCUMENTS for block in documents.blocks((root / name).read_text()) if block.language == "c"}
    assert with_c == {"docs/c.md", "docs/contributing.md"}  # which have tests of their own
    assert text.index("Not supported") < text.index("```")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(root: Path, name: str) -> None:
    folder = (root / name).parent
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (root / name).read_text()):
        assert "://" in target or (folder / target).exists(), target


def test_every_directory_has_a_line(root: Path) -> None:
    text = (root / "docs" / "architecture.md").read_text()
    folders = [path.parent.relative_to(root) for path in (root / "python").glob("*/__init__.py")]
    for folder in [*folders, Path("tests"), Path("docs"), Path(".ci")]:
        assert re.search(rf"^\| `{re.escape(str(folder))}` \| .{{20,}} \|$", text, re.MULTILINE), folder


def test_every_field_of_the_schema_is_explained(root: Path) -> None:
    schema = json.loads((root / "docs" / "case-1.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    text = (root / "docs" / "case-1.md").read_text()
    assert schema["required"] == list(schema["properties"])
    for field in [*schema["properties"], *schema["$defs"]["verdict"]["properties"], *schema["$defs"]["ledger"]["properties"]]:
        assert f"`{field}`" in text, field
