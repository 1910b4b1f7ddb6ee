"""A driver image in the least form that a loader leaves in memory; the machine takes the compiled ones of `pe` where they are given."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .pe import headers, tables, version
from .physical import PAGE

Resolve = Callable[[str, str], int]
NT = "ntoskrnl.exe"


@dataclass(slots=True)
class PlainImage:
    """An image of random code with true headers, imports, debug directory and version resource."""

    name: str
    size_of_image: int
    timestamp: int
    version: tuple[int, int, int, int]
    imports: Mapping[str, Sequence[str]]
    symbols: dict[str, int]
    slots: dict[tuple[str, str], int]
    pages: dict[int, bytearray] = field(default_factory=dict)
    iat: int = 0

    def layout(self, base: int, resolve: Resolve) -> dict[int, bytes]:
        """The image as loaded at base, by RVA page, import slots filled."""
        loaded = {page: bytearray(data) for page, data in self.pages.items()}
        for (dll, name), offset in self.slots.items():
            page, at = divmod(self.iat + offset, PAGE)
            loaded[page][at : at + 8] = resolve(dll, name).to_bytes(8, "little")
        return {page: bytes(data) for page, data in loaded.items()}


def plain_image(
    name: str, rng: random.Random, *, imports: Sequence[str], file_version: tuple[int, int, int, int], company: str = ""
) -> PlainImage:
    """A driver of a handful of pages."""
    text_pages = rng.randrange(2, 5)
    rdata = (1 + text_pages) * PAGE
    data, rsrc = rdata + PAGE, rdata + 3 * PAGE
    size = rsrc + PAGE
    timestamp = rng.randrange(0x5800_0000, 0x6300_0000)
    wanted = {NT: list(imports)}
    table = tables.imports(wanted, rdata + 0x500, rdata)
    record = tables.codeview((uuid.UUID(int=rng.getrandbits(128), version=4), rng.randrange(1, 4), name.replace(".sys", ".pdb")))
    info = version.version_info(
        file_version,
        {
            "CompanyName": company or "Forged Systems",
            "FileDescription": f"{name} driver",
            "FileVersion": "{}.{}.{}.{}".format(*file_version),
            "OriginalFilename": name,
        },
    )
    resource = version.resource_section(rsrc, info)
    sections = [
        headers.Section(
            ".text", PAGE, text_pages * PAGE, 0x400, text_pages * PAGE, headers.CODE | headers.EXECUTE | headers.READ | headers.NOT_PAGED
        ),
        headers.Section(".rdata", rdata, PAGE, 0x400 + rdata, PAGE, headers.INITIALIZED | headers.READ | headers.NOT_PAGED),
        headers.Section(
            ".data", data, 2 * PAGE, 0x400 + data, 0x200, headers.INITIALIZED | headers.READ | headers.WRITE | headers.NOT_PAGED
        ),
        headers.Section(".rsrc", rsrc, len(resource), 0x400 + rsrc, len(resource), headers.INITIALIZED | headers.READ),
    ]
    directories = {
        headers.DIR_IMPORT: (rdata + 0x400, len(table.descriptors)),
        headers.DIR_IAT: (rdata, len(table.iat)),
        headers.DIR_DEBUG: (rdata + 0xE00, 28),
        headers.DIR_RESOURCE: (rsrc, len(resource)),
    }
    symbols = {routine: PAGE + slot * 0x80 for slot, routine in enumerate(rng.sample(_ROUTINES, len(_ROUTINES)), 2)}
    image = PlainImage(name, size, timestamp, file_version, wanted, {**symbols, "data": data + 0x100}, table.slots, iat=rdata)
    header = headers.pack_headers(
        sections=sections, directories=directories, entry=symbols["DriverEntry"], timestamp=timestamp, size_of_image=size
    )
    image.pages[0] = bytearray(header.ljust(PAGE, b"\0"))
    for page in range(1, 1 + text_pages):
        image.pages[page] = bytearray(rng.randbytes(PAGE))
    middle = bytearray(PAGE)
    for at, block in (
        (0, table.iat),
        (0x400, table.descriptors),
        (0x500, table.names),
        (0xE00, tables.debug_directory(timestamp, len(record), rdata + 0xE1C, 0) + record),
    ):
        middle[at : at + len(block)] = block
    image.pages[rdata // PAGE] = middle
    image.pages[data // PAGE] = bytearray(PAGE)
    image.pages[data // PAGE + 1] = bytearray(PAGE)
    image.pages[rsrc // PAGE] = bytearray(resource.ljust(PAGE, b"\0"))
    return image


_ROUTINES = ("DriverEntry", "Dispatch", "DispatchIo", "Complete", "Cancel", "Unload", "AddDevice", "Worker")
