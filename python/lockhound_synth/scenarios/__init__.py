"""The scenarios by name: `build("pending_irp", build=19041, seed=7)` gives a machine with its truth."""

from __future__ import annotations

from collections.abc import Callable

from ..forge import Forged
from . import pending
from .stage import Stage

Story = Callable[[Stage], None]

STORIES: dict[str, Story] = {
    "pending_irp": pending.pending_irp,
}
NAMES: tuple[str, ...] = tuple(STORIES)
BUILDS: tuple[int, ...] = (17763, 19041, 22000)


def build(name: str, *, build: int = 19041, seed: int = 0, genuine: bool = False) -> Forged:
    """The machine of a scenario. genuine gives it the identity of a public symbol file's kernel (19041 and 22000)."""
    if name not in STORIES:
        raise ValueError(f"no scenario {name!r}; there are {', '.join(NAMES)}")
    stage = Stage(name, build, seed, genuine=genuine)
    STORIES[name](stage)
    return stage.finish()
