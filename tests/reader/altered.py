"""A finished machine whose memory is told otherwise: fields of objects, whole objects and pages, changed behind the story's back."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import replace

from lockhound_synth.containers import HeaderFields
from lockhound_synth.forge import Forged
from lockhound_synth.io import Driver
from lockhound_synth.machine import Machine
from lockhound_synth.processes import Process


class Altered:
    """What another author would have written, starting from what the forge wrote."""

    def __init__(self, forged: Forged) -> None:
        self.forged = forged
        self.machine: Machine = forged.machine
        self.pages = {pfn: bytearray(data) for pfn, data in forged.pages.items()}
        self.header: HeaderFields = forged.header
        self.gone: set[int] = set()
        self.random = random.Random(f"altered/{self.machine.build}/{self.machine.seed}")

    # Memory

    def physical(self, va: int) -> int:
        at = self.machine.space.translate(va)
        if at is None:
            raise ValueError(f"{va:#x} is not mapped")
        return at

    def read(self, va: int, size: int) -> bytes:
        out = b""
        while len(out) < size:
            pfn, offset = divmod(self.physical(va + len(out)), 0x1000)
            out += bytes(self.pages[pfn][offset : offset + min(0x1000 - offset, size - len(out))])
        return out

    def write(self, va: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            pfn, offset = divmod(self.physical(va + done), 0x1000)
            part = data[done : done + 0x1000 - offset]
            self.pages[pfn][offset : offset + len(part)] = part
            done += len(part)

    def u64(self, va: int) -> int:
        return int(struct.unpack("<Q", self.read(va, 8))[0])

    def put(self, va: int, *words: int) -> None:
        self.write(va, struct.pack(f"<{len(words)}Q", *words))

    def lose(self, va: int) -> None:
        """The page is not captured."""
        self.gone.add(self.physical(va) >> 12)

    def unmapped(self) -> int:
        """A kernel address that leads nowhere: memory that was given back."""
        return self.machine.nonpaged.next_page + 0x4000_0000 + 0x340

    # Fields

    def at(self, shape: str, address: int, name: str) -> int:
        return address + self.machine.layouts[shape].offset(name)

    def get(self, shape: str, address: int, name: str) -> int:
        offset, width = self.machine.layouts[shape].fields[name]
        return int.from_bytes(self.read(address + offset, min(width, 8)), "little")

    def set(self, shape: str, address: int, name: str, value: int) -> None:
        offset, width = self.machine.layouts[shape].fields[name]
        self.write(address + offset, value.to_bytes(min(width, 8), "little"))

    def size(self, shape: str) -> int:
        return self.machine.layouts[shape].size

    # What the story is about

    @property
    def victim(self) -> Process:
        process = self.forged.truth.process
        return next(p for p in self.machine.processes if process and p.address == int(process["address"], 16))

    @property
    def mdls(self) -> list[int]:
        """The charged MDLs of the ledger."""
        return [int(row["address"], 16) for row in self.forged.truth.ledger["mdls"]]

    @property
    def irps(self) -> list[int]:
        """The packets of the story."""
        return [int(row["address"], 16) for row in self.forged.truth.irps]

    @property
    def requests(self) -> list[int]:
        """Those of the I/O manager: they have a file, or a thread whose list they stand on."""
        return [irp for irp in self.irps if self.get("IRP", irp, "Tail.Overlay.OriginalFileObject") or not self.alone(irp)]

    def alone(self, irp: int) -> bool:
        entry = self.at("IRP", irp, "ThreadListEntry")
        return self.u64(entry) == entry

    def slots(self, irp: int) -> Iterator[tuple[int, int]]:
        """(number from 1, address) of a packet's stack locations."""
        for number in range(1, self.get("IRP", irp, "StackCount") + 1):
            yield number, irp + self.size("IRP") + (number - 1) * self.size("IO_STACK_LOCATION")

    def files(self) -> list[int]:
        return sorted({f for irp in self.requests if (f := self.get("IRP", irp, "Tail.Overlay.OriginalFileObject"))})

    def devices(self) -> list[int]:
        """Devices in the locations of the story's packets."""
        found = {self.get("IO_STACK_LOCATION", at, "DeviceObject") for irp in self.irps for _, at in self.slots(irp)}
        return sorted(found - {0})

    def drivers(self) -> list[Driver]:
        """Drivers with a device in the story."""
        mine = set(self.devices())
        return [d for d in self.machine.drivers.values() if any(x.address in mine for x in d.devices)]

    def guilty(self) -> list[Driver]:
        names = {d["name"] for d in self.forged.truth.verdict["drivers"]}
        return [d for d in self.machine.drivers.values() if d.module.name in names]

    # The dump

    def finish(self) -> Forged:
        pages = {pfn: bytes(data) for pfn, data in self.pages.items()}
        told = replace(self.forged, pages=pages, header=self.header)
        return told.without(self.gone) if self.gone else told
