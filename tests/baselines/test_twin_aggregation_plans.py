"""The inner loop of H-MAP: ratios by the closed form, motion as good as SLSQP finds it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from sixgym.baselines.twin_mobility.aggregation_ends import Ends, nearest_ends
from sixgym.baselines.twin_mobility.aggregation_plans import (
    FREE,
    closed_form_ratio,
    descend,
    full_rate_bps,
    may_move,
    motion_step,
    ratio_step,
)
from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_round import work_flop

DOUBLE = {"dtype": torch.float64}
STRESS = AgentAggregationParams.create("stress")
CHEAP = {
    "motion_static_w": 0.002,
    "motion_linear_j_per_m": 0.0005,
    "motion_quadratic": 0.0001,
    "speed_max_mps": 20.0,
}
"""Motion so cheap that it pays."""


def some_ends(count: int, seed: int = 0, apart_m: float = 220.0) -> Ends:
    """Pairs whose discs are up to so far apart."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.0, 500.0, (count, 2))
    centre = np.stack([first, first + rng.uniform(-apart_m, apart_m, (count, 2))], 1)
    radius = rng.uniform(80.0, 100.0, (count, 2, 1))
    angle = rng.uniform(0.0, 2.0 * np.pi, (count, 2, 1))
    away = radius * np.sqrt(rng.uniform(size=(count, 2, 1)))
    position = centre + away * np.concatenate([np.cos(angle), np.sin(angle)], -1)
    parts = position, np.concatenate([centre, radius], -1)
    payload, rho = rng.uniform(10e6, 20e6, (count, 2)), rng.uniform(0.3, 1.0, (count, 2))
    return Ends(*(torch.from_numpy(a) for a in (*parts, payload, rho)))


def still(ends: Ends) -> Tensor:
    return torch.zeros_like(ends.payload_bit)


# ---------------------------------------------------------------------------------------- one ratio


def test_closed_form_of_the_ratio() -> None:
    """Item 22: .4333840 under stress; with the table's radio compression does not pay."""

    def one(value: float) -> Tensor:
        return torch.tensor([value], **DOUBLE)

    found = closed_form_ratio(STRESS, one(2e7), one(0.3), one(200.0), one(1.5))
    assert found.item() == pytest.approx(0.4333840, abs=5e-8)
    usual = AgentAggregationParams.create()
    assert closed_form_ratio(usual, one(8e6), one(0.3), one(200.0), one(5.0)).item() == 1.0
    # Ten times the payload: a tenth of the ratio but for the slow growth of W0.
    unclipped = 1e6 * 5.0 / (8e6 * math.log(2.0))
    weight = 3.198 / unclipped
    assert weight * math.exp(weight) == pytest.approx(
        1e-10 * 8e6 * 350 * 0.7 * 1.25e-11 / (3.98e-15 * 5.0), rel=2e-3
    )


def test_the_search_finds_the_closed_form_where_the_time_is_given() -> None:
    """A receiver that computes longer than any sender leaves a time that no ratio changes."""
    ends = some_ends(60, apart_m=300.0)
    payload = ends.payload_bit.clone()
    payload[:, 0] = 4e6
    payload[:, 1] = 24e6
    ends = ends._replace(payload_bit=payload)
    plan = ratio_step(STRESS, ends, ends.position, still(ends), FREE)
    kept = torch.full((60, 2), 0.6, **DOUBLE)
    flop = work_flop(STRESS, payload, ends.redundancy, kept)[:, 1]
    left = 2.5 - flop / 2.5e9
    across = (ends.position[:, 0] - ends.position[:, 1]).square().sum(-1).sqrt()
    want = closed_form_ratio(STRESS, payload[:, 0], ends.redundancy[:, 0], across, left)
    own = work_flop(STRESS, payload, ends.redundancy, want.unsqueeze(-1).expand(-1, 2))[:, 0]
    applies = plan.is_feasible & (own <= flop)
    assert applies.sum() > 20
    assert torch.allclose(plan.ratio[applies, 0], want[applies], rtol=1e-4)


def test_the_ratio_is_the_best_of_a_fine_grid() -> None:
    ends = some_ends(100, seed=1)
    plan = ratio_step(STRESS, ends, ends.position, still(ends), FREE)
    best = torch.full((100,), 1e3, **DOUBLE)
    for ratio in torch.logspace(math.log10(0.05), 0.0, 2000, **DOUBLE).tolist():
        pinned = torch.tensor([ratio, 0.6], **DOUBLE).expand(100, 2)
        best = torch.minimum(best, energy_of(STRESS, ends, ends.position, still(ends), pinned))
    assert (plan.is_feasible == (best < 1e3)).all()
    assert (plan.energy_j <= best * (1.0 + 1e-9)).all()
    assert (plan.energy_j >= best * (1.0 - 1e-4)).all()


def energy_of(
    p: AgentAggregationParams, ends: Ends, end: Tensor, move_s: Tensor, ratio: Tensor
) -> Tensor:
    """Energy of pairs by the formulas of the model, written out again; 1e3 where a link fails."""
    flop = ends.payload_bit * (
        p.work_base_flop_per_bit - p.work_gen_flop_per_bit * (1 - ends.redundancy) * ratio.log()
    )
    left = p.round_time_s - torch.maximum(move_s, flop / p.cpu_flops).amax(-1)
    across = (end[:, 0] - end[:, 1]).square().sum(-1).sqrt().clamp_min(1.0)
    noise = p.noise_w / (p.gain_1m * across**-3)
    bits = ratio[:, 0] * ends.payload_bit[:, 0]
    power = noise * (2.0 ** (bits / (p.bandwidth_hz * left.clamp_min(0.01))).clamp_max(90.0) - 1.0)
    way = (end - ends.position).square().sum(-1).sqrt()
    speed = way / move_s.clamp_min(1e-12)
    moved = move_s * (
        p.motion_static_w + p.motion_linear_j_per_m * speed + p.motion_quadratic * speed**2
    )
    total = torch.where(way > 0, moved, 0.0).sum(-1) + 1e-28 * p.cpu_flops**2 * flop.sum(-1)
    fails = (power > p.power_max_w) | (left <= 0.01)
    return torch.where(fails, 1e3, total + power * left)


# ------------------------------------------------------------------------------------------ motion


def test_nearest_ends_are_the_nearest_of_many_points() -> None:
    ends = some_ends(12, seed=2, apart_m=120.0)
    length = torch.full((12, 2), 30.0, **DOUBLE)
    found = nearest_ends(ends, length)
    for side in (0, 1):
        way = (found[:, side] - ends.position[:, side]).square().sum(-1).sqrt()
        off = (found[:, side] - ends.disc[:, side, :2]).square().sum(-1).sqrt()
        assert (way <= 30.0 * (1 + 1e-6)).all()
        assert (off <= ends.disc[:, side, 2] * (1 + 1e-6)).all()
    angle = torch.linspace(0.0, 2.0 * math.pi, 61, **DOUBLE)
    ring = torch.stack([angle.cos(), angle.sin()], -1)
    tried = (torch.linspace(0.0, 30.0, 16, **DOUBLE)[:, None, None] * ring).flatten(0, 1)
    for k in range(12):
        points = []
        for side in (0, 1):
            one = ends.position[k, side] + tried
            off = (one - ends.disc[k, side, :2]).square().sum(-1).sqrt()
            points.append(one[off <= ends.disc[k, side, 2]])
        nearest = torch.cdist(points[0], points[1]).min()
        own = (found[k, 0] - found[k, 1]).square().sum().sqrt()
        assert own <= nearest + 1e-6
        assert own >= nearest - 1.5  # of the grid


@pytest.mark.parametrize("kwargs", [CHEAP, {**CHEAP, "round_time_s": 1.8}])
def test_the_motion_step_is_as_good_as_slsqp_from_two_starts(kwargs: dict[str, Any]) -> None:
    """Ends in the discs, times of ways and link: 7 variables, by scipy, for 12 pairs.

    In the second case a third of the links cannot be made without moving.
    """
    params = AgentAggregationParams.create("stress", **kwargs)
    ends = some_ends(12, seed=4)
    plan = ratio_step(params, ends, ends.position, still(ends), FREE)
    moved = motion_step(params, ends, plan, FREE)
    ours = energy_of(params, ends, moved.end, moved.move_s, plan.ratio)
    ways = (moved.end - ends.position).square().sum(-1).sqrt()
    assert (ways.amax(-1) > 0.1).sum() >= 4
    for k in range(12):
        theirs = slsqp(params, Ends(*(t[k] for t in ends)), plan.ratio[k])
        assert float(ours[k]) <= theirs * (1.0 + 1e-4), k
        assert theirs == 1e3 or float(ours[k]) >= theirs * (1.0 - 5e-3), k


def slsqp(p: AgentAggregationParams, ends: Ends, ratio: Tensor) -> float:
    """Step (b) of one pair, starting still and from a step towards each other."""
    place, disc = ends.position.numpy(), ends.disc.numpy()
    flop = work_flop(p, ends.payload_bit, ends.redundancy, ratio).numpy()
    compute = flop / p.cpu_flops
    bits = float(ratio[0] * ends.payload_bit[0])

    def parts(x: Any) -> tuple[Any, Any, float]:
        end, move, link = x[:4].reshape(2, 2), x[4:6], x[6]
        way = np.sqrt(((end - place) ** 2).sum(-1) + 1e-18)
        across = max(math.dist(end[0], end[1]), 1.0)
        noise = p.noise_w / (p.gain_1m * across**-3)
        power = noise * (2.0 ** min(bits / p.bandwidth_hz / max(link, 1e-3), 60.0) - 1.0)
        return way, move, power

    def energy(x: Any) -> float:
        way, move, power = parts(x)
        moved = p.motion_static_w * move + p.motion_linear_j_per_m * way
        moved = moved + p.motion_quadratic * way**2 / np.maximum(move, 1e-6)
        return float(np.where(way > 1e-6, moved, 0.0).sum() + power * x[6])

    def room(x: Any) -> Any:
        way, move, power = parts(x)
        off = np.sqrt(((x[:4].reshape(2, 2) - disc[:, :2]) ** 2).sum(-1) + 1e-18)
        left = p.round_time_s - x[6]
        sides = (left - move, left - compute, p.speed_max_mps * move - way, disc[:, 2] - off)
        return np.concatenate([*sides, [p.power_max_w - power]])

    towards = place[1] - place[0]
    apart = float(np.linalg.norm(towards))
    best = 1e3
    for share in (0.0, 1.0):
        step = share * np.minimum(np.minimum(0.6 * disc[:, 2], 0.3 * apart), 8.0)
        end = place + np.array([1.0, -1.0])[:, None] * step[:, None] * towards / apart
        move = 1.2 * step / p.speed_max_mps + 0.01
        link = max(0.05, p.round_time_s - max(compute.max(), move.max()) - 0.01)
        found = minimize(
            energy,
            np.concatenate([end.ravel(), move, [link]]),
            method="SLSQP",
            constraints=[{"type": "ineq", "fun": room}],
            bounds=[(None, None)] * 4 + [(0.0, p.reach_time_s)] * 2 + [(0.01, p.round_time_s)],
            options={"maxiter": 200, "ftol": 1e-11},
        )
        if room(found.x).min() > -1e-6:
            best = min(best, float(found.fun) + 1e-28 * p.cpu_flops**2 * float(flop.sum()))
    return best


@pytest.mark.parametrize("kwargs", [{}, CHEAP, {"motion_linear_j_per_m": 0.005}])
def test_pairs_that_are_not_tried_to_move_would_gain_nothing(kwargs: dict[str, Any]) -> None:
    """A metre saves at most 3 E / d: where it costs more, descent finds nothing better."""
    params = AgentAggregationParams.create("stress", **kwargs)
    ends = some_ends(60, seed=5, apart_m=350.0)
    plan = ratio_step(params, ends, ends.position, still(ends), FREE)
    tried = may_move(params, ends, plan)
    moved = descend(params, ends, plan, FREE)
    assert (moved.energy_j <= plan.energy_j).all()
    assert torch.equal(moved.energy_j[~tried], plan.energy_j[~tried])
    assert (~tried).sum() > 5


def test_full_rate_over_200_m() -> None:
    """Item 20: 1.16173313e7 bit/s."""
    rate = full_rate_bps(AgentAggregationParams.create(), torch.tensor([200.0], **DOUBLE))
    assert rate.item() == pytest.approx(1.16173313e7, rel=1e-8)
