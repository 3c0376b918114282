"""The exact solvers of event-triggered offloading, on small cases and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from sixgym.baselines.event_offload.average import (
    best_fixed,
    best_per_state,
    randomised_per_state,
    solve_average,
)
from sixgym.baselines.event_offload.battery import battery_bounds
from sixgym.baselines.event_offload.per_exit import EventModel, simulate_exits, solve_exits

HALF = np.array([0.5, 0.5])
SEND_ALL_OR_NONE = np.array([1.0, 0.0])
ONE_OR_THREE = np.array([[1.0, 0.0], [3.0, 0.0]])
"""Energy of sending all or nothing in two channel states, E_off = 1 and 3 J."""

MACS = np.array([75.82e6, 141.45e6, 225.47e6, 299.49e6])
SEPARATION = np.array([0.739, 1.513, 2.169, 2.546])


# ------------------------------------------------------------------------------- average budget


@pytest.mark.parametrize(
    ("budget", "value", "per_slot"), [(1.0, 2 / 3, 2 / 3), (0.5, 1 / 2, 1 / 3)]
)
def test_two_states(budget: float, value: float, per_slot: float) -> None:
    """Dossier 9.10: average 2/3 and 1/2; randomised in each slot (1 + 1/3)/2 and (1/2 + 1/6)/2."""
    plan = solve_average(SEND_ALL_OR_NONE, ONE_OR_THREE, HALF, budget)
    assert plan.value == pytest.approx(value, abs=1e-12)
    assert plan.energy == pytest.approx(budget, abs=1e-12)
    slots = randomised_per_state(SEND_ALL_OR_NONE, ONE_OR_THREE, budget)
    assert HALF @ slots == pytest.approx(per_slot, abs=1e-12)


def test_the_price_of_two_states_is_a_third() -> None:
    """At budget 1 the marginal joule goes to the state that pays 1/3 for it."""
    assert solve_average(SEND_ALL_OR_NONE, ONE_OR_THREE, HALF, 1.0).price == pytest.approx(1 / 3)


def test_a_budget_that_does_not_bind_costs_nothing() -> None:
    plan = solve_average(SEND_ALL_OR_NONE, ONE_OR_THREE, HALF, 5.0)
    assert (plan.value, plan.price, plan.energy) == (1.0, 0.0, 2.0)


def test_a_budget_below_the_cheapest_points_is_refused() -> None:
    with pytest.raises(ValueError, match="the cheapest points need"):
        solve_average(SEND_ALL_OR_NONE, ONE_OR_THREE + 1.0, HALF, 0.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_the_dual_agrees_with_a_general_solver(seed: int, share: float) -> None:
    """scipy's HiGHS solves the same linear programme in its primal form."""
    rng = np.random.default_rng(seed)
    states, points = int(rng.integers(1, 5)), int(rng.integers(2, 7))
    value = rng.integers(0, 6, (states, points)) / 5.0  # many ties
    energy = rng.integers(0, 6, (states, points)) / 5.0
    probability = rng.dirichlet(np.ones(states))
    least = float(probability @ energy.min(1))
    budget = least + share * (float(probability @ energy.max(1)) - least) + 1e-9
    plan = solve_average(value, energy, probability, budget)
    cost = (probability[:, None] * energy).ravel()
    one = np.kron(np.eye(states), np.ones(points))
    lp = linprog(
        -(probability[:, None] * value).ravel(), A_ub=cost[None], b_ub=[budget], A_eq=one,
        b_eq=np.ones(states),
    )  # fmt: skip
    assert lp.status == 0
    assert plan.value == pytest.approx(-lp.fun, abs=1e-8)
    assert plan.energy <= budget + 1e-9
    chosen, feasible = best_per_state(value, energy, budget)
    per_slot = np.where(feasible, value[np.arange(states), chosen], 0.0)
    assert plan.value >= probability @ per_slot - 1e-9 or not feasible.all()


def test_fixed_points_on_average_and_everywhere() -> None:
    value, energy = np.array([0.2, 0.5, 0.9]), np.array([[0.5, 0.8, 1.0], [0.9, 1.1, 2.0]])
    assert best_fixed(value, energy, HALF, 1.0, everywhere=True) == 0
    assert best_fixed(value, energy, HALF, 1.0, everywhere=False) == 1
    assert best_fixed(value, energy, HALF, 0.1, everywhere=False) is None
    only_first = np.array([1.0, 0.0])
    assert best_fixed(value, energy, only_first, 1.0, everywhere=True) == 2


# -------------------------------------------------------------------------------------- battery


def _by_enumeration(
    value: np.ndarray,
    energy: np.ndarray,
    probability: np.ndarray,
    slots: int,
    left: int,
    least: int,
) -> float:
    """The battery problem with whole amounts, by recursion over every choice."""
    if slots == 0 or left < least:
        return 0.0
    total = 0.0
    for h, p in enumerate(probability):
        options = [
            value[k]
            + _by_enumeration(
                value, energy, probability, slots - 1, left - int(energy[h, k]), least
            )
            for k in range(len(value))
            if energy[h, k] <= left
        ]
        total += p * max([0.0, *options])
    return total


def test_whole_amounts_are_solved_exactly() -> None:
    """With energies that are whole levels, up and down agree with each other and enumeration."""
    value = np.array([0.0, 0.4, 0.7, 1.0])
    energy = np.array([[1.0, 2.0, 3.0, 6.0], [1.0, 3.0, 5.0, 9.0]])
    probability = np.array([0.7, 0.3])
    low, high = battery_bounds(
        value, energy, probability, budget=3.0, slots=4, levels_per_slot=3, least_energy=1.0
    )
    exact = _by_enumeration(value, energy, probability, 4, 12, 1) / 4
    assert low.value == pytest.approx(exact, abs=1e-12)
    assert high.value == pytest.approx(exact, abs=1e-12)
    assert (np.diff(low.to_go, axis=1) >= 0).all()


def test_finer_levels_bring_the_bounds_together() -> None:
    rng = np.random.default_rng(0)
    value = np.sort(rng.random(40))
    energy = np.sort(rng.random((3, 40)), axis=1) * np.array([[1.0], [2.0], [4.0]])
    gaps = []
    for levels in (5, 20, 80):
        low, high = battery_bounds(
            value, energy, np.full(3, 1 / 3), budget=0.8, slots=20, levels_per_slot=levels,
            least_energy=0.01,
        )  # fmt: skip
        assert low.value <= high.value
        gaps.append(high.value - low.value)
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]


# ------------------------------------------------------------------------------------- per exit


def event_at(snr_db: float) -> EventModel:
    """Dossier 3.6: pi = .1, a = .952, lambda = 95.8 /J, 20 pJ/MAC, 128 KiB in 30 MHz at 1 W."""
    offload = 1_048_576 / (30e6 * np.log2(1 + 10 ** (snr_db / 10)))
    blocks = np.diff(MACS, prepend=0.0) * 20e-12
    return EventModel(SEPARATION, 0.1, 0.952, 95.8, blocks, offload)


def score(ratio: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-ratio)))


@pytest.mark.parametrize(
    ("snr_db", "value", "low", "high"),
    [
        (0, 0.0224, (0.400, 0.451, 0.560, 0.830), (0.981, 0.976, 0.958, 0.830)),
        (10, 0.2809, (0.271, 0.293, 0.332, 0.505), (0.875, 0.854, 0.780, 0.505)),
        (20, 0.3882, (0.239, 0.252, 0.264, 0.334), (0.587, 0.576, 0.510, 0.334)),
    ],
)
def test_values_and_thresholds_per_exit(
    snr_db: float, value: float, low: tuple[float, ...], high: tuple[float, ...]
) -> None:
    """The dossier's table of 3.6 and its check 9.12."""
    plan = solve_exits(event_at(snr_db))
    assert plan.value == pytest.approx(value, abs=1e-4)
    assert score(plan.low) == pytest.approx(np.array(low), abs=6e-4)
    assert score(plan.high) == pytest.approx(np.array(high), abs=6e-4)
    for goes_on in plan.goes_on:
        assert np.abs(np.diff(goes_on.astype(int))).sum() in (0, 2)  # one interval, or none
    widths = score(plan.high) - score(plan.low)
    assert (np.diff(widths) < 0).all()


def test_the_last_exit_is_one_threshold() -> None:
    """9.12: offload iff p > lambda E_off pi / a = .10167 at 10 dB, i.e. a ratio of .0184."""
    event = event_at(10)
    p = event.price * event.offload_energy * 0.1 / 0.952
    assert p == pytest.approx(0.10167, abs=1e-5)
    expected = np.log(p / (1 - p)) - np.log(0.1 / 0.9)
    assert solve_exits(event).high[-1] == pytest.approx(expected, abs=1e-5)
    assert expected == pytest.approx(0.0184, abs=1e-4)


def test_nothing_goes_on_in_outage() -> None:
    plan = solve_exits(event_at(10)._replace(offload_energy=np.inf))
    assert not plan.goes_on.any()
    assert plan.value == pytest.approx(-95.8 * 75.82e6 * 20e-12)


def test_the_plan_is_worth_what_events_pay() -> None:
    """Monte Carlo of the model with 400,000 events: standard error about .004."""
    event, plan = event_at(10), solve_exits(event_at(10))
    rng = np.random.default_rng(1)
    tail = rng.random(400_000) < 0.1
    gain = np.diff(SEPARATION**2, prepend=0.0)
    sign = np.where(tail, 1.0, -1.0)[:, None]
    drawn = sign * gain / 2 + np.sqrt(gain) * rng.standard_normal((len(tail), 4))
    taken, sent = simulate_exits(plan.low, plan.high, drawn.cumsum(1))
    energy = np.cumsum(event.block_energy)[taken] + sent * event.offload_energy
    paid = 9.52 * (tail & sent) - event.price * energy
    error = paid.std() / np.sqrt(len(paid))
    assert abs(paid.mean() - plan.value) < 4 * error
    for shift, scale in itertools.product((-0.5, 0.5), (0.5, 2.0)):  # no neighbour is better
        middle, half = (plan.low + plan.high) / 2 + shift, (plan.high - plan.low) / 2 * scale
        taken, sent = simulate_exits(middle - half, middle + half, drawn.cumsum(1))
        energy = np.cumsum(event.block_energy)[taken] + sent * event.offload_energy
        assert (9.52 * (tail & sent) - event.price * energy).mean() < paid.mean()
