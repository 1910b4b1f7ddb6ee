"""The pieces that situations are built of: a stage whose books need not balance, its actors, and what the verdict may say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lockhound_synth import io, packets, processes, stacks
from lockhound_synth.forge import Forged
from lockhound_synth.io import Device, Driver, File
from lockhound_synth.machine import Machine
from lockhound_synth.packets import CONTROL, ON_ALL, PENDING_RETURNED, READ, Irp, Mdl, Slot
from lockhound_synth.processes import Process, Thread
from lockhound_synth.regions import SEGMENT_HEAP
from lockhound_synth.scenarios.stage import Stage

MAKING = io.MAKING
BUILDING = (*io.LOCKING, "IoBuildDeviceIoControlRequest")
SPLITTING = ("IoAllocateIrp", "IoFreeIrp", "IoAllocateMdl", "IoFreeMdl", "IoBuildPartialMdl")
INTERNAL = 15  # IRP_MJ_INTERNAL_DEVICE_CONTROL
KERNEL_STACK = 0xFFFF_F800_0000_1000  # where a status block on a kernel stack would be

UNNAMED = frozenset({"unattributed", "insufficient"})
NAMED = frozenset({"driver"})
OPEN = UNNAMED | NAMED  # the guilty one, or nobody


@dataclass(frozen=True, slots=True)
class Cast:
    """Who may be named, what kinds of verdict are right, the pages of the lock where they are named, and words of the reason."""

    guilty: frozenset[str]
    kinds: frozenset[str]
    pages: int | None = None
    because: str = ""


def named(driver: Driver, mdl: Mdl | int) -> Cast:
    """The facts are clear: this driver, and all its pages."""
    return Cast(frozenset({driver.module.name}), NAMED, mdl if isinstance(mdl, int) else mdl.pages)


def at_most(driver: Driver) -> Cast:
    """This driver or nobody."""
    return Cast(frozenset({driver.module.name}), OPEN)


def nobody(*kinds: str, because: str = "") -> Cast:
    """No driver at all; of these kinds, or of any that names none."""
    return Cast(frozenset(), frozenset(kinds) or UNNAMED, because=because)


class Loose(Stage):
    """A stage that may leave the books as they are: no ledger is promised, and counters need not be those of the locks."""

    def __init__(self, title: str, build: int, seed: int, frames: int = 0, large_pool: bool | None = None) -> None:
        super().__init__(title, build, seed, frames=frames, large_pool=large_pool)
        self.no_ledger = True
        self.kind = "unattributed"

    def _balance(self, subject: Process | None, gone: set[int]) -> None:
        del subject, gone


class Scene:
    """One machine in the making. With `trap` an innocent driver looks guilty; without, the same machine is an ordinary case."""

    def __init__(self, title: str, build: int, seed: int, *, trap: bool, frames: int = 0, large_pool: bool | None = None) -> None:
        self.stage = Loose(title, build, seed, frames, large_pool)
        self.trap = trap
        self.victim: Process = self.stage.make_victim()
        self.devices = 0
        self.processors = 1

    @property
    def machine(self) -> Machine:
        return self.stage.machine

    @property
    def stranger(self) -> Process:
        """A living process that has nothing to do with the case."""
        return self.stage.others[0]

    def finish(self) -> Forged:
        forged = self.stage.finish()
        return replace(forged, header=replace(forged.header, processors=self.processors))

    def later(self, change: Callable[[], None]) -> None:
        """A change to structures that are written at the end: driver and device objects, the list of modules."""
        self.stage.afterwards.append(change)

    def lose(self, label: str, address: int) -> None:
        """The page of an object is not captured."""
        self.machine.label(label, address)
        self.stage.missing.append(label)

    # Drivers

    def driver(self, imports: tuple[str, ...] = (), *, above: Device | None = None) -> tuple[Driver, Device]:
        """Some vendor's driver with one device."""
        driver = self.stage.invent(imports=imports)
        return driver, self.device(driver, above=above)

    def device(self, driver: Driver, *, above: Device | None = None) -> Device:
        self.devices += 1
        return io.make_device(self.machine, driver, name="" if above else f"Unit{self.devices}", above=above, extension=0x200)

    def keeper(self, mdl: Mdl) -> Driver:
        """A driver that locked an MDL itself and knows it only in its device extension."""
        driver, device = self.driver(io.LOCKING)
        self.machine.space.write_u64(device.extension + 0x20, mdl.address)
        return driver

    def waits(self, value: int, *drivers: Driver, frame: int = 0, loose: bool = False) -> int:
        """A thread waits in code of these drivers, innermost first, and one of them has a value in a register (-1: a routine of nt's wait),
        or only in a word of its frame; where it stands."""
        thread = processes.make_thread(self.machine, self.stage.system)
        returns = [driver.module.return_from("ExAllocatePoolWithTag", "Worker") for driver in drivers]
        laid = stacks.switch_out(self.machine, thread, returns, None if loose else (frame, value))
        self.stage.waiting[thread.address] = laid.frames
        if not loose:
            return next(iter(laid.held.values()))
        at = laid.frames[4 + frame][0] + 0x18  # of any frame: no register is saved there. Four frames of the wait come first
        self.machine.space.write_u64(at, value)
        self.machine.label("stack", at)
        self.machine.label("thread", thread.address)
        return at

    # Locks

    def lock(self, pages: int = 5, process: Process | None = None) -> Mdl:
        return packets.make_mdl(self.machine, process or self.victim, pages, mapped=False)

    def free_silently(self, mdl: Mdl) -> None:
        """Frees it. A segment heap leaves the pool's header as it was."""
        header = self.machine.space.read(mdl.address - 0x10, 0x10)
        self.machine.nonpaged.free(mdl.address)
        if self.machine.build >= SEGMENT_HEAP:
            self.machine.space.write(mdl.address - 0x10, header)

    # Packets

    def field(self, irp: Irp, name: str, value: int) -> None:
        self.machine.space.write_u64(irp.address + self.machine.layouts["IRP"].offset(name), value)

    def request(
        self, mdl: Mdl | None, device: Device, *, thread: Thread | None = None, file: File | None = None, current: int = 1,
        linked: str = "", alone: bool = False, lookaside: bool | None = None, arguments: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> Irp:  # fmt: skip
        """The I/O manager's packet of the victim (or of another thread's process), pending in a device."""
        file = file or io.make_file(self.machine, device)
        slot = Slot(device, CONTROL, file=file, control=PENDING_RETURNED, arguments=arguments)
        return packets.make_irp(
            self.machine, [slot], current, mdl=mdl or 0, thread=thread or self.victim.threads[0], file=file, linked=linked, alone=alone,
            lookaside=lookaside,
        )  # fmt: skip

    def filtered(self, mdl: Mdl | None, device: Device, *, alone: bool = False) -> Irp:
        """The I/O manager's packet of the victim, pending in a filter; the location below is still unused."""
        bottom = device.below or device
        file = io.make_file(self.machine, bottom)
        slot = Slot(device, READ, file=file, control=PENDING_RETURNED)
        return packets.make_irp(
            self.machine,
            [None, slot],
            2,
            mdl=mdl or 0,
            thread=self.victim.threads[0],
            file=file,
            flags=packets.IRP_READ_FLAGS,
            alone=alone,
        )

    def own(
        self, maker: Driver | None, device: Device, mdl: Mdl | int, *, back: bool = False, lookaside: bool | None = None,
        alone: bool = False, arguments: tuple[int, int, int, int] = (0, 0, 0, 0), context: int = 0,
    ) -> Irp:  # fmt: skip
        """A driver's own packet, sent to a device; maker=None: without a completion routine; back: it came back."""
        completion = maker.module.symbols["Complete"] if maker else 0
        control = (ON_ALL if maker else 0) | PENDING_RETURNED
        slot = Slot(device, INTERNAL, completion=completion, context=context, control=control, arguments=arguments)
        return packets.make_irp(self.machine, [slot], 2 if back else 1, mdl=mdl, manager=False, flags=0, lookaside=lookaside, alone=alone)

    def disguised(self, maker: Driver, device: Device, mdl: Mdl, file: File, *, iosb: int | None) -> Irp:
        """A driver's own packet into which it copied file, thread and mode of the request it serves."""
        slot = Slot(device, INTERNAL, completion=maker.module.symbols["Complete"], control=ON_ALL | PENDING_RETURNED)
        return packets.make_irp(
            self.machine, [slot], 1, mdl=mdl, thread=self.victim.threads[0], file=file, linked="none", flags=0, iosb=iosb
        )

    def threaded(self, device: Device, mdl: Mdl, thread: Thread) -> Irp:
        """A packet of IoBuildDeviceIoControlRequest: kernel mode, no file, queued to the thread that asked."""
        slot = Slot(device, INTERNAL, control=PENDING_RETURNED)
        return packets.make_irp(self.machine, [slot], 1, mdl=mdl, thread=thread, manager=False, linked="thread", flags=0, iosb=KERNEL_STACK)


Situation = Callable[[Scene], Cast]


def built(situation: Situation, build: int, *, trap: bool, seed: int = 0) -> tuple[Forged, Cast]:
    """The machine of a situation, and what may be said about it."""
    scene = Scene(situation.__name__, build, seed, trap=trap)
    cast = situation(scene)
    return scene.finish(), cast


__all__ = [
    "BUILDING", "INTERNAL", "MAKING", "NAMED", "OPEN", "SPLITTING", "UNNAMED", "Cast", "Loose", "Scene", "Situation", "at_most", "built",
    "named", "nobody", "processes",
]  # fmt: skip
