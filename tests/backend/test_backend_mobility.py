"""Motion power: the wheels' closed forms, and the rotary wing's published constants."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.envs.backend.mobility import PolynomialMotion, RotaryWing

WHEELS = PolynomialMotion(0.5, 0.05, 0.02)
WING = RotaryWing()
positive = st.floats(1e-3, 1e3)


def speeds(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_cheapest_speed_of_wheels_is_the_root_of_static_over_quadratic() -> None:
    assert WHEELS.best_speed_mps == pytest.approx(5.0, rel=1e-15)
    price = WHEELS.energy_per_metre(speeds(5.0, 20.0, 12.0))
    assert price.tolist() == pytest.approx([0.25, 0.475, 0.331667], abs=5e-7)
    assert float(price[0]) == pytest.approx(0.05 + 2 * math.sqrt(0.5 * 0.02), rel=1e-14)


@given(positive, st.floats(0.0, 1e3), positive)
def test_twice_and_half_the_cheapest_speed_cost_the_same(
    static: float, linear: float, quadratic: float
) -> None:
    motion = PolynomialMotion(static, linear, quadratic)
    best = motion.best_speed_mps
    twice, half, least = motion.energy_per_metre(speeds(2 * best, best / 2, best)).tolist()
    assert twice == pytest.approx(half, rel=1e-12)
    assert least <= twice


def test_energy_is_power_times_time() -> None:
    distance, speed = speeds(10.0, 0.0, 3.0), speeds(2.0, 4.0, 7.0)
    for motion in (WHEELS, WING):
        energy = motion.energy_j(distance, speed)
        torch.testing.assert_close(energy, motion.power_w(speed) * distance / speed)
        assert energy[1] == 0.0


def test_the_time_of_a_way_at_least_energy_is_that_of_the_cheapest_speed() -> None:
    motion = PolynomialMotion(0.2, 0.05, 0.01)  # t* = d sqrt(k2 / P_s)
    best = 10.0 / motion.best_speed_mps
    assert best == pytest.approx(10.0 * math.sqrt(0.01 / 0.2), rel=1e-14)
    assert best == pytest.approx(2.236, abs=5e-4)
    energy = motion.energy_j(speeds(10.0, 10.0), speeds(10.0 / best, 10.0 / 2.0))
    assert energy.tolist() == pytest.approx([1.394427, 1.4], abs=5e-7)


def test_speed_that_minimises_time_and_priced_energy() -> None:
    price = 0.2  # s/J: v = sqrt((1 + mu P_s) / (mu k2))
    best = math.sqrt((1 + price * 0.5) / (price * 0.02))
    assert best == pytest.approx(16.5831239518, rel=1e-10)
    grid = torch.linspace(1.0, 40.0, 40001, dtype=torch.float64)
    cost = 1.0 / grid + price * WHEELS.energy_per_metre(grid)
    assert float(grid[cost.argmin()]) == pytest.approx(best, abs=1e-3)


def test_a_rotary_wing_hovers_at_168_w_and_is_cheapest_at_the_known_speeds() -> None:
    assert WING.standing_power_w == pytest.approx(168.4842, abs=5e-5)
    assert float(WING.power_w(speeds(0.0))) == pytest.approx(168.4842, abs=5e-5)
    assert WING.endurance_speed_mps == pytest.approx(10.2125, abs=5e-5)
    assert float(WING.power_w(speeds(WING.endurance_speed_mps))) == pytest.approx(
        126.0027, abs=5e-5
    )
    assert WING.best_speed_mps == pytest.approx(18.2951, abs=5e-5)
    best = speeds(WING.best_speed_mps)
    assert float(WING.power_w(best)) == pytest.approx(161.523, abs=5e-4)
    assert float(WING.energy_per_metre(best)) == pytest.approx(8.828728, abs=5e-7)


def test_the_wing_agrees_with_the_formula_as_it_is_printed() -> None:
    v = torch.linspace(0.0, 60.0, 601, dtype=torch.float64)
    square = v**2 / (2 * 4.03**2)
    induced = 88.6279 * ((1 + square**2).sqrt() - square).clamp_min(0.0).sqrt()
    drag = 0.5 * 0.6 * 1.225 * 0.05 * 0.503 * v**3
    printed = 79.8563 * (1 + 3 * v**2 / 120**2) + induced + drag
    torch.testing.assert_close(WING.power_w(v), printed, rtol=1e-9, atol=0.0)


def test_no_speed_beats_the_best_speeds() -> None:
    grid = torch.linspace(0.1, 110.0, 11000, dtype=torch.float64)
    least = float(WING.energy_per_metre(speeds(WING.best_speed_mps)))
    assert float(WING.energy_per_metre(grid).min()) >= least - 1e-12
    least = float(WING.power_w(speeds(WING.endurance_speed_mps)))
    assert float(WING.power_w(grid).min()) >= least - 1e-12


def test_without_a_quadratic_term_faster_is_always_cheaper() -> None:
    assert PolynomialMotion(1.0, 0.1, 0.0).best_speed_mps == math.inf
    with pytest.raises(ValueError, match="static_w = -1"):
        PolynomialMotion(-1.0, 0.0, 0.0)
