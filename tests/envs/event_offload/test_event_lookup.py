"""Pareto pruning and the table over SNR: exact, feasible, rounded down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.envs.event_offload.lookup import (
    ACTION_SNR_DB,
    LookupTable,
    action_pairs,
    best_points,
    prune,
)
from sixgym.envs.event_offload.params import EventOffloadParams
from sixgym.envs.event_offload.scores import EventPool, named_pool
from sixgym.envs.event_offload.tables import OperatingPoints, tabulate

PARAMS = EventOffloadParams.create()
KAPPA = 20e-12


def offload_j(snr_db):
    """E_off = P D / (B log2(1 + gamma)), written out: 34.95 mJ at 0 dB."""
    return 1_048_576 / (30e6 * np.log2(1 + 10 ** (np.asarray(snr_db, float) / 10)))


def digits(split="all", rule="head", pi=0.1) -> OperatingPoints:
    return tabulate(named_pool("digits38"), split, 201, rule).at(pi)


def random_points(seed: int, classes: int = 2) -> OperatingPoints:
    """Operating points of few events, so that ties abound."""
    rng = np.random.default_rng(seed)
    n = 30
    conf = np.clip(np.round(rng.uniform(0, 1, (n, 3)), 1), 1e-6, 1 - 1e-6).astype(np.float32)
    server = rng.dirichlet(np.ones(classes + 1), n).astype(np.float32)
    y = np.where(np.arange(n) < 12, 1 + np.arange(n) % classes, 0).astype(np.int8)
    pool = EventPool(conf, server, y, np.zeros(n, np.int8), np.array([1.0, 2.0, 4.0]) * 75e6)
    return tabulate(pool, "all", 21).at(0.2)


def test_pruned_points_are_exactly_the_undominated_ones():
    points = random_points(3)
    kept = prune(points)
    cost = np.round(np.stack([points.mac / points.mac.max(), points.p_off, -points.f_acc], 1), 12)
    undominated = set()
    for row in cost:
        beaten = (cost <= row).all(1) & (cost < row).any(1)
        if not beaten.any():
            undominated.add(tuple(row))
    scale = points.mac.max()
    got = np.round(np.stack([kept.mac / scale, kept.p_off, -kept.f_acc], 1), 12)
    assert {tuple(row) for row in got} == undominated
    assert len(got) == len(undominated)  # one pair for each equal triple


def test_pruned_points_are_in_the_order_that_ties_are_decided():
    kept = prune(digits())
    order = np.lexsort((kept.mac, kept.p_off))
    assert (order == np.arange(len(order))).all()
    # The dossier keeps 4,684 of 20,301 on its own training of the same networks (3.2).
    assert len(digits().low) == 20_301
    assert len(kept.low) == pytest.approx(4_684, rel=0.05)


@given(seed=st.integers(0, 500), snr_db=st.floats(-10, 30), budget_mj=st.floats(1.0, 12.0))
@settings(max_examples=50, deadline=None)
def test_pruning_changes_no_optimum_and_no_tie(seed, snr_db, budget_mj):
    # 50 random (gamma, xi), some with an offload limit (dossier 9.9).
    params = PARAMS.model_copy(
        update={"budget_j": budget_mj * 1e-3, "max_offload_share": (1.0, 0.15)[seed % 2]}
    )
    points = random_points(seed) if seed % 5 else digits()
    kept = prune(points)
    energy = np.array([offload_j(snr_db)])
    whole, part = (best_points(p, energy, params) for p in (points, kept))
    assert whole.feasible == part.feasible
    if not whole.feasible[0]:
        assert KAPPA * points.mac.min() > params.budget_j
        return
    a, b = points.take(whole.index), kept.take(part.index)
    assert a.f_acc[0] == pytest.approx(b.f_acc[0], abs=1e-12)
    assert a.p_off[0] == pytest.approx(b.p_off[0], abs=1e-12)
    assert a.mac[0] == pytest.approx(b.mac[0], rel=1e-12)
    # Against a search written out: best value, then fewest offloads, then least computation.
    e = KAPPA * points.mac + points.p_off * energy
    allowed = (e <= params.budget_j) & (points.p_off <= params.max_offload_share)
    best = points.f_acc[allowed].max()
    assert a.f_acc[0] == pytest.approx(best, abs=1e-12)
    ties = allowed & (points.f_acc > best - 1e-11)
    assert a.p_off[0] == pytest.approx(points.p_off[ties].min(), abs=1e-11)


def test_better_channel_is_never_worse_and_every_pair_is_feasible():
    # f*(SNR) does not fall; every returned pair satisfies e <= xi (dossier 9.9, claim C4).
    for split, rule in (("calib", "head"), ("all", "mid")):
        points = digits(split, rule)
        table = LookupTable.build(points, PARAMS)
        assert len(table.snr_db) == 81
        assert (np.diff(table.f_acc) >= -1e-12).all()
        assert (table.energy_j <= 5e-3 * (1 + 1e-9)).all()
        assert table.energy_j == pytest.approx(
            KAPPA * table.mac + table.p_off * offload_j(table.snr_db), rel=1e-9
        )
        assert (table.low <= table.high).all()
        assert not table.infeasible.any()


def test_offload_limit_binds():
    params = PARAMS.model_copy(update={"max_offload_share": 0.05, "budget_j": 1.0})
    table = LookupTable.build(digits(), params)
    assert (table.p_off <= 0.05).all()
    # Without an energy limit DT-head reaches .457 at P_off <= .05 (dossier 4.4; f_acc +-.03).
    assert table.f_acc == pytest.approx(np.full(81, 0.457), abs=0.03)


def test_impossible_budget_is_flagged_and_nothing_is_sent():
    # Even (1, 1) costs kappa c_1 = 1.5164 mJ.
    params = PARAMS.model_copy(update={"budget_j": 1.5e-3})
    table = LookupTable.build(digits(), params)
    assert table.infeasible.all()
    assert (table.low == 1).all()
    assert (table.high == 1).all()
    assert (table.f_acc == 0).all()
    assert table.energy_j == pytest.approx(np.full(81, 1.5164e-3), rel=1e-9)


def test_snr_is_rounded_down_to_the_grid():
    table = LookupTable.build(digits(), PARAMS)
    at = {db: int(np.flatnonzero(table.snr_db == db)[0]) for db in (0.0, 0.5, 10.0, 30.0)}
    snr = 10 ** (np.array([0.0, 0.49, 0.5, 10.3, 55.0]) / 10)
    assert table.row(snr).tolist() == [at[0.0], at[0.0], at[0.5], at[10.0], at[30.0]]
    # float32 SNRs on a grid point stay on it.
    exact = (10 ** (table.snr_db[10:] / 10)).astype(np.float32)
    assert table.row(exact).tolist() == list(range(10, 81))
    pair = table.pair(snr.reshape(1, 5))
    assert pair.shape == (1, 5, 2)
    assert pair.dtype == np.float32
    assert pair[0, 3].tolist() == [table.low[at[10.0]], table.high[at[10.0]]]


def test_nothing_is_sent_in_outage_and_below_the_grid():
    table = LookupTable.build(digits(), PARAMS)
    assert table.min_snr == pytest.approx(0.274141, abs=1e-6)
    assert table.pair(np.array([0.2741, 0.0])).tolist() == [[1, 1], [1, 1]]
    assert table.pair(np.array([0.2742]))[0, 1] < 1  # at -6 dB of the grid: cautious, not silent
    patient = PARAMS.model_copy(update={"deadline_s": 100.0})
    low = LookupTable.build(digits(), patient)
    assert low.pair(np.array([0.05])).tolist() == [[1, 1]]  # -13 dB, the grid begins at -10


def test_action_pairs_are_no_offload_and_three_budgets():
    points = digits("calib")
    pairs = action_pairs(points, PARAMS)
    assert pairs.shape == (64, 2)
    assert pairs[0].tolist() == [1, 1]
    assert ACTION_SNR_DB[[0, 1, -1]].tolist() == [-5.0, -3.75, 20.0]
    middle = LookupTable.build(points, PARAMS, ACTION_SNR_DB)
    assert (pairs[22:43] == np.stack([middle.low, middle.high], 1)).all()
    tight = PARAMS.model_copy(update={"budget_j": 2e-3})
    assert (action_pairs(points, tight)[1:22] == 1).all()  # .7 x 2 mJ is below 1.5164 mJ


def test_objective_may_be_the_detection_rate():
    points = digits()
    found = LookupTable.build(points, PARAMS, objective="tpr")
    named = LookupTable.build(points, PARAMS)
    assert (found.tpr >= named.tpr - 1e-12).all()
    assert (named.f_acc >= found.f_acc - 1e-12).all()


def test_no_uplink_is_an_infinite_price_of_what_is_sent():
    # Best that sends nothing is (1, 1): value 0 at the least computation.
    points = digits()
    choice = best_points(points, np.array([np.inf]), PARAMS)
    assert choice.feasible[0]
    chosen = points.take(choice.index)
    assert (chosen.p_off[0], chosen.f_acc[0]) == (0.0, 0.0)
    assert chosen.mac[0] == pytest.approx(75.82e6)
