"""Runs the fenced examples of a document, in a folder of their own, and says where what happens is not what stands there."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "\x1e"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, with the line where it begins."""

    language: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 1) for match in FENCE.finditer(text)]


def module(text: str) -> str:
    """The python and pycon blocks as one module, each line where it stands in the document."""
    lines: list[str] = []
    for block in blocks(text):
        if block.language == "python":
            pieces = [(0, block.text)]
        elif block.language == "pycon":
            pieces = [(example.lineno, example.source) for example in doctest.DocTestParser().get_examples(block.text)]
        else:
            continue
        for line, source in pieces:
            lines += [""] * (block.line + line - len(lines)) + source.splitlines()
    return "\n".join(lines) + "\n"


def run(text: str, folder: Path) -> Iterator[str]:
    """Runs the python, pycon, console and json blocks in their order; the python and pycon ones share their names. Yields what went wrong.

    A block in another language is an error, so that nothing escapes: `sh` is for the README's two commands, `text` for what is no example,
    and `c` has a test of its own.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks(text):
            match block.language:
                case "python":
                    yield from _python(block, names)
                case "pycon":
                    yield from _pycon(block, names)
                case "console":
                    yield from _console(block, folder)
                case "json":
                    json.loads(block.text)
                case "sh" | "text" | "c":
                    pass
                case other:
                    yield f"line {block.line}: nobody runs blocks in {other or 'no language'}"
    finally:
        os.chdir(before)


def _python(block: Block, names: dict[str, Any]) -> Iterator[str]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile("\n" * block.line + block.text, "<document>", "exec"), names)
    except Exception as error:
        line = error.__traceback__.tb_next.tb_lineno if error.__traceback__ and error.__traceback__.tb_next else block.line
        yield f"line {line}: {type(error).__name__}: {error}"


def _pycon(block: Block, names: dict[str, Any]) -> Iterator[str]:
    example = doctest.DocTestParser().get_doctest(block.text, names, "example", "<document>", block.line)
    example.globs = names  # not a copy of them: what an example names, the blocks below know
    said = io.StringIO()
    if doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.write, clear_globs=False).failed:
        yield f"line {block.line}: {said.getvalue()}"


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block with the output that stands below each."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def _console(block: Block, folder: Path) -> Iterator[str]:
    """One shell for the block. `echo $?` is how an example shows an exit status other than 0, and `...` stands for any text."""
    pairs = commands(block.text)
    if not pairs:
        yield f"line {block.line}: no command"
        return
    script = "set +e\n(exit 0)\n"
    for command, _ in pairs:
        script += f"{command}\nstatus=$?; printf '{MARK}%s{MARK}' $status; (exit $status)\n"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    pieces = done.stdout.split(MARK)
    if len(pieces) != 2 * len(pairs) + 1:
        yield f"line {block.line}: the shell stopped: {done.stdout}"
        return
    following = [command for command, _ in pairs[1:]] + [""]
    for (command, wanted), said, status, after in zip(pairs, pieces[::2], pieces[1::2], following, strict=False):
        if not doctest.OutputChecker().check_output(wanted, said, doctest.ELLIPSIS):
            yield f"line {block.line}: {command}: printed {said!r}"
        if status != "0" and "$?" not in after:
            yield f"line {block.line}: {command}: ended with {status}"
