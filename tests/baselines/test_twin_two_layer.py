"""The two-layer solver as a whole: against hand-made numbers, the constraints and the round."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.bounds import lower_bound
from sixgym.baselines.twin_mobility.exact import brute_force
from sixgym.baselines.twin_mobility.instances import (
    controls,
    hand_instance,
    instance,
    with_margin,
)
from sixgym.baselines.twin_mobility.problem import IDLE, Ingredients, Problem
from sixgym.baselines.twin_mobility.regions import goals, levels
from sixgym.baselines.twin_mobility.tables import GRID, tabulate
from sixgym.baselines.twin_mobility.two_layer import GREEDY, Rule, Solution, solve
from sixgym.envs.core.rows import Rows
from sixgym.envs.twin_mobility import geometry, link
from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import cycle
from sixgym.envs.twin_mobility.round import TwinRound
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.twin import deviation

EVEN = Ingredients(equal_bandwidth=True)
COARSE = GRID._replace(fractions=7, prices=24, visits=3)


def params_of(**values: Any) -> TwinRoundParams:
    return TwinRoundParams.create(**{"num_rounds": 1, "action_mode": "hybrid", **values})


def drawn(rows: int, seed: int, **values: Any) -> tuple[TwinRoundParams, Problem]:
    params = params_of(**values)
    return params, instance(params, rows, seed)


# ---------------------------------------------------------------------------- the hand instance


def test_hand_instance_with_an_even_split() -> None:
    """Gamma = 1.462 of region 1; region 0, with two agents, 1.307 within 1 %."""
    found = solve(hand_instance(), params_of(preset="tiny"), EVEN)
    assert found.assignment.tolist() == [[0, 0, 1]]
    assert float(found.gamma) == pytest.approx(1.462, abs=1e-3)
    assert found.plan.deviation[0].tolist() == pytest.approx([1.307, 1.462], rel=0.01)
    assert bool(found.is_feasible)


def test_hand_instance_with_the_best_split() -> None:
    """Bandwidth goes to the agent of the region that decides: some 2 % better."""
    params = params_of(preset="tiny")
    found = solve(hand_instance(), params)
    assert float(found.gamma) < 1.435
    assert int(found.plan.bandwidth_hz.argmax()) == 2
    assert float(found.plan.bandwidth_hz.sum()) == pytest.approx(params.bandwidth_hz)


# ------------------------------------------------------------------------------ constraints


def check_constraints(problem: Problem, params: TwinBaseParams, found: Solution) -> None:
    """Everything from the plan's resources and the shared formulas."""
    plan, works = found.plan, found.assignment != IDLE
    region = found.assignment.clamp_min(0)
    centre = problem.region_xy.gather(1, region.unsqueeze(-1).expand(-1, -1, 2))
    point = geometry.sensing_point(problem.pos, centre, params.sensing_radius_m)
    ground = geometry.ground_distance(point, problem.bs_xy.unsqueeze(1))
    away = geometry.approach_m(ground, plan.fraction, params.approach_limit_m)
    gain = link.gain(
        geometry.slant_distance(ground - away, params.bs_height_m),
        params.gain_1m,
        params.path_loss_exponent,
    )
    if problem.gain_factor is not None:
        gain = gain * problem.gain_factor.gather(-1, region.unsqueeze(-1)).squeeze(-1)
    run = cycle(
        params,
        move_m=geometry.move_to_sense_m(problem.pos, centre, params.sensing_radius_m),
        approach_m=away,
        speed_mps=plan.speed_mps,
        sensing_s=plan.sensing_s,
        cpu_flops=plan.cpu_flops,
        compression=plan.compression,
        power_w=plan.power_w,
        rate_bps=link.rate_bps(
            plan.bandwidth_hz, plan.power_w, gain, params.noise_w_per_hz, params.se_max
        ),
        kappa=problem.kappa.gather(-1, region.unsqueeze(-1)).squeeze(-1),
        drawn_bits=problem.raw_bits,
    )
    over = torch.where(works, run.energy_j.sum(-1) - problem.energy_j, -1.0)
    assert float(over.max()) <= 1e-9 * params.cycle_energy_j
    band = torch.where(works, plan.bandwidth_hz, 0.0).sum(-1)
    assert float(band.max()) <= params.bandwidth_hz * (1.0 + 1e-9)
    member = works.unsqueeze(-1) & (region.unsqueeze(-1) == torch.arange(problem.num_regions))
    info = torch.where(member, run.information.unsqueeze(-1), 0.0).sum(1)
    served = found.is_feasible.unsqueeze(-1).expand_as(info)
    assert bool((info >= problem.theta * (1.0 - 1e-9))[served].all())
    duration = run.duration_s(overlap=params.overlap_proc_move)
    when = torch.where(member, duration.unsqueeze(-1), 0.0).amax(1)
    value = deviation(problem.drift, problem.age_s + when, info, params)
    assert torch.allclose(value[served], plan.deviation[served], rtol=1e-9)
    assert bool((plan.deviation.amax(-1) == found.gamma).all())
    for item, low, high in (
        (plan.speed_mps, params.speed_min_mps, params.speed_max_mps),
        (plan.sensing_s, params.sensing_min_s, params.sensing_max_s),
        (plan.compression, params.compression_min, 1.0),
        (plan.fraction, 0.0, 1.0),
        (plan.power_w, params.power_min_w, params.power_max_w),
    ):
        assert float(item[works].min()) >= low
        assert float(item[works].max()) <= high + 1e-12
    assert bool((plan.cpu_flops <= problem.cpu_max_flops)[works].all())


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper_strict": {"preset": "paper_strict"},
    "fixed data": {"raw_mode": "fixed"},
    "uav": {"preset": "uav"},
    "power_active": {"preset": "power_active"},
    "ratio": {"deviation": "ratio"},
    "ou": {"deviation": "ou"},
    "random channel": {"modality": "random", "shadowing_db": 4.0, "se_max": 1.5},
    "overlap": {"overlap_proc_move": True},
}


@cache
def solution(name: str) -> tuple[TwinRoundParams, Problem, Solution]:
    """Three rows of a variant, with the margin that single precision needs."""
    params, problem = drawn(3, 50, num_agents=4, num_regions=2, **VARIANTS[name])
    return params, problem, solve(with_margin(problem), params, grid=COARSE, passes=2)


@pytest.mark.parametrize("name", VARIANTS)
def test_solutions_keep_every_constraint(name: str) -> None:
    params, problem, found = solution(name)
    assert int(found.is_feasible.sum()) >= 2
    check_constraints(problem, params, found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_round_pays_what_the_solver_says(name: str, dtype: torch.dtype) -> None:
    """The plans as actions of `sixgym/TwinRound-v0`, whose score is that of the problem."""
    params, problem, found = solution(name)
    rows = Rows(TwinRound(params, dtype=dtype), 3)
    rows.start(seeds=torch.arange(50, 53))
    moves = {
        "agent.region": found.assignment + 1,
        "agent.u": controls(found.plan, problem.cpu_max_flops, params).to(dtype),
    }
    state, _ = rows.system.play(rows.state, moves, {})
    score = state.score.double().amax(-1)[found.is_feasible]
    assert score.tolist() == pytest.approx(found.gamma[found.is_feasible].tolist(), rel=2e-6)


def test_instances_are_the_environments_own() -> None:
    params, problem = drawn(3, 7, modality="random", raw_mode="fixed", shadowing_db=3.0)
    rows = Rows(TwinRound(params, dtype=torch.float64), 3)
    rows.start(seeds=torch.arange(7, 10))
    state = rows.state
    for mine, theirs in (
        (problem.pos, state.position),
        (problem.region_xy, state.centre),
        (problem.kappa, state.kappa),
        (problem.theta, state.theta),
        (problem.age_s, state.age_s),
        (problem.raw_bits, state.drawn_bits),
        (problem.gain_factor, state.shadow),
    ):
        assert torch.equal(mine, theirs)


# ------------------------------------------------------------------------------ the algorithm


def test_best_iterates_fall_and_rows_stop_by_themselves() -> None:
    params, problem = drawn(6, 300, num_agents=6, num_regions=3)
    found = solve(problem, params, grid=COARSE)
    assert bool((found.trace.diff(dim=-1) <= 1e-12).all())
    assert torch.equal(found.trace[:, -1], found.gamma)
    assert int(found.passes.max()) <= 6
    assert int(found.moves.max()) <= 30
    assert found.passes.unique().numel() > 1
    even = solve(problem, params, EVEN, grid=COARSE)
    assert bool((found.gamma <= even.gamma * (1.0 + 1e-3)).all())
    assert float((even.gamma / found.gamma).log().mean()) > 0.005


def test_rows_do_not_depend_on_each_other() -> None:
    params, problem = drawn(3, 12, num_agents=4, num_regions=2)
    together = solve(problem, params, grid=COARSE)
    for row in range(3):
        alone = solve(problem.rows(slice(row, row + 1)), params, grid=COARSE)
        assert torch.equal(alone.assignment[0], together.assignment[row])
        assert float(alone.gamma) == pytest.approx(float(together.gamma[row]), rel=1e-9)


def test_bound_brute_force_matching_greedy() -> None:
    """With an even split: in this order, but for the table's 1e-3."""
    params, problem = drawn(6, 500, num_agents=4, num_regions=2)
    # all work, so that nobody's share is handed on
    matched = solve(problem, params, EVEN, passes=1)
    greedy = solve(problem, params, EVEN, passes=1, rule=GREEDY)
    busy = (matched.assignment >= 0).all(-1) & (greedy.assignment >= 0).all(-1)
    assert int(busy.sum()) >= 2
    band = torch.full_like(problem.cpu_max_flops, params.bandwidth_hz / 4)
    table = levels(problem, tabulate(problem, band, params))
    best = brute_force(table, goals(problem), params).gamma
    bound = lower_bound(problem, params)
    assert bool((bound <= best * 1.001).all())
    assert bool((best <= matched.gamma * 1.001)[busy].all())
    assert bool((matched.gamma <= greedy.gamma * 1.001)[busy].all())


def test_every_ingredient_helps() -> None:
    params, problem = drawn(3, 80, num_agents=4, num_regions=2)
    full = solve(problem, params, EVEN, grid=COARSE)
    fixed = full.assignment
    for free in (
        Ingredients(equal_bandwidth=True, compress=False),
        Ingredients(equal_bandwidth=True, speed_mps=5.0),
        Ingredients(equal_bandwidth=True, speed_mps=20.0),
        Ingredients(equal_bandwidth=True, approach=False),
        Ingredients(equal_bandwidth=True, full_cpu=True),
        Ingredients(equal_bandwidth=True, full_power=True),
    ):
        less = solve(problem, params, free, assignment=fixed, grid=COARSE)
        assert bool((less.gamma >= full.gamma * (1.0 - 3e-3)).all())
    slow = solve(problem, params, Ingredients(speed_mps=5.0), assignment=fixed, grid=COARSE)
    works = slow.assignment != IDLE
    assert slow.plan.speed_mps[works].unique().tolist() == [5.0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bandwidth_hz", (1e6, 4e6, 16e6)),
        ("power_max_w", (0.05, 0.2, 0.8)),
        ("speed_max_mps", (10.0, 15.0, 20.0)),
    ],
)
def test_more_of_a_resource_is_not_worse(name: str, values: tuple[float, ...]) -> None:
    assignment = torch.tensor([[0, 0, 1]])
    gamma = [
        float(solve(hand_instance(), params_of(preset="tiny", **{name: v}), EVEN,
                    assignment=assignment).gamma)
        for v in values
    ]  # fmt: skip
    assert all(b <= a * (1.0 + 1e-4) for a, b in itertools.pairwise(gamma))


def test_more_energy_and_processing_are_not_worse() -> None:
    problem, params = hand_instance(), params_of(preset="tiny")
    shares = torch.tensor([0.8, 1.0, 1.3, 2.0], dtype=torch.float64)
    many = problem.rows(torch.zeros(4, dtype=torch.int64))
    assignment = torch.tensor([[0, 0, 1]]).expand(4, -1)
    for name in ("energy_j", "cpu_max_flops"):
        scaled = many._replace(**{name: getattr(many, name) * shares[:, None]})
        found = solve(scaled, params, EVEN, assignment=assignment)
        assert bool((found.gamma.diff() <= 1e-4).all())
        total = found.plan.deviation.sum(-1)
        assert float(total[-1]) < float(total[0])


def mirror(points: Tensor) -> Tensor:
    """Reflected across the vertical line through the base station."""
    return torch.stack([1000.0 - points[..., 0], points[..., 1]], -1)


def test_a_mirrored_instance_has_mirrored_plans() -> None:
    problem, params = hand_instance(), params_of(preset="tiny")
    turned = problem._replace(pos=mirror(problem.pos), region_xy=mirror(problem.region_xy))
    one, other = solve(problem, params), solve(turned, params)
    assert torch.equal(one.assignment, other.assignment)
    assert float(one.gamma) == pytest.approx(float(other.gamma), rel=1e-9)
    assert torch.allclose(one.plan.bandwidth_hz, other.plan.bandwidth_hz, rtol=1e-6)
    assert torch.allclose(one.plan.fraction, other.plan.fraction, atol=1e-6)


def test_a_region_that_nobody_can_reach_makes_the_row_infeasible() -> None:
    problem, params = hand_instance(), params_of(preset="tiny")
    starved = problem._replace(energy_j=torch.full_like(problem.energy_j, 20.0))
    found = solve(starved, params, grid=COARSE)
    assert not bool(found.is_feasible)
    assert float(found.gamma) >= 1000.0
    assert bool((found.plan.energy_j <= 20.0).all())


def test_steps_of_the_search_are_interchangeable() -> None:
    params, problem = drawn(3, 33, num_agents=5, num_regions=2)
    best = solve(problem, params, EVEN, grid=COARSE, passes=1)
    first = solve(problem, params, EVEN, grid=COARSE, passes=1, rule=Rule(steepest=False))
    assert bool((first.gamma <= best.gamma * 1.05).all())
    single = solve(problem, params, EVEN, grid=COARSE, passes=1, table_dtype=torch.float32)
    assert single.gamma.tolist() == pytest.approx(best.gamma.tolist(), rel=1e-3)


# ------------------------------------------------------------------------------ committed agents


def under_way() -> tuple[TwinRoundParams, Problem, Tensor]:
    """Agent 0 is about to serve region 0 in full, agent 1 cannot move."""
    params, problem = params_of(preset="tiny"), hand_instance()
    frozen = torch.tensor([[True, True, False]])
    problem = problem._replace(
        step_region=torch.tensor([[0, IDLE, IDLE]]),
        step_time_s=torch.tensor([[12.0, 0.0, 0.0]], dtype=torch.float64),
        step_info=torch.tensor([[2.4, 0.0, 0.0]], dtype=torch.float64),
    )
    return params, problem, frozen


def test_only_free_agents_are_assigned_around_those_under_way() -> None:
    params, problem, frozen = under_way()
    found = solve(problem, params, frozen=frozen)
    assert found.assignment.tolist() == [[IDLE, IDLE, 1]]
    assert bool(found.is_feasible)
    expected = 0.04 * 12.0 + float(torch.exp(torch.tensor(-2.4, dtype=torch.float64)))
    assert float(found.plan.deviation[0, 0]) == pytest.approx(expected, rel=1e-9)
    assert float(found.plan.deviation[0, 1]) == pytest.approx(1.462, abs=1e-3)
    # the others keep their shares of the band
    assert float(found.plan.bandwidth_hz[0, 2]) == pytest.approx(params.bandwidth_hz / 3)


def test_partial_information_under_way_is_completed() -> None:
    params, problem, _ = under_way()
    problem = problem._replace(step_info=torch.tensor([[1.2, 0.0, 0.0]], dtype=torch.float64))
    frozen = torch.tensor([[True, False, False]])
    found = solve(problem, params, EVEN, frozen)
    assert found.assignment.tolist() == [[IDLE, 0, 1]]
    assert float(found.plan.region_info[0, 0]) == pytest.approx(float(problem.theta[0, 0]))
    helped = float(found.plan.info[0, 1])
    assert helped == pytest.approx(float(problem.theta[0, 0]) - 1.2, rel=1e-6)


def test_a_region_without_update_may_count_by_its_own_value() -> None:
    """One free agent and two regions: it goes where staying away costs most."""
    params, problem, _ = under_way()
    problem = problem._replace(step_region=None, step_time_s=None, step_info=None)
    frozen = torch.tensor([[True, False, True]])
    for unserved, target in (([4.0, 3.0], 0), ([3.0, 4.0], 1)):
        value = torch.tensor([unserved], dtype=torch.float64)
        found = solve(problem._replace(unserved=value), params, EVEN, frozen)
        assert int(found.assignment[0, 1]) == target
        assert float(found.gamma) == pytest.approx(3.0, abs=0.01)
        assert not bool(found.is_feasible)
