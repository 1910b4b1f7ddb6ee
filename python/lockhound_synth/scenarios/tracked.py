"""Stories of the other bug checks: a leak with lock tracking on (0xCB), and one of another kind.

Parameters after Microsoft's bug check reference.
"""

from __future__ import annotations

from lockhound_synth import packets
from lockhound_synth.trackers import Lock

from .pending import guilty_device, send
from .stage import Stage
from .tracking import call_of, left_locked, stack


def tracked_leak(stage: Stage) -> None:
    """0xCB: tracking was on, the tracker's stack names the driver that locked."""
    stage.description = "a leak with lock tracking on: no packet tells of it, the tracker's stack names the driver that locked"
    machine, rng = stage.machine, stage.rng
    victim = stage.make_victim()
    guilty, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, victim, rng.randrange(1, 20))
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    trace = stack(stage, call_of(guilty), guilty.module.symbols["Worker"] + 0x12)
    left_locked(stage, victim, [Lock(mdl, trace)])
    stage.charge(mdl, guilty)
    stage.name(guilty, mdl.pages)


def page_fault(stage: Stage) -> None:
    """0x50: not a locked-pages stop at all, though locked pages of living processes lie about."""
    stage.description = "another bug check; locked pages of living processes are none of its business"
    driver, device = guilty_device(stage)
    process = stage.others[0]
    stage.current = process
    send(stage, process, device, packets.make_mdl(stage.machine, process, 3), linked="thread")
    address = stage.machine.nonpaged.base + (stage.rng.getrandbits(24) << 12)
    stage.code = 0x50
    stage.parameters = (address, 0, driver.module.symbols["DispatchIo"] + 0x3C, 2)
    stage.no_ledger = True
    stage.kind = "not_applicable"
