"""What a scenario knows to be true, in the words of the case schema: the yardstick for the reader."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

DRIVER, KERNEL, UNATTRIBUTED, INSUFFICIENT, NOT_APPLICABLE = "driver", "kernel", "unattributed", "insufficient", "not_applicable"
LOCKED, FREED_LOCKED, UNKNOWN = "locked", "freed_locked", "unknown"
EXIT = {DRIVER: 0, NOT_APPLICABLE: 3, KERNEL: 4, UNATTRIBUTED: 4, INSUFFICIENT: 4}


def hexadecimal(value: int) -> str:
    return f"{value:#x}"


@dataclass(slots=True)
class Truth:
    """JSON-serialisable by `as_json`; addresses are hexadecimal strings, counts numbers, drivers lower-case file names."""

    scenario: str
    build: int
    seed: int
    description: str
    bugcheck: dict[str, Any]
    dtb: str
    process: dict[str, Any] | None
    current_process: dict[str, Any]
    verdict: dict[str, Any]
    ledger: dict[str, Any]
    considered: list[dict[str, Any]] = field(default_factory=list)
    innocents: list[str] = field(default_factory=list)
    irps: list[dict[str, Any]] = field(default_factory=list)
    modules: list[dict[str, Any]] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)
    decoys: list[dict[str, Any]] = field(default_factory=list)
    absent_labels: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)  # another address of the same bytes -> the one told above
    unloaded: list[str] = field(default_factory=list)  # drivers that the kernel only remembers
    exit_status: int = 0
    subject: dict[str, Any] | None = None  # the MDL that a bug check about no leak leads to

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
