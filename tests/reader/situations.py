"""All situations in which an innocent driver looks guilty, by name."""

from __future__ import annotations

from . import (
    situations_alone,
    situations_alone_further,
    situations_copies,
    situations_drivers,
    situations_kept,
    situations_mdls,
    situations_packets,
    situations_pieces,
    situations_refusals,
    situations_tracked,
    situations_watchers,
)
from .scene import Situation

PARTS = (
    situations_packets,
    situations_mdls,
    situations_refusals,
    situations_drivers,
    situations_copies,
    situations_pieces,
    situations_kept,
    situations_tracked,
    situations_watchers,
)
SITUATIONS: dict[str, Situation] = {situation.__name__: situation for part in PARTS for situation in part.ALL}
# One build each in the test command, all of them in the campaign.
ALONE: dict[str, Situation] = {situation.__name__: situation for situation in (*situations_alone.ALL, *situations_alone_further.ALL)}
EVERY = SITUATIONS | ALONE
