"""The smoothed problem and the penalty method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sixgym.baselines.event_offload.penalty import (
    SoftProblem,
    project,
    required_proximal,
    solve_penalty,
)

MACS = np.array([75.82e6, 141.45e6, 225.47e6, 299.49e6])


def problem(alpha: float = 50.0, final: str | float = "head", *, events: int = 400) -> SoftProblem:
    """Scores whose log-odds drift apart from exit to exit, at 10 dB with 5 mJ."""
    rng = np.random.default_rng(3)
    tail = np.arange(events) % 5 == 0
    steps = np.where(tail, 0.5, -0.5)[:, None] + rng.standard_normal((events, 4))
    scores = 1 / (1 + np.exp(-steps.cumsum(1)))
    named = (rng.random(events) < 0.95).astype(np.float64)
    return SoftProblem(
        scores, tail, named, prevalence=0.1, macs=MACS, energy_per_mac=20e-12,
        offload_energy=10.1e-3, budget=5e-3, final=final, alpha=alpha,
    )  # fmt: skip


@pytest.mark.parametrize("final", ["head", "mid", "tail", 0.6])
@pytest.mark.parametrize("pair", [(0.2, 0.8), (0.45, 0.55), (0.05, 0.1)])
def test_gradients_are_differences(final: str | float, pair: tuple[float, float]) -> None:
    """Dossier 9.16: analytic gradients equal central differences."""
    soft, z, step = problem(final=final), np.array(pair), 1e-5
    here = soft.at(z)
    for i, d in enumerate(np.eye(2) * step):
        up, down = soft.at(z + d), soft.at(z - d)
        assert here.value_gradient[i] == pytest.approx(
            (up.value - down.value) / (2 * step), abs=2e-7
        )
        assert here.excess_gradient[i] == pytest.approx(
            (up.excess - down.excess) / (2 * step), abs=2e-6
        )


def test_steep_smoothing_counts() -> None:
    """9.16: alpha = 5000 reproduces the hard rule away from scores: a plain loop over events."""
    soft = problem(5000.0, events=120)
    rng = np.random.default_rng(3)
    tail = np.arange(120) % 5 == 0
    steps = np.where(tail, 0.5, -0.5)[:, None] + rng.standard_normal((120, 4))
    scores = 1 / (1 + np.exp(-steps.cumsum(1)))
    named = rng.random(120) < 0.95
    low, high = 0.3, 0.8
    while np.abs(scores - low).min() < 2e-3:
        low += 1e-3
    while np.abs(scores - high).min() < 2e-3:
        high += 1e-3
    found, spent = 0, 0.0
    for event in range(120):
        share = 0.1 / tail.sum() if tail[event] else 0.9 / (~tail).sum()
        exit, declared = 3, False
        for n in range(4):
            if scores[event, n] < low or scores[event, n] > high:
                exit, declared = n, bool(scores[event, n] > high)
                break
        found += declared and tail[event] and named[event]
        spent += share * (20e-12 * MACS[exit] + declared * 10.1e-3) * 1e3
    here = soft.at(np.array([low, high]))
    assert -here.value == pytest.approx(found / tail.sum(), abs=1e-3)
    assert here.excess == pytest.approx(spent - 5.0, abs=1e-3)


@given(st.tuples(st.floats(-1, 2), st.floats(-1, 2)))
def test_projection_is_the_nearest_pair(point: tuple[float, float]) -> None:
    z = np.array(point)
    nearest = project(z)
    assert 0 <= nearest[0] <= nearest[1] <= 1
    assert np.array_equal(project(nearest), nearest)
    axis = np.linspace(0, 1, 41)
    low, high = np.meshgrid(axis, axis)
    inside = low <= high
    least = ((low - z[0]) ** 2 + (high - z[1]) ** 2)[inside].min()
    assert ((nearest - z) ** 2).sum() <= least + 1e-12


def test_the_method_ends_at_a_feasible_stationary_pair() -> None:
    """Compared with the best of a grid of the smoothed problem itself."""
    soft = problem(events=200)
    axis = np.linspace(0, 1, 26)
    best = 0.0
    for i, low in enumerate(axis):
        for high in axis[i:]:
            here = soft.at(np.array([low, high]))
            best = max(best, -here.value if here.excess <= 0 else 0.0)
    ends = [solve_penalty(soft, start) for start in ((0.2, 0.8), (0.5, 0.95), (0.0, 1.0))]
    top = max(ends, key=lambda end: -end.soft.value)
    assert top.soft.excess < 0.05
    assert -top.soft.value >= best - 0.01


def test_the_proximal_weight_can_be_certified() -> None:
    """Some curvature is negative, and a larger penalty weight needs more."""
    soft = problem(events=60)
    mild = required_proximal(soft, 0.0, points=9)
    assert 0 < mild < required_proximal(soft, 100.0, points=9)
