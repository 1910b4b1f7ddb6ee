"""The machine under description: RAM, kernel space, pools, the kernel image, objects and the lists that tie them together.

`Machine` only owns the parts; modules beside it (processes, io, packets, cpu, pfn, kdbg, decoys) put objects in.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import kernel_image
from .layouts import Layouts
from .physical import PAGE, Physical, Use
from .pool import NONPAGED, PAGED, Pool
from .record import Record
from .regions import SEGMENT_HEAP, TEN, kernel_regions
from .space import LARGE, Space

if TYPE_CHECKING:
    from .io import Driver
    from .packets import Mdl
    from .pe.load import LoadedImage
    from .processes import Process, Thread

KUSER = 0xFFFF_F780_0000_0000  # KUSER_SHARED_DATA, the same on every x64 Windows
OBJECT_HEADER = 0x30

# Object types and an index each: order and numbers differ between builds, the table in nt tells.
OBJECT_TYPES = ("Type", "Directory", "SymbolicLink", "Token", "Job", "Process", "Thread", "Event", "Driver", "Device", "File", "Section")


@dataclass(slots=True)
class Module:
    """One entry of the loaded module list."""

    name: str
    base: int
    size: int
    timestamp: int
    version: tuple[int, int, int, int]
    path: str
    entry_point: int
    exception_table: tuple[int, int] = (0, 0)
    kldr: int = 0
    symbols: dict[str, int] = field(default_factory=dict)  # name -> address
    image: LoadedImage | None = None

    def return_from(self, callee: str, fallback: str) -> int:
        """The address behind a call of an imported routine; somewhere in the fallback routine where there is none."""
        found = self.image.returns(callee) if self.image else []
        return self.base + found[0] if found else self.symbols[fallback] + 0x11


@dataclass(slots=True)
class Decoy:
    """A value that looks like evidence and is none."""

    kind: str
    physical: int
    value: int


class Machine:
    """An x64 Windows machine of one build."""

    def __init__(
        self, build: int, seed: int, *, genuine: bool = False, frames: int = 0, layout_seed: int | None = None,
        large_pool: bool | None = None,
    ) -> None:  # fmt: skip
        self.build = build
        self.seed = seed
        # Two streams of chance: what happens, and where in memory it happens. The same story can be told at other addresses.
        self.rng = random.Random(f"{build}/{seed}")
        self.places = random.Random(f"places/{build}/{seed if layout_seed is None else f'other/{layout_seed}'}")
        rng = self.places
        self.layouts = Layouts(build, seed)
        low, high = 0xE00, 0x400 + frames
        self.runs = [(1, 0x9E), (0x100, low), (0x10_0000 + rng.randrange(0x1000) * 0x100, high)]
        self.physical = Physical(rng, self.runs)
        regions = kernel_regions(build, rng)
        self.regions = regions
        self.space = Space(self.physical, rng, self_map=regions.self_map)
        nt = kernel_image.build(build, self.rng, rng, genuine=genuine)
        self.kernel = nt
        self.nt_large = not genuine and rng.random() < 0.5
        self.nt_base = regions.images
        self.next_image = self.nt_base + -(-nt.size // LARGE) * LARGE + rng.randrange(4, 64) * LARGE
        # Large pages first: they need neighbouring frames, the rest of the machine scatters.
        wanted = rng.random() < 0.4 if large_pool is None else large_pool
        large = self.physical.take_run(512, Use.KERNEL, 512) if wanted else 0
        self._map_kernel()
        if regions.drivers:
            self.next_image = regions.drivers
        crossing = build >= SEGMENT_HEAP
        self.nonpaged = Pool(self.space, self.physical, rng, regions.nonpaged, NONPAGED, crossing=crossing)
        if large:
            self.nonpaged.use_large_page(large)
        self.paged = Pool(self.space, self.physical, rng, regions.paged, PAGED, transition=rng.choice((0.0, 0.5)), crossing=crossing)
        self.system_ptes = regions.system_ptes
        self.next_system_pte = self.system_ptes
        self.pfn_database = regions.pfn_database
        self.fanned_out = self.rng.random() < 0.5  # where a kernel can: the process object's own counter stays 0
        self.object_cookie = rng.randrange(1, 256) if build >= TEN else 0
        self.pool_cookie = rng.getrandbits(64) | 1
        self.modules: list[Module] = []
        self.unloaded: list[tuple[str, int, int]] = []
        self.drivers: dict[str, Driver] = {}
        self.images: list[LoadedImage] = []  # for invented drivers, instead of the forge's own
        self.processes: list[Process] = []  # in creation order, living and dead
        self.threads: list[Thread] = []
        self.decoys: list[Decoy] = []
        self.lookasides: dict[int, list[int]] = {0: [], 1: [], 2: [], 3: []}  # small, medium, large IRPs, MDLs: freed entries
        self.labels: dict[str, int] = {}  # label -> virtual address of evidence
        self.further: dict[str, str] = {}  # label of a further page -> that of the first
        self.pins: dict[int, int] = {}  # pfn -> locks that stand on it
        self.locks: list[tuple[Process, Mdl]] = []  # every MDL that is charged
        self.shared: dict[int, int] = {}  # pfn of a section's page -> how many processes map it
        self.mapped_user: set[int] = set()
        self.user_va: dict[int, int] = {}  # pfn of a user page -> its address while the process lived
        self.time = 132_500_000_000_000_000 + self.rng.randrange(10**15)  # FILETIME of late 2020 and after
        self.type_objects: dict[str, int] = {}
        self.types = {name: index for index, name in enumerate(OBJECT_TYPES, 2)}
        self._map_shared_page()
        self._make_types()
        self._system_modules()

    # Kernel image and shared page

    def _map_kernel(self) -> None:
        nt, space = self.kernel, self.space
        if self.nt_large:
            for at in range(0, nt.size, LARGE):
                space.map_large(self.nt_base + at, self.physical.take_run(512, Use.KERNEL, 512), execute=True)
        else:
            for page in sorted(nt.pages):
                space.map(self.nt_base + page * PAGE, self.physical.take(Use.KERNEL), execute=nt.genuine or 0 < page < 0x90)
        for page, data in nt.pages.items():
            space.write(self.nt_base + page * PAGE, bytes(data))

    def _map_shared_page(self) -> None:
        shape = self.layouts["KUSER_SHARED_DATA"]
        self.space.map(KUSER, self.physical.take(Use.KERNEL), write=False)
        page = Record(shape)
        major, minor = self.kernel.version[:2]
        page.set("NtMajorVersion", major).set("NtMinorVersion", minor).set("NtProductType", 1)
        page.set("NumberOfPhysicalPages", sum(count for _, count in self.runs))
        page.put("NtSystemRoot", "C:\\Windows\0".encode("utf-16-le"))
        if "NtBuildNumber" in shape:
            page.set("NtBuildNumber", self.build)
        self.space.write(KUSER, bytes(page))

    def symbol(self, name: str) -> int:
        """Address of one of nt's globals."""
        return self.nt_base + self.kernel.symbols[name]

    def in_kernel(self, address: int) -> bool:
        """Whether an address lies in nt."""
        return self.nt_base <= address < self.nt_base + self.kernel.size

    def set_global(self, name: str, *values: int) -> None:
        if name in self.kernel.symbols:
            self.space.write(self.symbol(name), struct.pack(f"<{len(values)}Q", *values))

    # Strings, objects

    def text(self, text: str, *, tag: bytes = b"IoNm", pool: Pool | None = None) -> int:
        """A UTF-16 string with its NUL in paged pool."""
        data = text.encode("utf-16-le", "surrogatepass") + b"\0\0"
        at = (pool or self.paged).alloc(len(data), tag)
        self.space.write(at, data)
        return at

    def object(self, kind: str, size: int, tag: bytes, *, name: str = "", pointers: int = 1, handles: int = 0) -> int:
        """Body address of a new executive object: pool block, optional headers, object header; the body is still zero."""
        info = b""
        mask = 0
        if kind in ("Process", "Thread", "File"):
            mask |= 0x08  # quota information: the one furthest from the header of those used here
            info = bytes(0x20)
        if kind == "Process":
            mask |= 0x04  # handle information
            info += bytes(0x10)
        if name:
            mask |= 0x02
            info += bytes(
                Record(self.layouts["OBJECT_HEADER_NAME_INFO"])
                .string("Name", len(name), self.text(name, tag=b"ObNm"))
                .set("ReferenceCount", 1)
            )
        body = self.nonpaged.alloc(len(info) + OBJECT_HEADER + size, tag) + len(info) + OBJECT_HEADER
        header = body - OBJECT_HEADER
        index = self.types[kind]
        if self.build >= TEN:
            index ^= (header >> 8 & 0xFF) ^ self.object_cookie
        record = Record(self.layouts["OBJECT_HEADER"])
        record.set("PointerCount", pointers).set("HandleCount", handles).set("TypeIndex", index).set("InfoMask", mask)
        self.space.write(header - len(info), info + bytes(record)[:OBJECT_HEADER])
        return body

    def write_object(self, address: int, record: Record) -> int:
        self.space.write(address, bytes(record))
        return address

    def _make_types(self) -> None:
        shape = self.layouts["OBJECT_TYPE"]
        table = [0, self.nt_base]  # entry 1 of the real table is a poison address
        for name in OBJECT_TYPES:
            at = self.nonpaged.alloc(OBJECT_HEADER + shape.size, b"ObjT") + OBJECT_HEADER
            record = Record(shape).links("TypeList", at, at).string("Name", len(name), self.text(name, tag=b"ObNm"))
            record.set("Index", self.types[name]).put("Key", name[:4].encode())
            self.type_objects[name] = self.write_object(at, record)
            table.append(at)
        self.set_global("ObTypeIndexTable", *table)
        self.set_global("ObHeaderCookie", self.object_cookie)
        self.set_global("ExpPoolQuotaCookie", self.pool_cookie)
        for name, kind in (
            ("PsProcessType", "Process"),
            ("PsThreadType", "Thread"),
            ("IoDriverObjectType", "Driver"),
            ("IoDeviceObjectType", "Device"),
            ("IoFileObjectType", "File"),
        ):
            self.set_global(name, self.type_objects[kind])

    # Mapped regions

    def system_pages(self, count: int) -> int:
        """Neighbouring kernel pages outside the pools, behind a guard page: stacks, the processor block."""
        va = self.next_system_pte + PAGE
        for page in range(count):
            self.space.map(va + page * PAGE, self.physical.take(Use.KERNEL))
        self.next_system_pte = va + (count + self.places.randrange(1, 8)) * PAGE
        return va

    # Modules

    def _system_modules(self) -> None:
        nt = self.kernel
        self.modules.append(
            Module(
                nt.name, self.nt_base, nt.size, nt.timestamp, nt.version, "\\SystemRoot\\system32\\ntoskrnl.exe",
                self.nt_base + nt.entry, symbols={n: self.nt_base + r for n, r in nt.exports.items()},
            )
        )  # fmt: skip
        self.label("nt_image_header", self.nt_base)

    def resolve(self, dll: str, name: str) -> int:
        for module in self.modules:
            if module.name == dll and name in module.symbols:
                return module.symbols[name]
        raise KeyError(f"{dll}!{name}")

    def load(self, image: LoadedImage, folder: str = "\\SystemRoot\\System32\\drivers\\") -> Module:
        """Maps a driver image at a random address above nt and enters it in the module list."""
        base = self.next_image
        self.next_image = base + image.size_of_image + self.places.randrange(1, 0x40) * 0x10000 & ~0xFFFF
        for page, data in sorted(image.layout(base, self.resolve).items()):
            self.space.map(base + page * PAGE, self.physical.take(Use.KERNEL), execute=True)
            self.space.write(base + page * PAGE, data)
        symbols = {name: base + rva for name, rva in image.symbols.items()}
        module = Module(
            image.name,
            base,
            image.size_of_image,
            image.timestamp,
            image.version,
            folder + image.name,
            base + image.entry,
            (base + image.exception_table[0], image.exception_table[1]) if image.exception_table[1] else (0, 0),
            symbols=symbols,
            image=image,
        )
        self.modules.append(module)
        return module

    def drop(self, module: Module) -> None:
        """Takes an image out of memory and out of the module list; a record of it is the story's to make."""
        self.modules.remove(module)
        for va in range(module.base, module.base + module.size, PAGE):
            if self.space.translate(va) is not None:
                self.space.unmap(va)

    # Evidence and decoys

    def label(self, label: str, address: int, size: int = 1) -> None:
        """Names evidence; where it crosses a page boundary, `label+1` and so on name the further pages."""
        self.labels[label] = address
        for number, page in enumerate(range((address & ~0xFFF) + PAGE, address + size, PAGE), 1):
            self.labels[f"{label}+{number}"] = page
            self.further[f"{label}+{number}"] = label

    def decoy(self, kind: str, address: int, value: int) -> None:
        """Remembers that value stands at a kernel address."""
        pa = self.space.translate(address)
        if pa is None:
            raise ValueError(f"decoy {kind} at {address:#x} is not mapped")
        self.decoys.append(Decoy(kind, pa, value))

    def evidence_frames(self) -> Iterator[tuple[str, int]]:
        for label, address in self.labels.items():
            pa = self.space.translate(address)
            if pa is None:
                raise ValueError(f"evidence {label} at {address:#x} is not mapped")
            yield label, pa >> 12
