"""The forged nt image: PE headers, export table, RSDS record, version resource, and its globals at known RVAs.

A machine's kernel either has an identity of its own (random GUID, globals at random places) or takes a genuine one (PDB identity and
RVAs of a public symbol file), with which tools that need symbols can read the dump.
"""

from __future__ import annotations

import random
import struct
import uuid
from dataclasses import dataclass, field

from .generate_layouts import FURTHER, ROUTINES, SYMBOLS
from .layouts import KERNELS
from .pe import headers, tables, version
from .physical import PAGE

PDB_NAME = "ntkrnlmp.pdb"
# TimeDateStamp, SizeOfImage and version of the genuine kernels: winsiderss/systeminformer kphdyn.xml (MIT). 7601 has no entry there: its
# size is one that covers its highest global.
GENUINE_FILES: dict[int, tuple[int, int, tuple[int, int, int, int]]] = {
    7601: (0x5C4A3F80, 0x5E7000, (6, 1, 7601, 24540)),
    19041: (0x0D8333E6, 0x1046000, (10, 0, 19041, 804)),
    22000: (0xC16011B9, 0x1047000, (10, 0, 22000, 318)),
}
# Revisions whose kernels are common; only the version resource shows them.
REVISIONS = {7601: 24540, 9600: 19913, 14393: 4583, 17763: 1999, 19041: 1706, 22000: 978, 26100: 1742}
FIRST_BUILD = {"MmPteBase": 14393, "ObHeaderCookie": 10240, "ExpPoolQuotaCookie": 9600}  # older kernels have no such global
ROOM = {  # bytes a global needs, where more than 16
    "KdDebuggerDataBlock": 0x400, "KdVersionBlock": 0x40, "KiProcessorBlock": 0x200, "ObTypeIndexTable": 0x200, "NtBuildLab": 0x80,
    "IopMdlLookasideList": 0x80, "IopLargeIrpLookasideList": 0x80, "IopSmallIrpLookasideList": 0x80,
    "IopMediumIrpLookasideList": 0x80, "KiBugCheckData": 0x40, "ObpInfoMaskToOffset": 0x100, "PsInvertedFunctionTable": 0x1000,
}  # fmt: skip


@dataclass(slots=True)
class KernelImage:
    """What the machine must know about its kernel; pages holds the image by RVA page, without the globals' values."""

    size: int
    timestamp: int
    version: tuple[int, int, int, int]
    guid: uuid.UUID
    age: int
    symbols: dict[str, int]
    exports: dict[str, int]
    entry: int
    genuine: bool
    name: str = "ntoskrnl.exe"
    pages: dict[int, bytearray] = field(default_factory=dict)

    def write(self, rva: int, data: bytes) -> None:
        position = 0
        while position < len(data):
            page, offset = divmod(rva + position, PAGE)
            size = min(PAGE - offset, len(data) - position)
            self.pages.setdefault(page, bytearray(PAGE))[offset : offset + size] = data[position : position + size]
            position += size


def build(build_number: int, identity: random.Random, rng: random.Random, *, genuine: bool = False) -> KernelImage:
    """The kernel of one build, its identity by one stream of chance and its contents by another; genuine takes the identity of a
    public symbol file."""
    if genuine:
        guid_text, age, rvas = KERNELS[build_number]
        timestamp, size, file_version = GENUINE_FILES[build_number]
        guid = uuid.UUID(guid_text)
        symbols = {name: rvas[name] for name in SYMBOLS + FURTHER if name in rvas}
        code = {name: rvas[name] for name in ROUTINES if name in rvas}
        # As in those kernels: read-only data with the tables, then code, then data.
        data_at = min(symbols["KdDebuggerDataBlock"], symbols["PsActiveProcessHead"]) & ~0xFFFF
        tables_at = _hole(0x40 * PAGE, 8, {rva // PAGE for rva in rvas.values()})
        text_end = data_at
    else:
        guid, age = uuid.UUID(int=identity.getrandbits(128), version=4), 1
        size = identity.randrange(0x170, 0x1F0) * PAGE
        timestamp = identity.getrandbits(32)  # reproducible builds: the stamp is a hash
        major = (6, 1) if build_number == 7601 else (6, 3) if build_number == 9600 else (10, 0)
        file_version = (*major, build_number, REVISIONS.get(build_number, 1))
        text_end = 0x90 * PAGE
        data_at, tables_at = text_end, size - 0x40 * PAGE
        code = dict(zip(ROUTINES, _places(rng, PAGE, text_end, len(ROUTINES), 0x100), strict=True))
        symbols = {}
        at = data_at + rng.randrange(0x10, 0x80) * 16
        there = [name for name in SYMBOLS if build_number >= FIRST_BUILD.get(name, 0)]
        for name in rng.sample(there, len(there)):
            symbols[name] = at
            at += -(-ROOM.get(name, 16) // 16) * 16 + rng.randrange(0x80) * 16
        at = -(-at // PAGE) * PAGE
        if at > tables_at:
            raise ValueError("the globals do not fit")
    image = KernelImage(size, timestamp, file_version, guid, age, symbols, code, code["KiSystemServiceCopyEnd"], genuine)
    if not genuine:
        for page in range(text_end // PAGE):
            image.pages[page] = bytearray(rng.randbytes(PAGE)) if page else bytearray(PAGE)
        for page in range(text_end // PAGE, size // PAGE):
            image.pages[page] = bytearray(PAGE)
    else:
        for rva in code.values():
            image.write(rva & ~0xFFF, rng.randbytes(PAGE))  # the code pages that a stack or an import points to
    _tables(image, text_end, tables_at)
    for name, rva in symbols.items():
        image.write(rva, bytes(ROOM.get(name, 16)))
    return image


def _places(rng: random.Random, low: int, high: int, count: int, step: int) -> list[int]:
    return sorted(rng.sample(range(low, high, step), count))


def _hole(start: int, count: int, taken: set[int]) -> int:
    """RVA of the first count pages from start on that nothing lies in."""
    page = start // PAGE
    while any(p in taken for p in range(page, page + count)):
        page += 1
    return page * PAGE


def _tables(image: KernelImage, text_end: int, at: int) -> None:
    """Headers, and from at on: exports, debug directory, version resource."""
    exported = {n: r for n, r in image.exports.items() if not n.startswith(("Iop", "Ki", "Mm", "Obp", "Psp")) or n in _EXPORTED}
    exported["PsInitialSystemProcess"] = image.symbols["PsInitialSystemProcess"]
    edata = tables.exports(at, image.name, image.timestamp, exported)
    image.write(at, edata)
    rdata = -(-(at + len(edata)) // PAGE) * PAGE
    record = tables.codeview((image.guid, image.age, PDB_NAME))
    image.write(rdata, tables.debug_directory(image.timestamp, len(record), rdata + 28, 0))
    image.write(rdata + 28, record)
    rsrc = rdata + PAGE
    info = version.version_info(
        image.version,
        {
            "FileDescription": "NT Kernel & System",
            "FileVersion": "{}.{}.{}.{}".format(*image.version),
            "InternalName": "ntkrnlmp.exe",
            "OriginalFilename": "ntkrnlmp.exe",
        },
    )
    resource = version.resource_section(rsrc, info)
    image.write(rsrc, resource)
    tables_end = rsrc + PAGE
    parts = [(".edata", at, rdata, 0), (".rdata", rdata, rsrc, 0), (".rsrc", rsrc, tables_end, 0)]
    if at < text_end:  # a genuine kernel: tables before the code
        parts = [(".rdata0", PAGE, at, 0), *parts, (".text", tables_end, text_end, 1), (".data", text_end, image.size, 2)]
    else:
        parts = [(".text", PAGE, text_end, 1), (".data", text_end, at, 2), *parts, (".reloc", tables_end, image.size, 0)]
    kinds = (
        headers.INITIALIZED,
        headers.CODE | headers.EXECUTE | headers.NOT_PAGED,
        headers.INITIALIZED | headers.WRITE | headers.NOT_PAGED,
    )
    sections = [headers.Section(name, low, high - low, low, high - low, kinds[kind] | headers.READ) for name, low, high, kind in parts]
    directories = {
        headers.DIR_EXPORT: (at, len(edata)),
        headers.DIR_RESOURCE: (rsrc, len(resource)),
        headers.DIR_DEBUG: (rdata, 28),
    }
    image.write(
        0,
        headers.pack_headers(
            sections=sections,
            directories=directories,
            entry=image.entry,
            timestamp=image.timestamp,
            size_of_image=image.size,
            image_base=0x1_4000_0000,
            os_version=image.version[:2],
        ),
    )


_EXPORTED = {
    "MmBuildMdlForNonPagedPool", "MmMapLockedPagesSpecifyCache", "MmProbeAndLockPages", "MmUnlockPages", "MmUnmapLockedPages",
}  # fmt: skip


def put_u64(image: KernelImage, symbol: str, *values: int) -> None:
    """Values at a global, where this kernel has it."""
    if symbol in image.symbols:
        image.write(image.symbols[symbol], struct.pack(f"<{len(values)}Q", *values))
