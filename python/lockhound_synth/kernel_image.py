"""The forged nt image: PE headers, export table, RSDS record, version resource, and its globals at known RVAs.

A machine's kernel either has an identity of its own (random GUID, globals at random places) or takes a genuine one (PDB identity and
RVAs of a public symbol file), with which tools that need symbols can read the dump.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field

from .generate_layouts import FURTHER, PRIVATE, ROUTINES, SYMBOLS
from .layouts import KERNELS
from .pe import headers, tables, unwind, version
from .pe.assemble import Reg
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
ROUTINE = 0x100  # bytes a routine has at most
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
    private: dict[str, int]  # routines that nothing names but a symbol file
    name: str = "ntoskrnl.exe"
    exception_table: tuple[int, int] = (0, 0)
    pages: dict[int, bytearray] = field(default_factory=dict)

    def read(self, rva: int, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            page, offset = divmod(rva + len(out), PAGE)
            out += self.pages[page][offset : offset + size - len(out)]
        return bytes(out)

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
        private = {name: rvas[name] for name in PRIVATE if name in rvas}
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
        code = dict(zip(ROUTINES, _places(rng, PAGE, text_end, len(ROUTINES), ROUTINE), strict=True))
        free = sorted(set(range(PAGE, text_end, ROUTINE)) - set(code.values()))
        apart = random.Random(f"private/{guid}")
        private = dict(zip(PRIVATE, apart.sample(free, len(PRIVATE)), strict=True))
        symbols = {}
        at = data_at + rng.randrange(0x10, 0x80) * 16
        there = [name for name in SYMBOLS if build_number >= FIRST_BUILD.get(name, 0)]
        for name in rng.sample(there, len(there)):
            symbols[name] = at
            at += -(-ROOM.get(name, 16) // 16) * 16 + rng.randrange(0x80) * 16
        at = -(-at // PAGE) * PAGE
        if at > tables_at:
            raise ValueError("the globals do not fit")
    image = KernelImage(size, timestamp, file_version, guid, age, symbols, code, code["KiSystemServiceCopyEnd"], genuine, private)
    if not genuine:
        for page in range(text_end // PAGE):
            image.pages[page] = bytearray(rng.randbytes(PAGE)) if page else bytearray(PAGE)
        for page in range(text_end // PAGE, size // PAGE):
            image.pages[page] = bytearray(PAGE)
    else:
        for rva in (code | private).values():
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
    pdata = rsrc + PAGE
    image.exception_table = _exception_table(image, pdata)
    tables_end = pdata + 2 * PAGE
    xdata = pdata + PAGE  # apart, since .pdata is a table and nothing else to those who read it by its section
    parts = [(".edata", at, rdata, 0), (".rdata", rdata, rsrc, 0), (".rsrc", rsrc, pdata, 0)]
    parts += [(".pdata", pdata, pdata + image.exception_table[1], 0), (".xdata", xdata, tables_end, 0)]
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
        headers.DIR_EXCEPTION: image.exception_table,
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


# Frames that the processor or assembly code built (names and form as in the public symbols): a trap frame of 0x190 bytes with the
# frame pointer in its middle, and the nonvolatile registers of a thread that is switched out.
_TRAP = ((7, unwind.Push(Reg.RBP)), (14, unwind.Allocate(0x158)), (22, unwind.SetFrame(Reg.RBP, 0x80)))
_KEPT = (Reg.RBX, Reg.RDI, Reg.RSI, Reg.R12, Reg.R13, Reg.R14, Reg.R15)
_FIXED: dict[str, tuple[tuple[int, unwind.Step], ...]] = {
    "KiSystemServiceCopyEnd": ((0, unwind.MachineFrame()), (3, unwind.Allocate(8)), *_TRAP),
    "KiPageFault": ((0, unwind.MachineFrame(True)), *_TRAP),
    "KiSwapContext": (
        (7, unwind.Allocate(0x138)),
        *((16 + 6 * i, unwind.SaveXmm(6 + i, 0x30 + 16 * i)) for i in range(3)),
        *((40 + 5 * i, unwind.Save(reg, 0x100 + 8 * i)) for i, reg in enumerate(_KEPT)),
    ),
    "KeBugCheckEx": ((4, unwind.Allocate(0x28)),),
    "PspSystemThreadStartup": ((5, unwind.Save(Reg.RBX, 0x30)), (9, unwind.Allocate(0x28))),
    "KiStartSystemThread": ((4, unwind.Allocate(0x28)),),
}


def _steps(rng: random.Random) -> list[tuple[int, unwind.Step]]:
    """A prologue as compilers write them: saves in the caller's home area or pushes, then the allocation, perhaps a frame pointer."""
    saved = rng.sample(_KEPT, rng.randrange(4))
    size = 0x30 + 8 * rng.randrange(1, 0x18) if rng.random() < 0.9 else 0x600
    steps: list[tuple[int, unwind.Step]] = []
    at = 0
    if rng.random() < 0.5:
        for reg in saved:
            at += 1 + (reg >= 8)
            steps.append((at, unwind.Push(reg)))
    else:
        at = 5 * len(saved)
    if rng.random() < 0.3:
        at += 1
        steps.append((at, unwind.Push(Reg.RBP)))
        framed = True
    else:
        framed = False
    at += 7
    steps.append((at, unwind.Allocate(size)))
    if saved and not any(isinstance(s, unwind.Push) and s.reg in saved for _, s in steps):
        above = size + 8 + 8 * framed
        steps += [(at, unwind.Save(reg, above + 8 * i)) for i, reg in enumerate(saved)]
    if framed:
        at += 5
        steps.append((at, unwind.SetFrame(Reg.RBP, 16 * rng.randrange(3))))
    return steps


def _exception_table(image: KernelImage, at: int) -> tuple[int, int]:
    """Writes .pdata and the unwind data for every routine; some have a cold part that chains to the hot one."""
    rng = random.Random(f"unwind/{image.guid}")
    routines = sorted((rva, name) for name, rva in (image.exports | image.private).items())
    begins = [rva for rva, _ in routines]
    rows: list[unwind.Row] = []
    infos = bytearray()
    where = at + PAGE
    for (begin, name), following in zip(routines, [*begins[1:], begins[-1] + ROUTINE], strict=True):
        end = min(begin + ROUTINE, following)
        steps = _FIXED.get(name) or _steps(rng)
        second = rng.random() < 0.3 and name not in _FIXED
        split = begin + 0x40 if end - begin > 0x80 and name not in _FIXED and rng.random() < 0.3 else end
        info = unwind.encode(steps, epilogues=(4, (4, 0x28)) if second else None, far=rng.random() < 0.3)
        row = (begin, split, where + len(infos))
        rows.append(row)
        infos += info + bytes(-len(info) % 4)
        if split != end:
            extra: list[tuple[int, unwind.Step]] = []
            rows.append((split, end, where + len(infos)))
            infos += unwind.encode(extra, parent=row)
    table = tables.runtime_functions(rows)
    if max(len(table), len(infos)) > PAGE:
        raise ValueError("the unwind data do not fit")
    image.write(at, table)
    image.write(where, bytes(infos))
    return at, len(table)


_EXPORTED = {
    "MmBuildMdlForNonPagedPool", "MmMapLockedPagesSpecifyCache", "MmProbeAndLockPages", "MmUnlockPages", "MmUnmapLockedPages",
}  # fmt: skip
