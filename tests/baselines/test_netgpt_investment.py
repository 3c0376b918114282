"""The learning edge: the reference trajectory and the value of investing (dossier 3.9, 4.1)."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from sixgym.baselines.netgpt.investment import (
    SAMPLES,
    THRESHOLDS,
    Investment,
    solve_investment,
)
from sixgym.baselines.netgpt.laws import DifficultyLaw
from sixgym.baselines.netgpt.model import FROZEN, STATIONARY, TRANSITION, Model
from sixgym.baselines.netgpt.threshold import difficulty_threshold
from sixgym.baselines.netgpt.trajectory import (
    Cadence,
    fixed_rule,
    fluid_trajectory,
    stale_rule,
)

MODEL = Model()
OMEGA = MODEL.extra_cost(FROZEN)
GOOD = 0


@cache
def solved(discount: float) -> Investment:
    return solve_investment(MODEL, OMEGA, discount)


def test_the_learning_curve() -> None:
    """Check 19, (23)."""
    assert MODEL.skill(0.0) == pytest.approx(0.55)
    assert MODEL.skill(3 * 1500.0) == pytest.approx(0.675)
    assert MODEL.skill(1e15) == pytest.approx(0.80, abs=1e-6)


@pytest.mark.parametrize(
    ("tau", "cadence", "offload", "quality", "utility", "samples", "mean"),
    [
        (None, Cadence(), (0.353, 0.250), (0.872, 0.885), (0.692, 0.738), 1753, 0.7200),
        (
            None,
            Cadence(refresh_every=0),
            (0.353, 0.353),
            (0.872, 0.915),
            (0.692, 0.735),
            2138,
            0.7186,
        ),
        (None, Cadence(is_learning=False), (0.353,) * 2, (0.872,) * 2, (0.692,) * 2, 2138, 0.6915),
        (0.5832, Cadence(), (0.341, 0.248), (0.874, 0.889), (0.684, 0.731), 1718, 0.7131),
        (
            0.5832,
            Cadence(is_learning=False),
            (0.341,) * 2,
            (0.874,) * 2,
            (0.684,) * 2,
            2063,
            0.6844,
        ),
    ],
)
def test_reference_trajectory(
    tau: float | None,
    cadence: Cadence,
    offload: tuple[float, float],
    quality: tuple[float, float],
    utility: tuple[float, float],
    samples: float,
    mean: float,
) -> None:
    """The five rows of 4.1 to their last digit; it tells no N of the rows without learning."""
    rule = stale_rule if tau is None else fixed_rule(tau)
    found = fluid_trajectory(MODEL, rule, OMEGA, STATIONARY, cadence)
    assert found.ends("offload") == pytest.approx(offload, abs=5.1e-4)
    assert found.ends("quality") == pytest.approx(quality, abs=5.1e-4)
    assert found.ends("utility") == pytest.approx(utility, abs=5.1e-4)
    assert found.samples == pytest.approx(samples, abs=0.8)
    assert found.utility.mean() == pytest.approx(mean, abs=5.1e-5)


def test_a_scorer_that_is_not_refreshed_over_offloads() -> None:
    """3.4 (b): it ends with more offloads and less utility."""
    fresh = fluid_trajectory(MODEL, stale_rule, OMEGA, STATIONARY)
    stale = fluid_trajectory(MODEL, stale_rule, OMEGA, STATIONARY, Cadence(refresh_every=0))
    assert stale.ends("offload")[1] > fresh.ends("offload")[1] + 0.05
    assert stale.ends("utility")[1] < fresh.ends("utility")[1]
    assert (stale.skill_rm == 0.55).all()
    assert (np.diff(fresh.skill) >= 0).all()


def test_updates_wait_for_samples() -> None:
    hungry = Cadence(slots=100, least_samples=300.0)
    found = fluid_trajectory(MODEL, stale_rule, OMEGA, STATIONARY, hungry)
    # 16 x .353 a slot: 140 kept by slot 25, 281 by 50, 422 by 75.
    assert (found.skill[:75] == 0.55).all()
    assert (found.skill[75:] > 0.55).all()


def test_thresholds_of_the_learning_edge() -> None:
    """Reference values of 3.9 in regime G: the more the future counts the higher."""
    assert solved(0.0).tau[0, GOOD] == pytest.approx(0.5725)
    assert solved(0.9).tau[0, GOOD] == pytest.approx(0.575)
    assert solved(0.99).tau[0, GOOD] == pytest.approx(0.600)


@pytest.mark.slow
def test_thresholds_of_a_far_sighted_router() -> None:
    assert solved(0.995).tau[0, GOOD] == pytest.approx(0.615)


@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_investing_pays_early_only(discount: float) -> None:
    """Check 18, (22): premium >= 0 everywhere, 0 late; value rises with what was learnt."""
    found = solved(discount)
    assert (found.premium >= -1e-12).all()
    assert (found.premium[0] > 0).all()
    late = int(np.abs(SAMPLES - 32_580).argmin())
    assert found.tau[late, GOOD] == pytest.approx(0.375)
    assert found.premium[late] == pytest.approx(0.0)
    assert (np.diff(found.value, axis=0) >= -1e-10).all()


def test_a_short_sighted_router_is_myopic() -> None:
    """Check 18: gamma = 0 equals the myopic optimum on the grid, and the closed form beside it."""
    found = solved(0.0)
    assert (found.tau == found.myopic).all()
    closed = difficulty_threshold(MODEL, OMEGA[None], MODEL.skill(SAMPLES)[:, None])
    assert found.myopic == pytest.approx(closed, abs=1.3e-3)


def test_the_solution_satisfies_bellmans_equation() -> None:
    """V = max J + gamma E V(N'), by a loop over a few states."""
    found, discount = solved(0.9), 0.9
    for point in (0, 30, 80, 119):
        law = DifficultyLaw(MODEL, float(MODEL.skill(SAMPLES[point])))
        grown = SAMPLES[point] + 16 * 0.94525 * law.rates(THRESHOLDS).offload
        for regime in range(4):
            later = [
                TRANSITION[regime] @ [np.interp(n, SAMPLES, found.value[:, k]) for k in range(4)]
                for n in grown
            ]
            worth = law.utility(THRESHOLDS, OMEGA[regime]) + discount * np.array(later)
            assert worth.max() == pytest.approx(found.value[point, regime], abs=1e-9)


def test_the_premium_between_grid_points() -> None:
    found = solved(0.99)
    exact = found.premium_at(SAMPLES[[0, 5]], np.array([0, 3]))
    assert exact == pytest.approx([found.premium[0, 0], found.premium[5, 3]])
    assert found.premium_at(np.array([1e9]), np.array([1])) == pytest.approx(found.premium[-1, 1])


def test_a_discount_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"discount=1\.0: allowed"):
        solve_investment(MODEL, OMEGA, 1.0)
