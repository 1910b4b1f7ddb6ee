"""Stories of packets that are still pending: the plain case and its near relatives."""

from __future__ import annotations

from .. import io, packets
from ..packets import CONTROL, Slot
from .stage import Stage


def pending_irp(stage: Stage) -> None:
    """One device-control packet of the I/O manager waits in the driver that never completed it."""
    stage.description = "a direct device-control packet is pending in its driver; the process that sent it has ended"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty = stage.invent()
    device = io.make_device(machine, guilty, name=f"{guilty.name.title()}0")
    file = io.make_file(machine, device)
    mdl = packets.make_mdl(machine, victim, rng.choice((1, 2, 5, 17, 24, 40)), cross=rng.random() < 0.3)
    slot = Slot(device, CONTROL, file=file, control=packets.PENDING_RETURNED, arguments=packets.control_arguments(machine, device, mdl.length))
    irp = packets.make_irp(
        machine, [slot], 1, mdl=mdl, thread=victim.threads[0], file=file, cancel=rng.random() < 0.5,
        linked=rng.choice(("thread", "file")), cross=rng.random() < 0.3,
    )  # fmt: skip
    stage.charge(mdl, guilty)
    stage.note_irp(irp, "pending", device)
    stage.name(guilty, mdl.pages)
