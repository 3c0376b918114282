"""Baselines of `sixgym/TwinRound-v0`: what they plan is what the environment pays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sixgym.baselines.policy import load_baselines
from sixgym.baselines.twin_mobility.instances import controls, hand_instance, with_margin
from sixgym.baselines.twin_mobility.problem import IDLE
from sixgym.baselines.twin_mobility.round import (
    BASELINES,
    ID,
    RoundPlanner,
    Scheme,
    problem_of,
    score_bound,
)
from sixgym.envs.core.errors import ParamsError, PolicyError
from sixgym.envs.core.make import make_system, make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.twin_mobility import TwinRound

HAND = {
    "pos": [[900.0, 800.0], [600.0, 300.0], [150.0, 600.0]],
    "reg_xy": [[800.0, 500.0], [300.0, 250.0]],
    "kappa": [0.4, 0.3, 0.5],
    "f_max": [5e9, 4e9, 6e9],
    "drift": [0.04, 0.03],
    "f_min": [0.90, 0.85],
    "aoi0": [0.0, 0.0],
}
"""Instance B of the checks; the rest are defaults."""
QUICK = ("two_layer",)
"""Baselines that the fast suite plays to the end."""


def batch(rows: int, **kwargs: Any) -> SixgymVectorEnv:
    return make_vector_env(TwinRound, rows, info_level=1, **kwargs)


def play(env: SixgymVectorEnv, name: str, rows: int = 0) -> Episodes:
    return rollout(env, BASELINES[name].make(env.system), range(rows or env.num_envs))


def gammas(episodes: Episodes) -> NDArray[np.float64]:
    return episodes.sums["gamma"]


# ------------------------------------------------------------------------------ instance B


def scores_of(assignment: tuple[int, ...]) -> list[float]:
    """What the environment gives the solver's best plans of an assignment, b = B / 3 each.

    Who cannot serve its region within its energy sets out all the same, and keeps its part of the
    band.
    """
    env = batch(1, preset="tiny", action_mode="hybrid", dtype="float64")
    env.reset(seed=0, options={"instance": HAND})
    p, problem = env.system.params, with_margin(hand_instance())
    planner = RoundPlanner(make_system(TwinRound, preset="tiny"), "hand", Scheme())
    third = torch.full((1, 3), p.bandwidth_hz / 3, dtype=torch.float64)
    plan = planner.plans_for(problem, torch.tensor([assignment]), third)
    u = controls(plan, problem.cpu_max_flops, p)
    idle = plan.region == IDLE
    u[idle] = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0], dtype=u.dtype)
    move = {"agent.region": np.array([assignment]) + 1, "agent.u": u.numpy()}
    info = env.step(move)[4]
    assert info["agent_delivered"][0].tolist() == [float(not i) for i in idle[0]]
    return [float(s) for s in info["score"][0]]


def test_the_best_of_all_assignments_is_the_one_found_by_hand() -> None:
    """Checks, instance B: (0, 0, 1) with (1.307, 1.462); next (1, 0, 1) with 1.979 (within 1 %)."""
    found = {a: scores_of(a) for a in itertools.product(range(2), repeat=3)}
    ranked = sorted(found, key=lambda a: max(found[a]))
    assert ranked[:2] == [(0, 0, 1), (1, 0, 1)]
    assert found[0, 0, 1] == pytest.approx([1.307, 1.462], rel=0.01)
    assert max(found[1, 0, 1]) == pytest.approx(1.979, rel=0.01)
    # single agents: D[0,0], D[1,0], D[1,1], D[2,1]
    assert found[0, 1, 1][0] == pytest.approx(2.118, rel=0.01)
    assert found[1, 0, 1][0] == pytest.approx(1.979, rel=0.01)
    assert found[0, 1, 0][1] == pytest.approx(1.543, rel=0.01)
    assert found[0, 0, 1][1] == pytest.approx(1.462, rel=0.01)


# ------------------------------------------------------------------------------ plans and pay


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        pytest.param({"preset": "narrowband"}, marks=pytest.mark.slow),
        pytest.param({"preset": "paper_strict"}, marks=pytest.mark.slow),
        pytest.param({"preset": "uav"}, marks=pytest.mark.slow),
        {"fading": "rayleigh", "shadowing_db": 6.0, "modality": "random"},
        pytest.param({"request_min": 0.5}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_environment_pays_what_was_planned(kwargs: dict[str, Any]) -> None:
    env = batch(6, **kwargs)
    observation, _ = env.reset(seed=100)
    planner = RoundPlanner(env.system, "two_layer", Scheme())
    planner.attach(env)
    plan = planner.plan(env.rows.state)
    action, _ = planner.predict(observation)
    assert env.action_space.contains(action)
    info = env.step(action)[4]
    served = plan.is_feasible.numpy()
    assert served.mean() > 0.8
    assert (info["feasible"] == served).all()
    assert np.allclose(info["gamma"][served], plan.gamma.numpy()[served], rtol=1e-5)
    works = plan.region != IDLE
    band = torch.where(works, plan.bandwidth_hz, 0.0)
    whole = band.sum(-1) > 0.999 * env.system.params.bandwidth_hz
    assert np.allclose(info["agent_band_hz"][whole], band.numpy()[whole], rtol=1e-4)


def test_shares_that_weights_cannot_express_are_raised() -> None:
    env = batch(6, request_min=0.5)
    observation, _ = env.reset(seed=100)
    planner = RoundPlanner(env.system, "two_layer", Scheme())
    planner.attach(env)
    info = env.step(planner.predict(observation)[0])[4]
    band = np.where(info["agent_band_hz"] > 0, info["agent_band_hz"], np.nan)
    spread = np.nanmax(band, 1) / np.nanmin(band, 1)
    assert (spread <= 2.0 + 1e-4).all()
    assert (spread > 1.9).any()


@pytest.mark.parametrize(
    ("preset", "rows"),
    [
        ("small", 12),
        pytest.param("default", 48, marks=pytest.mark.slow),
        pytest.param("ages_zero", 48, marks=pytest.mark.slow),
        pytest.param("uav", 24, marks=pytest.mark.slow),
    ],
)
def test_no_policy_beats_the_bound(preset: str, rows: int) -> None:
    env = batch(rows, preset=preset)
    env.reset(seed=list(range(rows)))
    bound = score_bound(env.system, env.rows.state).numpy()
    for name in ("two_layer", "greedy_maxdev", "equal_bandwidth"):
        assert (gammas(play(env, name)) >= bound - 2e-4).all(), name


def test_the_bound_holds_where_nothing_can_be_served() -> None:
    env = batch(4, preset="small", battery_j=1.0)
    env.reset(seed=[0, 1, 2, 3])
    bound = score_bound(env.system, env.rows.state).numpy()
    assert (gammas(play(env, "two_layer")) >= bound - 1e-4).all()
    assert (bound > 1.0).all()


def test_the_bound_is_refused_where_stages_overlap() -> None:
    env = batch(1, overlap_proc_move=True)
    env.reset(seed=0)
    with pytest.raises(ParamsError, match="overlap"):
        score_bound(env.system, env.rows.state)


@pytest.mark.slow
def test_the_table_stands_in_the_expected_order() -> None:
    """Mean of gamma over the same worlds; every ingredient that is taken away costs."""
    env = batch(32, preset="ages_zero")
    names = ("two_layer", "equal_bandwidth", "no_channel_mobility", "no_compression",
             "fixed_speed_5", "greedy_maxdev", "hungarian", "random_balanced")  # fmt: skip
    mean = {name: gammas(play(env, name)).mean() for name in names}
    assert min(mean, key=lambda n: mean[n]) == "two_layer"
    assert mean["fixed_speed_5"] > 1.3 * mean["two_layer"]
    assert mean["no_compression"] > 1.1 * mean["two_layer"]
    assert mean["random_balanced"] > 1.5 * mean["two_layer"]


@pytest.mark.slow
def test_brute_force_is_never_worse_than_the_two_layers() -> None:
    env = batch(24, preset="small", num_agents=4)
    brute, layers = (gammas(play(env, name)) for name in ("brute_force", "two_layer"))
    assert (brute <= layers + 1e-5).all()
    assert (brute < layers - 1e-3).any()


# ------------------------------------------------------------------------------ all of them


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(BASELINES)
    ],
)
def test_every_baseline_plays_rounds_in_which_agents_die(name: str) -> None:
    env = batch(3, preset="small", num_rounds=3, battery_j=180.0, round_reward="score")
    episodes = play(env, name)
    assert (episodes.length == 3).all()
    assert np.isfinite(episodes.reward).all()


def test_an_even_share_of_the_battery_is_kept_for_each_round_left() -> None:
    env = batch(2, preset="rounds")
    env.reset(seed=0)
    assert torch.allclose(
        problem_of(env.system, env.rows.state).energy_j, torch.tensor(100.0).double()
    )
    one = batch(2)
    one.reset(seed=0)
    assert (problem_of(one.system, one.rows.state).energy_j == 160.0).all()


def test_no_agent_exceeds_its_budget() -> None:
    env = batch(6, preset="tight_energy")
    episodes = play(env, "two_layer")
    assert (episodes.sums["over_budget"] == 0.0).all()
    assert (episodes.sums["deaths"] == 0.0).all()


def test_random_assignments_hang_on_the_world_alone() -> None:
    whole, part = batch(4, preset="small"), batch(3, preset="small")
    many = gammas(play(whole, "random_balanced"))
    few = gammas(rollout(part, BASELINES["random_balanced"].make(part.system), range(4)))
    assert np.allclose(many, few, rtol=1e-4)


def test_the_registry_finds_them() -> None:
    found = load_baselines(ID)
    assert set(BASELINES) <= set(found)
    assert {"random", "constant"} & set(found)
    assert [b.name for b in BASELINES.values() if b.kind == "reference"] == ["two_layer"]
    assert all(b.sees == "model" for b in BASELINES.values())


@pytest.mark.parametrize(
    ("name", "kwargs", "word"),
    [
        ("two_layer", {"action_mode": "hybrid"}, "flat"),
        ("brute_force", {"preset": "large"}, "assignments"),
    ],
)
def test_what_cannot_be_played_is_refused(name: str, kwargs: dict[str, Any], word: str) -> None:
    with pytest.raises(PolicyError, match=word):
        BASELINES[name].make(make_system(TwinRound, **kwargs))


def test_a_policy_without_an_environment_says_so() -> None:
    policy = BASELINES["two_layer"].make(make_system(TwinRound))
    with pytest.raises(PolicyError, match="attach"):
        policy.predict(np.zeros((1, 147), np.float32))


def test_one_agent_for_each_region_needs_as_many_agents() -> None:
    env = batch(1, num_agents=2, num_regions=3)
    with pytest.raises(PolicyError, match="at least 3"):
        play(env, "hungarian")


def test_a_region_that_ends_a_hair_short_of_its_information_gets_more_time() -> None:
    env = batch(1, preset="uav")
    found = rollout(env, BASELINES["two_layer"].make(env.system), [4])
    assert found.sums["infeasible"].tolist() == [0.0]
    assert gammas(found)[0] < 3.0


def test_what_jumps_between_two_times_of_the_grid_does_not_break_the_bound() -> None:
    env = batch(1, preset="ages_zero")
    env.reset(seed=21)
    bound = float(score_bound(env.system, env.rows.state))
    found = rollout(env, BASELINES["two_layer"].make(env.system), [21])
    assert bound <= gammas(found)[0] + 1e-3
