"""All situations in which an innocent driver looks guilty, by name."""

from __future__ import annotations

from . import situations_drivers, situations_mdls, situations_packets
from .scene import Situation

SITUATIONS: dict[str, Situation] = {
    situation.__name__: situation for part in (situations_packets, situations_mdls, situations_drivers) for situation in part.ALL
}
