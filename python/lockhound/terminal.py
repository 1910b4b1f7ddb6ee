"""What reaches a terminal: the last guard against control characters in names and paths."""

from __future__ import annotations

import os
import re
from typing import TextIO

_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def _is_safe(char: str) -> bool:
    """Whether a character has no power over a terminal or over the order of a line: no controls, formats, surrogates, odd spaces."""
    return char == "\n" or char.isprintable()


def _spelt(char: str) -> str:
    """A character written out as the library does it; what Python keeps for a byte that is no character is that byte."""
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return f"\\x{ord(char):02x}" if char < "\u0100" else char.encode("unicode_escape", "surrogatepass").decode("ascii")


def _escape(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_safe(char) else _spelt(char) for char in text)


def guarded(text: str, *, color: bool = False) -> str:
    """The text with every dangerous character written as an escape; with color=True, colours (and nothing else) stay."""
    if not color:
        return _escape(text)
    parts: list[str] = []
    at = 0
    for match in _COLOR.finditer(text):
        parts += _escape(text[at : match.start()]), match.group()
        at = match.end()
    return "".join((*parts, _escape(text[at:])))


def one_line(text: str) -> str:
    """The same for something that has to stay on its line."""
    return guarded(text).replace("\n", "\\x0a")


def wants_color(choice: str, stream: TextIO) -> bool:
    """What `--color auto|always|never` means for a stream; auto heeds NO_COLOR."""
    if choice != "auto":
        return choice == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_line(stream: TextIO, text: str, *, color: bool = False) -> None:
    """Writes guarded text and one end of line, in whatever encoding the stream has."""
    line = guarded(text, color=color).rstrip("\n") + "\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
