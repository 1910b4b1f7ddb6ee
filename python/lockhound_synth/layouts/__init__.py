"""Structure layouts and kernel identities that the forge writes, looked up by build."""

from __future__ import annotations

from dataclasses import dataclass

from .kernels import KERNELS
from .offsets import BUILDS, SHAPES

__all__ = ["KERNELS", "Layouts", "Shape"]


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


class Layouts:
    """The structures of one build."""

    def __init__(self, build: int) -> None:
        if build not in BUILDS:
            raise ValueError(f"no layouts for build {build}; there are {sorted(BUILDS)}")
        self.build = build
        self.shapes = {name: Shape(name, *SHAPES[index]) for name, index in BUILDS[build].items()}

    def __getitem__(self, name: str) -> Shape:
        return self.shapes[name]

    def __contains__(self, name: str) -> bool:
        return name in self.shapes
