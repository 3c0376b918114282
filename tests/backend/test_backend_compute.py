"""Cycles, energy, batch service, extraction workload and similarity."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.envs.backend import compute

F64 = torch.float64
KAPPA, F_MAX, CYCLES_PER_BIT, PHASE_S = 1e-27, 1.5e9, 60.0, 5e-3  # dossier defaults


def test_golden_slot_compute_energy() -> None:
    """Dossier T14: 2e4 bit at factor 0.5 are 831776.617 cycles and 2.30186639e-5 J in 5 ms."""
    load = compute.workload(torch.tensor(0.5, dtype=F64))
    cycles = CYCLES_PER_BIT * 2e4 * load
    assert cycles.item() == pytest.approx(831776.617, abs=1e-3)
    energy = compute.dvfs_energy_by_deadline(cycles, PHASE_S, KAPPA)
    assert energy.item() == pytest.approx(2.30186639e-5, rel=1e-9)


def test_spreading_a_job_over_n_slots_costs_n_squared_less() -> None:
    """Dossier T12: 16 times less over 4 slots."""
    cycles = torch.tensor(1e6, dtype=F64)
    whole = compute.dvfs_energy_by_deadline(cycles, PHASE_S, KAPPA)
    for n in (1, 2, 4, 7):
        spread = n * compute.dvfs_energy_by_deadline(cycles / n, PHASE_S, KAPPA)
        assert (whole / spread).item() == pytest.approx(n**2, rel=1e-12)


def test_processor_limit_of_the_dossier() -> None:
    """Dossier T12: at factor 0.2 f_max extracts 77666.867 bit and spends 0.016875 J."""
    load = compute.workload(torch.tensor(0.2, dtype=F64))
    most = compute.extraction_limit(F_MAX * PHASE_S, CYCLES_PER_BIT, load)
    assert most.item() == pytest.approx(77666.867, abs=1e-3)
    assert 3e5 - most.item() == pytest.approx(222333.133, abs=1e-3)
    energy = compute.dvfs_energy_by_deadline(CYCLES_PER_BIT * most * load, PHASE_S, KAPPA)
    assert energy.item() == pytest.approx(0.016875, rel=1e-12)
    raw = compute.extraction_limit(1.0, 1.0, torch.tensor([0.0, 2.0]))
    assert raw.tolist() == [math.inf, 0.5]


@given(st.floats(1.0, 1e9), st.floats(1e-4, 10.0))
def test_lowest_speed_is_sufficient_and_cheapest(cycles: float, time_s: float) -> None:
    load = torch.tensor(cycles, dtype=F64)
    speed = compute.lowest_speed(load, time_s)
    assert compute.cpu_time(load, speed).item() == pytest.approx(time_s, rel=1e-12)
    cheapest = compute.dvfs_energy(load, speed, KAPPA)
    assert cheapest.item() == pytest.approx(KAPPA * cycles**3 / time_s**2, rel=1e-12)
    assert compute.dvfs_energy(load, speed * 1.01, KAPPA) > cheapest


def test_speed_is_capped_and_idle_takes_no_time() -> None:
    speed = compute.lowest_speed(torch.tensor([1e6, 1e9, 0.0], dtype=F64), 1e-2, 1.5e9)
    assert speed.tolist() == pytest.approx([1e8, 1.5e9, 0.0])
    assert compute.cpu_time(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 2.0])).tolist() == [
        0.0,
        1.5,
    ]


def test_fixed_energy_per_cycle_equals_the_cube_at_its_speed() -> None:
    """2.5e-10 J a cycle is kappa f^2 at 0.5 GHz and kappa 1e-27."""
    cycles = torch.tensor(1e6, dtype=F64)
    fixed = compute.fixed_energy(cycles, 2.5e-10)
    cube = compute.dvfs_energy(cycles, torch.tensor(5e8, dtype=F64), 1e-27)
    assert fixed.item() == pytest.approx(cube.item(), rel=1e-12)
    assert fixed.item() == pytest.approx(2.5e-4)


def test_batch_service_in_closed_form() -> None:
    count = torch.tensor([0, 1, 4])
    assert compute.batch_service_time(count, 0.02, 0.005).tolist() == pytest.approx(
        [0, 0.025, 0.04]
    )
    assert compute.batch_rate(count, 0.02, 0.005).tolist() == pytest.approx([0.0, 40.0, 100.0])
    many = compute.batch_rate(torch.tensor(1e9, dtype=F64), 0.02, 0.005)
    assert many.item() == pytest.approx(200.0, rel=1e-6)


@pytest.mark.parametrize("law", compute.WORKLOAD_LAWS)
def test_workload_is_zero_for_raw_falls_with_the_factor_and_inverts(
    law: compute.WorkloadLaw,
) -> None:
    factor = torch.linspace(0.05, 1.0, 200, dtype=F64)
    load = compute.workload(factor, law)
    assert load[-1].item() == 0.0
    assert bool((load.diff() < 0).all())
    torch.testing.assert_close(
        compute.factor_of_workload(load, law), factor, rtol=1e-12, atol=1e-12
    )


def test_workload_laws_at_one_quarter() -> None:
    factor = torch.tensor(0.25, dtype=F64)
    assert compute.workload(factor, "log").item() == pytest.approx(math.log(4))
    assert compute.workload(factor, "linear").item() == 0.75
    assert compute.workload(factor, "power").item() == pytest.approx(1.0)
    assert compute.factor_of_workload(torch.tensor(3.0), "linear").item() == 0.0


def test_log_workload_is_jointly_convex() -> None:
    """C = x ln(x/s): the midpoint of any two (x, s) lies on or below the chord."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1000, generator=generator, dtype=F64) + 0.1
    s = x * (0.2 + 0.8 * torch.rand(2, 1000, generator=generator, dtype=F64))
    load = x * compute.workload(s / x)
    middle = x.mean(0) * compute.workload(s.mean(0) / x.mean(0))
    assert bool((middle <= load.mean(0) + 1e-12).all())


def test_similarity_values_of_the_dossier() -> None:
    """Dossier 1.6: xi(0.2) = 0.900009, xi(0.5) = 0.99685, xi(1) = 1."""
    xi = compute.similarity_exponential(torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=F64))
    assert xi.tolist() == pytest.approx([0.0, 0.900009, 0.99685, 1.0], abs=5e-6)
    assert xi[1].item() == pytest.approx(0.900009, abs=1e-7)
    assert xi[3].item() == 1.0


def test_logistic_similarity_runs_between_its_ends() -> None:
    snr_db = torch.tensor([-1e3, 0.0, 1e3], dtype=F64)
    xi = compute.similarity_logistic(snr_db, 0.37, 0.98, 0.25, 0.0)
    assert xi.tolist() == pytest.approx([0.37, 0.675, 0.98])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: compute.cpu_time(c, 0.0), "speed_hz = 0.0, must be > 0"),
        (lambda c: compute.dvfs_energy(c, c, -1.0), "capacitance = -1.0, must be >= 0"),
        (lambda c: compute.dvfs_energy_by_deadline(c, 0.0, 1.0), "time_s = 0.0, must be > 0"),
        (lambda c: compute.fixed_energy(c, math.nan), "energy_per_cycle_j = nan, must be >= 0"),
        (lambda c: compute.lowest_speed(c, 1.0, 0.0), "max_speed_hz = 0.0, must be > 0"),
        (lambda c: compute.batch_service_time(c, -1.0, 1.0), "setup_s = -1.0, must be >= 0"),
        (lambda c: compute.batch_rate(c, 0.0, 1.0), "setup_s = 0.0, must be > 0"),
        (
            lambda c: compute.workload(c, "cubic"),  # type: ignore[arg-type]
            "law = 'cubic', must be one of log, linear, power",
        ),
        (
            lambda c: compute.factor_of_workload(c, "x"),  # type: ignore[arg-type]
            "law = 'x', must be one of log, linear, power",
        ),
        (lambda c: compute.extraction_limit(1.0, 0.0, c), "cycles_per_bit = 0.0, must be > 0"),
        (lambda c: compute.similarity_logistic(c, 1.0, 0.5, 1.0, 0.0), "highest = 0.5, must be >="),
        (lambda c: compute.similarity_logistic(c, 0.0, 0.5, 0.0, 0.0), "slope = 0.0, must be > 0"),
    ],
)
def test_wrong_scalars_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2))
