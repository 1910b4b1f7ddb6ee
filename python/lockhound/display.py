"""Display: rows and tables as plain HTML tables, in the colours of whatever page they are shown in."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from .terminal import guarded

_LEFT = ' style="text-align:left"'
MOST_ROWS = 20  # of a table


class Text(str):
    """Text that is shown as it is; everything else is shown as code."""

    __slots__ = ()


def value(thing: Any, shown: str | None = None) -> Any:
    """A value for a cell: texts as they are, nothing for None, and anything else in code, as `shown` or as its repr."""
    if thing is None or isinstance(thing, Text):
        return thing
    if isinstance(thing, str):
        return Text(thing)
    return repr(thing) if shown is None else shown


def escaped(value: Any) -> str:
    """Any value as the text of an element: no markup, and nothing that turns or hides a line."""
    return html.escape(guarded(str(value)))


def cell(value: Any) -> str:
    """A cell; what is not known is a dash."""
    if value is None:
        return f"<td{_LEFT}>-</td>"
    shown = escaped(value)
    return f"<td{_LEFT}>{shown if isinstance(value, Text) else f'<code>{shown}</code>'}</td>"


def html_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, more: int = 0) -> str:
    """A table. Without heads, the first cell of a row is one. `more` rows are said not to be shown."""
    lines = ["<table>"]
    if heads:
        lines.append(f"<thead><tr>{''.join(f'<th{_LEFT}>{escaped(head)}</th>' for head in heads)}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        first = [] if heads else [f"<th{_LEFT}>{escaped(row[0])}</th>"]
        lines.append(f"<tr>{''.join([*first, *map(cell, row if heads else row[1:])])}</tr>")
    lines.append("</tbody></table>")
    if more:
        lines.append(f"<p>{more} more</p>")
    return "\n".join(lines)
