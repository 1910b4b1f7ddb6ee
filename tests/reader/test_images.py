"""The reader over compiled drivers, and over machines with the identity of a public kernel: the verdicts are those of the stories."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.pe.load import LoadedImage

from .machines import Answer, case_of
from .test_scenarios import ledger_rows

# The shapes whose verdict leans on what the images import, or on whose code an address lies in.
SAMPLE = (
    "pending_irp", "filters_above", "driver_irp_in_bus", "partial_lower", "partial_pending", "borrowed_mdl", "returned_intact",
    "device_control_built", "async_built", "maker_in_extension", "maker_in_data", "maker_unknown", "no_import_holder", "two_drivers",
    "irp_absent", "freed_locked",
)  # fmt: skip
GENUINE = (19041, 22000)


def check(machine: Forged, kind: int = 6) -> None:
    case, truth = case_of(machine.to_bytes(kind)), machine.truth
    where = f"{truth.scenario} build {truth.build} seed {truth.seed}: {case['verdict']['sentence']}"
    assert Answer.of(case["verdict"]) == Answer.of(truth.verdict), where
    assert ledger_rows(case["ledger"]) == ledger_rows(truth.ledger), where
    assert not {d["name"] for d in case["verdict"]["drivers"]} & set(truth.innocents), where


@pytest.mark.parametrize("name", SAMPLE)
def test_compiled_drivers(name: str, images: Mapping[str, LoadedImage]) -> None:
    for seed, build in enumerate(scenarios.ALL_BUILDS):
        check(scenarios.build(name, build=build, seed=seed, images=images))


def test_a_compiled_driver_is_described(images: Mapping[str, LoadedImage]) -> None:
    """Version and timestamp come from the compiled image, as its linker wrote them."""
    machine = scenarios.build("driver_irp_in_bus", build=19041, seed=1, images=images)
    (named,) = machine.truth.verdict["drivers"]
    module = next(m for m in machine.machine.modules if m.name == named["name"])
    assert module.image is not None
    (driver,) = case_of(machine.to_bytes(6))["verdict"]["drivers"]
    assert driver["timestamp"] == module.timestamp
    assert driver["version"] == "{}.{}.{}.{}".format(*module.version)


@pytest.mark.parametrize("build", GENUINE)
@pytest.mark.parametrize("name", SAMPLE)
def test_genuine_kernels(name: str, build: int) -> None:
    machine = scenarios.build(name, build=build, seed=0, genuine=True)
    for kind in (1, 6):
        check(machine, kind)


def test_compiled_drivers_on_a_genuine_kernel(images: Mapping[str, LoadedImage]) -> None:
    for name in ("driver_irp_in_bus", "partial_pending"):
        check(scenarios.build(name, build=22000, seed=2, genuine=True, images=images))
