"""Structure layouts and kernel identities that the forge writes, looked up by build."""

from __future__ import annotations

from . import derived
from .kernels import KERNELS
from .offsets import BUILDS
from .shape import Shape

__all__ = ["KERNELS", "Layouts", "Shape"]


class Layouts:
    """The structures of one build; seed matters only where the build is one that no table knows."""

    def __init__(self, build: int, seed: int = 0) -> None:
        if build in BUILDS:
            self.shapes = derived.from_table(build)
        elif build == derived.FACTS_ALONE:
            self.shapes = derived.facts_alone()
        elif build == derived.UNKNOWN:
            self.shapes = derived.shifted(seed)
        else:
            known = sorted({*BUILDS, derived.FACTS_ALONE, derived.UNKNOWN})
            raise ValueError(f"no layouts for build {build}; there are {known}")
        self.build = build

    def __getitem__(self, name: str) -> Shape:
        return self.shapes[name]

    def __contains__(self, name: str) -> bool:
        return name in self.shapes
