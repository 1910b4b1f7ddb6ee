"""Stories of packets that drivers made themselves: the maker locked, the maker owes the unlock, wherever the packet waits."""

from __future__ import annotations

from lockhound_synth import io, packets
from lockhound_synth.packets import Slot

from .stage import Stage

INTERNAL_CONTROL = 15  # IRP_MJ_INTERNAL_DEVICE_CONTROL


def driver_irp_in_bus(stage: Stage) -> None:
    """A driver locks a user buffer, describes it in a packet of its own and sends that to the bus, where it stays."""
    stage.description = "a driver's own packet with an MDL it locked itself waits in the bus driver, which owes nothing"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    maker = stage.invent(imports=io.MAKING)
    host, hub = stage.windows["usbxhci"], stage.windows["usbhub3"]
    host_device = io.make_device(machine, host, name="USBFDO-0")
    hub_device = io.make_device(machine, hub, above=host_device)
    device = io.make_device(machine, maker, above=hub_device, extension=0x200)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 34), mapped=False)
    request = packets.make_urb(machine, mdl)
    completion, context = maker.module.symbols["Complete"], device.extension
    top = Slot(
        hub_device,
        INTERNAL_CONTROL,
        completion=completion,
        context=context,
        control=packets.ON_ALL | packets.PENDING_RETURNED,
        arguments=(request, 0, packets.SUBMIT_URB, 0),
    )
    slots: list[Slot | None]
    if rng.random() < 0.5:
        # The hub passed it on to the host controller's driver, with a completion routine of its own.
        below = Slot(
            host_device, INTERNAL_CONTROL, completion=hub.module.symbols["Complete"], context=hub_device.extension,
            control=packets.ON_ALL | packets.PENDING_RETURNED, arguments=(request, 0, packets.SUBMIT_URB, 0),
        )  # fmt: skip
        slots, current, waits = [below, top], 1, host_device
    else:
        slots, current, waits = [None, top], 2, hub_device
    irp = packets.make_irp(machine, slots, current, mdl=mdl, manager=False, flags=0)
    stage.charge(mdl, maker)
    stage.note_irp(irp, "pending", waits)
    stage.name(maker, mdl.pages)
