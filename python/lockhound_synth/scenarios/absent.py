"""Stories in which one page that decides was not captured: the honest answer is that it is missing."""

from __future__ import annotations

from lockhound_synth import packets

from .pending import guilty_device, send
from .stage import Stage


def mdl_absent(stage: Stage) -> None:
    """The page with the MDL is not in the dump."""
    stage.description = "the page that holds the only MDL was not captured"
    victim = stage.make_victim()
    _, device = guilty_device(stage)
    mdl = packets.make_mdl(stage.machine, victim, stage.rng.randrange(1, 20), mapped=False, alone=True)
    irp = send(stage, victim, device, mdl)
    stage.machine.label("mdl:0", mdl.address)
    stage.note_irp(irp, "pending", device)
    stage.missing.append("mdl:0")
    stage.kind = "insufficient"


def irp_absent(stage: Stage) -> None:
    """The page with the packet is not in the dump: the lock is known, its holder is not."""
    stage.description = "the page that holds the only packet was not captured"
    victim = stage.make_victim()
    _, device = guilty_device(stage)
    mdl = packets.make_mdl(stage.machine, victim, stage.rng.randrange(1, 20), mapped=False)
    irp = send(stage, victim, device, mdl, alone=True)
    stage.charge(mdl, None)
    stage.note_irp(irp, "pending", device)
    stage.missing.append("irp:0")
    stage.kind = "insufficient"
