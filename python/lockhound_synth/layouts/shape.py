"""One structure's size and the places of its fields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """One structure: its size and where its fields lie."""

    name: str
    size: int
    fields: dict[str, tuple[int, int]]

    def offset(self, path: str) -> int:
        return self.fields[path][0]

    def width(self, path: str) -> int:
        return self.fields[path][1]

    def __contains__(self, path: str) -> bool:
        return path in self.fields
