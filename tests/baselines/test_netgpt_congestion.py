"""Shared uplinks and queues: equilibrium, social optimum, the best set (dossier 3.8)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.baselines.netgpt.congestion import (
    batch_brute_force,
    batch_optimum,
    batch_value,
    congested_threshold,
    mm1_wait,
    queue_cost,
    uplink_cost,
)
from sixgym.baselines.netgpt.law import GATE
from sixgym.baselines.netgpt.laws import NoisyLaw
from sixgym.baselines.netgpt.model import FROZEN, Model, Network
from sixgym.baselines.netgpt.threshold import UniformToy

MODEL = Model()
PRE = Model(mode="pre", score_noise=1.5)
STATES = [Network(FROZEN.bandwidth[k], FROZEN.rtt[k]) for k in range(4)]
QUEUE = {"slot_s": 10.0, "service_rate": 2.5}


def test_shared_uplink_toy() -> None:
    """Check 15: K = 16, D = 4.16672, B = 20, omega_1 = .15, c = .95."""
    load = 0.08 * 16 * 4.16672 / 20
    toy = UniformToy(0.95)
    alone, together = toy.shared_equilibrium(0.15, load), toy.shared_optimum(0.15, load)
    assert alone == pytest.approx(0.631577, abs=1e-6)
    assert together == pytest.approx(0.521737, abs=1e-6)
    assert 0.95 - alone == pytest.approx(0.15 + load * alone)
    grid = np.linspace(0.0, 1.0, 100_001)
    all_pay = toy.utility(grid, 0.15 + load * grid)
    assert grid[all_pay.argmax()] == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("state", STATES)
def test_equilibrium_is_a_fixed_point_and_the_optimum_maximises(state: Network) -> None:
    """A best reply to itself; the social optimum by grid search; tau_soc <= tau_eq."""
    law = NoisyLaw(MODEL)
    own = uplink_cost(MODEL, state, is_social=False)
    alone = congested_threshold(law, own)
    reply = float(law.threshold(own(float(law.rates(alone).offload))))
    assert reply == pytest.approx(alone, abs=1e-9)
    together = congested_threshold(law, uplink_cost(MODEL, state, is_social=True), own)
    assert together <= alone
    grid = np.concatenate([[0.0, GATE], np.linspace(0.0, 1.0, 5001)[1:]])
    omega = np.array([own(float(share)) for share in law.rates(grid).offload])
    best = grid[law.utility(grid, omega).argmax()]
    assert together == pytest.approx(best, abs=4e-4)


@pytest.mark.parametrize("state", STATES)
def test_in_pre_mode_society_offloads_more(state: Network) -> None:
    """Whoever leaves relieves those who stay: tau_soc >= tau_eq, and it is the best on a grid."""
    law = NoisyLaw(PRE)
    alone = congested_threshold(law, queue_cost(PRE, state, is_social=False, **QUEUE))
    together = congested_threshold(law, queue_cost(PRE, state, is_social=True, **QUEUE))
    assert together >= alone
    grid = np.linspace(0.0, 1.0, 4001)
    rates = law.rates(grid)
    wait = np.array([mm1_wait(PRE, float(o), **QUEUE) for o in rates.offload])
    base = PRE.keep_cost() * (1 - rates.offload)
    sent = (PRE.extra_cost(state) + PRE.floor_cost) * rates.offload
    value = rates.quality - base - sent - 0.08 * wait * (1 - rates.offload)
    assert together == pytest.approx(grid[value.argmax()], abs=5e-4)


def test_queue_costs_are_of_the_pre_mode() -> None:
    with pytest.raises(ValueError, match="mode='cascade': allowed: 'pre'"):
        queue_cost(MODEL, STATES[0], is_social=False, **QUEUE)
    overload = queue_cost(PRE, STATES[0], slot_s=10.0, service_rate=1.0, is_social=True)
    flat = queue_cost(PRE, STATES[0], slot_s=10.0, service_rate=1.0, is_social=False)
    assert overload(0.0) == flat(0.0)


def test_invalid_drafts_are_sent_all_or_none() -> None:
    """Bad regime, 40 requests: all are worth it, one more than most would not be."""
    model, law = replace(MODEL, requests=40), NoisyLaw(MODEL)
    own = uplink_cost(model, STATES[3], is_social=False)
    marginal = uplink_cost(model, STATES[3], is_social=True)
    assert marginal(0.04) > 0.94525 > own(0.04)
    assert congested_threshold(law, marginal, own) == GATE
    assert law.utility(GATE, own(0.04)) > law.utility(0.0, 0.0)
    many = replace(MODEL, requests=80)
    own = uplink_cost(many, STATES[3], is_social=False)
    marginal = uplink_cost(many, STATES[3], is_social=True)
    assert congested_threshold(law, marginal, own) == 0.0
    assert law.utility(GATE, own(0.04)) < law.utility(0.0, 0.0)


def test_ends_of_the_congested_threshold() -> None:
    law = NoisyLaw(MODEL)
    assert congested_threshold(law, lambda share: 2.0) == 0.0
    assert congested_threshold(law, lambda share: 0.9451) == GATE
    assert congested_threshold(law, lambda share: -2.0) == pytest.approx(1.0)


@pytest.mark.parametrize("is_equal", [True, False])
def test_the_best_set_is_that_of_brute_force(is_equal: bool) -> None:
    """Check 16: K = 10, 100 instances; equal sizes as in the dossier, and any sizes."""
    rng = np.random.default_rng(0)
    gain = rng.uniform(-0.3, 0.95, (100, 10))
    load = rng.uniform(0.0, 0.08, (100, 1 if is_equal else 10)) * np.ones((100, 10))
    chosen = batch_optimum(gain, load)
    found = batch_value(gain, load, chosen)
    for k in range(100):
        best, value = batch_brute_force(gain[k], load[k])
        assert found[k] == pytest.approx(value, abs=1e-12)
        assert (best == chosen[k]).all()
    assert 0 < chosen.mean() < 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.3)), min_size=1, max_size=8))
def test_no_set_is_better_than_the_best(items: list[tuple[float, float]]) -> None:
    gain, load = np.array(items).T
    _, value = batch_brute_force(gain, load)
    found = float(batch_value(gain, load, batch_optimum(gain, load)))
    assert found == pytest.approx(value, abs=1e-9)


def test_empty_places_are_left_alone() -> None:
    gain = np.array([[0.5, -np.inf, 0.4], [-np.inf, -np.inf, -np.inf]])
    chosen = batch_optimum(gain, np.full((2, 3), 0.01))
    assert chosen.tolist() == [[True, False, True], [False, False, False]]


def test_many_requests_are_not_enumerated() -> None:
    with pytest.raises(ValueError, match="requests=17: allowed: at most 16"):
        batch_brute_force(np.zeros(17), np.zeros(17))


def test_the_best_set_comes_near_the_mean_field() -> None:
    """K large: the share of the toy's best set goes to tau_soc (.521737)."""
    rng = np.random.default_rng(3)
    places, load = 4000, 0.08 * 16 * 4.16672 / 20
    gain = 0.95 - rng.random(places) - 0.15
    chosen = batch_optimum(gain, np.full(places, load / places))
    assert chosen.mean() == pytest.approx(0.521737, abs=0.02)
