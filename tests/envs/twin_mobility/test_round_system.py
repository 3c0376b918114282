"""`sixgym/TwinRound-v0` as a game: layouts, observations, ends, options, scores, the picture."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from round_cases import INSTANCE_A, batch, levels, moves

import sixgym
from sixgym.envs.core.errors import OptionsError, ParamsError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.core.rollout import rollout, score_values
from sixgym.envs.twin_mobility import TwinRound
from sixgym.envs.twin_mobility.actions import LEVELS
from sixgym.envs.twin_mobility.round_observation import RoundLayout

sixgym  # noqa: B018  (registers the ids)
ID = "sixgym/TwinRound-v0"


def stay(rows: int, agents: int = 8) -> dict[str, Any]:
    return moves(np.zeros((rows, agents)), np.zeros((rows, agents, 7)))


# ------------------------------------------------------------------------------ actions


def flat_of(region: Any, u: Any, regions: int) -> Any:
    scores = np.eye(regions + 1)[region]
    return np.concatenate([scores, 2.0 * u - 1.0], -1).reshape(len(region), -1).astype(np.float32)


def test_all_layouts_of_the_actions_play_the_same_round() -> None:
    rng = np.random.default_rng(2)
    region = rng.integers(0, 5, (16, 8))
    level = np.stack([rng.integers(0, k, (16, 8)) for k in LEVELS], -1)
    u = level / (np.array(LEVELS) - 1.0)
    told = {}
    for mode, action in (
        ("hybrid", moves(region, u)),
        ("flat", flat_of(region, u, 4)),
        ("discrete", np.concatenate([region[..., None], level], -1).reshape(16, -1)),
    ):
        env = batch(16, action_mode=mode)
        env.reset(seed=3)
        told[mode] = env.step(action)
    for mode in ("flat", "discrete"):
        assert np.allclose(told[mode][1], told["hybrid"][1], rtol=1e-5)
        for name in ("score", "energy", "agent_time_s", "refreshed"):
            assert np.allclose(told[mode][4][name], told["hybrid"][4][name], rtol=1e-5), name


def test_agents_by_name_move_in_hybrid_layout_unless_told_otherwise() -> None:
    env = parallel_env(ID)
    assert isinstance(env.action_space("agent_0"), gym.spaces.Dict)
    env.reset(seed=0)
    _, rewards, ends, _, infos = env.step({a: env.action_space(a).sample() for a in env.agents})
    assert len(set(rewards.values())) == 1
    assert all(ends.values())
    assert infos["agent_3"]["region_mask"].shape == (5,)
    assert infos["agent_3"]["component_mask"].tolist() == [1] * 8
    assert infos["agent_3"]["energy"].shape == (5,)
    assert {"delivered", "cost_energy", "invalid", "dev", "aoi", "max_dev", "t"} <= set(
        infos["agent_3"]
    )
    assert isinstance(gym.make(ID).action_space, gym.spaces.Box)


def test_one_controller_is_paid_once() -> None:
    env = batch(4)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(stay(4))
    assert info["agent_reward"].shape == (4, 8)
    assert (info["agent_reward"] == reward[:, None]).all()


def test_what_is_fixed_is_not_read() -> None:
    env = batch(8, preset="paper_strict")
    rng = np.random.default_rng(0)
    region, u = rng.integers(0, 5, (8, 8)), rng.random((8, 8, 7))
    told = []
    for change in (0.0, 0.3):
        env.reset(seed=1)
        other = u.copy()
        other[..., [2, 6]] = change
        _, reward, _, _, info = env.step(moves(region, other))
        told.append(reward)
    assert (told[0] == told[1]).all()
    assert info["component_mask"][0, 0].tolist() == [1, 1, 1, 0, 1, 1, 1, 0]


# ------------------------------------------------------------------------------ what is seen


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("preset", ["small", "default", "large"])
def test_sizes_are_those_documented(preset: str, others: bool) -> None:
    system = make_system(TwinRound, preset=preset, observe_others=others)
    n, r = system.params.num_agents, system.params.num_regions
    at = RoundLayout(n, r, others)
    assert at.size == 10 + 10 * r + (5 * (n - 1) if others else 0)
    assert at.central_size == n * (7 + 2 * r) + 6 * r + 3
    assert system.groups[0].observation_space.shape == (at.size,)
    assert system.observation_space.shape == (at.central_size,)


def test_agents_views_follow_from_what_the_controller_sees() -> None:
    kwargs: dict[str, Any] = {"fading": "rician", "modality": "random", "shadowing_db": 4.0}
    system = make_system(TwinRound, preset="rounds", **kwargs)
    env = batch(32, preset="rounds", dtype="float32", action_mode="flat", **kwargs)
    observation, _ = env.reset(seed=5)
    for _ in range(3):
        state = env.rows.state
        direct = env.system.perceive(state, {})["agent"]
        rebuilt = system.seen(torch.as_tensor(observation))["agent"]
        assert torch.allclose(direct, rebuilt, atol=1e-6)
        observation = env.step(env.action_space.sample())[0]


def test_an_agent_sees_what_the_layout_says() -> None:
    env = batch(3, num_rounds=6, fading="rayleigh", raw_mode="fixed", horizon_s=500.0)
    env.reset(seed=6)
    rng = np.random.default_rng(4)
    env.step(moves(rng.integers(0, 5, (3, 8)), rng.random((3, 8, 7))))
    state = env.rows.state
    at = env.system.observer.layout
    seen = env.system.perceive(state, {})["agent"].numpy()
    n, r, row = 5, 2, 1
    one = type(state)(*(leaf[row].numpy() for leaf in state))
    own, g = seen[row, n, at.own], at.glob.start
    offset = one.centre[r] - one.position[n]
    station = np.array([500.0, 500.0])
    assert own[at.position] == pytest.approx(one.position[n] / 1000.0, abs=1e-6)
    assert own[at.battery][0] == pytest.approx(one.battery_j[n] / 2000.0, abs=1e-6)
    assert own[at.budget][0] == 1.0
    assert own[at.cpu_max][0] == pytest.approx(one.cpu_max[n] / 6e9, abs=1e-6)
    assert own[at.bits][0] == pytest.approx(one.drawn_bits[n] / 2e7, abs=1e-6)
    assert own[at.kappa][r] == pytest.approx(one.kappa[n, r] / 0.6, abs=1e-6)
    ground = np.hypot(*(one.position[n] - station))
    snr = 0.2 * 1e-4 * np.hypot(ground, 10.0) ** -3.7 * one.fading[n] / (10**-19.5 * 5e5)
    assert own[at.efficiency][0] == pytest.approx(np.log2(1 + snr) / 20.0, abs=1e-6)
    block = seen[row, n, at.regions].reshape(4, -1)[r]
    off = one.drift[r] * one.age_s[r] + np.exp(-one.twin_info[r])
    assert block[:2] == pytest.approx(offset / 1000.0, abs=1e-6)
    assert block[2] == pytest.approx(max(0.0, np.hypot(*offset) - 50.0) / 1000.0, abs=1e-6)
    want = [one.age_s[r] / 60.0, off / 2.0, one.drift[r] / 0.06, one.theta[r] / 3.0]
    assert block[3:7] == pytest.approx(want, abs=1e-6)
    largest = (one.drift * one.age_s + np.exp(-one.twin_info)).argmax()
    assert block[7] == (largest == r)
    assert seen[row, n, g : g + 2] == pytest.approx([1 / 6, one.time_s / 500.0], abs=1e-6)
    other = seen[row, n, at.others].reshape(7, 5)[6]  # agent 7 comes last
    assert other[:2] == pytest.approx((one.position[7] - one.position[n]) / 1000.0, abs=1e-6)
    traits = [one.battery_j[7] / 2000.0, one.cpu_max[7] / 6e9, one.kappa[7].mean() / 0.6]
    assert other[2:] == pytest.approx(traits, abs=1e-6)


# ------------------------------------------------------------------------------ ends


def test_one_round_is_the_whole_episode_by_default() -> None:
    env = batch(2)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(stay(2))
    assert terminated.all()
    assert not truncated.any()


def test_rounds_end_by_number_or_by_time() -> None:
    for kwargs, steps in (
        ({"num_rounds": 7, "round_reward": "score"}, 7),
        ({"num_rounds": 7, "round_reward": "score", "horizon_s": 25.0}, 3),
        ({"num_rounds": 20}, 20),
        ({"num_rounds": 20, "round_min_s": 50.0}, 12),
    ):
        env = batch(1, **kwargs)
        env.reset(seed=0)
        count, over = 0, False
        while not over:
            count, over = count + 1, bool(env.step(stay(1))[2].all())
        assert count == steps, kwargs


def test_defaults_follow_from_the_number_of_rounds() -> None:
    one, many = TwinRound.params_type.create(), TwinRound.params_type.create("rounds")
    assert (one.pays_integral, one.is_hard, one.limit_s) == (False, True, None)
    assert (many.pays_integral, many.is_hard, many.limit_s) == (True, False, 600.0)
    both = TwinRound.params_type.create(num_rounds=2, round_reward="score", hard_energy=True)
    assert (both.pays_integral, both.is_hard, both.limit_s) == (False, True, None)


def test_dead_agents_stay_and_the_rounds_go_on() -> None:
    env = batch(1, num_agents=1, num_regions=1, num_rounds=4, round_reward="score")
    env.reset(seed=0, options={"instance": {**INSTANCE_A, "batt": [70.0]}})
    go = moves([[1]], [[levels(env.system.params, v=20.0)]])
    over = [bool(env.step(go)[2][0]) for _ in range(4)]
    assert over == [False, False, False, True]
    assert float(env.rows.state.battery_j[0, 0]) == 0.0


# ------------------------------------------------------------------------------ options, parameters


def test_an_instance_replaces_what_was_drawn_and_nothing_else() -> None:
    env = batch(3)
    env.reset(seed=4)
    drawn = env.rows.state
    env.reset(seed=4, options={"instance": {"drift": [0.01, 0.02, 0.03, 0.04]}})
    state = env.rows.state
    assert torch.allclose(state.drift, torch.tensor([0.01, 0.02, 0.03, 0.04]).double())
    assert (state.position == drawn.position).all()
    assert (state.theta == drawn.theta).all()


def test_the_required_fidelity_of_an_instance_is_what_the_twins_start_from() -> None:
    env = batch(1)
    env.reset(seed=0, options={"instance": {"f_min": [0.8, 0.85, 0.9, 0.95]}})
    want = -np.log1p(-np.array([0.8, 0.85, 0.9, 0.95]))
    assert np.allclose(env.rows.state.theta[0], want)
    assert np.allclose(env.rows.state.twin_info[0], want)


@pytest.mark.parametrize(
    ("instance", "word"),
    [
        ({"speed": 3.0}, "speed"),
        ({"drift": [0.1]}, "drift"),
        ({"pos": [[-1.0, 0.0]] * 8}, "pos"),
        ({"f_min": [1.0] * 4}, "f_min"),
    ],
)
def test_a_wrong_instance_is_refused(instance: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionsError, match=word):
        batch(1).reset(seed=0, options={"instance": instance})


@pytest.mark.parametrize(
    "values",
    [
        {"num_rounds": 0},
        {"horizon_s": -1.0},
        {"round_reward": "sum"},
        {"hard_energy": "yes"},
        {"miss_penalty": -1.0},
        {"slot_s": 1.0},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=next(iter(values))):
        TwinRound.params_type.create(**values)


# ------------------------------------------------------------------------------ scores


class Stay:
    """All agents stay in rows of an odd seed; the others sense what is nearest."""

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[Any, None]:
        return np.full((len(observation), 8 * 12), -1.0, np.float32), None


def test_gamma_of_infeasible_rounds_is_told_apart() -> None:
    env = batch(8, action_mode="flat")
    scores = score_values(TwinRound.scores, rollout(env, Stay(), range(8)))
    assert scores["infeasible_share"] == 1.0
    assert np.isnan(scores["feasible_gamma"])
    assert scores["gamma"] == pytest.approx(-scores["return"])
    assert scores["gamma"] > 13.0
    assert scores["missed_regions"] == 4.0


def test_a_feasible_round_serves_all_regions_within_all_budgets() -> None:
    env = batch(1, num_agents=2, num_regions=2, hard_energy=False)
    two = {"pos": [[820.0, 500.0], [220.0, 500.0]], "reg_xy": [[800.0, 500.0], [200.0, 500.0]],
           "kappa": [0.5, 0.5], "f_min": [0.9, 0.9], "f_max": [5e9, 5e9]}  # fmt: skip
    p = env.system.params
    for tau, xi, region, feasible in (
        (8.0, 0.3, [1, 2], 1),
        (2.0, 0.3, [1, 2], 0),
        (8.0, 0.3, [1, 0], 0),
        (20.0, 1.0, [1, 2], 0),
    ):
        env.reset(seed=0, options={"instance": two})
        u = [levels(p, 5e9, tau=tau, xi=xi, v=20.0)] * 2
        info = env.step(moves([region], [u]))[4]
        assert info["feasible"][0] == feasible, (tau, region)
        assert info["feasible_gamma"][0] == feasible * info["gamma"][0]


# ------------------------------------------------------------------------------ the picture


@pytest.mark.parametrize("preset", ["default", "small", "large", "uav"])
def test_a_picture_shows_the_round(preset: str) -> None:
    env = gym.make(ID, preset=preset, num_rounds=3, render_mode="rgb_array")
    env.reset(seed=2)
    before = env.render()
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    after = env.render()
    assert before.shape == after.shape == (400, 600, 3)
    assert (before != after).any()
