"""When a region is best refreshed, against numeric optima."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from sixgym.baselines.twin_mobility.instances import hand_instance, instance
from sixgym.baselines.twin_mobility.problem import IDLE, Problem
from sixgym.baselines.twin_mobility.regions import (
    BIG,
    Goal,
    Levels,
    best_refresh,
    committed,
    goals,
    group_sums,
    interior_information,
    levels,
)
from sixgym.baselines.twin_mobility.tables import GRID, tabulate
from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import fidelity
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.twin import deviation

TIME = GRID.time_s(torch.zeros(1, dtype=torch.float64))


def params_of(**values: Any) -> TwinBaseParams:
    return TwinRoundParams.create(**values)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def lines(starts: Tensor, growth: Tensor) -> Tensor:
    """(..., 2, T) sum of members that tell nothing before a start and then grow; (..., members)."""
    told = growth[..., None] * (TIME - starts[..., None]).clamp_min(0.0)
    now = told.sum(-2)
    return torch.stack([now, now], -2)


def goal_of(drift: float, theta: float, age: float = 0.0) -> Goal:
    return Goal(tensor(drift)[0], tensor(theta)[0], tensor(age)[0], None)


# ------------------------------------------------------------------------------ one region


def test_fidelities_of_a_group_multiply() -> None:
    """1 - prod (1 - F_n), and two equal agents need half the time."""
    info = tensor(0.3, 1.1, 0.7)
    together = 1.0 - float((1.0 - fidelity(info)).prod())
    assert float(fidelity(info.sum())) == pytest.approx(together, abs=1e-12)
    one = best_refresh(lines(tensor(10.0), tensor(0.1)), goal_of(1.0, 2.0), TIME, params_of())
    two = best_refresh(
        lines(tensor(10.0, 10.0), tensor(0.1, 0.1)), goal_of(1.0, 2.0), TIME, params_of()
    )
    assert float(one.time_s) - 10.0 == pytest.approx(2.0 * (float(two.time_s) - 10.0), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    drift=st.floats(0.005, 0.2),
    theta=st.floats(0.5, 3.0),
    growth=st.floats(0.05, 0.5),
    start=st.integers(3, 60),
    age=st.floats(0.0, 30.0),
)
def test_best_moment_of_linear_information(
    drift: float, theta: float, growth: float, start: int, age: float
) -> None:
    """F* = max(F_min, 1 - lambda / (omega growth)), against a numeric optimum."""
    found = best_refresh(
        lines(tensor(float(start)), tensor(growth)), goal_of(drift, theta, age), TIME, params_of()
    )

    def score(time: float) -> float:
        return drift * (age + time) + math.exp(-growth * (time - start))

    least = start + theta / growth
    best = minimize_scalar(score, bounds=(least, 180.0), method="bounded", options={"xatol": 1e-9})
    value = min(best.fun, score(least), score(180.0))
    assert float(found.deviation) == pytest.approx(value, rel=1e-7)
    wanted = max(fidelity(tensor(theta)).item(), 1.0 - drift / growth)
    most = float(interior_information(tensor(drift), tensor(growth), 1.0))
    if max(least, start + most / growth) < 180.0:
        assert float(fidelity(found.info)) == pytest.approx(wanted, abs=1e-9)


def test_time_for_the_requirement_is_water_filling() -> None:
    """T = (Theta + sum s_n m_n) / sum s_n over the members that contribute."""
    starts, growth = tensor(10.0, 14.0, 90.0), tensor(0.1, 0.05, 0.4)
    found = best_refresh(lines(starts, growth), goal_of(1.0, 2.5), TIME, params_of())
    expected = (2.5 + 0.1 * 10.0 + 0.05 * 14.0) / 0.15
    assert float(found.time_s) == pytest.approx(expected, rel=1e-12)
    assert float(found.info) == pytest.approx(2.5, rel=1e-9)


@pytest.mark.parametrize("mode", ["additive", "ratio", "ou"])
def test_best_moment_in_every_mode_of_the_deviation(mode: str) -> None:
    params = params_of(deviation=mode)
    gen = np.random.default_rng(1)
    for _ in range(12):
        drift, theta = gen.uniform(0.01, 0.1), gen.uniform(0.8, 2.5)
        starts = torch.from_numpy(gen.integers(5, 40, 2).astype(float))
        growth = torch.from_numpy(gen.uniform(0.03, 0.2, 2))
        goal = goal_of(drift, theta, gen.uniform(0.0, 30.0))
        found = best_refresh(lines(starts, growth), goal, TIME, params)
        fine = torch.linspace(1.0, 180.0, 400_001, dtype=torch.float64)
        info = (growth[:, None] * (fine - starts[:, None]).clamp_min(0.0)).sum(0)
        score = deviation(goal.drift, goal.age_s + fine, info, params)
        best = float(torch.where(info >= theta, score, torch.inf).min())
        assert best * (1.0 - 1e-4) <= float(found.deviation) <= best * (1.0 + 1e-9)


def test_a_region_out_of_reach_gets_a_soft_value_that_falls_with_partial_information() -> None:
    sums = lines(tensor(10.0), tensor(0.005))
    found = best_refresh(sums, goal_of(0.03, 2.0), TIME, params_of())
    most = 0.005 * 170.0
    assert not bool(found.is_possible)
    assert float(found.deviation) == pytest.approx(BIG * (1.0 + 2.0 - most))
    goal = goal_of(0.03, 2.0)._replace(unserved=tensor(4.0)[0])
    value = float(best_refresh(sums, goal, TIME, params_of()).deviation)
    assert 4.0 < value < 4.01
    assert value < float(best_refresh(0.5 * sums, goal, TIME, params_of()).deviation)


def test_nothing_is_promised_before_it_jumps() -> None:
    """An agent that begins between 20 and 21 s counts from 21 s."""
    problem = hand_instance()
    table = tabulate(problem, torch.full((1, 3), 1e6, dtype=torch.float64), params_of())
    info = torch.zeros_like(table.info)
    info[0, 0, 0, 20:] = 2.5
    found = levels(problem, table._replace(info=info))
    refresh = best_refresh(found.agents[0, 0, 0], goal_of(0.04, 2.3), TIME, params_of())
    assert float(refresh.time_s) == 21.0


# --------------------------------------------------------------------------- groups of agents


def drawn(rows: int = 3, **values: Any) -> tuple[TwinBaseParams, Problem, Levels]:
    params = params_of(num_agents=4, num_regions=2, **values)
    problem = instance(params, rows, seed=40)
    band = torch.full((rows, 4), params.bandwidth_hz / 4, dtype=torch.float64)
    return params, problem, levels(problem, tabulate(problem, band, params))


def test_a_larger_group_is_never_worse() -> None:
    params, problem, found = drawn()
    member = torch.zeros(3, 5, 4, 2, dtype=torch.bool)
    for size in range(5):
        member[:, size, :size] = True
    value = best_refresh(
        group_sums(found, member), goals(problem).unsqueeze(1), found.time_s, params
    ).deviation
    assert float(value.diff(dim=1).max()) <= 1e-9


def test_order_of_the_members_does_not_matter() -> None:
    _, _, found = drawn()
    order = torch.tensor([2, 0, 3, 1])
    assignment = torch.tensor([[0, 1, 0, 1]]).expand(3, -1)
    member = assignment.unsqueeze(-1) == torch.arange(2)
    turned = found._replace(agents=found.agents[:, order])
    plain = group_sums(found, member)
    assert torch.allclose(plain, group_sums(turned, member[:, order]), atol=1e-12)


def test_committed_agents_are_steps_at_their_delivery() -> None:
    params, problem, _ = drawn(1)
    problem = problem._replace(
        step_region=torch.tensor([[0, 0, 1, IDLE]]),
        step_time_s=tensor(7.5, 30.0, 12.0, 1.0).unsqueeze(0),
        step_info=tensor(1.0, 2.0, 9.0, 50.0).unsqueeze(0),
    )
    base = committed(problem, TIME)
    assert base[0, 0, 0, :7].tolist() == [0.0] * 7
    assert base[0, 0, 0, 7:29].unique().tolist() == [1.0]
    assert base[0, 0, 0, 29:].unique().tolist() == [3.0]
    # just before a time of the grid a step within the interval has not happened
    assert torch.equal(base[:, :, 1, 1:], base[:, :, 0, :-1])
    goal = Goal(tensor(0.04, 0.04)[None], tensor(2.5, 2.5)[None], tensor(0.0, 5.0)[None], None)
    found = best_refresh(base, goal, TIME, params)
    assert found.time_s.tolist() == [[30.0, 12.0]]
    expected = [0.04 * 30.0 + math.exp(-3.0), 0.04 * 17.0 + math.exp(-9.0)]
    assert found.deviation[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_a_partner_already_under_way_shortens_the_wait() -> None:
    params, problem, found = drawn(1)
    alone = best_refresh(found.agents[:, 0], goals(problem), found.time_s, params)
    helped = problem._replace(
        step_region=torch.tensor([[IDLE, 0, IDLE, IDLE]]),
        step_time_s=torch.full((1, 4), 10.0, dtype=torch.float64),
        step_info=torch.ones(1, 4, dtype=torch.float64),
    )
    sums = found.agents[:, 0] + committed(helped, found.time_s)
    together = best_refresh(sums, goals(helped), found.time_s, params)
    assert float(together.deviation[0, 0]) < float(alone.deviation[0, 0])
    assert float(together.deviation[0, 1]) == pytest.approx(float(alone.deviation[0, 1]))
