"""The scenarios by name: `build("pending_irp", build=19041, seed=7)` gives a machine with its truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lockhound_synth.forge import Forged
from lockhound_synth.pe.load import LoadedImage

from . import absent, leftovers, made, origins, pending, splits, tracked
from .stage import Stage

Story = Callable[[Stage], None]

STORIES: dict[str, Story] = {
    "pending_irp": pending.pending_irp,
    "filters_above": pending.filters_above,
    "orphaned_irp": pending.orphaned_irp,
    "driver_irp_in_bus": made.driver_irp_in_bus,
    "chain_second": pending.chain_second,
    "stale_and_freed": leftovers.stale_and_freed,
    "partial_lower": splits.partial_lower,
    "partial_pending": splits.partial_pending,
    "busy": pending.busy,
    "other_current": pending.other_current,
    "mdl_absent": absent.mdl_absent,
    "irp_absent": absent.irp_absent,
    "two_drivers": pending.two_drivers,
    "no_mdl": leftovers.no_mdl,
    "tracked_leak": tracked.tracked_leak,
    "unlock_unknown": tracked.unlock_unknown,
    "page_fault": tracked.page_fault,
}
MORE_STORIES: dict[str, Story] = {
    "freed_locked": leftovers.freed_locked,
    "returned_intact": origins.returned_intact,
    "device_control_built": origins.device_control_built,
    "async_built": origins.async_built,
    "lookaside_size": origins.lookaside_size,
    "kernel_requestor": origins.kernel_requestor,
    "associated_pending": splits.associated_pending,
    "associated_back": splits.associated_back,
    "borrowed_mdl": splits.borrowed_mdl,
    "piece_absent": splits.piece_absent,
    "maker_in_extension": origins.maker_in_extension,
    "maker_in_data": origins.maker_in_data,
    "maker_unknown": origins.maker_unknown,
    "no_import_holder": origins.no_import_holder,
    "ioring": origins.ioring,
}
FIRST_BUILD = {"ioring": 22000}  # stories that older kernels cannot tell
NAMES: tuple[str, ...] = tuple(STORIES)
MORE: tuple[str, ...] = tuple(MORE_STORIES)  # harder ones, kept apart so that a reader can take them on one by one
BUILDS: tuple[int, ...] = (17763, 19041, 22000)
# With the older ones, 26100 from the facts alone, and one (23456) that no table knows.
ALL_BUILDS: tuple[int, ...] = (7601, 9600, 14393, 17763, 19041, 22000, 26100, 23456)


def builds_of(name: str) -> tuple[int, ...]:
    """The builds that can tell a story."""
    return tuple(b for b in ALL_BUILDS if b >= FIRST_BUILD.get(name, 0))


def build(
    name: str, *, build: int = 19041, seed: int = 0, genuine: bool = False, images: Mapping[str, LoadedImage] | None = None,
    layout_seed: int | None = None,
) -> Forged:  # fmt: skip
    """The machine of a scenario. genuine gives it the identity of a public symbol file's kernel (19041 and 22000).

    images are real drivers by file name (`pe.load.load` of compiled files): the invented drivers of the story take those that
    import what their part calls, in any order, under another name where one is used twice; where none fits, the forge's own
    are used. An image needs symbols for the routines of `driver_image.ROUTINES`.

    layout_seed tells the same story (drivers, page counts, packets, verdict) at other addresses and in other frames.
    """
    story = STORIES.get(name) or MORE_STORIES.get(name)
    if story is None:
        raise ValueError(f"no scenario {name!r}; there are {', '.join(NAMES + MORE)}")
    stage = Stage(name, build, seed, genuine=genuine, images=images, layout_seed=layout_seed)
    story(stage)
    return stage.finish()
