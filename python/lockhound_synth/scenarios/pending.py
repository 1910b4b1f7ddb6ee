"""Stories of the I/O manager's packets that are still pending: the plain case and its near relatives."""

from __future__ import annotations

from lockhound_synth import io, packets, processes
from lockhound_synth.io import Device, Driver
from lockhound_synth.packets import CONTROL, Irp, Mdl, Slot

from . import background
from .stage import Stage

FIVE_MINUTES = 5 * 60 * 10**7


def guilty_device(stage: Stage, *, imports: tuple[str, ...] = io.LOCKING, never: tuple[str, ...] = ()) -> tuple[Driver, Device]:
    driver = stage.invent(imports=imports, never=never)
    return driver, io.make_device(stage.machine, driver, name=f"{driver.name.title()}0", extension=stage.rng.choice((0x40, 0x1C0, 0x400)))


def send(
    stage: Stage, process: processes.Process, device: Device, mdl: Mdl, *, linked: str | None = None, alone: bool = False,
    cancel_routine: int = 0,
) -> Irp:  # fmt: skip
    """A direct device-control packet of the process, pending in a device that nothing is attached to."""
    machine, rng = stage.machine, stage.rng
    file = io.make_file(machine, device)
    stage.hold(mdl, device.driver)
    slot = Slot(
        device, CONTROL, file=file, control=packets.PENDING_RETURNED, arguments=packets.control_arguments(machine, device, mdl.length)
    )
    return packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=process.threads[0], file=file, cancel_routine=cancel_routine,
        cancel=not cancel_routine and not process.alive and rng.random() < 0.5,
        linked=linked or rng.choice(("thread", "file")), cross=not alone and rng.random() < 0.3, alone=alone,
    )  # fmt: skip


def pending_irp(stage: Stage) -> None:
    """One device-control packet waits in the driver that never completed it."""
    stage.description = "a direct device-control packet is pending in its driver; the process that sent it has ended"
    victim = stage.make_victim()
    # The I/O manager locked: whether the driver itself can lock says nothing.
    guilty, device = guilty_device(stage, imports=stage.rng.choice(((), io.LOCKING)))
    mdl = packets.make_mdl(stage.machine, victim, stage.rng.choice((1, 2, 5, 17, 24, 40)), cross=stage.rng.random() < 0.3)
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def filters_above(stage: Stage) -> None:
    """The packet went through two filter drivers and waits in the function driver below them."""
    stage.description = "two filter drivers stand above the driver that holds the packet"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    lower, upper = stage.invent(), stage.invent()
    lower_device = io.make_device(machine, lower, above=device)
    upper_device = io.make_device(machine, upper, above=lower_device)
    file = io.make_file(machine, device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(2, 30))
    arguments = packets.control_arguments(machine, device, mdl.length)

    def slot(at: Device, completion: int, context: int, control: int) -> Slot:
        return Slot(at, CONTROL, file=file, completion=completion, context=context, control=control, arguments=arguments)

    # The completion routine in a location belongs to the driver above it, which set it before it passed the packet down.
    slots = [
        slot(device, lower.module.symbols["Complete"], lower_device.extension, packets.ON_ALL | packets.PENDING_RETURNED),
        slot(lower_device, upper.module.symbols["Complete"], upper_device.extension, packets.ON_ALL),
        slot(upper_device, 0, 0, 0),
    ]
    irp = packets.make_irp(machine, slots, 1, mdl=mdl, thread=victim.threads[0], file=file)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    machine.label("filter_device:0", lower_device.address)
    machine.label("filter_device:1", upper_device.address)
    stage.name(guilty, mdl.pages)


def cancel_routine(stage: Stage) -> None:
    """The holder has set a cancel routine, as a driver does that queues packets: one more witness, and nobody has called it."""
    stage.description = "the packet is queued in its driver with that driver's cancel routine; a filter stands above"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage, imports=rng.choice(((), io.LOCKING)))
    io.make_device(machine, stage.invent(), above=device)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 30))
    irp = send(stage, victim, device, mdl, cancel_routine=guilty.module.symbols["Cancel"])
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def reused_mdl(stage: Stage) -> None:
    """The MDL had an earlier life: an idle packet of an innocent driver, intact and with its completion routine, still points to it."""
    stage.description = "an innocent driver's idle packet points to the MDL from an earlier use; the pending packet says who holds it"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    innocent, other = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, packets.FIXED_PAGES + 1))
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)
    slot = Slot(other, CONTROL, completion=innocent.module.symbols["Complete"], context=other.extension, control=packets.ON_ALL)
    idle = packets.make_irp(machine, [slot], 2, mdl=mdl, manager=False, flags=0)
    stage.note_irp(idle, "returned", other)


def orphaned_irp(stage: Stage) -> None:
    """The I/O manager gave up after five minutes: the packet has no thread any more, but all the marks of its origin."""
    stage.description = "a packet that its driver did not complete when it was cancelled, cut off from its thread"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    victim.exit_age = FIVE_MINUTES + rng.randrange(10**8, 10**10)
    guilty, device = guilty_device(stage)
    file = io.make_file(machine, device, flags=io.FO_HANDLE_CREATED | io.FO_CLEANUP_COMPLETE)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 40))
    slot = Slot(
        device, CONTROL, file=file, control=packets.PENDING_RETURNED, arguments=packets.control_arguments(machine, device, mdl.length)
    )
    irp = packets.make_irp(machine, [slot], 1, mdl=mdl, file=file, linked="none", cancel=True)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    machine.label("file", file.address)
    stage.name(guilty, mdl.pages)


def chain_second(stage: Stage) -> None:
    """A packet with a chain of two MDLs: no pointer to the second one but Next of the first."""
    stage.description = "the second MDL of a packet's chain is named by nothing but the first one"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    first = packets.make_mdl(machine, victim, rng.randrange(1, 9))
    second = packets.make_mdl(machine, victim, rng.randrange(9, 30))
    packets.link_mdls(machine, first, second)
    irp = send(stage, victim, device, first)
    stage.charge(first, guilty)
    stage.charge(second, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, first.pages + second.pages)


def two_drivers(stage: Stage) -> None:
    """Two drivers, each with a packet of the same process."""
    stage.description = "two drivers hold pages of the same process"
    victim = stage.make_victim()
    pages = stage.rng.sample(range(1, 30), 2)
    for count in sorted(pages, reverse=True):
        guilty, device = guilty_device(stage)
        mdl = packets.make_mdl(stage.machine, victim, count)
        irp = send(stage, victim, device, mdl)
        stage.charge(mdl, guilty)
        stage.note_irp(irp, "pending", device)
        stage.name(guilty, mdl.pages)


def other_current(stage: Stage) -> None:
    """The crash is raised in a second, living instance of the program, which has requests of its own in another driver."""
    stage.description = "the current process runs the same program and has locked pages of its own in an innocent driver"
    machine = stage.machine
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    _, other_device = guilty_device(stage)
    twin = processes.make_process(machine, victim.name, next(stage.pids), parent=victim.parent)
    stage.current = twin
    for _ in range(3):
        mdl = packets.make_mdl(machine, twin, stage.rng.randrange(1, 9))
        send(stage, twin, other_device, mdl, linked="thread")
    mdl = packets.make_mdl(machine, victim, stage.rng.randrange(1, 20))
    irp = send(stage, victim, device, mdl)
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)


def busy(stage: Stage) -> None:
    """Hundreds of requests of living processes in flight; one packet of the dead one among them."""
    stage.description = "hundreds of locked MDLs of living processes with live packets, one of the ended process"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    innocents = [guilty_device(stage)[1] for _ in range(3)] + [stage.disk, stage.port]
    guilty, device = guilty_device(stage)
    target = rng.randrange(100, 240)
    for number in range(rng.randrange(260, 340)):
        if number == target:
            mdl = packets.make_mdl(machine, victim, rng.randrange(1, 24))
            irp = send(stage, victim, device, mdl)
            stage.charge(mdl, guilty)
            stage.note_irp(irp, "pending", device)
            stage.name(guilty, mdl.pages)
        background.reading(stage, rng.choice(stage.others), rng.choice([*innocents, device]), pages=rng.choice((1, 1, 2, 2, 3, 6)))
