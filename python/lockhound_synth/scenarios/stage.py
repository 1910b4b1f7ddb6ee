"""A stage for a story: a plausible Windows system with its usual drivers and processes; the story adds what went wrong, the stage
writes the truth down and closes the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lockhound_synth import cpu, debugger_block, decoys, frames, io, processes, stacks
from lockhound_synth.containers import HeaderFields
from lockhound_synth.cpu import Crash
from lockhound_synth.driver_image import plain_image
from lockhound_synth.forge import Forged, ForgeError
from lockhound_synth.io import Device, Driver
from lockhound_synth.machine import Machine
from lockhound_synth.packets import Irp, Mdl
from lockhound_synth.pe.load import LoadedImage
from lockhound_synth.processes import Process
from lockhound_synth.truth import DRIVER, EXIT, LOCKED, Truth, hexadecimal

from . import background

# Windows' own, by the names everybody knows; all others are invented.
SYSTEM_DRIVERS = (
    ("acpi", ("IoBuildDeviceIoControlRequest",)), ("pci", ("IoBuildDeviceIoControlRequest",)),
    ("disk", ("IoBuildAsynchronousFsdRequest", "IoBuildPartialMdl")), ("storport", io.LOCKING), ("fltmgr", io.LOCKING),
    ("ntfs", io.LOCKING), ("usbhub3", ("IoAllocateIrp", "IoFreeIrp")), ("usbxhci", ("IoAllocateMdl", "IoFreeMdl")), ("mouclass", ()),
)  # fmt: skip
INVENTED = (
    "qvgrab", "tarnscope", "mosspump", "grelbus", "wickfilt", "ostercap", "plumdaq", "vexlink", "harnpci", "sorrelio", "dunmark",
    "kelprec", "fennport", "brackmon", "yarrowx",
)  # fmt: skip
PROGRAMS = ("smss.exe", "csrss.exe", "wininit.exe", "services.exe", "svchost.exe", "explorer.exe", "dwm.exe", "audiosrv.exe")
VICTIMS = ("capture.exe", "scopeview.exe", "labrun.exe", "mixdesk.exe", "filmcut.exe")


class Stage:
    """Collects what the story makes; `finish` turns it into a Forged."""

    def __init__(
        self, scenario: str, build: int, seed: int, *, genuine: bool = False, images: Mapping[str, LoadedImage] | None = None,
        layout_seed: int | None = None, frames: int = 0, large_pool: bool | None = None,
    ) -> None:  # fmt: skip
        self.scenario = scenario
        # Each scenario gets addresses of its own from the same seed.
        own = sum(scenario.encode())
        self.machine = Machine(
            build,
            seed * 1000 + own,
            genuine=genuine,
            frames=frames,
            large_pool=large_pool,
            layout_seed=None if layout_seed is None else layout_seed * 1000 + own,
        )
        self.machine.images = [image.renamed(name) for name, image in sorted((images or {}).items())]
        self.seed = seed
        self.rng = self.machine.rng
        self.names = self.rng.sample(INVENTED, len(INVENTED))
        self.system = processes.make_process(self.machine, "System", 4, parent=0, threads=3)
        pids = self.rng.sample(range(100, 2500), 20)
        self.pids = iter(4 * pid for pid in pids)
        self.others = [processes.make_process(self.machine, name, next(self.pids)) for name in self.rng.sample(PROGRAMS, 5)]
        self.windows: dict[str, Driver] = {}
        hal = plain_image(
            "hal.dll", self.rng, imports=("KeBugCheckEx",), file_version=self.machine.kernel.version, company="Microsoft Corporation"
        )
        self.machine.load(hal, "\\SystemRoot\\system32\\")
        for name, imports in SYSTEM_DRIVERS:
            self.windows[name] = io.make_driver(self.machine, name, imports=imports)
        self.victim: Process | None = None  # the process that ended
        self.charged: Process | None = None  # the process whose ledger it is, where none ended
        self.callers: list[int] = []  # return addresses under KeBugCheckEx, where the crash is not a process's deletion
        self.disk: Device
        self.port: Device
        self.current: Process = self.others[0]
        self.code = 0x76
        self.parameters: tuple[int, int, int, int] | None = None
        self.ledger: list[dict[str, Any]] = []
        self.considered: list[dict[str, Any]] = []
        self.irps: list[dict[str, Any]] = []
        self.named: list[dict[str, Any]] = []
        self.kind = DRIVER
        self.missing: list[str] = []
        self.no_ledger = False
        self.holders: dict[int, Driver] = {}  # MDL address -> driver in whose packet it waits
        self.old: list[tuple[Process, Mdl]] = []  # unlocked and freed ones of living processes
        self.without_mdl = 0  # pages charged to the victim that no MDL describes any more
        self.description = ""
        self.subject: dict[str, Any] | None = None  # of a bug check about no leak
        self.cast: list[Driver] = []  # drivers whose objects are evidence
        self.guilty: list[Driver] = []
        self.explained_range: tuple[int, int] | None = None  # where copies can't be told from locks
        self.afterwards: list[Callable[[], None]] = []  # what a story spoils in finished structures
        self.aliases: dict[str, str] = {}
        self.waiting: dict[int, list[tuple[int, int]]] = {}  # threads that are switched out, with their frames
        self.lose_stack = False  # the crashing thread's stack was not captured beyond its first page
        self.blamed: Driver | None = None  # whose name the kernel puts on the blue screen
        if self.rng.random() < 0.3:
            self.current = self.system  # the last reference went in a worker thread
        background.populate(self)

    # Things stories make

    def invent(
        self,
        *,
        imports: tuple[str, ...] = io.LOCKING,
        shown: str = "",
        never: tuple[str, ...] = (),
        pointers: bool = False,
        tag: bytes = b"",
    ) -> Driver:
        """A driver of some vendor that does not exist; shown under another name, surely without some imports, with a pool tag."""
        version = (self.rng.randrange(1, 9), self.rng.randrange(20), self.rng.randrange(5000), self.rng.randrange(200))
        driver = io.make_driver(
            self.machine, self.names.pop(), imports=imports, file_version=version, shown=shown, never=never, pointers=pointers, tag=tag
        )
        self.cast.append(driver)
        return driver

    def make_victim(self, name: str = "") -> Process:
        """The process that ended with locked pages."""
        name = name or self.rng.choice(VICTIMS)
        self.victim = processes.make_process(self.machine, name, next(self.pids), parent=self.others[-1].pid, alive=False)
        self.machine.label("eprocess", self.victim.address, self.machine.layouts["EPROCESS"].size)
        return self.victim

    def charge(self, mdl: Mdl, holder: Driver | None, *, state: str = LOCKED, pages: int = 0) -> None:
        """Enters a standing lock in the ledger; pages where the structure tells of fewer than were locked."""
        number = len(self.ledger)
        self.ledger.append(
            {
                "address": hexadecimal(mdl.address),
                "pages": pages or mdl.pages,
                "state": state,
                "holder": holder.module.name if holder else None,
            }
        )
        self.machine.label(f"mdl:{number}", mdl.address, 0x30 + 8 * mdl.pages)
        for page in self._count_pages(mdl)[:4]:
            self._label_counts(page)

    def hold(self, mdl: Mdl, driver: Driver) -> None:
        """Remembers who holds an MDL, for the ledger of whoever is charged in the end."""
        self.holders[mdl.address] = driver

    def consider(self, mdl: Mdl, why: str) -> None:
        self.machine.label(f"considered:{len(self.considered)}", mdl.address, 0x30 + 8 * mdl.pages)
        self.considered.append({"address": hexadecimal(mdl.address), "why": why})

    def lose_counts(self, mdl: Mdl) -> None:
        """The pages with the PFN entries of an MDL's frames were not captured."""
        for page in self._count_pages(mdl):
            self.missing.append(self._label_counts(page))

    def _count_pages(self, mdl: Mdl) -> list[int]:
        """The pages of the PFN database with the entries of an MDL's frames."""
        size = self.machine.layouts["MMPFN"].size
        entries = [self.machine.pfn_database + pfn * size for pfn in mdl.frames]
        return sorted({at & ~0xFFF for first in entries for at in (first, first + size - 1)})

    def _label_counts(self, page: int) -> str:
        known = {address: label for label, address in self.machine.labels.items() if label.startswith("counts:")}
        label = known.get(page, f"counts:{len(known)}")
        self.machine.label(label, page)
        return label

    def note_irp(self, irp: Irp, state: str, device: Device | None, *, label: bool = True) -> None:
        if label:
            number = sum(1 for entry in self.irps if entry["labelled"])
            self.machine.label(f"irp:{number}", irp.address, irp.size)
        self.irps.append(
            {
                "address": hexadecimal(irp.address),
                "state": state,
                "stack_count": irp.stack_count,
                "current": irp.current,
                "mdl": hexadecimal(irp.mdl) if irp.mdl else None,
                "driver": device.driver.module.name if device else None,
                "labelled": label,
            }
        )
        if device is not None and label:
            self.machine.label(f"device:{device.driver.name}", device.address)
            if device.driver not in self.cast:
                self.cast.append(device.driver)

    def name(self, driver: Driver, pages: int) -> None:
        """A driver that the right verdict names."""
        self.named.append({"name": driver.module.name, "pages": pages})
        self.guilty.append(driver)

    def unload(self, size: int) -> tuple[str, int]:
        """A driver of some vendor that was unloaded: the kernel remembers its name and range, and nothing is mapped there."""
        name = f"{self.names.pop()}.sys"
        base = self.machine.next_image
        self.machine.next_image = base + 0x10_0000
        self.machine.unloaded.append((name, base, base + size))
        return name, base

    def charge_gone(self, mdl: Mdl, name: str) -> None:
        """A standing lock of a driver that was unloaded, which the right verdict names."""
        self.charge(mdl, None)
        self.ledger[-1]["holder"] = name
        self.named.append({"name": name, "pages": mdl.pages})

    # The end

    def finish(self) -> Forged:
        machine = self.machine
        subject = self.victim or self.charged
        if self.parameters is None:
            if subject is None:
                raise ValueError("a story needs a victim or parameters of its own")
            self.parameters = (0, subject.address, subject.locked, 0)
        thread = self.current.threads[0]
        crash = Crash(self.code, self.parameters, thread, callers=self.callers)
        if self.seed % 3 == 0:
            machine.unloaded.append(("gonedrv.sys", machine.next_image + 0x200000, machine.next_image + 0x20A000))
        for waiter in machine.threads:
            if waiter.alive and waiter is not thread and waiter.address not in self.waiting:
                self.waiting[waiter.address] = stacks.switch_out(machine, waiter).frames
        frames.reserve(machine)
        decoys.plant(machine, subject or self.others[1])
        io.fill_in(machine)
        if self.blamed is not None:
            name = machine.layouts["KLDR_DATA_TABLE_ENTRY"].offset("BaseDllName")
            machine.set_global("KiBugCheckDriver", self.blamed.module.kldr + name)
        cpu.fill_in(machine, crash)
        if self.callers:
            self._label_stack(crash)
        debugger_block.fill_in(machine)
        processes.fill_in(machine)
        for spoil in self.afterwards:
            spoil()
        decoys.of_objects(machine, subject or self.others[1], crash)
        frames.fill_in(machine)
        if self.victim is None and subject is not None:
            self._charge_living(subject)
        evidence = self._evidence()
        self._balance(subject, {evidence[label] for label in self.missing})
        header = HeaderFields(
            build=machine.build,
            dtb=self.current.space.dtb,
            pfn_database=machine.symbol("MmPfnDatabase"),
            module_list=machine.symbol("PsLoadedModuleList"),
            process_list=machine.symbol("PsActiveProcessHead"),
            processors=1,
            bugcheck=self.code,
            parameters=self.parameters,
            debugger_block=machine.symbol("KdDebuggerDataBlock"),
            runs=tuple(machine.runs),
            context=crash.context,
            rip=machine.nt_base + machine.kernel.exports["KeBugCheckEx"],
            time=machine.time,
            uptime=machine.rng.randrange(10**10, 10**12),
        )
        forged = Forged(machine, self._truth(crash), header, {p: bytes(d) for p, d in machine.physical.frames.items()}, evidence)
        forged = replace(forged, stack=crash.frames, waiting=self.waiting)
        forged.check()
        gone = {evidence[label] for label in self.missing}
        return forged.without(gone) if gone else forged

    def _label_stack(self, crash: Crash) -> None:
        """The pages with the frames that lead from the bug check to its cause are evidence."""
        pages = sorted({at & ~0xFFF for at, _ in crash.frames})
        for number, page in enumerate(pages):
            self.machine.label(f"stack:{number}", page)
            if self.lose_stack:
                self.missing.append(f"stack:{number}")

    def _charge_living(self, subject: Process) -> None:
        """A living process's ledger holds the requests it has in flight."""
        for process, mdl in self.machine.locks:
            if process is subject:
                self.charge(mdl, self.holders.get(mdl.address), pages=mdl.told)
        for process, mdl in self.old:
            if process is subject:
                self.consider(mdl, "unlocked")

    def _balance(self, subject: Process | None, gone: set[int]) -> None:
        """Raises ForgeError where counters, pins and the ledger that the story wrote don't add up."""
        machine = self.machine
        counted: dict[int, int] = {}
        for process, mdl in machine.locks:
            counted[process.pid] = counted.get(process.pid, 0) + mdl.pages
        if self.victim is not None:
            counted[self.victim.pid] = counted.get(self.victim.pid, 0) + self.without_mdl
        for process in machine.processes:
            if process.locked != counted.get(process.pid, 0):
                raise ForgeError(f"{process.name} is charged {process.locked} pages, its locks cover {counted.get(process.pid, 0)}")
        if sum(machine.pins.values()) != sum(counted.values()):
            raise ForgeError("the pins of the frames are not those of the locks")
        if self.no_ledger:
            return
        standing = {
            hexadecimal(mdl.address)
            for process, mdl in machine.locks
            if process is subject and (machine.space.translate(mdl.address) or 0) >> 12 not in gone
        }
        if standing != {entry["address"] for entry in self.ledger}:
            raise ForgeError("the ledger is not the list of standing locks")

    def _evidence(self) -> dict[str, int]:
        """Frames of the evidence; of drivers only those that play a part. The first named driver's also without its name."""
        told = {f":{d.name}" for d in self.cast} | {f":{d.module.name}" for d in self.cast} | {":ntoskrnl.exe"}
        out: dict[str, int] = {}
        first = self.guilty[0] if self.guilty else None
        for label, frame in self.machine.evidence_frames():
            whole = self.machine.further.get(label, label)
            head, _, tail = whole.partition(":")
            if tail and not tail.isdigit() and f":{tail}" not in told:
                continue
            out[label] = frame
            if first is not None and tail in (first.name, first.module.name):
                out[head + label.removeprefix(whole)] = frame
        # The page tables that lead to the first MDL and packet, and the root that the dump's header names.
        places = [at for label, at in self.machine.labels.items() if label in ("mdl:0", "irp:0")]
        tables = sorted({frame for at in places for frame in self.machine.space.table_frames(at)})
        out.update({f"page_table:{number}": frame for number, frame in enumerate(tables)})
        out["page_root"] = self.current.space.root
        return out

    def _truth(self, crash: Crash) -> Truth:
        machine = self.machine
        subject = self.victim or self.charged
        charged = subject.locked if subject else None
        explained = sum(entry["pages"] for entry in self.ledger)
        drivers = sorted(self.named, key=lambda entry: (-int(entry["pages"]), entry["name"]))  # a tie must not hang on addresses
        guilty = {entry["name"] for entry in drivers}
        ledger: dict[str, Any] = {"charged": charged, "explained": explained, "unexplained": None, "mdls": self.ledger}
        if charged is not None:
            ledger["unexplained"] = max(0, charged - explained)
        if self.explained_range is not None:
            ledger["explained_range"] = list(self.explained_range)
        return Truth(
            scenario=self.scenario,
            build=machine.build,
            seed=self.seed,
            description=self.description,
            bugcheck={"code": crash.code, "parameters": [hexadecimal(p) for p in crash.parameters]},
            dtb=hexadecimal(self.current.space.dtb),
            process=_describe(subject) if subject else None,
            current_process=_describe(self.current),
            verdict={"kind": self.kind, "driver": drivers[0]["name"] if drivers else None, "drivers": drivers},
            ledger={"charged": None, "explained": 0, "unexplained": None, "mdls": []} if self.no_ledger else ledger,
            considered=self.considered,
            innocents=sorted(m.name for m in machine.modules if m.name not in guilty),
            irps=self.irps,
            modules=[
                {
                    "name": m.name,
                    "base": hexadecimal(m.base),
                    "size": m.size,
                    "timestamp": m.timestamp,
                    "version": "{}.{}.{}.{}".format(*m.version),
                }
                for m in machine.modules
            ],
            processes=[_describe(p) for p in machine.processes],
            decoys=[{"kind": d.kind, "physical": hexadecimal(d.physical), "value": hexadecimal(d.value)} for d in machine.decoys],
            absent_labels=list(self.missing),
            aliases=self.aliases,
            unloaded=[name for name, _, _ in machine.unloaded],
            exit_status=EXIT[self.kind],
            subject=self.subject,
        )


def _describe(process: Process) -> dict[str, Any]:
    return {
        "address": hexadecimal(process.address), "name": process.name, "pid": process.pid, "alive": process.alive,
        "locked_pages": process.locked,
    }  # fmt: skip
