"""Stories of the other bug checks: a leak with lock tracking on (0xCB), an unlock nobody tracked (0x76/1), and one of another kind.

Parameters after Microsoft's bug check reference.
"""

from __future__ import annotations

from lockhound_synth import packets
from lockhound_synth.trackers import Lock, track

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


def unlock_unknown(stage: Stage) -> None:
    """0x76 with P1 = 1: a living process's MDL is unlocked a second time, the tracker has no entry for it."""
    stage.description = "an MDL is unlocked that the tracker does not know; naming the driver takes the crashing thread's rule"
    machine, rng = stage.machine, stage.rng
    process = stage.others[0]
    stage.current = process
    stage.charged = process
    culprit, device = guilty_device(stage)
    mdl = packets.make_mdl(machine, process, rng.randrange(1, 10), locked=False)
    machine.space.write_u64(device.extension + 0x20, mdl.address)
    track(machine, process, [])
    stage.callers = [
        machine.nt_base + machine.kernel.exports["MmUnlockPages"] + 0x4A,
        culprit.module.return_from("MmUnlockPages", "Complete"),
    ]
    stage.parameters = (1, mdl.address, process.locked, process.lock_header)
    stage.consider(mdl, "unlocked")
    machine.label("unlocked_mdl", mdl.address)
    stage.kind = "insufficient"
    stage.later = {"kind": "driver", "driver": culprit.module.name, "pages": 0}


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
