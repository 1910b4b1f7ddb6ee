"""The scenarios by name: `build("pending_irp", build=19041, seed=7)` gives a machine with its truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lockhound_synth.forge import Forged
from lockhound_synth.pe.load import LoadedImage

from . import (
    absent,
    callers,
    chains,
    frameworks,
    holders,
    hostile,
    leftovers,
    libraries,
    made,
    mdls,
    origins,
    pending,
    relatives,
    splits,
    tags,
    tracked,
    tracking,
    unlocks,
    working,
)  # fmt: skip
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
    "unlock_unknown": unlocks.unlock_unknown,
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
    "cancel_routine": pending.cancel_routine,
    "reused_mdl": pending.reused_mdl,
    **{f"pages_{count}": mdls.of_pages(count) for count in mdls.SIZES},
    "mdl_embedded": mdls.mdl_embedded,
    "mdl_cut": mdls.mdl_cut,
    "mdl_alias": mdls.mdl_alias,
    "mdl_flags": mdls.mdl_flags,
    "mdl_large_page": mdls.mdl_large_page,
    "mdl_transition": mdls.mdl_transition,
    "chain_third": mdls.chain_third,
    "double_lock": mdls.double_lock,
    "mdl_copy": mdls.mdl_copy,
    "copy_uncounted": mdls.copy_uncounted,
    "edited_mdl": mdls.edited_mdl,
    "edited_unlocked": mdls.edited_unlocked,
    "refuted_by_count": mdls.refuted_by_count,
    "shared_pages": mdls.shared_pages,
    "freed_in_pool": leftovers.freed_in_pool,
    "freed_idle": leftovers.freed_idle,
    "segment_heap_unknown": leftovers.segment_heap_unknown,
    "unowned": leftovers.unowned,
    "freed_strangers": leftovers.freed_strangers,
    "one_page_stale": leftovers.one_page_stale,
    "one_page_none": leftovers.one_page_none,
    "held_in_extension": holders.held_in_extension,
    "held_by_context": holders.held_by_context,
    "held_two_deep": holders.held_two_deep,
    "held_in_list": holders.held_in_list,
    "held_in_data": holders.held_in_data,
    "held_embedded": holders.held_embedded,
    "held_in_driver_extension": holders.held_in_driver_extension,
    "held_in_big_block": holders.held_in_big_block,
    "held_on_stack": holders.held_on_stack,
    "held_by_mapping": holders.held_by_mapping,
    "held_packed": holders.held_packed,
    "held_in_urb": holders.held_in_urb,
    "log_ring": holders.log_ring,
    "held_unrooted": holders.held_unrooted,
    "dead_stack": holders.dead_stack,
    "shared_tag": holders.shared_tag,
    "two_holders": holders.two_holders,
    "holder_and_borrower": holders.holder_and_borrower,
    "holder_cannot_lock": holders.holder_cannot_lock,
    "held_by_library": holders.held_by_library,
    "held_by_kernel": holders.held_by_kernel,
    "holder_unloaded": holders.holder_unloaded,
    "holder_outside": holders.holder_outside,
    "made_with_context": holders.made_with_context,
    "made_and_held": holders.made_and_held,
    "hostile_names": hostile.hostile_names,
    "hostile_driver": hostile.hostile_driver,
    "looping_lists": hostile.looping_lists,
    "lying_counts": hostile.lying_counts,
    "tracked_manager": tracking.tracked_manager,
    "tracked_request_gone": tracking.tracked_request_gone,
    "tracked_library": tracking.tracked_library,
    "tracked_verifier": tracking.tracked_verifier,
    "tracked_unloaded": tracking.tracked_unloaded,
    "tracked_no_module": tracking.tracked_no_module,
    "tracked_several": tracking.tracked_several,
    "tracked_borrowed": tracking.tracked_borrowed,
    "tracked_passed_on": tracking.tracked_passed_on,
    "tracked_invalid": tracking.tracked_invalid,
    "tracked_freed": tracking.tracked_freed,
    "tracked_kernel": tracking.tracked_kernel,
    "tracked_no_import": tracking.tracked_no_import,
    "tracked_short": tracking.tracked_short,
    **unlocks.STORIES,
    **libraries.STORIES,
    **relatives.STORIES,
}
FURTHER_STORIES: dict[str, Story] = {
    **chains.STORIES, **frameworks.STORIES, **callers.STORIES, **tags.STORIES, **working.STORIES,
}  # fmt: skip
# Stories that only some kernels can tell: (first build, last build). Pool headers tell free blocks up to 17763.
EVER = 1 << 31
TOLD_BY = {
    "ioring": (22000, EVER), "freed_in_pool": (0, 17763), "segment_heap_unknown": (18362, EVER),
    # Before 8.1 trackers have no public layout, and of several locks the bug check's parameters tell one.
    "tracked_several": (9600, EVER), "tracked_invalid": (9600, EVER), "tracked_kernel": (9600, EVER),
    "unlock_length_own": (9600, EVER), "unlock_left_over": (9600, EVER),
}  # fmt: skip
LARGE_POOL = {"mdl_large_page": True, "mdl_cut": False}  # chance decides for all others
EXTRA_FRAMES = {f"pages_{count}": count for count in mdls.SIZES if count > 1000}
NAMES: tuple[str, ...] = tuple(STORIES)
MORE: tuple[str, ...] = tuple(MORE_STORIES)  # harder ones, kept apart so that a reader can take them on one by one
FURTHER: tuple[str, ...] = tuple(FURTHER_STORIES)  # ways that lead to a holder, each told on few builds; on all in the campaign
BUILDS: tuple[int, ...] = (17763, 19041, 22000)
# With the older ones, 26100 from the facts alone, and one (23456) that no table knows.
ALL_BUILDS: tuple[int, ...] = (7601, 9600, 14393, 17763, 19041, 22000, 26100, 23456)


def builds_of(name: str) -> tuple[int, ...]:
    """The builds that can tell a story."""
    first, last = TOLD_BY.get(name, (0, EVER))
    return tuple(b for b in ALL_BUILDS if first <= b <= last)


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
    story = {**STORIES, **MORE_STORIES, **FURTHER_STORIES}.get(name)
    if story is None:
        raise ValueError(f"no scenario {name!r}; there are {', '.join(NAMES + MORE + FURTHER)}")
    first, last = TOLD_BY.get(name, (0, EVER))
    if not first <= build <= last:
        raise ValueError(f"{name} needs a build from {first} to {last}")
    stage = Stage(
        name, build, seed, genuine=genuine, images=images, layout_seed=layout_seed, frames=EXTRA_FRAMES.get(name, 0),
        large_pool=LARGE_POOL.get(name),
    )  # fmt: skip
    story(stage)
    return stage.finish()
