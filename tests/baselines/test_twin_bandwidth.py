"""Least bandwidths and the split of the band."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sixgym.baselines.twin_mobility.bandwidth import (
    LEAST_HZ,
    latest_time,
    share_out,
    split_band,
)
from sixgym.baselines.twin_mobility.instances import hand_instance, instance
from sixgym.baselines.twin_mobility.problem import Ingredients, Problem
from sixgym.baselines.twin_mobility.realise import Plan, draw_w
from sixgym.baselines.twin_mobility.two_layer import solve
from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.link import rate_bps
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.sharing import min_bandwidth
from sixgym.envs.twin_mobility.twin import deviation

EVEN = Ingredients(equal_bandwidth=True)


def params_of(**values: Any) -> TwinBaseParams:
    return TwinRoundParams.create(**values)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# ------------------------------------------------------------------------------ one agent


def test_least_bandwidth_by_hand() -> None:
    """a = 3.2e6 Hz: 1.5e6 bit/s take 535082.218 Hz, and a / ln 2 = 4616624.13 is out of reach."""
    rate = tensor(1.5e6, 3.2e6 / math.log(2.0), 0.0)
    found = min_bandwidth(rate, torch.full_like(rate, 3.2e6))
    assert found.tolist() == pytest.approx([535082.218, math.inf, 0.0], rel=1e-8)


def test_least_bandwidth_is_homogeneous() -> None:
    rate, snr = tensor(1.5e6, 2e5), tensor(3.2e6, 1e6)
    assert torch.allclose(min_bandwidth(2.0 * rate, 2.0 * snr), 2.0 * min_bandwidth(rate, snr))
    assert min_bandwidth(tensor(1e6, 1e6), tensor(2e6, 2e6)).unique().numel() == 1


@settings(max_examples=60, deadline=None)
@given(share=st.floats(1e-6, 0.999), snr=st.floats(1e3, 1e9))
def test_least_bandwidth_carries_the_rate_exactly(share: float, snr: float) -> None:
    """The Lambert form against Shannon's formula, up to 0.999 of the rate of an endless band."""
    rate = tensor(share * snr / math.log(2.0))
    band = min_bandwidth(rate, tensor(snr))
    back = rate_bps(band, tensor(snr), tensor(1.0), 1.0)
    assert float(back) == pytest.approx(float(rate), rel=1e-7)


def test_a_capped_efficiency_needs_more_band() -> None:
    found = min_bandwidth(tensor(1.5e6), tensor(3.2e6), se_max=2.0)
    assert float(found) == pytest.approx(7.5e5)


@pytest.mark.parametrize("mode", ["additive", "ratio", "ou"])
def test_latest_time_inverts_the_deviation(mode: str) -> None:
    params, problem = params_of(deviation=mode), hand_instance()
    problem = problem._replace(age_s=tensor(3.0, 8.0)[None])
    info, due = tensor(2.0, 3.0)[None], tensor(20.0, 33.0)[None]
    value = deviation(problem.drift, problem.age_s + due, info, params)
    for region in (0, 1):
        found = latest_time(value[:, region], info, problem, params)
        assert float(found[0, region]) == pytest.approx(float(due[0, region]), rel=1e-9)


# ------------------------------------------------------------------------------ the split


def solved(rows: int = 3) -> tuple[TwinBaseParams, Problem, Plan]:
    """Plans of four agents and two regions with an even split."""
    params = params_of(num_agents=4, num_regions=2)
    problem = instance(params, rows, seed=3)
    assignment = torch.tensor([[0, 1, 0, 1]]).expand(rows, -1)
    return params, problem, solve(problem, params, EVEN, assignment=assignment).plan


def whole(plan: Plan, params: TwinBaseParams) -> Tensor:
    return torch.full((plan.region.shape[0],), params.bandwidth_hz, dtype=torch.float64)


def test_shares_fill_the_band_and_keep_their_floors() -> None:
    params = params_of()
    works = torch.tensor([[True, True, True, False]])
    band = share_out(tensor(1.0, 1e-9, 3.0, 5.0)[None], works, tensor(4e6), params)
    assert float(band.sum()) == pytest.approx(4e6)
    assert float(band[0, 3]) == 0.0
    assert float(band[0, 1] / band[0, 2]) == pytest.approx(params.request_min)
    tiny = share_out(tensor(1.0, 1.0)[None], works[:, :2], tensor(1.0), params)
    assert tiny.tolist() == [[LEAST_HZ, LEAST_HZ]]


def test_the_split_fills_the_band() -> None:
    params, problem, plan = solved()
    band = split_band(problem, plan, whole(plan, params), params)
    used = torch.where(plan.region >= 0, band, 0.0).sum(-1)
    assert used.tolist() == pytest.approx([params.bandwidth_hz] * 3)


def transmit_s(plan: Plan, band: Tensor) -> Tensor:
    rate = rate_bps(band, plan.snr_hz, torch.ones_like(band), 1.0)
    return torch.where(plan.region >= 0, plan.sent_bits / rate, 0.0)


def outcome(problem: Problem, plan: Plan, band: Tensor, params: TwinBaseParams) -> Tensor:
    """Largest deviation with everything else of a plan kept; infinite over the energy budget."""
    sent = transmit_s(plan, band)
    done = plan.stage_s[..., :4].sum(-1) + sent
    energy = plan.stage_j[..., :4].sum(-1) + draw_w(plan.power_w, params) * sent
    over = ((energy > problem.energy_j * (1.0 + 1e-9)) & (plan.region >= 0)).any(-1)
    member = plan.region.unsqueeze(-1) == torch.arange(problem.num_regions)
    when = torch.where(member, done.unsqueeze(-1), 0.0).amax(1)
    value = deviation(problem.drift, problem.age_s + when, plan.region_info, params).amax(-1)
    return torch.where(over, torch.inf, value)


def test_with_the_rest_kept_no_split_is_better() -> None:
    """Against all splits among two agents, their energy budgets widened so that time decides."""
    params = params_of(num_agents=2, num_regions=2)
    problem = instance(params, 8, seed=21)
    start = solve(problem, params, EVEN)
    rows = (start.is_feasible & (start.assignment >= 0).all(-1)).nonzero().squeeze(-1)[:3]
    assert rows.numel() == 3
    problem, plan = problem.rows(rows), Plan(*(item[rows] for item in start.plan))
    problem = problem._replace(energy_j=problem.energy_j + 5.0)
    band = split_band(problem, plan, whole(plan, params), params, exact=True)
    mine = outcome(problem, plan, band, params)
    share = torch.linspace(0.05, 0.95, 201, dtype=torch.float64)
    splits = params.bandwidth_hz * torch.stack([share, 1.0 - share], -1)
    for row in range(rows.numel()):
        here, one = problem.rows(slice(row, row + 1)), Plan(*(item[row : row + 1] for item in plan))
        every = torch.stack([outcome(here, one, split[None], params) for split in splits])
        assert float(mine[row]) <= float(every.min()) * (1.0 + 1e-6)
    assert bool((mine <= outcome(problem, plan, plan.bandwidth_hz, params) + 1e-9).all())


def test_with_prices_the_split_helps_though_all_energy_is_spent() -> None:
    """With the rest kept, an agent that has spent its energy cannot transmit for longer."""
    params, problem = params_of(preset="tiny"), hand_instance()
    plan = solve(problem, params, EVEN, assignment=torch.tensor([[0, 0, 1]])).plan
    assert bool((plan.price > 0.0).all())
    total = whole(plan, params)
    kept = split_band(problem, plan, total, params, exact=True)
    assert torch.allclose(kept, plan.bandwidth_hz, rtol=1e-6)
    priced = split_band(problem, plan, total, params)
    # region 1 decides, and agent 2 serves it
    assert float(priced[0, 2]) > 2.0 * float(plan.bandwidth_hz[0, 2])
    free = solve(problem, params, assignment=torch.tensor([[0, 0, 1]]))
    assert float(free.gamma) < 0.985 * float(plan.gamma)


def test_equal_agents_get_equal_shares() -> None:
    """Two agents in the same place and two mirrored regions."""
    params = params_of(num_agents=2, num_regions=2)
    problem = mirrored()
    plan = solve(problem, params, EVEN, assignment=torch.tensor([[0, 1]])).plan
    band = split_band(problem, plan, whole(plan, params), params)
    assert band[0].tolist() == pytest.approx([2e6, 2e6], rel=1e-6)


def mirrored() -> Problem:
    """One agent and one region on each side of the base station, equal in everything."""

    def row(values: Any) -> Tensor:
        return torch.tensor([values], dtype=torch.float64)

    return Problem(
        row([[250.0, 600.0], [750.0, 600.0]]),
        row([[200.0, 400.0], [800.0, 400.0]]),
        row([500.0, 500.0]),
        row([[0.4, 0.4], [0.4, 0.4]]),
        row([5e9, 5e9]),
        row([160.0, 160.0]),
        row([0.04, 0.04]),
        row([2.0, 2.0]),
        row([0.0, 0.0]),
    )
